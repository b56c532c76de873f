/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions with the DCs of other zones: handshakes, Peer Hello, presence. */
#include "peers.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <ntm/wire.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"
#include "dc.h"
#include "peers_int.h"

enum {
	TICK_MS = 250,
	HELLO_MS = 5000,
	RETRY_MIN_MS = 500,
	RETRY_MAX_MS = 5000,
	RENEW_MS = NTM_DC_SESSION_LIFETIME_S * 800,
};

static void recall(struct ntm_dc *dc, struct ntm_dc_peer *p);

static bool overlap(const struct ntm_prefix *a, const struct ntm_prefix *b)
{
	return ntm_prefix_contains(a, b->ip) || ntm_prefix_contains(b, a->ip);
}

static struct ntm_dc_session *current(const struct ntm_dc_peer *p)
{
	return p->sessions[0];
}

static void down(struct ntm_dc *dc, struct ntm_dc_peer *p, const char *why)
{
	if (p->up) {
		ntm_warn("peer %s is away: %s", p->zone, why);
		ntm_dc_event(dc, "peer", NULL, p->zone, "away");
	}
	p->up = false;
	p->next_try_ms = 0;
	p->backoff_ms = 0;
	ntm_dc_asked_expire(dc, p);
}

static void end_handshake(struct ntm_dc_peer *p)
{
	if (p->shaking)
		ntm_noise_clear(&p->init.noise);
	p->shaking = false;
}

static void begin_handshake(struct ntm_dc *dc, struct ntm_dc_peer *p)
{
	static const struct ntm_addr any;
	uint64_t now = ntm_dc_now(dc);
	int err = -EAFNOSUPPORT;

	p->backoff_ms = p->backoff_ms ? p->backoff_ms * 2 : RETRY_MIN_MS;
	if (p->backoff_ms > RETRY_MAX_MS)
		p->backoff_ms = RETRY_MAX_MS;
	p->next_try_ms = now + p->backoff_ms;
	if (p->shaking && p->keys.n > 1) { /* unanswered: it may have gone over to its other key */
		p->key = (p->key + 1) % p->keys.n;
		err = ntm_cookie_client_init(&p->cookies, p->keys.keys[p->key]);
		if (err)
			return;
		err = -EAFNOSUPPORT;
	}
	end_handshake(p);
	for (size_t i = 0; err && i < p->n_endpoints; i++)
		err = ntm_dc_net_route(dc->net, &p->endpoints[p->next_endpoint++ % p->n_endpoints], &any, &p->route);
	if (!err)
		err = ntm_session_begin(&p->init, dc->priv, dc->pub, p->keys.keys[p->key], &p->cookies, now);
	if (err) {
		ntm_warn_limited("peer %s cannot be called: %s", p->zone, strerror(-err));
		return;
	}
	p->shaking = true;
	ntm_dc_net_send(dc->net, &p->route, &p->init.msg, sizeof(p->init.msg));
}

static void fill_hello(const struct ntm_dc *dc, struct ntm_sig *m)
{
	memcpy(m->zone, dc->conf->zone, sizeof(m->zone));
	m->pool4 = dc->conf->pool.v4;
	m->pool6 = dc->conf->pool.v6;
	m->have = 1u << NTM_F_ZONE | 1u << NTM_F_POOL4 | 1u << NTM_F_POOL6;
}

static void send_hello(struct ntm_dc *dc, struct ntm_dc_peer *p)
{
	struct ntm_sig m;
	int err;

	ntm_sig_init(&m, NTM_M_PEER_HELLO, 0);
	fill_hello(dc, &m);
	p->hello_ms = ntm_dc_now(dc);
	err = ntm_dc_outbox_add(&dc->outbox, &p->self, NULL, &m);
	if (err)
		ntm_warn_limited("peer %s is not greeted: %s", p->zone, strerror(-err));
}

