/* SPDX-License-Identifier: BSD-2-Clause */
/* The contract of dc/store.h on PostgreSQL, and what several processes may do to each other there. */
#define STORE_ENGINE "dc_store_pg.h"
#include "dc_store.c"

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "../../dc/store_pg.h"

static void sql(const char *text)
{
	PGconn *db = PQconnectdb(conninfo);
	PGresult *res = PQexec(db, text);
	ExecStatusType st = PQresultStatus(res);

	cr_assert(st == PGRES_COMMAND_OK || st == PGRES_TUPLES_OK, "%s: %s", text, PQerrorMessage(db));
	PQclear(res);
	PQfinish(db);
}

static int64_t number(const char *text)
{
	PGconn *db = PQconnectdb(conninfo);
	PGresult *res = PQexec(db, text);
	int64_t n;

	cr_assert_eq(PQresultStatus(res), PGRES_TUPLES_OK, "%s: %s", text, PQerrorMessage(db));
	n = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
	PQclear(res);
	PQfinish(db);
	return n;
}

Test(store, pg_refuses_a_newer_store)
{
	struct ntm_store *other = NULL;
	char text[256] = "";

	sql("INSERT INTO schema_version (version) VALUES (999)");
	cr_assert_eq(ntm_store_pg_open(conninfo, &other, text, sizeof(text)), -ENOTSUP);
	cr_assert_not_null(strstr(text, "version 999"), "%s", text);
	cr_assert_null(other);
}

Test(store, pg_brings_a_store_of_each_older_version_up_to_date)
{
	struct ntm_node_record rec, b;
	struct ntm_path_record p;
	char text[96];

	for (size_t version = 1; version < ntm_n_pg_migrations; version++) {
		ntm_store_close(store);
		store = NULL;
		snprintf(text, sizeof(text), "DROP SCHEMA t%d CASCADE; CREATE SCHEMA t%d", getpid(), getpid());
		sql(text);
		sql("CREATE TABLE schema_version (version BIGINT NOT NULL)");
		for (size_t i = 0; i < version; i++) {
			sql(ntm_pg_migrations[i]);
			snprintf(text, sizeof(text), "INSERT INTO schema_version (version) VALUES (%zu)", i + 1);
			sql(text);
		}
		sql("INSERT INTO nodes (label, public_key, address, created_s) VALUES "
		    "('old', decode(repeat('00', 32), 'hex'), 7, 5), ('other', decode(repeat('01', 32), 'hex'), 8, 5)");
		sql("INSERT INTO paths (a, b, path_id, created_s) VALUES (1, 2, 77, 5)");
		open_store();
		cr_assert_eq(store->ops->node_by_label(store, "old", &rec), 0);
		cr_assert_eq(rec.index, 7);
		cr_assert_eq(paths_of(rec.id, false).n, 1);
		b = node("new", 9);
		p = (struct ntm_path_record){.id = 3, .nodes = {b.id, rec.id}, .created_s = NOW};
		cr_assert_eq(store->ops->save_paths(store, &p, 1), 0);
		reopen();
		cr_assert_eq(paths_of(rec.id, false).n, 2);
	}
}

Test(store, pg_says_what_is_wrong_with_a_server)
{
	struct ntm_store *other = NULL;
	char text[256] = "";

	cr_assert_eq(ntm_store_pg_open("host=/nowhere password=hush", &other, text, sizeof(text)), -EIO);
	cr_assert_not_null(strstr(text, "/nowhere"), "%s", text);
	cr_assert_null(strstr(text, "hush"));
	cr_assert_eq(ntm_store_pg_open("nonsense=1", &other, text, sizeof(text)), -EIO);
	cr_assert_not_null(strstr(text, "nonsense"), "%s", text);
}

/* A process that enrols `n` nodes, each try with a token that all processes share. */
static pid_t enroller(unsigned who, unsigned n)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	store = NULL;
	open_store();
	for (unsigned i = 0; i < n; i++) {
		char label[32], shared[32];
		uint8_t key[NTM_DH_LEN] = {(uint8_t)who, (uint8_t)i, (uint8_t)(i >> 8)};
		struct ntm_enrolment e = {label, key, shared, 100000, NOW};
		struct ntm_node_record rec;
		int err;

		snprintf(label, sizeof(label), "n%u-%u", who, i);
		snprintf(shared, sizeof(shared), "shared-%u", i);
		err = store->ops->enrol(store, &e, &rec, &why);
		if (err && err != -EACCES)
			_exit(1);
	}
	_exit(0);
}

