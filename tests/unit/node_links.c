/* SPDX-License-Identifier: BSD-2-Clause */
/* rtnetlink messages: which interfaces are uplinks, which is preferred, what is worth looking at. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "../../user/node/netwatch.h"

static struct ntm_links links;
static char buf[4096] __attribute__((aligned(8)));

static struct nlmsghdr *message(uint16_t type)
{
	struct nlmsghdr *nlh;

	memset(buf, 0, sizeof(buf));
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = type;
	return nlh;
}

static struct nlmsghdr *link_message(int index, const char *name, unsigned flags, uint32_t mtu)
{
	struct nlmsghdr *nlh = message(RTM_NEWLINK);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));

	ifi->ifi_index = index;
	ifi->ifi_flags = flags;
	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	return nlh;
}

static struct nlmsghdr *addr_message(int index, const char *text, uint32_t flags, uint8_t scope)
{
	struct nlmsghdr *nlh = message(RTM_NEWADDR);
	struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	uint8_t ip[16];
	bool v4;

	cr_assert_eq(ntm_ip_parse(text, ip), 0);
	v4 = ntm_ip_is_v4(ip);
	ifa->ifa_family = v4 ? AF_INET : AF_INET6;
	ifa->ifa_index = (uint32_t)index;
	ifa->ifa_scope = scope;
	ifa->ifa_prefixlen = v4 ? 24 : 64;
	mnl_attr_put(nlh, v4 ? IFA_LOCAL : IFA_ADDRESS, v4 ? 4 : 16, v4 ? ip + 12 : ip);
	mnl_attr_put_u32(nlh, IFA_FLAGS, flags);
	return nlh;
}

static struct nlmsghdr *route_message(int family, uint8_t dst_len, int oif, uint32_t metric)
{
	struct nlmsghdr *nlh = message(RTM_NEWROUTE);
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));

	rtm->rtm_family = (unsigned char)family;
	rtm->rtm_dst_len = dst_len;
	rtm->rtm_table = RT_TABLE_MAIN;
	rtm->rtm_type = RTN_UNICAST;
	mnl_attr_put_u32(nlh, RTA_OIF, (uint32_t)oif);
	if (metric)
		mnl_attr_put_u32(nlh, RTA_PRIORITY, metric);
	return nlh;
}

static void link_up(int index, const char *name, uint32_t mtu)
{
	cr_assert_eq(ntm_links_take(&links, link_message(index, name, IFF_UP | IFF_RUNNING, mtu)), 0);
}

static void addr(int index, const char *text)
{
	cr_assert_eq(ntm_links_take(&links, addr_message(index, text, 0, RT_SCOPE_UNIVERSE)), 0);
}

static void setup(void)
{
	memset(&links, 0, sizeof(links));
}

TestSuite(links, .init = setup);

static struct ntm_uplink_info out[NTM_UPLINKS_MAX];

static struct ntm_string_list prefer;

static unsigned choose(void)
{
	static const struct ntm_string_list all;

	memset(out, 0, sizeof(out));
	return ntm_links_choose(&links, &all, &prefer, "ntm0", out);
}

Test(links, those_that_are_up_with_an_address)
{
	cr_assert_eq(ntm_links_take(&links, link_message(1, "lo", IFF_UP | IFF_RUNNING | IFF_LOOPBACK, 65536)), 0);
	link_up(2, "eth0", 1500);
	link_up(3, "eth1", 9000);
	link_up(4, "ntm0", 1440);
	link_up(5, "ntm0p", 1440);
	link_up(6, "ntm00", 1500);                                                       /* somebody else's */
	cr_assert_eq(ntm_links_take(&links, link_message(7, "down0", IFF_UP, 1500)), 0); /* no carrier */
	for (int i = 1; i <= 7; i++)
		if (i != 3)
			addr(i, i == 1 ? "192.0.2.100" : "192.0.2.1");
	addr(2, "2001:db8::1");
	cr_assert_eq(choose(), 2);
	cr_assert_str_eq(out[0].dp.name, "eth0");
	cr_assert_eq(out[0].dp.ifindex, 2);
	cr_assert_eq(out[0].dp.mtu, 1500);
	cr_assert_eq(out[0].dp.addr4[3], 1);
	cr_assert_eq(out[0].dp.addr6[0], 0x20);
	cr_assert_eq(out[0].n_addrs, 2);
	cr_assert_eq(out[0].prefix_len[0], 96 + 24);
	cr_assert_eq(out[0].prefix_len[1], 64);
	cr_assert_str_eq(out[1].dp.name, "ntm00");
}

