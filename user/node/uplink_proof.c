/* SPDX-License-Identifier: BSD-2-Clause */
#include "uplink_proof.h"

#include <string.h>

#include "../common/crypto.h"
#include "node.h"

enum {
	ANSWER_MS = 200, /* for the last question's answer, and one and a half round trips */
	RTT_MAX_MS = 500,
	RELAYS = 3, /* asked in one transmission, at most; */
	PEERS = 4,
	DOUBT_EVERY_MS = 2000,
	AGAIN_MIN_MS = 1000,
	AGAIN_MAX_MS = 30000,
	TRUST_MS = 5000,
	STEADY_MS = 60000, /* one that led somewhere for so long did not flap */
};

static const uint16_t ask_ms[] = {0, 100, 300, 500};

enum { SENDS = sizeof(ask_ms) / sizeof(ask_ms[0]) };

static uint64_t now_ms(const struct ntm_node *n)
{
	return ntm_timers_ms(&n->timers);
}

static bool way_out(const struct ntm_uplink_info *u, bool v6)
{
	static const uint8_t none[16];

	return (v6 ? u->default6 : u->default4) && memcmp(v6 ? u->dp.addr6 : u->dp.addr4, none, v6 ? 16 : 4);
}

/* One without a way out is not asked: where its packets would go is the routing table's business. */
static bool usable(const struct ntm_uplink_info *u)
{
	return way_out(u, false) || way_out(u, true);
}

static bool same(const struct ntm_uplink_info *a, const struct ntm_uplink_info *b)
{
	return a->dp.ifindex == b->dp.ifindex && !memcmp(a->dp.addr4, b->dp.addr4, 4) &&
	       !memcmp(a->dp.addr6, b->dp.addr6, 16);
}

/* Of those that are there; -1: it is not, or not as it was. */
static int index_of(const struct ntm_proof *p, const struct ntm_uplink_info *u)
{
	for (unsigned i = 0; i < p->n; i++)
		if (same(&p->watched[i], u))
			return (int)i;
	return -1;
}

static int in_use(const struct ntm_node *n)
{
	return n->n_uplinks ? index_of(&n->proof, &n->uplinks[0]) : -1;
}

bool ntm_proof_nowhere(const struct ntm_node *n, const struct ntm_uplink_info *u)
{
	int i = index_of(&n->proof, u);

	return i >= 0 && n->proof.known[i].nowhere;
}

static unsigned count_usable(const struct ntm_proof *p)
{
	unsigned count = 0;

	for (unsigned i = 0; i < p->n; i++)
		count += usable(&p->watched[i]);
	return count;
}

/* Takes over what is known of those that are still there. */
static void note(struct ntm_proof *p, const struct ntm_uplink_info *u, unsigned count)
{
	struct ntm_proof_uplink known[NTM_UPLINKS_MAX] = {0};

	for (unsigned i = 0; i < count; i++) {
		int was = index_of(p, &u[i]);

		if (was >= 0 && usable(&p->watched[was]) == usable(&u[i]))
			known[i] = p->known[was];
	}
	memcpy(p->known, known, sizeof(known));
	if (count)
		memcpy(p->watched, u, count * sizeof(*u));
	p->n = count;
	/* The only way there is: nothing is better than it. */
	for (unsigned i = 0; i < count && count_usable(p) == 1; i++)
		p->known[i].nowhere = p->known[i].settling = false;
}

/* ---- questions ---- */

static bool to_ask(const struct ntm_tunnel *t, bool silent)
{
	return t->has_keys && t->state == (silent ? NTM_TUN_SILENT : NTM_TUN_UP) && t->route.kind != NTM_ROUTE_RELAY &&
	       ntm_live_recent(t);
}

