/* SPDX-License-Identifier: BSD-2-Clause */
#include "ratelimit.h"

#include "../user/common/addr.h"
#include "table.h"

bool ntm_dc_rate_allow(struct ntm_dc_ratelimit *r, const uint8_t ip[16], uint64_t now_ms)
{
	uint64_t slot = ntm_table_hash(ip, ntm_ip_is_v4(ip) ? 16 : 8) % NTM_DC_RATE_SLOTS;
	uint64_t full = r->full_ms[slot] > now_ms ? r->full_ms[slot] : now_ms;

	full += 1000 / NTM_DC_RATE_PER_S;
	if (full - now_ms > NTM_DC_RATE_BURST * (1000ULL / NTM_DC_RATE_PER_S))
		return false;
	r->full_ms[slot] = full;
	return true;
}
