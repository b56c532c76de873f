/* SPDX-License-Identifier: BSD-2-Clause */
/* What comes from the wire at a DC: moved, replayed, malformed, forged, under load, and after a restart. */
#include "../harness/dc_rig.h"

TestSuite(wire, .init = setup, .fini = teardown, .timeout = 30);

Test(wire, keep_alive_moves_the_endpoint_and_tells_it)
{
	struct testnode a, b;
	struct ntm_sig r;
	struct ntm_addr moved;

	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_move(&b), 0);
	moved = own_address(&b);
	cr_assert_eq(keep_alive(&b, &r), 0);
	cr_assert_eq(r.msg, NTM_M_KEEP_ALIVE_RESPONSE);
	cr_assert(ntm_addr_equal(&r.reflexive, &moved));
	cr_assert_eq(testnode_direct(&a, "bob", &r), 0);
	cr_assert(ntm_addr_equal(&r.candidates[1].addr, &moved));
	await_direction(&b);
	testnode_close(&a);
	testnode_close(&b);
}

/* Seals arbitrary bytes as a message. */
static size_t seal(struct testnode *t, const void *plain, size_t len, uint8_t out[NTM_SIGNAL_MAX])
{
	size_t out_len;

	cr_assert_eq(ntm_session_seal(&t->session, plain, len, out, NTM_SIGNAL_MAX, &out_len), 0);
	return out_len;
}

Test(wire, older_message_from_elsewhere_does_not_move_the_endpoint)
{
	struct testnode t, attacker;
	uint8_t held[NTM_SIGNAL_MAX], plain[64];
	struct ntm_sig m, r;
	size_t len, held_len;

	join(&t, "alice");
	testnode_request(&t, &m, NTM_M_KEEP_ALIVE);
	cr_assert_eq(ntm_sig_encode(&m, plain, sizeof(plain), &len), 0);
	held_len = seal(&t, plain, len, held);
	cr_assert_eq(keep_alive(&t, &r), 0);
	cr_assert_eq(testnode_open(&attacker, &loop, &listen_addr, dc_pub), 0);
	cr_assert_eq(testnode_send_raw(&attacker, held, held_len), 0);
	expect_silence(&attacker);
	cr_assert_eq(testnode_recv(&t, &r, TESTNODE_WAIT_MS), 0, "it was new, so it is answered: to where the node is");
	testnode_close(&t);
	testnode_close(&attacker);
}

Test(wire, replayed_message_is_dropped)
{
	struct testnode t;
	uint8_t msg[NTM_SIGNAL_MAX], plain[64];
	struct ntm_sig m, r;
	size_t len, msg_len;

	join(&t, "alice");
	testnode_request(&t, &m, NTM_M_KEEP_ALIVE);
	cr_assert_eq(ntm_sig_encode(&m, plain, sizeof(plain), &len), 0);
	msg_len = seal(&t, plain, len, msg);
	cr_assert_eq(testnode_send_raw(&t, msg, msg_len), 0);
	cr_assert_eq(testnode_recv(&t, &r, TESTNODE_WAIT_MS), 0);
	cr_assert_eq(testnode_send_raw(&t, msg, msg_len), 0);
	expect_silence(&t);
	cr_assert_eq(dc.counters.replayed, 1);
	testnode_close(&t);
}

Test(wire, malformed_sealed_messages_are_answered_by_an_error)
{
	static const struct {
		const char *what;
		uint8_t bytes[32];
		size_t len;
	} bad[] = {
	    {"nothing", {0}, 0},
	    {"half a header", {10, 0, 0, 0}, 4},
	    {"field cut short", {10, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0, 9, 'a'}, 13},
	    {"field header cut short", {10, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0}, 11},
	    {"address of 3 bytes", {3, 0, 0, 0, 0, 0, 0, 7, 0, 4, 0, 3, 1, 2, 3}, 15},
	    {"NUL in a name", {3, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0, 2, 'a', 0}, 14},
	};
	uint8_t msg[NTM_SIGNAL_MAX];
	struct testnode t;
	struct ntm_sig r;

	join(&t, "alice");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		size_t len = seal(&t, bad[i].bytes, bad[i].len, msg);

		cr_assert_eq(testnode_send_raw(&t, msg, len), 0);
		cr_assert_eq(testnode_recv(&t, &r, TESTNODE_WAIT_MS), 0, "%s", bad[i].what);
		expect_error(&r, NTM_E_MALFORMED);
		cr_assert_eq(r.txid, bad[i].len >= 8 ? 7 : 0, "%s", bad[i].what);
	}
	cr_assert_eq(keep_alive(&t, &r), 0);
	cr_assert_eq(r.msg, NTM_M_KEEP_ALIVE_RESPONSE);
	testnode_close(&t);
}

