/* SPDX-License-Identifier: BSD-2-Clause */
#include "signal_codec.h"

#include <errno.h>
#include <string.h>

#include "buf.h"

#define BIT(f) NTM_SIG_BIT(f)

void ntm_sig_init(struct ntm_sig *m, enum ntm_msg msg, uint32_t txid)
{
	memset(m, 0, sizeof(*m));
	m->msg = (uint8_t)msg;
	m->txid = txid;
}

static void put(struct ntm_wr *w, enum ntm_field f, const void *value, size_t len)
{
	ntm_wr_u16(w, (uint16_t)f);
	ntm_wr_u16(w, (uint16_t)len);
	ntm_wr_bytes(w, value, len);
}

static int put_text(struct ntm_wr *w, enum ntm_field f, const char *text, size_t cap)
{
	size_t len = strnlen(text, cap);

	if (len == cap || !ntm_text_ok((const uint8_t *)text, len))
		return -EINVAL;
	put(w, f, text, len);
	return 0;
}

static void put_u16(struct ntm_wr *w, enum ntm_field f, uint16_t v)
{
	ntm_wr_u16(w, (uint16_t)f);
	ntm_wr_u16(w, 2);
	ntm_wr_u16(w, v);
}

static void put_u32(struct ntm_wr *w, enum ntm_field f, uint32_t v)
{
	ntm_wr_u16(w, (uint16_t)f);
	ntm_wr_u16(w, 4);
	ntm_wr_u32(w, v);
}

static void put_u64(struct ntm_wr *w, enum ntm_field f, uint64_t v)
{
	ntm_wr_u16(w, (uint16_t)f);
	ntm_wr_u16(w, 8);
	ntm_wr_u64(w, v);
}

static bool pool4_ok(const struct ntm_prefix *p)
{
	return ntm_ip_is_v4(p->ip) && p->len >= 96 && p->len <= 128 && ntm_prefix_contains(p, p->ip);
}

static bool pool6_ok(const struct ntm_prefix *p)
{
	return p->len <= 128 && ntm_prefix_contains(p, p->ip);
}

static int put_pool4(struct ntm_wr *w, const struct ntm_prefix *p)
{
	if (!pool4_ok(p))
		return -EINVAL;
	ntm_wr_u16(w, NTM_F_POOL4);
	ntm_wr_u16(w, 5);
	ntm_wr_bytes(w, p->ip + 12, 4);
	ntm_wr_u8(w, (uint8_t)(p->len - 96));
	return 0;
}

static int put_pool6(struct ntm_wr *w, const struct ntm_prefix *p)
{
	if (!pool6_ok(p))
		return -EINVAL;
	ntm_wr_u16(w, NTM_F_POOL6);
	ntm_wr_u16(w, 17);
	ntm_wr_bytes(w, p->ip, 16);
	ntm_wr_u8(w, p->len);
	return 0;
}

static int put_candidates(struct ntm_wr *w, const struct ntm_sig *m)
{
	if (m->n_candidates > NTM_CANDIDATES_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < m->n_candidates; i++) {
		const struct ntm_candidate *c = &m->candidates[i];

		ntm_wr_u16(w, NTM_F_CANDIDATE);
		ntm_wr_u16(w, 20);
		ntm_wr_u8(w, c->kind);
		ntm_wr_u8(w, c->preference);
		ntm_wr_bytes(w, &c->addr.port, 2);
		ntm_wr_bytes(w, c->addr.ip, 16);
	}
	return 0;
}

static void put_reflexive(struct ntm_wr *w, const struct ntm_addr *a)
{
	ntm_wr_u16(w, NTM_F_REFLEXIVE);
	ntm_wr_u16(w, 18);
	ntm_wr_bytes(w, &a->port, 2);
	ntm_wr_bytes(w, a->ip, 16);
}

static void put_padding(struct ntm_wr *w, uint16_t len)
{
	ntm_wr_u16(w, NTM_F_PADDING);
	ntm_wr_u16(w, len);
	for (uint16_t i = 0; i < len && !w->err; i++)
		ntm_wr_u8(w, 0);
}

enum { RELAY_ADDRS_LEN = 2 + 4 + 2 + 16, OFFER_LEN = 8 + NTM_KEY_LEN + RELAY_ADDRS_LEN };

static bool relay_ok(const struct ntm_relay_info *r)
{
	size_t len = strnlen(r->name, sizeof(r->name));

	return len && len < sizeof(r->name) && ntm_text_ok((const uint8_t *)r->name, len) &&
	       (!r->ep4.port || ntm_ip_is_v4(r->ep4.ip));
}

