/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The real-time clock, which may be set at any moment and is only for what outlives the process or is read by people:
 * expiry of tokens, dates in the store, logs, the zone's serial. All intervals are ntm_dc_now()'s, which is monotonic.
 * Alone in its file, so that tests bring a clock that they set.
 */
#ifndef NTM_DC_CLOCK_H
#define NTM_DC_CLOCK_H

#include <stdint.h>
#include <time.h>

struct timespec ntm_dc_wall(void); /* since 1970, UTC */

static inline int64_t ntm_dc_wall_s(void)
{
	return ntm_dc_wall().tv_sec;
}

#endif
