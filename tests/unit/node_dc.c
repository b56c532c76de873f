/* SPDX-License-Identifier: BSD-2-Clause */
/* The session with the DC and directions over it: loss, a DC that ends, starts again, refuses, is asked too much. */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../user/common/crypto.h"
#include "../harness/nodeworld.h"

static struct world w;

static void setup(void)
{
	world_init(&w);
}

static void teardown(void)
{
	world_free(&w);
}

TestSuite(dc, .init = setup, .fini = teardown, .timeout = 60);

struct outcome {
	unsigned calls;
	int result;
	uint64_t at_ms;
};

static void done(void *arg, int result, struct ntm_tunnel *t)
{
	struct outcome *o = arg;

	(void)t;
	o->calls++;
	o->result = result;
	o->at_ms = world_ns() / 1000000;
}

static bool connected(struct world *world)
{
	return ntm_dc_connected(&world->n[0]->dc) && world->dc.sessions[0].used;
}

Test(dc, registration_sets_name_and_addresses)
{
	const struct ntm_node *n = w.n[0];
	uint8_t vip6[16];

	cr_assert(n->id.known);
	cr_assert(n->ready);
	cr_assert_str_eq(n->id.fqdn, "alice.ntm.example");
	cr_assert_str_eq(n->id.zone, "ntm.example");
	ntm_ip_parse("fd4e:544d::1", vip6);
	cr_assert_arr_eq(n->id.addrs.vip6, vip6, 16);
	cr_assert_eq(n->dc.reflexive.ip[15], 1);
	cr_assert_eq(ntm_dp_fake_count(n->dp, NTM_FAKE_SET_ADDRESSES, 0), 1);
}

Test(dc, keep_alives_keep_the_session)
{
	world_run(&w, 100000);
	cr_assert(connected(&w));
	cr_assert_geq(w.dc.keepalives, 2 * 5);
	cr_assert_eq(w.seen[NTM_T_SESSION_INIT], 2);
}

Test(dc, that_asks_for_a_keep_alive_gets_one_at_once)
{
	unsigned before = w.dc.keepalives;
	struct ntm_sig m;

	ntm_sig_init(&m, NTM_M_KEEP_ALIVE, 0);
	world_dc_send(&w, 0, &m);
	world_run(&w, 100);
	cr_assert_eq(w.dc.keepalives, before + 1);
}

Test(dc, one_direction_for_many_askers)
{
	struct outcome o[20] = {0};

	for (int i = 0; i < 20; i++)
		ntm_direct(w.n[0], i % 2 ? "bob.ntm.example" : "BOB.ntm.Example", NULL, 0, done, &o[i]);
	world_run(&w, 100);
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(o[i].calls, 1);
		cr_assert_eq(o[i].result, 0);
	}
	cr_assert_eq(w.dc.requests, 1);
	/* And none for who asks while the path is up. */
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, done, &o[0]);
	cr_assert_eq(o[0].calls, 2);
	cr_assert_eq(w.dc.requests, 1);
}

Test(dc, no_such_name_is_remembered_for_a_second)
{
	struct outcome o = {0};

	for (int i = 0; i < 100; i++) {
		ntm_direct(w.n[0], "nobody.ntm.example", NULL, 0, done, &o);
		world_run(&w, 9);
	}
	cr_assert_eq(o.calls, 100);
	cr_assert_eq(o.result, NTM_E_NO_SUCH_NAME);
	cr_assert_eq(w.dc.requests, 1);
	world_run(&w, 1000);
	ntm_direct(w.n[0], "nobody.ntm.example", NULL, 0, done, &o);
	world_run(&w, 10);
	cr_assert_eq(w.dc.requests, 2);
}

static unsigned to_drop;

static bool drop_signals(struct world *world, const struct world_packet *p)
{
	(void)world;
	if ((p->data[0] & 15) != NTM_T_SIGNAL || !to_drop)
		return false;
	to_drop--;
	return true;
}

