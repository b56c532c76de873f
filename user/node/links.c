/* SPDX-License-Identifier: BSD-2-Clause */
/* What rtnetlink messages say about interfaces, and which of those are uplinks. */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <limits.h>
#include <linux/if.h>
#include <linux/if_addr.h>
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
	*l = (struct ntm_link){.metric4 = UINT32_MAX, .metric6 = UINT32_MAX};
	l->up.dp.ifindex = (uint32_t)ifi->ifi_index;
	l->up.dp.mtu = mnl_attr_get_u32(mtu);
	strcpy(l->up.dp.name, mnl_attr_get_str(name));
	l->running = (ifi->ifi_flags & IFF_UP) && (ifi->ifi_flags & IFF_RUNNING);
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

static void take_metric(struct ntm_links *links, uint32_t ifindex, bool v4, uint32_t metric)
{
	struct ntm_link *l = find(links, ifindex);
	uint32_t *best = l ? (v4 ? &l->metric4 : &l->metric6) : NULL;

	if (best && metric < *best)
		*best = metric;
}

static int take_route(struct ntm_links *links, const struct nlmsghdr *nlh)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a;
	uint32_t metric = 0;
	bool v4;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*rtm))
		return -EBADMSG;
	if (rtm->rtm_dst_len || rtm->rtm_type != RTN_UNICAST || rtm->rtm_table != RT_TABLE_MAIN ||
	    (rtm->rtm_family != AF_INET && rtm->rtm_family != AF_INET6))
		return 0;
	v4 = rtm->rtm_family == AF_INET;
	a = attribute(nlh, sizeof(*rtm), RTA_PRIORITY, 4);
	if (a)
		metric = mnl_attr_get_u32(a);
	/* 0 would be the best there is, and is where a missing one must not end on UINT32_MAX either. */
	if (metric == UINT32_MAX)
		metric--;
	a = attribute(nlh, sizeof(*rtm), RTA_OIF, 4);
	if (a) {
		take_metric(links, mnl_attr_get_u32(a), v4, metric);
		return 0;
	}
	a = attribute(nlh, sizeof(*rtm), RTA_MULTIPATH, sizeof(struct rtnexthop));
	if (a) {
		const uint8_t *p = mnl_attr_get_payload(a);
		size_t left = mnl_attr_get_payload_len(a);

		while (left >= sizeof(struct rtnexthop)) {
			struct rtnexthop nh;

			memcpy(&nh, p, sizeof(nh));
			if (nh.rtnh_len < sizeof(nh) || nh.rtnh_len > left)
				return -EBADMSG;
			take_metric(links, (uint32_t)nh.rtnh_ifindex, v4, metric);
			if ((size_t)RTNH_ALIGN(nh.rtnh_len) >= left)
				break;
			left -= (size_t)RTNH_ALIGN(nh.rtnh_len);
			p += RTNH_ALIGN(nh.rtnh_len);
		}
	}
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

static uint32_t best_metric(const struct ntm_link *l)
{
	return l->metric4 < l->metric6 ? l->metric4 : l->metric6;
}

static int by_preference(const void *pa, const void *pb)
{
	const struct ntm_link *const *a = pa, *const *b = pb;

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

unsigned ntm_links_choose(const struct ntm_links *links, const struct ntm_string_list *wanted, const char *own_ifname,
			  struct ntm_uplink_info out[NTM_UPLINKS_MAX])
{
	const struct ntm_link *chosen[NTM_LINKS_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < links->n; i++) {
		const struct ntm_link *l = &links->l[i];

		if (l->running && !l->loopback && l->up.n_addrs && !own(l->up.dp.name, own_ifname) &&
		    is_wanted(l->up.dp.name, wanted))
			chosen[n++] = l;
	}
	if (n > 1)
		qsort(chosen, n, sizeof(chosen[0]), by_preference);
	if (n > NTM_UPLINKS_MAX)
		n = NTM_UPLINKS_MAX;
	for (unsigned i = 0; i < n; i++) {
		out[i] = chosen[i]->up;
		pick_addresses(chosen[i], &out[i]);
		out[i].default4 = chosen[i]->metric4 != UINT32_MAX;
		out[i].default6 = chosen[i]->metric6 != UINT32_MAX;
	}
	return n;
}

bool ntm_links_relevant(const struct nlmsghdr *nlh, uint32_t own_ifindex, uint32_t own_peer_ifindex)
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
		return mnl_nlmsg_get_payload_len(nlh) >= sizeof(struct rtmsg) &&
		       ((const struct rtmsg *)mnl_nlmsg_get_payload(nlh))->rtm_dst_len == 0;
	default:
		return false;
	}
	return ifindex != own_ifindex && ifindex != own_peer_ifindex;
}
