/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Does the peer still answer? One timer a path looks, on a common grid, at what the kernel counted: each 100 ms while
 * there is traffic, each second if there was none for a while.
 *
 * - nothing sent for as long as a NAT keeps a mapping: KEEP_ALIVE, whose answer is the proof of life;
 * - packets sent, but nothing authenticated came for 300 ms (more if the round trip is long): the same, at once, and
 *   with its first resend checks to the peer's other addresses and through the RS, and questions whether it is the
 *   uplink (uplink_proof.h);
 * - three of them unanswered, so within a second of the first packet: the best other route that answered is taken. If
 *   there is none, the path is silent. If there is traffic, a new direction is asked for (the silent path stays until
 *   the new one is up); it is probed again with back-off up to 30 s;
 * - initiator, keys older than 120 s: a handshake;
 * - superseded for 3 s and unused by the peer as long, or no traffic for an hour: released.
 */
#include <inttypes.h>
#include <string.h>

#include "node.h"

enum {
	TICK_ACTIVE_MS = 100,
	TICK_GRID_MS = 250, /* of the others: many paths share a wake-up */
	TICK_RECENT_MS = 250,
	TICK_IDLE_MS = 1000,
	ACTIVE_S = 2,
	DOUBT_MS = 300,
	PROBE_MS = 180,
	WAIT_MAX_MS = 1000, /* for long round trips */
	LATE_S = 5,         /* a keep-alive of the peer's may be so late */
	PROBES = 3,
	BACKOFF_MIN_MS = 1000,
	BACKOFF_MAX_MS = 30000,
	IDLE_RELEASE_S = 3600,
	AGENT_S = 150,      /* keep-alives of an idle path are closer together */
	RECENT_S = 60,      /* traffic in this time: worth a new path before anybody asks */
	LANE_LOST_MS = 200, /* of the bulk lane being down, before new keys are made for its sake */
	LANE_REKEY_S = 1,
	LANE_TRIES = 3, /* then: */
	LANE_REKEY_MAX_S = 30,
	JITTER_MS = 8192, /* spreads rekeying after a restart */
};

static const uint64_t second = 1000000000u;

static uint64_t now_ns(const struct ntm_tunnel *t)
{
	return ntm_timers_ns(&t->node->timers);
}

