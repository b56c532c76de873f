/* SPDX-License-Identifier: BSD-2-Clause */
#include "store_sqlite.h"

#include <errno.h>
#include <string.h>

/* A pair has one order. */
static void bind_pair(sqlite3_stmt *st, const struct ntm_path_record *p)
{
	bool swap = p->nodes[0] > p->nodes[1];

	sqlite3_bind_int64(st, 1, (int64_t)p->nodes[swap]);
	sqlite3_bind_int64(st, 2, (int64_t)p->nodes[!swap]);
	sqlite3_bind_int64(st, 3, (int64_t)p->id);
}

static int put(struct sqlite_store *s, enum ntm_sq_stmt how, const struct ntm_path_record *p, size_t n)
{
	int err = 0;

	for (size_t i = 0; !err && i < n; i++) {
		bind_pair(s->st[how], &p[i]);
		sqlite3_bind_int64(s->st[how], 4, p[i].created_s);
		err = ntm_sq_run(s, how);
	}
	return err;
}

int ntm_sq_put_paths(struct sqlite_store *s, const struct ntm_path_record *p, size_t n)
{
	return put(s, S_PATH_SAVE, p, n);
}

int ntm_sq_put_taken(struct sqlite_store *s, const struct ntm_path_record *p, size_t n)
{
	return put(s, S_PATH_TAKE, p, n);
}

int ntm_sq_put_gone(struct sqlite_store *s, const struct ntm_path_record *p, size_t n)
{
	int err = 0;

	for (size_t i = 0; !err && i < n; i++) {
		bind_pair(s->st[S_PATH_REMOVE], &p[i]);
		err = ntm_sq_run(s, S_PATH_REMOVE);
	}
	return err;
}

int ntm_sq_save_paths(struct ntm_store *base, const struct ntm_path_record *p, size_t n)
{
	struct sqlite_store *s = ntm_sq(base);
	int err = ntm_sq_begin_unsynced(s);

	return err ? err : ntm_sq_end_unsynced(s, ntm_sq_put_paths(s, p, n));
}

int ntm_sq_take_paths(struct ntm_store *base, const struct ntm_path_record *p, size_t n)
{
	struct sqlite_store *s = ntm_sq(base);
	int err = ntm_sq_begin_unsynced(s);

	return err ? err : ntm_sq_end_unsynced(s, ntm_sq_put_taken(s, p, n));
}

int ntm_sq_remove_paths(struct ntm_store *base, const struct ntm_path_record *p, size_t n)
{
	struct sqlite_store *s = ntm_sq(base);
	int err = ntm_sq_begin_unsynced(s);

	return err ? err : ntm_sq_end_unsynced(s, ntm_sq_put_gone(s, p, n));
}

int ntm_sq_purge_paths(struct ntm_store *base, int64_t before_s)
{
	struct sqlite_store *s = ntm_sq(base);

	int err;

	sqlite3_bind_int64(s->st[S_PATHS_PURGE], 1, before_s);
	err = ntm_sq_alone(s, S_PATHS_PURGE);
	if (err)
		return err;
	sqlite3_bind_int64(s->st[S_TOKEN_PURGE], 1, before_s);
	return ntm_sq_alone(s, S_TOKEN_PURGE);
}

int ntm_sq_each_path(struct ntm_store *base, uint64_t node, bool only_released, ntm_store_visit_path visit, void *arg)
{
	struct sqlite_store *s = ntm_sq(base);
	enum ntm_sq_stmt n = only_released ? S_RELEASED_PATHS_OF : S_PATHS_OF;
	uint8_t key[NTM_DH_LEN];
	int rc, err;

	sqlite3_bind_int64(s->st[n], 1, (int64_t)node);
	while ((rc = ntm_sq_step(s->st[n])) == SQLITE_ROW) {
		memcpy(key, sqlite3_column_blob(s->st[n], 1), sizeof(key)); /* 32 bytes: the schema's CHECK */
		err = visit(arg, (uint64_t)sqlite3_column_int64(s->st[n], 0), key);
		if (err) {
			sqlite3_reset(s->st[n]);
			return err;
		}
	}
	return rc == SQLITE_DONE ? 0 : ntm_sq_failed(s, n);
}
