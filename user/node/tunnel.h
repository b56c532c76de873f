/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent's side of a path: who is at the other end, and where its handshakes, probes and timers stand. What must
 * outlive the agent is in the data plane (struct ntm_path, struct ntm_path_agent); a tunnel is rebuilt from that.
 *
 * NEW ──first keys──► UP ◄──authenticated answer── SILENT
 *  │                  │ └──three probes unanswered──►│  and no other route of the path answers
 *  │ no answer, 2 s   └──another path to that peer is up──► OLD ──grace──► gone
 *  └──► gone
 */
#ifndef NTM_NODE_TUNNEL_H
#define NTM_NODE_TUNNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

#include "../common/cookie.h"
#include "../common/path_crypto.h"
#include "../common/signal_codec.h"
#include "../dataplane/dp.h"
#include "copies.h"
#include "mobility.h"
#include "pathreport.h"
#include "route.h"
#include "timer.h"

struct ntm_node;

enum ntm_tunnel_state { NTM_TUN_NEW, NTM_TUN_UP, NTM_TUN_SILENT, NTM_TUN_OLD };

enum ntm_probe_kind { NTM_PROBE_LIVE, NTM_PROBE_PMTU, NTM_PROBE_PING };
enum { NTM_PROBES = 8 };

/* A request on the control lane that may still be answered. */
struct ntm_probe {
	uint64_t sent_ns; /* 0: free */
	uint32_t txid;
	uint16_t inner; /* PMTU: inner packet size that it stands for */
	uint8_t kind;
};

enum ntm_pmtu_phase { NTM_PMTU_IDLE, NTM_PMTU_CONFIRM, NTM_PMTU_BASE, NTM_PMTU_FLOOR, NTM_PMTU_SEARCH };

struct ntm_pmtu {
	enum ntm_pmtu_phase phase;
	uint16_t size;   /* probed now */
	uint16_t lo, hi; /* works; does not (or: not known to) */
	uint16_t max;    /* what both uplinks allow */
	uint8_t tries;
	uint64_t raise_ms; /* when more than what is in use is tried next */
	struct ntm_timer timer;
};

struct ntm_tunnel {
	struct ntm_node *node;
	/* What a move looks at of a thousand, together. */
	struct ntm_tunnel *next_all, **link_all;
	uint64_t id, last_data_ns;
	enum ntm_tunnel_state state;

	struct ntm_tunnel *next_id, *next_vip4, *next_vip6, *next_name;
	char name[NTM_NAME_MAX + 1]; /* FQDN; "" if not known */
	uint8_t vip4[4], vip6[16];
	uint8_t peer_key[NTM_DH_LEN];
	enum ntm_role role;
	bool gateway;      /* one end is the other's way to general nodes */
	bool redirected;   /* another one was asked for in its place */
	bool peer_offline; /* so the DC, when last asked */
	bool former_key;   /* made with a static key of this node that is no longer its own (rotation.c) */

	struct ntm_binding bind;
	struct ntm_checks checks;
	struct ntm_route route;
	struct ntm_move move;
	struct ntm_copies_path copies;

	/* handshake.c */
	bool has_keys, confirmed;
	uint8_t epoch; /* that we send on, or wait for the peer to confirm (responder) */
	uint32_t rekeys;
	uint16_t peer_mtu;                   /* of the peer's uplink, bytes; 0: not known */
	struct ntm_tunnel_init_state *hs;    /* initiator, in progress */
	struct ntm_cookie_client *hs_cookie; /* with hs */
	uint64_t hs_begin_ms, hs_next_ms, hs_backoff_ms;
	bool adopted;          /* of an earlier agent: this one has no bulk keys yet */
	uint8_t lane_tries;    /* new keys for its sake, in vain so far */
	uint64_t lane_lost_ms; /* since when the bulk lane is down; 0: it is not, or was not agreed on */
	uint32_t hs_wait_ms, confirm_wait_ms;
	struct ntm_timer hs_timer, confirm_timer;
	struct ntm_tunnel_req *last_req; /* responder: answered last, and the answer */
	struct ntm_tunnel_resp last_resp;

	/* control_lane.c */
	uint64_t ctl_tx_ns, ctl_rx_ns;
	uint64_t route_rx_ns; /* heard over the route in use */
	uint32_t next_txid;
	uint64_t update_counter; /* of the peer's last NTM Update */
	uint8_t update_epoch;
	struct ntm_probe probes[NTM_PROBES];
	double rtt_ms; /* smoothed; 0: not measured */

