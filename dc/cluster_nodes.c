/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where nodes are, told by each process to all others. A process's nodes stand in one list in the order of their last
 * change, each with a number (seq) that only grows; a node that changes goes to its end. To each other process the list
 * is sent from where that one has it; what it did not get is sent again. So whoever is new, or was away, gets each node
 * once, as it is, and a change costs one datagram a process, however many nodes there are.
 *
 * A node with sessions at two processes is the one's where it got its session later, by a clock that they share: the
 * real-time one, pushed ahead by each time that is heard of (a hybrid logical clock).
 */
#include <errno.h>
#include <string.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"
#include "cluster_int.h"

enum {
	AGAIN_MS = 150, /* what was not acknowledged by then is sent again */
	OWES_MAX = 64,
};

/* Takes it off the list; who was to be sent it next goes on behind it. */
static void unlist(struct ntm_dc_cluster *c, struct ntm_dc_node *node)
{
	if (!node->told)
		return;
	for (unsigned i = 0; i < c->n; i++) {
		if (c->items[i]->next == node)
			c->items[i]->next = TAILQ_NEXT(node, told_link);
	}
	TAILQ_REMOVE(&c->told, node, told_link);
	node->told = false;
}

void ntm_dc_cluster_forget(struct ntm_dc *dc, struct ntm_dc_node *node)
{
	struct ntm_dc_cluster *c = dc->cluster;

	if (!c)
		return;
	unlist(c, node);
	if (node->at && c->stats.nodes_elsewhere)
		c->stats.nodes_elsewhere--;
	c->gone[c->n_gone++ % NTM_DC_GONE_MAX] = node->rec.id;
}

void ntm_dc_cluster_changed(struct ntm_dc *dc, struct ntm_dc_node *node)
{
	struct ntm_dc_cluster *c = dc->cluster;

	/* one that never had a session here is not ours to speak of */
	if (!c || node->peer || node->at || !node->claim)
		return;
	unlist(c, node);
	node->seq = ++c->seq;
	node->told = true;
	TAILQ_INSERT_TAIL(&c->told, node, told_link);
	for (unsigned i = 0; i < c->n; i++) {
		if (!c->items[i]->next)
			c->items[i]->next = node;
	}
}

static void set_place(struct ntm_dc *dc, struct ntm_dc_node *node, struct ntm_dc_process *at)
{
	if (!node->at && at)
		dc->cluster->stats.nodes_elsewhere++;
	if (node->at && !at)
		dc->cluster->stats.nodes_elsewhere--;
	node->at = at;
}

void ntm_dc_cluster_claim(struct ntm_dc *dc, struct ntm_dc_node *node)
{
	if (!dc->cluster || node->peer)
		return;
	if (node->at || node->orphaned_ms)
		dc->cluster->stats.adopted++;
	set_place(dc, node, NULL);
	node->orphaned_ms = 0;
	node->claim = ntm_dc_cluster_stamp(dc->cluster);
	ntm_dc_node_mark_dirty(&dc->nodes, node); /* the store is to know whose it is */
	ntm_dc_cluster_changed(dc, node);
}

static void fill(const struct ntm_dc *dc, const struct ntm_dc_node *n, struct ntm_cluster *m)
{
	m->fields |= 1u << NTM_CF_CLAIM | 1u << NTM_CF_NODE_ID | 1u << NTM_CF_INDEX | 1u << NTM_CF_LABEL |
		     1u << NTM_CF_PUBLIC_KEY | 1u << NTM_CF_FLAGS | 1u << NTM_CF_ENDPOINT | 1u << NTM_CF_VIA |
		     1u << NTM_CF_MTU;
	m->claim = n->claim;
	m->node_id = n->rec.id;
	m->index = n->rec.index;
	memcpy(m->label, n->rec.label, sizeof(m->label));
	memcpy(m->public_key, n->rec.public_key, sizeof(m->public_key));
	m->flags = (uint8_t)((n->online ? NTM_CFL_ONLINE : 0) | (n->rec.relay ? NTM_CFL_RELAY : 0));
	m->endpoint = n->rec.endpoint;
	m->via = n->rec.via;
	m->mtu = n->mtu;
	m->n_candidates = n->n_candidates;
	if (n->n_candidates)
		memcpy(m->candidates, n->candidates, n->n_candidates * sizeof(m->candidates[0]));
	/* relays have other numbers there: by name */
	for (unsigned i = 0; i < n->n_rtts && m->n_rtts < NTM_RELAY_OFFERS_MAX; i++) {
		const struct ntm_dc_relay *r = ntm_dc_relay_by_id(&dc->relays, n->rtts[i].relay_id);

		if (!r)
			continue;
		memcpy(m->rtts[m->n_rtts].name, r->info.name, sizeof(r->info.name));
		m->rtts[m->n_rtts++].rtt_us = n->rtts[i].rtt_us;
	}
	if (n->relay) {
		m->load = n->relay->load;
		m->fields |= 1u << NTM_CF_LOAD;
	}
}

