/* SPDX-License-Identifier: BSD-2-Clause */
/* Tokens, enrolment, relays, revocation: each is one transaction, synced to the disk. */
#include "store_sqlite.h"

#include <errno.h>
#include <string.h>

#include "../user/common/crypto.h"

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
	rc = ntm_sq_step(st);
	if (rc == SQLITE_DONE) {
		*why = "unknown token";
		return -EACCES;
	}
	if (rc != SQLITE_ROW)
		return ntm_sq_failed(s, S_TOKEN_GET);
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
	int err = ntm_sq_highest_index(&s->base, &highest), rc;

	if (err)
		return err;
	if (highest < last_index) {
		*index = highest + 1;
		return 0;
	}
	sqlite3_bind_int64(oldest, 1, last_index);
	rc = ntm_sq_step(oldest);
	if (rc == SQLITE_DONE)
		return -ENOSPC;
	if (rc != SQLITE_ROW)
		return ntm_sq_failed(s, S_OLDEST_REVOKED);
	id = sqlite3_column_int64(oldest, 0);
	highest = (uint32_t)sqlite3_column_int64(oldest, 1);
	sqlite3_reset(oldest);
	sqlite3_bind_int64(s->st[S_GIVE_UP_INDEX], 1, id);
	err = ntm_sq_run(s, S_GIVE_UP_INDEX);
	if (!err)
		*index = highest;
	return err;
}

static int enrol_inside(struct sqlite_store *s, const struct ntm_enrolment *e, const uint8_t hash[NTM_HASH_LEN],
			struct ntm_node_record *out, const char **why)
{
	sqlite3_stmt *add = s->st[S_NODE_ADD], *use = s->st[S_TOKEN_USE];
	struct ntm_node_record rec;
	uint32_t index = 0;
	bool bound = false;
	int err = ntm_sq_node_by_key(&s->base, e->public_key, out);

	if (err != -ENOENT)
		return err ? err : -EALREADY;
	err = check_token(s, hash, e, &bound, why);
	if (err)
		return err;
	err = ntm_sq_node_by_label(&s->base, e->label, &rec);
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
	err = ntm_sq_run(s, S_NODE_ADD);
	if (err)
		return err;
	sqlite3_bind_blob(use, 1, hash, NTM_HASH_LEN, SQLITE_TRANSIENT);
	sqlite3_bind_int64(use, 2, e->now_s);
	sqlite3_bind_int64(use, 3, sqlite3_last_insert_rowid(s->db));
	err = ntm_sq_run(s, S_TOKEN_USE);
	return err ? err : ntm_sq_node_by_key(&s->base, e->public_key, out);
}

int ntm_sq_enrol(struct ntm_store *base, const struct ntm_enrolment *e, struct ntm_node_record *out, const char **why)
{
	struct sqlite_store *s = ntm_sq(base);
	struct ntm_node_record rec;
	uint8_t hash[NTM_HASH_LEN];
	int err;

	*why = "";
	err = token_hash(e->token, hash);
	if (err)
		return err;
	err = ntm_sq_begin(s);
	if (err)
		return err;
	err = ntm_sq_end(s, enrol_inside(s, e, hash, &rec, why));
	if (!err || err == -EALREADY)
		*out = rec;
	return err;
}

static int admit_inside(struct sqlite_store *s, const struct ntm_admission *a, struct ntm_node_record *out,
			const char **why)
{
	sqlite3_stmt *add = s->st[S_RELAY_ADD], *set = s->st[S_RELAY_SET];
	struct ntm_node_record named, rec = {0};
	int err = ntm_sq_node_by_label(&s->base, a->label, &named);
	uint32_t index;
	bool known;

	if (err && err != -ENOENT)
		return err;
	if (!err && !named.revoked_s && memcmp(named.public_key, a->public_key, NTM_DH_LEN) != 0) {
		*why = "the name is that of another node: revoke it first";
		return -EEXIST;
	}
	err = ntm_sq_node_by_key(&s->base, a->public_key, &rec);
	if (err && err != -ENOENT)
		return err;
	known = !err;
	if (known && !rec.revoked_s && strcmp(rec.label, a->label)) {
		*why = "the key is that of a node with another name: revoke it first";
		return -EEXIST;
	}
	index = rec.index;
	if (!index) {
		err = take_index(s, a->last_index, &index);
		if (err)
			return err;
	}
	if (known) {
		sqlite3_bind_int64(set, 1, (int64_t)rec.id);
		sqlite3_bind_text(set, 2, a->label, -1, SQLITE_TRANSIENT);
		sqlite3_bind_int64(set, 3, index);
	} else {
		sqlite3_bind_text(add, 1, a->label, -1, SQLITE_TRANSIENT);
		sqlite3_bind_blob(add, 2, a->public_key, NTM_DH_LEN, SQLITE_TRANSIENT);
		sqlite3_bind_int64(add, 3, index);
		sqlite3_bind_int64(add, 4, a->now_s);
	}
	err = ntm_sq_run(s, known ? S_RELAY_SET : S_RELAY_ADD);
	return err ? err : ntm_sq_node_by_key(&s->base, a->public_key, out);
}

