/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tc egress of ntm0, before packets are segmented: super-packets of paths with a bulk lane go to the agent by a TUN;
 * everything else goes on to the kernel lane, which needs no agent. And tc ingress of that TUN: what the agent opened
 * enters by ntm0. Whatever is in doubt is the kernel lane's: it checks, counts and complains.
 */
#include "lib/ctx.h"
#include <ntm/wire.h>
#include "maps.bpf.h"
#include "lib/finish.h"
#include "lib/addr.h"
#include "lib/inner.h"

#define NTM_GO_ON (-1)              /* TC_ACT_UNSPEC: the next program, and then on as ever */
#define NTM_AWAY_NS 10000000ULL     /* an agent that took no packet and showed no life for so long is away */
#define NTM_STALLED_NS 200000000ULL /* one of its workers that took no packet for so long hangs */
/* A flow stays on the bulk lane for so long, lest its packets overtake each other. */
#define NTM_STICKY_NS 50000000ULL
#define NTM_FLOWS 4096

/* By flow hash: when a packet of it went to the bulk lane. Two flows with one entry share their fate for a moment.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NTM_FLOWS);
	__type(key, __u32);
	__type(value, __u64);
} ntm_bulk_flows SEC(".maps");

struct ntm_lane_packet {
	NTM_VIP dst;
	struct ntm_inner in;
	__u32 first; /* bytes of the first segment, headers included */
	__u8 own;    /* from this host's virtual address */
	__u8 virtual;
};

/* Length of the headers that each segment gets. 0: neither TCP nor UDP. */
static __always_inline __u32 ntm_headers_len(struct __sk_buff *skb, __u32 off, __u8 proto)
{
	__u8 doff;

	if (proto == IPPROTO_UDP)
		return off - ETH_HLEN + sizeof(struct udphdr);
	if (proto != IPPROTO_TCP || bpf_skb_load_bytes(skb, off + 12, &doff, 1))
		return 0;
	return off - ETH_HLEN + (doff >> 4) * 4;
}

static __always_inline int ntm_lane_parse(struct __sk_buff *skb, const struct ntm_settings *s,
					  struct ntm_lane_packet *pkt)
{
	void *data = NTM_DATA(skb), *data_end = NTM_DATA_END(skb), *p = data + ETH_HLEN;
	__u32 off = ETH_HLEN;
	__u8 proto;

	if (ntm_inner_parse(p, data_end, skb->len - ETH_HLEN, &pkt->in) != NTM_INNER_OK)
		return -1;
	if (pkt->in.is_ipv6) {
		struct ipv6hdr *ip6 = p;

		if ((void *)(ip6 + 1) > data_end || skb->protocol != bpf_htons(ETH_P_IPV6))
			return -1;
		ntm_addr_copy(&pkt->dst, &ip6->daddr);
		pkt->own = ntm_addr_equal(&ip6->saddr, s->vip6);
		pkt->virtual = ntm_in_pool6(s, &ip6->daddr);
		proto = ip6->nexthdr;
		off += sizeof(*ip6);
	} else {
		struct iphdr *ip = p;

		if ((void *)(ip + 1) > data_end || skb->protocol != bpf_htons(ETH_P_IP))
			return -1;
		ntm_map4(&pkt->dst, ip->daddr);
		pkt->own = ip->saddr == s->vip4;
		pkt->virtual = ntm_in_pool4(s, ip->daddr);
		proto = ip->protocol;
		off += ip->ihl * 4;
	}
	pkt->first = pkt->in.len;
	if (skb->gso_size) {
		__u32 headers = ntm_headers_len(skb, off, proto);

		if (!headers)
			return -1;
		if (headers + skb->gso_size < pkt->first)
			pkt->first = headers + skb->gso_size;
	}
	return 0;
}

