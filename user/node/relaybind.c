/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A path's binding at its RS: a bind says "this end of the path is at the address that this came from", the RS answers
 * what it saw. The binding is kept warm whatever route is in use, so that falling back costs no round trip.
 *
 * Each bind has a sequence number of its own, resends too: an RS that sees the same number from another address (a NAT
 * in between has changed its mind) stays silent. The number is stored before it is used, so it outlives the agent.
 *
 *   first binds: 50 ms, doubling, families in turn ──answered──► refreshed before a NAT forgets
 *                      ▲                                              │ 3 lost within a second
 *                      └── 1 s, doubling to 30 s ◄── asks the DC ─────┘
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../common/crypto.h"
#include "../common/relay_crypto.h"
#include "node.h"

enum {
	FIRST_MS = 50,
	FIRST_TRIES = 5,  /* doubling; then with back-off */
	LONELY_TRIES = 6, /* 100 ms, doubling: is the other end bound by now? */
	IN_USE_MS = 20000,
	REFRESH_WAIT_MS = 300,
	REFRESH_TRIES = 3,
	BACKOFF_MIN_MS = 1000,
	BACKOFF_MAX_MS = 30000,
	SPREAD_MS = 2048, /* adopted paths bind over this time */
	LAZY_MS = 30000,  /* no hurry for another RS while this one is not in use */
};

static uint64_t now_ns(const struct ntm_tunnel *t)
{
	return ntm_timers_ns(&t->node->timers);
}

bool ntm_bind_has(const struct ntm_tunnel *t)
{
	return t->bind.relay.ep4.port || t->bind.relay.ep6.port;
}

const char *ntm_bind_name(const struct ntm_tunnel *t)
{
	const struct ntm_relay_info *r = &t->bind.relay;
	const char *name = r->name[0] ? r->name : ntm_relays_name(t->node, &r->ep4);

	/* Adopted: the name comes with the offers. */
	if (!name)
		name = ntm_relays_name(t->node, &r->ep6);
	return name ? name : "unknown";
}

static const struct ntm_addr *endpoint_of(const struct ntm_relay_info *r, bool v6)
{
	return v6 ? &r->ep6 : &r->ep4;
}

static bool usable(const struct ntm_tunnel *t, bool v6)
{
	return endpoint_of(&t->bind.relay, v6)->port && ntm_node_has_family(t->node, v6);
}

struct ntm_addr ntm_bind_endpoint(const struct ntm_tunnel *t)
{
	return usable(t, t->bind.v6) ? *endpoint_of(&t->bind.relay, t->bind.v6) : (struct ntm_addr){0};
}

static bool same(const struct ntm_relay_info *r, const struct ntm_addr *a)
{
	return a->port && (ntm_addr_equal(a, &r->ep4) || ntm_addr_equal(a, &r->ep6));
}

bool ntm_bind_is_relay(const struct ntm_tunnel *t, const struct ntm_addr *a)
{
	return same(&t->bind.relay, a) || same(&t->bind.former, a);
}

static void arm(struct ntm_tunnel *t, uint64_t ms)
{
	ntm_timer_arm(&t->node->timers, &t->bind.timer, ms);
}

static uint64_t refresh_wait_ms(const struct ntm_binding *b)
{
	uint64_t ms = (uint64_t)(1.5 * b->rtt_ms) + 50;

	return ms > REFRESH_WAIT_MS ? ms : REFRESH_WAIT_MS;
}

/* What is in use is to be heard of in time: that it will drain, or is gone. */
static uint64_t refresh_ms(const struct ntm_tunnel *t)
{
	uint64_t ms = ntm_mapping_keepalive_ms(t->node);

	return t->route.kind == NTM_ROUTE_RELAY && ms > IN_USE_MS ? IN_USE_MS : ms;
}

