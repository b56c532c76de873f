/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Path MTU by padded probes on the control lane, after RFC 8899, with one difference: a path begins with what the two
 * uplinks allow rather than with the base, and proves that at once. TCP fixes its segment size when it connects,
 * usually within the first round trip. Sizes only go down when a smaller probe is answered: a peer whose agent is away
 * answers none, though its kernel lane works.
 *
 *   start ─► CONFIRM(max) ──answered──► IDLE ──60 s, traffic──► CONFIRM(current); each 600 s SEARCH for more
 *               │ 3 lost                  ▲
 *               ▼                         │ found
 *             BASE(1280) ──answered──► SEARCH (the largest, then bisecting)
 *               │ 3 lost                  ▲
 *               ▼                         │
 *             FLOOR(512) ──answered───────┘   below 1280 the sender fragments the outer packets
 *               │ 3 lost
 *               ▼
 *             IDLE, all over after 10 s
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "node.h"

enum {
	PROBE_TRIES = 3,
	PROBE_MIN_MS = 60,
	CONFIRM_EVERY_MS = 60000, /* while there is traffic: a link on the way may have become narrower */
	RAISE_EVERY_MS = 600000,
	RETRY_MS = 10000,
	SMALL_MIN = 512, /* IPv4 promises 576 */
	ENOUGH = 8,      /* bytes: a search this fine ends */
};

static const uint64_t confirm_ns = CONFIRM_EVERY_MS * 1000000ull;
static const unsigned sealed = sizeof(struct ntm_hdr) + NTM_TAG_LEN + 8; /* and UDP */

static void set_mtu(struct ntm_tunnel *t, uint16_t inner)
{
	struct ntm_dp *dp = t->node->dp;
	bool small = inner < NTM_INNER_MTU_BASE;
	char text[NTM_ADDR_STRLEN];
	int err = dp->ops->set_mtu(dp, t->id, inner, small);

	if (err)
		ntm_warn("path to %s: MTU %u not set: %s", ntm_tunnel_label(t, text), inner, strerror(-err));
	else
		ntm_debug("path to %s: MTU %u", ntm_tunnel_label(t, text), inner);
}

static uint16_t current(struct ntm_tunnel *t)
{
	struct ntm_dp_stats s;

	return t->node->dp->ops->stats(t->node->dp, t->id, &s) ? NTM_INNER_MTU_BASE : s.inner_mtu;
}

/* What fits both uplinks. */
static uint16_t ceiling(struct ntm_tunnel *t)
{
	struct ntm_dp_stats s;
	unsigned mtu, overhead;
	bool v6;

	if (t->node->dp->ops->stats(t->node->dp, t->id, &s))
		return NTM_INNER_MTU_BASE;
	v6 = !ntm_ip_is_v4(s.endpoint.ip);
	mtu = ntm_node_uplink_mtu(t->node, v6);
	/* Behind an RS the other leg may be IPv6. */
	overhead = sealed + (v6 || ntm_bind_is_relay(t, &s.endpoint) ? 40 : 20);
	if (!mtu)
		mtu = NTM_INNER_MTU_BASE + overhead;
	if (t->peer_mtu && t->peer_mtu < mtu)
		mtu = t->peer_mtu;
	if (mtu < SMALL_MIN + overhead)
		return SMALL_MIN;
	mtu -= overhead;
	return (uint16_t)(mtu > NTM_INNER_MAX ? NTM_INNER_MAX : mtu);
}

static void send_probe(struct ntm_tunnel *t)
{
	struct ntm_pmtu *p = &t->pmtu;
	uint64_t wait = (uint64_t)(2 * t->rtt_ms) + 20;
	int err;

	p->tries++;
	err = ntm_ctl_probe(t, NTM_PROBE_PMTU, NTM_M_PROBE, p->size, NULL);
	if (err == -EMSGSIZE) {
		/* The kernel knows already: no need to wait for silence. */
		p->tries = PROBE_TRIES;
		wait = 1;
	} else if (wait < PROBE_MIN_MS) {
		wait = PROBE_MIN_MS;
	}
	ntm_timer_arm(&t->node->timers, &p->timer, wait);
}

static void probe(struct ntm_tunnel *t, enum ntm_pmtu_phase phase, uint16_t size)
{
	t->pmtu.phase = phase;
	t->pmtu.size = size;
	t->pmtu.tries = 0;
	send_probe(t);
}

static void rest(struct ntm_tunnel *t, uint64_t ms)
{
	t->pmtu.phase = NTM_PMTU_IDLE;
	ntm_timer_arm_coarse(&t->node->timers, &t->pmtu.timer, ms, 1000);
}

