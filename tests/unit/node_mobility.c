/* SPDX-License-Identifier: BSD-2-Clause */
/* An agent whose host moves: how soon paths work again, and what is sent. */
#include <criterion/criterion.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "../harness/nodeworld.h"

static struct world w;
static bool running;
static unsigned handovers, gone, usable;
static double last_ms;
static char last_via[16], last_from[NTM_ADDR_STRLEN], last_to[NTM_ADDR_STRLEN];

static void teardown(void)
{
	if (running)
		world_free(&w);
	running = false;
}

TestSuite(mobility, .fini = teardown, .timeout = 60);

static const struct world_net open_ = {.nat = WORLD_OPEN, .far = true, .no6 = true};
static const struct world_net easy = {.nat = WORLD_EASY, .far = true, .no6 = true};
static const struct world_net hard = {.nat = WORLD_HARD, .far = true, .no6 = true};
static const struct world_net wall = {.nat = WORLD_FIREWALL, .far = true, .no6 = true};
static const struct world_net only6 = {.nat = WORLD_OPEN, .far = true, .no4 = true};
static const struct world_net both = {.nat = WORLD_OPEN, .far = true};

static void text_of(json_object *ev, const char *key, char *out, size_t cap)
{
	const char *text = json_object_get_string(json_object_object_get(ev, key));

	snprintf(out, cap, "%s", text ? text : "");
}

/* What came when, since the move was heard of; told: the last time before the answer. */
static void check_steps(json_object *ev)
{
	static const char *const names[] = {"switched", "told", "answered"};
	json_object *steps = json_object_object_get(ev, "steps_ms"), *at;
	double before = 0;

	for (int i = 0; i < 3; i++) {
		at = json_object_object_get(steps, names[i]);
		cr_assert(json_object_is_type(at, json_type_double), "%s", json_object_to_json_string(ev));
		cr_assert_geq(json_object_get_double(at), before, "%s", json_object_to_json_string(ev));
		before = json_object_get_double(at);
	}
}

static void keep(struct ntm_node *n, json_object *ev)
{
	const char *what = json_object_get_string(json_object_object_get(ev, "event"));

	(void)n;
	gone += !strcmp(what, "address_gone");
	usable += !strcmp(what, "address_usable");
	if (!strcmp(what, "handover")) {
		handovers++;
		check_steps(ev);
		last_ms = json_object_get_double(json_object_object_get(ev, "ms"));
		text_of(ev, "via", last_via, sizeof(last_via));
		text_of(ev, "from", last_from, sizeof(last_from));
		text_of(ev, "to", last_to, sizeof(last_to));
	}
	json_object_put(ev);
}

/* A round trip of 20 ms everywhere. */
static void connected(struct world_net a, struct world_net b)
{
	struct world_net net[WORLD_NODES] = {a, b};

	running = true;
	world_connect(&w, net, 9);
	handovers = gone = usable = 0;
	w.n[0]->on_event = keep;
}

static uint64_t received(int node)
{
	return ntm_dp_fake_path(w.n[node]->dp, world_tunnel(&w, node)->id)->stats.rx_packets;
}

/* Both send all the time; how long until each has heard of the other, ms. What comes in the first 12 ms was on its way.
 */
static unsigned silence(unsigned most)
{
	uint64_t before[2] = {0};

	for (unsigned i = 0; i < most; i++) {
		if (i == 12) {
			before[0] = received(0);
			before[1] = received(1);
		}
		world_traffic(&w, 0, 100);
		world_traffic(&w, 1, 100);
		world_run(&w, 1);
		if (i > 12 && received(0) > before[0] && received(1) > before[1])
			return i;
	}
	return most;
}

static unsigned moved(int node, const struct world_net *to)
{
	world_set_net(&w, node, to);
	return silence(3000);
}

Test(mobility, an_open_peer_follows_in_a_round_trip)
{
	connected(open_, open_);
	cr_assert_leq(moved(0, &easy), 40);
	world_run(&w, 100);
	cr_assert_eq(handovers, 1);
	cr_assert_leq(last_ms, 40.0);
	cr_assert_str_eq(last_via, "direct");
	cr_assert_eq(world_tunnel(&w, 0)->move.done, 1);
}

