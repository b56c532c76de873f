/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The veth pair ntm0/ntm0p. ntm0 carries the virtual addresses; what is sent there arrives at ntm0p, where tc seals it,
 * and what XDP redirects into ntm0p arrives at ntm0. Crossing the pair segments GSO packets and completes checksums, as
 * ntm0 offers no offloads.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../common/addr.h"
#include "../common/log.h"
#include "dp_internal.h"
#include "ethtool.h"

/* UDP, header and tag around an inner packet, plus an IPv4 header */
#define OUTER_OVERHEAD 60

static const struct ntm_feature ntm0_features[] = {
    {"tx-checksum-*", false},
    {"tx-tcp*", false},
    {"tx-udp-segmentation", false},
    {"tx-gso-*", false},
    {"tx-gre-*", false},
    {"tx-ipxip*", false},
    {"tx-udp_tnl-*", false},
    {"tx-sctp-segmentation", false},
    {"tx-esp-segmentation", false},
    /* Segments come out linear, as the program needs them: a few per cent of throughput. */
    {"tx-scatter-gather*", false},
    {"rx-gro", true}, /* XDP redirect into the pair needs NAPI at the receiving end */
};
static const struct ntm_feature ntm0p_features[] = {{"rx-gro", false}};

/* Looks for an interface of that name; *mine: it is the one that the adopted settings speak of. -ENODEV: none. */
int ntm_ntm0_find(struct ntm_dp_bpf *d, bool *mine)
{
	struct ntm_link a, b;
	*mine = false;
	int err = ntm_rtnl_link_get(&d->rtnl, d->ifname, 0, &a);
	if (err)
		return err;
	d->ntm0 = a;
	err = ntm_rtnl_link_get(&d->rtnl, d->peer_name, 0, &b);
	if (err)
		return err == -ENODEV ? 0 : err;
	d->ntm0p = b;
	const struct ntm_settings *s = d->settings;
	*mine = s && !strcmp(a.kind, "veth") && a.peer == b.ifindex && s->if_ntm0 == a.ifindex &&
		s->if_ntm0p == b.ifindex && !memcmp(s->mac_ntm0, a.mac, 6) && !memcmp(s->mac_ntm0p, b.mac, 6);
	return 0;
}

/* IPv6 may be switched off by default in a namespace; on an interface of our own it is ours to switch on. */
void ntm_link_ipv6(const char *ifname)
{
	char path[96], c = '0';
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", ifname);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		if (errno != ENOENT)
			ntm_debug("%s: %s", path, strerror(errno));
		return;
	}
	if (read(fd, &c, 1) == 1 && c == '1' && pwrite(fd, "0", 1, 0) != 1)
		ntm_warn("IPv6 is switched off on %s: set net.ipv6.conf.%s.disable_ipv6 to 0", ifname, ifname);
	close(fd);
}

static int set_up(struct ntm_dp_bpf *d, const struct ntm_link *l)
{
	struct ntm_link_change c = {
	    .ifindex = l->ifindex, .flags = IFF_NOARP, .flags_mask = IFF_NOARP | IFF_MULTICAST, .no_addrgen = true};
	int err = ntm_rtnl_link_set(&d->rtnl, &c);
	if (err == -EAFNOSUPPORT) { /* kernel without IPv6 */
		c.no_addrgen = false;
		err = ntm_rtnl_link_set(&d->rtnl, &c);
	}
	if (err)
		return err;
	c = (struct ntm_link_change){.ifindex = l->ifindex, .flags = IFF_UP, .flags_mask = IFF_UP};
	return ntm_rtnl_link_set(&d->rtnl, &c);
}

int ntm_ntm0_create(struct ntm_dp_bpf *d, char *why, size_t cap)
{
	uint32_t mtu = 1500 - OUTER_OVERHEAD;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int err = ntm_rtnl_veth_add(&d->rtnl, d->ifname, d->peer_name, mtu, cpus > 0 ? (uint32_t)cpus : 1);
	if (err) {
		snprintf(why, cap, "can't create the interface pair %s, %s: %s%s", d->ifname, d->peer_name,
			 strerror(-err),
			 err == -EOPNOTSUPP ? " (kernel without veth)"
			 : err == -EPERM    ? " (CAP_NET_ADMIN is needed)"
					    : "");
		return err;
	}
	err = ntm_rtnl_link_get(&d->rtnl, d->ifname, 0, &d->ntm0);
	if (!err)
		err = ntm_rtnl_link_get(&d->rtnl, d->peer_name, 0, &d->ntm0p);
	if (!err)
		err = ntm_ethtool_features(d->ifname, ntm0_features, sizeof(ntm0_features) / sizeof(ntm0_features[0]));
	if (!err)
		err = ntm_ethtool_features(d->peer_name, ntm0p_features,
					   sizeof(ntm0p_features) / sizeof(ntm0p_features[0]));
	if (!err) {
		ntm_link_ipv6(d->ifname);
		err = set_up(d, &d->ntm0p);
	}
	if (!err)
		err = set_up(d, &d->ntm0);
	if (err) {
		snprintf(why, cap, "can't set up %s: %s", d->ifname, strerror(-err));
		(void)ntm_rtnl_link_del(&d->rtnl, d->ntm0.ifindex);
	}
	return err;
}

