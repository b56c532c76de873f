/* SPDX-License-Identifier: BSD-2-Clause */
#include <stddef.h>
#include <stdlib.h>

#include "relay.h"

enum {
	TICK_MS = 1000,
	DRAIN_TICK_MS = 200, /* an end that is awaited is not to be late */
	TELL_EVERY_MS = 20,
	TELL_AT_LEAST = 64, /* paths each time */
	TELL_AT_MOST = 1000,
	TELL_ROUNDS = 3, /* what is said may be lost; who has left by then has no path here */
	TELL_AGAIN_MS = 500,
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

static void add_id(void *arg, const struct ntm_relay_dp_path *p)
{
	struct ntm_relay *r = arg;

	r->telling.ids[r->telling.n++] = p->path_id;
}

/*
 * Who is bound would hear of it with the answer to its next bind, which may be later than the end. Many are told over
 * half of the time that there is: each of them asks the DC for another relay.
 */
static void begin_telling(struct ntm_relay *r)
{
	size_t times = r->conf.drain_s * 1000ull / 2 / TELL_EVERY_MS + 1;

	r->telling.ids = calloc(r->dp->ops->count(r->dp) + 1, sizeof(*r->telling.ids));
	if (!r->telling.ids)
		return; /* the answers to binds say it */
	r->dp->ops->foreach(r->dp, add_id, r);
	r->telling.slice = r->telling.n / times + 1;
	if (r->telling.slice < TELL_AT_LEAST)
		r->telling.slice = TELL_AT_LEAST;
	if (r->telling.slice > TELL_AT_MOST)
		r->telling.slice = TELL_AT_MOST;
	ntm_timer_arm(&r->node.timers, &r->telling.timer, TELL_EVERY_MS);
}

static void on_tell(void *arg)
{
	struct ntm_relay *r = arg;

	for (size_t i = 0; i < r->telling.slice && r->telling.next < r->telling.n; i++)
		ntm_admission_tell(&r->admission, r->telling.ids[r->telling.next++]);
	if (r->telling.next < r->telling.n) {
		ntm_timer_arm(&r->node.timers, &r->telling.timer, TELL_EVERY_MS);
	} else if (++r->telling.rounds < TELL_ROUNDS) {
		r->telling.next = 0;
		ntm_timer_arm(&r->node.timers, &r->telling.timer, TELL_AGAIN_MS);
	}
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
	begin_telling(r);
}

void ntm_relay_tick_init(struct ntm_relay *r)
{
	ntm_timer_init(&r->tick, on_tick, r);
	ntm_timer_init(&r->telling.timer, on_tell, r);
	ntm_timer_arm(&r->node.timers, &r->tick, TICK_MS);
}

void ntm_relay_tick_stop(struct ntm_relay *r)
{
	ntm_timer_stop(&r->node.timers, &r->tick);
	ntm_timer_stop(&r->node.timers, &r->telling.timer);
	free(r->telling.ids);
	r->telling.ids = NULL;
	r->telling.n = r->telling.next = 0;
}
