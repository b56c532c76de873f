/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long does a NAT or firewall before this node keep a mapping that is not used? A port of its own asks the DC for
 * an answer after so many seconds: if it arrives, the mapping lived as long. What is proven decides how often all the
 * others are kept alive.
 *
 *   OPENING (answer after 1 s) ─► WAITING 20 s ─► 40 s ─► 80 s ─► 120 s ─► done
 *                                     └─ no answer, twice ─► done: what was proven before
 */
#include <errno.h>
#include <string.h>

#include "node.h"
#include "relays.h"

enum {
	FIRST_S = 15, /* between keep-alives while nothing is proven */
	MAX_S = 100,
	OPEN_S = 60,   /* no NAT, and no firewall that forgets sooner */
	OPENING_S = 1, /* two answers of a kind make a mapping that is in use */
	LATE_MS = 3000,
	EARLY_MS = 500,   /* an answer before its time proves nothing */
	TRIES = 2,        /* a packet may be lost for other reasons */
	SETTLE_MS = 5000, /* after a change of addresses: others come */
};

static const uint16_t steps[] = {20, 40, 80, 120};

static void give_up(struct ntm_mapping *mp)
{
	mp->phase = NTM_MAPPING_IDLE;
	mp->done = true;
}

static void ask(struct ntm_node *n, enum ntm_mapping_phase phase, uint16_t delay_s)
{
	struct ntm_mapping *mp = &n->mapping;
	int err = ntm_dc_keepalive_aside(&n->dc, delay_s, &mp->txid);

	if (err) {
		ntm_debug("life of mappings not measured: %s", strerror(-err));
		give_up(mp);
		return;
	}
	mp->phase = phase;
	mp->tries++;
	mp->asked_ms = ntm_timers_ms(&n->timers);
	ntm_timer_arm(&n->timers, &mp->timer, delay_s * 1000u + LATE_MS);
}

static uint16_t delay_s(const struct ntm_mapping *mp)
{
	return mp->phase == NTM_MAPPING_WAITING ? steps[mp->step] : OPENING_S;
}

static void on_timer(void *arg)
{
	struct ntm_node *n = arg;
	struct ntm_mapping *mp = &n->mapping;

	if (mp->phase == NTM_MAPPING_IDLE) {
		ask(n, NTM_MAPPING_OPENING, OPENING_S);
		return;
	}
	if (mp->tries < TRIES) {
		ask(n, mp->phase, delay_s(mp));
		return;
	}
	ntm_debug("mappings are not kept for %u s", delay_s(mp));
	give_up(mp);
}

bool ntm_mapping_answered(struct ntm_node *n, uint32_t txid)
{
	struct ntm_mapping *mp = &n->mapping;

	if (mp->phase == NTM_MAPPING_IDLE || txid != mp->txid)
		return false;
	if (ntm_timers_ms(&n->timers) + EARLY_MS < mp->asked_ms + delay_s(mp) * 1000u) {
		ntm_timer_stop(&n->timers, &mp->timer);
		give_up(mp);
		return true;
	}
	if (mp->phase == NTM_MAPPING_WAITING)
		mp->proven_s = steps[mp->step++];
	mp->tries = 0;
	if (mp->step == sizeof(steps) / sizeof(steps[0])) {
		ntm_timer_stop(&n->timers, &mp->timer);
		give_up(mp);
	} else {
		ask(n, NTM_MAPPING_WAITING, steps[mp->step]);
	}
	return true;
}

void ntm_mapping_start(struct ntm_node *n)
{
	struct ntm_mapping *mp = &n->mapping;

	/* Registering again says nothing new. */
	if (!n->send_aside || !ntm_dc_connected(&n->dc) || mp->phase != NTM_MAPPING_IDLE || mp->done)
		return;
	ntm_timer_arm(&n->timers, &mp->timer, SETTLE_MS);
}

void ntm_mapping_restart(struct ntm_node *n)
{
	struct ntm_mapping *mp = &n->mapping;

	ntm_timer_stop(&n->timers, &mp->timer);
	*mp = (struct ntm_mapping){.timer = mp->timer};
	ntm_mapping_start(n);
}

bool ntm_mapping_is_nat(const struct ntm_node *n)
{
	if (n->dc.reflexive.port && ntm_ip_is_v4(n->dc.reflexive.ip))
		return !ntm_node_has_addr(n, n->dc.reflexive.ip);
	for (unsigned i = 0; i < n->relays.n; i++) {
		const struct ntm_addr *a = &n->relays.r[i].seen[0].observed;

		if (a->port)
			return !ntm_node_has_addr(n, a->ip);
	}
	return false;
}

uint64_t ntm_mapping_keepalive_ms(const struct ntm_node *n)
{
	uint64_t s = n->mapping.proven_s * 4u / 5u;

	if (s < FIRST_S)
		s = FIRST_S;
	if (s > MAX_S)
		s = MAX_S;
	/* Nothing to be kept alive, as far as it was looked at: only whether the peer is there. */
	if (!ntm_mapping_is_nat(n) && s > OPEN_S)
		s = OPEN_S;
	return s * 1000u;
}

void ntm_mapping_init(struct ntm_node *n)
{
	ntm_timer_init(&n->mapping.timer, on_timer, n);
}

void ntm_mapping_stop(struct ntm_node *n)
{
	ntm_timer_stop(&n->timers, &n->mapping.timer);
}
