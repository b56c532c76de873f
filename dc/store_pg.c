/* SPDX-License-Identifier: BSD-2-Clause */
/* The store that several processes share: connection, transactions, schema, settings. */
#include "store_pg.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"
#include "migrations.h"

enum { TRIES = 8, PATIENCE_MS = 100 }; /* of a transaction that others disturb; for one that somebody waits for */

/* numbers of our own, the same in all versions */
#define LOCK_SCHEMA "SELECT pg_advisory_xact_lock(1314147684)"
#define LOCK_WRITE "SELECT pg_advisory_xact_lock(1314147685)"

void ntm_pg_int(struct ntm_pg_args *a, int64_t v)
{
	a->ints[a->n] = htobe64((uint64_t)v);
	ntm_pg_blob(a, &a->ints[a->n], sizeof(a->ints[0]));
}

void ntm_pg_blob(struct ntm_pg_args *a, const void *data, size_t len)
{
	a->values[a->n] = data;
	a->lengths[a->n] = (int)len;
	a->formats[a->n++] = 1;
}

void ntm_pg_text(struct ntm_pg_args *a, const char *text)
{
	a->values[a->n] = text;
	a->lengths[a->n] = 0;
	a->formats[a->n++] = 0;
}

int64_t ntm_pg_get_int(const PGresult *res, int row, int col)
{
	uint64_t v;

	if (PQgetisnull(res, row, col) || PQgetlength(res, row, col) != sizeof(v))
		return 0;
	memcpy(&v, PQgetvalue(res, row, col), sizeof(v));
	return (int64_t)be64toh(v);
}

/* Is the server no place to write any more? A standby that was connected to, or a primary that became one. */
static bool of_no_use(const char *state)
{
	return !strcmp(state, "25006") || !strncmp(state, "57P0", 4);
}

static int failed(struct ntm_pg_store *s, const PGresult *res)
{
	static struct ntm_log_limit limit;
	const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
	char text[256];

	/* serialization failure, deadlock; unique: another process was first, and the next try sees what it did */
	if (state && (!strcmp(state, "40001") || !strcmp(state, "40P01") || !strcmp(state, "23505")))
		return -EAGAIN;
	if (state && of_no_use(state))
		s->lost = true;
	snprintf(text, sizeof(text), "%s", res ? PQresultErrorMessage(res) : PQerrorMessage(s->db));
	if (!*text)
		snprintf(text, sizeof(text), "no answer");
	ntm_pg_one_line(text);
	ntm_log_limited(&limit, NTM_LOG_ERROR, "store: PostgreSQL: %s", text);
	return -EIO;
}

int ntm_pg_query(struct ntm_pg_store *s, const char *sql, const struct ntm_pg_args *a, PGresult **out)
{
	static const struct ntm_pg_args none;

	for (int i = 0;; i++) {
		/* inside a transaction a new connection is of no use */
		bool inside = !s->lost && PQtransactionStatus(s->db) == PQTRANS_INTRANS;
		PGresult *res;
		int err = inside ? 0 : ntm_pg_ready(s);

		if (err)
			return err;
		res = ntm_pg_exec(s, sql, a ? a : &none);
		if (res && (PQresultStatus(res) == PGRES_COMMAND_OK || PQresultStatus(res) == PGRES_TUPLES_OK)) {
			if (out)
				*out = res;
			else
				PQclear(res);
			return 0;
		}
		if (!inside && !i && s->lost) { /* the server was restarted meanwhile */
			PQclear(res);
			continue;
		}
		err = failed(s, res);
		PQclear(res);
		return err;
	}
}

static int commit(struct ntm_pg_store *s)
{
	PGresult *res;
	int err = ntm_pg_query(s, "COMMIT", NULL, &res);

	if (err) {
		s->doubtful = true; /* the answer is lost, the transaction may not be */
		return err;
	}
	if (strcmp(PQcmdStatus(res), "COMMIT") != 0)
		err = failed(s, NULL);
	PQclear(res);
	return err;
}

static int try_transaction(struct ntm_pg_store *s, enum ntm_pg_kind kind, ntm_pg_work work, void *arg)
{
	int err = ntm_pg_query(s, "BEGIN", NULL, NULL);

	if (err)
		return err;
	/* what is written behind goes row by row, in the order of rows: nobody waits for it */
	err = kind == NTM_PG_BEHIND ? ntm_pg_query(s, "SET LOCAL synchronous_commit = off", NULL, NULL)
				    : ntm_pg_query(s, LOCK_WRITE, NULL, NULL);
	if (!err)
		err = work(s, arg);
	if (!err)
		err = commit(s);
	if (err && !s->lost && PQtransactionStatus(s->db) != PQTRANS_IDLE)
		PQclear(ntm_pg_exec(s, "ROLLBACK", NULL)); /* a lost connection has rolled back by itself */
	return err;
}

int ntm_pg_transaction(struct ntm_pg_store *s, enum ntm_pg_kind kind, ntm_pg_work work, void *arg)
{
	int err = -EAGAIN;

	s->patience_ms = kind == NTM_PG_BEHIND ? 0 : PATIENCE_MS;
	for (int i = 0; err == -EAGAIN && i < TRIES; i++)
		err = try_transaction(s, kind, work, arg);
	s->patience_ms = 0;
	if (err != -EAGAIN)
		return err;
	ntm_warn_limited("store: PostgreSQL: a transaction was disturbed %d times", TRIES);
	return -EIO;
}

struct setting_job {
	const char *name, *text;
	bool replace;
	char *was;
	size_t cap;
};

