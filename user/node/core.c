/* SPDX-License-Identifier: BSD-2-Clause */
/* What the agent's modules share, without sockets and event loop: identity, uplinks, demultiplexing, events. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../common/sdnotify.h"
#include "node.h"
#include "state.h"

enum { HANDSHAKES_PER_SECOND = 500 }; /* above this, cookies are asked for */

int ntm_node_core_init(struct ntm_node *n)
{
	int err = ntm_tunnels_init(&n->tunnels);

	if (!err)
		err = ntm_cookie_jar_init(&n->jar, n->pub, HANDSHAKES_PER_SECOND);
	if (!err)
		err = ntm_dc_init(&n->dc, n);
	ntm_relays_init(n);
	ntm_mapping_init(n);
	ntm_mobility_init(n);
	ntm_handoff_init(n);
	ntm_proof_init(n);
	ntm_rotation_init(n);
	ntm_path_reports_init(n);
	n->direction_seconds = n->handover_seconds = (struct ntm_histogram)NTM_LATENCY_HISTOGRAM;
	n->start_ms = ntm_timers_ms(&n->timers);
	return err;
}

void ntm_node_core_free(struct ntm_node *n)
{
	ntm_gwclient_stop(n);
	ntm_directions_free(n);
	ntm_hs_early_forget(n);
	ntm_relays_stop(n);
	ntm_mapping_stop(n);
	ntm_proof_stop(n);
	ntm_handoff_stop(n);
	ntm_mobility_stop(n);
	ntm_rotation_stop(n);
	ntm_path_reports_stop(n);
	ntm_dc_free(&n->dc);
	ntm_tunnels_free(&n->tunnels);
	ntm_hold_clear(&n->hold);
}

void ntm_node_input(struct ntm_node *n, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *data,
		    size_t len)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)data;
	struct ntm_cookie_reply cookie;
	struct ntm_tunnel *t;

	if (len < sizeof(*h) || ntm_hdr_version(h) != NTM_WIRE_VERSION)
		return;
	switch (ntm_hdr_type(h)) {
	case NTM_T_COOKIE_REPLY:
		t = ntm_tunnel_by_id(n, be64toh(h->id));
		if (t && len == sizeof(cookie)) {
			memcpy(&cookie, data, sizeof(cookie));
			ntm_hs_cookie(t, &cookie);
			break;
		}
		/* fall through */
	case NTM_T_SESSION_INIT:
	case NTM_T_SESSION_RESP:
	case NTM_T_SIGNAL:
		ntm_dc_input(&n->dc, from, to, data, len);
		break;
	case NTM_T_TUNNEL_REQ:
		if (n->hooks.datagram && n->hooks.datagram(n, from, to, data, len))
			break;
		ntm_hs_request(n, from, to, data, len);
		break;
	case NTM_T_TUNNEL_RESP:
		/* An RS's answers are shorter than a peer's. */
		if (len != sizeof(struct ntm_relay_bound))
			ntm_hs_response(n, from, data, len);
		else if (ntm_hdr_suite(h) == NTM_SUITE_RS_PROBE)
			ntm_relays_answer(n, from, data, len);
		else
			ntm_bind_answer(n, from, data, len);
		break;
	case NTM_T_DATA:
		if (ntm_hdr_suite(h) == NTM_SUITE_CONTROL)
			ntm_ctl_input(n, from, to, data, len);
		else if (ntm_hdr_suite(h) == NTM_SUITE_KERNEL)
			/* Reassembled or with IP options: the same keys and window, counted there. */
			(void)n->dp->ops->open(n->dp, data, len, from);
		break;
	}
}

bool ntm_node_is_virtual(const struct ntm_node *n, const uint8_t ip[16])
{
	const struct ntm_dp_addresses *a = &n->id.addrs;
	bool v4 = ntm_ip_is_v4(ip);

	if (!n->id.known)
		return false;
	if (ntm_prefix_contains(v4 ? &a->pool4 : &a->pool6, ip))
		return true;
	for (unsigned i = 0; i < a->n_peers; i++)
		if (ntm_prefix_contains(v4 ? &a->peers[i].pool4 : &a->peers[i].pool6, ip))
			return true;
	return false;
}

