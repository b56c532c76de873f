/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connectivity checks after RFC 8445, inside the path and so authenticated: which of the peer's addresses answer? Both
 * ends ask all of them at once, so that NATs and firewalls on both sides see packets go out; only the initiator
 * chooses. A check moves nothing, but one that nominates, which the responder follows and answers.
 *
 *   round: 0, 50, 150, 350, 750 ms to each address without an answer; over 400 ms later
 *   while on the relay: a round again after 1, 2, 4 ... 30 s; while direct: each 60 s if something could be better
 *
 * The peer hears of each round by an NTM Update with our candidates over the route in use, and begins one, too: what
 * one end sends is lost at the other end's NAT until that has sent.
 */
#include <inttypes.h>
#include <string.h>

#include "node.h"

enum {
	ROUND_TRIES = 5,
	ROUND_FIRST_MS = 50,
	ROUND_LEAST_MS = 250, /* between two beginnings, whoever asks for them */
	BETTER_WAIT_MS = 50,  /* at most, for an answer from a better address */
	NOMINATE_MS = 100,
	NOMINATIONS = 4,
	TELL_MAX = 4,
	AGAIN_MIN_MS = 1000,
	AGAIN_MAX_MS = 30000,
	BETTER_EVERY_MS = 60000,
	STEADY_MS = 30000, /* a direct route that lasted so long was no mistake */
};

static uint64_t now_ns(const struct ntm_tunnel *t)
{
	return ntm_timers_ns(&t->node->timers);
}

static void arm(struct ntm_tunnel *t, struct ntm_timer *timer, uint64_t ms)
{
	ntm_timer_arm(&t->node->timers, timer, ms);
}

static enum ntm_route_kind kind(const struct ntm_tunnel *t, const struct ntm_pair *p)
{
	return ntm_route_kind_of(t, &p->addr, p->cand);
}

static bool reachable(const struct ntm_tunnel *t, const struct ntm_pair *p)
{
	return ntm_node_has_family(t->node, !ntm_ip_is_v4(p->addr.ip));
}

static struct ntm_pair *find(struct ntm_tunnel *t, const struct ntm_addr *a)
{
	for (unsigned i = 0; i < t->checks.n_pairs; i++)
		if (ntm_addr_equal(&t->checks.pairs[i].addr, a))
			return &t->checks.pairs[i];
	return NULL;
}

/* An address of this host at another port is another node on it. */
static bool is_self(const struct ntm_node *n, const struct ntm_addr *a)
{
	return ntohs(a->port) == n->conf.port && ntm_node_has_addr(n, a->ip);
}

static struct ntm_pair *add(struct ntm_tunnel *t, const struct ntm_addr *a, uint8_t cand)
{
	struct ntm_checks *c = &t->checks;
	struct ntm_pair *p = find(t, a);

	if (p) {
		/* A host address that is reflexive, too, is a host address. */
		if (cand && (!p->cand || cand < p->cand))
			p->cand = cand;
		return p;
	}
	if (!a->port || !ntm_ip_is_usable(a->ip) || is_self(t->node, a) || ntm_bind_is_relay(t, a))
		return NULL;
	if (c->n_pairs < NTM_PAIRS_MAX) {
		p = &c->pairs[c->n_pairs++];
	} else {
		/* One learnt from a check gives way; told ones are at most as many as candidates in a message. */
		for (unsigned i = 0; i < NTM_PAIRS_MAX && !p; i++)
			if (!c->pairs[i].cand)
				p = &c->pairs[i];
		if (!p)
			return NULL;
	}
	*p = (struct ntm_pair){.addr = *a, .cand = cand};
	return p;
}

static bool told(const struct ntm_sig *m, const struct ntm_addr *a)
{
	for (unsigned i = 0; i < m->n_candidates; i++)
		if (ntm_addr_equal(&m->candidates[i].addr, a))
			return true;
	return false;
}

void ntm_check_candidates(struct ntm_tunnel *t, const struct ntm_sig *m)
{
	struct ntm_checks *c = &t->checks;
	struct ntm_dp_stats s;
	unsigned kept = 0;

	if (t->node->dp->ops->stats(t->node->dp, t->id, &s))
		return;
	/* Out with those that the peer no longer has, but for the one in use and those that work. */
	for (unsigned i = 0; i < c->n_pairs; i++)
		if (ntm_addr_equal(&c->pairs[i].addr, &s.endpoint) || c->pairs[i].answered_ns || !c->pairs[i].cand ||
		    told(m, &c->pairs[i].addr))
			c->pairs[kept++] = c->pairs[i];
	c->n_pairs = kept;
	for (unsigned i = 0; i < m->n_candidates && i < NTM_CANDIDATES_MAX; i++)
		if (m->candidates[i].kind != NTM_CAND_RELAY)
			add(t, &m->candidates[i].addr, m->candidates[i].kind);
	/*
	 * It may be told only now what kind of address its packets came from. Where the endpoint has moved and the
	 * agent has not been told of that, ntm_route_moved() will say so.
	 */
	if (ntm_addr_equal(&t->route.endpoint, &s.endpoint))
		ntm_route_note(t, &s.endpoint);
}