Test(dc, requests_are_resent_and_count_once)
{
	struct outcome o = {0};

	to_drop = 2;
	w.drop = drop_signals;
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, done, &o);
	world_run(&w, 600);
	cr_assert_eq(o.result, 0);
	cr_assert_eq(o.calls, 1);
	cr_assert_eq(w.dc.requests, 1);
}

Test(dc, a_lost_answer_is_given_again)
{
	struct outcome o = {0};

	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, done, &o);
	world_run(&w, 1); /* the request is there, answers are on their way */
	to_drop = 1;
	w.drop = drop_signals;
	world_run(&w, 600);
	cr_assert_eq(o.result, 0);
	cr_assert_eq(w.n[0]->tunnels.n, 1);
}

Test(dc, a_direction_survives_the_dc_losing_its_sessions)
{
	struct outcome o = {0};
	uint64_t begin = world_ns() / 1000000;

	/* Nobody answers the old session any more; the node finds out by asking and makes a new one. */
	world_dc_restart(&w, false);
	ntm_direct(w.n[1], "nobody.ntm.example", NULL, 0, done, &o);
	world_run(&w, 2000);
	cr_assert_eq(o.calls, 1);
	cr_assert_eq(o.result, NTM_E_NO_SUCH_NAME);
	cr_assert_leq(o.at_ms - begin, 1500);
}

Test(dc, when_it_is_down_directions_fail_in_time_and_paths_live)
{
	struct outcome o = {0};
	uint64_t begin;

	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, NULL, NULL);
	cr_assert(world_until(&w, 1000, world_both_up));
	w.dc.down = true;
	begin = world_ns() / 1000000;
	ntm_direct(w.n[0], "carol.ntm.example", NULL, 0, done, &o);
	world_run(&w, 2100);
	cr_assert_eq(o.calls, 1);
	cr_assert_lt(o.result, 0);
	cr_assert_leq(o.at_ms - begin, 2000);
	world_run(&w, 60000);
	cr_assert(world_both_up(&w));
	cr_assert_not(ntm_dc_connected(&w.n[0]->dc));
	/* Known to be away by now: an attempt, and no more. */
	begin = world_ns() / 1000000;
	ntm_direct(w.n[0], "carol.ntm.example", NULL, 0, done, &o);
	world_run(&w, 2100);
	cr_assert_eq(o.calls, 2);
	cr_assert_eq(o.result, -ENOTCONN);
	cr_assert_leq(o.at_ms - begin, 1100);
	w.dc.down = false;
	cr_assert(world_until(&w, 17000, connected), "back by itself");
}

Test(dc, its_attempts_back_off_while_it_is_down)
{
	unsigned before;

	w.dc.down = true;
	world_run(&w, 120000);
	before = w.seen[NTM_T_SESSION_INIT];
	world_run(&w, 160000);
	/* Two nodes, every 16 s, three copies each. */
	cr_assert_leq(w.seen[NTM_T_SESSION_INIT] - before, 2 * 11 * 3);
	cr_assert_geq(w.seen[NTM_T_SESSION_INIT] - before, 2 * 9);
}

Test(dc, an_uplink_that_comes_is_tried_at_once)
{
	struct ntm_uplink_info u = w.n[0]->uplinks[0];

	w.dc.down = true;
	world_run(&w, 120000);
	while (w.n[0]->dc.hs) /* into the middle of a pause */
		world_run(&w, 1);
	world_run(&w, 100);
	w.dc.down = false;
	ntm_node_set_uplinks(w.n[0], &u, 1, false);
	world_run(&w, 50);
	cr_assert(connected(&w));
}

Test(dc, that_starts_again_makes_contact_and_nodes_register_there)
{
	unsigned before = w.dc.registrations;
	struct outcome o = {0};

	world_dc_restart(&w, true);
	world_run(&w, 20);
	cr_assert_eq(w.dc.registrations, before + 2);
	cr_assert(ntm_dc_connected(&w.n[0]->dc));
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, done, &o);
	world_run(&w, 50);
	cr_assert_eq(o.result, 0);
	cr_assert_eq(o.calls, 1);
}

