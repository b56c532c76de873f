/* SPDX-License-Identifier: BSD-2-Clause */
/* What rtnetlink messages say about interfaces, and which of those are uplinks. */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <limits.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "netwatch.h"

static struct ntm_link *find(struct ntm_links *links, uint32_t ifindex)
{
	for (unsigned i = 0; i < links->n; i++)
		if (links->l[i].up.dp.ifindex == ifindex)
			return &links->l[i];
	return NULL;
}

/* Collects one attribute's payload, checked for its length. */
static const struct nlattr *attribute(const struct nlmsghdr *nlh, size_t hdr, uint16_t type, size_t min)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, nlh, hdr)
	{
		if (mnl_attr_get_type(a) == type)
			return mnl_attr_get_payload_len(a) >= min ? a : NULL;
	}
	return NULL;
}

static int take_link(struct ntm_links *links, const struct nlmsghdr *nlh)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *name, *mtu;
	struct ntm_link *l;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifi) || ifi->ifi_index <= 0)
		return -EBADMSG;
	name = attribute(nlh, sizeof(*ifi), IFLA_IFNAME, 2);
	mtu = attribute(nlh, sizeof(*ifi), IFLA_MTU, 4);
	if (!name || !mtu || mnl_attr_get_payload_len(name) > sizeof(l->up.dp.name) ||
	    mnl_attr_validate(name, MNL_TYPE_NUL_STRING) < 0)
		return -EBADMSG;
	l = find(links, (uint32_t)ifi->ifi_index);
	if (!l) {
		if (links->n == NTM_LINKS_MAX)
			return -ENOSPC;
		l = &links->l[links->n++];
	}
	*l = (struct ntm_link){.routes4.metric = UINT32_MAX, .routes6.metric = UINT32_MAX};
	l->up.dp.ifindex = (uint32_t)ifi->ifi_index;
	l->up.dp.mtu = mnl_attr_get_u32(mtu);
	strcpy(l->up.dp.name, mnl_attr_get_str(name));
	l->is_up = ifi->ifi_flags & IFF_UP;
	l->running = l->is_up && (ifi->ifi_flags & IFF_RUNNING);
	l->loopback = ifi->ifi_flags & IFF_LOOPBACK;
	return 0;
}

/* As in struct ntm_prefix; 0 for one that makes no sense, or holds everything. */
static uint8_t prefix_len(const struct ifaddrmsg *ifa, size_t addr_len)
{
	if (!ifa->ifa_prefixlen || ifa->ifa_prefixlen > 8 * addr_len)
		return 0;
	return (uint8_t)(8 * (16 - addr_len) + ifa->ifa_prefixlen);
}

static int take_addr(struct ntm_links *links, const struct nlmsghdr *nlh)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *addr, *flags_attr;
	struct ntm_link *l;
	uint32_t flags;
	uint8_t ip[16];
	size_t len;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifa))
		return -EBADMSG;
	if (ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6)
		return 0;
	len = ifa->ifa_family == AF_INET ? 4 : 16;
	/* On point-to-point interfaces IFA_ADDRESS is the peer. */
	addr = attribute(nlh, sizeof(*ifa), IFA_LOCAL, len);
	if (!addr)
		addr = attribute(nlh, sizeof(*ifa), IFA_ADDRESS, len);
	if (!addr)
		return -EBADMSG;
	flags_attr = attribute(nlh, sizeof(*ifa), IFA_FLAGS, 4);
	flags = flags_attr ? mnl_attr_get_u32(flags_attr) : ifa->ifa_flags;
	/* A tentative one can be used where the kernel does so, too. */
	if (flags & (IFA_F_DADFAILED | IFA_F_DEPRECATED) || (flags & IFA_F_TENTATIVE && !(flags & IFA_F_OPTIMISTIC)))
		return 0;
	if (len == 4)
		ntm_ip_from_v4(ip, mnl_attr_get_payload(addr));
	else
		memcpy(ip, mnl_attr_get_payload(addr), 16);
	l = find(links, ifa->ifa_index);
	if (!l || !ntm_ip_is_usable(ip) || ifa->ifa_scope == RT_SCOPE_HOST || ifa->ifa_scope == RT_SCOPE_LINK)
		return 0;
	for (unsigned i = 0; i < l->up.n_addrs; i++)
		if (!memcmp(l->up.addrs[i], ip, 16))
			return 0;
	if (l->up.n_addrs == NTM_UPLINK_ADDRS)
		return 0;
	memcpy(l->up.addrs[l->up.n_addrs], ip, 16);
	l->up.prefix_len[l->up.n_addrs] = prefix_len(ifa, len);
	l->is_v4[l->up.n_addrs] = len == 4;
	l->weight[l->up.n_addrs++] = flags & (IFA_F_SECONDARY | IFA_F_TEMPORARY) ? 1 : 0;
	return 0;
}

