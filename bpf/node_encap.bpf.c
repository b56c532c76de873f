/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tc ingress of ntm0p: a packet to a virtual address, already segmented and with its checksums complete because it
 * crossed the pair, leaves sealed by the uplink of its path.
 */
#include "lib/ctx.h"
#include <ntm/wire.h>
#include "maps.bpf.h"
#include "lib/finish.h"
#include "lib/addr.h"
#include "lib/inner.h"
#include "lib/event.h"
#include "lib/upcall.h"
#include "lib/uplink.h"
#include "lib/csum.h"
#include "lib/encap.h"
#include "lib/aead.h"
#include "lib/copy.h"
#include "lib/round.h"

#define NTM_SHOT(reason) NTM_VERDICT(TC_ACT_SHOT, reason)

/* Whose the addresses of an inner packet are. */
enum ntm_ends {
	NTM_FROM_OWN = 1,
	NTM_FROM_BEYOND = 2, /* a general node's */
	NTM_TO_VIRTUAL = 4,  /* another node's */
	NTM_TO_BEYOND = 8,
};

/* Subprograms, so that what they compare leaves the registers again: the stack is nearly full. */
static __noinline __u32 ntm_ends4(const struct ntm_settings *s, const struct iphdr *ip)
{
	__u32 ends = 0;

	if (ip->saddr == s->vip4)
		ends |= NTM_FROM_OWN;
	else if (ntm_beyond4(s, ip->saddr))
		ends |= NTM_FROM_BEYOND;
	if (!ntm_in_pool4(s, ip->daddr))
		ends |= ntm_is_general4(&ip->daddr) ? NTM_TO_BEYOND : 0;
	else if (ip->daddr != s->vip4)
		ends |= NTM_TO_VIRTUAL;
	return ends;
}

static __noinline __u32 ntm_ends6(const struct ntm_settings *s, const struct ipv6hdr *ip6)
{
	__u32 ends = 0;

	if (ntm_addr_equal(&ip6->saddr, s->vip6))
		ends |= NTM_FROM_OWN;
	else if (ntm_beyond6(s, &ip6->saddr))
		ends |= NTM_FROM_BEYOND;
	if (!ntm_in_pool6(s, &ip6->daddr))
		ends |= ntm_is_general6(&ip6->daddr) ? NTM_TO_BEYOND : 0;
	else if (!ntm_addr_equal(&ip6->daddr, s->vip6))
		ends |= NTM_TO_VIRTUAL;
	return ends;
}

/* General nodes' packets leave a gateway only, and only for nodes. */
static __always_inline int ntm_accept_ends(const struct ntm_settings *s, __u32 ends, struct ntm_tx *tx)
{
	tx->from_beyond = !(ends & NTM_FROM_OWN);
	tx->to_beyond = !(ends & NTM_TO_VIRTUAL);
	if (tx->from_beyond && !(ends & NTM_FROM_BEYOND && s->flags & NTM_SETTINGS_GATEWAY))
		return NTM_SHOT(TX_BAD_SOURCE);
	if (tx->to_beyond && (tx->from_beyond || !(ends & NTM_TO_BEYOND)))
		return NTM_SHOT(TX_NOT_VIRTUAL);
	return NTM_CONTINUE;
}

/* Is this packet one that the tunnel carries? Fills tx->in and dst. */
static __always_inline int ntm_accept_inner(struct __sk_buff *skb, const struct ntm_settings *s, struct ntm_tx *tx,
					    struct ntm_vip *dst)
{
	__u32 want = ETH_HLEN + sizeof(struct ipv6hdr), ends;
	void *data, *data_end, *p;

	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return NTM_SHOT(TX_NOT_IP);
	if (want > skb->len)
		want = skb->len;
	if (NTM_DATA_END(skb) - NTM_DATA(skb) < want && bpf_skb_pull_data(skb, want))
		return NTM_SHOT(TX_ERROR);
	data = NTM_DATA(skb);
	data_end = NTM_DATA_END(skb);
	p = data + ETH_HLEN;