static bool only_control(struct world *world, const struct world_packet *p)
{
	(void)world;
	return (p->data[0] & 15) == NTM_T_DATA && p->data[1] >> 4 != NTM_SUITE_CONTROL;
}

Test(mobility, a_peer_whose_agent_hears_of_it_first_counts_it_too)
{
	connected(open_, open_);
	w.drop = only_control;
	world_set_net(&w, 0, &hard);
	world_run(&w, 200);
	w.drop = NULL;
	cr_assert_eq(ntm_dp_fake_path(w.n[1]->dp, world_tunnel(&w, 1)->id)->stats.roams, 0);
	cr_assert_eq(world_tunnel(&w, 1)->move.followed, 1);
}

Test(mobility, a_peer_behind_a_firewall_is_heard_through_the_relay_at_once)
{
	unsigned took;

	connected(open_, wall);
	took = moved(0, &hard);
	printf("mobility: through the relay after %u ms\n", took);
	cr_assert_leq(took, 90, "two round trips and 50 ms");
}

/* An answer by the relay takes 40 ms: data need not wait for it before it goes that way itself. */
Test(mobility, data_goes_by_the_relay_once_a_direct_answer_is_overdue)
{
	unsigned was, i = 0;

	connected(easy, easy);
	was = world_tunnel(&w, 0)->route.kind;
	cr_assert_eq(was, NTM_ROUTE_PUNCHED);
	cr_assert_lt(world_tunnel(&w, 0)->rtt_ms, 21, "of the route in use");
	world_set_net(&w, 0, &hard);
	while (world_tunnel(&w, 0)->route.kind == was && i < 200) {
		world_traffic(&w, 0, 100);
		world_traffic(&w, 1, 100);
		world_run(&w, 1);
		i++;
	}
	printf("mobility: by the relay %u ms after the move\n", i);
	cr_assert_eq(world_tunnel(&w, 0)->route.kind, NTM_ROUTE_RELAY);
	cr_assert_lt(i, 35, "a round trip of 20 ms, a quarter more, and something");
	world_run(&w, 5000);
	cr_assert_eq(world_tunnel(&w, 0)->state, NTM_TUN_UP);
	cr_assert_eq(world_tunnel(&w, 0)->route.kind, NTM_ROUTE_RELAY);
}

Test(mobility, both_ends_at_the_same_instant)
{
	unsigned took;

	connected(easy, easy);
	world_set_net(&w, 1, &hard);
	took = moved(0, &hard);
	printf("mobility: both at once, %u ms\n", took);
	cr_assert_leq(took, 90);
	world_run(&w, 5000);
	cr_assert_eq(world_tunnel(&w, 0)->state, NTM_TUN_UP);
	cr_assert_eq(w.dc.requests, 1, "no new direction");
}

Test(mobility, to_the_other_family_and_back)
{
	connected(both, both);
	cr_assert_leq(moved(0, &open_), 90);
	world_run(&w, 2000);
	cr_assert_leq(moved(0, &only6), 90);
	world_run(&w, 2000);
	cr_assert_neq(world_tunnel(&w, 0)->route.kind, NTM_ROUTE_RELAY);
	cr_assert_geq(gone, 2);
	cr_assert_geq(usable, 1);
	cr_assert_eq(w.dc.requests, 1);
}

Test(mobility, the_dc_is_not_needed)
{
	connected(easy, easy);
	w.dc.down = true;
	cr_assert_leq(moved(0, &hard), 90);
	cr_assert_leq(moved(1, &hard), 90);
}

static unsigned empty, control, handshakes; /* empty: all kernel lane, there is no traffic */

