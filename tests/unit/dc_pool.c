/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <string.h>

#include "../../dc/pool.h"

static struct ntm_pool make(const char *v4, const char *v6)
{
	struct ntm_prefix p4, p6;
	struct ntm_pool p;
	char why[128];

	cr_assert_eq(ntm_prefix_parse(v4, &p4), 0);
	cr_assert_eq(ntm_prefix_parse(v6, &p6), 0);
	cr_assert_eq(ntm_pool_init(&p, &p4, &p6, why, sizeof(why)), 0, "%s", why);
	return p;
}

static uint32_t index_of(const struct ntm_pool *p, const char *text)
{
	uint8_t ip[16];

	cr_assert_eq(ntm_ip_parse(text, ip), 0);
	return ntm_pool_index(p, ip);
}

Test(pool, both_addresses_have_one_index)
{
	struct ntm_pool p = make("100.96.0.0/12", "fd4e:544d::/48");
	uint8_t vip4[4], vip6[16], want[16];

	cr_assert_eq(p.last, (1u << 20) - 2);
	ntm_pool_addresses(&p, 1, vip4, vip6);
	cr_assert_arr_eq(vip4, ((uint8_t[]){100, 96, 0, 1}), 4);
	ntm_ip_parse("fd4e:544d::1", want);
	cr_assert_arr_eq(vip6, want, 16);

	ntm_pool_addresses(&p, p.last, vip4, vip6);
	cr_assert_arr_eq(vip4, ((uint8_t[]){100, 111, 255, 254}), 4);
	ntm_ip_parse("fd4e:544d::f:fffe", want);
	cr_assert_arr_eq(vip6, want, 16);
	cr_assert_eq(index_of(&p, "100.111.255.254"), p.last);
	cr_assert_eq(index_of(&p, "fd4e:544d::f:fffe"), p.last);
}

Test(pool, addresses_never_given_have_no_index)
{
	struct ntm_pool p = make("10.1.0.0/16", "fd00::/64");

	cr_assert_eq(index_of(&p, "10.1.0.0"), 0, "network");
	cr_assert_eq(index_of(&p, "10.1.255.255"), 0, "broadcast");
	cr_assert_eq(index_of(&p, "10.2.0.1"), 0);
	cr_assert_eq(index_of(&p, "10.0.255.255"), 0);
	cr_assert_eq(index_of(&p, "fd00::"), 0, "subnet-router anycast");
	cr_assert_eq(index_of(&p, "fd00::ffff"), 0, "has no IPv4 partner");
	cr_assert_eq(index_of(&p, "fd00::1:0:0:1"), 0);
	cr_assert_eq(index_of(&p, "fd01::1"), 0);
	cr_assert_eq(index_of(&p, "10.1.0.1"), 1);
}

Test(pool, smaller_pool_bounds_the_other)
{
	cr_assert_eq(make("10.0.0.0/8", "fd00::/120").last, 254);
	cr_assert_eq(make("10.0.0.0/30", "fd00::/48").last, 2);
	cr_assert_eq(make("10.0.0.0/30", "fd00::/126").last, 2);
}

Test(pool, bad_pools_are_refused)
{
	struct {
		const char *v4, *v6;
	} bad[] = {
	    {"10.0.0.0/31", "fd00::/64"},
	    {"fd00::/64", "fd00::/64"},
	    {"10.0.0.0/8", "10.0.0.0/8"},
	    {"10.0.0.0/8", "fd00::/127"},
	};
	struct ntm_prefix p4, p6;
	struct ntm_pool p;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char why[128] = "";

		cr_assert_eq(ntm_prefix_parse(bad[i].v4, &p4), 0);
		cr_assert_eq(ntm_prefix_parse(bad[i].v6, &p6), 0);
		cr_expect_lt(ntm_pool_init(&p, &p4, &p6, why, sizeof(why)), 0, "%s %s", bad[i].v4, bad[i].v6);
		cr_expect(*why);
	}
}
