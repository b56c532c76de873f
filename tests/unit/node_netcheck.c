/* SPDX-License-Identifier: BSD-2-Clause */
/* What a node finds out about the network before it: RSs, reflexive addresses, the life of mappings, gateways. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../user/node/control.h"
#include "../harness/nodeworld.h"

static struct world w;
static bool running;

static void teardown(void)
{
	if (running)
		world_free(&w);
	running = false;
}

TestSuite(netcheck, .fini = teardown, .timeout = 120);

static struct ntm_dp_fake_path *path(int node)
{
	return ntm_dp_fake_path(w.n[node]->dp, world_tunnel(&w, node)->id);
}

static enum ntm_route_kind kind(int node)
{
	return world_tunnel(&w, node)->route.kind;
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

static void connect_nodes(void)
{
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, NULL, NULL);
	cr_assert(world_until(&w, 2000, world_both_up), "a path comes up");
}

static bool arrives(int from)
{
	uint64_t before = path(!from)->stats.rx_packets;

	world_traffic(&w, from, 100);
	world_run(&w, 6);
	return path(!from)->stats.rx_packets > before;
}

static const struct world_net open_ = {.nat = WORLD_OPEN, .far = true, .no6 = true};
static const struct world_net easy = {.nat = WORLD_EASY, .far = true, .no6 = true};
static const struct world_net hard = {.nat = WORLD_HARD, .far = true, .no6 = true};

Test(netcheck, relays_are_measured_and_the_dc_is_told)
{
	struct ntm_addr seen[4];

	begin(easy, open_, 2);
	world_run(&w, 1000);
	cr_assert_eq(w.dc.n_rtts[0], 2);
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(w.dc.rtts[0][i].name[2], '1' + (char)i);
		cr_assert_geq(w.dc.rtts[0][i].rtt_us, 2000);
		cr_assert_leq(w.dc.rtts[0][i].rtt_us, 3000);
		cr_assert_eq(w.rs[i].probes, 6, "three of each node");
	}
	cr_assert_eq(ntm_relays_reflexive(w.n[0], seen, 4), 1, "each address once");
	cr_assert_eq(ntm_relays_reflexive(w.n[1], seen, 4), 0, "an open node is seen as it is");
	cr_assert(ntm_mapping_is_nat(w.n[0]));
	cr_assert_not(ntm_mapping_is_nat(w.n[1]));
	w.rs[1].down = true;
	world_run(&w, 65000);
	cr_assert_eq(w.dc.rtts[0][1].rtt_us, NTM_RELAY_RTT_NONE);
	cr_assert_neq(w.dc.rtts[0][0].rtt_us, NTM_RELAY_RTT_NONE);
}

Test(netcheck, an_rs_shows_a_node_the_family_that_the_dc_does_not)
{
	struct world_net net = {.nat = WORLD_EASY, .far = true};
	bool found = false;

	begin(net, net, 1);
	/* The session is over IPv4 here: nothing but its own IPv6 address is there to be told. Now the other way. */
	w.n[0]->dc.reflexive = (struct ntm_addr){0};
	ntm_dc_reregister(&w.n[0]->dc);
	world_run(&w, 1000);
	for (unsigned i = 0; i < w.dc.n_cands[0]; i++)
		found |= w.dc.cands[0][i].kind == NTM_CAND_REFLEXIVE && w.dc.cands[0][i].addr.ip[12] == 10;
	cr_assert(found);
}

static void forge_probe_answers(struct world *world, const struct world_packet *p)
{
	(void)world;
	if (p->to == 0 && (p->data[0] & 15) == NTM_T_TUNNEL_RESP)
		((struct world_packet *)p)->data[40] ^= 1;
}

Test(netcheck, forged_answers_of_an_rs_count_for_nothing)
{
	begin(hard, hard, 1);
	w.see = forge_probe_answers;
	ntm_relays_measure(w.n[0]);
	world_run(&w, 2000);
	cr_assert_eq(w.dc.rtts[0][0].rtt_us, NTM_RELAY_RTT_NONE);
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, NULL, NULL);
	world_run(&w, 500);
	cr_assert_not(world_tunnel(&w, 0)->bind.bound);
}

Test(netcheck, the_life_of_mappings_is_learnt)
{
	struct world_net mean = easy;

	mean.life_s = 50;
	begin(mean, open_, 1);
	cr_assert_eq(ntm_mapping_keepalive_ms(w.n[0]), 15000, "until it is known");
	world_run(&w, 200000);
	cr_assert_eq(w.n[0]->mapping.proven_s, 40);
	cr_assert_eq(ntm_mapping_keepalive_ms(w.n[0]), 32000);
	cr_assert_eq(w.n[1]->mapping.proven_s, 80);
	cr_assert_eq(ntm_mapping_keepalive_ms(w.n[1]), 60000, "no NAT: only whether the peer is there");
	world_run(&w, 120000);
	cr_assert_eq(w.n[1]->mapping.proven_s, 120);
	/* Another network: from the beginning. */
	mean.life_s = 10;
	world_set_net(&w, 0, &mean);
	cr_assert_eq(w.n[0]->mapping.proven_s, 0);
	world_run(&w, 60000);
	cr_assert_eq(ntm_mapping_keepalive_ms(w.n[0]), 15000);
	cr_assert(w.n[0]->mapping.done);
}

