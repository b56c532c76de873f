/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A DC writes paths down a moment after it has directed them. So a node that has a session with another process of it,
 * after one that may have been killed, reports the paths that the former one may not have written: by the tickets that
 * came with their directions.
 */
#ifndef NTM_NODE_PATHREPORT_H
#define NTM_NODE_PATHREPORT_H

#include <stdbool.h>
#include <stdint.h>

#include <ntm/signal.h>

#include "timer.h"

struct ntm_node;
struct ntm_sig;
struct ntm_tunnel;

enum {
	/*
	 * Paths that the DC knew this long before it was heard of last are on its disk: it writes each half second at
	 * the latest, and this is twenty times that, for one whose disk is slow.
	 */
	NTM_REPORT_BACK_MS = 10000,
	NTM_REPORT_MS = 5000, /* for an answer, also on a session that comes meanwhile */
	NTM_REPORT_RETRY_MS = 1000,
	NTM_REPORT_RETRY_MAX_MS = 30000,
};

/* What a tunnel has for it. */
struct ntm_path_claim {
	struct ntm_path_ticket ticket;
	bool has, due, asked; /* a ticket; it is to be reported; it is in the report under way */
	uint64_t at_ms;       /* when the DC said so last, or took a report of it */
};

struct ntm_path_reports {
	uint64_t session;  /* with this one, all that is not due is settled; 0: none yet */
	uint64_t heard_ms; /* on it, last */
	bool busy;         /* a report is under way */
	uint64_t retry_ms;
	struct ntm_timer timer;
};

void ntm_path_reports_init(struct ntm_node *n);
void ntm_path_reports_stop(struct ntm_node *n);
void ntm_path_claim(struct ntm_tunnel *t, const struct ntm_sig *m); /* of a Route Direction */
void ntm_path_reports_heard(struct ntm_node *n, uint64_t session);  /* something authentic came on it */
void ntm_path_reports_registered(struct ntm_node *n, uint64_t session);

#endif
