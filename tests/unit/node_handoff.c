/* SPDX-License-Identifier: BSD-2-Clause */
/* Two uplinks and a path that goes by a relay: which of them is used while the RS hears of the other. */
#include <criterion/criterion.h>

#include "../harness/nodeworld.h"

static struct world w;
static bool running;
static struct ntm_uplink_info both[2]; /* the first is in use */

static void teardown(void)
{
	if (running)
		world_free(&w);
	running = false;
}

TestSuite(handoff, .fini = teardown, .timeout = 60);

static const struct world_net hard = {.nat = WORLD_HARD, .far = true, .no6 = true};
static const struct world_net open_ = {.nat = WORLD_OPEN, .far = true, .no6 = true};

/* A round trip of 20 ms, both uplinks up, and packets on the path. */
static void connected(struct world_net a, struct world_net b)
{
	struct world_net net[WORLD_NODES] = {a, b};

	running = true;
	world_connect(&w, net, 9);
	both[0] = w.n[0]->uplinks[0];
	both[1] = world_beside(&w, 0);
	ntm_node_set_uplinks(w.n[0], both, 2, false);
	for (int i = 0; i < 100; i++) {
		world_traffic(&w, 0, 100);
		world_traffic(&w, 1, 100);
		world_run(&w, 10);
	}
	cr_assert_eq(w.n[0]->handoff.early, 0, "a second uplink is no switch");
}

static void swap(void)
{
	struct ntm_uplink_info swapped[2] = {both[1], both[0]};

	ntm_node_set_uplinks(w.n[0], swapped, 2, false);
}

static unsigned in_use(void)
{
	return w.n[0]->uplinks[0].dp.ifindex == both[1].dp.ifindex;
}

static bool second_in_use(struct world *world)
{
	(void)world;
	return in_use();
}

static bool binds_are_lost(struct world *world, const struct world_packet *p)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)p->data;

	(void)world;
	return p->from == 0 && ntm_hdr_type(h) == NTM_T_TUNNEL_REQ && ntm_hdr_suite(h) != NTM_SUITE_RS_PROBE &&
	       p->len == sizeof(struct ntm_relay_bind);
}

/* The other uplink has answered, a round trip ago, and binds are under way. */
static bool begun(struct world *world)
{
	(void)world;
	return w.n[0]->handoff.wanted;
}

static void swap_and_begin(void)
{
	swap();
	cr_assert_eq(in_use(), 0);
	cr_assert(world_until(&w, 25, begun), "asked, and answered");
}

Test(handoff, the_rs_hears_first)
{
	unsigned binds;

	connected(hard, hard);
	cr_assert_eq(world_tunnel(&w, 0)->route.kind, NTM_ROUTE_RELAY);
	binds = w.rs[0].binds;
	swap_and_begin();
	world_run(&w, 15);
	cr_expect_eq(in_use(), 0, "no answer yet");
	cr_expect_eq(w.rs[0].binds, binds + 1);
	world_run(&w, 15);
	cr_expect_eq(in_use(), 1);
	cr_expect_eq(w.n[0]->handoff.early, 1);
	cr_expect_eq(w.n[0]->handoff.unanswered, 0);
	world_run(&w, 500);
	cr_expect_eq(world_tunnel(&w, 0)->move.done, 1);
	cr_expect(!world_tunnel(&w, 0)->bind.early);
}

Test(handoff, a_bind_that_is_lost_is_sent_again)
{
	connected(hard, hard);
	w.drop = binds_are_lost;
	swap_and_begin();
	world_run(&w, 15);
	w.drop = NULL;
	cr_assert(world_until(&w, 250, second_in_use));
	cr_expect_eq(w.n[0]->handoff.unanswered, 0);
}

Test(handoff, an_rs_that_is_silent_is_not_waited_for)
{
	connected(hard, hard);
	w.drop = binds_are_lost;
	swap_and_begin();
	world_run(&w, 40);
	cr_expect_eq(in_use(), 0);
	cr_assert(world_until(&w, 250, second_in_use));
	cr_expect_eq(w.n[0]->handoff.unanswered, 1);
}

Test(handoff, an_uplink_that_goes_is_not_waited_for)
{
	connected(hard, hard);
	swap_and_begin();
	world_run(&w, 5);
	ntm_node_set_uplinks(w.n[0], &both[1], 1, false);
	cr_expect_eq(in_use(), 1);
	world_run(&w, 500);
	cr_expect_eq(in_use(), 1);
	cr_expect_eq(w.n[0]->n_uplinks, 1);
}

Test(handoff, whoever_changes_the_wish_is_bound_as_before)
{
	unsigned binds;

	connected(hard, hard);
	swap_and_begin();
	world_run(&w, 5);
	binds = w.rs[0].binds;
	ntm_node_set_uplinks(w.n[0], both, 2, false);
	world_run(&w, 500);
	cr_expect_eq(in_use(), 0);
	cr_expect_eq(w.rs[0].binds, binds + 2, "%u: the one under way, and one from where the node is",
		     w.rs[0].binds - binds);
	cr_expect_eq(world_tunnel(&w, 0)->state, NTM_TUN_UP);
	cr_expect(!world_tunnel(&w, 0)->bind.early);
}

Test(handoff, an_uplink_that_comes_and_is_preferred_is_listened_to_at_once)
{
	struct ntm_uplink_info three[3];

	connected(hard, hard);
	three[0] = three[2] = both[1];
	three[1] = both[0];
	three[0].dp.ifindex += 7;
	three[0].dp.addr4[3] ^= 32;
	three[0].addrs[0][15] ^= 32;
	ntm_node_set_uplinks(w.n[0], three, 3, false);
	cr_expect_eq(w.n[0]->n_uplinks, 3);
	cr_expect_eq(w.n[0]->uplinks[0].dp.ifindex, both[0].dp.ifindex);
	world_run(&w, 100);
	cr_expect_eq(w.n[0]->uplinks[0].dp.ifindex, three[0].dp.ifindex);
}

Test(handoff, asked_for_is_at_once)
{
	struct ntm_uplink_info swapped[2];

	connected(hard, hard);
	swapped[0] = both[1];
	swapped[1] = both[0];
	ntm_node_set_uplinks(w.n[0], swapped, 2, true);
	cr_expect_eq(in_use(), 1);
}

Test(handoff, direct_paths_need_no_binds)
{
	connected(open_, open_);
	cr_assert_neq(world_tunnel(&w, 0)->route.kind, NTM_ROUTE_RELAY);
	swap();
	world_run(&w, 25);
	cr_expect_eq(in_use(), 1);
	cr_expect_eq(w.n[0]->handoff.early, 0);
}
