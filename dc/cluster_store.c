/* SPDX-License-Identifier: BSD-2-Clause */
/* What other processes of this DC changed in the store: revocations, policy, names, processes. */
#include <errno.h>
#include <string.h>

#include "../user/common/log.h"
#include "cluster_int.h"

enum { TELL_REVOKED_MS = 5000 }; /* longer than a process waits for a server that is out of reach */

/* 0, or -EIO: the change is to be read again. */
static int revoked(struct ntm_dc *dc, uint64_t id)
{
	struct ntm_node_record rec;
	int err = dc->store->ops->node_by_id(dc->store, id, &rec);

	if (err || !rec.revoked_s)
		return err == -EIO ? err : 0; /* let in again meanwhile */
	ntm_info("%s was revoked", rec.label);
	ntm_dc_revoked(dc, &rec);
	return 0;
}

/* A new one, or another key. A relay that was revoked and let in again has the same ID. Result as above. */
static int let_in(struct ntm_dc *dc, uint64_t id)
{
	struct ntm_node_record rec;
	int err = dc->store->ops->node_by_id(dc->store, id, &rec);

	if (err == -EIO)
		return err;
	ntm_dc_cluster_not_gone(dc, id);
	if (err || rec.revoked_s)
		return 0;
	if (!ntm_dc_node_by_key(&dc->nodes, rec.public_key))
		ntm_dc_node_rekeyed(dc, &rec);
	if (rec.relay) /* it may have had another name */
		ntm_dc_dns_unsure(dc);
	ntm_dc_dns_changed(dc, &rec);
	return 0;
}

void ntm_dc_cluster_revoked(struct ntm_dc *dc, const struct ntm_node_record *rec)
{
	struct ntm_dc_cluster *c = dc->cluster;

	if (!c)
		return;
	if (c->n_revoked == NTM_CLUSTER_GONE_MAX) /* it was told at once, and may have been several times since */
		memmove(c->revoked, c->revoked + 1, --c->n_revoked * sizeof(c->revoked[0]));
	c->revoked[c->n_revoked++] = (struct ntm_cluster_gone){rec->id, rec->index};
	c->revoked_ms = ntm_dc_now(dc);
	for (unsigned i = 0; i < c->n; i++)
		ntm_dc_cluster_tell_revoked(dc, c->items[i]);
}

void ntm_dc_cluster_tell_revoked(struct ntm_dc *dc, struct ntm_dc_process *p)
{
	struct ntm_dc_cluster *c = dc->cluster;
	struct ntm_cluster m = {.msg = NTM_C_GONE, .n_gone = c->n_revoked};

	if (!c->n_revoked)
		return;
	if (ntm_dc_now(dc) - c->revoked_ms >= TELL_REVOKED_MS) {
		c->n_revoked = 0;
		return;
	}
	memcpy(m.gone, c->revoked, c->n_revoked * sizeof(m.gone[0]));
	ntm_dc_cluster_send(dc, p, &m);
}

/*
 * Taken at its word, for the store may be what is out of reach: what is forgotten here is only what is in memory, and
 * who comes again is looked up.
 */
void ntm_dc_cluster_on_gone(struct ntm_dc *dc, const struct ntm_cluster *m)
{
	for (unsigned i = 0; i < m->n_gone; i++) {
		struct ntm_dc_node *node = ntm_dc_node_by_index(&dc->nodes, m->gone[i].index);
		struct ntm_node_record rec;

		if (!node || node->peer || node->rec.id != m->gone[i].node_id)
			continue;
		rec = node->rec; /* the node is freed */
		ntm_info("%s was revoked by another process", rec.label);
		ntm_dc_revoked(dc, &rec);
	}
}

static int check_node(void *arg, const struct ntm_node_record *rec)
{
	struct ntm_dc *dc = arg;

	if (rec->revoked_s && ntm_dc_node_by_key(&dc->nodes, rec->public_key))
		ntm_dc_revoked(dc, rec);
	return 0;
}

static int on_change(void *arg, const struct ntm_store_change *change)
{
	struct ntm_dc *dc = arg;
	struct ntm_dc_cluster_stats *s = &dc->cluster->stats;
	int err;

	s->changes++;
	s->lag_ms = change->lag_ms;
	if (s->lag_ms > s->lag_max_ms)
		s->lag_max_ms = s->lag_ms;
	switch (change->kind) {
	case NTM_STORE_NODE:
		return let_in(dc, change->node_id);
	case NTM_STORE_REVOKED:
		return revoked(dc, change->node_id);
	case NTM_STORE_SETTING:
		return strcmp(change->name, NTM_DC_POLICY_SETTING) ? 0 : ntm_dc_policy_from_store(dc);
	case NTM_STORE_PROCESSES:
		ntm_dc_cluster_refresh(dc);
		return 0;
	case NTM_STORE_MISSED:
		ntm_warn("changes of the store were missed: all nodes are looked at");
		ntm_dc_dns_unsure(dc);
		err = ntm_dc_policy_from_store(dc);
		return err ? err : dc->store->ops->each_node(dc->store, NTM_STORE_ALL, check_node, dc);
	}
	return 0;
}

void ntm_dc_cluster_read_changes(struct ntm_dc *dc)
{
	bool was = dc->cluster->stats.store_up;

	/* it fails while the server is away, and says so itself */
	dc->cluster->stats.store_up = !dc->store->ops->changes(dc->store, on_change, dc);
	if (!was && dc->cluster->stats.store_up)
		ntm_dc_cluster_refresh(dc);
}
