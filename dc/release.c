/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of paths: an end says so, or the operator revokes one. Peers and relays are told. */
#include <inttypes.h>
#include <string.h>

#include "../user/common/log.h"
#include "clock.h"
#include "dc.h"

void ntm_dc_release(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	static struct ntm_log_limit limit;
	struct ntm_path_record rec;
	struct ntm_dc_path *p;

	if (!ntm_sig_has(m, NTM_F_PATH_ID)) {
		ntm_log_limited(&limit, NTM_LOG_INFO, "%s leaves", s->node->rec.label);
		ntm_dc_event(dc, "offline", NULL, s->node->rec.label, "it left");
		ntm_dc_node_offline(&dc->nodes, s->node);
		ntm_dc_dns_moved(dc, &s->node->rec);
		ntm_dc_cluster_changed(dc, s->node);
		if (s->node->relay)
			ntm_dc_relay_update(dc, s->node->relay);
		return;
	}
	p = ntm_dc_path_by_id(&dc->paths, m->path_id);
	if (!p && !s->remote)
		ntm_dc_cluster_heard(dc, s->node, m);
	if (!p || (p->ends[0] != s->node && p->ends[1] != s->node))
		return;
	rec = (struct ntm_path_record){.id = p->id, .nodes = {p->ends[0]->rec.id, p->ends[1]->rec.id}};
	ntm_dc_peer_release(dc, p);
	if (!p->unsaved.waits && !ntm_dc_path_foreign_end(p))
		ntm_dc_write_gone(dc, &rec);
	ntm_dc_relay_release(dc, p);
	ntm_dc_path_remove(&dc->paths, p);
}

void ntm_dc_send_release(struct ntm_dc *dc, struct ntm_dc_node *to, uint64_t path_id)
{
	struct ntm_sig m;
	int err;

	ntm_sig_init(&m, NTM_M_RELEASE, 0);
	m.path_id = path_id;
	m.have = 1u << NTM_F_PATH_ID;
	err = ntm_dc_outbox_add(&dc->outbox, to, NULL, &m);
	if (err)
		ntm_warn("%s was not told that path %016" PRIx64 " ended: %s", to->rec.label, path_id, strerror(-err));
}

void ntm_dc_release_at_relays(struct ntm_dc *dc, uint64_t path_id)
{
	for (unsigned i = 0; i < dc->relays.n; i++) {
		const struct ntm_dc_relay *r = dc->relays.items[i];

		if (r->node && r->node->online)
			ntm_dc_send_release(dc, r->node, path_id);
	}
}

struct revocation {
	struct ntm_dc *dc;
	bool ours; /* this process's, not one of another that it heard of */
};

/*
 * A node that is away hears of it when it comes back (ntm_dc_check_paths), one of another process from that, and from
 * the process that revoked: its own may not be able to ask the store.
 */
static int release_at_peer(void *arg, uint64_t path_id, const uint8_t peer_key[NTM_DH_LEN])
{
	const struct revocation *r = arg;
	struct ntm_dc *dc = r->dc;
	struct ntm_dc_node *peer = ntm_dc_node_by_key(&dc->nodes, peer_key);

	if (peer && peer->online && (!peer->at || r->ours))
		ntm_dc_send_release(dc, peer, path_id);
	if (!ntm_dc_path_by_id(&dc->paths, path_id))
		ntm_dc_release_at_relays(dc, path_id);
	return 0;
}

struct repetition {
	struct ntm_dc *dc;
	struct ntm_dc_node *node;
};

static int release_again(void *arg, uint64_t path_id, const uint8_t peer_key[NTM_DH_LEN])
{
	struct repetition *r = arg;

	(void)peer_key;
	ntm_dc_send_release(r->dc, r->node, path_id);
	return 0;
}

static int repeat_releases(struct ntm_dc *dc, struct ntm_dc_node *node)
{
	struct repetition r = {dc, node};
	int err = dc->store->ops->each_path(dc->store, node->rec.id, true, release_again, &r);

	if (err)
		ntm_warn_limited("%s may not know of all paths that ended, until the store can be asked",
				 node->rec.label);
	return err;
}

void ntm_dc_check_paths(struct ntm_dc *dc, struct ntm_dc_node *node)
{
	int err = repeat_releases(dc, node), policy = ntm_dc_policy_recheck(dc, node);

	node->unchecked = err || policy;
	dc->unchecked |= node->unchecked;
}

static void check_again(void *arg, struct ntm_dc_node *node)
{
	struct ntm_dc *dc = arg;

	if (!node->unchecked)
		return;
	if (dc->unchecked || node->at) /* it failed for one already; or another process sees to this one */
		node->unchecked = !node->at;
	else
		ntm_dc_check_paths(dc, node);
}

void ntm_dc_check_paths_again(struct ntm_dc *dc)
{
	if (!dc->unchecked)
		return;
	dc->unchecked = false;
	ntm_dc_nodes_each(&dc->nodes, check_again, dc);
}

static void forget_paths(struct ntm_dc *dc, const struct ntm_dc_node *node)
{
	struct ntm_dc_path *p, *next;

	for (p = TAILQ_FIRST(&dc->paths.all); p; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->ends[0] != node && p->ends[1] != node)
			continue;
		/* what the store had not learnt of yet, whoever revoked the node did not know of */
		if ((p->unsaved.waits || p->unsaved.taken) && p->ends[p->ends[0] == node]->online)
			ntm_dc_send_release(dc, p->ends[p->ends[0] == node], p->id);
		ntm_dc_relay_release(dc, p);
		ntm_dc_path_remove(&dc->paths, p);
	}
}

static void forget(struct ntm_dc *dc, const struct ntm_node_record *rec, bool ours)
{
	struct ntm_dc_node *node = ntm_dc_node_by_key(&dc->nodes, rec->public_key);
	struct revocation r = {dc, ours};

	ntm_dc_dns_changed(dc, rec);
	ntm_dc_invite_arrived(dc, rec->public_key);
	if (node)
		ntm_dc_outbox_forget(&dc->outbox, node, NULL);
	if (dc->store->ops->each_path(dc->store, rec->id, false, release_at_peer, &r))
		ntm_warn("%s: not all peers were told", rec->label);
	ntm_dc_path_report_revoked(dc, rec->id);
	if (!node)
		return;
	forget_paths(dc, node);
	if (node->session) {
		ntm_dc_reply_error(dc, node->session, 0, NTM_E_DENIED, "this key was revoked");
		ntm_dc_session_remove(&dc->sessions, node->session);
	}
	ntm_dc_cluster_forget(dc, node);
	if (node->relay) {
		node->relay->node = NULL;
		ntm_dc_relay_update(dc, node->relay);
	}
	ntm_dc_node_remove(&dc->nodes, node);
}

void ntm_dc_revoked(struct ntm_dc *dc, const struct ntm_node_record *rec)
{
	forget(dc, rec, false);
}

int ntm_dc_revoke(struct ntm_dc *dc, const char *label)
{
	struct ntm_node_record rec;
	int err;

	ntm_dc_write_all(dc); /* its newest paths are released with the others */
	err = dc->store->ops->revoke(dc->store, label, ntm_dc_wall_s(), &rec);
	if (err)
		return err;
	ntm_info("%s revoked", label);
	ntm_dc_audit(dc, "dc", "revoked", label, NULL);
	ntm_dc_peers_revoked(dc, rec.public_key);
	ntm_dc_cluster_revoked(dc, &rec);
	forget(dc, &rec, true);
	return 0;
}
