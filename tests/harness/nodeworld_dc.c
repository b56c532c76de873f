/* SPDX-License-Identifier: BSD-2-Clause */
/* The DC of nodeworld.h: it answers what agents ask, as far as their tests need it. */
#include "nodeworld.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../user/common/crypto.h"

static uint64_t now_ms(void)
{
	return world_ns() / 1000000u;
}

static void put(struct world *w, const struct ntm_addr *to, const void *data, size_t len)
{
	world_put(w, WORLD_DC, to, htons(NTM_PORT), data, len);
}

static struct world_session *session_by_id(struct world *w, uint64_t id, int *node)
{
	for (int i = 0; i < WORLD_NODES; i++) {
		if (w->dc.sessions[i].used && w->dc.sessions[i].s.local_id == id) {
			*node = i;
			return &w->dc.sessions[i];
		}
	}
	return NULL;
}

void world_dc_send(struct world *w, int node, struct ntm_sig *m)
{
	uint8_t plain[NTM_SIGNAL_MAX], out[NTM_SIGNAL_MAX];
	struct world_session *s = &w->dc.sessions[node];
	size_t len, out_len;

	cr_assert(s->used);
	cr_assert_eq(ntm_sig_encode(m, plain, sizeof(plain) - 32, &len), 0);
	cr_assert_eq(ntm_session_seal(&s->s, plain, len, out, sizeof(out), &out_len), 0);
	put(w, &s->peer, out, out_len);
}

void world_vips(int node, uint8_t vip4[4], uint8_t vip6[16])
{
	uint8_t ip[16];

	ntm_ip_parse("100.96.0.1", ip);
	ip[15] = (uint8_t)(node + 1);
	memcpy(vip4, ip + 12, 4);
	ntm_ip_parse("fd4e:544d::1", vip6);
	vip6[15] = (uint8_t)(node + 1);
}

static void dc_register(struct world *w, int node, uint32_t txid)
{
	struct ntm_sig r;

	w->dc.registrations++;
	if (w->dc.refuse) {
		ntm_sig_init(&r, NTM_M_ERROR, txid);
		r.error_code = w->dc.refuse;
		r.have = 1u << NTM_F_ERROR_CODE;
		world_dc_send(w, node, &r);
		return;
	}
	ntm_sig_init(&r, NTM_M_REGISTRATION_RESPONSE, txid);
	snprintf(r.name, sizeof(r.name), "%s.ntm.example", node ? "bob" : "alice");
	strcpy(r.zone, "ntm.example");
	world_vips(node, r.vip4, r.vip6);
	ntm_prefix_parse("100.96.0.0/12", &r.pool4);
	ntm_prefix_parse("fd4e:544d::/48", &r.pool6);
	r.reflexive = w->dc.sessions[node].peer;
	r.lifetime_s = 120;
	r.keepalive_s = w->n_relays ? 60 : 15;
	for (unsigned i = 0; i < w->n_relays; i++)
		if (!w->dc.avoid[i])
			world_relay_offer(w, i, node, &r.offers[r.n_offers++]);
	r.have = 1u << NTM_F_NAME | 1u << NTM_F_ZONE | 1u << NTM_F_VIP4 | 1u << NTM_F_VIP6 | 1u << NTM_F_POOL4 |
		 1u << NTM_F_POOL6 | 1u << NTM_F_REFLEXIVE | 1u << NTM_F_LIFETIME | 1u << NTM_F_KEEPALIVE |
		 (r.n_offers ? 1u << NTM_F_RELAY_OFFER : 0);
	world_dc_send(w, node, &r);
}

static void fill(struct world *w, struct ntm_sig *m, int to, enum ntm_role role, const struct ntm_sig *key)
{
	int other = !to;

	m->path_id = key->path_id;
	memcpy(m->psk, key->psk, sizeof(m->psk));
	m->role = role;
	snprintf(m->name, sizeof(m->name), "%s.ntm.example", other ? "bob" : "alice");
	world_vips(other, m->vip4, m->vip6);
	memcpy(m->public_key, w->n[other]->pub, NTM_DH_LEN);
	m->n_candidates = w->dc.n_cands[other];
	memcpy(m->candidates, w->dc.cands[other], sizeof(m->candidates));
	if (m->n_candidates < NTM_CANDIDATES_MAX)
		m->candidates[m->n_candidates++] =
		    (struct ntm_candidate){.addr = w->dc.sessions[other].peer, .kind = NTM_CAND_REFLEXIVE};
	m->have = 1u << NTM_F_PATH_ID | 1u << NTM_F_PSK | 1u << NTM_F_ROLE | 1u << NTM_F_NAME | 1u << NTM_F_VIP4 |
		  1u << NTM_F_VIP6 | 1u << NTM_F_PUBLIC_KEY | 1u << NTM_F_CANDIDATE;
	if (!w->dc.no_tickets) {
		memset(&m->tickets[0], 0x5a, sizeof(m->tickets[0]));
		m->tickets[0].path_id = htobe64(m->path_id);
		m->n_tickets = 1;
		m->have |= NTM_SIG_BIT(NTM_F_PATH_TICKET);
	}
	if (w->dc.relay_of_path >= 0) {
		world_relay_info(w, (unsigned)w->dc.relay_of_path, &m->relay);
		m->have |= 1u << NTM_F_RELAY;
	}
	w->dc.last_direction[to] = *m;
}

