/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The routes of a path: directly to one of the peer's addresses, or through the path's RS. A packet that comes through
 * the RS looks as if the peer were at the RS's address, so a route is just an endpoint of the data plane's path.
 *
 * relaybind.c  keeps this end bound at the RS: the net below every path
 * check.c      finds out which of the peer's addresses answer (RFC 8445), and nominates the best
 * route.c      what the endpoint in use is, and changes of it
 */
#ifndef NTM_NODE_ROUTE_H
#define NTM_NODE_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../common/signal_codec.h"
#include "timer.h"

struct ntm_node;
struct ntm_tunnel;

enum {
	NTM_BINDS_MAX = 4,  /* binds that may still be answered */
	NTM_PAIRS_MAX = 24, /* addresses of a peer that are checked: candidates, and sources of its checks */
	NTM_HOLD_ENDPOINT_MS = 1000,
};

/* Of increasing preference. */
enum ntm_route_kind {
	NTM_ROUTE_NONE,
	NTM_ROUTE_RELAY,
	NTM_ROUTE_PUNCHED, /* IPv4, as somebody else sees the peer */
	NTM_ROUTE_IPV4,    /* IPv4, an address of the peer's interface */
	NTM_ROUTE_IPV6,
	NTM_ROUTE_LAN, /* on a prefix of ours, or behind the same NAT */
};

struct ntm_bind_sent {
	uint64_t seq, at_ns; /* at_ns 0: free */
	bool v6;
};

/* This end's binding at the path's RS. */
struct ntm_binding {
	struct ntm_relay_info relay;  /* both ports 0: the path has none */
	struct ntm_relay_info former; /* the RS before this one: packets may still go and come through it */
	uint8_t key[NTM_KEY_LEN];
	bool v6;    /* family of the binding, or to be tried next */
	bool bound; /* the newest binds were answered */
	bool peer;  /* the other end is bound, too */
	bool draining;
	bool early;     /* bound by an uplink that is not in use yet: handoff.c */
	uint8_t tries;  /* sent since the last answer */
	uint8_t lonely; /* answers in a row that the other end is not bound */
	struct ntm_bind_sent sent[NTM_BINDS_MAX];
	uint64_t answered_seq, bound_ns; /* the newest that was answered, and when */
	uint64_t early_seq;              /* not answered: the first of the binds that were sent early; 0: none */
	uint64_t backoff_ms, redirect_next_ms;
	double rtt_ms;
	struct ntm_addr observed;
	struct ntm_timer timer;
};

/* One of the peer's addresses. */
struct ntm_pair {
	struct ntm_addr addr;
	uint8_t cand; /* enum ntm_candidate_kind; 0: the source of a check */
	uint8_t sends;
	uint32_t txid; /* of this round's check */
	uint64_t sent_ns;
	uint64_t answered_ns; /* 0: not in this round */
	double rtt_ms;
};

struct ntm_checks {
	struct ntm_pair pairs[NTM_PAIRS_MAX];
	unsigned n_pairs;
	unsigned round;    /* transmissions of the round under way; 0: none is */
	uint64_t began_ns; /* of the last round */
	uint64_t first_answer_ns, backoff_ms, direct_since_ms;
	struct ntm_addr nominated; /* initiator, waiting for the answer; port 0: none */
	uint32_t nominated_txid;
	unsigned nominations;
	struct ntm_timer round_timer, nominate_timer, again_timer;
};

struct ntm_route {
	struct ntm_addr endpoint; /* that the agent knows of: the data plane may have moved it */
	enum ntm_route_kind kind; /* of that */
	uint64_t since_ms, hold_until_ms;
	uint64_t relay_heard_ns; /* a check was answered through the RS */
	bool dead;               /* known not to work: the first other one that answers is taken */
	bool urgent;             /* this host has moved: asks faster, and the other routes at once */
	uint32_t changes;
	uint64_t moved_ns;     /* the endpoint became another one */
	uint64_t rtt_since_ns; /* what was sent before measures another route */
	bool rtt_former;       /* the tunnel's rtt_ms does so, too */
};

