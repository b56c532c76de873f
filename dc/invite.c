/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sessions do not survive the DC process, and messages of sessions it does not know get no answer. So after its start
 * the DC sends a session init to each node that was online, and to those of another process that died; the node answers
 * it as a responder and registers on that session. At most 1,500 messages a second, three tries a node, one second
 * apart.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ntm/wire.h>

#include "../user/common/log.h"
#include "dc.h"

#define TICK_MS 50
#define PER_TICK 75
#define TRIES 3
#define RETRY_MS 1000
#define ASK_OTHERS_MS 500

struct absent {
	uint8_t key[NTM_DH_LEN];
	struct ntm_addr endpoint, via;
};

struct invite {
	struct ntm_session_init_state st;
	struct ntm_cookie_client cookies;
	struct ntm_dc_route route;
	uint8_t key[NTM_DH_LEN];
	unsigned tries;
	uint64_t due_ms;
	struct ntm_table_link by_id, by_key;
	TAILQ_ENTRY(invite) link;
};

struct ntm_dc_invites {
	uv_timer_t timer;
	struct absent *absent; /* [next, n) wait for their first try */
	size_t next, n, cap;
	struct ntm_table by_id, by_key;
	TAILQ_HEAD(invite_list, invite) sent; /* in the order of due_ms */
};

static void drop(struct ntm_dc_invites *iv, struct invite *i)
{
	TAILQ_REMOVE(&iv->sent, i, link);
	ntm_table_del(&iv->by_id, &i->by_id);
	ntm_table_del(&iv->by_key, &i->by_key);
	ntm_noise_clear(&i->st.noise);
	free(i);
}

static void send_init(struct ntm_dc *dc, struct invite *i)
{
	i->tries++;
	i->due_ms = ntm_dc_now(dc) + RETRY_MS;
	ntm_dc_net_send(dc->net, &i->route, &i->st.msg, sizeof(i->st.msg));
}

static int invite(struct ntm_dc *dc, const struct absent *a)
{
	struct ntm_dc_invites *iv = dc->invites;
	struct invite *i = calloc(1, sizeof(*i));
	int err = i ? ntm_dc_net_route(dc->net, &a->endpoint, &a->via, &i->route) : -ENOMEM;

	if (!err)
		err = ntm_cookie_client_init(&i->cookies, a->key);
	if (!err)
		err = ntm_session_begin(&i->st, dc->priv, dc->pub, a->key, &i->cookies, ntm_dc_now(dc));
	if (err) {
		free(i);
		return err;
	}
	memcpy(i->key, a->key, sizeof(i->key));
	ntm_table_add(&iv->by_id, &i->by_id, i->st.local_id);
	ntm_table_add(&iv->by_key, &i->by_key, ntm_table_hash(i->key, sizeof(i->key)));
	TAILQ_INSERT_TAIL(&iv->sent, i, link);
	send_init(dc, i);
	return 0;
}

static void on_tick(uv_timer_t *timer)
{
	struct ntm_dc *dc = timer->data;
	struct ntm_dc_invites *iv = dc->invites;
	uint64_t now = ntm_dc_now(dc);
	struct invite *i;
	int budget = PER_TICK, err;

	while (budget > 0 && (i = TAILQ_FIRST(&iv->sent)) && i->due_ms <= now) {
		if (i->tries >= TRIES) {
			drop(iv, i);
			continue;
		}
		TAILQ_REMOVE(&iv->sent, i, link);
		TAILQ_INSERT_TAIL(&iv->sent, i, link);
		send_init(dc, i);
		budget--;
	}
	while (budget > 0 && iv->next < iv->n) {
		const struct absent *a = &iv->absent[iv->next++];
		const struct ntm_dc_node *node = ntm_dc_node_by_key(&dc->nodes, a->key);

		if (node && (node->session || node->at))
			continue;
		err = invite(dc, a);
		if (err)
			ntm_warn_limited("cannot invite a node: %s", strerror(-err));
		budget--;
	}
	if (iv->next == iv->n && TAILQ_EMPTY(&iv->sent))
		ntm_dc_invites_stop(dc);
}

static int remember(void *arg, const struct ntm_node_record *rec)
{
	struct ntm_dc_invites *iv = arg;

	if (!rec->endpoint.port)
		return 0;
	if (iv->n == iv->cap) {
		size_t cap = iv->cap ? iv->cap * 2 : 64;
		struct absent *a = realloc(iv->absent, cap * sizeof(*a));

		if (!a)
			return -ENOMEM;
		iv->absent = a;
		iv->cap = cap;
	}
	memcpy(iv->absent[iv->n].key, rec->public_key, NTM_DH_LEN);
	iv->absent[iv->n].endpoint = rec->endpoint;
	iv->absent[iv->n++].via = rec->via;
	return 0;
}

