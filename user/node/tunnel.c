/* SPDX-License-Identifier: BSD-2-Clause */
#include "tunnel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../common/crypto.h"
#include "node.h"

/* FNV-1a. Keys are random (Path IDs) or handed out by the DC, so nobody outside chooses buckets. */
static unsigned bucket(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 16777619u;
	return (h ^ h >> 16) % NTM_TUNNEL_BUCKETS;
}

#define INSERT(ts, table, t, next, key, len)                                \
	do {                                                                \
		struct ntm_tunnel **head_ = &(ts)->table[bucket(key, len)]; \
		(t)->next = *head_;                                         \
		*head_ = (t);                                               \
	} while (0)

#define REMOVE(ts, table, t, next, key, len)                             \
	do {                                                             \
		struct ntm_tunnel **p_ = &(ts)->table[bucket(key, len)]; \
		while (*p_ && *p_ != (t))                                \
			p_ = &(*p_)->next;                               \
		if (*p_)                                                 \
			*p_ = (t)->next;                                 \
		(t)->next = NULL;                                        \
	} while (0)

int ntm_tunnels_init(struct ntm_tunnels *ts)
{
	struct ntm_tunnel **tables = calloc(4 * NTM_TUNNEL_BUCKETS, sizeof(struct ntm_tunnel *));

	if (!tables)
		return -ENOMEM;
	ts->by_id = tables;
	ts->by_vip4 = tables + NTM_TUNNEL_BUCKETS;
	ts->by_vip6 = tables + 2 * NTM_TUNNEL_BUCKETS;
	ts->by_name = tables + 3 * NTM_TUNNEL_BUCKETS;
	ts->all = NULL;
	ts->n = 0;
	return 0;
}

void ntm_tunnels_free(struct ntm_tunnels *ts)
{
	while (ts->all)
		ntm_tunnel_forget(ts->all);
	free(ts->by_id);
	*ts = (struct ntm_tunnels){0};
}

static void lower(char out[NTM_NAME_MAX + 1], const char *in)
{
	size_t len = strnlen(in, NTM_NAME_MAX);

	for (size_t i = 0; i < len; i++)
		out[i] = (char)(in[i] >= 'A' && in[i] <= 'Z' ? in[i] + 32 : in[i]);
	out[len] = 0;
}

struct ntm_tunnel *ntm_tunnel_new(struct ntm_node *n, const struct ntm_dp_path *p, const char *name,
				  const uint8_t peer_key[NTM_DH_LEN], enum ntm_role role)
{
	struct ntm_tunnels *ts = &n->tunnels;
	struct ntm_tunnel *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->node = n;
	t->id = p->path_id;
	memcpy(t->vip4, p->peer_vip4, 4);
	memcpy(t->vip6, p->peer_vip6, 16);
	memcpy(t->peer_key, peer_key, NTM_DH_LEN);
	t->role = role;
	t->state = NTM_TUN_NEW;
	t->created_ms = ntm_timers_ms(&n->timers);
	lower(t->name, name);
	if (ntm_random(&t->next_txid, sizeof(t->next_txid))) {
		free(t);
		return NULL;
	}
	ntm_hs_init_timers(t);
	ntm_live_init_timers(t);
	ntm_move_init_timer(t);
	ntm_copies_init_timer(t);
	ntm_pmtu_init_timer(t);
	ntm_bind_init_timer(t);
	ntm_check_init_timers(t);

	t->next_all = ts->all;
	t->link_all = &ts->all;
	if (ts->all)
		ts->all->link_all = &t->next_all;
	ts->all = t;
	INSERT(ts, by_id, t, next_id, &t->id, sizeof(t->id));
	INSERT(ts, by_vip4, t, next_vip4, t->vip4, 4);
	INSERT(ts, by_vip6, t, next_vip6, t->vip6, 16);
	if (t->name[0])
		INSERT(ts, by_name, t, next_name, t->name, strlen(t->name));
	ts->n++;
	return t;
}

