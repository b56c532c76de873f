/* SPDX-License-Identifier: BSD-2-Clause */
/* Which engine a configured store is of. */
#include <string.h>

#include "store_pg.h"

#define PG "postgres:"

const char *ntm_store_conninfo(const char *store)
{
	return strncmp(store, PG, sizeof(PG) - 1) ? NULL : store + sizeof(PG) - 1;
}

const char *ntm_store_name(const char *store)
{
	return ntm_store_conninfo(store) ? "in PostgreSQL" : store;
}

int ntm_store_open(const char *store, struct ntm_store **out, char *why, size_t cap)
{
	struct ntm_store *s;
	int err;

	if (!ntm_store_conninfo(store))
		return ntm_store_sqlite_open(store, out, why, cap);
	err = ntm_store_pg_open(ntm_store_conninfo(store), &s, why, cap);
	if (err)
		return err;
	err = ntm_pg_hold(s, why, cap);
	if (err)
		ntm_store_close(s);
	else
		*out = s;
	return err;
}
