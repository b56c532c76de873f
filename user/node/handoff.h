/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Make before break. A Relay Server takes packets of a path only from where its ends are bound: when another uplink
 * shall be used and the one before it is still there, paths that go by an RS are bound by the new one first, and
 * packets go by the old one until each RS has answered, or for so long that it will not. (It accepts what comes from
 * either place meanwhile.)
 *
 *   another uplink is wanted ──binds by it, twice if need be──► all answered, or 250 ms at most ──► it is the uplink
 *                                  │
 *                                  ├── the old one is gone ──► at once
 *                                  └── the wish has changed ──► bound by the old one again
 */
#ifndef NTM_NODE_HANDOFF_H
#define NTM_NODE_HANDOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "../dataplane/dp.h"
#include "timer.h"

struct ntm_node;
struct ntm_uplink_info;

struct ntm_handoff {
	struct ntm_uplink_info *wanted; /* NTM_UPLINKS_MAX; NULL: nothing is under way */
	unsigned n_wanted;
	unsigned waiting;    /* paths whose RS has not answered */
	bool again;          /* binds were sent twice */
	uint64_t wait_ms;    /* for answers to one transmission */
	uint64_t early;      /* switches that were held back for binds, */
	uint64_t unanswered; /* and those of them that were made without all answers */
	struct ntm_timer timer;
};

void ntm_handoff_init(struct ntm_node *n);
void ntm_handoff_stop(struct ntm_node *n);
/*
 * These are to be the node's uplinks. True: not yet; ntm_node_use_uplinks() is called with them later, and was called
 * with the same ones in another order where there is a new one among them; or they are what is in use. False: at once;
 * what was under way is over.
 */
bool ntm_handoff_begin(struct ntm_node *n, const struct ntm_uplink_info *u, unsigned count);
/* Are these, in this order, what has been in use all the time? */
bool ntm_uplinks_in_use(const struct ntm_node *n, const struct ntm_uplink_info *u, unsigned count);
/* The RS of a path has answered the bind by the uplink to be. */
void ntm_handoff_answered(struct ntm_node *n);

#endif
