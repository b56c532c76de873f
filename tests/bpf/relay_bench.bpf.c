/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The relay's program behind one that makes a packet of a random path first. BPF_PROG_TEST_RUN gives a program the
 * same packet again and again, as the last run left it: so each run writes all headers anew, and afterwards moves the
 * start of the packet back to where it was. What that alone costs is measured with `idle`.
 */
#include "../../bpf/relay.bpf.c"

struct bench_params {
	__u64 seed;
	__u32 paths; /* a power of two less one, or how many: see bench_index() */
	__u32 in_v6, out_v6;
	__u32 idle;    /* enum bench_idle */
	__u32 payload; /* of UDP */
	__u32 hot;     /* always the same path */
	__u32 wrong;   /* verdicts other than XDP_TX */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bench_params);
} bench_params SEC(".maps");

#include "relay_bench.h"

static __always_inline __u32 bench_index(struct bench_params *b)
{
	b->seed ^= b->seed << 13;
	b->seed ^= b->seed >> 7;
	b->seed ^= b->seed << 17;
	return b->hot ? 7 : (b->seed >> 32) * b->paths >> 32;
}

static __always_inline int bench_make(struct xdp_md *ctx, struct bench_params *b, __u32 index)
{
	void *data = NTM_DATA(ctx), *data_end = NTM_DATA_END(ctx);
	struct ethhdr *eth = data;
	struct udphdr *udp;
	struct ntm_hdr *h;

	if (b->in_v6) {
		struct ipv6hdr *ip6 = (void *)(eth + 1);
		__u32 *src = (__u32 *)&ip6->saddr, *dst = (__u32 *)&ip6->daddr;

		udp = (void *)(ip6 + 1);
		h = (void *)(udp + 1);
		if ((void *)(h + 1) > data_end)
			return -1;
		eth->h_proto = bpf_htons(ETH_P_IPV6);
		*(__be32 *)ip6 = bpf_htonl(6u << 28);
		ip6->payload_len = bpf_htons(sizeof(*udp) + b->payload);
		ip6->nexthdr = IPPROTO_UDP;
		ip6->hop_limit = 64;
		src[0] = bpf_htonl(BENCH_V6);
		src[1] = src[2] = 0;
		src[3] = bpf_htonl(index + 256);
		dst[0] = bpf_htonl(BENCH_V6);
		dst[1] = dst[2] = 0;
		dst[3] = bpf_htonl(1);
	} else {
		struct iphdr *ip = (void *)(eth + 1);

		udp = (void *)(ip + 1);
		h = (void *)(udp + 1);
		if ((void *)(h + 1) > data_end)
			return -1;
		eth->h_proto = bpf_htons(ETH_P_IP);
		*(__u8 *)ip = 0x45;
		ip->tos = 0;
		ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(*udp) + b->payload);
		ip->id = 0;
		ip->frag_off = bpf_htons(IP_DF);
		ip->ttl = 64;
		ip->protocol = IPPROTO_UDP;
		ip->saddr = bpf_htonl(BENCH_V4_IN + index);
		ip->daddr = bpf_htonl(BENCH_V4_OWN);
	}
	udp->source = bpf_htons(BENCH_PORT + (index & 0x7fff));
	udp->dest = bpf_htons(NTM_PORT);
	udp->len = bpf_htons(sizeof(*udp) + b->payload);
	udp->check = b->in_v6 ? 0x1234 : 0;
	*(__be16 *)h = bpf_htons((NTM_WIRE_VERSION << 4 | NTM_T_DATA) << 8);
	h->id = bpf_cpu_to_be64(bench_path_id(index));
	return 0;
}

/* The next packet depends on what is found, or the processor would be there already. */
static __always_inline void bench_find(const struct ntm_relay_settings *s, struct bench_params *b, __u32 index)
{
	__u32 slot = ntm_relay_find(s, bpf_cpu_to_be64(bench_path_id(index)));
	struct ntm_relay_path *p = bpf_map_lookup_elem(&ntm_relay_paths, &slot);

	if (p)
		b->seed += p->version;
	else
		b->wrong++;
}

SEC("xdp")
int bench(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct ntm_relay_settings *s = bpf_map_lookup_elem(&ntm_relay_settings, &zero);
	struct bench_params *b = bpf_map_lookup_elem(&bench_params, &zero);
	__s64 len = NTM_DATA_END(ctx) - NTM_DATA(ctx), moved;
	int v = NTM_RELAY_VERDICT(XDP_TX, NTM_RR_RELAYED);
	__u32 index;

	NTM_UNKNOWN(len);
	if (!b || !s)
		return XDP_ABORTED;
	index = bench_index(b);
	if (bench_make(ctx, b, index))
		return XDP_ABORTED;
	if (!b->idle)
		v = ntm_relay(ctx, s);
	else if (b->idle == BENCH_FIND)
		bench_find(s, b, index);
	moved = NTM_DATA_END(ctx) - NTM_DATA(ctx);
	NTM_UNKNOWN(moved);
	bpf_xdp_adjust_head(ctx, (int)(moved - len));
	if (b->idle)
		return XDP_TX;
	ntm_relay_count(v & 0xffff, len);
	if (v >> 16 != XDP_TX)
		b->wrong++;
	return v >> 16;
}
