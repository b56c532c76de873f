/* SPDX-License-Identifier: BSD-2-Clause */
#include "store_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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
	n->relay = sqlite3_column_int(st, 10) == 1;
}

/* Runs a bound query for one node. */
static int one_node(struct sqlite_store *s, enum ntm_sq_stmt n, struct ntm_node_record *out)
{
	sqlite3_stmt *st = s->st[n];
	int rc = ntm_sq_step(st);

	if (rc == SQLITE_ROW) {
		read_node(st, out);
		sqlite3_reset(st);
		return 0;
	}
	return rc == SQLITE_DONE ? -ENOENT : ntm_sq_failed(s, n);
}

int ntm_sq_node_by_key(struct ntm_store *base, const uint8_t key[NTM_DH_LEN], struct ntm_node_record *out)
{
	struct sqlite_store *s = ntm_sq(base);

	sqlite3_bind_blob(s->st[S_NODE_BY_KEY], 1, key, NTM_DH_LEN, SQLITE_TRANSIENT);
	return one_node(s, S_NODE_BY_KEY, out);
}

int ntm_sq_node_by_label(struct ntm_store *base, const char *label, struct ntm_node_record *out)
{
	struct sqlite_store *s = ntm_sq(base);

	sqlite3_bind_text(s->st[S_NODE_BY_LABEL], 1, label, -1, SQLITE_TRANSIENT);
	return one_node(s, S_NODE_BY_LABEL, out);
}

int ntm_sq_node_by_index(struct ntm_store *base, uint32_t index, struct ntm_node_record *out)
{
	struct sqlite_store *s = ntm_sq(base);

	sqlite3_bind_int64(s->st[S_NODE_BY_INDEX], 1, index);
	return one_node(s, S_NODE_BY_INDEX, out);
}

int ntm_sq_node_after_index(struct ntm_store *base, uint32_t index, struct ntm_node_record *out)
{
	struct sqlite_store *s = ntm_sq(base);

	sqlite3_bind_int64(s->st[S_NODE_AFTER_INDEX], 1, index);
	return one_node(s, S_NODE_AFTER_INDEX, out);
}

int ntm_sq_each_node(struct ntm_store *base, enum ntm_store_nodes which, ntm_store_visit visit, void *arg)
{
	struct sqlite_store *s = ntm_sq(base);
	static const enum ntm_sq_stmt statements[] = {
	    [NTM_STORE_ALL] = S_ALL_NODES,
	    [NTM_STORE_ONLINE] = S_ONLINE_NODES,
	    [NTM_STORE_RELAYS] = S_RELAY_NODES,
	};
	enum ntm_sq_stmt n = statements[which];
	struct ntm_node_record rec;
	int rc, err;

	while ((rc = ntm_sq_step(s->st[n])) == SQLITE_ROW) {
		read_node(s->st[n], &rec);
		err = visit(arg, &rec);
		if (err) {
			sqlite3_reset(s->st[n]);
			return err;
		}
	}
	return rc == SQLITE_DONE ? 0 : ntm_sq_failed(s, n);
}

int ntm_sq_highest_index(struct ntm_store *base, uint32_t *index)
{
	struct sqlite_store *s = ntm_sq(base);
	sqlite3_stmt *st = s->st[S_HIGHEST_INDEX];

	if (ntm_sq_step(st) != SQLITE_ROW)
		return ntm_sq_failed(s, S_HIGHEST_INDEX);
	*index = (uint32_t)sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return 0;
}

int ntm_sq_count_nodes(struct ntm_store *base, uint64_t *n)
{
	struct sqlite_store *s = ntm_sq(base);
	sqlite3_stmt *st = s->st[S_COUNT_NODES];

	if (ntm_sq_step(st) != SQLITE_ROW)
		return ntm_sq_failed(s, S_COUNT_NODES);
	*n = (uint64_t)sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return 0;
}

int ntm_sq_put_presence(struct sqlite_store *s, const struct ntm_presence *p, size_t n)
{
	sqlite3_stmt *st = s->st[S_PRESENCE];
	uint8_t endpoint[18], via[18];
	int err = 0;

	for (size_t i = 0; !err && i < n; i++) {
		pack_addr(&p[i].endpoint, endpoint);
		pack_addr(&p[i].via, via);
		sqlite3_bind_int64(st, 1, (int64_t)p[i].id);
		sqlite3_bind_blob(st, 2, endpoint, sizeof(endpoint), SQLITE_TRANSIENT);
		sqlite3_bind_blob(st, 3, via, sizeof(via), SQLITE_TRANSIENT);
		sqlite3_bind_int64(st, 4, p[i].last_seen_s);
		sqlite3_bind_int(st, 5, p[i].online);
		err = ntm_sq_run(s, S_PRESENCE);
	}
	return err;
}

int ntm_sq_save_presence(struct ntm_store *base, const struct ntm_presence *p, size_t n)
{
	struct sqlite_store *s = ntm_sq(base);
	int err = ntm_sq_begin_unsynced(s);

	return err ? err : ntm_sq_end_unsynced(s, ntm_sq_put_presence(s, p, n));
}