/* An RS takes packets of a path only from where its ends are bound, so these are the others. */
static unsigned ask_peers(struct ntm_node *n, bool v6, const uint8_t *src, uint32_t token)
{
	unsigned asked = 0;
	struct ntm_dp_stats s;

	for (int silent = 0; silent < 2; silent++) {
		for (struct ntm_tunnel *t = n->tunnels.all; t && asked < PEERS; t = t->next_all) {
			if (!to_ask(t, silent) || n->dp->ops->stats(n->dp, t->id, &s) ||
			    ntm_ip_is_v4(s.endpoint.ip) != !v6)
				continue;
			asked++;
			if (src && ntm_ctl_ask(t, src, token))
				ntm_debug("uplinks: a peer cannot be asked");
		}
	}
	return asked;
}

static unsigned ask_relays(struct ntm_node *n, bool v6, const uint8_t *src, uint32_t token)
{
	unsigned asked = 0;

	/* Those that answered lately first. */
	for (int mute = 0; mute < 2; mute++) {
		for (unsigned i = 0; i < n->relays.n && asked < RELAYS; i++) {
			const struct ntm_relay_known *k = &n->relays.r[i];
			const struct ntm_addr *to = v6 ? &k->offer.relay.ep6 : &k->offer.relay.ep4;

			if (!to->port || (k->seen[v6].rtt_us == NTM_RELAY_RTT_NONE) != mute)
				continue;
			asked++;
			if (src && ntm_relays_ask(n, k, v6, src, (uint64_t)NTM_RELAY_ASKED << 32 | token))
				ntm_debug("uplinks: relay %s cannot be asked", k->offer.relay.name);
		}
	}
	return asked;
}

/* Everybody who can be asked from there. src NULL: nobody is, they are counted. */
static unsigned ask_by(struct ntm_node *n, bool v6, const uint8_t *src, uint32_t token)
{
	const struct ntm_dc_session *dc = &n->dc.slot[NTM_DC_CUR];
	bool by_dc = dc->used && ntm_ip_is_v4(dc->addr.ip) == !v6;

	if (by_dc && src && ntm_dc_ask(&n->dc, src, token))
		ntm_debug("uplinks: the DC cannot be asked");
	return by_dc + ask_relays(n, v6, src, token) + ask_peers(n, v6, src, token);
}

static unsigned ask(struct ntm_node *n, unsigned i, bool send)
{
	const struct ntm_uplink_info *u = &n->proof.watched[i];
	unsigned asked = 0;
	uint8_t src[16];

	for (int v6 = 0; v6 < 2; v6++) {
		if (!way_out(u, v6))
			continue;
		ntm_uplinks_source(u, 1, v6, src);
		asked += ask_by(n, v6, send ? src : NULL, n->proof.known[i].token);
	}
	if (send)
		n->proof.questions++;
	return asked;
}

static uint64_t answer_ms(const struct ntm_node *n)
{
	double ms = n->dc.rtt_ms;

	for (unsigned i = 0; i < n->relays.n; i++) {
		for (int v6 = 0; v6 < 2; v6++) {
			uint32_t us = n->relays.r[i].seen[v6].rtt_us;

			if (us != NTM_RELAY_RTT_NONE && us / 1e3 > ms)
				ms = us / 1e3;
		}
	}
	return ANSWER_MS + (uint64_t)(1.5 * (ms < RTT_MAX_MS ? ms : RTT_MAX_MS));
}

static void transmit(struct ntm_node *n)
{
	struct ntm_proof *p = &n->proof;

	for (unsigned i = 0; i < p->n; i++)
		if (p->known[i].asked && !p->known[i].answered)
			ask(n, i, true);
	p->sends++;
	ntm_timer_arm(&n->timers, &p->round_timer,
		      p->sends < SENDS ? (uint64_t)(ask_ms[p->sends] - ask_ms[p->sends - 1]) : answer_ms(n));
}

static bool can_ask(struct ntm_node *n, unsigned i)
{
	return usable(&n->proof.watched[i]) && ask(n, i, false);
}

