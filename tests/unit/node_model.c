/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agents' path machinery against a model of what is possible at all: schedules of moves, NATs that forget, relays
 * and DC that come and go, crashes and loss, drawn by chance; then all faults end, and the model says what has to come.
 *
 *   NTM_SEED=N       only the schedule of that seed, with each step printed
 *   NTM_SCHEDULES=N  how many, one seed after the other (300), from NTM_SEED on if that is given, too, and in silence
 *
 * Randomness of keys and identifiers is drawn from the seed, too, so that a schedule runs again as it ran.
 */
#include <criterion/criterion.h>
#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../user/common/crypto.h"
#include "../harness/nodeworld.h"

enum {
	STEPS_MAX = 12,
	BACK_MS = 3000,    /* after the last fault traffic flows both ways */
	SETTLE_MS = 70000, /* after that the route is the best there is */
	OLD_PATHS = 4,     /* at an end at one time, with the one in use */
	SENT_SLOTS = 1 << 16,
	SHOWN_MAX = 30,
};

struct model {
	bool plugged[WORLD_NODES];
	bool relay_up, dc_up;
	unsigned loss; /* of 100 */
};

static struct world w;
static struct model m;
static uint64_t seed_state;
static bool loud;
static unsigned slowest_ms, n_wrong, n_twins;
static uint64_t slowest_seed, total_ms;

/* ---- chance: splitmix64 ---- */

static uint64_t chance(void)
{
	uint64_t z = seed_state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static unsigned below(unsigned n)
{
	return (unsigned)(chance() % n);
}

int __wrap_ntm_random(void *out, size_t len);
int __wrap_ntm_x25519_generate(uint8_t priv[NTM_DH_LEN], uint8_t pub[NTM_DH_LEN]);

int __wrap_ntm_random(void *out, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)out)[i] = (uint8_t)chance();
	return 0;
}

int __wrap_ntm_x25519_generate(uint8_t priv[NTM_DH_LEN], uint8_t pub[NTM_DH_LEN])
{
	return __wrap_ntm_random(priv, NTM_DH_LEN) ?: ntm_x25519_public(priv, pub);
}

/* ---- the model: which routes there can be ---- */

static bool direct4(enum world_nat a, enum world_nat b)
{
	bool asks_a = a != WORLD_OPEN && a != WORLD_ONE_TO_ONE, asks_b = b != WORLD_OPEN && b != WORLD_ONE_TO_ONE;

	/* An endpoint-dependent NAT is met only by who lets in whoever comes. */
	return !(a == WORLD_HARD && asks_b) && !(b == WORLD_HARD && asks_a);
}

static bool direct_possible(void)
{
	const struct world_net *a = &w.net[0], *b = &w.net[1];

	return (!a->no6 && !b->no6) || (!a->no4 && !b->no4 && direct4(a->nat, b->nat));
}

/* ---- what must never happen, seen on every packet that an agent sends ---- */

static struct sent {
	uint64_t id;
	uint64_t nonce; /* counter, suite, epoch, sender */
	uint64_t digest;
} sent[SENT_SLOTS];

static uint64_t digest(const uint8_t *p, size_t len)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h | 1;
}

/* A counter never seals two messages: in the agent's own lane and in sessions. (The kernel lane's is the kernel's.) */
static void watch(struct world *world, const struct world_packet *p)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)p->data;
	struct sent s = {.id = h->id, .digest = digest(p->data, p->len)};
	bool control = ntm_hdr_type(h) == NTM_T_DATA && ntm_hdr_suite(h) == NTM_SUITE_CONTROL;
	size_t i;

	(void)world;
	if (p->from >= WORLD_NODES || (!control && ntm_hdr_type(h) != NTM_T_SIGNAL))
		return;
	s.nonce = ((uint64_t)be16toh(h->ctr_hi) << 32 | be32toh(h->ctr_lo)) << 16 |
		  (uint64_t)(h->suite_epoch << 4 | p->from << 1 | 1);
	i = (s.id ^ s.nonce * 0x9e3779b97f4a7c15u >> 32) % SENT_SLOTS;
	cr_assert(sent[i].id != s.id || sent[i].nonce != s.nonce || sent[i].digest == s.digest,
		  "one counter for two messages, type %d", ntm_hdr_type(h));
	sent[i] = s;
}

static bool lose(struct world *world, const struct world_packet *p)
{
	(void)world;
	(void)p;
	return m.loss && below(100) < m.loss;
}

/* ---- what happens ---- */

static struct world_net random_net(void)
{
	static const enum world_nat nats[] = {WORLD_OPEN, WORLD_ONE_TO_ONE, WORLD_EASY, WORLD_HARD, WORLD_FIREWALL};
	struct world_net n = {.nat = nats[below(5)], .far = true};

