/* SPDX-License-Identifier: BSD-2-Clause */
/* The contract of dc/store.h, on SQLite; dc_store_pg.c includes this file and brings an engine of its own. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../dc/migrations.h"
#include "../../dc/store.h"
#include "../../user/common/crypto.h"

#define NOW 1700000000

static const char *why;

#ifndef STORE_ENGINE
#include "../harness/store_file.h"

static void setup(void)
{
	cr_assert_eq(ntm_crypto_init(), 0);
	make_store();
}

static void teardown(void)
{
	remove_store();
}
#else
#include STORE_ENGINE
#endif

TestSuite(store, .init = setup, .fini = teardown);

static void reopen(void)
{
	ntm_store_close(store);
	open_store();
}

static int enrol_at(const char *label, uint8_t key_byte, const char *token, uint32_t last, int64_t now,
		    struct ntm_node_record *out)
{
	uint8_t key[NTM_DH_LEN];
	struct ntm_enrolment e = {label, key, token, last, now};

	memset(key, key_byte, sizeof(key));
	return store->ops->enrol(store, &e, out, &why);
}

static int enrol(const char *label, uint8_t key_byte, const char *token, struct ntm_node_record *out)
{
	return enrol_at(label, key_byte, token, 1000, NOW, out);
}

static void token(const char *text, const char *label)
{
	cr_assert_eq(store->ops->token_create(store, text, label, NOW, NOW + 60), 0);
}

/* A node with a token of its own. */
static struct ntm_node_record node(const char *label, uint8_t key_byte)
{
	struct ntm_node_record rec;
	char text[32];

	snprintf(text, sizeof(text), "for-%s-%u", label, key_byte);
	token(text, label);
	cr_assert_eq(enrol(label, key_byte, text, &rec), 0, "%s", why);
	return rec;
}

Test(store, node_is_found_by_key_name_and_address_after_reopening)
{
	struct ntm_node_record made = node("alice", 1), rec;
	uint8_t key[NTM_DH_LEN];

	memset(key, 1, sizeof(key));
	cr_assert_eq(made.index, 1);
	cr_assert_eq(made.created_s, NOW);
	cr_assert_eq(made.revoked_s, 0);
	for (int i = 0; i < 2; i++, reopen()) {
		cr_assert_eq(store->ops->node_by_key(store, key, &rec), 0);
		cr_assert_str_eq(rec.label, "alice");
		cr_assert_eq(store->ops->node_by_label(store, "alice", &rec), 0);
		cr_assert_eq(rec.id, made.id);
		cr_assert_arr_eq(rec.public_key, key, sizeof(key));
		cr_assert_eq(store->ops->node_by_index(store, 1, &rec), 0);
		cr_assert_eq(rec.id, made.id);
	}
	cr_assert_eq(store->ops->node_by_label(store, "bob", &rec), -ENOENT);
	cr_assert_eq(store->ops->node_by_index(store, 2, &rec), -ENOENT);
	memset(key, 2, sizeof(key));
	cr_assert_eq(store->ops->node_by_key(store, key, &rec), -ENOENT);
	cr_assert_str_eq(rec.label, "alice", "output is untouched on failure");
}

Test(store, addresses_are_never_given_twice)
{
	bool given[301] = {false};
	char label[16];

	for (int i = 1; i <= 200; i++) {
		struct ntm_node_record rec;

		snprintf(label, sizeof(label), "n%d", i);
		rec = node(label, (uint8_t)i);
		cr_assert(rec.index >= 1 && rec.index <= 300 && !given[rec.index]);
		given[rec.index] = true;
		if (i % 50 == 0)
			reopen();
		if (i % 7 == 0) /* a revoked node's address is not free */
			cr_assert_eq(store->ops->revoke(store, label, NOW, &rec), 0);
	}
}