	switch (ntm_inner_parse(p, data_end, skb->len - ETH_HLEN, &tx->in)) {
	case NTM_INNER_OK:
		break;
	case NTM_INNER_NOT_IP:
		return NTM_SHOT(TX_NOT_IP);
	default:
		return NTM_SHOT(TX_BAD_INNER);
	}
	if (tx->in.is_ipv6) {
		struct ipv6hdr *ip6 = p;

		if ((void *)(ip6 + 1) > data_end || skb->protocol != bpf_htons(ETH_P_IPV6))
			return NTM_SHOT(TX_BAD_INNER);
		if (ntm_is_multicast6(&ip6->daddr))
			return NTM_SHOT(TX_NOT_IP);
		ntm_addr_copy(dst, &ip6->daddr);
		ends = ntm_ends6(s, ip6);
	} else {
		struct iphdr *ip = p;

		if ((void *)(ip + 1) > data_end || skb->protocol != bpf_htons(ETH_P_IP))
			return NTM_SHOT(TX_BAD_INNER);
		if (ntm_is_multicast4(ip->daddr))
			return NTM_SHOT(TX_NOT_IP);
		ntm_map4(dst, ip->daddr);
		ends = ntm_ends4(s, ip);
	}
	return ntm_accept_ends(s, ends, tx);
}

/* The path in use to dst. *slot 0: not even a slot. */
static __always_inline struct ntm_path *ntm_path_of(const struct ntm_settings *s, const struct ntm_tx *tx,
						    const struct ntm_vip *dst, __u32 *slot)
{
	struct ntm_path *path;
	__u32 *found;

	if (tx->to_beyond) {
		*slot = NTM_READ(s->gateway);
	} else {
		found = bpf_map_lookup_elem(&ntm_vips, dst);
		*slot = found ? *found : 0;
	}
	path = *slot ? bpf_map_lookup_elem(&ntm_paths, slot) : NULL;
	return path && path->path_id ? path : NULL;
}

static __always_inline int ntm_no_path(struct __sk_buff *skb, const struct ntm_tx *tx, const struct ntm_vip *dst)
{
	if (ntm_upcall_allowed() && ntm_upcall(skb, NTM_EV_NO_PATH, 0, dst, tx->in.len))
		return NTM_SHOT(TX_AGENT_BUSY);
	return NTM_SHOT(TX_NO_PATH);
}

static __always_inline int ntm_too_big(struct __sk_buff *skb, const struct ntm_path *path, const struct ntm_tx *tx,
				       const struct ntm_vip *dst)
{
	if ((path->flags & NTM_PATH_SMALL_OUTER) && tx->in.len <= NTM_INNER_MTU_BASE &&
	    ntm_upcall(skb, NTM_EV_TOO_BIG, path->path_id, dst, tx->in.len))
		return NTM_SHOT(TX_AGENT_BUSY);
	return NTM_SHOT(TX_TOO_BIG);
}

/* Takes a counter of the epoch in use. Fills tx->hdr. */
static __always_inline int ntm_take_counter(struct ntm_path *path, struct ntm_tx_epoch *te, __u32 slot, __u32 epoch,
					    __u64 now, struct ntm_tx *tx)
{
	__u64 expires = NTM_READ(te->expires_ns), ctr;

	if (NTM_UNLIKELY(!expires)) {
		ntm_upcall_expired(path, slot, now);
		return NTM_SHOT(TX_NO_KEY);
	}
	ctr = expires > now ? __sync_fetch_and_add(&te->counter, 1) : NTM_COUNTER_LIMIT;
	if (NTM_UNLIKELY(ctr >= NTM_COUNTER_LIMIT)) {
		ntm_upcall_expired(path, slot, now);
		return NTM_SHOT(TX_KEY_EXPIRED);
	}
	tx->hdr.ver_type = NTM_WIRE_VERSION << 4 | NTM_T_DATA;
	tx->hdr.suite_epoch = NTM_SUITE_KERNEL << 4 | epoch;
	tx->hdr.ctr_hi = bpf_htons(ctr >> 32);
	tx->hdr.ctr_lo = bpf_htonl(ctr);
	tx->hdr.id = path->path_id;
	return NTM_CONTINUE;
}