/* Could this one be nominated over what is in use? */
static bool could_be_better(const struct ntm_tunnel *t, const struct ntm_pair *p)
{
	return reachable(t, p) && (t->route.dead || t->state == NTM_TUN_SILENT || kind(t, p) > t->route.kind);
}

static void send_check(struct ntm_tunnel *t, struct ntm_pair *p)
{
	p->sends++;
	p->sent_ns = now_ns(t);
	ntm_ctl_check(t, &p->addr, 0, &p->txid);
}

static bool wanted(const struct ntm_tunnel *t, const struct ntm_pair *p)
{
	return p->sends && !p->answered_ns && reachable(t, p);
}

static void transmit(struct ntm_tunnel *t)
{
	for (unsigned i = 0; i < t->checks.n_pairs; i++)
		if (wanted(t, &t->checks.pairs[i]))
			send_check(t, &t->checks.pairs[i]);
}

static bool any_wanted(const struct ntm_tunnel *t)
{
	for (unsigned i = 0; i < t->checks.n_pairs; i++)
		if (wanted(t, &t->checks.pairs[i]))
			return true;
	return false;
}

static void on_round_timer(void *arg)
{
	struct ntm_tunnel *t = arg;
	struct ntm_checks *c = &t->checks;

	if (c->round >= ROUND_TRIES || !any_wanted(t)) {
		c->round = 0;
		return;
	}
	transmit(t);
	arm(t, &c->round_timer, (uint64_t)ROUND_FIRST_MS << (c->round < 4 ? c->round : 3));
	c->round++;
}

/* A round has just begun: those that are not in it. */
static void join_round(struct ntm_tunnel *t, bool all)
{
	for (unsigned i = 0; i < t->checks.n_pairs; i++) {
		struct ntm_pair *p = &t->checks.pairs[i];

		if (!p->sends && !p->answered_ns && reachable(t, p) && (all || could_be_better(t, p)))
			send_check(t, p);
	}
}

void ntm_check_tell(struct ntm_tunnel *t)
{
	enum ntm_route_kind least = t->move.family_lost ? NTM_ROUTE_NONE : NTM_ROUTE_LAN;
	const struct ntm_checks *c = &t->checks;
	unsigned n_told = 0;

	/* Where the peer's packets take the way that they took before, another would only be better. */
	if (!t->move.family_lost && (t->route.kind == NTM_ROUTE_LAN || t->route.kind == NTM_ROUTE_RELAY))
		return;
	for (unsigned i = 0; i < c->n_pairs && n_told < TELL_MAX; i++) {
		if (!c->pairs[i].cand || !reachable(t, &c->pairs[i]) || kind(t, &c->pairs[i]) < least)
			continue;
		ntm_ctl_update(t, &c->pairs[i].addr, NTM_CHECK_MOVED | NTM_CHECK_STAY);
		n_told++;
	}
	if (n_told)
		ntm_move_told(t);
}

void ntm_check_start(struct ntm_tunnel *t, bool all)
{
	struct ntm_checks *c = &t->checks;
	bool any = false;

	if (!t->has_keys || (t->state != NTM_TUN_UP && t->state != NTM_TUN_SILENT))
		return;
	if (c->round && now_ns(t) - c->began_ns < ROUND_LEAST_MS * 1000000ull) {
		join_round(t, all);
		return;
	}
	c->began_ns = now_ns(t);
	c->first_answer_ns = 0;
	for (unsigned i = 0; i < c->n_pairs; i++) {
		struct ntm_pair *p = &c->pairs[i];

		p->answered_ns = 0;
		p->txid = 0;
		p->sends = reachable(t, p) && (all || could_be_better(t, p));
		any |= p->sends;
	}
	if (!any) {
		c->round = 0;
		ntm_timer_stop(&t->node->timers, &c->round_timer);
		return;
	}
	c->round = 1;
	transmit(t);
	arm(t, &c->round_timer, ROUND_FIRST_MS);
}

static bool better_possible(const struct ntm_tunnel *t)
{
	for (unsigned i = 0; i < t->checks.n_pairs; i++)
		if (could_be_better(t, &t->checks.pairs[i]))
			return true;
	return false;
}

