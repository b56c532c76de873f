/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The embedded store: SQLite in WAL mode. Enrolment, tokens and revocation are synced to the disk before they return;
 * presence is not (a power failure may forget where nodes were, never who they are).
 */
#include "store_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../user/common/log.h"
#include "migrations.h"

#define BUSY_TIMEOUT_MS 1000 /* of another program's: the whole DC waits */

#define PRAGMAS "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON"
/* The cache has room for the pages that a transaction changes, 8 MiB of them: else they are written more than once. */
#define WRITER_PRAGMAS "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -8192"

#define NODE_COLUMNS "id, label, public_key, address, created_s, revoked_s, last_seen_s, endpoint, via, online, relay"

static const char *const sql[S_COUNT] = {
    [S_BEGIN] = "BEGIN IMMEDIATE",
    [S_COMMIT] = "COMMIT",
    [S_ROLLBACK] = "ROLLBACK",
    [S_SETTING_GET] = "SELECT value FROM settings WHERE name = ?1",
    [S_SETTING_SET] = "INSERT INTO settings (name, value) VALUES (?1, ?2) "
		      "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    [S_HIGHEST_INDEX] = "SELECT coalesce(max(address), 0) FROM nodes",
    [S_COUNT_NODES] = "SELECT count(*) FROM nodes WHERE revoked_s IS NULL",
    [S_NODE_BY_KEY] = "SELECT " NODE_COLUMNS " FROM nodes WHERE public_key = ?1",
    [S_NODE_BY_LABEL] = "SELECT " NODE_COLUMNS " FROM nodes WHERE label = ?1 "
			"ORDER BY revoked_s IS NOT NULL, revoked_s DESC LIMIT 1",
    [S_NODE_BY_INDEX] = "SELECT " NODE_COLUMNS " FROM nodes WHERE address = ?1",
    [S_NODE_AFTER_INDEX] = "SELECT " NODE_COLUMNS " FROM nodes WHERE address > ?1 AND revoked_s IS NULL "
			   "ORDER BY address LIMIT 1",
    [S_ALL_NODES] = "SELECT " NODE_COLUMNS " FROM nodes ORDER BY label, id",
    [S_ONLINE_NODES] = "SELECT " NODE_COLUMNS " FROM nodes WHERE online = 1",
    [S_RELAY_NODES] = "SELECT " NODE_COLUMNS " FROM nodes WHERE relay = 1 AND revoked_s IS NULL ORDER BY label",
    [S_TOKEN_GET] = "SELECT label, expires_s, used_s FROM tokens WHERE hash = ?1",
    [S_TOKEN_USE] = "UPDATE tokens SET used_s = ?2, node_id = ?3 WHERE hash = ?1 AND used_s IS NULL",
    [S_TOKEN_ADD] = "INSERT INTO tokens (hash, label, created_s, expires_s) VALUES (?1, ?2, ?3, ?4)",
    [S_TOKEN_PURGE] = "DELETE FROM tokens WHERE expires_s < ?1",
    [S_OLDEST_REVOKED] = "SELECT id, address FROM nodes WHERE revoked_s IS NOT NULL AND address IS NOT NULL "
			 "AND address <= ?1 ORDER BY revoked_s, id LIMIT 1",
    [S_GIVE_UP_INDEX] = "UPDATE nodes SET address = NULL WHERE id = ?1",
    [S_NODE_ADD] = "INSERT INTO nodes (label, public_key, address, created_s) VALUES (?1, ?2, ?3, ?4)",
    [S_RELAY_ADD] = "INSERT INTO nodes (label, public_key, address, created_s, relay) VALUES (?1, ?2, ?3, ?4, 1)",
    [S_RELAY_SET] = "UPDATE nodes SET label = ?2, address = ?3, revoked_s = NULL, relay = 1 WHERE id = ?1",
    [S_REVOKE] = "UPDATE nodes SET revoked_s = ?2, online = 0 WHERE id = ?1",
    [S_REKEY] = "UPDATE nodes SET public_key = ?2 WHERE id = ?1 AND revoked_s IS NULL",
    [S_PRESENCE] = "UPDATE nodes SET endpoint = ?2, via = ?3, last_seen_s = ?4, online = ?5 "
		   "WHERE id = ?1 AND revoked_s IS NULL",
    [S_PATH_SAVE] = "INSERT INTO paths (a, b, path_id, created_s) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (a, b) "
		    "DO UPDATE SET path_id = excluded.path_id, created_s = excluded.created_s, released = 0",
    [S_PATH_TAKE] =
	"INSERT INTO paths (a, b, path_id, created_s, released) SELECT ?1, ?2, ?3, ?4, "
	"x.revoked_s IS NOT NULL OR y.revoked_s IS NOT NULL FROM nodes x, nodes y WHERE x.id = ?1 AND y.id = ?2 "
	"ON CONFLICT (a, b) DO UPDATE SET path_id = excluded.path_id, created_s = excluded.created_s "
	"WHERE excluded.created_s > paths.created_s",
    [S_PATHS_OF] = "SELECT path_id, public_key FROM paths JOIN nodes ON id = b WHERE a = ?1 UNION ALL "
		   "SELECT path_id, public_key FROM paths JOIN nodes ON id = a WHERE b = ?1",
    [S_RELEASED_PATHS_OF] =
	"SELECT path_id, public_key FROM paths JOIN nodes ON id = b WHERE a = ?1 AND released = 1 UNION ALL "
	"SELECT path_id, public_key FROM paths JOIN nodes ON id = a WHERE b = ?1 AND released = 1",
    [S_PATHS_RELEASE] = "UPDATE paths SET released = 1 WHERE a = ?1 OR b = ?1",
    [S_PATH_REMOVE] = "DELETE FROM paths WHERE a = ?1 AND b = ?2 AND path_id = ?3",
    [S_PATHS_PURGE] = "DELETE FROM paths WHERE created_s < ?1",
};

