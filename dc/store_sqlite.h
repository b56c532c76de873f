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
	S_PATHS_OF,
	S_RELEASED_PATHS_OF,
	S_PATHS_RELEASE,
	S_PATH_REMOVE,
	S_PATHS_PURGE,
	S_COUNT
};

struct ntm_sq_checkpointer;

struct sqlite_store {
	struct ntm_store base;
	sqlite3 *db;
	struct ntm_sq_checkpointer *checkpointer;
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
/* A transaction that a power failure may undo; end commits, or rolls back if err. */
int ntm_sq_begin_unsynced(struct sqlite_store *s);
int ntm_sq_end_unsynced(struct sqlite_store *s, int err);

/* store_sqlite_checkpoint.c: keeps the log of db, open on file, short. 0 or -errno; db is closed after the stop. */
int ntm_sq_checkpointer_start(sqlite3 *db, const char *file, struct ntm_sq_checkpointer **out);
void ntm_sq_checkpointer_stop(struct ntm_sq_checkpointer *c); /* may be NULL */
bool ntm_sq_busy(struct ntm_store *base);

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
/* store_sqlite_enrol.c */
int ntm_sq_enrol(struct ntm_store *base, const struct ntm_enrolment *e, struct ntm_node_record *out, const char **why);
int ntm_sq_admit(struct ntm_store *base, const struct ntm_admission *a, struct ntm_node_record *out, const char **why);
int ntm_sq_token_create(struct ntm_store *base, const char *token, const char *label, int64_t now_s, int64_t expires_s);
int ntm_sq_revoke(struct ntm_store *base, const char *label, int64_t now_s, struct ntm_node_record *out);
int ntm_sq_rekey(struct ntm_store *base, uint64_t id, const uint8_t key[NTM_DH_LEN]);
/* store_sqlite_paths.c */
int ntm_sq_save_paths(struct ntm_store *base, const struct ntm_path_record *p, size_t n);
int ntm_sq_remove_path(struct ntm_store *base, const struct ntm_path_record *p);
int ntm_sq_purge_paths(struct ntm_store *base, int64_t before_s);
int ntm_sq_each_path(struct ntm_store *base, uint64_t node, bool only_released, ntm_store_visit_path visit, void *arg);

#endif
