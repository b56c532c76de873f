/* SPDX-License-Identifier: BSD-2-Clause */
/* Registration, direction and revocation as nodes see them. */
#include "../harness/dc_rig.h"

TestSuite(protocol, .init = setup, .fini = teardown, .timeout = 30);

Test(protocol, registration_gives_name_and_addresses)
{
	struct testnode t;
	struct ntm_sig r = join(&t, "alice");
	struct ntm_addr own = own_address(&t);

	cr_assert_str_eq(r.name, "alice.ntm.example");
	cr_assert_str_eq(r.zone, "ntm.example");
	cr_assert_arr_eq(r.vip4, ((uint8_t[]){100, 96, 0, 1}), 4);
	cr_assert_eq(r.vip6[0], 0xfd);
	cr_assert_eq(r.vip6[15], 1);
	cr_assert_eq(r.pool4.len, 96 + 29);
	cr_assert_eq(r.pool6.len, 48);
	cr_assert_eq(r.lifetime_s, 120);
	cr_assert_eq(r.keepalive_s, 15);
	cr_assert(ntm_addr_equal(&r.reflexive, &own));
	testnode_close(&t);
}

Test(protocol, registration_again_needs_no_token_and_changes_nothing)
{
	struct testnode t;
	struct ntm_sig first = join(&t, "alice"), again;

	cr_assert_eq(testnode_register(&t, "Alice.NTM.example", NULL, &again), 0);
	cr_assert_eq(again.msg, NTM_M_REGISTRATION_RESPONSE);
	cr_assert_arr_eq(again.vip4, first.vip4, 4);
	cr_assert_eq(testnode_connect(&t), 0);
	cr_assert_eq(testnode_register(&t, "alice", NULL, &again), 0);
	cr_assert_arr_eq(again.vip6, first.vip6, 16);
	cr_assert_eq(dc.sessions.n[NTM_DC_BOUND], 1);
	testnode_close(&t);
}

Test(protocol, same_request_twice_gets_the_same_answer)
{
	struct testnode t;
	struct ntm_sig m, a, b;

	token("one", NULL);
	open_node(&t);
	testnode_request(&t, &m, NTM_M_REGISTRATION_REQUEST);
	strcpy(m.name, "alice");
	strcpy(m.token, "one");
	m.have = 1u << NTM_F_NAME | 1u << NTM_F_TOKEN;
	cr_assert_eq(testnode_ask(&t, &m, &a), 0);
	cr_assert_eq(testnode_ask(&t, &m, &b), 0);
	cr_assert_eq(a.msg, NTM_M_REGISTRATION_RESPONSE);
	cr_assert_arr_eq(&a, &b, sizeof(a));
	testnode_close(&t);
}

Test(protocol, refused_registrations)
{
	struct testnode a, b;
	struct ntm_sig r;

	join(&a, "alice");
	open_node(&b);
	cr_assert_eq(testnode_register(&b, "bob", NULL, &r), 0);
	expect_error(&r, NTM_E_BAD_TOKEN);
	cr_assert_eq(testnode_register(&b, "bob", "never made", &r), 0);
	expect_error(&r, NTM_E_BAD_TOKEN);
	cr_assert_eq(testnode_register(&b, "bob", "token-of-alice", &r), 0);
	expect_error(&r, NTM_E_BAD_TOKEN);
	cr_assert_eq(dc.store->ops->token_create(dc.store, "old", NULL, time(NULL) - 60, time(NULL) - 1), 0);
	cr_assert_eq(testnode_register(&b, "bob", "old", &r), 0);
	expect_error(&r, NTM_E_BAD_TOKEN);
	token("for-carol", "carol");
	cr_assert_eq(testnode_register(&b, "bob", "for-carol", &r), 0);
	expect_error(&r, NTM_E_BAD_NAME);
	token("free", NULL);
	cr_assert_eq(testnode_register(&b, "alice", "free", &r), 0);
	expect_error(&r, NTM_E_NAME_TAKEN);

	static const char *const names[] = {"",     "-bob",         "bob-",           "b_b", "bob.other.example",
					    "bob.", ".ntm.example", "a.b.ntm.example"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		cr_assert_eq(testnode_register(&b, names[i], "free", &r), 0);
		expect_error(&r, NTM_E_BAD_NAME);
	}
	cr_assert_eq(testnode_register(&a, "alicia", NULL, &r), 0);
	expect_error(&r, NTM_E_BAD_NAME);
	cr_assert_eq(testnode_register(&b, "bob", "free", &r), 0);
	cr_assert_eq(r.msg, NTM_M_REGISTRATION_RESPONSE, "the token outlived every refusal: %s", r.error_text);
	testnode_close(&a);
	testnode_close(&b);
}