Test(netcheck, a_direct_path_through_nats_stays_open_while_idle)
{
	struct world_net mean = easy;
	unsigned changes;

	mean.life_s = 50;
	begin(mean, mean, 1);
	connect_nodes();
	world_run(&w, 5000);
	changes = world_tunnel(&w, 0)->route.changes;
	world_run(&w, 600000);
	cr_assert_neq(kind(0), NTM_ROUTE_RELAY);
	cr_assert(arrives(0));
	cr_assert(arrives(1));
	cr_assert_eq(world_tunnel(&w, 0)->route.changes, changes);
}

static unsigned sent;

static void count_sent(struct world *world, const struct world_packet *p)
{
	(void)world;
	sent += p->from < WORLD_NODES;
}

Test(netcheck, an_idle_path_at_the_relay_costs_little)
{
	begin(hard, hard, 1);
	connect_nodes();
	world_run(&w, 400000);
	cr_assert_eq(kind(0), NTM_ROUTE_RELAY);
	w.see = count_sent;
	sent = 0;
	world_run(&w, 600000);
	printf("netcheck: idle at the relay, %.1f packets a minute and node\n", sent / 20.0);
	cr_assert_leq(sent / 20, 60);
	cr_assert_eq(kind(0), NTM_ROUTE_RELAY);
	cr_assert_eq(w.dc.requests, 1);
}

struct outcome {
	unsigned calls;
	int result;
	struct ntm_tunnel *t;
};

static void done(void *arg, int result, struct ntm_tunnel *t)
{
	struct outcome *o = arg;

	o->calls++;
	o->result = result;
	o->t = t;
}

Test(netcheck, a_gateway_is_asked_for_and_both_ends_know_what_they_are)
{
	struct outcome o = {0};

	begin(hard, open_, 1);
	w.n[1]->is_gateway = true;
	cr_assert_eq(ntm_direct_gateway(w.n[0], done, &o), 0);
	cr_assert(world_until(&w, 2000, world_both_up));
	cr_assert_eq(o.calls, 1);
	cr_assert_eq(o.result, 0);
	cr_assert_eq(o.t, world_tunnel(&w, 0));
	cr_assert(path(0)->path.gateway && !path(0)->path.client);
	cr_assert(path(1)->path.client && !path(1)->path.gateway);
	cr_assert_eq(ntm_direct_gateway_path(w.n[0]), o.t);
	/* Asked again: that path. Dead: another one. */
	ntm_direct_gateway(w.n[0], done, &o);
	cr_assert_eq(o.calls, 2);
	cr_assert_eq(w.dc.requests, 1);
	ntm_direct_gateway_stale(w.n[0], o.t->id);
	world_run(&w, 100);
	cr_assert_eq(w.dc.requests, 2);
	cr_assert_eq(w.dc.last_stale, o.t->id);
	cr_assert_neq(ntm_direct_gateway_path(w.n[0]), o.t);
	cr_assert_eq(o.t->state, NTM_TUN_OLD);
}

Test(netcheck, no_gateway_is_an_answer_too)
{
	struct outcome o = {0};

	begin(open_, open_, 1);
	w.dc.no_bob = true;
	ntm_direct_gateway(w.n[0], done, &o);
	world_run(&w, 50);
	cr_assert_eq(o.calls, 1);
	cr_assert_eq(o.result, NTM_E_OFFLINE);
	ntm_direct_gateway(w.n[0], done, &o);
	cr_assert_eq(o.calls, 2);
	cr_assert_eq(w.dc.requests, 1, "remembered for a second");
}

Test(netcheck, a_dc_that_is_back_serves_at_once)
{
	struct outcome o = {0};

	begin(open_, open_, 0);
	w.dc.down = true;
	world_skip(3600 * 1000);
	world_run(&w, 30000);
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, done, &o);
	world_run(&w, 2500);
	cr_assert_eq(o.calls, 1);
	cr_assert_eq(o.result, -ENOTCONN);
	w.dc.down = false;
	world_dc_restart(&w, true);
	cr_assert(world_until(&w, 500, world_registered));
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, done, &o);
	world_run(&w, 50);
	cr_assert_eq(o.calls, 2);
	cr_assert_eq(o.result, 0, "%s", ntm_direction_result_name(o.result));
}

static json_object *get(json_object *o, const char *key)
{
	json_object *v = NULL;

	cr_assert(json_object_object_get_ex(o, key, &v), "%s is there", key);
	return v;
}

static const char *text(json_object *o, const char *key)
{
	return json_object_get_string(get(o, key));
}

static json_object *first(json_object *list)
{
	return json_object_array_get_idx(list, 0);
}

