/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The connection to PostgreSQL. It is made when the store is opened, and made again by whoever calls, a step at a time,
 * so that nobody waits for a server that is away. A server that hangs is given up after EXEC_MS: what was under way
 * then counts as failed, whatever became of it.
 */
#include "store_pg.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../user/common/log.h"

enum {
	EXEC_MS = 2500, /* the server's own limits come first */
	BACKOFF_MIN_MS = 50,
	BACKOFF_MAX_MS = 1000,
	CONNECT_MS = 10000, /* all hosts of the conninfo together */
};

#define SETTINGS                                                          \
	"SET statement_timeout = 2000; SET lock_timeout = 1000; "         \
	"SET idle_in_transaction_session_timeout = 2000; "                \
	"SET client_min_messages = error; SET client_encoding = 'UTF8'; " \
	"SET default_transaction_isolation = 'read committed'"

uint64_t ntm_pg_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void ntm_pg_one_line(char *text)
{
	text[strcspn(text, "\n")] = 0;
}

void ntm_pg_name(uint64_t holder, char out[32])
{
	snprintf(out, 32, "ntm-dc %" PRIu64, holder);
}

static void give_up_connection(struct ntm_pg_store *s)
{
	if (!s->lost)
		s->times_lost++;
	s->lost = true;
	s->notified = true; /* what was said meanwhile was not heard */
}

/* 1 readable or writable, 0 too late, -1 error */
static int wait_socket(PGconn *db, short events, uint64_t end)
{
	uint64_t now = ntm_pg_now_ms();
	struct pollfd p = {PQsocket(db), events, 0};

	return now >= end ? 0 : poll(&p, 1, (int)(end - now));
}

static PGresult *last_result(PGconn *db, uint64_t end)
{
	PGresult *res = NULL, *more;

	for (;;) {
		int unsent = PQflush(db);

		if (unsent < 0 || !PQconsumeInput(db))
			break;
		if (unsent || PQisBusy(db)) {
			if (wait_socket(db, unsent ? POLLIN | POLLOUT : POLLIN, end) <= 0)
				break;
			continue;
		}
		more = PQgetResult(db);
		if (!more)
			return res;
		/* of several statements the last one's, or that of the one which failed */
		if (!res || PQresultStatus(res) != PGRES_FATAL_ERROR) {
			PQclear(res);
			res = more;
		} else {
			PQclear(more);
		}
	}
	/* what the server said before it went is worth more than that it went */
	if (res && PQresultStatus(res) == PGRES_FATAL_ERROR)
		return res;
	PQclear(res);
	return NULL;
}

PGresult *ntm_pg_exec(struct ntm_pg_store *s, const char *sql, const struct ntm_pg_args *a)
{
	uint64_t end = ntm_pg_now_ms() + EXEC_MS;
	PGresult *res = NULL;
	int sent;

	if (s->lost)
		return NULL;
	sent = a ? PQsendQueryParams(s->db, sql, a->n, NULL, a->values, a->lengths, a->formats, 1)
		 : PQsendQuery(s->db, sql);
	if (sent)
		res = last_result(s->db, end);
	if (!res || PQstatus(s->db) != CONNECTION_OK)
		give_up_connection(s);
	return res;
}

static bool done(const PGresult *res)
{
	ExecStatusType st = PQresultStatus(res);

	return st == PGRES_COMMAND_OK || st == PGRES_TUPLES_OK;
}

static bool run(struct ntm_pg_store *s, const char *sql)
{
	PGresult *res = ntm_pg_exec(s, sql, NULL);
	bool ok = res && done(res);

	PQclear(res);
	return ok;
}

/* Not every server behind this protocol has LISTEN; then it is asked often. */
static void listen_to_changes(struct ntm_pg_store *s)
{
	PGresult *res = ntm_pg_exec(s, "SELECT 'ntm_dc ' || current_schema()", NULL);
	char sql[sizeof(s->channel) + 8], *quoted;

	s->listens = false;
	if (res && done(res) && PQntuples(res) == 1) {
		quoted = PQescapeIdentifier(s->db, PQgetvalue(res, 0, 0), strlen(PQgetvalue(res, 0, 0)));
		if (quoted && strlen(quoted) < sizeof(s->channel)) {
			snprintf(s->channel, sizeof(s->channel), "%s", quoted);
			snprintf(sql, sizeof(sql), "LISTEN %s", quoted);
			s->listens = run(s, sql);
		}
		PQfreemem(quoted);
	}
	PQclear(res);
}

