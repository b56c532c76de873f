/* SPDX-License-Identifier: BSD-2-Clause */
#include "nodes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sessions.h"

static uint64_t hash_index(uint32_t index)
{
	return ntm_table_hash(&index, sizeof(index));
}

int ntm_dc_nodes_init(struct ntm_dc_nodes *ns)
{
	memset(ns, 0, sizeof(*ns));
	TAILQ_INIT(&ns->online);
	ntm_shelves_init(&ns->dirty);
	if (ntm_table_init(&ns->by_key, 0) || ntm_table_init(&ns->by_label, 0) || ntm_table_init(&ns->by_index, 0)) {
		ntm_dc_nodes_free(ns);
		return -ENOMEM;
	}
	return 0;
}

static void free_node(struct ntm_dc_node *n)
{
	free(n->candidates);
	free(n);
}

void ntm_dc_nodes_free(struct ntm_dc_nodes *ns)
{
	for (size_t i = 0; ns->by_key.buckets && i <= ns->by_key.mask; i++) {
		struct ntm_table_link *l = ns->by_key.buckets[i], *next;

		for (; l; l = next) {
			next = l->next;
			free_node(ntm_container_of(l, struct ntm_dc_node, by_key));
		}
	}
	ntm_table_free(&ns->by_key);
	ntm_table_free(&ns->by_label);
	ntm_table_free(&ns->by_index);
}

struct ntm_dc_node *ntm_dc_node_by_key(const struct ntm_dc_nodes *ns, const uint8_t key[NTM_DH_LEN])
{
	struct ntm_table_link *l = ntm_table_first(&ns->by_key, ntm_table_hash(key, NTM_DH_LEN));

	for (; l; l = ntm_table_next(l)) {
		struct ntm_dc_node *n = ntm_container_of(l, struct ntm_dc_node, by_key);

		if (!memcmp(n->rec.public_key, key, NTM_DH_LEN))
			return n;
	}
	return NULL;
}

struct ntm_dc_node *ntm_dc_node_by_label(const struct ntm_dc_nodes *ns, const char *label)
{
	struct ntm_table_link *l = ntm_table_first(&ns->by_label, ntm_table_hash(label, strlen(label)));

	for (; l; l = ntm_table_next(l)) {
		struct ntm_dc_node *n = ntm_container_of(l, struct ntm_dc_node, by_label);

		if (!strcmp(n->rec.label, label))
			return n;
	}
	return NULL;
}

struct ntm_dc_node *ntm_dc_node_by_index(const struct ntm_dc_nodes *ns, uint32_t index)
{
	struct ntm_table_link *l = ntm_table_first(&ns->by_index, hash_index(index));

	for (; l; l = ntm_table_next(l)) {
		struct ntm_dc_node *n = ntm_container_of(l, struct ntm_dc_node, by_index);

		if (n->rec.index == index)
			return n;
	}
	return NULL;
}

struct ntm_dc_node *ntm_dc_node_add(struct ntm_dc_nodes *ns, const struct ntm_node_record *rec)
{
	struct ntm_dc_node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->rec = *rec;
	ntm_table_add(&ns->by_key, &n->by_key, ntm_table_hash(rec->public_key, NTM_DH_LEN));
	ntm_table_add(&ns->by_label, &n->by_label, ntm_table_hash(rec->label, strlen(rec->label)));
	ntm_table_add(&ns->by_index, &n->by_index, hash_index(rec->index));
	return n;
}

void ntm_dc_node_set_key(struct ntm_dc_nodes *ns, struct ntm_dc_node *n, const uint8_t key[NTM_DH_LEN])
{
	ntm_table_del(&ns->by_key, &n->by_key);
	memcpy(n->rec.public_key, key, NTM_DH_LEN);
	ntm_table_add(&ns->by_key, &n->by_key, ntm_table_hash(key, NTM_DH_LEN));
}

void ntm_dc_node_remove(struct ntm_dc_nodes *ns, struct ntm_dc_node *n)
{
	ntm_dc_node_offline(ns, n);
	ntm_shelves_remove(&ns->dirty, &n->dirty);
	ntm_table_del(&ns->by_key, &n->by_key);
	ntm_table_del(&ns->by_label, &n->by_label);
	ntm_table_del(&ns->by_index, &n->by_index);
	free_node(n);
}