static struct world_packet kept;

static void keep_init(struct world *world, const struct world_packet *p)
{
	(void)world;
	if (p->from == WORLD_DC && p->to == 0 && (p->data[0] & 15) == NTM_T_SESSION_INIT)
		kept = *p;
}

Test(dc, a_replayed_session_init_displaces_nothing)
{
	struct outcome o = {0};

	w.see = keep_init;
	world_dc_restart(&w, true);
	world_run(&w, 50);
	w.see = NULL;
	cr_assert_gt(kept.len, 0);
	memset(w.dc.hs, 0, 2 * sizeof(*w.dc.hs)); /* the DC knows nothing of this one */
	for (int i = 0; i < 3; i++) {
		world_deliver(&w, &kept);
		world_run(&w, 10);
		ntm_direct(w.n[0], i ? "x.ntm.example" : "y.ntm.example", NULL, 0, done, &o);
		world_run(&w, 100);
	}
	cr_assert_eq(o.calls, 3);
	cr_assert_eq(o.result, NTM_E_NO_SUCH_NAME);
	cr_assert(ntm_dc_connected(&w.n[0]->dc));
	world_run(&w, 5000);
	cr_assert(ntm_dc_connected(&w.n[0]->dc));
}

Test(dc, a_session_init_of_another_key_is_refused)
{
	struct ntm_session_init_state st;
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
	struct ntm_cookie_client cc;
	struct world_packet p = {.from = WORLD_DC, .to = 0};
	unsigned answers = w.seen[NTM_T_SESSION_RESP];

	cr_assert_eq(ntm_x25519_generate(priv, pub), 0);
	cr_assert_eq(ntm_cookie_client_init(&cc, w.n[0]->pub), 0);
	cr_assert_eq(ntm_session_begin(&st, priv, pub, w.n[0]->pub, &cc, world_ns() / 1000000), 0);
	ntm_addr_parse("10.0.0.3:4680", 0, &p.src);
	ntm_addr_parse("10.0.0.1:4680", 0, &p.dst);
	p.len = sizeof(st.msg);
	memcpy(p.data, &st.msg, sizeof(st.msg));
	world_deliver(&w, &p);
	world_run(&w, 10);
	cr_assert_eq(w.seen[NTM_T_SESSION_RESP], answers);
	cr_assert_not(w.n[0]->dc.slot[NTM_DC_NEXT].used);
	ntm_wipe(&st, sizeof(st));
}

Test(dc, a_refused_registration_is_reported_and_tried_again_later)
{
	unsigned before;

	w.dc.refuse = NTM_E_BAD_TOKEN;
	world_dc_restart(&w, true);
	world_run(&w, 100);
	cr_assert_not(ntm_dc_connected(&w.n[0]->dc));
	cr_assert_eq(w.n[0]->dc.last_error, NTM_E_BAD_TOKEN);
	before = w.dc.registrations;
	world_run(&w, 20000);
	cr_assert_eq(w.dc.registrations, before, "no hammering");
	w.dc.refuse = 0;
	world_run(&w, 15000);
	cr_assert(ntm_dc_connected(&w.n[0]->dc));
}

