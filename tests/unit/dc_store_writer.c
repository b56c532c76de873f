/* SPDX-License-Identifier: BSD-2-Clause */
/* The thread of the SQLite store that writes behind (dc/store_sqlite_writer.c). */
#include <criterion/criterion.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../user/common/crypto.h"
#include "../harness/store_file.h"

enum { NOW = 1700000000, NODES = 200, ROWS = 4000 };

static struct ntm_path_record paths[ROWS];

static sqlite3 *other_program(void)
{
	sqlite3 *db;

	cr_assert_eq(sqlite3_open(file, &db), SQLITE_OK);
	return db;
}

/* Nodes 1 to NODES, none of which a request made, and a path of each pair that comes to mind. */
static void setup(void)
{
	sqlite3 *db;
	char text[256];

	cr_assert_eq(ntm_crypto_init(), 0);
	make_store();
	db = other_program();
	snprintf(text, sizeof(text),
		 "WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < %d) INSERT INTO nodes "
		 "(id, label, public_key, address, created_s) SELECT n, 'n' || n, randomblob(32), n, 0 FROM i",
		 NODES);
	cr_assert_eq(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	for (unsigned i = 0; i < ROWS; i++)
		paths[i] = (struct ntm_path_record){
		    .id = i + 1,
		    .nodes = {1 + i % NODES, 1 + (i + 1 + i / NODES) % NODES},
		    .created_s = NOW,
		};
}

TestSuite(store_writer, .init = setup, .fini = remove_store);

static int count_path(void *arg, uint64_t path_id, const uint8_t peer_key[NTM_DH_LEN])
{
	(void)path_id;
	(void)peer_key;
	++*(unsigned *)arg;
	return 0;
}

static unsigned paths_of(uint64_t node)
{
	unsigned n = 0;

	cr_assert_eq(store->ops->each_path(store, node, false, count_path, &n), 0);
	return n;
}

static int write_batch(const struct ntm_store_batch *b)
{
	store->ops->save_begin(store, b);
	return store->ops->save_end(store, true);
}

Test(store_writer, a_batch_is_there_when_it_is_said_to_be_and_after_reopening)
{
	struct ntm_presence here = {.id = 7, .last_seen_s = NOW, .online = true};
	struct ntm_store_batch b = {.paths = paths, .n_paths = 100, .presence = &here, .n_presence = 1};
	struct ntm_node_record rec;

	ntm_addr_parse("192.0.2.1:1234", 0, &here.endpoint);
	cr_assert_eq(write_batch(&b), 0);
	cr_assert_eq(paths_of(50), 2, "as one end, and as the other");
	cr_assert_eq(store->ops->node_by_label(store, "n7", &rec), 0);
	cr_assert(rec.online);
	cr_assert(ntm_addr_equal(&rec.endpoint, &here.endpoint));
	ntm_store_close(store);
	open_store();
	cr_assert_eq(paths_of(50), 2);
}

Test(store_writer, what_is_gone_goes_before_what_is_new)
{
	struct ntm_path_record next = {.id = 99, .nodes = {paths[0].nodes[1], paths[0].nodes[0]}, .created_s = NOW};
	struct ntm_store_batch b = {.paths = paths, .n_paths = 2};

	cr_assert_eq(write_batch(&b), 0);
	b = (struct ntm_store_batch){.gone = paths, .n_gone = 2, .paths = &next, .n_paths = 1};
	cr_assert_eq(write_batch(&b), 0);
	cr_assert_eq(paths_of(1), 1, "the pair's new one");
	cr_assert_eq(paths_of(3), 0);
	cr_assert_eq(write_batch(&b), 0, "the pair's is another by now, so it is not gone");
	cr_assert_eq(paths_of(1), 1);
}

Test(store_writer, what_is_taken_over_replaces_nothing_as_new)
{
	struct ntm_path_record taken[2] = {paths[0], paths[1]};
	struct ntm_store_batch b = {.paths = paths, .n_paths = 1};

	cr_assert_eq(write_batch(&b), 0);
	taken[0].id = 99; /* of the same second */
	b = (struct ntm_store_batch){.taken = taken, .n_taken = 2};
	cr_assert_eq(write_batch(&b), 0);
	cr_assert_eq(paths_of(2), 2);
	b = (struct ntm_store_batch){.gone = paths, .n_gone = 2};
	cr_assert_eq(write_batch(&b), 0);
	cr_assert_eq(paths_of(2), 0, "the first was as it had been, the second as it was taken over");
}

Test(store_writer, what_is_new_comes_after_what_is_taken_over)
{
	struct ntm_path_record taken = paths[0];
	struct ntm_store_batch b = {.taken = &taken, .n_taken = 1, .paths = paths, .n_paths = 1};

	taken.id = 99;
	taken.created_s++; /* the clock was set back meanwhile */
	cr_assert_eq(write_batch(&b), 0);
	b = (struct ntm_store_batch){.gone = paths, .n_gone = 1};
	cr_assert_eq(write_batch(&b), 0);
	cr_assert_eq(paths_of(2), 0);
}

Test(store_writer, a_request_gets_its_turn_within_a_batch)
{
	struct ntm_store_batch b = {.paths = paths, .n_paths = ROWS};
	struct ntm_node_record rec;
	char name[16];
	int err;

	/* the thread is somewhere within its rows at each of these, or at none if it is done */
	store->ops->save_begin(store, &b);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "t%u", i);
		cr_assert_eq(store->ops->token_create(store, name, NULL, NOW, NOW + 60), 0);
	}
	cr_assert_eq(store->ops->revoke(store, "n200", NOW, &rec), 0);
	while ((err = store->ops->save_end(store, false)) == -EAGAIN)
		usleep(1000);
	cr_assert_eq(err, 0);
	cr_assert_eq(paths_of(1), 2 * ROWS / NODES);
}