static void on_tick(uv_timer_t *t)
{
	struct ntm_dc *dc = t->data;
	uint64_t now = ntm_dc_now(dc);

	for (size_t i = 0; i < dc->peers->n; i++) {
		struct ntm_dc_peer *p = &dc->peers->items[i];
		struct ntm_dc_session *s = current(p);

		if (!s || !p->up || now - s->keys.created_ms >= RENEW_MS) {
			if (now >= p->next_try_ms)
				begin_handshake(dc, p);
		} else if (now - p->hello_ms >= HELLO_MS) {
			send_hello(dc, p);
		}
	}
	ntm_dc_asked_expire(dc, NULL);
}

/* Keys and endpoints, which may change under way. */
static int set_access(struct ntm_dc_peer *p, const struct ntm_dc_remote *r)
{
	struct ntm_addr *endpoints = calloc(r->endpoints.n, sizeof(*endpoints));

	if (!endpoints)
		return -ENOMEM;
	memcpy(endpoints, r->endpoints.addrs, r->endpoints.n * sizeof(*endpoints));
	free(p->endpoints);
	p->endpoints = endpoints;
	p->n_endpoints = r->endpoints.n;
	p->keys = r->keys;
	p->key = 0;
	return ntm_cookie_client_init(&p->cookies, p->keys.keys[0]);
}

static int set_peer(struct ntm_dc_peer *p, const struct ntm_dc_remote *r)
{
	snprintf(p->zone, sizeof(p->zone), "%s", r->name);
	p->self.peer = p;
	snprintf(p->self.rec.label, sizeof(p->self.rec.label), "%.*s", NTM_LABEL_MAX, p->zone);
	return set_access(p, r);
}

static void free_peers(struct ntm_dc_peers *ps)
{
	for (size_t i = 0; i < ps->n; i++)
		free(ps->items[i].endpoints);
	free(ps->items);
	ntm_wipe(ps, sizeof(*ps));
	free(ps);
}

static void timer_closed(uv_handle_t *h)
{
	free_peers(ntm_container_of((uv_timer_t *)h, struct ntm_dc_peers, timer));
}

int ntm_dc_peers_start(struct ntm_dc *dc, const struct ntm_dc_remotes *conf, char *why, size_t cap)
{
	struct ntm_dc_peers *ps;
	int err = 0;

	if (!conf->n)
		return 0;
	if (conf->n > NTM_PEER_ZONES_MAX) {
		snprintf(why, cap, "more than %d peers", NTM_PEER_ZONES_MAX);
		return -EINVAL;
	}
	ps = calloc(1, sizeof(*ps));
	if (ps)
		ps->items = calloc(conf->n, sizeof(*ps->items));
	if (!ps || !ps->items)
		err = -ENOMEM;
	for (size_t i = 0; !err && i < conf->n; i++) {
		err = set_peer(&ps->items[i], conf->items[i]);
		recall(dc, &ps->items[i]);
		ps->n = i + 1;
	}
	if (!err)
		err = ntm_dc_foreigners_init(&ps->foreigners);
	if (err) {
		snprintf(why, cap, "peers: %s", strerror(-err));
		if (ps)
			free_peers(ps);
		return err;
	}
	TAILQ_INIT(&ps->asked);
	ps->generation = 1;
	uv_timer_init(dc->loop, &ps->timer);
	ps->timer.data = dc;
	dc->peers = ps;
	uv_timer_start(&ps->timer, on_tick, 0, TICK_MS);
	return 0;
}

void ntm_dc_peers_stop(struct ntm_dc *dc)
{
	struct ntm_dc_peers *ps = dc->peers;

	if (!ps)
		return;
	ntm_dc_foreigners_free(dc);
	for (size_t i = 0; i < ps->n; i++) {
		struct ntm_dc_peer *p = &ps->items[i];

		p->up = false;
		ntm_dc_asked_expire(dc, p);
		ntm_dc_outbox_forget(&dc->outbox, &p->self, NULL);
		end_handshake(p);
		while (current(p))
			ntm_dc_session_remove(&dc->sessions, current(p));
	}
	dc->peers = NULL;
	uv_close((uv_handle_t *)&ps->timer, timer_closed);
}

