/* SPDX-License-Identifier: BSD-2-Clause */
/* Which route a path reaches through which NATs, and how it leaves one that died: in a modelled network, on its clock.
 */
#include <criterion/criterion.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "../harness/nodeworld.h"

static struct world w;
static bool running;

static void teardown(void)
{
	if (running)
		world_free(&w);
	running = false;
}

TestSuite(routes, .fini = teardown, .timeout = 120);

static struct ntm_dp_fake_path *path(int node)
{
	return ntm_dp_fake_path(w.n[node]->dp, world_tunnel(&w, node)->id);
}

static enum ntm_route_kind kind(int node)
{
	return world_tunnel(&w, node)->route.kind;
}

static uint64_t ms(void)
{
	return world_ns() / 1000000u;
}

static void begin(struct world_net a, struct world_net b, unsigned relays)
{
	struct world_net net[WORLD_NODES] = {a, b};

	teardown();
	world_init_net(&w, net, relays);
	running = true;
	cr_assert(world_until(&w, 5000, world_registered), "agents register");
	world_run(&w, 1500); /* RSs are measured */
}

/* Returns how long the path took, ms. */
static unsigned connect_nodes(void)
{
	uint64_t from = ms();

	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, NULL, NULL);
	cr_assert(world_until(&w, 2000, world_both_up), "a path comes up");
	return (unsigned)(ms() - from);
}

/* Received on all paths to the peer: there may be a new one and an old one. */
static uint64_t received(int node)
{
	uint64_t n = 0;

	for (struct ntm_tunnel *t = w.n[node]->tunnels.all; t; t = t->next_all)
		n += ntm_dp_fake_path(w.n[node]->dp, t->id)->stats.rx_packets;
	return n;
}

static unsigned arrives(int from)
{
	uint64_t before = received(!from);

	world_traffic(&w, from, 100);
	world_run(&w, 6);
	return received(!from) > before;
}

static const struct world_net open_ = {.nat = WORLD_OPEN, .far = true, .no6 = true};
static const struct world_net full = {.nat = WORLD_ONE_TO_ONE, .far = true, .no6 = true};
static const struct world_net easy = {.nat = WORLD_EASY, .far = true, .no6 = true};
static const struct world_net hard = {.nat = WORLD_HARD, .far = true, .no6 = true};
static const struct world_net wall = {.nat = WORLD_FIREWALL, .far = true, .no6 = true};

Test(routes, every_pair_of_nats_reaches_the_route_that_it_can)
{
	static const struct {
		const char *name;
		const struct world_net *net;
	} kinds[] = {{"open", &open_}, {"one-to-one", &full}, {"easy", &easy}, {"hard", &hard}, {"firewall", &wall}};
	/* Rows and columns as above. Relayed is only who must be: a hard NAT against one that asks who is calling. */
	static const char expected[5][6] = {"ddddd", "ddddd", "dddrd", "ddrrr", "dddrd"};

	for (int a = 0; a < 5; a++) {
		for (int b = 0; b < 5; b++) {
			bool relay = expected[a][b] == 'r';

			begin(*kinds[a].net, *kinds[b].net, 1);
			connect_nodes();
			cr_assert(arrives(0) && arrives(1), "%s to %s: traffic flows at once", kinds[a].name,
				  kinds[b].name);
			world_run(&w, 3000);
			for (int i = 0; i < 2; i++)
				cr_assert_eq(kind(i) == NTM_ROUTE_RELAY, relay, "%s to %s, end %d: %s", kinds[a].name,
					     kinds[b].name, i, ntm_route_kind_name(kind(i)));
			cr_assert(arrives(0) && arrives(1), "%s to %s", kinds[a].name, kinds[b].name);
		}
	}
}

Test(routes, one_family_each_meets_at_the_relay)
{
	begin((struct world_net){.far = true, .no6 = true}, (struct world_net){.far = true, .no4 = true}, 1);
	cr_assert_leq(connect_nodes(), 20);
	world_run(&w, 2000);
	cr_assert_eq(kind(0), NTM_ROUTE_RELAY);
	cr_assert_eq(kind(1), NTM_ROUTE_RELAY);
	cr_assert(arrives(0) && arrives(1));
	cr_assert_leq(path(0)->path.inner_mtu, 1500 - 80, "the other leg is IPv6");
}

