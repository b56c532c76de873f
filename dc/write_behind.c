/* SPDX-License-Identifier: BSD-2-Clause */
#include "write_behind.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "dc.h"

enum {
	SOON_MS = 20,
	LATER_MS = 500, /* after many, and after a failure: there will be many again, and they share pages */
	MANY = 64,
	AT_ONCE = 100, /* in a go of a store without a thread, in which nobody is answered */
};

static size_t collect_paths(struct ntm_dc *dc, size_t most)
{
	struct ntm_path_record *r = dc->behind->paths;
	struct ntm_dc_path *p;
	size_t n;

	for (n = 0; n < most && (p = ntm_dc_path_take_unsaved(&dc->paths)); n++)
		r[n] = (struct ntm_path_record){
		    .id = p->id,
		    .nodes = {p->ends[0]->rec.id, p->ends[1]->rec.id},
		    .created_s = p->created_s,
		};
	return n;
}

static size_t collect_presence(struct ntm_dc *dc, size_t most)
{
	struct ntm_presence *r = dc->behind->presence;
	uint64_t now_ms = ntm_dc_now(dc);
	int64_t now_s = ntm_dc_wall_s();
	struct ntm_dc_node *node;
	size_t n;

	for (n = 0; n < most && (node = ntm_dc_node_take_dirty(&dc->nodes)); n++) {
		node->rec.last_seen_s = now_s - (int64_t)((now_ms - node->last_seen_ms) / 1000);
		r[n] = (struct ntm_presence){
		    .id = node->rec.id,
		    .endpoint = node->rec.endpoint,
		    .via = node->rec.via,
		    .last_seen_s = node->rec.last_seen_s,
		    .online = node->online,
		};
	}
	return n;
}

/* At most so many of each. How many in all. */
static size_t collect(struct ntm_dc *dc, size_t most)
{
	struct ntm_dc_behind *b = dc->behind;

	b->batch = (struct ntm_store_batch){
	    .gone = b->gone,
	    .n_gone = b->n_gone < most ? b->n_gone : most,
	    .taken = b->taken,
	    .n_taken = b->n_taken < most ? b->n_taken : most,
	    .paths = b->paths,
	    .n_paths = collect_paths(dc, most),
	    .presence = b->presence,
	    .n_presence = collect_presence(dc, most),
	};
	return b->batch.n_gone + b->batch.n_taken + b->batch.n_paths + b->batch.n_presence;
}

/* The store has all of the batch, or it is to be told again. */
static void settle(struct ntm_dc *dc, bool stored)
{
	struct ntm_dc_behind *b = dc->behind;

	ntm_shelves_taken(&dc->paths.unsaved, stored);
	ntm_shelves_taken(&dc->nodes.dirty, stored);
	if (!stored)
		return;
	b->n_gone -= b->batch.n_gone;
	memmove(b->gone, b->gone + b->batch.n_gone, b->n_gone * sizeof(*b->gone));
	b->n_taken -= b->batch.n_taken;
	memmove(b->taken, b->taken + b->batch.n_taken, b->n_taken * sizeof(*b->taken));
	memmove(b->taken_index, b->taken_index + b->batch.n_taken, b->n_taken * sizeof(*b->taken_index));
}

static int write_now(struct ntm_dc *dc)
{
	const struct ntm_store_ops *ops = dc->store->ops;
	const struct ntm_store_batch *b = &dc->behind->batch;
	int err = b->n_gone ? ops->remove_paths(dc->store, b->gone, b->n_gone) : 0;

	if (!err && b->n_taken)
		err = ops->take_paths(dc->store, b->taken, b->n_taken);
	if (!err && b->n_paths)
		err = ops->save_paths(dc->store, b->paths, b->n_paths);
	if (!err && b->n_presence)
		err = ops->save_presence(dc->store, b->presence, b->n_presence);
	settle(dc, !err);
	return err;
}

/* -EAGAIN: the thread still writes. Else it does not, and this is how it went. */
static int finish(struct ntm_dc *dc, bool wait)
{
	struct ntm_dc_behind *b = dc->behind;
	int err;

	if (!b->writing)
		return 0;
	err = dc->store->ops->save_end(dc->store, wait);
	if (err == -EAGAIN)
		return err;
	b->writing = false;
	settle(dc, !err);
	return err;
}

/* How many ms until there may be more. */
static unsigned write_some(struct ntm_dc *dc)
{
	struct ntm_dc_behind *b = dc->behind;
	bool thread = dc->store->ops->save_begin;
	int err = finish(dc, false);
	size_t n;

	if (err)
		return err == -EAGAIN ? SOON_MS : LATER_MS;
	n = collect(dc, thread ? NTM_DC_BATCH : AT_ONCE);
	if (!n)
		return SOON_MS;
	if (!thread)
		return write_now(dc) ? LATER_MS : SOON_MS;
	b->writing = true;
	dc->store->ops->save_begin(dc->store, &b->batch);
	return n > MANY ? LATER_MS : SOON_MS;
}

static void on_timer(uv_timer_t *t)
{
	uv_timer_start(t, on_timer, write_some(t->data), 0);
}

void ntm_dc_write_all(struct ntm_dc *dc)
{
	int err = 0;

	finish(dc, true); /* what failed is in what comes now */
	while (!err && collect(dc, NTM_DC_BATCH))
		err = write_now(dc);
}

void ntm_dc_write_gone(struct ntm_dc *dc, const struct ntm_path_record *path)
{
	struct ntm_dc_behind *b = dc->behind;

	if (b->n_gone == NTM_DC_RELEASES_MAX)
		ntm_dc_write_all(dc);
	if (b->n_gone < NTM_DC_RELEASES_MAX) /* else the store is broken: the row stays until it is too old */
		b->gone[b->n_gone++] = *path;
}

int ntm_dc_write_taken(struct ntm_dc *dc, const struct ntm_path_record *path, const uint32_t index[2])
{
	struct ntm_dc_behind *b = dc->behind;

	if (b->n_taken == NTM_DC_BATCH)
		ntm_dc_write_all(dc);
	if (b->n_taken == NTM_DC_BATCH)
		return -EIO;
	memcpy(b->taken_index[b->n_taken], index, sizeof(b->taken_index[0]));
	b->taken[b->n_taken++] = *path;
	return 0;
}

int ntm_dc_write_behind_start(struct ntm_dc *dc)
{
	struct ntm_dc_behind *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	dc->behind = b;
	uv_timer_init(dc->loop, &b->timer);
	b->timer.data = dc;
	uv_timer_start(&b->timer, on_timer, SOON_MS, 0);
	return 0;
}

static void on_close(uv_handle_t *h)
{
	free(uv_handle_get_data(h));
}

void ntm_dc_write_behind_stop(struct ntm_dc *dc)
{
	struct ntm_dc_behind *b = dc->behind;

	if (!b)
		return;
	if (dc->store)
		ntm_dc_write_all(dc);
	b->timer.data = b;
	uv_close((uv_handle_t *)&b->timer, on_close);
	dc->behind = NULL;
}