static __always_inline int ntm_seal_and_send(struct __sk_buff *skb, const struct ntm_settings *s,
					     const struct ntm_tx_epoch *te, const struct ntm_way *way,
					     const struct ntm_tx *tx, enum ntm_hop hop, int copy)
{
	__u32 is_ipv6 = tx->ep.is_ipv6;
	__u32 hdr_off = ETH_HLEN + ntm_outer_len(is_ipv6) - sizeof(struct ntm_hdr);
	int err;

	if (ntm_make_room(skb, tx))
		return NTM_SHOT(TX_ERROR);
	err = is_ipv6 ? ntm_write_ipv6(skb, tx, way, s->port) : ntm_write_ipv4(skb, tx, way, s->port);
	if (err || ntm_aead_seal_skb(skb, hdr_off, tx->in.len, te->key))
		return NTM_SHOT(TX_ERROR);
	if (is_ipv6 && ntm_finish_udp6(skb, tx))
		return NTM_SHOT(TX_ERROR);
	if (NTM_UNLIKELY(copy))
		ntm_copy(skb, s);
	if (ntm_leave(way, &tx->ep, hop) != TC_ACT_REDIRECT)
		return NTM_SHOT(TX_ERROR);
	return NTM_VERDICT(TC_ACT_REDIRECT, TX_OK);
}

static __always_inline int ntm_encap(struct __sk_buff *skb)
{
	__u32 zero = 0, slot = 0, epoch;
	struct ntm_settings *s = bpf_map_lookup_elem(&ntm_settings, &zero);
	struct ntm_tx_epoch *te;
	struct ntm_path *path;
	enum ntm_hop hop;
	struct ntm_way *way;
	struct ntm_tx tx = {};
	NTM_VIP dst;
	__u64 now;
	int v;

	if (!s)
		return NTM_SHOT(TX_ERROR);
	if (NTM_UNLIKELY(ntm_is_copy(skb, s)))
		return ntm_is_round(skb, s) ? ntm_round_back(skb, s) : ntm_copy_leave(skb, s);
	v = ntm_accept_inner(skb, s, &tx, &dst);
	if (v != NTM_CONTINUE)
		return v;

	path = ntm_path_of(s, &tx, &dst, &slot);
	if (tx.to_beyond) {
		if (!slot)
			return NTM_SHOT(TX_NOT_VIRTUAL);
		if (!path || !(path->flags & NTM_PATH_GATEWAY))
			return NTM_SHOT(TX_NO_PATH);
	} else if (tx.from_beyond) {
		/* A path that the agent could ask for now would not be a client's. */
		if (!path)
			return NTM_SHOT(TX_NO_PATH);
		if (!(path->flags & NTM_PATH_CLIENT))
			return NTM_SHOT(TX_BAD_SOURCE);
	} else if (!path) {
		return ntm_no_path(skb, &tx, &dst);
	}
	if (tx.in.len > path->inner_mtu || tx.in.len > NTM_INNER_MAX)
		return ntm_too_big(skb, path, &tx, &dst);
	ntm_endpoint_read(path, &tx.ep);
	way = ntm_way_of(&tx.ep);
	hop = way ? ntm_next_hop(way, &tx.ep) : NTM_HOP_NONE;
	if (!way || hop == NTM_HOP_NONE)
		return NTM_SHOT(TX_NO_UPLINK);

	now = bpf_ktime_get_boot_ns();
	epoch = NTM_READ(path->tx_epoch) & 15;
	te = &path->tx[epoch & 1];
	v = ntm_take_counter(path, te, slot, epoch, now, &tx);
	if (v != NTM_CONTINUE)
		return v;
	v = ntm_seal_and_send(skb, s, te, way, &tx, hop, NTM_READ(way->copy_until_ns) > now);
	if (v == NTM_VERDICT(TC_ACT_REDIRECT, TX_OK)) {
		__sync_fetch_and_add(&path->tx_packets, 1);
		__sync_fetch_and_add(&path->tx_bytes, tx.in.len);
		NTM_WRITE(path->last_tx_ns, now);
	}
	return v;
}

SEC("tc")
int node_encap(struct __sk_buff *skb)
{
	__u32 len = skb->len - ETH_HLEN;

	return ntm_finish(ntm_encap(skb), len);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
