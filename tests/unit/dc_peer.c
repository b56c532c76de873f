/* SPDX-License-Identifier: BSD-2-Clause */
/* Two zones, a DC each, as their nodes and a scripted third DC see them. */
#include "../harness/dc_rig.h"

#include "../../user/common/relay_crypto.h"

static struct ntm_dc dc2;
static struct ntm_dc_config conf2;
static uint8_t dc2_priv[NTM_DH_LEN], dc2_pub[NTM_DH_LEN];
static char db2[96];
static struct ntm_addr listen2;
static struct ntm_dc_remote peer_of[2], *peer_list[2] = {&peer_of[0], &peer_of[1]};

static void start_second(void)
{
	char why[256];

	cr_assert_eq(ntm_dc_start(&dc2, &loop, &conf2, dc2_priv, dc2_pub, why, sizeof(why)), 0, "%s", why);
	listen2 = *ntm_dc_net_bound(dc2.net, 0);
}

static void setup_zones(const char *pool4)
{
	char why[128];

	cr_assert_eq(ntm_x25519_generate(dc2_priv, dc2_pub), 0);
	snprintf(db2, sizeof(db2), "%s/dc2.db", dir);
	conf2 = conf;
	strcpy(conf2.zone, "b.example");
	conf2.store_file = db2;
	conf2.listen.addrs = &listen2;
	ntm_addr_parse("127.0.0.1:1", 0, &listen2);
	listen2.port = 0;
	ntm_prefix_parse(pool4, &conf2.vip4_pool);
	ntm_prefix_parse("fd4e:544e::/48", &conf2.vip6_pool);
	cr_assert_eq(ntm_pool_init(&conf2.pool, &conf2.vip4_pool, &conf2.vip6_pool, why, sizeof(why)), 0);
	peer_of[1] = (struct ntm_dc_remote){.name = "ntm.example", .endpoints = {&listen_addr, 1}};
	memcpy(peer_of[1].keys.keys[0], dc_pub, NTM_DH_LEN);
	peer_of[1].keys.n = 1;
	conf2.peers = (struct ntm_dc_remotes){&peer_list[1], 1};
	start_second();
	peer_of[0] = (struct ntm_dc_remote){.name = "b.example", .endpoints = {&listen2, 1}};
	memcpy(peer_of[0].keys.keys[0], dc2_pub, NTM_DH_LEN);
	peer_of[0].keys.n = 1;
	conf.peers = (struct ntm_dc_remotes){&peer_list[0], 1};
	cr_assert_eq(ntm_dc_peers_reload(&dc, &conf.peers), 0);
}

static void stop_second(void)
{
	ntm_dc_stop(&dc2);
	for (int i = 0; i < 20; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	ntm_dc_free(&dc2);
}

static void end_zones(void)
{
	char path[128];

	stop_second();
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s%s", db2, (const char *[]){"", "-wal", "-shm"}[i]);
		unlink(path);
	}
	teardown();
}

TestSuite(peer, .init = setup, .timeout = 30);

static bool both_up(void)
{
	return ntm_dc_peer_is_up(ntm_dc_peer_by_key(&dc, dc2_pub)) &&
	       ntm_dc_peer_is_up(ntm_dc_peer_by_key(&dc2, dc_pub));
}

static void meet(void)
{
	uint64_t end = uv_hrtime() / 1000000 + 10000;

	while (!both_up() && uv_hrtime() / 1000000 < end)
		uv_run(&loop, UV_RUN_ONCE);
	cr_assert(both_up());
}

static struct ntm_sig join_second(struct testnode *t, const char *name)
{
	int64_t now = time(NULL);
	struct ntm_sig answer;

	cr_assert_eq(dc2.store->ops->token_create(dc2.store, name, name, now, now + 60), 0);
	cr_assert_eq(testnode_open(t, &loop, &listen2, dc2_pub), 0);
	cr_assert_eq(testnode_connect(t), 0);
	cr_assert_eq(testnode_register(t, name, name, &answer), 0);
	cr_assert_eq(answer.msg, NTM_M_REGISTRATION_RESPONSE, "%s", answer.error_text);
	return answer;
}

