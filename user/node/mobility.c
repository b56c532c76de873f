/* SPDX-License-Identifier: BSD-2-Clause */
#include "mobility.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node.h"

enum {
	BURST = 8,           /* moves at once: an address, its route, and the same of the other family, twice */
	MOVE_EVERY_MS = 350, /* in the long run */
	NEWS_BURST = 4,      /* of other addresses than those in use: what they spend is not the moves' */
	NEWS_EVERY_MS = 1000,
	AHEAD = 8, /* paths, of fetching them */
	SHOW = 8,  /* paths: of so many each peer is shown where this host is before any path's other work */
	/*
	 * Paths a step of that other work, which is some five packets each: 25 Mbit/s. All at once would stand before
	 * the packets that show where this host is in every queue on their way.
	 */
	SLICE = 16,
	SLICE_MS = 4,
	MANY = 64,       /* paths: with so many the first repeats would leave before answers can have been read */
	WAY_OUT_MS = 30, /* an address without a route is half of one: the route comes, or the peers are on the link */
	SOFT_MS =
	    20, /* and 1.25 round trips: so long the new uplink has to show what it can, the old one being there */
	OVERDUE_MS = 3,   /* and 1.25 round trips of the route in use: then its answer is late */
	QUIET_MS = 30000, /* after a move: mappings at RSs are bound to be others, and binds are refreshed so often */
};

/* After a move, milliseconds. The first ones are for an RS that has not noted the bind when the packet comes. */
static const uint16_t again_ms[] = {3, 8, 20, 45, 90, 180, 360};

/* LATER: if there are MANY. */
enum { SENDS = sizeof(again_ms) / sizeof(again_ms[0]), UPDATE_AT = 1, LATER = 2, UPDATE_AGAIN_AT = 3 };

static void gather(struct ntm_node *n, bool on)
{
	if (n->net.gather)
		n->net.gather(n->net.arg, on);
}

static void address_events(struct ntm_node *n, const struct ntm_uplink_info *u, unsigned count,
			   const struct ntm_uplink_info *other, unsigned n_other, const char *name)
{
	char text[NTM_ADDR_STRLEN];

	for (unsigned i = 0; i < count; i++) {
		for (unsigned j = 0; j < u[i].n_addrs; j++) {
			json_object *ev =
			    ntm_uplinks_have(other, n_other, u[i].addrs[j]) ? NULL : ntm_node_event(n, name);

			if (!ev)
				continue;
			json_object_object_add(ev, "uplink", json_object_new_string(u[i].dp.name));
			json_object_object_add(ev, "address",
					       json_object_new_string(ntm_ip_format(u[i].addrs[j], text)));
			ntm_node_emit(n, ev);
		}
	}
}

/* Does this host send by another interface, or from another address, than before? */
static bool sends_elsewhere(const struct ntm_node *n, const struct ntm_uplink_info *old, unsigned n_old)
{
	uint8_t was[16], is[16];

	if (!n->n_uplinks != !n_old)
		return true;
	if (n_old && (old[0].dp.ifindex != n->uplinks[0].dp.ifindex || old[0].default4 != n->uplinks[0].default4 ||
		      old[0].default6 != n->uplinks[0].default6))
		return true;
	for (int v6 = 0; v6 < 2; v6++) {
		ntm_uplinks_source(old, n_old, v6, was);
		ntm_uplinks_source(n->uplinks, n->n_uplinks, v6, is);
		if (memcmp(was, is, 16))
			return true;
	}
	return false;
}

/*
 * Through the RS, whatever route is in use. update: that this end has moved, too, for what data does not undo. False:
 * there is no such way, or it is the one in use.
 */
