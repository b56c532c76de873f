/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "../../user/common/addr.h"

static void accepts(const char *text, uint16_t dflt, const char *formatted)
{
	char out[NTM_ADDR_STRLEN];
	struct ntm_addr a;

	cr_assert_eq(ntm_addr_parse(text, dflt, &a), 0, "%s", text);
	cr_assert_str_eq(ntm_addr_format(&a, out), formatted);
}

static void refuses(const char *text, uint16_t dflt)
{
	struct ntm_addr a, before;

	memset(&a, 0xa5, sizeof(a));
	before = a;
	cr_assert_eq(ntm_addr_parse(text, dflt, &a), -EINVAL, "%s", text);
	cr_assert_eq(memcmp(&a, &before, sizeof(a)), 0, "%s: output touched", text);
}

Test(addr, parse)
{
	accepts("192.0.2.1:4680", 0, "192.0.2.1:4680");
	accepts("192.0.2.1", 53, "192.0.2.1:53");
	accepts("[2001:db8::1]:65535", 0, "[2001:db8::1]:65535");
	accepts("[2001:db8::1]", 53, "[2001:db8::1]:53");
	accepts("[::]:1", 0, "[::]:1");
	accepts("[::ffff:192.0.2.1]:7", 0, "192.0.2.1:7");
	accepts("127.0.0.1:0", 0, "127.0.0.1:0");
	accepts("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", 0,
		"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

Test(addr, parse_refuses)
{
	static const char *const bad[] = {
	    "",
	    ":",
	    "192.0.2.1",
	    "192.0.2.1:",
	    "192.0.2.1:65536",
	    "192.0.2.1:-1",
	    "192.0.2.1: 1",
	    "192.0.2.1:1 ",
	    "192.0.2.1:1x",
	    "192.0.2:1",
	    "192.0.2.256:1",
	    "host:1",
	    "2001:db8::1:80",
	    "[2001:db8::1]80",
	    "[2001:db8::1",
	    "[2001:db8::1]:",
	    "[]:1",
	    "[192.0.2.1]:1",
	    " 192.0.2.1:1",
	    "[2001:db8::1]]:1",
	    "[fe80::1%eth0]:1",
	    "192.0.2.1:000001",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		refuses(bad[i], 0);
	refuses("2001:db8::1", 53);
	refuses("[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:1", 0);
}

Test(addr, prefix)
{
	char out[NTM_ADDR_STRLEN];
	struct ntm_prefix p;
	uint8_t ip[16];

	cr_assert_eq(ntm_prefix_parse("100.96.0.0/12", &p), 0);
	cr_assert_eq(p.len, 108);
	cr_assert_str_eq(ntm_prefix_format(&p, out), "100.96.0.0/12");
	cr_assert_eq(ntm_ip_parse("100.111.255.255", ip), 0);
	cr_assert(ntm_prefix_contains(&p, ip));
	cr_assert_eq(ntm_ip_parse("100.112.0.0", ip), 0);
	cr_assert_not(ntm_prefix_contains(&p, ip));
	cr_assert_eq(ntm_ip_parse("64::", ip), 0);
	cr_assert_not(ntm_prefix_contains(&p, ip));

	cr_assert_eq(ntm_prefix_parse("fd4e:544d::/48", &p), 0);
	cr_assert_str_eq(ntm_prefix_format(&p, out), "fd4e:544d::/48");
	cr_assert_eq(ntm_ip_parse("fd4e:544d:0:ffff::1", ip), 0);
	cr_assert(ntm_prefix_contains(&p, ip));
	cr_assert_eq(ntm_ip_parse("fd4e:544d:1::", ip), 0);
	cr_assert_not(ntm_prefix_contains(&p, ip));

	cr_assert_eq(ntm_prefix_parse("0.0.0.0/0", &p), 0);
	cr_assert(ntm_ip_parse("203.0.113.9", ip) == 0 && ntm_prefix_contains(&p, ip));
	cr_assert_eq(ntm_prefix_parse("192.0.2.1/32", &p), 0);
	cr_assert_not(ntm_prefix_contains(&p, ip));
}

Test(addr, prefix_refuses)
{
	static const char *const bad[] = {"100.96.0.1/12", "100.96.0.0",    "100.96.0.0/", "100.96.0.0/33",
					  "::/129",        "fd4e::1/64",    "/12",         "x/1",
					  "1.2.3.0/-1",    "100.96.0.0/12 "};
	struct ntm_prefix p = {.len = 7};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_eq(ntm_prefix_parse(bad[i], &p), -EINVAL, "%s", bad[i]);
	cr_assert_eq(p.len, 7);
}

Test(addr, usable)
{
	static const char *const no[] = {"0.0.0.0",   "127.0.0.1",       "127.255.0.1", "169.254.1.1",
					 "224.0.0.1", "255.255.255.255", "::",          "::1",
					 "fe80::1",   "febf::1",         "ff02::1"};
	static const char *const yes[] = {"10.0.0.1",    "192.0.2.1", "100.64.0.1", "169.253.0.1",
					  "2001:db8::1", "fd00::1",   "fec0::1",    "223.255.255.254"};
	uint8_t ip[16];

	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++)
		cr_assert(ntm_ip_parse(no[i], ip) == 0 && !ntm_ip_is_usable(ip), "%s", no[i]);
	for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++)
		cr_assert(ntm_ip_parse(yes[i], ip) == 0 && ntm_ip_is_usable(ip), "%s", yes[i]);
}

Test(addr, sockaddr_round_trip)
{
	struct sockaddr_storage ss;
	struct ntm_addr v4, v6, back;

	cr_assert_eq(ntm_addr_parse("192.0.2.1:4680", 0, &v4), 0);
	cr_assert_eq(ntm_addr_parse("[2001:db8::1]:4680", 0, &v6), 0);
	cr_assert_eq(ntm_addr_to_sockaddr(&v4, AF_INET, &ss), sizeof(struct sockaddr_in));
	cr_assert_eq(((struct sockaddr_in *)&ss)->sin_addr.s_addr, htonl(0xc0000201));
	cr_assert_eq(ntm_addr_from_sockaddr(&back, (struct sockaddr *)&ss), 0);
	cr_assert(ntm_addr_equal(&back, &v4));
	cr_assert_eq(ntm_addr_to_sockaddr(&v4, AF_INET6, &ss), sizeof(struct sockaddr_in6));
	cr_assert_eq(ntm_addr_from_sockaddr(&back, (struct sockaddr *)&ss), 0);
	cr_assert(ntm_addr_equal(&back, &v4));
	cr_assert_eq(ntm_addr_to_sockaddr(&v6, AF_INET6, &ss), sizeof(struct sockaddr_in6));
	cr_assert_eq(ntm_addr_from_sockaddr(&back, (struct sockaddr *)&ss), 0);
	cr_assert(ntm_addr_equal(&back, &v6));
	cr_assert_not(ntm_addr_equal(&v4, &v6));
	cr_assert_eq(ntm_addr_to_sockaddr(&v6, AF_INET, &ss), 0);
	ss.ss_family = AF_UNIX;
	cr_assert_eq(ntm_addr_from_sockaddr(&back, (struct sockaddr *)&ss), -EINVAL);
}