Test(peer, a_node_of_the_other_zone_is_directed_by_both)
{
	struct testnode a, b;
	struct ntm_sig ra, rb, da, back, again;

	setup_zones("100.112.0.0/29");
	meet();
	ra = join(&a, "alice");
	rb = join_second(&b, "bob");
	cr_assert_eq(ra.n_peer_zones, 1);
	cr_assert_str_eq(ra.peer_zones[0].zone, "b.example");
	cr_assert_eq(memcmp(&ra.peer_zones[0].pool6, &conf2.pool.v6, sizeof(conf2.pool.v6)), 0);
	cr_assert_eq(testnode_direct(&a, "Bob.B.example", &da), 0);
	cr_assert_eq(da.msg, NTM_M_ROUTE_DIRECTION, "%s", da.error_text);
	back = await_direction(&b);
	cr_assert_str_eq(da.name, "bob.b.example");
	cr_assert_str_eq(back.name, "alice.ntm.example");
	cr_assert_eq(da.path_id, back.path_id);
	cr_assert_arr_eq(da.psk, back.psk, NTM_PSK_LEN);
	cr_assert_eq(da.role, NTM_ROLE_INITIATOR);
	cr_assert_eq(back.role, NTM_ROLE_RESPONDER);
	cr_assert_arr_eq(da.public_key, b.pub, NTM_DH_LEN);
	cr_assert_arr_eq(back.public_key, a.pub, NTM_DH_LEN);
	cr_assert_arr_eq(da.vip6, rb.vip6, 16);
	cr_assert_arr_eq(back.vip4, ra.vip4, 4);
	cr_assert_eq(da.n_candidates, 2);
	cr_assert(!ntm_sig_has(&back, NTM_F_WANTED));
	cr_assert(ntm_sig_has(&back, NTM_F_PEER_ZONE));
	/* bob asks at once: the same path */
	cr_assert_eq(testnode_direct(&b, "alice.ntm.example", &again), 0);
	cr_assert_eq(again.path_id, da.path_id);
	expect_silence(&a);
	cr_assert_eq(testnode_direct(&a, "nobody.b.example", &again), 0);
	expect_error(&again, NTM_E_NO_SUCH_NAME);
	/* a revoked node's path ends at the other one */
	cr_assert_eq(ntm_dc_revoke(&dc2, "bob"), 0);
	await_release(&a, da.path_id);
	testnode_close(&a);
	testnode_close(&b);
	end_zones();
}

static struct ntm_dc_remote relay2_conf[2], *relay2_list[2] = {&relay2_conf[0], &relay2_conf[1]};
static struct ntm_addr relay2_addrs[2];

static void join_second_relay(struct testnode *t, const char *name)
{
	size_t i = conf2.relays.n++;
	struct ntm_sig answer;
	char text[32];

	cr_assert_eq(testnode_open(t, &loop, &listen2, dc2_pub), 0);
	snprintf(text, sizeof(text), "192.0.2.%zu:4680", 90 + i);
	cr_assert_eq(ntm_addr_parse(text, 0, &relay2_addrs[i]), 0);
	relay2_conf[i] = (struct ntm_dc_remote){.name = (char *)name, .endpoints = {&relay2_addrs[i], 1}};
	memcpy(relay2_conf[i].keys.keys[0], t->pub, NTM_DH_LEN);
	relay2_conf[i].keys.n = 1;
	conf2.relays.items = relay2_list;
	cr_assert_eq(ntm_dc_relays_apply(&dc2, &conf2.relays), 0);
	cr_assert_eq(testnode_connect(t), 0);
	answer = register_relay(t, name, 0);
	cr_assert_eq(answer.msg, NTM_M_REGISTRATION_RESPONSE, "%s", answer.error_text);
}

static void expect_secret(const struct ntm_sig *m, const struct ntm_sig *direction)
{
	uint8_t secret[NTM_KEY_LEN];

	cr_assert_eq(m->path_id, direction->path_id);
	cr_assert_eq(ntm_relay_secret(direction->psk, secret), 0);
	cr_assert_arr_eq(m->relay_secret, secret, NTM_KEY_LEN);
}

static void await_question(struct testnode *t)
{
	struct ntm_sig m;

	do
		cr_assert_eq(testnode_recv(t, &m, TESTNODE_WAIT_MS), 0);
	while (m.msg != NTM_M_KEEP_ALIVE);
}

Test(peer, nodes_are_asked_for_a_keep_alive_when_there_is_a_new_zone)
{
	struct ntm_sig r, m;
	struct testnode a;

	r = join(&a, "alice");
	cr_assert_eq(r.n_peer_zones, 0);
	setup_zones("100.112.0.0/29");
	meet();
	await_question(&a);
	testnode_request(&a, &m, NTM_M_KEEP_ALIVE);
	cr_assert_eq(testnode_ask(&a, &m, &r), 0);
	cr_assert_eq(r.n_peer_zones, 1);
	cr_assert_str_eq(r.peer_zones[0].zone, "b.example");
	testnode_close(&a);
	end_zones();
}