void ntm_identity_add_zones(struct ntm_identity *id, const struct ntm_sig *m)
{
	struct ntm_dp_addresses *a = &id->addrs;

	for (unsigned i = 0; i < m->n_peer_zones; i++) {
		const struct ntm_peer_zone *z = &m->peer_zones[i];
		unsigned at = 0;

		while (at < a->n_peers && strcasecmp(id->peer_zones[at], z->zone))
			at++;
		if (at == NTM_PEER_POOLS || z->pool4.len <= 96 || !z->pool6.len)
			continue;
		memset(id->peer_zones[at], 0, sizeof(id->peer_zones[at]));
		snprintf(id->peer_zones[at], sizeof(id->peer_zones[at]), "%s", z->zone);
		a->peers[at].pool4 = z->pool4;
		a->peers[at].pool6 = z->pool6;
		if (at == a->n_peers)
			a->n_peers++;
	}
}

int ntm_node_peer_zones(struct ntm_node *n, const struct ntm_sig *m, bool all)
{
	struct ntm_identity id = n->id;

	if (!n->id.known || !ntm_sig_has(m, NTM_F_PEER_ZONE))
		return 0;
	if (all) {
		memset(id.addrs.peers, 0, sizeof(id.addrs.peers));
		memset(id.peer_zones, 0, sizeof(id.peer_zones));
		id.addrs.n_peers = 0;
	}
	ntm_identity_add_zones(&id, m);
	return ntm_node_set_identity(n, &id);
}

int ntm_node_set_identity(struct ntm_node *n, const struct ntm_identity *id)
{
	bool same = n->id.known && !strcmp(n->id.fqdn, id->fqdn) && !strcmp(n->id.zone, id->zone) &&
		    !memcmp(&n->id.addrs, &id->addrs, sizeof(id->addrs)) &&
		    !memcmp(n->id.peer_zones, id->peer_zones, sizeof(id->peer_zones));
	int err;

	if (!same) {
		err = n->dp->ops->set_addresses(n->dp, &id->addrs);
		if (err)
			return err;
		n->id = *id;
		if (n->state) {
			err = ntm_state_set_identity(n->state, id);
			if (err)
				ntm_warn("state not written: %s", strerror(-err));
		}
	}
	ntm_gwclient_changed(n);
	if (n->identity_changed)
		n->identity_changed(n);
	if (!n->ready) {
		n->ready = true;
		err = n->embedded ? 0 : ntm_sdnotify("READY=1");
		if (err < 0)
			ntm_warn("service manager not notified: %s", strerror(-err));
	}
	return 0;
}

bool ntm_node_has_family(const struct ntm_node *n, bool v6)
{
	for (unsigned i = 0; i < n->n_uplinks; i++)
		for (unsigned j = 0; j < n->uplinks[i].n_addrs; j++)
			if (ntm_ip_is_v4(n->uplinks[i].addrs[j]) == !v6)
				return true;
	return false;
}

bool ntm_uplinks_have(const struct ntm_uplink_info *u, unsigned n, const uint8_t ip[16])
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < u[i].n_addrs; j++)
			if (!memcmp(u[i].addrs[j], ip, 16))
				return true;
	return false;
}

bool ntm_uplinks_source(const struct ntm_uplink_info *u, unsigned n, bool v6, uint8_t out[16])
{
	static const uint8_t none[16];

	for (unsigned i = 0; i < n; i++) {
		if (!memcmp(v6 ? u[i].dp.addr6 : u[i].dp.addr4, none, v6 ? 16 : 4))
			continue;
		if (v6)
			memcpy(out, u[i].dp.addr6, 16);
		else
			ntm_ip_from_v4(out, u[i].dp.addr4);
		return true;
	}
	memset(out, 0, 16);
	return false;
}

const uint8_t *ntm_node_source(const struct ntm_node *n, const struct ntm_addr *to, uint8_t out[16])
{
	(void)ntm_uplinks_source(n->uplinks, n->n_uplinks, !ntm_ip_is_v4(to->ip), out);
	return out;
}

