/* SPDX-License-Identifier: BSD-2-Clause */
/* What other processes of this DC changed in the store: revocations, policy, names, processes. */
#include <string.h>

#include "../user/common/log.h"
#include "cluster_int.h"

static void revoked(struct ntm_dc *dc, uint64_t id)
{
	struct ntm_node_record rec;

	if (dc->store->ops->node_by_id(dc->store, id, &rec) || !rec.revoked_s)
		return; /* let in again meanwhile */
	ntm_info("%s was revoked", rec.label);
	ntm_dc_revoked(dc, &rec);
}

/* A new one, or another key. A relay that was revoked and let in again has the same ID. */
static void let_in(struct ntm_dc *dc, uint64_t id)
{
	struct ntm_node_record rec;

	ntm_dc_cluster_not_gone(dc, id);
	if (dc->store->ops->node_by_id(dc->store, id, &rec) || rec.revoked_s)
		return;
	if (!ntm_dc_node_by_key(&dc->nodes, rec.public_key))
		ntm_dc_node_rekeyed(dc, &rec);
	if (dc->dns)
		ntm_dc_dns_changed(dc, &rec);
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

	s->changes++;
	s->lag_ms = change->lag_ms;
	if (s->lag_ms > s->lag_max_ms)
		s->lag_max_ms = s->lag_ms;
	switch (change->kind) {
	case NTM_STORE_NODE:
		let_in(dc, change->node_id);
		return 0;
	case NTM_STORE_REVOKED:
		revoked(dc, change->node_id);
		return 0;
	case NTM_STORE_SETTING:
		if (!strcmp(change->name, NTM_DC_POLICY_SETTING))
			ntm_dc_policy_from_store(dc);
		return 0;
	case NTM_STORE_PROCESSES:
		ntm_dc_cluster_refresh(dc);
		return 0;
	case NTM_STORE_MISSED:
		ntm_warn("changes of the store were missed: all nodes are looked at");
		ntm_dc_policy_from_store(dc);
		return dc->store->ops->each_node(dc->store, NTM_STORE_ALL, check_node, dc);
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
