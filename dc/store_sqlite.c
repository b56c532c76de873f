/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The embedded store: SQLite in WAL mode. Enrolment, tokens and revocation are synced to the disk before they return;
 * presence is not (a power failure may forget where nodes were, never who they are).
 */
#include "store.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"
#include "migrations.h"

#define BUSY_TIMEOUT_MS 1000     /* the whole DC waits: it is one thread */
#define TOKEN_KEEP_S (7 * 86400) /* rows of used and expired tokens, for whoever asks what became of one */

#define NODE_COLUMNS "id, label, public_key, address, created_s, revoked_s, last_seen_s, endpoint, via, online"

enum stmt {
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
	S_ALL_NODES,
	S_ONLINE_NODES,
	S_TOKEN_GET,
	S_TOKEN_USE,
	S_TOKEN_ADD,
	S_TOKEN_PURGE,
	S_OLDEST_REVOKED,
	S_GIVE_UP_INDEX,
	S_NODE_ADD,
	S_REVOKE,
	S_PRESENCE,
	S_COUNT
};

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
    [S_ALL_NODES] = "SELECT " NODE_COLUMNS " FROM nodes ORDER BY label, id",
    [S_ONLINE_NODES] = "SELECT " NODE_COLUMNS " FROM nodes WHERE online = 1",
    [S_TOKEN_GET] = "SELECT label, expires_s, used_s FROM tokens WHERE hash = ?1",
    [S_TOKEN_USE] = "UPDATE tokens SET used_s = ?2, node_id = ?3 WHERE hash = ?1 AND used_s IS NULL",
    [S_TOKEN_ADD] = "INSERT INTO tokens (hash, label, created_s, expires_s) VALUES (?1, ?2, ?3, ?4)",
    [S_TOKEN_PURGE] = "DELETE FROM tokens WHERE expires_s < ?1",
    [S_OLDEST_REVOKED] = "SELECT id, address FROM nodes WHERE revoked_s IS NOT NULL AND address IS NOT NULL "
			 "AND address <= ?1 ORDER BY revoked_s, id LIMIT 1",
    [S_GIVE_UP_INDEX] = "UPDATE nodes SET address = NULL WHERE id = ?1",
    [S_NODE_ADD] = "INSERT INTO nodes (label, public_key, address, created_s) VALUES (?1, ?2, ?3, ?4)",
    [S_REVOKE] = "UPDATE nodes SET revoked_s = ?2, online = 0 WHERE id = ?1",
    [S_PRESENCE] = "UPDATE nodes SET endpoint = ?2, via = ?3, last_seen_s = ?4, online = ?5 "
		   "WHERE id = ?1 AND revoked_s IS NULL",
};

struct sqlite_store {
	struct ntm_store base;
	sqlite3 *db;
	sqlite3_stmt *st[S_COUNT];
};

static struct sqlite_store *impl(struct ntm_store *s)
{
	return (struct sqlite_store *)(void *)s;
}

static int failed(struct sqlite_store *s, const char *what)
{
	static struct ntm_log_limit limit; /* a full disk fails each request of each node */

	ntm_log_limited(&limit, NTM_LOG_ERROR, "store: %s: %s", what, sqlite3_errmsg(s->db));
	return -EIO;
}

/* Statements are reset after use: an open one would hold its read transaction. */
static int step(sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);

	if (rc != SQLITE_ROW)
		sqlite3_reset(st);
	return rc;
}

static int run(struct sqlite_store *s, enum stmt n)
{
	return step(s->st[n]) == SQLITE_DONE ? 0 : failed(s, sql[n]);
}