/* What alice sends to bob, wherever he might be, and to the relay. */
static void sort(struct world *world, const struct world_packet *p)
{
	unsigned type = p->data[0] & 15;

	(void)world;
	if (p->from != 0 || p->to == WORLD_DC)
		return;
	if (type == NTM_T_DATA && p->data[1] >> 4 == NTM_SUITE_CONTROL)
		control++;
	else if (type == NTM_T_DATA)
		empty++;
	else
		handshakes++;
}

Test(mobility, flapping_is_bounded_and_the_last_state_wins)
{
	unsigned registrations, binds;

	connected(easy, open_);
	empty = control = handshakes = 0;
	w.see = sort;
	registrations = w.dc.registrations;
	binds = w.rs[0].binds;
	for (int i = 0; i < 200; i++) {
		world_set_net(&w, 0, i % 2 ? &easy : &hard);
		world_run(&w, 50);
	}
	printf("mobility: 200 changes in 10 s, %u registrations, %u binds\n", w.dc.registrations - registrations,
	       w.rs[0].binds - binds);
	printf("mobility: and to the peer %u empty packets, %u control messages, %u others\n", empty, control,
	       handshakes);
	w.see = NULL;
	cr_assert_leq(w.dc.registrations - registrations, 150, "fifteen a second, resends included");
	cr_assert_leq(w.rs[0].binds - binds, 200);
	cr_assert_leq(empty, 400, "two a change");
	cr_assert_leq(control, 600, "three");
	cr_assert_leq(handshakes, 200, "those of the relay included");
	cr_assert_geq(w.n[0]->mobility.changes, 200);
	world_set_net(&w, 0, &open_);
	world_run(&w, 2000);
	cr_assert(!w.n[0]->mobility.deferred);
	cr_assert_leq(silence(1000), 40);
}

Test(mobility, a_nat_that_changes_its_mind_is_noticed_by_the_binding)
{
	uint64_t moves;

	connected(hard, open_);
	world_run(&w, 31000);
	moves = w.n[0]->mobility.moves;
	w.flows[0].n = 0;
	ntm_bind_now(world_tunnel(&w, 0));
	world_run(&w, 100);
	cr_assert_eq(w.n[0]->mobility.moves, moves + 1);
	cr_assert_str_eq(w.n[0]->mobility.reason, "mapping");
	w.flows[0].n = 0;
	ntm_bind_now(world_tunnel(&w, 0));
	world_run(&w, 1000);
	cr_assert_eq(w.n[0]->mobility.moves, moves + 1, "one that does so all the time makes no storm");
	cr_assert_leq(silence(1000), 90);
}

Test(mobility, without_uplinks_nothing_is_said)
{
	unsigned registrations;

	connected(easy, open_);
	registrations = w.dc.registrations;
	ntm_node_set_uplinks(w.n[0], NULL, 0, false);
	world_run(&w, 1000);
	cr_assert_eq(w.dc.registrations, registrations);
	cr_assert_eq(handovers, 0);
	cr_assert_leq(moved(0, &easy), 60);
}

/* As netlink tells of it: the address went, another one came, and its route only then. */
Test(mobility, an_address_whose_route_comes_later_is_no_second_uplink)
{
	struct ntm_uplink_info u;
	unsigned took;

	connected(open_, wall);
	w.net[0] = hard;
	w.flows[0].n = 0;
	u = w.n[0]->uplinks[0];
	ntm_node_set_uplinks(w.n[0], NULL, 0, false);
	world_run(&w, 20);
	u.dp.addr4[3]++;
	u.addrs[0][15]++;
	u.default4 = false;
	ntm_node_set_uplinks(w.n[0], &u, 1, false);
	u.default4 = true;
	ntm_node_set_uplinks(w.n[0], &u, 1, false);
	cr_assert(!w.n[0]->mobility.soft);
	took = silence(3000);
	printf("mobility: with the route after the address, %u ms\n", took);
	cr_assert_leq(took, 90);
	cr_assert_neq(last_from[0], 0);
	cr_assert_str_neq(last_from, last_to);
}

static unsigned kernel_lane;

static void count(struct world *world, const struct world_packet *p)
{
	(void)world;
	if (p->from == 0 && p->len == sizeof(struct ntm_hdr) + NTM_TAG_LEN)
		kernel_lane++;
}

