/* SPDX-License-Identifier: BSD-2-Clause */
/* The PostgreSQL engine for dc_store.c. */
#include "../harness/pg_rig.h"

static struct ntm_store *store;

static void open_store(void)
{
	char text[256];

	cr_assert_eq(ntm_store_pg_open(conninfo, &store, text, sizeof(text)), 0, "%s", text);
}

static void setup(void)
{
	cr_assert_eq(ntm_crypto_init(), 0);
	pg_schema();
	open_store();
}

static void teardown(void)
{
	ntm_store_close(store);
}
