/* SPDX-License-Identifier: BSD-2-Clause */
/* A DC in this process, asked over loopback UDP by scripted nodes (tests/harness/testnode.h). */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <ntm/wire.h>

#include "../../dc/dc.h"
#include "../../user/common/crypto.h"
#include "../harness/testnode.h"

static uv_loop_t loop;
static struct ntm_dc dc;
static struct ntm_dc_config conf;
static uint8_t dc_priv[NTM_DH_LEN], dc_pub[NTM_DH_LEN];
static char dir[64], db[96];
static struct ntm_addr listen_addr;

static void start_dc(void)
{
	char why[256];

	cr_assert_eq(ntm_dc_start(&dc, &loop, &conf, dc_priv, dc_pub, why, sizeof(why)), 0, "%s", why);
	listen_addr = *ntm_dc_net_bound(dc.net, 0); /* the next start listens there again */
}

static void stop_dc(void)
{
	ntm_dc_stop(&dc);
	uv_run(&loop, UV_RUN_DEFAULT);
	ntm_dc_free(&dc);
}

static void setup(void)
{
	char why[128];

	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_eq(ntm_x25519_generate(dc_priv, dc_pub), 0);
	snprintf(dir, sizeof(dir), "/tmp/ntm-dc-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(db, sizeof(db), "%s/dc.db", dir);
	memset(&conf, 0, sizeof(conf));
	strcpy(conf.zone, "ntm.example");
	conf.store_file = db;
	conf.cookie_threshold = 2000;
	conf.lifetime_s = 120;
	conf.keepalive_s = 15;
	conf.listen.addrs = &listen_addr;
	conf.listen.n = 1;
	ntm_addr_parse("127.0.0.1:1", 0, &listen_addr);
	listen_addr.port = 0;
	ntm_prefix_parse("100.96.0.0/29", &conf.vip4_pool);
	ntm_prefix_parse("fd4e:544d::/48", &conf.vip6_pool);
	cr_assert_eq(ntm_pool_init(&conf.pool, &conf.vip4_pool, &conf.vip6_pool, why, sizeof(why)), 0);
	uv_loop_init(&loop);
	start_dc();
}

static void teardown(void)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	char path[128];

	stop_dc();
	cr_assert_eq(uv_loop_close(&loop), 0);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s%s", db, suffixes[i]);
		unlink(path);
	}
	cr_assert_eq(rmdir(dir), 0);
}

TestSuite(protocol, .init = setup, .fini = teardown, .timeout = 30);

static void token(const char *text, const char *label)
{
	int64_t now = time(NULL);

	cr_assert_eq(dc.store->ops->token_create(dc.store, text, label, now, now + 60), 0);
}

static void open_node(struct testnode *t)
{
	cr_assert_eq(testnode_open(t, &loop, &listen_addr, dc_pub), 0);
	cr_assert_eq(testnode_connect(t), 0);
}

/* Connected and registered, by a token of its own. */
static struct ntm_sig join(struct testnode *t, const char *name)
{
	struct ntm_sig answer;
	char text[NTM_TOKEN_MAX];

	snprintf(text, sizeof(text), "token-of-%s", name);
	token(text, name);
	open_node(t);
	cr_assert_eq(testnode_register(t, name, text, &answer), 0);
	cr_assert_eq(answer.msg, NTM_M_REGISTRATION_RESPONSE, "%s", answer.error_text);
	return answer;
}

static struct ntm_addr own_address(const struct testnode *t)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct ntm_addr a;

	getsockname(t->fd, (struct sockaddr *)&sa, &len);
	ntm_addr_from_sockaddr(&a, (struct sockaddr *)&sa);
	return a;
}

static int keep_alive(struct testnode *t, struct ntm_sig *answer)
{
	struct ntm_sig m;

	testnode_request(t, &m, NTM_M_KEEP_ALIVE);
	return testnode_ask(t, &m, answer);
}