Test(mobility, a_second_uplink_that_comes_moves_nothing)
{
	struct ntm_uplink_info u[2];

	connected(open_, open_);
	u[0] = w.n[0]->uplinks[0];
	u[1] = world_beside(&w, 0);
	kernel_lane = 0;
	w.see = count;
	ntm_node_set_uplinks(w.n[0], u, 2, false);
	world_run(&w, 200);
	cr_assert_eq(kernel_lane, 0);
	cr_assert_eq(handovers, 0);
	cr_assert_eq(usable, 1);
	cr_assert_eq(w.dc.n_cands[0] >= 2, 1, "the DC knows of it");
}

/* Wi-Fi comes and goes while the other uplink is in use: that costs moves nothing. */
Test(mobility, what_comes_and_goes_beside_delays_no_move)
{
	struct ntm_uplink_info u[2];
	unsigned registrations;
	uint64_t moves;

	connected(open_, wall);
	u[0] = w.n[0]->uplinks[0];
	u[1] = world_beside(&w, 0);
	registrations = w.dc.registrations;
	for (int i = 0; i < 200; i++) {
		ntm_node_set_uplinks(w.n[0], u, i % 2 ? 1 : 2, false);
		world_run(&w, 50);
	}
	printf("mobility: 200 changes beside in 10 s, %u registrations\n", w.dc.registrations - registrations);
	cr_assert_leq(w.dc.registrations - registrations, 30, "three a second, resends included");
	moves = w.n[0]->mobility.moves;
	cr_assert_leq(moved(0, &hard), 90);
	cr_assert_eq(w.n[0]->mobility.moves, moves + 1);
}

/* Whose steps are told as numbers of milliseconds all the same. */
Test(mobility, a_change_beside_in_the_middle_of_a_move)
{
	struct ntm_uplink_info u[2];

	connected(open_, open_);
	world_set_net(&w, 0, &easy);
	world_run(&w, 5);
	u[0] = w.n[0]->uplinks[0];
	u[1] = world_beside(&w, 0);
	ntm_node_set_uplinks(w.n[0], u, 2, false);
	cr_assert_eq(handovers, 0);
	silence(100);
	world_run(&w, 100);
	cr_assert_eq(handovers, 1);
}

/* ---- bad luck, and bad will ---- */

static struct world_packet kept[16];
static unsigned n_kept;
static bool withhold;

/* Alice's control messages: a copy of each, which is all that there is of it if `withhold`. */
static bool keep_control(struct world *world, const struct world_packet *p)
{
	(void)world;
	if (p->from != 0 || p->to != 1 || (p->data[0] & 15) != NTM_T_DATA || p->data[1] >> 4 != NTM_SUITE_CONTROL)
		return false;
	if (n_kept < sizeof(kept) / sizeof(kept[0]))
		kept[n_kept++] = *p;
	return withhold;
}

static struct ntm_addr endpoint_at(int node)
{
	struct ntm_dp_stats s;

	cr_assert_eq(w.n[node]->dp->ops->stats(w.n[node]->dp, world_tunnel(&w, node)->id, &s), 0);
	return s.endpoint;
}

