/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests that wait for the other end: one a path and end, for a second, and never more than there is room for. */
#include <criterion/criterion.h>
#include <string.h>

#include "../../user/relay/held.h"

static struct ntm_held *h;
static struct ntm_tunnel_req out;

static void setup(void)
{
	h = ntm_held_new();
	cr_assert_not_null(h);
}

static void teardown(void)
{
	ntm_held_free(h);
}

TestSuite(held, .init = setup, .fini = teardown);

static struct ntm_tunnel_req request(uint8_t fill)
{
	struct ntm_tunnel_req m;

	memset(&m, fill, sizeof(m));
	return m;
}

static bool put(uint64_t path, unsigned end, uint8_t fill, uint64_t now)
{
	struct ntm_tunnel_req m = request(fill);

	return ntm_held_put(h, path, end, &m, now);
}

static bool is(uint8_t fill)
{
	struct ntm_tunnel_req m = request(fill);

	return !memcmp(&m, &out, sizeof(m));
}

Test(held, each_end_has_its_own)
{
	cr_assert(put(7, 0, 1, 100));
	cr_assert(put(7, 1, 2, 100));
	cr_assert(put(8, 0, 3, 100));
	cr_assert(ntm_held_take(h, 7, 1, 200, &out) && is(2));
	cr_assert(ntm_held_take(h, 7, 0, 200, &out) && is(1));
	cr_assert(ntm_held_take(h, 8, 0, 200, &out) && is(3));
	cr_assert_not(ntm_held_take(h, 8, 0, 200, &out), "taken once");
	cr_assert_not(ntm_held_take(h, 8, 1, 200, &out));
	cr_assert_eq(ntm_held_count(h), 0);
}

Test(held, the_newest_counts)
{
	cr_assert(put(7, 0, 1, 100));
	cr_assert(put(7, 0, 2, 900));
	cr_assert_eq(ntm_held_count(h), 1);
	cr_assert(ntm_held_take(h, 7, 0, 1800, &out) && is(2));
}

Test(held, for_a_second)
{
	cr_assert(put(7, 0, 1, 100));
	cr_assert_not(ntm_held_take(h, 7, 0, 100 + NTM_HELD_MS, &out));
	cr_assert_eq(ntm_held_count(h), 0);
}

Test(held, bounded_and_stale_ones_make_room)
{
	for (uint64_t i = 0; i < NTM_HELD_MAX; i++)
		cr_assert(put(i * 0x9e3779b97f4a7c15, (unsigned)(i & 1), 1, 1000 + i / 100));
	cr_assert_not(put(1, 0, 1, 1500));
	cr_assert_eq(ntm_held_count(h), NTM_HELD_MAX);
	/* The first hundred are a second old now. */
	cr_assert(put(1, 0, 9, 1000 + NTM_HELD_MS));
	cr_assert_eq(ntm_held_count(h), NTM_HELD_MAX - 99);
	cr_assert(ntm_held_take(h, 1, 0, 1000 + NTM_HELD_MS, &out) && is(9));
	for (uint64_t i = 100; i < NTM_HELD_MAX; i++)
		cr_assert(ntm_held_take(h, i * 0x9e3779b97f4a7c15, (unsigned)(i & 1), 2000, &out) && is(1));
	cr_assert_eq(ntm_held_count(h), 0);
}

Test(held, a_full_bucket_keeps_its_order)
{
	/* The same bucket for all. */
	for (uint64_t i = 0; i < 50; i++)
		cr_assert(put(i << 32, 0, (uint8_t)i, 100 + 20 * i));
	cr_assert(put(99ull << 32, 0, 99, 1300)); /* drops the stale ones of the same bucket */
	for (uint64_t i = 0; i < 50; i++)
		cr_assert_eq(ntm_held_take(h, i << 32, 0, 1300, &out), 100 + 20 * i > 300, "%d", (int)i);
	cr_assert(ntm_held_take(h, 99ull << 32, 0, 1300, &out) && is(99));
}