static void free_invites(struct ntm_dc_invites *iv)
{
	ntm_table_free(&iv->by_id);
	ntm_table_free(&iv->by_key);
	free(iv->absent);
	free(iv);
}

static void timer_closed(uv_handle_t *h)
{
	free_invites(ntm_container_of(h, struct ntm_dc_invites, timer));
}

static struct ntm_dc_invites *new_invites(void)
{
	struct ntm_dc_invites *iv = calloc(1, sizeof(*iv));

	if (!iv || ntm_table_init(&iv->by_id, 0) || ntm_table_init(&iv->by_key, 0)) {
		if (iv)
			free_invites(iv);
		return NULL;
	}
	TAILQ_INIT(&iv->sent);
	return iv;
}

static void begin(struct ntm_dc *dc, struct ntm_dc_invites *iv, uint64_t in_ms)
{
	uv_timer_init(dc->loop, &iv->timer);
	iv->timer.data = dc;
	dc->invites = iv;
	uv_timer_start(&iv->timer, on_tick, in_ms, TICK_MS);
}

void ntm_dc_invites_start(struct ntm_dc *dc)
{
	struct ntm_dc_invites *iv = new_invites();
	int err = iv ? dc->store->ops->each_node(dc->store, NTM_STORE_ONLINE, remember, iv) : -ENOMEM;

	if (err)
		ntm_warn("nodes will not be invited, but come when their sessions end: %s", strerror(-err));
	if (err || !iv->n) {
		if (iv)
			free_invites(iv);
		return;
	}
	ntm_info("inviting %zu nodes that were online", iv->n);
	/* others say first which of them they have by now */
	begin(dc, iv, ntm_dc_cluster_joined(dc) ? ASK_OTHERS_MS : 0);
}

void ntm_dc_invite(struct ntm_dc *dc, const struct ntm_dc_node *node)
{
	struct ntm_dc_invites *iv = dc->invites ? dc->invites : new_invites();

	if (!iv || remember(iv, &node->rec))
		ntm_warn_limited("%s is not invited: out of memory", node->rec.label);
	if (iv && !dc->invites)
		begin(dc, iv, 0);
}

void ntm_dc_invites_stop(struct ntm_dc *dc)
{
	struct ntm_dc_invites *iv = dc->invites;
	struct invite *i;

	if (!iv)
		return;
	dc->invites = NULL;
	while ((i = TAILQ_FIRST(&iv->sent)))
		drop(iv, i);
	uv_close((uv_handle_t *)&iv->timer, timer_closed);
}

static struct invite *find(struct ntm_dc *dc, const uint8_t *data)
{
	const struct ntm_hdr *hdr = (const void *)data;
	struct ntm_table_link *l;

	if (!dc->invites)
		return NULL;
	l = ntm_table_first(&dc->invites->by_id, be64toh(hdr->id));
	return l ? ntm_container_of(l, struct invite, by_id) : NULL;
}

void ntm_dc_invite_answer(struct ntm_dc *dc, const struct ntm_dc_route *from, const uint8_t *data, size_t len)
{
	struct invite *i = find(dc, data);
	struct ntm_session keys;

	if (!i || ntm_session_finish(&i->st, data, len, ntm_dc_now(dc), &keys)) {
		dc->counters.bad_handshake++;
		return;
	}
	keys.confirmed = true; /* the answer to our own ephemeral key is proof enough */
	if (!ntm_dc_session_find(&dc->sessions, keys.local_id))
		ntm_dc_session_add(&dc->sessions, &keys, from, ntm_dc_now(dc));
	ntm_session_clear(&keys);
	drop(dc->invites, i);
}

void ntm_dc_invite_cookie(struct ntm_dc *dc, const uint8_t *data, size_t len)
{
	struct invite *i = find(dc, data);
	uint64_t now = ntm_dc_now(dc);

	if (!i || len != sizeof(struct ntm_cookie_reply) || ntm_cookie_consume(&i->cookies, (const void *)data, now) ||
	    ntm_cookie_sign(&i->cookies, &i->st.msg, sizeof(i->st.msg), now)) {
		dc->counters.bad_handshake++;
		return;
	}
	ntm_dc_net_send(dc->net, &i->route, &i->st.msg, sizeof(i->st.msg));
}

void ntm_dc_invite_arrived(struct ntm_dc *dc, const uint8_t key[NTM_DH_LEN])
{
	struct ntm_table_link *l;

	if (!dc->invites)
		return;
	l = ntm_table_first(&dc->invites->by_key, ntm_table_hash(key, NTM_DH_LEN));
	for (; l; l = ntm_table_next(l)) {
		struct invite *i = ntm_container_of(l, struct invite, by_key);

		if (!memcmp(i->key, key, NTM_DH_LEN)) {
			drop(dc->invites, i);
			return;
		}
	}
}
