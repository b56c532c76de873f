/* SPDX-License-Identifier: BSD-2-Clause */
/* Timers and held packets. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ntm/limits.h>

#include "../../user/node/hold.h"
#include "../../user/node/timer.h"

static uint64_t now;

static uint64_t clock_ns(void)
{
	return now * 1000000;
}

enum { TIMERS = 10000 };
static struct ntm_timers ts = {.clock_ns = clock_ns};
static struct ntm_timer t[TIMERS];
static uint64_t last_at;
static unsigned fired;

static void in_order(void *arg)
{
	struct ntm_timer *me = arg;

	cr_assert_geq(me->at_ms, last_at);
	cr_assert_leq(me->at_ms, now);
	cr_assert_not(me->armed);
	last_at = me->at_ms;
	fired++;
}

Test(timer, thousands_in_any_order_moved_and_stopped)
{
	unsigned stopped = 0;

	srand(3);
	for (int i = 0; i < TIMERS; i++) {
		ntm_timer_init(&t[i], in_order, &t[i]);
		ntm_timer_arm(&ts, &t[i], (uint64_t)(1 + rand() % 5000));
	}
	for (int i = 0; i < TIMERS; i++) {
		if (i % 3 == 0)
			ntm_timer_arm(&ts, &t[i], (uint64_t)(1 + rand() % 5000));
		if (i % 7 == 0) {
			ntm_timer_stop(&ts, &t[i]);
			ntm_timer_stop(&ts, &t[i]);
			stopped++;
		}
	}
	while (ntm_timers_next(&ts) >= 0) {
		now += (uint64_t)ntm_timers_next(&ts);
		ntm_timers_run(&ts);
	}
	cr_assert_eq(fired, TIMERS - stopped);
	cr_assert_leq(now, 5000);
}

static void again(void *arg)
{
	fired++;
	ntm_timer_arm(&ts, arg, 0);
}

Test(timer, arming_itself_anew_does_not_hold_the_loop)
{
	ntm_timer_init(&t[0], again, &t[0]);
	ntm_timer_arm(&ts, &t[0], 1);
	now++;
	ntm_timers_run(&ts);
	cr_assert_eq(fired, 1);
	cr_assert_eq(ntm_timers_next(&ts), 1);
	ntm_timer_stop(&ts, &t[0]);
	cr_assert_eq(ntm_timers_next(&ts), -1);
}

static void stop_next(void *arg)
{
	ntm_timer_stop(&ts, arg);
}

Test(timer, one_that_is_due_can_be_stopped_by_another)
{
	ntm_timer_init(&t[0], stop_next, &t[1]);
	ntm_timer_init(&t[1], in_order, &t[1]);
	ntm_timer_arm(&ts, &t[0], 5);
	ntm_timer_arm(&ts, &t[1], 6);
	now += 10;
	ntm_timers_run(&ts);
	cr_assert_eq(fired, 0);
}

Test(timer, coarse_ones_meet)
{
	now = 1234;
	for (int i = 0; i < 100; i++) {
		ntm_timer_init(&t[i], in_order, &t[i]);
		ntm_timer_arm_coarse(&ts, &t[i], 1000, 250);
		now += 1;
	}
	for (int i = 0; i < 100; i++) {
		cr_assert_eq(t[i].at_ms % 250, 0);
		cr_assert_geq(t[i].at_ms, 2234 + (uint64_t)i);
		ntm_timer_stop(&ts, &t[i]);
	}
}

static struct ntm_hold hold;
static unsigned taken;
static uint8_t first_byte;

static void take(void *arg, const uint8_t *packet, size_t len)
{
	(void)arg;
	(void)len;
	cr_assert_eq(packet[0], first_byte + taken, "in order");
	taken++;
}

Test(hold, is_bounded_in_packets_destinations_and_age)
{
	uint8_t dst[16] = {0}, packet[NTM_INNER_MAX + 1] = {0};

	for (unsigned i = 0; i < NTM_HOLD_DESTS; i++) {
		dst[0] = (uint8_t)i;
		cr_assert_eq(ntm_hold_put(&hold, dst, packet, 100, 1), 0);
	}
	dst[0] = 200;
	cr_assert_eq(ntm_hold_put(&hold, dst, packet, 100, 1), -ENOSPC, "one destination too many");
	dst[0] = 1;
	for (unsigned i = NTM_HOLD_DESTS; i < NTM_HOLD_PACKETS; i++)
		cr_assert_eq(ntm_hold_put(&hold, dst, packet, 100, 2), 0);
	cr_assert_eq(ntm_hold_put(&hold, dst, packet, 100, 2), -ENOSPC);
	cr_assert_eq(hold.n, NTM_HOLD_PACKETS);
	cr_assert_eq(hold.dropped, 2);
	cr_assert_eq(ntm_hold_put(&hold, dst, packet, 100, NTM_HOLD_MS + 2), 0, "the oldest have expired");
	cr_assert_eq(hold.n, NTM_HOLD_PACKETS - NTM_HOLD_DESTS + 1);
	cr_assert_eq(ntm_hold_put(&hold, dst, packet, NTM_INNER_MAX + 1, 3), -EMSGSIZE);
	cr_assert_eq(ntm_hold_put(&hold, dst, packet, 0, 3), -EMSGSIZE);
	ntm_hold_clear(&hold);
	cr_assert_eq(hold.n, 0);
}

Test(hold, gives_each_destination_its_packets_in_order)
{
	uint8_t a[16] = {1}, b[16] = {2}, packet[10] = {0};

	for (unsigned i = 0; i < 10; i++) {
		packet[0] = (uint8_t)(i % 2 ? 100 + i / 2 : i / 2);
		ntm_hold_put(&hold, i % 2 ? b : a, packet, sizeof(packet), 1);
	}
	first_byte = 100;
	ntm_hold_take(&hold, b, take, NULL);
	cr_assert_eq(taken, 5);
	cr_assert_eq(hold.n, 5);
	taken = 0;
	first_byte = 0;
	ntm_hold_take(&hold, a, take, NULL);
	cr_assert_eq(taken, 5);
	cr_assert_eq(hold.n, 0);
}