static bool send_by_relay(struct ntm_tunnel *t, bool update)
{
	struct ntm_addr to = ntm_bind_endpoint(t);
	uint8_t out[NTM_CONTROL_MAX], src[16];
	struct ntm_node *n = t->node;
	size_t len;
	int err;

	if (!to.port || t->route.kind == NTM_ROUTE_RELAY)
		return false;
	if (update)
		ntm_ctl_update(t, &to, NTM_CHECK_MOVED);
	err = n->dp->ops->seal(n->dp, t->id, NULL, 0, out, sizeof(out), &len);
	if (!err)
		err = n->net.send(n->net.arg, &to, ntm_node_source(n, &to, src), out, len, NTM_SEND_NORMAL);
	if (err)
		ntm_debug("path %016" PRIx64 ": nothing sent by the relay: %s", t->id, strerror(-err));
	return true;
}

/* In the units of "ms": since the move was heard of. */
static void add_step(json_object *steps, const struct ntm_move *m, const char *name, uint64_t ns)
{
	json_object_object_add(steps, name, json_object_new_double((double)(int64_t)(ns - m->noticed_ns) / 1e6));
}

static bool heard_since(struct ntm_tunnel *t, uint64_t ns)
{
	struct ntm_dp_stats s;

	return t->route_rx_ns > ns || (!t->node->dp->ops->stats(t->node->dp, t->id, &s) && s.last_rx_ns > ns);
}

void ntm_move_heard(struct ntm_tunnel *t)
{
	char text[NTM_ADDR_STRLEN];
	json_object *ev, *steps;
	struct ntm_dp_stats s;
	uint8_t src[16];
	uint64_t now, at = t->move.at_ns;
	bool relayed;

	if (!at || t->node->dp->ops->stats(t->node->dp, t->id, &s))
		return;
	now = ntm_timers_ns(&t->node->timers);
	t->move.last_ms = (double)(now - at) / 1e6;
	ntm_move_stop(t);
	t->move.done++;
	ntm_histogram_observe(&t->node->handover_seconds, t->move.last_ms / 1e3);
	ev = ntm_path_event(t, "handover");
	if (!ev)
		return;
	ntm_node_source(t->node, &s.endpoint, src);
	json_object_object_add(
	    ev, "from",
	    ntm_ip_is_zero(t->move.from) ? NULL : json_object_new_string(ntm_ip_format(t->move.from, text)));
	json_object_object_add(ev, "to", ntm_ip_is_zero(src) ? NULL : json_object_new_string(ntm_ip_format(src, text)));
	json_object_object_add(ev, "ms", json_object_new_double(t->move.last_ms));
	/* What moved the endpoint was heard first; the agent notes the route with the event. */
	relayed = ntm_route_of_endpoint(t, &s.endpoint) == NTM_ROUTE_RELAY;
	json_object_object_add(ev, "via", json_object_new_string(relayed ? "relay" : "direct"));
	json_object_object_add(ev, "reason", json_object_new_string(t->node->mobility.reason));
	steps = json_object_new_object();
	if (steps) {
		add_step(steps, &t->move, "switched", at);
		add_step(steps, &t->move, "told", t->move.told_ns);
		add_step(steps, &t->move, "answered", now);
	}
	json_object_object_add(ev, "steps_ms", steps);
	ntm_node_emit(t->node, ev);
}

/* Has the new uplink had its chance? */
static bool patient(const struct ntm_tunnel *t)
{
	uint64_t ms = (ntm_timers_ns(&t->node->timers) - t->move.at_ns) / 1000000u;

	return (double)ms >= SOFT_MS + 1.25 * t->rtt_ms;
}

static void on_move_timer(void *arg)
{
	struct ntm_tunnel *t = arg;
	struct ntm_move *m = &t->move;
	bool update;

	if (heard_since(t, m->at_ns)) {
		ntm_move_heard(t);
		return;
	}
	if (m->sends >= SENDS || (t->state != NTM_TUN_UP && t->state != NTM_TUN_SILENT))
		return; /* live.c goes on, and says when it was heard of */
	update = m->sends == UPDATE_AT || m->sends >= UPDATE_AGAIN_AT;
	if (!m->soft || patient(t))
		send_by_relay(t, update);
	ntm_path_send(t, NULL, 0, false);
	/* What holds the peer's endpoint is not undone by data; what undoes it may have been lost. */
	if (update) {
		ntm_ctl_update(t, NULL, NTM_CHECK_MOVED);
		/* Where nothing has come back in time, the peer is no longer to stay: what it was told before is void.
		 */
		if (!m->soft && !patient(t))
			ntm_check_tell(t);
	}
	m->sends++;
	if (m->sends < SENDS)
		ntm_timer_arm(&t->node->timers, &m->timer, again_ms[m->sends] - again_ms[m->sends - 1]);
}

