/* SPDX-License-Identifier: BSD-2-Clause */
#include "shelves.h"

void ntm_shelves_init(struct ntm_shelves *s)
{
	for (int i = 0; i < NTM_SHELVES; i++)
		TAILQ_INIT(&s->shelves[i]);
	TAILQ_INIT(&s->open);
	TAILQ_INIT(&s->taken);
	s->at = 0;
	s->n = 0;
}

static void put(struct ntm_shelves *s, struct ntm_shelf_item *item)
{
	item->waits = true;
	TAILQ_INSERT_TAIL(&s->shelves[item->shelf], item, link);
	s->n++;
}

void ntm_shelves_add(struct ntm_shelves *s, struct ntm_shelf_item *item, uint64_t row)
{
	if (item->waits)
		return;
	ntm_shelves_remove(s, item);
	item->shelf = (uint16_t)(row / NTM_SHELF_ROWS % NTM_SHELVES);
	put(s, item);
}

void ntm_shelves_remove(struct ntm_shelves *s, struct ntm_shelf_item *item)
{
	struct ntm_shelf *shelf = item->taken ? &s->taken : item->open ? &s->open : &s->shelves[item->shelf];

	if (!item->waits && !item->taken)
		return;
	TAILQ_REMOVE(shelf, item, link);
	s->n -= item->waits;
	item->waits = item->open = item->taken = false;
}

/* Some item waits, and none of the shelf that is open. */
static void open_next(struct ntm_shelves *s)
{
	struct ntm_shelf_item *item;

	do
		s->at = (s->at + 1) % NTM_SHELVES;
	while (TAILQ_EMPTY(&s->shelves[s->at]));
	TAILQ_CONCAT(&s->open, &s->shelves[s->at], link);
	TAILQ_FOREACH(item, &s->open, link)
	{
		item->open = true;
	}
}

struct ntm_shelf_item *ntm_shelves_take(struct ntm_shelves *s)
{
	struct ntm_shelf_item *item;

	if (!s->n)
		return NULL;
	if (TAILQ_EMPTY(&s->open))
		open_next(s);
	item = TAILQ_FIRST(&s->open);
	ntm_shelves_remove(s, item);
	item->taken = true;
	TAILQ_INSERT_TAIL(&s->taken, item, link);
	return item;
}

void ntm_shelves_taken(struct ntm_shelves *s, bool stored)
{
	struct ntm_shelf_item *item;

	while ((item = TAILQ_FIRST(&s->taken))) {
		ntm_shelves_remove(s, item);
		if (!stored)
			put(s, item);
	}
}