	/* live.c */
	struct ntm_timer tick;       /* housekeeping */
	struct ntm_timer live_timer; /* armed while probing */
	uint64_t live_since_ns, live_backoff_ms, redirect_next_ms, redirect_backoff_ms;
	uint8_t live_tries;
	uint64_t last_tick_ns, unanswered_ns; /* unanswered_ns: since then sent without hearing; 0: not so */
	uint64_t seen_tx_packets, seen_rx_packets, old_since_ms, created_ms;

	struct ntm_pmtu pmtu;

	struct ntm_path_claim claim;
};

enum { NTM_TUNNEL_BUCKETS = 4096 };

struct ntm_tunnels {
	struct ntm_tunnel *all;
	struct ntm_tunnel **by_id, **by_vip4, **by_vip6, **by_name;
	size_t n;
};

int ntm_tunnels_init(struct ntm_tunnels *ts);
void ntm_tunnels_free(struct ntm_tunnels *ts); /* forgets all tunnels; the data plane keeps its paths */

/* A tunnel in state NEW, in the table; the data plane's path is the caller's business. NULL: no memory. */
struct ntm_tunnel *ntm_tunnel_new(struct ntm_node *n, const struct ntm_dp_path *p, const char *name,
				  const uint8_t peer_key[NTM_DH_LEN], enum ntm_role role);
void ntm_tunnel_forget(struct ntm_tunnel *t); /* out of the table, timers stopped, secrets wiped, freed */

struct ntm_tunnel *ntm_tunnel_by_id(struct ntm_node *n, uint64_t id);
/* The usable one of several to a peer: UP before SILENT before NEW before OLD, then the youngest. NULL: none. */
struct ntm_tunnel *ntm_tunnel_by_vip(struct ntm_node *n, const uint8_t ip[16]); /* v4-mapped or IPv6 */
struct ntm_tunnel *ntm_tunnel_by_name(struct ntm_node *n, const char *fqdn);
/* All tunnels to the peer of this VIP6, one after the other; NULL ends. */
struct ntm_tunnel *ntm_tunnel_peer_first(struct ntm_node *n, const uint8_t vip6[16]);
struct ntm_tunnel *ntm_tunnel_peer_next(const struct ntm_tunnel *t);
void ntm_tunnel_set_name(struct ntm_tunnel *t, const char *fqdn);
const char *ntm_tunnel_label(const struct ntm_tunnel *t, char out[NTM_ADDR_STRLEN]); /* name, or VIP6 */
static inline bool ntm_tunnel_usable(const struct ntm_tunnel *t)
{
	return t->state == NTM_TUN_UP;
}
const char *ntm_tunnel_state_name(enum ntm_tunnel_state s);

/* path.c: the life of a tunnel */

/* A Route Direction, decoded: finds or makes the tunnel and starts its handshake. *out may be an UP one. 0 or -errno.
 */
int ntm_path_directed(struct ntm_node *n, const struct ntm_sig *m, struct ntm_tunnel **out);
/*
 * The first keys are installed: the path is up. But not yet at a responder with another path to that peer that is: the
 * initiator gets the keys with the answer, and what overtakes that would be lost. There, its first packet does it.
 * t may be gone afterwards.
 */
void ntm_path_keyed(struct ntm_tunnel *t);
void ntm_path_used(struct ntm_tunnel *t);    /* the peer has sent on it */
void ntm_path_adopt_all(struct ntm_node *n); /* tunnels for the data plane's paths */
enum ntm_path_end { NTM_PATH_END_QUIET, NTM_PATH_END_TELL_PEER = 1, NTM_PATH_END_TELL_DC = 2 };
void ntm_path_end(struct ntm_tunnel *t, unsigned tell, const char *reason); /* deletes it everywhere; frees t */
void ntm_path_moved(struct ntm_tunnel *t);                           /* the data plane's endpoint of it has changed */
json_object *ntm_path_event(struct ntm_tunnel *t, const char *what); /* as ntm_node_event(), with peer and path_id */
/* Seals an inner packet in the kernel lane's keys and sends it by the socket. len 0: keep-alive. */
int ntm_path_send(struct ntm_tunnel *t, const uint8_t *inner, size_t len, bool fragment);

uint16_t ntm_path_own_mtu(const struct ntm_tunnel *t); /* of the uplink of the endpoint's family */