static int set_up(struct ntm_pg_store *s, char *why, size_t cap)
{
	s->lost = false;
	if (PQsetnonblocking(s->db, 1) || !run(s, SETTINGS)) {
		snprintf(why, cap, "%s", PQerrorMessage(s->db));
		ntm_pg_one_line(why);
		return -EIO;
	}
	listen_to_changes(s);
	s->notified = true;
	return 0;
}

int ntm_pg_connect(struct ntm_pg_store *s, const char *conninfo, char *why, size_t cap)
{
	char name[32];
	/* what stands first gives way to conninfo's; a standby is of no use */
	const char *const keys[] = {"connect_timeout", "tcp_user_timeout", "target_session_attrs",
				    "dbname",          "application_name", NULL};
	const char *const values[] = {"3", "3000", "read-write", conninfo, name, NULL};

	ntm_pg_name(s->holder, name);
	s->db = PQconnectdbParams(keys, values, 1);
	if (s->db && PQstatus(s->db) == CONNECTION_OK)
		return set_up(s, why, cap);
	snprintf(why, cap, "%s", s->db ? PQerrorMessage(s->db) : "out of memory");
	ntm_pg_one_line(why);
	return s->db ? -EIO : -ENOMEM;
}

static int come_back_later(struct ntm_pg_store *s)
{
	s->connecting = false;
	s->lost = true;
	s->backoff_ms = s->backoff_ms ? s->backoff_ms * 2 : BACKOFF_MIN_MS;
	if (s->backoff_ms > BACKOFF_MAX_MS)
		s->backoff_ms = BACKOFF_MAX_MS;
	s->retry_at_ms = ntm_pg_now_ms() + s->backoff_ms;
	return -EIO;
}

static bool hold(struct ntm_pg_store *s, const char *lock)
{
	struct ntm_pg_args a = {0};
	PGresult *res;
	bool ok;

	ntm_pg_int(&a, (int64_t)s->holder);
	res = ntm_pg_exec(s, lock, &a);
	ok = res && done(res);
	PQclear(res);
	return ok;
}

int ntm_pg_hold(struct ntm_store *base, char *why, size_t cap)
{
	struct ntm_pg_store *s = ntm_pg(base);

	s->held = hold(s, "SELECT pg_advisory_lock($1)");
	if (s->held)
		return 0;
	snprintf(why, cap, "the PostgreSQL store: %s", PQerrorMessage(s->db));
	ntm_pg_one_line(why);
	return -EIO;
}

static int begin_reset(struct ntm_pg_store *s)
{
	uint64_t now = ntm_pg_now_ms();

	if (now < s->retry_at_ms)
		return -EIO;
	if (!PQresetStart(s->db) || PQstatus(s->db) == CONNECTION_BAD)
		return come_back_later(s);
	s->connecting = true;
	s->step = PGRES_POLLING_WRITING; /* as PQresetStart() leaves it */
	s->began_ms = now;
	s->retry_at_ms = now + CONNECT_MS;
	return 0;
}

int ntm_pg_ready(struct ntm_pg_store *s)
{
	uint64_t end;
	char why[160];

	if (!s->connecting && !s->lost && PQstatus(s->db) == CONNECTION_OK)
		return 0;
	if (!s->connecting) {
		give_up_connection(s);
		if (begin_reset(s))
			return -EIO;
	}
	/* of all that come meanwhile the first waits, so that a server out of reach costs the others nothing */
	end = s->began_ms + s->patience_ms;
	while (s->step != PGRES_POLLING_OK) {
		struct pollfd p = {PQsocket(s->db), s->step == PGRES_POLLING_READING ? POLLIN : POLLOUT, 0};
		uint64_t now = ntm_pg_now_ms();

		if (s->step == PGRES_POLLING_FAILED || now >= s->retry_at_ms)
			return come_back_later(s);
		if (poll(&p, 1, now < end ? (int)(end - now) : 0) <= 0)
			return -EIO; /* goes on at the next call */
		s->step = PQresetPoll(s->db);
	}
	s->connecting = false;
	/* an old connection that its server still believes in has the lock: then it is waited for, by the server's
	 * limit */
	if (set_up(s, why, sizeof(why)) || (s->held && !hold(s, "SELECT pg_advisory_lock($1)")))
		return come_back_later(s);
	s->backoff_ms = 0;
	s->retry_at_ms = 0;
	ntm_info("store: PostgreSQL is back");
	return 0;
}
