/* SPDX-License-Identifier: BSD-2-Clause */
#include "packet.h"

#include <arpa/inet.h>
#include <bpf/bpf_endian.h>
#include <endian.h>
#include <errno.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <string.h>

#include "../../bpf/lib/ecn.h"
#include "../../bpf/lib/general.h"
#include "../../bpf/lib/replay.h"
#include "../common/crypto.h"

enum ntm_reason ntm_packet_seal(struct ntm_path *p, const uint8_t *inner, size_t len, uint8_t *out, size_t cap,
				size_t *out_len)
{
	if (len > NTM_INNER_MAX || cap < sizeof(struct ntm_hdr) + len + NTM_TAG_LEN)
		return NTM_R_TX_TOO_BIG;
	uint8_t epoch = __atomic_load_n(&p->tx_epoch, __ATOMIC_ACQUIRE) & 15, nonce[NTM_NONCE_LEN];
	struct ntm_tx_epoch *tx = &p->tx[epoch & 1];
	uint64_t now = ntm_boottime_ns(), expires = __atomic_load_n(&tx->expires_ns, __ATOMIC_ACQUIRE);
	if (!expires)
		return NTM_R_TX_NO_KEY;
	uint64_t ctr = NTM_COUNTER_LIMIT;
	if (expires > now)
		ctr = __atomic_fetch_add(&tx->counter, 1, __ATOMIC_RELAXED);
	if (ctr >= NTM_COUNTER_LIMIT)
		return NTM_R_TX_KEY_EXPIRED;
	struct ntm_hdr h = {.ver_type = NTM_WIRE_VERSION << 4 | NTM_T_DATA,
			    .suite_epoch = (uint8_t)(NTM_SUITE_KERNEL << 4 | epoch),
			    .ctr_hi = htobe16((uint16_t)(ctr >> 32)),
			    .ctr_lo = htobe32((uint32_t)ctr),
			    .id = p->path_id};
	ntm_nonce(nonce, ctr);
	if (ntm_seal(tx->key, nonce, &h, sizeof(h), inner, len, out + sizeof(h)))
		return NTM_R_TX_ERROR;
	memcpy(out, &h, sizeof(h));
	*out_len = sizeof(h) + len + NTM_TAG_LEN;
	__atomic_store_n(&p->last_tx_ns, now, __ATOMIC_RELAXED);
	if (len) {
		__atomic_fetch_add(&p->tx_packets, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&p->tx_bytes, len, __ATOMIC_RELAXED);
	}
	return NTM_R_TX_OK;
}

enum ntm_reason ntm_packet_header(const uint8_t *datagram, size_t len, struct ntm_hdr *h)
{
	if (len < sizeof(*h) + NTM_TAG_LEN)
		return NTM_R_RX_SHORT;
	memcpy(h, datagram, sizeof(*h));
	if (ntm_hdr_version(h) != NTM_WIRE_VERSION)
		return NTM_R_RX_BAD_VERSION;
	if (ntm_hdr_type(h) != NTM_T_DATA || ntm_hdr_suite(h) != NTM_SUITE_KERNEL)
		return NTM_R_RX_BAD_TYPE;
	return len - sizeof(*h) - NTM_TAG_LEN > NTM_INNER_MAX ? NTM_R_RX_LONG : NTM_R_RX_OK;
}

static enum ntm_reason replay_reason(enum ntm_replay r)
{
	return r == NTM_REPLAY_SEEN ? NTM_R_RX_REPLAY : NTM_R_RX_TOO_OLD;
}

/* What an authenticated packet changes, as in bpf/lib/roam.h. */
static void authenticated(struct ntm_path *p, uint8_t epoch, bool newest, const struct ntm_addr *from, uint64_t now,
			  struct ntm_opened *o)
{
	uint32_t waiting = epoch;
	__atomic_store_n(&p->last_rx_ns, now, __ATOMIC_RELAXED);
	if (__atomic_compare_exchange_n(&p->next_epoch, &waiting, NTM_NO_EPOCH, false, __ATOMIC_ACQ_REL,
					__ATOMIC_RELAXED)) {
		__atomic_store_n(&p->tx_epoch, epoch, __ATOMIC_RELEASE);
		o->confirmed = true;
	}
	o->roamed = newest && ntm_path_follow(p, from, now);
}

