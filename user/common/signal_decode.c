/* SPDX-License-Identifier: BSD-2-Clause */
/* The reading half of signal_codec.h. */
#include "signal_codec.h"

#include <errno.h>
#include <string.h>

#include "buf.h"

#define BIT(f) NTM_SIG_BIT(f)
#define REPEATABLE_FIELDS                                                                              \
	(BIT(NTM_F_CANDIDATE) | BIT(NTM_F_RELAY_OFFER) | BIT(NTM_F_RELAY_RTT) | BIT(NTM_F_PEER_ZONE) | \
	 BIT(NTM_F_DC_KEY) | BIT(NTM_F_PATH_TICKET))

/* The getters read one value of `len` bytes; whether all of it was read is checked by the caller. */

static void get_text(struct ntm_rd *v, char *out, size_t cap)
{
	size_t len = ntm_rd_left(v);
	const uint8_t *p = ntm_rd_view(v, len);

	if (!p || len >= cap || !ntm_text_ok(p, len)) {
		v->err = -EBADMSG;
		return;
	}
	memcpy(out, p, len);
	out[len] = 0;
}

static void get_pool(struct ntm_rd *v, struct ntm_prefix *p, bool v4)
{
	uint8_t a4[4], len;

	if (v4) {
		ntm_rd_bytes(v, a4, 4);
		ntm_ip_from_v4(p->ip, a4);
	} else {
		ntm_rd_bytes(v, p->ip, 16);
	}
	len = ntm_rd_u8(v);
	if (len > (v4 ? 32 : 128)) {
		v->err = -EBADMSG;
		return;
	}
	p->len = (uint8_t)(v4 ? len + 96 : len);
	if (!ntm_prefix_contains(p, p->ip))
		v->err = -EBADMSG;
}

static void get_addr(struct ntm_rd *v, struct ntm_addr *a)
{
	ntm_rd_bytes(v, &a->port, 2);
	ntm_rd_bytes(v, a->ip, 16);
}

static void get_candidate(struct ntm_rd *v, struct ntm_sig *m)
{
	struct ntm_candidate *c = &m->candidates[m->n_candidates];

	if (m->n_candidates == NTM_CANDIDATES_MAX) {
		v->err = -EBADMSG;
		return;
	}
	m->n_candidates++;
	c->kind = ntm_rd_u8(v);
	c->preference = ntm_rd_u8(v);
	get_addr(v, &c->addr);
}

static void get_endpoint(struct ntm_rd *v, struct ntm_addr *a, bool v4)
{
	uint8_t ip4[4];

	ntm_rd_bytes(v, &a->port, 2);
	if (v4) {
		ntm_rd_bytes(v, ip4, 4);
		ntm_ip_from_v4(a->ip, ip4);
	} else {
		ntm_rd_bytes(v, a->ip, 16);
	}
	if (!a->port)
		*a = (struct ntm_addr){0};
}

static void get_label(struct ntm_rd *v, char name[NTM_LABEL_MAX + 1])
{
	if (!ntm_rd_left(v))
		v->err = -EBADMSG;
	else
		get_text(v, name, NTM_LABEL_MAX + 1);
}

static void get_relay(struct ntm_rd *v, struct ntm_relay_info *r)
{
	get_endpoint(v, &r->ep4, true);
	get_endpoint(v, &r->ep6, false);
	get_label(v, r->name);
}

static void get_offer(struct ntm_rd *v, struct ntm_sig *m)
{
	struct ntm_relay_offer *o = &m->offers[m->n_offers];

	if (m->n_offers == NTM_RELAY_OFFERS_MAX) {
		v->err = -EBADMSG;
		return;
	}
	m->n_offers++;
	o->probe_id = ntm_rd_u64(v);
	ntm_rd_bytes(v, o->probe_key, NTM_KEY_LEN);
	get_relay(v, &o->relay);
}

static void get_rtt(struct ntm_rd *v, struct ntm_sig *m)
{
	struct ntm_relay_rtt *r = &m->rtts[m->n_rtts];

	if (m->n_rtts == NTM_RELAY_OFFERS_MAX) {
		v->err = -EBADMSG;
		return;
	}
	m->n_rtts++;
	r->rtt_us = ntm_rd_u32(v);
	get_label(v, r->name);
}

static void get_peer_zone(struct ntm_rd *v, struct ntm_sig *m)
{
	struct ntm_peer_zone *z = &m->peer_zones[m->n_peer_zones];

	if (m->n_peer_zones == NTM_PEER_ZONES_MAX) {
		v->err = -EBADMSG;
		return;
	}
	m->n_peer_zones++;
	get_pool(v, &z->pool4, true);
	get_pool(v, &z->pool6, false);
	if (!ntm_rd_left(v))
		v->err = -EBADMSG;
	else
		get_text(v, z->zone, sizeof(z->zone));
}

static void get_dc_key(struct ntm_rd *v, struct ntm_sig *m)
{
	struct ntm_dc_key *k = &m->dc_keys[m->n_dc_keys];

	if (m->n_dc_keys == NTM_DC_KEYS_MAX) {
		v->err = -EBADMSG;
		return;
	}
	m->n_dc_keys++;
	k->state = ntm_rd_u8(v);
	ntm_rd_bytes(v, k->key, NTM_DH_LEN);
}

static void get_ticket(struct ntm_rd *v, struct ntm_sig *m)
{
	if (m->n_tickets == NTM_PATH_TICKETS_MAX) {
		v->err = -EBADMSG;
		return;
	}
	ntm_rd_bytes(v, &m->tickets[m->n_tickets++], sizeof(m->tickets[0]));
}

