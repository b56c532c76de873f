/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions: their handshakes, slots and timers. Requests are in dcrequest.c, messages in dcregister.c. */
#include "dcclient.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../common/crypto.h"
#include "../common/keystore.h"
#include "dcclient_int.h"
#include "node.h"

enum {
	HS_FIRST_MS = 250,  /* first resend of an unanswered type 1 */
	KICK_MS = 1000,     /* between attempts that others ask for */
	RETRY_MIN_MS = 500, /* after all endpoints failed; doubles */
	RETRY_MAX_MS = 15000,
	LIFETIME_DEFAULT_S = 3600,
	PATIENCE_RTTS = 5, /* the copies of a request have their time, too */
};

/* With another endpoint, which may be another process of the DC, there is no reason to wait for long. */
uint64_t ntm_dc_patience_ms(const struct ntm_dcclient *dc)
{
	uint64_t ms = (uint64_t)(PATIENCE_RTTS * dc->rtt_ms);

	if (dc->node->conf.dc_endpoints.n < 2 || ms >= NTM_DC_GIVE_UP_MS)
		return NTM_DC_GIVE_UP_MS;
	return ms > NTM_DC_TRY_NEXT_MS ? ms : NTM_DC_TRY_NEXT_MS;
}

/* How far away the DC is may not be known: all of the time from the second round on. */
static uint64_t hs_patience_ms(const struct ntm_dcclient *dc)
{
	return dc->failures < dc->node->conf.dc_endpoints.n ? ntm_dc_patience_ms(dc) : NTM_DC_GIVE_UP_MS;
}

static bool on_link(const struct ntm_uplink_info *u, const uint8_t ip[16])
{
	for (unsigned i = 0; i < u->n_addrs; i++) {
		struct ntm_prefix p = {.len = u->prefix_len[i]};

		memcpy(p.ip, u->addrs[i], 16);
		if (p.len && ntm_ip_is_v4(ip) == ntm_ip_is_v4(p.ip) && ntm_prefix_contains(&p, ip))
			return true;
	}
	return false;
}

/* NULL: with one uplink, or if another one leads there by itself, the kernel knows best. */
static const uint8_t *usual_source(const struct ntm_dcclient *dc, const struct ntm_addr *to, uint8_t out[16])
{
	const struct ntm_node *n = dc->node;

	for (unsigned i = 1; i < n->n_uplinks; i++)
		if (on_link(&n->uplinks[i], to->ip) && !on_link(&n->uplinks[0], to->ip))
			return NULL;
	ntm_node_source(n, to, out);
	return n->n_uplinks < 2 || ntm_ip_is_zero(out) ? NULL : out;
}

const uint8_t *ntm_dc_source(const struct ntm_dcclient *dc, const struct ntm_addr *to, uint8_t out[16])
{
	const uint8_t *usual = usual_source(dc, to, out);

	if (!usual || !dc->astray || memcmp(usual, dc->from, 16))
		return usual;
	memcpy(out, dc->via, 16);
	return ntm_node_has_addr(dc->node, dc->via) ? out : NULL;
}

void ntm_dc_uplink_changed(struct ntm_dcclient *dc)
{
	dc->astray = false;
}

/* Not answered from there: by the kernel's routes, and then from each of the others' addresses. */
static const uint8_t *other_source(const struct ntm_dcclient *dc, const struct ntm_addr *to, unsigned nth,
				   uint8_t out[16])
{
	const struct ntm_node *n = dc->node;
	unsigned others = n->n_uplinks > 1 ? n->n_uplinks - 1 : 0;
	const struct ntm_uplink_info *u;

	nth %= others + 1;
	if (!nth)
		return NULL;
	u = &n->uplinks[nth];
	return ntm_uplinks_source(u, 1, !ntm_ip_is_v4(to->ip), out) ? out : NULL;
}

void ntm_dc_open_ways(struct ntm_dcclient *dc)
{
	const struct ntm_addr_list *l = &dc->node->conf.dc_endpoints;
	struct ntm_hdr opener = {0};
	uint8_t src[16];

	opener.ver_type = NTM_WIRE_VERSION << 4 | NTM_T_SIGNAL;
	for (size_t i = 0; i < l->n; i++) {
		if (ntm_addr_equal(&l->addrs[i], &dc->slot[NTM_DC_CUR].addr) ||
		    !ntm_node_has_family(dc->node, !ntm_ip_is_v4(l->addrs[i].ip)))
			continue;
		dc->node->net.send(dc->node->net.arg, &l->addrs[i], ntm_dc_source(dc, &l->addrs[i], src), &opener,
				   sizeof(opener), NTM_SEND_NORMAL);
	}
}