bool ntm_node_is_beside(const struct ntm_node *n, const uint8_t ip[16])
{
	const struct ntm_uplink_info *u = n->uplinks;
	uint8_t src[16];

	for (unsigned i = 0; i < n->n_uplinks; i++)
		if (ntm_uplinks_source(&u[i], 1, !ntm_ip_is_v4(ip), src))
			return !ntm_uplinks_have(&u[i], 1, ip) && ntm_uplinks_have(u, n->n_uplinks, ip);
	return false;
}

uint16_t ntm_node_uplink_mtu(const struct ntm_node *n, bool v6)
{
	for (unsigned i = 0; i < n->n_uplinks; i++)
		for (unsigned j = 0; j < n->uplinks[i].n_addrs; j++)
			if (ntm_ip_is_v4(n->uplinks[i].addrs[j]) == !v6)
				return (uint16_t)(n->uplinks[i].dp.mtu > 65535 ? 65535 : n->uplinks[i].dp.mtu);
	return n->n_uplinks && !v6 ? ntm_node_uplink_mtu(n, true) : 0;
}

unsigned ntm_node_candidates(const struct ntm_node *n, struct ntm_candidate out[NTM_CANDIDATES_MAX])
{
	struct ntm_addr seen[NTM_RELAY_OFFERS_MAX];
	unsigned n_seen = ntm_relays_reflexive(n, seen, NTM_CANDIDATES_MAX / 4), count = 0;

	for (unsigned i = 0; i < n->n_uplinks; i++) {
		/* The DC adds one. */
		for (unsigned j = 0; j < n->uplinks[i].n_addrs && count + n_seen < NTM_CANDIDATES_MAX - 1; j++) {
			struct ntm_candidate *c = &out[count++];

			*c = (struct ntm_candidate){.kind = NTM_CAND_HOST, .preference = (uint8_t)(255 - 16 * i)};
			memcpy(c->addr.ip, n->uplinks[i].addrs[j], 16);
			c->addr.port = htons(n->conf.port);
		}
	}
	for (unsigned i = 0; i < n_seen; i++)
		out[count++] = (struct ntm_candidate){.kind = NTM_CAND_REFLEXIVE, .preference = 128, .addr = seen[i]};
	return count;
}

static void uplinks_event(struct ntm_node *n)
{
	json_object *ev = ntm_node_event(n, "uplink");

	if (!ev)
		return;
	json_object_object_add(ev, "uplink", n->n_uplinks ? json_object_new_string(n->uplinks[0].dp.name) : NULL);
	ntm_node_emit(n, ev);
}

void ntm_node_reflexive_changed(struct ntm_node *n)
{
	for (struct ntm_tunnel *t = n->tunnels.all; t; t = t->next_all) {
		if (t->state != NTM_TUN_UP && t->state != NTM_TUN_SILENT)
			continue;
		ntm_bind_now(t);
		ntm_check_trickle(t);
	}
}

bool ntm_node_has_addr(const struct ntm_node *n, const uint8_t ip[16])
{
	for (unsigned i = 0; i < n->n_uplinks; i++)
		for (unsigned j = 0; j < n->uplinks[i].n_addrs; j++)
			if (!memcmp(n->uplinks[i].addrs[j], ip, 16))
				return true;
	return false;
}

/* Interfaces that were uplinks, and are still there: away for a moment, it may be. */
static unsigned park(struct ntm_node *n, const struct ntm_uplink_info *old, unsigned n_old,
		     struct ntm_dp_uplink dp[NTM_UPLINKS_MAX], unsigned count)
{
	struct ntm_dp_uplink was[2 * NTM_UPLINKS_MAX];
	char name[IF_NAMESIZE];
	unsigned n_was = 0;

	for (unsigned i = 0; i < n_old; i++)
		was[n_was++] = old[i].dp;
	for (unsigned i = 0; i < n->n_parked; i++)
		was[n_was++] = n->parked[i];
	n->n_parked = 0;
	for (unsigned i = 0; i < n_was; i++) {
		bool listed = false;

		for (unsigned k = 0; k < count + n->n_parked && !listed; k++)
			listed = dp[k].ifindex == was[i].ifindex;
		if (listed || count + n->n_parked == NTM_UPLINKS_MAX || !if_indextoname(was[i].ifindex, name) ||
		    strcmp(name, was[i].name))
			continue;
		memset(was[i].addr4, 0, sizeof(was[i].addr4));
		memset(was[i].addr6, 0, sizeof(was[i].addr6));
		n->parked[n->n_parked] = dp[count + n->n_parked] = was[i];
		n->n_parked++;
	}
	return count + n->n_parked;
}