enum { PROCESSES = 4, EACH = 40 };

static void shared_tokens(void)
{
	char text[32];

	for (int i = 0; i < EACH; i++) {
		snprintf(text, sizeof(text), "shared-%d", i);
		token(text, NULL);
	}
}

Test(store, pg_processes_at_once_give_nothing_twice, .timeout = 60)
{
	pid_t pids[PROCESSES];
	uint32_t highest;
	int status;

	shared_tokens();
	for (unsigned i = 0; i < PROCESSES; i++)
		pids[i] = enroller(i + 1, EACH);
	for (int i = 0; i < PROCESSES; i++) {
		cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
		cr_assert(WIFEXITED(status) && !WEXITSTATUS(status));
	}
	cr_assert_eq(number("SELECT count(*) FROM nodes"), EACH, "each token let one node in");
	cr_assert_eq(number("SELECT count(DISTINCT address) FROM nodes"), EACH);
	cr_assert_eq(number("SELECT count(DISTINCT node_id) FROM tokens WHERE used_s IS NOT NULL"), EACH);
	cr_assert_eq(store->ops->highest_index(store, &highest), 0);
	cr_assert_eq(highest, EACH, "no address is lost");
}

Test(store, pg_killed_while_writing_leaves_nothing_half_written, .timeout = 60)
{
	for (unsigned round = 1; round <= 10; round++) {
		struct timespec t = {0, 7000000L * (long)round};
		pid_t pid;

		for (int i = 0; i < EACH; i++) {
			char text[32];

			snprintf(text, sizeof(text), "shared-%d", i);
			if (round == 1)
				token(text, NULL);
		}
		pid = enroller(round, EACH);
		nanosleep(&t, NULL); /* the moment of the kill is what varies */
		kill(pid, SIGKILL);
		cr_assert_eq(waitpid(pid, NULL, 0), pid);
		/* one statement each: the server may be finishing a commit of the dead process */
		cr_assert_eq(number("SELECT (SELECT count(*) FROM nodes) - "
				    "(SELECT count(*) FROM tokens WHERE used_s IS NOT NULL)"),
			     0);
		cr_assert_eq(number("SELECT count(*) FROM tokens LEFT JOIN nodes ON nodes.id = node_id "
				    "WHERE used_s IS NOT NULL AND nodes.id IS NULL"),
			     0);
		cr_assert_eq(number("SELECT coalesce(max(address), 0) - count(*) FROM nodes"), 0);
	}
}

static void end_connection(void)
{
	char name[32], text[160];

	ntm_pg_name(ntm_pg(store)->holder, name);
	snprintf(text, sizeof(text),
		 "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '%s'", name);
	sql(text);
}

/* The first failure is on record: the connection is on its way. */
static void until_found(const char *label, struct ntm_node_record *rec)
{
	int err = -EIO;

	for (int i = 0; err && i < 1000; i++) {
		struct timespec t = {0, 20000000};

		err = store->ops->node_by_label(store, label, rec);
		if (err)
			nanosleep(&t, NULL);
	}
	cr_assert_eq(err, 0);
}

Test(store, pg_connection_that_was_cut_is_made_again)
{
	struct ntm_node_record made = node("alice", 1), rec;

	end_connection();
	until_found("alice", &rec);
	cr_assert_eq(rec.id, made.id);
	node("bob", 2);
}

/* A directory that is a host of conninfo, and where its socket is. */
static void add_host(char dir[32], struct sockaddr_un *sa)
{
	strcpy(dir, "/tmp/ntm-host-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(sa->sun_path, sizeof(sa->sun_path), "%s/.s.PGSQL.5432", dir);
}

/* It takes connections, and what they say, and never says anything. */
static int be_silent(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (const struct sockaddr *)sa, sizeof(*sa)), 0);
	cr_assert_eq(listen(fd, 16), 0);
	return fd;
}

/* With another host before its own. */
static void reopen_with(const char *first)
{
	char text[sizeof(conninfo) + 64], error[256];

	snprintf(text, sizeof(text), "host=%s,%s", first, strstr(conninfo, "host=") + 5);
	ntm_store_close(store);
	cr_assert_eq(ntm_store_pg_open(text, &store, error, sizeof(error)), 0, "%s", error);
}

