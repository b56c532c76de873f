/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What becomes of a packet on an uplink, the same at XDP and at tc ingress: capsulated packets of the kernel lane are
 * opened and put into ntm0; the rest of the own port goes to the agent's socket, everything else to the kernel. Until a
 * packet is opened in place, what is not ours passes; after that nothing passes any more.
 *
 * The outer UDP checksum is not looked at: the AEAD covers all that is used of the packet (and so a sender may leave it
 * zero over IPv6, RFC 6935).
 *
 * Behind hook_xdp.h or hook_tc.h, which say what differs.
 */
#ifndef NTM_LIB_DECAP_H
#define NTM_LIB_DECAP_H

#include "finish.h"
#include "addr.h"
#include "parse.h"
#include "replay.h"
#include "inner.h"
#include "ecn.h"
#include "event.h"
#include "roam.h"
#include "aead.h"
#include "deliver.h"

#define NTM_PASS(reason) NTM_VERDICT(NTM_RX_PASS, reason)

static __always_inline struct ntm_path *ntm_path_by_id(__be64 id)
{
	__u32 *slot = bpf_map_lookup_elem(&ntm_path_ids, &id);
	struct ntm_path *path = slot ? bpf_map_lookup_elem(&ntm_paths, slot) : NULL;

	return path && path->path_id == id ? path : NULL;
}

/* By the header alone: whose is it? NTM_CONTINUE: the kernel lane's. Copies the header. */
static __always_inline int ntm_classify(NTM_RX_CTX *ctx, const struct ntm_rx *rx, struct ntm_hdr *hdr)
{
	void *data = NTM_DATA(ctx), *data_end = NTM_DATA_END(ctx);
	struct ntm_hdr *h;

	if (rx->udp_len < sizeof(*h))
		return NTM_REJECT(rx, RX_SHORT);
	h = data + rx->hdr_off;
	if ((void *)(h + 1) > data_end)
		return NTM_REJECT(rx, RX_SHORT);
	*hdr = *h;
	if (ntm_hdr_version(hdr) != NTM_WIRE_VERSION)
		return NTM_REJECT(rx, RX_BAD_VERSION);

	switch (ntm_hdr_type(hdr)) {
	case NTM_T_DATA:
		break;
	case NTM_T_SESSION_INIT:
	case NTM_T_SESSION_RESP:
	case NTM_T_COOKIE_REPLY:
	case NTM_T_SIGNAL:
	case NTM_T_TUNNEL_REQ:
	case NTM_T_TUNNEL_RESP:
		return NTM_PASS(RX_TO_AGENT);
	default:
		return NTM_REJECT(rx, RX_BAD_TYPE);
	}
	switch (ntm_hdr_suite(hdr)) {
	case NTM_SUITE_KERNEL:
		break;
	case NTM_SUITE_BULK_AES:
	case NTM_SUITE_BULK_CHACHA:
		/* What the agent would not find a key for does not get there to push out others. */
		return ntm_path_by_id(hdr->id) ? NTM_PASS(RX_TO_AGENT) : NTM_REJECT(rx, RX_UNKNOWN_PATH);
	case NTM_SUITE_CONTROL:
		return NTM_PASS(RX_TO_AGENT);
	default:
		return NTM_REJECT(rx, RX_BAD_TYPE);
	}
	if (rx->udp_len < sizeof(*h) + NTM_TAG_LEN)
		return NTM_REJECT(rx, RX_SHORT);
	if (rx->udp_len > sizeof(*h) + NTM_INNER_MAX + NTM_TAG_LEN && !NTM_RX_MERGED(ctx))
		return NTM_PASS(RX_LONG);
	return NTM_CONTINUE;
}

static __always_inline int ntm_replay_verdict(enum ntm_replay r)
{
	switch (r) {
	case NTM_REPLAY_OK:
		return NTM_CONTINUE;
	case NTM_REPLAY_SEEN:
		return NTM_DROP(RX_REPLAY);
	default:
		return NTM_DROP(RX_TOO_OLD);
	}
}

/* Authenticates, decrypts in place and takes the counter. */
static __always_inline int ntm_open(NTM_RX_CTX *ctx, const struct ntm_rx *rx, struct ntm_path *path,
				    const struct ntm_hdr *hdr, __u64 now)
{
	__u32 epoch = ntm_hdr_epoch(hdr), payload = rx->udp_len - sizeof(*hdr) - NTM_TAG_LEN;
	struct ntm_rx_epoch *re = &path->rx[epoch & 1];
	__u64 ctr = (__u64)bpf_ntohs(hdr->ctr_hi) << 32 | bpf_ntohl(hdr->ctr_lo);
	int newest = 0, v;

	if (NTM_READ(re->expires_ns) <= now || re->epoch != epoch)
		return NTM_DROP(RX_NO_KEY);
	v = ntm_replay_verdict(ntm_replay_check(re, ctr));
	if (v != NTM_CONTINUE)
		return v;
	switch (NTM_RX_OPEN(ctx, rx->hdr_off, payload, re->key)) {
	case 0:
		break;
	case -EBADMSG:
		return NTM_DROP(RX_BAD_TAG);
	default:
		return NTM_DROP(RX_ERROR);
	}
	v = ntm_replay_verdict(ntm_replay_accept(re, ctr, &newest));
	if (v != NTM_CONTINUE)
		return v;

	NTM_WRITE(path->last_rx_ns, now);
	if (NTM_UNLIKELY(NTM_READ(path->next_epoch) == epoch))
		ntm_confirm_epoch(path, epoch, now);
	if (newest && NTM_UNLIKELY(ntm_endpoint_move(path, rx, now))) {
		ntm_count(NTM_R_RX_ROAMED, rx->udp_len);
		ntm_event_roamed(path, &rx->src, rx->sport);
	}
	return NTM_CONTINUE;
}

static __always_inline int ntm_decap(NTM_RX_CTX *ctx)
{
	__u32 zero = 0, payload, len = 0;
	struct ntm_settings *s = bpf_map_lookup_elem(&ntm_settings, &zero);
	struct ntm_path *path;
	struct ntm_rx rx;
	struct ntm_hdr hdr;
	int v;

	if (!s)
		return NTM_PASS(RX_OTHER);
	v = ntm_parse_outer(ctx, &rx, s);
	if (v != NTM_CONTINUE)
		return v;
	v = ntm_classify(ctx, &rx, &hdr);
	if (v != NTM_CONTINUE)
		return v;
	path = ntm_path_by_id(hdr.id);
	if (!path)
		return NTM_REJECT(&rx, RX_UNKNOWN_PATH);
	v = ntm_rx_own(ctx, s);
	if (v != NTM_CONTINUE)
		return v;

	v = ntm_open(ctx, &rx, path, &hdr, bpf_ktime_get_boot_ns());
	if (v != NTM_CONTINUE)
		return v;
	payload = rx.udp_len - sizeof(hdr) - NTM_TAG_LEN;
	if (!payload)
		return NTM_DROP(RX_KEEPALIVE);
	v = ntm_deliver(ctx, s, path, rx.hdr_off + sizeof(hdr), payload, rx.tos, &len);
	if (v == NTM_VERDICT(NTM_RX_REDIRECT, RX_OK)) {
		__sync_fetch_and_add(&path->rx_packets, 1);
		__sync_fetch_and_add(&path->rx_bytes, len);
	}
	return v;
}

#endif
