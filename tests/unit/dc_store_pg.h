/* SPDX-License-Identifier: BSD-2-Clause */
/* The PostgreSQL engine for dc_store.c: one server for all tests, a schema for each. */
#include <criterion/hooks.h>
#include <libpq-fe.h>
#include <sys/wait.h>

/* Each test is a process that inherits the environment, not the memory. */
#define SERVER_ENV "NTM_TEST_POSTGRES"

static char server_dir[64], conninfo[300];

static bool postgres(const char *command, char *out, size_t cap)
{
	char text[160];
	FILE *f;
	bool ok;

	snprintf(text, sizeof(text), "tests/harness/postgres.sh %s %s/pg", command, server_dir);
	f = popen(text, "r");
	if (!f)
		return false;
	ok = fgets(out, (int)cap, f) || !cap;
	out[strcspn(out, "\n")] = 0;
	pclose(f); /* its status may be gone: the test runner reaps children */
	return ok;
}

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	char server[192];

	(void)tests;
	snprintf(server_dir, sizeof(server_dir), "/tmp/ntm-pg-XXXXXX");
	if (mkdtemp(server_dir) && !chmod(server_dir, 0711) && postgres("start", server, sizeof(server)))
		setenv(SERVER_ENV, server, 1);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	char nothing[8];

	(void)stats;
	postgres("remove", nothing, sizeof(nothing));
	rmdir(server_dir);
}

static void open_store(void)
{
	char text[256];

	cr_assert_eq(ntm_store_pg_open(conninfo, &store, text, sizeof(text)), 0, "%s", text);
}

static void setup(void)
{
	const char *server = getenv(SERVER_ENV);
	char text[64];
	PGconn *db;
	PGresult *res;

	if (!server)
		cr_skip_test("no PostgreSQL server");
	cr_assert_eq(ntm_crypto_init(), 0);
	db = PQconnectdb(server);
	snprintf(text, sizeof(text), "CREATE SCHEMA t%d", (int)getpid());
	res = PQexec(db, text);
	cr_assert_eq(PQresultStatus(res), PGRES_COMMAND_OK, "%s", PQerrorMessage(db));
	PQclear(res);
	PQfinish(db);
	snprintf(conninfo, sizeof(conninfo), "%s options=-csearch_path=t%d", server, (int)getpid());
	open_store();
}

static void teardown(void)
{
	ntm_store_close(store);
}