static struct ntm_link_routes *routes_of(struct ntm_links *links, uint32_t ifindex, bool v4)
{
	struct ntm_link *l = find(links, ifindex);

	if (!l)
		return NULL;
	return v4 ? &l->routes4 : &l->routes6;
}

static void map_address(uint8_t out[16], const struct nlattr *a, bool v4)
{
	memset(out, 0, 16);
	if (a && v4)
		ntm_ip_from_v4(out, mnl_attr_get_payload(a));
	else if (a)
		memcpy(out, mnl_attr_get_payload(a), 16);
}

static void take_default(struct ntm_link_routes *r, uint32_t metric, const struct nlattr *gateway, bool v4)
{
	/* Two of the same metric: the kernel's choice. */
	if (r->metric != UINT32_MAX && metric == r->metric)
		r->odd = true;
	if (metric >= r->metric)
		return;
	r->metric = metric;
	map_address(r->gateway, gateway, v4);
}

static void take_prefix(struct ntm_link_routes *r, const struct nlattr *dst, uint8_t len, bool v4)
{
	uint8_t prefix[16];

	map_address(prefix, dst, v4);
	if (v4)
		len = (uint8_t)(len + 96);
	else if (prefix[0] == 0xfe && (prefix[1] & 0xc0) == 0x80)
		return; /* link-local addresses are no endpoints */
	if (r->prefix_len && (r->prefix_len != len || memcmp(r->prefix, prefix, 16)))
		r->odd = true;
	memcpy(r->prefix, prefix, 16);
	r->prefix_len = len;
}

static int take_multipath(struct ntm_links *links, const struct nlattr *a, uint32_t metric, bool v4)
{
	const uint8_t *p = mnl_attr_get_payload(a);
	size_t left = mnl_attr_get_payload_len(a);

	while (left >= sizeof(struct rtnexthop)) {
		struct ntm_link_routes *r;
		struct rtnexthop nh;

		memcpy(&nh, p, sizeof(nh));
		if (nh.rtnh_len < sizeof(nh) || nh.rtnh_len > left)
			return -EBADMSG;
		r = routes_of(links, (uint32_t)nh.rtnh_ifindex, v4);
		if (r) {
			take_default(r, metric, NULL, v4);
			r->odd = true;
		}
		if ((size_t)RTNH_ALIGN(nh.rtnh_len) >= left)
			break;
		left -= (size_t)RTNH_ALIGN(nh.rtnh_len);
		p += RTNH_ALIGN(nh.rtnh_len);
	}
	return 0;
}

static int take_route(struct ntm_links *links, const struct nlmsghdr *nlh)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a, *gateway, *dst;
	struct ntm_link_routes *r;
	uint32_t metric = 0;
	size_t len;
	bool v4;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*rtm))
		return -EBADMSG;
	if (rtm->rtm_type != RTN_UNICAST || rtm->rtm_table != RT_TABLE_MAIN || rtm->rtm_flags & RTM_F_CLONED ||
	    (rtm->rtm_family != AF_INET && rtm->rtm_family != AF_INET6))
		return 0;
	v4 = rtm->rtm_family == AF_INET;
	len = v4 ? 4 : 16;
	if (rtm->rtm_dst_len > 8 * len)
		return -EBADMSG;
	a = attribute(nlh, sizeof(*rtm), RTA_PRIORITY, 4);
	if (a)
		metric = mnl_attr_get_u32(a);
	/* 0 would be the best there is, and is where a missing one must not end on UINT32_MAX either. */
	if (metric == UINT32_MAX)
		metric--;
	gateway = attribute(nlh, sizeof(*rtm), RTA_GATEWAY, len);
	dst = attribute(nlh, sizeof(*rtm), RTA_DST, len);
	a = attribute(nlh, sizeof(*rtm), RTA_OIF, 4);
	if (a) {
		r = routes_of(links, mnl_attr_get_u32(a), v4);
		if (!r)
			return 0;
		if (attribute(nlh, sizeof(*rtm), RTA_VIA, 2) || attribute(nlh, sizeof(*rtm), RTA_ENCAP, 0) ||
		    (rtm->rtm_dst_len && (gateway || !dst)))
			r->odd = true;
		if (!rtm->rtm_dst_len)
			take_default(r, metric, gateway, v4);
		else if (!gateway && dst)
			take_prefix(r, dst, rtm->rtm_dst_len, v4);
		return 0;
	}
	a = attribute(nlh, sizeof(*rtm), RTA_MULTIPATH, sizeof(struct rtnexthop));
	return a && !rtm->rtm_dst_len ? take_multipath(links, a, metric, v4) : 0;
}

