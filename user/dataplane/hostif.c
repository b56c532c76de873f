/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses and routes of the interface that carries the virtual addresses. */
#include "hostif.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../common/log.h"

/* IPv6 may be switched off by default in a namespace; on an interface of our own it is ours to switch on. */
void ntm_link_enable_ipv6(const char *ifname)
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

/* The largest segment that fits the interface: a path's MTU may grow while a connection lives. */
static uint32_t advmss(const struct ntm_hostif *h, int family)
{
	return h->link->mtu - (family == AF_INET ? 40 : 60);
}

static int family_of(const uint8_t ip[16], const uint8_t **addr)
{
	bool v4 = ntm_ip_is_v4(ip);
	*addr = v4 ? ip + 12 : ip;
	return v4 ? AF_INET : AF_INET6;
}

void ntm_hostif_route(struct ntm_hostif *h, const struct ntm_prefix *to, uint16_t mtu, struct ntm_route *rt)
{
	int family = ntm_ip_is_v4(to->ip) && to->len >= 96 ? AF_INET : AF_INET6;
	const void *src = family == AF_INET ? (const void *)&h->settings->vip4 : h->settings->vip6;
	static const uint8_t none[16];
	if (!memcmp(src, none, family == AF_INET ? 4 : 16))
		src = NULL;
	*rt = (struct ntm_route){.family = family,
				 .ifindex = h->link->ifindex,
				 .dst = family == AF_INET ? to->ip + 12 : to->ip,
				 .len = (uint8_t)(family == AF_INET ? to->len - 96 : to->len),
				 .src = src,
				 .mtu = mtu < h->link->mtu ? mtu : h->link->mtu,
				 .advmss = advmss(h, family)};
}

int ntm_hostif_peer_route(struct ntm_hostif *h, const uint8_t ip[16], uint16_t mtu)
{
	struct ntm_prefix to = {.len = 128};
	struct ntm_route rt;
	memcpy(to.ip, ip, 16);
	ntm_hostif_route(h, &to, mtu, &rt);
	return ntm_rtnl_route_set(h->rtnl, &rt);
}

int ntm_hostif_peer_route_del(struct ntm_hostif *h, const uint8_t ip[16])
{
	struct ntm_prefix to = {.len = 128};
	struct ntm_route rt;
	memcpy(to.ip, ip, 16);
	ntm_hostif_route(h, &to, 0, &rt);
	int err = ntm_rtnl_route_del(h->rtnl, &rt);
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
static int replace_addresses(struct ntm_hostif *h, const uint8_t vip4[16], const uint8_t vip6[16])
{
	struct addr_set have = {.n = 0};
	int err = ntm_rtnl_addr_add(h->rtnl, h->link->ifindex, AF_INET, vip4 + 12);
	if (err)
		return err;
	err = ntm_rtnl_addr_add(h->rtnl, h->link->ifindex, AF_INET6, vip6);
	if (err) {
		ntm_err("%s can't have an IPv6 address: %s; is IPv6 switched off here "
			"(sysctl net.ipv6.conf.all.disable_ipv6)?",
			h->link->name, strerror(-err));
		return err;
	}
	err = ntm_rtnl_addr_dump(h->rtnl, h->link->ifindex, collect, &have);
	for (size_t i = 0; !err && i < have.n; i++) {
		const uint8_t *addr;
		if (!memcmp(have.a[i].ip, vip4, 16) || !memcmp(have.a[i].ip, vip6, 16))
			continue;
		int family = family_of(have.a[i].ip, &addr);
		err = ntm_rtnl_addr_del(h->rtnl, h->link->ifindex, family, addr, have.a[i].len);
		if (err == -EADDRNOTAVAIL)
			err = 0;
	}
	return err;
}

static void pool_route(struct ntm_hostif *h, const struct ntm_prefix *pool, const uint8_t *src, struct ntm_route *rt)
{
	const uint8_t *dst;
	int family = family_of(pool->ip, &dst);
	*rt = (struct ntm_route){.family = family,
				 .ifindex = h->link->ifindex,
				 .dst = dst,
				 .len = (uint8_t)(family == AF_INET ? pool->len - 96 : pool->len),
				 .src = src,
				 .mtu = NTM_INNER_MTU_BASE,
				 .advmss = advmss(h, family)};
}

static int replace_pool(struct ntm_hostif *h, const struct ntm_prefix *old, const struct ntm_prefix *pool,
			const uint8_t *src)
{
	struct ntm_route rt;
	if (old && old->len && (old->len != pool->len || memcmp(old->ip, pool->ip, 16))) {
		pool_route(h, old, NULL, &rt);
		int err = ntm_rtnl_route_del(h->rtnl, &rt);
		if (err && err != -ESRCH)
			return err;
	}
	pool_route(h, pool, src, &rt);
	return ntm_rtnl_route_set(h->rtnl, &rt);
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

static int drop_pool(struct ntm_hostif *h, const struct ntm_dp_addresses *a, const struct ntm_prefix *pool)
{
	struct ntm_route rt;
	if (has_pool(a, pool))
		return 0;
	pool_route(h, pool, NULL, &rt);
	int err = ntm_rtnl_route_del(h->rtnl, &rt);
	return err == -ESRCH ? 0 : err;
}

/* Other zones' pools are reached as the own one is. */
static int replace_peer_pools(struct ntm_hostif *h, const struct ntm_dp_addresses *old,
			      const struct ntm_dp_addresses *a)
{
	int err = 0;
	for (unsigned i = 0; !err && old && i < old->n_peers; i++) {
		err = drop_pool(h, a, &old->peers[i].pool4);
		if (!err)
			err = drop_pool(h, a, &old->peers[i].pool6);
	}
	for (unsigned i = 0; !err && i < a->n_peers; i++) {
		err = replace_pool(h, NULL, &a->peers[i].pool4, a->vip4);
		if (!err)
			err = replace_pool(h, NULL, &a->peers[i].pool6, a->vip6);
	}
	return err;
}

/* old: what the settings said before, NULL if nothing. */
int ntm_hostif_addresses(struct ntm_hostif *h, const struct ntm_dp_addresses *old, const struct ntm_dp_addresses *a)
{
	uint8_t vip4[16];
	ntm_ip_from_v4(vip4, a->vip4);
	int err = replace_addresses(h, vip4, a->vip6);
	if (!err)
		err = replace_pool(h, old ? &old->pool4 : NULL, &a->pool4, a->vip4);
	if (!err)
		err = replace_pool(h, old ? &old->pool6 : NULL, &a->pool6, a->vip6);
	if (!err)
		err = replace_peer_pools(h, old, a);
	return err;
}
