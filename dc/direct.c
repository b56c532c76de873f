/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Direction: which two nodes get a path, its ID, its PSK and where each finds the other. Real addresses leave the DC in
 * Route Directions only.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"
#include "dc.h"

enum { NEW_PATHS_PER_S = 500, NEW_PATHS_BURST = 2000 };

static void add_candidate(struct ntm_sig *m, const struct ntm_candidate *c)
{
	for (unsigned i = 0; i < m->n_candidates; i++) {
		if (ntm_addr_equal(&m->candidates[i].addr, &c->addr))
			return;
	}
	if (m->n_candidates < NTM_CANDIDATES_MAX)
		m->candidates[m->n_candidates++] = *c;
}

/* A relay that is an end itself is where the configuration says, whatever it thinks. */
static void add_relays_own(struct ntm_sig *m, const struct ntm_relay_info *info)
{
	const struct ntm_addr *addrs[] = {&info->ep4, &info->ep6};

	for (int i = 0; i < 2; i++) {
		struct ntm_candidate c = {.addr = *addrs[i], .kind = NTM_CAND_HOST};

		if (c.addr.port)
			add_candidate(m, &c);
	}
}

int ntm_dc_describe(const struct ntm_dc *dc, const struct ntm_dc_node *node, struct ntm_sig *m)
{
	struct ntm_candidate reflexive = {.addr = node->rec.endpoint, .kind = NTM_CAND_REFLEXIVE};
	int err = ntm_dc_node_fqdn(dc, node, m->name, sizeof(m->name));

	if (err)
		return err;
	memcpy(m->public_key, node->rec.public_key, sizeof(m->public_key));
	ntm_dc_node_vips(dc, node, m->vip4, m->vip6);
	m->have |= 1u << NTM_F_PUBLIC_KEY | 1u << NTM_F_NAME | 1u << NTM_F_VIP4 | 1u << NTM_F_VIP6;
	if (node->mtu) {
		m->mtu = node->mtu;
		m->have |= 1u << NTM_F_MTU;
	}
	if (node->relay)
		add_relays_own(m, &node->relay->info);
	/* room for the reflexive one is kept: behind a NAT it is the only one of use */
	for (unsigned i = 0; i < node->n_candidates && m->n_candidates < NTM_CANDIDATES_MAX - 1; i++) {
		if (!ntm_pool_contains(&dc->conf->pool, node->candidates[i].addr.ip))
			add_candidate(m, &node->candidates[i]);
	}
	if (reflexive.addr.port)
		add_candidate(m, &reflexive);
	if (m->n_candidates)
		m->have |= 1u << NTM_F_CANDIDATE;
	return 0;
}

/* What only the DC of an end of another zone needs to know, and what only our own node does. */
static int fill_zones(const struct ntm_dc *dc, const struct ntm_dc_path *p, int mine, struct ntm_sig *m)
{
	const struct ntm_dc_node *me = p->ends[mine], *other = p->ends[!mine];

	if (me->peer) {
		m->reflexive = other->rec.endpoint;
		m->have |= 1u << NTM_F_WANTED | 1u << NTM_F_REFLEXIVE;
		return ntm_dc_node_fqdn(dc, me, m->wanted, sizeof(m->wanted));
	}
	if (other->peer && ntm_dc_peer_zone_of(dc, other->peer, &m->peer_zones[0])) {
		m->n_peer_zones = 1;
		m->have |= 1u << NTM_F_PEER_ZONE;
	}
	return 0;
}

/* The Route Direction for ends[mine]. */
int ntm_dc_fill_direction(const struct ntm_dc *dc, const struct ntm_dc_path *p, int mine, struct ntm_sig *m)
{
	const struct ntm_dc_relay *relay = ntm_dc_path_relay(dc, p);
	int err = ntm_dc_describe(dc, p->ends[!mine], m);

	if (!err)
		err = fill_zones(dc, p, mine, m);
	if (err)
		return err;
	m->path_id = p->id;
	m->role = mine == 0 ? NTM_ROLE_INITIATOR : NTM_ROLE_RESPONDER;
	memcpy(m->psk, p->psk, sizeof(m->psk));
	m->have |= 1u << NTM_F_PATH_ID | 1u << NTM_F_ROLE | 1u << NTM_F_PSK;
	if (!ntm_dc_path_foreign_end(p)) {
		ntm_dc_ticket_write(p, &m->tickets[0]);
		m->n_tickets = 1;
		m->have |= NTM_SIG_BIT(NTM_F_PATH_TICKET);
	}
	if (p->gateway) {
		m->gateway = 1;
		m->have |= 1u << NTM_F_GATEWAY;
	}
	if (relay || p->peer_relay) {
		m->relay = relay ? relay->info : *p->peer_relay;
		m->have |= 1u << NTM_F_RELAY;
	}
	return 0;
}

