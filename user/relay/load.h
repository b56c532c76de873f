/* SPDX-License-Identifier: BSD-2-Clause */
/* How busy the relay is: rates over the last seconds, for the DC (struct ntm_relay_load) and for people. */
#ifndef NTM_RELAY_LOAD_H
#define NTM_RELAY_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../common/signal_codec.h"
#include "relay_dp.h"

enum { NTM_LOAD_SAMPLES = 4 }; /* rates are of the time between the oldest and the newest */

struct ntm_load_sample {
	uint64_t at_ns; /* 0: none */
	uint64_t packets, bytes, drops;
	uint64_t softirq, jiffies; /* of /proc/stat, all CPUs */
	uint64_t process_ns;
};

struct ntm_loadmeter {
	int stat_fd; /* -1: no /proc/stat, softirq counts as nothing */
	unsigned cpus;
	struct ntm_load_sample samples[NTM_LOAD_SAMPLES];
	unsigned next;
};

void ntm_load_open(struct ntm_loadmeter *l);
void ntm_load_close(struct ntm_loadmeter *l);
/* To be called every second or so. now_ns: CLOCK_BOOTTIME. */
void ntm_load_tick(struct ntm_loadmeter *l, struct ntm_relay_dp *dp, uint64_t now_ns);
/* Rates only; paths and flags are the caller's. */
void ntm_load_rates(const struct ntm_loadmeter *l, struct ntm_load *out);

/* The parts, for tests. The line "cpu  user nice system idle iowait irq softirq steal ..."; false: it is none. */
bool ntm_load_parse_stat(const char *text, uint64_t *softirq, uint64_t *total);
void ntm_load_between(const struct ntm_load_sample *from, const struct ntm_load_sample *to, unsigned cpus,
		      struct ntm_load *out);

#endif
