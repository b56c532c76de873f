/* SPDX-License-Identifier: BSD-2-Clause */
/* The relay's metrics: its paths and packets, binds by what became of them, and its part as a node of the DC. */
#include "relay.h"

static void packets(struct ntm_relay *r, struct ntm_metrics *m)
{
	static const char *const names[NTM_RR_COUNT] = {
#define X(symbol, name, meaning) [NTM_RR_##symbol] = name,
	    NTM_RELAY_REASONS(X)
#undef X
	};
	struct ntm_counter c[NTM_RR_COUNT];

	/* none, rather than wrong ones */
	if (r->dp->ops->counters(r->dp, c))
		return;
	ntm_metrics_family(m, "ntm_relay_packets_total", "counter", "Packets by what became of them.");
	for (unsigned i = 0; i < NTM_RR_COUNT; i++)
		ntm_metrics_sample(m, "ntm_relay_packets_total", (double)c[i].packets, "reason", names[i], NULL);
	ntm_metrics_family(m, "ntm_relay_bytes_total", "counter", "Their bytes.");
	for (unsigned i = 0; i < NTM_RR_COUNT; i++)
		ntm_metrics_sample(m, "ntm_relay_bytes_total", (double)c[i].bytes, "reason", names[i], NULL);
}

static void binds(const struct ntm_relay *r, struct ntm_metrics *m)
{
	const struct ntm_admission_counters *c = &r->admission.counters;

	ntm_metrics_family(m, "ntm_relay_binds_total", "counter", "Binds and probes by what became of them.");
#define X(name) ntm_metrics_sample(m, "ntm_relay_binds_total", (double)c->name, "result", #name, NULL);
	NTM_ADMISSION_COUNTERS(X)
#undef X
}

static void collect(struct ntm_metrics *m, void *arg)
{
	struct ntm_relay *r = arg;

	ntm_metrics_one(m, "ntm_relay_relayed_paths", "gauge", "Paths in the table.", (double)r->dp->ops->count(r->dp));
	ntm_metrics_one(m, "ntm_relay_relayed_paths_max", "gauge", "Paths that it has room for.",
			(double)r->dp->ops->max(r->dp));
	ntm_metrics_one(m, "ntm_relay_draining", "gauge", "1: takes no new paths.", r->draining);
	ntm_metrics_one(m, "ntm_relay_paths_added_total", "counter", "Paths that the DC gave.", (double)r->paths_added);
	ntm_metrics_one(m, "ntm_relay_paths_refused_total", "counter", "Paths refused to the DC.",
			(double)r->paths_refused);
	ntm_metrics_one(m, "ntm_relay_paths_released_total", "counter", "Paths that the DC ended.",
			(double)r->paths_released);
	ntm_metrics_one(m, "ntm_relay_paths_expired_total", "counter", "Paths that were idle for too long.",
			(double)r->paths_expired);
	binds(r, m);
	packets(r, m);
	/* as a node: its session, and the paths of a gateway's clients */
	ntm_node_metrics_add(&r->node, m, "ntm_relay");
	ntm_metrics_process(m);
}

int ntm_relay_metrics_start(struct ntm_relay *r, char *why, size_t cap)
{
	if (!ntm_listen_given(&r->conf.node.metrics_listen))
		return 0;
	return ntm_metrics_start(&r->node.metrics, r->node.loop, &r->conf.node.metrics_listen, collect, r, why, cap);
}
