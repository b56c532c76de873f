/* SPDX-License-Identifier: BSD-2-Clause */
/* Two processes of one DC over one PostgreSQL, here in one, as their nodes see them. */
#include "../harness/pg_rig.h"

#include "../harness/dc_rig.h"
#include "../harness/wall_clock.h"

#include "../../dc/cluster_int.h"
#include "../../dc/store_pg.h"

static struct ntm_dc dc2;
static struct ntm_dc_config conf2;
static struct ntm_addr listen2;
static char store_name[320];

static void start_second(void)
{
	char text[256];

	cr_assert_eq(ntm_dc_start(&dc2, &loop, &conf2, dc_priv, dc_pub, text, sizeof(text)), 0, "%s", text);
	listen2 = *ntm_dc_net_bound(dc2.net, 0);
}

static void stop_second(void)
{
	ntm_dc_stop(&dc2);
	for (int i = 0; i < 20; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	ntm_dc_free(&dc2);
}

static void wake(uv_timer_t *t)
{
	(void)t;
}

/* Runs the loop until it holds, for 10 s at most. */
#define EVENTUALLY(condition)                                \
	do {                                                 \
		uv_timer_t tick;                             \
		uint64_t end = uv_hrtime() + 10000000000ULL; \
                                                             \
		uv_timer_init(&loop, &tick);                 \
		uv_timer_start(&tick, wake, 5, 5);           \
		while (!(condition) && uv_hrtime() < end)    \
			uv_run(&loop, UV_RUN_ONCE);          \
		uv_close((uv_handle_t *)&tick, NULL);        \
		uv_run(&loop, UV_RUN_NOWAIT);                \
		cr_assert(condition, #condition);            \
	} while (0)

static unsigned others_up(const struct ntm_dc *d)
{
	struct ntm_dc_cluster_stats s;

	cr_assert(ntm_dc_cluster_stats(d, &s));
	return s.up;
}

static void setup_two(void)
{
	pg_schema();
	snprintf(store_name, sizeof(store_name), "postgres:%s", conninfo);
	setup();
	stop_dc();
	unlink(db);
	ntm_prefix_parse("100.96.0.0/20", &conf.vip4_pool);
	cr_assert_eq(ntm_pool_init(&conf.pool, &conf.vip4_pool, &conf.vip6_pool, db, sizeof(db)), 0);
	conf.store_file = store_name;
	start_dc();
	conf2 = conf;
	conf2.listen.addrs = &listen2;
	ntm_addr_parse("127.0.0.1:1", 0, &listen2);
	listen2.port = 0;
	start_second();
	EVENTUALLY(others_up(&dc) == 1 && others_up(&dc2) == 1);
}

static void teardown_two(void)
{
	snprintf(db, sizeof(db), "%s/dc.db", dir);
	stop_second();
	teardown();
}

TestSuite(cluster, .init = setup_two, .fini = teardown_two, .timeout = 60);

/* A node that registers with one of the two. */
static struct ntm_sig join_at(struct testnode *t, const struct ntm_addr *at, const char *name)
{
	struct ntm_sig answer;
	char text[NTM_TOKEN_MAX];

	snprintf(text, sizeof(text), "token-of-%s", name);
	token(text, name); /* made by the first, used at either */
	cr_assert_eq(testnode_open(t, &loop, at, dc_pub), 0);
	cr_assert_eq(testnode_connect(t), 0);
	cr_assert_eq(testnode_register(t, name, text, &answer), 0);
	cr_assert_eq(answer.msg, NTM_M_REGISTRATION_RESPONSE, "%s", answer.error_text);
	return answer;
}

static struct ntm_dc_node *known(struct ntm_dc *d, const char *label)
{
	return ntm_dc_node_by_label(&d->nodes, label);
}

static bool elsewhere(struct ntm_dc *d, const char *label)
{
	const struct ntm_dc_node *n = known(d, label);

	return n && n->online && n->at && !n->session;
}

/* Receives until that message comes: on a busy machine what was sent before it may have been sent again. */
static void await_msg(struct testnode *t, struct ntm_sig *m, enum ntm_msg msg)
{
	do
		cr_assert_eq(testnode_recv(t, m, 10000), 0, "no %s", ntm_msg_name(msg));
	while (m->msg != msg);
}

static void acknowledge(struct testnode *t, const struct ntm_sig *m)
{
	struct ntm_sig ack;

	ntm_sig_init(&ack, NTM_M_ROUTE_ACK, m->txid);
	ack.path_id = m->path_id;
	ack.have = 1u << NTM_F_PATH_ID;
	cr_assert_eq(testnode_send(t, &ack), 0);
}

Test(cluster, a_direction_reaches_the_other_processs_node)
{
	struct testnode a, b;
	struct ntm_sig mine, theirs;
	struct ntm_sig ra = join_at(&a, &listen_addr, "alice"), rb = join_at(&b, &listen2, "bob");

	cr_assert_neq(memcmp(ra.vip4, rb.vip4, 4), 0);
	EVENTUALLY(elsewhere(&dc, "bob") && elsewhere(&dc2, "alice"));
	cr_assert_eq(testnode_direct(&a, "bob", &mine), 0);
	cr_assert_eq(mine.msg, NTM_M_ROUTE_DIRECTION, "%s", mine.error_text);
	cr_assert_eq(memcmp(mine.public_key, b.pub, NTM_DH_LEN), 0);
	cr_assert_geq(mine.n_candidates, 1, "the address that the other process sees is there");
	await_msg(&b, &theirs, NTM_M_ROUTE_DIRECTION);
	cr_assert_eq(theirs.path_id, mine.path_id);
	cr_assert_eq(memcmp(theirs.psk, mine.psk, NTM_PSK_LEN), 0);
	cr_assert_neq(theirs.role, mine.role);
	acknowledge(&b, &theirs);
	EVENTUALLY(!dc.outbox.by_txid.n && !dc2.outbox.by_txid.n);
	cr_assert_eq(dc.outbox.unanswered + dc2.outbox.unanswered, 0);
	testnode_close(&a);
	testnode_close(&b);
}

Test(cluster, both_ends_asking_at_once_get_one_path)
{
	struct testnode a, b;
	struct ntm_sig q, mine, theirs;

	join_at(&a, &listen_addr, "alice");
	join_at(&b, &listen2, "bob");
	EVENTUALLY(elsewhere(&dc, "bob") && elsewhere(&dc2, "alice"));
	testnode_request(&b, &q, NTM_M_DIRECTION_REQUEST);
	strcpy(q.name, "alice");
	q.have = 1u << NTM_F_NAME;
	cr_assert_eq(testnode_send(&b, &q), 0);
	cr_assert_eq(testnode_direct(&a, "bob", &mine), 0);
	cr_assert_eq(mine.msg, NTM_M_ROUTE_DIRECTION, "%s", mine.error_text);
	do
		cr_assert_eq(testnode_recv(&b, &theirs, 10000), 0);
	while (theirs.txid != q.txid);
	cr_assert_eq(theirs.msg, NTM_M_ROUTE_DIRECTION, "%s", theirs.error_text);
	cr_assert_eq(theirs.path_id, mine.path_id);
	cr_assert_eq(dc.paths.by_id.n + dc2.paths.by_id.n, 1);
	testnode_close(&a);
	testnode_close(&b);
}

Test(cluster, a_node_that_goes_over_is_the_others)
{
	struct testnode a, b;
	struct ntm_sig answer;

	join_at(&a, &listen_addr, "alice");
	join_at(&b, &listen2, "bob");
	EVENTUALLY(elsewhere(&dc, "bob") && elsewhere(&dc2, "alice"));
	a.dc = listen2;
	cr_assert_eq(testnode_move(&a), 0);
	cr_assert_eq(testnode_connect(&a), 0);
	cr_assert_eq(testnode_register(&a, "alice", NULL, &answer), 0);
	cr_assert_eq(answer.msg, NTM_M_REGISTRATION_RESPONSE, "no token is needed: %s", answer.error_text);
	EVENTUALLY(elsewhere(&dc, "alice"));
	cr_assert_not_null(known(&dc2, "alice")->session);
	cr_assert_eq(testnode_direct(&b, "alice", &answer), 0);
	cr_assert_eq(answer.msg, NTM_M_ROUTE_DIRECTION, "%s", answer.error_text);
	testnode_close(&a);
	testnode_close(&b);
}

Test(cluster, a_revocation_by_one_holds_at_the_other)
{
	struct testnode a, b;
	struct ntm_sig m, answer;

	join_at(&a, &listen_addr, "alice");
	join_at(&b, &listen2, "bob");
	EVENTUALLY(elsewhere(&dc, "bob") && elsewhere(&dc2, "alice"));
	cr_assert_eq(testnode_direct(&a, "bob", &m), 0);
	await_msg(&b, &m, NTM_M_ROUTE_DIRECTION);
	acknowledge(&b, &m);
	EVENTUALLY(!dc.paths.unsaved.n && !dc2.paths.unsaved.n);
	cr_assert_eq(ntm_dc_revoke(&dc, "bob"), 0);
	await_msg(&b, &m, NTM_M_ERROR);
	cr_assert_eq(m.error_code, NTM_E_DENIED);
	await_msg(&a, &m, NTM_M_RELEASE);
	EVENTUALLY(!known(&dc, "bob") && !known(&dc2, "bob"));
	cr_assert_eq(testnode_direct(&a, "bob", &answer), 0);
	cr_assert_eq(answer.error_code, NTM_E_DENIED);
	testnode_close(&a);
	testnode_close(&b);
}

/* The store is out of the process's reach, or within it again. */
static void cut_store(struct ntm_dc *d, bool cut)
{
	struct ntm_pg_store *s = (struct ntm_pg_store *)(void *)d->store;

	s->lost = true;
	s->retry_at_ms = cut ? UINT64_MAX : 0;
}

Test(cluster, a_revocation_holds_at_one_that_is_cut_off_from_the_store)
{
	struct testnode a, b, c;
	struct ntm_sig m, answer;

	join_at(&a, &listen_addr, "alice");
	join_at(&b, &listen2, "bob");
	join_at(&c, &listen_addr, "carol");
	EVENTUALLY(elsewhere(&dc, "bob") && elsewhere(&dc2, "alice") && elsewhere(&dc2, "carol"));
	cr_assert_eq(testnode_direct(&a, "bob", &m), 0);
	await_msg(&b, &m, NTM_M_ROUTE_DIRECTION);
	acknowledge(&b, &m);
	EVENTUALLY(!dc.paths.unsaved.n && !dc.nodes.dirty.n && !dc2.nodes.dirty.n);
	cut_store(&dc, true);
	cr_assert_eq(ntm_dc_revoke(&dc2, "bob"), 0);
	EVENTUALLY(!known(&dc, "bob") && !known(&dc2, "bob"));
	await_msg(&a, &m, NTM_M_RELEASE);
	acknowledge(&a, &m);
	cr_assert_eq(ntm_dc_revoke(&dc2, "carol"), 0);
	await_msg(&c, &m, NTM_M_ERROR);
	cr_assert_eq(m.error_code, NTM_E_DENIED);
	cr_assert_eq(testnode_move(&c), 0);
	cr_assert_eq(testnode_connect(&c), 0);
	cr_assert_eq(testnode_register(&c, "carol", "token-of-carol", &answer), 0);
	cr_assert_eq(answer.error_code, NTM_E_INTERNAL, "nobody comes in unseen: %s", answer.error_text);
	cut_store(&dc, false);
	EVENTUALLY(dc.store->ops->health(dc.store).up); /* that the store was cut, the cluster may not have noticed */
	cr_assert_eq(testnode_register(&c, "carol", "token-of-carol", &answer), 0);
	cr_assert_eq(answer.error_code, NTM_E_DENIED, "%s", answer.error_text);
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&c);
}

Test(cluster, who_comes_back_while_the_store_is_away_is_told_later_which_paths_ended)
{
	struct testnode a, b;
	struct ntm_sig m;

	join_at(&a, &listen_addr, "alice");
	join_at(&b, &listen2, "bob");
	EVENTUALLY(elsewhere(&dc, "bob"));
	cr_assert_eq(testnode_direct(&a, "bob", &m), 0);
	EVENTUALLY(!dc.paths.unsaved.n);
	ntm_dc_node_offline(&dc.nodes, known(&dc, "alice"));
	ntm_dc_cluster_changed(&dc, known(&dc, "alice"));
	EVENTUALLY(!known(&dc2, "alice")->online && !dc.nodes.dirty.n);
	cr_assert_eq(ntm_dc_revoke(&dc2, "bob"), 0);
	EVENTUALLY(!known(&dc, "bob"));
	cut_store(&dc, true);
	cr_assert_eq(keep_alive(&a, &m), 0);
	EVENTUALLY(known(&dc, "alice")->unchecked);
	cut_store(&dc, false);
	await_msg(&a, &m, NTM_M_RELEASE);
	acknowledge(&a, &m);
	testnode_close(&a);
	testnode_close(&b);
}

static void go_to(struct testnode *t, const struct ntm_addr *at)
{
	struct ntm_sig answer;

	t->dc = *at;
	cr_assert_eq(testnode_move(t), 0);
	cr_assert_eq(testnode_connect(t), 0);
	cr_assert_eq(testnode_register(t, "alice", NULL, &answer), 0);
	cr_assert_eq(answer.msg, NTM_M_REGISTRATION_RESPONSE, "%s", answer.error_text);
}

Test(cluster, a_node_is_where_it_went_last_whatever_the_clocks_say)
{
	static const int64_t clocks[] = {3600, -3600, 0};
	struct testnode a;

	join_at(&a, &listen_addr, "alice");
	EVENTUALLY(elsewhere(&dc2, "alice"));
	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		wall_ahead_s = clocks[i]; /* the one that takes her */
		go_to(&a, &listen2);
		EVENTUALLY(elsewhere(&dc, "alice"));
		cr_assert_not_null(known(&dc2, "alice")->session);
		wall_ahead_s = -clocks[i];
		go_to(&a, &listen_addr);
		EVENTUALLY(elsewhere(&dc2, "alice"));
		cr_assert_not_null(known(&dc, "alice")->session);
	}
	testnode_close(&a);
}