Test(store_writer, one_that_cannot_be_written_is_an_error_and_the_next_is_none)
{
	struct ntm_path_record self = {.id = 5, .nodes = {3, 3}, .created_s = NOW};
	struct ntm_store_batch b = {.gone = paths, .n_gone = 1, .paths = &self, .n_paths = 1};

	b = (struct ntm_store_batch){.paths = paths, .n_paths = 1};
	cr_assert_eq(write_batch(&b), 0);
	b = (struct ntm_store_batch){.gone = paths, .n_gone = 1, .paths = &self, .n_paths = 1};
	cr_assert_eq(write_batch(&b), -EIO, "the schema knows no path to oneself");
	cr_assert_eq(paths_of(1), 1, "what was gone is not: it was one transaction");
	b.n_paths = 0;
	cr_assert_eq(write_batch(&b), 0);
	cr_assert_eq(paths_of(1), 0);
}

Test(store_writer, another_program_that_writes_is_waited_for_and_then_it_is_an_error)
{
	struct ntm_store_batch b = {.paths = paths, .n_paths = 10};
	sqlite3 *db = other_program();

	cr_assert_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	store->ops->save_begin(store, &b);
	cr_assert_eq(store->ops->save_end(store, false), -EAGAIN);
	cr_assert_eq(paths_of(1), 0, "whoever reads waits for nobody");
	cr_assert_eq(store->ops->save_end(store, true), -EIO);
	cr_assert_eq(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	cr_assert_eq(write_batch(&b), 0);
	cr_assert_eq(paths_of(1), 1);
	sqlite3_close(db);
}

Test(store_writer, the_log_is_copied_back_and_begun_anew)
{
	struct ntm_store_batch b = {.paths = paths, .n_paths = ROWS};
	char log[128];
	long size, longest = 0;
	FILE *f;

	/* each batch changes all pages of the paths, which are over a hundred: without end, the log would have them all
	 */
	for (unsigned i = 0; i < 60; i++) {
		for (unsigned k = 0; k < ROWS; k++)
			paths[k].id += ROWS;
		cr_assert_eq(write_batch(&b), 0);
	}
	snprintf(log, sizeof(log), "%s-wal", file);
	f = fopen(log, "r");
	cr_assert_not_null(f);
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	fclose(f);
	longest = 3L * 1000 * 4096;
	cr_assert_lt(size, longest, "%ld bytes", size);
	cr_assert_gt(size, 0);
}