static int failed(struct sqlite_store *s, const char *what)
{
	static struct ntm_log_limit limit; /* a full disk fails each request of each node */

	if (s->of_writer)
		snprintf(s->why, sizeof(s->why), "%s: %s", what, sqlite3_errmsg(s->db));
	else
		ntm_log_limited(&limit, NTM_LOG_ERROR, "store: %s: %s", what, sqlite3_errmsg(s->db));
	return -EIO;
}

int ntm_sq_failed(struct sqlite_store *s, enum ntm_sq_stmt n)
{
	return failed(s, sql[n]);
}

int ntm_sq_step(sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);

	if (rc != SQLITE_ROW)
		sqlite3_reset(st);
	return rc;
}

int ntm_sq_run(struct sqlite_store *s, enum ntm_sq_stmt n)
{
	return ntm_sq_step(s->st[n]) == SQLITE_DONE ? 0 : ntm_sq_failed(s, n);
}

static int pragma(struct sqlite_store *s, const char *text)
{
	return sqlite3_exec(s->db, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(s, text);
}

void ntm_sq_rollback(struct sqlite_store *s)
{
	/* an error inside the transaction may have ended it already */
	if (!sqlite3_get_autocommit(s->db))
		ntm_sq_run(s, S_ROLLBACK);
}

int ntm_sq_begin(struct sqlite_store *s)
{
	int err;

	ntm_sq_turn_begin(s);
	err = ntm_sq_run(s, S_BEGIN);
	if (err)
		ntm_sq_turn_end(s);
	return err;
}

int ntm_sq_end(struct sqlite_store *s, int err)
{
	if (!err)
		err = ntm_sq_run(s, S_COMMIT);
	if (err)
		ntm_sq_rollback(s);
	ntm_sq_turn_end(s);
	return err;
}

int ntm_sq_alone(struct sqlite_store *s, enum ntm_sq_stmt n)
{
	int err;

	ntm_sq_turn_begin(s);
	err = ntm_sq_run(s, n);
	ntm_sq_turn_end(s);
	return err;
}

int ntm_sq_begin_unsynced(struct sqlite_store *s)
{
	int err = pragma(s, "PRAGMA synchronous = NORMAL");

	return err ? err : ntm_sq_begin(s);
}

int ntm_sq_end_unsynced(struct sqlite_store *s, int err)
{
	err = ntm_sq_end(s, err);
	return pragma(s, "PRAGMA synchronous = FULL") ? -EIO : err;
}

static int setting(struct ntm_store *base, const char *name, const char *text, bool replace, char *was, size_t cap)
{
	struct sqlite_store *s = ntm_sq(base);
	sqlite3_stmt *get = s->st[S_SETTING_GET], *set = s->st[S_SETTING_SET];
	int rc;

	sqlite3_bind_text(get, 1, name, -1, SQLITE_TRANSIENT);
	rc = ntm_sq_step(get);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return ntm_sq_failed(s, S_SETTING_GET);
	if (rc == SQLITE_ROW) {
		const char *stored = (const char *)sqlite3_column_text(get, 0);
		bool same = stored && !strcmp(stored, text);

		if (!same && !replace)
			snprintf(was, cap, "%s", stored ? stored : "");
		sqlite3_reset(get);
		if (same || !replace)
			return same ? 0 : -EEXIST;
	}
	sqlite3_bind_text(set, 1, name, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(set, 2, text, -1, SQLITE_TRANSIENT);
	return ntm_sq_alone(s, S_SETTING_SET);
}

static void close_one(struct sqlite_store *s)
{
	if (!s)
		return;
	for (int i = 0; i < S_COUNT; i++)
		sqlite3_finalize(s->st[i]);
	sqlite3_close(s->db);
	free(s);
}

static void store_close(struct ntm_store *base)
{
	struct sqlite_store *s = ntm_sq(base);

	close_one(ntm_sq_writer_stop(s));
	close_one(s);
}

static const struct ntm_store_ops sqlite_ops = {
    .close = store_close,
    .setting = setting,
    .highest_index = ntm_sq_highest_index,
    .count_nodes = ntm_sq_count_nodes,
    .node_by_key = ntm_sq_node_by_key,
    .node_by_label = ntm_sq_node_by_label,
    .node_by_index = ntm_sq_node_by_index,
    .node_after_index = ntm_sq_node_after_index,
    .each_node = ntm_sq_each_node,
    .enrol = ntm_sq_enrol,
    .admit = ntm_sq_admit,
    .token_create = ntm_sq_token_create,
    .revoke = ntm_sq_revoke,
    .rekey = ntm_sq_rekey,
    .save_presence = ntm_sq_save_presence,
    .save_paths = ntm_sq_save_paths,
    .each_path = ntm_sq_each_path,
    .take_paths = ntm_sq_take_paths,
    .remove_paths = ntm_sq_remove_paths,
    .purge_paths = ntm_sq_purge_paths,
    .save_begin = ntm_sq_save_begin,
    .save_end = ntm_sq_save_end,
};

static int user_version(sqlite3 *db, long *version)
{
	sqlite3_stmt *st;
	int err = -EIO;

	if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &st, NULL) != SQLITE_OK)
		return -EIO;
	if (sqlite3_step(st) == SQLITE_ROW) {
		*version = sqlite3_column_int(st, 0);
		err = 0;
	}
	sqlite3_finalize(st);
	return err;
}