	switch (below(4)) {
	case 0:
		n.no4 = true;
		break;
	case 1:
		break;
	default:
		n.no6 = true;
	}
	return n;
}

static const char *nat_name(const struct world_net *n)
{
	static const char *const names[] = {"open", "one-to-one", "easy", "hard", "firewall"};

	return names[n->nat];
}

#define TELL(...)                                                                       \
	do {                                                                            \
		if (loud) {                                                             \
			printf("%8.3f  ", (double)(world_ns() - 1000000000000u) / 1e9); \
			printf(__VA_ARGS__);                                            \
			putchar('\n');                                                  \
		}                                                                       \
	} while (0)

static void move(int node)
{
	struct world_net n = random_net();

	TELL("%s moves: %s%s%s", node ? "bob" : "alice", nat_name(&n), n.no4 ? "" : " IPv4", n.no6 ? "" : " IPv6");
	m.plugged[node] = true;
	world_set_net(&w, node, &n);
}

static void unplug(int node)
{
	struct world_net n = w.net[node];

	TELL("%s is unplugged", node ? "bob" : "alice");
	m.plugged[node] = false;
	n.no4 = n.no6 = true;
	world_set_net(&w, node, &n);
}

static uint64_t received(int node)
{
	uint64_t n = 0;

	for (struct ntm_tunnel *t = w.n[node]->tunnels.all; t; t = t->next_all) {
		struct ntm_dp_fake_path *p = ntm_dp_fake_path(w.n[node]->dp, t->id);

		n += p ? p->stats.rx_packets : 0;
	}
	return n;
}

/* An application's packet: on the path there is, else one that asks for a path, as the kernel's lane does. */
static void application(int node)
{
	static const uint8_t packet[64] = {0x45};
	uint8_t vip[16];

	if (world_traffic(&w, node, 100))
		return;
	ntm_ip_parse(node ? "100.96.0.1" : "100.96.0.2", vip);
	ntm_dp_fake_no_path(w.n[node]->dp, vip, packet, sizeof(packet));
	w.n[node]->dp->ops->dispatch(w.n[node]->dp);
}

static void traffic(unsigned ms, unsigned every)
{
	for (unsigned i = 0; i < ms; i += every) {
		application(0);
		application(1);
		world_run(&w, every);
	}
}

static void step(void)
{
	int node = (int)below(2);

	switch (below(11)) {
	case 0:
	case 1:
		move(node);
		break;
	case 2:
		move(0);
		move(1);
		break;
	case 3:
		unplug(node);
		break;
	case 4:
		m.relay_up = !m.relay_up;
		TELL("the relay is %s", m.relay_up ? "up" : "down");
		w.rs[0].down = !m.relay_up;
		break;
	case 5:
		m.dc_up = !m.dc_up;
		TELL("the DC is %s", m.dc_up ? "up" : "down");
		w.dc.down = !m.dc_up;
		break;
	case 6:
		TELL("the DC begins anew");
		world_dc_restart(&w, true);
		break;
	case 7:
		if (!m.plugged[node])
			break;
		TELL("the agent of %s crashes", node ? "bob" : "alice");
		world_restart(&w, node);
		break;
	case 8:
		m.loss = below(2) ? below(50) : 0;
		TELL("%u %% are lost", m.loss);
		break;
	case 9:
		TELL("the NAT of %s forgets", node ? "bob" : "alice");
		w.flows[node].n = 0;
		break;
	case 10:
		TELL("a long time");
		traffic(60000 + below(80000), 500);
		break;
	}
	traffic(below(3) ? below(2000) : below(20000), 100);
}

static void heal(void)
{
	m.loss = 0;
	m.relay_up = m.dc_up = true;
	w.rs[0].down = w.dc.down = false;
	for (int i = 0; i < WORLD_NODES; i++)
		if (!m.plugged[i])
			move(i);
	TELL("all faults are over");
}

/* Until packets have come both ways in one round, ms. */
static unsigned until_back(unsigned most)
{
	for (unsigned ms = 0; ms < most; ms += 20) {
		uint64_t before[2] = {received(0), received(1)};

		application(0);
		application(1);
		world_run(&w, 20);
		if (received(0) > before[0] && received(1) > before[1])
			return ms;
	}
	return most;
}

static const struct ntm_tunnel *in_use(int node)
{
	for (struct ntm_tunnel *t = w.n[node]->tunnels.all; t; t = t->next_all) {
		struct ntm_dp_fake_path *p = ntm_dp_fake_path(w.n[node]->dp, t->id);

		if (p && p->active)
			return t;
	}
	return NULL;
}