Test(dc, one_that_could_not_is_asked_at_its_next_address)
{
	struct ntm_dcclient *c = &w.n[0]->dc;
	struct ntm_addr was;
	unsigned before;

	w.n[0]->conf.dc_endpoints.n = 2;
	was = c->slot[NTM_DC_CUR].addr;
	w.dc.refuse = NTM_E_INTERNAL;
	before = w.dc.registrations;
	ntm_dc_reregister(c);
	world_run(&w, 300);
	cr_assert_eq(w.dc.registrations - before, 2, "at both, without a pause");
	cr_assert_not(ntm_addr_equal(&c->slot[NTM_DC_CUR].addr, &was));
	world_run(&w, 10000);
	cr_assert_geq(w.dc.registrations - before, 2 + 4, "and then after 0.5, 1.5, 3.5, 7.5 s");
	cr_assert_leq(w.dc.registrations - before, 2 + 5, "no hammering");
	w.dc.refuse = 0;
	world_run(&w, 32000);
	cr_assert(ntm_dc_connected(c));
	was = c->slot[NTM_DC_CUR].addr;
	ntm_dc_reregister(c);
	world_run(&w, 300);
	cr_assert(ntm_addr_equal(&c->slot[NTM_DC_CUR].addr, &was), "who is able is kept");
}

Test(dc, one_that_could_not_is_asked_again_soon)
{
	unsigned before;

	w.dc.refuse = NTM_E_INTERNAL;
	world_dc_restart(&w, true);
	before = w.dc.registrations;
	world_run(&w, 20000);
	cr_assert_not(ntm_dc_connected(&w.n[0]->dc));
	cr_assert_geq(w.dc.registrations - before, 2 * 5, "after 0.5, 1.5, 3.5 ... s");
	cr_assert_leq(w.dc.registrations - before, 2 * 8, "no hammering");
	world_dc_restart(&w, true);
	world_run(&w, 100);
	w.dc.refuse = 0;
	world_run(&w, 32000);
	cr_assert(ntm_dc_connected(&w.n[0]->dc));
	w.dc.refuse = NTM_E_BUSY;
	world_dc_restart(&w, true);
	world_run(&w, 100);
	w.dc.refuse = 0;
	world_run(&w, 700);
	cr_assert(ntm_dc_connected(&w.n[0]->dc), "the pause is short again");
}

Test(dc, a_changed_reflexive_address_is_registered)
{
	unsigned before;

	world_run(&w, 1000);
	before = w.dc.registrations;
	w.n[0]->dc.reflexive.port = 1; /* as if a NAT had had another mapping until now */
	world_run(&w, 16000);
	cr_assert_eq(w.dc.registrations, before + 1);
}

Test(dc, malformed_and_unknown_messages_are_answered_with_errors)
{
	struct ntm_sig m;

	ntm_sig_init(&m, NTM_M_RELAY_DIRECTION, 5);
	world_dc_send(&w, 0, &m);
	world_run(&w, 5);
	cr_assert_eq(w.dc.last_error, NTM_E_UNKNOWN_MESSAGE);
	ntm_sig_init(&m, NTM_M_ROUTE_DIRECTION, 6);
	world_dc_send(&w, 0, &m);
	world_run(&w, 5);
	cr_assert_eq(w.dc.last_error, NTM_E_MALFORMED);
	cr_assert_null(world_tunnel(&w, 0));
}

Test(dc, more_directions_than_there_is_room_for_are_refused_at_once)
{
	static struct outcome o[NTM_DIRECTIONS_MAX + 10];
	char name[64];
	unsigned busy = 0;

	memset(o, 0, sizeof(o));
	w.dc.down = true;
	for (unsigned i = 0; i < NTM_DIRECTIONS_MAX + 10; i++) {
		snprintf(name, sizeof(name), "n%u.ntm.example", i);
		ntm_direct(w.n[0], name, NULL, 0, done, &o[i]);
		busy += o[i].calls == 1 && o[i].result == -EBUSY;
	}
	cr_assert_eq(busy, 10);
	world_run(&w, 2100);
	for (unsigned i = 0; i < NTM_DIRECTIONS_MAX + 10; i++)
		cr_assert_eq(o[i].calls, 1);
}

Test(dc, a_waiter_that_went_away_is_not_called)
{
	struct outcome o = {0}, other = {0};

	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, done, &o);
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, done, &other);
	ntm_direct_forget(w.n[0], &o);
	world_run(&w, 100);
	cr_assert_eq(o.calls, 0);
	cr_assert_eq(other.calls, 1);
}