Test(store, token_is_used_once)
{
	struct ntm_node_record rec;

	token("secret", NULL);
	cr_assert_eq(enrol("alice", 1, "secret", &rec), 0);
	cr_assert_eq(enrol("bob", 2, "secret", &rec), -EACCES);
	cr_assert_str_eq(why, "token used before");
	reopen();
	cr_assert_eq(enrol("bob", 2, "secret", &rec), -EACCES);
	cr_assert_eq(store->ops->node_by_label(store, "bob", &rec), -ENOENT);
}

Test(store, token_expires)
{
	struct ntm_node_record rec;

	token("secret", NULL);
	cr_assert_eq(enrol_at("alice", 1, "secret", 10, NOW + 60, &rec), -EACCES);
	cr_assert_str_eq(why, "token expired");
	cr_assert_eq(enrol_at("alice", 1, "secret", 10, NOW + 59, &rec), 0);
}

Test(store, unknown_token_is_refused)
{
	struct ntm_node_record rec;

	cr_assert_eq(enrol("alice", 1, "secret", &rec), -EACCES);
	cr_assert_str_eq(why, "unknown token");
	cr_assert_eq(enrol("alice", 1, "", &rec), -EACCES);
}

Test(store, bound_token_serves_its_name_only_and_survives_a_refusal)
{
	struct ntm_node_record rec;

	token("secret", "alice");
	cr_assert_eq(enrol("bob", 1, "secret", &rec), -EPERM);
	cr_assert_eq(enrol("alice", 1, "secret", &rec), 0);
}

Test(store, taken_name_leaves_the_token_unused)
{
	struct ntm_node_record rec;

	node("alice", 1);
	token("secret", NULL);
	cr_assert_eq(enrol("alice", 2, "secret", &rec), -EEXIST);
	cr_assert_eq(enrol("bob", 2, "secret", &rec), 0);
	cr_assert_eq(rec.index, 2, "the refused one took no address");
}

Test(store, known_key_is_answered_as_it_is)
{
	struct ntm_node_record made = node("alice", 1), rec;

	token("secret", NULL);
	cr_assert_eq(enrol("carol", 1, "secret", &rec), -EALREADY);
	cr_assert_eq(rec.id, made.id);
	cr_assert_eq(enrol("bob", 2, "secret", &rec), 0, "token is still good");
}

Test(store, exhausted_pool_gives_the_address_revoked_first)
{
	struct ntm_node_record a = node("a", 1), rec;

	node("b", 2);
	node("c", 3);
	token("t1", NULL);
	token("t2", NULL);
	cr_assert_eq(enrol_at("d", 4, "t1", 3, NOW, &rec), -ENOSPC);
	cr_assert_eq(store->ops->node_by_label(store, "d", &rec), -ENOENT);

	cr_assert_eq(store->ops->revoke(store, "a", NOW + 1, &rec), 0);
	cr_assert_eq(store->ops->revoke(store, "c", NOW + 2, &rec), 0);
	cr_assert_eq(enrol_at("d", 4, "t1", 3, NOW, &rec), 0);
	cr_assert_eq(rec.index, a.index);
	cr_assert_eq(store->ops->node_by_label(store, "a", &rec), 0);
	cr_assert_eq(rec.index, 0, "its former owner has none");
	cr_assert_eq(store->ops->node_by_index(store, a.index, &rec), 0);
	cr_assert_str_eq(rec.label, "d");
	cr_assert_eq(enrol_at("e", 5, "t2", 3, NOW, &rec), 0);
	token("t3", NULL);
	cr_assert_eq(enrol_at("f", 6, "t3", 3, NOW, &rec), -ENOSPC);
}

Test(store, nodes_in_the_order_of_their_addresses)
{
	struct ntm_node_record rec;

	node("a", 1);
	node("b", 2);
	node("c", 3);
	cr_assert_eq(store->ops->revoke(store, "b", NOW, &rec), 0);
	cr_assert_eq(store->ops->node_after_index(store, 0, &rec), 0);
	cr_assert_str_eq(rec.label, "a");
	cr_assert_eq(store->ops->node_after_index(store, rec.index, &rec), 0);
	cr_assert_str_eq(rec.label, "c", "the revoked one is left out");
	cr_assert_eq(store->ops->node_after_index(store, rec.index, &rec), -ENOENT);
}