Test(protocol, pool_ends)
{
	struct testnode t[7];
	struct ntm_sig r;
	char name[8];

	for (int i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		join(&t[i], name);
	}
	token("one-too-many", NULL);
	open_node(&t[6]);
	cr_assert_eq(testnode_register(&t[6], "late", "one-too-many", &r), 0);
	expect_error(&r, NTM_E_POOL_EXHAUSTED);
	for (int i = 0; i < 7; i++)
		testnode_close(&t[i]);
}

Test(protocol, whoever_is_not_registered_may_only_register)
{
	struct testnode t;
	struct ntm_sig m, r;

	open_node(&t);
	cr_assert_eq(keep_alive(&t, &r), 0);
	expect_error(&r, NTM_E_NOT_REGISTERED);
	cr_assert_eq(testnode_direct(&t, "bob", &r), 0);
	expect_error(&r, NTM_E_NOT_REGISTERED);
	testnode_request(&t, &m, 99);
	cr_assert_eq(testnode_ask(&t, &m, &r), 0);
	expect_error(&r, NTM_E_UNKNOWN_MESSAGE);
	testnode_close(&t);
}

/* The Route Direction that the DC sends by itself, acknowledged. */
Test(protocol, direction_goes_to_both_ends)
{
	struct testnode a, b;
	struct ntm_sig ra = join(&a, "alice"), rb = join(&b, "bob"), da, db_;
	struct ntm_addr addr_a = own_address(&a), addr_b = own_address(&b), host;

	cr_assert_eq(testnode_direct(&a, "bob.ntm.example", &da), 0);
	cr_assert_eq(da.msg, NTM_M_ROUTE_DIRECTION, "%s", da.error_text);
	db_ = await_direction(&b);

	cr_assert_neq(da.path_id, 0);
	cr_assert_eq(da.path_id, db_.path_id);
	cr_assert_arr_eq(da.psk, db_.psk, NTM_PSK_LEN);
	cr_assert_eq(da.role, NTM_ROLE_INITIATOR);
	cr_assert_eq(db_.role, NTM_ROLE_RESPONDER);
	cr_assert_arr_eq(da.public_key, b.pub, NTM_DH_LEN);
	cr_assert_arr_eq(db_.public_key, a.pub, NTM_DH_LEN);
	cr_assert_str_eq(da.name, "bob.ntm.example");
	cr_assert_str_eq(db_.name, "alice.ntm.example");
	cr_assert_arr_eq(da.vip4, rb.vip4, 4);
	cr_assert_arr_eq(db_.vip6, ra.vip6, 16);
	cr_assert_eq(da.mtu, 1500);
	ntm_addr_parse("192.0.2.77:4680", 0, &host);
	cr_assert_eq(da.n_candidates, 2, "the loopback one is left out");
	cr_assert(ntm_addr_equal(&da.candidates[0].addr, &host));
	cr_assert_eq(da.candidates[0].kind, NTM_CAND_HOST);
	cr_assert(ntm_addr_equal(&da.candidates[1].addr, &addr_b));
	cr_assert_eq(da.candidates[1].kind, NTM_CAND_REFLEXIVE);
	cr_assert(ntm_addr_equal(&db_.candidates[1].addr, &addr_a));
	expect_silence(&b); /* acknowledged: not sent again */
	testnode_close(&a);
	testnode_close(&b);
}

Test(protocol, direction_by_virtual_address)
{
	struct testnode a, b;
	struct ntm_sig m, r, rb;

	join(&a, "alice");
	rb = join(&b, "bob");
	testnode_request(&a, &m, NTM_M_DIRECTION_REQUEST);
	memcpy(m.vip4, rb.vip4, 4);
	m.have = 1u << NTM_F_VIP4;
	cr_assert_eq(testnode_ask(&a, &m, &r), 0);
	cr_assert_str_eq(r.name, "bob.ntm.example");
	testnode_request(&a, &m, NTM_M_DIRECTION_REQUEST);
	memcpy(m.vip6, rb.vip6, 16);
	m.have = 1u << NTM_F_VIP6;
	cr_assert_eq(testnode_ask(&a, &m, &r), 0);
	cr_assert_str_eq(r.name, "bob.ntm.example");
	m.txid = ++a.txid;
	m.vip6[15] = 6;
	cr_assert_eq(testnode_ask(&a, &m, &r), 0);
	expect_error(&r, NTM_E_NO_SUCH_NAME);
	m.txid = ++a.txid;
	m.have = 0;
	cr_assert_eq(testnode_ask(&a, &m, &r), 0);
	expect_error(&r, NTM_E_MALFORMED);
	testnode_close(&a);
	testnode_close(&b);
}