/* Of this schedule; the others go on. */
static bool wrong(uint64_t seed, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(uint64_t seed, const char *fmt, ...)
{
	va_list args;

	if (n_wrong++ < SHOWN_MAX || loud) {
		fprintf(stderr, "NTM_SEED=%lu: ", (unsigned long)seed);
		va_start(args, fmt);
		vfprintf(stderr, fmt, args);
		va_end(args);
		fputc('\n', stderr);
	}
	return false;
}

static void dump(const struct ntm_tunnel *t)
{
	char a[NTM_ADDR_STRLEN];

	printf("  %s %s %s, round %u, backoff %lu ms, bound %d peer %d\n", t->name, ntm_tunnel_state_name(t->state),
	       ntm_route_kind_name(t->route.kind), t->checks.round, (unsigned long)t->checks.backoff_ms, t->bind.bound,
	       t->bind.peer);
	for (unsigned i = 0; i < t->checks.n_pairs; i++) {
		const struct ntm_pair *p = &t->checks.pairs[i];

		ntm_addr_format(&p->addr, a);
		printf("    %s cand %u, sent %.3f, answered %.3f\n", a, p->cand,
		       p->sent_ns ? (double)(p->sent_ns - 1000000000000u) / 1e9 : 0.,
		       p->answered_ns ? (double)(p->answered_ns - 1000000000000u) / 1e9 : 0.);
	}
}

static bool settled(uint64_t seed)
{
	const struct ntm_tunnel *t[2] = {in_use(0), in_use(1)};

	if (!t[0] || !t[1])
		return wrong(seed, "no path in use");
	for (int i = 0; loud && i < 2; i++)
		dump(t[i]);
	/* Both asked at once and no longer know that: each sends on its own. One path too many, and nothing is lost. */
	n_twins += t[0]->id != t[1]->id;
	for (int i = 0; i < 2; i++) {
		const char *who = i ? "bob" : "alice";

		if (t[i]->state != NTM_TUN_UP)
			return wrong(seed, "%s: %s", who, ntm_tunnel_state_name(t[i]->state));
		/* What looks impossible may go on from before, while NATs remember. */
		if (t[i]->route.kind == NTM_ROUTE_RELAY && direct_possible())
			return wrong(seed, "%s: %s, %s and %s", who, ntm_route_kind_name(t[i]->route.kind),
				     nat_name(&w.net[0]), nat_name(&w.net[1]));
		if (w.n[i]->tunnels.n > OLD_PATHS)
			return wrong(seed, "%s keeps %zu paths", who, w.n[i]->tunnels.n);
	}
	return true;
}

static bool schedule(uint64_t seed)
{
	struct world_net net[WORLD_NODES];
	unsigned steps, ms;
	bool good = true;

	seed_state = seed;
	memset(sent, 0, sizeof(sent));
	m = (struct model){.plugged = {true, true}, .relay_up = true, .dc_up = true};
	for (int i = 0; i < WORLD_NODES; i++)
		net[i] = random_net();
	world_init_net(&w, net, 1);
	w.see = watch;
	w.drop = lose;
	cr_assert(world_until(&w, 5000, world_registered), "seed %lu: agents register", (unsigned long)seed);
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, NULL, NULL);
	traffic(2000, 100);
	steps = 1 + below(STEPS_MAX);
	while (steps--)
		step();
	heal();
	ms = until_back(4 * BACK_MS);
	TELL("back after %u ms", ms);
	total_ms += ms;
	if (ms > slowest_ms) {
		slowest_ms = ms;
		slowest_seed = seed;
	}
	if (ms > BACK_MS)
		good = wrong(seed, "not back within %d ms: %u ms", BACK_MS, ms);
	traffic(SETTLE_MS, 500);
	good = settled(seed) && good;
	world_free(&w);
	return good;
}

Test(model, whatever_happens_paths_come_back, .timeout = 0)
{
	const char *one = getenv("NTM_SEED"), *count = getenv("NTM_SCHEDULES");
	uint64_t first = one ? strtoull(one, NULL, 0) : 1, n = count ? strtoull(count, NULL, 0) : one ? 1 : 300;
	unsigned bad = 0;

	loud = one && !count;
	for (uint64_t seed = first; seed < first + n; seed++)
		bad += !schedule(seed);
	printf("model: %lu schedules, seeds %lu to %lu; back after %lu ms on average, %u ms at most (seed %lu)\n",
	       (unsigned long)n, (unsigned long)first, (unsigned long)(first + n - 1), (unsigned long)(total_ms / n),
	       slowest_ms, (unsigned long)slowest_seed);
	printf("model: %u ended with a path for each direction\n", n_twins);
	cr_assert_leq(n_twins, n / 100, "ends use different paths");
	cr_assert_eq(bad, 0, "%u of %lu schedules went wrong", bad, (unsigned long)n);
}
