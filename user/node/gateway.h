/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A node's way to general nodes, which run no NTMobile: one path to a gateway RS is kept up, and the configured
 * prefixes ([gateway] routes) are routed into it. Once there, the routes stay while no gateway answers, and when the
 * agent ends as paths do: what goes through a gateway must not get out beside it by chance.
 */
#ifndef NTM_NODE_GATEWAY_H
#define NTM_NODE_GATEWAY_H

#include <stdbool.h>
#include <stdint.h>
#include <json-c/json.h>

#include "timer.h"

struct ntm_node;
struct ntm_tunnel;

struct ntm_gwclient {
	struct ntm_timer timer;
	uint64_t backoff_ms, next_ms;
	uint64_t path_id; /* the one in use when last looked; 0: none */
	bool asking, routed, said;
};

/* After what an earlier agent left was adopted: puts its routes to what the configuration says now. 0 or -errno. */
int ntm_gwclient_start(struct ntm_node *n);
void ntm_gwclient_stop(struct ntm_node *n); /* no more questions; routes stay */
/* A path to a gateway came, went or fell silent, or this node is registered now. Any time, from anywhere. */
void ntm_gwclient_changed(struct ntm_node *n);
/* The configured prefixes are others now. 0 or -errno. */
int ntm_gwclient_reload(struct ntm_node *n);
/* {"peer": name of the gateway in use or null, "routes": [prefix...]}; NULL if none is configured. */
json_object *ntm_gwclient_status(struct ntm_node *n);

#endif