Test(mobility, what_comes_from_the_previous_location_moves_nothing)
{
	struct ntm_addr now, later;
	unsigned moves;

	connected(open_, open_);
	n_kept = 0;
	withhold = true;
	w.drop = keep_control;
	for (int i = 0; i < 4; i++)
		ntm_ctl_update(world_tunnel(&w, 0), NULL, false);
	world_run(&w, 15);
	withhold = false;
	ntm_ctl_update(world_tunnel(&w, 0), NULL, false);
	world_run(&w, 15);
	w.drop = NULL;
	cr_assert_eq(n_kept, 5);
	cr_assert_leq(moved(0, &easy), 40);
	world_run(&w, 100);
	now = endpoint_at(1);
	moves = (unsigned)ntm_dp_fake_path(w.n[1]->dp, world_tunnel(&w, 1)->id)->stats.roams;
	/* four that were on their way all the time, one that comes again, and forged ones */
	for (unsigned i = 0; i < n_kept; i++) {
		world_deliver(&w, &kept[i]);
		kept[i].data[8 + 7] ^= 1;
		world_deliver(&w, &kept[i]);
		kept[i].data[8 + 7] ^= 1;
		kept[i].data[4] ^= 64;
		world_deliver(&w, &kept[i]);
	}
	world_run(&w, 100);
	later = endpoint_at(1);
	cr_assert(ntm_addr_equal(&now, &later), "%s", ntm_addr_format(&later, (char[NTM_ADDR_STRLEN]){0}));
	cr_assert_eq(ntm_dp_fake_path(w.n[1]->dp, world_tunnel(&w, 1)->id)->stats.roams, moves);
	cr_assert_leq(silence(200), 40);
}

static bool direct_at_last(struct world *world)
{
	return world_both_up(world) && world_tunnel(world, 0)->route.kind == NTM_ROUTE_PUNCHED &&
	       world_tunnel(world, 1)->route.kind == NTM_ROUTE_PUNCHED;
}

Test(mobility, right_after_a_nomination)
{
	struct world_net net[WORLD_NODES] = {easy, easy};
	unsigned took;

	world_init_net(&w, net, 1);
	running = true;
	w.delay_ms = 9;
	cr_assert(world_until(&w, 5000, world_registered));
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, NULL, NULL);
	cr_assert(world_until(&w, 5000, direct_at_last));
	cr_assert(ntm_route_held(world_tunnel(&w, 1)));
	took = moved(0, &hard);
	printf("mobility: right after a nomination, %u ms\n", took);
	cr_assert_leq(took, 90, "what holds bob's endpoint is void");
}

static bool deaf_but_rs(struct world *world, const struct world_packet *p)
{
	(void)world;
	return (p->from == 0 && p->to < WORLD_RS) || (p->to == 0 && p->from < WORLD_RS);
}

Test(mobility, a_network_that_lets_through_to_the_relay_only)
{
	unsigned before, took;

	connected(open_, open_);
	w.drop = deaf_but_rs;
	took = moved(0, &easy);
	printf("mobility: nothing but the relay is reached, %u ms\n", took);
	cr_assert_leq(took, 150);
	world_run(&w, 2000);
	cr_assert_eq(world_tunnel(&w, 0)->route.kind, NTM_ROUTE_RELAY);
	cr_assert_eq(world_tunnel(&w, 0)->state, NTM_TUN_UP);
	before = w.seen[NTM_T_DATA];
	world_run(&w, 60000);
	printf("mobility: then %u datagrams in a minute without traffic\n", w.seen[NTM_T_DATA] - before);
	cr_assert_leq(w.seen[NTM_T_DATA] - before, 60 * 10);
	w.drop = NULL;
	world_run(&w, 35000);
	cr_assert_neq(world_tunnel(&w, 0)->route.kind, NTM_ROUTE_RELAY, "and is left when that is over");
}

static bool bob_sleeps(struct world *world, const struct world_packet *p)
{
	(void)world;
	return p->from == 1 || p->to == 1;
}

Test(mobility, a_peer_that_moved_while_this_host_was_asleep)
{
	struct ntm_uplink_info u;

	connected(easy, easy);
	w.drop = bob_sleeps;
	world_set_net(&w, 0, &hard);
	world_run(&w, 20000);
	world_set_net(&w, 0, &wall);
	world_run(&w, 20000);
	w.drop = NULL;
	u = w.n[1]->uplinks[0];
	ntm_node_set_uplinks(w.n[1], &u, 1, true);
	cr_assert_leq(silence(2000), 1000);
}

Test(mobility, an_address_that_comes_back)
{
	connected(open_, open_);
	cr_assert_leq(moved(0, &easy), 40);
	world_run(&w, 20);
	cr_assert_leq(moved(0, &open_), 40);
	world_run(&w, 5);
	cr_assert_leq(moved(0, &easy), 60);
	world_run(&w, 3000);
	cr_assert_eq(world_tunnel(&w, 0)->state, NTM_TUN_UP);
	cr_assert_leq(silence(200), 40);
	cr_assert_eq(w.dc.requests, 1);
}