static int setting_inside(struct ntm_pg_store *s, void *arg)
{
	const struct setting_job *j = arg;
	struct ntm_pg_args a = {0};
	bool same = false, there;
	PGresult *res;
	int err;

	ntm_pg_text(&a, j->name);
	err = ntm_pg_query(s, "SELECT value FROM settings WHERE name = $1", &a, &res);
	if (err)
		return err;
	there = PQntuples(res) > 0;
	if (there) {
		same = !strcmp(PQgetvalue(res, 0, 0), j->text);
		if (!same && !j->replace)
			snprintf(j->was, j->cap, "%s", PQgetvalue(res, 0, 0));
	}
	PQclear(res);
	if (there && (same || !j->replace))
		return same ? 0 : -EEXIST;
	ntm_pg_text(&a, j->text);
	err = ntm_pg_query(s,
			   "INSERT INTO settings (name, value) VALUES ($1, $2) "
			   "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
			   &a, NULL);
	return err ? err : ntm_pg_note_change(s, "setting", 0, j->name);
}

static int setting(struct ntm_store *base, const char *name, const char *text, bool replace, char *was, size_t cap)
{
	struct setting_job j = {name, text, replace, was, cap};

	return ntm_pg_transaction(ntm_pg(base), NTM_PG_AWAITED, setting_inside, &j);
}

static void store_close(struct ntm_store *base)
{
	struct ntm_pg_store *s = ntm_pg(base);

	ntm_pg_disconnect(s);
	free(s);
}

static const struct ntm_store_ops pg_ops = {
    .close = store_close,
    .setting = setting,
    .highest_index = ntm_pg_highest_index,
    .count_nodes = ntm_pg_count_nodes,
    .node_by_key = ntm_pg_node_by_key,
    .node_by_label = ntm_pg_node_by_label,
    .node_by_index = ntm_pg_node_by_index,
    .node_after_index = ntm_pg_node_after_index,
    .each_node = ntm_pg_each_node,
    .enrol = ntm_pg_enrol,
    .admit = ntm_pg_admit,
    .token_create = ntm_pg_token_create,
    .revoke = ntm_pg_revoke,
    .rekey = ntm_pg_rekey,
    .save_presence = ntm_pg_save_presence,
    .save_paths = ntm_pg_save_paths,
    .take_paths = ntm_pg_take_paths,
    .each_path = ntm_pg_each_path,
    .remove_paths = ntm_pg_remove_paths,
    .purge_paths = ntm_pg_purge_paths,
    .join = ntm_pg_join,
    .holder = ntm_pg_holder,
    .leave = ntm_pg_leave,
    .each_process = ntm_pg_each_process,
    .process_gone = ntm_pg_process_gone,
    .node_by_id = ntm_pg_node_by_id,
    .changes = ntm_pg_changes,
    .health = ntm_pg_health,
};

static int run(struct ntm_pg_store *s, const char *sql, char *why, size_t cap)
{
	PGresult *res = ntm_pg_exec(s, sql, NULL);
	ExecStatusType st = PQresultStatus(res);
	bool ok = st == PGRES_COMMAND_OK || st == PGRES_TUPLES_OK;

	if (!ok) {
		snprintf(why, cap, "the PostgreSQL store: %s", PQerrorMessage(s->db));
		ntm_pg_one_line(why);
	}
	PQclear(res);
	return ok ? 0 : -EIO;
}

/* All migrations that are due are one transaction; a second process waits for the first and finds nothing to do. */
static int migrate(struct ntm_pg_store *s, char *why, size_t cap)
{
	char text[96];
	PGresult *res;
	long version;
	int err = run(s, "BEGIN", why, cap);

	if (!err)
		err = run(s, LOCK_SCHEMA, why, cap);
	if (!err)
		err = run(s, "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)", why, cap);
	if (err)
		return err;
	res = ntm_pg_exec(s, "SELECT coalesce(max(version), 0) FROM schema_version", NULL);
	if (PQresultStatus(res) != PGRES_TUPLES_OK) {
		snprintf(why, cap, "the PostgreSQL store: %s", PQerrorMessage(s->db));
		ntm_pg_one_line(why);
		PQclear(res);
		return -EIO;
	}
	version = strtol(PQgetvalue(res, 0, 0), NULL, 10);
	PQclear(res);
	if (version < 0 || (size_t)version > ntm_n_pg_migrations) {
		snprintf(why, cap,
			 "the PostgreSQL store has version %ld, this program knows versions up to %zu: use a newer one",
			 version, ntm_n_pg_migrations);
		return -ENOTSUP;
	}
	for (; !err && (size_t)version < ntm_n_pg_migrations; version++) {
		snprintf(text, sizeof(text), "INSERT INTO schema_version (version) VALUES (%ld)", version + 1);
		err = run(s, ntm_pg_migrations[version], why, cap);
		if (!err)
			err = run(s, text, why, cap);
	}
	return err ? err : run(s, "COMMIT", why, cap);
}

int ntm_store_pg_open(const char *conninfo, struct ntm_store **out, char *why, size_t cap)
{
	struct ntm_pg_store *s = calloc(1, sizeof(*s));
	char text[200] = "";
	int err;

	if (!s || ntm_random(&s->holder, sizeof(s->holder))) {
		free(s);
		snprintf(why, cap, "out of memory");
		return -ENOMEM;
	}
	s->base.ops = &pg_ops;
	s->holder &= INT64_MAX;
	err = ntm_pg_connect(s, conninfo, text, sizeof(text));
	if (err)
		snprintf(why, cap, "the PostgreSQL store: %s", text);
	else
		err = migrate(s, why, cap);
	if (err) {
		store_close(&s->base);
		return err;
	}
	*out = &s->base;
	return 0;
}
