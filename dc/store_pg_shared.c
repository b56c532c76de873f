/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several processes over one PostgreSQL: who has the store open, and what the others changed. A process holds an
 * advisory lock on its number as long as its connection lives: who gets that lock knows that the process does not.
 */
#include "store_pg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	LOOK_MS = 1000, /* for changes, though none was heard of */
	ASK_MS = 40,    /* where nothing is heard */
	CHANGES_AT_ONCE = 1000,
};

int ntm_pg_note_change(struct ntm_pg_store *s, const char *kind, uint64_t node_id, const char *name)
{
	struct ntm_pg_args a = {0}, none = {0};
	int err;

	ntm_pg_int(&a, (int64_t)s->holder);
	ntm_pg_text(&a, kind);
	ntm_pg_int(&a, (int64_t)node_id);
	ntm_pg_text(&a, name);
	err = ntm_pg_query(s,
			   "INSERT INTO changes (made_ms, holder, kind, node_id, name) VALUES "
			   "((extract(epoch FROM clock_timestamp()) * 1000)::bigint, $1, $2, $3, $4)",
			   &a, NULL);
	if (err || !s->listens)
		return err;
	return ntm_pg_query(s, "SELECT pg_notify('ntm_dc ' || current_schema(), '')", &none, NULL);
}

static int last_change(struct ntm_pg_store *s, int64_t *seq)
{
	PGresult *res;
	int err = ntm_pg_query(s, "SELECT coalesce(max(seq), 0) FROM changes", NULL, &res);

	if (err)
		return err;
	*seq = ntm_pg_get_int(res, 0, 0);
	PQclear(res);
	return 0;
}

static int other_key(struct ntm_pg_store *s, const struct ntm_process_record *me)
{
	struct ntm_pg_args a = {0};
	PGresult *res;
	int err;

	ntm_pg_int(&a, (int64_t)s->holder);
	ntm_pg_blob(&a, me->public_key, sizeof(me->public_key));
	err = ntm_pg_query(s, "SELECT 1 FROM processes WHERE holder <> $1 AND public_key <> $2 LIMIT 1", &a, &res);
	if (err)
		return err;
	err = PQntuples(res) > 0 ? -EBUSY : 0;
	PQclear(res);
	return err;
}

static int join_inside(struct ntm_pg_store *s, void *arg)
{
	const struct ntm_process_record *me = arg;
	uint8_t addrs[NTM_STORE_PROCESS_ADDRS * NTM_PG_ADDR_LEN];
	struct ntm_pg_args own = {0}, a = {0};
	int err;

	for (size_t i = 0; i < me->n_addrs; i++) {
		memcpy(addrs + i * NTM_PG_ADDR_LEN, me->addrs[i].ip, 16);
		memcpy(addrs + i * NTM_PG_ADDR_LEN + 16, &me->addrs[i].port, 2);
	}
	ntm_pg_int(&own, (int64_t)s->holder);
	err = ntm_pg_query(s, "DELETE FROM processes WHERE holder <> $1 AND pg_try_advisory_xact_lock(holder)", &own,
			   NULL);
	if (!err)
		err = other_key(s, me);
	if (err)
		return err;
	ntm_pg_int(&a, (int64_t)s->holder);
	ntm_pg_blob(&a, me->public_key, sizeof(me->public_key));
	ntm_pg_blob(&a, addrs, me->n_addrs * NTM_PG_ADDR_LEN);
	err = ntm_pg_query(s,
			   "INSERT INTO processes (holder, public_key, addresses, joined_s) "
			   "VALUES ($1, $2, $3, extract(epoch FROM clock_timestamp())::bigint) "
			   "ON CONFLICT (holder) DO UPDATE SET addresses = excluded.addresses",
			   &a, NULL);
	return err ? err : ntm_pg_note_change(s, "process", 0, NULL);
}

int ntm_pg_join(struct ntm_store *base, const struct ntm_process_record *me)
{
	struct ntm_pg_store *s = ntm_pg(base);
	int err = 0;

	/* what came before is what the caller reads anyway */
	if (!s->seq)
		err = last_change(s, &s->seq);
	return err ? err : ntm_pg_transaction(s, NTM_PG_AWAITED, join_inside, (void *)me);
}

uint64_t ntm_pg_holder(const struct ntm_store *base)
{
	return ((const struct ntm_pg_store *)(const void *)base)->holder;
}

static int leave_inside(struct ntm_pg_store *s, void *arg)
{
	struct ntm_pg_args a = {0};
	int err;

	ntm_pg_int(&a, *(const int64_t *)arg);
	err = ntm_pg_query(s, "DELETE FROM processes WHERE holder = $1", &a, NULL);
	return err ? err : ntm_pg_note_change(s, "process", 0, NULL);
}

int ntm_pg_leave(struct ntm_store *base, uint64_t holder)
{
	int64_t n = (int64_t)holder;

	return ntm_pg_transaction(ntm_pg(base), NTM_PG_AWAITED, leave_inside, &n);
}

static void read_process(const PGresult *res, int row, struct ntm_process_record *p)
{
	const char *addrs = PQgetvalue(res, row, 2);

	memset(p, 0, sizeof(*p));
	p->holder = (uint64_t)ntm_pg_get_int(res, row, 0);
	if (PQgetlength(res, row, 1) == NTM_DH_LEN)
		memcpy(p->public_key, PQgetvalue(res, row, 1), NTM_DH_LEN);
	p->n_addrs = (size_t)PQgetlength(res, row, 2) / NTM_PG_ADDR_LEN;
	if (p->n_addrs > NTM_STORE_PROCESS_ADDRS)
		p->n_addrs = NTM_STORE_PROCESS_ADDRS;
	for (size_t i = 0; i < p->n_addrs; i++) {
		memcpy(p->addrs[i].ip, addrs + i * NTM_PG_ADDR_LEN, 16);
		memcpy(&p->addrs[i].port, addrs + i * NTM_PG_ADDR_LEN + 16, 2);
	}
}