static void expect_error(const struct ntm_sig *answer, enum ntm_error code)
{
	cr_assert_eq(answer->msg, NTM_M_ERROR, "%s", ntm_msg_name(answer->msg));
	cr_assert_eq(answer->error_code, code, "%s: %s", ntm_error_name(answer->error_code), answer->error_text);
	cr_assert_neq(answer->error_text[0], 0);
}

static void expect_silence(struct testnode *t)
{
	uint8_t buf[NTM_SIGNAL_MAX];

	cr_assert_eq(testnode_recv_raw(t, buf, sizeof(buf), 60), -ETIMEDOUT);
}

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
static struct ntm_sig await_direction(struct testnode *t)
{
	struct ntm_sig m, ack;

	cr_assert_eq(testnode_recv(t, &m, 1000), 0);
	cr_assert_eq(m.msg, NTM_M_ROUTE_DIRECTION);
	ntm_sig_init(&ack, NTM_M_ROUTE_ACK, m.txid);
	cr_assert_eq(testnode_send(t, &ack), 0);
	return m;
}

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
		cr_assert_eq(testnode_recv(&b, &m, 1000), 0, "copy %d", i);
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

	cr_assert_eq(testnode_recv(&a, &m, 1000), 0);
	cr_assert_eq(m.msg, NTM_M_RELEASE);
	cr_assert_eq(m.path_id, d.path_id);
	cr_assert_eq(testnode_recv(&b, &m, 1000), 0);
	expect_error(&m, NTM_E_DENIED);
	cr_assert_eq(dc.paths.by_pair.n, 0);

	cr_assert_eq(keep_alive(&b, &r), -ETIMEDOUT, "its session is gone");
	cr_assert_eq(testnode_connect(&b), 0);
	cr_assert_eq(testnode_register(&b, "bob", NULL, &r), 0);
	expect_error(&r, NTM_E_DENIED);
	token("another", NULL);
	cr_assert_eq(testnode_register(&b, "bob", "another", &r), 0);
	expect_error(&r, NTM_E_DENIED);
	testnode_close(&a);
	testnode_close(&b);
}

Test(protocol, nothing_said_before_a_revocation_is_repeated_after_it)
{
	struct testnode a, b;
	struct ntm_sig d, m;

	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_direct(&b, "alice", &d), 0);
	cr_assert_eq(testnode_recv(&a, &m, 1000), 0);
	cr_assert_eq(m.msg, NTM_M_ROUTE_DIRECTION, "alice does not acknowledge it");
	cr_assert_eq(ntm_dc_revoke(&dc, "bob"), 0);
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(testnode_recv(&a, &m, 1000), 0);
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
	cr_assert_eq(testnode_recv(&b, &m, 1000), 0);
	testnode_request(&a, &m, NTM_M_DIRECTION_REQUEST);
	strcpy(m.name, "bob");
	m.stale_path_id = first.path_id;
	m.have = 1u << NTM_F_NAME | 1u << NTM_F_STALE;
	cr_assert_eq(testnode_ask(&a, &m, &second), 0);
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(testnode_recv(&b, &m, 1000), 0);
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
	cr_assert_eq(testnode_recv(&a, &m, 1000), 0);
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
		cr_assert_eq(testnode_recv(&c, &m, 1000), 0);
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

Test(protocol, keep_alive_moves_the_endpoint_and_tells_it)
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

Test(protocol, older_message_from_elsewhere_does_not_move_the_endpoint)
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
	cr_assert_eq(testnode_recv(&t, &r, 100), 0, "it was new, so it is answered: to where the node is");
	testnode_close(&t);
	testnode_close(&attacker);
}

Test(protocol, replayed_message_is_dropped)
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
	cr_assert_eq(testnode_recv(&t, &r, 1000), 0);
	cr_assert_eq(testnode_send_raw(&t, msg, msg_len), 0);
	expect_silence(&t);
	cr_assert_eq(dc.counters.replayed, 1);
	testnode_close(&t);
}