int ntm_ntm0_remove(struct ntm_dp_bpf *d)
{
	int err = ntm_rtnl_link_del(&d->rtnl, d->ntm0.ifindex);
	return err == -ENODEV ? 0 : err;
}

int ntm_ntm0_set_mtu(struct ntm_dp_bpf *d, uint32_t uplink_mtu)
{
	uint32_t mtu = uplink_mtu > OUTER_OVERHEAD ? uplink_mtu - OUTER_OVERHEAD : 0;
	if (mtu < NTM_INNER_MTU_BASE)
		mtu = NTM_INNER_MTU_BASE;
	if (mtu > NTM_INNER_MAX)
		mtu = NTM_INNER_MAX;
	if (mtu == d->ntm0.mtu)
		return 0;
	int err = ntm_rtnl_link_set(&d->rtnl, &(struct ntm_link_change){.ifindex = d->ntm0p.ifindex, .mtu = mtu});
	if (!err)
		err = ntm_rtnl_link_set(&d->rtnl, &(struct ntm_link_change){.ifindex = d->ntm0.ifindex, .mtu = mtu});
	if (!err)
		d->ntm0.mtu = d->ntm0p.mtu = mtu;
	return err;
}

/* The largest segment that fits the interface: a path's MTU may grow while a connection lives. */
static uint32_t advmss(const struct ntm_dp_bpf *d, int family)
{
	return d->ntm0.mtu - (family == AF_INET ? 40 : 60);
}

static int family_of(const uint8_t ip[16], const uint8_t **addr)
{
	bool v4 = ntm_ip_is_v4(ip);
	*addr = v4 ? ip + 12 : ip;
	return v4 ? AF_INET : AF_INET6;
}

void ntm_ntm0_route(struct ntm_dp_bpf *d, const struct ntm_prefix *to, uint16_t mtu, struct ntm_route *rt)
{
	int family = ntm_ip_is_v4(to->ip) && to->len >= 96 ? AF_INET : AF_INET6;
	const void *src = family == AF_INET ? (const void *)&d->settings->vip4 : d->settings->vip6;
	static const uint8_t none[16];
	if (!memcmp(src, none, family == AF_INET ? 4 : 16))
		src = NULL;
	*rt = (struct ntm_route){.family = family,
				 .ifindex = d->ntm0.ifindex,
				 .dst = family == AF_INET ? to->ip + 12 : to->ip,
				 .len = (uint8_t)(family == AF_INET ? to->len - 96 : to->len),
				 .src = src,
				 .mtu = mtu < d->ntm0.mtu ? mtu : d->ntm0.mtu,
				 .advmss = advmss(d, family)};
}

int ntm_ntm0_peer_route(struct ntm_dp_bpf *d, const uint8_t ip[16], uint16_t mtu)
{
	struct ntm_prefix to = {.len = 128};
	struct ntm_route rt;
	memcpy(to.ip, ip, 16);
	ntm_ntm0_route(d, &to, mtu, &rt);
	return ntm_rtnl_route_set(&d->rtnl, &rt);
}

int ntm_ntm0_peer_route_del(struct ntm_dp_bpf *d, const uint8_t ip[16])
{
	struct ntm_prefix to = {.len = 128};
	struct ntm_route rt;
	memcpy(to.ip, ip, 16);
	ntm_ntm0_route(d, &to, 0, &rt);
	int err = ntm_rtnl_route_del(&d->rtnl, &rt);
	return err == -ESRCH ? 0 : err;
}

struct addr_set {
	struct {
		int family;
		uint8_t ip[16], len;
	} a[32];
	size_t n;
};

static void collect(void *arg, int family, const uint8_t ip[16], uint8_t len)
{
	struct addr_set *s = arg;
	if (s->n == sizeof(s->a) / sizeof(s->a[0]))
		return;
	s->a[s->n].family = family;
	s->a[s->n].len = len;
	memcpy(s->a[s->n++].ip, ip, 16);
}

