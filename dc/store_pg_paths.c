/* SPDX-License-Identifier: BSD-2-Clause */
#include "store_pg.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct paths_job {
	char *text;
};

/* The newest of a pair wins, as it does when they come one by one. */
static int save_inside(struct ntm_pg_store *s, void *arg)
{
	const struct paths_job *j = arg;
	struct ntm_pg_args a = {0};

	ntm_pg_text(&a, j->text);
	return ntm_pg_query(s,
			    "INSERT INTO paths (a, b, path_id, created_s) "
			    "SELECT DISTINCT ON (r[1], r[2]) r[1], r[2], r[3], r[4] FROM "
			    "(SELECT string_to_array(t, ' ')::bigint[] AS r, n FROM "
			    "unnest($1::text[]) WITH ORDINALITY AS u (t, n)) AS q ORDER BY r[1], r[2], n DESC "
			    "ON CONFLICT (a, b) DO UPDATE SET path_id = excluded.path_id, "
			    "created_s = excluded.created_s, released = 0",
			    &a, NULL);
}

static int take_inside(struct ntm_pg_store *s, void *arg)
{
	const struct paths_job *j = arg;
	struct ntm_pg_args a = {0};

	ntm_pg_text(&a, j->text);
	return ntm_pg_query(
	    s,
	    "INSERT INTO paths (a, b, path_id, created_s, released) "
	    "SELECT DISTINCT ON (r[1], r[2]) r[1], r[2], r[3], r[4], "
	    "CASE WHEN x.revoked_s IS NULL AND y.revoked_s IS NULL THEN 0 ELSE 1 END FROM "
	    "(SELECT string_to_array(t, ' ')::bigint[] AS r FROM unnest($1::text[]) AS u (t)) AS q "
	    "JOIN nodes x ON x.id = r[1] JOIN nodes y ON y.id = r[2] ORDER BY r[1], r[2], r[4] DESC "
	    "ON CONFLICT (a, b) DO UPDATE SET path_id = excluded.path_id, created_s = excluded.created_s "
	    "WHERE excluded.created_s > paths.created_s",
	    &a, NULL);
}

static int remove_inside(struct ntm_pg_store *s, void *arg)
{
	const struct paths_job *j = arg;
	struct ntm_pg_args a = {0};

	ntm_pg_text(&a, j->text);
	return ntm_pg_query(s,
			    "DELETE FROM paths USING (SELECT string_to_array(t, ' ')::bigint[] AS r FROM "
			    "unnest($1::text[]) AS u (t)) AS q WHERE a = r[1] AND b = r[2] AND path_id = r[3]",
			    &a, NULL);
}

/* One transaction, with all paths in one text. */
static int with_paths(struct ntm_store *base, const struct ntm_path_record *p, size_t n,
		      int (*inside)(struct ntm_pg_store *s, void *arg))
{
	struct paths_job j = {0};
	size_t len;
	FILE *f;
	int err;

	if (!n)
		return 0;
	f = open_memstream(&j.text, &len);
	if (!f)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		bool swap = p[i].nodes[0] > p[i].nodes[1];

		fprintf(f, "%c\"%" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 "\"", i ? ',' : '{', p[i].nodes[swap],
			p[i].nodes[!swap], (int64_t)p[i].id, p[i].created_s);
	}
	fputc('}', f);
	err = fclose(f) ? -ENOMEM : ntm_pg_transaction(ntm_pg(base), NTM_PG_BEHIND, inside, &j);
	free(j.text);
	return err;
}

int ntm_pg_save_paths(struct ntm_store *base, const struct ntm_path_record *p, size_t n)
{
	return with_paths(base, p, n, save_inside);
}

int ntm_pg_take_paths(struct ntm_store *base, const struct ntm_path_record *p, size_t n)
{
	return with_paths(base, p, n, take_inside);
}

int ntm_pg_remove_paths(struct ntm_store *base, const struct ntm_path_record *p, size_t n)
{
	return with_paths(base, p, n, remove_inside);
}

static int purge_inside(struct ntm_pg_store *s, void *arg)
{
	struct ntm_pg_args a = {0};

	int err;

	ntm_pg_int(&a, *(const int64_t *)arg);
	err = ntm_pg_query(s, "DELETE FROM paths WHERE created_s < $1", &a, NULL);
	if (!err)
		err = ntm_pg_query(s, "DELETE FROM tokens WHERE expires_s < $1", &a, NULL);
	/* by the server's clock, which made them */
	return err ? err
		   : ntm_pg_query(s,
				  "DELETE FROM changes WHERE made_ms < "
				  "(extract(epoch FROM clock_timestamp()) * 1000)::bigint - 86400000",
				  NULL, NULL);
}

int ntm_pg_purge_paths(struct ntm_store *base, int64_t before_s)
{
	return ntm_pg_transaction(ntm_pg(base), NTM_PG_BEHIND, purge_inside, &before_s);
}

int ntm_pg_each_path(struct ntm_store *base, uint64_t node, bool only_released, ntm_store_visit_path visit, void *arg)
{
	struct ntm_pg_args a = {0};
	uint8_t key[NTM_DH_LEN];
	PGresult *res;
	int err;

	ntm_pg_int(&a, (int64_t)node);
	ntm_pg_int(&a, only_released);
	err = ntm_pg_query(ntm_pg(base),
			   "SELECT path_id, public_key FROM paths JOIN nodes ON id = b WHERE a = $1 AND released >= $2 "
			   "UNION ALL "
			   "SELECT path_id, public_key FROM paths JOIN nodes ON id = a WHERE b = $1 AND released >= $2",
			   &a, &res);
	if (err)
		return err;
	for (int i = 0; !err && i < PQntuples(res); i++) {
		memcpy(key, PQgetvalue(res, i, 1), sizeof(key)); /* 32 bytes: the schema's CHECK */
		err = visit(arg, (uint64_t)ntm_pg_get_int(res, i, 0), key);
	}
	PQclear(res);
	return err;
}
