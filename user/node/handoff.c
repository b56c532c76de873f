/* SPDX-License-Identifier: BSD-2-Clause */
#include "handoff.h"

#include <stdlib.h>
#include <string.h>

#include "node.h"

enum {
	PATHS_MAX = 256, /* bound early; others are after the switch */
	WAIT_MIN_MS = 20,
	WAIT_MAX_MS = 125,
};

static const struct ntm_uplink_info *entry(const struct ntm_uplink_info *u, unsigned n, uint32_t ifindex)
{
	for (unsigned i = 0; i < n; i++)
		if (u[i].dp.ifindex == ifindex)
			return &u[i];
	return NULL;
}

static bool same_addresses(const struct ntm_uplink_info *a, const struct ntm_uplink_info *b)
{
	return !memcmp(a->dp.addr4, b->dp.addr4, 4) && !memcmp(a->dp.addr6, b->dp.addr6, 16);
}

static bool same_uplink(const struct ntm_uplink_info *a, const struct ntm_uplink_info *b)
{
	return a->dp.ifindex == b->dp.ifindex && same_addresses(a, b);
}

/* Has the path something to lose, and from where will it be sent? */
static bool concerned(const struct ntm_tunnel *t, const struct ntm_uplink_info *u, unsigned n, uint8_t from[16])
{
	uint8_t now[16];

	return t->state == NTM_TUN_UP && t->route.kind == NTM_ROUTE_RELAY && t->bind.bound && ntm_live_recent(t) &&
	       ntm_uplinks_source(t->node->uplinks, t->node->n_uplinks, t->bind.v6, now) &&
	       ntm_uplinks_source(u, n, t->bind.v6, from) && memcmp(now, from, 16);
}

/* Other uplink, and the one in use is there as it was, and leads somewhere. */
static bool can_wait(const struct ntm_node *n, const struct ntm_uplink_info *u, unsigned count)
{
	const struct ntm_uplink_info *old = n->n_uplinks ? entry(u, count, n->uplinks[0].dp.ifindex) : NULL;

	return n->ready && old && old != u && same_addresses(old, &n->uplinks[0]) && !ntm_proof_nowhere(n, old);
}

static void end(struct ntm_node *n, bool back)
{
	struct ntm_handoff *h = &n->handoff;

	ntm_timer_stop(&n->timers, &h->timer);
	free(h->wanted);
	h->wanted = NULL;
	h->waiting = 0;
	for (struct ntm_tunnel *t = n->tunnels.all; t; t = t->next_all) {
		bool was = t->bind.early;

		t->bind.early = false;
		t->bind.early_seq = 0;
		if (!was || !back)
			continue;
		/* As what the RS saw this node by the other uplink is no news of this one. */
		memset(t->bind.sent, 0, sizeof(t->bind.sent));
		ntm_bind_moved(t);
	}
}

static void go(struct ntm_node *n)
{
	struct ntm_uplink_info u[NTM_UPLINKS_MAX];
	unsigned count = n->handoff.n_wanted;

	memcpy(u, n->handoff.wanted, count * sizeof(u[0]));
	end(n, false);
	ntm_node_use_uplinks(n, u, count, false);
}

static void send_binds(struct ntm_node *n)
{
	struct ntm_handoff *h = &n->handoff;
	unsigned left = PATHS_MAX;
	uint8_t from[16];

	for (struct ntm_tunnel *t = n->tunnels.all; t && left; t = t->next_all) {
		if ((h->again && !t->bind.early_seq) || !concerned(t, h->wanted, h->n_wanted, from))
			continue;
		left--;
		if (!h->again)
			h->waiting++;
		ntm_bind_early(t, from);
	}
}

static void on_timer(void *arg)
{
	struct ntm_node *n = arg;
	struct ntm_handoff *h = &n->handoff;

	if (h->again) {
		h->unanswered++;
		go(n);
		return;
	}
	h->again = true;
	send_binds(n);
	ntm_timer_arm(&n->timers, &h->timer, h->wait_ms);
}