Test(routes, ipv6_is_preferred_to_punched_ipv4)
{
	begin((struct world_net){.far = true, .nat = WORLD_EASY}, (struct world_net){.far = true, .nat = WORLD_EASY},
	      1);
	connect_nodes();
	world_run(&w, 2000);
	cr_assert_eq(kind(0), NTM_ROUTE_IPV6);
	cr_assert_eq(kind(1), NTM_ROUTE_IPV6);
}

Test(routes, behind_one_nat_the_lan_is_found)
{
	struct world_net n = {.nat = WORLD_HARD, .far = true, .no6 = true, .lan = 7};

	begin(n, n, 1);
	connect_nodes();
	world_run(&w, 2000);
	cr_assert_eq(kind(0), NTM_ROUTE_LAN);
	cr_assert_eq(kind(1), NTM_ROUTE_LAN);
	cr_assert(arrives(0) && arrives(1));
}

Test(routes, the_first_packet_through_the_relay_waits_for_nothing)
{
	unsigned took;

	begin(hard, hard, 1);
	took = connect_nodes();
	printf("routes: path through the relay in %u ms, round trip 4 ms\n", took);
	/* Direction 2, bind and request 2 (or held until the responder binds), response 2. */
	cr_assert_leq(took, 12);
}

Test(routes, a_refused_relay_leaves_direct_as_it_was)
{
	begin(open_, easy, 1);
	w.rs[0].down = true;
	connect_nodes();
	cr_assert(arrives(0) && arrives(1));
	world_run(&w, 60000);
	cr_assert_neq(kind(0), NTM_ROUTE_RELAY);
	cr_assert_leq(w.dc.requests, 1, "no new direction for a net that was never there");
}

/* Direct packets between the agents are lost, both ways. */
static bool drop_direct(struct world *world, const struct world_packet *p)
{
	(void)world;
	return p->from < WORLD_NODES && p->to < WORLD_NODES;
}

/* How many packets of a steady stream, one each 10 ms in both directions, were lost during so many ms. */
static unsigned stream(unsigned for_ms)
{
	unsigned lost = 0;

	for (unsigned i = 0; i < for_ms / 10; i++) {
		uint64_t rx = received(1);

		world_traffic(&w, 0, 100);
		world_traffic(&w, 1, 100);
		world_run(&w, 10);
		lost += received(1) == rx;
	}
	return lost;
}

Test(routes, silent_direct_falls_back_to_the_relay_within_a_second_and_comes_back)
{
	unsigned lost;
	uint64_t id;

	begin(easy, easy, 1);
	connect_nodes();
	id = world_tunnel(&w, 0)->id;
	stream(1000);
	cr_assert_neq(kind(0), NTM_ROUTE_RELAY);
	w.drop = drop_direct;
	lost = stream(3000);
	printf("routes: fall-back to the relay after %u ms\n", lost * 10);
	cr_assert_leq(lost, 100, "lost for %u ms", lost * 10);
	cr_assert_eq(kind(0), NTM_ROUTE_RELAY);
	cr_assert_eq(kind(1), NTM_ROUTE_RELAY);
	w.drop = NULL;
	for (lost = 0; lost < 1000 && (kind(0) == NTM_ROUTE_RELAY || kind(1) == NTM_ROUTE_RELAY); lost++)
		stream(10);
	printf("routes: upgrade to direct %u ms after it works again\n", lost * 10);
	cr_assert_leq(lost, 500);
	cr_assert_eq(stream(1000), 0, "and nothing is lost by it");
	cr_assert_eq(world_tunnel(&w, 0)->id, id, "the same path");
	cr_assert_eq(w.dc.requests, 1);
}

static bool drop_to_alice(struct world *world, const struct world_packet *p)
{
	(void)world;
	return p->from == 1 && p->to == 0;
}

