/* SPDX-License-Identifier: BSD-2-Clause */
/* Which relays there are: the configuration lets them in and out, nodes are offered those that are there. */
#include "../harness/dc_rig.h"

#include "../../user/common/relay_crypto.h"

TestSuite(relay_table, .init = setup, .fini = teardown, .timeout = 30);

Test(relay_table, registers_by_its_configured_key)
{
	struct testnode rs, other;
	struct ntm_sig r = join_relay(&rs, "rs1", 0), e;
	uint8_t secret[NTM_KEY_LEN];

	cr_assert_str_eq(r.name, "rs1.ntm.example");
	cr_assert_arr_eq(r.vip4, ((uint8_t[]){100, 96, 0, 1}), 4);
	cr_assert_eq(r.keepalive_s, 3);
	cr_assert_eq(r.lifetime_s, 10);
	cr_assert_eq(ntm_probe_secret(dc_priv, rs.pub, secret), 0);
	cr_assert(ntm_sig_has(&r, NTM_F_RELAY_SECRET));
	cr_assert_arr_eq(r.relay_secret, secret, sizeof(secret));
	cr_assert_eq(dc.relays.items[0]->state, NTM_DC_RELAY_READY);
	cr_assert_null(ntm_dc_nodes_expire(&dc.nodes, ntm_dc_now(&dc) + 1000, 500), "nodes' lifetime is not its own");

	e = register_relay(&rs, "rs2", 0);
	expect_error(&e, NTM_E_BAD_NAME);
	open_node(&other);
	token("any", NULL);
	cr_assert_eq(testnode_register(&other, "rs1", "any", &e), 0);
	expect_error(&e, NTM_E_NAME_TAKEN);
	e = register_relay(&other, "rs1", 0);
	expect_error(&e, NTM_E_BAD_TOKEN);
	testnode_close(&rs);
	testnode_close(&other);
}

Test(relay_table, nodes_are_offered_those_that_are_there)
{
	struct testnode a, rs1, rs2;
	struct ntm_sig r = join(&a, "alice"), m, again;
	uint8_t secret[NTM_KEY_LEN], key[NTM_KEY_LEN];
	uint64_t id;

	cr_assert_eq(r.n_offers, 0);
	join_relay(&rs1, "rs1", 0);
	testnode_request(&a, &m, NTM_M_KEEP_ALIVE);
	cr_assert_eq(testnode_ask(&a, &m, &r), 0);
	cr_assert_eq(testnode_ask(&a, &m, &again), 0);
	cr_assert_arr_eq(&r, &again, sizeof(r), "the same request has the same answer");
	cr_assert_eq(r.n_offers, 1);
	cr_assert_str_eq(r.offers[0].relay.name, "rs1");
	cr_assert(ntm_addr_equal(&r.offers[0].relay.ep4, &relay_conf[0].endpoints.addrs[0]));
	cr_assert(ntm_addr_equal(&r.offers[0].relay.ep6, &relay_conf[0].endpoints.addrs[1]));
	cr_assert_eq(ntm_probe_secret(dc_priv, rs1.pub, secret), 0);
	cr_assert_eq(ntm_probe_id(secret, a.pub, &id), 0);
	cr_assert_eq(ntm_probe_key(secret, id, key), 0);
	cr_assert_eq(r.offers[0].probe_id, id);
	cr_assert_arr_eq(r.offers[0].probe_key, key, sizeof(key));
	cr_assert_eq(keep_alive(&a, &r), 0);
	cr_assert_eq(r.n_offers, 0, "told already");

	join_relay(&rs2, "rs2", 0);
	send_load(&rs1, &(struct ntm_load){.flags = NTM_LOAD_DRAINING});
	cr_assert_eq(keep_alive(&a, &r), 0);
	cr_assert_eq(r.n_offers, 2);
	cr_assert_str_eq(r.offers[0].relay.name, "rs2", "the draining one comes last");
	cr_assert_eq(testnode_register(&a, "alice", NULL, &r), 0);
	cr_assert_eq(r.n_offers, 2);

	dc.relays.items[0]->node->last_seen_ms -= 10000;
	ntm_dc_expire_nodes(&dc);
	cr_assert_eq(dc.relays.items[0]->state, NTM_DC_RELAY_OFFLINE);
	cr_assert_eq(keep_alive(&a, &r), 0);
	cr_assert_eq(r.n_offers, 1);
	cr_assert_str_eq(r.offers[0].relay.name, "rs2");
	send_load(&rs1, &(struct ntm_load){0});
	cr_assert_eq(dc.relays.items[0]->state, NTM_DC_RELAY_READY, "heard of again");
	testnode_close(&a);
	testnode_close(&rs1);
	testnode_close(&rs2);
}