static uint64_t wait_ms(const struct ntm_node *n, const struct ntm_uplink_info *u, unsigned count, bool *any)
{
	double ms = 0;
	uint8_t from[16];

	*any = false;
	for (const struct ntm_tunnel *t = n->tunnels.all; t; t = t->next_all) {
		if (!concerned(t, u, count, from))
			continue;
		*any = true;
		if (t->bind.rtt_ms > ms)
			ms = t->bind.rtt_ms;
	}
	ms = WAIT_MIN_MS + 1.5 * ms;
	return ms < WAIT_MAX_MS ? (uint64_t)ms : WAIT_MAX_MS;
}

/* The data plane has to take what comes by an uplink before anything is bound to it. */
static void attach(struct ntm_node *n, const struct ntm_uplink_info *u, unsigned count)
{
	struct ntm_uplink_info stay[NTM_UPLINKS_MAX] = {n->uplinks[0]};
	bool news = count != n->n_uplinks;
	unsigned n_stay = 1;

	for (unsigned i = 0; i < count; i++) {
		const struct ntm_uplink_info *had = entry(n->uplinks, n->n_uplinks, u[i].dp.ifindex);

		news |= !had || !same_addresses(had, &u[i]);
		if (u[i].dp.ifindex != stay[0].dp.ifindex)
			stay[n_stay++] = u[i];
	}
	if (news)
		ntm_node_use_uplinks(n, stay, n_stay, false);
}

static bool same_way(const struct ntm_dp_way *a, const struct ntm_dp_way *b)
{
	return a->known == b->known && a->out == b->out && a->prefix_len == b->prefix_len &&
	       !memcmp(a->gateway, b->gateway, 16);
}

/* All but what the data plane says of it. */
static bool same(const struct ntm_uplink_info *a, const struct ntm_uplink_info *b)
{
	return same_uplink(a, b) && !strcmp(a->dp.name, b->dp.name) && a->dp.mtu == b->dp.mtu &&
	       same_way(&a->dp.way4, &b->dp.way4) && same_way(&a->dp.way6, &b->dp.way6) && a->n_addrs == b->n_addrs &&
	       !memcmp(a->addrs, b->addrs, a->n_addrs * sizeof(a->addrs[0])) &&
	       !memcmp(a->prefix_len, b->prefix_len, a->n_addrs) && a->default4 == b->default4 &&
	       a->default6 == b->default6 && a->rival4 == b->rival4 && a->rival6 == b->rival6;
}

/* What has been in use all the time. */
bool ntm_uplinks_in_use(const struct ntm_node *n, const struct ntm_uplink_info *u, unsigned count)
{
	for (unsigned i = 0; i < count && count == n->n_uplinks; i++)
		if (!same(&u[i], &n->uplinks[i]))
			return false;
	return count == n->n_uplinks;
}

bool ntm_handoff_begin(struct ntm_node *n, const struct ntm_uplink_info *u, unsigned count)
{
	struct ntm_handoff *h = &n->handoff;
	bool waits = can_wait(n, u, count), any = false;
	uint64_t ms;

	if (h->wanted && waits && same_uplink(&h->wanted[0], &u[0])) {
		memcpy(h->wanted, u, count * sizeof(*u));
		h->n_wanted = count;
		return true;
	}
	if (h->wanted) {
		bool back = n->n_uplinks && count && same_uplink(&n->uplinks[0], &u[0]);

		end(n, back);
		if (back && ntm_uplinks_in_use(n, u, count))
			return true;
	}
	ms = waits ? wait_ms(n, u, count, &any) : 0;
	h->wanted = any ? calloc(NTM_UPLINKS_MAX, sizeof(*u)) : NULL;
	if (!h->wanted)
		return false;
	memcpy(h->wanted, u, count * sizeof(*u));
	h->n_wanted = count;
	h->again = false;
	h->wait_ms = ms;
	h->early++;
	attach(n, u, count);
	ntm_timer_arm(&n->timers, &h->timer, ms);
	send_binds(n);
	return true;
}

void ntm_handoff_answered(struct ntm_node *n)
{
	struct ntm_handoff *h = &n->handoff;

	if (h->wanted && h->waiting && !--h->waiting)
		go(n);
}

void ntm_handoff_init(struct ntm_node *n)
{
	ntm_timer_init(&n->handoff.timer, on_timer, n);
}

void ntm_handoff_stop(struct ntm_node *n)
{
	if (n->handoff.wanted)
		end(n, false);
}