/* The new addresses come first: a moment with both is better than one with none. */
static int replace_addresses(struct ntm_dp_bpf *d, const uint8_t vip4[16], const uint8_t vip6[16])
{
	struct addr_set have = {.n = 0};
	int err = ntm_rtnl_addr_add(&d->rtnl, d->ntm0.ifindex, AF_INET, vip4 + 12);
	if (err)
		return err;
	err = ntm_rtnl_addr_add(&d->rtnl, d->ntm0.ifindex, AF_INET6, vip6);
	if (err) {
		ntm_err("%s can't have an IPv6 address: %s; is IPv6 switched off here "
			"(sysctl net.ipv6.conf.all.disable_ipv6)?",
			d->ifname, strerror(-err));
		return err;
	}
	err = ntm_rtnl_addr_dump(&d->rtnl, d->ntm0.ifindex, collect, &have);
	for (size_t i = 0; !err && i < have.n; i++) {
		const uint8_t *addr;
		if (!memcmp(have.a[i].ip, vip4, 16) || !memcmp(have.a[i].ip, vip6, 16))
			continue;
		int family = family_of(have.a[i].ip, &addr);
		err = ntm_rtnl_addr_del(&d->rtnl, d->ntm0.ifindex, family, addr, have.a[i].len);
		if (err == -EADDRNOTAVAIL)
			err = 0;
	}
	return err;
}

static void pool_route(struct ntm_dp_bpf *d, const struct ntm_prefix *pool, const uint8_t *src, struct ntm_route *rt)
{
	const uint8_t *dst;
	int family = family_of(pool->ip, &dst);
	*rt = (struct ntm_route){.family = family,
				 .ifindex = d->ntm0.ifindex,
				 .dst = dst,
				 .len = (uint8_t)(family == AF_INET ? pool->len - 96 : pool->len),
				 .src = src,
				 .mtu = NTM_INNER_MTU_BASE,
				 .advmss = advmss(d, family)};
}

static int replace_pool(struct ntm_dp_bpf *d, const struct ntm_prefix *old, const struct ntm_prefix *pool,
			const uint8_t *src)
{
	struct ntm_route rt;
	if (old && old->len && (old->len != pool->len || memcmp(old->ip, pool->ip, 16))) {
		pool_route(d, old, NULL, &rt);
		int err = ntm_rtnl_route_del(&d->rtnl, &rt);
		if (err && err != -ESRCH)
			return err;
	}
	pool_route(d, pool, src, &rt);
	return ntm_rtnl_route_set(&d->rtnl, &rt);
}

static bool has_pool(const struct ntm_dp_addresses *a, const struct ntm_prefix *pool)
{
	if (!memcmp(&a->pool4, pool, sizeof(*pool)) || !memcmp(&a->pool6, pool, sizeof(*pool)))
		return true;
	for (unsigned i = 0; i < a->n_peers; i++)
		if (!memcmp(&a->peers[i].pool4, pool, sizeof(*pool)) ||
		    !memcmp(&a->peers[i].pool6, pool, sizeof(*pool)))
			return true;
	return false;
}

static int drop_pool(struct ntm_dp_bpf *d, const struct ntm_dp_addresses *a, const struct ntm_prefix *pool)
{
	struct ntm_route rt;
	if (has_pool(a, pool))
		return 0;
	pool_route(d, pool, NULL, &rt);
	int err = ntm_rtnl_route_del(&d->rtnl, &rt);
	return err == -ESRCH ? 0 : err;
}

/* Other zones' pools are reached as the own one is. */
static int replace_peer_pools(struct ntm_dp_bpf *d, const struct ntm_dp_addresses *old,
			      const struct ntm_dp_addresses *a)
{
	int err = 0;
	for (unsigned i = 0; !err && old && i < old->n_peers; i++) {
		err = drop_pool(d, a, &old->peers[i].pool4);
		if (!err)
			err = drop_pool(d, a, &old->peers[i].pool6);
	}
	for (unsigned i = 0; !err && i < a->n_peers; i++) {
		err = replace_pool(d, NULL, &a->peers[i].pool4, a->vip4);
		if (!err)
			err = replace_pool(d, NULL, &a->peers[i].pool6, a->vip6);
	}
	return err;
}

/* old: what the settings said before, NULL if nothing. */
int ntm_ntm0_addresses(struct ntm_dp_bpf *d, const struct ntm_dp_addresses *old, const struct ntm_dp_addresses *a)
{
	uint8_t vip4[16];
	ntm_ip_from_v4(vip4, a->vip4);
	int err = replace_addresses(d, vip4, a->vip6);
	if (!err)
		err = replace_pool(d, old ? &old->pool4 : NULL, &a->pool4, a->vip4);
	if (!err)
		err = replace_pool(d, old ? &old->pool6 : NULL, &a->pool6, a->vip6);
	if (!err)
		err = replace_peer_pools(d, old, a);
	return err;
}