/* The next attempt after this session is for another endpoint. */
static void note_endpoint(struct ntm_dcclient *dc, const struct ntm_addr *addr)
{
	const struct ntm_addr_list *l = &dc->node->conf.dc_endpoints;

	for (size_t i = 0; i < l->n; i++) {
		if (ntm_addr_equal(&l->addrs[i], addr))
			dc->endpoint = i;
	}
}

static void hs_begin(struct ntm_dcclient *dc);

static void hs_stop(struct ntm_dcclient *dc)
{
	ntm_timer_stop(&dc->node->timers, &dc->hs_timer);
	if (!dc->hs)
		return;
	ntm_wipe(dc->hs, sizeof(*dc->hs));
	free(dc->hs);
	dc->hs = NULL;
}

static void hs_transmit_from(struct ntm_dcclient *dc, const uint8_t *from)
{
	struct ntm_node *n = dc->node;
	int err = n->net.send(n->net.arg, &dc->hs_addr, from, &dc->hs->msg, sizeof(dc->hs->msg), NTM_SEND_NORMAL);

	if (err)
		ntm_debug("dc: session init not sent: %s", strerror(-err));
}

static void hs_transmit(struct ntm_dcclient *dc)
{
	unsigned nth = dc->hs_sends++;
	uint8_t src[16];

	hs_transmit_from(dc, nth ? other_source(dc, &dc->hs_addr, nth - 1 + dc->failures, src)
				 : usual_source(dc, &dc->hs_addr, src));
}

/* Only the DC can bring such a path back. */
static bool path_wanted(const struct ntm_node *n)
{
	for (const struct ntm_tunnel *t = n->tunnels.all; t; t = t->next_all)
		if (ntm_live_wanted(t))
			return true;
	return false;
}

static int use_key(struct ntm_dcclient *dc, size_t i)
{
	dc->key = i;
	return ntm_cookie_client_init(&dc->cookie, dc->keys.items[i].key);
}

/* Of n things in a circle. */
static size_t after(size_t i, size_t n)
{
	return i + 1 < n ? i + 1 : 0;
}

static bool is_multiple(size_t i, size_t n)
{
	return n ? i % n == 0 : true;
}

static void hs_failed(struct ntm_dcclient *dc)
{
	size_t endpoints = dc->node->conf.dc_endpoints.n, keys = dc->keys.n;
	char text[NTM_ADDR_STRLEN];
	uint64_t most;

	if (dc->failures == 0)
		ntm_warn("dc: no answer from %s", ntm_addr_format(&dc->hs_addr, text));
	hs_stop(dc);
	dc->failures++;
	dc->endpoint = after(dc->endpoint, endpoints);
	/* all addresses with one key, then with the next one that the DC may have */
	if (is_multiple(dc->failures, endpoints) && use_key(dc, after(dc->key, keys)))
		ntm_warn("dc: the next of its keys cannot be used");
	if (!is_multiple(dc->failures, endpoints * keys)) {
		hs_begin(dc);
		return;
	}
	most = path_wanted(dc->node) ? RETRY_MIN_MS : RETRY_MAX_MS;
	dc->retry_ms = dc->retry_ms ? dc->retry_ms * 2 : RETRY_MIN_MS;
	if (dc->retry_ms > most)
		dc->retry_ms = most;
	ntm_timer_arm(&dc->node->timers, &dc->hs_timer, dc->retry_ms);
}

static void on_hs_timer(void *arg)
{
	struct ntm_dcclient *dc = arg;
	uint64_t silent, patience;

	if (!dc->hs) {
		hs_begin(dc);
		return;
	}
	silent = ntm_timers_ms(&dc->node->timers) - dc->hs_begin_ms;
	patience = hs_patience_ms(dc);
	if (silent >= patience) {
		hs_failed(dc);
		return;
	}
	hs_transmit(dc);
	dc->hs_wait_ms *= 2;
	ntm_timer_arm(&dc->node->timers, &dc->hs_timer,
		      dc->hs_wait_ms < patience - silent ? dc->hs_wait_ms : patience - silent);
}

