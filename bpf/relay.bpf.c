/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * XDP on the interfaces of a Relay Server. A packet of a relay path that comes from one of the path's two bound ends
 * goes on to the other, with new outer headers and its UDP payload as it is: the relay has no key to look into it.
 * Binds, probes and signalling go to the agent, as many as it can take; packets that are none of the relay's to the
 * gateway's program if there is one; what is not for the own port to the kernel. Everything else is dropped.
 */
#include "lib/ctx.h"
#include <ntm/wire.h>
#include "lib/relay_maps.h"
#include "lib/csum.h"
#include "lib/relay_parse.h"
#include "lib/relay_table.h"
#include "lib/fib.h"
#include "lib/relay_rewrite.h"
#include "lib/pmtu.h"

#define NTM_SIGNAL_INTERVAL_NS 100000ULL /* 10,000 a second and CPU */
#define NTM_SIGNAL_BURST 256
#define NTM_PROBE_INTERVAL_NS 50000ULL /* 20,000 */
#define NTM_PROBE_BURST 512

static __always_inline int ntm_relay_to_agent(__u32 bucket, __u64 interval_ns, __u32 burst)
{
	return ntm_relay_take(bucket, interval_ns, burst) ? NTM_RELAY_PASS(TO_AGENT) : NTM_RELAY_DROP(BIND_RATE);
}

#define NTM_RELAY_SIGNAL() ntm_relay_to_agent(NTM_RB_SIGNAL, NTM_SIGNAL_INTERVAL_NS, NTM_SIGNAL_BURST)

/* By the header alone: whose is it? NTM_CONTINUE: of a relay path, if there is one. */
static __always_inline int ntm_relay_classify(struct xdp_md *ctx, const struct ntm_relay_rx *rx, struct ntm_hdr *hdr)
{
	struct ntm_hdr *h = NTM_DATA(ctx) + rx->hdr_off;

	if (rx->udp_len < sizeof(*h) || (void *)(h + 1) > NTM_DATA_END(ctx))
		return NTM_RELAY_REJECT(rx, SHORT);
	*hdr = *h;
	if (ntm_hdr_version(hdr) != NTM_WIRE_VERSION)
		return NTM_RELAY_REJECT(rx, BAD_VERSION);
	switch (ntm_hdr_type(hdr)) {
	case NTM_T_SESSION_INIT:
	case NTM_T_SESSION_RESP:
	case NTM_T_SIGNAL:
		return NTM_RELAY_SIGNAL();
	case NTM_T_TUNNEL_REQ:
		if (ntm_hdr_suite(hdr) == NTM_SUITE_RS_PROBE) {
			if (rx->udp_len != sizeof(struct ntm_relay_bind))
				return NTM_RELAY_REJECT(rx, BAD_LENGTH);
			return ntm_relay_to_agent(NTM_RB_PROBE, NTM_PROBE_INTERVAL_NS, NTM_PROBE_BURST);
		}
		return NTM_CONTINUE;
	case NTM_T_COOKIE_REPLY:
	case NTM_T_TUNNEL_RESP:
	case NTM_T_DATA:
		return NTM_CONTINUE;
	default:
		return NTM_RELAY_REJECT(rx, BAD_TYPE);
	}
}

/* What a relay path carries, by type and length. */
static __always_inline int ntm_relay_admit(const struct ntm_relay_rx *rx, const struct ntm_hdr *hdr, __u32 slot,
					   __u64 now)
{
	switch (ntm_hdr_type(hdr)) {
	case NTM_T_DATA:
		return rx->udp_len >= sizeof(*hdr) + NTM_TAG_LEN ? NTM_CONTINUE : NTM_RELAY_REJECT(rx, SHORT);
	case NTM_T_TUNNEL_REQ:
		if (rx->udp_len == sizeof(struct ntm_relay_bind) ||
		    rx->udp_len == sizeof(struct ntm_relay_bind_request))
			return ntm_relay_bind_allowed(slot, now) ? NTM_RELAY_PASS(TO_AGENT) : NTM_RELAY_DROP(BIND_RATE);
		if (rx->udp_len == sizeof(struct ntm_tunnel_req))
			return NTM_CONTINUE;
		break;
	case NTM_T_TUNNEL_RESP:
		if (rx->udp_len == sizeof(struct ntm_tunnel_resp))
			return NTM_CONTINUE;
		break;
	default:
		if (rx->udp_len == sizeof(struct ntm_cookie_reply))
			return NTM_CONTINUE;
	}
	return NTM_RELAY_REJECT(rx, BAD_LENGTH);
}