int ntm_sq_admit(struct ntm_store *base, const struct ntm_admission *a, struct ntm_node_record *out, const char **why)
{
	struct sqlite_store *s = ntm_sq(base);
	struct ntm_node_record rec;
	int err = ntm_sq_begin(s);

	*why = "";
	if (err)
		return err;
	err = ntm_sq_end(s, admit_inside(s, a, &rec, why));
	if (!err)
		*out = rec;
	return err;
}

int ntm_sq_token_create(struct ntm_store *base, const char *token, const char *label, int64_t now_s, int64_t expires_s)
{
	struct sqlite_store *s = ntm_sq(base);
	sqlite3_stmt *add = s->st[S_TOKEN_ADD];
	uint8_t hash[NTM_HASH_LEN];
	int err = token_hash(token, hash);

	if (err)
		return err;
	sqlite3_bind_blob(add, 1, hash, NTM_HASH_LEN, SQLITE_TRANSIENT);
	if (label)
		sqlite3_bind_text(add, 2, label, -1, SQLITE_TRANSIENT);
	else
		sqlite3_bind_null(add, 2);
	sqlite3_bind_int64(add, 3, now_s);
	sqlite3_bind_int64(add, 4, expires_s);
	return ntm_sq_alone(s, S_TOKEN_ADD);
}

int ntm_sq_revoke(struct ntm_store *base, const char *label, int64_t now_s, struct ntm_node_record *out)
{
	struct sqlite_store *s = ntm_sq(base);
	struct ntm_node_record rec;
	int err = ntm_sq_begin(s);

	if (err)
		return err;
	err = ntm_sq_node_by_label(base, label, &rec);
	if (!err && rec.revoked_s)
		err = -EALREADY;
	if (!err) {
		sqlite3_bind_int64(s->st[S_REVOKE], 1, (int64_t)rec.id);
		sqlite3_bind_int64(s->st[S_REVOKE], 2, now_s);
		err = ntm_sq_run(s, S_REVOKE);
	}
	if (!err) {
		sqlite3_bind_int64(s->st[S_PATHS_RELEASE], 1, (int64_t)rec.id);
		err = ntm_sq_run(s, S_PATHS_RELEASE);
	}
	err = ntm_sq_end(s, err);
	if (!err) {
		rec.revoked_s = now_s;
		rec.online = false;
	}
	if (!err || err == -EALREADY)
		*out = rec;
	return err;
}

static int rekey_inside(struct sqlite_store *s, uint64_t id, const uint8_t key[NTM_DH_LEN])
{
	struct ntm_node_record rec;
	int err = ntm_sq_node_by_key(&s->base, key, &rec);

	if (err != -ENOENT)
		return err ? err : rec.id == id && !rec.revoked_s ? 0 : -EEXIST;
	sqlite3_bind_int64(s->st[S_REKEY], 1, (int64_t)id);
	sqlite3_bind_blob(s->st[S_REKEY], 2, key, NTM_DH_LEN, SQLITE_TRANSIENT);
	err = ntm_sq_run(s, S_REKEY);
	return err ? err : sqlite3_changes(s->db) ? 0 : -ENOENT;
}

int ntm_sq_rekey(struct ntm_store *base, uint64_t id, const uint8_t key[NTM_DH_LEN])
{
	struct sqlite_store *s = ntm_sq(base);
	int err = ntm_sq_begin(s);

	if (err)
		return err;
	return ntm_sq_end(s, rekey_inside(s, id, key));
}