/* relaybind.c */
void ntm_bind_init_timer(struct ntm_tunnel *t);
/* The path's RS as the DC said, or as an earlier agent left it in the path's record (NULL). Binds at once. */
void ntm_bind_set(struct ntm_tunnel *t, const struct ntm_relay_info *relay);
bool ntm_bind_has(const struct ntm_tunnel *t);
const char *ntm_bind_name(const struct ntm_tunnel *t); /* of the RS; never NULL */
void ntm_bind_now(struct ntm_tunnel *t);               /* the address may have changed, or the RS be away: find out */
void ntm_bind_moved(struct ntm_tunnel *t);             /* the address has changed: at once, by what family there is */
/* By the uplink that has that address and is not in use yet. ntm_handoff_answered() says that the RS knows. */
void ntm_bind_early(struct ntm_tunnel *t, const uint8_t from[16]);
void ntm_bind_stop(struct ntm_tunnel *t);
/* A bind that carries the Tunnel Request under way. */
void ntm_bind_request(struct ntm_tunnel *t);
void ntm_bind_answer(struct ntm_node *n, const struct ntm_addr *from, const uint8_t *msg, size_t len);
/* Where the RS is for us; port 0: nowhere. */
struct ntm_addr ntm_bind_endpoint(const struct ntm_tunnel *t);
bool ntm_bind_is_relay(const struct ntm_tunnel *t, const struct ntm_addr *a); /* an address of the RS's? */

/* check.c */
void ntm_check_init_timers(struct ntm_tunnel *t);
void ntm_check_candidates(struct ntm_tunnel *t, const struct ntm_sig *m); /* replaces what was known */
/* Asks all addresses that could be better than the route in use; all: the others, too. */
void ntm_check_start(struct ntm_tunnel *t, bool all);
/*
 * Tells the peer, at the first few of its candidates, that this end has moved, and to send here from now on: before any
 * answers. At those to which a link of this host leads now, if that is no news, or, if this host has no address of the
 * endpoint's family any more, at all that it can reach. After what the RS is sent, so that that is older.
 */
void ntm_check_tell(struct ntm_tunnel *t);
void ntm_check_trickle(struct ntm_tunnel *t); /* tells the peer our candidates, and begins a round here and there */
void ntm_check_later(struct ntm_tunnel *t);   /* the route has changed: when to look again */
/* The endpoint has followed the peer's packets to there: has the initiator agree on it with the peer. */
void ntm_check_followed(struct ntm_tunnel *t, const struct ntm_addr *a);
void ntm_check_received(struct ntm_tunnel *t, const struct ntm_sig *m, const struct ntm_addr *from);
void ntm_check_answered(struct ntm_tunnel *t, const struct ntm_sig *m, const struct ntm_addr *from);
void ntm_check_stop(struct ntm_tunnel *t);
/* The best address that has answered since then; port 0: none. */
struct ntm_addr ntm_check_working(const struct ntm_tunnel *t, uint64_t since_ns);

/* route.c */
enum ntm_route_kind ntm_route_kind_of(const struct ntm_tunnel *t, const struct ntm_addr *a, uint8_t cand);
enum ntm_route_kind ntm_route_of_endpoint(struct ntm_tunnel *t, const struct ntm_addr *a);
/* Sends there from now on; hold_ms as the data plane's. 0 or -errno. */
int ntm_route_set(struct ntm_tunnel *t, const struct ntm_addr *a, uint32_t hold_ms, const char *reason);
void ntm_route_note(struct ntm_tunnel *t, const struct ntm_addr *a); /* the endpoint, for the first time or anew */
void ntm_route_moved(struct ntm_tunnel *t, const struct ntm_addr *a, const char *reason); /* the data plane did it */
/* Takes the best other route that has answered since then. False: there is none. */
bool ntm_route_fall_back(struct ntm_tunnel *t, uint64_t since_ns);
/* The next round trip that is measured replaces what rtt_ms is made of. */
void ntm_route_rtt_anew(struct ntm_tunnel *t);
void ntm_route_rtt(struct ntm_tunnel *t, uint64_t sent_ns, double ms); /* a probe was answered after ms */
bool ntm_route_held(const struct ntm_tunnel *t);
/* The pair that both ends have just agreed on is no more: the next packet may move the endpoint again. */
void ntm_route_release(struct ntm_tunnel *t);
static inline bool ntm_route_kind_is_relay(enum ntm_route_kind k)
{
	return k == NTM_ROUTE_RELAY;
}
const char *ntm_route_kind_name(enum ntm_route_kind k);  /* "relay", "lan", ... */
const char *ntm_route_name(const struct ntm_tunnel *t);  /* "direct" or "relay" */
const char *ntm_route_relay(const struct ntm_tunnel *t); /* name of the RS in use, NULL if direct */

#endif