Test(routes, one_direction_that_dies_moves_both_ends)
{
	unsigned lost = 0;

	begin(easy, easy, 1);
	connect_nodes();
	stream(1000);
	w.drop = drop_to_alice;
	for (unsigned i = 0; i < 300; i++) {
		uint64_t rx = path(0)->stats.rx_packets;

		world_traffic(&w, 0, 100);
		world_traffic(&w, 1, 100);
		world_run(&w, 10);
		lost += path(0)->stats.rx_packets == rx;
	}
	cr_assert_leq(lost, 100, "lost for %u ms", lost * 10);
	cr_assert_eq(kind(0), NTM_ROUTE_RELAY);
	cr_assert_eq(kind(1), NTM_ROUTE_RELAY);
}

Test(routes, direct_that_opens_later_is_found)
{
	begin(easy, easy, 1);
	w.drop = drop_direct;
	connect_nodes();
	cr_assert_eq(kind(0), NTM_ROUTE_RELAY);
	stream(20000);
	cr_assert_eq(kind(0), NTM_ROUTE_RELAY);
	w.drop = NULL;
	cr_assert_eq(stream(31000), 0);
	cr_assert_eq(kind(0), NTM_ROUTE_PUNCHED);
	cr_assert_eq(kind(1), NTM_ROUTE_PUNCHED);
}

Test(routes, a_nomination_holds_both_ends_against_late_packets)
{
	const struct ntm_dp_fake_call *calls;
	size_t n;

	begin(easy, easy, 1);
	w.drop = drop_direct;
	connect_nodes();
	w.drop = NULL;
	stream(5000);
	for (int i = 0; i < 2; i++) {
		bool held = false;

		n = ntm_dp_fake_calls(w.n[i]->dp, &calls);
		for (size_t j = 0; j < n; j++)
			held |= calls[j].op == NTM_FAKE_SET_ENDPOINT && calls[j].hold_ms == NTM_HOLD_ENDPOINT_MS;
		cr_assert(held, "end %d", i);
		cr_assert_eq(kind(i), NTM_ROUTE_PUNCHED);
	}
}

/* One sends by the relay, the other directly, both at one time: each follows the other to where it has just left. */
Test(routes, ends_whose_packets_cross_agree_on_a_route)
{
	struct ntm_tunnel *t[2];
	struct ntm_addr relay;

	for (int direct = 0; direct < 2; direct++) {
		begin(open_, easy, 1);
		connect_nodes();
		world_run(&w, 3000);
		for (int i = 0; i < 2; i++)
			t[i] = world_tunnel(&w, i);
		relay = ntm_bind_endpoint(t[!direct]);
		cr_assert_eq(ntm_route_set(t[!direct], &relay, 0, "test"), 0);
		for (int i = 0; i < 2; i++)
			t[i]->route.changes = 0;
		for (int i = 0; i < 20; i++) {
			world_traffic(&w, 0, 100);
			world_traffic(&w, 1, 100);
			world_run(&w, 20);
		}
		for (int i = 0; i < 2; i++) {
			cr_assert_gt(kind(i), NTM_ROUTE_RELAY, "end %d", i);
			cr_assert_leq(t[i]->route.changes, 4, "end %d: %u changes", i, t[i]->route.changes);
		}
	}
}

/* The usable one. */
static struct ntm_tunnel *usable(int node)
{
	struct ntm_tunnel *t = world_tunnel(&w, node);

	return t ? ntm_tunnel_by_vip(w.n[node], t->vip6) : NULL;
}

static bool a_new_path(struct world *world)
{
	return world->dc.requests > 1 && usable(0) && usable(1) && usable(0)->state == NTM_TUN_UP &&
	       usable(1)->state == NTM_TUN_UP;
}

