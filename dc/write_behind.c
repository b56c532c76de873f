/* SPDX-License-Identifier: BSD-2-Clause */
/* Where nodes are and which paths they got, written behind: many in a transaction, so no request waits for the disk. */
#include <string.h>

#include "clock.h"
#include "dc.h"

#define BATCH 100

static size_t at_once(const struct ntm_dc *dc, bool all)
{
	size_t n = all ? 0 : dc->store->ops->at_once;

	return n && n < BATCH ? n : BATCH;
}

static void write_paths(struct ntm_dc *dc, bool all)
{
	static struct ntm_path_record batch[BATCH];
	static struct ntm_dc_path *paths[BATCH];
	struct ntm_dc_path *p;
	uint64_t now_ms = ntm_dc_now(dc);
	int64_t now_s = ntm_dc_wall_s();
	size_t count, most = at_once(dc, all);
	int err;

	do {
		for (count = 0; count < most && (p = ntm_dc_path_take_unsaved(&dc->paths)); count++) {
			paths[count] = p;
			batch[count] = (struct ntm_path_record){
			    .id = p->id,
			    .nodes = {p->ends[0]->rec.id, p->ends[1]->rec.id},
			    .created_s = now_s - (int64_t)((now_ms - p->created_ms) / 1000),
			};
		}
		err = count ? dc->store->ops->save_paths(dc->store, batch, count) : 0;
		for (size_t i = 0; err && i < count; i++)
			ntm_dc_path_mark_unsaved(&dc->paths, paths[i]);
	} while (all && !err && count == BATCH);
}

static void write_presence(struct ntm_dc *dc, bool all)
{
	static struct ntm_presence batch[BATCH];
	static struct ntm_dc_node *nodes[BATCH];
	struct ntm_dc_node *n;
	uint64_t now_ms = ntm_dc_now(dc);
	int64_t now_s = ntm_dc_wall_s();
	size_t count, most = at_once(dc, all);
	int err;

	do {
		for (count = 0; count < most && (n = ntm_dc_node_take_dirty(&dc->nodes)); count++) {
			n->rec.last_seen_s = now_s - (int64_t)((now_ms - n->last_seen_ms) / 1000);
			nodes[count] = n;
			batch[count] = (struct ntm_presence){
			    .id = n->rec.id,
			    .endpoint = n->rec.endpoint,
			    .via = n->rec.via,
			    .last_seen_s = n->rec.last_seen_s,
			    .online = n->online,
			};
		}
		err = count ? dc->store->ops->save_presence(dc->store, batch, count) : 0;
		for (size_t i = 0; err && i < count; i++)
			ntm_dc_node_mark_dirty(&dc->nodes, nodes[i]);
	} while (all && !err && count == BATCH);
}

bool ntm_dc_write_behind(struct ntm_dc *dc, bool all)
{
	if (!all && dc->store->ops->busy && dc->store->ops->busy(dc->store))
		return false; /* and will be for a while */
	if (all || !dc->store->ops->at_once) {
		write_presence(dc, all);
		write_paths(dc, all);
		return false;
	}
	dc->paths_turn = dc->paths.unsaved.n && (!dc->paths_turn || !dc->nodes.dirty.n);
	if (dc->paths_turn)
		write_paths(dc, all);
	else
		write_presence(dc, all);
	return dc->nodes.dirty.n || dc->paths.unsaved.n;
}