Test(store, revocation_lasts)
{
	struct ntm_node_record rec;

	node("alice", 1);
	cr_assert_eq(store->ops->revoke(store, "bob", NOW, &rec), -ENOENT);
	cr_assert_eq(store->ops->revoke(store, "alice", NOW, &rec), 0);
	cr_assert_eq(rec.revoked_s, NOW);
	cr_assert_eq(store->ops->revoke(store, "alice", NOW + 9, &rec), -EALREADY);
	reopen();
	cr_assert_eq(store->ops->node_by_label(store, "alice", &rec), 0);
	cr_assert_eq(rec.revoked_s, NOW);
}

Test(store, a_node_gets_another_key)
{
	struct ntm_node_record alice, bob, rec;
	uint8_t was[NTM_DH_LEN], now[NTM_DH_LEN];

	token("t1", NULL);
	token("t2", NULL);
	cr_assert_eq(enrol("alice", 1, "t1", &alice), 0);
	cr_assert_eq(enrol("bob", 2, "t2", &bob), 0);
	memset(was, 1, sizeof(was));
	memset(now, 9, sizeof(now));
	cr_assert_eq(store->ops->rekey(store, alice.id, bob.public_key), -EEXIST);
	cr_assert_eq(store->ops->rekey(store, bob.id, was), -EEXIST);
	cr_assert_eq(store->ops->rekey(store, alice.id, was), 0, "the one it has");
	cr_assert_eq(store->ops->rekey(store, bob.id + 100, now), -ENOENT);
	cr_assert_eq(store->ops->rekey(store, alice.id, now), 0);
	reopen();
	cr_assert_eq(store->ops->node_by_key(store, was, &rec), -ENOENT);
	cr_assert_eq(store->ops->node_by_key(store, now, &rec), 0);
	cr_assert_eq(rec.id, alice.id);
	cr_assert_eq(rec.index, alice.index);
	cr_assert_str_eq(rec.label, "alice");
	/* a revoked node has no say, and its key stays its own */
	cr_assert_eq(store->ops->revoke(store, "alice", NOW, &rec), 0);
	cr_assert_eq(store->ops->rekey(store, alice.id, was), -ENOENT);
	cr_assert_eq(store->ops->rekey(store, alice.id, now), -EEXIST);
	cr_assert_eq(store->ops->rekey(store, bob.id, now), -EEXIST);
}

Test(store, name_of_a_revoked_node_needs_a_token_bound_to_it)
{
	struct ntm_node_record old = node("alice", 1), rec;
	uint64_t n;

	cr_assert_eq(store->ops->revoke(store, "alice", NOW, &rec), 0);
	token("any", NULL);
	cr_assert_eq(enrol("alice", 2, "any", &rec), -EEXIST);
	token("bound", "alice");
	cr_assert_eq(enrol("alice", 2, "bound", &rec), 0);
	cr_assert_neq(rec.index, old.index);
	cr_assert_eq(store->ops->node_by_label(store, "alice", &rec), 0);
	cr_assert_eq(rec.public_key[0], 2, "the live one is found");
	cr_assert_eq(store->ops->count_nodes(store, &n), 0);
	cr_assert_eq(n, 1);
}

static int collect(void *arg, const struct ntm_node_record *rec)
{
	char *text = arg;

	strcat(text, rec->label);
	strcat(text, " ");
	return 0;
}

static int stop_at_once(void *arg, const struct ntm_node_record *rec)
{
	(void)rec;
	++*(int *)arg;
	return -EINTR;
}