Test(routes, a_dead_relay_is_left_for_another_within_a_second_of_the_third_probe)
{
	unsigned lost;

	begin(hard, hard, 2);
	connect_nodes();
	stream(2000);
	cr_assert_eq(world_relay_path(&w, 0, world_tunnel(&w, 0)->id) != NULL, true);
	w.rs[0].down = true;
	lost = stream(3000);
	printf("routes: another relay after %u ms\n", lost * 10);
	cr_assert_leq(lost, 120, "lost for %u ms", lost * 10);
	cr_assert(a_new_path(&w));
	cr_assert_not_null(world_relay_path(&w, 1, usable(0)->id));
	cr_assert(arrives(0) && arrives(1));
	cr_assert_leq(w.dc.requests, 3);
}

Test(routes, an_idle_path_notices_a_dead_relay_by_its_binding)
{
	begin(hard, hard, 2);
	connect_nodes();
	world_run(&w, 2000);
	w.rs[0].down = true;
	world_run(&w, 25000);
	cr_assert(a_new_path(&w), "before anybody asks");
	cr_assert(arrives(0) && arrives(1));
}

Test(routes, a_direct_path_gets_a_new_net_in_time)
{
	unsigned lost;

	begin(easy, easy, 2);
	connect_nodes();
	stream(2000);
	cr_assert_eq(kind(0), NTM_ROUTE_PUNCHED);
	w.rs[0].down = true;
	lost = stream(25000);
	cr_assert_eq(w.dc.requests, 1, "no hurry");
	lost += stream(60000);
	cr_assert_eq(lost, 0);
	cr_assert_eq(usable(0)->route.kind, NTM_ROUTE_PUNCHED);
	cr_assert_not_null(world_relay_path(&w, 1, usable(0)->id));
	cr_assert(usable(0)->bind.bound && usable(1)->bind.bound);
	/* With no other RS there is nothing to be gained by asking again and again. */
	w.rs[1].down = true;
	w.dc.avoid[0] = true;
	stream(240000);
	cr_assert_leq(w.dc.requests, 8, "%u", w.dc.requests);
}

static unsigned checks_seen;

static void count_checks(struct world *world, const struct world_packet *p)
{
	(void)world;
	checks_seen += p->from == 1 && (p->data[0] & 15) == NTM_T_DATA && p->data[1] >> 4 == NTM_SUITE_CONTROL;
}

Test(routes, updates_in_a_row_make_no_storm_of_checks)
{
	begin(hard, hard, 1);
	connect_nodes();
	world_run(&w, 5000);
	w.see = count_checks;
	checks_seen = 0;
	for (int i = 0; i < 1000; i++) {
		ntm_ctl_update(world_tunnel(&w, 0), NULL, false);
		world_run(&w, 1);
	}
	/* An answer to each, and a round four times. */
	cr_assert_leq(checks_seen, 1000 + 4 * 4 * 5, "%u", checks_seen);
}

Test(routes, a_draining_relay_is_left_and_nothing_is_lost)
{
	unsigned lost = 0;

	begin(hard, hard, 2);
	connect_nodes();
	stream(2000);
	w.rs[0].draining = true;
	lost = stream(25000);
	cr_assert_eq(lost, 0);
	cr_assert_not_null(world_relay_path(&w, 1, usable(0)->id));
	cr_assert_eq(kind(0), NTM_ROUTE_RELAY);
}

Test(routes, a_relay_that_says_it_drains_is_left_at_once)
{
	unsigned lost = 0;
	uint64_t id;

	begin(hard, hard, 2);
	connect_nodes();
	stream(2000);
	id = usable(0)->id;
	world_relay_drain(&w, 0);
	world_relay_drain(&w, 0); /* said twice is one request */
	lost = stream(500);
	cr_assert_eq(lost, 0);
	cr_assert_neq(usable(0)->id, id);
	cr_assert_not_null(world_relay_path(&w, 1, usable(0)->id));
	lost = stream(10000);
	cr_assert_eq(lost, 0);
	cr_assert_leq(w.dc.requests, 3, "both ends may ask");
}