/*
 * Fills the addresses of the packet that goes out. It leaves from the address that it was sent to, if that is of the
 * same family and interface, else from the uplink's. Was it sent to this host at all? The uplink's own addresses are
 * at hand; any other is looked up.
 */
static __always_inline int ntm_relay_address(struct xdp_md *ctx, const struct ntm_relay_rx *rx,
					     const struct ntm_relay_uplink *up, const struct ntm_relay_to *to,
					     struct ntm_relay_tx *tx)
{
	__u32 same_nic = up->nic == ctx->ingress_ifindex, own;

	if (!same_nic)
		own = 0;
	else if (rx->is_ipv6)
		own = ntm_relay_same(rx->dst, up->addr6);
	else
		own = rx->dst[3] == up->addr4;
	if (NTM_UNLIKELY(!own) && !ntm_relay_is_local(rx->dst))
		return NTM_RELAY_PASS(OTHER);
	tx->is_ipv6 = to->is_ipv6;
	tx->port = to->port;
	ntm_relay_copy(tx->dst, to->addr);
	if (same_nic && tx->is_ipv6 == rx->is_ipv6) {
		ntm_relay_copy(tx->src, rx->dst);
	} else if (tx->is_ipv6) {
		ntm_relay_copy(tx->src, up->addr6);
		if (!(tx->src[0] | tx->src[1] | tx->src[2] | tx->src[3]))
			return NTM_RELAY_DROP(NO_ROUTE);
	} else {
		ntm_relay_map4(tx->src, up->addr4);
		if (!up->addr4)
			return NTM_RELAY_DROP(NO_ROUTE);
	}
	return NTM_CONTINUE;
}

/* The next hop to the other end, out of what is kept or by the kernel's tables. */
static __always_inline int ntm_relay_next_hop(struct xdp_md *ctx, const struct ntm_relay_settings *s,
					      struct ntm_relay_path *p, __u32 to, __u32 version, __u64 now,
					      struct ntm_relay_hop *hop)
{
	__u32 generation = ntm_hop_generation(s, p, now), kept = NTM_READ(p->hop[to & 1]), index = NTM_HOP_INDEX(kept);
	struct ntm_relay_hop *e = bpf_map_lookup_elem(&ntm_relay_hops, &index);
	int err;

	if (NTM_LIKELY(e && NTM_HOP_GEN(kept) == generation)) {
		hop->word = NTM_READ(e->word);
		hop->mtu = NTM_READ(e->mtu);
		if (NTM_LIKELY(hop->word & NTM_HOP_WORD))
			return NTM_CONTINUE;
	}
	hop->word = 0;
	hop->mtu = 0;
	hop->used = now >> NTM_HOP_GEN_SHIFT;
	err = ntm_fib_resolve(ctx, p, version << 1 | (to & 1), generation, hop);
	return err ? NTM_RELAY_VERDICT(XDP_DROP, err) : NTM_CONTINUE;
}

/* On the way to end `to`; always a verdict. */
static __always_inline int ntm_relay_forward(struct xdp_md *ctx, const struct ntm_relay_settings *s,
					     const struct ntm_relay_rx *rx, struct ntm_relay_path *p, __u32 to,
					     const struct ntm_relay_to *end, __u32 version, __u64 now)
{
	struct ntm_relay_uplink *up;
	struct ntm_relay_hop hop;
	struct ntm_relay_tx tx;
	__u32 len, slot;
	int v;

	v = ntm_relay_next_hop(ctx, s, p, to, version, now, &hop);
	if (v != NTM_CONTINUE)
		return v;
	slot = NTM_HOP_UPLINK(hop.word);
	up = bpf_map_lookup_elem(&ntm_relay_uplinks, &slot);
	if (!up || !up->nic)
		return NTM_RELAY_DROP(NO_ROUTE);
	v = ntm_relay_address(ctx, rx, up, end, &tx);
	if (v != NTM_CONTINUE)
		return v;
	len = (tx.is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) + sizeof(struct udphdr) + rx->udp_len;
	if (NTM_UNLIKELY(len > hop.mtu))
		return ntm_pmtu_answer(ctx, rx, hop.mtu + 20 * rx->is_ipv6 - 20 * tx.is_ipv6);
	if (ntm_relay_rewrite(ctx, s, rx, &tx, up, hop.word))
		return NTM_RELAY_DROP(ERROR);
	if (up->nic == ctx->ingress_ifindex)
		return NTM_RELAY_VERDICT(XDP_TX, NTM_RR_RELAYED);
	if (bpf_redirect(up->nic, 0) != XDP_REDIRECT)
		return NTM_RELAY_DROP(ERROR);
	return NTM_RELAY_VERDICT(XDP_REDIRECT, NTM_RR_RELAYED);
}

