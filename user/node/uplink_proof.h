/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Does an uplink lead anywhere? An interface may be up with an address and a route while everything beyond it is lost:
 * a network that wants a log-in first, a router without its own uplink. So who answers authentically, with no state of
 * its own, is asked from the uplink's addresses: RSs (probes), the DC (Keep Alives), peers (checks). The uplink in use
 * is asked the same, for who is away answers nobody.
 *
 *   a better one has come, the one in use is still there:
 *     it answers ──► it is used
 *     only the one in use does, or data comes ──► it LEADS NOWHERE: passed over, ranked after all that have a way out
 *     none does ──► nothing can be told apart: it is used, as if it had answered
 *
 *   the one in use is in doubt (paths silent, an RS or the DC without an answer) and others are there:
 *     it answers ──► that was not the reason
 *     only another one does ──► it leads nowhere: the next is used
 *
 *   one that leads nowhere: asked again after 1 s, 2 s ... 30 s
 *     it answers, and again after uplink_settle_ms ──► ranked as ever, and so used if it is preferred
 *
 * When the one in use is gone, or no longer has its addresses or a way out, nobody is asked.
 */
#ifndef NTM_NODE_UPLINK_PROOF_H
#define NTM_NODE_UPLINK_PROOF_H

#include <stdbool.h>
#include <stdint.h>

#include "timer.h"
#include "uplink_info.h"

struct ntm_node;

struct ntm_proof_uplink {
	bool nowhere;
	bool asked, answered; /* in the round under way, or just over */
	bool settling;        /* has answered again, once */
	uint32_t token;       /* of the round's questions */
	uint32_t backoff_ms;
	uint64_t again_ms;   /* nowhere: asked again then */
	uint64_t trusted_ms; /* until then it has answered, or nothing could be told */
	uint64_t back_ms;    /* when it led somewhere again; 0: it has always done so */
};

struct ntm_proof {
	struct ntm_uplink_info watched[NTM_UPLINKS_MAX]; /* as they should be used, but for the above */
	struct ntm_proof_uplink known[NTM_UPLINKS_MAX];  /* the same ones */
	unsigned n;
	bool held; /* the first that leads somewhere has to answer before it is used */
	bool reordered;
	bool round;   /* there is one under way */
	bool doubted; /* for the sake of the one in use */
	unsigned sends;
	uint64_t began_ns;
	uint64_t doubt_ms;                           /* no doubt before that */
	uint64_t questions, passed_over, taken_back; /* counted: transmissions of all that one uplink is asked */
	struct ntm_timer round_timer, again_timer;
};

void ntm_proof_init(struct ntm_node *n);
void ntm_proof_stop(struct ntm_node *n);
/*
 * These are there, in the order of preference. Puts them into the order in which they are to be used now; when that
 * changes without them, ntm_handoff_begin() or ntm_node_use_uplinks() is called. True: the order is what it was, though
 * another one was, or is, wished for. force: an uplink that has not been asked is used at once.
 */
bool ntm_proof_order(struct ntm_node *n, struct ntm_uplink_info *u, unsigned count, bool force);
/* The uplink in use may lead nowhere: somebody who should answer does not. */
void ntm_proof_doubt(struct ntm_node *n);
/* Who was tried by the uplink in use has answered by another one. Seldom: whoever can be asked now is, whatever was. */
void ntm_proof_answered_aside(struct ntm_node *n);
/* Somebody has answered a question with this token, authentically. False: it is none of these. */
bool ntm_proof_answered(struct ntm_node *n, uint32_t token);
/* Is it there, with these addresses, and known to lead nowhere? */
bool ntm_proof_nowhere(const struct ntm_node *n, const struct ntm_uplink_info *u);

#endif
