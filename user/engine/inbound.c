/* SPDX-License-Identifier: BSD-2-Clause */
/* From the wire to the TUN: find the path, open, check, coalesce. */
#include <bpf/bpf_endian.h>
#include <endian.h>
#include <errno.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <string.h>

#include <ntm/wire.h>

#include "../../bpf/lib/ecn.h"
#include "../../bpf/lib/replay.h"
#include "ends.h"
#include "engine_int.h"

/* Not sealed data, or of a path whose keys are the owner's alone. */
static void to_owner(struct ntm_worker *w, const struct ntm_udp_in *in, const uint8_t *p, size_t len)
{
	struct ntm_engine_event ev = {.type = NTM_ENGINE_DATAGRAM, .addr = in->from, .data = p, .len = len};
	memcpy(ev.to, in->to, 16);
	if (len <= NTM_ENGINE_DATAGRAM_MAX)
		(void)ntm_engine_push(w->e, &ev);
}

static void set_ecn(uint8_t *p, bool is_ipv6, unsigned ecn)
{
	if (is_ipv6) {
		p[1] = (uint8_t)((p[1] & 0xcf) | ecn << 4);
	} else {
		p[1] = (uint8_t)((p[1] & ~3u) | ecn);
		ntm_packet_set_len(p, false, ntm_get16(p + 2));
	}
}

/* The opened packet's own header: length, addresses, ECN. */
static enum ntm_reason check(struct ntm_worker *w, const struct ntm_path *path, uint8_t *p, size_t len, uint8_t tos,
			     struct ntm_packet *k)
{
	const struct ntm_engine_config *c = &w->e->c;
	if (ntm_packet_parse(k, p, len))
		return NTM_R_RX_BAD_INNER;
	enum ntm_reason r = ntm_ends_in(c->settings, path, p, k->is_ipv6, c->ops->is_local, c->arg);
	if (r != NTM_R_RX_OK)
		return r;
	unsigned ecn = ntm_ecn_decap(k->tos & 3, tos & 3);
	if (ecn == NTM_ECN_DROP)
		return NTM_R_RX_ECN;
	if (ecn != (k->tos & 3u)) {
		set_ecn(p, k->is_ipv6, ecn);
		k->tos = (uint8_t)((k->tos & ~3u) | ecn);
	}
	return NTM_R_RX_OK;
}

/* The bulk lane's own: what comes on it shows that the peer's engine is there. */
static void heard_bulk(struct ntm_worker *w, uint32_t slot, struct ntm_lane *l, bool wants_answer)
{
	__atomic_store_n(&l->heard_ns, w->now, __ATOMIC_RELAXED);
	uint64_t since = __atomic_exchange_n(&l->unanswered_ns, 0, __ATOMIC_RELAXED);
	if (since && w->now > since) {
		uint64_t rtt = w->now - since, have = __atomic_load_n(&l->rtt_ns, __ATOMIC_RELAXED);
		__atomic_store_n(&l->rtt_ns, rtt > have ? rtt : have - (have - rtt) / 8, __ATOMIC_RELAXED);
	}
	if (!__atomic_load_n(&l->up, __ATOMIC_RELAXED))
		ntm_engine_lane_up(w->e, slot, l, true);
	if (!wants_answer)
		return;
	for (unsigned i = 0; i < w->n_owed; i++)
		if (w->owed[i] == slot)
			return;
	if (w->n_owed < NTM_WATCH_MAX)
		w->owed[w->n_owed++] = slot;
}

static void events(struct ntm_worker *w, const struct ntm_path *p, struct ntm_heard h, uint8_t epoch,
		   const struct ntm_addr *from, size_t len)
{
	struct ntm_engine_event ev = {.path_id = be64toh(p->path_id), .addr = *from, .epoch = epoch};
	if (h.confirmed) {
		ev.type = NTM_ENGINE_EPOCH;
		(void)ntm_engine_push(w->e, &ev);
	}
	if (h.roamed) {
		ntm_worker_count(w, NTM_R_RX_ROAMED, len);
		ev.type = NTM_ENGINE_ROAMED;
		(void)ntm_engine_push(w->e, &ev);
	}
}

static enum ntm_reason replay_reason(enum ntm_replay r)
{
	return r == NTM_REPLAY_SEEN ? NTM_R_RX_REPLAY : NTM_R_RX_TOO_OLD;
}

/* Authenticates and decrypts in place, takes the counter. */
static enum ntm_reason open_packet(struct ntm_worker *w, struct ntm_path *p, struct ntm_lane *l, struct ntm_lane_key *k,
				   const struct ntm_hdr *h, uint8_t *text, size_t len, bool *newest)
{
	struct ntm_rx_epoch *kernel = &p->rx[k->epoch & 1];
	struct ntm_rx_epoch *window = k->suite == NTM_SUITE_KERNEL ? kernel : &k->window;
	uint64_t ctr = (uint64_t)be16toh(h->ctr_hi) << 32 | be32toh(h->ctr_lo);
	/* The epoch's life is the same for all suites. */
	if (__atomic_load_n(&kernel->expires_ns, __ATOMIC_ACQUIRE) <= w->now || kernel->epoch != k->epoch)
		return NTM_R_RX_NO_KEY;
	enum ntm_replay r = ntm_replay_check(window, ctr);
	if (r != NTM_REPLAY_OK)
		return replay_reason(r);
	struct ntm_aead *a = ntm_lane_open(k, w->index);
	int err = a ? ntm_aead_open(a, h, text, len) : -ENOMEM, is_newest = 0;
	if (err)
		return err == -EBADMSG ? NTM_R_RX_BAD_TAG : NTM_R_RX_ERROR;
	/* A window that is another key's by now. */
	if (window == kernel && __atomic_load_n(&l->keys[k->epoch & 1][NTM_LANE_KERNEL], __ATOMIC_ACQUIRE) != k)
		return NTM_R_RX_NO_KEY;
	r = ntm_replay_accept(window, ctr, &is_newest);
	if (r != NTM_REPLAY_OK)
		return replay_reason(r);
	*newest = is_newest;
	return NTM_R_RX_OK;
}