enum ntm_reason ntm_packet_open(struct ntm_path *p, const struct ntm_hdr *h, const uint8_t *datagram, size_t len,
				const struct ntm_addr *from, uint8_t *inner, struct ntm_opened *o)
{
	uint8_t epoch = ntm_hdr_epoch(h), nonce[NTM_NONCE_LEN];
	struct ntm_rx_epoch *rx = &p->rx[epoch & 1];
	uint64_t now = ntm_boottime_ns(), ctr = (uint64_t)be16toh(h->ctr_hi) << 32 | be32toh(h->ctr_lo);
	int newest = 0;
	o->confirmed = o->roamed = false;
	o->inner = inner;
	o->len = len - sizeof(*h) - NTM_TAG_LEN;
	if (__atomic_load_n(&rx->expires_ns, __ATOMIC_ACQUIRE) <= now || rx->epoch != epoch)
		return NTM_R_RX_NO_KEY;
	enum ntm_replay replay = ntm_replay_check(rx, ctr);
	if (replay != NTM_REPLAY_OK)
		return replay_reason(replay);
	ntm_nonce(nonce, ctr);
	int err = ntm_open(rx->key, nonce, h, sizeof(*h), datagram + sizeof(*h), o->len + NTM_TAG_LEN, o->inner);
	if (err)
		return err == -EBADMSG ? NTM_R_RX_BAD_TAG : NTM_R_RX_ERROR;
	replay = ntm_replay_accept(rx, ctr, &newest);
	if (replay != NTM_REPLAY_OK) {
		ntm_wipe(o->inner, o->len);
		return replay_reason(replay);
	}
	authenticated(p, epoch, newest, from, now, o);
	return o->len ? NTM_R_RX_OK : NTM_R_RX_KEEPALIVE;
}

/* The length that an inner header names, and its family. 0: malformed; *other: of no family of ours. */
static size_t inner_len(const uint8_t *p, size_t avail, bool *is_ipv6, bool *other)
{
	size_t len;
	*other = false;
	if (avail >= sizeof(struct iphdr) && p[0] >> 4 == 4) {
		size_t header = (p[0] & 15u) * 4;
		*is_ipv6 = false;
		len = (size_t)p[2] << 8 | p[3];
		if (header < sizeof(struct iphdr) || len < header)
			return 0;
	} else if (avail >= sizeof(struct ipv6hdr) && p[0] >> 4 == 6) {
		*is_ipv6 = true;
		len = sizeof(struct ipv6hdr) + ((size_t)p[4] << 8 | p[5]);
	} else {
		*other = avail >= sizeof(struct iphdr) && p[0] >> 4 != 6;
		return 0;
	}
	return len > avail ? 0 : len;
}

static void addresses(const uint8_t *p, bool is_ipv6, struct ntm_vip *src, struct ntm_vip *dst)
{
	if (is_ipv6) {
		memcpy(src->ip, p + 8, 16);
		memcpy(dst->ip, p + 24, 16);
	} else {
		ntm_ip_from_v4(src->ip, p + 12);
		ntm_ip_from_v4(dst->ip, p + 16);
	}
}

static bool in_pool(const struct ntm_vip *a, const void *pool4, uint8_t len4, const uint8_t pool6[16], uint8_t len6)
{
	struct ntm_prefix pool = {.len = len6};
	if (ntm_ip_is_v4(a->ip)) {
		ntm_ip_from_v4(pool.ip, pool4);
		pool.len = (uint8_t)(96 + len4);
	} else {
		memcpy(pool.ip, pool6, 16);
	}
	return ntm_prefix_contains(&pool, a->ip);
}

static bool in_pools(const struct ntm_settings *s, const struct ntm_vip *a)
{
	if (!s->pool4_len)
		return false;
	if (in_pool(a, &s->pool4, s->pool4_len, s->pool6, s->pool6_len))
		return true;
	for (uint32_t i = 0; i < s->n_peers && i < NTM_PEER_POOLS; i++)
		if (in_pool(a, &s->peers[i].pool4, s->peers[i].pool4_len, s->peers[i].pool6, s->peers[i].pool6_len))
			return true;
	return false;
}

/* As ntm_beyond4(), ntm_beyond6() of bpf/lib/addr.h. */
static bool is_general(const struct ntm_vip *a)
{
	struct ntm_vip aligned __attribute__((aligned(8))) = *a;
	return ntm_ip_is_v4(aligned.ip) ? ntm_is_general4(aligned.ip + 12) : ntm_is_general6(aligned.ip);
}

static bool is_beyond(const struct ntm_settings *s, const struct ntm_vip *a)
{
	return is_general(a) && !in_pools(s, a);
}

