/* SPDX-License-Identifier: BSD-2-Clause */
#include "migrations.h"

/* The assembler includes the file as it stands; paths are relative to the top of the tree, where make runs. */
#define SCHEMA(name)                                                   \
	__asm__(".section .rodata\n"                                   \
		".type ntm_schema_" #name ", %object\n"                \
		"ntm_schema_" #name ":\n"                              \
		".incbin \"dc/schema/" #name ".sql\"\n"                \
		".byte 0\n"                                            \
		".size ntm_schema_" #name ", .-ntm_schema_" #name "\n" \
		".previous\n");                                        \
	extern const char schema_##name[] __asm__("ntm_schema_" #name)

SCHEMA(001_nodes);
SCHEMA(002_paths);
SCHEMA(003_relays);
SCHEMA(pg_001_store);
SCHEMA(pg_002_processes);

const char *const ntm_migrations[] = {
    schema_001_nodes,
    schema_002_paths,
    schema_003_relays,
};
const size_t ntm_n_migrations = sizeof(ntm_migrations) / sizeof(ntm_migrations[0]);

const char *const ntm_pg_migrations[] = {
    schema_pg_001_store,
    schema_pg_002_processes,
};
const size_t ntm_n_pg_migrations = sizeof(ntm_pg_migrations) / sizeof(ntm_pg_migrations[0]);
