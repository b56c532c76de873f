/* SPDX-License-Identifier: BSD-2-Clause */
/* Relays and gateways as they, and the nodes that use them, see the DC. */
#include "../harness/dc_rig.h"

#include "../../user/common/relay_crypto.h"

TestSuite(relay, .init = setup, .fini = teardown, .timeout = 30);

/* A Direction Request with what it needs besides. */
static struct ntm_sig ask_direction(struct testnode *t, const char *name, uint64_t stale, bool gateway)
{
	struct ntm_sig m, answer;

	testnode_request(t, &m, NTM_M_DIRECTION_REQUEST);
	if (name) {
		strcpy(m.name, name);
		m.have |= 1u << NTM_F_NAME;
	}
	if (stale) {
		m.stale_path_id = stale;
		m.have |= 1u << NTM_F_STALE;
	}
	if (gateway) {
		m.gateway = 1;
		m.have |= 1u << NTM_F_GATEWAY;
	}
	cr_assert_eq(testnode_ask(t, &m, &answer), 0);
	return answer;
}

static void report_rtt(struct testnode *t, const char *name, uint32_t rtt_us)
{
	struct ntm_sig m, answer;

	testnode_request(t, &m, NTM_M_KEEP_ALIVE);
	strcpy(m.rtts[0].name, name);
	m.rtts[0].rtt_us = rtt_us;
	m.n_rtts = 1;
	m.have = 1u << NTM_F_RELAY_RTT;
	cr_assert_eq(testnode_ask(t, &m, &answer), 0);
	cr_assert_eq(answer.msg, NTM_M_KEEP_ALIVE_RESPONSE);
}

Test(relay, path_is_directed_to_its_relay_and_both_ends)
{
	struct testnode a, b, rs;
	struct ntm_sig da, db_, d;
	uint8_t secret[NTM_KEY_LEN];

	join_relay(&rs, "rs1", 0);
	join(&a, "alice");
	join(&b, "bob");
	da = ask_direction(&a, "bob", 0, false);
	cr_assert_eq(da.msg, NTM_M_ROUTE_DIRECTION, "%s", da.error_text);
	db_ = await_direction(&b);
	d = await_relay_direction(&rs, 0);
	cr_assert_eq(d.path_id, da.path_id);
	cr_assert_eq(ntm_relay_secret(da.psk, secret), 0);
	cr_assert_arr_eq(d.relay_secret, secret, sizeof(secret));
	cr_assert_eq(d.have & (1u << NTM_F_PSK | 1u << NTM_F_NAME | 1u << NTM_F_CANDIDATE), 0);
	cr_assert(ntm_sig_has(&da, NTM_F_RELAY) && ntm_sig_has(&db_, NTM_F_RELAY));
	cr_assert_str_eq(da.relay.name, "rs1");
	cr_assert(ntm_addr_equal(&da.relay.ep4, &relay_conf[0].endpoints.addrs[0]));
	cr_assert(ntm_addr_equal(&db_.relay.ep6, &relay_conf[0].endpoints.addrs[1]));
	cr_assert(!ntm_sig_has(&da, NTM_F_GATEWAY));
	expect_silence(&rs);
	cr_assert_eq(ask_direction(&b, "alice", 0, false).path_id, da.path_id);
	expect_silence(&rs);
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&rs);
}

Test(relay, another_takes_the_path_that_one_refuses)
{
	struct testnode a, b, rs1, rs2;
	struct ntm_sig da, again, first;

	join_relay(&rs1, "rs1", 0);
	join_relay(&rs2, "rs2", 0);
	join(&a, "alice");
	join(&b, "bob");
	report_rtt(&a, "rs1", 1000); /* nearer than the unknown one */
	da = ask_direction(&a, "bob", 0, false);
	cr_assert_str_eq(da.relay.name, "rs1");
	first = await_direction(&b);
	await_relay_direction(&rs1, NTM_E_BUSY);
	again = await_direction(&a);
	cr_assert_eq(again.path_id, da.path_id);
	cr_assert_arr_eq(again.psk, da.psk, NTM_PSK_LEN);
	cr_assert_eq(again.role, NTM_ROLE_INITIATOR);
	cr_assert_str_eq(again.relay.name, "rs2");
	again = await_direction(&b);
	cr_assert_eq(again.path_id, first.path_id);
	cr_assert_eq(again.role, NTM_ROLE_RESPONDER);
	cr_assert_str_eq(again.relay.name, "rs2");

	cr_assert_eq(await_relay_direction(&rs2, NTM_E_INTERNAL).path_id, da.path_id);
	again = await_direction(&a);
	cr_assert(!ntm_sig_has(&again, NTM_F_RELAY), "none is left");
	cr_assert(!ntm_sig_has(&(struct ntm_sig){.have = await_direction(&b).have}, NTM_F_RELAY));
	expect_silence(&rs1);
	expect_silence(&rs2);
	cr_assert_eq(dc.counters.relay_refusals, 2);
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&rs1);
	testnode_close(&rs2);
}

