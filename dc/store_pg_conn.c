/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The connection to PostgreSQL. It is made when the store is opened, and made again by whoever calls, a step at a time,
 * so that nobody waits for a server that is away. A server that hangs is given up after EXEC_MS: what was under way
 * then counts as failed, whatever became of it. So is one that accepts connections and then says nothing, or that is
 * behind something which drops what is sent to it: libpq leaves such a host for the next one of conninfo in its
 * blocking calls only, so each host is tried by itself here.
 */
#include "store_pg.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"

enum {
	EXEC_MS = 2500, /* the server's own limits come first */
	BACKOFF_MIN_MS = 50,
	BACKOFF_MAX_MS = 1000,
	CONNECT_MIN_S = 2,  /* libpq's own */
	CONNECT_MS = 10000, /* one host, which may have several addresses */
	ELEMENT_MAX = 256,  /* of a list of hosts */
};
#define CONNECT_S "2" /* each host, unless conninfo has a connect_timeout */

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

/* Element i of a comma-separated list, "" if there is none; false: it is too long. */
static bool element(const char *list, unsigned i, char out[ELEMENT_MAX])
{
	size_t len;

	out[0] = 0;
	for (; list && i; i--) {
		list = strchr(list, ',');
		list = list ? list + 1 : NULL;
	}
	len = list ? strcspn(list, ",") : 0;
	if (len >= ELEMENT_MAX)
		return false;
	if (len)
		memcpy(out, list, len);
	out[len] = 0;
	return true;
}

static unsigned elements(const char *list)
{
	unsigned n = list && *list;

	for (; n && (list = strchr(list, ',')); list++)
		n++;
	return n;
}

/* Host i by itself; one port may be that of all. False: it cannot be told from the list. */
static bool one_host(const struct ntm_pg_hosts *h, unsigned i, char host[ELEMENT_MAX], char addr[ELEMENT_MAX],
		     char port[ELEMENT_MAX])
{
	return element(h->host, i, host) && element(h->hostaddr, i, addr) &&
	       element(h->port, elements(h->port) > 1 ? i : 0, port) && (*host || *addr);
}

/* Which hosts conninfo (or what it refers to) has, and which of them this connection is to. */
static int learn_hosts(struct ntm_pg_store *s)
{
	PQconninfoOption *all = PQconninfo(s->db);
	struct ntm_pg_hosts *h = &s->hosts;
	char host[ELEMENT_MAX], addr[ELEMENT_MAX], port[ELEMENT_MAX];
	unsigned n;

	for (const PQconninfoOption *o = all; o && o->keyword; o++) {
		if (!o->val)
			continue;
		if (!strcmp(o->keyword, "host"))
			h->host = strdup(o->val);
		else if (!strcmp(o->keyword, "hostaddr"))
			h->hostaddr = strdup(o->val);
		else if (!strcmp(o->keyword, "port"))
			h->port = strdup(o->val);
		else if (!strcmp(o->keyword, "connect_timeout"))
			h->patience_ms = (unsigned)strtoul(o->val, NULL, 10) * 1000;
	}
	PQconninfoFree(all);
	if (!all)
		return -ENOMEM;
	if (h->patience_ms < CONNECT_MIN_S * 1000)
		h->patience_ms = CONNECT_MIN_S * 1000;
	n = elements(h->host) > elements(h->hostaddr) ? elements(h->host) : elements(h->hostaddr);
	for (unsigned i = 0; i < n; i++) {
		if (!one_host(h, i, host, addr, port))
			n = 1; /* then it is left to libpq */
		else if (!strcmp(*host ? host : addr, PQhost(s->db)) && (!*port || !strcmp(port, PQport(s->db))))
			h->at = i;
	}
	h->n = n > 1 ? n : 1;
	if (h->n == 1) {
		h->at = 0;
		h->patience_ms = CONNECT_MS;
	}
	return 0;
}

