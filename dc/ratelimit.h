/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Handshakes a source address may begin while the DC is under load: a cookie shows that the address is the sender's
 * own, not that it is modest. Fixed memory: addresses share slots by a keyed hash, IPv6 counts by /64.
 */
#ifndef NTM_DC_RATELIMIT_H
#define NTM_DC_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

enum { NTM_DC_RATE_SLOTS = 16384, NTM_DC_RATE_PER_S = 100, NTM_DC_RATE_BURST = 200 };

struct ntm_dc_ratelimit {
	uint64_t full_ms[NTM_DC_RATE_SLOTS]; /* when the slot's bucket will be full again (GCRA, ITU-T I.371) */
};

/* May this address (v4-mapped or IPv6) have one more now? now_ms: monotonic. */
bool ntm_dc_rate_allow(struct ntm_dc_ratelimit *r, const uint8_t ip[16], uint64_t now_ms);

#endif