/* Does the policy forbid this node a path to that label ("": to no node at all)? Then an error was answered. */
static bool denied(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m, const char *label)
{
	unsigned line;

	if (ntm_dc_policy_allows(dc->policy, s->node->rec.label, label, &line))
		return false;
	dc->counters.denials++;
	if (line)
		ntm_debug("%s may not reach %s: %s:%u", s->node->rec.label, label, dc->conf->policy_file, line);
	else
		ntm_debug("%s may not reach %s: the policy's default", s->node->rec.label, label);
	ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "not allowed by this zone's policy");
	return true;
}

/* The node asked for; NULL: an error was answered. */
static struct ntm_dc_node *find_target(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	const struct ntm_store_ops *ops = dc->store->ops;
	struct ntm_dc_node *node = NULL;
	char label[NTM_LABEL_MAX + 1];
	struct ntm_node_record rec;
	uint8_t ip[16];
	uint32_t index = 0;
	int err = -ENOENT;

	if (ntm_sig_has(m, NTM_F_NAME)) {
		if (!ntm_dc_label(dc, m->name, label)) {
			/* before anything is looked up: the answer is the same whether there is such a node */
			if (denied(dc, s, m, label))
				return NULL;
			node = ntm_dc_node_by_label(&dc->nodes, label);
			if (!node)
				err = ops->node_by_label(dc->store, label, &rec);
		}
	} else if (ntm_sig_has(m, NTM_F_VIP4) || ntm_sig_has(m, NTM_F_VIP6)) {
		if (ntm_sig_has(m, NTM_F_VIP4))
			ntm_ip_from_v4(ip, m->vip4);
		else
			memcpy(ip, m->vip6, sizeof(ip));
		index = ntm_pool_index(&dc->conf->pool, ip);
		node = index ? ntm_dc_node_by_index(&dc->nodes, index) : NULL;
		if (index && !node)
			err = ops->node_by_index(dc->store, index, &rec);
		if (denied(dc, s, m, node ? node->rec.label : err ? "" : rec.label))
			return NULL;
	} else {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_MALFORMED, "a direction request needs a name or an address");
		return NULL;
	}
	if (node && node->relay && !ntm_dc_relay_is_gateway(node->relay)) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_OFFLINE, "%s is a relay", node->rec.label);
		return NULL;
	}
	if (node && ntm_dc_node_reachable(node))
		return node;
	/* on its way to another process: the request comes again in a moment */
	if (node && ntm_dc_cluster_orphaned(dc, node))
		return NULL;
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

/* Is the pair's record an answer to this request of node `who`? */
bool ntm_dc_path_answers(const struct ntm_dc_path *p, const struct ntm_dc_node *who, const struct ntm_sig *m,
			 uint64_t now)
{
	if (!p->fresh || (ntm_sig_has(m, NTM_F_STALE) && m->stale_path_id == p->id))
		return false;
	for (int i = 0; i < 2; i++) {
		if (p->ends[i]->peer)
			continue;
		/* an end that came with a new session may have lost what it was told */
		if (!p->sessions[i] || ntm_dc_node_binding(p->ends[i]) != p->sessions[i])
			return false;
	}
	return now - p->created_ms < NTM_DC_COALESCE_MS || (p->ends[0] == who && p->txid == m->txid);
}

/* New paths a node may ask for: 500 a second, 2,000 at once. One node can't fill the outbox for all others. */
bool ntm_dc_take_budget(struct ntm_dc_node *n, uint64_t now, unsigned paths)
{
	uint64_t more = (now - n->budget_ms) * NEW_PATHS_PER_S / 1000;

	if (more) {
		n->budget = n->budget + more > NEW_PATHS_BURST ? NEW_PATHS_BURST : n->budget + (uint32_t)more;
		n->budget_ms = now;
	}
	if (n->budget < paths)
		return false;
	n->budget -= paths;
	return true;
}

