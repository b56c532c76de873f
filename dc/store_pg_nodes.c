/* SPDX-License-Identifier: BSD-2-Clause */
#include "store_pg.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SELECT_NODES                                                                                              \
	"SELECT id, label, public_key, address, created_s, revoked_s, last_seen_s, endpoint, via, online, relay " \
	"FROM nodes "

static void get_addr(const PGresult *res, int row, int col, struct ntm_addr *out)
{
	const char *p = PQgetvalue(res, row, col);

	if (PQgetlength(res, row, col) != NTM_PG_ADDR_LEN)
		return;
	memcpy(out->ip, p, 16);
	memcpy(&out->port, p + 16, 2);
}

static void read_node(const PGresult *res, int row, struct ntm_node_record *n)
{
	memset(n, 0, sizeof(*n));
	n->id = (uint64_t)ntm_pg_get_int(res, row, 0);
	snprintf(n->label, sizeof(n->label), "%s", PQgetvalue(res, row, 1));
	if (PQgetlength(res, row, 2) == NTM_DH_LEN)
		memcpy(n->public_key, PQgetvalue(res, row, 2), NTM_DH_LEN);
	n->index = (uint32_t)ntm_pg_get_int(res, row, 3);
	n->created_s = ntm_pg_get_int(res, row, 4);
	n->revoked_s = ntm_pg_get_int(res, row, 5);
	n->last_seen_s = ntm_pg_get_int(res, row, 6);
	get_addr(res, row, 7, &n->endpoint);
	get_addr(res, row, 8, &n->via);
	n->online = ntm_pg_get_int(res, row, 9) == 1;
	n->relay = ntm_pg_get_int(res, row, 10) == 1;
}

static int one_node(struct ntm_store *base, const char *sql, const struct ntm_pg_args *a, struct ntm_node_record *out)
{
	PGresult *res;
	int err = ntm_pg_query(ntm_pg(base), sql, a, &res);

	if (err)
		return err;
	if (PQntuples(res) > 0)
		read_node(res, 0, out);
	else
		err = -ENOENT;
	PQclear(res);
	return err;
}

int ntm_pg_node_by_key(struct ntm_store *base, const uint8_t key[NTM_DH_LEN], struct ntm_node_record *out)
{
	struct ntm_pg_args a = {0};

	ntm_pg_blob(&a, key, NTM_DH_LEN);
	return one_node(base, SELECT_NODES "WHERE public_key = $1", &a, out);
}

int ntm_pg_node_by_label(struct ntm_store *base, const char *label, struct ntm_node_record *out)
{
	struct ntm_pg_args a = {0};

	ntm_pg_text(&a, label);
	return one_node(base, SELECT_NODES "WHERE label = $1 ORDER BY revoked_s IS NOT NULL, revoked_s DESC LIMIT 1",
			&a, out);
}

int ntm_pg_node_by_index(struct ntm_store *base, uint32_t index, struct ntm_node_record *out)
{
	struct ntm_pg_args a = {0};

	ntm_pg_int(&a, index);
	return one_node(base, SELECT_NODES "WHERE address = $1", &a, out);
}

int ntm_pg_node_after_index(struct ntm_store *base, uint32_t index, struct ntm_node_record *out)
{
	struct ntm_pg_args a = {0};

	ntm_pg_int(&a, index);
	return one_node(base, SELECT_NODES "WHERE address > $1 AND revoked_s IS NULL ORDER BY address LIMIT 1", &a,
			out);
}

int ntm_pg_node_by_id(struct ntm_store *base, uint64_t id, struct ntm_node_record *out)
{
	struct ntm_pg_args a = {0};

	ntm_pg_int(&a, (int64_t)id);
	return one_node(base, SELECT_NODES "WHERE id = $1", &a, out);
}