Test(store, presence_is_kept)
{
	struct ntm_node_record a = node("a", 1), b = node("b", 2), rec;
	struct ntm_presence p[2] = {
	    {.id = a.id, .last_seen_s = NOW + 5, .online = true},
	    {.id = b.id, .last_seen_s = NOW + 6, .online = true},
	};
	char all[64] = "", online[64] = "";
	int calls = 0;

	ntm_addr_parse("192.0.2.1:1234", 0, &p[0].endpoint);
	ntm_addr_parse("[2001:db8::1]:4680", 0, &p[0].via);
	cr_assert_eq(store->ops->save_presence(store, p, 2), 0);
	p[1].online = false;
	cr_assert_eq(store->ops->save_presence(store, p + 1, 1), 0);
	reopen();
	cr_assert_eq(store->ops->node_by_label(store, "a", &rec), 0);
	cr_assert(ntm_addr_equal(&rec.endpoint, &p[0].endpoint));
	cr_assert(ntm_addr_equal(&rec.via, &p[0].via));
	cr_assert_eq(rec.last_seen_s, NOW + 5);
	cr_assert(rec.online);
	cr_assert_eq(store->ops->each_node(store, NTM_STORE_ALL, collect, all), 0);
	cr_assert_eq(store->ops->each_node(store, NTM_STORE_ONLINE, collect, online), 0);
	cr_assert_str_eq(all, "a b ");
	cr_assert_str_eq(online, "a ");
	cr_assert_eq(store->ops->each_node(store, NTM_STORE_ALL, stop_at_once, &calls), -EINTR);
	cr_assert_eq(calls, 1);

	cr_assert_eq(store->ops->revoke(store, "a", NOW, &rec), 0);
	cr_assert_eq(store->ops->save_presence(store, p, 1), 0);
	*online = 0;
	cr_assert_eq(store->ops->each_node(store, NTM_STORE_ONLINE, collect, online), 0);
	cr_assert_str_eq(online, "", "a revoked node is never online");
}

static int admit_at(const char *label, uint8_t key_byte, uint32_t last, struct ntm_node_record *out)
{
	uint8_t key[NTM_DH_LEN];
	struct ntm_admission a = {label, key, last, NOW};

	memset(key, key_byte, sizeof(key));
	return store->ops->admit(store, &a, out, &why);
}

Test(store, relay_is_let_in_without_a_token)
{
	struct ntm_node_record a = node("a", 1), r, again;
	char relays[64] = "";

	cr_assert(!a.relay);
	cr_assert_eq(admit_at("rs1", 2, 9, &r), 0, "%s", why);
	cr_assert_eq(r.index, 2);
	cr_assert(r.relay);
	cr_assert_eq(r.created_s, NOW);
	reopen();
	cr_assert_eq(admit_at("rs1", 2, 9, &again), 0);
	cr_assert_eq(again.id, r.id);
	cr_assert_eq(again.index, 2);
	cr_assert_eq(store->ops->each_node(store, NTM_STORE_RELAYS, collect, relays), 0);
	cr_assert_str_eq(relays, "rs1 ");
	token("secret", NULL);
	cr_assert_eq(enrol("rs1", 3, "secret", &r), -EEXIST, "its name is taken");
	cr_assert_eq(admit_at("rs2", 3, 2, &r), -ENOSPC);
	cr_assert_eq(store->ops->node_by_label(store, "rs2", &r), -ENOENT);
}

Test(store, relay_takes_neither_name_nor_key_of_a_node)
{
	struct ntm_node_record a = node("a", 1), r;

	cr_assert_eq(admit_at("a", 2, 9, &r), -EEXIST);
	cr_assert_not_null(strstr(why, "name"));
	cr_assert_eq(admit_at("rs1", 1, 9, &r), -EEXIST);
	cr_assert_not_null(strstr(why, "key"));
	cr_assert_eq(admit_at("a", 1, 9, &r), 0, "a node that became a relay keeps its address");
	cr_assert_eq(r.index, a.index);
	cr_assert(r.relay);
	cr_assert_eq(store->ops->revoke(store, "a", NOW, &r), 0);
	cr_assert_eq(admit_at("a", 2, 9, &r), 0, "a name that is free again: %s", why);
}

