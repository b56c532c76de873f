/* SPDX-License-Identifier: BSD-2-Clause */
/* Which of several uplinks is used first, over time: a better one that has just come must last before it takes over. */
#ifndef NTM_NODE_UPLINK_CHOICE_H
#define NTM_NODE_UPLINK_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "node.h"

struct ntm_uplink_choice {
	struct {
		uint32_t ifindex;
		uint64_t since_ms;
		bool settled;
	} known[NTM_UPLINKS_MAX];
	unsigned n;
	bool begun;
};

/*
 * Orders u, which is in the order of preference: those with a default route first, and of these the ones that have had
 * it for settle_ms, or were first when there was no such one. Returns in how many milliseconds the order may change
 * with no event, 0: it doesn't.
 */
uint64_t ntm_uplink_choice(struct ntm_uplink_choice *c, struct ntm_uplink_info *u, unsigned n, uint64_t now_ms,
			   uint32_t settle_ms);

#endif
