/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/bpf.h>

#include "native.h"

enum { MAPS = 24, EVENTS = 64 };

/* Values and keys in memory of their own: a sanitizer sees who reaches beyond one. */
struct entry {
	void *key, *value;
};

static struct map {
	const struct native_decl *decl;
	struct entry *entries;
	uint32_t n, room, limit;
} maps[MAPS];
static unsigned n_maps;

struct native_event native_events[EVENTS];
unsigned native_n_events;
static size_t reserved;

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "native: no memory, or no such map\n");
		abort();
	}
	return p;
}

static int is_hash(const struct map *m)
{
	return m->decl->type == BPF_MAP_TYPE_HASH || m->decl->type == BPF_MAP_TYPE_LRU_HASH;
}

void native_declare(const struct native_decl *decl)
{
	for (; decl->name && n_maps < MAPS; decl++)
		maps[n_maps++] = (struct map){.decl = decl, .limit = decl->entries};
	must(decl->name ? NULL : maps);
}

static void remove_all(struct map *m)
{
	for (uint32_t i = 0; i < m->n; i++) {
		free(m->entries[i].key);
		free(m->entries[i].value);
	}
	m->n = 0;
}

void native_reset(void)
{
	for (unsigned i = 0; i < n_maps; i++) {
		if (is_hash(&maps[i]))
			remove_all(&maps[i]);
		for (uint32_t k = 0; k < maps[i].n; k++)
			memset(maps[i].entries[k].value, 0, maps[i].decl->value_size);
	}
	for (; native_n_events; native_n_events--)
		free(native_events[native_n_events - 1].data);
}

static struct map *find(const void *id, const char *name)
{
	for (unsigned i = 0; i < n_maps; i++)
		if (name ? !strcmp(maps[i].decl->name, name) : maps[i].decl->id == id)
			return &maps[i];
	return must(NULL);
}

void native_limit(const char *name, uint32_t entries)
{
	find(NULL, name)->limit = entries;
}

static void *lookup(struct map *m, const void *key)
{
	for (uint32_t i = 0; i < m->n; i++)
		if (!memcmp(m->entries[i].key, key, m->decl->key_size))
			return m->entries[i].value;
	return NULL;
}

static void *add(struct map *m, const void *key)
{
	struct entry e = {must(malloc(m->decl->key_size)), must(calloc(1, m->decl->value_size))};

	if (m->n == m->room) {
		m->room = m->room ? 2 * m->room : 16;
		m->entries = must(realloc(m->entries, m->room * sizeof(*m->entries)));
	}
	memcpy(e.key, key, m->decl->key_size);
	m->entries[m->n++] = e;
	return e.value;
}

/* All of an array is there; what nobody has asked for takes no memory. */
static void *get(struct map *m, const void *key)
{
	void *value = lookup(m, key);
	uint32_t index;

	if (value || is_hash(m))
		return value;
	memcpy(&index, key, sizeof(index));
	return index < m->limit ? add(m, key) : NULL;
}

void *native_map_lookup(void *id, const void *key)
{
	return get(find(id, NULL), key);
}

long native_map_update(void *id, const void *key, const void *value, uint64_t flags)
{
	struct map *m = find(id, NULL);
	void *to = get(m, key);

	if (flags != BPF_ANY)
		return -EINVAL;
	if (!to && (!is_hash(m) || m->n == m->limit))
		return -E2BIG;
	memcpy(to ? to : add(m, key), value, m->decl->value_size);
	return 0;
}

void *native_value(const char *name, const void *key)
{
	struct map *m = find(NULL, name);
	void *value = get(m, key);

	return value || !is_hash(m) ? must(value) : add(m, key);
}

void *native_slot(const char *name, uint32_t key)
{
	return native_value(name, &key);
}

void native_each(native_visit *visit, void *arg)
{
	for (unsigned i = 0; i < n_maps; i++)
		for (uint32_t k = 0; k < maps[i].n; k++)
			visit(arg, maps[i].decl, maps[i].entries[k].key, maps[i].entries[k].value);
}

void *native_ring_reserve(void *ring, uint64_t size, uint64_t flags)
{
	find(ring, NULL);
	if (native_n_events == EVENTS || flags)
		return NULL;
	reserved = size;
	return must(malloc(size));
}

void native_ring_submit(void *event, uint64_t flags)
{
	(void)flags;
	native_events[native_n_events++] = (struct native_event){event, reserved};
}

void native_ring_discard(void *event, uint64_t flags)
{
	(void)flags;
	free(event);
}
