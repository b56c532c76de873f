/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <time.h>

#include "../common/addr.h"
#include "rtnl.h"
#include "rtnl_int.h"

#define REQUEST_LEN NTM_RTNL_REQUEST
#define ANSWER_LEN 32768

static size_t family_len(int family)
{
	return family == AF_INET ? 4 : 16;
}

int ntm_rtnl_open(struct ntm_rtnl *r)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!nl)
		return -errno;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0) {
		int err = -errno;
		mnl_socket_close(nl);
		return err;
	}
	/* Errors need not carry the request back; the kernel may refuse the option, which changes nothing. */
	int one = 1;
	(void)mnl_socket_setsockopt(nl, NETLINK_CAP_ACK, &one, sizeof(one));
	*r = (struct ntm_rtnl){.nl = nl, .seq = (uint32_t)time(NULL), .portid = mnl_socket_get_portid(nl)};
	return 0;
}

void ntm_rtnl_close(struct ntm_rtnl *r)
{
	if (r->nl)
		mnl_socket_close(r->nl);
	r->nl = NULL;
}

struct nlmsghdr *ntm_rtnl_request(char *buf, uint16_t type, uint16_t flags, void **extra, size_t extra_len)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	*extra = mnl_nlmsg_put_extra_header(nlh, extra_len);
	return nlh;
}

