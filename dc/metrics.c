/* SPDX-License-Identifier: BSD-2-Clause */
/* The DC's metrics: everything is counted elsewhere, here it gets its name. */
#include <stdio.h>

#include "dc.h"

static void counters(const struct ntm_dc *dc, struct ntm_metrics *m)
{
	const struct ntm_dc_net_stats *net = ntm_dc_net_stats(dc->net);

#define X(symbol, meaning)                                                                  \
	ntm_metrics_one(m, "ntm_dc_" #symbol "_total", "counter", "Number of " meaning ".", \
			(double)dc->counters.symbol);
	NTM_DC_COUNTERS(X)
#undef X
	ntm_metrics_one(m, "ntm_dc_received_datagrams_total", "counter", "Datagrams received.", (double)net->rx);
	ntm_metrics_one(m, "ntm_dc_sent_datagrams_total", "counter", "Datagrams sent.", (double)net->tx);
	ntm_metrics_one(m, "ntm_dc_unsent_datagrams_total", "counter", "Datagrams that could not be sent.",
			(double)net->tx_dropped);
	ntm_metrics_one(m, "ntm_dc_requests_unanswered_total", "counter", "Requests to nodes without an answer.",
			(double)dc->outbox.unanswered);
	ntm_metrics_one(m, "ntm_dc_events_total", "counter", "Events, as `ntm dc events` shows them.",
			(double)dc->events.count);
	ntm_metrics_one(m, "ntm_dc_audit_failures_total", "counter", "Lines missing in the audit log.",
			(double)dc->audit.failures);
}

static void relays(const struct ntm_dc *dc, struct ntm_metrics *m)
{
	ntm_metrics_family(m, "ntm_dc_relay_up", "gauge", "1: the relay has a session and takes paths or drains.");
	for (unsigned i = 0; i < dc->relays.n; i++)
		ntm_metrics_sample(m, "ntm_dc_relay_up", dc->relays.items[i]->state != NTM_DC_RELAY_OFFLINE, "relay",
				   dc->relays.items[i]->info.name, NULL);
	ntm_metrics_family(m, "ntm_dc_relay_paths", "gauge", "Paths that the relay reports.");
	for (unsigned i = 0; i < dc->relays.n; i++)
		ntm_metrics_sample(m, "ntm_dc_relay_paths", dc->relays.items[i]->load.paths, "relay",
				   dc->relays.items[i]->info.name, NULL);
}

static void processes(const struct ntm_dc *dc, struct ntm_metrics *m)
{
	struct ntm_dc_cluster_stats s;
	struct ntm_store_health h;

	if (!ntm_dc_cluster_stats(dc, &s))
		return;
	h = dc->store->ops->health(dc->store);
	ntm_metrics_one(m, "ntm_dc_processes", "gauge", "Other processes of this DC.", s.processes);
	ntm_metrics_one(m, "ntm_dc_processes_up", "gauge", "Other processes of this DC that are heard of.", s.up);
	ntm_metrics_one(m, "ntm_dc_nodes_elsewhere", "gauge", "Nodes online at other processes.",
			(double)s.nodes_elsewhere);
	ntm_metrics_one(m, "ntm_dc_processes_died_total", "counter", "Times that another process fell silent.",
			(double)s.died);
	ntm_metrics_one(m, "ntm_dc_nodes_adopted_total", "counter", "Nodes that came over from another process.",
			(double)s.adopted);
	ntm_metrics_one(m, "ntm_dc_node_changes_told_total", "counter", "Changes of nodes told to other processes.",
			(double)s.told);
	ntm_metrics_one(m, "ntm_dc_node_changes_heard_total", "counter", "Changes of nodes heard of from others.",
			(double)s.heard);
	ntm_metrics_one(m, "ntm_dc_messages_passed_total", "counter", "Messages to nodes by way of other processes.",
			(double)s.passed);
	ntm_metrics_one(m, "ntm_dc_messages_relayed_total", "counter", "Messages to nodes on behalf of others.",
			(double)s.relayed);
	ntm_metrics_one(m, "ntm_dc_store_up", "gauge", "1: the store answered last time.", h.up);
	ntm_metrics_one(m, "ntm_dc_store_lost_total", "counter", "Times that the store's connection broke.",
			(double)h.lost);
	ntm_metrics_one(m, "ntm_dc_store_notifications_total", "counter", "Notifications from the store.",
			(double)h.notifications);
	ntm_metrics_one(m, "ntm_dc_store_changes_total", "counter", "Changes that other processes made in the store.",
			(double)s.changes);
	ntm_metrics_one(m, "ntm_dc_store_change_lag_seconds", "gauge",
			"From the last of these changes to its effect here.", s.lag_ms / 1e3);
	ntm_metrics_one(m, "ntm_dc_store_change_lag_max_seconds", "gauge", "The longest of these times.",
			s.lag_max_ms / 1e3);
}

static void collect(struct ntm_metrics *m, void *arg)
{
	struct ntm_dc *dc = arg;
	uint64_t n;

	/* no nodes, rather than a wrong number, while the store is away */
	if (!dc->store->ops->count_nodes(dc->store, &n))
		ntm_metrics_one(m, "ntm_dc_nodes_registered", "gauge", "Nodes enrolled and not revoked.", (double)n);
	ntm_metrics_one(m, "ntm_dc_nodes_online", "gauge", "Nodes heard of within their lifetime.",
			(double)dc->nodes.n_online);
	ntm_metrics_one(m, "ntm_dc_sessions", "gauge", "Sessions.", (double)dc->sessions.by_id.n);
	ntm_metrics_one(m, "ntm_dc_paths", "gauge", "Paths directed and not ended.", (double)dc->paths.by_pair.n);
	ntm_metrics_one(m, "ntm_dc_policy_rules", "gauge", "Rules of the policy.",
			(double)ntm_dc_policy_rules(dc->policy));
	relays(dc, m);
	processes(dc, m);
	counters(dc, m);
	ntm_metrics_histogram(m, "ntm_dc_direction_seconds", "From a direction request to its answer, in this process.",
			      &dc->direction_seconds);
	ntm_metrics_process(m);
}

int ntm_dc_metrics_start(struct ntm_dc *dc, char *why, size_t cap)
{
	dc->direction_seconds = (struct ntm_histogram)NTM_LATENCY_HISTOGRAM;
	if (!ntm_listen_given(&dc->conf->metrics_listen))
		return 0;
	return ntm_metrics_start(&dc->metrics, dc->loop, &dc->conf->metrics_listen, collect, dc, why, cap);
}