/* Each migration and its new version number are one transaction. */
static int migrate(sqlite3 *db, const char *file, char *why, size_t cap)
{
	char text[64];
	long version;

	if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK || user_version(db, &version))
		goto sql_error;
	if (version < 0 || (size_t)version > ntm_n_migrations) {
		snprintf(why, cap, "store %s has version %ld, this program knows versions up to %zu: use a newer one",
			 file, version, ntm_n_migrations);
		return -ENOTSUP;
	}
	for (; (size_t)version < ntm_n_migrations; version++) {
		snprintf(text, sizeof(text), "PRAGMA user_version = %ld", version + 1);
		if (sqlite3_exec(db, ntm_migrations[version], NULL, NULL, NULL) != SQLITE_OK ||
		    sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
			goto sql_error;
	}
	if (sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
		return 0;
sql_error:
	snprintf(why, cap, "store %s: %s", file, sqlite3_errmsg(db));
	return -EIO;
}

static int prepare(struct sqlite_store *s, const char *file, char *why, size_t cap)
{
	for (int i = 0; i < S_COUNT; i++) {
		if (sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->st[i], NULL) == SQLITE_OK)
			continue;
		snprintf(why, cap, "store %s: %s: %s", file, sql[i], sqlite3_errmsg(s->db));
		return -EIO;
	}
	return 0;
}

/* The first connection, not the writer's, makes the file what it is to be. */
static int open_one(const char *file, bool of_writer, struct sqlite_store **out, char *why, size_t cap)
{
	struct sqlite_store *s = calloc(1, sizeof(*s));
	int err = -EIO, rc;

	if (!s) {
		snprintf(why, cap, "out of memory");
		return -ENOMEM;
	}
	s->base.ops = &sqlite_ops;
	s->of_writer = of_writer;
	rc = sqlite3_open_v2(file, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK) {
		sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
		rc = sqlite3_exec(s->db, of_writer ? WRITER_PRAGMAS : PRAGMAS, NULL, NULL, NULL);
	}
	if (rc != SQLITE_OK)
		snprintf(why, cap, "store %s: %s", file, sqlite3_errmsg(s->db));
	else
		err = of_writer ? 0 : migrate(s->db, file, why, cap);
	if (!err)
		err = prepare(s, file, why, cap);
	if (err)
		close_one(s);
	else
		*out = s;
	return err;
}

int ntm_store_sqlite_open(const char *file, struct ntm_store **out, char *why, size_t cap)
{
	struct sqlite_store *s = NULL, *writer = NULL;
	mode_t mask = umask(077); /* the file and its -wal and -shm: names and addresses are nobody else's business */
	int err = open_one(file, false, &s, why, cap);

	if (!err)
		err = open_one(file, true, &writer, why, cap);
	umask(mask);
	if (!err) {
		err = ntm_sq_writer_start(s, writer);
		if (err)
			snprintf(why, cap, "store %s: its writer: %s", file, strerror(-err));
	}
	if (err) {
		close_one(writer);
		close_one(s);
		return err;
	}
	*out = &s->base;
	return 0;
}