static void search(struct ntm_tunnel *t)
{
	struct ntm_pmtu *p = &t->pmtu;

	if (p->hi <= p->lo || p->hi - p->lo <= ENOUGH) {
		if (current(t) != p->lo)
			set_mtu(t, p->lo);
		p->raise_ms = ntm_timers_ms(&t->node->timers) + RAISE_EVERY_MS;
		rest(t, CONFIRM_EVERY_MS);
		return;
	}
	probe(t, NTM_PMTU_SEARCH, (uint16_t)((p->lo + p->hi) / 2));
}

void ntm_pmtu_start(struct ntm_tunnel *t)
{
	struct ntm_pmtu *p = &t->pmtu;

	p->max = ceiling(t);
	if (current(t) != p->max)
		set_mtu(t, p->max);
	probe(t, NTM_PMTU_CONFIRM, p->max);
}

void ntm_pmtu_recheck(struct ntm_tunnel *t)
{
	uint16_t max = ceiling(t), now = current(t);

	if (now > max) {
		set_mtu(t, max);
		now = max;
	}
	/* Never up without proof here: traffic is flowing. */
	t->pmtu.raise_ms = 0;
	probe(t, NTM_PMTU_CONFIRM, now);
}

void ntm_pmtu_adopt(struct ntm_tunnel *t, uint16_t inner_mtu)
{
	t->pmtu.max = inner_mtu;
	rest(t, CONFIRM_EVERY_MS);
}

static void lost(struct ntm_tunnel *t)
{
	struct ntm_pmtu *p = &t->pmtu;
	char text[NTM_ADDR_STRLEN];

	switch (p->phase) {
	case NTM_PMTU_CONFIRM:
		ntm_debug("path to %s: %u bytes do not arrive", ntm_tunnel_label(t, text), p->size);
		p->hi = p->size;
		if (p->size > NTM_INNER_MTU_BASE)
			probe(t, NTM_PMTU_BASE, NTM_INNER_MTU_BASE);
		else if (p->size > SMALL_MIN)
			probe(t, NTM_PMTU_FLOOR, SMALL_MIN);
		else
			rest(t, RETRY_MS);
		break;
	case NTM_PMTU_BASE:
		p->hi = NTM_INNER_MTU_BASE;
		probe(t, NTM_PMTU_FLOOR, SMALL_MIN);
		break;
	case NTM_PMTU_FLOOR:
		rest(t, RETRY_MS);
		break;
	case NTM_PMTU_SEARCH:
		p->hi = p->size;
		search(t);
		break;
	case NTM_PMTU_IDLE:
		break;
	}
}

static void on_timer(void *arg)
{
	struct ntm_tunnel *t = arg;
	struct ntm_pmtu *p = &t->pmtu;

	if (p->phase == NTM_PMTU_IDLE) {
		if (t->state == NTM_TUN_UP && ntm_timers_ns(&t->node->timers) - t->last_data_ns < 2 * confirm_ns)
			probe(t, NTM_PMTU_CONFIRM, current(t));
		else
			rest(t, CONFIRM_EVERY_MS);
		return;
	}
	if (p->tries >= PROBE_TRIES)
		lost(t);
	else
		send_probe(t);
}

void ntm_pmtu_answered(struct ntm_tunnel *t, uint16_t inner)
{
	struct ntm_pmtu *p = &t->pmtu;

	if (p->phase == NTM_PMTU_IDLE || inner != p->size)
		return;
	p->lo = inner;
	switch (p->phase) {
	case NTM_PMTU_CONFIRM:
		p->max = ceiling(t);
		p->hi = p->max;
		if (inner < p->max && ntm_timers_ms(&t->node->timers) >= p->raise_ms)
			probe(t, NTM_PMTU_SEARCH, p->max);
		else
			rest(t, CONFIRM_EVERY_MS);
		break;
	case NTM_PMTU_BASE:
	case NTM_PMTU_FLOOR:
		/* A black hole for the size in use. */
		set_mtu(t, inner);
		search(t);
		break;
	case NTM_PMTU_SEARCH:
		search(t);
		break;
	case NTM_PMTU_IDLE:
		break;
	}
}

void ntm_pmtu_stop(struct ntm_tunnel *t)
{
	ntm_timer_stop(&t->node->timers, &t->pmtu.timer);
	t->pmtu.phase = NTM_PMTU_IDLE;
}

void ntm_pmtu_init_timer(struct ntm_tunnel *t)
{
	ntm_timer_init(&t->pmtu.timer, on_timer, t);
}
