/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sessions by local ID, in three lists, each oldest first and each bounded:
 *   pending    answered a type 1, nothing sealed has come yet     at most NTM_DC_PENDING_MAX, 10 s
 *   strangers  confirmed, but the key has not registered          at most NTM_DC_STRANGERS_MAX, 60 s
 *   bound      of a registered node, one a node                   as many as nodes, lifetime + 60 s
 * A full list gives up its oldest entry.
 */
#ifndef NTM_DC_SESSIONS_H
#define NTM_DC_SESSIONS_H

#include <pthread.h>
#include <sys/queue.h>

#include "../user/common/session.h"
#include "net.h"
#include "table.h"

enum {
	NTM_DC_PENDING_MAX = 4096,
	NTM_DC_PENDING_MS = 10000,
	NTM_DC_STRANGERS_MAX = 4096,
	NTM_DC_STRANGERS_MS = 60000,
	NTM_DC_SESSION_LIFETIME_S = 3600,
	NTM_DC_SESSION_GRACE_MS = 60000,
	NTM_DC_DELAY_MAX_S = 120,
	NTM_DC_DELAY_SLOTS = 128,
	NTM_DC_FRESH_IDS = 64,
};

struct ntm_dc_node;
struct ntm_dc_peer;
struct ntm_dc_process;
enum ntm_dc_session_state { NTM_DC_PENDING, NTM_DC_STRANGER, NTM_DC_BOUND, NTM_DC_SESSION_STATES };

struct ntm_dc_session {
	struct ntm_session keys;
	struct ntm_dc_route route;      /* where the newest authenticated message came from */
	struct ntm_dc_node *node;       /* bound only */
	struct ntm_dc_peer *peer;       /* it is another zone's DC */
	struct ntm_dc_process *process; /* it is another process of this DC */
	bool
	    remote; /* no session at all: stands for the node's with another process while a message of it is handled */
	enum ntm_dc_session_state state;
	uint64_t since_ms; /* in this state */
	/*
	 * The exchange of the two static keys, for the next handshake of the same two (noise.h): of keys.peer_key with
	 * the key of ours that has this number (identity.h). 0: none. Wiped with the session.
	 */
	uint32_t ss_number;
	uint8_t ss[NTM_DH_LEN];
	bool kept; /* a bound session's: it is found by ntm_dc_kept_find() */
	struct ntm_table_link by_peer_key;
	struct ntm_table_link by_id;
	TAILQ_ENTRY(ntm_dc_session) link;
	struct {
		bool waiting;
		uint32_t txid;
		struct ntm_dc_route to;
		uint64_t due_ms;
		TAILQ_ENTRY(ntm_dc_session) link;
	} delayed; /* a keep-alive to be answered later, to where it came from */
};
TAILQ_HEAD(ntm_dc_session_list, ntm_dc_session);

/* The exchanges of bound sessions by the peer's key: all that threads beside the loop (responder.h) may look at. */
struct ntm_dc_kept {
	pthread_mutex_t lock;
	struct ntm_table by_peer_key;
};

struct ntm_dc_sessions {
	struct ntm_table by_id;
	struct ntm_dc_kept kept;
	struct ntm_dc_session_list lists[NTM_DC_SESSION_STATES];
	size_t n[NTM_DC_SESSION_STATES];
	uint64_t evicted;
	uint64_t fresh_ids[NTM_DC_FRESH_IDS]; /* the first n_fresh_ids were given to nobody yet */
	size_t n_fresh_ids;
	struct ntm_dc_session_list delayed[NTM_DC_DELAY_SLOTS]; /* by the second they are due, modulo */
	uint64_t delayed_s;                                     /* seconds before this one were looked at */
};

int ntm_dc_sessions_init(struct ntm_dc_sessions *ss);
void ntm_dc_sessions_free(struct ntm_dc_sessions *ss);

/* A random local ID that no session here has. 0 or -EIO. */
int ntm_dc_session_new_id(struct ntm_dc_sessions *ss, uint64_t *id);
struct ntm_dc_session *ntm_dc_session_find(const struct ntm_dc_sessions *ss, uint64_t local_id);

/* Takes over keys (copied; the caller clears its own); pending, or a stranger if keys->confirmed. NULL: no memory. */
struct ntm_dc_session *ntm_dc_session_add(struct ntm_dc_sessions *ss, const struct ntm_session *keys,
					  const struct ntm_dc_route *route, uint64_t now_ms);
/* Keeps, of the handshake that made it, the exchange with our key of that number: before it is bound. */
void ntm_dc_session_keep_ss(struct ntm_dc_session *s, const uint8_t ss[NTM_DH_LEN], uint32_t number);
/* In any thread. True: a node with this key has a session, and this is the exchange with our key of that number. */
bool ntm_dc_kept_find(struct ntm_dc_kept *k, const uint8_t peer_key[NTM_DH_LEN], uint32_t number,
		      uint8_t ss[NTM_DH_LEN]);
/* Its peer has another key from now on. */
void ntm_dc_session_set_peer_key(struct ntm_dc_sessions *ss, struct ntm_dc_session *s, const uint8_t key[NTM_DH_LEN]);
/* Its first sealed message has come: pending → stranger. */
void ntm_dc_session_confirm(struct ntm_dc_sessions *ss, struct ntm_dc_session *s, uint64_t now_ms);
/* The session is the node's from now on; the node's former one is removed. */
void ntm_dc_session_bind(struct ntm_dc_sessions *ss, struct ntm_dc_session *s, struct ntm_dc_node *node,
			 uint64_t now_ms);
/* It is known and stays, but is no node's. */
void ntm_dc_session_keep(struct ntm_dc_sessions *ss, struct ntm_dc_session *s, uint64_t now_ms);
void ntm_dc_session_remove(struct ntm_dc_sessions *ss, struct ntm_dc_session *s); /* wipes, unbinds, frees */
void ntm_dc_sessions_expire(struct ntm_dc_sessions *ss, uint64_t now_ms);

/* Remembers one keep-alive a session: another takes its place, the same one again changes nothing. */
void ntm_dc_session_delay(struct ntm_dc_sessions *ss, struct ntm_dc_session *s, uint32_t txid,
			  const struct ntm_dc_route *to, uint64_t now_ms, unsigned delay_s);
/* The next session whose keep-alive is due, no longer waiting; NULL: none. */
struct ntm_dc_session *ntm_dc_session_delay_over(struct ntm_dc_sessions *ss, uint64_t now_ms);

#endif