static bool is_own(const struct ntm_settings *s, const struct ntm_vip *a)
{
	uint8_t vip4[16];
	ntm_ip_from_v4(vip4, &s->vip4);
	return !memcmp(a->ip, ntm_ip_is_v4(a->ip) ? vip4 : s->vip6, 16);
}

enum ntm_reason ntm_packet_inner(const struct ntm_settings *s, const struct ntm_path *p, struct ntm_opened *o,
				 uint8_t outer_tos, bool (*is_local)(const void *arg, const struct ntm_vip *a),
				 const void *arg)
{
	struct ntm_vip src, dst, peer[2];
	bool other;
	o->inner_len = inner_len(o->inner, o->len, &o->is_ipv6, &other);
	if (!o->inner_len)
		return NTM_R_RX_BAD_INNER;
	addresses(o->inner, o->is_ipv6, &src, &dst);
	ntm_path_vips(p, peer);
	if (memcmp(&src, &peer[o->is_ipv6], sizeof(src)) && !(p->flags & NTM_PATH_GATEWAY && is_beyond(s, &src)))
		return NTM_R_RX_BAD_SOURCE;
	if (!is_own(s, &dst) && !(p->flags & NTM_PATH_CLIENT && is_beyond(s, &dst) && is_local && !is_local(arg, &dst)))
		return NTM_R_RX_BAD_DEST;
	uint32_t was = (o->is_ipv6 ? o->inner[1] >> 4 : o->inner[1]) & 3, ecn = ntm_ecn_decap(was, outer_tos & 3);
	if (ecn == NTM_ECN_DROP)
		return NTM_R_RX_ECN;
	if (ecn != was && o->is_ipv6) {
		ntm_ecn_set_ipv6((struct ipv6hdr *)o->inner, ecn);
	} else if (ecn != was) {
		struct iphdr ip;
		memcpy(&ip, o->inner, sizeof(ip));
		ntm_ecn_set_ipv4(&ip, ecn);
		memcpy(o->inner, &ip, sizeof(ip));
	}
	return NTM_R_RX_OK;
}

static bool is_multicast(const struct ntm_vip *a)
{
	static const uint8_t broadcast[4] = {255, 255, 255, 255};
	if (!ntm_ip_is_v4(a->ip))
		return a->ip[0] == 0xff;
	return (a->ip[12] & 0xf0) == 0xe0 || !memcmp(a->ip + 12, broadcast, 4);
}

enum ntm_reason ntm_packet_accept(const struct ntm_settings *s, const uint8_t *packet, size_t len, struct ntm_inner *in)
{
	bool other;
	in->len = inner_len(packet, len, &in->is_ipv6, &other);
	if (!in->len)
		return other ? NTM_R_TX_NOT_IP : NTM_R_TX_BAD_INNER;
	addresses(packet, in->is_ipv6, &in->src, &in->dst);
	in->tos = in->is_ipv6 ? (uint8_t)(packet[0] << 4 | packet[1] >> 4) : packet[1];
	if (is_multicast(&in->dst))
		return NTM_R_TX_NOT_IP;
	if (!is_own(s, &in->src))
		return NTM_R_TX_BAD_SOURCE;
	in->beyond = !in_pools(s, &in->dst);
	if (in->beyond ? !is_general(&in->dst) : is_own(s, &in->dst))
		return NTM_R_TX_NOT_VIRTUAL;
	return NTM_R_TX_OK;
}

int ntm_packet_errno(enum ntm_reason r)
{
	switch (r) {
	case NTM_R_TX_OK:
	case NTM_R_RX_OK:
	case NTM_R_RX_KEEPALIVE:
		return 0;
	case NTM_R_RX_UNKNOWN_PATH:
		return -ENOENT;
	case NTM_R_TX_NO_KEY:
	case NTM_R_RX_NO_KEY:
		return -ENOKEY;
	case NTM_R_TX_KEY_EXPIRED:
		return -EKEYEXPIRED;
	case NTM_R_RX_REPLAY:
		return -EALREADY;
	case NTM_R_RX_TOO_OLD:
		return -ESTALE;
	case NTM_R_TX_TOO_BIG:
	case NTM_R_RX_LONG:
		return -EMSGSIZE;
	case NTM_R_RX_BAD_SOURCE:
	case NTM_R_RX_BAD_DEST:
		return -EADDRNOTAVAIL;
	case NTM_R_TX_ERROR:
	case NTM_R_RX_ERROR:
		return -EIO;
	default:
		return -EBADMSG;
	}
}
