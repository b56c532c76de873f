/* SPDX-License-Identifier: BSD-2-Clause */
/* status, peers and paths as JSON. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../common/keystore.h"
#include "control.h"
#include "dnsmode.h"
#include "dnsstub.h"
#include "dnstun.h"
#include "node.h"
#include "userpath.h"

static void add_text(json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, value ? json_object_new_string(value) : NULL);
}

static void add_int(json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_int64((int64_t)value));
}

/* Three decimals: more would claim a precision that is not there. */
static void add_number(json_object *o, const char *key, double value)
{
	char text[32];

	snprintf(text, sizeof(text), "%.3f", value);
	json_object_object_add(o, key, json_object_new_double_s(value, text));
}

static void add_vip4(json_object *o, const uint8_t vip4[4])
{
	char text[NTM_ADDR_STRLEN];
	uint8_t ip[16];

	ntm_ip_from_v4(ip, vip4);
	add_text(o, "vip4", ntm_ip_format(ip, text));
}

static void add_vip6(json_object *o, const uint8_t vip6[16])
{
	char text[NTM_ADDR_STRLEN];

	add_text(o, "vip6", ntm_ip_format(vip6, text));
}

static void add_addr(json_object *o, const char *key, const struct ntm_addr *a)
{
	char text[NTM_ADDR_STRLEN];

	add_text(o, key, a->port ? ntm_addr_format(a, text) : NULL);
}

static json_object *dc_status(const struct ntm_node *n)
{
	const struct ntm_dcclient *dc = &n->dc;
	json_object *o = json_object_new_object();

	json_object_object_add(o, "connected", json_object_new_boolean(ntm_dc_connected(dc)));
	add_addr(o, "endpoint",
		 dc->slot[NTM_DC_CUR].used ? &dc->slot[NTM_DC_CUR].addr
					   : &n->conf.dc_endpoints.addrs[dc->endpoint % n->conf.dc_endpoints.n]);
	if (dc->rtt_ms > 0)
		add_number(o, "rtt_ms", dc->rtt_ms);
	else
		add_text(o, "rtt_ms", NULL);
	add_addr(o, "reflexive", &dc->reflexive);
	add_text(o, "error", dc->last_error ? ntm_error_name((enum ntm_error)dc->last_error) : NULL);
	return o;
}

static json_object *uplinks_status(const struct ntm_node *n)
{
	json_object *list = json_object_new_array();
	static const uint8_t none[16];
	char text[NTM_ADDR_STRLEN];
	uint8_t ip[16];

	for (unsigned i = 0; i < n->n_uplinks; i++) {
		const struct ntm_dp_uplink *u = &n->uplinks[i].dp;
		json_object *o = json_object_new_object();

		add_text(o, "name", u->name);
		add_int(o, "ifindex", u->ifindex);
		add_int(o, "mtu", u->mtu);
		ntm_ip_from_v4(ip, u->addr4);
		add_text(o, "addr4", memcmp(u->addr4, none, 4) ? ntm_ip_format(ip, text) : NULL);
		add_text(o, "addr6", memcmp(u->addr6, none, 16) ? ntm_ip_format(u->addr6, text) : NULL);
		add_text(o, "xdp", n->userpath ? NULL : ntm_rx_hook_name(u->hook));
		json_object_object_add(o, "leads_nowhere",
				       json_object_new_boolean(ntm_proof_nowhere(n, &n->uplinks[i])));
		json_object_array_add(list, o);
	}
	return list;
}

/* mode = tun: what a resolver is to be told. */
static void dns_addresses(json_object *o, const struct ntm_node *n)
{
	char text[NTM_ADDR_STRLEN];
	uint8_t ip[16];

	add_text(o, "dns4", ntm_dnstun_address(n, false, ip) ? ntm_ip_format(ip, text) : NULL);
	add_text(o, "dns6", ntm_dnstun_address(n, true, ip) ? ntm_ip_format(ip, text) : NULL);
}

static json_object *dns_status(struct ntm_node *n)
{
	json_object *o = json_object_new_object(), *list = json_object_new_array();
	struct ntm_addr up[8];
	char text[NTM_ADDR_STRLEN];
	size_t count = n->dns ? ntm_dnsforward_upstreams(ntm_dnsstub_forward(n->dns), up, 8) : 0;

	add_text(o, "mode", ntm_dnsmode_name(n->dnsmode ? ntm_dnsmode_in_effect(n->dnsmode) : n->conf.dns_mode));
	add_text(o, "reason", n->dnsmode ? ntm_dnsmode_reason(n->dnsmode) : NULL);
	ntm_dnsmode_counters(o, n->dnsmode);
	if (n->conf.dns_mode == NTM_DNS_TUN)
		dns_addresses(o, n);
	else if (n->dns)
		add_addr(o, "listen", ntm_dnsstub_addr(n->dns));
	else
		add_text(o, "listen", NULL);
	for (size_t i = 0; i < count; i++)
		json_object_array_add(list, json_object_new_string(ntm_addr_format(&up[i], text)));
	json_object_object_add(o, "upstreams", list);
	return o;
}

