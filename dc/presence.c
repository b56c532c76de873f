/* SPDX-License-Identifier: BSD-2-Clause */
/* Where nodes are, written behind: one transaction for many, so that a keep-alive never waits for the disk. */
#include <string.h>
#include <time.h>

#include "dc.h"

#define BATCH 1000

void ntm_dc_presence_write(struct ntm_dc *dc, bool all)
{
	static struct ntm_presence batch[BATCH];
	static struct ntm_dc_node *nodes[BATCH];
	struct ntm_dc_node *n;
	uint64_t now_ms = ntm_dc_now(dc);
	int64_t now_s = time(NULL);
	size_t count;
	int err;

	do {
		count = 0;
		while (count < BATCH && (n = TAILQ_FIRST(&dc->nodes.dirty))) {
			TAILQ_REMOVE(&dc->nodes.dirty, n, dirty_link);
			n->dirty = false;
			n->rec.last_seen_s = now_s - (int64_t)((now_ms - n->last_seen_ms) / 1000);
			nodes[count] = n;
			batch[count++] = (struct ntm_presence){
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
