/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of dc/peer*.c share. */
#ifndef NTM_DC_PEERS_INT_H
#define NTM_DC_PEERS_INT_H

#include <uv.h>

#include "dc.h"
#include "peers.h"

struct ntm_dc_peer {
	char zone[NTM_NAME_MAX + 1];
	struct ntm_key_list keys; /* several while it changes its key */
	size_t key;               /* tried, or the one that answered */
	struct ntm_addr *endpoints;
	size_t n_endpoints, next_endpoint;
	struct ntm_dc_session *sessions[NTM_DC_PEER_SESSIONS]; /* the one heard on last first */
	bool up;                                               /* greeted, and nothing was left unanswered since */
	bool has_pools;
	struct ntm_prefix pool4, pool6;
	struct ntm_dc_node self; /* what the outbox sends to it is for this */
	struct ntm_session_init_state init;
	struct ntm_cookie_client cookies;
	struct ntm_dc_route route; /* of the handshake */
	bool shaking;
	uint64_t next_try_ms, backoff_ms, hello_ms;
};

/* A node's direction request, waiting for what the other zone's DC says. */
struct ntm_dc_asked {
	struct ntm_dc_peer *peer;
	uint32_t txid;       /* of the question */
	uint64_t session_id; /* of the node that asked */
	uint32_t node_txid;
	uint64_t stale; /* 0: none */
	char wanted[NTM_NAME_MAX + 1];
	uint8_t vip[16];
	bool yielded; /* the peer directs this pair at the same time, and goes first */
	uint64_t since_ms;
	TAILQ_ENTRY(ntm_dc_asked) link;
};

struct ntm_dc_peers {
	uv_timer_t timer;
	struct ntm_dc_peer *items;
	size_t n;
	struct ntm_dc_foreigners *foreigners;
	TAILQ_HEAD(ntm_dc_asked_list, ntm_dc_asked) asked; /* oldest first */
	size_t n_asked;
	uint32_t generation; /* of zones and pools that nodes are told */
};

bool ntm_dc_peer_owns_name(const struct ntm_dc_peer *p, const char *name);
bool ntm_dc_peer_owns_vip(const struct ntm_dc_peer *p, const uint8_t ip[16]);

#endif