static bool same_zones(const struct ntm_dc_peers *ps, const struct ntm_dc_remotes *now)
{
	if ((ps ? ps->n : 0) != now->n)
		return false;
	for (size_t i = 0; i < now->n; i++) {
		if (strcmp(ps->items[i].zone, now->items[i]->name) != 0)
			return false;
	}
	return true;
}

static bool same_access(const struct ntm_dc_peer *p, const struct ntm_dc_remote *r)
{
	if (memcmp(&p->keys, &r->keys, sizeof(p->keys)) != 0 || p->n_endpoints != r->endpoints.n)
		return false;
	for (size_t k = 0; k < p->n_endpoints; k++) {
		if (!ntm_addr_equal(&p->endpoints[k], &r->endpoints.addrs[k]))
			return false;
	}
	return true;
}

/* Sessions made with a key that is no longer its own end; paths to its nodes stay. */
static int change_access(struct ntm_dc *dc, struct ntm_dc_peer *p, const struct ntm_dc_remote *r)
{
	int err;

	end_handshake(p);
	err = set_access(p, r);
	for (size_t i = 0; i < NTM_DC_PEER_SESSIONS && p->sessions[i];) {
		if (ntm_key_list_has(&p->keys, p->sessions[i]->keys.peer_key))
			i++;
		else
			ntm_dc_session_remove(&dc->sessions, p->sessions[i]);
	}
	p->next_try_ms = 0;
	p->backoff_ms = 0;
	return err;
}

int ntm_dc_peers_reload(struct ntm_dc *dc, const struct ntm_dc_remotes *now)
{
	uint32_t generation = ntm_dc_peers_generation(dc);
	char why[128] = "";
	int err = 0;

	if (same_zones(dc->peers, now)) {
		for (size_t i = 0; i < now->n; i++) {
			int rc = same_access(&dc->peers->items[i], now->items[i])
				     ? 0
				     : change_access(dc, &dc->peers->items[i], now->items[i]);

			err = rc ? rc : err;
		}
		return err;
	}
	ntm_dc_peers_stop(dc);
	err = ntm_dc_peers_start(dc, now, why, sizeof(why));
	if (err)
		ntm_err("%s", why);
	else if (dc->peers)
		dc->peers->generation = generation + 1;
	return err;
}

struct ntm_dc_peer *ntm_dc_peer_by_key(const struct ntm_dc *dc, const uint8_t key[NTM_DH_LEN])
{
	for (size_t i = 0; dc->peers && i < dc->peers->n; i++) {
		if (ntm_key_list_has(&dc->peers->items[i].keys, key))
			return &dc->peers->items[i];
	}
	return NULL;
}

bool ntm_dc_peer_owns_name(const struct ntm_dc_peer *p, const char *name)
{
	const char *dot = strchr(name, '.');

	return dot && dot > name && dot - name <= NTM_LABEL_MAX && !strcasecmp(dot + 1, p->zone);
}

bool ntm_dc_peer_owns_vip(const struct ntm_dc_peer *p, const uint8_t ip[16])
{
	return p->has_pools && ntm_prefix_contains(ntm_ip_is_v4(ip) ? &p->pool4 : &p->pool6, ip);
}

struct ntm_dc_peer *ntm_dc_peer_of_name(const struct ntm_dc *dc, const char *name)
{
	for (size_t i = 0; dc->peers && i < dc->peers->n; i++) {
		if (ntm_dc_peer_owns_name(&dc->peers->items[i], name))
			return &dc->peers->items[i];
	}
	return NULL;
}

struct ntm_dc_peer *ntm_dc_peer_of_vip(const struct ntm_dc *dc, const uint8_t ip[16])
{
	for (size_t i = 0; dc->peers && i < dc->peers->n; i++) {
		if (ntm_dc_peer_owns_vip(&dc->peers->items[i], ip))
			return &dc->peers->items[i];
	}
	return NULL;
}