void ntm_dc_cluster_restart(struct ntm_dc *dc, struct ntm_dc_process *p, uint64_t have)
{
	struct ntm_dc_node *n = TAILQ_LAST(&dc->cluster->told, ntm_dc_told_list);

	if (have > dc->cluster->seq)
		have = 0;
	p->next = NULL;
	for (; n && n->seq > have; n = TAILQ_PREV(n, ntm_dc_told_list, told_link))
		p->next = n;
	p->sent = p->acked = have;
	p->n_way = 0;
	p->progress_ms = ntm_dc_now(dc);
}

static void send_have(struct ntm_dc *dc, struct ntm_dc_process *p)
{
	const struct ntm_cluster m = {.msg = NTM_C_HAVE, .fields = 1u << NTM_CF_HAVE, .have = p->have};

	ntm_dc_cluster_send(dc, p, &m);
	p->owes = 0;
}

void ntm_dc_cluster_tell(struct ntm_dc *dc, struct ntm_dc_process *p)
{
	uint64_t now = ntm_dc_now(dc);

	if (!p->up)
		return;
	if (p->owes)
		send_have(dc, p);
	if (!p->n_way)
		p->progress_ms = now;
	else if (now - p->progress_ms >= AGAIN_MS)
		ntm_dc_cluster_restart(dc, p, p->acked);
	while (p->next && p->n_way < NTM_DC_WINDOW) {
		struct ntm_cluster m = {
		    .msg = NTM_C_NODE,
		    .fields = 1u << NTM_CF_SEQ | 1u << NTM_CF_PREV | 1u << NTM_CF_STAMP,
		    .seq = p->next->seq,
		    .prev = p->sent,
		    .stamp = dc->cluster->stamp,
		};

		fill(dc, p->next, &m);
		ntm_dc_cluster_send(dc, p, &m);
		p->sent = p->next->seq;
		p->way[(p->first_way + p->n_way++) % NTM_DC_WINDOW] = p->sent;
		p->next = TAILQ_NEXT(p->next, told_link);
		dc->cluster->stats.told++;
	}
}

void ntm_dc_cluster_acked(struct ntm_dc *dc, struct ntm_dc_process *p, uint64_t have)
{
	if (have == p->acked)
		return;
	/* it has forgotten, having taken us for dead, or has more than we remember to have sent */
	if (have < p->acked || have > p->sent)
		ntm_dc_cluster_restart(dc, p, have);
	for (; p->n_way && p->way[p->first_way] <= have; p->n_way--)
		p->first_way = (p->first_way + 1) % NTM_DC_WINDOW;
	p->acked = have;
	p->progress_ms = ntm_dc_now(dc);
	ntm_dc_cluster_tell(dc, p);
}

void ntm_dc_cluster_not_gone(struct ntm_dc *dc, uint64_t id)
{
	for (unsigned i = 0; i < NTM_DC_GONE_MAX; i++) {
		if (dc->cluster->gone[i] == id)
			dc->cluster->gone[i] = 0;
	}
	/* Backwards: what takes an entry's place has been looked at. */
	for (unsigned i = dc->cluster->n_revoked; i-- > 0;) {
		if (dc->cluster->revoked[i].node_id == id)
			dc->cluster->revoked[i] = dc->cluster->revoked[--dc->cluster->n_revoked];
	}
}

static bool gone(const struct ntm_dc_cluster *c, uint64_t id)
{
	for (unsigned i = 0; i < NTM_DC_GONE_MAX && i < c->n_gone; i++) {
		if (c->gone[i] == id)
			return true;
	}
	return false;
}

/* The node that is spoken of; NULL: none that may be. */
static struct ntm_dc_node *find(struct ntm_dc *dc, const struct ntm_cluster *m)
{
	struct ntm_dc_node *node = ntm_dc_node_by_key(&dc->nodes, m->public_key);
	struct ntm_node_record rec = {.id = m->node_id, .index = m->index, .relay = m->flags & NTM_CFL_RELAY};

	/* a relay may have got another name, and the key of a revoked one another number */
	if (node && (node->rec.id != m->node_id || node->rec.index != m->index || strcmp(node->rec.label, m->label))) {
		ntm_dc_revoked(dc, &node->rec);
		ntm_dc_cluster_not_gone(dc, m->node_id);
		node = NULL;
	}
	if (node || !(m->flags & NTM_CFL_ONLINE) || gone(dc->cluster, m->node_id))
		return node;
	memcpy(rec.label, m->label, sizeof(rec.label));
	memcpy(rec.public_key, m->public_key, sizeof(rec.public_key));
	node = ntm_dc_node_rekeyed(dc, &rec);
	if (node)
		return node;
	node = ntm_dc_node_add(&dc->nodes, &rec);
	if (!node)
		return NULL;
	ntm_dc_dns_heard(dc, &rec);
	node->relay = ntm_dc_relay_by_key(&dc->relays, rec.public_key);
	if (node->relay)
		node->relay->node = node;
	return node;
}