/*
 * For an answer by the direct route that was in use before. With the old uplink there, what is slow by the new one is
 * no reason to leave it.
 */
static bool waits(const struct ntm_tunnel *t)
{
	return t->move.at_ns && !t->move.soft && t->route.kind != NTM_ROUTE_RELAY && t->route.moved_ns < t->move.at_ns;
}

/*
 * The peer's NAT or firewall lets nothing in from here, it seems. It has been told through the RS; data need not wait
 * until its answer has come by that way, too. What does come directly after all moves the endpoint back.
 */
static void on_overdue_timer(void *arg)
{
	struct ntm_tunnel *t = arg;
	struct ntm_addr to = ntm_check_working(t, t->move.at_ns);

	if (!waits(t) || t->state != NTM_TUN_UP || heard_since(t, t->move.at_ns))
		return;
	if (!to.port && t->bind.peer)
		to = ntm_bind_endpoint(t);
	if (!to.port)
		return;
	if (!ntm_route_set(t, &to, 0, "moved"))
		ntm_path_send(t, NULL, 0, false);
}

void ntm_move_bound(struct ntm_tunnel *t, double ms, double before_ms)
{
	struct ntm_move *m = &t->move;
	/* The peer was asked when the RS was. */
	double left_ms = OVERDUE_MS + 1.25 * t->rtt_ms + (before_ms > 0 && ms > before_ms ? ms - before_ms : 0) - ms;

	if (waits(t))
		ntm_timer_arm(&t->node->timers, &m->overdue_timer, left_ms > 0 ? (uint64_t)left_ms : 0);
}

static void move_path(struct ntm_tunnel *t)
{
	struct ntm_node *n = t->node;
	bool shown = t->move.shown_in == n->mobility.round, again = !shown;
	struct ntm_dp_stats s;

	if ((t->state != NTM_TUN_UP && t->state != NTM_TUN_SILENT) || n->dp->ops->stats(n->dp, t->id, &s))
		return;
	t->move.soft = n->mobility.soft && (!t->move.at_ns || t->move.soft);
	if (!t->move.at_ns)
		memcpy(t->move.from, ntm_ip_is_v4(s.endpoint.ip) ? n->mobility.from4 : n->mobility.from6, 16);
	t->move.at_ns = n->mobility.moved_ns;
	t->move.noticed_ns = n->mobility.move_noticed_ns;
	if (!shown)
		t->move.told_ns = ntm_timers_ns(&n->timers);
	t->move.sends = n->mobility.n_queue > MANY && t->route.kind != NTM_ROUTE_RELAY ? LATER : 0;
	ntm_timer_arm(&n->timers, &t->move.timer, again_ms[t->move.sends]);
	ntm_route_release(t);
	ntm_route_rtt_anew(t);
	if (!shown || t->route.kind != NTM_ROUTE_RELAY)
		ntm_bind_moved(t);
	t->move.family_lost = !ntm_node_has_family(n, !ntm_ip_is_v4(s.endpoint.ip));
	if (t->move.family_lost) {
		ntm_live_unreachable(t);
		return;
	}
	/* With the old uplink there, a way round that the peer's packets would follow is no help. */
	if (!t->move.soft)
		again |= send_by_relay(t, true);
	if (again)
		ntm_path_send(t, NULL, 0, false);
	ntm_check_trickle(t);
	if (!t->move.soft)
		ntm_check_tell(t);
	ntm_live_moved(t);
	ntm_pmtu_recheck(t);
}