static int pragma(struct sqlite_store *s, const char *text)
{
	return sqlite3_exec(s->db, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(s, text);
}

static void rollback(struct sqlite_store *s)
{
	/* an error inside the transaction may have ended it already */
	if (!sqlite3_get_autocommit(s->db))
		run(s, S_ROLLBACK);
}

static void pack_addr(const struct ntm_addr *a, uint8_t out[18])
{
	memcpy(out, a->ip, 16);
	memcpy(out + 16, &a->port, 2);
}

static void column_addr(sqlite3_stmt *st, int col, struct ntm_addr *out)
{
	const uint8_t *p = sqlite3_column_blob(st, col);

	memset(out, 0, sizeof(*out));
	if (!p || sqlite3_column_bytes(st, col) != 18)
		return;
	memcpy(out->ip, p, 16);
	memcpy(&out->port, p + 16, 2);
}

static void read_node(sqlite3_stmt *st, struct ntm_node_record *n)
{
	const void *key = sqlite3_column_blob(st, 2);
	const unsigned char *label = sqlite3_column_text(st, 1);

	memset(n, 0, sizeof(*n));
	n->id = (uint64_t)sqlite3_column_int64(st, 0);
	snprintf(n->label, sizeof(n->label), "%s", label ? (const char *)label : "");
	if (key && sqlite3_column_bytes(st, 2) == NTM_DH_LEN)
		memcpy(n->public_key, key, NTM_DH_LEN);
	n->index = (uint32_t)sqlite3_column_int64(st, 3);
	n->created_s = sqlite3_column_int64(st, 4);
	n->revoked_s = sqlite3_column_int64(st, 5);
	n->last_seen_s = sqlite3_column_int64(st, 6);
	column_addr(st, 7, &n->endpoint);
	column_addr(st, 8, &n->via);
	n->online = sqlite3_column_int(st, 9) == 1;
}

/* Runs a bound query for one node. */
static int one_node(struct sqlite_store *s, enum stmt n, struct ntm_node_record *out)
{
	sqlite3_stmt *st = s->st[n];
	int rc = step(st);

	if (rc == SQLITE_ROW) {
		read_node(st, out);
		sqlite3_reset(st);
		return 0;
	}
	return rc == SQLITE_DONE ? -ENOENT : failed(s, sql[n]);
}

static int node_by_key(struct ntm_store *base, const uint8_t key[NTM_DH_LEN], struct ntm_node_record *out)
{
	struct sqlite_store *s = impl(base);

	sqlite3_bind_blob(s->st[S_NODE_BY_KEY], 1, key, NTM_DH_LEN, SQLITE_TRANSIENT);
	return one_node(s, S_NODE_BY_KEY, out);
}

static int node_by_label(struct ntm_store *base, const char *label, struct ntm_node_record *out)
{
	struct sqlite_store *s = impl(base);

	sqlite3_bind_text(s->st[S_NODE_BY_LABEL], 1, label, -1, SQLITE_TRANSIENT);
	return one_node(s, S_NODE_BY_LABEL, out);
}

static int node_by_index(struct ntm_store *base, uint32_t index, struct ntm_node_record *out)
{
	struct sqlite_store *s = impl(base);

	sqlite3_bind_int64(s->st[S_NODE_BY_INDEX], 1, index);
	return one_node(s, S_NODE_BY_INDEX, out);
}

static int each_node(struct ntm_store *base, bool only_online, ntm_store_visit visit, void *arg)
{
	struct sqlite_store *s = impl(base);
	enum stmt n = only_online ? S_ONLINE_NODES : S_ALL_NODES;
	struct ntm_node_record rec;
	int rc, err;

	while ((rc = step(s->st[n])) == SQLITE_ROW) {
		read_node(s->st[n], &rec);
		err = visit(arg, &rec);
		if (err) {
			sqlite3_reset(s->st[n]);
			return err;
		}
	}
	return rc == SQLITE_DONE ? 0 : failed(s, sql[n]);
}

static int setting(struct ntm_store *base, const char *name, const char *text, bool replace, char *was, size_t cap)
{
	struct sqlite_store *s = impl(base);
	sqlite3_stmt *get = s->st[S_SETTING_GET], *set = s->st[S_SETTING_SET];
	int rc;

	sqlite3_bind_text(get, 1, name, -1, SQLITE_TRANSIENT);
	rc = step(get);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return failed(s, sql[S_SETTING_GET]);
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
	return run(s, S_SETTING_SET);
}

static int highest_index(struct ntm_store *base, uint32_t *index)
{
	struct sqlite_store *s = impl(base);
	sqlite3_stmt *st = s->st[S_HIGHEST_INDEX];

	if (step(st) != SQLITE_ROW)
		return failed(s, sql[S_HIGHEST_INDEX]);
	*index = (uint32_t)sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return 0;
}

static int count_nodes(struct ntm_store *base, uint64_t *n)
{
	struct sqlite_store *s = impl(base);
	sqlite3_stmt *st = s->st[S_COUNT_NODES];

	if (step(st) != SQLITE_ROW)
		return failed(s, sql[S_COUNT_NODES]);
	*n = (uint64_t)sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return 0;
}

static int token_hash(const char *token, uint8_t out[NTM_HASH_LEN])
{
	struct ntm_iov in = {token, strlen(token)};

	return ntm_hash(out, &in, 1);
}

/* Is this token good for this label? *bound: it names the label. */
static int check_token(struct sqlite_store *s, const uint8_t hash[NTM_HASH_LEN], const struct ntm_enrolment *e,
		       bool *bound, const char **why)
{
	sqlite3_stmt *st = s->st[S_TOKEN_GET];
	const char *label;
	int rc, err = 0;

	sqlite3_bind_blob(st, 1, hash, NTM_HASH_LEN, SQLITE_TRANSIENT);
	rc = step(st);
	if (rc == SQLITE_DONE) {
		*why = "unknown token";
		return -EACCES;
	}
	if (rc != SQLITE_ROW)
		return failed(s, sql[S_TOKEN_GET]);
	label = (const char *)sqlite3_column_text(st, 0);
	*bound = label;
	if (sqlite3_column_type(st, 2) != SQLITE_NULL) {
		*why = "token used before";
		err = -EACCES;
	} else if (sqlite3_column_int64(st, 1) <= e->now_s) {
		*why = "token expired";
		err = -EACCES;
	} else if (label && strcmp(label, e->label)) {
		*why = "token is for another name";
		err = -EPERM;
	}
	sqlite3_reset(st);
	return err;
}

/* Addresses of revoked nodes are the last to be given again, oldest revocation first. */
static int take_index(struct sqlite_store *s, uint32_t last_index, uint32_t *index)
{
	sqlite3_stmt *oldest = s->st[S_OLDEST_REVOKED];
	uint32_t highest;
	int64_t id;
	int err = highest_index(&s->base, &highest), rc;

	if (err)
		return err;
	if (highest < last_index) {
		*index = highest + 1;
		return 0;
	}
	sqlite3_bind_int64(oldest, 1, last_index);
	rc = step(oldest);
	if (rc == SQLITE_DONE)
		return -ENOSPC;
	if (rc != SQLITE_ROW)
		return failed(s, sql[S_OLDEST_REVOKED]);
	id = sqlite3_column_int64(oldest, 0);
	highest = (uint32_t)sqlite3_column_int64(oldest, 1);
	sqlite3_reset(oldest);
	sqlite3_bind_int64(s->st[S_GIVE_UP_INDEX], 1, id);
	err = run(s, S_GIVE_UP_INDEX);
	if (!err)
		*index = highest;
	return err;
}

static int enrol_inside(struct sqlite_store *s, const struct ntm_enrolment *e, const uint8_t hash[NTM_HASH_LEN],
			struct ntm_node_record *out, const char **why)
{
	sqlite3_stmt *add = s->st[S_NODE_ADD], *use = s->st[S_TOKEN_USE];
	struct ntm_node_record rec;
	uint32_t index;
	bool bound;
	int err = node_by_key(&s->base, e->public_key, out);

	if (err != -ENOENT)
		return err ? err : -EALREADY;
	err = check_token(s, hash, e, &bound, why);
	if (err)
		return err;
	err = node_by_label(&s->base, e->label, &rec);
	if (err && err != -ENOENT)
		return err;
	/* the name of a revoked node passes on only where the operator said so, by a token bound to it */
	if (!err && (!rec.revoked_s || !bound)) {
		*why = rec.revoked_s ? "name of a revoked node: needs a token bound to it" : "name taken";
		return -EEXIST;
	}
	err = take_index(s, e->last_index, &index);
	if (err)
		return err;
	sqlite3_bind_text(add, 1, e->label, -1, SQLITE_TRANSIENT);
	sqlite3_bind_blob(add, 2, e->public_key, NTM_DH_LEN, SQLITE_TRANSIENT);
	sqlite3_bind_int64(add, 3, index);
	sqlite3_bind_int64(add, 4, e->now_s);
	err = run(s, S_NODE_ADD);
	if (err)
		return err;
	sqlite3_bind_blob(use, 1, hash, NTM_HASH_LEN, SQLITE_TRANSIENT);
	sqlite3_bind_int64(use, 2, e->now_s);
	sqlite3_bind_int64(use, 3, sqlite3_last_insert_rowid(s->db));
	err = run(s, S_TOKEN_USE);
	return err ? err : node_by_key(&s->base, e->public_key, out);
}

static int enrol(struct ntm_store *base, const struct ntm_enrolment *e, struct ntm_node_record *out, const char **why)
{
	struct sqlite_store *s = impl(base);
	struct ntm_node_record rec;
	uint8_t hash[NTM_HASH_LEN];
	int err;

	*why = "";
	err = token_hash(e->token, hash);
	if (err)
		return err;
	err = run(s, S_BEGIN);
	if (err)
		return err;
	err = enrol_inside(s, e, hash, &rec, why);
	if (!err)
		err = run(s, S_COMMIT);
	if (err)
		rollback(s);
	if (!err || err == -EALREADY)
		*out = rec;
	return err;
}

static int token_create(struct ntm_store *base, const char *token, const char *label, int64_t now_s, int64_t expires_s)
{
	struct sqlite_store *s = impl(base);
	sqlite3_stmt *add = s->st[S_TOKEN_ADD];
	uint8_t hash[NTM_HASH_LEN];
	int err = token_hash(token, hash);

	if (err)
		return err;
	sqlite3_bind_int64(s->st[S_TOKEN_PURGE], 1, now_s - TOKEN_KEEP_S);
	err = run(s, S_TOKEN_PURGE);
	if (err)
		return err;
	sqlite3_bind_blob(add, 1, hash, NTM_HASH_LEN, SQLITE_TRANSIENT);
	if (label)
		sqlite3_bind_text(add, 2, label, -1, SQLITE_TRANSIENT);
	else
		sqlite3_bind_null(add, 2);
	sqlite3_bind_int64(add, 3, now_s);
	sqlite3_bind_int64(add, 4, expires_s);
	return run(s, S_TOKEN_ADD);
}

static int revoke(struct ntm_store *base, const char *label, int64_t now_s, struct ntm_node_record *out)
{
	struct sqlite_store *s = impl(base);
	struct ntm_node_record rec;
	int err = run(s, S_BEGIN);

	if (err)
		return err;
	err = node_by_label(base, label, &rec);
	if (!err && rec.revoked_s)
		err = -EALREADY;
	if (!err) {
		sqlite3_bind_int64(s->st[S_REVOKE], 1, (int64_t)rec.id);
		sqlite3_bind_int64(s->st[S_REVOKE], 2, now_s);
		err = run(s, S_REVOKE);
	}
	if (!err)
		err = run(s, S_COMMIT);
	if (err)
		rollback(s);
	if (!err) {
		rec.revoked_s = now_s;
		rec.online = false;
	}
	if (!err || err == -EALREADY)
		*out = rec;
	return err;
}

static int save_presence(struct ntm_store *base, const struct ntm_presence *p, size_t n)
{
	struct sqlite_store *s = impl(base);
	sqlite3_stmt *st = s->st[S_PRESENCE];
	uint8_t endpoint[18], via[18];
	int err = pragma(s, "PRAGMA synchronous = NORMAL");

	if (!err)
		err = run(s, S_BEGIN);
	for (size_t i = 0; !err && i < n; i++) {
		pack_addr(&p[i].endpoint, endpoint);
		pack_addr(&p[i].via, via);
		sqlite3_bind_int64(st, 1, (int64_t)p[i].id);
		sqlite3_bind_blob(st, 2, endpoint, sizeof(endpoint), SQLITE_TRANSIENT);
		sqlite3_bind_blob(st, 3, via, sizeof(via), SQLITE_TRANSIENT);
		sqlite3_bind_int64(st, 4, p[i].last_seen_s);
		sqlite3_bind_int(st, 5, p[i].online);
		err = run(s, S_PRESENCE);
	}
	if (!err)
		err = run(s, S_COMMIT);
	if (err)
		rollback(s);
	if (pragma(s, "PRAGMA synchronous = FULL"))
		return -EIO;
	return err;
}

static void store_close(struct ntm_store *base)
{
	struct sqlite_store *s = impl(base);

	for (int i = 0; i < S_COUNT; i++)
		sqlite3_finalize(s->st[i]);
	sqlite3_close(s->db);
	free(s);
}

static const struct ntm_store_ops sqlite_ops = {
    .close = store_close,
    .setting = setting,
    .highest_index = highest_index,
    .count_nodes = count_nodes,
    .node_by_key = node_by_key,
    .node_by_label = node_by_label,
    .node_by_index = node_by_index,
    .each_node = each_node,
    .enrol = enrol,
    .token_create = token_create,
    .revoke = revoke,
    .save_presence = save_presence,
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

int ntm_store_sqlite_open(const char *file, struct ntm_store **out, char *why, size_t cap)
{
	struct sqlite_store *s = calloc(1, sizeof(*s));
	mode_t mask;
	int err = -EIO, rc;

	if (!s) {
		snprintf(why, cap, "out of memory");
		return -ENOMEM;
	}
	s->base.ops = &sqlite_ops;
	mask = umask(077); /* the file and its -wal and -shm: names and addresses are nobody else's business */
	rc = sqlite3_open_v2(file, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK) {
		sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
		rc = sqlite3_exec(s->db,
				  "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON",
				  NULL, NULL, NULL);
	}
	if (rc != SQLITE_OK)
		snprintf(why, cap, "store %s: %s", file, sqlite3_errmsg(s->db));
	else
		err = migrate(s->db, file, why, cap);
	umask(mask);
	for (int i = 0; !err && i < S_COUNT; i++) {
		if (sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->st[i], NULL) != SQLITE_OK) {
			snprintf(why, cap, "store %s: %s: %s", file, sql[i], sqlite3_errmsg(s->db));
			err = -EIO;
		}
	}
	if (err) {
		store_close(&s->base);
		return err;
	}
	*out = &s->base;
	return 0;
}