static void take_over(struct ntm_dc *dc, struct ntm_dc_process *p, struct ntm_dc_node *node,
		      const struct ntm_cluster *m)
{
	bool online = m->flags & NTM_CFL_ONLINE;

	if (node->session)
		ntm_dc_session_remove(&dc->sessions, node->session);
	unlist(dc->cluster, node);
	ntm_dc_node_elsewhere(&dc->nodes, node, online, ntm_dc_now(dc));
	set_place(dc, node, online ? p : NULL);
	node->orphaned_ms = 0;
	node->claim = m->claim;
	node->rec.endpoint = m->endpoint;
	node->rec.via = m->via;
	node->mtu = m->mtu;
	if (ntm_dc_node_set_candidates(node, m->candidates, m->n_candidates))
		ntm_warn_limited("%s: out of memory", node->rec.label);
	ntm_dc_invite_arrived(dc, node->rec.public_key);
	if (node->relay && m->fields & 1u << NTM_CF_LOAD)
		ntm_dc_relay_report(dc, node->relay, &m->load);
	else if (node->relay)
		ntm_dc_relay_update(dc, node->relay);
	else
		ntm_dc_relay_rtts(&dc->relays, node, m->rtts, m->n_rtts);
	ntm_dc_dns_moved(dc, &node->rec);
}

void ntm_dc_cluster_on_node(struct ntm_dc *dc, struct ntm_dc_process *p, const struct ntm_cluster *m)
{
	const uint32_t need = 1u << NTM_CF_SEQ | 1u << NTM_CF_PREV | 1u << NTM_CF_CLAIM | 1u << NTM_CF_NODE_ID |
			      1u << NTM_CF_INDEX | 1u << NTM_CF_LABEL | 1u << NTM_CF_PUBLIC_KEY | 1u << NTM_CF_FLAGS |
			      1u << NTM_CF_ENDPOINT | 1u << NTM_CF_VIA;
	struct ntm_dc_node *node;

	if ((m->fields & need) != need || !m->index)
		return;
	/* one before it was lost: they come again; or it came before: then it is to be acknowledged again */
	if (m->prev > p->have || m->seq <= p->have) {
		p->owes++;
		return;
	}
	p->have = m->seq;
	if (++p->owes >= OWES_MAX)
		send_have(dc, p);
	dc->cluster->stats.heard++;
	node = find(dc, m);
	if (!node)
		return;
	if ((node->session || (node->at && node->at != p)) && node->claim > m->claim) {
		ntm_dc_cluster_changed(dc, node); /* that one is to know */
		return;
	}
	/* one that is nobody's may have been claimed by who died after the other's word was sent */
	if (node->orphaned_ms && node->claim > m->claim && !(m->flags & NTM_CFL_ONLINE))
		return;
	take_over(dc, p, node, m);
}

bool ntm_dc_cluster_orphaned(const struct ntm_dc *dc, const struct ntm_dc_node *node)
{
	return node->orphaned_ms && ntm_dc_now(dc) - node->orphaned_ms < NTM_DC_ORPHAN_MS;
}

bool ntm_dc_cluster_mine(const struct ntm_dc *dc, const struct ntm_dc_node *node)
{
	const struct ntm_dc_cluster *c = dc->cluster;
	unsigned n = 1, rank = 0;

	for (unsigned i = 0; c && i < c->n; i++) {
		n += c->items[i]->up;
		rank += c->items[i]->up && c->items[i]->holder < c->holder;
	}
	return node->rec.id % n == rank;
}

struct orphans {
	struct ntm_dc *dc;
	struct ntm_dc_process *dead;
	size_t n;
};

static void make_orphan(void *arg, struct ntm_dc_node *node)
{
	struct orphans *o = arg;

	if (node->at != o->dead)
		return;
	set_place(o->dc, node, NULL);
	if (!node->online)
		return;
	node->orphaned_ms = ntm_dc_now(o->dc);
	/* it has its lifetime to come to one of us, as if it had been heard of now */
	ntm_dc_node_seen(&o->dc->nodes, node, node->orphaned_ms);
	o->n++;
	if (ntm_dc_cluster_mine(o->dc, node))
		ntm_dc_invite(o->dc, node);
}

void ntm_dc_cluster_orphan(struct ntm_dc *dc, struct ntm_dc_process *dead)
{
	struct orphans o = {.dc = dc, .dead = dead};

	ntm_dc_nodes_each(&dc->nodes, make_orphan, &o);
	if (o.n)
		ntm_info("%zu nodes were at that process", o.n);
}

static void invite_orphan(void *arg, struct ntm_dc_node *node)
{
	if (node->orphaned_ms && node->online)
		ntm_dc_invite(arg, node);
}

void ntm_dc_cluster_invite_all(struct ntm_dc *dc)
{
	ntm_dc_nodes_each(&dc->nodes, invite_orphan, dc);
}
