/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The interfaces that routes lead to, as XDP has to use them: the NICs that it runs on, and VLAN interfaces on those,
 * whose tags it has to write itself. The latter are found here, with their addresses; at most two tags deep.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "relay_dp_internal.h"

#define DUMP_BUF 32768

struct dumped { /* an interface as the kernel describes it */
	uint32_t ifindex, lower;
	uint16_t id, proto; /* proto 0: no VLAN; network byte order */
	uint8_t mac[6];
	char name[IF_NAMESIZE];
};

struct dump {
	struct dumped *links;
	size_t n, cap;
};

static void parse_vlan(const struct nlattr *data, struct dumped *l)
{
	const struct nlattr *a;
	uint16_t proto = 0;
	mnl_attr_for_each_nested(a, data)
	{
		if (mnl_attr_get_type(a) == IFLA_VLAN_ID && mnl_attr_get_payload_len(a) >= 2)
			l->id = mnl_attr_get_u16(a);
		else if (mnl_attr_get_type(a) == IFLA_VLAN_PROTOCOL && mnl_attr_get_payload_len(a) >= 2)
			proto = mnl_attr_get_u16(a);
	}
	l->proto = proto;
}

static void parse_info(const struct nlattr *info, struct dumped *l)
{
	const struct nlattr *a, *data = NULL;
	bool vlan = false;
	mnl_attr_for_each_nested(a, info)
	{
		if (mnl_attr_get_type(a) == IFLA_INFO_KIND)
			vlan = !strncmp(mnl_attr_get_payload(a), "vlan", mnl_attr_get_payload_len(a));
		else if (mnl_attr_get_type(a) == IFLA_INFO_DATA)
			data = a;
	}
	if (vlan && data)
		parse_vlan(data, l);
}

static int on_link(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct dumped l = {.ifindex = (uint32_t)ifi->ifi_index};
	struct dump *d = arg;
	const struct nlattr *a;
	mnl_attr_for_each(a, nlh, sizeof(*ifi))
	{
		size_t len = mnl_attr_get_payload_len(a);
		switch (mnl_attr_get_type(a)) {
		case IFLA_IFNAME:
			memcpy(l.name, mnl_attr_get_payload(a), len < sizeof(l.name) ? len : sizeof(l.name) - 1);
			break;
		case IFLA_ADDRESS:
			if (len == 6)
				memcpy(l.mac, mnl_attr_get_payload(a), 6);
			break;
		case IFLA_LINK:
			l.lower = len >= 4 ? mnl_attr_get_u32(a) : 0;
			break;
		case IFLA_LINKINFO:
			parse_info(a, &l);
			break;
		default:
			break;
		}
	}
	if (d->n == d->cap) {
		size_t cap = d->cap ? 2 * d->cap : 32;
		struct dumped *grown = realloc(d->links, cap * sizeof(*grown));
		if (!grown)
			return MNL_CB_ERROR;
		d->links = grown;
		d->cap = cap;
	}
	d->links[d->n++] = l;
	return MNL_CB_OK;
}

static int dump_links(struct dump *d)
{
	char buf[DUMP_BUF];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	unsigned seq = (unsigned)time(NULL);
	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = seq;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	struct mnl_socket *nl = mnl_socket_open(NETLINK_ROUTE);
	if (!nl)
		return -errno;
	int res = MNL_CB_OK, err = 0;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 || mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		err = -errno;
	while (!err && res > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		res = n < 0 ? -1 : mnl_cb_run(buf, (size_t)n, seq, mnl_socket_get_portid(nl), on_link, d);
		if (res < 0)
			err = -errno;
	}
	mnl_socket_close(nl);
	return err;
}

static const struct dumped *dumped(const struct dump *d, uint32_t ifindex)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->links[i].ifindex == ifindex)
			return &d->links[i];
	return NULL;
}

/* First addresses that may be seen elsewhere. */
static void addresses_of(const char *name, const struct ifaddrs *all, struct ntm_relay_uplink *up)
{
	static const uint8_t none[16];
	for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
		struct ntm_addr addr;
		if (!a->ifa_addr || strcmp(a->ifa_name, name) != 0 || ntm_addr_from_sockaddr(&addr, a->ifa_addr) ||
		    !ntm_ip_is_usable(addr.ip))
			continue;
		if (ntm_ip_is_v4(addr.ip)) {
			if (!up->addr4)
				memcpy(&up->addr4, addr.ip + 12, 4);
		} else if (!memcmp(up->addr6, none, 16)) {
			memcpy(up->addr6, addr.ip, 16);
		}
	}
}