static __always_inline struct ntm_path *ntm_lane_path(const struct ntm_settings *s, const struct ntm_lane_packet *pkt)
{
	__u32 slot, *found;
	struct ntm_path *path;

	if (pkt->virtual) {
		found = bpf_map_lookup_elem(&ntm_vips, &pkt->dst);
		slot = found ? *found : 0;
	} else {
		slot = pkt->own ? NTM_READ(s->gateway) : 0;
	}
	path = slot ? bpf_map_lookup_elem(&ntm_paths, &slot) : NULL;
	if (!path || !(NTM_READ(path->flags) & NTM_PATH_BULK))
		return NULL;
	/* A gateway forwards for its clients only, and general destinations are a gateway's. */
	if (!pkt->own && !(path->flags & NTM_PATH_CLIENT && s->flags & NTM_SETTINGS_GATEWAY))
		return NULL;
	return pkt->virtual || path->flags & NTM_PATH_GATEWAY ? path : NULL;
}

/* Does the agent take what this queue is given? Notes that it is given something. */
static __always_inline int ntm_agent_takes(struct ntm_lanes *lanes, __u32 hash, __u64 now)
{
	__u32 queues = NTM_READ(lanes->queues), q;
	__u64 waiting;

	if (!queues)
		return 0;
	q = hash % queues;
	NTM_UNKNOWN(q);
	if (q >= NTM_LANE_QUEUES)
		return 0;
	waiting = NTM_READ(lanes->q[q].waiting_ns);
	if (waiting) {
		if (now < waiting + NTM_AWAY_NS)
			return 1;
		return now < waiting + NTM_STALLED_NS && now < NTM_READ(lanes->alive_ns) + NTM_AWAY_NS;
	}
	NTM_WRITE(lanes->q[q].waiting_ns, now);
	return 1;
}

SEC("tc")
int node_lane(struct __sk_buff *skb)
{
	__u32 zero = 0, hash, key;
	struct ntm_settings *s = bpf_map_lookup_elem(&ntm_settings, &zero);
	struct ntm_lanes *lanes = bpf_map_lookup_elem(&ntm_lanes, &zero);
	struct ntm_lane_packet pkt = {};
	struct ntm_path *path;
	__u64 now, *last;

	if (!s || !lanes || !NTM_READ(lanes->ifindex))
		return NTM_GO_ON;
	hash = bpf_get_hash_recalc(skb);
	now = bpf_ktime_get_boot_ns();
	key = hash % NTM_FLOWS;
	last = bpf_map_lookup_elem(&ntm_bulk_flows, &key);
	if (!last || (!skb->gso_size && now > NTM_READ(*last) + NTM_STICKY_NS))
		return NTM_GO_ON;
	if (ntm_lane_parse(skb, s, &pkt))
		return NTM_GO_ON;
	path = ntm_lane_path(s, &pkt);
	if (!path || pkt.first > path->inner_mtu || !ntm_agent_takes(lanes, hash, now))
		return NTM_GO_ON;
	if (skb->gso_size) {
		NTM_WRITE(*last, now);
		/* Without a checksum to be completed it would be segmented before the TUN (UDP; ntm0 offers none). */
		bpf_csum_level(skb, BPF_CSUM_LEVEL_INC);
	}
	return bpf_redirect(NTM_READ(lanes->ifindex), 0);
}

/* What the agent writes into the TUN has no link-layer header; the interface that it is to enter by has one. */
SEC("tc")
int node_lane_in(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct ntm_settings *s = bpf_map_lookup_elem(&ntm_settings, &zero);
	__be16 proto = skb->protocol;
	struct ethhdr *eth;

	if (!s || bpf_skb_change_head(skb, ETH_HLEN, 0))
		return ntm_finish(NTM_VERDICT(TC_ACT_SHOT, RX_ERROR), skb->len);
	eth = NTM_DATA(skb);
	if ((void *)(eth + 1) > NTM_DATA_END(skb))
		return ntm_finish(NTM_VERDICT(TC_ACT_SHOT, RX_ERROR), skb->len);
	__builtin_memcpy(eth->h_dest, s->mac_ntm0, 6);
	__builtin_memcpy(eth->h_source, s->mac_ntm0p, 6);
	eth->h_proto = proto;
	return bpf_redirect(s->if_ntm0, BPF_F_INGRESS);
}

/* The queue of the TUN, modulo their number: the one of which node_lane asked whether it is being read. */
SEC("socket")
int node_steer(struct __sk_buff *skb)
{
	return skb->hash;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