Test(links, prefixes_that_make_no_sense_are_none)
{
	static const uint8_t lens[] = {0, 33, 255};

	link_up(2, "eth0", 1500);
	for (unsigned i = 0; i < sizeof(lens); i++) {
		char ip[] = "192.0.2.1";
		struct nlmsghdr *nlh;

		ip[8] = (char)('1' + i);
		nlh = addr_message(2, ip, 0, RT_SCOPE_UNIVERSE);
		((struct ifaddrmsg *)mnl_nlmsg_get_payload(nlh))->ifa_prefixlen = lens[i];
		cr_assert_eq(ntm_links_take(&links, nlh), 0);
	}
	cr_assert_eq(choose(), 1);
	cr_assert_eq(out[0].n_addrs, 3);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(out[0].prefix_len[i], 0);
}

Test(links, addresses_that_do_not_count)
{
	link_up(2, "eth0", 1500);
	addr(2, "127.0.0.2");
	addr(2, "169.254.1.1");
	addr(2, "fe80::1");
	ntm_links_take(&links, addr_message(2, "2001:db8::1", IFA_F_TENTATIVE, RT_SCOPE_UNIVERSE));
	ntm_links_take(&links, addr_message(2, "2001:db8::2", IFA_F_DADFAILED, RT_SCOPE_UNIVERSE));
	ntm_links_take(&links, addr_message(2, "2001:db8::3", IFA_F_DEPRECATED, RT_SCOPE_UNIVERSE));
	ntm_links_take(&links, addr_message(2, "192.0.2.1", 0, RT_SCOPE_HOST));
	cr_assert_eq(choose(), 0);
	ntm_links_take(&links, addr_message(2, "2001:db8::4", IFA_F_TEMPORARY, RT_SCOPE_UNIVERSE));
	addr(2, "2001:db8::5");
	cr_assert_eq(choose(), 1);
	cr_assert_eq(out[0].dp.addr6[15], 5, "permanent before temporary");
	cr_assert_eq(out[0].n_addrs, 2, "both are candidates");
}

Test(links, the_best_default_route_is_preferred)
{
	link_up(2, "eth0", 1500);
	link_up(3, "wlan0", 1500);
	link_up(4, "wwan0", 1400);
	for (int i = 2; i <= 4; i++)
		addr(i, "192.0.2.1");
	ntm_links_take(&links, route_message(AF_INET, 0, 3, 600));
	ntm_links_take(&links, route_message(AF_INET, 0, 4, 100));
	ntm_links_take(&links, route_message(AF_INET, 24, 2, 0)); /* no default */
	cr_assert_eq(choose(), 3);
	cr_assert_str_eq(out[0].dp.name, "wwan0");
	cr_assert_str_eq(out[1].dp.name, "wlan0");
	cr_assert_str_eq(out[2].dp.name, "eth0");
	ntm_links_take(&links, route_message(AF_INET6, 0, 2, 50));
	choose();
	cr_assert_str_eq(out[0].dp.name, "eth0");
}

Test(links, a_list_restricts_the_choice)
{
	char *items[] = {"wlan0", "absent0"};
	struct ntm_string_list wanted = {items, 2};

	link_up(2, "eth0", 1500);
	link_up(3, "wlan0", 1500);
	addr(2, "192.0.2.1");
	addr(3, "192.0.2.2");
	cr_assert_eq(ntm_links_choose(&links, &wanted, &prefer, "ntm0", out), 1);
	cr_assert_str_eq(out[0].dp.name, "wlan0");
}

Test(links, more_than_there_is_room_for)
{
	char name[16];

	for (int i = 1; i <= NTM_LINKS_MAX + 20; i++) {
		snprintf(name, sizeof(name), "if%d", i);
		ntm_links_take(&links, link_message(i, name, IFF_UP | IFF_RUNNING, 1500));
		addr(i, "192.0.2.1");
	}
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "192.0.2.%d", i + 10);
		addr(1, name);
	}
	cr_assert_eq(choose(), NTM_UPLINKS_MAX);
	cr_assert_leq(out[0].n_addrs, NTM_UPLINK_ADDRS);
}

