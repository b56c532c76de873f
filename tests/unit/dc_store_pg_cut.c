/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PostgreSQL goes away in the middle of a transaction, at each of its statements in turn, COMMIT among them: before the
 * statement was heard, after it was done and only the answer is lost, by the server ending that connection
 * (pg_terminate_backend), and by the server crashing. Whoever asked asks again, as nodes do: it is done once.
 */
#include "../harness/pg_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../../dc/store.h"
#include "../../user/common/crypto.h"

enum { NOW = 1000000, PORT = 5432, STATEMENTS_MAX = 20 };
enum how { UNHEARD, UNANSWERED, TERMINATED, CRASHED, WAYS };

static const char *const how_names[WAYS] = {"unheard", "unanswered", "terminated", "crashed"};

/* What the proxy in between is to do; shared with its process. */
static struct control {
	atomic_int cut_at; /* at this statement, from 1; 0: never */
	atomic_int how;
	atomic_int seen; /* statements since it was told */
	atomic_int done;
} * control;

static char proxy_dir[64], proxied[400];
static pid_t proxy_pid;
static struct ntm_store *store;

static void end_backends(void)
{
	PGconn *db = PQconnectdb(getenv(SERVER_ENV));

	PQclear(PQexec(
	    db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'ntm-dc %'"));
	PQfinish(db);
}

static void crash(void)
{
	char text[300];

	postgres("crash", text, 0);
	postgres("start", text, sizeof(text));
}

/* The statement was not passed on: what becomes of the connection. */
static void cut(int client, int server)
{
	char buf[4096];
	ssize_t n;

	if (control->how == UNANSWERED)
		(void)!read(server, buf, sizeof(buf)); /* it was done */
	if (control->how == TERMINATED) {
		end_backends();
		while ((n = read(server, buf, sizeof(buf))) > 0) /* it says so */
			(void)!write(client, buf, (size_t)n);
	}
	if (control->how == CRASHED)
		crash();
	control->done = 1;
}

/* Data on from one to the other; false: that one is gone, or this is the statement to be cut at. */
static bool pass(int from, int to, bool client)
{
	char buf[65536];
	ssize_t n = read(from, buf, sizeof(buf));

	if (n <= 0)
		return false;
	/* each statement of the store is one write, which ends in Sync, or is a Query */
	if (client && ((n >= 5 && !memcmp(buf + n - 5, "S\0\0\0\4", 5)) || buf[0] == 'Q') &&
	    ++control->seen == control->cut_at) {
		if (control->how == UNANSWERED)
			(void)!write(to, buf, (size_t)n);
		cut(from, to);
		return false;
	}
	return write(to, buf, (size_t)n) == n;
}

static int dial_server(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/pg/socket/.s.PGSQL.%d", server_dir, PORT);
	return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) ? -1 : fd;
}

static void serve(int client)
{
	int server = dial_server();

	if (server < 0)
		return;
	for (bool on = true; on;) {
		struct pollfd p[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};

		if (poll(p, 2, -1) < 0)
			break;
		if (p[0].revents)
			on = pass(client, server, true);
		else if (p[1].revents)
			on = pass(server, client, false);
	}
	close(server);
}

static void proxy(int listener)
{
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		int client = accept(listener, NULL, NULL);

		if (client < 0)
			_exit(1);
		serve(client);
		close(client);
	}
}

static void start_proxy(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(proxy_dir, sizeof(proxy_dir), "/tmp/ntm-cut-XXXXXX");
	cr_assert_not_null(mkdtemp(proxy_dir));
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/.s.PGSQL.%d", proxy_dir, PORT);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	cr_assert_eq(listen(fd, 8), 0);
	proxy_pid = fork();
	if (!proxy_pid)
		proxy(fd);
	close(fd);
	snprintf(proxied, sizeof(proxied), "host=%s user=ntm dbname=postgres options=-csearch_path=t%d", proxy_dir,
		 (int)getpid());
}

/* They end each other's connections. */
static void one_test_at_a_time(void)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/pg/one-at-a-time", server_dir);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	cr_assert_eq(flock(fd, LOCK_EX), 0); /* while this process lives */
}

static void setup(void)
{
	const char *server = getenv(SERVER_ENV);
	char why[256];

	control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(control, MAP_FAILED);
	cr_assert_eq(ntm_crypto_init(), 0);
	pg_schema();
	cr_assert_eq(sscanf(server, "host=%63[^ ]", server_dir), 1);
	*strstr(server_dir, "/pg/socket") = 0;
	one_test_at_a_time();
	start_proxy();
	cr_assert_eq(ntm_store_pg_open(proxied, &store, why, sizeof(why)), 0, "%s", why);
}

