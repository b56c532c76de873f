/* SPDX-License-Identifier: BSD-2-Clause */
#include "cluster_codec.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "../user/common/buf.h"

static void put_u64(struct ntm_wr *w, enum ntm_cluster_field f, uint64_t v)
{
	ntm_wr_u16(w, f);
	ntm_wr_u16(w, 8);
	ntm_wr_u64(w, v);
}

static void put_bytes(struct ntm_wr *w, enum ntm_cluster_field f, const void *data, size_t len)
{
	ntm_wr_u16(w, f);
	ntm_wr_u16(w, (uint16_t)len);
	ntm_wr_bytes(w, data, len);
}

/* Ports are kept in network byte order. */
static void put_addr(struct ntm_wr *w, enum ntm_cluster_field f, const struct ntm_addr *a)
{
	ntm_wr_u16(w, f);
	ntm_wr_u16(w, 18);
	ntm_wr_bytes(w, a->ip, 16);
	ntm_wr_bytes(w, &a->port, 2);
}

static void put_load(struct ntm_wr *w, const struct ntm_load *l)
{
	const struct ntm_relay_load raw = {
	    .paths = htobe32(l->paths),
	    .paths_max = htobe32(l->paths_max),
	    .packets_per_s = htobe32(l->packets_per_s),
	    .drops_per_s = htobe32(l->drops_per_s),
	    .bytes_per_s = htobe64(l->bytes_per_s),
	    .cpu_permille = htobe16(l->cpu_permille),
	    .flags = htobe16(l->flags),
	};

	put_bytes(w, NTM_CF_LOAD, &raw, sizeof(raw));
}

static void put_lists(struct ntm_wr *w, const struct ntm_cluster *m)
{
	for (unsigned i = 0; i < m->n_candidates; i++) {
		const struct ntm_candidate *c = &m->candidates[i];

		ntm_wr_u16(w, NTM_CF_CANDIDATE);
		ntm_wr_u16(w, 20);
		ntm_wr_u8(w, c->kind);
		ntm_wr_u8(w, c->preference);
		ntm_wr_bytes(w, c->addr.ip, 16);
		ntm_wr_bytes(w, &c->addr.port, 2);
	}
	for (unsigned i = 0; i < m->n_rtts; i++) {
		size_t len = strlen(m->rtts[i].name);

		ntm_wr_u16(w, NTM_CF_RTT);
		ntm_wr_u16(w, (uint16_t)(4 + len));
		ntm_wr_u32(w, m->rtts[i].rtt_us);
		ntm_wr_bytes(w, m->rtts[i].name, len);
	}
}

static bool has(const struct ntm_cluster *m, enum ntm_cluster_field f)
{
	return m->fields >> f & 1;
}

static void put_node(struct ntm_wr *w, const struct ntm_cluster *m)
{
	if (has(m, NTM_CF_INDEX)) {
		ntm_wr_u16(w, NTM_CF_INDEX);
		ntm_wr_u16(w, 4);
		ntm_wr_u32(w, m->index);
	}
	if (has(m, NTM_CF_LABEL))
		put_bytes(w, NTM_CF_LABEL, m->label, strlen(m->label));
	if (has(m, NTM_CF_PUBLIC_KEY))
		put_bytes(w, NTM_CF_PUBLIC_KEY, m->public_key, sizeof(m->public_key));
	if (has(m, NTM_CF_FLAGS))
		put_bytes(w, NTM_CF_FLAGS, &m->flags, 1);
	if (has(m, NTM_CF_ENDPOINT))
		put_addr(w, NTM_CF_ENDPOINT, &m->endpoint);
	if (has(m, NTM_CF_VIA))
		put_addr(w, NTM_CF_VIA, &m->via);
	if (has(m, NTM_CF_MTU)) {
		ntm_wr_u16(w, NTM_CF_MTU);
		ntm_wr_u16(w, 2);
		ntm_wr_u16(w, m->mtu);
	}
	put_lists(w, m);
	if (has(m, NTM_CF_LOAD))
		put_load(w, &m->load);
}

int ntm_cluster_encode(const struct ntm_cluster *m, uint8_t *out, size_t cap, size_t *len)
{
	const uint64_t numbers[] = {m->holder, m->to, m->stamp, m->have, m->seq, m->prev, m->claim, m->node_id};
	struct ntm_wr w = ntm_wr_init(out, cap);

	ntm_wr_u8(&w, m->msg);
	ntm_wr_u8(&w, 0);
	ntm_wr_u16(&w, 0);
	ntm_wr_u32(&w, 0);
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (has(m, (enum ntm_cluster_field)(NTM_CF_HOLDER + i)))
			put_u64(&w, (enum ntm_cluster_field)(NTM_CF_HOLDER + i), numbers[i]);
	}
	put_node(&w, m);
	if (has(m, NTM_CF_MESSAGE))
		put_bytes(&w, NTM_CF_MESSAGE, m->message, m->message_len);
	for (unsigned i = 0; i < m->n_gone; i++) {
		ntm_wr_u16(&w, NTM_CF_GONE);
		ntm_wr_u16(&w, 12);
		ntm_wr_u64(&w, m->gone[i].node_id);
		ntm_wr_u32(&w, m->gone[i].index);
	}
	*len = ntm_wr_len(&w);
	return w.err;
}