static uint64_t latest(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t since(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

static uint64_t backoff(const struct ntm_tunnel *t, uint64_t ms)
{
	uint64_t most = ntm_live_wanted(t) ? NTM_WANTED_MS : BACKOFF_MAX_MS;

	ms = ms ? 2 * ms : BACKOFF_MIN_MS;
	return ms > most ? most : ms;
}

/* At least ms, and time for an answer. */
static uint64_t patience_ms(const struct ntm_tunnel *t, uint64_t ms)
{
	uint64_t rtt = (uint64_t)(1.25 * t->rtt_ms) + 50;

	if (rtt > WAIT_MAX_MS)
		rtt = WAIT_MAX_MS;
	return rtt > ms ? rtt : ms;
}

bool ntm_live_recent(const struct ntm_tunnel *t)
{
	return since(now_ns(t), t->last_data_ns) < RECENT_S * second;
}

bool ntm_live_wanted(const struct ntm_tunnel *t)
{
	return t->state == NTM_TUN_SILENT && !t->peer_offline && since(now_ns(t), t->last_data_ns) < 5 * second;
}

bool ntm_live_agent_answers(const struct ntm_tunnel *t)
{
	return t->ctl_rx_ns && since(now_ns(t), t->ctl_rx_ns) < AGENT_S * second;
}

/* The peer's VIP6 is the name that never changes. */
static void redirect(struct ntm_tunnel *t)
{
	uint64_t now = now_ns(t) / 1000000u;

	if (now < t->redirect_next_ms)
		return;
	t->redirect_backoff_ms = backoff(t, t->redirect_backoff_ms);
	t->redirect_next_ms = now + t->redirect_backoff_ms;
	t->redirected = true;
	if (t->gateway)
		ntm_direct_gateway_stale(t->node, t->id);
	else
		ntm_direct(t->node, NULL, t->vip6, t->id, NULL, NULL);
}

void ntm_live_redirect(struct ntm_tunnel *t)
{
	redirect(t);
}

static void gone_silent(struct ntm_tunnel *t)
{
	char text[NTM_ADDR_STRLEN];

	t->live_tries = 0;
	t->route.urgent = false;
	if (t->state == NTM_TUN_UP) {
		t->state = NTM_TUN_SILENT;
		ntm_info("path to %s: the peer does not answer", ntm_tunnel_label(t, text));
		ntm_gwclient_changed(t->node);
	}
	t->live_backoff_ms = backoff(t, t->live_backoff_ms);
	ntm_timer_arm(&t->node->timers, &t->live_timer, t->live_backoff_ms);
	if (since(now_ns(t), t->last_data_ns) < 5 * second)
		redirect(t);
}

void ntm_live_probe_relay(struct ntm_tunnel *t)
{
	struct ntm_addr relay = ntm_bind_endpoint(t);
	uint32_t txid = 0;

	if ((t->live_tries > 1 || t->route.dead || t->route.urgent) && relay.port && t->route.kind != NTM_ROUTE_RELAY)
		ntm_ctl_check(t, &relay, 0, &txid);
}

static void send_probe(struct ntm_tunnel *t)
{
	if (t->live_tries == 0)
		t->live_since_ns = now_ns(t);
	t->live_tries++;
	ntm_ctl_probe(t, NTM_PROBE_LIVE, NTM_M_KEEP_ALIVE, 0, NULL);
	/* The first is answered most times: whoever only sends is asked often. With the second, the other routes are,
	 * so that it is known by the time of the third which of them work. */
	if (t->live_tries > 1 || t->route.dead || t->route.urgent) {
		ntm_bind_now(t);
		ntm_live_probe_relay(t);
	}
	if (t->live_tries == 2) {
		ntm_check_start(t, true);
		ntm_proof_doubt(t->node);
	}
	ntm_timer_arm(&t->node->timers, &t->live_timer, patience_ms(t, t->route.urgent ? 0 : PROBE_MS));
}

/* Heard of since probing began, by the kernel or by the agent, over the route in use? */
static bool heard(struct ntm_tunnel *t)
{
	struct ntm_dp_stats s;

	if (t->node->dp->ops->stats(t->node->dp, t->id, &s))
		return false;
	return latest(s.last_rx_ns, t->route_rx_ns) > t->live_since_ns;
}

static void on_live_timer(void *arg)
{
	struct ntm_tunnel *t = arg;

	if (t->live_tries && heard(t)) {
		ntm_live_heard(t);
		return;
	}
	/* After a move whatever answered first is taken, better ones are sought from there. */
	if (t->live_tries < PROBES && !(t->route.urgent && ntm_route_fall_back(t, t->live_since_ns)))
		send_probe(t);
	else if (t->live_tries < PROBES)
		t->live_tries = 0;
	else if (ntm_route_fall_back(t, t->live_since_ns))
		t->live_tries = 0;
	else
		gone_silent(t);
}

void ntm_live_probe(struct ntm_tunnel *t)
{
	if (t->live_tries == 0)
		send_probe(t);
}

void ntm_live_moved(struct ntm_tunnel *t)
{
	t->route.urgent = true;
	t->live_tries = 0;
	send_probe(t);
}

void ntm_live_heard(struct ntm_tunnel *t)
{
	char text[NTM_ADDR_STRLEN];

	t->route.urgent = t->route.dead = false;
	ntm_move_heard(t);
	ntm_timer_stop(&t->node->timers, &t->live_timer);
	t->live_tries = 0;
	t->unanswered_ns = 0;
	t->live_backoff_ms = 0;
	t->redirect_backoff_ms = 0;
	if (t->state == NTM_TUN_SILENT) {
		t->state = NTM_TUN_UP;
		ntm_info("path to %s: the peer answers again", ntm_tunnel_label(t, text));
		ntm_gwclient_changed(t->node);
	}
}

void ntm_live_unreachable(struct ntm_tunnel *t)
{
	struct ntm_addr relay = ntm_bind_endpoint(t);

	/* Where the RS can be reached there is nothing to lose: it has just been told of this end. */
	if (relay.port && !ntm_route_set(t, &relay, 0, "no uplink of its family")) {
		ntm_path_send(t, NULL, 0, false);
		ntm_check_trickle(t);
		/* Which of the peer's addresses answers is known a round trip later: it can send here before that. */
		ntm_check_tell(t);
		ntm_live_moved(t);
		return;
	}
	/* Another address of the peer's is one round trip away. */
	t->route.dead = true;
	ntm_check_start(t, true);
	if (t->checks.round) {
		ntm_check_tell(t);
		ntm_live_moved(t);
		return;
	}
	if (since(now_ns(t), t->last_data_ns) < RECENT_S * second)
		redirect(t);
}

void ntm_live_expired(struct ntm_tunnel *t)
{
	t->last_data_ns = now_ns(t);
	if (t->state == NTM_TUN_UP || t->state == NTM_TUN_SILENT)
		redirect(t);
}

/* True: t is gone. */
static bool end_old(struct ntm_tunnel *t, const struct ntm_dp_stats *s, uint64_t now)
{
	const uint64_t grace = NTM_EPOCH_GRACE_S * second;

	if (since(now / 1000000u, t->old_since_ms) < NTM_EPOCH_GRACE_S * 1000u)
		return false;
	/* The peer may have chosen this one of two; it keeps it alive by using it. */
	if (s->rx_packets != t->seen_rx_packets || since(now, s->last_rx_ns) < grace)
		return false;
	ntm_path_end(t, NTM_PATH_END_TELL_PEER, "superseded");
	return true;
}

void ntm_live_lane(struct ntm_tunnel *t, bool up)
{
	json_object *ev = ntm_path_event(t, "lane");

	t->lane_lost_ms = up ? 0 : now_ns(t) / 1000000u;
	t->lane_tries = up ? 0 : t->lane_tries;
	if (ev) {
		json_object_object_add(ev, "lane", json_object_new_string(up ? "bulk" : "kernel"));
		ntm_node_emit(t->node, ev);
	}
}

/*
 * Bulk keys are in agents' memory only: a peer that answers, but not on the bulk lane, is one that was restarted, and
 * so is this one where it has none.
 */
static bool lacks_bulk_keys(struct ntm_tunnel *t, const struct ntm_dp_stats *s, uint64_t now)
{
	uint64_t now_ms = now / 1000000u;

	if (!t->node->dp->suites || s->bulk || since(now, t->last_data_ns) >= ACTIVE_S * second)
		return false;
	if (!s->bulk_suite)
		return t->adopted;
	return t->lane_lost_ms && since(now_ms, t->lane_lost_ms) >= LANE_LOST_MS;
}

static void rekey_if_due(struct ntm_tunnel *t, const struct ntm_dp_stats *s, uint64_t now)
{
	const struct ntm_path_agent *rec = t->node->dp->ops->agent_record(t->node->dp, t->id);
	uint64_t due = NTM_REKEY_AFTER_S * second + t->id % JITTER_MS * 1000000u;

	if (!rec || t->role != NTM_ROLE_INITIATOR || t->hs || now / 1000000u < t->hs_next_ms)
		return;
	if (since(now, rec->epoch_ns) >= due || s->tx_counter > NTM_COUNTER_LIMIT / 2)
		ntm_hs_start(t);
	else if (t->state == NTM_TUN_UP && lacks_bulk_keys(t, s, now) &&
		 since(now, rec->epoch_ns) >= (t->lane_tries < LANE_TRIES ? LANE_REKEY_S : LANE_REKEY_MAX_S) * second) {
		t->lane_tries++;
		ntm_hs_start(t);
	}
}

/* Since when has there been no answer to what was sent? */
static void note_unanswered(struct ntm_tunnel *t, const struct ntm_dp_stats *s, uint64_t rx, bool sent)
{
	bool fine = since(now_ns(t), t->last_tick_ns) <= 2 * TICK_RECENT_MS * 1000000ull;

	if (t->unanswered_ns && rx > t->unanswered_ns)
		t->unanswered_ns = 0;
	/* Between two looks the first of the packets is not known: the earliest moment, or the latest after a long
	 * pause. */
	if (sent && !t->unanswered_ns && s->last_tx_ns >= rx)
		t->unanswered_ns = fine ? latest(rx, t->last_tick_ns) : s->last_tx_ns;
}

static uint64_t next_tick_ms(const struct ntm_tunnel *t, uint64_t now)
{
	uint64_t idle = since(now, t->last_data_ns);

	if (t->unanswered_ns || idle < ACTIVE_S * second)
		return TICK_ACTIVE_MS;
	return idle < RECENT_S * second ? TICK_RECENT_MS : TICK_IDLE_MS;
}

static void on_tick(void *arg)
{
	struct ntm_tunnel *t = arg;
	struct ntm_dp_stats s;
	uint64_t now = now_ns(t), rx, tx, keepalive, tick;
	bool sent, received;

	if (t->node->dp->ops->stats(t->node->dp, t->id, &s))
		return;
	sent = s.tx_packets != t->seen_tx_packets;
	received = s.rx_packets != t->seen_rx_packets;
	if (t->state == NTM_TUN_OLD && end_old(t, &s, now))
		return;
	t->seen_tx_packets = s.tx_packets;
	t->seen_rx_packets = s.rx_packets;
	rx = latest(s.last_rx_ns, t->route_rx_ns);
	note_unanswered(t, &s, rx, sent);
	if (sent || received)
		t->last_data_ns = now;
	t->last_tick_ns = now;
	tick = next_tick_ms(t, now);
	ntm_timer_arm_coarse(&t->node->timers, &t->tick, tick, tick == TICK_ACTIVE_MS ? tick : TICK_GRID_MS);
	if (t->state == NTM_TUN_NEW) {
		/* A responder whose initiator never came. An initiator's handshake has its own timer. */
		if (received)
			ntm_path_used(t);
		else if (t->role == NTM_ROLE_RESPONDER && since(now / 1000000u, t->created_ms) > 10000)
			ntm_path_end(t, NTM_PATH_END_QUIET, "the initiator never came");
		return;
	}
	if (t->state == NTM_TUN_OLD)
		return;
	if (since(now, t->last_data_ns) > IDLE_RELEASE_S * second) {
		ntm_path_end(t, NTM_PATH_END_TELL_PEER | NTM_PATH_END_TELL_DC, "unused for an hour");
		return;
	}
	rekey_if_due(t, &s, now);

	tx = latest(s.last_tx_ns, t->ctl_tx_ns);
	if (t->state == NTM_TUN_SILENT) {
		if (heard(t))
			ntm_live_heard(t);
		else if (sent)
			redirect(t);
		return;
	}
	if (t->live_tries)
		return;
	keepalive = ntm_mapping_keepalive_ms(t->node) * 1000000u;
	if ((t->unanswered_ns && since(now, t->unanswered_ns) >= patience_ms(t, DOUBT_MS) * 1000000u) ||
	    since(now, tx) >= keepalive || since(now, rx) > keepalive + LATE_S * second)
		send_probe(t);
}

void ntm_live_start(struct ntm_tunnel *t)
{
	struct ntm_dp_stats s;

	t->last_data_ns = now_ns(t);
	if (!t->node->dp->ops->stats(t->node->dp, t->id, &s)) {
		t->seen_tx_packets = s.tx_packets;
		t->seen_rx_packets = s.rx_packets;
	}
	t->last_tick_ns = now_ns(t);
	ntm_timer_arm_coarse(&t->node->timers, &t->tick, TICK_ACTIVE_MS, TICK_ACTIVE_MS);
}

void ntm_live_init_timers(struct ntm_tunnel *t)
{
	ntm_timer_init(&t->tick, on_tick, t);
	ntm_timer_init(&t->live_timer, on_live_timer, t);
}
