/* SPDX-License-Identifier: BSD-2-Clause */
/* What route a path takes now, and changes of it. */
#include "route.h"

#include <inttypes.h>
#include <string.h>

#include "node.h"

const char *ntm_route_kind_name(enum ntm_route_kind k)
{
	static const char *const names[] = {
	    [NTM_ROUTE_NONE] = "none", [NTM_ROUTE_RELAY] = "relay", [NTM_ROUTE_PUNCHED] = "punched",
	    [NTM_ROUTE_IPV4] = "ipv4", [NTM_ROUTE_IPV6] = "ipv6",   [NTM_ROUTE_LAN] = "lan",
	};

	return names[k];
}

const char *ntm_route_name(const struct ntm_tunnel *t)
{
	return t->route.kind == NTM_ROUTE_RELAY ? "relay" : "direct";
}

const char *ntm_route_relay(const struct ntm_tunnel *t)
{
	return t->route.kind == NTM_ROUTE_RELAY ? ntm_bind_name(t) : NULL;
}

static bool same_prefix(const uint8_t a[16], const uint8_t b[16], unsigned len)
{
	unsigned whole = len / 8;

	return !memcmp(a, b, whole) && (len % 8 == 0 || !((a[whole] ^ b[whole]) >> (8 - len % 8)));
}

static bool on_own_prefix(const struct ntm_node *n, const uint8_t ip[16])
{
	for (unsigned i = 0; i < n->n_uplinks; i++) {
		const struct ntm_uplink_info *u = &n->uplinks[i];

		for (unsigned j = 0; j < u->n_addrs; j++) {
			if (u->prefix_len[j] && ntm_ip_is_v4(ip) == ntm_ip_is_v4(u->addrs[j]) &&
			    same_prefix(ip, u->addrs[j], u->prefix_len[j]))
				return true;
		}
	}
	return false;
}

/* RFC 1918, RFC 6598 */
static bool is_private4(const uint8_t ip[16])
{
	const uint8_t *a = ip + 12;

	return a[0] == 10 || (a[0] == 172 && (a[1] & 0xf0) == 16) || (a[0] == 192 && a[1] == 168) ||
	       (a[0] == 100 && (a[1] & 0xc0) == 64);
}

/* Does the world see the peer at an address at which it sees us? */
static bool same_nat(const struct ntm_tunnel *t)
{
	struct ntm_addr own[NTM_RELAY_OFFERS_MAX];
	unsigned n_own = ntm_relays_reflexive(t->node, own, NTM_RELAY_OFFERS_MAX);

	for (unsigned i = 0; i < t->checks.n_pairs; i++)
		for (unsigned j = 0; j < n_own && t->checks.pairs[i].cand == NTM_CAND_REFLEXIVE; j++)
			if (!memcmp(t->checks.pairs[i].addr.ip, own[j].ip, 16))
				return true;
	return false;
}

enum ntm_route_kind ntm_route_kind_of(const struct ntm_tunnel *t, const struct ntm_addr *a, uint8_t cand)
{
	if (!a->port)
		return NTM_ROUTE_NONE;
	if (ntm_bind_is_relay(t, a))
		return NTM_ROUTE_RELAY;
	/* Only a check shows that it is the peer that lives there. */
	if (on_own_prefix(t->node, a->ip))
		return NTM_ROUTE_LAN;
	if (!ntm_ip_is_v4(a->ip))
		return NTM_ROUTE_IPV6;
	if (cand != NTM_CAND_HOST)
		return NTM_ROUTE_PUNCHED;
	return is_private4(a->ip) && same_nat(t) ? NTM_ROUTE_LAN : NTM_ROUTE_IPV4;
}

enum ntm_route_kind ntm_route_of_endpoint(struct ntm_tunnel *t, const struct ntm_addr *a)
{
	for (unsigned i = 0; i < t->checks.n_pairs; i++)
		if (ntm_addr_equal(&t->checks.pairs[i].addr, a))
			return ntm_route_kind_of(t, a, t->checks.pairs[i].cand);
	return ntm_route_kind_of(t, a, 0);
}

bool ntm_route_held(const struct ntm_tunnel *t)
{
	return ntm_timers_ms(&t->node->timers) < t->route.hold_until_ms;
}