static void get_addr(struct ntm_rd *r, struct ntm_addr *a)
{
	ntm_rd_bytes(r, a->ip, 16);
	ntm_rd_bytes(r, &a->port, 2);
}

static void get_text(struct ntm_rd *r, char out[NTM_LABEL_MAX + 1])
{
	size_t len = ntm_rd_left(r);

	if (!len || len > NTM_LABEL_MAX || !ntm_text_ok(r->p, len)) {
		r->err = -EBADMSG;
		return;
	}
	ntm_rd_bytes(r, out, len);
	out[len] = 0;
}

static void get_candidate(struct ntm_rd *r, struct ntm_cluster *m)
{
	struct ntm_candidate *c = &m->candidates[m->n_candidates];

	if (m->n_candidates == NTM_CANDIDATES_MAX) {
		r->err = -EBADMSG;
		return;
	}
	c->kind = ntm_rd_u8(r);
	c->preference = ntm_rd_u8(r);
	get_addr(r, &c->addr);
	m->n_candidates++;
}

static void get_rtt(struct ntm_rd *r, struct ntm_cluster *m)
{
	struct ntm_relay_rtt *t = &m->rtts[m->n_rtts];

	if (m->n_rtts == NTM_RELAY_OFFERS_MAX) {
		r->err = -EBADMSG;
		return;
	}
	t->rtt_us = ntm_rd_u32(r);
	get_text(r, t->name);
	m->n_rtts++;
}

static void get_load(struct ntm_rd *r, struct ntm_load *l)
{
	struct ntm_relay_load raw;

	ntm_rd_bytes(r, &raw, sizeof(raw));
	*l = (struct ntm_load){
	    .paths = be32toh(raw.paths),
	    .paths_max = be32toh(raw.paths_max),
	    .packets_per_s = be32toh(raw.packets_per_s),
	    .drops_per_s = be32toh(raw.drops_per_s),
	    .bytes_per_s = be64toh(raw.bytes_per_s),
	    .cpu_permille = be16toh(raw.cpu_permille),
	    .flags = be16toh(raw.flags),
	};
}

static void get_gone(struct ntm_rd *r, struct ntm_cluster *m)
{
	if (m->n_gone == NTM_CLUSTER_GONE_MAX) {
		r->err = -EBADMSG;
		return;
	}
	m->gone[m->n_gone].node_id = ntm_rd_u64(r);
	m->gone[m->n_gone++].index = ntm_rd_u32(r);
}

static void get_field(struct ntm_cluster *m, unsigned field, struct ntm_rd *r)
{
	uint64_t *const numbers[] = {&m->holder, &m->to,   &m->stamp, &m->have,
				     &m->seq,    &m->prev, &m->claim, &m->node_id};

	if (field >= NTM_CF_HOLDER && field <= NTM_CF_NODE_ID) {
		*numbers[field - NTM_CF_HOLDER] = ntm_rd_u64(r);
		return;
	}
	switch (field) {
	case NTM_CF_INDEX:
		m->index = ntm_rd_u32(r);
		break;
	case NTM_CF_LABEL:
		get_text(r, m->label);
		break;
	case NTM_CF_PUBLIC_KEY:
		ntm_rd_bytes(r, m->public_key, sizeof(m->public_key));
		break;
	case NTM_CF_FLAGS:
		m->flags = ntm_rd_u8(r);
		break;
	case NTM_CF_ENDPOINT:
		get_addr(r, &m->endpoint);
		break;
	case NTM_CF_VIA:
		get_addr(r, &m->via);
		break;
	case NTM_CF_MTU:
		m->mtu = ntm_rd_u16(r);
		break;
	case NTM_CF_CANDIDATE:
		get_candidate(r, m);
		break;
	case NTM_CF_RTT:
		get_rtt(r, m);
		break;
	case NTM_CF_LOAD:
		get_load(r, &m->load);
		break;
	case NTM_CF_GONE:
		get_gone(r, m);
		break;
	default: /* NTM_CF_MESSAGE */
		m->message_len = ntm_rd_left(r);
		m->message = ntm_rd_view(r, m->message_len);
	}
}

int ntm_cluster_decode(struct ntm_cluster *m, const uint8_t *in, size_t len)
{
	const uint32_t repeat = 1u << NTM_CF_CANDIDATE | 1u << NTM_CF_RTT | 1u << NTM_CF_GONE;
	struct ntm_rd r = ntm_rd_init(in, len);

	memset(m, 0, sizeof(*m));
	m->msg = ntm_rd_u8(&r);
	(void)ntm_rd_view(&r, 7);
	while (!r.err && ntm_rd_left(&r)) {
		unsigned field = ntm_rd_u16(&r);
		size_t n = ntm_rd_u16(&r);
		const uint8_t *value = ntm_rd_view(&r, n);
		struct ntm_rd v = ntm_rd_init(value, value ? n : 0);

		if (r.err || field < NTM_CF_HOLDER || field > NTM_CF_GONE)
			continue;
		if (m->fields & ~repeat & 1u << field)
			return -EBADMSG;
		m->fields |= 1u << field;
		get_field(m, field, &v);
		if (v.err || ntm_rd_left(&v))
			return -EBADMSG;
	}
	return r.err;
}
