/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * While a new uplink's packets leave by the former one, too (uplink_duplicate_ms), a peer gets the same ones from two
 * addresses, and whichever it hears first would be where it sends. So it is told, in an Update from the new one, to
 * hold on to that: until it has answered, and again before its hold ends, as long as copies are sent.
 */
#ifndef NTM_NODE_COPIES_H
#define NTM_NODE_COPIES_H

#include <stdbool.h>
#include <stdint.h>

#include "timer.h"

struct ntm_node;
struct ntm_tunnel;
struct ntm_uplink_info;

/* Of IPv4 and IPv6. */
struct ntm_copies {
	uint8_t former[2][16];
	uint64_t until_ns[2]; /* 0: none are sent */
};

/* A path's part. */
struct ntm_copies_path {
	uint32_t txid; /* of the last such Update; 0: none, or it was answered */
	uint8_t tries; /* since one was answered */
	struct ntm_timer timer;
};

/* n->uplinks has replaced old. */
void ntm_copies_changed(struct ntm_node *n, const struct ntm_uplink_info *old, unsigned n_old);
/* To the peer itself, now? A Relay Server passes on what comes from the address that is bound to it alone. */
bool ntm_copies_sent(const struct ntm_tunnel *t);
void ntm_copies_told(struct ntm_tunnel *t, uint32_t txid); /* an Update has left that says so */
void ntm_copies_answered(struct ntm_tunnel *t, uint32_t txid);

void ntm_copies_init_timer(struct ntm_tunnel *t);
void ntm_copies_stop(struct ntm_tunnel *t);

#endif
