/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Paths are written behind, so a process that is killed takes the last ones with it. Nodes report those to the one that
 * comes after it, by tickets (ticket.h). What is taken over is a row of the store, as the former process would have
 * written it, and no more: a ticket says nothing but what the DC itself said, and replaces nothing that is as new.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../user/common/log.h"
#include "clock.h"
#include "dc.h"

/* The other end of the path. */
struct end {
	struct ntm_dc_node *node; /* NULL: not here since this process began */
	char label[NTM_LABEL_MAX + 1];
	bool gone; /* revoked */
};

/* 0, or -EIO: the store cannot say. */
static int find_end(struct ntm_dc *dc, const struct ntm_dc_ticket *t, int i, struct end *e)
{
	struct ntm_dc_node *node = ntm_dc_node_by_index(&dc->nodes, t->index[i]);
	struct ntm_node_record rec = {0};
	int err = 0;

	*e = (struct end){.node = node && node->rec.id == t->nodes[i] ? node : NULL};
	if (e->node)
		rec = e->node->rec;
	else
		err = dc->store->ops->node_by_index(dc->store, t->index[i], &rec);
	if (err && err != -ENOENT)
		return err;
	/* or its address is another node's by now */
	e->gone = err || rec.id != t->nodes[i] || rec.revoked_s;
	snprintf(e->label, sizeof(e->label), "%s", rec.label);
	return 0;
}

/* Nothing is to be learnt from this one. */
static bool known(const struct ntm_dc *dc, const struct ntm_dc_node *me, const struct end *e,
		  const struct ntm_dc_ticket *t)
{
	const struct ntm_dc_path *p = e->node ? ntm_dc_path_find(&dc->paths, me, e->node) : NULL;

	return ntm_dc_path_by_id(&dc->paths, t->path_id) || (p && p->created_s >= t->created_s) ||
	       t->created_s < ntm_dc_wall_s() - NTM_DC_PATH_KEEP_S;
}

/* 0, -EBADMSG: not a path of this node's that the DC made; -EIO. */
static int take_over(struct ntm_dc *dc, struct ntm_dc_node *me, const struct ntm_path_ticket *in)
{
	struct ntm_path_record rec;
	struct ntm_dc_ticket t;
	struct end other;
	int err = ntm_dc_ticket_open(&dc->ids, in, &t);

	if (!err && t.nodes[0] != me->rec.id && t.nodes[1] != me->rec.id)
		err = -EBADMSG;
	if (!err)
		err = find_end(dc, &t, t.nodes[0] == me->rec.id, &other);
	if (err)
		return err;
	if (known(dc, me, &other, &t))
		return 0;
	rec = (struct ntm_path_record){.id = t.path_id, .nodes = {t.nodes[0], t.nodes[1]}, .created_s = t.created_s};
	err = ntm_dc_write_taken(dc, &rec, t.index);
	if (err)
		return err;
	dc->counters.paths_taken++;
	ntm_debug("path %016" PRIx64 " is taken over from %s", t.path_id, me->rec.label);
	if (!other.gone && ntm_dc_pair_allowed(dc, me->rec.label, other.label))
		return 0;
	ntm_info("path %016" PRIx64 " of %s ends: the other end was revoked, or the policy forbids it", t.path_id,
		 me->rec.label);
	ntm_dc_send_release(dc, me, t.path_id);
	if (other.node && other.node->online)
		ntm_dc_send_release(dc, other.node, t.path_id);
	ntm_dc_release_at_relays(dc, t.path_id);
	return 0;
}

void ntm_dc_path_report(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	unsigned bad = 0;
	struct ntm_sig r;
	int err;

	if (!m->n_tickets) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_MALFORMED, "a report of no path");
		return;
	}
	if (!ntm_dc_take_budget(s->node, ntm_dc_now(dc), m->n_tickets)) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_BUSY, "too many paths: try again");
		return;
	}
	for (unsigned i = 0; i < m->n_tickets; i++) {
		err = take_over(dc, s->node, &m->tickets[i]);
		if (err == -EBADMSG) {
			dc->counters.bad_tickets++;
			bad++;
		} else if (err) {
			ntm_dc_reply_error(dc, s, m->txid, NTM_E_INTERNAL, "the store failed");
			return;
		}
	}
	if (bad) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "%u of %u are no paths of this node's", bad,
				   m->n_tickets);
		return;
	}
	dc->counters.path_reports++;
	ntm_sig_init(&r, NTM_M_PATH_REPORT_RESPONSE, m->txid);
	ntm_dc_reply(dc, s, &r);
}

void ntm_dc_path_report_revoked(struct ntm_dc *dc, uint64_t node_id)
{
	const struct ntm_dc_behind *b = dc->behind;

	for (size_t i = 0; i < b->n_taken; i++) {
		const struct ntm_path_record *p = &b->taken[i];
		int other = p->nodes[0] == node_id;
		struct ntm_dc_node *node = ntm_dc_node_by_index(&dc->nodes, b->taken_index[i][other]);

		if (p->nodes[!other] != node_id)
			continue;
		if (node && node->rec.id == p->nodes[other] && node->online)
			ntm_dc_send_release(dc, node, p->id);
		ntm_dc_release_at_relays(dc, p->id);
	}
}
