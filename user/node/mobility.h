/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * This host has moved: what is sent, in which order and how often. The data plane already sends by the new uplink.
 *
 * Each path, the recently used first: a bind by the new address; an authenticated packet of the kernel lane through the
 * RS, then one over the route in use. The peer's data plane follows the newest that arrives: the second if the way is
 * open, else the first. Both are repeated until something authentic comes back. Of many paths each has the last of
 * these (and before it the bind, if its route is the RS) before any has the rest.
 */
#ifndef NTM_NODE_MOBILITY_H
#define NTM_NODE_MOBILITY_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "timer.h"

struct ntm_node;
struct ntm_tunnel;
struct ntm_uplink_info;

enum { NTM_MOVE_REASON = 32 };

struct ntm_mobility {
	uint64_t changes, moves; /* changes of the uplinks; those that the DC and peers were told of */
	/* How far the budgets are used up, of moves and of other news: times in the future of the last one. */
	uint64_t moves_used_ms, news_used_ms;
	uint64_t noticed_ns;                /* the last change was heard of, a move or not */
	uint64_t moved_ns, move_noticed_ns; /* the last move: sent by since; heard of */
	uint64_t held_back;                 /* moves that had to wait for the budget */
	bool deferred, moved;         /* to be told when the budget allows it; and not only candidates have changed */
	bool soft;                    /* what was sent from before is still there: two uplinks */
	uint8_t from4[16], from6[16]; /* sent from before; zero: nothing */
	char reason[NTM_MOVE_REASON];
	uint64_t *queue; /* paths that are still to be told, by ID */
	size_t n_queue, next;
	uint32_t round; /* counts the queues, from 1 */
	struct ntm_timer defer_timer, pace_timer;
};

/* A path's part. */
struct ntm_move {
	uint64_t at_ns; /* 0: none under way */
	uint64_t noticed_ns;
	uint64_t told_ns; /* the peer, for the first time */
	bool soft;
	bool family_lost;  /* this host has no address of the endpoint's family left */
	uint32_t shown_in; /* the round in which the peer was shown where this host is, before its turn */
	uint8_t from[16];
	uint8_t sends;
	uint32_t done;     /* handovers of this end */
	uint32_t followed; /* of the peer, noted by the agent; the data plane counts those that it notes */
	double last_ms;
	struct ntm_timer timer, overdue_timer;
	struct ntm_timer stay_timer; /* the peer was told to stay: does anything come from there? */
};

void ntm_mobility_init(struct ntm_node *n);
void ntm_mobility_stop(struct ntm_node *n);
/*
 * n->uplinks has replaced old. The DC and the peers are told now, or, after too many of these within a second, a little
 * later: of the last state only. force: as moved, though nothing may have changed.
 */
void ntm_mobility_changed(struct ntm_node *n, const struct ntm_uplink_info *old, unsigned n_old, bool force,
			  const char *reason);
/* An RS sees this node elsewhere though it has not moved: a NAT has changed its mind. All paths are tried anew. */
void ntm_mobility_mapped_anew(struct ntm_node *n);
json_object *ntm_mobility_status(const struct ntm_node *n); /* new; NULL: no memory */

void ntm_move_init_timer(struct ntm_tunnel *t);
void ntm_move_stop(struct ntm_tunnel *t);  /* the move is over */
void ntm_move_free(struct ntm_tunnel *t);  /* and so is the path */
void ntm_move_told(struct ntm_tunnel *t);  /* the peer has been told to stay */
void ntm_move_heard(struct ntm_tunnel *t); /* something authentic came over the route in use */
/* The path's RS has answered from where this host is now, after ms; it used to take before_ms, 0: not known. */
void ntm_move_bound(struct ntm_tunnel *t, double ms, double before_ms);

#endif
