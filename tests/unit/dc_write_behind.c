/* SPDX-License-Identifier: BSD-2-Clause */
/* What is handed to the store and when (dc/write_behind.c), with a store whose thread does as it is told. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../dc/dc.h"
#include "../../user/common/crypto.h"

static uv_loop_t loop;
static struct ntm_dc *dc;
static struct ntm_dc_node *nodes[4];

/* The store: what it has been given, and how that went. */
static const struct ntm_store_batch *given;
static unsigned batches, rows[4];
static int result; /* of what is written; -EAGAIN: the thread does not get done */

static int saved(unsigned *count, size_t n)
{
	if (!result)
		*count += (unsigned)n;
	return result;
}

static int remove_paths(struct ntm_store *s, const struct ntm_path_record *p, size_t n)
{
	(void)s;
	(void)p;
	cr_assert_leq(n, (size_t)NTM_DC_BATCH);
	return saved(&rows[0], n);
}

static int save_paths(struct ntm_store *s, const struct ntm_path_record *p, size_t n)
{
	(void)s;
	(void)p;
	cr_assert_leq(n, (size_t)NTM_DC_BATCH);
	return saved(&rows[1], n);
}

static int take_paths(struct ntm_store *s, const struct ntm_path_record *p, size_t n)
{
	(void)s;
	(void)p;
	return saved(&rows[3], n);
}

static int save_presence(struct ntm_store *s, const struct ntm_presence *p, size_t n)
{
	(void)s;
	(void)p;
	return saved(&rows[2], n);
}

static void save_begin(struct ntm_store *s, const struct ntm_store_batch *b)
{
	(void)s;
	cr_assert_null(given, "one at a time");
	given = b;
	batches++;
	uv_stop(&loop);
}

static int save_end(struct ntm_store *s, bool wait)
{
	(void)s;
	cr_assert_not_null(given);
	cr_assert(!wait || result != -EAGAIN);
	if (result == -EAGAIN) {
		uv_stop(&loop);
		return -EAGAIN;
	}
	if (!result) {
		rows[0] += (unsigned)given->n_gone;
		rows[1] += (unsigned)given->n_paths;
		rows[2] += (unsigned)given->n_presence;
		rows[3] += (unsigned)given->n_taken;
	}
	given = NULL;
	return result;
}

static const struct ntm_store_ops with_thread = {
    .remove_paths = remove_paths,
    .save_paths = save_paths,
    .take_paths = take_paths,
    .save_presence = save_presence,
    .save_begin = save_begin,
    .save_end = save_end,
};
static const struct ntm_store_ops without = {
    .remove_paths = remove_paths, .save_paths = save_paths, .save_presence = save_presence};
static struct ntm_store store;

static void setup(void)
{
	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_eq(uv_loop_init(&loop), 0);
	dc = calloc(1, sizeof(*dc));
	dc->loop = &loop;
	store.ops = &with_thread;
	dc->store = &store;
	cr_assert_eq(ntm_dc_nodes_init(&dc->nodes), 0);
	cr_assert_eq(ntm_dc_paths_init(&dc->paths), 0);
	for (unsigned i = 0; i < 4; i++) {
		struct ntm_node_record rec = {.id = i + 1, .index = i + 1, .public_key = {(uint8_t)i}};

		snprintf(rec.label, sizeof(rec.label), "n%u", i);
		nodes[i] = ntm_dc_node_add(&dc->nodes, &rec);
		cr_assert_not_null(nodes[i]);
	}
	cr_assert_eq(ntm_dc_write_behind_start(dc), 0);
}

static void teardown(void)
{
	result = 0;
	ntm_dc_write_behind_stop(dc);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0);
	ntm_dc_paths_free(&dc->paths);
	ntm_dc_nodes_free(&dc->nodes);
	free(dc);
}

TestSuite(write_behind, .init = setup, .fini = teardown);

static struct ntm_dc_path *direct(unsigned a, unsigned b)
{
	struct ntm_dc_path *p;

	cr_assert_eq(ntm_dc_path_add(&dc->paths, nodes[a], nodes[b], 1, ntm_dc_now(dc), &p), 0);
	return p;
}

static struct ntm_path_record record(const struct ntm_dc_path *p)
{
	return (struct ntm_path_record){.id = p->id, .nodes = {p->ends[0]->rec.id, p->ends[1]->rec.id}};
}

/* Until the store is given something, or says that it is not done. */
static void until_asked(void)
{
	uv_run(&loop, UV_RUN_DEFAULT);
}

Test(write_behind, all_that_waits_is_one_batch)
{
	direct(0, 1);
	direct(2, 1);
	ntm_dc_node_seen(&dc->nodes, nodes[3], ntm_dc_now(dc));
	until_asked();
	cr_assert_eq(given->n_paths, 2);
	cr_assert_eq(given->n_presence, 1);
	cr_assert_eq(given->presence[0].id, 4);
	cr_assert(given->presence[0].online);
	cr_assert_eq(dc->paths.unsaved.n, 0);
	result = -EAGAIN;
	until_asked();
	cr_assert_eq(batches, 1);
	result = 0;
	direct(0, 2);
	until_asked();
	cr_assert_eq(batches, 2);
	cr_assert_eq(given->n_paths, 1);
	cr_assert_eq(given->n_presence, 0);
}