Test(relay, one_that_does_not_answer_is_passed_over)
{
	struct testnode a, b, c, rs1, rs2;
	struct ntm_sig da, m;

	join_relay(&rs1, "rs1", 0);
	join_relay(&rs2, "rs2", 0);
	join(&a, "alice");
	join(&b, "bob");
	join(&c, "carol");
	da = ask_direction(&a, "bob", 0, false);
	cr_assert_str_eq(da.relay.name, "rs1", "the first by name of equals");
	await_direction(&b);
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(testnode_recv(&rs1, &m, TESTNODE_WAIT_MS), 0, "copy %d", i);
		cr_assert_eq(m.msg, NTM_M_RELAY_DIRECTION);
	}
	cr_assert_eq(testnode_recv(&a, &m, TESTNODE_WAIT_MS), 0);
	cr_assert_eq(m.msg, NTM_M_ROUTE_DIRECTION);
	cr_assert_str_eq(m.relay.name, "rs2");
	cr_assert_eq(await_relay_direction(&rs2, 0).path_id, da.path_id);
	cr_assert_str_eq(ask_direction(&a, "carol", 0, false).relay.name, "rs2", "not asked before it speaks again");
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&c);
	testnode_close(&rs1);
	testnode_close(&rs2);
}

Test(relay, stale_path_gets_another_and_the_former_is_released_later)
{
	struct testnode a, b, rs1, rs2;
	struct ntm_sig first, second;

	join_relay(&rs1, "rs1", 0);
	join_relay(&rs2, "rs2", 0);
	join(&a, "alice");
	join(&b, "bob");
	first = ask_direction(&a, "bob", 0, false);
	cr_assert_str_eq(first.relay.name, "rs1");
	await_direction(&b);
	await_relay_direction(&rs1, 0);
	second = ask_direction(&b, "alice", first.path_id, false);
	cr_assert_neq(second.path_id, first.path_id);
	cr_assert_str_eq(second.relay.name, "rs2");
	cr_assert_str_eq(await_direction(&a).relay.name, "rs2");
	await_relay_direction(&rs2, 0);
	expect_silence(&rs1); /* the former carries packets until the new one is up */
	ntm_dc_retired_expire(&dc, ntm_dc_now(&dc) + 59000);
	expect_silence(&rs1);
	ntm_dc_retired_expire(&dc, ntm_dc_now(&dc) + 60000);
	await_release(&rs1, first.path_id);
	cr_assert_eq(dc.n_retired, 0);

	send_load(&rs1, &(struct ntm_load){.flags = NTM_LOAD_DRAINING});
	first = ask_direction(&a, "bob", second.path_id, false);
	cr_assert_str_eq(first.relay.name, "rs2", "the only one, suspect or not");
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&rs1);
	testnode_close(&rs2);
}

Test(relay, is_told_when_a_path_ends)
{
	struct testnode a, b, rs;
	struct ntm_sig d, m;

	join_relay(&rs, "rs1", 0);
	join(&a, "alice");
	join(&b, "bob");
	d = ask_direction(&a, "bob", 0, false);
	cr_assert_eq(testnode_recv(&rs, &m, TESTNODE_WAIT_MS), 0);
	cr_assert_eq(m.msg, NTM_M_RELAY_DIRECTION);
	await_direction(&b);
	testnode_request(&b, &m, NTM_M_RELEASE);
	m.path_id = d.path_id;
	m.have = 1u << NTM_F_PATH_ID;
	cr_assert_eq(testnode_send(&b, &m), 0);
	await_release(&rs, d.path_id);
	expect_silence(&rs); /* no late copy of the direction */

	d = ask_direction(&a, "bob", 0, false);
	await_relay_direction(&rs, 0);
	await_direction(&b);
	cr_assert_eq(ntm_dc_revoke(&dc, "bob"), 0);
	await_release(&rs, d.path_id);
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&rs);
}