static void on_pace_timer(void *arg)
{
	struct ntm_node *n = arg;
	struct ntm_mobility *m = &n->mobility;

	gather(n, true);
	for (unsigned i = 0; i < SLICE && m->next < m->n_queue; i++) {
		struct ntm_tunnel *t = ntm_tunnel_by_id(n, m->queue[m->next++]);

		if (t)
			move_path(t);
	}
	gather(n, false);
	if (m->next < m->n_queue) {
		ntm_timer_arm(&n->timers, &m->pace_timer, SLICE_MS);
		return;
	}
	free(m->queue);
	m->queue = NULL;
	m->n_queue = m->next = 0;
}

struct use {
	uint64_t data_ns; /* here, too: sorting does not go to each path again */
	struct ntm_tunnel *t;
};

static int by_use(const void *pa, const void *pb)
{
	const struct use *a = pa, *b = pb;

	return a->data_ns < b->data_ns ? 1 : -(a->data_ns > b->data_ns);
}

/*
 * Of several paths first one packet each, which is what the peers' data planes follow: everything else that a move
 * takes would make the last of a thousand wait for long. RSs have to hear of the address before what they pass on.
 */
static void show_all(struct ntm_node *n, const struct use *all, size_t count)
{
	if (count < SHOW)
		return;
	gather(n, true);
	for (size_t i = 0; i < count; i++) {
		if (i + AHEAD < count) {
			/* A thousand paths are more than a cache holds: the next come while these are worked on. */
			__builtin_prefetch(&all[i + AHEAD].t->route);
			__builtin_prefetch(&all[i + AHEAD].t->move, 1);
		}
		if (all[i].t->state == NTM_TUN_UP && all[i].t->route.kind == NTM_ROUTE_RELAY)
			ntm_bind_moved(all[i].t);
	}
	for (size_t i = 0; i < count; i++) {
		struct ntm_tunnel *t = all[i].t;

		if (t->state != NTM_TUN_UP || ntm_path_send(t, NULL, 0, false))
			continue;
		t->move.shown_in = n->mobility.round;
		t->move.told_ns = ntm_timers_ns(&n->timers);
	}
	gather(n, false);
}

static void move_all(struct ntm_node *n)
{
	struct ntm_mobility *m = &n->mobility;
	struct use *all = calloc(n->tunnels.n + 1, sizeof(*all));
	uint64_t *ids = calloc(n->tunnels.n + 1, sizeof(*ids));
	struct ntm_tunnel *t, *next;
	size_t count = 0;

	m->round++;
	if (!all || !ids) {
		/* Unordered and unpaced is better than not at all. */
		free(all);
		free(ids);
		for (t = n->tunnels.all; t; t = next) {
			next = t->next_all;
			move_path(t);
		}
		return;
	}
	for (t = n->tunnels.all; t && count < n->tunnels.n; t = t->next_all)
		all[count++] = (struct use){t->last_data_ns, t};
	qsort(all, count, sizeof(*all), by_use);
	for (size_t i = 0; i < count; i++)
		ids[i] = all[i].t->id;
	free(m->queue);
	m->queue = ids;
	m->n_queue = count;
	m->next = 0;
	show_all(n, all, count);
	free(all);
	on_pace_timer(n);
}

static void tell_candidates(struct ntm_node *n)
{
	for (struct ntm_tunnel *t = n->tunnels.all; t; t = t->next_all) {
		if (t->state != NTM_TUN_UP && t->state != NTM_TUN_SILENT)
			continue;
		ntm_check_trickle(t);
		ntm_pmtu_recheck(t);
	}
}

/* Says everything that has changed since the last time. */
static void tell(struct ntm_node *n)
{
	struct ntm_mobility *m = &n->mobility;
	bool moved = m->moved;

	m->deferred = m->moved = false;
	m->moves++;
	/* The DC first: peers that must be reached anew are asked of it with the new addresses known there. */
	ntm_dc_reregister(&n->dc);
	if (moved)
		move_all(n);
	else
		tell_candidates(n);
	ntm_relays_measure(n);
	ntm_mapping_restart(n);
}

