/* SPDX-License-Identifier: BSD-2-Clause */
/* From the TUN to the wire: find the path, cut, seal, send. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <ntm/wire.h>

#include "ends.h"
#include "engine_int.h"

#define NSEC 1000000000ull
#define UPCALL_INTERVAL_NS 1000000ull /* 1,000 a second */
#define UPCALL_BURST 128

static bool upcall_allowed(struct ntm_worker *w)
{
	if (w->upcall_tat > w->now + (UPCALL_BURST - 1) * UPCALL_INTERVAL_NS)
		return false;
	w->upcall_tat = (w->upcall_tat > w->now ? w->upcall_tat : w->now) + UPCALL_INTERVAL_NS;
	return true;
}

/* Segment i, its checksums complete. limited: at most 1,000 a second. False: the owner does not get it. */
static bool upcall(struct ntm_worker *w, enum ntm_engine_event_type type, uint64_t id, const struct ntm_out *o,
		   const struct ntm_gso *g, unsigned i, bool limited)
{
	uint8_t segment[NTM_ENGINE_DATAGRAM_MAX];
	struct ntm_engine_event ev = {.type = type, .path_id = be64toh(id), .data = segment, .len = ntm_gso_len(g, i)};
	if (ev.len > sizeof(segment))
		return false;
	memcpy(ev.addr.ip, o->dst, 16);
	ntm_gso_write(g, i, segment);
	if ((!limited || upcall_allowed(w)) && ntm_engine_push(w->e, &ev))
		return true;
	ntm_worker_count(w, NTM_R_TX_AGENT_BUSY, ev.len);
	return false;
}

static void no_key(struct ntm_worker *w, struct ntm_lane *l, uint64_t id, bool expired, size_t len)
{
	struct ntm_engine_event ev = {.type = NTM_ENGINE_EXPIRED, .path_id = be64toh(id)};
	ntm_worker_count(w, expired ? NTM_R_TX_KEY_EXPIRED : NTM_R_TX_NO_KEY, len);
	uint64_t last = l ? __atomic_load_n(&l->expired_ns, __ATOMIC_RELAXED) : 0;
	if (!l || !expired || w->now - last < NSEC)
		return;
	__atomic_store_n(&l->expired_ns, w->now, __ATOMIC_RELAXED);
	(void)ntm_engine_push(w->e, &ev);
}

static uint32_t find_slot(struct ntm_worker *w, const struct ntm_out *o)
{
	const struct ntm_engine_config *c = &w->e->c;
	if (o->to_beyond)
		return __atomic_load_n(&c->settings->gateway, __ATOMIC_ACQUIRE);
	if (!w->out_slot || memcmp(w->out_dst, o->dst, 16)) {
		w->out_slot = c->ops->by_dst(c->arg, o->dst);
		memcpy(w->out_dst, o->dst, 16);
	}
	return w->out_slot;
}

/*
 * Takes n counters. The first of them, or NTM_COUNTER_LIMIT: there are no more. Of suite 0, the counter stays when the
 * key is replaced, and begins anew after that: is the key still there, the counter is this key's.
 */
static uint64_t take(struct ntm_path *p, struct ntm_lane *l, struct ntm_lane_key *k, unsigned n)
{
	bool kernel = k->suite == NTM_SUITE_KERNEL;
	uint64_t *counter = kernel ? (uint64_t *)&p->tx[k->epoch & 1].counter : &k->counter;
	uint64_t first = __atomic_fetch_add(counter, n, __ATOMIC_ACQ_REL);
	if (kernel && __atomic_load_n(&l->keys[k->epoch & 1][NTM_LANE_KERNEL], __ATOMIC_ACQUIRE) != k)
		return NTM_COUNTER_LIMIT;
	return first + n > NTM_COUNTER_LIMIT ? NTM_COUNTER_LIMIT : first;
}

static void put_header(struct ntm_hdr *h, const struct ntm_lane_key *k, uint64_t ctr, uint64_t id)
{
	*h = (struct ntm_hdr){.ver_type = NTM_WIRE_VERSION << 4 | NTM_T_DATA,
			      .suite_epoch = (uint8_t)(k->suite << 4 | k->epoch),
			      .ctr_hi = htobe16((uint16_t)(ctr >> 32)),
			      .ctr_lo = htobe32((uint32_t)ctr),
			      .id = id};
}

/*
 * False: no address, or no uplink of its family. copied: length of a datagram of which copies leave, too, if they do;
 * 0: none.
 */
static bool destination(const struct ntm_engine *e, const struct ntm_path *p, uint8_t tos, uint64_t now, size_t copied,
			struct ntm_udp_to *to)
{
	struct ntm_endpoint ep;
	struct ntm_way way, before;
	ntm_endpoint_get(p, &ep);
	ntm_way_get(e->c.uplinks, &ep, &way);
	if (!way.ifindex)
		return false;
	*to = (struct ntm_udp_to){.to.port = ep.port, .ifindex = way.ifindex, .tos = tos};
	memcpy(to->to.ip, ep.addr, 16);
	memcpy(to->src, way.addr, 16);
	if (copied && ntm_way_get_copy(e->c.uplinks, &ep, &way, now, copied, &before)) {
		to->copy.ifindex = before.ifindex;
		memcpy(to->copy.src, before.addr, 16);
	}
	return true;
}

