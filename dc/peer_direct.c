/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Directions between zones. The asking node's DC gets the wanted one's record from its DC, makes the path (ID, PSK, a
 * relay of its own, or the one that came with the record) and gives the wanted one's DC its Route Direction to pass on.
 * When both ends ask at once, the DC of the zone whose name sorts first makes the path, and the other one answers its
 * node by that.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"
#include "peers_int.h"

enum { ASKED_MS = 1400 }; /* the outbox gives up before, the node after */

static void drop(struct ntm_dc_peers *ps, struct ntm_dc_asked *a)
{
	TAILQ_REMOVE(&ps->asked, a, link);
	ps->n_asked--;
	free(a);
}

/* The node that asked is told; its session may be gone. */
static void refuse(struct ntm_dc *dc, struct ntm_dc_asked *a, enum ntm_error code, const char *text)
{
	struct ntm_dc_session *s = ntm_dc_session_find(&dc->sessions, a->session_id);

	if (s && s->node)
		ntm_dc_reply_error(dc, s, a->node_txid, code, "%s", text);
	drop(dc->peers, a);
}

void ntm_dc_asked_expire(struct ntm_dc *dc, const struct ntm_dc_peer *away)
{
	uint64_t now = ntm_dc_now(dc);
	struct ntm_dc_asked *a, *next;

	for (a = TAILQ_FIRST(&dc->peers->asked); a; a = next) {
		next = TAILQ_NEXT(a, link);
		if (away ? a->peer == away : now - a->since_ms >= ASKED_MS)
			refuse(dc, a, NTM_E_OFFLINE, "the other zone's DC is away");
	}
}

static bool may_ask(const struct ntm_dc *dc, const struct ntm_dc_session *s, const struct ntm_sig *m, bool *already)
{
	const struct ntm_dc_asked *a;
	unsigned n = 0;

	*already = false;
	TAILQ_FOREACH(a, &dc->peers->asked, link)
	{
		if (a->session_id != s->keys.local_id)
			continue;
		if (a->node_txid == m->txid)
			*already = true;
		n++;
	}
	return n < NTM_DC_ASKED_BY_NODE_MAX && dc->peers->n_asked < NTM_DC_ASKED_MAX;
}

/* The question to the other zone's DC. 0, -ENOMEM, -EBUSY. */
static int ask(struct ntm_dc *dc, struct ntm_dc_peer *peer, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	struct ntm_dc_asked *a = calloc(1, sizeof(*a));
	struct ntm_sig q;
	int err;

	if (!a)
		return -ENOMEM;
	ntm_sig_init(&q, NTM_M_PEER_DIRECTION_REQUEST, 0);
	memcpy(q.public_key, s->node->rec.public_key, sizeof(q.public_key));
	q.have = 1u << NTM_F_NAME | 1u << NTM_F_PUBLIC_KEY;
	if (ntm_sig_has(m, NTM_F_NAME)) {
		for (size_t i = 0; m->name[i]; i++)
			q.wanted[i] = (char)(m->name[i] >= 'A' && m->name[i] <= 'Z' ? m->name[i] + 32 : m->name[i]);
		memcpy(a->wanted, q.wanted, sizeof(a->wanted));
		q.have |= 1u << NTM_F_WANTED;
	} else if (ntm_sig_has(m, NTM_F_VIP4)) {
		memcpy(q.vip4, m->vip4, 4);
		ntm_ip_from_v4(a->vip, q.vip4);
		q.have |= 1u << NTM_F_VIP4;
	} else {
		memcpy(q.vip6, m->vip6, 16);
		memcpy(a->vip, q.vip6, 16);
		q.have |= 1u << NTM_F_VIP6;
	}
	if (ntm_sig_has(m, NTM_F_STALE)) {
		q.stale_path_id = m->stale_path_id;
		q.have |= 1u << NTM_F_STALE;
	}
	err = ntm_dc_node_fqdn(dc, s->node, q.name, sizeof(q.name));
	if (!err)
		err = ntm_dc_outbox_add(&dc->outbox, ntm_dc_peer_self(peer), NULL, &q);
	if (err) {
		free(a);
		return err;
	}
	a->peer = peer;
	a->txid = q.txid;
	a->session_id = s->keys.local_id;
	a->node_txid = m->txid;
	a->stale = ntm_sig_has(m, NTM_F_STALE) ? m->stale_path_id : 0;
	a->since_ms = ntm_dc_now(dc);
	TAILQ_INSERT_TAIL(&dc->peers->asked, a, link);
	dc->peers->n_asked++;
	return 0;
}