void ntm_dc_node_mark_dirty(struct ntm_dc_nodes *ns, struct ntm_dc_node *n)
{
	ntm_shelves_add(&ns->dirty, &n->dirty, n->rec.id);
}

struct ntm_dc_node *ntm_dc_node_take_dirty(struct ntm_dc_nodes *ns)
{
	struct ntm_shelf_item *item = ntm_shelves_take(&ns->dirty);

	return item ? ntm_container_of(item, struct ntm_dc_node, dirty) : NULL;
}

static void leave_order(struct ntm_dc_nodes *ns, struct ntm_dc_node *n)
{
	if (n->in_order)
		TAILQ_REMOVE(&ns->online, n, online_link);
	n->in_order = false;
}

void ntm_dc_node_seen(struct ntm_dc_nodes *ns, struct ntm_dc_node *n, uint64_t now_ms)
{
	n->last_seen_ms = now_ms;
	leave_order(ns, n);
	if (!n->online) {
		n->online = true;
		ns->n_online++;
		ntm_dc_node_mark_dirty(ns, n);
	}
	n->in_order = !n->relay;
	if (n->in_order)
		TAILQ_INSERT_TAIL(&ns->online, n, online_link);
}

void ntm_dc_node_offline(struct ntm_dc_nodes *ns, struct ntm_dc_node *n)
{
	if (!n->online)
		return;
	n->online = false;
	ns->n_online--;
	leave_order(ns, n);
	ntm_dc_node_mark_dirty(ns, n);
}

void ntm_dc_node_elsewhere(struct ntm_dc_nodes *ns, struct ntm_dc_node *n, bool online, uint64_t now_ms)
{
	leave_order(ns, n);
	ntm_shelves_remove(&ns->dirty, &n->dirty);
	ns->n_online += online;
	ns->n_online -= n->online;
	n->online = online;
	n->last_seen_ms = now_ms;
}

uint64_t ntm_dc_node_binding(const struct ntm_dc_node *n)
{
	return n->session ? n->session->keys.local_id : n->at ? n->claim : 0;
}

bool ntm_dc_nodes_some(struct ntm_dc_nodes *ns, size_t *at, size_t buckets,
		       void (*visit)(void *arg, struct ntm_dc_node *node), void *arg)
{
	for (; buckets && *at <= ns->by_key.mask; buckets--, ++*at) {
		struct ntm_table_link *l = ns->by_key.buckets[*at], *next;

		for (; l; l = next) {
			next = l->next;
			visit(arg, ntm_container_of(l, struct ntm_dc_node, by_key));
		}
	}
	return *at <= ns->by_key.mask;
}

void ntm_dc_nodes_each(struct ntm_dc_nodes *ns, void (*visit)(void *arg, struct ntm_dc_node *node), void *arg)
{
	size_t at = 0;

	ntm_dc_nodes_some(ns, &at, SIZE_MAX, visit, arg);
}

struct ntm_dc_node *ntm_dc_nodes_expire(struct ntm_dc_nodes *ns, uint64_t now_ms, uint64_t lifetime_ms)
{
	struct ntm_dc_node *n = TAILQ_FIRST(&ns->online);

	if (!n || now_ms - n->last_seen_ms < lifetime_ms)
		return NULL;
	ntm_dc_node_offline(ns, n);
	return n;
}

int ntm_dc_node_set_candidates(struct ntm_dc_node *node, const struct ntm_candidate *c, unsigned n)
{
	struct ntm_candidate *usable = NULL;
	unsigned kept = 0;

	if (n) {
		usable = calloc(n, sizeof(*usable));
		if (!usable)
			return -ENOMEM;
	}
	for (unsigned i = 0; i < n; i++) {
		bool kind_ok = c[i].kind == NTM_CAND_HOST || c[i].kind == NTM_CAND_REFLEXIVE;

		if (kind_ok && c[i].addr.port && ntm_ip_is_usable(c[i].addr.ip))
			usable[kept++] = c[i];
	}
	free(node->candidates);
	node->candidates = usable;
	node->n_candidates = kept;
	return 0;
}