Test(relay_table, longest_names_still_leave_room_for_an_answer)
{
	struct testnode a, rs;
	struct ntm_sig r;

	memset(conf.zone, 'z', 180);
	for (int i = 40; i < 180; i += 40)
		conf.zone[i] = '.';
	conf.zone[180] = 0;
	join_relay(&rs, "rs1", 0);
	for (int i = 1; i < 8; i++) { /* more than fit beside two long names */
		struct ntm_dc_relay *twin = calloc(1, sizeof(*twin));

		*twin = *dc.relays.items[0];
		twin->id = ++dc.relays.last_id;
		twin->node = NULL;
		memset(twin->info.name, 'a' + i, NTM_LABEL_MAX);
		dc.relays.items[dc.relays.n++] = twin;
	}
	r = join(&a, "alice");
	cr_assert_geq(r.n_offers, 3);
	cr_assert_lt(r.n_offers, 8);
	cr_assert_str_eq(r.offers[0].relay.name, "rs1");
	testnode_close(&a);
	testnode_close(&rs);
}

Test(relay_table, configuration_is_read_again)
{
	struct testnode a, rs, new;
	struct ntm_sig r;
	struct ntm_addr was;

	join(&a, "alice");
	join_relay(&rs, "rs1", 0);

	was = relay_conf[0].endpoints.addrs[0];
	ntm_addr_parse("198.51.100.9:4680", 0, &relay_conf[0].endpoints.addrs[0]);
	cr_assert_eq(ntm_dc_relays_apply(&dc, &conf.relays), 0);
	cr_assert_eq(dc.relays.items[0]->state, NTM_DC_RELAY_READY, "it goes on");
	cr_assert_eq(keep_alive(&a, &r), 0);
	cr_assert_eq(r.n_offers, 1);
	cr_assert(!ntm_addr_equal(&r.offers[0].relay.ep4, &was));

	/* another key: the holder of the former is out */
	cr_assert_eq(testnode_open(&new, &loop, &listen_addr, dc_pub), 0);
	memcpy(relay_conf[0].keys.keys[0], new.pub, NTM_DH_LEN);
	cr_assert_eq(ntm_dc_relays_apply(&dc, &conf.relays), 0);
	cr_assert_eq(testnode_recv(&rs, &r, TESTNODE_WAIT_MS), 0);
	expect_error(&r, NTM_E_DENIED);
	cr_assert_eq(dc.relays.items[0]->state, NTM_DC_RELAY_OFFLINE);
	cr_assert_eq(testnode_connect(&rs), 0);
	r = register_relay(&rs, "rs1", 0);
	expect_error(&r, NTM_E_DENIED);
	cr_assert_eq(testnode_connect(&new), 0);
	cr_assert_eq(register_relay(&new, "rs1", 0).msg, NTM_M_REGISTRATION_RESPONSE);

	/* a name that is a node's */
	relay_conf[0].name = (char *)"alice";
	cr_assert_eq(ntm_dc_relays_apply(&dc, &conf.relays), 0);
	cr_assert_eq(dc.relays.n, 0);
	cr_assert_eq(keep_alive(&a, &r), 0);
	cr_assert_eq(r.msg, NTM_M_KEEP_ALIVE_RESPONSE);
	cr_assert_eq(testnode_recv(&new, &r, TESTNODE_WAIT_MS), 0);
	expect_error(&r, NTM_E_DENIED);

	/* back again, under another name */
	relay_conf[0].name = (char *)"rs9";
	cr_assert_eq(ntm_dc_relays_apply(&dc, &conf.relays), 0);
	cr_assert_eq(testnode_connect(&new), 0);
	cr_assert_eq(register_relay(&new, "rs9", 0).msg, NTM_M_REGISTRATION_RESPONSE);
	testnode_close(&a);
	testnode_close(&rs);
	testnode_close(&new);
}

Test(relay_table, comes_back_after_a_restart_of_the_dc)
{
	struct testnode a, rs;
	struct ntm_sig first, r;

	first = join_relay(&rs, "rs1", 0);
	join(&a, "alice");
	stop_dc();
	start_dc();
	cr_assert_eq(dc.relays.n, 1);
	cr_assert_eq(dc.relays.items[0]->state, NTM_DC_RELAY_OFFLINE);
	cr_assert_eq(testnode_accept(&rs, TESTNODE_WAIT_MS), 0, "it is invited as any node");
	r = register_relay(&rs, "rs1", 0);
	cr_assert_eq(r.msg, NTM_M_REGISTRATION_RESPONSE, "%s", r.error_text);
	cr_assert_arr_eq(r.vip4, first.vip4, 4);
	cr_assert_arr_eq(r.relay_secret, first.relay_secret, NTM_KEY_LEN);

	/* taken out while the DC was down */
	stop_dc();
	conf.relays.n = 0;
	start_dc();
	conf.relays.n = 1;
	cr_assert_eq(testnode_connect(&rs), 0);
	r = register_relay(&rs, "rs1", 0);
	expect_error(&r, NTM_E_DENIED);
	testnode_close(&a);
	testnode_close(&rs);
}