const char *ntm_dc_peer_zone(const struct ntm_dc_peer *peer)
{
	return peer->zone;
}

bool ntm_dc_peer_is_up(const struct ntm_dc_peer *peer)
{
	return peer->up && current(peer);
}

struct ntm_dc_node *ntm_dc_peer_self(struct ntm_dc_peer *peer)
{
	return &peer->self;
}

/* Newest first: what is said goes out on the one that the peer was heard on last. */
static void put_first(struct ntm_dc_peer *p, struct ntm_dc_session *s)
{
	unsigned at = 0;

	while (at < NTM_DC_PEER_SESSIONS - 1 && p->sessions[at] && p->sessions[at] != s)
		at++;
	for (; at; at--)
		p->sessions[at] = p->sessions[at - 1];
	p->sessions[0] = s;
}

void ntm_dc_peer_bind(struct ntm_dc *dc, struct ntm_dc_peer *p, struct ntm_dc_session *s)
{
	if (p->sessions[NTM_DC_PEER_SESSIONS - 1])
		ntm_dc_session_remove(&dc->sessions, p->sessions[NTM_DC_PEER_SESSIONS - 1]);
	ntm_dc_session_keep(&dc->sessions, s, ntm_dc_now(dc));
	s->peer = p;
	put_first(p, s);
}

void ntm_dc_peer_session_gone(struct ntm_dc_session *s)
{
	struct ntm_dc_peer *p = s->peer;
	unsigned kept = 0;

	for (unsigned i = 0; i < NTM_DC_PEER_SESSIONS; i++) {
		if (p->sessions[i] && p->sessions[i] != s)
			p->sessions[kept++] = p->sessions[i];
	}
	while (kept < NTM_DC_PEER_SESSIONS)
		p->sessions[kept++] = NULL;
}

void ntm_dc_peer_send(struct ntm_dc *dc, struct ntm_dc_peer *p, const uint8_t *data, size_t len)
{
	if (current(p))
		ntm_dc_send_encoded(dc, current(p), data, len);
}

void ntm_dc_peer_lost(struct ntm_dc *dc, struct ntm_dc_peer *p)
{
	down(dc, p, "no answer");
}

bool ntm_dc_peer_answer(struct ntm_dc *dc, const struct ntm_dc_route *from, const uint8_t *data, size_t len)
{
	const struct ntm_hdr *hdr = (const void *)data;
	struct ntm_session keys;
	struct ntm_dc_session *s;

	for (size_t i = 0; dc->peers && i < dc->peers->n; i++) {
		struct ntm_dc_peer *p = &dc->peers->items[i];

		if (!p->shaking || be64toh(hdr->id) != p->init.local_id)
			continue;
		if (ntm_session_finish(&p->init, data, len, ntm_dc_now(dc), &keys))
			return false;
		p->shaking = false;
		keys.confirmed = true; /* the answer to our own ephemeral key is proof enough */
		s = ntm_dc_session_find(&dc->sessions, keys.local_id)
			? NULL
			: ntm_dc_session_add(&dc->sessions, &keys, from, ntm_dc_now(dc));
		ntm_session_clear(&keys);
		if (s) {
			ntm_dc_peer_bind(dc, p, s);
			send_hello(dc, p);
		}
		return true;
	}
	return false;
}

bool ntm_dc_peer_cookie(struct ntm_dc *dc, const uint8_t *data, size_t len)
{
	const struct ntm_hdr *hdr = (const void *)data;
	uint64_t now = ntm_dc_now(dc);

	for (size_t i = 0; dc->peers && i < dc->peers->n; i++) {
		struct ntm_dc_peer *p = &dc->peers->items[i];

		if (!p->shaking || be64toh(hdr->id) != p->init.local_id)
			continue;
		if (len != sizeof(struct ntm_cookie_reply) ||
		    ntm_cookie_consume(&p->cookies, (const void *)data, now) ||
		    ntm_cookie_sign(&p->cookies, &p->init.msg, sizeof(p->init.msg), now))
			return false;
		ntm_dc_net_send(dc->net, &p->route, &p->init.msg, sizeof(p->init.msg));
		return true;
	}
	return false;
}