Test(store, revoked_relay_lives_again_under_any_name)
{
	struct ntm_node_record r, was;
	char relays[64] = "";

	cr_assert_eq(admit_at("rs1", 1, 9, &was), 0);
	cr_assert_eq(store->ops->revoke(store, "rs1", NOW, &r), 0);
	cr_assert_eq(store->ops->each_node(store, NTM_STORE_RELAYS, collect, relays), 0);
	cr_assert_str_eq(relays, "");
	cr_assert_eq(admit_at("rs2", 1, 9, &r), 0);
	cr_assert_eq(r.id, was.id);
	cr_assert_eq(r.index, was.index);
	cr_assert_eq(r.revoked_s, 0);
	cr_assert_str_eq(r.label, "rs2");
	cr_assert_eq(store->ops->node_by_label(store, "rs1", &r), -ENOENT);
}

struct path_list {
	uint64_t ids[8];
	uint8_t keys[8];
	int n;
};

static int collect_path(void *arg, uint64_t path_id, const uint8_t peer_key[NTM_DH_LEN])
{
	struct path_list *l = arg;

	l->ids[l->n] = path_id;
	l->keys[l->n++] = peer_key[31];
	return 0;
}

static struct path_list paths_of(uint64_t id, bool only_released)
{
	struct path_list l = {0};

	cr_assert_eq(store->ops->each_path(store, id, only_released, collect_path, &l), 0);
	return l;
}

Test(store, paths_are_known_to_both_ends_and_released_by_revocation)
{
	struct ntm_node_record a = node("a", 1), b = node("b", 2), c = node("c", 3), rec;
	struct ntm_path_record p[3] = {
	    {.id = 0xffffffffffffff01, .nodes = {a.id, b.id}, .created_s = NOW},
	    {.id = 2, .nodes = {c.id, b.id}, .created_s = NOW},
	    {.id = 3, .nodes = {c.id, a.id}, .created_s = NOW + 10},
	};

	cr_assert_eq(store->ops->save_paths(store, p, 3), 0);
	reopen();
	cr_assert_eq(paths_of(a.id, false).n, 2);
	cr_assert_eq(paths_of(b.id, false).n, 2);
	cr_assert_eq(paths_of(a.id, true).n, 0);

	cr_assert_eq(store->ops->revoke(store, "b", NOW, &rec), 0);
	struct path_list l = paths_of(a.id, true);
	cr_assert_eq(l.n, 1);
	cr_assert_eq(l.ids[0], 0xffffffffffffff01);
	cr_assert_eq(l.keys[0], 2);
	l = paths_of(c.id, true);
	cr_assert_eq(l.n, 1);
	cr_assert_eq(l.ids[0], 2);

	p[0] = (struct ntm_path_record){.id = 4, .nodes = {a.id, c.id}, .created_s = NOW};
	cr_assert_eq(store->ops->save_paths(store, p, 1), 0);
	cr_assert_eq(paths_of(a.id, false).n, 2, "one record a pair, whoever is first");
	cr_assert_eq(store->ops->remove_paths(store, &p[2], 1), 0);
	cr_assert_eq(paths_of(a.id, false).n, 2, "path 3 was replaced before");
	cr_assert_eq(store->ops->remove_paths(store, &p[0], 1), 0);
	cr_assert_eq(paths_of(a.id, false).n, 1);
	cr_assert_eq(store->ops->purge_paths(store, NOW), 0);
	cr_assert_eq(paths_of(a.id, false).n, 1);
	cr_assert_eq(store->ops->purge_paths(store, NOW + 1), 0);
	cr_assert_eq(paths_of(a.id, false).n, 0);
}

