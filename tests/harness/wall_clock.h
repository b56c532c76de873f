/* SPDX-License-Identifier: BSD-2-Clause */
/* The DC's real-time clock, set by a test. For inclusion by one file of it. */
#ifndef NTM_TEST_WALL_CLOCK_H
#define NTM_TEST_WALL_CLOCK_H

#include "../../dc/clock.h"

static int64_t wall_ahead_s; /* of the machine's clock */

struct timespec ntm_dc_wall(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += wall_ahead_s;
	return ts;
}

#endif
