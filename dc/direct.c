/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Direction: which two nodes get a path, its ID, its PSK and where each finds the other. Real addresses leave the DC in
 * Route Directions only.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

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

/* The Route Direction for ends[mine]. */
static int fill_direction(const struct ntm_dc *dc, const struct ntm_dc_path *p, int mine, struct ntm_sig *m)
{
	const struct ntm_dc_node *other = p->ends[!mine];
	struct ntm_candidate reflexive = {.addr = other->rec.endpoint, .kind = NTM_CAND_REFLEXIVE};
	int err = ntm_dc_fqdn(dc, other->rec.label, m->name, sizeof(m->name));

	if (err)
		return err;
	m->path_id = p->id;
	m->role = mine == 0 ? NTM_ROLE_INITIATOR : NTM_ROLE_RESPONDER;
	memcpy(m->public_key, other->rec.public_key, sizeof(m->public_key));
	memcpy(m->psk, p->psk, sizeof(m->psk));
	ntm_pool_addresses(&dc->conf->pool, other->rec.index, m->vip4, m->vip6);
	m->have = 1u << NTM_F_PATH_ID | 1u << NTM_F_ROLE | 1u << NTM_F_PUBLIC_KEY | 1u << NTM_F_PSK | 1u << NTM_F_NAME |
		  1u << NTM_F_VIP4 | 1u << NTM_F_VIP6;
	if (other->mtu) {
		m->mtu = other->mtu;
		m->have |= 1u << NTM_F_MTU;
	}
	/* room for the reflexive one is kept: behind a NAT it is the only one of use */
	for (unsigned i = 0; i < other->n_candidates && m->n_candidates < NTM_CANDIDATES_MAX - 1; i++) {
		if (!ntm_pool_contains(&dc->conf->pool, other->candidates[i].addr.ip))
			add_candidate(m, &other->candidates[i]);
	}
	add_candidate(m, &reflexive);
	m->have |= 1u << NTM_F_CANDIDATE;
	return 0;
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
	} else {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_MALFORMED, "a direction request needs a name or an address");
		return NULL;
	}
	if (node && node->online && node->session)
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

/* Is the pair's record an answer to this request of node `who`? */
static bool answers(const struct ntm_dc_path *p, const struct ntm_dc_node *who, const struct ntm_sig *m, uint64_t now)
{
	if (!p->fresh || (ntm_sig_has(m, NTM_F_STALE) && m->stale_path_id == p->id))
		return false;
	for (int i = 0; i < 2; i++) {
		/* an end that came with a new session may have lost what it was told */
		if (!p->ends[i]->session || p->ends[i]->session->keys.local_id != p->sessions[i])
			return false;
	}
	return now - p->created_ms < NTM_DC_COALESCE_MS || (p->ends[0] == who && p->txid == m->txid);
}

/* New paths a node may ask for: 500 a second, 2,000 at once. One node can't fill the outbox for all others. */
static bool take_budget(struct ntm_dc_node *n, uint64_t now)
{
	uint64_t more = (now - n->budget_ms) * NEW_PATHS_PER_S / 1000;

	if (more) {
		n->budget = n->budget + more > NEW_PATHS_BURST ? NEW_PATHS_BURST : n->budget + (uint32_t)more;
		n->budget_ms = now;
	}
	if (!n->budget)
		return false;
	n->budget--;
	return true;
}

void ntm_dc_direct(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	struct ntm_dc_node *me = s->node, *other = find_target(dc, s, m);
	uint64_t now = ntm_dc_now(dc);
	struct ntm_sig mine, theirs;
	struct ntm_dc_path *p;
	bool made = false;
	int err = 0;

	if (!other)
		return;
	if (other == me) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "a node has no path to itself");
		return;
	}
	ntm_sig_init(&mine, NTM_M_ROUTE_DIRECTION, m->txid);
	ntm_sig_init(&theirs, NTM_M_ROUTE_DIRECTION, 0);
	p = ntm_dc_path_find(&dc->paths, me, other);
	if (!p || !answers(p, me, m, now)) {
		if (!take_budget(me, now)) {
			ntm_dc_reply_error(dc, s, m->txid, NTM_E_BUSY, "too many new paths: try again");
			return;
		}
		/* a copy of the former direction must not arrive behind the new one */
		if (p && now - p->created_ms < NTM_DC_COALESCE_MS)
			ntm_dc_outbox_forget(&dc->outbox, me, other);
		err = ntm_dc_path_add(&dc->paths, me, other, m->txid, now, &p);
		made = !err;
		if (!err)
			err = fill_direction(dc, p, 1, &theirs);
		if (!err)
			err = ntm_dc_outbox_add(&dc->outbox, other, me, &theirs);
	}
	if (!err)
		err = fill_direction(dc, p, p->ends[0] == me ? 0 : 1, &mine);
	if (err) {
		if (made)
			ntm_dc_path_remove(&dc->paths, p);
		ntm_dc_reply_error(dc, s, m->txid, err == -EBUSY ? NTM_E_BUSY : NTM_E_INTERNAL, "%s",
				   err == -EBUSY ? "too many directions under way: try again" : strerror(-err));
	} else {
		dc->counters.directions++;
		ntm_debug("path %016" PRIx64 ": %s asks for %s", p->id, me->rec.label, other->rec.label);
		ntm_dc_reply(dc, s, &mine);
	}
	ntm_wipe(mine.psk, sizeof(mine.psk));
	ntm_wipe(theirs.psk, sizeof(theirs.psk));
}

