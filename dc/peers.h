/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DCs of other zones, one session with each. Either side begins it; it is kept alive, and begun again when the other
 * one was away. A peer's key is pinned by the configuration; it speaks for names under its zone and addresses in its
 * pools only, which it says in its Peer Hello. Nodes of other zones are known here while a path to them was asked for;
 * they are nodes without a session of their own: what they are to be told goes to their DC.
 */
#ifndef NTM_DC_PEERS_H
#define NTM_DC_PEERS_H

#include <stdbool.h>
#include <stdint.h>

#include "../user/common/signal_codec.h"

enum {
	NTM_DC_PEER_SESSIONS = 4, /* both ends may begin at once, and each may talk on its own one */
	NTM_DC_FOREIGN_MAX = 65536,
	NTM_DC_ASKED_MAX = 1024, /* requests to peers under way */
	NTM_DC_ASKED_BY_NODE_MAX = 32,
};

struct ntm_dc;
struct ntm_dc_node;
struct ntm_dc_path;
struct ntm_dc_peer;
struct ntm_dc_remotes;
struct ntm_dc_route;
struct ntm_dc_session;

/* The table as the configuration has it. 0, or -errno with a sentence in why. */
int ntm_dc_peers_start(struct ntm_dc *dc, const struct ntm_dc_remotes *conf, char *why, size_t cap);
/*
 * All of it anew if there are other zones; sessions and what is under way with peers are lost then. Of the same zones,
 * keys and endpoints change in place.
 */
int ntm_dc_peers_reload(struct ntm_dc *dc, const struct ntm_dc_remotes *now);
void ntm_dc_peers_stop(struct ntm_dc *dc); /* while the loop runs; frees once it has run its callbacks */

struct ntm_dc_peer *ntm_dc_peer_by_key(const struct ntm_dc *dc, const uint8_t key[32]);
/* The peer whose zone the name lies in; NULL: none. */
struct ntm_dc_peer *ntm_dc_peer_of_name(const struct ntm_dc *dc, const char *name);
/* The peer whose pools have this address (v4-mapped or IPv6). */
struct ntm_dc_peer *ntm_dc_peer_of_vip(const struct ntm_dc *dc, const uint8_t ip[16]);
const char *ntm_dc_peer_zone(const struct ntm_dc_peer *peer);
bool ntm_dc_peer_is_up(const struct ntm_dc_peer *peer);
struct ntm_dc_node *ntm_dc_peer_self(struct ntm_dc_peer *peer); /* stands for the DC itself in the outbox */

/* The session's peer is this; it was authenticated by the pinned key. */
void ntm_dc_peer_bind(struct ntm_dc *dc, struct ntm_dc_peer *peer, struct ntm_dc_session *s);
void ntm_dc_peer_session_gone(struct ntm_dc_session *s);
void ntm_dc_peer_send(struct ntm_dc *dc, struct ntm_dc_peer *peer, const uint8_t *data, size_t len);
void ntm_dc_peer_message(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m);
void ntm_dc_peer_lost(struct ntm_dc *dc, struct ntm_dc_peer *peer); /* a request had no answer */
/* Handshakes as initiator. False: not an answer to one of these. */
bool ntm_dc_peer_answer(struct ntm_dc *dc, const struct ntm_dc_route *from, const uint8_t *data, size_t len);
bool ntm_dc_peer_cookie(struct ntm_dc *dc, const uint8_t *data, size_t len);
/* Adds PEER_ZONE for each peer whose pools are known. */
void ntm_dc_peers_tell(const struct ntm_dc *dc, struct ntm_sig *m);
bool ntm_dc_peer_zone_of(const struct ntm_dc *dc, const struct ntm_dc_peer *peer, struct ntm_peer_zone *out);
uint32_t ntm_dc_peers_generation(const struct ntm_dc *dc);

/* peer_nodes.c: nodes of other zones */
struct ntm_dc_foreigners;
int ntm_dc_foreigners_init(struct ntm_dc_foreigners **out);
void ntm_dc_foreigners_free(struct ntm_dc *dc); /* with their paths' records */
/*
 * The node that a peer's message speaks of (NAME, PUBLIC_KEY, VIP4, VIP6, CANDIDATE…, REFLEXIVE, MTU), made or brought
 * up to date. -EPERM: not the peer's to speak of; -EBADMSG, -ENOMEM.
 */
int ntm_dc_foreign_learn(struct ntm_dc *dc, struct ntm_dc_peer *peer, const struct ntm_sig *m,
			 struct ntm_dc_node **out);
struct ntm_dc_node *ntm_dc_foreign_by_name(const struct ntm_dc *dc, const char *fqdn);
struct ntm_dc_node *ntm_dc_foreign_by_vip(const struct ntm_dc *dc, const uint8_t ip[16]);
struct ntm_dc_node *ntm_dc_foreign_by_key(const struct ntm_dc *dc, const uint8_t key[32]);
int ntm_dc_node_fqdn(const struct ntm_dc *dc, const struct ntm_dc_node *node, char *out, size_t cap);
void ntm_dc_node_vips(const struct ntm_dc *dc, const struct ntm_dc_node *node, uint8_t vip4[4], uint8_t vip6[16]);
/* The relay that its DC has for paths to it; NULL: none was offered. */
const struct ntm_relay_info *ntm_dc_foreign_relay(const struct ntm_dc_node *node);
struct ntm_dc_node *ntm_dc_path_foreign_end(const struct ntm_dc_path *p); /* NULL: both are ours */

/* peer_direct.c */
/* Is a node of another zone asked for? Then it is dealt with: answered at once, or when its DC has answered. */
bool ntm_dc_peer_direct(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m);
/* Requests for directions, directions and releases from a peer. */
void ntm_dc_peer_request(struct ntm_dc *dc, struct ntm_dc_peer *peer, struct ntm_dc_session *s,
			 const struct ntm_sig *m);
void ntm_dc_peer_direction_answer(struct ntm_dc *dc, struct ntm_dc_peer *peer, const struct ntm_sig *m);
/* Requests that wait too long, or all of a peer that is away, are answered by an error. */
void ntm_dc_asked_expire(struct ntm_dc *dc, const struct ntm_dc_peer *away);
/* Its own end is told, its relay too, and the record goes. */
void ntm_dc_peer_end_path(struct ntm_dc *dc, struct ntm_dc_path *p);
/* The path's record is about to go: its foreign end's DC is told. */
void ntm_dc_peer_release(struct ntm_dc *dc, const struct ntm_dc_path *p);
/* The key was revoked here: no peer's node keeps a path to it. */
void ntm_dc_peers_revoked(struct ntm_dc *dc, const uint8_t key[32]);

#endif