/* Takes one of `burst` at once, later one each `every`. Returns 0, or in how many ms there is one. */
static uint64_t take(uint64_t *used_ms, uint64_t now, unsigned burst, unsigned every)
{
	uint64_t most = (burst - 1) * (uint64_t)every;

	if (*used_ms < now)
		*used_ms = now;
	if (*used_ms - now > most)
		return *used_ms - now - most;
	*used_ms += every;
	return 0;
}

static void tell_in_time(struct ntm_node *n)
{
	struct ntm_mobility *m = &n->mobility;
	uint64_t now = ntm_timers_ms(&n->timers);
	uint64_t wait = m->moved ? take(&m->moves_used_ms, now, BURST, MOVE_EVERY_MS)
				 : take(&m->news_used_ms, now, NEWS_BURST, NEWS_EVERY_MS);

	if (wait) {
		if (!m->deferred)
			m->held_back++;
		m->deferred = true;
		ntm_timer_arm(&n->timers, &m->defer_timer, wait);
		return;
	}
	ntm_timer_stop(&n->timers, &m->defer_timer);
	tell(n);
}

static void on_defer_timer(void *arg)
{
	struct ntm_node *n = arg;

	if (n->mobility.deferred && n->n_uplinks)
		tell_in_time(n);
}

/* Nothing that would have gone is as good as there. */
static bool is_there(const struct ntm_node *n, const uint8_t ip[16])
{
	return ntm_ip_is_zero(ip) || ntm_uplinks_have(n->uplinks, n->n_uplinks, ip);
}

static bool way_out(const struct ntm_uplink_info *u, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (u[i].default4 || u[i].default6)
			return true;
	return false;
}

/*
 * From where to where is asked for the whole of a move, which may come in several changes: the address went, another
 * one came, and then its route. What came in between was never sent from, and that it is still there says nothing.
 */
static void note_move(struct ntm_node *n, const struct ntm_uplink_info *old, unsigned n_old, bool soft,
		      const char *reason)
{
	struct ntm_mobility *m = &n->mobility;
	uint8_t from4[16], from6[16];

	ntm_uplinks_source(old, n_old, false, from4);
	ntm_uplinks_source(old, n_old, true, from6);
	/* Kept while there is none. */
	if (!m->moved || ntm_ip_is_zero(m->from4))
		memcpy(m->from4, ntm_ip_is_zero(from4) ? m->from4 : from4, 16);
	if (!m->moved || ntm_ip_is_zero(m->from6))
		memcpy(m->from6, ntm_ip_is_zero(from6) ? m->from6 : from6, 16);
	m->soft = soft && n_old && is_there(n, from4) && is_there(n, from6) && (!m->moved || m->soft) &&
		  !ntm_proof_nowhere(n, &old[0]);
	m->moved = true;
	m->moved_ns = ntm_timers_ns(&n->timers);
	m->move_noticed_ns = m->noticed_ns;
	snprintf(m->reason, sizeof(m->reason), "%s", reason);
}

void ntm_mobility_changed(struct ntm_node *n, const struct ntm_uplink_info *old, unsigned n_old, bool force,
			  const char *reason)
{
	struct ntm_mobility *m = &n->mobility;
	/* The same list again: the caller knows of something that isn't in it. */
	bool same = n_old == n->n_uplinks && !memcmp(old, n->uplinks, n_old * sizeof(*old));
	bool moved = force || same || sends_elsewhere(n, old, n_old);

	m->changes++;
	ntm_copies_changed(n, old, n_old);
	address_events(n, old, n_old, n->uplinks, n->n_uplinks, "address_gone");
	address_events(n, n->uplinks, n->n_uplinks, old, n_old, "address_usable");
	if (moved)
		note_move(n, old, n_old, !force && !same, reason);
	if (!n->n_uplinks) {
		/* Nobody could hear it; what comes next is a move. */
		m->deferred = false;
		ntm_timer_stop(&n->timers, &m->defer_timer);
		return;
	}
	if (!force && !way_out(n->uplinks, n->n_uplinks)) {
		m->deferred = true;
		ntm_timer_arm(&n->timers, &m->defer_timer, WAY_OUT_MS);
		return;
	}
	tell_in_time(n);
}