static void watch(struct ntm_worker *w, uint32_t slot, struct ntm_lane *l)
{
	if (!__atomic_load_n(&l->unanswered_ns, __ATOMIC_RELAXED))
		__atomic_store_n(&l->unanswered_ns, w->now, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < w->n_watched; i++)
		if (w->watched[i] == slot)
			return;
	if (w->n_watched < NTM_WATCH_MAX)
		w->watched[w->n_watched++] = slot;
}

static void add(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static void count(struct ntm_worker *w, enum ntm_reason r, unsigned n, size_t bytes)
{
	struct ntm_counter *c = &w->counts[r];
	__atomic_store_n(&c->packets, c->packets + n, __ATOMIC_RELAXED);
	__atomic_store_n(&c->bytes, c->bytes + bytes, __ATOMIC_RELAXED);
}

static void sent(struct ntm_worker *w, struct ntm_path *p, struct ntm_lane *l, const struct ntm_lane_key *k, unsigned n,
		 size_t bytes)
{
	count(w, k->suite == NTM_SUITE_KERNEL ? NTM_R_TX_OK : NTM_R_TX_BULK, n, bytes);
	add((uint64_t *)&p->tx_packets, n);
	add((uint64_t *)&p->tx_bytes, bytes);
	__atomic_store_n(&p->last_tx_ns, w->now, __ATOMIC_RELAXED);
	if (k->suite != NTM_SUITE_KERNEL) {
		add(&l->tx_packets, n);
		add(&l->tx_bytes, bytes);
	}
}

static int seal_all(struct ntm_worker *w, struct ntm_path *p, struct ntm_lane *l, struct ntm_lane_key *k,
		    const struct ntm_gso *g, const struct ntm_udp_to *to, size_t *bytes)
{
	struct ntm_aead *a = ntm_lane_seal(k, w->index);
	uint64_t ctr = take(p, l, k, g->n);
	struct ntm_hdr h;
	if (ctr == NTM_COUNTER_LIMIT)
		return -EKEYEXPIRED;
	for (unsigned i = 0; i < g->n; i++) {
		size_t len = ntm_gso_len(g, i), whole = sizeof(h) + len + NTM_TAG_LEN;
		uint8_t *out = ntm_udp_tx_room(&w->tx, to, whole);
		put_header(&h, k, ctr + i, p->path_id);
		memcpy(out, &h, sizeof(h));
		ntm_gso_write(g, i, out + sizeof(h));
		if (!a || ntm_aead_seal(a, &h, out + sizeof(h), len))
			return -EIO;
		ntm_udp_tx_add(&w->tx, whole);
		*bytes += len;
	}
	return 0;
}

/*
 * The key to send with: of the epoch in use, the bulk lane's if that is up. NULL: none; *expired: and nobody has one.
 */
static struct ntm_lane_key *choose(const struct ntm_worker *w, struct ntm_path *p, struct ntm_lane *l, bool *expired)
{
	unsigned epoch = __atomic_load_n(&p->tx_epoch, __ATOMIC_ACQUIRE) & 15;
	uint64_t expires = __atomic_load_n(&p->tx[epoch & 1].expires_ns, __ATOMIC_ACQUIRE);
	struct ntm_lane_key *k = NULL;
	*expired = expires <= w->now;
	if (*expired || !l || l->path_id != p->path_id)
		return NULL;
	if (__atomic_load_n(&l->up, __ATOMIC_RELAXED))
		k = ntm_lane_key_get(l, epoch, NTM_LANE_BULK);
	return k ? k : ntm_lane_key_get(l, epoch, NTM_LANE_KERNEL);
}

/* Promised by IPv6, and more than the path takes in one piece: the owner sends it in fragments. */
static bool owner_carries(const struct ntm_path *p, const struct ntm_gso *g)
{
	return __atomic_load_n(&p->flags, __ATOMIC_RELAXED) & NTM_PATH_SMALL_OUTER &&
	       ntm_gso_len(g, 0) <= NTM_INNER_MTU_BASE;
}

static void too_big(struct ntm_worker *w, const struct ntm_path *p, const struct ntm_out *o, const struct ntm_gso *g)
{
	bool carried = owner_carries(p, g);
	/* Where the owner only answers, one segment is enough. */
	bool answered = !carried && (g->in.is_ipv6 || g->packet[6] & 0x40);
	ntm_worker_count(w, NTM_R_TX_TOO_BIG, g->in.len);
	/* What is traffic is limited by the place in the queue alone, as from tc. */
	for (unsigned i = 0; i < (answered ? 1 : g->n); i++)
		if (!upcall(w, NTM_ENGINE_TOO_BIG, p->path_id, o, g, i, !carried))
			break;
}

static void nobody(struct ntm_worker *w, const struct ntm_out *o, const struct ntm_gso *g)
{
	for (unsigned i = 0; i < g->n; i++)
		if (!upcall(w, NTM_ENGINE_NO_PATH, 0, o, g, i, true))
			break;
}

void ntm_outbound(struct ntm_worker *w, const struct virtio_net_hdr *vh, const uint8_t *packet, size_t len)
{
	struct ntm_engine *e = w->e;
	struct ntm_gso g;
	struct ntm_out o;
	struct ntm_udp_to to;
	bool expired;
	size_t bytes = 0;
	int err = ntm_gso_begin(&g, vh, packet, len, UINT16_MAX);
	if (err) {
		ntm_worker_count(w, NTM_R_TX_BAD_INNER, len);
		return;
	}
	enum ntm_reason r = ntm_ends_out(e->c.settings, packet, g.in.is_ipv6, &o);
	if (e->c.ops->is_own && e->c.ops->is_own(e->c.arg, o.dst)) {
		nobody(w, &o, &g);
		return;
	}
	if (r != NTM_R_TX_OK) {
		ntm_worker_count(w, r, len);
		return;
	}
	uint32_t slot = find_slot(w, &o);
	struct ntm_path *p = slot && slot < e->c.n_slots ? &e->c.paths[slot] : NULL;
	if (!p || !__atomic_load_n(&p->path_id, __ATOMIC_ACQUIRE)) {
		ntm_worker_count(w, o.to_beyond && !slot ? NTM_R_TX_NOT_VIRTUAL : NTM_R_TX_NO_PATH, len);
		if (!o.to_beyond && !o.from_beyond)
			nobody(w, &o, &g);
		return;
	}
	if (!ntm_ends_path(p, &o)) {
		ntm_worker_count(w, o.from_beyond ? NTM_R_TX_BAD_SOURCE : NTM_R_TX_NOT_VIRTUAL, len);
		return;
	}
	if (ntm_gso_len(&g, 0) > __atomic_load_n(&p->inner_mtu, __ATOMIC_RELAXED)) {
		too_big(w, p, &o, &g);
		return;
	}
	struct ntm_lane *l = ntm_engine_lane(e, slot);
	struct ntm_lane_key *k = choose(w, p, l, &expired);
	if (!k) {
		no_key(w, l, p->path_id, expired, len);
		return;
	}
	if (!destination(e, p, g.in.tos, w->now, sizeof(struct ntm_hdr) + ntm_gso_len(&g, 0) + NTM_TAG_LEN, &to)) {
		ntm_worker_count(w, NTM_R_TX_NO_UPLINK, len);
		return;
	}
	if (k->suite != NTM_SUITE_KERNEL)
		watch(w, slot, l);
	err = seal_all(w, p, l, k, &g, &to, &bytes);
	if (err == -EKEYEXPIRED)
		no_key(w, l, p->path_id, true, len);
	else if (err)
		ntm_worker_count(w, NTM_R_TX_ERROR, len);
	if (err)
		return;
	sent(w, p, l, k, g.n, bytes);
	if (to.copy.ifindex)
		count(w, k->suite == NTM_SUITE_KERNEL ? NTM_R_TX_COPY : NTM_R_TX_COPY_BULK, g.n, bytes);
}

int ntm_lane_signal(struct ntm_engine *e, struct ntm_udp_tx *tx, unsigned user, uint32_t slot, struct ntm_lane *l,
		    bool question)
{
	struct ntm_path *p = &e->c.paths[slot];
	unsigned epoch = __atomic_load_n(&p->tx_epoch, __ATOMIC_ACQUIRE) & 15;
	struct ntm_lane_key *k = l->path_id == p->path_id ? ntm_lane_key_get(l, epoch, NTM_LANE_BULK) : NULL;
	struct ntm_udp_to to;
	struct ntm_hdr h;
	if (!k || __atomic_load_n(&p->tx[epoch & 1].expires_ns, __ATOMIC_ACQUIRE) <= ntm_boottime_ns())
		return -ENOKEY;
	if (!destination(e, p, 0, 0, 0, &to))
		return -ENETUNREACH;
	struct ntm_aead *a = ntm_lane_seal(k, user);
	uint64_t ctr = take(p, l, k, 1);
	if (!a || ctr == NTM_COUNTER_LIMIT)
		return a ? -EKEYEXPIRED : -ENOMEM;
	size_t whole = sizeof(h) + question + NTM_TAG_LEN;
	uint8_t *out = ntm_udp_tx_room(tx, &to, whole);
	put_header(&h, k, ctr, p->path_id);
	memcpy(out, &h, sizeof(h));
	out[sizeof(h)] = 0;
	int err = ntm_aead_seal(a, &h, out + sizeof(h), question);
	if (!err)
		ntm_udp_tx_add(tx, whole);
	return err;
}