Test(links, malformed_messages_are_refused)
{
	struct nlmsghdr *nlh;
	unsigned full;

	nlh = link_message(2, "eth0", IFF_UP, 1500);
	full = nlh->nlmsg_len;
	for (unsigned len = NLMSG_HDRLEN; len < full - 8; len += NLMSG_ALIGNTO) {
		nlh->nlmsg_len = len;
		cr_assert_neq(ntm_links_take(&links, nlh), 0);
	}
	nlh = addr_message(2, "192.0.2.1", 0, 0);
	for (unsigned len = NLMSG_HDRLEN; len < NLMSG_HDRLEN + sizeof(struct ifaddrmsg) + 8; len += NLMSG_ALIGNTO) {
		nlh->nlmsg_len = len;
		cr_assert_neq(ntm_links_take(&links, nlh), 0);
	}
	nlh = message(RTM_NEWROUTE);
	cr_assert_eq(ntm_links_take(&links, nlh), -EBADMSG);
	cr_assert_eq(links.n, 0);
	srand(2);
	for (int i = 0; i < 20000; i++) {
		nlh = message((uint16_t)(i % 3 == 0 ? RTM_NEWLINK : i % 3 == 1 ? RTM_NEWADDR : RTM_NEWROUTE));
		nlh->nlmsg_len = (uint32_t)(NLMSG_HDRLEN + rand() % 200);
		for (unsigned j = NLMSG_HDRLEN; j < nlh->nlmsg_len; j++)
			buf[j] = (char)(rand() % 4 ? rand() % 32 : rand());
		(void)ntm_links_take(&links, nlh);
	}
	choose();
}

Test(links, our_own_interface_and_host_routes_are_no_news)
{
	struct ntm_uplink_info u = {.dp.ifindex = 2};

	cr_assert(ntm_links_relevant(link_message(2, "eth0", 0, 1500), 4, 5, &u, 1));
	cr_assert_not(ntm_links_relevant(link_message(4, "ntm0", 0, 1500), 4, 5, &u, 1));
	cr_assert_not(ntm_links_relevant(addr_message(5, "192.0.2.1", 0, 0), 4, 5, &u, 1));
	cr_assert(ntm_links_relevant(addr_message(2, "192.0.2.1", 0, 0), 4, 5, &u, 1));
	cr_assert(ntm_links_relevant(route_message(AF_INET, 0, 2, 0), 4, 5, &u, 1));
	cr_assert(ntm_links_relevant(route_message(AF_INET, 24, 2, 0), 4, 5, &u, 1), "changes the next hop");
	cr_assert_not(ntm_links_relevant(route_message(AF_INET, 32, 4, 0), 4, 5, &u, 1));
	cr_assert_not(ntm_links_relevant(message(RTM_NEWROUTE), 4, 5, &u, 1));
	cr_assert_not(ntm_links_relevant(message(RTM_NEWNEIGH), 4, 5, &u, 1));
}

static void via(const char *gateway, uint32_t metric)
{
	struct nlmsghdr *nlh = route_message(AF_INET, 0, 2, metric);
	struct in_addr in;

	inet_pton(AF_INET, gateway, &in);
	mnl_attr_put(nlh, RTA_GATEWAY, sizeof(in), &in);
	cr_assert_eq(ntm_links_take(&links, nlh), 0);
}

static void to(const char *prefix, uint8_t len, const char *gateway)
{
	struct nlmsghdr *nlh = route_message(AF_INET, len, 2, 0);
	struct in_addr in;

	inet_pton(AF_INET, prefix, &in);
	mnl_attr_put(nlh, RTA_DST, sizeof(in), &in);
	if (gateway) {
		inet_pton(AF_INET, gateway, &in);
		mnl_attr_put(nlh, RTA_GATEWAY, sizeof(in), &in);
	}
	cr_assert_eq(ntm_links_take(&links, nlh), 0);
}

static struct ntm_dp_way way(void)
{
	cr_assert_eq(choose(), 1);
	return out[0].dp.way4;
}

static void eth0(void)
{
	setup();
	link_up(2, "eth0", 1500);
	addr(2, "192.0.2.1");
}

Test(links, the_next_hop_is_known_where_routes_are_simple)
{
	struct ntm_dp_way w;

	eth0();
	to("192.0.2.0", 24, NULL);
	w = way();
	cr_assert(w.known && !w.out);
	cr_assert_eq(w.prefix_len, 96 + 24);
	via("192.0.2.254", 600);
	via("192.0.2.253", 100);
	w = way();
	cr_assert(w.known && w.out);
	cr_assert_eq(w.gateway[15], 253);
	via("192.0.2.252", 100);
	cr_assert_not(way().known, "two defaults of the same metric");

	eth0();
	to("192.0.2.0", 24, NULL);
	via("192.0.2.254", 0);
	to("198.51.100.0", 24, "192.0.2.253");
	cr_assert_not(way().known, "a route by another gateway");

	eth0();
	to("203.0.113.0", 24, NULL);
	via("203.0.113.254", 0);
	cr_assert_not(way().known, "the address is on no prefix of the link");

	eth0();
	via("192.0.2.254", 0);
	w = way();
	cr_assert(w.known && w.out);
	cr_assert_eq(w.prefix_len, 128, "a point-to-point link");
}