Test(store, a_path_is_taken_over_unless_the_pair_has_one_as_new)
{
	struct ntm_node_record a = node("a", 1), b = node("b", 2), c = node("c", 3), rec;
	struct ntm_path_record had = {.id = 1, .nodes = {a.id, b.id}, .created_s = NOW};
	struct ntm_path_record p[4] = {
	    {.id = 2, .nodes = {b.id, a.id}, .created_s = NOW},
	    {.id = 0xffffffffffffff03, .nodes = {c.id, a.id}, .created_s = NOW - 5},
	    {.id = 4, .nodes = {a.id, 999}, .created_s = NOW},
	    {.id = 5, .nodes = {a.id, c.id}, .created_s = NOW - 6},
	};
	struct path_list l;

	cr_assert_eq(store->ops->save_paths(store, &had, 1), 0);
	cr_assert_eq(store->ops->take_paths(store, p, 4), 0, "a node that is not there is none of its errors");
	reopen();
	cr_assert_eq(paths_of(a.id, false).n, 2);
	cr_assert_eq(paths_of(b.id, false).ids[0], 1, "of the same second");
	cr_assert_eq(paths_of(c.id, false).ids[0], 0xffffffffffffff03);
	p[0].created_s = NOW + 1;
	cr_assert_eq(store->ops->take_paths(store, p, 1), 0);
	cr_assert_eq(paths_of(b.id, false).ids[0], 2);
	had.created_s = NOW - 1;
	cr_assert_eq(store->ops->save_paths(store, &had, 1), 0);
	cr_assert_eq(paths_of(b.id, false).ids[0], 1, "what is directed now is, whatever the clock says");

	/* whose end is revoked, before or after */
	cr_assert_eq(store->ops->revoke(store, "c", NOW, &rec), 0);
	p[1].id = 6;
	p[1].created_s = NOW;
	p[2] = (struct ntm_path_record){.id = 7, .nodes = {b.id, c.id}, .created_s = NOW};
	cr_assert_eq(store->ops->take_paths(store, &p[1], 2), 0);
	l = paths_of(a.id, true);
	cr_assert_eq(l.n, 1);
	cr_assert_eq(l.ids[0], 6);
	l = paths_of(b.id, true);
	cr_assert_eq(l.n, 1);
	cr_assert_eq(l.ids[0], 7);
}

Test(store, settings_are_remembered_and_guarded)
{
	char was[32] = "";

	cr_assert_eq(store->ops->setting(store, "pools", "x", false, was, sizeof(was)), 0);
	cr_assert_eq(store->ops->setting(store, "pools", "x", false, was, sizeof(was)), 0);
	reopen();
	cr_assert_eq(store->ops->setting(store, "pools", "y", false, was, sizeof(was)), -EEXIST);
	cr_assert_str_eq(was, "x");
	cr_assert_eq(store->ops->setting(store, "pools", "y", true, was, sizeof(was)), 0);
	cr_assert_eq(store->ops->setting(store, "pools", "y", false, was, sizeof(was)), 0);
}

#ifndef STORE_ENGINE
/* SQLite's own: what lies in the file. */
static int exec(const char *sql)
{
	sqlite3 *db;
	int rc;

	cr_assert_eq(sqlite3_open(file, &db), SQLITE_OK);
	rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	sqlite3_close(db);
	return rc;
}

Test(store, sqlite_refuses_a_newer_store)
{
	char text[256] = "";

	ntm_store_close(store);
	store = NULL;
	cr_assert_eq(exec("PRAGMA user_version = 999"), SQLITE_OK);
	cr_assert_eq(ntm_store_sqlite_open(file, &store, text, sizeof(text)), -ENOTSUP);
	cr_assert_not_null(strstr(text, "version 999"), "%s", text);
	cr_assert_null(store);
}

