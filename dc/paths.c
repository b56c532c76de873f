/* SPDX-License-Identifier: BSD-2-Clause */
#include "paths.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../user/common/crypto.h"
#include "clock.h"
#include "nodes.h"

static uint64_t pair_hash(const struct ntm_dc_node *a, const struct ntm_dc_node *b)
{
	uint64_t ids[2] = {a->rec.id, b->rec.id};

	if (ids[0] > ids[1]) {
		ids[0] = b->rec.id;
		ids[1] = a->rec.id;
	}
	return ntm_table_hash(ids, sizeof(ids));
}

int ntm_dc_paths_init(struct ntm_dc_paths *ps)
{
	TAILQ_INIT(&ps->all);
	TAILQ_INIT(&ps->fresh);
	ntm_shelves_init(&ps->unsaved);
	if (ntm_table_init(&ps->by_pair, 0))
		return -ENOMEM;
	return ntm_table_init(&ps->by_id, 0);
}

void ntm_dc_paths_free(struct ntm_dc_paths *ps)
{
	struct ntm_dc_path *p;

	while ((p = TAILQ_FIRST(&ps->all)))
		ntm_dc_path_remove(ps, p);
	ntm_table_free(&ps->by_pair);
	ntm_table_free(&ps->by_id);
}

struct ntm_dc_path *ntm_dc_path_find(const struct ntm_dc_paths *ps, const struct ntm_dc_node *a,
				     const struct ntm_dc_node *b)
{
	struct ntm_table_link *l = ntm_table_first(&ps->by_pair, pair_hash(a, b));

	for (; l; l = ntm_table_next(l)) {
		struct ntm_dc_path *p = ntm_container_of(l, struct ntm_dc_path, by_pair);

		if ((p->ends[0] == a && p->ends[1] == b) || (p->ends[0] == b && p->ends[1] == a))
			return p;
	}
	return NULL;
}

struct ntm_dc_path *ntm_dc_path_by_id(const struct ntm_dc_paths *ps, uint64_t id)
{
	/* IDs are ours and random: they are their own hash, and unique */
	struct ntm_table_link *l = ntm_table_first(&ps->by_id, id);

	return l ? ntm_container_of(l, struct ntm_dc_path, by_id) : NULL;
}

static void stale(struct ntm_dc_paths *ps, struct ntm_dc_path *p)
{
	if (!p->fresh)
		return;
	TAILQ_REMOVE(&ps->fresh, p, fresh_link);
	ntm_wipe(p->psk, sizeof(p->psk));
	p->fresh = false;
}

void ntm_dc_path_saved(struct ntm_dc_paths *ps, struct ntm_dc_path *p)
{
	ntm_shelves_remove(&ps->unsaved, &p->unsaved);
}

/* The store has a pair's row where that of the end with the lower ID is. */
void ntm_dc_path_mark_unsaved(struct ntm_dc_paths *ps, struct ntm_dc_path *p)
{
	uint64_t a = p->ends[0]->rec.id, b = p->ends[1]->rec.id;

	ntm_shelves_add(&ps->unsaved, &p->unsaved, a < b ? a : b);
}

struct ntm_dc_path *ntm_dc_path_take_unsaved(struct ntm_dc_paths *ps)
{
	struct ntm_shelf_item *item = ntm_shelves_take(&ps->unsaved);

	return item ? ntm_container_of(item, struct ntm_dc_path, unsaved) : NULL;
}

void ntm_dc_path_remove(struct ntm_dc_paths *ps, struct ntm_dc_path *p)
{
	stale(ps, p);
	ntm_dc_path_saved(ps, p);
	TAILQ_REMOVE(&ps->all, p, link);
	ntm_table_del(&ps->by_pair, &p->by_pair);
	ntm_table_del(&ps->by_id, &p->by_id);
	free(p->peer_relay);
	free(p);
}

void ntm_dc_path_rename(struct ntm_dc_paths *ps, struct ntm_dc_path *p, uint64_t id, const uint8_t psk[NTM_PSK_LEN])
{
	ntm_table_del(&ps->by_id, &p->by_id);
	p->id = id;
	memcpy(p->psk, psk, sizeof(p->psk));
	ntm_table_add(&ps->by_id, &p->by_id, id);
}

int ntm_dc_path_add(struct ntm_dc_paths *ps, struct ntm_dc_node *initiator, struct ntm_dc_node *responder,
		    uint32_t txid, uint64_t now_ms, struct ntm_dc_path **out)
{
	struct ntm_dc_path *former = ntm_dc_path_find(ps, initiator, responder);
	struct ntm_dc_path *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	do {
		if (ntm_random(&p->id, sizeof(p->id)) || ntm_random(p->psk, sizeof(p->psk))) {
			free(p);
			return -EIO;
		}
	} while (!p->id || ntm_dc_path_by_id(ps, p->id));
	p->ends[0] = initiator;
	p->ends[1] = responder;
	p->sessions[0] = ntm_dc_node_binding(initiator);
	p->sessions[1] = ntm_dc_node_binding(responder);
	p->txid = txid;
	p->created_ms = now_ms;
	p->created_s = ntm_dc_wall_s();
	if (former && p->created_s <= former->created_s)
		p->created_s = former->created_s + 1;
	p->fresh = true;
	if (former)
		ntm_dc_path_remove(ps, former);
	else if (ps->by_pair.n >= NTM_DC_PATHS_MAX)
		ntm_dc_path_remove(ps, TAILQ_FIRST(&ps->all));
	TAILQ_INSERT_TAIL(&ps->all, p, link);
	TAILQ_INSERT_TAIL(&ps->fresh, p, fresh_link);
	ntm_dc_path_mark_unsaved(ps, p);
	ntm_table_add(&ps->by_pair, &p->by_pair, pair_hash(initiator, responder));
	ntm_table_add(&ps->by_id, &p->by_id, p->id);
	*out = p;
	return 0;
}

void ntm_dc_paths_expire(struct ntm_dc_paths *ps, uint64_t now_ms)
{
	struct ntm_dc_path *p;

	while ((p = TAILQ_FIRST(&ps->fresh)) && now_ms - p->created_ms >= NTM_DC_SAME_REQUEST_MS)
		stale(ps, p);
	while ((p = TAILQ_FIRST(&ps->all)) && now_ms - p->created_ms >= NTM_DC_PATH_KEEP_S * 1000ULL)
		ntm_dc_path_remove(ps, p);
}