void ntm_node_use_uplinks(struct ntm_node *n, const struct ntm_uplink_info *u, unsigned count, bool force)
{
	struct ntm_dp_uplink dp[NTM_UPLINKS_MAX];
	struct ntm_uplink_info old[NTM_UPLINKS_MAX];
	unsigned n_old = n->n_uplinks;
	const char *reason = force ? "asked" : "address";
	char why[256] = "", text[NTM_ADDR_STRLEN];
	int err;

	memcpy(old, n->uplinks, sizeof(old));
	if (!force && count && n_old && old[0].dp.ifindex != u[0].dp.ifindex)
		reason = ntm_proof_nowhere(n, &old[0]) ? "leads nowhere" : "uplink";
	n->n_uplinks = 0;
	for (unsigned i = 0; i < count; i++) {
		unsigned kept = 0;

		n->uplinks[i] = u[i];
		/* An address out of the pools is inside a tunnel, whatever interface has it. */
		for (unsigned j = 0; j < u[i].n_addrs; j++)
			if (!ntm_node_is_virtual(n, u[i].addrs[j])) {
				n->uplinks[i].prefix_len[kept] = u[i].prefix_len[j];
				memcpy(n->uplinks[i].addrs[kept++], u[i].addrs[j], 16);
			}
		n->uplinks[i].n_addrs = kept;
		dp[i] = u[i].dp;
	}
	err = n->dp->ops->set_uplinks(n->dp, dp, park(n, old, n_old, dp, count), why, sizeof(why));
	if (err)
		ntm_err("uplinks: %s", why[0] ? why : strerror(-err));
	n->n_uplinks = count;
	for (unsigned i = 0; i < count; i++) {
		n->uplinks[i].dp.hook = dp[i].hook;
		ntm_info("uplink %s: %s%s, MTU %u", dp[i].name,
			 n->uplinks[i].n_addrs ? ntm_ip_format(n->uplinks[i].addrs[0], text) : "no address",
			 n->userpath                   ? ""
			 : dp[i].hook == NTM_RX_TC     ? ", tc ingress"
			 : dp[i].hook == NTM_RX_NATIVE ? ", native XDP"
						       : ", generic XDP",
			 dp[i].mtu);
	}
	if (!count)
		ntm_warn("no uplink: no interface is up with an address");
	uplinks_event(n);
	if (count && n_old && old[0].dp.ifindex != u[0].dp.ifindex)
		ntm_dc_uplink_changed(&n->dc);
	if (n->ready || force || n->dc.started)
		ntm_mobility_changed(n, old, n_old, force, reason);
}

void ntm_node_set_uplinks(struct ntm_node *n, const struct ntm_uplink_info *u, unsigned count, bool force)
{
	struct ntm_uplink_info order[NTM_UPLINKS_MAX];

	n->mobility.noticed_ns = ntm_timers_ns(&n->timers);
	if (count > NTM_UPLINKS_MAX)
		count = NTM_UPLINKS_MAX;
	if (count)
		memcpy(order, u, count * sizeof(*u));
	if (ntm_proof_order(n, order, count, force))
		return;
	if (force)
		ntm_handoff_stop(n);
	if (force || !ntm_handoff_begin(n, order, count))
		ntm_node_use_uplinks(n, order, count, force);
}

json_object *ntm_node_event(struct ntm_node *n, const char *name)
{
	struct timespec now;
	struct tm tm;
	char text[48];
	json_object *ev;
	size_t len;

	if (!n->on_event)
		return NULL;
	ev = json_object_new_object();
	if (!ev)
		return NULL;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + len, sizeof(text) - len, ".%03ldZ", now.tv_nsec / 1000000);
	json_object_object_add(ev, "event", json_object_new_string(name));
	json_object_object_add(ev, "time", json_object_new_string(text));
	return ev;
}

void ntm_node_emit(struct ntm_node *n, json_object *ev)
{
	if (!ev)
		return;
	if (n->on_event)
		n->on_event(n, ev);
	else
		json_object_put(ev);
}
