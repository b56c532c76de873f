/* SPDX-License-Identifier: BSD-2-Clause */
/* Which of several uplinks is used. */
#include <criterion/criterion.h>

#include "../../user/node/uplink_choice.h"

static struct ntm_uplink_choice choice;

static struct ntm_uplink_info one(uint32_t ifindex, bool way_out)
{
	return (struct ntm_uplink_info){.dp = {.ifindex = ifindex}, .n_addrs = 1, .default4 = way_out};
}

/* First of a (preferred) and b at that time; 0: not there. */
static uint32_t first(uint32_t a, uint32_t b, uint64_t now_ms, uint64_t *next)
{
	struct ntm_uplink_info u[2];
	unsigned n = 0;

	if (a)
		u[n++] = one(a, true);
	if (b)
		u[n++] = one(b, true);
	*next = ntm_uplink_choice(&choice, u, n, now_ms, 200);
	return n ? u[0].dp.ifindex : 0;
}

Test(uplink_choice, a_better_one_must_last)
{
	uint64_t next;

	choice = (struct ntm_uplink_choice){0};
	cr_assert_eq(first(2, 3, 1000, &next), 2, "at the beginning the better one");
	cr_assert_eq(next, 0);
	cr_assert_eq(first(0, 3, 2000, &next), 3, "the other takes over at once");
	cr_assert_eq(first(2, 3, 3000, &next), 3);
	cr_assert_eq(next, 200);
	cr_assert_eq(first(0, 3, 3100, &next), 3, "it flaps");
	cr_assert_eq(first(2, 3, 3150, &next), 3);
	cr_assert_eq(first(2, 3, 3349, &next), 3);
	cr_assert_eq(next, 1);
	cr_assert_eq(first(2, 3, 3350, &next), 2);
	cr_assert_eq(next, 0);
	cr_assert_eq(first(0, 0, 4000, &next), 0);
	cr_assert_eq(first(2, 0, 4010, &next), 2, "the only one needs no patience");
}

Test(uplink_choice, one_without_a_way_out_is_no_reason_to_wait)
{
	struct ntm_uplink_info u[2] = {one(3, false), one(2, true)};

	choice = (struct ntm_uplink_choice){.begun = true};
	ntm_uplink_choice(&choice, u, 1, 1000, 200);
	u[0] = one(3, false);
	ntm_uplink_choice(&choice, u, 2, 2000, 200);
	cr_assert_eq(u[0].dp.ifindex, 2);
}