Test(routes, the_dc_may_name_another_relay_for_the_same_path)
{
	struct ntm_sig again[2];
	uint64_t id;

	begin(hard, hard, 2);
	connect_nodes();
	stream(500);
	id = world_tunnel(&w, 0)->id;
	world_relay_add(&w, 1, id, path(0)->agent.psk);
	for (int i = 0; i < 2; i++) {
		again[i] = w.dc.last_direction[i];
		again[i].txid += 1000;
		world_relay_info(&w, 1, &again[i].relay);
		world_dc_send(&w, i, &again[i]);
	}
	w.rs[0].down = true;
	world_run(&w, 200);
	cr_assert_eq(world_tunnel(&w, 0)->id, id);
	cr_assert(arrives(0) && arrives(1));
	cr_assert_gt(world_relay_path(&w, 1, id)->packets, 0);
	cr_assert_eq(w.dc.requests, 1);
}

Test(routes, bindings_outlive_the_agents)
{
	uint64_t id, seq;

	begin(hard, hard, 1);
	connect_nodes();
	stream(500);
	id = world_tunnel(&w, 0)->id;
	seq = path(0)->agent.relay_seq;
	w.dc.down = true;
	world_restart(&w, 0);
	world_restart(&w, 1);
	cr_assert_eq(kind(0), NTM_ROUTE_RELAY);
	cr_assert_eq(stream(100000), 0);
	cr_assert_eq(world_tunnel(&w, 0)->id, id);
	cr_assert_gt(path(0)->agent.relay_seq, seq, "and are refreshed");
	cr_assert_eq(w.rs[0].dropped, 0);
}

static uint32_t dice;

static bool drop_one_in_ten(struct world *world, const struct world_packet *p)
{
	(void)world;
	(void)p;
	dice = dice * 1664525u + 1013904223u;
	return dice >> 16 < 6554;
}

Test(routes, loss_alone_makes_no_route_change)
{
	begin(easy, easy, 1);
	connect_nodes();
	stream(3000);
	cr_assert_eq(kind(0), NTM_ROUTE_PUNCHED);
	w.drop = drop_one_in_ten;
	for (int i = 0; i < 2; i++)
		world_tunnel(&w, i)->route.changes = 0;
	stream(120000);
	cr_assert_leq(world_tunnel(&w, 0)->route.changes, 2);
	cr_assert_eq(w.dc.requests, 1);
	/* One way only, it is asked for instead of heard. */
	for (int i = 0; i < 3000; i++) {
		world_traffic(&w, 0, 100);
		world_run(&w, 20);
	}
	cr_assert_leq(world_tunnel(&w, 0)->route.changes, 6, "%u", world_tunnel(&w, 0)->route.changes);
	cr_assert_eq(w.dc.requests, 1);
	cr_assert_eq(usable(0)->state, NTM_TUN_UP);
}

Test(routes, a_long_round_trip_is_no_silence)
{
	begin(easy, easy, 1);
	w.delay_ms = 200;
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, NULL, NULL);
	world_run(&w, 10000);
	cr_assert_eq(kind(0), NTM_ROUTE_PUNCHED);
	for (int i = 0; i < 1000; i++) {
		world_traffic(&w, 0, 100);
		world_run(&w, 20);
	}
	cr_assert_eq(kind(0), NTM_ROUTE_PUNCHED);
	cr_assert_leq(world_tunnel(&w, 0)->route.changes, 1);
	cr_assert_eq(w.dc.requests, 1);
	w.drop = drop_direct;
	for (int i = 0; i < 150; i++) {
		world_traffic(&w, 0, 100);
		world_run(&w, 20);
	}
	cr_assert_eq(kind(0), NTM_ROUTE_RELAY);
}

Test(routes, keys_are_renewed_through_the_relay)
{
	begin(hard, hard, 1);
	connect_nodes();
	for (int i = 0; i < 300; i++) {
		cr_assert(arrives(0) && arrives(1));
		world_run(&w, 988);
	}
	cr_assert_eq(path(0)->stats.tx_epoch, 2);
	cr_assert_eq(path(1)->stats.tx_epoch, 2);
	cr_assert_eq(w.dc.requests, 1);
}

