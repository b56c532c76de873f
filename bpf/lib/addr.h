/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses: v4-mapped keys, equality, membership in the virtual pools, which are this host's own. */
#ifndef NTM_LIB_ADDR_H
#define NTM_LIB_ADDR_H

#include "general.h"

/* Addresses lie on four-byte boundaries everywhere, but their types say one: bytes would be copied singly. */
#define NTM_VIP struct ntm_vip __attribute__((aligned(8)))

static __always_inline void ntm_map4(struct ntm_vip *v, __be32 addr)
{
	__u32 *w = (__u32 *)v;

	w[0] = 0;
	w[1] = 0;
	w[2] = bpf_htonl(0xffff);
	w[3] = addr;
}

static __always_inline void ntm_addr_copy(void *to, const void *from)
{
	const __u32 *f = from;
	__u32 *t = to;

	t[0] = f[0];
	t[1] = f[1];
	t[2] = f[2];
	t[3] = f[3];
}

static __always_inline int ntm_addr_equal(const void *a, const void *b)
{
	const __u32 *x = a, *y = b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]));
}

/* Other zones' pools: subprograms, as few hosts have any and the stack is nearly full. */
static __noinline int ntm_in_peer_pool4(const struct ntm_settings *s, __be32 addr)
{
	for (__u32 i = 0; i < NTM_PEER_POOLS && i < s->n_peers; i++) {
		__u8 len = s->peers[i].pool4_len;

		if (len && !(bpf_ntohl(addr ^ s->peers[i].pool4) >> ((32 - len) & 31)))
			return 1;
	}
	return 0;
}

static __always_inline int ntm_in_prefix6(const __u32 *p, __u8 len, const __u32 *a)
{
	__u64 hi = (__u64)bpf_ntohl(a[0] ^ p[0]) << 32 | bpf_ntohl(a[1] ^ p[1]);
	__u64 lo = (__u64)bpf_ntohl(a[2] ^ p[2]) << 32 | bpf_ntohl(a[3] ^ p[3]);

	if (!len)
		return 0;
	if (len <= 64)
		return !(hi >> ((64 - len) & 63));
	return !hi && !(lo >> ((128 - len) & 63));
}

static __noinline int ntm_in_peer_pool6(const struct ntm_settings *s, const struct in6_addr *addr)
{
	for (__u32 i = 0; i < NTM_PEER_POOLS && i < s->n_peers; i++) {
		if (ntm_in_prefix6((const __u32 *)s->peers[i].pool6, s->peers[i].pool6_len, addr->in6_u.u6_addr32))
			return 1;
	}
	return 0;
}

static __always_inline int ntm_in_pool4(const struct ntm_settings *s, __be32 addr)
{
	__u8 len = s->pool4_len;

	if (len && !(bpf_ntohl(addr ^ s->pool4) >> ((32 - len) & 31)))
		return 1;
	return s->n_peers && ntm_in_peer_pool4(s, addr);
}

static __always_inline int ntm_in_pool6(const struct ntm_settings *s, const struct in6_addr *addr)
{
	if (ntm_in_prefix6((const __u32 *)s->pool6, s->pool6_len, addr->in6_u.u6_addr32))
		return 1;
	return s->n_peers && ntm_in_peer_pool6(s, addr);
}

static __always_inline int ntm_is_local(const struct ntm_vip *addr)
{
	return bpf_map_lookup_elem(&ntm_locals, addr) != NULL;
}

/* May the far side of a gateway have this address? */
static __always_inline int ntm_beyond4(const struct ntm_settings *s, __be32 addr)
{
	return ntm_is_general4(&addr) && !ntm_in_pool4(s, addr);
}

static __always_inline int ntm_beyond6(const struct ntm_settings *s, const struct in6_addr *addr)
{
	return ntm_is_general6(addr) && !ntm_in_pool6(s, addr);
}

#endif