Test(wire, unknown_message_is_answered_by_an_error)
{
	struct testnode t;
	struct ntm_sig m, r;

	join(&t, "alice");
	testnode_request(&t, &m, 200);
	cr_assert_eq(testnode_ask(&t, &m, &r), 0);
	expect_error(&r, NTM_E_UNKNOWN_MESSAGE);
	ntm_sig_init(&m, NTM_M_ERROR, 1234); /* never answered by another error */
	cr_assert_eq(testnode_send(&t, &m), 0);
	ntm_sig_init(&m, NTM_M_ROUTE_ACK, 1234);
	cr_assert_eq(testnode_send(&t, &m), 0);
	expect_silence(&t);
	testnode_close(&t);
}

Test(wire, nothing_unauthenticated_is_answered)
{
	struct ntm_session_init_state st;
	uint8_t other_priv[NTM_DH_LEN], other_pub[NTM_DH_LEN], big[2000] = {NTM_WIRE_VERSION << 4 | NTM_T_SIGNAL};
	struct ntm_cookie_client cookies;
	struct testnode t;
	uint8_t msg[NTM_SIGNAL_MAX];
	size_t before, len;
	struct ntm_sig m;

	join(&t, "alice");
	before = dc.sessions.by_id.n;

	/* each length from 0 up, each type and version */
	for (size_t n = 0; n < 200; n++) {
		for (int first = 0; first < 256; first += n == 16 || n == 152 ? 1 : 51) {
			memset(msg, 0x5a, sizeof(msg));
			msg[0] = (uint8_t)first;
			cr_assert_eq(testnode_send_raw(&t, msg, n), 0);
		}
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	cr_assert_eq(testnode_send_raw(&t, big, NTM_SIGNAL_MAX), 0);
	cr_assert_eq(testnode_send_raw(&t, big, NTM_SIGNAL_MAX + 1), 0);
	cr_assert_eq(testnode_send_raw(&t, big, sizeof(big)), 0);

	/* a session init for another DC's key */
	cr_assert_eq(ntm_x25519_generate(other_priv, other_pub), 0);
	cr_assert_eq(ntm_cookie_client_init(&cookies, other_pub), 0);
	cr_assert_eq(ntm_session_begin(&st, t.priv, t.pub, other_pub, &cookies, 1), 0);
	cr_assert_eq(testnode_send_raw(&t, &st.msg, sizeof(st.msg)), 0);
	/* one with the right mac1 but garbage inside */
	cr_assert_eq(ntm_session_begin(&st, t.priv, t.pub, dc_pub, &t.cookies, 1), 0);
	st.msg.s[7] ^= 1;
	cr_assert_eq(ntm_cookie_sign(&t.cookies, &st.msg, sizeof(st.msg), 1), 0);
	cr_assert_eq(testnode_send_raw(&t, &st.msg, sizeof(st.msg)), 0);
	/* truncated */
	cr_assert_eq(testnode_send_raw(&t, &st.msg, sizeof(st.msg) - 1), 0);

	/* a true session's message, changed anywhere */
	testnode_request(&t, &m, NTM_M_KEEP_ALIVE);
	cr_assert_eq(ntm_sig_encode(&m, big, sizeof(big), &len), 0);
	len = seal(&t, big, len, msg);
	for (size_t i = 0; i < len; i++) {
		msg[i] ^= 0x10;
		cr_assert_eq(testnode_send_raw(&t, msg, len), 0);
		msg[i] ^= 0x10;
		cr_assert_eq(testnode_send_raw(&t, msg, i), 0);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	expect_silence(&t);
	cr_assert_eq(dc.sessions.by_id.n, before, "no state is kept");
	cr_assert_gt(dc.counters.bad_form, 0);
	cr_assert_eq(dc.counters.bad_mac1, 2);
	cr_assert_eq(dc.counters.bad_handshake, 1 + 4, "garbage inside, and answers to nothing");
	cr_assert_gt(dc.counters.bad_seal, 0);
	cr_assert_eq(testnode_send_raw(&t, msg, len), 0);
	cr_assert_eq(testnode_recv(&t, &m, TESTNODE_WAIT_MS), 0, "the unchanged one is good");
	testnode_close(&t);
}

Test(wire, wildcard_address_answers_from_the_address_that_was_asked)
{
	static const char *const any[] = {"0.0.0.0:1", "[::]:1"}, *const asked[] = {"127.0.0.2:1", "[::1]:1"};
	struct ntm_sig r;
	char name[8];

	for (int i = 0; i < 2; i++) {
		struct testnode t;
		struct ntm_addr to;

		stop_dc();
		ntm_addr_parse(any[i], 0, &listen_addr);
		listen_addr.port = 0;
		start_dc();
		ntm_addr_parse(asked[i], 0, &to);
		to.port = listen_addr.port;
		snprintf(name, sizeof(name), "n%d", i);
		token(name, NULL);
		/* its socket is connected: an answer from elsewhere would not be heard */
		cr_assert_eq(testnode_open(&t, &loop, &to, dc_pub), 0);
		cr_assert_eq(testnode_connect(&t), 0);
		cr_assert_eq(testnode_register(&t, name, name, &r), 0);
		cr_assert_eq(r.msg, NTM_M_REGISTRATION_RESPONSE);
		/* and so does what the DC begins by itself after a restart */
		stop_dc();
		start_dc();
		cr_assert_eq(testnode_accept(&t, TESTNODE_WAIT_MS), 0);
		testnode_close(&t);
		cr_assert_eq(ntm_dc_revoke(&dc, name), 0);
	}
}

Test(wire, virtual_address_is_never_told_as_a_real_one)
{
	struct testnode a, b;
	struct ntm_sig m, r;

	join(&a, "alice");
	join(&b, "bob");
	testnode_request(&b, &m, NTM_M_REGISTRATION_REQUEST);
	strcpy(m.name, "bob");
	m.n_candidates = 2;
	ntm_addr_parse("100.96.0.3:4680", 0, &m.candidates[0].addr);
	ntm_addr_parse("[fd4e:544d::3]:4680", 0, &m.candidates[1].addr);
	m.have = 1u << NTM_F_NAME | 1u << NTM_F_CANDIDATE;
	cr_assert_eq(testnode_ask(&b, &m, &r), 0);
	cr_assert_eq(r.msg, NTM_M_REGISTRATION_RESPONSE);
	cr_assert_eq(testnode_direct(&a, "bob", &r), 0);
	cr_assert_eq(r.n_candidates, 1);
	cr_assert_eq(r.candidates[0].kind, NTM_CAND_REFLEXIVE);
	testnode_close(&a);
	testnode_close(&b);
}

/* Session inits, all before the DC reads the first: its rate gives back some with each second that passes. */
static void flood(struct testnode *t, int n)
{
	struct ntm_session_init_state st;

	for (int i = 0; i < n; i++) {
		cr_assert_eq(ntm_session_begin(&st, t->priv, t->pub, t->dc_pub, &t->cookies, ntm_dc_now(&dc)), 0);
		cr_assert_eq(testnode_send_raw(t, &st.msg, sizeof(st.msg)), 0);
	}
}

Test(wire, under_load_a_cookie_is_asked_for)
{
	struct testnode t;
	struct ntm_sig r;

	token("secret", NULL);
	cr_assert_eq(testnode_open(&t, &loop, &listen_addr, dc_pub), 0);
	dc.ids.items[0].jar.threshold = 0;
	cr_assert_eq(testnode_connect(&t), 0);
	cr_assert_eq(t.cookies_got, 1);
	cr_assert_eq(dc.counters.cookies_sent, 1);
	cr_assert_eq(dc.counters.sessions_made, 1);
	cr_assert_eq(testnode_register(&t, "alice", "secret", &r), 0);
	cr_assert_eq(r.msg, NTM_M_REGISTRATION_RESPONSE);
	cr_assert_eq(testnode_connect(&t), 0);
	cr_assert_eq(t.cookies_got, 1, "the cookie is good for a while");
	flood(&t, 2 * NTM_DC_RATE_BURST);
	while (!dc.counters.rate_limited && dc.counters.sessions_made < 2 * NTM_DC_RATE_BURST)
		uv_run(&loop, UV_RUN_ONCE);
	cr_assert_gt(dc.counters.rate_limited, 0, "a cookie is no licence to flood");
	testnode_close(&t);
}

Test(wire, restart_keeps_names_and_addresses_and_invites_back)
{
	struct testnode a, b;
	struct ntm_sig ra = join(&a, "alice"), r, m;
	struct ntm_sig rb = join(&b, "bob");

	/* bob says good-bye: he is not called */
	ntm_sig_init(&m, NTM_M_RELEASE, 1);
	cr_assert_eq(testnode_send(&b, &m), 0);
	cr_assert_eq(keep_alive(&a, &r), 0);
	stop_dc();
	start_dc();

	cr_assert_eq(testnode_accept(&a, TESTNODE_WAIT_MS), 0);
	cr_assert_eq(keep_alive(&a, &r), 0);
	expect_error(&r, NTM_E_NOT_REGISTERED);
	cr_assert_eq(testnode_register(&a, "alice", NULL, &r), 0);
	cr_assert_eq(r.msg, NTM_M_REGISTRATION_RESPONSE);
	cr_assert_arr_eq(r.vip4, ra.vip4, 4);
	cr_assert_arr_eq(r.vip6, ra.vip6, 16);

	cr_assert_eq(testnode_direct(&a, "bob", &r), 0);
	expect_error(&r, NTM_E_OFFLINE);
	cr_assert_eq(testnode_accept(&b, 300), -ETIMEDOUT);
	b.patience_ms = 500;
	cr_assert_eq(keep_alive(&b, &r), -ETIMEDOUT, "his session is of the former process");
	b.patience_ms = TESTNODE_WAIT_MS;
	cr_assert_eq(testnode_connect(&b), 0);
	cr_assert_eq(testnode_register(&b, "bob", NULL, &r), 0);
	cr_assert_arr_eq(r.vip4, rb.vip4, 4);
	testnode_close(&a);
	testnode_close(&b);
}

Test(wire, invitation_is_repeated_three_times)
{
	struct testnode a;
	uint8_t buf[NTM_SIGNAL_MAX];

	join(&a, "alice");
	stop_dc();
	start_dc();
	for (int i = 0; i < 3; i++)
		cr_assert_eq(testnode_recv_raw(&a, buf, sizeof(buf), TESTNODE_WAIT_MS),
			     sizeof(struct ntm_session_init));
	cr_assert_eq(testnode_recv_raw(&a, buf, sizeof(buf), 1500), -ETIMEDOUT);
	cr_assert_null(dc.invites);
	testnode_close(&a);
}

Test(wire, store_of_other_pools_or_zone_is_refused)
{
	struct testnode a;
	char why[256];

	join(&a, "alice");
	testnode_close(&a);
	stop_dc();

	ntm_prefix_parse("100.64.0.0/16", &conf.pool.v4);
	cr_assert_eq(ntm_dc_start(&dc, &loop, &conf, dc_priv, dc_pub, why, sizeof(why)), -EEXIST);
	cr_assert_not_null(strstr(why, "100.96.0.0"), "%s", why);
	uv_run(&loop, UV_RUN_DEFAULT);
	ntm_dc_free(&dc);

	conf.pool.v4 = conf.vip4_pool;
	strcpy(conf.zone, "other.example");
	cr_assert_eq(ntm_dc_start(&dc, &loop, &conf, dc_priv, dc_pub, why, sizeof(why)), -EEXIST);
	cr_assert_not_null(strstr(why, "ntm.example"), "%s", why);
	uv_run(&loop, UV_RUN_DEFAULT);
	ntm_dc_free(&dc);

	strcpy(conf.zone, "ntm.example");
	start_dc();
}

Test(wire, keep_alive_is_answered_later_to_another_port)
{
	struct testnode a;
	struct ntm_sig m, r;
	struct ntm_addr home, probe;
	uint64_t asked;
	int fd;

	join(&a, "alice");
	home = own_address(&a);
	fd = a.fd;
	a.fd = -1;
	cr_assert_eq(testnode_move(&a), 0);
	probe = own_address(&a);
	testnode_request(&a, &m, NTM_M_KEEP_ALIVE);
	m.delay_s = 1;
	m.have = 1u << NTM_F_DELAY;
	uv_update_time(&loop);
	asked = ntm_dc_now(&dc);
	cr_assert_eq(testnode_send(&a, &m), 0);
	cr_assert_eq(testnode_send(&a, &m), 0); /* again: nothing changes */
	cr_assert_eq(testnode_recv(&a, &r, TESTNODE_WAIT_MS), 0);
	cr_assert_geq(ntm_dc_now(&dc), asked + 1000);
	cr_assert_eq(r.msg, NTM_M_KEEP_ALIVE_RESPONSE);
	cr_assert_eq(r.txid, m.txid);
	cr_assert(ntm_addr_equal(&r.reflexive, &probe));
	expect_silence(&a);
	cr_assert(ntm_addr_equal(&ntm_dc_node_by_label(&dc.nodes, "alice")->rec.endpoint, &home));
	cr_assert(ntm_addr_equal(&ntm_dc_node_by_label(&dc.nodes, "alice")->session->route.peer, &home));

	m.txid = ++a.txid;
	m.delay_s = 0;
	cr_assert_eq(testnode_ask(&a, &m, &r), 0);
	cr_assert(ntm_addr_equal(&r.reflexive, &probe), "at once, from where it came");
	cr_assert(ntm_addr_equal(&ntm_dc_node_by_label(&dc.nodes, "alice")->session->route.peer, &home));

	close(a.fd);
	a.fd = fd;
	m.txid = ++a.txid;
	m.delay_s = 121;
	cr_assert_eq(testnode_ask(&a, &m, &r), 0);
	expect_error(&r, NTM_E_MALFORMED);
	m.txid = ++a.txid;
	m.delay_s = 120;
	cr_assert_eq(testnode_send(&a, &m), 0);
	cr_assert_eq(testnode_connect(&a), 0); /* the session that waits goes away */
	cr_assert_eq(testnode_register(&a, "alice", NULL, &r), 0);
	testnode_close(&a);
}