static void hs_begin(struct ntm_dcclient *dc)
{
	struct ntm_node *n = dc->node;
	uint64_t now = ntm_timers_ms(&n->timers);

	hs_stop(dc);
	/* Skip endpoints of a family that no uplink has, unless that leaves none. */
	for (size_t i = 0; i < n->conf.dc_endpoints.n && n->n_uplinks; i++) {
		const struct ntm_addr *a = &n->conf.dc_endpoints.addrs[dc->endpoint];

		if (ntm_node_has_family(n, !ntm_ip_is_v4(a->ip)))
			break;
		dc->endpoint = (dc->endpoint + 1) % n->conf.dc_endpoints.n;
	}
	dc->hs_addr = n->conf.dc_endpoints.addrs[dc->endpoint];
	dc->hs = calloc(1, sizeof(*dc->hs));
	if (!dc->hs || ntm_session_begin(dc->hs, n->priv, n->pub, dc->keys.items[dc->key].key, &dc->cookie, now)) {
		ntm_err("dc: cannot begin a session");
		hs_stop(dc);
		ntm_timer_arm(&n->timers, &dc->hs_timer, RETRY_MAX_MS);
		return;
	}
	dc->hs_begin_ms = now;
	dc->hs_wait_ms = HS_FIRST_MS;
	dc->hs_sends = 0;
	hs_transmit(dc);
	ntm_timer_arm(&n->timers, &dc->hs_timer, dc->hs_wait_ms);
}

static void drop_slot(struct ntm_dcclient *dc, enum ntm_dc_slot slot)
{
	if (dc->slot[slot].used)
		ntm_session_clear(&dc->slot[slot].s);
	memset(&dc->slot[slot], 0, sizeof(dc->slot[slot]));
}

/* CUR becomes OLD: answers under way on it are still read. */
static void make_current(struct ntm_dcclient *dc, const struct ntm_dc_session *s)
{
	struct ntm_node *n = dc->node;
	uint64_t life_s = s->s.lifetime_s ? s->s.lifetime_s : LIFETIME_DEFAULT_S;

	drop_slot(dc, NTM_DC_OLD);
	dc->slot[NTM_DC_OLD] = dc->slot[NTM_DC_CUR];
	dc->slot[NTM_DC_CUR] = *s;
	note_endpoint(dc, &s->addr);
	dc->failures = 0;
	dc->retry_ms = 0;
	if (life_s < 10)
		life_s = 10;
	/* A tenth early, so that there is always a session. */
	ntm_timer_arm(&n->timers, &dc->lifetime_timer, life_s * 900);
}

void ntm_dc_promote_next(struct ntm_dcclient *dc)
{
	struct ntm_dc_session next = dc->slot[NTM_DC_NEXT];
	char text[NTM_ADDR_STRLEN];

	memset(&dc->slot[NTM_DC_NEXT], 0, sizeof(dc->slot[NTM_DC_NEXT]));
	hs_stop(dc);
	make_current(dc, &next);
	for (unsigned i = 0; i < NTM_DC_REQUESTS; i++)
		if (dc->req[i].used && dc->req[i].session == NTM_DC_NEXT)
			dc->req[i].session = NTM_DC_CUR;
	ntm_info("dc: new session, begun by the DC at %s", ntm_addr_format(&next.addr, text));
	ntm_wipe(&next, sizeof(next));
}

static void session_lost(struct ntm_dcclient *dc)
{
	if (dc->registered) {
		json_object *ev = ntm_node_event(dc->node, "dc_lost");

		ntm_warn("dc: session lost, making a new one");
		ntm_node_emit(dc->node, ev);
	}
	dc->registered = false;
}

void ntm_dc_session_dead(struct ntm_dcclient *dc)
{
	session_lost(dc);
	if (dc->slot[NTM_DC_CUR].used) {
		/* A DC of several addresses may be reachable by another one. */
		dc->endpoint = (dc->endpoint + 1) % dc->node->conf.dc_endpoints.n;
		drop_slot(dc, NTM_DC_CUR);
	}
	ntm_proof_doubt(dc->node);
	if (!dc->hs)
		hs_begin(dc);
}

void ntm_dc_kick(struct ntm_dcclient *dc)
{
	uint64_t now = ntm_timers_ms(&dc->node->timers);

	/* Somebody waits: don't sit out the back-off, but don't let a storm of requests undo it either. */
	if (dc->hs || dc->slot[NTM_DC_CUR].used || now - dc->last_kick_ms < KICK_MS)
		return;
	dc->last_kick_ms = now;
	hs_begin(dc);
}

static void on_lifetime(void *arg)
{
	struct ntm_dcclient *dc = arg;

	/* Past its end: the handshakes of the last tenth all failed. */
	if (!dc->hs)
		hs_begin(dc);
}

