/* SPDX-License-Identifier: BSD-2-Clause */
/* Tokens, enrolment, relays, revocation: each is one transaction, synced to the disk. As store_sqlite_enrol.c. */
#include "store_pg.h"

#include <errno.h>
#include <string.h>

#include "../user/common/crypto.h"

static int token_hash(const char *token, uint8_t out[NTM_HASH_LEN])
{
	struct ntm_iov in = {token, strlen(token)};

	return ntm_hash(out, &in, 1);
}

struct enrol_job {
	const struct ntm_enrolment *e;
	uint8_t hash[NTM_HASH_LEN];
	struct ntm_node_record rec;
	const char *why;
};

/* Is this token good for this label? *bound: it names the label. */
static int check_token(struct ntm_pg_store *s, struct enrol_job *j, bool *bound)
{
	struct ntm_pg_args a = {0};
	const char *label;
	PGresult *res;
	int err;

	ntm_pg_blob(&a, j->hash, sizeof(j->hash));
	err = ntm_pg_query(s, "SELECT label, expires_s, used_s FROM tokens WHERE hash = $1", &a, &res);
	if (err)
		return err;
	if (!PQntuples(res)) {
		j->why = "unknown token";
		PQclear(res);
		return -EACCES;
	}
	label = PQgetvalue(res, 0, 0);
	*bound = !PQgetisnull(res, 0, 0);
	if (!PQgetisnull(res, 0, 2)) {
		j->why = "token used before";
		err = -EACCES;
	} else if (ntm_pg_get_int(res, 0, 1) <= j->e->now_s) {
		j->why = "token expired";
		err = -EACCES;
	} else if (*bound && strcmp(label, j->e->label)) {
		j->why = "token is for another name";
		err = -EPERM;
	}
	PQclear(res);
	return err;
}

/* Addresses of revoked nodes are the last to be given again, oldest revocation first. */
static int take_index(struct ntm_pg_store *s, uint32_t last_index, uint32_t *index)
{
	struct ntm_pg_args a = {0};
	uint32_t highest;
	PGresult *res;
	int err = ntm_pg_highest_index(&s->base, &highest);

	if (err)
		return err;
	if (highest < last_index) {
		*index = highest + 1;
		return 0;
	}
	ntm_pg_int(&a, last_index);
	err = ntm_pg_query(s,
			   "UPDATE nodes n SET address = NULL FROM (SELECT id, address FROM nodes "
			   "WHERE revoked_s IS NOT NULL AND address IS NOT NULL AND address <= $1 "
			   "ORDER BY revoked_s, id LIMIT 1) AS o WHERE n.id = o.id RETURNING o.address",
			   &a, &res);
	if (err)
		return err;
	if (PQntuples(res) > 0)
		*index = (uint32_t)ntm_pg_get_int(res, 0, 0);
	else
		err = -ENOSPC;
	PQclear(res);
	return err;
}

static int add_node(struct ntm_pg_store *s, const char *label, const uint8_t *key, uint32_t index, int64_t now_s,
		    bool relay)
{
	struct ntm_pg_args a = {0};

	ntm_pg_text(&a, label);
	ntm_pg_blob(&a, key, NTM_DH_LEN);
	ntm_pg_int(&a, index);
	ntm_pg_int(&a, now_s);
	ntm_pg_int(&a, relay);
	return ntm_pg_query(
	    s, "INSERT INTO nodes (label, public_key, address, created_s, relay) VALUES ($1, $2, $3, $4, $5)", &a,
	    NULL);
}

static int use_token(struct ntm_pg_store *s, const struct enrol_job *j)
{
	struct ntm_pg_args a = {0};
	PGresult *res;
	int err;

	ntm_pg_blob(&a, j->hash, sizeof(j->hash));
	ntm_pg_int(&a, j->e->now_s);
	ntm_pg_int(&a, (int64_t)j->rec.id);
	err =
	    ntm_pg_query(s, "UPDATE tokens SET used_s = $2, node_id = $3 WHERE hash = $1 AND used_s IS NULL", &a, &res);
	if (err)
		return err;
	/* another process was first, on a server that does not keep us apart */
	if (strcmp(PQcmdTuples(res), "1"))
		err = -EAGAIN;
	PQclear(res);
	return err;
}

