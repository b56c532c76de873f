/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent's timers: an intrusive pairing heap over CLOCK_BOOTTIME milliseconds, so that arming never fails and ten
 * thousand paths cost one wake-up for whatever is due. Tests put their own clock in place of the kernel's.
 */
#ifndef NTM_NODE_TIMER_H
#define NTM_NODE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

struct ntm_timer {
	uint64_t at_ms;
	void (*fn)(void *arg);
	void *arg;
	struct ntm_timer *child, *next, *prev; /* prev: left sibling, or the parent of a first child */
	bool armed;
};

struct ntm_timers {
	struct ntm_timer *root;
	uint64_t (*clock_ns)(void); /* NULL: CLOCK_BOOTTIME */
};

uint64_t ntm_timers_ns(const struct ntm_timers *ts);
uint64_t ntm_timers_ms(const struct ntm_timers *ts);

void ntm_timer_init(struct ntm_timer *t, void (*fn)(void *arg), void *arg);
void ntm_timer_arm(struct ntm_timers *ts, struct ntm_timer *t, uint64_t in_ms); /* again: moves it */
/* At the next whole multiple of grid_ms that is at least in_ms away, so that many timers share a wake-up. */
void ntm_timer_arm_coarse(struct ntm_timers *ts, struct ntm_timer *t, uint64_t in_ms, uint64_t grid_ms);
void ntm_timer_stop(struct ntm_timers *ts, struct ntm_timer *t);
/* Milliseconds until the next timer is due, 0 if one is; -1 if none is armed. */
int64_t ntm_timers_next(const struct ntm_timers *ts);
/* Calls what is due now; what a callback arms waits for a later call. */
void ntm_timers_run(struct ntm_timers *ts);

#endif