/* handshake.c */
int ntm_hs_start(struct ntm_tunnel *t);
void ntm_hs_resend(struct ntm_tunnel *t); /* the way through the RS has just opened */
void ntm_hs_punch(struct ntm_tunnel *t);  /* responder: opens NATs and firewalls before us for the initiator */
void ntm_hs_cancel(struct ntm_tunnel *t);
void ntm_hs_request(struct ntm_node *n, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *msg,
		    size_t len);
void ntm_hs_early(struct ntm_node *n, uint64_t path_id); /* its request may have been faster than the DC's word */
void ntm_hs_early_forget(struct ntm_node *n);
void ntm_hs_response(struct ntm_node *n, const struct ntm_addr *from, const uint8_t *msg, size_t len);
void ntm_hs_cookie(struct ntm_tunnel *t, const struct ntm_cookie_reply *r);
void ntm_hs_confirmed(struct ntm_tunnel *t, uint8_t epoch); /* the peer uses this epoch */
void ntm_hs_init_timers(struct ntm_tunnel *t);

/* control_lane.c */
/* to: own address that it came to; zero: not known. */
void ntm_ctl_input(struct ntm_node *n, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *msg,
		   size_t len);
/* Requests on the control lane. inner: pad to the size of a capsulated inner packet of so many bytes; 0: don't. */
int ntm_ctl_probe(struct ntm_tunnel *t, enum ntm_probe_kind kind, enum ntm_msg msg, uint16_t inner, uint32_t *txid);
int ntm_ctl_release(struct ntm_tunnel *t);
/* A connectivity check to one address. *txid 0: chosen here, else that of an earlier one that it repeats. */
int ntm_ctl_check(struct ntm_tunnel *t, const struct ntm_addr *to, uint8_t flags, uint32_t *txid);
/* One to the route in use from another address of this node; its answer goes to ntm_proof_answered(). */
int ntm_ctl_ask(struct ntm_tunnel *t, const uint8_t src[16], uint32_t txid);
/*
 * Our candidates. to: NULL: over the route in use. flags: 0 or of enum ntm_check_flags: MOVED: what holds this end's
 * endpoint at the peer is void; with STAY: it becomes where this comes from, and is held. STAY is added while there are
 * copies.
 */
int ntm_ctl_update(struct ntm_tunnel *t, const struct ntm_addr *to, uint8_t flags);

/* live.c */
void ntm_live_init_timers(struct ntm_tunnel *t);
void ntm_live_start(struct ntm_tunnel *t); /* from now on it is looked after */
void ntm_live_probe(struct ntm_tunnel *t); /* find out whether the peer answers, now */
void ntm_live_moved(struct ntm_tunnel *t); /* the same in haste: this host has moved, and other routes may be needed */
/* In doubt of the route in use: does the peer answer through the RS? Moves nothing. */
void ntm_live_probe_relay(struct ntm_tunnel *t);
void ntm_live_heard(struct ntm_tunnel *t); /* an authenticated control message came */
void ntm_live_expired(struct ntm_tunnel *t);
void ntm_live_lane(struct ntm_tunnel *t, bool up); /* the bulk lane came or went */
void ntm_live_redirect(struct ntm_tunnel *t);      /* the path is no good, or soon won't be: ask for another one */
bool ntm_live_recent(const struct ntm_tunnel *t);  /* has carried traffic lately */
/*
 * Nobody answers, somebody is sending, and the DC did not say that the peer is away: whatever may bring it back is
 * tried this often instead of ever more seldom.
 */
enum { NTM_WANTED_MS = 1000 };
bool ntm_live_wanted(const struct ntm_tunnel *t);
bool ntm_live_agent_answers(const struct ntm_tunnel *t); /* the peer's agent was heard of lately */
void ntm_live_unreachable(struct ntm_tunnel *t);         /* no uplink of its endpoint's family is left */

/* pmtu.c */
void ntm_pmtu_init_timer(struct ntm_tunnel *t);
void ntm_pmtu_start(struct ntm_tunnel *t);   /* a new path: with the most there can be, and proof sought */
void ntm_pmtu_recheck(struct ntm_tunnel *t); /* another endpoint or uplink */
void ntm_pmtu_adopt(struct ntm_tunnel *t, uint16_t inner_mtu); /* an earlier agent found this */
void ntm_pmtu_answered(struct ntm_tunnel *t, uint16_t inner);
void ntm_pmtu_stop(struct ntm_tunnel *t);

#endif
