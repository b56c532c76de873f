/* SPDX-License-Identifier: BSD-2-Clause */
/* A growing first-in-first-out queue of equal-sized items; O(1) amortised. */
#ifndef NTM_FIFO_H
#define NTM_FIFO_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct ntm_fifo {
	uint8_t *items;
	size_t item_size, cap, head, n;
};

static inline void *ntm_fifo_peek(struct ntm_fifo *f)
{
	return f->n ? f->items + f->head * f->item_size : NULL;
}

static inline void ntm_fifo_pop(struct ntm_fifo *f)
{
	f->head = (f->head + 1) % f->cap;
	f->n--;
}

/* 0 or -ENOMEM */
static inline int ntm_fifo_push(struct ntm_fifo *f, const void *item)
{
	if (f->n == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 64, first = f->cap - f->head;
		uint8_t *items = malloc(cap * f->item_size);
		if (!items)
			return -ENOMEM;
		if (f->n) {
			memcpy(items, f->items + f->head * f->item_size, first * f->item_size);
			memcpy(items + first * f->item_size, f->items, f->head * f->item_size);
		}
		free(f->items);
		f->items = items;
		f->cap = cap;
		f->head = 0;
	}
	memcpy(f->items + (f->head + f->n++) % f->cap * f->item_size, item, f->item_size);
	return 0;
}

static inline void ntm_fifo_free(struct ntm_fifo *f)
{
	free(f->items);
	f->items = NULL;
	f->cap = f->head = f->n = 0;
}

#endif