static void dc_error(struct world *w, int node, uint32_t txid, enum ntm_error e)
{
	struct ntm_sig r;

	ntm_sig_init(&r, NTM_M_ERROR, txid);
	r.error_code = (uint16_t)e;
	r.have = 1u << NTM_F_ERROR_CODE;
	world_dc_send(w, node, &r);
}

/* The first that may be used and is not the one of a dead path. */
static void choose_relay(struct world *w, const struct ntm_sig *key)
{
	int chosen = -1;

	for (int i = (int)w->n_relays - 1; i >= 0; i--) {
		bool stale = w->dc.last_stale && world_relay_path(w, (unsigned)i, w->dc.last_stale);

		if (!w->dc.avoid[i] && !w->rs[i].draining && (!stale || chosen < 0))
			chosen = i;
	}
	/* Unless it is the only one. */
	for (int i = 0; i < (int)w->n_relays; i++)
		if (!w->dc.avoid[i] && !w->rs[i].draining && w->dc.last_stale && chosen >= 0 && i != chosen &&
		    world_relay_path(w, (unsigned)chosen, w->dc.last_stale))
			chosen = i;
	w->dc.relay_of_path = chosen;
	if (chosen >= 0)
		world_relay_add(w, (unsigned)chosen, key->path_id, key->psk);
}

static void dc_direct(struct world *w, int node, const struct ntm_sig *m)
{
	struct ntm_sig mine, theirs, key = {0};
	uint8_t vip4[4], vip6[16];
	bool found;

	world_vips(!node, vip4, vip6);
	if (w->dc.last_txid[node] != m->txid)
		w->dc.requests++;
	w->dc.last_stale = ntm_sig_has(m, NTM_F_STALE) ? m->stale_path_id : 0;
	found = (ntm_sig_has(m, NTM_F_NAME) && !strcmp(m->name, node ? "alice.ntm.example" : "bob.ntm.example")) ||
		(ntm_sig_has(m, NTM_F_VIP4) && !memcmp(m->vip4, vip4, 4)) ||
		(ntm_sig_has(m, NTM_F_VIP6) && !memcmp(m->vip6, vip6, 16)) || ntm_sig_has(m, NTM_F_GATEWAY);
	if (!found || w->dc.no_bob) {
		w->dc.last_txid[node] = m->txid;
		dc_error(w, node, m->txid, found ? NTM_E_OFFLINE : NTM_E_NO_SUCH_NAME);
		return;
	}
	if (w->dc.last_txid[node] == m->txid) { /* resent: the same answer */
		world_dc_send(w, node, &w->dc.last_direction[node]);
		return;
	}
	w->dc.last_txid[node] = m->txid;
	ntm_sig_init(&mine, NTM_M_ROUTE_DIRECTION, m->txid);
	if (w->dc.coalesce && w->dc.last_direction[node].path_id && !w->dc.last_stale) {
		/* The peer asked a moment ago: its path, its roles. */
		mine = w->dc.last_direction[node];
		mine.txid = m->txid;
		world_dc_send(w, node, &mine);
		return;
	}
	key.path_id = w->dc.last_path = ++w->dc.next_path;
	ntm_random(key.psk, sizeof(key.psk));
	choose_relay(w, &key);
	ntm_sig_init(&theirs, NTM_M_ROUTE_DIRECTION, 0x70000000u + (uint32_t)key.path_id);
	fill(w, &mine, node, NTM_ROLE_INITIATOR, &key);
	fill(w, &theirs, !node, NTM_ROLE_RESPONDER, &key);
	if (ntm_sig_has(m, NTM_F_GATEWAY)) { /* the other one is the gateway */
		mine.gateway = theirs.gateway = 1;
		mine.have |= 1u << NTM_F_GATEWAY;
		theirs.have |= 1u << NTM_F_GATEWAY;
	}
	world_dc_send(w, node, &mine);
	if (w->dc.sessions[!node].used)
		world_dc_send(w, !node, &theirs);
}

static void dc_reported(struct world *w, int node, const struct ntm_sig *m)
{
	struct ntm_sig r;

	w->dc.reports += m->txid != w->dc.report_txid;
	w->dc.report_txid = m->txid;
	w->dc.n_reported = m->n_tickets;
	for (unsigned i = 0; i < m->n_tickets; i++)
		w->dc.reported[i] = be64toh(m->tickets[i].path_id);
	if (w->dc.refuse_report) {
		dc_error(w, node, m->txid, (enum ntm_error)w->dc.refuse_report);
		return;
	}
	ntm_sig_init(&r, NTM_M_PATH_REPORT_RESPONSE, m->txid);
	world_dc_send(w, node, &r);
}

