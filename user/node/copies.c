/* SPDX-License-Identifier: BSD-2-Clause */
#include "copies.h"

#include <string.h>

#include "node.h"

enum {
	WAIT_MS = 20, /* and one and a half round trips, for an answer; then twice that, and so on */
	AGAIN_MS = NTM_HOLD_ENDPOINT_MS / 2, /* answered: leaves room for a second try, and a third */
	TRIES = 6,
};

void ntm_copies_changed(struct ntm_node *n, const struct ntm_uplink_info *old, unsigned n_old)
{
	struct ntm_copies *c = &n->copies;
	uint8_t was[16], is[16];

	for (unsigned v6 = 0; v6 < 2; v6++) {
		bool sent =
		    ntm_uplinks_source(old, n_old, v6, was) && ntm_uplinks_source(n->uplinks, n->n_uplinks, v6, is);

		if (memcmp(was, is, 16)) {
			memcpy(c->former[v6], was, 16);
			c->until_ns[v6] =
			    sent ? ntm_timers_ns(&n->timers) + n->conf.uplink_duplicate_ms * 1000000ull : 0;
		}
		if (!ntm_uplinks_have(n->uplinks, n->n_uplinks, c->former[v6]))
			c->until_ns[v6] = 0;
	}
}

bool ntm_copies_sent(const struct ntm_tunnel *t)
{
	struct ntm_node *n = t->node;
	struct ntm_dp_stats s;

	return t->route.kind != NTM_ROUTE_RELAY && !n->dp->ops->stats(n->dp, t->id, &s) &&
	       ntm_timers_ns(&n->timers) < n->copies.until_ns[!ntm_ip_is_v4(s.endpoint.ip)];
}

void ntm_copies_told(struct ntm_tunnel *t, uint32_t txid)
{
	uint64_t wait = (uint64_t)(WAIT_MS + 1.5 * t->rtt_ms);

	t->copies.txid = txid;
	ntm_timer_arm(&t->node->timers, &t->copies.timer, wait << t->copies.tries);
}

void ntm_copies_answered(struct ntm_tunnel *t, uint32_t txid)
{
	if (!t->copies.txid || t->copies.txid != txid)
		return;
	t->copies.txid = 0;
	t->copies.tries = 0;
	ntm_timer_arm(&t->node->timers, &t->copies.timer, AGAIN_MS);
}

static void on_timer(void *arg)
{
	struct ntm_tunnel *t = arg;

	if ((t->state != NTM_TUN_UP && t->state != NTM_TUN_SILENT) || !ntm_copies_sent(t) || t->copies.tries >= TRIES) {
		ntm_copies_stop(t);
		return;
	}
	t->copies.tries++;
	/* Arms this again. */
	ntm_ctl_update(t, NULL, NTM_CHECK_MOVED);
}

void ntm_copies_init_timer(struct ntm_tunnel *t)
{
	ntm_timer_init(&t->copies.timer, on_timer, t);
}

void ntm_copies_stop(struct ntm_tunnel *t)
{
	ntm_timer_stop(&t->node->timers, &t->copies.timer);
	t->copies.txid = 0;
	t->copies.tries = 0;
}
