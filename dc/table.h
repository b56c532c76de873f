/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hash table of links that live in the elements themselves. Keys are the caller's: it gives a hash when it adds, and
 * compares while it walks the elements of equal hash. Hashes of what others choose must be keyed (ntm_table_hash).
 */
#ifndef NTM_DC_TABLE_H
#define NTM_DC_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define ntm_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

struct ntm_table_link {
	struct ntm_table_link *next;
	uint64_t hash;
};

struct ntm_table {
	struct ntm_table_link **buckets;
	size_t mask, n;
};

int ntm_table_init(struct ntm_table *t, size_t expected); /* 0 or -ENOMEM */
void ntm_table_free(struct ntm_table *t);                 /* elements are the caller's */

/* Never fails: without memory to grow, chains get longer. */
void ntm_table_add(struct ntm_table *t, struct ntm_table_link *l, uint64_t hash);
void ntm_table_del(struct ntm_table *t, struct ntm_table_link *l); /* must be in t */

/* Elements with this very hash; NULL at the end. */
struct ntm_table_link *ntm_table_first(const struct ntm_table *t, uint64_t hash);
struct ntm_table_link *ntm_table_next(const struct ntm_table_link *l);

/* Keyed by a secret of this process, so that nobody can choose names or keys that collide. */
uint64_t ntm_table_hash(const void *data, size_t len);

#endif