static struct ntm_dc_peer *peer_wanted(const struct ntm_dc *dc, const struct ntm_sig *m, struct ntm_dc_node **known)
{
	char name[NTM_NAME_MAX + 1];
	uint8_t ip[16];

	if (ntm_sig_has(m, NTM_F_NAME)) {
		for (size_t i = 0; i < sizeof(name); i++)
			name[i] = (char)(m->name[i] >= 'A' && m->name[i] <= 'Z' ? m->name[i] + 32 : m->name[i]);
		*known = ntm_dc_foreign_by_name(dc, name);
		return ntm_dc_peer_of_name(dc, name);
	}
	if (ntm_sig_has(m, NTM_F_VIP4))
		ntm_ip_from_v4(ip, m->vip4);
	else if (ntm_sig_has(m, NTM_F_VIP6))
		memcpy(ip, m->vip6, sizeof(ip));
	else
		return NULL;
	*known = ntm_dc_foreign_by_vip(dc, ip);
	return ntm_dc_peer_of_vip(dc, ip);
}

bool ntm_dc_peer_direct(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	struct ntm_dc_node *known = NULL;
	struct ntm_dc_peer *peer;
	struct ntm_dc_path *p;
	bool already, allowed;
	int err;

	if (!dc->peers || ntm_sig_has(m, NTM_F_GATEWAY))
		return false;
	peer = peer_wanted(dc, m, &known);
	if (!peer)
		return false;
	if (s->node->relay) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "a relay has no paths to other zones");
		return true;
	}
	if (!ntm_dc_policy_allows(dc->policy, s->node->rec.label, ntm_sig_has(m, NTM_F_NAME) ? m->name : "", NULL)) {
		dc->counters.denials++;
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "not allowed by this zone's policy");
		return true;
	}
	p = known ? ntm_dc_path_find(&dc->paths, s->node, known) : NULL;
	if (p && ntm_dc_path_answers(p, s->node, m, ntm_dc_now(dc))) {
		ntm_dc_direct_to(dc, s, m, known);
		return true;
	}
	allowed = may_ask(dc, s, m, &already);
	if (already)
		return true;
	if (!ntm_dc_peer_is_up(peer)) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_OFFLINE, "the DC of %s is away", ntm_dc_peer_zone(peer));
		return true;
	}
	err = allowed ? ask(dc, peer, s, m) : -EBUSY;
	if (err)
		ntm_dc_reply_error(dc, s, m->txid, err == -EBUSY ? NTM_E_BUSY : NTM_E_INTERNAL,
				   "the DC of %s cannot be asked now", ntm_dc_peer_zone(peer));
	return true;
}

void ntm_dc_peer_direction_answer(struct ntm_dc *dc, struct ntm_dc_peer *peer, const struct ntm_sig *m)
{
	struct ntm_dc_asked *a;
	struct ntm_dc_session *s;
	struct ntm_dc_node *other;
	struct ntm_sig q;
	int err;

	TAILQ_FOREACH(a, &dc->peers->asked, link)
	{
		if (a->txid == m->txid && a->peer == peer)
			break;
	}
	if (!a || a->yielded)
		return;
	if (m->msg == NTM_M_ERROR) {
		if (m->error_code == NTM_E_BUSY) /* its own direction for this pair is on its way */
			a->yielded = true;
		else
			refuse(dc, a, (enum ntm_error)m->error_code, m->error_text);
		return;
	}
	err = ntm_dc_foreign_learn(dc, peer, m, &other);
	if (!err && a->wanted[0] && strcasecmp(m->name, a->wanted))
		err = -EPERM;
	if (err) {
		ntm_warn_limited("peer %s: record of %s refused: %s", ntm_dc_peer_zone(peer), m->name, strerror(-err));
		refuse(dc, a, NTM_E_INTERNAL, "the other zone's DC answered what is not its to say");
		return;
	}
	s = ntm_dc_session_find(&dc->sessions, a->session_id);
	ntm_sig_init(&q, NTM_M_DIRECTION_REQUEST, a->node_txid);
	if (a->stale) {
		q.stale_path_id = a->stale;
		q.have |= 1u << NTM_F_STALE;
	}
	drop(dc->peers, a);
	if (s && s->node)
		ntm_dc_direct_to(dc, s, &q, other);
}