static void teardown(void)
{
	char path[96];

	ntm_store_close(store);
	if (proxy_pid <= 0)
		return;
	kill(proxy_pid, SIGKILL);
	waitpid(proxy_pid, NULL, 0);
	snprintf(path, sizeof(path), "%s/.s.PGSQL.%d", proxy_dir, PORT);
	unlink(path);
	cr_assert_eq(rmdir(proxy_dir), 0);
}

TestSuite(cut, .init = setup, .fini = teardown, .timeout = 120);

/* Past the proxy. */
static int64_t number(const char *sql)
{
	PGconn *db = PQconnectdb(conninfo);
	PGresult *res = PQexec(db, sql);
	int64_t n;

	cr_assert_eq(PQresultStatus(res), PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(db));
	n = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
	PQclear(res);
	PQfinish(db);
	return n;
}

/* What is asked for in round i: its own node, key and token. */
struct round {
	char label[16], token[24];
	uint8_t key[NTM_DH_LEN], next[NTM_DH_LEN];
	struct ntm_node_record rec; /* of what was acknowledged */
};

static void begin_round(struct round *r, unsigned i)
{
	memset(r, 0, sizeof(*r));
	snprintf(r->label, sizeof(r->label), "n%u", i);
	snprintf(r->token, sizeof(r->token), "token-%u", i);
	memcpy(r->key, &i, sizeof(i));
	memcpy(r->next, &i, sizeof(i));
	r->next[31] = 1;
}

typedef int (*operation)(struct round *r);

static int make_token(struct round *r)
{
	return store->ops->token_create(store, r->token, NULL, NOW, NOW + 60);
}

static int enrol(struct round *r)
{
	struct ntm_enrolment e = {r->label, r->key, r->token, 100000, NOW};
	const char *why;
	int err = store->ops->enrol(store, &e, &r->rec, &why);

	return err == -EALREADY ? 0 : err;
}

static int admit(struct round *r)
{
	struct ntm_admission a = {r->label, r->key, 100000, NOW};
	const char *why;

	return store->ops->admit(store, &a, &r->rec, &why);
}

static int rekey(struct round *r)
{
	return store->ops->rekey(store, r->rec.id, r->next);
}

static int revoke_it(struct round *r)
{
	int err = store->ops->revoke(store, r->label, NOW, &r->rec);

	return err == -EALREADY ? 0 : err;
}

/* Until the connection is there again; each failure says so at once. */
static int until_it_works(operation op, struct round *r)
{
	int err = -EIO;

	for (int i = 0; err == -EIO && i < 500; i++) {
		err = op(r);
		if (err == -EIO)
			poll(NULL, 0, 5); /* the back-off of the store's own */
	}
	return err;
}

/* op, cut at that statement and asked for again; false: it has fewer statements. */
static bool cut_and_ask_again(operation op, struct round *r, enum how how, int at)
{
	int first, again;

	control->how = (int)how;
	control->seen = control->done = 0;
	control->cut_at = at;
	first = op(r);
	control->cut_at = 0;
	again = until_it_works(op, r);
	cr_assert(!first || first == -EIO, "%s at %d: %s", how_names[how], at, strerror(-first));
	cr_assert_eq(again, 0, "%s at %d, and again: %s", how_names[how], at, strerror(-again));
	return control->done;
}

static unsigned rounds;

static void nothing_is_twice_or_missing(void)
{
	cr_assert_eq(number("SELECT count(*) FROM nodes"), rounds);
	cr_assert_eq(number("SELECT count(DISTINCT address) FROM nodes"), rounds);
	cr_assert_eq(number("SELECT max(address) FROM nodes"), rounds, "no address is lost");
	cr_assert_eq(number("SELECT count(*) FROM changes WHERE kind = 'node' AND seq IN "
			    "(SELECT min(seq) FROM changes GROUP BY kind, node_id)"),
		     rounds, "the others hear of each");
}

/* Each statement in turn, in each of the first ways; before: what has to be there. At the end all that was done is
 * looked at. */