Test(peer, the_other_zones_relay_where_this_one_has_none)
{
	struct testnode a, b, rs1, rs2;
	struct ntm_sig m, da, back;

	setup_zones("100.112.0.0/29");
	meet();
	join(&a, "alice");
	join_second(&b, "bob");
	join_second_relay(&rs1, "rs1");
	join_second_relay(&rs2, "rs2");
	cr_assert_eq(testnode_direct(&a, "bob.b.example", &da), 0);
	cr_assert_eq(da.msg, NTM_M_ROUTE_DIRECTION, "%s", da.error_text);
	cr_assert(ntm_sig_has(&da, NTM_F_RELAY));
	cr_assert_str_eq(da.relay.name, "rs1");
	cr_assert(ntm_addr_equal(&da.relay.ep4, &relay2_addrs[0]));
	/* it is told by its own DC; when it refuses, both ends hear of the next one */
	m = await_relay_direction(&rs1, NTM_E_BUSY);
	expect_secret(&m, &da);
	back = await_direction(&b);
	cr_assert_str_eq(back.relay.name, "rs1");
	m = await_relay_direction(&rs2, (enum ntm_error)0);
	expect_secret(&m, &da);
	back = await_direction(&b);
	cr_assert_str_eq(back.relay.name, "rs2");
	cr_assert_eq(back.path_id, da.path_id);
	back = await_direction(&a);
	cr_assert_str_eq(back.relay.name, "rs2");
	cr_assert_eq(back.path_id, da.path_id);
	cr_assert_arr_eq(back.psk, da.psk, NTM_PSK_LEN);
	/* the path ends at the relay, too, when one end is revoked by the zone that does not have the relay */
	cr_assert_eq(ntm_dc_revoke(&dc, "alice"), 0);
	await_release(&rs2, da.path_id);
	await_release(&b, da.path_id);
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&rs1);
	testnode_close(&rs2);
	end_zones();
}

Test(peer, this_zones_relay_comes_first)
{
	struct testnode a, b, own, theirs;
	struct ntm_sig da, back;

	setup_zones("100.112.0.0/29");
	meet();
	join(&a, "alice");
	join_second(&b, "bob");
	join_second_relay(&theirs, "rs1");
	join_relay(&own, "rs1", 0);
	cr_assert_eq(testnode_direct(&a, "bob.b.example", &da), 0);
	cr_assert(ntm_addr_equal(&da.relay.ep4, &relay_conf[0].endpoints.addrs[0]));
	await_relay_direction(&own, (enum ntm_error)0);
	back = await_direction(&b);
	cr_assert(ntm_addr_equal(&back.relay.ep4, &da.relay.ep4));
	expect_silence(&theirs); /* its name is the same, and it is another one */
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&own);
	testnode_close(&theirs);
	end_zones();
}

Test(peer, both_ask_at_once_and_get_one_path)
{
	struct testnode a, b;
	struct ntm_sig m, da, db_;

	setup_zones("100.112.0.0/29");
	meet();
	join(&a, "alice");
	join_second(&b, "bob");
	testnode_request(&b, &m, NTM_M_DIRECTION_REQUEST);
	strcpy(m.name, "alice.ntm.example");
	m.have = 1u << NTM_F_NAME;
	cr_assert_eq(testnode_send(&b, &m), 0);
	cr_assert_eq(testnode_direct(&a, "bob.b.example", &da), 0);
	cr_assert_eq(da.msg, NTM_M_ROUTE_DIRECTION, "%s", da.error_text);
	cr_assert_eq(testnode_recv(&b, &db_, TESTNODE_WAIT_MS), 0);
	cr_assert_eq(db_.msg, NTM_M_ROUTE_DIRECTION, "%s", db_.error_text);
	cr_assert_eq(da.path_id, db_.path_id);
	cr_assert_neq(da.role, db_.role);
	testnode_close(&a);
	testnode_close(&b);
	end_zones();
}

Test(peer, one_that_changes_its_key_is_known_by_both)
{
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN], was[NTM_DH_LEN];
	struct testnode a, b;
	struct ntm_sig d;

	setup_zones("100.112.0.0/29");
	meet();
	join(&a, "alice");
	join_second(&b, "bob");
	cr_assert_eq(testnode_direct(&a, "bob.b.example", &d), 0);
	await_direction(&b);
	memcpy(was, dc2_pub, NTM_DH_LEN);
	cr_assert_eq(ntm_x25519_generate(priv, pub), 0);
	memcpy(peer_of[0].keys.keys[1], pub, NTM_DH_LEN);
	peer_of[0].keys.n = 2;
	cr_assert_eq(ntm_dc_peers_reload(&dc, &conf.peers), 0);
	cr_assert(both_up(), "a second key disturbs nothing");
	cr_assert_not_null(ntm_dc_path_by_id(&dc.paths, d.path_id));
	stop_second();
	memcpy(dc2_priv, priv, NTM_DH_LEN);
	memcpy(dc2_pub, pub, NTM_DH_LEN);
	start_second();
	meet();
	memcpy(peer_of[0].keys.keys[0], pub, NTM_DH_LEN);
	peer_of[0].keys.n = 1;
	cr_assert_eq(ntm_dc_peers_reload(&dc, &conf.peers), 0);
	cr_assert(both_up());
	cr_assert_null(ntm_dc_peer_by_key(&dc, was));
	cr_assert_not_null(ntm_dc_path_by_id(&dc.paths, d.path_id), "the path is there still");
	testnode_close(&b);
	testnode_close(&a);
	end_zones();
}