/* Those whose bits are set, also if a round is under way, which begins anew. False: without randomness, nobody. */
static bool begin(struct ntm_node *n, uint32_t who)
{
	struct ntm_proof *p = &n->proof;
	uint32_t token;

	if (!who || ntm_random(&token, sizeof(token)))
		return false;
	for (unsigned i = 0; i < p->n; i++) {
		struct ntm_proof_uplink *k = &p->known[i];

		if (!(who & 1u << i) || k->asked)
			continue;
		k->asked = true;
		k->token = token + i;
	}
	p->round = true;
	p->sends = 0;
	p->began_ns = ntm_timers_ns(&n->timers);
	transmit(n);
	return true;
}

static void end_round(struct ntm_node *n)
{
	struct ntm_proof *p = &n->proof;

	ntm_timer_stop(&n->timers, &p->round_timer);
	p->round = p->doubted = false;
	for (unsigned i = 0; i < p->n; i++)
		p->known[i].asked = p->known[i].answered = false;
}

static void arm_again(struct ntm_node *n)
{
	struct ntm_proof *p = &n->proof;
	uint64_t now = now_ms(n), next = UINT64_MAX;

	for (unsigned i = 0; i < p->n; i++)
		if (p->known[i].nowhere && p->known[i].again_ms < next)
			next = p->known[i].again_ms;
	if (next == UINT64_MAX)
		ntm_timer_stop(&n->timers, &p->again_timer);
	else
		ntm_timer_arm(&n->timers, &p->again_timer, next > now ? next - now : 1);
}

/* ---- what follows from answers ---- */

static void say(struct ntm_node *n, unsigned i, const char *what, const char *reason)
{
	json_object *ev = ntm_node_event(n, what);

	ntm_info("uplink %s: %s: %s", n->proof.watched[i].dp.name, reason,
		 n->proof.known[i].nowhere ? "passed over until it answers" : "taken back");
	if (!ev)
		return;
	json_object_object_add(ev, "uplink", json_object_new_string(n->proof.watched[i].dp.name));
	json_object_object_add(ev, "reason", json_object_new_string(reason));
	ntm_node_emit(n, ev);
}

static uint32_t doubled(uint32_t ms)
{
	if (!ms)
		return AGAIN_MIN_MS;
	return 2 * ms < AGAIN_MAX_MS ? 2 * ms : AGAIN_MAX_MS;
}

static void leads_nowhere(struct ntm_node *n, unsigned i)
{
	struct ntm_proof_uplink *k = &n->proof.known[i];
	uint64_t now = now_ms(n);

	k->nowhere = true;
	k->settling = false;
	k->trusted_ms = 0;
	k->backoff_ms = k->back_ms && now - k->back_ms < STEADY_MS ? doubled(k->backoff_ms) : AGAIN_MIN_MS;
	k->again_ms = now + k->backoff_ms;
	n->proof.passed_over++;
	say(n, i, "uplink_passed_over", "leads nowhere");
}

static void leads_again(struct ntm_node *n, unsigned i)
{
	struct ntm_proof_uplink *k = &n->proof.known[i];
	uint64_t now = now_ms(n);

	k->nowhere = k->settling = false;
	k->back_ms = now;
	k->trusted_ms = now + TRUST_MS;
	n->proof.taken_back++;
	say(n, i, "uplink_taken_back", "answers again");
}

/* Something authentic came since then. */
static bool heard_since(struct ntm_node *n, uint64_t ns)
{
	struct ntm_dp_stats s;

	for (struct ntm_tunnel *t = n->tunnels.all; t; t = t->next_all)
		if (t->route_rx_ns > ns || (!n->dp->ops->stats(n->dp, t->id, &s) && s.last_rx_ns > ns))
			return true;
	return false;
}

static bool other_answered(const struct ntm_proof *p, unsigned but)
{
	for (unsigned i = 0; i < p->n; i++)
		if (i != but && p->known[i].asked && p->known[i].answered)
			return true;
	return false;
}

