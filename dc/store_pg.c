/* SPDX-License-Identifier: BSD-2-Clause */
/* The store that several processes share: connection, transactions, schema, settings. */
#include "store_pg.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"
#include "migrations.h"

enum {
	RECONNECT_STEP_MS = 100, /* what one call may wait for a connection under way */
	BACKOFF_MIN_MS = 50,
	BACKOFF_MAX_MS = 1000,
	TRIES = 8, /* of a transaction that others disturb */
};

#define LOCK_SCHEMA "SELECT pg_advisory_xact_lock(1314147684)" /* numbers of our own, the same in all versions */
#define LOCK_WRITE "SELECT pg_advisory_xact_lock(1314147685)"
#define CLAIM "1314147686, hashtext(current_schema())"
#define SETTINGS                                                          \
	"SET statement_timeout = 2000; SET lock_timeout = 1000; "         \
	"SET idle_in_transaction_session_timeout = 2000; "                \
	"SET client_min_messages = error; SET client_encoding = 'UTF8'; " \
	"SET default_transaction_isolation = 'read committed'"

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void one_line(char *text)
{
	text[strcspn(text, "\n")] = 0;
}

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

void ntm_pg_name(uint64_t holder, char out[32])
{
	snprintf(out, 32, "ntm-dc %" PRIu64, holder);
}

PGconn *ntm_pg_connect(const char *conninfo, uint64_t holder)
{
	char name[32];
	/* what stands first gives way to conninfo's */
	const char *const keys[] = {"connect_timeout", "tcp_user_timeout", "dbname", "application_name", NULL};
	const char *const values[] = {"3", "3000", conninfo, name, NULL};

	ntm_pg_name(holder, name);
	return PQconnectdbParams(keys, values, 1);
}

int ntm_pg_set_up(PGconn *db, char *why, size_t cap)
{
	PGresult *res = PQstatus(db) == CONNECTION_OK ? PQexec(db, SETTINGS) : NULL;
	bool ok = res && PQresultStatus(res) == PGRES_COMMAND_OK;

	if (!ok) {
		snprintf(why, cap, "%s", PQerrorMessage(db));
		one_line(why);
	}
	PQclear(res);
	return ok ? 0 : -EIO;
}

static int come_back_later(struct ntm_pg_store *s)
{
	s->connecting = false;
	s->backoff_ms = s->backoff_ms ? s->backoff_ms * 2 : BACKOFF_MIN_MS;
	if (s->backoff_ms > BACKOFF_MAX_MS)
		s->backoff_ms = BACKOFF_MAX_MS;
	s->retry_at_ms = now_ms() + s->backoff_ms;
	return -EIO;
}

/* Waits as long as for any lock: a process that was killed just now holds it a moment longer. */
int ntm_pg_claim(struct ntm_store *base, char *why, size_t cap)
{
	struct ntm_pg_store *s = ntm_pg(base);
	PGresult *res = PQexec(s->db, "SELECT pg_advisory_lock(" CLAIM ")");
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	int err = PQresultStatus(res) == PGRES_TUPLES_OK ? 0 : state && !strcmp(state, "55P03") ? -EBUSY : -EIO;

	s->exclusive = !err;
	if (err == -EBUSY) {
		snprintf(why, cap, "the PostgreSQL store is in use by another ntm-dc");
	} else if (err) {
		snprintf(why, cap, "the PostgreSQL store: %s", PQerrorMessage(s->db));
		one_line(why);
	}
	PQclear(res);
	return err;
}

/* The claim went with the connection. It does not wait: the loop would. */
static bool claimed_again(struct ntm_pg_store *s)
{
	PGresult *res;
	bool ok;

	if (!s->exclusive)
		return true;
	res = PQexec(s->db, "SELECT pg_try_advisory_lock(" CLAIM ")");
	ok = PQresultStatus(res) == PGRES_TUPLES_OK && *PQgetvalue(res, 0, 0) == 't';
	PQclear(res);
	if (!ok)
		ntm_warn_limited("store: PostgreSQL is back, but another ntm-dc has the store");
	return ok;
}

/* There is a connection, or a step is taken towards one. */
static int ready(struct ntm_pg_store *s)
{
	PostgresPollingStatusType step = PGRES_POLLING_WRITING; /* as PQresetStart() leaves it */
	uint64_t end = now_ms() + RECONNECT_STEP_MS, now;
	char why[160];

	if (!s->connecting && PQstatus(s->db) == CONNECTION_OK)
		return 0;
	/* an attempt that failed long ago is no reason to refuse this call */
	if (s->connecting) {
		step = PQresetPoll(s->db);
		if (step == PGRES_POLLING_FAILED)
			s->connecting = false;
	}
	if (!s->connecting) {
		step = PGRES_POLLING_WRITING;
		if (now_ms() < s->retry_at_ms)
			return -EIO;
		if (!PQresetStart(s->db) || PQstatus(s->db) == CONNECTION_BAD)
			return come_back_later(s);
		s->connecting = true;
	}
	while (step != PGRES_POLLING_OK) {
		struct pollfd p = {PQsocket(s->db), step == PGRES_POLLING_READING ? POLLIN : POLLOUT, 0};

		if (step == PGRES_POLLING_FAILED)
			return come_back_later(s);
		now = now_ms();
		if (now >= end || poll(&p, 1, (int)(end - now)) <= 0)
			return -EIO; /* goes on at the next call */
		step = PQresetPoll(s->db);
	}
	s->connecting = false;
	if (ntm_pg_set_up(s->db, why, sizeof(why)))
		return come_back_later(s);
	if (!claimed_again(s)) {
		come_back_later(s);
		s->connecting = !!PQresetStart(s->db); /* not a connection that may be used */
		return -EIO;
	}
	s->backoff_ms = 0;
	ntm_info("store: PostgreSQL is back");
	return 0;
}