Test(peer, one_that_is_away_is_said_to_be_offline_and_comes_back)
{
	struct testnode a, b;
	struct ntm_sig m;
	uint64_t begin;

	setup_zones("100.112.0.0/29");
	meet();
	join(&a, "alice");
	stop_second();
	begin = uv_hrtime() / 1000000;
	cr_assert_eq(testnode_direct(&a, "bob.b.example", &m), 0);
	expect_error(&m, NTM_E_OFFLINE);
	cr_assert_lt(uv_hrtime() / 1000000 - begin, 2000);
	start_second();
	meet();
	join_second(&b, "bob");
	cr_assert_eq(testnode_direct(&a, "bob.b.example", &m), 0);
	cr_assert_eq(m.msg, NTM_M_ROUTE_DIRECTION, "%s", m.error_text);
	testnode_close(&a);
	testnode_close(&b);
	end_zones();
}

Test(peer, overlapping_pools_are_refused)
{
	struct testnode a;
	struct ntm_sig m;

	setup_zones("100.96.0.0/12");
	join(&a, "alice");
	for (int i = 0; i < 20; i++)
		uv_run(&loop, UV_RUN_ONCE);
	cr_assert(!both_up());
	cr_assert_eq(testnode_direct(&a, "bob.b.example", &m), 0);
	expect_error(&m, NTM_E_OFFLINE);
	testnode_close(&a);
	end_zones();
}

/* dc2 is away; a script has its key. */
Test(peer, a_peer_speaks_for_its_own_zone_only)
{
	struct testnode a, p;
	struct ntm_sig m, answer;

	setup_zones("100.112.0.0/29");
	meet();
	join(&a, "alice");
	stop_second();
	cr_assert_eq(testnode_open(&p, &loop, &listen_addr, dc_pub), 0);
	memcpy(p.priv, dc2_priv, NTM_DH_LEN);
	memcpy(p.pub, dc2_pub, NTM_DH_LEN);
	cr_assert_eq(testnode_connect(&p), 0);
	testnode_request(&p, &m, NTM_M_PEER_HELLO);
	strcpy(m.zone, "c.example");
	m.pool4 = conf2.pool.v4;
	m.pool6 = conf2.pool.v6;
	m.have = 1u << NTM_F_ZONE | 1u << NTM_F_POOL4 | 1u << NTM_F_POOL6;
	cr_assert_eq(testnode_ask(&p, &m, &answer), 0);
	expect_error(&answer, NTM_E_DENIED);
	testnode_request(&p, &answer, NTM_M_PEER_HELLO);
	m.txid = answer.txid;
	strcpy(m.zone, "b.example");
	cr_assert_eq(testnode_ask(&p, &m, &answer), 0);
	cr_assert_eq(answer.msg, NTM_M_PEER_HELLO_RESPONSE);
	testnode_request(&p, &m, NTM_M_PEER_DIRECTION_REQUEST);
	strcpy(m.name, "eve.c.example");
	strcpy(m.wanted, "alice.ntm.example");
	memset(m.public_key, 7, NTM_DH_LEN);
	m.have = 1u << NTM_F_NAME | 1u << NTM_F_WANTED | 1u << NTM_F_PUBLIC_KEY;
	cr_assert_eq(testnode_ask(&p, &m, &answer), 0);
	expect_error(&answer, NTM_E_DENIED);
	/* a direction with an address outside its pools */
	testnode_request(&p, &answer, NTM_M_ROUTE_DIRECTION);
	m.msg = NTM_M_ROUTE_DIRECTION;
	m.txid = answer.txid;
	strcpy(m.name, "eve.b.example");
	m.path_id = 77;
	m.role = NTM_ROLE_RESPONDER;
	memcpy(m.vip4, "\x64\x60\x00\x03", 4);
	memcpy(m.vip6, conf2.pool.v6.ip, 16);
	m.have |= 1u << NTM_F_PATH_ID | 1u << NTM_F_ROLE | 1u << NTM_F_PSK | 1u << NTM_F_VIP4 | 1u << NTM_F_VIP6;
	cr_assert_eq(testnode_ask(&p, &m, &answer), 0);
	expect_error(&answer, NTM_E_DENIED);
	await_question(&a); /* the zone was refused once, and is there again */
	expect_silence(&a);
	testnode_close(&p);
	testnode_close(&a);
	start_second();
	end_zones();
}