void ntm_dc_release(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	static struct ntm_log_limit limit;
	struct ntm_path_record rec;
	struct ntm_dc_path *p;

	if (!ntm_sig_has(m, NTM_F_PATH_ID)) {
		ntm_log_limited(&limit, NTM_LOG_INFO, "%s leaves", s->node->rec.label);
		ntm_dc_node_offline(&dc->nodes, s->node);
		return;
	}
	p = ntm_dc_path_by_id(&dc->paths, m->path_id);
	if (!p || (p->ends[0] != s->node && p->ends[1] != s->node))
		return;
	rec = (struct ntm_path_record){.id = p->id, .nodes = {p->ends[0]->rec.id, p->ends[1]->rec.id}};
	if (!p->unsaved)
		dc->store->ops->remove_path(dc->store, &rec);
	ntm_dc_path_remove(&dc->paths, p);
}

static int send_release(struct ntm_dc *dc, struct ntm_dc_node *to, uint64_t path_id)
{
	struct ntm_sig m;
	int err;

	ntm_sig_init(&m, NTM_M_RELEASE, 0);
	m.path_id = path_id;
	m.have = 1u << NTM_F_PATH_ID;
	err = ntm_dc_outbox_add(&dc->outbox, to, NULL, &m);
	if (err)
		ntm_warn("%s was not told that path %016" PRIx64 " ended: %s", to->rec.label, path_id, strerror(-err));
	return 0;
}

/* A node that is away hears of it when it comes back (ntm_dc_repeat_releases). */
static int release_at_peer(void *arg, uint64_t path_id, const uint8_t peer_key[NTM_DH_LEN])
{
	struct ntm_dc *dc = arg;
	struct ntm_dc_node *peer = ntm_dc_node_by_key(&dc->nodes, peer_key);

	return peer && peer->online ? send_release(dc, peer, path_id) : 0;
}

struct repetition {
	struct ntm_dc *dc;
	struct ntm_dc_node *node;
};

static int release_again(void *arg, uint64_t path_id, const uint8_t peer_key[NTM_DH_LEN])
{
	struct repetition *r = arg;

	(void)peer_key;
	return send_release(r->dc, r->node, path_id);
}

void ntm_dc_repeat_releases(struct ntm_dc *dc, struct ntm_dc_node *node)
{
	struct repetition r = {dc, node};

	if (dc->store->ops->each_path(dc->store, node->rec.id, true, release_again, &r))
		ntm_warn_limited("%s may not know of all paths that ended", node->rec.label);
}

static void forget_paths(struct ntm_dc *dc, const struct ntm_dc_node *node)
{
	struct ntm_dc_path *p, *next;

	for (p = TAILQ_FIRST(&dc->paths.all); p; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->ends[0] == node || p->ends[1] == node)
			ntm_dc_path_remove(&dc->paths, p);
	}
}

int ntm_dc_revoke(struct ntm_dc *dc, const char *label)
{
	struct ntm_node_record rec;
	struct ntm_dc_node *node;
	int err;

	ntm_dc_write_behind(dc, true); /* its newest paths are released with the others */
	err = dc->store->ops->revoke(dc->store, label, time(NULL), &rec);
	if (err)
		return err;
	ntm_info("%s revoked", label);
	ntm_dc_invite_arrived(dc, rec.public_key);
	node = ntm_dc_node_by_key(&dc->nodes, rec.public_key);
	if (node)
		ntm_dc_outbox_forget(&dc->outbox, node, NULL);
	if (dc->store->ops->each_path(dc->store, rec.id, false, release_at_peer, dc))
		ntm_warn("%s: not all peers were told", label);
	if (!node)
		return 0;
	forget_paths(dc, node);
	if (node->session) {
		ntm_dc_reply_error(dc, node->session, 0, NTM_E_DENIED, "this key was revoked");
		ntm_dc_session_remove(&dc->sessions, node->session);
	}
	ntm_dc_node_remove(&dc->nodes, node);
	return 0;
}
