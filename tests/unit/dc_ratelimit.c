/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <stdio.h>

#include "../../dc/ratelimit.h"
#include "../../user/common/addr.h"
#include "../../user/common/crypto.h"

static struct ntm_dc_ratelimit r;

static unsigned allowed(const char *text, unsigned tries, uint64_t now_ms)
{
	uint8_t ip[16];
	unsigned n = 0;

	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_eq(ntm_ip_parse(text, ip), 0);
	while (tries--)
		n += ntm_dc_rate_allow(&r, ip, now_ms);
	return n;
}

Test(ratelimit, burst_then_rate)
{
	cr_assert_eq(allowed("192.0.2.1", 1000, 5000), NTM_DC_RATE_BURST);
	cr_assert_eq(allowed("192.0.2.1", 1000, 5000), 0);
	cr_assert_eq(allowed("192.0.2.1", 1000, 6000), NTM_DC_RATE_PER_S);
	cr_assert_eq(allowed("192.0.2.1", 1000, 60000), NTM_DC_RATE_BURST, "never more than a burst is saved up");
}

Test(ratelimit, ipv6_counts_by_network)
{
	cr_assert_eq(allowed("2001:db8::1", 1000, 5000), NTM_DC_RATE_BURST);
	cr_assert_eq(allowed("2001:db8::ffff:2", 1000, 5000), 0);
}

Test(ratelimit, one_address_does_not_shut_out_the_others)
{
	char text[32];
	unsigned shut_out = 0;

	allowed("192.0.2.1", 1000, 5000);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "198.51.100.%u", i);
		shut_out += !allowed(text, 1, 5000);
	}
	cr_assert_leq(shut_out, 2, "as many as share its slot");
}