static void received(struct ntm_worker *w, struct ntm_path *p, struct ntm_lane *l, const struct ntm_lane_key *k,
		     size_t len)
{
	__atomic_fetch_add(&p->rx_packets, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&p->rx_bytes, len, __ATOMIC_RELAXED);
	if (k->suite == NTM_SUITE_KERNEL) {
		ntm_worker_count(w, NTM_R_RX_OK, len);
		return;
	}
	ntm_worker_count(w, NTM_R_RX_BULK, len);
	__atomic_fetch_add(&l->rx_packets, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&l->rx_bytes, len, __ATOMIC_RELAXED);
}

static uint32_t find_slot(struct ntm_worker *w, uint64_t id)
{
	if (!w->in_slot || w->in_id != id) {
		w->in_slot = w->e->c.ops->by_id(w->e->c.arg, id);
		w->in_id = id;
	}
	return w->in_slot;
}

/* A datagram of suite 0, 1 or 2, its form checked. */
static void sealed(struct ntm_worker *w, const struct ntm_udp_in *in, const struct ntm_hdr *h, uint8_t *data,
		   size_t len)
{
	struct ntm_engine *e = w->e;
	bool bulk = ntm_hdr_suite(h) != NTM_SUITE_KERNEL, newest = false;
	size_t payload = len - sizeof(*h) - NTM_TAG_LEN;
	uint8_t *text = data + sizeof(*h), epoch = ntm_hdr_epoch(h);
	struct ntm_packet k;
	uint32_t slot = find_slot(w, h->id);
	struct ntm_lane *l = ntm_engine_lane(e, slot);
	if (!slot || slot >= e->c.n_slots) {
		ntm_worker_count(w, NTM_R_RX_UNKNOWN_PATH, len);
		return;
	}
	struct ntm_path *p = &e->c.paths[slot];
	struct ntm_lane_key *key = l && l->path_id == h->id ? ntm_lane_key_get(l, epoch, bulk) : NULL;
	if (!key || key->suite != ntm_hdr_suite(h)) {
		/* The keys of an adopted path are in its memory; the owner can use them there. */
		if (!bulk)
			to_owner(w, in, data, len);
		else
			ntm_worker_count(w, NTM_R_RX_NO_KEY, len);
		return;
	}
	enum ntm_reason r = open_packet(w, p, l, key, h, text, payload, &newest);
	if (r != NTM_R_RX_OK) {
		ntm_worker_count(w, r, len);
		return;
	}
	struct ntm_heard heard = ntm_path_heard(p, epoch, newest, &in->from, w->now);
	if (heard.confirmed || heard.roamed)
		events(w, p, heard, epoch, &in->from, len);
	if (bulk)
		heard_bulk(w, slot, l, payload > 0);
	if (payload < (bulk ? 2u : 1u)) { /* one byte: a question */
		ntm_worker_count(w, NTM_R_RX_KEEPALIVE, len);
		return;
	}
	r = check(w, p, text, payload, in->tos, &k);
	if (r != NTM_R_RX_OK) {
		ntm_worker_count(w, r, len);
		return;
	}
	received(w, p, l, key, k.len);
	ntm_gro_add(&w->gro, text, &k);
}

static void datagram(struct ntm_worker *w, const struct ntm_udp_in *in, uint8_t *data, size_t len)
{
	struct ntm_hdr h;
	if (len < sizeof(h)) {
		ntm_worker_count(w, NTM_R_RX_SHORT, len);
		return;
	}
	memcpy(&h, data, sizeof(h));
	if (ntm_hdr_version(&h) != NTM_WIRE_VERSION) {
		ntm_worker_count(w, NTM_R_RX_BAD_VERSION, len);
	} else if (ntm_hdr_type(&h) != NTM_T_DATA || ntm_hdr_suite(&h) > NTM_SUITE_BULK_CHACHA) {
		to_owner(w, in, data, len);
	} else if (len < sizeof(h) + NTM_TAG_LEN) {
		ntm_worker_count(w, NTM_R_RX_SHORT, len);
	} else {
		sealed(w, in, &h, data, len);
	}
}

void ntm_inbound(struct ntm_worker *w, struct ntm_udp_in *in)
{
	for (size_t off = 0; off < in->len; off += in->seg)
		datagram(w, in, in->data + off, in->len - off < in->seg ? in->len - off : in->seg);
}

/* The packets' buffers are about to be used again: writes what was coalesced, and answers what is owed by now. */
void ntm_inbound_flush(struct ntm_worker *w)
{
	unsigned kept = 0;
	ntm_gro_flush(&w->gro);
	for (unsigned i = 0; i < w->n_owed; i++) {
		uint32_t slot = w->owed[i];
		struct ntm_lane *l = ntm_engine_lane(w->e, slot);
		if (!l)
			continue;
		if (w->now - __atomic_load_n(&l->answered_ns, __ATOMIC_RELAXED) < NTM_ANSWER_MS * 1000000ull) {
			w->owed[kept++] = slot;
			continue;
		}
		__atomic_store_n(&l->answered_ns, w->now, __ATOMIC_RELAXED);
		(void)ntm_lane_signal(w->e, &w->tx, w->index, slot, l, false);
	}
	w->n_owed = kept;
}
