/* SPDX-License-Identifier: BSD-2-Clause */
#include "shelves.h"

enum { OPEN = NTM_SHELVES };

void ntm_shelves_init(struct ntm_shelves *s)
{
	for (int i = 0; i < NTM_SHELVES; i++)
		TAILQ_INIT(&s->shelves[i]);
	TAILQ_INIT(&s->open);
	s->at = 0;
	s->n = 0;
}

void ntm_shelves_add(struct ntm_shelves *s, struct ntm_shelf_item *item, uint64_t row)
{
	if (item->waits)
		return;
	item->waits = true;
	item->shelf = (uint16_t)(row / NTM_SHELF_ROWS % NTM_SHELVES);
	TAILQ_INSERT_TAIL(&s->shelves[item->shelf], item, link);
	s->n++;
}

void ntm_shelves_remove(struct ntm_shelves *s, struct ntm_shelf_item *item)
{
	struct ntm_shelf *shelf = item->shelf == OPEN ? &s->open : &s->shelves[item->shelf];

	if (!item->waits)
		return;
	TAILQ_REMOVE(shelf, item, link);
	item->waits = false;
	s->n--;
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
		item->shelf = OPEN;
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
	return item;
}
