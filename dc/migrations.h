/* SPDX-License-Identifier: BSD-2-Clause */
/* dc/schema/NNN_*.sql, in order, inside the program. Number n brings a store from version n - 1 to n. */
#ifndef NTM_DC_MIGRATIONS_H
#define NTM_DC_MIGRATIONS_H

#include <stddef.h>

extern const char *const ntm_migrations[]; /* [0] is 001 */
extern const size_t ntm_n_migrations;
extern const char *const ntm_pg_migrations[]; /* dc/schema/pg_NNN_*.sql, the same for PostgreSQL */
extern const size_t ntm_n_pg_migrations;

#endif