Test(relay, draining_disturbs_no_path_and_takes_no_new_one)
{
	struct testnode a, b, rs;
	struct ntm_sig m, d;

	join_relay(&rs, "rs1", 0);
	join(&a, "alice");
	join(&b, "bob");
	cr_assert_str_eq(ask_direction(&a, "bob", 0, false).relay.name, "rs1");
	await_direction(&b);
	await_relay_direction(&rs, 0);
	send_load(&rs, &(struct ntm_load){.paths = 1, .flags = NTM_LOAD_DRAINING});
	expect_silence(&a);
	expect_silence(&b);
	cr_assert_str_eq(ask_direction(&b, "alice", 0, false).relay.name, "rs1", "the path is what it was");
	d = ask_direction(&b, "alice", dc.paths.all.tqh_first->id, false);
	cr_assert_eq(d.msg, NTM_M_ROUTE_DIRECTION);
	cr_assert(!ntm_sig_has(&d, NTM_F_RELAY));
	expect_silence(&rs);

	await_direction(&a);
	testnode_request(&rs, &m, NTM_M_RELEASE);
	cr_assert_eq(testnode_send(&rs, &m), 0);
	cr_assert_eq(keep_alive(&a, &d), 0);
	cr_assert_eq(dc.relays.items[0]->state, NTM_DC_RELAY_OFFLINE);
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&rs);
}

Test(relay, nobody_plays_the_other_ones_part)
{
	struct testnode a, b, rs;
	struct ntm_sig m, r;

	join_relay(&rs, "rs1", 0);
	join(&a, "alice");
	join(&b, "bob");
	testnode_request(&a, &m, NTM_M_RELAY_RESPONSE);
	cr_assert_eq(testnode_ask(&a, &m, &r), 0);
	expect_error(&r, NTM_E_DENIED);
	testnode_request(&a, &m, NTM_M_RELAY_DIRECTION);
	m.path_id = 1;
	m.have = 1u << NTM_F_PATH_ID | 1u << NTM_F_RELAY_SECRET;
	cr_assert_eq(testnode_ask(&a, &m, &r), 0);
	expect_error(&r, NTM_E_DENIED);
	m.txid = ++rs.txid;
	cr_assert_eq(testnode_ask(&rs, &m, &r), 0);
	expect_error(&r, NTM_E_DENIED);

	send_load(&a, &(struct ntm_load){.paths_max = 1, .flags = NTM_LOAD_GATEWAY});
	cr_assert_null(ntm_dc_node_by_label(&dc.nodes, "alice")->relay);
	r = ask_direction(&b, NULL, 0, true);
	expect_error(&r, NTM_E_OFFLINE);

	/* an answer with a transaction id of another's request */
	ask_direction(&a, "bob", 0, false);
	cr_assert_eq(testnode_recv(&rs, &m, TESTNODE_WAIT_MS), 0);
	ntm_sig_init(&r, NTM_M_ERROR, m.txid);
	r.error_code = NTM_E_BUSY;
	r.have = 1u << NTM_F_ERROR_CODE;
	cr_assert_eq(testnode_send(&a, &r), 0);
	cr_assert_eq(testnode_recv(&rs, &m, TESTNODE_WAIT_MS), 0, "is not the relay's: asked again");
	cr_assert_eq(m.msg, NTM_M_RELAY_DIRECTION);
	cr_assert_eq(dc.counters.relay_refusals, 0);

	r = ask_direction(&rs, "alice", 0, false);
	expect_error(&r, NTM_E_DENIED);
	r = ask_direction(&a, "rs1", 0, false);
	expect_error(&r, NTM_E_OFFLINE);
	cr_assert_str_eq(r.error_text, "rs1 is a relay");
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&rs);
}

Test(relay, round_trips_count_and_garbage_does_not)
{
	struct testnode a, b, rs1, rs2;
	struct ntm_dc_node *n;

	join_relay(&rs1, "rs1", 0);
	join_relay(&rs2, "rs2", 0);
	join(&a, "alice");
	join(&b, "bob");
	n = ntm_dc_node_by_label(&dc.nodes, "alice");
	report_rtt(&a, "nowhere", 1);
	report_rtt(&a, "alice", 1);
	report_rtt(&a, "RS1", 1);
	cr_assert_eq(n->n_rtts, 0);
	report_rtt(&a, "rs1", NTM_RELAY_RTT_NONE);
	report_rtt(&b, "rs2", 100000);
	report_rtt(&b, "rs2", 150000);
	cr_assert_eq(n->n_rtts, 1);
	cr_assert_str_eq(ask_direction(&a, "bob", 0, false).relay.name, "rs2");
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&rs1);
	testnode_close(&rs2);
}