static json_object *counters_status(struct ntm_node *n)
{
	static const char *const names[NTM_R_COUNT] = {
#define X(symbol, name, meaning) [NTM_R_##symbol] = name,
	    NTM_REASONS(X)
#undef X
	};
	struct ntm_counter c[NTM_R_COUNT];
	json_object *o = json_object_new_object(), *one;

	if (n->dp->ops->counters(n->dp, c))
		return o;
	for (unsigned i = 0; i < NTM_R_COUNT; i++) {
		one = json_object_new_object();
		add_int(one, "packets", c[i].packets);
		add_int(one, "bytes", c[i].bytes);
		json_object_object_add(o, names[i], one);
	}
	return o;
}

/* NULL: no device was given yet. */
static const char *interface_name(const struct ntm_node *n)
{
	const char *name = n->userpath ? ntm_userpath_ifname(n->userpath) : n->conf.interface;

	return name && name[0] ? name : NULL;
}

json_object *ntm_control_tun(struct ntm_node *n)
{
	json_object *o = json_object_new_object();
	char text[NTM_ADDR_STRLEN];

	if (!o)
		return NULL;
	add_text(o, "interface", interface_name(n));
	if (n->id.known) {
		add_vip4(o, n->id.addrs.vip4);
		add_vip6(o, n->id.addrs.vip6);
	}
	add_text(o, "pool4", n->id.known ? ntm_prefix_format(&n->id.addrs.pool4, text) : NULL);
	add_text(o, "pool6", n->id.known ? ntm_prefix_format(&n->id.addrs.pool6, text) : NULL);
	if (n->conf.dns_mode == NTM_DNS_TUN)
		dns_addresses(o, n);
	add_int(o, "mtu", NTM_INNER_MTU_BASE); /* what every path carries; larger packets are answered by ICMP */
	return o;
}

json_object *ntm_control_status(struct ntm_node *n)
{
	json_object *o = json_object_new_object();

	if (!o)
		return NULL;
	add_text(o, "name", n->id.known ? n->id.fqdn : n->conf.name);
	add_text(o, "zone", n->id.known ? n->id.zone : NULL);
	if (n->id.known) {
		add_vip4(o, n->id.addrs.vip4);
		add_vip6(o, n->id.addrs.vip6);
	} else {
		add_text(o, "vip4", NULL);
		add_text(o, "vip6", NULL);
	}
	add_text(o, "version", NTM_VERSION);
	add_int(o, "pid", (uint64_t)getpid());
	add_int(o, "uptime_s", (ntm_timers_ms(&n->timers) - n->start_ms) / 1000);
	json_object_object_add(o, "adopted", json_object_new_boolean(n->adopted));
	add_text(o, "datapath", n->userpath ? "user" : "bpf");
	add_text(o, "interface", interface_name(n));
	if (n->userpath)
		json_object_object_add(o, "guarded", json_object_new_boolean(ntm_userpath_guarded(n->userpath)));
	json_object_object_add(o, "dc", dc_status(n));
	add_text(o, "uplink", n->n_uplinks ? n->uplinks[0].dp.name : NULL);
	json_object_object_add(o, "uplinks", uplinks_status(n));
	json_object_object_add(o, "mobility", ntm_mobility_status(n));
	json_object_object_add(o, "dns", dns_status(n));
	if (n->conf.gateway_routes.n)
		json_object_object_add(o, "gateway", ntm_gwclient_status(n));
	json_object_object_add(o, "counters", counters_status(n));
	return o;
}

static void add_last_rx(json_object *o, const struct ntm_tunnel *t, const struct ntm_dp_stats *s)
{
	uint64_t rx = s->last_rx_ns > t->ctl_rx_ns ? s->last_rx_ns : t->ctl_rx_ns;
	uint64_t now = ntm_timers_ns(&t->node->timers);

	if (rx)
		add_number(o, "last_rx_s", now > rx ? (double)(now - rx) / 1e9 : 0);
	else
		add_text(o, "last_rx_s", NULL);
}

static void add_path_id(json_object *o, const struct ntm_tunnel *t)
{
	char id[17];

	snprintf(id, sizeof(id), "%016" PRIx64, t->id);
	add_text(o, "path_id", id);
}

static const char *peer_name(const struct ntm_tunnel *t)
{
	return t->name[0] ? t->name : NULL;
}

json_object *ntm_control_peers(struct ntm_node *n)
{
	json_object *list = json_object_new_array();

	for (struct ntm_tunnel *t = n->tunnels.all; t && list; t = t->next_all) {
		char key[NTM_KEY_TEXT_LEN + 1];
		struct ntm_dp_stats s = {0};
		json_object *o;

		/* A peer may have a new and an old path for a while. */
		if (ntm_tunnel_by_vip(n, t->vip6) != t || n->dp->ops->stats(n->dp, t->id, &s))
			continue;
		o = json_object_new_object();
		add_text(o, "name", peer_name(t));
		add_vip4(o, t->vip4);
		add_vip6(o, t->vip6);
		ntm_key_to_text(t->peer_key, key);
		add_text(o, "public_key", key);
		add_text(o, "route", ntm_route_name(t));
		add_addr(o, "endpoint", &s.endpoint);
		add_last_rx(o, t, &s);
		add_path_id(o, t);
		json_object_array_add(list, o);
	}
	return list;
}