/* It has answered. True: that changes what is to be used. */
static bool conclude_answer(struct ntm_node *n, unsigned i)
{
	struct ntm_proof_uplink *k = &n->proof.known[i];

	if (!k->nowhere) {
		k->trusted_ms = now_ms(n) + TRUST_MS;
		return true;
	}
	if (k->settling) {
		leads_again(n, i);
		return true;
	}
	k->settling = true;
	k->again_ms = now_ms(n) + n->conf.uplink_settle_ms;
	return false;
}

static void conclude_silence(struct ntm_node *n, unsigned i)
{
	struct ntm_proof *p = &n->proof;
	struct ntm_proof_uplink *k = &p->known[i];
	int used = in_use(n);
	bool heard;

	if (k->nowhere) {
		k->settling = false;
		k->backoff_ms = doubled(k->backoff_ms);
		k->again_ms = now_ms(n) + k->backoff_ms;
		return;
	}
	/* By the one in use peers may be heard of who cannot answer; and by others, those who don't know it yet. */
	heard = used >= 0 && (int)i != used && p->known[used].asked && heard_since(n, p->began_ns);
	if (heard || other_answered(p, i))
		leads_nowhere(n, i);
	else
		k->trusted_ms = now_ms(n) + TRUST_MS;
}

/* Those with a way out that lead somewhere, those that don't, and those without a way out. */
static unsigned rank(const struct ntm_proof *p, unsigned i)
{
	if (!usable(&p->watched[i]))
		return 2;
	return p->known[i].nowhere;
}

static unsigned ranked(const struct ntm_proof *p, unsigned order[NTM_UPLINKS_MAX])
{
	unsigned count = 0;

	for (unsigned r = 0; r <= 2; r++)
		for (unsigned i = 0; i < p->n; i++)
			if (rank(p, i) == r)
				order[count++] = i;
	return count;
}

/* The first one may have to answer before it is used in place of the one that is. */
static bool must_answer(const struct ntm_node *n, unsigned first, int used)
{
	const struct ntm_proof *p = &n->proof;

	return used >= 0 && (unsigned)used != first && usable(&p->watched[used]) && usable(&p->watched[first]) &&
	       !p->known[used].nowhere && p->known[first].trusted_ms <= now_ms(n);
}

/* Fills u. That its first one is held for want of an answer, or another one's turn, is noted. */
static void put_in_order(struct ntm_node *n, struct ntm_uplink_info *u, bool force)
{
	struct ntm_proof *p = &n->proof;
	unsigned order[NTM_UPLINKS_MAX], count = ranked(p, order), out = 0;
	int used = in_use(n);

	p->held = false;
	if (count && !force && must_answer(n, order[0], used) && can_ask(n, order[0]) && can_ask(n, (unsigned)used)) {
		p->held = (p->round && p->known[order[0]].asked) || begin(n, 1u << order[0] | 1u << used);
		if (p->held)
			u[out++] = p->watched[used];
	}
	for (unsigned i = 0; i < count; i++)
		if (!p->held || order[i] != (unsigned)used)
			u[out++] = p->watched[order[i]];
	p->reordered = false;
	for (unsigned i = 0; i < count; i++)
		p->reordered |= !same(&u[i], &p->watched[i]);
}

static void apply(struct ntm_node *n)
{
	struct ntm_proof *p = &n->proof;
	struct ntm_uplink_info u[NTM_UPLINKS_MAX];

	put_in_order(n, u, false);
	if (!p->n || (ntm_uplinks_in_use(n, u, p->n) && !n->handoff.wanted))
		return;
	n->mobility.noticed_ns = ntm_timers_ns(&n->timers);
	if (!ntm_handoff_begin(n, u, p->n))
		ntm_node_use_uplinks(n, u, p->n, false);
}

static bool pending(const struct ntm_proof *p)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->known[i].asked && !p->known[i].answered)
			return true;
	return false;
}

static void finish(struct ntm_node *n)
{
	struct ntm_proof *p = &n->proof;

	for (unsigned i = 0; i < p->n; i++)
		if (p->known[i].asked && !p->known[i].answered)
			conclude_silence(n, i);
	end_round(n);
	arm_again(n);
	apply(n);
}