void ntm_check_trickle(struct ntm_tunnel *t)
{
	if (!t->has_keys || (t->state != NTM_TUN_UP && t->state != NTM_TUN_SILENT))
		return;
	ntm_ctl_update(t, NULL, t->move.at_ns ? NTM_CHECK_MOVED : 0);
	ntm_check_start(t, false);
}

void ntm_check_later(struct ntm_tunnel *t)
{
	struct ntm_checks *c = &t->checks;
	uint64_t now = now_ns(t) / 1000000u;

	if (t->route.kind != NTM_ROUTE_RELAY) {
		c->direct_since_ms = now;
		arm(t, &c->again_timer, BETTER_EVERY_MS);
		return;
	}
	/* A direct route that comes and goes is looked for ever more seldom. */
	if (c->direct_since_ms && now - c->direct_since_ms >= STEADY_MS)
		c->backoff_ms = 0;
	c->backoff_ms = c->backoff_ms ? 2 * c->backoff_ms : AGAIN_MIN_MS;
	if (c->backoff_ms > AGAIN_MAX_MS)
		c->backoff_ms = AGAIN_MAX_MS;
	arm(t, &c->again_timer, c->backoff_ms);
}

static void on_again_timer(void *arg)
{
	struct ntm_tunnel *t = arg;
	struct ntm_checks *c = &t->checks;

	if (t->state != NTM_TUN_UP && t->state != NTM_TUN_SILENT)
		return;
	/*
	 * One end sets the pace; the other begins its rounds on the Updates. At the relay even if no address that is
	 * known of the peer could be better: what it last told us may be old.
	 */
	if (t->role == NTM_ROLE_INITIATOR && (t->route.kind == NTM_ROUTE_RELAY || better_possible(t)))
		ntm_check_trickle(t);
	if (t->route.kind != NTM_ROUTE_RELAY) {
		arm(t, &c->again_timer, BETTER_EVERY_MS);
		return;
	}
	c->backoff_ms = 2 * c->backoff_ms > AGAIN_MAX_MS ? AGAIN_MAX_MS : 2 * c->backoff_ms;
	arm(t, &c->again_timer, c->backoff_ms ? c->backoff_ms : AGAIN_MIN_MS);
}

static void send_nomination(struct ntm_tunnel *t)
{
	struct ntm_checks *c = &t->checks;

	c->nominations++;
	ntm_ctl_check(t, &c->nominated, NTM_CHECK_NOMINATE, &c->nominated_txid);
	arm(t, &c->nominate_timer, NOMINATE_MS + (uint64_t)t->rtt_ms);
}

static void nominate(struct ntm_tunnel *t, const struct ntm_addr *a)
{
	struct ntm_checks *c = &t->checks;

	c->nominated = *a;
	c->nominated_txid = 0;
	c->nominations = 0;
	send_nomination(t);
}

/* Of those that answered, the most preferred, and among equals the nearest. */
static struct ntm_pair *best_answered(struct ntm_tunnel *t)
{
	struct ntm_pair *best = NULL;

	for (unsigned i = 0; i < t->checks.n_pairs; i++) {
		struct ntm_pair *p = &t->checks.pairs[i];

		if (!p->answered_ns)
			continue;
		if (!best || kind(t, p) > kind(t, best) || (kind(t, p) == kind(t, best) && p->rtt_ms < best->rtt_ms))
			best = p;
	}
	return best;
}

/* Initiator: a better route works. Wait for a still better one? */
static void choose(struct ntm_tunnel *t)
{
	struct ntm_checks *c = &t->checks;
	struct ntm_pair *best = best_answered(t);
	uint64_t waited_ms = (now_ns(t) - c->first_answer_ns) / 1000000u, wait_ms = BETTER_WAIT_MS;
	bool pending = false;

	if (!best || c->nominated.port || kind(t, best) <= t->route.kind)
		return;
	if (best->rtt_ms > 0 && best->rtt_ms < wait_ms)
		wait_ms = (uint64_t)best->rtt_ms + 1;
	for (unsigned i = 0; i < c->n_pairs; i++)
		pending |= wanted(t, &c->pairs[i]) && kind(t, &c->pairs[i]) > kind(t, best);
	if (pending && waited_ms < wait_ms)
		arm(t, &c->nominate_timer, wait_ms - waited_ms);
	else
		nominate(t, &best->addr);
}

/* A still better one may have answered while the ends agreed on that one. */
static void choose_again(struct ntm_tunnel *t, const struct ntm_addr *agreed)
{
	const struct ntm_pair *best = best_answered(t);

	if (best && kind(t, best) > ntm_route_of_endpoint(t, agreed))
		choose(t);
}

static void on_nominate_timer(void *arg)
{
	struct ntm_tunnel *t = arg;
	struct ntm_checks *c = &t->checks;

	if (!c->nominated.port) {
		choose(t);
	} else if (c->nominations < NOMINATIONS) {
		send_nomination(t);
	} else {
		struct ntm_pair *p = find(t, &c->nominated);

		if (p)
			p->answered_ns = 0;
		c->nominated = (struct ntm_addr){0};
	}
}