/* Our own node that a peer wants; NULL: an error was answered. */
static struct ntm_dc_node *find_own(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	char label[NTM_LABEL_MAX + 1];
	struct ntm_node_record rec;
	struct ntm_dc_node *node = NULL;
	uint32_t index = 0;
	uint8_t ip[16];
	int err = -ENOENT;

	if (ntm_sig_has(m, NTM_F_WANTED)) {
		if (strchr(m->wanted, '.') && !ntm_dc_label(dc, m->wanted, label)) {
			node = ntm_dc_node_by_label(&dc->nodes, label);
			if (!node)
				err = dc->store->ops->node_by_label(dc->store, label, &rec);
		}
	} else {
		if (ntm_sig_has(m, NTM_F_VIP4))
			ntm_ip_from_v4(ip, m->vip4);
		else
			memcpy(ip, m->vip6, sizeof(ip));
		index = ntm_pool_index(&dc->conf->pool, ip);
		node = index ? ntm_dc_node_by_index(&dc->nodes, index) : NULL;
		if (index && !node)
			err = dc->store->ops->node_by_index(dc->store, index, &rec);
	}
	if (node && ntm_dc_node_reachable(node) && !node->relay)
		return node;
	if (node || (!err && !rec.revoked_s))
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_OFFLINE, "%s is offline", node ? node->rec.label : rec.label);
	else if (!err)
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "%s was revoked", rec.label);
	else if (err == -ENOENT)
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_NO_SUCH_NAME, "no such node in %s", dc->conf->zone);
	else
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_INTERNAL, "the store failed");
	return NULL;
}

/* Our node's own question for a node of that name, still open. */
static struct ntm_dc_asked *asked_by(struct ntm_dc *dc, const struct ntm_dc_node *node, const char *fqdn,
				     const struct ntm_dc_node *foreign)
{
	struct ntm_dc_asked *a;

	TAILQ_FOREACH(a, &dc->peers->asked, link)
	{
		if (!node->session || a->session_id != node->session->keys.local_id)
			continue;
		if (a->wanted[0] ? !strcasecmp(a->wanted, fqdn)
				 : foreign && ntm_dc_foreign_by_vip(dc, a->vip) == foreign)
			return a;
	}
	return NULL;
}

/* For the case that the asking one's DC has none that will do. */
static void offer_relay(struct ntm_dc *dc, const struct ntm_dc_node *node, const struct ntm_sig *m, struct ntm_sig *r)
{
	struct ntm_dc_relay_wish wish = {.ends = {node}};
	const struct ntm_dc_path *dead =
	    ntm_sig_has(m, NTM_F_STALE) ? ntm_dc_path_by_id(&dc->paths, m->stale_path_id) : NULL;
	const struct ntm_dc_relay *relay;

	wish.suspect = dead ? ntm_dc_path_relay(dc, dead) : NULL;
	relay = ntm_dc_relay_choose(&dc->relays, &wish);
	if (!relay)
		return;
	r->relay = relay->info;
	r->have |= 1u << NTM_F_RELAY;
}

static void on_record_request(struct ntm_dc *dc, struct ntm_dc_peer *peer, struct ntm_dc_session *s,
			      const struct ntm_sig *m)
{
	const uint32_t one = m->have & (1u << NTM_F_WANTED | 1u << NTM_F_VIP4 | 1u << NTM_F_VIP6);
	struct ntm_dc_asked *a;
	struct ntm_dc_node *node;
	struct ntm_sig r;
	int err;

	if (!ntm_sig_has(m, NTM_F_NAME) || !ntm_sig_has(m, NTM_F_PUBLIC_KEY) || !one || one & (one - 1)) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_MALFORMED, "who asks for whom?");
		return;
	}
	if (!ntm_dc_peer_owns_name(peer, m->name)) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "%s is no name of %s", m->name,
				   ntm_dc_peer_zone(peer));
		return;
	}
	node = find_own(dc, s, m);
	if (!node)
		return;
	if (!ntm_dc_policy_allows(dc->policy, m->name, node->rec.label, NULL)) {
		dc->counters.denials++;
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "not allowed by this zone's policy");
		return;
	}
	a = asked_by(dc, node, m->name, ntm_dc_foreign_by_name(dc, m->name));
	if (a && strcasecmp(dc->conf->zone, ntm_dc_peer_zone(peer)) < 0) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_BUSY, "this pair is being directed");
		return;
	}
	if (a)
		a->yielded = true;
	ntm_sig_init(&r, NTM_M_PEER_DIRECTION_RESPONSE, m->txid);
	r.reflexive = node->rec.endpoint;
	r.have = 1u << NTM_F_REFLEXIVE;
	offer_relay(dc, node, m, &r);
	err = ntm_dc_describe(dc, node, &r);
	if (err)
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_INTERNAL, "%s", strerror(-err));
	else
		ntm_dc_reply(dc, s, &r);
}