Test(protocol, unacknowledged_direction_is_sent_again_with_one_transaction_id)
{
	struct testnode a, b;
	struct ntm_sig r, m;
	uint32_t txid = 0;

	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_direct(&a, "bob", &r), 0);
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(testnode_recv(&b, &m, TESTNODE_WAIT_MS), 0, "copy %d", i);
		cr_assert_eq(m.msg, NTM_M_ROUTE_DIRECTION);
		cr_assert_eq(m.path_id, r.path_id);
		cr_assert(!txid || m.txid == txid);
		txid = m.txid;
	}
	cr_assert_eq(testnode_recv(&b, &m, 600), -ETIMEDOUT);
	cr_assert_eq(dc.outbox.unanswered, 1);
	testnode_close(&a);
	testnode_close(&b);
}

Test(protocol, both_asking_at_once_get_one_path)
{
	struct testnode a, b;
	struct ntm_sig da, db_, pushed, again;

	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_direct(&a, "bob", &da), 0);
	pushed = await_direction(&b);
	cr_assert_eq(testnode_direct(&b, "alice", &db_), 0);
	cr_assert_eq(db_.path_id, da.path_id);
	cr_assert_eq(pushed.path_id, da.path_id);
	cr_assert_eq(db_.role, NTM_ROLE_RESPONDER);
	cr_assert_arr_eq(db_.psk, da.psk, NTM_PSK_LEN);
	expect_silence(&a);
	cr_assert_eq(testnode_direct(&a, "bob", &again), 0);
	cr_assert_eq(again.path_id, da.path_id);
	cr_assert_eq(again.role, NTM_ROLE_INITIATOR);
	expect_silence(&b);
	cr_assert_eq(dc.paths.by_pair.n, 1);
	testnode_close(&a);
	testnode_close(&b);
}

Test(protocol, stale_path_is_never_given_again)
{
	struct testnode a, b;
	struct ntm_sig first, second, m, repeated;

	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_direct(&a, "bob", &first), 0);
	await_direction(&b);
	testnode_request(&b, &m, NTM_M_DIRECTION_REQUEST);
	strcpy(m.name, "alice");
	m.stale_path_id = first.path_id;
	m.have = 1u << NTM_F_NAME | 1u << NTM_F_STALE;
	cr_assert_eq(testnode_ask(&b, &m, &second), 0);
	cr_assert_neq(second.path_id, first.path_id);
	cr_assert_neq(memcmp(second.psk, first.psk, NTM_PSK_LEN), 0);
	cr_assert_eq(second.role, NTM_ROLE_INITIATOR);
	cr_assert_eq(await_direction(&a).path_id, second.path_id);
	cr_assert_eq(testnode_ask(&b, &m, &repeated), 0);
	cr_assert_arr_eq(&repeated, &second, sizeof(second));
	cr_assert_eq(dc.paths.by_pair.n, 1, "one record a pair");
	testnode_close(&a);
	testnode_close(&b);
}

Test(protocol, refused_directions)
{
	struct testnode a, b;
	struct ntm_sig r;

	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_direct(&a, "nobody", &r), 0);
	expect_error(&r, NTM_E_NO_SUCH_NAME);
	cr_assert_eq(testnode_direct(&a, "bob.other.example", &r), 0);
	expect_error(&r, NTM_E_NO_SUCH_NAME);
	cr_assert_eq(testnode_direct(&a, "alice", &r), 0);
	expect_error(&r, NTM_E_DENIED);

	/* bob's lifetime passes in silence */
	cr_assert_not_null(ntm_dc_nodes_expire(&dc.nodes, ntm_dc_now(&dc) + 120000, 120000));
	cr_assert_not_null(ntm_dc_nodes_expire(&dc.nodes, ntm_dc_now(&dc) + 120000, 120000));
	cr_assert_eq(testnode_direct(&a, "bob", &r), 0);
	expect_error(&r, NTM_E_OFFLINE);
	cr_assert_eq(keep_alive(&b, &r), 0);
	cr_assert_eq(testnode_direct(&a, "bob", &r), 0);
	cr_assert_eq(r.msg, NTM_M_ROUTE_DIRECTION);

	cr_assert_eq(ntm_dc_revoke(&dc, "bob"), 0);
	cr_assert_eq(testnode_direct(&a, "bob", &r), 0);
	expect_error(&r, NTM_E_DENIED);
	testnode_close(&a);
	testnode_close(&b);
}