Test(protocol, malformed_sealed_messages_are_answered_by_an_error)
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
		cr_assert_eq(testnode_recv(&t, &r, 1000), 0, "%s", bad[i].what);
		expect_error(&r, NTM_E_MALFORMED);
		cr_assert_eq(r.txid, bad[i].len >= 8 ? 7 : 0, "%s", bad[i].what);
	}
	cr_assert_eq(keep_alive(&t, &r), 0);
	cr_assert_eq(r.msg, NTM_M_KEEP_ALIVE_RESPONSE);
	testnode_close(&t);
}

Test(protocol, unknown_message_is_answered_by_an_error)
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

Test(protocol, nothing_unauthenticated_is_answered)
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
	cr_assert_eq(testnode_recv(&t, &m, 1000), 0, "the unchanged one is good");
	testnode_close(&t);
}

Test(protocol, wildcard_address_answers_from_the_address_that_was_asked)
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
		cr_assert_eq(testnode_accept(&t, 2000), 0);
		testnode_close(&t);
		cr_assert_eq(ntm_dc_revoke(&dc, name), 0);
	}
}

Test(protocol, virtual_address_is_never_told_as_a_real_one)
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

Test(protocol, under_load_a_cookie_is_asked_for)
{
	struct testnode t;
	struct ntm_sig r;

	token("secret", NULL);
	cr_assert_eq(testnode_open(&t, &loop, &listen_addr, dc_pub), 0);
	dc.jar.threshold = 0;
	cr_assert_eq(testnode_connect(&t), 0);
	cr_assert_eq(t.cookies_got, 1);
	cr_assert_eq(dc.counters.cookies_sent, 1);
	cr_assert_eq(dc.counters.sessions_made, 1);
	cr_assert_eq(testnode_register(&t, "alice", "secret", &r), 0);
	cr_assert_eq(r.msg, NTM_M_REGISTRATION_RESPONSE);
	cr_assert_eq(testnode_connect(&t), 0);
	cr_assert_eq(t.cookies_got, 1, "the cookie is good for a while");
	for (int i = 2; i < NTM_DC_RATE_BURST; i++)
		cr_assert_eq(testnode_connect(&t), 0);
	for (int i = 0; i < 100 && !testnode_connect(&t); i++)
		;
	cr_assert_gt(dc.counters.rate_limited, 0, "a cookie is no licence to flood");
	testnode_close(&t);
}

Test(protocol, restart_keeps_names_and_addresses_and_invites_back)
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

	cr_assert_eq(testnode_accept(&a, 2000), 0);
	cr_assert_eq(keep_alive(&a, &r), 0);
	expect_error(&r, NTM_E_NOT_REGISTERED);
	cr_assert_eq(testnode_register(&a, "alice", NULL, &r), 0);
	cr_assert_eq(r.msg, NTM_M_REGISTRATION_RESPONSE);
	cr_assert_arr_eq(r.vip4, ra.vip4, 4);
	cr_assert_arr_eq(r.vip6, ra.vip6, 16);

	cr_assert_eq(testnode_direct(&a, "bob", &r), 0);
	expect_error(&r, NTM_E_OFFLINE);
	cr_assert_eq(testnode_accept(&b, 300), -ETIMEDOUT);
	cr_assert_eq(keep_alive(&b, &r), -ETIMEDOUT, "his session is of the former process");
	cr_assert_eq(testnode_connect(&b), 0);
	cr_assert_eq(testnode_register(&b, "bob", NULL, &r), 0);
	cr_assert_arr_eq(r.vip4, rb.vip4, 4);
	testnode_close(&a);
	testnode_close(&b);
}

Test(protocol, invitation_is_repeated_three_times)
{
	struct testnode a;
	uint8_t buf[NTM_SIGNAL_MAX];

	join(&a, "alice");
	stop_dc();
	start_dc();
	for (int i = 0; i < 3; i++)
		cr_assert_eq(testnode_recv_raw(&a, buf, sizeof(buf), 1500), sizeof(struct ntm_session_init));
	cr_assert_eq(testnode_recv_raw(&a, buf, sizeof(buf), 1500), -ETIMEDOUT);
	cr_assert_null(dc.invites);
	testnode_close(&a);
}

Test(protocol, store_of_other_pools_or_zone_is_refused)
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