/* What it says of itself holds together with us and with all other peers. */
static const char *objection(const struct ntm_dc *dc, const struct ntm_dc_peer *p, const struct ntm_sig *m)
{
	const uint32_t need = 1u << NTM_F_ZONE | 1u << NTM_F_POOL4 | 1u << NTM_F_POOL6;

	if ((m->have & need) != need || !m->pool6.len || m->pool4.len <= 96)
		return "a Peer Hello needs zone and pools";
	if (strcasecmp(m->zone, p->zone))
		return "this key is not that zone's";
	if (overlap(&m->pool4, &dc->conf->pool.v4) || overlap(&m->pool6, &dc->conf->pool.v6))
		return "the virtual pools of both zones overlap";
	for (size_t i = 0; i < dc->peers->n; i++) {
		const struct ntm_dc_peer *o = &dc->peers->items[i];

		if (o != p && o->has_pools && (overlap(&m->pool4, &o->pool4) || overlap(&m->pool6, &o->pool6)))
			return "the virtual pools overlap with a third zone's";
	}
	return NULL;
}

/* Nodes that register while the peer is away are to know its zone still. */
static void remember(struct ntm_dc *dc, const struct ntm_dc_peer *p)
{
	char name[NTM_NAME_MAX + 8], v4[NTM_ADDR_STRLEN], v6[NTM_ADDR_STRLEN], text[2 * NTM_ADDR_STRLEN],
	    was[2 * NTM_ADDR_STRLEN];

	snprintf(name, sizeof(name), "peer %s", p->zone);
	snprintf(text, sizeof(text), "%s %s", ntm_prefix_format(&p->pool4, v4), ntm_prefix_format(&p->pool6, v6));
	if (dc->store->ops->setting(dc->store, name, text, true, was, sizeof(was)))
		ntm_warn("pools of peer %s are not remembered", p->zone);
}

static void recall(struct ntm_dc *dc, struct ntm_dc_peer *p)
{
	char name[NTM_NAME_MAX + 8], was[2 * NTM_ADDR_STRLEN] = "", *v6;

	snprintf(name, sizeof(name), "peer %s", p->zone);
	if (dc->store->ops->setting(dc->store, name, "", false, was, sizeof(was)) != -EEXIST)
		return;
	v6 = strchr(was, ' ');
	if (!v6)
		return;
	*v6++ = 0;
	p->has_pools = !ntm_prefix_parse(was, &p->pool4) && !ntm_prefix_parse(v6, &p->pool6) &&
		       !overlap(&p->pool4, &dc->conf->pool.v4) && !overlap(&p->pool6, &dc->conf->pool.v6);
}

static bool greeted(struct ntm_dc *dc, struct ntm_dc_peer *p, const struct ntm_sig *m, const char **why)
{
	bool changed;

	*why = objection(dc, p, m);
	if (*why) {
		ntm_err("peer %s is refused: %s", p->zone, *why);
		p->up = false;
		p->has_pools = false;
		return false;
	}
	changed = !p->has_pools || memcmp(&p->pool4, &m->pool4, sizeof(p->pool4)) ||
		  memcmp(&p->pool6, &m->pool6, sizeof(p->pool6));
	p->pool4 = m->pool4;
	p->pool6 = m->pool6;
	p->has_pools = true;
	if (changed) {
		dc->peers->generation++;
		remember(dc, p);
		ntm_dc_news(dc);
	}
	if (!p->up) {
		ntm_info("peer %s is there", p->zone);
		ntm_dc_event(dc, "peer", NULL, p->zone, "there");
	}
	p->up = true;
	p->backoff_ms = 0;
	return true;
}