static bool same_relay(const struct ntm_relay_info *a, const struct ntm_relay_info *b)
{
	return !strcmp(a->name, b->name) && ntm_addr_equal(&a->ep4, &b->ep4) && ntm_addr_equal(&a->ep6, &b->ep6);
}

/* Which relay the peer chose; one of ours, that was offered to it, has to be told. */
static int set_relay(struct ntm_dc *dc, struct ntm_dc_path *p, const struct ntm_sig *m)
{
	struct ntm_dc_relay *own, *was = ntm_dc_path_relay(dc, p);

	free(p->peer_relay);
	p->peer_relay = NULL;
	own = ntm_sig_has(m, NTM_F_RELAY) ? ntm_dc_relay_by_name(&dc->relays, m->relay.name) : NULL;
	if (own && !same_relay(&own->info, &m->relay))
		own = NULL;
	if (was && was != own)
		ntm_dc_relay_release(dc, p);
	if (own && own == was)
		return 0;
	p->relay_id = 0;
	if (!ntm_sig_has(m, NTM_F_RELAY))
		return 0;
	if (own && own->node && own->node->session && !(own->bit & p->refused))
		return ntm_dc_relay_take(dc, p, own);
	if (own)
		return 0;
	p->peer_relay = malloc(sizeof(*p->peer_relay));
	if (!p->peer_relay)
		return -ENOMEM;
	*p->peer_relay = m->relay;
	return 0;
}

/* The record of a path that the peer made. */
static int adopt(struct ntm_dc *dc, struct ntm_dc_node *own, struct ntm_dc_node *other, const struct ntm_sig *m,
		 struct ntm_dc_path **out)
{
	struct ntm_dc_path *former = ntm_dc_path_find(&dc->paths, own, other), *p;
	bool initiator = m->role == NTM_ROLE_INITIATOR;
	int err = 0;

	p = ntm_dc_path_by_id(&dc->paths, m->path_id);
	if (p && p != former)
		return -EPERM;
	if (!p) {
		if (former && ntm_dc_path_relay(dc, former))
			ntm_dc_relay_retire(dc, former->id, former->relay_id);
		ntm_dc_outbox_forget(&dc->outbox, own, other);
		err = ntm_dc_path_add(&dc->paths, initiator ? own : other, initiator ? other : own, 0, ntm_dc_now(dc),
				      &p);
		if (err)
			return err;
		ntm_dc_path_saved(&dc->paths, p);
		ntm_dc_path_rename(&dc->paths, p, m->path_id, m->psk);
	}
	*out = p;
	return set_relay(dc, p, m);
}

/* To the question that the node has open, or as a request of ours. */
static int pass_on(struct ntm_dc *dc, struct ntm_dc_path *p, struct ntm_dc_node *own, struct ntm_dc_node *other,
		   const char *fqdn)
{
	struct ntm_dc_asked *a = asked_by(dc, own, fqdn, other);
	struct ntm_sig m;
	int err;

	ntm_sig_init(&m, NTM_M_ROUTE_DIRECTION, a ? a->node_txid : 0);
	err = ntm_dc_fill_direction(dc, p, p->ends[0] == own ? 0 : 1, &m);
	if (!err && a) {
		ntm_dc_outbox_ack(&dc->outbox, ntm_dc_peer_self(a->peer), a->txid, NULL);
		drop(dc->peers, a);
		ntm_dc_reply(dc, own->session, &m);
	} else if (!err) {
		ntm_dc_outbox_forget(&dc->outbox, own, other);
		err = ntm_dc_outbox_add(&dc->outbox, own, other, &m);
	}
	ntm_wipe(m.psk, sizeof(m.psk));
	return err;
}

static void acknowledge(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	struct ntm_sig ack;

	ntm_sig_init(&ack, NTM_M_ROUTE_ACK, m->txid);
	if (ntm_sig_has(m, NTM_F_PATH_ID)) {
		ack.path_id = m->path_id;
		ack.have = 1u << NTM_F_PATH_ID;
	}
	ntm_dc_reply(dc, s, &ack);
}

static bool told_before(const struct ntm_dc *dc, const struct ntm_dc_path *p, const struct ntm_sig *m)
{
	const struct ntm_dc_relay *own = p ? ntm_dc_path_relay(dc, p) : NULL;
	const struct ntm_relay_info *relay = own ? &own->info : p ? p->peer_relay : NULL;

	return p && p->fresh && ntm_dc_path_foreign_end(p) && ntm_equal(p->psk, m->psk, NTM_PSK_LEN) &&
	       !relay == !ntm_sig_has(m, NTM_F_RELAY) && (!relay || same_relay(relay, &m->relay));
}