/* Where its answer came to, it hears this node. */
static void note_way(struct ntm_dcclient *dc, const struct ntm_addr *from, const uint8_t to[16])
{
	const uint8_t *usual = usual_source(dc, from, dc->from);

	dc->astray = usual && !ntm_ip_is_zero(to) && memcmp(to, usual, 16);
	memcpy(dc->via, to, 16);
}

static void on_response(struct ntm_dcclient *dc, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *msg,
			size_t len)
{
	struct ntm_node *n = dc->node;
	struct ntm_dc_session s = {.used = true, .addr = *from};
	char text[NTM_ADDR_STRLEN];
	uint64_t now = ntm_timers_ms(&n->timers);

	if (!dc->hs || ntm_session_finish(dc->hs, msg, len, now, &s.s)) {
		ntm_debug("dc: session response that answers nothing");
		return;
	}
	hs_stop(dc);
	make_current(dc, &s);
	ntm_wipe(&s, sizeof(s));
	note_way(dc, from, to);
	ntm_dc_rtt(dc, (double)(now - dc->hs_begin_ms));
	ntm_debug("dc: session with %s", ntm_addr_format(from, text));
	ntm_dc_register(dc, NTM_DC_CUR);
	/* Not where paths leave: is that uplink any good? */
	if (dc->astray)
		ntm_proof_answered_aside(n);
}

/* A DC that was restarted knows its nodes' addresses, but has no session with them: it begins one. */
static void on_init(struct ntm_dcclient *dc, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *msg,
		    size_t len)
{
	struct ntm_node *n = dc->node;
	struct ntm_dc_session s = {.used = true, .addr = *from};
	struct ntm_session_resp answer;
	struct ntm_cookie_reply cookie;
	uint64_t now = ntm_timers_ms(&n->timers), id;

	if (len != sizeof(struct ntm_session_init))
		return;
	switch (ntm_cookie_check(&n->jar, msg, len, from, now)) {
	case NTM_MAC_BAD:
		return;
	case NTM_MAC_COOKIE:
		if (!ntm_cookie_reply(&n->jar, msg, len, from, now, &cookie))
			n->net.send(n->net.arg, from, to, &cookie, sizeof(cookie), NTM_SEND_NORMAL);
		return;
	case NTM_MAC_OK:
		break;
	}
	do {
		if (ntm_random(&id, sizeof(id)))
			return;
	} while (!id || ntm_dc_slot_of(dc, id) >= 0);
	if (ntm_session_accept(n->priv, n->pub, msg, len, id, LIFETIME_DEFAULT_S, now, &s.s, &answer))
		return;
	if (ntm_dckeys_find(&dc->keys, s.s.peer_key) == dc->keys.n) {
		ntm_warn_limited("dc: session init from a key that is not the DC's, dropped");
		ntm_session_clear(&s.s);
		return;
	}
	/* It may be a replay: it displaces nothing until the DC has answered on it. */
	drop_slot(dc, NTM_DC_NEXT);
	dc->slot[NTM_DC_NEXT] = s;
	ntm_wipe(&s, sizeof(s));
	n->net.send(n->net.arg, from, to, &answer, sizeof(answer), NTM_SEND_NORMAL);
	ntm_dc_register(dc, NTM_DC_NEXT);
}

static void on_cookie(struct ntm_dcclient *dc, const uint8_t to[16], const uint8_t *msg, size_t len)
{
	uint64_t now = ntm_timers_ms(&dc->node->timers);
	struct ntm_cookie_reply r;

	if (!dc->hs || len != sizeof(r))
		return;
	memcpy(&r, msg, sizeof(r));
	if (ntm_cookie_consume(&dc->cookie, &r, now) ||
	    ntm_cookie_sign(&dc->cookie, &dc->hs->msg, sizeof(dc->hs->msg), now))
		return;
	/* It is good for that address only. */
	hs_transmit_from(dc, dc->node->n_uplinks > 1 ? to : NULL);
}

int ntm_dc_slot_of(const struct ntm_dcclient *dc, uint64_t id)
{
	for (int i = 0; i < NTM_DC_SLOTS; i++)
		if (dc->slot[i].used && dc->slot[i].s.local_id == id)
			return i;
	return -1;
}