void ntm_mobility_mapped_anew(struct ntm_node *n)
{
	struct ntm_mobility *m = &n->mobility;
	uint64_t now = ntm_timers_ns(&n->timers);

	/* Every path's bind says so, and those after a move were bound to. */
	if (now - m->moved_ns < QUIET_MS * 1000000ull)
		return;
	m->changes++;
	m->moved = true;
	m->soft = false;
	m->move_noticed_ns = m->moved_ns = now;
	snprintf(m->reason, sizeof(m->reason), "mapping");
	tell_in_time(n);
}

json_object *ntm_mobility_status(const struct ntm_node *n)
{
	const struct ntm_mobility *m = &n->mobility;
	json_object *o = json_object_new_object();

	if (!o)
		return NULL;
	json_object_object_add(o, "changes", json_object_new_int64((int64_t)m->changes));
	json_object_object_add(o, "moves", json_object_new_int64((int64_t)m->moves));
	json_object_object_add(o, "held_back", json_object_new_int64((int64_t)m->held_back));
	json_object_object_add(o, "deferred", json_object_new_boolean(m->deferred));
	json_object_object_add(o, "bound_first", json_object_new_int64((int64_t)n->handoff.early));
	json_object_object_add(o, "bound_in_vain", json_object_new_int64((int64_t)n->handoff.unanswered));
	json_object_object_add(o, "asked", json_object_new_int64((int64_t)n->proof.questions));
	json_object_object_add(o, "passed_over", json_object_new_int64((int64_t)n->proof.passed_over));
	json_object_object_add(o, "taken_back", json_object_new_int64((int64_t)n->proof.taken_back));
	return o;
}

void ntm_mobility_init(struct ntm_node *n)
{
	ntm_timer_init(&n->mobility.defer_timer, on_defer_timer, n);
	ntm_timer_init(&n->mobility.pace_timer, on_pace_timer, n);
}

void ntm_mobility_stop(struct ntm_node *n)
{
	ntm_timer_stop(&n->timers, &n->mobility.defer_timer);
	ntm_timer_stop(&n->timers, &n->mobility.pace_timer);
	free(n->mobility.queue);
	n->mobility.queue = NULL;
	n->mobility.n_queue = n->mobility.next = 0;
}

/* What answers by the RS says nothing about where the peer's data goes, which may be held where it is lost. */
static void on_stay_timer(void *arg)
{
	struct ntm_tunnel *t = arg;

	if (t->state == NTM_TUN_UP && t->route.kind == NTM_ROUTE_RELAY)
		ntm_ctl_update(t, NULL, NTM_CHECK_MOVED);
}

void ntm_move_told(struct ntm_tunnel *t)
{
	ntm_timer_arm(&t->node->timers, &t->move.stay_timer, SOFT_MS + (uint64_t)(1.25 * t->rtt_ms));
}

void ntm_move_init_timer(struct ntm_tunnel *t)
{
	ntm_timer_init(&t->move.timer, on_move_timer, t);
	ntm_timer_init(&t->move.overdue_timer, on_overdue_timer, t);
	ntm_timer_init(&t->move.stay_timer, on_stay_timer, t);
}

void ntm_move_stop(struct ntm_tunnel *t)
{
	ntm_timer_stop(&t->node->timers, &t->move.timer);
	ntm_timer_stop(&t->node->timers, &t->move.overdue_timer);
	t->move.at_ns = 0;
}

void ntm_move_free(struct ntm_tunnel *t)
{
	ntm_move_stop(t);
	ntm_timer_stop(&t->node->timers, &t->move.stay_timer);
}