/* What stands first gives way to conninfo's, what stands last does not; a standby is of no use. */
static PGconn *begin_connection(struct ntm_pg_store *s)
{
	const char *const keys[] = {"connect_timeout",
				    "tcp_user_timeout",
				    "target_session_attrs",
				    "dbname",
				    "application_name",
				    "host",
				    "hostaddr",
				    "port",
				    NULL};
	char name[32], host[ELEMENT_MAX] = "", addr[ELEMENT_MAX] = "", port[ELEMENT_MAX] = "";
	const char *const values[] = {CONNECT_S, "3000", "read-write", s->conninfo, name, host, addr, port, NULL};

	ntm_pg_name(s->holder, name);
	if (s->hosts.n > 1)
		one_host(&s->hosts, s->hosts.at, host, addr, port);
	/* the first time there is nothing else to be done meanwhile */
	return s->db ? PQconnectStartParams(keys, values, 1) : PQconnectdbParams(keys, values, 1);
}

int ntm_pg_connect(struct ntm_pg_store *s, const char *conninfo, char *why, size_t cap)
{
	s->conninfo = strdup(conninfo);
	s->db = s->conninfo ? begin_connection(s) : NULL;
	if (s->db && PQstatus(s->db) == CONNECTION_OK && !learn_hosts(s))
		return set_up(s, why, cap);
	snprintf(why, cap, "%s", s->db ? PQerrorMessage(s->db) : "out of memory");
	ntm_pg_one_line(why);
	return s->db ? -EIO : -ENOMEM;
}

void ntm_pg_disconnect(struct ntm_pg_store *s)
{
	PQfinish(s->db);
	if (s->conninfo)
		ntm_wipe(s->conninfo, strlen(s->conninfo)); /* there may be a password in it */
	free(s->conninfo);
	free(s->hosts.host);
	free(s->hosts.hostaddr);
	free(s->hosts.port);
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

/* A try with the host whose turn it is. */
static bool begin_host(struct ntm_pg_store *s)
{
	PGconn *db = begin_connection(s);

	if (!db)
		return false;
	PQfinish(s->db);
	s->db = db;
	s->step = PGRES_POLLING_WRITING; /* as PQconnectStartParams() leaves it */
	s->retry_at_ms = ntm_pg_now_ms() + s->hosts.patience_ms;
	return PQstatus(db) != CONNECTION_BAD;
}

static void turn(struct ntm_pg_hosts *h)
{
	h->at = h->at + 1 < h->n ? h->at + 1 : 0;
}

/* The one that was tried is of no use: the next one, until all were. */
static int next_host(struct ntm_pg_store *s)
{
	while (++s->hosts.tried < s->hosts.n) {
		turn(&s->hosts);
		if (begin_host(s))
			return 0;
	}
	turn(&s->hosts); /* again from where it began */
	return come_back_later(s);
}

static int begin_round(struct ntm_pg_store *s)
{
	uint64_t now = ntm_pg_now_ms();

	if (now < s->retry_at_ms)
		return -EIO;
	s->connecting = true;
	s->began_ms = now;
	s->hosts.tried = 0;
	return begin_host(s) ? 0 : next_host(s);
}

int ntm_pg_ready(struct ntm_pg_store *s)
{
	uint64_t end;
	char why[160];

	if (!s->connecting && !s->lost && PQstatus(s->db) == CONNECTION_OK)
		return 0;
	if (!s->connecting) {
		give_up_connection(s);
		if (begin_round(s))
			return -EIO;
	}
	/* of all that come meanwhile the first waits, so that a server out of reach costs the others nothing */
	end = s->began_ms + s->patience_ms;
	while (s->step != PGRES_POLLING_OK) {
		struct pollfd p = {PQsocket(s->db), s->step == PGRES_POLLING_READING ? POLLIN : POLLOUT, 0};
		uint64_t now = ntm_pg_now_ms();

		if (s->step == PGRES_POLLING_FAILED || now >= s->retry_at_ms) {
			if (next_host(s))
				return -EIO;
			continue;
		}
		if (poll(&p, 1, now < end ? (int)(end - now) : 0) <= 0)
			return -EIO; /* goes on at the next call */
		s->step = PQconnectPoll(s->db);
	}
	/* an old connection that its server still believes in has the lock: then it is waited for, by the server's
	 * limit */
	if (set_up(s, why, sizeof(why)) || (s->held && !hold(s, "SELECT pg_advisory_lock($1)"))) {
		s->lost = true;
		(void)next_host(s); /* goes on at the next call */
		return -EIO;
	}
	s->connecting = false;
	s->backoff_ms = 0;
	s->retry_at_ms = 0;
	ntm_info("store: PostgreSQL is back");
	return 0;
}