Test(protocol, revocation_takes_effect_at_once)
{
	struct testnode a, b;
	struct ntm_sig d, m, r;

	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_direct(&a, "bob", &d), 0);
	await_direction(&b);
	cr_assert_eq(ntm_dc_revoke(&dc, "bob"), 0);
	cr_assert_eq(ntm_dc_revoke(&dc, "bob"), -EALREADY);
	cr_assert_eq(ntm_dc_revoke(&dc, "nobody"), -ENOENT);

	cr_assert_eq(testnode_recv(&a, &m, TESTNODE_WAIT_MS), 0);
	cr_assert_eq(m.msg, NTM_M_RELEASE);
	cr_assert_eq(m.path_id, d.path_id);
	cr_assert_eq(testnode_recv(&b, &m, TESTNODE_WAIT_MS), 0);
	expect_error(&m, NTM_E_DENIED);
	cr_assert_eq(dc.paths.by_pair.n, 0);

	b.patience_ms = 500;
	cr_assert_eq(keep_alive(&b, &r), -ETIMEDOUT, "its session is gone");
	b.patience_ms = TESTNODE_WAIT_MS;
	cr_assert_eq(testnode_connect(&b), 0);
	cr_assert_eq(testnode_register(&b, "bob", NULL, &r), 0);
	expect_error(&r, NTM_E_DENIED);
	token("another", NULL);
	cr_assert_eq(testnode_register(&b, "bob", "another", &r), 0);
	expect_error(&r, NTM_E_DENIED);
	testnode_close(&a);
	testnode_close(&b);
}

/* Its session init came before the revocation, its answer leaves after it: the session is good for nothing. */
Test(protocol, revocation_meets_a_handshake_that_waits)
{
	struct testnode a;
	struct ntm_sig r;
	struct ntm_session_init_state st;
	uint8_t buf[NTM_SIGNAL_MAX];
	uint64_t had;
	ssize_t n;

	join(&a, "alice");
	had = ntm_dc_net_stats(dc.net)->rx;
	cr_assert_eq(testnode_move(&a), 0);
	cr_assert_eq(ntm_session_begin(&st, a.priv, a.pub, a.dc_pub, &a.cookies, ntm_dc_now(&dc)), 0);
	cr_assert_eq(testnode_send_raw(&a, &st.msg, sizeof(st.msg)), 0);
	while (ntm_dc_net_stats(dc.net)->rx == had)
		uv_run(&loop, UV_RUN_NOWAIT);
	cr_assert_eq(dc.counters.sessions_made, 1, "the answer is not taken yet");
	cr_assert_eq(ntm_dc_revoke(&dc, "alice"), 0);

	n = testnode_recv_raw(&a, buf, sizeof(buf), TESTNODE_WAIT_MS);
	cr_assert_gt(n, 0);
	cr_assert_eq(ntm_session_finish(&st, buf, (size_t)n, ntm_dc_now(&dc), &a.session), 0);
	cr_assert_eq(testnode_register(&a, "alice", NULL, &r), 0);
	expect_error(&r, NTM_E_DENIED);
	cr_assert_null(ntm_dc_node_by_label(&dc.nodes, "alice"));
	testnode_close(&a);
}

Test(protocol, nothing_said_before_a_revocation_is_repeated_after_it)
{
	struct testnode a, b;
	struct ntm_sig d, m;

	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_direct(&b, "alice", &d), 0);
	cr_assert_eq(testnode_recv(&a, &m, TESTNODE_WAIT_MS), 0);
	cr_assert_eq(m.msg, NTM_M_ROUTE_DIRECTION, "alice does not acknowledge it");
	cr_assert_eq(ntm_dc_revoke(&dc, "bob"), 0);
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(testnode_recv(&a, &m, TESTNODE_WAIT_MS), 0);
		cr_assert_eq(m.msg, NTM_M_RELEASE, "copy %d is %s", i, ntm_msg_name(m.msg));
		cr_assert_eq(m.path_id, d.path_id);
	}
	testnode_close(&a);
	testnode_close(&b);
}