static int enrol_inside(struct ntm_pg_store *s, void *arg)
{
	struct enrol_job *j = arg;
	struct ntm_node_record rec;
	uint32_t index = 0;
	bool bound = false;
	int err = ntm_pg_node_by_key(&s->base, j->e->public_key, &j->rec);

	if (err != -ENOENT)
		return err ? err : -EALREADY;
	err = check_token(s, j, &bound);
	if (err)
		return err;
	err = ntm_pg_node_by_label(&s->base, j->e->label, &rec);
	if (err && err != -ENOENT)
		return err;
	/* the name of a revoked node passes on only where the operator said so, by a token bound to it */
	if (!err && (!rec.revoked_s || !bound)) {
		j->why = rec.revoked_s ? "name of a revoked node: needs a token bound to it" : "name taken";
		return -EEXIST;
	}
	err = take_index(s, j->e->last_index, &index);
	if (!err)
		err = add_node(s, j->e->label, j->e->public_key, index, j->e->now_s, false);
	if (!err)
		err = ntm_pg_node_by_key(&s->base, j->e->public_key, &j->rec);
	if (!err)
		err = use_token(s, j);
	return err ? err : ntm_pg_note_change(s, "node", j->rec.id, NULL);
}

int ntm_pg_enrol(struct ntm_store *base, const struct ntm_enrolment *e, struct ntm_node_record *out, const char **why)
{
	struct enrol_job j = {.e = e, .why = ""};
	int err = token_hash(e->token, j.hash);

	if (!err)
		err = ntm_pg_transaction(ntm_pg(base), NTM_PG_AWAITED, enrol_inside, &j);
	*why = j.why;
	if (!err || err == -EALREADY)
		*out = j.rec;
	return err;
}

struct admit_job {
	const struct ntm_admission *a;
	struct ntm_node_record rec;
	const char *why;
};

static int make_relay(struct ntm_pg_store *s, const struct ntm_node_record *rec, const char *label, uint32_t index)
{
	struct ntm_pg_args a = {0};

	ntm_pg_int(&a, (int64_t)rec->id);
	ntm_pg_text(&a, label);
	ntm_pg_int(&a, index);
	return ntm_pg_query(s, "UPDATE nodes SET label = $2, address = $3, revoked_s = NULL, relay = 1 WHERE id = $1",
			    &a, NULL);
}

static int admit_inside(struct ntm_pg_store *s, void *arg)
{
	struct admit_job *j = arg;
	const struct ntm_admission *a = j->a;
	struct ntm_node_record named, rec = {0};
	int err = ntm_pg_node_by_label(&s->base, a->label, &named);
	uint32_t index;
	bool known;

	if (err && err != -ENOENT)
		return err;
	if (!err && !named.revoked_s && memcmp(named.public_key, a->public_key, NTM_DH_LEN) != 0) {
		j->why = "the name is that of another node: revoke it first";
		return -EEXIST;
	}
	err = ntm_pg_node_by_key(&s->base, a->public_key, &rec);
	if (err && err != -ENOENT)
		return err;
	known = !err;
	if (known && !rec.revoked_s && strcmp(rec.label, a->label)) {
		j->why = "the key is that of a node with another name: revoke it first";
		return -EEXIST;
	}
	index = rec.index;
	err = index ? 0 : take_index(s, a->last_index, &index);
	if (!err)
		err = known ? make_relay(s, &rec, a->label, index)
			    : add_node(s, a->label, a->public_key, index, a->now_s, true);
	if (!err)
		err = ntm_pg_node_by_key(&s->base, a->public_key, &j->rec);
	/* each process lets all relays in at its start: only what is new is news */
	if (err || (known && !rec.revoked_s && rec.relay && rec.index))
		return err;
	return ntm_pg_note_change(s, "node", j->rec.id, NULL);
}