Test(write_behind, what_failed_is_given_again)
{
	struct ntm_dc_path *p = direct(0, 1);
	struct ntm_path_record gone = {.id = 9, .nodes = {3, 4}};

	ntm_dc_write_gone(dc, &gone);
	until_asked();
	cr_assert_eq(given->n_gone, 1);
	result = -EIO;
	direct(1, 2);
	until_asked();
	result = 0;
	cr_assert_eq(given->n_gone, 1);
	cr_assert_eq(given->gone[0].id, 9);
	cr_assert_eq(given->n_paths, 2);
	cr_assert(given->paths[0].id == p->id || given->paths[1].id == p->id);
}

Test(write_behind, what_changes_while_it_is_written_is_written_again)
{
	ntm_dc_node_seen(&dc->nodes, nodes[0], ntm_dc_now(dc));
	until_asked();
	cr_assert(given->presence[0].online);
	ntm_dc_node_offline(&dc->nodes, nodes[0]);
	until_asked();
	cr_assert_eq(batches, 2);
	cr_assert_eq(given->n_presence, 1);
	cr_assert(!given->presence[0].online);
}

Test(write_behind, a_path_released_while_it_is_written_goes_with_the_next_batch)
{
	struct ntm_dc_path *p = direct(0, 1);
	struct ntm_path_record r = record(p);

	until_asked();
	ntm_dc_write_gone(dc, &r);
	ntm_dc_path_remove(&dc->paths, p);
	cr_assert_eq(given->n_gone, 0, "it is the thread's by now");
	until_asked();
	cr_assert_eq(given->n_gone, 1);
	cr_assert_eq(given->gone[0].id, r.id);
	cr_assert_eq(given->n_paths, 0);
}

static const uint32_t ends[2] = {1, 2};

Test(write_behind, what_is_taken_over_waits_with_the_rest)
{
	struct ntm_path_record r = {.id = 9, .nodes = {1, 2}};

	cr_assert_eq(ntm_dc_write_taken(dc, &r, ends), 0);
	direct(2, 3);
	until_asked();
	cr_assert_eq(given->n_taken, 1);
	cr_assert_eq(given->taken[0].id, 9);
	cr_assert_eq(given->n_paths, 1);
	r.id = 10;
	cr_assert_eq(ntm_dc_write_taken(dc, &r, ends), 0);
	result = -EIO;
	until_asked();
	cr_assert_eq(given->n_taken, 2, "it failed, so it is given again");
	result = 0;
	r.id = 11;
	cr_assert_eq(ntm_dc_write_taken(dc, &r, ends), 0);
	until_asked();
	cr_assert_eq(given->n_taken, 1);
	cr_assert_eq(given->taken[0].id, 11);
	ntm_dc_write_all(dc);
	cr_assert_eq(dc->behind->n_taken, 0);
}

Test(write_behind, what_is_taken_over_is_bounded_whatever_the_store_does)
{
	struct ntm_path_record r = {.id = 9, .nodes = {1, 2}};

	result = -EIO;
	for (unsigned i = 0; i < NTM_DC_BATCH; i++)
		cr_assert_eq(ntm_dc_write_taken(dc, &r, ends), 0);
	cr_assert_eq(ntm_dc_write_taken(dc, &r, ends), -EIO);
	cr_assert_eq(dc->behind->n_taken, (size_t)NTM_DC_BATCH);
	result = 0;
	cr_assert_eq(ntm_dc_write_taken(dc, &r, ends), 0);
	cr_assert_eq(rows[3], (unsigned)NTM_DC_BATCH);
	cr_assert_eq(dc->behind->n_taken, 1);
}

Test(write_behind, everything_is_written_when_that_is_asked_for)
{
	struct ntm_path_record gone = {.id = 9, .nodes = {3, 4}};

	direct(0, 1);
	until_asked();
	direct(0, 2);
	for (unsigned i = 0; i < 3; i++)
		ntm_dc_write_gone(dc, &gone);
	ntm_dc_node_seen(&dc->nodes, nodes[3], ntm_dc_now(dc));
	ntm_dc_write_all(dc); /* waits for the thread first */
	cr_assert_null(given);
	cr_assert_eq(rows[0], 3);
	cr_assert_eq(rows[1], 2);
	cr_assert_eq(rows[2], 1);
	cr_assert_eq(dc->paths.unsaved.n + dc->nodes.dirty.n + dc->behind->n_gone, 0);
}

Test(write_behind, paths_that_go_are_bounded_whatever_the_store_does)
{
	struct ntm_path_record gone = {.id = 9, .nodes = {3, 4}};

	result = -EIO;
	for (unsigned i = 0; i < NTM_DC_RELEASES_MAX + 10; i++)
		ntm_dc_write_gone(dc, &gone);
	cr_assert_eq(dc->behind->n_gone, (size_t)NTM_DC_RELEASES_MAX);
	result = 0;
	ntm_dc_write_gone(dc, &gone);
	cr_assert_eq(rows[0], (unsigned)NTM_DC_RELEASES_MAX);
	cr_assert_eq(dc->behind->n_gone, 1);
}

Test(write_behind, a_store_without_a_thread_gets_a_few_at_a_time)
{
	struct ntm_path_record gone = {.id = 9, .nodes = {3, 4}};

	store.ops = &without;
	for (unsigned i = 0; i < 250; i++)
		ntm_dc_write_gone(dc, &gone);
	uv_run(&loop, UV_RUN_ONCE);
	cr_assert_leq(rows[0], 100U);
	while (rows[0] < 250)
		uv_run(&loop, UV_RUN_ONCE);
	cr_assert_eq(dc->behind->n_gone, 0);
}
