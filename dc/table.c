/* SPDX-License-Identifier: BSD-2-Clause */
#include "table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../user/common/crypto.h"

int ntm_table_init(struct ntm_table *t, size_t expected)
{
	size_t n = 64;

	while (n < expected)
		n *= 2;
	t->buckets = calloc(n, sizeof(*t->buckets));
	if (!t->buckets)
		return -ENOMEM;
	t->mask = n - 1;
	t->n = 0;
	return 0;
}

void ntm_table_free(struct ntm_table *t)
{
	free(t->buckets);
	*t = (struct ntm_table){0};
}

static void grow(struct ntm_table *t)
{
	size_t mask = t->mask * 2 + 1;
	struct ntm_table_link **to = calloc(mask + 1, sizeof(*to));

	if (!to)
		return;
	for (size_t i = 0; i <= t->mask; i++) {
		struct ntm_table_link *l = t->buckets[i], *next;

		for (; l; l = next) {
			next = l->next;
			l->next = to[l->hash & mask];
			to[l->hash & mask] = l;
		}
	}
	free(t->buckets);
	t->buckets = to;
	t->mask = mask;
}

void ntm_table_add(struct ntm_table *t, struct ntm_table_link *l, uint64_t hash)
{
	if (t->n > t->mask)
		grow(t);
	l->hash = hash;
	l->next = t->buckets[hash & t->mask];
	t->buckets[hash & t->mask] = l;
	t->n++;
}

void ntm_table_del(struct ntm_table *t, struct ntm_table_link *l)
{
	struct ntm_table_link **p = &t->buckets[l->hash & t->mask];

	while (*p && *p != l)
		p = &(*p)->next;
	if (!*p)
		return;
	*p = l->next;
	l->next = NULL;
	t->n--;
}

struct ntm_table_link *ntm_table_first(const struct ntm_table *t, uint64_t hash)
{
	struct ntm_table_link *l = t->buckets[hash & t->mask];

	while (l && l->hash != hash)
		l = l->next;
	return l;
}

struct ntm_table_link *ntm_table_next(const struct ntm_table_link *l)
{
	struct ntm_table_link *n = l->next;

	while (n && n->hash != l->hash)
		n = n->next;
	return n;
}

/* SipHash-1-3 (Aumasson, Bernstein 2012; one and three rounds as Linux' and Rust's tables use it). */
#define ROTL(x, b) ((x) << (b) | (x) >> (64 - (b)))
#define SIPROUND(v0, v1, v2, v3)     \
	do {                         \
		(v0) += (v1);        \
		(v1) = ROTL(v1, 13); \
		(v1) ^= (v0);        \
		(v0) = ROTL(v0, 32); \
		(v2) += (v3);        \
		(v3) = ROTL(v3, 16); \
		(v3) ^= (v2);        \
		(v0) += (v3);        \
		(v3) = ROTL(v3, 21); \
		(v3) ^= (v0);        \
		(v2) += (v1);        \
		(v1) = ROTL(v1, 17); \
		(v1) ^= (v2);        \
		(v2) = ROTL(v2, 32); \
	} while (0)

uint64_t ntm_table_hash(const void *data, size_t len)
{
	static uint64_t key[2];
	static bool keyed;
	const uint8_t *p = data;
	uint64_t v0, v1, v2, v3, m;
	size_t left = len;

	if (!keyed) /* a predictable key is the worst that a failure leads to */
		keyed = !ntm_random(key, sizeof(key));
	v0 = key[0] ^ 0x736f6d6570736575ULL;
	v1 = key[1] ^ 0x646f72616e646f6dULL;
	v2 = key[0] ^ 0x6c7967656e657261ULL;
	v3 = key[1] ^ 0x7465646279746573ULL;
	for (; left >= 8; left -= 8, p += 8) {
		memcpy(&m, p, 8);
		v3 ^= m;
		SIPROUND(v0, v1, v2, v3);
		v0 ^= m;
	}
	m = (uint64_t)len << 56;
	for (size_t i = 0; i < left; i++)
		m |= (uint64_t)p[i] << (8 * i);
	v3 ^= m;
	SIPROUND(v0, v1, v2, v3);
	v0 ^= m;
	v2 ^= 0xff;
	for (int i = 0; i < 3; i++)
		SIPROUND(v0, v1, v2, v3);
	return v0 ^ v1 ^ v2 ^ v3;
}