Test(store, pg_second_host_is_gone_on_to_when_the_first_falls_silent, .timeout = 60)
{
	struct ntm_node_record made = node("alice", 1), rec;
	struct sockaddr_un sa;
	char dir[32], server[128];
	int fd;

	add_host(dir, &sa);
	cr_assert_eq(sscanf(conninfo, "host=%100[^ ]", server), 1);
	strcat(server, "/.s.PGSQL.5432");
	cr_assert_eq(symlink(server, sa.sun_path), 0);
	reopen_with(dir);
	cr_assert_str_eq(PQhost(ntm_pg(store)->db), dir);
	cr_assert_eq(unlink(sa.sun_path), 0);
	fd = be_silent(&sa);
	end_connection();
	until_found("alice", &rec);
	cr_assert_eq(rec.id, made.id);
	cr_assert_str_neq(PQhost(ntm_pg(store)->db), dir);
	end_connection(); /* the one that it was connected to is tried first */
	until_found("alice", &rec);
	cr_assert_eq(ntm_pg(store)->hosts.tried, 0);
	close(fd);
	unlink(sa.sun_path);
	rmdir(dir);
}

Test(store, pg_second_host_is_that_of_the_start_when_the_first_is_silent, .timeout = 60)
{
	struct ntm_node_record made = node("alice", 1), rec;
	struct sockaddr_un sa;
	char dir[32];
	int fd;

	add_host(dir, &sa);
	fd = be_silent(&sa);
	reopen_with(dir);
	cr_assert_eq(store->ops->node_by_label(store, "alice", &rec), 0);
	cr_assert_eq(rec.id, made.id);
	close(fd);
	unlink(sa.sun_path);
	rmdir(dir);
}

Test(store, pg_only_the_holder_calls_a_node_offline)
{
	struct ntm_node_record a = node("a", 1), rec;
	struct ntm_presence p = {.id = a.id, .last_seen_s = NOW, .online = true};
	struct ntm_store *other;
	char text[256];

	cr_assert_eq(ntm_store_pg_open(conninfo, &other, text, sizeof(text)), 0, "%s", text);
	cr_assert_eq(store->ops->save_presence(store, &p, 1), 0);
	cr_assert_eq(other->ops->save_presence(other, &p, 1), 0, "it went over to the other");
	p.online = false;
	cr_assert_eq(store->ops->save_presence(store, &p, 1), 0);
	cr_assert_eq(store->ops->node_by_label(store, "a", &rec), 0);
	cr_assert(rec.online);
	cr_assert_eq(other->ops->save_presence(other, &p, 1), 0);
	cr_assert_eq(store->ops->node_by_label(store, "a", &rec), 0);
	cr_assert(!rec.online);
	ntm_store_close(other);
}

struct seen {
	unsigned n[NTM_STORE_MISSED + 1];
	uint64_t node_id, holders[4];
	unsigned n_holders;
	char name[32];
};

static int see_change(void *arg, const struct ntm_store_change *c)
{
	struct seen *s = arg;

	s->n[c->kind]++;
	if (c->node_id)
		s->node_id = c->node_id;
	if (c->name)
		snprintf(s->name, sizeof(s->name), "%s", c->name);
	return 0;
}

static int see_process(void *arg, const struct ntm_process_record *p)
{
	struct seen *s = arg;

	s->holders[s->n_holders++ % 4] = p->holder;
	return 0;
}

/* As often as a daemon asks, until it heard of something of that kind. */
static struct seen hear(struct ntm_store *s, enum ntm_store_change_kind kind)
{
	struct seen seen = {0};

	for (int i = 0; !seen.n[kind] && i < 1000; i++) {
		struct timespec t = {0, 10000000};

		cr_assert_eq(s->ops->changes(s, see_change, &seen), 0);
		if (!seen.n[kind])
			nanosleep(&t, NULL); /* the notification is on its way */
	}
	return seen;
}

static struct ntm_store *second_daemon(struct ntm_process_record *me)
{
	struct ntm_store *s;
	char text[256], name[320];

	snprintf(name, sizeof(name), "postgres:%s", conninfo);
	cr_assert_eq(ntm_store_open(name, &s, text, sizeof(text)), 0, "%s", text);
	*me = (struct ntm_process_record){.holder = s->ops->holder(s), .public_key = {1}, .n_addrs = 1};
	me->addrs[0].port = 7;
	return s;
}