static void tell_path(struct ntm_dc *dc, const struct ntm_dc_path *p)
{
	const struct ntm_dc_relay *relay = ntm_dc_path_relay(dc, p);
	char other[NTM_NAME_MAX + 1], detail[NTM_LABEL_MAX + 32];

	if (ntm_dc_node_fqdn(dc, p->ends[1], other, sizeof(other)))
		return;
	snprintf(detail, sizeof(detail), "%016" PRIx64 "%s%s", p->id,
		 relay        ? ", relay "
		 : p->gateway ? ", gateway"
			      : "",
		 relay ? relay->info.name : "");
	ntm_dc_event(dc, "path", p->ends[0]->rec.label, other, detail);
}

/* A new path between the two, told to its responder and its relay; the initiator's answer is the caller's to send. */
static int make_path(struct ntm_dc *dc, struct ntm_dc_node *me, struct ntm_dc_node *other, const struct ntm_sig *m,
		     bool gateway, struct ntm_dc_path **out)
{
	struct ntm_dc_path *former = ntm_dc_path_find(&dc->paths, me, other), *p;
	struct ntm_dc_relay *was = former ? ntm_dc_path_relay(dc, former) : NULL, *r;
	uint64_t now = ntm_dc_now(dc), former_id = former ? former->id : 0;
	bool dead = former && ntm_sig_has(m, NTM_F_STALE) && m->stale_path_id == former_id;
	struct ntm_sig theirs;
	int err;

	/* a copy of the former direction must not arrive behind the new one */
	if (former && now - former->created_ms < NTM_DC_COALESCE_MS)
		ntm_dc_outbox_forget(&dc->outbox, me, other);
	err = ntm_dc_path_add(&dc->paths, me, other, m->txid, now, &p);
	if (err)
		return err;
	if (me->peer || other->peer)
		ntm_dc_path_saved(&dc->paths, p); /* the store knows nodes of its own zone only */
	else
		err = ntm_dc_ticket_sign(&dc->ids, p);
	if (was)
		ntm_dc_relay_retire(dc, former_id, was->id);
	p->gateway = gateway;
	if (gateway) {
		r = other->relay ? other->relay : me->relay;
		p->relay_id = r->id;
		r->directed++;
	} else if (!me->relay && !other->relay) {
		ntm_dc_relay_direct(dc, p, dead ? was : NULL);
	}
	ntm_sig_init(&theirs, NTM_M_ROUTE_DIRECTION, 0);
	if (!err)
		err = ntm_dc_fill_direction(dc, p, 1, &theirs);
	if (!err)
		err = ntm_dc_outbox_add(&dc->outbox, other, me, &theirs);
	ntm_wipe(theirs.psk, sizeof(theirs.psk));
	if (err) {
		ntm_dc_relay_release(dc, p);
		ntm_dc_path_remove(&dc->paths, p);
		return err;
	}
	tell_path(dc, p);
	*out = p;
	return 0;
}

/* The gateway for this node: the one it was given for this very request, else the best. NULL: an error was answered. */
static struct ntm_dc_node *find_gateway(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	struct ntm_dc_node *me = s->node;
	struct ntm_dc_path *p = ntm_dc_path_by_id(&dc->paths, me->gateway_path);
	struct ntm_dc_relay_wish wish = {.ends = {me}, .gateway = true};
	struct ntm_dc_relay *r;

	if (me->relay) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "a relay has no gateway");
		return NULL;
	}
	if (p && p->gateway && (p->ends[0] == me || p->ends[1] == me)) {
		if (ntm_dc_path_answers(p, me, m, ntm_dc_now(dc)))
			return p->ends[p->ends[0] == me];
		if (ntm_sig_has(m, NTM_F_STALE) && m->stale_path_id == p->id)
			wish.suspect = ntm_dc_relay_by_id(&dc->relays, p->relay_id);
	}
	for (unsigned i = 0; i < dc->relays.n; i++) {
		if (!ntm_dc_policy_allows(dc->policy, me->rec.label, dc->relays.items[i]->info.name, NULL))
			wish.refused |= dc->relays.items[i]->bit;
	}
	r = ntm_dc_relay_choose(&dc->relays, &wish);
	if (r)
		return r->node;
	ntm_dc_reply_error(dc, s, m->txid, NTM_E_OFFLINE, "no gateway is online");
	return NULL;
}

