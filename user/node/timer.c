/* SPDX-License-Identifier: BSD-2-Clause */
#include "timer.h"

#include <stddef.h>
#include <time.h>

uint64_t ntm_timers_ns(const struct ntm_timers *ts)
{
	struct timespec now;

	if (ts->clock_ns)
		return ts->clock_ns();
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t ntm_timers_ms(const struct ntm_timers *ts)
{
	return ntm_timers_ns(ts) / 1000000u;
}

static struct ntm_timer *meld(struct ntm_timer *a, struct ntm_timer *b)
{
	struct ntm_timer *t;

	if (!a)
		return b;
	if (!b)
		return a;
	if (b->at_ms < a->at_ms) {
		t = a;
		a = b;
		b = t;
	}
	b->next = a->child;
	if (b->next)
		b->next->prev = b;
	b->prev = a;
	a->child = b;
	a->next = a->prev = NULL;
	return a;
}

/* The usual two passes: meld neighbours in pairs, then the pairs from the last to the first. */
static struct ntm_timer *meld_siblings(struct ntm_timer *first)
{
	struct ntm_timer *pairs = NULL, *root = NULL;

	while (first) {
		struct ntm_timer *a = first, *b = a->next, *m;

		first = b ? b->next : NULL;
		a->next = a->prev = NULL;
		if (b)
			b->next = b->prev = NULL;
		m = meld(a, b);
		m->next = pairs;
		pairs = m;
	}
	while (pairs) {
		struct ntm_timer *m = pairs;

		pairs = m->next;
		m->next = NULL;
		root = meld(root, m);
	}
	return root;
}

void ntm_timer_init(struct ntm_timer *t, void (*fn)(void *arg), void *arg)
{
	*t = (struct ntm_timer){.fn = fn, .arg = arg};
}

static void arm_at(struct ntm_timers *ts, struct ntm_timer *t, uint64_t at_ms)
{
	ntm_timer_stop(ts, t);
	t->at_ms = at_ms;
	t->child = t->next = t->prev = NULL;
	t->armed = true;
	ts->root = meld(ts->root, t);
}

void ntm_timer_arm(struct ntm_timers *ts, struct ntm_timer *t, uint64_t in_ms)
{
	/* At least 1: a callback that arms itself again must not keep ntm_timers_run() in its loop. */
	arm_at(ts, t, ntm_timers_ms(ts) + (in_ms ? in_ms : 1));
}

void ntm_timer_arm_coarse(struct ntm_timers *ts, struct ntm_timer *t, uint64_t in_ms, uint64_t grid_ms)
{
	uint64_t at = ntm_timers_ms(ts) + (in_ms ? in_ms : 1) + grid_ms - 1;

	arm_at(ts, t, at - at % grid_ms);
}

void ntm_timer_stop(struct ntm_timers *ts, struct ntm_timer *t)
{
	struct ntm_timer *rest;

	if (!t->armed)
		return;
	rest = meld_siblings(t->child);
	if (ts->root == t) {
		ts->root = rest;
	} else {
		if (t->prev->child == t)
			t->prev->child = t->next;
		else
			t->prev->next = t->next;
		if (t->next)
			t->next->prev = t->prev;
		ts->root = meld(ts->root, rest);
	}
	t->child = t->next = t->prev = NULL;
	t->armed = false;
}

int64_t ntm_timers_next(const struct ntm_timers *ts)
{
	uint64_t now;

	if (!ts->root)
		return -1;
	now = ntm_timers_ms(ts);
	return ts->root->at_ms > now ? (int64_t)(ts->root->at_ms - now) : 0;
}

void ntm_timers_run(struct ntm_timers *ts)
{
	uint64_t now = ntm_timers_ms(ts);

	while (ts->root && ts->root->at_ms <= now) {
		struct ntm_timer *t = ts->root;

		ntm_timer_stop(ts, t);
		t->fn(t->arg);
	}
}