/* Not counted: those that are always there, and the agent's own, which lead no outer packet elsewhere. */
static int take_rule(struct ntm_links *links, const struct nlmsghdr *nlh)
{
	const struct fib_rule_hdr *h = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a;
	uint32_t table;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*h))
		return -EBADMSG;
	a = attribute(nlh, sizeof(*h), FRA_TABLE, 4);
	table = a ? mnl_attr_get_u32(a) : h->table;
	if (h->action == FR_ACT_TO_TBL &&
	    (table == RT_TABLE_LOCAL || table == RT_TABLE_MAIN || table == RT_TABLE_DEFAULT))
		return 0;
	a = attribute(nlh, sizeof(*h), FRA_PROTOCOL, 1);
	if (a && mnl_attr_get_u8(a) == NTM_RTPROT)
		return 0;
	if (h->family == AF_INET)
		links->policy4 = true;
	else if (h->family == AF_INET6)
		links->policy6 = true;
	return 0;
}

int ntm_links_take(struct ntm_links *links, const struct nlmsghdr *nlh)
{
	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
		return take_link(links, nlh);
	case RTM_NEWADDR:
		return take_addr(links, nlh);
	case RTM_NEWROUTE:
		return take_route(links, nlh);
	case RTM_NEWRULE:
		return take_rule(links, nlh);
	default:
		return 0;
	}
}

/* The first address of each family with the least weight. */
static void pick_addresses(const struct ntm_link *l, struct ntm_uplink_info *u)
{
	unsigned best4 = UINT_MAX, best6 = UINT_MAX;

	for (unsigned i = 0; i < l->up.n_addrs; i++) {
		if (l->is_v4[i] && l->weight[i] < best4) {
			best4 = l->weight[i];
			memcpy(u->dp.addr4, l->up.addrs[i] + 12, 4);
		} else if (!l->is_v4[i] && l->weight[i] < best6) {
			best6 = l->weight[i];
			memcpy(u->dp.addr6, l->up.addrs[i], 16);
		}
	}
}

static bool in_prefix(const uint8_t ip[16], const uint8_t prefix[16], unsigned len)
{
	unsigned whole = len / 8;

	return !memcmp(ip, prefix, whole) && (len % 8 == 0 || !((ip[whole] ^ prefix[whole]) >> (8 - len % 8)));
}

static struct ntm_dp_way way_of(const struct ntm_link_routes *r, bool policy, const uint8_t addr[16])
{
	struct ntm_dp_way w = {.known = !r->odd && !policy, .out = r->metric != UINT32_MAX, .prefix_len = 128};

	if (r->prefix_len && in_prefix(addr, r->prefix, r->prefix_len))
		w.prefix_len = r->prefix_len;
	else if (r->prefix_len)
		w.known = false;
	if (!w.known)
		return (struct ntm_dp_way){0};
	if (w.out)
		memcpy(w.gateway, r->gateway, 16);
	return w;
}

static uint32_t best_metric(const struct ntm_link *l)
{
	return l->routes4.metric < l->routes6.metric ? l->routes4.metric : l->routes6.metric;
}

struct choice {
	const struct ntm_link *link;
	size_t rank; /* in the list of those preferred; its length: not in it */
};

static size_t rank_of(const char *name, const struct ntm_string_list *prefer)
{
	size_t i = 0;

	while (i < prefer->n && strcmp(name, prefer->items[i]))
		i++;
	return i;
}

static int by_preference(const void *pa, const void *pb)
{
	const struct choice *ca = pa, *cb = pb;
	const struct ntm_link *const *a = &ca->link, *const *b = &cb->link;

	if (ca->rank != cb->rank)
		return ca->rank < cb->rank ? -1 : 1;
	if (best_metric(*a) != best_metric(*b))
		return best_metric(*a) < best_metric(*b) ? -1 : 1;
	return (*a)->up.dp.ifindex < (*b)->up.dp.ifindex ? -1 : 1;
}

static bool own(const char *name, const char *own_ifname)
{
	size_t len = strlen(own_ifname);

	return !strncmp(name, own_ifname, len) && (!name[len] || !strcmp(name + len, "p"));
}

static bool is_wanted(const char *name, const struct ntm_string_list *wanted)
{
	for (size_t i = 0; i < wanted->n; i++)
		if (!strcmp(name, wanted->items[i]))
			return true;
	return wanted->n == 0;
}