/*
 * When one end sends through the RS and the other directly, and their packets cross on the way, each follows the other
 * to where it has just left. So one end says where to stay.
 */
void ntm_check_followed(struct ntm_tunnel *t, const struct ntm_addr *a)
{
	if (t->role == NTM_ROLE_INITIATOR && !t->checks.nominated.port)
		nominate(t, a);
}

void ntm_check_answered(struct ntm_tunnel *t, const struct ntm_sig *m, const struct ntm_addr *from)
{
	struct ntm_checks *c = &t->checks;
	struct ntm_pair *p = find(t, from);

	if (ntm_bind_is_relay(t, from)) {
		t->route.relay_heard_ns = now_ns(t);
		if (t->route.dead)
			ntm_route_fall_back(t, t->route.relay_heard_ns);
		return;
	}
	if (c->nominated.port && m->txid == c->nominated_txid && ntm_addr_equal(from, &c->nominated)) {
		struct ntm_addr to = c->nominated;

		c->nominated = (struct ntm_addr){0};
		ntm_timer_stop(&t->node->timers, &c->nominate_timer);
		if (!ntm_route_set(t, &to, NTM_HOLD_ENDPOINT_MS, "better"))
			ntm_live_heard(t);
		choose_again(t, &to);
		return;
	}
	/* An answer from elsewhere than where the check went to proves nothing (RFC 8445, section 7.2.5.2.1). */
	if (!p || !p->txid || m->txid != p->txid || p->answered_ns)
		return;
	p->answered_ns = now_ns(t);
	p->rtt_ms = (double)(p->answered_ns - p->sent_ns) / 1e6;
	if (!c->first_answer_ns)
		c->first_answer_ns = p->answered_ns;
	if (t->route.dead)
		ntm_route_fall_back(t, p->answered_ns);
	else if (t->role == NTM_ROLE_INITIATOR)
		choose(t);
}

void ntm_check_received(struct ntm_tunnel *t, const struct ntm_sig *m, const struct ntm_addr *from)
{
	bool nominates = ntm_sig_has(m, NTM_F_CHECK_FLAGS) && m->check_flags & NTM_CHECK_NOMINATE;
	struct ntm_checks *c = &t->checks;
	struct ntm_pair *p;

	if (ntm_bind_is_relay(t, from))
		return;
	p = add(t, from, 0);
	if (nominates && t->role == NTM_ROLE_RESPONDER) {
		if (!ntm_route_set(t, from, NTM_HOLD_ENDPOINT_MS, "nominated by the peer"))
			ntm_live_heard(t);
		return;
	}
	/* It came through from there: ours probably gets through to there now. */
	if (!p || p->answered_ns || !could_be_better(t, p) ||
	    (c->round && p->sends && p->sends < ROUND_TRIES && p->txid &&
	     now_ns(t) - p->sent_ns < ROUND_FIRST_MS * 1000000ull))
		return;
	if (!c->round) {
		c->round = 1;
		c->first_answer_ns = 0;
		arm(t, &c->round_timer, ROUND_FIRST_MS);
	}
	send_check(t, p);
}

struct ntm_addr ntm_check_working(const struct ntm_tunnel *t, uint64_t since_ns)
{
	const struct ntm_pair *best = NULL;
	struct ntm_dp_stats s;

	if (t->node->dp->ops->stats(t->node->dp, t->id, &s))
		return (struct ntm_addr){0};
	for (unsigned i = 0; i < t->checks.n_pairs; i++) {
		const struct ntm_pair *p = &t->checks.pairs[i];

		if (p->answered_ns >= since_ns && p->answered_ns && !ntm_addr_equal(&p->addr, &s.endpoint) &&
		    (!best || kind(t, p) > kind(t, best)))
			best = p;
	}
	return best ? best->addr : (struct ntm_addr){0};
}

void ntm_check_stop(struct ntm_tunnel *t)
{
	ntm_timer_stop(&t->node->timers, &t->checks.round_timer);
	ntm_timer_stop(&t->node->timers, &t->checks.nominate_timer);
	ntm_timer_stop(&t->node->timers, &t->checks.again_timer);
	t->checks.round = 0;
	t->checks.nominated = (struct ntm_addr){0};
}

void ntm_check_init_timers(struct ntm_tunnel *t)
{
	ntm_timer_init(&t->checks.round_timer, on_round_timer, t);
	ntm_timer_init(&t->checks.nominate_timer, on_nominate_timer, t);
	ntm_timer_init(&t->checks.again_timer, on_again_timer, t);
}
