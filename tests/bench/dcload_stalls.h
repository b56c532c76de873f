/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When the machine stood still: a virtual CPU that its hypervisor gives to others runs nothing for milliseconds, and
 * what is late then is late by no program's fault. A thread on each CPU, before all others, notes when it was woken
 * more than STALL_NS too late.
 */
#ifndef NTM_BENCH_DCLOAD_STALLS_H
#define NTM_BENCH_DCLOAD_STALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STALL_NS 1000000ULL

struct stalls {
	size_t n;
	uint64_t total_ns, longest_ns;
};

int stalls_begin(void); /* 0 or -errno: no right to real-time priority */
struct stalls stalls_end(void);
/*
 * The backlog that a stall leaves is its doing, too: each of the last watch lasts until as few requests are under way
 * as when it began. due, came: those of n requests, ascending, monotonic ns.
 */
void stalls_settle(const uint64_t *due, const uint64_t *came, size_t n);
/* Whether something that was due and came at these times was late by a stall of the last watch. */
bool stalls_met(uint64_t due_ns, uint64_t came_ns);

#endif