Test(store, pg_processes_hear_of_each_others_changes)
{
	struct ntm_process_record me[2];
	struct ntm_store *one = second_daemon(&me[0]), *two = second_daemon(&me[1]);
	struct ntm_node_record rec;
	struct seen seen;

	cr_assert_eq(one->ops->join(one, &me[0]), 0);
	cr_assert_eq(two->ops->join(two, &me[1]), 0);
	cr_assert_eq(hear(one, NTM_STORE_PROCESSES).n[NTM_STORE_PROCESSES], 1, "the other's coming, not its own");
	seen = (struct seen){0};
	cr_assert_eq(one->ops->each_process(one, see_process, &seen), 0);
	cr_assert_eq(seen.n_holders, 2);

	rec = node("alice", 1); /* by a third one */
	seen = hear(one, NTM_STORE_NODE);
	cr_assert_eq(seen.node_id, rec.id);
	memset(rec.public_key, 9, sizeof(rec.public_key));
	cr_assert_eq(two->ops->rekey(two, rec.id, rec.public_key), 0);
	cr_assert_eq(hear(one, NTM_STORE_NODE).node_id, rec.id, "another key");
	cr_assert_eq(two->ops->revoke(two, "alice", NOW, &rec), 0);
	cr_assert_eq(hear(one, NTM_STORE_REVOKED).node_id, rec.id);
	cr_assert_eq(two->ops->setting(two, "policy", "text", true, NULL, 0), 0);
	cr_assert_str_eq(hear(one, NTM_STORE_SETTING).name, "policy");
	seen = (struct seen){0};
	cr_assert_eq(one->ops->changes(one, see_change, &seen), 0);
	cr_assert_eq(seen.n[NTM_STORE_NODE] + seen.n[NTM_STORE_REVOKED] + seen.n[NTM_STORE_SETTING], 0, "told once");
	ntm_store_close(one);
	ntm_store_close(two);
}

Test(store, pg_who_died_is_known_and_cleared_away)
{
	struct ntm_process_record me[2];
	struct ntm_store *one = second_daemon(&me[0]), *two = second_daemon(&me[1]);
	struct seen seen = {0};
	int err = -EBUSY;

	cr_assert_eq(one->ops->join(one, &me[0]), 0);
	cr_assert_eq(two->ops->join(two, &me[1]), 0);
	cr_assert_eq(one->ops->process_gone(one, me[1].holder), -EBUSY);
	ntm_store_close(two);
	for (int i = 0; err && i < 1000; i++) {
		struct timespec t = {0, 10000000};

		err = one->ops->process_gone(one, me[1].holder);
		if (err)
			nanosleep(&t, NULL); /* its server process is ending */
	}
	cr_assert_eq(err, 0);
	two = second_daemon(&me[1]);
	me[1].public_key[0] = 2;
	cr_assert_eq(two->ops->join(two, &me[1]), -EBUSY, "another key has the store");
	me[1].public_key[0] = 1;
	cr_assert_eq(two->ops->join(two, &me[1]), 0);
	cr_assert_eq(one->ops->each_process(one, see_process, &seen), 0);
	cr_assert_eq(seen.n_holders, 2, "the dead one's record went");
	ntm_store_close(one);
	ntm_store_close(two);
}

Test(store, pg_who_was_cut_off_for_long_is_told_so)
{
	struct ntm_process_record me;
	struct ntm_store *one = second_daemon(&me);

	cr_assert_eq(one->ops->join(one, &me), 0);
	node("alice", 1);
	cr_assert_eq(hear(one, NTM_STORE_NODE).n[NTM_STORE_NODE], 1);
	node("bob", 2);
	sql("DELETE FROM changes");
	node("carol", 3);
	cr_assert_eq(hear(one, NTM_STORE_MISSED).n[NTM_STORE_MISSED], 1);
	ntm_store_close(one);
}

/* The one who is to invite nodes after a start leaves those alone that are another's. */
static int count_node(void *arg, const struct ntm_node_record *rec)
{
	(void)rec;
	++*(unsigned *)arg;
	return 0;
}

Test(store, pg_nodes_of_living_processes_are_not_invited)
{
	struct ntm_process_record me;
	struct ntm_store *one = second_daemon(&me);
	struct ntm_node_record a = node("a", 1);
	struct ntm_presence p = {.id = a.id, .last_seen_s = NOW, .online = true};
	unsigned n = 0;

	cr_assert_eq(one->ops->join(one, &me), 0);
	cr_assert_eq(one->ops->save_presence(one, &p, 1), 0);
	cr_assert_eq(store->ops->each_node(store, NTM_STORE_ONLINE, count_node, &n), 0);
	cr_assert_eq(n, 0);
	cr_assert_eq(store->ops->leave(store, me.holder), 0);
	cr_assert_eq(store->ops->each_node(store, NTM_STORE_ONLINE, count_node, &n), 0);
	cr_assert_eq(n, 1);
	ntm_store_close(one);
}
