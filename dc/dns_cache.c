/* SPDX-License-Identifier: BSD-2-Clause */
#include "dns_cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "table.h"

enum {
	NEGATIVE_SHARE = 8, /* one part of so many is for negative answers */
	TYPICAL = 128,      /* bytes of one, for the table's size */
	OVERHEAD = 16,      /* of the allocator and the table */
	DROP_AT_ONCE = 2,   /* that are too old, each time that one is added */
};

struct entry {
	struct ntm_table_link link; /* by name alone: what is forgotten is a name */
	TAILQ_ENTRY(entry) order;
	uint64_t until_ms;
	uint32_t serial;
	uint16_t len, name_len;
	bool negative, has_soa;
	uint8_t wire[];
};
TAILQ_HEAD(entries, entry);

struct share {
	struct entries oldest_first;
	size_t bytes, max;
};

struct ntm_dns_cache {
	struct ntm_table table;
	struct share shares[2]; /* positive, negative answers */
};

struct ntm_dns_cache *ntm_dns_cache_new(size_t bytes)
{
	struct ntm_dns_cache *c = calloc(1, sizeof(*c));

	if (!c || ntm_table_init(&c->table, bytes / TYPICAL)) {
		free(c);
		return NULL;
	}
	for (int i = 0; i < 2; i++)
		TAILQ_INIT(&c->shares[i].oldest_first);
	c->shares[1].max = bytes / NEGATIVE_SHARE;
	c->shares[0].max = bytes - c->shares[1].max;
	return c;
}

static size_t size_of(const struct entry *e)
{
	return sizeof(*e) + e->len + OVERHEAD;
}

static void drop(struct ntm_dns_cache *c, struct entry *e)
{
	struct share *s = &c->shares[e->negative];

	TAILQ_REMOVE(&s->oldest_first, e, order);
	s->bytes -= size_of(e);
	ntm_table_del(&c->table, &e->link);
	free(e);
}

void ntm_dns_cache_clear(struct ntm_dns_cache *c)
{
	for (int i = 0; i < 2; i++) {
		while (!TAILQ_EMPTY(&c->shares[i].oldest_first))
			drop(c, TAILQ_FIRST(&c->shares[i].oldest_first));
	}
}

void ntm_dns_cache_free(struct ntm_dns_cache *c)
{
	if (!c)
		return;
	ntm_dns_cache_clear(c);
	ntm_table_free(&c->table);
	free(c);
}

static struct entry *lookup(const struct ntm_dns_cache *c, const struct ntm_dns_plain *p)
{
	struct ntm_table_link *l = ntm_table_first(&c->table, ntm_table_hash(p->question, p->name_len));

	for (; l; l = ntm_table_next(l)) {
		struct entry *e = ntm_container_of(l, struct entry, link);

		if (e->name_len == p->name_len && !memcmp(e->wire + NTM_DNS_HEADER, p->question, p->len))
			return e;
	}
	return NULL;
}

bool ntm_dns_cache_find(const struct ntm_dns_cache *c, const struct ntm_dns_plain *p, uint32_t serial, uint64_t now_ms,
			struct ntm_dns_cached *out)
{
	const struct entry *e = lookup(c, p);

	if (!e || now_ms >= e->until_ms || (e->has_soa && e->serial != serial))
		return false;
	*out = (struct ntm_dns_cached){e->wire, e->len};
	return true;
}

/* Room for one more of so many bytes. */
static void make_room(struct ntm_dns_cache *c, struct share *s, size_t size, uint64_t now_ms)
{
	struct entry *e;

	for (int i = 0; i < DROP_AT_ONCE; i++) {
		e = TAILQ_FIRST(&s->oldest_first);
		if (!e || now_ms < e->until_ms)
			break;
		drop(c, e);
	}
	while (s->bytes + size > s->max && (e = TAILQ_FIRST(&s->oldest_first)))
		drop(c, e);
}

void ntm_dns_cache_keep(struct ntm_dns_cache *c, const struct ntm_dns_plain *p, const struct ntm_dns_cached *answer,
			uint32_t serial, uint64_t now_ms, uint32_t ttl_ms)
{
	struct entry *e = lookup(c, p);
	struct share *s;

	if (e)
		drop(c, e);
	if (answer->len > NTM_DNS_CACHED_MAX)
		return;
	e = malloc(sizeof(*e) + answer->len);
	if (!e)
		return;
	e->len = (uint16_t)answer->len;
	memcpy(e->wire, answer->wire, answer->len);
	e->name_len = (uint16_t)p->name_len;
	e->until_ms = now_ms + ttl_ms;
	e->serial = serial;
	e->negative = !e->wire[6] && !e->wire[7]; /* no record in its answer section: an SOA in the next */
	e->has_soa = e->negative || p->type == LDNS_RR_TYPE_SOA;
	s = &c->shares[e->negative];
	make_room(c, s, size_of(e), now_ms);
	if (size_of(e) > s->max) {
		free(e);
		return;
	}
	TAILQ_INSERT_TAIL(&s->oldest_first, e, order);
	s->bytes += size_of(e);
	ntm_table_add(&c->table, &e->link, ntm_table_hash(p->question, p->name_len));
}

void ntm_dns_cache_forget(struct ntm_dns_cache *c, const uint8_t *name, size_t len)
{
	struct ntm_table_link *l = ntm_table_first(&c->table, ntm_table_hash(name, len)), *next;

	for (; l; l = next) {
		struct entry *e = ntm_container_of(l, struct entry, link);

		next = ntm_table_next(l);
		if (e->name_len == len && !memcmp(e->wire + NTM_DNS_HEADER, name, len))
			drop(c, e);
	}
}
