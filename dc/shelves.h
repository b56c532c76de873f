/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the store is yet to be told of, given out about in the order of its rows, round and round: rows that are
 * neighbours share a page of the database, and a page that changed is written whole, however many of its rows did. What
 * comes while its neighbours are given out has its turn in the next round, so none waits for ever. What was taken is
 * remembered until it is said whether the store has it now.
 */
#ifndef NTM_DC_SHELVES_H
#define NTM_DC_SHELVES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum {
	NTM_SHELF_ROWS = 32, /* that are neighbours: about those of a page of nodes */
	NTM_SHELVES = 4096,  /* with more rows than both allow, a shelf has some more neighbourhoods */
};

/* Lives in the element; all zero: the store knows. */
struct ntm_shelf_item {
	TAILQ_ENTRY(ntm_shelf_item) link;
	uint16_t shelf;          /* where it is, or was before it was given out */
	bool waits, open, taken; /* waits: the store is to be told; open: it is given out now */
};
TAILQ_HEAD(ntm_shelf, ntm_shelf_item);

struct ntm_shelves {
	struct ntm_shelf shelves[NTM_SHELVES];
	struct ntm_shelf open, taken; /* the one that is given out, and what was */
	unsigned at;                  /* where it was */
	size_t n;                     /* items that wait */
};

void ntm_shelves_init(struct ntm_shelves *s);
void ntm_shelves_add(struct ntm_shelves *s, struct ntm_shelf_item *item,
		     uint64_t row); /* nothing if it waits already; one that was taken waits anew */
void ntm_shelves_remove(struct ntm_shelves *s, struct ntm_shelf_item *item); /* nothing if it is not there */
/* The next one, which waits no more: it is taken. NULL: none does. */
struct ntm_shelf_item *ntm_shelves_take(struct ntm_shelves *s);
/* All that was taken: the store knows it, or it waits again. */
void ntm_shelves_taken(struct ntm_shelves *s, bool stored);

#endif
