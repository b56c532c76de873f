/* SPDX-License-Identifier: BSD-2-Clause */
#include <stddef.h>

#include "relay.h"

enum {
	TICK_MS = 1000,
	DRAIN_TICK_MS = 200, /* an end that is awaited is not to be late */
};

static void end(struct ntm_relay *r)
{
	void (*ended)(struct ntm_relay * r) = r->ended;

	r->ended = NULL;
	if (ended)
		ended(r);
}

/* A gateway's client paths, too. */
static size_t paths_left(const struct ntm_relay *r)
{
	size_t n = r->dp->ops->count(r->dp);

	for (const struct ntm_tunnel *t = r->node.tunnels.all; t; t = t->next_all)
		n++;
	return n;
}

static void on_tick(void *arg)
{
	struct ntm_relay *r = arg;
	uint64_t now = ntm_timers_ms(&r->node.timers);

	ntm_timer_arm(&r->node.timers, &r->tick, r->draining ? DRAIN_TICK_MS : TICK_MS);
	r->paths_expired += r->dp->ops->expire(r->dp);
	ntm_load_tick(&r->load, r->dp, now * 1000000);
	if (!r->draining)
		return;
	if (!paths_left(r)) {
		ntm_info("drained: no path is left");
		end(r);
	} else if (now >= r->drain_end_ms) {
		ntm_info("draining is over; %zu paths end", paths_left(r));
		end(r);
	}
}

void ntm_relay_tick_init(struct ntm_relay *r)
{
	ntm_timer_init(&r->tick, on_tick, r);
	ntm_timer_arm(&r->node.timers, &r->tick, TICK_MS);
}

void ntm_relay_drain(struct ntm_relay *r)
{
	if (r->draining)
		return;
	r->draining = true;
	r->admission.draining = true;
	r->dp->ops->set_draining(r->dp, true);
	r->drain_end_ms = ntm_timers_ms(&r->node.timers) + r->conf.drain_s * 1000ull;
	ntm_relay_tell_load(r);
	ntm_info("draining: %zu paths are kept for %u s, new ones refused", paths_left(r), r->conf.drain_s);
	/* A tick from now, so that the DC hears of it even if there is nothing to wait for. */
	ntm_timer_arm(&r->node.timers, &r->tick, DRAIN_TICK_MS);
}