Test(netcheck, says_what_is_before_the_node)
{
	json_object *o;

	begin(hard, open_, 2);
	o = ntm_control_netcheck(w.n[0]);
	cr_assert(json_object_get_boolean(get(o, "udp4")));
	cr_assert_not(json_object_get_boolean(get(o, "udp6")));
	cr_assert(json_object_get_boolean(get(o, "nat4")));
	cr_assert(json_object_get_boolean(get(o, "mapping_varies")));
	cr_assert_eq(json_object_array_length(get(o, "reflexive4")), 3, "the DC and both RSs saw other ports");
	cr_assert_eq(json_object_array_length(get(o, "reflexive6")), 0);
	cr_assert_null(get(o, "mapping_survives_s"));
	cr_assert_eq(json_object_array_length(get(o, "relays")), 2);
	cr_assert_str_eq(text(first(get(o, "relays")), "name"), "rs1");
	cr_assert_str_eq(text(first(get(o, "relays")), "endpoint"), "10.0.0.4:4680");
	cr_assert_float_eq(json_object_get_double(get(first(get(o, "relays")), "rtt_ms")), 2, 1);
	json_object_put(o);

	o = ntm_control_netcheck(w.n[1]);
	cr_assert_not(json_object_get_boolean(get(o, "nat4")));
	cr_assert_not(json_object_get_boolean(get(o, "mapping_varies")));
	cr_assert_str_eq(json_object_get_string(first(get(o, "reflexive4"))), "10.0.0.2:4680");
	json_object_put(o);
}

Test(netcheck, paths_and_relays_name_the_rs_in_use)
{
	json_object *o, *p;

	begin(hard, hard, 1);
	connect_nodes();
	world_run(&w, 500);
	o = ntm_control_paths(w.n[0]);
	p = first(o);
	cr_assert_str_eq(text(p, "route"), "relay");
	cr_assert_str_eq(text(p, "kind"), "relay");
	cr_assert_str_eq(text(p, "relay"), "rs1");
	cr_assert_str_eq(text(p, "endpoint"), "10.0.0.4:4680");
	cr_assert(json_object_get_boolean(get(get(p, "binding"), "bound")));
	cr_assert(json_object_get_boolean(get(get(p, "binding"), "peer_bound")));
	cr_assert_geq(json_object_array_length(get(p, "candidates")), 1);
	json_object_put(o);

	o = ntm_control_relays(w.n[0]);
	cr_assert_eq(json_object_array_length(o), 1);
	cr_assert_eq(json_object_get_int(get(first(o), "bound")), 1);
	cr_assert_eq(json_object_get_int(get(first(o), "paths")), 1);
	cr_assert_str_eq(text(first(o), "endpoint6"), "[fd00::4]:4680");
	json_object_put(o);

	world_run(&w, 20000);
	/* The next agent learns the name when the DC has offered it. */
	world_restart(&w, 0);
	cr_assert_str_eq(ntm_route_relay(world_tunnel(&w, 0)), "unknown");
	world_run(&w, 2000);
	cr_assert_str_eq(ntm_route_relay(world_tunnel(&w, 0)), "rs1");
}

static json_object *last_change;
static bool drop_direct(struct world *world, const struct world_packet *p);

Test(netcheck, the_next_agent_binds_by_the_family_in_use)
{
	struct world_net both = {.far = true};

	begin(both, both, 1);
	w.drop = drop_direct;
	connect_nodes();
	world_run(&w, 1000);
	cr_assert_eq(kind(0), NTM_ROUTE_RELAY);
	cr_assert(ntm_ip_is_v4(path(0)->path.endpoint.ip));
	world_restart(&w, 0);
	world_run(&w, 5000);
	cr_assert(ntm_ip_is_v4(path(0)->path.endpoint.ip));
	cr_assert(arrives(0));
	cr_assert(arrives(1));
}

static void keep_change(struct ntm_node *n, json_object *ev)
{
	(void)n;
	if (strcmp(text(ev, "event"), "route_changed") != 0) {
		json_object_put(ev);
		return;
	}
	json_object_put(last_change);
	last_change = ev;
}

static bool drop_direct(struct world *world, const struct world_packet *p)
{
	(void)world;
	return p->from < WORLD_NODES && p->to < WORLD_NODES;
}

Test(netcheck, changes_of_route_are_events)
{
	begin(open_, open_, 1);
	connect_nodes();
	world_run(&w, 500);
	w.n[0]->on_event = keep_change;
	w.drop = drop_direct;
	for (int i = 0; i < 200; i++) {
		world_traffic(&w, 0, 100);
		world_run(&w, 10);
	}
	cr_assert_not_null(last_change);
	cr_assert_str_eq(text(last_change, "from"), "ipv4");
	cr_assert_str_eq(text(last_change, "to"), "relay");
	cr_assert_str_eq(text(last_change, "relay"), "rs1");
	cr_assert_str_eq(text(last_change, "reason"), "silent");
	cr_assert_gt(json_object_get_int(get(last_change, "ms")), 0);
	json_object_put(last_change);
	last_change = NULL;
	w.n[0]->on_event = NULL;
}