static struct nlmsghdr *rule_message(uint32_t table, uint8_t protocol)
{
	struct nlmsghdr *nlh = message(RTM_NEWRULE);
	struct fib_rule_hdr *h = mnl_nlmsg_put_extra_header(nlh, sizeof(*h));

	h->family = AF_INET;
	h->action = FR_ACT_TO_TBL;
	mnl_attr_put_u32(nlh, FRA_TABLE, table);
	mnl_attr_put_u8(nlh, FRA_PROTOCOL, protocol);
	return nlh;
}

Test(links, a_preference_goes_before_metrics)
{
	char *names[] = {"wwan0", "wlan0"};

	eth0();
	via("192.0.2.254", 10);
	link_up(3, "wlan0", 1500);
	addr(3, "198.51.100.1");
	link_up(4, "wwan0", 1500);
	addr(4, "203.0.113.1");
	cr_assert_eq(choose(), 3);
	cr_assert_str_eq(out[0].dp.name, "eth0");
	prefer = (struct ntm_string_list){.items = names, .n = 2};
	cr_assert_eq(choose(), 3);
	cr_assert_str_eq(out[0].dp.name, "wwan0");
	cr_assert_str_eq(out[1].dp.name, "wlan0");
	cr_assert_str_eq(out[2].dp.name, "eth0");
	prefer.n = 0;
}

Test(links, with_policy_routing_the_kernel_is_asked)
{
	eth0();
	via("192.0.2.254", 0);
	cr_assert_eq(ntm_links_take(&links, rule_message(RT_TABLE_MAIN, 0)), 0);
	cr_assert_eq(ntm_links_take(&links, rule_message(4680, NTM_RTPROT)), 0);
	cr_assert(way().known, "the kernel's rules and our own");
	cr_assert_eq(ntm_links_take(&links, rule_message(100, 0)), 0);
	cr_assert_not(way().known);
}

/* Its addresses and routes stay, and the kernel goes on preferring them. */
Test(links, a_way_out_without_a_carrier_is_a_rival)
{
	static const struct {
		uint32_t here, there; /* metrics */
		bool carrier, rival;
	} rows[] = {
	    {600, 100, false, true}, {100, 600, false, false}, {100, 100, false, true}, {600, 100, true, false}};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned flags = IFF_UP | (rows[i].carrier ? IFF_RUNNING : 0);

		setup();
		link_up(2, "wwan0", 1500);
		cr_assert_eq(ntm_links_take(&links, link_message(3, "eth0", flags, 1500)), 0);
		addr(2, "192.0.2.1");
		addr(3, "198.51.100.1");
		cr_assert_eq(ntm_links_take(&links, route_message(AF_INET, 0, 2, rows[i].here)), 0);
		cr_assert_eq(ntm_links_take(&links, route_message(AF_INET, 0, 3, rows[i].there)), 0);
		cr_assert_eq(choose(), rows[i].carrier ? 2 : 1);
		for (unsigned k = 0; k <= rows[i].carrier; k++) {
			cr_expect_eq(out[k].rival4, rows[i].rival, "row %u", i);
			cr_expect_not(out[k].rival6);
		}
	}
}

/* What leads nowhere is not asked for: with a thousand peers the kernel takes its time. */
Test(links, routes_matter_of_families_with_an_address)
{
	uint32_t of[4] = {0};

	setup();
	link_up(2, "wlan0", 1500);
	link_up(3, "eth0", 1500);
	link_up(4, "ntm0", 1280);
	cr_assert_eq(ntm_links_take(&links, link_message(5, "wwan0", IFF_UP, 1500)), 0);
	addr(2, "192.0.2.1");
	addr(3, "2001:db8::1");
	addr(4, "100.64.0.1");
	cr_assert_eq(ntm_links_with_routes(&links, "ntm0", true, of, 4), 2);
	cr_expect(of[0] == 2 && of[1] == 5, "a dead one may be preferred by the kernel");
	cr_assert_eq(ntm_links_with_routes(&links, "ntm0", false, of, 4), 2);
	cr_expect(of[0] == 3 && of[1] == 5);
	cr_expect_eq(ntm_links_with_routes(&links, "ntm0", true, of, 1), 1);
}
