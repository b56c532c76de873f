/* SPDX-License-Identifier: BSD-2-Clause */
/* A SQLite store of a test's own. For inclusion by one file of a program. */
#ifndef NTM_TEST_STORE_FILE_H
#define NTM_TEST_STORE_FILE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../dc/store.h"

static char dir[64], file[96];
static struct ntm_store *store;

static void open_store(void)
{
	char text[256];

	cr_assert_eq(ntm_store_sqlite_open(file, &store, text, sizeof(text)), 0, "%s", text);
}

static void make_store(void)
{
	snprintf(dir, sizeof(dir), "/tmp/ntm-store-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/dc.db", dir);
	open_store();
}

static void remove_store(void)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	char path[128];

	ntm_store_close(store);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s%s", file, suffixes[i]);
		unlink(path);
	}
	rmdir(dir);
}

#endif