static void changed_event(struct ntm_tunnel *t, enum ntm_route_kind from, const char *reason, uint64_t ms)
{
	json_object *ev = ntm_path_event(t, "route_changed");
	const char *relay = ntm_route_relay(t);

	if (!ev)
		return;
	json_object_object_add(ev, "from", json_object_new_string(ntm_route_kind_name(from)));
	json_object_object_add(ev, "to", json_object_new_string(ntm_route_kind_name(t->route.kind)));
	json_object_object_add(ev, "relay", relay ? json_object_new_string(relay) : NULL);
	json_object_object_add(ev, "reason", json_object_new_string(reason));
	json_object_object_add(ev, "ms", json_object_new_int64((int64_t)ms));
	ntm_node_emit(t->node, ev);
}

void ntm_route_note(struct ntm_tunnel *t, const struct ntm_addr *a)
{
	t->route.endpoint = *a;
	t->route.kind = ntm_route_of_endpoint(t, a);
}

void ntm_route_rtt_anew(struct ntm_tunnel *t)
{
	t->route.rtt_since_ns = ntm_timers_ns(&t->node->timers);
	t->route.rtt_former = true;
}

void ntm_route_rtt(struct ntm_tunnel *t, uint64_t sent_ns, double ms)
{
	if (sent_ns < t->route.rtt_since_ns)
		return;
	t->rtt_ms = t->rtt_ms > 0 && !t->route.rtt_former ? t->rtt_ms * 0.875 + ms * 0.125 : ms;
	t->route.rtt_former = false;
}

void ntm_route_moved(struct ntm_tunnel *t, const struct ntm_addr *a, const char *reason)
{
	enum ntm_route_kind from = t->route.kind;
	char text[NTM_ADDR_STRLEN], ep[NTM_ADDR_STRLEN];
	uint64_t now = ntm_timers_ms(&t->node->timers), lasted = now - t->route.since_ms;

	t->route.dead = t->route.urgent = false;
	t->route_rx_ns = 0;
	t->unanswered_ns = 0;
	ntm_route_note(t, a);
	t->route.moved_ns = ntm_timers_ns(&t->node->timers);
	ntm_route_rtt_anew(t);
	if (t->state == NTM_TUN_UP || t->state == NTM_TUN_SILENT)
		ntm_pmtu_recheck(t);
	if (t->route.kind == from)
		return;
	t->route.since_ms = now;
	t->route.changes++;
	ntm_info("path to %s: %s instead of %s, %s: %s", ntm_tunnel_label(t, text), ntm_route_kind_name(t->route.kind),
		 ntm_route_kind_name(from), ntm_addr_format(a, ep), reason);
	changed_event(t, from, reason, lasted);
	ntm_check_later(t);
}

void ntm_route_release(struct ntm_tunnel *t)
{
	struct ntm_dp *dp = t->node->dp;
	struct ntm_dp_stats s;

	if (!ntm_route_held(t) || dp->ops->stats(dp, t->id, &s) || dp->ops->set_endpoint(dp, t->id, &s.endpoint, 0))
		return;
	t->route.hold_until_ms = 0;
}

int ntm_route_set(struct ntm_tunnel *t, const struct ntm_addr *a, uint32_t hold_ms, const char *reason)
{
	enum ntm_route_kind before = t->route.kind;
	struct ntm_node *n = t->node;
	struct ntm_dp_stats s;
	int err = n->dp->ops->stats(n->dp, t->id, &s);

	if (!err)
		err = n->dp->ops->set_endpoint(n->dp, t->id, a, hold_ms);
	if (err) {
		ntm_warn("path %016" PRIx64 ": endpoint not set: %s", t->id, strerror(-err));
		return err;
	}
	t->route.hold_until_ms = hold_ms ? ntm_timers_ms(&n->timers) + hold_ms : 0;
	if (ntm_addr_equal(&s.endpoint, a))
		return 0;
	ntm_route_moved(t, a, reason);
	/* Another address of the same kind: the peer has moved, and a check was there before its data. */
	if (t->route.kind == before)
		t->move.followed++;
	return 0;
}

bool ntm_route_fall_back(struct ntm_tunnel *t, uint64_t since_ns)
{
	struct ntm_addr to = ntm_check_working(t, since_ns);

	if (!to.port && t->route.kind != NTM_ROUTE_RELAY && t->route.relay_heard_ns >= since_ns)
		to = ntm_bind_endpoint(t);
	if (!to.port || ntm_route_set(t, &to, 0, "silent"))
		return false;
	/* The peer's endpoint follows the first authentic packet that comes this way, unless something holds it. */
	ntm_ctl_update(t, NULL, NTM_CHECK_MOVED);
	ntm_path_send(t, NULL, 0, false);
	ntm_ctl_probe(t, NTM_PROBE_LIVE, NTM_M_KEEP_ALIVE, 0, NULL);
	return true;
}