static void answer_later(struct world *w, int node, const struct ntm_sig *m, const struct ntm_addr *to)
{
	for (unsigned i = 0; i < sizeof(w->dc.later) / sizeof(w->dc.later[0]); i++) {
		if (w->dc.later[i].at_ms)
			continue;
		w->dc.later[i].at_ms = now_ms() + m->delay_s * 1000u;
		w->dc.later[i].txid = m->txid;
		w->dc.later[i].node = node;
		w->dc.later[i].to = *to;
		return;
	}
}

void world_dc_step(struct world *w)
{
	for (unsigned i = 0; i < sizeof(w->dc.later) / sizeof(w->dc.later[0]); i++) {
		struct world_session *s = &w->dc.sessions[w->dc.later[i].node];
		struct ntm_addr peer = s->peer;
		struct ntm_sig r;

		if (!w->dc.later[i].at_ms || now_ms() < w->dc.later[i].at_ms)
			continue;
		w->dc.later[i].at_ms = 0;
		if (!s->used)
			continue;
		ntm_sig_init(&r, NTM_M_KEEP_ALIVE_RESPONSE, w->dc.later[i].txid);
		s->peer = w->dc.later[i].to;
		world_dc_send(w, w->dc.later[i].node, &r);
		s->peer = peer;
	}
}

static void dc_signal(struct world *w, const struct world_packet *p)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)p->data;
	uint8_t plain[NTM_SIGNAL_MAX];
	struct world_session *s;
	struct ntm_sig m, r;
	size_t len;
	int node;

	s = session_by_id(w, be64toh(h->id), &node);
	if (!s || ntm_session_open(&s->s, p->data, p->len, plain, sizeof(plain), &len) ||
	    ntm_sig_decode(&m, plain, len))
		return;
	/* Such a Keep Alive comes from a port of its own. */
	if (ntm_sig_has(&m, NTM_F_DELAY)) {
		answer_later(w, node, &m, &p->src);
		return;
	}
	s->peer = p->src;
	if (m.n_rtts) {
		w->dc.n_rtts[node] = m.n_rtts;
		memcpy(w->dc.rtts[node], m.rtts, sizeof(m.rtts));
	}
	switch (m.msg) {
	case NTM_M_REGISTRATION_REQUEST:
		w->dc.n_cands[node] = m.n_candidates;
		memcpy(w->dc.cands[node], m.candidates, sizeof(m.candidates));
		dc_register(w, node, m.txid);
		break;
	case NTM_M_DIRECTION_REQUEST:
		dc_direct(w, node, &m);
		break;
	case NTM_M_KEEP_ALIVE:
		w->dc.keepalives++;
		ntm_sig_init(&r, NTM_M_KEEP_ALIVE_RESPONSE, m.txid);
		r.reflexive = s->peer;
		r.have = 1u << NTM_F_REFLEXIVE;
		world_dc_send(w, node, &r);
		break;
	case NTM_M_PATH_REPORT:
		dc_reported(w, node, &m);
		break;
	case NTM_M_RELEASE:
		w->dc.releases++;
		break;
	case NTM_M_ROUTE_ACK:
		w->dc.acks++;
		break;
	case NTM_M_ERROR:
		w->dc.last_error = m.error_code;
		break;
	}
}

void world_dc_receives(struct world *w, const struct world_packet *p)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)p->data;
	struct ntm_session_resp answer;
	static uint64_t id = 0x1000;

	if (w->dc.down)
		return;
	if (ntm_hdr_type(h) == NTM_T_SESSION_INIT) {
		struct world_session s = {.used = true, .peer = p->src};

		cr_assert_eq(
		    ntm_session_accept(w->dc.priv, w->dc.pub, p->data, p->len, ++id, 3600, now_ms(), &s.s, &answer), 0);
		w->dc.sessions[p->from] = s;
		put(w, &p->src, &answer, sizeof(answer));
	} else if (ntm_hdr_type(h) == NTM_T_SESSION_RESP) {
		struct world_session s = {.used = true, .peer = p->src};

		if (w->dc.hs && !ntm_session_finish(&w->dc.hs[p->from], p->data, p->len, now_ms(), &s.s))
			w->dc.sessions[p->from] = s;
	} else if (ntm_hdr_type(h) == NTM_T_SIGNAL) {
		dc_signal(w, p);
	}
}

void world_dc_restart(struct world *w, bool contact)
{
	if (!w->dc.hs)
		w->dc.hs = calloc(WORLD_NODES, sizeof(*w->dc.hs));
	for (int i = 0; i < WORLD_NODES; i++) {
		struct ntm_cookie_client cc;
		struct ntm_addr to = world_outside(w, i, false);

		w->dc.sessions[i].used = false;
		if (!contact)
			continue;
		cr_assert_eq(ntm_cookie_client_init(&cc, w->n[i]->pub), 0);
		cr_assert_eq(ntm_session_begin(&w->dc.hs[i], w->dc.priv, w->dc.pub, w->n[i]->pub, &cc, now_ms()), 0);
		put(w, &to, &w->dc.hs[i].msg, sizeof(w->dc.hs[i].msg));
	}
}