static void on_round_timer(void *arg)
{
	struct ntm_node *n = arg;

	if (n->proof.sends < SENDS)
		transmit(n);
	else
		finish(n);
}

static void on_again_timer(void *arg)
{
	struct ntm_node *n = arg;
	struct ntm_proof *p = &n->proof;
	uint64_t now = now_ms(n);
	uint32_t who = 0;

	/* What is asked now is asked enough; the next is after that. */
	if (p->round)
		return;
	for (unsigned i = 0; i < p->n; i++) {
		if (!p->known[i].nowhere || p->known[i].again_ms > now)
			continue;
		if (can_ask(n, i))
			who |= 1u << i;
		else
			p->known[i].again_ms = now + AGAIN_MAX_MS;
	}
	if (!begin(n, who))
		arm_again(n);
}

/* In doubt of the one in use, the others are asked for its sake only. */
static void spare_others(struct ntm_proof *p)
{
	for (unsigned i = 0; i < p->n && !p->held; i++)
		p->known[i].asked &= p->known[i].answered || p->known[i].nowhere;
}

bool ntm_proof_answered(struct ntm_node *n, uint32_t token)
{
	struct ntm_proof *p = &n->proof;
	struct ntm_proof_uplink *k = NULL;
	int used = in_use(n);
	bool news;

	for (unsigned i = 0; i < p->n && p->round && !k; i++)
		if (p->known[i].asked && p->known[i].token == token)
			k = &p->known[i];
	if (!k)
		return false;
	if (k->answered)
		return true;
	k->answered = true;
	news = conclude_answer(n, (unsigned)(k - p->known));
	if (used >= 0 && k == &p->known[used] && p->doubted)
		spare_others(p);
	/* What is used next was asked for; what was used before, to compare. */
	else if (used >= 0 && news && p->held && !p->known[used].answered)
		p->known[used].asked = false;
	if (!pending(p))
		finish(n);
	else if (news && p->held)
		apply(n);
	return true;
}

static void ask_all(struct ntm_node *n)
{
	struct ntm_proof *p = &n->proof;
	uint32_t who = 0;

	for (unsigned i = 0; i < p->n; i++)
		if (can_ask(n, i))
			who |= 1u << i;
	p->doubt_ms = now_ms(n) + DOUBT_EVERY_MS;
	p->doubted = begin(n, who);
}

void ntm_proof_doubt(struct ntm_node *n)
{
	struct ntm_proof *p = &n->proof;
	int used = in_use(n);

	if (used >= 0 && count_usable(p) > 1 && now_ms(n) >= p->doubt_ms && !(p->round && p->known[used].asked) &&
	    can_ask(n, (unsigned)used))
		ask_all(n);
}

void ntm_proof_answered_aside(struct ntm_node *n)
{
	int used = in_use(n);

	if (used >= 0 && count_usable(&n->proof) > 1 && can_ask(n, (unsigned)used))
		ask_all(n);
}

bool ntm_proof_order(struct ntm_node *n, struct ntm_uplink_info *u, unsigned count, bool force)
{
	struct ntm_proof *p = &n->proof;
	bool was = p->reordered;

	note(p, u, count);
	/* Somebody knows better: those that led nowhere may lead somewhere now. */
	for (unsigned i = 0; i < p->n && force; i++)
		p->known[i].again_ms = p->known[i].backoff_ms = 0;
	put_in_order(n, u, force);
	if (p->round && !pending(p))
		end_round(n);
	arm_again(n);
	return !force && (p->reordered || was) && !n->handoff.wanted && ntm_uplinks_in_use(n, u, count);
}

void ntm_proof_init(struct ntm_node *n)
{
	ntm_timer_init(&n->proof.round_timer, on_round_timer, n);
	ntm_timer_init(&n->proof.again_timer, on_again_timer, n);
}

void ntm_proof_stop(struct ntm_node *n)
{
	ntm_timer_stop(&n->timers, &n->proof.round_timer);
	ntm_timer_stop(&n->timers, &n->proof.again_timer);
}