Test(cluster, nodes_of_a_process_that_went_are_invited)
{
	struct sockaddr_storage sa;
	struct testnode a, b;
	socklen_t len;
	struct ntm_sig answer;

	join_at(&a, &listen_addr, "alice");
	join_at(&b, &listen2, "bob");
	EVENTUALLY(elsewhere(&dc, "bob"));
	stop_second();
	/* its socket is to hear the other address, too, on the port where it is known */
	len = ntm_addr_to_sockaddr(&listen_addr, AF_INET, &sa);
	cr_assert_eq(connect(b.fd, (struct sockaddr *)&sa, len), 0);
	cr_assert_eq(testnode_accept(&b, 10000), 0);
	cr_assert_eq(testnode_register(&b, "bob", NULL, &answer), 0);
	cr_assert_eq(answer.msg, NTM_M_REGISTRATION_RESPONSE, "%s", answer.error_text);
	cr_assert_eq(testnode_direct(&b, "alice", &answer), 0);
	cr_assert_eq(answer.msg, NTM_M_ROUTE_DIRECTION, "%s", answer.error_text);
	start_second();
	EVENTUALLY(elsewhere(&dc2, "alice") && elsewhere(&dc2, "bob"));
	testnode_close(&a);
	testnode_close(&b);
}

Test(cluster, who_comes_later_is_told_of_all)
{
	enum { MANY = 3 * NTM_DC_WINDOW };

	stop_second();
	for (unsigned i = 1; i <= MANY; i++) {
		struct ntm_node_record rec = {.id = i, .index = i, .public_key = {1, (uint8_t)i, (uint8_t)(i >> 8)}};
		struct ntm_dc_node *n;

		snprintf(rec.label, sizeof(rec.label), "n%u", i);
		n = ntm_dc_node_add(&dc.nodes, &rec);
		cr_assert_not_null(n);
		ntm_dc_node_seen(&dc.nodes, n, ntm_dc_now(&dc));
		ntm_dc_cluster_claim(&dc, n);
	}
	start_second();
	EVENTUALLY(dc2.nodes.n_online == MANY);
	for (unsigned i = 1; i <= MANY; i += 2) {
		char label[16];

		snprintf(label, sizeof(label), "n%u", i);
		ntm_dc_node_offline(&dc.nodes, known(&dc, label));
		ntm_dc_cluster_changed(&dc, known(&dc, label));
	}
	EVENTUALLY(dc2.nodes.n_online == MANY / 2);
	/* one that has forgotten everything gets it again */
	dc2.cluster->items[0]->have = 0;
	known(&dc, "n2")->mtu = 1281;
	ntm_dc_cluster_changed(&dc, known(&dc, "n2"));
	EVENTUALLY(known(&dc2, "n2")->mtu == 1281);
	cr_assert_eq(dc2.nodes.n_online, MANY / 2);
}