/* request: what to piggyback, NULL: nothing. from: NULL: where the node sends from now. */
static void send_bind_from(struct ntm_tunnel *t, const struct ntm_tunnel_req *request, const uint8_t from[16])
{
	struct ntm_node *n = t->node;
	struct ntm_path_agent *rec = n->dp->ops->agent_record(n->dp, t->id);
	struct ntm_binding *b = &t->bind;
	struct ntm_bind_sent *slot = &b->sent[0];
	struct ntm_relay_bind_request msg = {0};
	size_t len = request ? sizeof(msg) : sizeof(struct ntm_relay_bind);
	struct ntm_addr to;
	uint8_t src[16];
	int err;

	if (!usable(t, b->v6))
		b->v6 = !b->v6;
	to = ntm_bind_endpoint(t);
	if (!rec || !to.port)
		return;
	msg.hdr.ver_type = NTM_WIRE_VERSION << 4 | NTM_T_TUNNEL_REQ;
	msg.hdr.id = htobe64(t->id);
	if (request) {
		msg.hdr = request->hdr;
		memcpy(msg.request, (const uint8_t *)request + sizeof(request->hdr), sizeof(msg.request));
	}
	msg.seq = htobe64(++rec->relay_seq);
	for (unsigned i = 1; i < NTM_BINDS_MAX; i++)
		if (b->sent[i].seq < slot->seq)
			slot = &b->sent[i];
	*slot = (struct ntm_bind_sent){.seq = rec->relay_seq, .at_ns = now_ns(t), .v6 = b->v6};
	if (b->tries < UINT8_MAX)
		b->tries++;
	err = ntm_bind_sign(b->key, &msg, len);
	if (!err)
		err = n->net.send(n->net.arg, &to, from ? from : ntm_node_source(n, &to, src), &msg, len,
				  NTM_SEND_NORMAL);
	if (err)
		ntm_debug("path %016" PRIx64 ": bind not sent: %s", t->id, strerror(-err));
}

static void send_bind(struct ntm_tunnel *t, const struct ntm_tunnel_req *request)
{
	send_bind_from(t, request, NULL);
}

static uint64_t last_sent_ns(const struct ntm_binding *b)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < NTM_BINDS_MAX; i++)
		if (b->sent[i].at_ns > last)
			last = b->sent[i].at_ns;
	return last;
}

static const struct ntm_tunnel_req *pending_request(const struct ntm_tunnel *t)
{
	return t->hs && !t->has_keys ? &t->hs->msg : NULL;
}

/* Not bound: two tries by one family, two by the other. */
static void take_turns(struct ntm_tunnel *t)
{
	if (t->bind.tries && t->bind.tries % 2 == 0 && usable(t, !t->bind.v6))
		t->bind.v6 = !t->bind.v6;
}

/* Tries soon, then seldom. */
static void seek(struct ntm_tunnel *t)
{
	struct ntm_binding *b = &t->bind;
	uint64_t most;

	take_turns(t);
	send_bind(t, pending_request(t));
	if (b->tries <= FIRST_TRIES && !b->backoff_ms) {
		arm(t, (uint64_t)FIRST_MS << (b->tries ? b->tries - 1 : 0));
		return;
	}
	most = ntm_live_wanted(t) ? NTM_WANTED_MS : BACKOFF_MAX_MS;
	b->backoff_ms = b->backoff_ms ? 2 * b->backoff_ms : BACKOFF_MIN_MS;
	if (b->backoff_ms > most)
		b->backoff_ms = most;
	arm(t, b->backoff_ms);
}

static void lost(struct ntm_tunnel *t)
{
	struct ntm_binding *b = &t->bind;
	char text[NTM_ADDR_STRLEN];

	if (t->state != NTM_TUN_OLD)
		ntm_info("path to %s: relay %s does not answer", ntm_tunnel_label(t, text), ntm_bind_name(t));
	b->bound = b->peer = false;
	b->tries = 0;
	b->backoff_ms = 0;
	b->redirect_next_ms = now_ns(t) / 1000000u + LAZY_MS;
	if (t->route.kind == NTM_ROUTE_RELAY && t->state != NTM_TUN_OLD && ntm_live_recent(t))
		ntm_live_redirect(t);
	ntm_proof_doubt(t->node);
	seek(t);
}

static void on_timer(void *arg)
{
	struct ntm_tunnel *t = arg;
	struct ntm_binding *b = &t->bind;

	if (t->state == NTM_TUN_OLD && t->route.kind != NTM_ROUTE_RELAY)
		return;
	if (b->bound) {
		if (b->tries >= REFRESH_TRIES) {
			lost(t);
			return;
		}
		send_bind(t, NULL);
		arm(t, refresh_wait_ms(b));
		return;
	}
	/* Its RS worked once and is gone: the path shall have a net again. One that never did is no worse than none. */
	if (b->bound_ns && b->redirect_next_ms && now_ns(t) / 1000000u >= b->redirect_next_ms &&
	    t->state == NTM_TUN_UP && ntm_live_recent(t)) {
		b->redirect_next_ms = now_ns(t) / 1000000u + LAZY_MS;
		ntm_live_redirect(t);
	}
	seek(t);
}

void ntm_bind_request(struct ntm_tunnel *t)
{
	if (!ntm_bind_has(t))
		return;
	if (!t->bind.bound)
		take_turns(t);
	send_bind(t, pending_request(t));
	/* The handshake resends it, sooner than this. */
	arm(t, 2 * REFRESH_WAIT_MS);
}

