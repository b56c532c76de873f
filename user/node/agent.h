/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An agent on a loop that may not be its own: node core, timers, data plane, UDP port, interfaces watched. Several may
 * share a loop. Signals, control socket, state on disk, DNS stub and service manager are the daemon's (node.c).
 *
 * init, then node.conf, keys and node.dp set by the caller, then core, watch_dp, open_network, start, ... close.
 */
#ifndef NTM_NODE_AGENT_H
#define NTM_NODE_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "node.h"

struct ntm_agent {
	struct ntm_node node;
	uv_timer_t timer;
	uv_prepare_t prepare;
	uv_poll_t dp_poll;
	bool has_core, dp_polled;
	unsigned handles; /* that the loop knows */
	void *owner;      /* whoever embeds it may keep something here */
	void (*closed)(struct ntm_agent *a);
};

void ntm_agent_init(struct ntm_agent *a, uv_loop_t *loop);
/* Tables, clock, cookies; node.conf, node.priv and node.pub are set. 0 or -errno. */
int ntm_agent_core(struct ntm_agent *a);
/* node.dp's events from here on. 0 or -errno with a sentence in why. */
int ntm_agent_watch_dp(struct ntm_agent *a, char *why, size_t cap);
/* node.conf.port 0: any, and set to the one that it is. 0 or -errno with a sentence in why. */
int ntm_agent_open_network(struct ntm_agent *a, char *why, size_t cap);
void ntm_agent_start(struct ntm_agent *a); /* timers run, the DC is called */
/*
 * In this order; close may follow right upon init.
 * quiesce: nobody is told anything any more, what is owed to callers
 * fails. close: ports, data plane (keep: paths go on without an agent), keys wiped. closed() (NULL: nothing) is called
 * by the loop when it has let go of the handles; then *a may be freed.
 */
void ntm_agent_quiesce(struct ntm_agent *a);
void ntm_agent_close(struct ntm_agent *a, bool keep, void (*closed)(struct ntm_agent *a));

#endif
