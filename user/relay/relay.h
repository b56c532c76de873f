/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The Relay Server: a node of its DC with more to say (struct ntm_node and its hooks), a relay data plane, and the
 * admission between them. One thread.
 */
#ifndef NTM_RELAY_DAEMON_H
#define NTM_RELAY_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <json-c/json.h>

#include "../node/node.h"
#include "admission.h"
#include "config.h"
#include "load.h"
#include "relay_dp.h"

struct ntm_relay {
	struct ntm_relay_config conf;
	const char *conf_file;
	struct ntm_node node; /* its conf is a view of conf.node, which owns it; hooks.arg is the struct ntm_relay */
	struct ntm_relay_dp *dp;
	struct ntm_admission admission;
	struct ntm_loadmeter load;
	bool adopted, draining;
	uint64_t drain_end_ms;
	void (*ended)(struct ntm_relay *r); /* drained; NULL: nobody asks */
	struct ntm_timer tick;
	struct { /* both ends of each path, that this RS drains */
		struct ntm_timer timer;
		uint64_t *ids;
		size_t n, next, slice;
		unsigned rounds;
	} telling;
	uint64_t paths_added, paths_refused, paths_released, paths_expired;

	struct ntm_hostwatch *host;
	struct ntm_relay_control *control;
	struct ntm_gateway *gateway; /* gateway.c's; NULL: none */
};

/* session.c: the RS's part of the session with the DC. Sets node.hooks. */
void ntm_relay_session_init(struct ntm_relay *r);
/* What is told the DC: paths, rates, flags. */
void ntm_relay_load(const struct ntm_relay *r, struct ntm_load *out);
/* Tells it now, in a Keep Alive that is resent till it is answered. */
void ntm_relay_tell_load(struct ntm_relay *r);
/* This RS leaves: said once, as the DC finds out by silence, too. */
void ntm_relay_leave(struct ntm_relay *r);

/* drain.c: the clock of the relay, and its end. */
void ntm_relay_tick_init(struct ntm_relay *r); /* begins: once a second expiry, load, end of draining */
void ntm_relay_tick_stop(struct ntm_relay *r);
/* No new paths, and who is bound is told; ended() when drain_s are over or no path is left. */
void ntm_relay_drain(struct ntm_relay *r);

/* control.c */
int ntm_relay_control_open(struct ntm_relay_control **out, struct ntm_relay *r, char *why, size_t cap);
void ntm_relay_control_close(struct ntm_relay_control *c);
json_object *ntm_relay_status(struct ntm_relay *r);
json_object *ntm_relay_paths(struct ntm_relay *r);

/* metrics.c: as configured, if so. 0, or -errno with a sentence in why. */
int ntm_relay_metrics_start(struct ntm_relay *r, char *why, size_t cap);

/* dp_none.c: the node's data plane of an RS that is no gateway: has no interface, carries no packet. */
int ntm_dp_none_open(struct ntm_dp **out);

int ntm_relay_run(const char *conf_file);  /* the daemon: returns its exit code */
int ntm_relay_down(const char *conf_file); /* --down: likewise */

#endif
