/* SPDX-License-Identifier: BSD-2-Clause */
#include "held.h"

#include <stdlib.h>

enum { BUCKETS = 4096 }; /* a power of two; Path IDs are random */

struct entry {
	uint64_t path_id, at_ms;
	unsigned end;
	struct entry *next;            /* in its bucket, or in the free list */
	struct entry *older, *younger; /* all live ones */
	struct ntm_tunnel_req msg;
};

struct ntm_held {
	struct entry *bucket[BUCKETS];
	struct entry *free, *oldest, *youngest;
	size_t n;
	struct entry entries[NTM_HELD_MAX];
};

struct ntm_held *ntm_held_new(void)
{
	struct ntm_held *h = calloc(1, sizeof(*h));

	for (size_t i = 0; h && i < NTM_HELD_MAX; i++) {
		h->entries[i].next = h->free;
		h->free = &h->entries[i];
	}
	return h;
}

void ntm_held_free(struct ntm_held *h)
{
	free(h);
}

static struct entry **find(struct ntm_held *h, uint64_t path_id, unsigned end)
{
	struct entry **p = &h->bucket[(path_id ^ end) & (BUCKETS - 1)];

	while (*p && ((*p)->path_id != path_id || (*p)->end != end))
		p = &(*p)->next;
	return p;
}

static void drop(struct ntm_held *h, struct entry **link)
{
	struct entry *e = *link;

	*link = e->next;
	*(e->older ? &e->older->younger : &h->oldest) = e->younger;
	*(e->younger ? &e->younger->older : &h->youngest) = e->older;
	e->next = h->free;
	h->free = e;
	h->n--;
}

bool ntm_held_put(struct ntm_held *h, uint64_t path_id, unsigned end, const struct ntm_tunnel_req *m, uint64_t now_ms)
{
	struct entry **link = find(h, path_id, end), *e;

	if (*link)
		drop(h, link);
	while (h->oldest && now_ms - h->oldest->at_ms >= NTM_HELD_MS)
		drop(h, find(h, h->oldest->path_id, h->oldest->end));
	e = h->free;
	if (!e)
		return false;
	h->free = e->next;
	e->path_id = path_id;
	e->end = end;
	e->at_ms = now_ms;
	e->msg = *m;
	/* The bucket's first link, as that found before may have gone with a stale entry. */
	link = &h->bucket[(path_id ^ end) & (BUCKETS - 1)];
	e->next = *link;
	*link = e;
	e->younger = NULL;
	e->older = h->youngest;
	*(h->youngest ? &h->youngest->younger : &h->oldest) = e;
	h->youngest = e;
	h->n++;
	return true;
}

bool ntm_held_take(struct ntm_held *h, uint64_t path_id, unsigned end, uint64_t now_ms, struct ntm_tunnel_req *out)
{
	struct entry **link = find(h, path_id, end);
	bool fresh;

	if (!*link)
		return false;
	fresh = now_ms - (*link)->at_ms < NTM_HELD_MS;
	if (fresh)
		*out = (*link)->msg;
	drop(h, link);
	return fresh;
}

size_t ntm_held_count(const struct ntm_held *h)
{
	return h->n;
}
