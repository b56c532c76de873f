/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets that wait until their destination's path is up: bounded in packets, destinations and age. */
#ifndef NTM_NODE_HOLD_H
#define NTM_NODE_HOLD_H

#include <stddef.h>
#include <stdint.h>

enum { NTM_HOLD_PACKETS = 64, NTM_HOLD_DESTS = 32, NTM_HOLD_MS = 3000 };

struct ntm_held {
	uint8_t dst[16];
	uint8_t *packet;
	uint16_t len;
	uint64_t at_ms;
};

struct ntm_hold {
	struct ntm_held q[NTM_HOLD_PACKETS]; /* oldest first */
	unsigned n;
	uint64_t dropped;
};

/* Copies the packet. -ENOSPC: full, or too many destinations; -EMSGSIZE. */
int ntm_hold_put(struct ntm_hold *h, const uint8_t dst[16], const void *packet, size_t len, uint64_t now_ms);
/* Hands out, in order, and forgets what waits for dst. */
void ntm_hold_take(struct ntm_hold *h, const uint8_t dst[16], void (*fn)(void *arg, const uint8_t *packet, size_t len),
		   void *arg);
void ntm_hold_drop(struct ntm_hold *h, const uint8_t dst[16]);
void ntm_hold_clear(struct ntm_hold *h);

#endif
