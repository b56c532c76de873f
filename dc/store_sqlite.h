/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the SQLite engine share: statements are prepared once, in store_sqlite.c. */
#ifndef NTM_DC_STORE_SQLITE_H
#define NTM_DC_STORE_SQLITE_H

#include <sqlite3.h>

#include "store.h"

enum ntm_sq_stmt {
	S_BEGIN,
	S_COMMIT,
	S_ROLLBACK,
	S_SETTING_GET,
	S_SETTING_SET,
	S_HIGHEST_INDEX,
	S_COUNT_NODES,
	S_NODE_BY_KEY,
	S_NODE_BY_LABEL,
	S_NODE_BY_INDEX,
	S_NODE_AFTER_INDEX,
	S_ALL_NODES,
	S_ONLINE_NODES,
	S_RELAY_NODES,
	S_TOKEN_GET,
	S_TOKEN_USE,
	S_TOKEN_ADD,
	S_TOKEN_PURGE,
	S_OLDEST_REVOKED,
	S_GIVE_UP_INDEX,
	S_NODE_ADD,
	S_RELAY_ADD,
	S_RELAY_SET,
	S_REVOKE,
	S_REKEY,
	S_PRESENCE,
	S_PATH_SAVE,
	S_PATH_TAKE,
	S_PATHS_OF,
	S_RELEASED_PATHS_OF,
	S_PATHS_RELEASE,
	S_PATH_REMOVE,
	S_PATHS_PURGE,
	S_COUNT
};

struct ntm_sq_writer;

enum { NTM_SQ_WHY = 256 };

struct sqlite_store {
	struct ntm_store base;
	sqlite3 *db;
	struct ntm_sq_writer *writer; /* NULL: not yet, or this is the writer's own */
	bool of_writer;               /* which says in why, instead of the log, what failed */
	char why[NTM_SQ_WHY];
	sqlite3_stmt *st[S_COUNT];
};

static inline struct sqlite_store *ntm_sq(struct ntm_store *s)
{
	return (struct sqlite_store *)(void *)s;
}

/* Logs the engine's words for the statement. Always -EIO. */
int ntm_sq_failed(struct sqlite_store *s, enum ntm_sq_stmt n);
/* sqlite3_step(), and a reset after the last row: an open statement would hold its read transaction. */
int ntm_sq_step(sqlite3_stmt *st);
/* Runs a bound statement that gives no rows. 0 or -EIO. */
int ntm_sq_run(struct sqlite_store *s, enum ntm_sq_stmt n);
void ntm_sq_rollback(struct sqlite_store *s);
/* A transaction, synced to the disk; end commits, or rolls back if err. 0 or -errno: err, if there was one. */
int ntm_sq_begin(struct sqlite_store *s);
int ntm_sq_end(struct sqlite_store *s, int err);
/* A bound statement that is a transaction by itself. */
int ntm_sq_alone(struct sqlite_store *s, enum ntm_sq_stmt n);
/* As above, but a power failure may undo it. */
int ntm_sq_begin_unsynced(struct sqlite_store *s);
int ntm_sq_end_unsynced(struct sqlite_store *s, int err);

/*
 * store_sqlite_writer.c: starts the thread that writes for s with a connection of its own, and keeps the log short. 0
 * or -errno. The stop waits for what it has begun, and gives own back; NULL: there was no thread.
 */
int ntm_sq_writer_start(struct sqlite_store *s, struct sqlite_store *own);
struct sqlite_store *ntm_sq_writer_stop(struct sqlite_store *s);
/* The store's thread writes, and the writer does not, from here to there. */
void ntm_sq_turn_begin(struct sqlite_store *s);
void ntm_sq_turn_end(struct sqlite_store *s);
void ntm_sq_save_begin(struct ntm_store *base, const struct ntm_store_batch *batch);
int ntm_sq_save_end(struct ntm_store *base, bool wait);

/* The operations of store.h, by file. */
/* store_sqlite_nodes.c */
int ntm_sq_node_by_key(struct ntm_store *base, const uint8_t key[NTM_DH_LEN], struct ntm_node_record *out);
int ntm_sq_node_by_label(struct ntm_store *base, const char *label, struct ntm_node_record *out);
int ntm_sq_node_by_index(struct ntm_store *base, uint32_t index, struct ntm_node_record *out);
int ntm_sq_node_after_index(struct ntm_store *base, uint32_t index, struct ntm_node_record *out);
int ntm_sq_each_node(struct ntm_store *base, enum ntm_store_nodes which, ntm_store_visit visit, void *arg);
int ntm_sq_highest_index(struct ntm_store *base, uint32_t *index);
int ntm_sq_count_nodes(struct ntm_store *base, uint64_t *n);
int ntm_sq_save_presence(struct ntm_store *base, const struct ntm_presence *p, size_t n);
int ntm_sq_put_presence(struct sqlite_store *s, const struct ntm_presence *p, size_t n); /* in a transaction */
/* store_sqlite_enrol.c */
int ntm_sq_enrol(struct ntm_store *base, const struct ntm_enrolment *e, struct ntm_node_record *out, const char **why);
int ntm_sq_admit(struct ntm_store *base, const struct ntm_admission *a, struct ntm_node_record *out, const char **why);
int ntm_sq_token_create(struct ntm_store *base, const char *token, const char *label, int64_t now_s, int64_t expires_s);
int ntm_sq_revoke(struct ntm_store *base, const char *label, int64_t now_s, struct ntm_node_record *out);
int ntm_sq_rekey(struct ntm_store *base, uint64_t id, const uint8_t key[NTM_DH_LEN]);
/* store_sqlite_paths.c */
int ntm_sq_save_paths(struct ntm_store *base, const struct ntm_path_record *p, size_t n);
int ntm_sq_take_paths(struct ntm_store *base, const struct ntm_path_record *p, size_t n);
int ntm_sq_remove_paths(struct ntm_store *base, const struct ntm_path_record *p, size_t n);
int ntm_sq_put_paths(struct sqlite_store *s, const struct ntm_path_record *p, size_t n); /* in a transaction */
int ntm_sq_put_taken(struct sqlite_store *s, const struct ntm_path_record *p, size_t n); /* likewise */
int ntm_sq_put_gone(struct sqlite_store *s, const struct ntm_path_record *p, size_t n);  /* likewise: removes them */
int ntm_sq_purge_paths(struct ntm_store *base, int64_t before_s);
int ntm_sq_each_path(struct ntm_store *base, uint64_t node, bool only_released, ntm_store_visit_path visit, void *arg);

#endif