static void get_load(struct ntm_rd *v, struct ntm_load *l)
{
	l->paths = ntm_rd_u32(v);
	l->paths_max = ntm_rd_u32(v);
	l->packets_per_s = ntm_rd_u32(v);
	l->drops_per_s = ntm_rd_u32(v);
	l->bytes_per_s = ntm_rd_u64(v);
	l->cpu_permille = ntm_rd_u16(v);
	l->flags = ntm_rd_u16(v);
	(void)ntm_rd_u32(v);
}

static void get_field(struct ntm_rd *v, struct ntm_sig *m, enum ntm_field f)
{
	switch (f) {
	case NTM_F_NAME:
		get_text(v, m->name, sizeof(m->name));
		break;
	case NTM_F_TOKEN:
		get_text(v, m->token, sizeof(m->token));
		break;
	case NTM_F_ZONE:
		get_text(v, m->zone, sizeof(m->zone));
		break;
	case NTM_F_ERROR_TEXT:
		get_text(v, m->error_text, sizeof(m->error_text));
		break;
	case NTM_F_VIP4:
		ntm_rd_bytes(v, m->vip4, sizeof(m->vip4));
		break;
	case NTM_F_VIP6:
		ntm_rd_bytes(v, m->vip6, sizeof(m->vip6));
		break;
	case NTM_F_POOL4:
		get_pool(v, &m->pool4, true);
		break;
	case NTM_F_POOL6:
		get_pool(v, &m->pool6, false);
		break;
	case NTM_F_CANDIDATE:
		get_candidate(v, m);
		break;
	case NTM_F_REFLEXIVE:
		get_addr(v, &m->reflexive);
		break;
	case NTM_F_LIFETIME:
		m->lifetime_s = ntm_rd_u32(v);
		break;
	case NTM_F_PATH_ID:
		m->path_id = ntm_rd_u64(v);
		break;
	case NTM_F_STALE:
		m->stale_path_id = ntm_rd_u64(v);
		break;
	case NTM_F_ROLE:
		m->role = ntm_rd_u8(v);
		break;
	case NTM_F_PUBLIC_KEY:
		ntm_rd_bytes(v, m->public_key, sizeof(m->public_key));
		break;
	case NTM_F_PSK:
		ntm_rd_bytes(v, m->psk, sizeof(m->psk));
		break;
	case NTM_F_ERROR_CODE:
		m->error_code = ntm_rd_u16(v);
		break;
	case NTM_F_MTU:
		m->mtu = ntm_rd_u16(v);
		break;
	case NTM_F_KEEPALIVE:
		m->keepalive_s = ntm_rd_u16(v);
		break;
	case NTM_F_PADDING:
		m->padding_len = (uint16_t)ntm_rd_left(v);
		(void)ntm_rd_view(v, m->padding_len);
		break;
	case NTM_F_RELAY:
		get_relay(v, &m->relay);
		break;
	case NTM_F_RELAY_OFFER:
		get_offer(v, m);
		break;
	case NTM_F_RELAY_RTT:
		get_rtt(v, m);
		break;
	case NTM_F_RELAY_SECRET:
		ntm_rd_bytes(v, m->relay_secret, sizeof(m->relay_secret));
		break;
	case NTM_F_RATE:
		m->rate_kbit = ntm_rd_u32(v);
		break;
	case NTM_F_LOAD:
		get_load(v, &m->load);
		break;
	case NTM_F_CHECK_FLAGS:
		m->check_flags = ntm_rd_u8(v);
		break;
	case NTM_F_DELAY:
		m->delay_s = ntm_rd_u16(v);
		break;
	case NTM_F_GATEWAY:
		m->gateway = ntm_rd_u8(v);
		break;
	case NTM_F_PEER_ZONE:
		get_peer_zone(v, m);
		break;
	case NTM_F_WANTED:
		get_text(v, m->wanted, sizeof(m->wanted));
		break;
	case NTM_F_DC_KEY:
		get_dc_key(v, m);
		break;
	case NTM_F_KEY_PROOF:
		ntm_rd_bytes(v, m->key_proof, sizeof(m->key_proof));
		break;
	case NTM_F_PATH_TICKET:
		get_ticket(v, m);
		break;
	}
}

static int decode_fields(struct ntm_sig *m, struct ntm_rd *r)
{
	while (ntm_rd_left(r)) {
		uint16_t type = ntm_rd_u16(r), len = ntm_rd_u16(r);
		const uint8_t *value = ntm_rd_view(r, len);
		struct ntm_rd v;

		if (!value)
			return -EBADMSG;
		if (type > NTM_SIG_LAST_FIELD || !(NTM_SIG_KNOWN_FIELDS & BIT(type)))
			continue;
		if (m->have & BIT(type) & ~REPEATABLE_FIELDS)
			return -EBADMSG;
		v = ntm_rd_init(value, len);
		get_field(&v, m, (enum ntm_field)type);
		if (v.err || ntm_rd_left(&v))
			return -EBADMSG;
		m->have |= BIT(type);
	}
	return 0;
}

int ntm_sig_decode(struct ntm_sig *m, const uint8_t *in, size_t len)
{
	struct ntm_rd r = ntm_rd_init(in, len);
	enum ntm_msg msg;
	uint32_t txid;

	memset(m, 0, sizeof(*m));
	msg = (enum ntm_msg)ntm_rd_u8(&r);
	(void)ntm_rd_view(&r, 3); /* flags and reserved: sent as 0, ignored */
	txid = ntm_rd_u32(&r);
	if (r.err)
		return -EBADMSG;
	ntm_sig_init(m, msg, txid);
	if (decode_fields(m, &r)) {
		ntm_sig_init(m, msg, txid);
		return -EBADMSG;
	}
	return 0;
}