static __always_inline int ntm_relay_carry(struct xdp_md *ctx, const struct ntm_relay_settings *s,
					   const struct ntm_relay_rx *rx, __u32 slot, __be64 id, __u64 now)
{
	struct ntm_relay_path *p = bpf_map_lookup_elem(&ntm_relay_paths, &slot);
	__u32 from = 0, version = 0, len = rx->udp_len;
	struct ntm_relay_to to;
	int v;

	if (!p)
		return NTM_RELAY_DROP(UNKNOWN_PATH);
	v = ntm_relay_ends(p, id, rx, &from, &to, &version);
	if (NTM_UNLIKELY(v == NTM_RELAY_DROP(BAD_SOURCE)))
		v = ntm_relay_late(p, id, rx, now, &from, &to, &version);
	if (v != NTM_CONTINUE)
		return v;
	if (rx->ttl <= 1)
		return NTM_RELAY_DROP(TTL);
	if (NTM_UNLIKELY(NTM_READ(p->flags) & NTM_RELAY_LIMITED) && !ntm_relay_rate(slot, len, now))
		v = NTM_RELAY_DROP(RATE);
	else
		v = ntm_relay_forward(ctx, s, rx, p, (from ^ 1) & 1, &to, version, now);
	if (NTM_LIKELY((v & 0xffff) == NTM_RR_RELAYED)) {
		ntm_relay_note(p, slot, from & 1, len);
		NTM_WRITE(p->last, now >> NTM_RELAY_LAST_SHIFT);
	} else if ((v & 0xffff) != NTM_RR_OTHER) {
		ntm_relay_note_drop(slot);
	}
	return v;
}

static __always_inline int ntm_relay(struct xdp_md *ctx, const struct ntm_relay_settings *s)
{
	struct ntm_relay_rx rx;
	struct ntm_hdr hdr;
	__u32 slot;
	__u64 now;
	int v;

	v = ntm_relay_parse(ctx, &rx, s);
	if (v != NTM_CONTINUE)
		return v;
	v = ntm_relay_classify(ctx, &rx, &hdr);
	if (v != NTM_CONTINUE)
		return v;
	slot = ntm_relay_find(s, hdr.id);
	if (NTM_UNLIKELY(slot == NTM_NO_SLOT)) {
		/* A cookie may also belong to the agent's session with the DC. */
		if (ntm_hdr_type(&hdr) == NTM_T_COOKIE_REPLY && rx.udp_len == sizeof(struct ntm_cookie_reply))
			return NTM_RELAY_SIGNAL();
		return NTM_RELAY_REJECT(&rx, UNKNOWN_PATH);
	}
	now = bpf_ktime_get_coarse_ns();
	v = ntm_relay_admit(&rx, &hdr, slot, now);
	if (v != NTM_CONTINUE)
		return v;
	return ntm_relay_carry(ctx, s, &rx, slot, hdr.id, now);
}

/* Fragments, too: the gateway's agent takes them from the kernel once they are whole. */
static __always_inline int ntm_relay_is_gateways(__u32 reason)
{
	return reason == NTM_RR_OTHER || reason == NTM_RR_UNKNOWN_PATH || reason == NTM_RR_BAD_TYPE ||
	       reason == NTM_RR_FRAGMENT;
}

/* Of what the relay has no use for. Returns only if there is no program after all. */
static __always_inline void ntm_relay_hand_over(struct xdp_md *ctx, __u32 reason, __u32 len)
{
	ntm_relay_count(reason == NTM_RR_OTHER ? NTM_RR_OTHER : NTM_RR_TO_GATEWAY, len);
	bpf_tail_call(ctx, &ntm_relay_next, 0);
}

SEC("xdp")
int relay(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct ntm_relay_settings *s = bpf_map_lookup_elem(&ntm_relay_settings, &zero);
	__u64 len = NTM_DATA_END(ctx) - NTM_DATA(ctx);
	int v;

	/* Computed here: the compiler would keep the two pointers in halves, which the verifier refuses. */
	NTM_UNKNOWN(len);
	if (!s || s->layout != NTM_RELAY_LAYOUT)
		return XDP_PASS;
	v = ntm_relay(ctx, s);
	if (NTM_UNLIKELY(s->flags & NTM_RELAY_GATEWAY) && ntm_relay_is_gateways(v & 0xffff))
		ntm_relay_hand_over(ctx, v & 0xffff, len);
	ntm_relay_count(v & 0xffff, len);
	return v >> 16;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