Test(protocol, new_direction_ends_the_copies_of_the_former)
{
	struct testnode a, b;
	struct ntm_sig first, second, m;

	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_direct(&a, "bob", &first), 0);
	cr_assert_eq(testnode_recv(&b, &m, TESTNODE_WAIT_MS), 0);
	testnode_request(&a, &m, NTM_M_DIRECTION_REQUEST);
	strcpy(m.name, "bob");
	m.stale_path_id = first.path_id;
	m.have = 1u << NTM_F_NAME | 1u << NTM_F_STALE;
	cr_assert_eq(testnode_ask(&a, &m, &second), 0);
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(testnode_recv(&b, &m, TESTNODE_WAIT_MS), 0);
		cr_assert_eq(m.path_id, second.path_id, "copy %d", i);
	}
	testnode_close(&a);
	testnode_close(&b);
}

Test(protocol, one_node_cannot_ask_for_paths_without_end)
{
	struct testnode a, b;
	struct ntm_sig m, r;
	unsigned made = 0;

	join(&a, "alice");
	join(&b, "bob");
	r.path_id = 0;
	for (int i = 0; i < 100000; i++) {
		testnode_request(&a, &m, NTM_M_DIRECTION_REQUEST);
		strcpy(m.name, "bob");
		m.stale_path_id = r.path_id;
		m.have = 1u << NTM_F_NAME | 1u << NTM_F_STALE;
		cr_assert_eq(testnode_ask(&a, &m, &r), 0);
		if (r.msg != NTM_M_ROUTE_DIRECTION)
			break;
		made++;
	}
	expect_error(&r, NTM_E_BUSY);
	cr_assert_geq(made, 2000);
	cr_assert_eq(dc.paths.by_pair.n, 1);
	cr_assert_leq(dc.outbox.by_txid.n, 1);
	testnode_close(&a);
	testnode_close(&b);
}

Test(protocol, revocation_reaches_peers_after_a_restart_and_those_who_were_away)
{
	struct testnode a, b, c;
	struct ntm_sig to_a, to_c, m, r;

	join(&a, "alice");
	join(&b, "bob");
	join(&c, "carol");
	cr_assert_eq(testnode_direct(&a, "bob", &to_a), 0);
	cr_assert_eq(testnode_direct(&c, "bob", &to_c), 0);
	stop_dc();
	start_dc();
	cr_assert_eq(testnode_connect(&a), 0);
	cr_assert_eq(testnode_register(&a, "alice", NULL, &r), 0);
	cr_assert_eq(ntm_dc_revoke(&dc, "bob"), 0);
	cr_assert_eq(testnode_recv(&a, &m, TESTNODE_WAIT_MS), 0);
	cr_assert_eq(m.msg, NTM_M_RELEASE);
	cr_assert_eq(m.path_id, to_a.path_id);

	stop_dc();
	start_dc();
	cr_assert_eq(testnode_connect(&c), 0);
	testnode_request(&c, &m, NTM_M_REGISTRATION_REQUEST);
	strcpy(m.name, "carol");
	m.have = 1u << NTM_F_NAME;
	cr_assert_eq(testnode_send(&c, &m), 0);
	do
		cr_assert_eq(testnode_recv(&c, &m, TESTNODE_WAIT_MS), 0);
	while (m.msg != NTM_M_RELEASE);
	cr_assert_eq(m.path_id, to_c.path_id);
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&c);
}

Test(protocol, release_takes_a_node_offline_and_forgets_a_path)
{
	struct testnode a, b;
	struct ntm_sig d, m, r;

	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_direct(&a, "bob", &d), 0);
	await_direction(&b);
	ntm_sig_init(&m, NTM_M_RELEASE, 1);
	m.path_id = d.path_id;
	m.have = 1u << NTM_F_PATH_ID;
	cr_assert_eq(testnode_send(&b, &m), 0);
	m.have = 0;
	cr_assert_eq(testnode_send(&b, &m), 0);
	cr_assert_eq(testnode_direct(&a, "bob", &r), 0);
	expect_error(&r, NTM_E_OFFLINE);
	cr_assert_eq(dc.paths.by_pair.n, 0);
	testnode_close(&a);
	testnode_close(&b);
}