/* The RS that the path could fall back to, or uses. */
static void add_binding(json_object *o, const struct ntm_tunnel *t)
{
	const struct ntm_binding *b = &t->bind;
	json_object *binding = ntm_bind_has(t) ? json_object_new_object() : NULL;

	json_object_object_add(o, "binding", binding);
	if (!binding)
		return;
	add_text(binding, "relay", ntm_bind_name(t));
	json_object_object_add(binding, "bound", json_object_new_boolean(b->bound));
	json_object_object_add(binding, "peer_bound", json_object_new_boolean(b->peer));
	json_object_object_add(binding, "draining", json_object_new_boolean(b->draining));
}

static void add_candidates(json_object *o, const struct ntm_tunnel *t)
{
	json_object *list = json_object_new_array();

	for (unsigned i = 0; i < t->checks.n_pairs; i++) {
		const struct ntm_pair *p = &t->checks.pairs[i];
		json_object *c = json_object_new_object();

		add_addr(c, "endpoint", &p->addr);
		add_text(c, "kind", ntm_route_kind_name(ntm_route_kind_of(t, &p->addr, p->cand)));
		json_object_object_add(c, "answered", json_object_new_boolean(p->answered_ns != 0));
		json_object_array_add(list, c);
	}
	json_object_object_add(o, "candidates", list);
}

/* What went by each lane, inner packets and bytes. */
static void add_lanes(json_object *o, const struct ntm_dp_stats *s)
{
	static const char *const suites[] = {NULL, "AES-256-GCM", "ChaCha20-Poly1305"};
	json_object *lanes = json_object_new_object(), *kernel = json_object_new_object(),
		    *bulk = json_object_new_object();

	add_int(kernel, "tx_packets", s->tx_packets - s->bulk_tx_packets);
	add_int(kernel, "tx_bytes", s->tx_bytes - s->bulk_tx_bytes);
	add_int(kernel, "rx_packets", s->rx_packets - s->bulk_rx_packets);
	add_int(kernel, "rx_bytes", s->rx_bytes - s->bulk_rx_bytes);
	add_text(bulk, "cipher", s->bulk_suite < sizeof(suites) / sizeof(suites[0]) ? suites[s->bulk_suite] : NULL);
	add_int(bulk, "tx_packets", s->bulk_tx_packets);
	add_int(bulk, "tx_bytes", s->bulk_tx_bytes);
	add_int(bulk, "rx_packets", s->bulk_rx_packets);
	add_int(bulk, "rx_bytes", s->bulk_rx_bytes);
	json_object_object_add(lanes, "kernel", kernel);
	json_object_object_add(lanes, "bulk", bulk);
	json_object_object_add(o, "lanes", lanes);
}

json_object *ntm_control_paths(struct ntm_node *n)
{
	json_object *list = json_object_new_array();

	for (struct ntm_tunnel *t = n->tunnels.all; t && list; t = t->next_all) {
		struct ntm_dp_stats s = {0};
		json_object *o;

		if (n->dp->ops->stats(n->dp, t->id, &s))
			continue;
		o = json_object_new_object();
		add_text(o, "peer", peer_name(t));
		add_path_id(o, t);
		add_text(o, "route", ntm_route_name(t));
		add_text(o, "kind", ntm_route_kind_name(t->route.kind));
		add_addr(o, "endpoint", &s.endpoint);
		add_text(o, "relay", ntm_route_relay(t));
		add_binding(o, t);
		add_candidates(o, t);
		if (t->rtt_ms > 0)
			add_number(o, "rtt_ms", t->rtt_ms);
		else
			add_text(o, "rtt_ms", NULL);
		add_int(o, "mtu", s.inner_mtu);
		add_text(o, "lane", n->userpath ? "user" : s.bulk ? "bulk" : "kernel");
		if (!n->userpath || n->dp->suites)
			add_lanes(o, &s);
		json_object_object_add(o, "gateway", json_object_new_boolean(t->gateway));
		add_int(o, "tx_packets", s.tx_packets);
		add_int(o, "rx_packets", s.rx_packets);
		add_int(o, "tx_bytes", s.tx_bytes);
		add_int(o, "rx_bytes", s.rx_bytes);
		add_int(o, "handovers", s.roams + t->move.followed + t->move.done);
		if (t->move.done)
			add_number(o, "handover_ms", t->move.last_ms);
		else
			add_text(o, "handover_ms", NULL);
		add_text(o, "state", ntm_tunnel_state_name(t->state));
		add_text(o, "role", t->role == NTM_ROLE_INITIATOR ? "initiator" : "responder");
		add_int(o, "epoch", s.tx_epoch);
		add_int(o, "rekeys", t->rekeys);
		add_last_rx(o, t, &s);
		json_object_array_add(list, o);
	}
	return list;
}
