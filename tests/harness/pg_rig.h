/* SPDX-License-Identifier: BSD-2-Clause */
/* A PostgreSQL server for all tests of a program, and a schema for each. For inclusion by one file of it. */
#ifndef NTM_TEST_PG_RIG_H
#define NTM_TEST_PG_RIG_H

#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* conninfo is that of a schema of the test's own. */
static inline void pg_schema(void)
{
	const char *server = getenv(SERVER_ENV);
	char text[64];
	PGconn *db;
	PGresult *res;

	if (!server)
		cr_skip_test("no PostgreSQL server");
	db = PQconnectdb(server);
	snprintf(text, sizeof(text), "CREATE SCHEMA t%d", (int)getpid());
	res = PQexec(db, text);
	cr_assert_eq(PQresultStatus(res), PGRES_COMMAND_OK, "%s", PQerrorMessage(db));
	PQclear(res);
	PQfinish(db);
	snprintf(conninfo, sizeof(conninfo), "%s options=-csearch_path=t%d", server, (int)getpid());
}

#endif