/* Suspended: time passes, nothing is sent and no timer fires. It wakes up where it was, or in another network. */
Test(mobility, a_host_that_was_asleep)
{
	unsigned took;

	connected(easy, easy);
	world_skip(600000);
	took = silence(3000);
	printf("mobility: awake again after ten minutes, %u ms\n", took);
	cr_assert_leq(took, 1500);
	world_run(&w, 3000);
	world_skip(600000);
	took = moved(0, &hard);
	printf("mobility: awake again elsewhere, %u ms\n", took);
	cr_assert_leq(took, 1500);
	world_run(&w, 5000);
	cr_assert_eq(world_tunnel(&w, 0)->state, NTM_TUN_UP);
	cr_assert_leq(silence(200), 60);
}

enum { MANY = 1000, MANY_ID = 100000 };

static uint64_t told_ms[MANY], moved_ms;
static unsigned n_told;

static void note_told(struct world *world, const struct world_packet *p)
{
	uint64_t id;

	(void)world;
	memcpy(&id, p->data + 8, 8);
	id = be64toh(id) - MANY_ID;
	if (p->from != 0 || (p->data[0] & 15) != NTM_T_DATA || id >= MANY)
		return;
	/* No peer waits for what another one is told besides. */
	cr_expect(p->data[1] >> 4 == NTM_SUITE_KERNEL || n_told == MANY, "%u are told before control", n_told);
	if (told_ms[id])
		return;
	told_ms[id] = world_ns() / 1000000 - moved_ms + 1;
	n_told++;
}

Test(mobility, a_thousand_peers_are_told_in_a_fraction_of_a_round_trip)
{
	struct ntm_dp_keys k = {.epoch = 0};
	struct ntm_tunnel *first = NULL;
	uint64_t last = 0;

	connected(open_, open_);
	for (unsigned i = 0; i < MANY; i++) {
		struct ntm_dp_path p = {.path_id = MANY_ID + i, .endpoint = endpoint_at(0), .inner_mtu = 1400};
		struct ntm_dp *dp = w.n[0]->dp;
		struct ntm_tunnel *t;

		p.peer_vip4[3] = (uint8_t)i;
		p.peer_vip6[15] = (uint8_t)i;
		p.peer_vip6[14] = (uint8_t)(i >> 8);
		p.peer_vip6[0] = 0xfd;
		memset(k.tx, (int)i, sizeof(k.tx));
		cr_assert_eq(dp->ops->add_path(dp, &p), 0);
		cr_assert_eq(dp->ops->set_keys(dp, p.path_id, &k, true), 0);
		t = ntm_tunnel_new(w.n[0], &p, "", k.tx, NTM_ROLE_RESPONDER);
		cr_assert_not_null(t);
		t->state = NTM_TUN_UP;
		t->has_keys = true;
		t->last_data_ns = world_ns() - 1000;
		if (i == MANY / 2)
			first = t;
	}
	first->last_data_ns = world_ns();
	w.see = note_told;
	memset(told_ms, 0, sizeof(told_ms));
	n_told = 0;
	moved_ms = world_ns() / 1000000;
	world_set_net(&w, 0, &easy);
	for (unsigned ms = 0; ms < 1000 && n_told < MANY; ms++)
		world_run(&w, 1);
	cr_assert_eq(n_told, MANY);
	for (unsigned i = 0; i < MANY; i++)
		if (told_ms[i] > last)
			last = told_ms[i];
	printf("mobility: of 1,000 peers the last is told after %u ms, that of the busiest path after %u\n",
	       (unsigned)last - 1, (unsigned)told_ms[MANY / 2] - 1);
	cr_assert_leq(told_ms[MANY / 2], 2);
	/* one path takes a round trip, 20 ms */
	cr_assert_leq(last, 20);
}
