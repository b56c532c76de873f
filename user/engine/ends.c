/* SPDX-License-Identifier: BSD-2-Clause */
#include "ends.h"

#include <string.h>

#include "../../bpf/lib/general.h"
#include "../common/addr.h"
#include "../common/shared_words.h"

static void address(const uint8_t *p, bool is_ipv6, uint8_t out[16])
{
	if (is_ipv6)
		memcpy(out, p, 16);
	else
		ntm_ip_from_v4(out, p);
}

static bool in_pool(const uint8_t ip[16], bool v4, const void *pool4, const uint8_t *len4, const uint8_t *pool6,
		    const uint8_t *len6)
{
	struct ntm_prefix pool;
	uint8_t len = __atomic_load_n(v4 ? len4 : len6, __ATOMIC_ACQUIRE), net4[4];
	if (!len)
		return false;
	if (v4) {
		ntm_shared_get(net4, pool4, sizeof(net4));
		ntm_ip_from_v4(pool.ip, net4);
		len = (uint8_t)(96 + len);
	} else {
		ntm_shared_get(pool.ip, pool6, sizeof(pool.ip));
	}
	pool.len = len;
	return ntm_prefix_contains(&pool, ip);
}

static bool in_pools(const struct ntm_settings *s, const uint8_t ip[16])
{
	bool v4 = ntm_ip_is_v4(ip);
	if (in_pool(ip, v4, &s->pool4, &s->pool4_len, s->pool6, &s->pool6_len))
		return true;
	uint32_t n = __atomic_load_n(&s->n_peers, __ATOMIC_ACQUIRE);
	for (uint32_t i = 0; i < n && i < NTM_PEER_POOLS; i++) {
		const struct ntm_peer_pools *q = &s->peers[i];
		if (in_pool(ip, v4, &q->pool4, &q->pool4_len, q->pool6, &q->pool6_len))
			return true;
	}
	return false;
}

/* Is it the node's own virtual address? p: as it lies in the packet. */
static bool is_own(const struct ntm_settings *s, bool is_ipv6, const uint8_t *p)
{
	uint8_t own[16];
	size_t n = is_ipv6 ? 16 : 4;
	ntm_shared_get(own, is_ipv6 ? (const void *)s->vip6 : &s->vip4, n);
	return !memcmp(p, own, n);
}

/* As ntm_beyond4(), ntm_beyond6() of bpf/lib/addr.h. */
static bool is_beyond(const struct ntm_settings *s, const uint8_t ip[16])
{
	if (in_pools(s, ip))
		return false;
	return ntm_ip_is_v4(ip) ? ntm_is_general4(ip + 12) : ntm_is_general6(ip);
}

static void both(const uint8_t *p, bool is_ipv6, uint8_t src[16], uint8_t dst[16])
{
	size_t off = is_ipv6 ? 8 : 12, n = is_ipv6 ? 16 : 4;
	address(p + off, is_ipv6, src);
	address(p + off + n, is_ipv6, dst);
}

enum ntm_reason ntm_ends_in(const struct ntm_settings *s, const struct ntm_path *path, const uint8_t *p, bool is_ipv6,
			    ntm_is_local_fn is_local, void *arg)
{
	size_t off = is_ipv6 ? 8 : 12, n = is_ipv6 ? 16 : 4;
	uint8_t src[16] __attribute__((aligned(8))), dst[16] __attribute__((aligned(8)));
	uint16_t flags = __atomic_load_n(&path->flags, __ATOMIC_RELAXED);
	both(p, is_ipv6, src, dst);
	if (memcmp(p + off, is_ipv6 ? (const void *)path->peer_vip6 : &path->peer_vip4, n) &&
	    !(flags & NTM_PATH_GATEWAY && is_beyond(s, src)))
		return NTM_R_RX_BAD_SOURCE;
	if (!is_own(s, is_ipv6, p + off + n) && !(flags & NTM_PATH_CLIENT && is_beyond(s, dst) && !is_local(arg, dst)))
		return NTM_R_RX_BAD_DEST;
	return NTM_R_RX_OK;
}

static bool is_multicast(const uint8_t ip[16])
{
	static const uint8_t broadcast[4] = {255, 255, 255, 255};
	if (ntm_ip_is_v4(ip))
		return (ip[12] & 0xf0) == 0xe0 || !memcmp(ip + 12, broadcast, 4);
	return ip[0] == 0xff;
}

enum ntm_reason ntm_ends_out(const struct ntm_settings *s, const uint8_t *p, bool is_ipv6, struct ntm_out *o)
{
	size_t off = is_ipv6 ? 8 : 12, n = is_ipv6 ? 16 : 4;
	uint8_t src[16] __attribute__((aligned(8)));
	both(p, is_ipv6, src, o->dst);
	if (is_multicast(o->dst))
		return NTM_R_TX_NOT_IP;
	o->from_beyond = !is_own(s, is_ipv6, p + off);
	if (o->from_beyond && !(s->flags & NTM_SETTINGS_GATEWAY && is_beyond(s, src)))
		return NTM_R_TX_BAD_SOURCE;
	o->to_beyond = !in_pools(s, o->dst);
	if (o->to_beyond ? o->from_beyond || !is_beyond(s, o->dst) : is_own(s, is_ipv6, p + off + n))
		return NTM_R_TX_NOT_VIRTUAL;
	return NTM_R_TX_OK;
}

bool ntm_ends_path(const struct ntm_path *path, const struct ntm_out *o)
{
	uint16_t flags = __atomic_load_n(&path->flags, __ATOMIC_RELAXED);
	return o->to_beyond ? flags & NTM_PATH_GATEWAY : !o->from_beyond || flags & NTM_PATH_CLIENT;
}