int ntm_pg_each_node(struct ntm_store *base, enum ntm_store_nodes which, ntm_store_visit visit, void *arg)
{
	static const char *const statements[] = {
	    [NTM_STORE_ALL] = SELECT_NODES "ORDER BY label, id",
	    /* those that others have are not ours to invite */
	    [NTM_STORE_ONLINE] = SELECT_NODES "WHERE online = 1 AND NOT EXISTS "
					      "(SELECT 1 FROM processes p WHERE p.holder = nodes.holder)",
	    [NTM_STORE_RELAYS] = SELECT_NODES "WHERE relay = 1 AND revoked_s IS NULL ORDER BY label",
	};
	struct ntm_node_record rec;
	PGresult *res;
	int err = ntm_pg_query(ntm_pg(base), statements[which], NULL, &res);

	if (err)
		return err;
	for (int i = 0; !err && i < PQntuples(res); i++) {
		read_node(res, i, &rec);
		err = visit(arg, &rec);
	}
	PQclear(res);
	return err;
}

static int one_number(struct ntm_store *base, const char *sql, int64_t *n)
{
	PGresult *res;
	int err = ntm_pg_query(ntm_pg(base), sql, NULL, &res);

	if (err)
		return err;
	*n = ntm_pg_get_int(res, 0, 0);
	PQclear(res);
	return 0;
}

int ntm_pg_highest_index(struct ntm_store *base, uint32_t *index)
{
	int64_t n;
	int err = one_number(base, "SELECT coalesce(max(address), 0) FROM nodes", &n);

	if (!err)
		*index = (uint32_t)n;
	return err;
}

int ntm_pg_count_nodes(struct ntm_store *base, uint64_t *out)
{
	int64_t n;
	int err = one_number(base, "SELECT count(*) FROM nodes WHERE revoked_s IS NULL", &n);

	if (!err)
		*out = (uint64_t)n;
	return err;
}

struct presence_job {
	char *columns[5]; /* each an array, as text */
};

/* A node that has gone to another process is that one's to call offline. */
static int save_inside(struct ntm_pg_store *s, void *arg)
{
	const struct presence_job *j = arg;
	struct ntm_pg_args a = {0};

	for (int i = 0; i < 5; i++)
		ntm_pg_text(&a, j->columns[i]);
	ntm_pg_int(&a, (int64_t)s->holder);
	return ntm_pg_query(s,
			    "UPDATE nodes SET endpoint = p.e, via = p.v, last_seen_s = p.t, online = p.o, holder = $6 "
			    "FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[]) "
			    "AS p (i, e, v, t, o) WHERE id = p.i AND revoked_s IS NULL "
			    "AND (p.o = 1 OR holder = $6 OR holder IS NULL)",
			    &a, NULL);
}

static void put_addr(FILE *f, const struct ntm_addr *a)
{
	uint8_t raw[NTM_PG_ADDR_LEN];

	memcpy(raw, a->ip, 16);
	memcpy(raw + 16, &a->port, 2);
	fputs("\"\\\\x", f);
	for (int i = 0; i < NTM_PG_ADDR_LEN; i++)
		fprintf(f, "%02x", raw[i]);
	fputc('"', f);
}

static char *column(const struct ntm_presence *p, size_t n, int which)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		fputc(i ? ',' : '{', f);
		switch (which) {
		case 0:
			fprintf(f, "%" PRIu64, p[i].id);
			break;
		case 1:
			put_addr(f, &p[i].endpoint);
			break;
		case 2:
			put_addr(f, &p[i].via);
			break;
		case 3:
			fprintf(f, "%" PRId64, p[i].last_seen_s);
			break;
		default:
			fputc(p[i].online ? '1' : '0', f);
		}
	}
	fputc('}', f);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

static int by_id(const void *a, const void *b)
{
	const struct ntm_presence *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

int ntm_pg_save_presence(struct ntm_store *base, const struct ntm_presence *p, size_t n)
{
	struct presence_job j = {0};
	struct ntm_presence *sorted;
	int err = 0;

	if (!n)
		return 0;
	/* so that no two processes wait for each other's rows */
	sorted = malloc(n * sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	memcpy(sorted, p, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_id);
	for (int i = 0; i < 5; i++) {
		j.columns[i] = column(sorted, n, i);
		if (!j.columns[i])
			err = -ENOMEM;
	}
	if (!err)
		err = ntm_pg_transaction(ntm_pg(base), NTM_PG_BEHIND, save_inside, &j);
	for (int i = 0; i < 5; i++)
		free(j.columns[i]);
	free(sorted);
	return err;
}