void ntm_bind_now(struct ntm_tunnel *t)
{
	struct ntm_binding *b = &t->bind;

	if (!ntm_bind_has(t) || now_ns(t) - last_sent_ns(b) < FIRST_MS * 1000000ull)
		return;
	b->backoff_ms = 0;
	if (!b->bound) {
		b->tries = 0;
		seek(t);
		return;
	}
	send_bind(t, NULL);
	arm(t, refresh_wait_ms(b));
}

void ntm_bind_moved(struct ntm_tunnel *t)
{
	struct ntm_binding *b = &t->bind;

	if (!ntm_bind_has(t))
		return;
	/* Those under way were sent from where this host no longer is. */
	b->tries = 0;
	b->backoff_ms = 0;
	send_bind(t, pending_request(t));
	arm(t, FIRST_MS + (uint64_t)(1.25 * b->rtt_ms));
}

void ntm_bind_early(struct ntm_tunnel *t, const uint8_t from[16])
{
	const struct ntm_path_agent *rec = t->node->dp->ops->agent_record(t->node->dp, t->id);
	struct ntm_binding *b = &t->bind;

	if (!rec || !usable(t, b->v6))
		return;
	if (!b->early_seq)
		b->early_seq = rec->relay_seq + 1;
	b->early = true;
	send_bind_from(t, NULL, from);
	arm(t, refresh_wait_ms(b));
}

/* The endpoint is still the RS before this one, or this one by the family that is no longer bound. */
static void follow_binding(struct ntm_tunnel *t)
{
	struct ntm_addr to = ntm_bind_endpoint(t);
	struct ntm_dp_stats s;

	if (!t->has_keys || t->node->dp->ops->stats(t->node->dp, t->id, &s) || !ntm_bind_is_relay(t, &s.endpoint) ||
	    ntm_addr_equal(&s.endpoint, &to))
		return;
	if (!ntm_route_set(t, &to, 0, "another relay")) {
		ntm_path_send(t, NULL, 0, false);
		ntm_live_probe(t);
	}
}

/* Said in each answer until it is gone: asked again if the DC had no other one yet. */
static void draining(struct ntm_tunnel *t, bool news)
{
	char text[NTM_ADDR_STRLEN];

	if (news)
		ntm_info("path to %s: relay %s is about to go", ntm_tunnel_label(t, text), ntm_bind_name(t));
	if (t->route.kind == NTM_ROUTE_RELAY && t->state == NTM_TUN_UP)
		ntm_live_redirect(t);
}

static void bound(struct ntm_tunnel *t, const struct ntm_bind_sent *sent, const struct ntm_relay_bound *msg)
{
	struct ntm_binding *b = &t->bind;
	uint16_t flags = be16toh(msg->flags);
	bool new_peer = !b->peer && flags & NTM_BOUND_PEER;
	bool new_drain = !b->draining && flags & NTM_BOUND_DRAINING;
	bool early = b->early_seq && sent->seq >= b->early_seq;
	double ms = (double)(now_ns(t) - sent->at_ns) / 1e6, before_ms = b->rtt_ms;
	struct ntm_addr observed;

	b->answered_seq = sent->seq;
	b->v6 = sent->v6;
	b->rtt_ms = b->rtt_ms > 0 ? b->rtt_ms * 0.875 + ms * 0.125 : ms;
	b->bound = true;
	b->bound_ns = now_ns(t);
	b->peer = flags & NTM_BOUND_PEER;
	b->draining = flags & NTM_BOUND_DRAINING;
	b->tries = 0;
	b->backoff_ms = 0;
	memcpy(observed.ip, msg->observed, 16);
	observed.port = msg->observed_port;
	/* Another mapping, by the same family, and nothing has changed here: others may be new, too. */
	if (!b->early && b->observed.port && !ntm_addr_equal(&observed, &b->observed) &&
	    ntm_ip_is_v4(observed.ip) == ntm_ip_is_v4(b->observed.ip))
		ntm_mobility_mapped_anew(t->node);
	b->observed = observed;
	b->lonely = (uint8_t)(b->peer ? 0 : b->lonely + (b->lonely < LONELY_TRIES));
	if (b->peer || b->lonely == LONELY_TRIES)
		arm(t, refresh_ms(t));
	else
		arm(t, (uint64_t)FIRST_MS << b->lonely);
	if (new_peer && t->hs && !t->has_keys)
		ntm_hs_resend(t);
	if (b->peer)
		follow_binding(t);
	/* A check that was sent along with the bind may have overtaken it. */
	ntm_live_probe_relay(t);
	ntm_move_bound(t, ms, before_ms);
	if (b->draining)
		draining(t, new_drain);
	if (early) {
		b->early_seq = 0;
		ntm_handoff_answered(t->node);
	}
}