Test(relay, nodes_tell_how_relays_see_them)
{
	struct testnode a, b;
	struct ntm_sig m, r, d;

	join(&a, "alice");
	join(&b, "bob");
	testnode_request(&b, &m, NTM_M_REGISTRATION_REQUEST);
	strcpy(m.name, "bob");
	m.have = 1u << NTM_F_NAME | 1u << NTM_F_CANDIDATE;
	for (int i = 0; i < NTM_CANDIDATES_MAX; i++) {
		m.candidates[i].kind = i == 0 ? NTM_CAND_RELAY : i == 1 ? 77 : NTM_CAND_REFLEXIVE;
		ntm_addr_parse("203.0.113.7:1", 0, &m.candidates[i].addr);
		m.candidates[i].addr.port = htons((uint16_t)(i + 1));
	}
	m.n_candidates = NTM_CANDIDATES_MAX;
	cr_assert_eq(testnode_ask(&b, &m, &r), 0);
	cr_assert_eq(r.msg, NTM_M_REGISTRATION_RESPONSE, "%s", r.error_text);
	d = ask_direction(&a, "bob", 0, false);
	cr_assert_eq(d.n_candidates, NTM_CANDIDATES_MAX - 1, "14 claimed ones, and the DC's own sight");
	cr_assert_eq(d.candidates[0].kind, NTM_CAND_REFLEXIVE);
	cr_assert_eq(ntohs(d.candidates[0].addr.port), 3);
	testnode_close(&a);
	testnode_close(&b);
}

Test(relay, gateway_is_an_end_of_the_path)
{
	struct testnode a, gw, rs;
	struct ntm_sig m, da, dg, again, other;

	join_relay(&rs, "rs1", 0);
	join_relay(&gw, "rs2", NTM_LOAD_GATEWAY);
	join(&a, "alice");
	testnode_request(&a, &m, NTM_M_DIRECTION_REQUEST);
	m.gateway = 1;
	m.have = 1u << NTM_F_GATEWAY;
	cr_assert_eq(testnode_ask(&a, &m, &da), 0);
	cr_assert_eq(da.msg, NTM_M_ROUTE_DIRECTION, "%s", da.error_text);
	cr_assert_str_eq(da.name, "rs2.ntm.example");
	cr_assert_eq(da.gateway, 1);
	cr_assert_eq(da.role, NTM_ROLE_INITIATOR);
	cr_assert(!ntm_sig_has(&da, NTM_F_RELAY));
	cr_assert(ntm_addr_equal(&da.candidates[0].addr, &relay_conf[1].endpoints.addrs[0]), "where dc.conf says");
	dg = await_direction(&gw);
	cr_assert_eq(dg.path_id, da.path_id);
	cr_assert_eq(dg.gateway, 1);
	cr_assert(!ntm_sig_has(&dg, NTM_F_RELAY));
	cr_assert_eq(testnode_ask(&a, &m, &again), 0);
	cr_assert_arr_eq(&again, &da, sizeof(da));
	expect_silence(&gw);
	expect_silence(&rs);

	other = ask_direction(&a, "rs2", da.path_id, false);
	cr_assert_eq(other.gateway, 1, "a look at the gateway does not make it another's path");
	await_direction(&gw);
	cr_assert_eq(ask_direction(&a, NULL, other.path_id, true).msg, NTM_M_ROUTE_DIRECTION, "the only gateway");
	await_direction(&gw);
	register_relay(&rs, "rs1", NTM_LOAD_GATEWAY);
	again = ask_direction(&a, NULL, dc.paths.all.tqh_first->id, true);
	cr_assert_str_eq(again.name, "rs1.ntm.example", "the other one");
	cr_assert_eq(dc.counters.relay_directions, 0);

	m.txid = ++a.txid;
	strcpy(m.name, "bob");
	m.have |= 1u << NTM_F_NAME;
	cr_assert_eq(testnode_ask(&a, &m, &again), 0);
	expect_error(&again, NTM_E_MALFORMED);
	again = ask_direction(&gw, NULL, 0, true);
	expect_error(&again, NTM_E_DENIED);
	testnode_close(&a);
	testnode_close(&gw);
	testnode_close(&rs);
}