static bool has_address(const struct ntm_link *l, bool v4)
{
	for (unsigned i = 0; i < l->up.n_addrs; i++)
		if (l->is_v4[i] == v4)
			return true;
	return false;
}

unsigned ntm_links_with_routes(const struct ntm_links *links, const char *own_ifname, bool v4, uint32_t *out,
			       unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < links->n && n < max; i++) {
		const struct ntm_link *l = &links->l[i];

		/* One that is up without a carrier may have routes that the kernel prefers. */
		if (l->is_up && !l->loopback && !own(l->up.dp.name, own_ifname) && (has_address(l, v4) || !l->running))
			out[n++] = l->up.dp.ifindex;
	}
	return n;
}

/* Routes outlive the carrier, unless somebody takes them away (or the host ignores them, which is seldom so). */
static void note_rivals(const struct ntm_links *links, const char *own_ifname, const struct ntm_link *l,
			struct ntm_uplink_info *u)
{
	for (unsigned i = 0; i < links->n; i++) {
		const struct ntm_link *dead = &links->l[i];

		if (dead->running || dead->loopback || own(dead->up.dp.name, own_ifname))
			continue;
		u->rival4 |= dead->routes4.metric != UINT32_MAX && dead->routes4.metric <= l->routes4.metric;
		u->rival6 |= dead->routes6.metric != UINT32_MAX && dead->routes6.metric <= l->routes6.metric;
	}
}

unsigned ntm_links_choose(const struct ntm_links *links, const struct ntm_string_list *wanted,
			  const struct ntm_string_list *prefer, const char *own_ifname,
			  struct ntm_uplink_info out[NTM_UPLINKS_MAX])
{
	struct choice chosen[NTM_LINKS_MAX];
	uint8_t mapped[16];
	unsigned n = 0;

	for (unsigned i = 0; i < links->n; i++) {
		const struct ntm_link *l = &links->l[i];

		if (l->running && !l->loopback && l->up.n_addrs && !own(l->up.dp.name, own_ifname) &&
		    is_wanted(l->up.dp.name, wanted))
			chosen[n++] = (struct choice){l, rank_of(l->up.dp.name, prefer)};
	}
	if (n > 1)
		qsort(chosen, n, sizeof(chosen[0]), by_preference);
	if (n > NTM_UPLINKS_MAX)
		n = NTM_UPLINKS_MAX;
	for (unsigned i = 0; i < n; i++) {
		out[i] = chosen[i].link->up;
		pick_addresses(chosen[i].link, &out[i]);
		out[i].default4 = chosen[i].link->routes4.metric != UINT32_MAX;
		out[i].default6 = chosen[i].link->routes6.metric != UINT32_MAX;
		note_rivals(links, own_ifname, chosen[i].link, &out[i]);
		ntm_ip_from_v4(mapped, out[i].dp.addr4);
		out[i].dp.way4 = way_of(&chosen[i].link->routes4, links->policy4, mapped);
		out[i].dp.way6 = way_of(&chosen[i].link->routes6, links->policy6, out[i].dp.addr6);
	}
	return n;
}

static bool by_uplink(uint32_t ifindex, const struct ntm_uplink_info *u, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (u[i].dp.ifindex == ifindex)
			return true;
	return false;
}

static bool relevant_route(const struct nlmsghdr *nlh, const struct ntm_uplink_info *u, unsigned n)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*rtm) || rtm->rtm_table != RT_TABLE_MAIN)
		return false;
	if (!rtm->rtm_dst_len)
		return true;
	a = attribute(nlh, sizeof(*rtm), RTA_OIF, 4);
	return a && rtm->rtm_type == RTN_UNICAST && by_uplink(mnl_attr_get_u32(a), u, n);
}

bool ntm_links_relevant(const struct nlmsghdr *nlh, uint32_t own_ifindex, uint32_t own_peer_ifindex,
			const struct ntm_uplink_info *u, unsigned n)
{
	uint32_t ifindex;

	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		if (mnl_nlmsg_get_payload_len(nlh) < sizeof(struct ifinfomsg))
			return false;
		ifindex = (uint32_t)((const struct ifinfomsg *)mnl_nlmsg_get_payload(nlh))->ifi_index;
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		if (mnl_nlmsg_get_payload_len(nlh) < sizeof(struct ifaddrmsg))
			return false;
		ifindex = ((const struct ifaddrmsg *)mnl_nlmsg_get_payload(nlh))->ifa_index;
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return relevant_route(nlh, u, n);
	case RTM_NEWRULE:
	case RTM_DELRULE:
		return true;
	default:
		return false;
	}
	return ifindex != own_ifindex && ifindex != own_peer_ifindex;
}
