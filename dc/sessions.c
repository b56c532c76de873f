/* SPDX-License-Identifier: BSD-2-Clause */
#include "sessions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../user/common/crypto.h"
#include "cluster.h"
#include "peers.h"
#include "nodes.h"

static const size_t limits[NTM_DC_SESSION_STATES] = {
    [NTM_DC_PENDING] = NTM_DC_PENDING_MAX,
    [NTM_DC_STRANGER] = NTM_DC_STRANGERS_MAX,
    [NTM_DC_BOUND] = SIZE_MAX,
};

int ntm_dc_sessions_init(struct ntm_dc_sessions *ss)
{
	memset(ss, 0, sizeof(*ss));
	for (int i = 0; i < NTM_DC_SESSION_STATES; i++)
		TAILQ_INIT(&ss->lists[i]);
	for (int i = 0; i < NTM_DC_DELAY_SLOTS; i++)
		TAILQ_INIT(&ss->delayed[i]);
	pthread_mutex_init(&ss->kept.lock, NULL);
	ntm_table_hash("", 0); /* its key is drawn in this thread */
	return ntm_table_init(&ss->by_id, NTM_DC_PENDING_MAX) || ntm_table_init(&ss->kept.by_peer_key, 0) ? -ENOMEM : 0;
}

void ntm_dc_sessions_free(struct ntm_dc_sessions *ss)
{
	struct ntm_dc_session *s;

	for (int i = 0; i < NTM_DC_SESSION_STATES; i++) {
		while ((s = TAILQ_FIRST(&ss->lists[i])))
			ntm_dc_session_remove(ss, s);
	}
	ntm_table_free(&ss->by_id);
	ntm_table_free(&ss->kept.by_peer_key);
	pthread_mutex_destroy(&ss->kept.lock);
}

struct ntm_dc_session *ntm_dc_session_find(const struct ntm_dc_sessions *ss, uint64_t local_id)
{
	/* IDs are ours and random: they are their own hash, and unique */
	struct ntm_table_link *l = ntm_table_first(&ss->by_id, local_id);

	return l ? ntm_container_of(l, struct ntm_dc_session, by_id) : NULL;
}

int ntm_dc_session_new_id(struct ntm_dc_sessions *ss, uint64_t *id)
{
	uint64_t v;

	do {
		if (!ss->n_fresh_ids) { /* many at once: a call for random bytes costs more than the bytes */
			if (ntm_random(ss->fresh_ids, sizeof(ss->fresh_ids)))
				return -EIO;
			ss->n_fresh_ids = NTM_DC_FRESH_IDS;
		}
		v = ss->fresh_ids[--ss->n_fresh_ids];
	} while (!v || ntm_dc_session_find(ss, v));
	*id = v;
	return 0;
}

static struct ntm_dc_session_list *delay_slot(struct ntm_dc_sessions *ss, uint64_t due_ms)
{
	return &ss->delayed[due_ms / 1000 % NTM_DC_DELAY_SLOTS];
}

static void end_delay(struct ntm_dc_sessions *ss, struct ntm_dc_session *s)
{
	if (!s->delayed.waiting)
		return;
	TAILQ_REMOVE(delay_slot(ss, s->delayed.due_ms), s, delayed.link);
	s->delayed.waiting = false;
}

void ntm_dc_session_delay(struct ntm_dc_sessions *ss, struct ntm_dc_session *s, uint32_t txid,
			  const struct ntm_dc_route *to, uint64_t now_ms, unsigned delay_s)
{
	if (s->delayed.waiting && s->delayed.txid == txid)
		return;
	end_delay(ss, s);
	s->delayed.waiting = true;
	s->delayed.txid = txid;
	s->delayed.to = *to;
	s->delayed.due_ms = now_ms + delay_s * 1000ULL;
	TAILQ_INSERT_TAIL(delay_slot(ss, s->delayed.due_ms), s, delayed.link);
}

struct ntm_dc_session *ntm_dc_session_delay_over(struct ntm_dc_sessions *ss, uint64_t now_ms)
{
	uint64_t now_s = now_ms / 1000;
	struct ntm_dc_session *s;

	/* one round of all slots sees each that can be due */
	if (now_s - ss->delayed_s >= NTM_DC_DELAY_SLOTS)
		ss->delayed_s = now_s - NTM_DC_DELAY_SLOTS + 1;
	for (; ss->delayed_s < now_s; ss->delayed_s++) {
		TAILQ_FOREACH(s, &ss->delayed[ss->delayed_s % NTM_DC_DELAY_SLOTS], delayed.link)
		{
			if (s->delayed.due_ms > now_ms)
				continue;
			end_delay(ss, s);
			return s;
		}
	}
	return NULL;
}

static void leave(struct ntm_dc_sessions *ss, struct ntm_dc_session *s)
{
	TAILQ_REMOVE(&ss->lists[s->state], s, link);
	ss->n[s->state]--;
}

static void enter(struct ntm_dc_sessions *ss, struct ntm_dc_session *s, enum ntm_dc_session_state state,
		  uint64_t now_ms)
{
	if (ss->n[state] >= limits[state]) {
		ntm_dc_session_remove(ss, TAILQ_FIRST(&ss->lists[state]));
		ss->evicted++;
	}
	s->state = state;
	s->since_ms = now_ms;
	TAILQ_INSERT_TAIL(&ss->lists[state], s, link);
	ss->n[state]++;
}

