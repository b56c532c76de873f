/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's metrics: everything is counted elsewhere, here it gets its name. */
#include <stdio.h>
#include <string.h>

#include "node.h"

enum { NAME_MAX_LEN = 64 };

/* A family of this prefix: its name, valid until the next call. */
static const char *family(struct ntm_metrics *m, const char *prefix, const char *name, const char *type,
			  const char *help)
{
	static char full[NAME_MAX_LEN];

	snprintf(full, sizeof(full), "%s_%s", prefix, name);
	ntm_metrics_family(m, full, type, help);
	return full;
}

static void one(struct ntm_metrics *m, const char *prefix, const char *name, const char *type, const char *help,
		double value)
{
	ntm_metrics_sample(m, family(m, prefix, name, type, help), value, NULL);
}

/* By state, and of those that are up by route. */
static void paths(struct ntm_node *n, struct ntm_metrics *m, const char *prefix)
{
	unsigned state[NTM_TUN_OLD + 1] = {0}, direct = 0, relay = 0;
	const char *name;

	for (const struct ntm_tunnel *t = n->tunnels.all; t; t = t->next_all) {
		state[t->state]++;
		if (t->state != NTM_TUN_UP)
			continue;
		direct += t->route.kind != NTM_ROUTE_RELAY;
		relay += t->route.kind == NTM_ROUTE_RELAY;
	}
	name = family(m, prefix, "paths", "gauge", "Paths by state.");
	for (unsigned s = 0; s <= NTM_TUN_OLD; s++)
		ntm_metrics_sample(m, name, state[s], "state", ntm_tunnel_state_name((enum ntm_tunnel_state)s), NULL);
	name = family(m, prefix, "path_routes", "gauge", "Paths that are up, by route.");
	ntm_metrics_sample(m, name, direct, "route", "direct", NULL);
	ntm_metrics_sample(m, name, relay, "route", "relay", NULL);
}

static void dc(const struct ntm_node *n, struct ntm_metrics *m, const char *prefix)
{
	one(m, prefix, "dc_connected", "gauge", "1: registered with the DC.", ntm_dc_connected(&n->dc));
	if (n->dc.rtt_ms > 0)
		one(m, prefix, "dc_rtt_seconds", "gauge", "Round trip to the DC, smoothed.", n->dc.rtt_ms / 1e3);
}

void ntm_node_metrics_add(struct ntm_node *n, struct ntm_metrics *m, const char *prefix)
{
	char name[NAME_MAX_LEN];

	dc(n, m, prefix);
	paths(n, m, prefix);
	one(m, prefix, "directions_total", "counter", "Directions asked for and answered.", (double)n->directions_done);
	one(m, prefix, "directions_failed_total", "counter", "Directions that brought no path.",
	    (double)n->directions_failed);
	one(m, prefix, "rekeys_total", "counter", "New keys of paths that were up.", (double)n->rekeys);
	one(m, prefix, "address_changes_total", "counter", "Changes of the uplinks.", (double)n->mobility.changes);
	snprintf(name, sizeof(name), "%s_direction_seconds", prefix);
	ntm_metrics_histogram(m, name, "From asking the DC to a path that is up.", &n->direction_seconds);
	snprintf(name, sizeof(name), "%s_handover_seconds", prefix);
	ntm_metrics_histogram(m, name, "From a change of this host's addresses to a path's first answer after it.",
			      &n->handover_seconds);
}

static void packets(struct ntm_node *n, struct ntm_metrics *m)
{
	static const char *const names[NTM_R_COUNT] = {
#define X(symbol, name, meaning) [NTM_R_##symbol] = name,
	    NTM_REASONS(X)
#undef X
	};
	struct ntm_counter c[NTM_R_COUNT];

	/* none, rather than wrong ones */
	if (n->dp->ops->counters(n->dp, c))
		return;
	ntm_metrics_family(m, "ntm_node_packets_total", "counter",
			   "Packets of the kernel lane by what became of them.");
	for (unsigned i = 0; i < NTM_R_COUNT; i++)
		ntm_metrics_sample(m, "ntm_node_packets_total", (double)c[i].packets, "reason", names[i], NULL);
	ntm_metrics_family(m, "ntm_node_bytes_total", "counter", "Their bytes.");
	for (unsigned i = 0; i < NTM_R_COUNT; i++)
		ntm_metrics_sample(m, "ntm_node_bytes_total", (double)c[i].bytes, "reason", names[i], NULL);
}

static void collect(struct ntm_metrics *m, void *arg)
{
	ntm_node_metrics_add(arg, m, "ntm_node");
	packets(arg, m);
	ntm_metrics_process(m);
}

int ntm_node_metrics_start(struct ntm_node *n, char *why, size_t cap)
{
	if (!ntm_listen_given(&n->conf.metrics_listen))
		return 0;
	return ntm_metrics_start(&n->metrics, n->loop, &n->conf.metrics_listen, collect, n, why, cap);
}