/* Tags from l down to one of the NICs; false if it stands on none of them, or too deep. */
static bool tags_of(const struct dump *d, const struct dumped *l, const struct ntm_dp_uplink *u, size_t n,
		    struct ntm_relay_uplink *up)
{
	while (l && l->proto && up->n_tags < 2) {
		/* outermost first: what was found before moves behind */
		up->tpid[1] = up->tpid[0];
		up->tci[1] = up->tci[0];
		up->tpid[0] = l->proto;
		up->tci[0] = htons(l->id);
		up->n_tags++;
		for (size_t i = 0; i < n; i++)
			if (u[i].ifindex == l->lower) {
				up->nic = l->lower;
				return true;
			}
		l = dumped(d, l->lower);
	}
	return false;
}

static struct ntm_relay_uplink *slot_for(struct ntm_relay_dp_bpf *d, uint32_t ifindex, bool used[])
{
	struct ntm_relay_uplink *vacant = NULL;
	for (int i = 0; i < NTM_RELAY_UPLINKS; i++) {
		if (d->uplinks[i].ifindex == ifindex)
			return &d->uplinks[i];
		if (!d->uplinks[i].ifindex && !used[i] && !vacant)
			vacant = &d->uplinks[i];
	}
	return vacant;
}

/* nic goes last and 0 first: a program that runs meanwhile finds no way out rather than half of one. */
static void write_slot(struct ntm_relay_uplink *slot, const struct ntm_relay_uplink *up)
{
	if (!memcmp(slot, up, sizeof(*up)))
		return;
	__atomic_store_n(&slot->nic, 0, __ATOMIC_SEQ_CST);
	struct ntm_relay_uplink v = *up;
	v.nic = 0;
	*slot = v;
	__atomic_store_n(&slot->nic, up->nic, __ATOMIC_RELEASE);
}

static int put(struct ntm_relay_dp_bpf *d, const struct ntm_relay_uplink *up, bool used[])
{
	struct ntm_relay_uplink *slot = slot_for(d, up->ifindex, used);
	if (!slot)
		return -ENOSPC;
	used[slot - d->uplinks] = true;
	write_slot(slot, up);
	return 0;
}

static int put_nics(struct ntm_relay_dp_bpf *d, const struct dump *all, const struct ntm_dp_uplink *u, size_t n,
		    bool used[])
{
	for (size_t i = 0; i < n; i++) {
		struct ntm_relay_uplink up = {.ifindex = u[i].ifindex, .nic = u[i].ifindex};
		const struct dumped *l = dumped(all, u[i].ifindex);
		if (!l)
			return -ENODEV;
		memcpy(up.mac, l->mac, 6);
		memcpy(&up.addr4, u[i].addr4, 4);
		memcpy(up.addr6, u[i].addr6, 16);
		int err = put(d, &up, used);
		if (err)
			return err;
	}
	return 0;
}

static int put_vlans(struct ntm_relay_dp_bpf *d, const struct dump *all, const struct ntm_dp_uplink *u, size_t n,
		     bool used[])
{
	struct ifaddrs *addrs;
	int err = 0;
	if (getifaddrs(&addrs))
		return -errno;
	for (size_t i = 0; i < all->n && !err; i++) {
		const struct dumped *l = &all->links[i];
		struct ntm_relay_uplink up = {.ifindex = l->ifindex};
		bool itself = false;
		for (size_t k = 0; k < n; k++)
			itself |= u[k].ifindex == l->ifindex;
		if (itself || !tags_of(all, l, u, n, &up))
			continue;
		memcpy(up.mac, l->mac, 6);
		addresses_of(l->name, addrs, &up);
		err = put(d, &up, used);
	}
	freeifaddrs(addrs);
	return err;
}

void ntm_relay_forget_hops(struct ntm_relay_dp_bpf *d)
{
	__atomic_add_fetch(&d->settings->routing, 1, __ATOMIC_SEQ_CST);
}

int ntm_relay_uplinks_write(struct ntm_relay_dp_bpf *d, const struct ntm_dp_uplink *u, size_t n)
{
	static const struct ntm_relay_uplink none;
	bool used[NTM_RELAY_UPLINKS] = {false};
	struct dump all = {0};
	int err = dump_links(&all);
	if (!err)
		err = put_nics(d, &all, u, n, used);
	if (!err)
		err = put_vlans(d, &all, u, n, used);
	for (int i = 0; !err && i < NTM_RELAY_UPLINKS; i++)
		if (!used[i])
			write_slot(&d->uplinks[i], &none);
	ntm_relay_forget_hops(d);
	free(all.links);
	return err;
}
