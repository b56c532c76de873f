/* SPDX-License-Identifier: BSD-2-Clause */
/* A peer that gets the same packets from two addresses (uplink_duplicate_ms) sends to the one that it was told of. */
#include <criterion/criterion.h>

#include "../../user/node/node.h"
#include "../harness/nodeworld.h"

static struct world w;
static bool running;
static struct ntm_addr former;

static void teardown(void)
{
	if (running)
		world_free(&w);
}

TestSuite(copies, .fini = teardown, .timeout = 60);

static const struct world_net open_ = {.nat = WORLD_OPEN, .far = true, .no6 = true};
static const struct world_net hard = {.nat = WORLD_HARD, .far = true, .no6 = true};

static struct ntm_addr endpoint_at(int node)
{
	struct ntm_dp_stats s;

	cr_assert_eq(w.n[node]->dp->ops->stats(w.n[node]->dp, world_tunnel(&w, node)->id, &s), 0);
	return s.endpoint;
}

static bool held(void)
{
	return ntm_route_held(world_tunnel(&w, 1));
}

/* By the former uplink alice's data gets there at once, so that the copy is always first. */
static void copy(struct world *world, const struct world_packet *p)
{
	struct world_packet c = *p;

	if (p->from != 0 || p->to != 1 || (p->data[0] & 15) != NTM_T_DATA || p->data[1] >> 4 != NTM_SUITE_KERNEL)
		return;
	c.src = former;
	world_deliver(world, &c);
}

/* Alice sends each millisecond; in how many of them did bob send to where the copies come from? */
static unsigned drawn_back(unsigned ms)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ms; i++) {
		struct ntm_addr at;

		world_traffic(&w, 0, 100);
		world_run(&w, 1);
		at = endpoint_at(1);
		n += ntm_addr_equal(&at, &former);
	}
	return n;
}

static bool switched(struct world *world)
{
	return world->n[0]->uplinks[0].dp.ifindex != 2;
}

/* From one of two uplinks to the other, whose packets come from where the world sees alice. */
static void change_uplinks(uint32_t duplicate_ms)
{
	const struct world_net net[WORLD_NODES] = {open_, open_};
	struct ntm_uplink_info u[2];

	running = true;
	world_connect(&w, net, 9);
	w.n[0]->conf.uplink_duplicate_ms = duplicate_ms;
	former = endpoint_at(1);
	former.ip[15] ^= 128; /* alice is not there */
	w.see = copy;
	cr_assert_geq(drawn_back(50), 40, "who comes first decides");
	u[0] = world_beside(&w, 0);
	u[1] = w.n[0]->uplinks[0];
	ntm_node_set_uplinks(w.n[0], u, 2, false);
	cr_assert(world_until(&w, 25, switched), "when it has answered");
}

Test(copies, do_not_draw_the_peer_back)
{
	change_uplinks(3000);
	cr_assert_leq(drawn_back(100), 12, "until the Update is there");
	cr_assert_eq(drawn_back(2800), 0);
	/* Nobody is told any more: it is as it was. */
	drawn_back(1500);
	cr_assert_geq(drawn_back(50), 40);
}

static struct world_packet kept[64];
static unsigned n_kept, lose;

/* Alice's control messages: a copy of each; the first `lose` are lost. */
static bool keep_control(struct world *world, const struct world_packet *p)
{
	(void)world;
	if (p->from != 0 || p->to != 1 || (p->data[0] & 15) != NTM_T_DATA || p->data[1] >> 4 != NTM_SUITE_CONTROL)
		return false;
	if (n_kept < sizeof(kept) / sizeof(kept[0]))
		kept[n_kept++] = *p;
	return n_kept <= lose;
}

Test(copies, the_peer_is_told_until_it_answers)
{
	lose = 12;
	w.drop = NULL;
	change_uplinks(2000);
	w.drop = keep_control;
	drawn_back(1000);
	cr_assert_geq(n_kept, lose);
	cr_assert(held());
	cr_assert_eq(drawn_back(900), 0);
}

/* Where no answer comes in time, the Update goes by the relay, too. */
Test(copies, an_update_by_the_relay_does_not_end_the_hold)
{
	struct ntm_tunnel *t;
	struct ntm_addr relay;

	change_uplinks(3000);
	drawn_back(100);
	cr_assert(held());
	t = world_tunnel(&w, 0);
	relay = ntm_bind_endpoint(t);
	cr_assert_neq(relay.port, 0);
	ntm_ctl_update(t, &relay, true);
	cr_assert_eq(drawn_back(300), 0);
	cr_assert(held());
}

Test(copies, a_move_away_from_both_is_followed_at_once)
{
	struct ntm_addr before, after;

	change_uplinks(1000);
	drawn_back(100);
	cr_assert(held());
	w.see = NULL;
	before = endpoint_at(1);
	world_set_net(&w, 0, &hard);
	drawn_back(15);
	after = endpoint_at(1);
	cr_assert_not(ntm_addr_equal(&before, &after));
	cr_assert_not(held());
}

Test(copies, a_former_uplink_that_is_gone_sends_none)
{
	struct ntm_uplink_info u;

	change_uplinks(5000);
	drawn_back(100);
	cr_assert(held());
	w.see = NULL;
	u = w.n[0]->uplinks[0];
	ntm_node_set_uplinks(w.n[0], &u, 1, false);
	drawn_back(1100);
	cr_assert_not(held());
}

Test(copies, no_forged_update_holds_an_endpoint)
{
	change_uplinks(200);
	w.drop = keep_control;
	drawn_back(1400);
	cr_assert_geq(n_kept, 1);
	cr_assert_not(held());
	for (unsigned i = 0; i < n_kept; i++) {
		struct world_packet p = kept[i];

		p.src.ip[15] ^= 7;
		world_deliver(&w, &p); /* again, from elsewhere */
		p.data[2] ^= 64;       /* as a later one */
		world_deliver(&w, &p);
	}
	cr_assert_not(held());
}