static void on_hello(struct ntm_dc *dc, struct ntm_dc_peer *p, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	const char *why;
	struct ntm_sig r;

	if (!greeted(dc, p, m, &why)) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "%s", why);
		return;
	}
	ntm_sig_init(&r, NTM_M_PEER_HELLO_RESPONSE, m->txid);
	fill_hello(dc, &r);
	ntm_dc_reply(dc, s, &r);
}

/* An answer to a request of ours, be it about one of its nodes. */
static bool answered(struct ntm_dc *dc, const struct ntm_dc_peer *p, uint32_t txid, struct ntm_dc_sent *what)
{
	struct ntm_dc_node *to = ntm_dc_outbox_addressee(&dc->outbox, txid);

	return to && to->peer == p && ntm_dc_outbox_ack(&dc->outbox, to, txid, what);
}

static void on_error(struct ntm_dc *dc, struct ntm_dc_peer *p, const struct ntm_sig *m)
{
	struct ntm_dc_sent what = {0};
	struct ntm_dc_path *path;

	ntm_warn_limited("peer %s answers %s: %s", p->zone, ntm_error_name(m->error_code), m->error_text);
	if (!answered(dc, p, m->txid, &what))
		return;
	switch (what.msg) {
	case NTM_M_PEER_HELLO:
		p->up = false;
		return;
	case NTM_M_PEER_DIRECTION_REQUEST:
		ntm_dc_peer_direction_answer(dc, p, m);
		return;
	case NTM_M_ROUTE_DIRECTION: /* the other end will never know of it */
		path = ntm_dc_path_by_id(&dc->paths, what.path_id);
		if (path)
			ntm_dc_peer_end_path(dc, path);
		return;
	default:
		return;
	}
}

void ntm_dc_peer_message(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	struct ntm_dc_peer *p = s->peer;
	const char *why;

	put_first(p, s);
	switch (m->msg) {
	case NTM_M_PEER_HELLO:
		on_hello(dc, p, s, m);
		return;
	case NTM_M_PEER_HELLO_RESPONSE:
		if (ntm_dc_outbox_ack(&dc->outbox, &p->self, m->txid, NULL))
			(void)greeted(dc, p, m, &why);
		return;
	case NTM_M_PEER_DIRECTION_RESPONSE:
		ntm_dc_outbox_ack(&dc->outbox, &p->self, m->txid, NULL);
		ntm_dc_peer_direction_answer(dc, p, m);
		return;
	case NTM_M_ROUTE_ACK:
		(void)answered(dc, p, m->txid, NULL);
		return;
	case NTM_M_ERROR:
		on_error(dc, p, m);
		return;
	case NTM_M_PEER_DIRECTION_REQUEST:
	case NTM_M_ROUTE_DIRECTION:
	case NTM_M_RELEASE:
		if (p->up)
			ntm_dc_peer_request(dc, p, s, m);
		else
			ntm_dc_reply_error(dc, s, m->txid, NTM_E_NOT_REGISTERED, "a Peer Hello comes first");
		return;
	default:
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_UNKNOWN_MESSAGE, "message %u is not for a peer", m->msg);
	}
}

bool ntm_dc_peer_zone_of(const struct ntm_dc *dc, const struct ntm_dc_peer *p, struct ntm_peer_zone *out)
{
	(void)dc;
	if (!p->has_pools)
		return false;
	memcpy(out->zone, p->zone, sizeof(out->zone));
	out->pool4 = p->pool4;
	out->pool6 = p->pool6;
	return true;
}

void ntm_dc_peers_tell(const struct ntm_dc *dc, struct ntm_sig *m)
{
	for (size_t i = 0; dc->peers && i < dc->peers->n; i++) {
		if (ntm_dc_peer_zone_of(dc, &dc->peers->items[i], &m->peer_zones[m->n_peer_zones]))
			m->n_peer_zones++;
	}
	if (m->n_peer_zones)
		m->have |= 1u << NTM_F_PEER_ZONE;
}

uint32_t ntm_dc_peers_generation(const struct ntm_dc *dc)
{
	return dc->peers ? dc->peers->generation : 0;
}
