/* SPDX-License-Identifier: BSD-2-Clause */
#include "clock.h"

struct timespec ntm_dc_wall(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts;
}