static void put_relay_info(struct ntm_wr *w, const struct ntm_relay_info *r)
{
	static const uint8_t none[16];

	ntm_wr_bytes(w, &r->ep4.port, 2);
	ntm_wr_bytes(w, r->ep4.port ? r->ep4.ip + 12 : none, 4);
	ntm_wr_bytes(w, &r->ep6.port, 2);
	ntm_wr_bytes(w, r->ep6.port ? r->ep6.ip : none, 16);
	ntm_wr_bytes(w, r->name, strlen(r->name));
}

static int put_relay(struct ntm_wr *w, const struct ntm_relay_info *r)
{
	if (!relay_ok(r))
		return -EINVAL;
	ntm_wr_u16(w, NTM_F_RELAY);
	ntm_wr_u16(w, (uint16_t)(RELAY_ADDRS_LEN + strlen(r->name)));
	put_relay_info(w, r);
	return 0;
}

static int put_offers(struct ntm_wr *w, const struct ntm_sig *m)
{
	if (m->n_offers > NTM_RELAY_OFFERS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < m->n_offers; i++) {
		const struct ntm_relay_offer *o = &m->offers[i];

		if (!relay_ok(&o->relay))
			return -EINVAL;
		ntm_wr_u16(w, NTM_F_RELAY_OFFER);
		ntm_wr_u16(w, (uint16_t)(OFFER_LEN + strlen(o->relay.name)));
		ntm_wr_u64(w, o->probe_id);
		ntm_wr_bytes(w, o->probe_key, NTM_KEY_LEN);
		put_relay_info(w, &o->relay);
	}
	return 0;
}

static int put_rtts(struct ntm_wr *w, const struct ntm_sig *m)
{
	if (m->n_rtts > NTM_RELAY_OFFERS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < m->n_rtts; i++) {
		const struct ntm_relay_rtt *r = &m->rtts[i];
		size_t len = strnlen(r->name, sizeof(r->name));

		if (!len || len == sizeof(r->name) || !ntm_text_ok((const uint8_t *)r->name, len))
			return -EINVAL;
		ntm_wr_u16(w, NTM_F_RELAY_RTT);
		ntm_wr_u16(w, (uint16_t)(4 + len));
		ntm_wr_u32(w, r->rtt_us);
		ntm_wr_bytes(w, r->name, len);
	}
	return 0;
}

static int put_peer_zones(struct ntm_wr *w, const struct ntm_sig *m)
{
	if (m->n_peer_zones > NTM_PEER_ZONES_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < m->n_peer_zones; i++) {
		const struct ntm_peer_zone *z = &m->peer_zones[i];
		size_t len = strnlen(z->zone, sizeof(z->zone));

		if (!len || len == sizeof(z->zone) || !ntm_text_ok((const uint8_t *)z->zone, len) ||
		    !pool4_ok(&z->pool4) || !pool6_ok(&z->pool6))
			return -EINVAL;
		ntm_wr_u16(w, NTM_F_PEER_ZONE);
		ntm_wr_u16(w, (uint16_t)(22 + len));
		ntm_wr_bytes(w, z->pool4.ip + 12, 4);
		ntm_wr_u8(w, (uint8_t)(z->pool4.len - 96));
		ntm_wr_bytes(w, z->pool6.ip, 16);
		ntm_wr_u8(w, z->pool6.len);
		ntm_wr_bytes(w, z->zone, len);
	}
	return 0;
}

static int put_dc_keys(struct ntm_wr *w, const struct ntm_sig *m)
{
	if (m->n_dc_keys > NTM_DC_KEYS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < m->n_dc_keys; i++) {
		ntm_wr_u16(w, NTM_F_DC_KEY);
		ntm_wr_u16(w, 1 + NTM_DH_LEN);
		ntm_wr_u8(w, m->dc_keys[i].state);
		ntm_wr_bytes(w, m->dc_keys[i].key, NTM_DH_LEN);
	}
	return 0;
}

static int put_tickets(struct ntm_wr *w, const struct ntm_sig *m)
{
	if (m->n_tickets > NTM_PATH_TICKETS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < m->n_tickets; i++)
		put(w, NTM_F_PATH_TICKET, &m->tickets[i], sizeof(m->tickets[i]));
	return 0;
}

