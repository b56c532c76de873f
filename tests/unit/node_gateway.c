/* SPDX-License-Identifier: BSD-2-Clause */
/* The path to a gateway is kept up, and general prefixes are routed into it. alice is the node, bob the gateway. */
#include <criterion/criterion.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "../harness/nodeworld.h"

static struct world w;
static struct ntm_prefix everything[2];

static void setup(void)
{
	world_init(&w);
	cr_assert_eq(ntm_prefix_parse("0.0.0.0/0", &everything[0]), 0);
	cr_assert_eq(ntm_prefix_parse("::/0", &everything[1]), 0);
	w.n[1]->is_gateway = true;
}

static void teardown(void)
{
	w.n[0]->conf.gateway_routes = (struct ntm_prefix_list){0};
	world_free(&w);
}

TestSuite(node_gateway, .init = setup, .fini = teardown);

static void want_gateway(void)
{
	w.n[0]->conf.gateway_routes = (struct ntm_prefix_list){everything, 2};
	w.n[0]->conf.gateway_table = 4680;
	w.n[0]->conf.gateway_mark = 9;
	cr_assert_eq(ntm_gwclient_start(w.n[0]), 0);
}

static size_t routes_set(void)
{
	return ntm_dp_fake_count(w.n[0]->dp, NTM_FAKE_SET_GENERAL, 0);
}

static bool in_use(struct world *world)
{
	return world_both_up(world) && world->n[0]->gateway.path_id;
}

static const char *peer(void)
{
	static char name[NTM_NAME_MAX + 1];
	json_object *o = ntm_gwclient_status(w.n[0]), *p;

	name[0] = 0;
	if (json_object_object_get_ex(o, "peer", &p) && p)
		snprintf(name, sizeof(name), "%s", json_object_get_string(p));
	json_object_put(o);
	return name;
}

Test(node_gateway, not_asked_for)
{
	cr_assert_eq(ntm_gwclient_start(w.n[0]), 0);
	world_run(&w, 5000);
	cr_expect_eq(w.dc.requests, 0);
	cr_expect_eq(routes_set(), 0);
	cr_expect_null(ntm_gwclient_status(w.n[0]));
}

Test(node_gateway, comes_up_by_itself)
{
	struct ntm_dp_fake_path *a, *b;

	want_gateway();
	cr_assert(world_until(&w, 2000, in_use));
	cr_expect_eq(w.dc.requests, 1);
	cr_expect_eq(routes_set(), 1);
	a = ntm_dp_fake_path(w.n[0]->dp, world_tunnel(&w, 0)->id);
	b = ntm_dp_fake_path(w.n[1]->dp, world_tunnel(&w, 1)->id);
	cr_expect(a->path.gateway && !a->path.client);
	cr_expect(b->path.client && !b->path.gateway);
	cr_expect(a->active);
	cr_expect_str_eq(peer(), world_tunnel(&w, 0)->name);
	world_run(&w, 60000);
	cr_expect_eq(w.dc.requests, 1, "asked once");
	cr_expect_eq(routes_set(), 1);
}

Test(node_gateway, a_path_to_a_node_is_none)
{
	cr_assert_eq(ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, NULL, NULL), 0);
	cr_assert(world_until(&w, 2000, world_both_up));
	cr_expect_not(world_tunnel(&w, 0)->gateway);
	cr_expect_null(ntm_direct_gateway_path(w.n[0]));
}

Test(node_gateway, asked_for_anew_at_once_when_it_ends)
{
	uint64_t first;

	want_gateway();
	cr_assert(world_until(&w, 2000, in_use));
	first = world_tunnel(&w, 0)->id;
	ntm_path_end(world_tunnel(&w, 0), NTM_PATH_END_TELL_PEER, "test");
	cr_assert(world_until(&w, 200, in_use));
	cr_expect_neq(world_tunnel(&w, 0)->id, first);
	cr_expect_eq(routes_set(), 1, "the routes stayed");
}

Test(node_gateway, asked_for_anew_when_it_falls_silent)
{
	uint64_t first;

	want_gateway();
	cr_assert(world_until(&w, 2000, in_use));
	first = world_tunnel(&w, 0)->id;
	/* the gateway lost what it knew */
	ntm_path_end(world_tunnel(&w, 1), NTM_PATH_END_QUIET, "test");
	for (int i = 0; i < 200; i++) {
		world_traffic(&w, 0, 100);
		world_run(&w, 10);
	}
	cr_assert(in_use(&w));
	cr_expect_neq(world_tunnel(&w, 0)->id, first);
	cr_expect_eq(w.dc.last_stale, first);
}

Test(node_gateway, a_refusal_backs_off)
{
	w.dc.no_bob = true;
	want_gateway();
	world_run(&w, 120000);
	cr_expect_geq(w.dc.requests, 6);
	cr_expect_leq(w.dc.requests, 12, "1, 2, 4 ... 30 s; was %u", w.dc.requests);
	cr_expect_eq(routes_set(), 0, "an ordinary host till then");
	cr_expect_str_eq(peer(), "");
	w.dc.no_bob = false;
	cr_assert(world_until(&w, 31000, in_use));
	cr_expect_eq(routes_set(), 1);
}

Test(node_gateway, the_next_agent_goes_on)
{
	want_gateway();
	cr_assert(world_until(&w, 2000, in_use));
	world_restart(&w, 0);
	w.n[0]->adopted = true;
	ntm_dp_fake_forget_calls(w.n[0]->dp);
	want_gateway();
	cr_expect_eq(routes_set(), 1, "they may be others now");
	world_run(&w, 2000);
	cr_expect(in_use(&w));
	cr_expect_eq(w.dc.requests, 1);

	/* And one whose configuration has no gateway any more takes them away. */
	w.n[0]->conf.gateway_routes.n = 0;
	ntm_gwclient_stop(w.n[0]);
	cr_assert_eq(ntm_gwclient_start(w.n[0]), 0);
	cr_expect_eq(routes_set(), 2);
}

Test(node_gateway, routes_that_fail_are_tried_again)
{
	want_gateway();
	ntm_dp_fake_fail_next(w.n[0]->dp, NTM_FAKE_SET_GENERAL, -EPERM);
	cr_assert(world_until(&w, 2000, world_both_up));
	world_run(&w, 100);
	cr_expect_eq(routes_set(), 1);
	cr_expect_not(w.n[0]->gateway.routed);
	world_run(&w, 2000);
	cr_expect(w.n[0]->gateway.routed);
	cr_expect_eq(w.n[0]->gateway.path_id, world_tunnel(&w, 0)->id);
}

Test(node_gateway, another_list)
{
	want_gateway();
	cr_assert(world_until(&w, 2000, in_use));
	w.n[0]->conf.gateway_routes.n = 1;
	cr_expect_eq(ntm_gwclient_reload(w.n[0]), 0);
	cr_expect_eq(routes_set(), 2);
}