/* What each version could hold, and what is to be found of it. */
static void old_store(size_t version)
{
	char text[64];

	ntm_store_close(store);
	store = NULL;
	cr_assert_eq(unlink(file), 0);
	for (size_t i = 0; i < version; i++)
		cr_assert_eq(exec(ntm_migrations[i]), SQLITE_OK);
	cr_assert_eq(
	    exec("INSERT INTO settings VALUES ('zone', 'z.example');"
		 "INSERT INTO nodes (label, public_key, address, created_s) VALUES ('old', zeroblob(32), 7, 5),"
		 "('other', randomblob(32), 8, 5);"
		 "INSERT INTO tokens (hash, created_s, expires_s) VALUES (zeroblob(32), 5, 6)"),
	    SQLITE_OK);
	if (version >= 2)
		cr_assert_eq(exec("INSERT INTO paths (a, b, path_id, created_s) VALUES (1, 2, 77, 5)"), SQLITE_OK);
	snprintf(text, sizeof(text), "PRAGMA user_version = %zu", version);
	cr_assert_eq(exec(text), SQLITE_OK);
}

Test(store, sqlite_brings_a_store_of_each_older_version_up_to_date)
{
	struct ntm_node_record rec, b;
	struct ntm_path_record p;
	char was[32] = "", relays[64] = "";

	for (size_t version = 1; version < ntm_n_migrations; version++) {
		old_store(version);
		open_store();
		cr_assert_eq(store->ops->node_by_label(store, "old", &rec), 0);
		cr_assert_eq(rec.index, 7);
		cr_assert_eq(store->ops->setting(store, "zone", "x", false, was, sizeof(was)), -EEXIST);
		cr_assert_str_eq(was, "z.example");
		cr_assert_eq(paths_of(rec.id, false).n, version >= 2);
		/* and it can hold what a new one can */
		b = node("new", 9);
		cr_assert_eq(b.index, 9);
		p = (struct ntm_path_record){.id = 3, .nodes = {b.id, rec.id}, .created_s = NOW};
		cr_assert_eq(store->ops->save_paths(store, &p, 1), 0);
		reopen();
		cr_assert_eq(paths_of(rec.id, false).n, 1 + (version >= 2));
		cr_assert_eq(store->ops->each_node(store, NTM_STORE_RELAYS, collect, relays), 0);
		cr_assert_str_eq(relays, "");
	}
}

Test(store, sqlite_says_what_is_wrong_with_a_file)
{
	struct ntm_store *s = NULL;
	char text[256] = "", path[160];
	FILE *f;

	cr_assert_eq(ntm_store_sqlite_open("/nowhere/dc.db", &s, text, sizeof(text)), -EIO);
	cr_assert_not_null(strstr(text, "/nowhere/dc.db"));
	snprintf(path, sizeof(path), "%s/text", dir);
	f = fopen(path, "w");
	for (int i = 0; i < 1000; i++)
		fputs("this is no database\n", f);
	fclose(f);
	cr_assert_eq(ntm_store_sqlite_open(path, &s, text, sizeof(text)), -EIO);
	cr_assert_not_null(strstr(text, "not a database"), "%s", text);
	unlink(path);
}

Test(store, sqlite_keeps_no_token_in_the_clear_and_no_file_others_can_read)
{
	char needle[] = "very-secret-token", buf[65536], path[128];
	struct stat st;

	token(needle, NULL);
	cr_assert_eq(stat(file, &st), 0);
	cr_assert_eq(st.st_mode & 077, 0);
	for (int i = 0; i < 2; i++) {
		FILE *f;
		size_t n;

		snprintf(path, sizeof(path), "%s%s", file, i ? "-wal" : "");
		f = fopen(path, "r");
		cr_assert_not_null(f);
		while ((n = fread(buf, 1, sizeof(buf), f)))
			cr_assert_null(memmem(buf, n, needle, strlen(needle)));
		fclose(f);
	}
}

Test(store, sqlite_waits_for_another_writer_and_gives_up_with_an_error)
{
	struct ntm_node_record rec;
	sqlite3 *db;

	token("secret", NULL);
	cr_assert_eq(sqlite3_open(file, &db), SQLITE_OK);
	cr_assert_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	cr_assert_eq(enrol("alice", 1, "secret", &rec), -EIO);
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	sqlite3_close(db);
	cr_assert_eq(enrol("alice", 1, "secret", &rec), 0, "nothing is left open");
}
#endif