int ntm_pg_admit(struct ntm_store *base, const struct ntm_admission *a, struct ntm_node_record *out, const char **why)
{
	struct admit_job j = {.a = a, .why = ""};
	int err = ntm_pg_transaction(ntm_pg(base), NTM_PG_AWAITED, admit_inside, &j);

	*why = j.why;
	if (!err)
		*out = j.rec;
	return err;
}

struct token_job {
	uint8_t hash[NTM_HASH_LEN];
	const char *label;
	int64_t now_s, expires_s;
};

static int token_inside(struct ntm_pg_store *s, void *arg)
{
	const struct token_job *j = arg;
	struct ntm_pg_args a = {0};

	ntm_pg_blob(&a, j->hash, sizeof(j->hash));
	ntm_pg_text(&a, j->label);
	ntm_pg_int(&a, j->now_s);
	ntm_pg_int(&a, j->expires_s);
	return ntm_pg_query(s, "INSERT INTO tokens (hash, label, created_s, expires_s) VALUES ($1, $2, $3, $4)", &a,
			    NULL);
}

int ntm_pg_token_create(struct ntm_store *base, const char *token, const char *label, int64_t now_s, int64_t expires_s)
{
	struct token_job j = {.label = label, .now_s = now_s, .expires_s = expires_s};
	int err = token_hash(token, j.hash);

	return err ? err : ntm_pg_transaction(ntm_pg(base), NTM_PG_AWAITED, token_inside, &j);
}

struct revoke_job {
	const char *label;
	int64_t now_s;
	struct ntm_node_record rec;
};

static int revoke_inside(struct ntm_pg_store *s, void *arg)
{
	struct revoke_job *j = arg;
	struct ntm_pg_args id = {0}, a = {0};
	int err = ntm_pg_node_by_label(&s->base, j->label, &j->rec);

	if (err)
		return err;
	if (j->rec.revoked_s)
		return -EALREADY;
	ntm_pg_int(&id, (int64_t)j->rec.id);
	err = ntm_pg_query(s, "UPDATE paths SET released = 1 WHERE a = $1 OR b = $1", &id, NULL);
	ntm_pg_int(&a, (int64_t)j->rec.id);
	ntm_pg_int(&a, j->now_s);
	if (!err)
		err = ntm_pg_query(s, "UPDATE nodes SET revoked_s = $2, online = 0 WHERE id = $1", &a, NULL);
	return err ? err : ntm_pg_note_change(s, "revoked", j->rec.id, NULL);
}

int ntm_pg_revoke(struct ntm_store *base, const char *label, int64_t now_s, struct ntm_node_record *out)
{
	struct revoke_job j = {.label = label, .now_s = now_s};
	int err = ntm_pg_transaction(ntm_pg(base), NTM_PG_AWAITED, revoke_inside, &j);

	if (!err) {
		j.rec.revoked_s = now_s;
		j.rec.online = false;
	}
	if (!err || err == -EALREADY)
		*out = j.rec;
	return err;
}

struct rekey_job {
	uint64_t id;
	const uint8_t *key;
};

static int rekey_inside(struct ntm_pg_store *s, void *arg)
{
	const struct rekey_job *j = arg;
	struct ntm_pg_args a = {0};
	struct ntm_node_record rec;
	PGresult *res;
	int err = ntm_pg_node_by_key(&s->base, j->key, &rec);

	if (err != -ENOENT)
		return err ? err : rec.id == j->id && !rec.revoked_s ? 0 : -EEXIST;
	ntm_pg_int(&a, (int64_t)j->id);
	ntm_pg_blob(&a, j->key, NTM_DH_LEN);
	err = ntm_pg_query(s, "UPDATE nodes SET public_key = $2 WHERE id = $1 AND revoked_s IS NULL RETURNING id", &a,
			   &res);
	if (err)
		return err;
	err = PQntuples(res) ? 0 : -ENOENT;
	PQclear(res);
	return err ? err : ntm_pg_note_change(s, "node", j->id, NULL);
}

int ntm_pg_rekey(struct ntm_store *base, uint64_t id, const uint8_t key[NTM_DH_LEN])
{
	struct rekey_job j = {id, key};

	return ntm_pg_transaction(ntm_pg(base), NTM_PG_AWAITED, rekey_inside, &j);
}