void ntm_tunnel_forget(struct ntm_tunnel *t)
{
	struct ntm_tunnels *ts = &t->node->tunnels;

	ntm_hs_cancel(t);
	ntm_timer_stop(&t->node->timers, &t->confirm_timer);
	ntm_timer_stop(&t->node->timers, &t->tick);
	ntm_timer_stop(&t->node->timers, &t->live_timer);
	ntm_pmtu_stop(t);
	ntm_bind_stop(t);
	ntm_move_free(t);
	ntm_copies_stop(t);
	ntm_check_stop(t);

	*t->link_all = t->next_all;
	if (t->next_all)
		t->next_all->link_all = t->link_all;
	REMOVE(ts, by_id, t, next_id, &t->id, sizeof(t->id));
	REMOVE(ts, by_vip4, t, next_vip4, t->vip4, 4);
	REMOVE(ts, by_vip6, t, next_vip6, t->vip6, 16);
	if (t->name[0])
		REMOVE(ts, by_name, t, next_name, t->name, strlen(t->name));
	ts->n--;
	free(t->last_req);
	ntm_wipe(t, sizeof(*t));
	free(t);
}

void ntm_tunnel_set_name(struct ntm_tunnel *t, const char *fqdn)
{
	struct ntm_tunnels *ts = &t->node->tunnels;

	if (t->name[0])
		REMOVE(ts, by_name, t, next_name, t->name, strlen(t->name));
	lower(t->name, fqdn);
	if (t->name[0])
		INSERT(ts, by_name, t, next_name, t->name, strlen(t->name));
}

struct ntm_tunnel *ntm_tunnel_by_id(struct ntm_node *n, uint64_t id)
{
	struct ntm_tunnel *t = n->tunnels.by_id[bucket(&id, sizeof(id))];

	while (t && t->id != id)
		t = t->next_id;
	return t;
}

static struct ntm_tunnel *better(struct ntm_tunnel *a, struct ntm_tunnel *b)
{
	static const int rank[] = {[NTM_TUN_UP] = 3, [NTM_TUN_SILENT] = 2, [NTM_TUN_NEW] = 1, [NTM_TUN_OLD] = 0};

	if (!a)
		return b;
	if (rank[a->state] != rank[b->state])
		return rank[a->state] > rank[b->state] ? a : b;
	return a->created_ms >= b->created_ms ? a : b;
}

struct ntm_tunnel *ntm_tunnel_by_vip(struct ntm_node *n, const uint8_t ip[16])
{
	struct ntm_tunnel *best = NULL, *t;

	if (ntm_ip_is_v4(ip)) {
		for (t = n->tunnels.by_vip4[bucket(ip + 12, 4)]; t; t = t->next_vip4)
			if (!memcmp(t->vip4, ip + 12, 4))
				best = better(best, t);
	} else {
		for (t = n->tunnels.by_vip6[bucket(ip, 16)]; t; t = t->next_vip6)
			if (!memcmp(t->vip6, ip, 16))
				best = better(best, t);
	}
	return best;
}

struct ntm_tunnel *ntm_tunnel_by_name(struct ntm_node *n, const char *fqdn)
{
	struct ntm_tunnel *best = NULL;
	char name[NTM_NAME_MAX + 1];

	lower(name, fqdn);
	for (struct ntm_tunnel *t = n->tunnels.by_name[bucket(name, strlen(name))]; t; t = t->next_name)
		if (!strcmp(t->name, name))
			best = better(best, t);
	return best;
}

static struct ntm_tunnel *same_peer(struct ntm_tunnel *t, const uint8_t vip6[16])
{
	while (t && memcmp(t->vip6, vip6, 16))
		t = t->next_vip6;
	return t;
}

struct ntm_tunnel *ntm_tunnel_peer_first(struct ntm_node *n, const uint8_t vip6[16])
{
	return same_peer(n->tunnels.by_vip6[bucket(vip6, 16)], vip6);
}

struct ntm_tunnel *ntm_tunnel_peer_next(const struct ntm_tunnel *t)
{
	return same_peer(t->next_vip6, t->vip6);
}

const char *ntm_tunnel_label(const struct ntm_tunnel *t, char out[NTM_ADDR_STRLEN])
{
	return t->name[0] ? t->name : ntm_ip_format(t->vip6, out);
}

const char *ntm_tunnel_state_name(enum ntm_tunnel_state s)
{
	static const char *const names[] = {
	    [NTM_TUN_NEW] = "new", [NTM_TUN_UP] = "up", [NTM_TUN_SILENT] = "silent", [NTM_TUN_OLD] = "old"};

	return names[s];
}
