/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Does the peer still answer? One timer a path looks once a second, on a common grid, at what the kernel counted:
 *
 * - nothing sent for 15 s: KEEP_ALIVE, whose answer is the proof of life;
 * - packets sent, but nothing authenticated came for 2 s: the same, at once;
 * - three of them unanswered within a second: the path is silent. If there is traffic, a new direction is asked for
 * (the silent path stays until the new one is up); it is probed again with back-off up to 30 s;
 * - initiator, keys older than 120 s: a handshake;
 * - superseded for 3 s and unused by the peer as long, or no traffic for an hour: released.
 */
#include <inttypes.h>
#include <string.h>

#include "node.h"

enum {
	TICK_MS = 1000,
	KEEPALIVE_S = 15,
	DOUBT_S = 2,
	PROBE_MS = 333,
	PROBES = 3,
	BACKOFF_MIN_MS = 1000,
	BACKOFF_MAX_MS = 30000,
	IDLE_RELEASE_S = 3600,
	RECENT_S = 60,    /* traffic in this time: worth a new path before anybody asks */
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

static uint64_t backoff(uint64_t ms)
{
	ms = ms ? 2 * ms : BACKOFF_MIN_MS;
	return ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : ms;
}

/* The path is no good: ask for another one. The peer's VIP6 is the name that never changes. */
static void redirect(struct ntm_tunnel *t)
{
	uint64_t now = now_ns(t) / 1000000u;

	if (now < t->redirect_next_ms)
		return;
	t->redirect_backoff_ms = backoff(t->redirect_backoff_ms);
	t->redirect_next_ms = now + t->redirect_backoff_ms;
	ntm_direct(t->node, NULL, t->vip6, t->id, NULL, NULL);
}

static void gone_silent(struct ntm_tunnel *t)
{
	char text[NTM_ADDR_STRLEN];

	t->live_tries = 0;
	t->live_backoff_ms = backoff(t->live_backoff_ms);
	ntm_timer_arm(&t->node->timers, &t->live_timer, t->live_backoff_ms);
	if (t->state == NTM_TUN_UP) {
		t->state = NTM_TUN_SILENT;
		ntm_info("path to %s: the peer does not answer", ntm_tunnel_label(t, text));
	}
	if (since(now_ns(t), t->last_data_ns) < 5 * second)
		redirect(t);
}

static void send_probe(struct ntm_tunnel *t)
{
	if (t->live_tries == 0)
		t->live_since_ns = now_ns(t);
	t->live_tries++;
	ntm_ctl_probe(t, NTM_PROBE_LIVE, NTM_M_KEEP_ALIVE, 0, NULL);
	ntm_timer_arm(&t->node->timers, &t->live_timer, PROBE_MS);
}

/* Heard of since probing began, by the kernel or by the agent? */
static bool heard(struct ntm_tunnel *t)
{
	struct ntm_dp_stats s;

	if (t->node->dp->ops->stats(t->node->dp, t->id, &s))
		return false;
	return latest(s.last_rx_ns, t->ctl_rx_ns) > t->live_since_ns;
}

static void on_live_timer(void *arg)
{
	struct ntm_tunnel *t = arg;

	if (t->live_tries && heard(t)) {
		ntm_live_heard(t);
		return;
	}
	if (t->live_tries >= PROBES)
		gone_silent(t);
	else
		send_probe(t);
}

void ntm_live_probe(struct ntm_tunnel *t)
{
	if (t->live_tries == 0)
		send_probe(t);
}

void ntm_live_heard(struct ntm_tunnel *t)
{
	char text[NTM_ADDR_STRLEN];

	ntm_timer_stop(&t->node->timers, &t->live_timer);
	t->live_tries = 0;
	t->live_backoff_ms = 0;
	t->redirect_backoff_ms = 0;
	if (t->state == NTM_TUN_SILENT) {
		t->state = NTM_TUN_UP;
		ntm_info("path to %s: the peer answers again", ntm_tunnel_label(t, text));
	}
}

void ntm_live_unreachable(struct ntm_tunnel *t)
{
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

static void rekey_if_due(struct ntm_tunnel *t, const struct ntm_dp_stats *s, uint64_t now)
{
	const struct ntm_path_agent *rec = t->node->dp->ops->agent_record(t->node->dp, t->id);
	uint64_t due = NTM_REKEY_AFTER_S * second + t->id % JITTER_MS * 1000000u;

	if (!rec || t->role != NTM_ROLE_INITIATOR || t->hs || now / 1000000u < t->hs_next_ms)
		return;
	if (since(now, rec->epoch_ns) >= due || s->tx_counter > NTM_COUNTER_LIMIT / 2)
		ntm_hs_start(t);
}

static void on_tick(void *arg)
{
	struct ntm_tunnel *t = arg;
	struct ntm_dp_stats s;
	uint64_t now = now_ns(t), rx, tx;
	bool sent, received;

	if (t->node->dp->ops->stats(t->node->dp, t->id, &s))
		return;
	sent = s.tx_packets != t->seen_tx_packets;
	received = s.rx_packets != t->seen_rx_packets;
	if (t->state == NTM_TUN_OLD && end_old(t, &s, now))
		return;
	t->seen_tx_packets = s.tx_packets;
	t->seen_rx_packets = s.rx_packets;
	ntm_timer_arm_coarse(&t->node->timers, &t->tick, TICK_MS, TICK_MS / 4);
	if (t->state == NTM_TUN_NEW) {
		/* A responder whose initiator never came. An initiator's handshake has its own timer. */
		if (t->role == NTM_ROLE_RESPONDER && since(now / 1000000u, t->created_ms) > 10000)
			ntm_path_end(t, NTM_PATH_END_QUIET, "the initiator never came");
		return;
	}
	if (sent || received)
		t->last_data_ns = now;
	if (t->state == NTM_TUN_OLD)
		return;
	if (since(now, t->last_data_ns) > IDLE_RELEASE_S * second) {
		ntm_path_end(t, NTM_PATH_END_TELL_PEER | NTM_PATH_END_TELL_DC, "unused for an hour");
		return;
	}
	rekey_if_due(t, &s, now);

	rx = latest(s.last_rx_ns, t->ctl_rx_ns);
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
	if ((sent && since(now, rx) > DOUBT_S * second) || since(now, tx) >= KEEPALIVE_S * second ||
	    since(now, rx) > (KEEPALIVE_S + 5) * second)
		ntm_live_probe(t);
}

void ntm_live_start(struct ntm_tunnel *t)
{
	struct ntm_dp_stats s;

	t->last_data_ns = now_ns(t);
	if (!t->node->dp->ops->stats(t->node->dp, t->id, &s)) {
		t->seen_tx_packets = s.tx_packets;
		t->seen_rx_packets = s.rx_packets;
	}
	ntm_timer_arm_coarse(&t->node->timers, &t->tick, TICK_MS, TICK_MS / 4);
}

void ntm_live_init_timers(struct ntm_tunnel *t)
{
	ntm_timer_init(&t->tick, on_tick, t);
	ntm_timer_init(&t->live_timer, on_live_timer, t);
}