Test(routes, cookies_come_through_the_relay)
{
	begin(hard, hard, 1);
	w.n[1]->jar.threshold = 0;
	connect_nodes();
	cr_assert_geq(w.seen[NTM_T_COOKIE_REPLY], 1);
	cr_assert(arrives(0) && arrives(1));
}

Test(routes, both_ask_at_once_and_keep_the_same_of_two_paths)
{
	for (int i = 0; i < 8; i++) {
		struct world_net a = i & 1 ? hard : easy, b = i & 2 ? hard : open_;

		begin(a, b, 1);
		ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, NULL, NULL);
		world_run(&w, (unsigned)i / 4);
		ntm_direct(w.n[1], "alice.ntm.example", NULL, 0, NULL, NULL);
		world_run(&w, 10000);
		cr_assert_not_null(usable(0), "%d", i);
		cr_assert_not_null(usable(1), "%d", i);
		cr_assert_eq(usable(0)->id, usable(1)->id);
		cr_assert_eq(w.n[0]->tunnels.n, 1);
		cr_assert_eq(w.n[1]->tunnels.n, 1);
		cr_assert(arrives(0) && arrives(1));
	}
}

Test(routes, moving_to_the_other_family_goes_through_the_relay_at_once)
{
	struct world_net v6 = {.far = true, .no4 = true};
	unsigned lost;
	uint64_t id;

	begin(open_, open_, 1);
	connect_nodes();
	stream(500);
	id = world_tunnel(&w, 0)->id;
	cr_assert_eq(kind(0), NTM_ROUTE_IPV4);
	world_set_net(&w, 0, &v6);
	lost = stream(2000);
	printf("routes: IPv4 to IPv6 away for %u ms\n", lost * 10);
	cr_assert_leq(lost, 3);
	cr_assert_eq(kind(0), NTM_ROUTE_RELAY);
	cr_assert_eq(kind(1), NTM_ROUTE_RELAY);
	cr_assert_eq(world_tunnel(&w, 0)->id, id);
	cr_assert_eq(w.dc.requests, 1);
}

Test(routes, moving_behind_another_nat_keeps_the_path)
{
	unsigned lost;

	begin(easy, hard, 1);
	connect_nodes();
	stream(2000);
	cr_assert_eq(kind(0), NTM_ROUTE_RELAY);
	world_set_net(&w, 1, &open_);
	lost = stream(3000);
	cr_assert_leq(lost, 3);
	stream(5000);
	cr_assert_neq(kind(0), NTM_ROUTE_RELAY, "and upgrades");
	cr_assert_neq(kind(1), NTM_ROUTE_RELAY);
}

static struct world_packet check;
static bool kept;

static void keep_check(struct world *world, const struct world_packet *p)
{
	(void)world;
	if (p->from == 0 && p->to == 1 && (p->data[0] & 15) == NTM_T_DATA && p->data[1] >> 4 == NTM_SUITE_CONTROL) {
		check = *p;
		kept = true;
	}
}

Test(routes, a_check_moves_nothing)
{
	uint32_t txid = 0;
	struct ntm_addr before;

	begin(open_, open_, 0);
	connect_nodes();
	world_run(&w, 2000);
	before = path(1)->path.endpoint;
	w.see = keep_check;
	w.drop = drop_direct;
	kept = false;
	ntm_ctl_check(world_tunnel(&w, 0), &path(0)->path.endpoint, 0, &txid);
	cr_assert(kept);
	w.drop = NULL;
	check.src.port = htobe16(9999);
	world_deliver(&w, &check);
	cr_assert(ntm_addr_equal(&path(1)->path.endpoint, &before));
	/* But one that nominates does. */
	w.drop = drop_direct;
	txid = 0;
	ntm_ctl_check(world_tunnel(&w, 0), &path(0)->path.endpoint, NTM_CHECK_NOMINATE, &txid);
	w.drop = NULL;
	check.src.port = htobe16(9998);
	world_deliver(&w, &check);
	cr_assert_eq(path(1)->path.endpoint.port, htobe16(9998));
	/* The responder may not nominate. */
	cr_assert_eq(path(0)->path.endpoint.port, htobe16(NTM_PORT));
}