static void on_signal(struct ntm_dcclient *dc, const struct ntm_addr *from, const uint8_t *msg, size_t len)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)msg;
	int slot = ntm_dc_slot_of(dc, be64toh(h->id));
	uint8_t plain[NTM_SIGNAL_MAX];
	size_t plain_len;
	int err;

	if (slot < 0) {
		ntm_debug("dc: signalling of an unknown session");
		return;
	}
	err = ntm_session_open(&dc->slot[slot].s, msg, len, plain, sizeof(plain), &plain_len);
	if (err) {
		ntm_warn_limited("dc: signalling dropped: %s", err == -EALREADY ? "replayed"
							       : err == -ESTALE ? "too old"
										: "not authentic");
		return;
	}
	if (slot == NTM_DC_NEXT) {
		ntm_dc_promote_next(dc);
		slot = NTM_DC_CUR;
	}
	if (slot == NTM_DC_CUR)
		ntm_path_reports_heard(dc->node, dc->slot[slot].s.local_id);
	/* The DC moved, or a NAT before it: answers go where the newest message came from. */
	dc->slot[slot].addr = *from;
	ntm_dc_message(dc, (enum ntm_dc_slot)slot, plain, plain_len);
	ntm_wipe(plain, sizeof(plain));
}

void ntm_dc_input(struct ntm_dcclient *dc, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *msg,
		  size_t len)
{
	switch (ntm_hdr_type((const struct ntm_hdr *)msg)) {
	case NTM_T_SESSION_INIT:
		on_init(dc, from, to, msg, len);
		break;
	case NTM_T_SESSION_RESP:
		on_response(dc, from, to, msg, len);
		break;
	case NTM_T_COOKIE_REPLY:
		on_cookie(dc, to, msg, len);
		break;
	case NTM_T_SIGNAL:
		on_signal(dc, from, msg, len);
		break;
	}
}

int ntm_dc_init(struct ntm_dcclient *dc, struct ntm_node *n)
{
	int err;

	memset(dc, 0, sizeof(*dc));
	dc->node = n;
	dc->keepalive_s = NTM_DC_KEEPALIVE_S;
	ntm_timer_init(&dc->hs_timer, on_hs_timer, dc);
	ntm_timer_init(&dc->lifetime_timer, on_lifetime, dc);
	ntm_dc_init_messages(dc);
	err = ntm_random(&dc->next_txid, sizeof(dc->next_txid));
	if (!err)
		err = ntm_dckeys_init(&dc->keys, &n->conf.dc_keys, n->conf.private_key_file);
	return err ? err : use_key(dc, 0);
}

void ntm_dc_start(struct ntm_dcclient *dc)
{
	dc->started = true;
	if (!dc->hs)
		hs_begin(dc);
}

void ntm_dc_endpoints_changed(struct ntm_dcclient *dc)
{
	dc->endpoint = 0;
	dc->failures = 0;
	dc->retry_ms = 0;
	hs_begin(dc);
}

void ntm_dc_free(struct ntm_dcclient *dc)
{
	hs_stop(dc);
	ntm_timer_stop(&dc->node->timers, &dc->keepalive_timer);
	ntm_timer_stop(&dc->node->timers, &dc->lifetime_timer);
	ntm_dc_requests_free(dc);
	for (int i = 0; i < NTM_DC_SLOTS; i++)
		drop_slot(dc, (enum ntm_dc_slot)i);
	ntm_dckeys_free(&dc->keys);
}

bool ntm_dc_connected(const struct ntm_dcclient *dc)
{
	return dc->slot[NTM_DC_CUR].used && dc->registered;
}

const uint8_t *ntm_dc_session_key(const struct ntm_dcclient *dc)
{
	return ntm_dc_connected(dc) ? dc->slot[NTM_DC_CUR].s.peer_key : NULL;
}

void ntm_dc_renew(struct ntm_dcclient *dc)
{
	if (dc->started)
		hs_begin(dc);
}

void ntm_dc_keys_told(struct ntm_dcclient *dc, const struct ntm_sig *m)
{
	const uint8_t *by = dc->slot[NTM_DC_CUR].s.peer_key;
	char text[NTM_KEY_TEXT_LEN + 1];
	size_t at;

	if (!ntm_dckeys_learn(&dc->keys, m, by))
		return;
	for (size_t i = 0; i < dc->keys.n; i++) {
		ntm_key_to_text(dc->keys.items[i].key, text);
		ntm_info("dc: its %s key is %s", i ? "other" : "current", text);
	}
	at = ntm_dckeys_find(&dc->keys, by);
	if (use_key(dc, 0))
		ntm_warn("dc: its current key cannot be used");
	/* The session's key is about to go: from now on the current one. */
	else if (at < dc->keys.n && dc->keys.items[at].state == NTM_DC_KEY_PREVIOUS)
		hs_begin(dc);
}