static void put_load(struct ntm_wr *w, const struct ntm_load *l)
{
	ntm_wr_u16(w, NTM_F_LOAD);
	ntm_wr_u16(w, sizeof(struct ntm_relay_load));
	ntm_wr_u32(w, l->paths);
	ntm_wr_u32(w, l->paths_max);
	ntm_wr_u32(w, l->packets_per_s);
	ntm_wr_u32(w, l->drops_per_s);
	ntm_wr_u64(w, l->bytes_per_s);
	ntm_wr_u16(w, l->cpu_permille);
	ntm_wr_u16(w, l->flags);
	ntm_wr_u32(w, 0);
}

static int put_field(struct ntm_wr *w, const struct ntm_sig *m, enum ntm_field f)
{
	switch (f) {
	case NTM_F_NAME:
		return put_text(w, f, m->name, sizeof(m->name));
	case NTM_F_TOKEN:
		return put_text(w, f, m->token, sizeof(m->token));
	case NTM_F_ZONE:
		return put_text(w, f, m->zone, sizeof(m->zone));
	case NTM_F_ERROR_TEXT:
		return put_text(w, f, m->error_text, sizeof(m->error_text));
	case NTM_F_POOL4:
		return put_pool4(w, &m->pool4);
	case NTM_F_POOL6:
		return put_pool6(w, &m->pool6);
	case NTM_F_CANDIDATE:
		return put_candidates(w, m);
	case NTM_F_VIP4:
		put(w, f, m->vip4, sizeof(m->vip4));
		break;
	case NTM_F_VIP6:
		put(w, f, m->vip6, sizeof(m->vip6));
		break;
	case NTM_F_REFLEXIVE:
		put_reflexive(w, &m->reflexive);
		break;
	case NTM_F_LIFETIME:
		put_u32(w, f, m->lifetime_s);
		break;
	case NTM_F_PATH_ID:
		put_u64(w, f, m->path_id);
		break;
	case NTM_F_STALE:
		put_u64(w, f, m->stale_path_id);
		break;
	case NTM_F_ROLE:
		put(w, f, &m->role, 1);
		break;
	case NTM_F_PUBLIC_KEY:
		put(w, f, m->public_key, sizeof(m->public_key));
		break;
	case NTM_F_PSK:
		put(w, f, m->psk, sizeof(m->psk));
		break;
	case NTM_F_ERROR_CODE:
		put_u16(w, f, m->error_code);
		break;
	case NTM_F_MTU:
		put_u16(w, f, m->mtu);
		break;
	case NTM_F_KEEPALIVE:
		put_u16(w, f, m->keepalive_s);
		break;
	case NTM_F_PADDING:
		put_padding(w, m->padding_len);
		break;
	case NTM_F_RELAY:
		return put_relay(w, &m->relay);
	case NTM_F_RELAY_OFFER:
		return put_offers(w, m);
	case NTM_F_RELAY_RTT:
		return put_rtts(w, m);
	case NTM_F_RELAY_SECRET:
		put(w, f, m->relay_secret, sizeof(m->relay_secret));
		break;
	case NTM_F_RATE:
		put_u32(w, f, m->rate_kbit);
		break;
	case NTM_F_LOAD:
		put_load(w, &m->load);
		break;
	case NTM_F_CHECK_FLAGS:
		put(w, f, &m->check_flags, 1);
		break;
	case NTM_F_DELAY:
		put_u16(w, f, m->delay_s);
		break;
	case NTM_F_GATEWAY:
		put(w, f, &m->gateway, 1);
		break;
	case NTM_F_PEER_ZONE:
		return put_peer_zones(w, m);
	case NTM_F_WANTED:
		return put_text(w, f, m->wanted, sizeof(m->wanted));
	case NTM_F_DC_KEY:
		return put_dc_keys(w, m);
	case NTM_F_KEY_PROOF:
		put(w, f, m->key_proof, sizeof(m->key_proof));
		break;
	case NTM_F_PATH_TICKET:
		return put_tickets(w, m);
	}
	return 0;
}

int ntm_sig_encode(const struct ntm_sig *m, uint8_t *out, size_t cap, size_t *len)
{
	struct ntm_wr w = ntm_wr_init(out, cap);

	if (m->have & ~NTM_SIG_KNOWN_FIELDS)
		return -EINVAL;
	ntm_wr_u8(&w, m->msg);
	ntm_wr_u8(&w, 0);
	ntm_wr_u16(&w, 0);
	ntm_wr_u32(&w, m->txid);
	for (unsigned f = 1; f <= NTM_SIG_LAST_FIELD; f++) {
		int err = m->have & BIT(f) ? put_field(&w, m, (enum ntm_field)f) : 0;

		if (err)
			return err;
	}
	if (w.err)
		return w.err;
	*len = ntm_wr_len(&w);
	return 0;
}