static void at_each_statement(operation before, operation op, void (*check)(const struct round *r), enum how ways)
{
	unsigned cuts = 0;

	for (enum how how = 0; how < ways; how++) {
		bool was_cut = true;

		for (int at = 1; was_cut && at < STATEMENTS_MAX; at++) {
			struct round r;

			begin_round(&r, ++rounds);
			cr_assert_eq(until_it_works(before, &r), 0);
			was_cut = cut_and_ask_again(op, &r, how, at);
			cuts += was_cut;
			check(&r);
		}
		cr_assert_not(was_cut, "it ends");
	}
	cr_assert_geq(cuts, ways * 4, "BEGIN, a lock, something, COMMIT");
	nothing_is_twice_or_missing();
}

static void is_there(const struct round *r)
{
	struct ntm_node_record rec;

	cr_assert_eq(store->ops->node_by_label(store, r->label, &rec), 0);
	cr_assert_eq(rec.id, r->rec.id);
	cr_assert_eq(rec.index, r->rec.index, "the address that was acknowledged");
	cr_assert_eq(memcmp(rec.public_key, r->key, NTM_DH_LEN), 0);
}

Test(cut, enrolment)
{
	at_each_statement(make_token, enrol, is_there, CRASHED);
	cr_assert_eq(number("SELECT count(DISTINCT node_id) FROM tokens WHERE used_s IS NOT NULL"), rounds);
}

static int nothing(struct round *r)
{
	(void)r;
	return 0;
}

Test(cut, admission_of_a_relay)
{
	at_each_statement(nothing, admit, is_there, TERMINATED);
}

static void has_next_key(const struct round *r)
{
	struct ntm_node_record rec;

	cr_assert_eq(store->ops->node_by_key(store, r->next, &rec), 0);
	cr_assert_eq(rec.id, r->rec.id);
	cr_assert_eq(store->ops->node_by_key(store, r->key, &rec), -ENOENT);
}

Test(cut, change_of_a_key)
{
	at_each_statement(admit, rekey, has_next_key, TERMINATED);
}

struct told {
	uint64_t id;
	unsigned n;
};

static int see(void *arg, const struct ntm_store_change *c)
{
	struct told *t = arg;

	t->n += c->kind == NTM_STORE_REVOKED && c->node_id == t->id;
	return 0;
}

static void is_revoked(const struct round *r)
{
	struct ntm_node_record rec;

	cr_assert_eq(store->ops->node_by_label(store, r->label, &rec), 0);
	cr_assert_eq(rec.revoked_s, NOW);
}

Test(cut, revocation)
{
	at_each_statement(admit, revoke_it, is_revoked, TERMINATED);
}

/* Who does not know whether its own change was made hears of it as of another's. */
Test(cut, revocation_that_was_made_though_it_was_not_answered)
{
	const struct ntm_process_record me = {.holder = store->ops->holder(store), .public_key = {1}};
	struct round r;
	struct told t;
	int err = -EIO;

	cr_assert_eq(store->ops->join(store, &me), 0);
	begin_round(&r, 1);
	cr_assert_eq(admit(&r), 0);
	t = (struct told){.id = r.rec.id};
	cr_assert_eq(store->ops->changes(store, see, &t), 0);
	control->how = UNANSWERED;
	control->seen = 0;
	control->cut_at = 8; /* after BEGIN, lock, node, paths, node and the two of a change: COMMIT */
	cr_assert_eq(revoke_it(&r), -EIO);
	control->cut_at = 0;
	cr_assert_eq(number("SELECT count(*) FROM nodes WHERE revoked_s IS NOT NULL"), 1, "it was COMMIT");
	cr_assert_eq(t.n, 0);
	for (int i = 0; (err || !t.n) && i < 500; i++) {
		err = store->ops->changes(store, see, &t);
		if (err || !t.n)
			poll(NULL, 0, 20);
	}
	cr_assert_eq(t.n, 1);
}

/* The whole server, before COMMIT and before what comes before it. */
Test(crash, server_crashes_within_enrolment, .init = setup, .fini = teardown, .timeout = 120)
{
	int last;

	for (int back = 0; back < 2; back++) {
		struct round r;

		begin_round(&r, ++rounds);
		cr_assert_eq(make_token(&r), 0);
		control->seen = 0;
		cr_assert_eq(enrol(&r), 0);
		last = control->seen;
		begin_round(&r, ++rounds);
		cr_assert_eq(make_token(&r), 0);
		cr_assert(cut_and_ask_again(enrol, &r, CRASHED, last - back));
		is_there(&r);
		nothing_is_twice_or_missing();
	}
}