struct ntm_dc_session *ntm_dc_session_add(struct ntm_dc_sessions *ss, const struct ntm_session *keys,
					  const struct ntm_dc_route *route, uint64_t now_ms)
{
	struct ntm_dc_session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->keys = *keys;
	s->route = *route;
	ntm_table_add(&ss->by_id, &s->by_id, keys->local_id);
	enter(ss, s, keys->confirmed ? NTM_DC_STRANGER : NTM_DC_PENDING, now_ms);
	return s;
}

void ntm_dc_session_keep_ss(struct ntm_dc_session *s, const uint8_t ss[NTM_DH_LEN], uint32_t number)
{
	memcpy(s->ss, ss, sizeof(s->ss));
	s->ss_number = number;
}

bool ntm_dc_kept_find(struct ntm_dc_kept *k, const uint8_t peer_key[NTM_DH_LEN], uint32_t number,
		      uint8_t ss[NTM_DH_LEN])
{
	uint64_t hash = ntm_table_hash(peer_key, NTM_DH_LEN);
	struct ntm_table_link *l;
	bool found = false;

	pthread_mutex_lock(&k->lock);
	for (l = ntm_table_first(&k->by_peer_key, hash); l && !found; l = ntm_table_next(l)) {
		const struct ntm_dc_session *s = ntm_container_of(l, struct ntm_dc_session, by_peer_key);

		found = s->ss_number == number && !memcmp(s->keys.peer_key, peer_key, NTM_DH_LEN);
		if (found)
			memcpy(ss, s->ss, NTM_DH_LEN);
	}
	pthread_mutex_unlock(&k->lock);
	return found;
}

static void begin_keeping(struct ntm_dc_kept *k, struct ntm_dc_session *s)
{
	if (!s->ss_number)
		return;
	pthread_mutex_lock(&k->lock);
	ntm_table_add(&k->by_peer_key, &s->by_peer_key, ntm_table_hash(s->keys.peer_key, NTM_DH_LEN));
	s->kept = true;
	pthread_mutex_unlock(&k->lock);
}

static void end_keeping(struct ntm_dc_kept *k, struct ntm_dc_session *s)
{
	if (s->kept) {
		pthread_mutex_lock(&k->lock);
		ntm_table_del(&k->by_peer_key, &s->by_peer_key);
		s->kept = false;
		pthread_mutex_unlock(&k->lock);
	}
	s->ss_number = 0;
	ntm_wipe(s->ss, sizeof(s->ss));
}

void ntm_dc_session_set_peer_key(struct ntm_dc_sessions *ss, struct ntm_dc_session *s, const uint8_t key[NTM_DH_LEN])
{
	end_keeping(&ss->kept, s);
	memcpy(s->keys.peer_key, key, NTM_DH_LEN);
}

void ntm_dc_session_confirm(struct ntm_dc_sessions *ss, struct ntm_dc_session *s, uint64_t now_ms)
{
	if (s->state != NTM_DC_PENDING)
		return;
	leave(ss, s);
	enter(ss, s, NTM_DC_STRANGER, now_ms);
}

void ntm_dc_session_bind(struct ntm_dc_sessions *ss, struct ntm_dc_session *s, struct ntm_dc_node *node,
			 uint64_t now_ms)
{
	if (node->session == s)
		return;
	if (node->session)
		ntm_dc_session_remove(ss, node->session);
	leave(ss, s);
	enter(ss, s, NTM_DC_BOUND, now_ms);
	s->node = node;
	node->session = s;
	begin_keeping(&ss->kept, s);
}

void ntm_dc_session_keep(struct ntm_dc_sessions *ss, struct ntm_dc_session *s, uint64_t now_ms)
{
	leave(ss, s);
	enter(ss, s, NTM_DC_BOUND, now_ms);
}

void ntm_dc_session_remove(struct ntm_dc_sessions *ss, struct ntm_dc_session *s)
{
	leave(ss, s);
	end_delay(ss, s);
	ntm_table_del(&ss->by_id, &s->by_id);
	if (s->node && s->node->session == s)
		s->node->session = NULL;
	if (s->peer)
		ntm_dc_peer_session_gone(s);
	if (s->process)
		ntm_dc_cluster_session_gone(s);
	end_keeping(&ss->kept, s);
	ntm_session_clear(&s->keys);
	free(s);
}

/* Lists are in the order of since_ms, and of creation closely enough: bound ones are bound at once. */
static void expire_list(struct ntm_dc_sessions *ss, enum ntm_dc_session_state state, uint64_t now_ms, uint64_t age_ms)
{
	struct ntm_dc_session *s;

	while ((s = TAILQ_FIRST(&ss->lists[state])) && now_ms - s->since_ms >= age_ms)
		ntm_dc_session_remove(ss, s);
}

void ntm_dc_sessions_expire(struct ntm_dc_sessions *ss, uint64_t now_ms)
{
	expire_list(ss, NTM_DC_PENDING, now_ms, NTM_DC_PENDING_MS);
	expire_list(ss, NTM_DC_STRANGER, now_ms, NTM_DC_STRANGERS_MS);
	expire_list(ss, NTM_DC_BOUND, now_ms, NTM_DC_SESSION_LIFETIME_S * 1000ULL + NTM_DC_SESSION_GRACE_MS);
}