/* The other end; NULL: an error was answered. *gateway: is this to be a gateway's path? */
static struct ntm_dc_node *find_other(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m,
				      bool *gateway)
{
	struct ntm_dc_node *me = s->node, *other;
	struct ntm_dc_path *p;

	*gateway = ntm_sig_has(m, NTM_F_GATEWAY) && m->gateway;
	if (*gateway && (m->gateway != 1 || m->have & (1u << NTM_F_NAME | 1u << NTM_F_VIP4 | 1u << NTM_F_VIP6))) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_MALFORMED, "either a gateway is wanted or a node");
		return NULL;
	}
	if (me->relay && !ntm_dc_relay_is_gateway(me->relay)) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "a relay has no paths of its own");
		return NULL;
	}
	if (*gateway)
		return find_gateway(dc, s, m);
	other = find_target(dc, s, m);
	if (other == me) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "a node has no path to itself");
		return NULL;
	}
	if (other && (me->relay || other->relay)) {
		/* the pair has one path: what goes through the gateway must not end by a look at the gateway */
		p = ntm_dc_path_find(&dc->paths, me, other);
		*gateway = p && p->gateway;
	}
	return other;
}

static void direct(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m, struct ntm_dc_node *other,
		   bool gateway)
{
	struct ntm_dc_node *me = s->node;
	uint64_t now = ntm_dc_now(dc);
	struct ntm_dc_path *p;
	struct ntm_sig mine;
	uint64_t began_ns = uv_hrtime();
	int err = 0;

	p = ntm_dc_path_find(&dc->paths, me, other);
	if (!p || p->gateway != gateway || !ntm_dc_path_answers(p, me, m, now)) {
		if (!ntm_dc_take_budget(me, now, 1)) {
			ntm_dc_reply_error(dc, s, m->txid, NTM_E_BUSY, "too many new paths: try again");
			return;
		}
		err = make_path(dc, me, other, m, gateway, &p);
	}
	ntm_sig_init(&mine, NTM_M_ROUTE_DIRECTION, m->txid);
	if (!err)
		err = ntm_dc_fill_direction(dc, p, p->ends[0] == me ? 0 : 1, &mine);
	if (err) {
		ntm_dc_reply_error(dc, s, m->txid, err == -EBUSY ? NTM_E_BUSY : NTM_E_INTERNAL, "%s",
				   err == -EBUSY ? "too many directions under way: try again" : strerror(-err));
	} else {
		if (gateway && !me->relay)
			me->gateway_path = p->id;
		dc->counters.directions++;
		ntm_debug("path %016" PRIx64 ": %s asks for %s", p->id, me->rec.label, other->rec.label);
		ntm_dc_reply(dc, s, &mine);
		ntm_histogram_observe(&dc->direction_seconds, (double)(uv_hrtime() - began_ns) / 1e9);
	}
	ntm_wipe(mine.psk, sizeof(mine.psk));
}

void ntm_dc_direct_to(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m, struct ntm_dc_node *other)
{
	direct(dc, s, m, other, false);
}

void ntm_dc_direct(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	struct ntm_dc_node *other;
	bool gateway;

	if (!s->remote && ntm_dc_peer_direct(dc, s, m))
		return;
	other = find_other(dc, s, m, &gateway);
	if (other && (gateway || !ntm_dc_cluster_direct(dc, s, m, other)))
		direct(dc, s, m, other, gateway);
}

void ntm_dc_direct_again(struct ntm_dc *dc, struct ntm_dc_path *p)
{
	struct ntm_sig m;

	ntm_dc_outbox_forget(&dc->outbox, p->ends[0], p->ends[1]);
	for (int i = 0; i < 2; i++) {
		int err;

		ntm_sig_init(&m, NTM_M_ROUTE_DIRECTION, 0);
		err = ntm_dc_fill_direction(dc, p, i, &m);
		if (!err)
			err = ntm_dc_outbox_add(&dc->outbox, p->ends[i], p->ends[!i], &m);
		if (err)
			ntm_warn_limited("%s was not told of its path's new relay: %s", p->ends[i]->rec.label,
					 strerror(-err));
	}
	ntm_wipe(m.psk, sizeof(m.psk));
}