void ntm_bind_answer(struct ntm_node *n, const struct ntm_addr *from, const uint8_t *msg, size_t len)
{
	const struct ntm_relay_bound *m = (const struct ntm_relay_bound *)msg;
	struct ntm_tunnel *t;

	if (len != sizeof(*m))
		return;
	t = ntm_tunnel_by_id(n, be64toh(m->hdr.id));
	if (!t || !same(&t->bind.relay, from) || !ntm_bind_verify(t->bind.key, msg, len))
		return;
	/* An older one than was answered says where we were before. */
	for (unsigned i = 0; i < NTM_BINDS_MAX; i++) {
		struct ntm_bind_sent sent = t->bind.sent[i];

		if (!sent.at_ns || sent.seq != be64toh(m->seq) || sent.seq <= t->bind.answered_seq)
			continue;
		t->bind.sent[i].at_ns = 0;
		bound(t, &sent, m);
		return;
	}
	/* The answer to the last bind again, with news. */
	if (be64toh(m->seq) == t->bind.answered_seq && t->bind.bound && be16toh(m->flags) & NTM_BOUND_DRAINING &&
	    !t->bind.draining) {
		t->bind.draining = true;
		draining(t, true);
	}
}

static void remember(struct ntm_path_agent *rec, const struct ntm_relay_info *r)
{
	memcpy(rec->relay4, r->ep4.ip + 12, sizeof(rec->relay4));
	memcpy(rec->relay6, r->ep6.ip, sizeof(rec->relay6));
	rec->relay4_port = r->ep4.port;
	rec->relay6_port = r->ep6.port;
}

static void recall(const struct ntm_path_agent *rec, struct ntm_relay_info *r)
{
	*r = (struct ntm_relay_info){0};
	if (rec->relay4_port) {
		ntm_ip_from_v4(r->ep4.ip, rec->relay4);
		r->ep4.port = rec->relay4_port;
	}
	if (rec->relay6_port) {
		memcpy(r->ep6.ip, rec->relay6, sizeof(r->ep6.ip));
		r->ep6.port = rec->relay6_port;
	}
}

static int make_key(struct ntm_tunnel *t, const struct ntm_path_agent *rec)
{
	uint8_t secret[NTM_KEY_LEN];
	int err = ntm_relay_secret(rec->psk, secret);

	if (!err)
		err = ntm_relay_end_key(secret, t->role, t->bind.key);
	ntm_wipe(secret, sizeof(secret));
	return err;
}

void ntm_bind_set(struct ntm_tunnel *t, const struct ntm_relay_info *relay)
{
	struct ntm_path_agent *rec = t->node->dp->ops->agent_record(t->node->dp, t->id);
	struct ntm_binding *b = &t->bind;
	struct ntm_relay_info former = b->relay;
	bool adopted = !relay;
	struct ntm_dp_stats s;

	if (!rec)
		return;
	if (relay && ntm_addr_equal(&relay->ep4, &b->relay.ep4) && ntm_addr_equal(&relay->ep6, &b->relay.ep6)) {
		memcpy(b->relay.name, relay->name, sizeof(b->relay.name));
		return;
	}
	if (make_key(t, rec)) {
		ntm_err("path %016" PRIx64 ": no relay key", t->id);
		return;
	}
	ntm_bind_stop(t);
	memset(b->sent, 0, sizeof(b->sent));
	b->bound = b->peer = b->draining = false;
	b->tries = b->lonely = 0;
	b->bound_ns = b->backoff_ms = b->redirect_next_ms = 0;
	b->rtt_ms = 0;
	b->former = former;
	if (relay) {
		b->relay = *relay;
		remember(rec, relay);
	} else {
		recall(rec, &b->relay);
	}
	b->v6 = ntm_relays_prefer_v6(t->node, &b->relay);
	/* What is in use is bound. */
	if (adopted && !t->node->dp->ops->stats(t->node->dp, t->id, &s) && same(&b->relay, &s.endpoint))
		b->v6 = !ntm_ip_is_v4(s.endpoint.ip);
	if (!ntm_bind_has(t))
		return;
	if (adopted)
		arm(t, 1 + t->id % SPREAD_MS);
	else if (t->role == NTM_ROLE_RESPONDER || t->has_keys || t->hs)
		seek(t);
	/* else the handshake's first transmission does it */
}

void ntm_bind_stop(struct ntm_tunnel *t)
{
	ntm_timer_stop(&t->node->timers, &t->bind.timer);
}

void ntm_bind_init_timer(struct ntm_tunnel *t)
{
	ntm_timer_init(&t->bind.timer, on_timer, t);
}