static int failed(struct ntm_pg_store *s, const PGresult *res)
{
	static struct ntm_log_limit limit;
	const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
	char text[256];

	if (state && (!strcmp(state, "40001") || !strcmp(state, "40P01")))
		return -EAGAIN;
	snprintf(text, sizeof(text), "%s", res ? PQresultErrorMessage(res) : PQerrorMessage(s->db));
	one_line(text);
	ntm_log_limited(&limit, NTM_LOG_ERROR, "store: PostgreSQL: %s", text);
	return -EIO;
}

int ntm_pg_query(struct ntm_pg_store *s, const char *sql, const struct ntm_pg_args *a, PGresult **out)
{
	for (int i = 0;; i++) {
		/* inside a transaction a new connection is of no use */
		bool inside = PQtransactionStatus(s->db) == PQTRANS_INTRANS;
		PGresult *res;
		int err = inside ? 0 : ready(s);

		if (err)
			return err;
		res = PQexecParams(s->db, sql, a ? a->n : 0, NULL, a ? a->values : NULL, a ? a->lengths : NULL,
				   a ? a->formats : NULL, 1);
		if (PQresultStatus(res) == PGRES_COMMAND_OK || PQresultStatus(res) == PGRES_TUPLES_OK) {
			if (out)
				*out = res;
			else
				PQclear(res);
			return 0;
		}
		if (!inside && !i && PQstatus(s->db) == CONNECTION_BAD) { /* the server was restarted meanwhile */
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

	if (err)
		return err;
	if (strcmp(PQcmdStatus(res), "COMMIT") != 0)
		err = failed(s, NULL);
	PQclear(res);
	return err;
}

int ntm_pg_transaction(struct ntm_pg_store *s, bool synced, ntm_pg_work work, void *arg)
{
	for (int i = 0; i < TRIES; i++) {
		int err = ntm_pg_query(s, "BEGIN", NULL, NULL);

		if (err)
			return err;
		if (!synced)
			err = ntm_pg_query(s, "SET LOCAL synchronous_commit = off", NULL, NULL);
		if (!err)
			err = ntm_pg_query(s, LOCK_WRITE, NULL, NULL);
		if (!err)
			err = work(s, arg);
		if (!err)
			err = commit(s);
		if (err && PQtransactionStatus(s->db) != PQTRANS_IDLE)
			PQclear(PQexec(s->db, "ROLLBACK")); /* a lost connection has rolled back by itself */
		if (err != -EAGAIN)
			return err;
	}
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
	return ntm_pg_query(s,
			    "INSERT INTO settings (name, value) VALUES ($1, $2) "
			    "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
			    &a, NULL);
}

static int setting(struct ntm_store *base, const char *name, const char *text, bool replace, char *was, size_t cap)
{
	struct setting_job j = {name, text, replace, was, cap};

	return ntm_pg_transaction(ntm_pg(base), true, setting_inside, &j);
}

static void store_close(struct ntm_store *base)
{
	struct ntm_pg_store *s = ntm_pg(base);

	PQfinish(s->db);
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
    .save_presence = ntm_pg_save_presence,
    .save_paths = ntm_pg_save_paths,
    .each_path = ntm_pg_each_path,
    .remove_path = ntm_pg_remove_path,
    .purge_paths = ntm_pg_purge_paths,
};

static int run(PGconn *db, const char *sql, char *why, size_t cap)
{
	PGresult *res = PQexec(db, sql);
	ExecStatusType st = PQresultStatus(res);
	bool ok = st == PGRES_COMMAND_OK || st == PGRES_TUPLES_OK;

	if (!ok) {
		snprintf(why, cap, "the PostgreSQL store: %s", PQerrorMessage(db));
		one_line(why);
	}
	PQclear(res);
	return ok ? 0 : -EIO;
}

/* All migrations that are due are one transaction; a second process waits for the first and finds nothing to do. */
static int migrate(PGconn *db, char *why, size_t cap)
{
	char text[96];
	PGresult *res;
	long version;
	int err = run(db, "BEGIN", why, cap);

	if (!err)
		err = run(db, LOCK_SCHEMA, why, cap);
	if (!err)
		err = run(db, "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)", why, cap);
	if (err)
		return err;
	res = PQexec(db, "SELECT coalesce(max(version), 0) FROM schema_version");
	if (PQresultStatus(res) != PGRES_TUPLES_OK) {
		snprintf(why, cap, "the PostgreSQL store: %s", PQerrorMessage(db));
		one_line(why);
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
		err = run(db, ntm_pg_migrations[version], why, cap);
		if (!err)
			err = run(db, text, why, cap);
	}
	return err ? err : run(db, "COMMIT", why, cap);
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
	s->db = ntm_pg_connect(conninfo, s->holder);
	err = s->db ? ntm_pg_set_up(s->db, text, sizeof(text)) : -ENOMEM;
	if (err)
		snprintf(why, cap, "the PostgreSQL store: %s", s->db ? text : "out of memory");
	else
		err = migrate(s->db, why, cap);
	if (err) {
		store_close(&s->base);
		return err;
	}
	*out = &s->base;
	return 0;
}