static void on_direction(struct ntm_dc *dc, struct ntm_dc_peer *peer, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	const uint32_t need =
	    1u << NTM_F_PATH_ID | 1u << NTM_F_ROLE | 1u << NTM_F_PSK | 1u << NTM_F_WANTED | 1u << NTM_F_NAME;
	struct ntm_dc_node *own, *other;
	struct ntm_dc_path *p;
	int err;

	if ((m->have & need) != need || !m->path_id || ntm_sig_has(m, NTM_F_GATEWAY) ||
	    (m->role != NTM_ROLE_INITIATOR && m->role != NTM_ROLE_RESPONDER)) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_MALFORMED, "a direction for another zone lacks something");
		return;
	}
	own = find_own(dc, s, m);
	if (!own)
		return;
	err = ntm_dc_foreign_learn(dc, peer, m, &other);
	if (!err && told_before(dc, ntm_dc_path_by_id(&dc->paths, m->path_id), m) &&
	    ntm_dc_path_by_id(&dc->paths, m->path_id) == ntm_dc_path_find(&dc->paths, own, other)) {
		acknowledge(dc, s, m);
		return;
	}
	if (!err)
		err = adopt(dc, own, other, m, &p);
	if (!err)
		err = pass_on(dc, p, own, other, m->name);
	if (err == -EPERM)
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "not %s's to say", ntm_dc_peer_zone(peer));
	else if (err)
		ntm_dc_reply_error(dc, s, m->txid, err == -EBADMSG ? NTM_E_MALFORMED : NTM_E_INTERNAL, "%s",
				   strerror(-err));
	else
		acknowledge(dc, s, m);
}

void ntm_dc_peer_end_path(struct ntm_dc *dc, struct ntm_dc_path *p)
{
	struct ntm_dc_node *own = p->ends[p->ends[0]->peer ? 1 : 0];

	if (ntm_dc_node_reachable(own))
		ntm_dc_send_release(dc, own, p->id);
	ntm_dc_relay_release(dc, p);
	ntm_dc_path_remove(&dc->paths, p);
}

/* One path, or all those of a key that was revoked there. */
static void on_release(struct ntm_dc *dc, struct ntm_dc_peer *peer, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	struct ntm_dc_path *p, *next;
	struct ntm_dc_node *end;

	if (ntm_sig_has(m, NTM_F_PATH_ID)) {
		p = ntm_dc_path_by_id(&dc->paths, m->path_id);
		end = p ? ntm_dc_path_foreign_end(p) : NULL;
		if (end && end->peer == peer)
			ntm_dc_peer_end_path(dc, p);
	} else if (ntm_sig_has(m, NTM_F_PUBLIC_KEY)) {
		end = ntm_dc_foreign_by_key(dc, m->public_key);
		for (p = end && end->peer == peer ? TAILQ_FIRST(&dc->paths.all) : NULL; p; p = next) {
			next = TAILQ_NEXT(p, link);
			if (p->ends[0] == end || p->ends[1] == end)
				ntm_dc_peer_end_path(dc, p);
		}
	}
	acknowledge(dc, s, m);
}

void ntm_dc_peer_request(struct ntm_dc *dc, struct ntm_dc_peer *peer, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	if (m->msg == NTM_M_PEER_DIRECTION_REQUEST)
		on_record_request(dc, peer, s, m);
	else if (m->msg == NTM_M_ROUTE_DIRECTION)
		on_direction(dc, peer, s, m);
	else
		on_release(dc, peer, s, m);
}

void ntm_dc_peer_release(struct ntm_dc *dc, const struct ntm_dc_path *p)
{
	struct ntm_dc_node *end = ntm_dc_path_foreign_end(p);

	if (end && ntm_dc_peer_is_up(end->peer))
		ntm_dc_send_release(dc, ntm_dc_peer_self(end->peer), p->id);
}

void ntm_dc_peers_revoked(struct ntm_dc *dc, const uint8_t key[NTM_DH_LEN])
{
	struct ntm_sig m;
	int err;

	for (size_t i = 0; dc->peers && i < dc->peers->n; i++) {
		struct ntm_dc_peer *peer = &dc->peers->items[i];

		ntm_sig_init(&m, NTM_M_RELEASE, 0);
		memcpy(m.public_key, key, sizeof(m.public_key));
		m.have = 1u << NTM_F_PUBLIC_KEY;
		err = ntm_dc_outbox_add(&dc->outbox, ntm_dc_peer_self(peer), NULL, &m);
		if (err)
			ntm_warn("peer %s was not told of a revocation: %s", ntm_dc_peer_zone(peer), strerror(-err));
	}
}