int ntm_pg_each_process(struct ntm_store *base, ntm_store_visit_process visit, void *arg)
{
	struct ntm_process_record rec;
	PGresult *res;
	int err = ntm_pg_query(ntm_pg(base), "SELECT holder, public_key, addresses FROM processes ORDER BY holder",
			       NULL, &res);

	if (err)
		return err;
	for (int i = 0; !err && i < PQntuples(res); i++) {
		read_process(res, i, &rec);
		err = visit(arg, &rec);
	}
	PQclear(res);
	return err;
}

int ntm_pg_process_gone(struct ntm_store *base, uint64_t holder)
{
	struct ntm_pg_args a = {0};
	PGresult *res;
	int err;

	ntm_pg_int(&a, (int64_t)holder);
	err = ntm_pg_query(ntm_pg(base), "SELECT pg_try_advisory_xact_lock($1)::int::bigint", &a, &res);
	if (err)
		return err;
	err = ntm_pg_get_int(res, 0, 0) == 1 ? 0 : -EBUSY;
	PQclear(res);
	return err;
}

static enum ntm_store_change_kind kind_of(const char *text)
{
	if (!strcmp(text, "node"))
		return NTM_STORE_NODE;
	if (!strcmp(text, "revoked"))
		return NTM_STORE_REVOKED;
	if (!strcmp(text, "setting"))
		return NTM_STORE_SETTING;
	if (!strcmp(text, "process"))
		return NTM_STORE_PROCESSES;
	return NTM_STORE_MISSED; /* a newer version's */
}

/* Rows are cleared away after a day: who was cut off for longer has missed some. */
static int missed_some(struct ntm_pg_store *s, bool *missed)
{
	struct ntm_pg_args a = {0};
	PGresult *res;
	int err;

	ntm_pg_int(&a, s->seq);
	err = ntm_pg_query(s,
			   "SELECT (min(seq) > $1::bigint + 1 AND $1 > 0 AND NOT EXISTS "
			   "(SELECT 1 FROM changes WHERE seq = $1))::int::bigint FROM changes",
			   &a, &res);
	if (err)
		return err;
	*missed = ntm_pg_get_int(res, 0, 0) == 1;
	PQclear(res);
	return 0;
}

static int tell(struct ntm_pg_store *s, const PGresult *res, bool own_too, ntm_store_visit_change visit, void *arg)
{
	int err = 0;

	for (int i = 0; !err && i < PQntuples(res); i++) {
		struct ntm_store_change c = {
		    .kind = kind_of(PQgetvalue(res, i, 2)),
		    .node_id = (uint64_t)ntm_pg_get_int(res, i, 3),
		    .name = PQgetvalue(res, i, 4),
		    .lag_ms = (uint32_t)(ntm_pg_get_int(res, i, 5) > 0 ? ntm_pg_get_int(res, i, 5) : 0),
		};

		if (own_too || (uint64_t)ntm_pg_get_int(res, i, 1) != s->holder)
			err = visit(arg, &c);
		if (!err)
			s->seq = ntm_pg_get_int(res, i, 0);
	}
	return err;
}

static int read_changes(struct ntm_pg_store *s, ntm_store_visit_change visit, void *arg)
{
	bool missed = false, own_too = s->doubtful;
	int err = missed_some(s, &missed), n;

	if (!err && missed) {
		const struct ntm_store_change c = {.kind = NTM_STORE_MISSED};

		err = visit(arg, &c);
	}
	do {
		struct ntm_pg_args a = {0};
		PGresult *res;

		ntm_pg_int(&a, s->seq);
		ntm_pg_int(&a, CHANGES_AT_ONCE);
		if (!err)
			err = ntm_pg_query(s,
					   "SELECT seq, holder, kind, node_id, name, "
					   "(extract(epoch FROM clock_timestamp()) * 1000)::bigint - made_ms "
					   "FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2",
					   &a, &res);
		if (err)
			return err;
		n = PQntuples(res);
		err = tell(s, res, own_too, visit, arg);
		PQclear(res);
	} while (!err && n == CHANGES_AT_ONCE);
	if (!err)
		s->doubtful = false;
	return err;
}

int ntm_pg_changes(struct ntm_store *base, ntm_store_visit_change visit, void *arg)
{
	struct ntm_pg_store *s = ntm_pg(base);
	uint64_t now = ntm_pg_now_ms();
	PGnotify *n;
	int err = ntm_pg_ready(s);

	if (err)
		return err;
	if (!PQconsumeInput(s->db)) {
		s->lost = true;
		return -EIO;
	}
	while ((n = PQnotifies(s->db))) {
		s->notifications++;
		s->notified = true;
		PQfreemem(n);
	}
	if (!s->notified && now - s->looked_ms < (s->listens ? LOOK_MS : ASK_MS))
		return 0;
	s->looked_ms = now;
	s->notified = false;
	err = read_changes(s, visit, arg);
	if (err)
		s->notified = true;
	return err;
}

struct ntm_store_health ntm_pg_health(const struct ntm_store *base)
{
	const struct ntm_pg_store *s = (const struct ntm_pg_store *)(const void *)base;

	return (struct ntm_store_health){
	    .up = !s->lost && !s->connecting,
	    .listens = s->listens,
	    .notifications = s->notifications,
	    .lost = s->times_lost,
	};
}