int ntm_rtnl_talk(struct ntm_rtnl *r, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg)
{
	char buf[ANSWER_LEN] __attribute__((aligned(NLMSG_ALIGNTO)));
	nlh->nlmsg_seq = ++r->seq;
	/* NLM_F_DUMP is two bits, which NLM_F_REPLACE and NLM_F_EXCL share. */
	if ((nlh->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
		nlh->nlmsg_flags |= NLM_F_ACK;
	if (mnl_socket_sendto(r->nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		ssize_t n = mnl_socket_recvfrom(r->nl, buf, sizeof(buf));
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		int run = mnl_cb_run(buf, (size_t)n, r->seq, r->portid, cb, arg);
		if (run < 0) {
			/* A leftover of a request that failed half-way (EPROTO: other sequence number). */
			if (errno == EPROTO)
				continue;
			return -errno;
		}
		if (run == MNL_CB_STOP)
			return 0;
	}
}

static int link_cb(const struct nlmsghdr *nlh, void *arg)
{
	struct ntm_link *l = arg;
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a, *b;
	if (nlh->nlmsg_type != RTM_NEWLINK)
		return MNL_CB_OK;
	*l = (struct ntm_link){.ifindex = (uint32_t)ifi->ifi_index, .flags = ifi->ifi_flags};
	mnl_attr_for_each(a, nlh, sizeof(*ifi))
	{
		switch (mnl_attr_get_type(a)) {
		case IFLA_IFNAME:
			strncpy(l->name, mnl_attr_get_str(a), sizeof(l->name) - 1);
			break;
		case IFLA_MTU:
			l->mtu = mnl_attr_get_u32(a);
			break;
		case IFLA_ADDRESS:
			if (mnl_attr_get_payload_len(a) == sizeof(l->mac))
				memcpy(l->mac, mnl_attr_get_payload(a), sizeof(l->mac));
			break;
		case IFLA_LINK:
			l->peer = mnl_attr_get_u32(a);
			break;
		case IFLA_LINKINFO:
			mnl_attr_for_each_nested(b, a) if (mnl_attr_get_type(b) == IFLA_INFO_KIND)
			    strncpy(l->kind, mnl_attr_get_str(b), sizeof(l->kind) - 1);
			break;
		case IFLA_XDP:
			mnl_attr_for_each_nested(b, a) if (mnl_attr_get_type(b) == IFLA_XDP_ATTACHED) l->xdp_attached =
			    mnl_attr_get_u8(b);
			break;
		default:
			break;
		}
	}
	return MNL_CB_OK;
}

int ntm_rtnl_link_get(struct ntm_rtnl *r, const char *name, uint32_t ifindex, struct ntm_link *out)
{
	char buf[REQUEST_LEN] = {0};
	void *extra;
	struct ntm_link l = {0};
	struct nlmsghdr *nlh = ntm_rtnl_request(buf, RTM_GETLINK, 0, &extra, sizeof(struct ifinfomsg));
	if (name)
		mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	else
		((struct ifinfomsg *)extra)->ifi_index = (int)ifindex;
	int err = ntm_rtnl_talk(r, nlh, link_cb, &l);
	if (err)
		return err;
	if (!l.ifindex)
		return -ENODEV;
	*out = l;
	return 0;
}

int ntm_rtnl_veth_add(struct ntm_rtnl *r, const char *name, const char *peer, uint32_t mtu, uint32_t queues)
{
	char buf[REQUEST_LEN] = {0};
	void *extra;
	struct nlmsghdr *nlh =
	    ntm_rtnl_request(buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &extra, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	mnl_attr_put_u32(nlh, IFLA_NUM_TX_QUEUES, queues);
	mnl_attr_put_u32(nlh, IFLA_NUM_RX_QUEUES, queues);
	struct nlattr *info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "veth");
	struct nlattr *data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	struct nlattr *other = mnl_attr_nest_start(nlh, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, peer);
	mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	mnl_attr_put_u32(nlh, IFLA_NUM_TX_QUEUES, queues);
	mnl_attr_put_u32(nlh, IFLA_NUM_RX_QUEUES, queues);
	mnl_attr_nest_end(nlh, other);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, info);
	return ntm_rtnl_talk(r, nlh, NULL, NULL);
}

int ntm_rtnl_link_set(struct ntm_rtnl *r, const struct ntm_link_change *c)
{
	char buf[REQUEST_LEN] = {0};
	void *extra;
	struct nlmsghdr *nlh = ntm_rtnl_request(buf, RTM_SETLINK, 0, &extra, sizeof(struct ifinfomsg));
	struct ifinfomsg *ifi = extra;
	ifi->ifi_index = (int)c->ifindex;
	ifi->ifi_flags = c->flags;
	ifi->ifi_change = c->flags_mask;
	if (c->mtu)
		mnl_attr_put_u32(nlh, IFLA_MTU, c->mtu);
	if (c->gso_segs)
		mnl_attr_put_u32(nlh, IFLA_GSO_MAX_SEGS, c->gso_segs);
	if (c->no_addrgen) {
		struct nlattr *spec = mnl_attr_nest_start(nlh, IFLA_AF_SPEC);
		struct nlattr *inet6 = mnl_attr_nest_start(nlh, AF_INET6);
		mnl_attr_put_u8(nlh, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
		mnl_attr_nest_end(nlh, inet6);
		mnl_attr_nest_end(nlh, spec);
	}
	return ntm_rtnl_talk(r, nlh, NULL, NULL);
}

int ntm_rtnl_link_del(struct ntm_rtnl *r, uint32_t ifindex)
{
	char buf[REQUEST_LEN] = {0};
	void *extra;
	struct nlmsghdr *nlh = ntm_rtnl_request(buf, RTM_DELLINK, 0, &extra, sizeof(struct ifinfomsg));
	((struct ifinfomsg *)extra)->ifi_index = (int)ifindex;
	return ntm_rtnl_talk(r, nlh, NULL, NULL);
}

static int addr_request(struct ntm_rtnl *r, uint16_t type, uint16_t flags, uint32_t ifindex, int family,
			const uint8_t *addr, uint8_t len)
{
	char buf[REQUEST_LEN] = {0};
	void *extra;
	struct nlmsghdr *nlh = ntm_rtnl_request(buf, type, flags, &extra, sizeof(struct ifaddrmsg));
	struct ifaddrmsg *ifa = extra;
	ifa->ifa_family = (uint8_t)family;
	ifa->ifa_prefixlen = len;
	ifa->ifa_index = ifindex;
	ifa->ifa_scope = RT_SCOPE_UNIVERSE;
	mnl_attr_put(nlh, IFA_LOCAL, family_len(family), addr);
	mnl_attr_put(nlh, IFA_ADDRESS, family_len(family), addr);
	if (type == RTM_NEWADDR)
		mnl_attr_put_u32(nlh, IFA_FLAGS, IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
	return ntm_rtnl_talk(r, nlh, NULL, NULL);
}

int ntm_rtnl_addr_add(struct ntm_rtnl *r, uint32_t ifindex, int family, const uint8_t *addr)
{
	return addr_request(r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, ifindex, family, addr,
			    (uint8_t)(8 * family_len(family)));
}

int ntm_rtnl_addr_del(struct ntm_rtnl *r, uint32_t ifindex, int family, const uint8_t *addr, uint8_t len)
{
	return addr_request(r, RTM_DELADDR, 0, ifindex, family, addr, len);
}

struct addr_dump {
	uint32_t ifindex;
	void (*fn)(void *arg, int family, const uint8_t ip[16], uint8_t len);
	void *arg;
};

static int addr_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct addr_dump *d = arg;
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a, *addr = NULL, *local = NULL;
	if (nlh->nlmsg_type != RTM_NEWADDR || ifa->ifa_index != d->ifindex ||
	    (ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6))
		return MNL_CB_OK;
	mnl_attr_for_each(a, nlh, sizeof(*ifa))
	{
		if (mnl_attr_get_type(a) == IFA_ADDRESS)
			addr = a;
		else if (mnl_attr_get_type(a) == IFA_LOCAL)
			local = a;
	}
	a = local ? local : addr;
	if (!a || mnl_attr_get_payload_len(a) != family_len(ifa->ifa_family))
		return MNL_CB_OK;
	uint8_t ip[16];
	if (ifa->ifa_family == AF_INET)
		ntm_ip_from_v4(ip, mnl_attr_get_payload(a));
	else
		memcpy(ip, mnl_attr_get_payload(a), 16);
	d->fn(d->arg, ifa->ifa_family, ip, ifa->ifa_prefixlen);
	return MNL_CB_OK;
}

int ntm_rtnl_addr_dump(struct ntm_rtnl *r, uint32_t ifindex,
		       void (*fn)(void *arg, int family, const uint8_t ip[16], uint8_t len), void *arg)
{
	char buf[REQUEST_LEN] = {0};
	void *extra;
	struct addr_dump d = {ifindex, fn, arg};
	struct nlmsghdr *nlh = ntm_rtnl_request(buf, RTM_GETADDR, NLM_F_DUMP, &extra, sizeof(struct ifaddrmsg));
	return ntm_rtnl_talk(r, nlh, addr_cb, &d);
}

static int route_request(struct ntm_rtnl *r, uint16_t type, uint16_t flags, const struct ntm_route *rt)
{
	char buf[REQUEST_LEN] = {0};
	void *extra;
	struct nlmsghdr *nlh = ntm_rtnl_request(buf, type, flags, &extra, sizeof(struct rtmsg));
	struct rtmsg *rtm = extra;
	rtm->rtm_family = (uint8_t)rt->family;
	rtm->rtm_dst_len = rt->len;
	rtm->rtm_table = rt->table ? RT_TABLE_UNSPEC : RT_TABLE_MAIN;
	rtm->rtm_protocol = NTM_RTPROT;
	rtm->rtm_scope = rt->family == AF_INET && !rt->leave ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	rtm->rtm_type = rt->leave ? RTN_THROW : RTN_UNICAST;
	mnl_attr_put(nlh, RTA_DST, family_len(rt->family), rt->dst);
	if (rt->table)
		mnl_attr_put_u32(nlh, RTA_TABLE, rt->table);
	if (rt->ifindex)
		mnl_attr_put_u32(nlh, RTA_OIF, rt->ifindex);
	if (type == RTM_NEWROUTE && !rt->leave) {
		if (rt->src)
			mnl_attr_put(nlh, RTA_PREFSRC, family_len(rt->family), rt->src);
		struct nlattr *m = mnl_attr_nest_start(nlh, RTA_METRICS);
		if (rt->mtu)
			mnl_attr_put_u32(nlh, RTAX_MTU, rt->mtu);
		if (rt->advmss)
			mnl_attr_put_u32(nlh, RTAX_ADVMSS, rt->advmss);
		mnl_attr_nest_end(nlh, m);
	}
	return ntm_rtnl_talk(r, nlh, NULL, NULL);
}

int ntm_rtnl_route_set(struct ntm_rtnl *r, const struct ntm_route *rt)
{
	return route_request(r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, rt);
}

int ntm_rtnl_route_del(struct ntm_rtnl *r, const struct ntm_route *rt)
{
	return route_request(r, RTM_DELROUTE, 0, rt);
}
