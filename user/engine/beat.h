/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's heartbeat for node_lane: struct ntm_lanes' alive_ns. */
#ifndef NTM_ENGINE_BEAT_H
#define NTM_ENGINE_BEAT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { NTM_BEAT_MS = 3, NTM_BEAT_STACK = 65536 };

struct ntm_beat {
	uint64_t *at; /* where to write the time; borrowed */
	pthread_t thread;
	int fd; /* wakes it */
	bool started, stop, sleeps;
	uint64_t used_ns;
};

/* b is zero. 0 or -errno. */
int ntm_beat_start(struct ntm_beat *b, uint64_t *at);
/* The TUN was used; now: CLOCK_BOOTTIME. Any thread. */
void ntm_beat_used(struct ntm_beat *b, uint64_t now);
void ntm_beat_stop(struct ntm_beat *b);

#endif