Test(cluster, one_with_another_key_does_not_get_the_store)
{
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
	struct ntm_dc third;
	char text[256] = "";
	struct ntm_dc_config c = conf2;
	struct ntm_addr any;

	ntm_addr_parse("127.0.0.1:1", 0, &any);
	any.port = 0;
	c.listen.addrs = &any;
	cr_assert_eq(ntm_x25519_generate(priv, pub), 0);
	cr_assert_eq(ntm_dc_start(&third, &loop, &c, priv, pub, text, sizeof(text)), -EBUSY);
	cr_assert_not_null(strstr(text, "another private key"), "%s", text);
	for (int i = 0; i < 20; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	ntm_dc_free(&third);
	cr_assert_eq(others_up(&dc), 1);
}

Test(cluster_codec, what_is_written_is_read)
{
	uint8_t data[2400], text[] = "message";
	struct ntm_cluster m = {.msg = NTM_C_NODE, .fields = (2u << NTM_CF_GONE) - 2, .holder = 1, .to = 2}, r;
	size_t len;

	m.seq = UINT64_MAX;
	m.index = 77;
	strcpy(m.label, "alice");
	memset(m.public_key, 9, sizeof(m.public_key));
	m.flags = NTM_CFL_ONLINE;
	ntm_addr_parse("192.0.2.1:4680", 0, &m.endpoint);
	m.mtu = 1400;
	m.n_candidates = 2;
	m.candidates[1].kind = NTM_CAND_REFLEXIVE;
	m.n_rtts = 1;
	strcpy(m.rtts[0].name, "rs1");
	m.rtts[0].rtt_us = 1234;
	m.load.paths = 5;
	m.message = text;
	m.message_len = sizeof(text);
	m.n_gone = NTM_CLUSTER_GONE_MAX;
	m.gone[NTM_CLUSTER_GONE_MAX - 1] = (struct ntm_cluster_gone){UINT64_MAX, 78};
	cr_assert_eq(ntm_cluster_encode(&m, data, sizeof(data), &len), 0);
	cr_assert_eq(ntm_cluster_decode(&r, data, len), 0);
	cr_assert_eq(r.fields, m.fields);
	cr_assert_eq(r.seq, UINT64_MAX);
	cr_assert_eq(r.index, 77);
	cr_assert_str_eq(r.label, "alice");
	cr_assert(ntm_addr_equal(&r.endpoint, &m.endpoint));
	cr_assert_eq(r.n_candidates, 2);
	cr_assert_eq(r.candidates[1].kind, NTM_CAND_REFLEXIVE);
	cr_assert_str_eq(r.rtts[0].name, "rs1");
	cr_assert_eq(r.load.paths, 5);
	cr_assert_eq(r.n_gone, NTM_CLUSTER_GONE_MAX);
	cr_assert_eq(r.gone[NTM_CLUSTER_GONE_MAX - 1].node_id, UINT64_MAX);
	cr_assert_eq(r.gone[NTM_CLUSTER_GONE_MAX - 1].index, 78);
	cr_assert_eq(r.message_len, sizeof(text));
	cr_assert_eq(memcmp(r.message, text, sizeof(text)), 0);
	for (size_t cut = 0; cut < len; cut++) {
		int err = ntm_cluster_decode(&r, data, cut);

		cr_assert(err == 0 || err == -EBADMSG, "never beyond the end"); /* between fields it is whole */
	}
	cr_assert_eq(ntm_cluster_encode(&m, data, len - 1, &len), -ENOSPC);
}
