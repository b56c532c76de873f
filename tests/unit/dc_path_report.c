/* SPDX-License-Identifier: BSD-2-Clause */
/* Paths that a DC which was killed had not written down, reported by nodes to the one that comes after it. */
#include <sys/stat.h>

#include "../harness/dc_rig.h"

#include "../../user/common/keystore.h"

TestSuite(path_report, .init = setup, .fini = teardown, .timeout = 30);

static uint64_t id_of(const char *label)
{
	struct ntm_node_record rec;

	cr_assert_eq(dc.store->ops->node_by_label(dc.store, label, &rec), 0);
	return rec.id;
}

static int last_path(void *arg, uint64_t path_id, const uint8_t peer_key[NTM_DH_LEN])
{
	(void)peer_key;
	*(uint64_t *)arg = path_id;
	return 0;
}

/* The path in the store of a node with one; 0: none. */
static uint64_t stored(const char *label)
{
	uint64_t id = 0;

	ntm_dc_write_all(&dc);
	cr_assert_eq(dc.store->ops->each_path(dc.store, id_of(label), false, last_path, &id), 0);
	return id;
}

/* Killed before it had written the path, and started again. */
static void restart_without(const struct ntm_sig *direction, const char *one, const char *other)
{
	struct ntm_path_record gone = {.id = direction->path_id, .nodes = {id_of(one), id_of(other)}};

	ntm_dc_write_all(&dc);
	cr_assert_eq(dc.store->ops->remove_paths(dc.store, &gone, 1), 0);
	stop_dc();
	start_dc();
}

static void come_back(struct testnode *t, const char *name)
{
	struct ntm_sig r;

	cr_assert_eq(testnode_connect(t), 0);
	cr_assert_eq(testnode_register(t, name, NULL, &r), 0);
	cr_assert_eq(r.msg, NTM_M_REGISTRATION_RESPONSE, "%s", r.error_text);
}

/* Nodes of a path that the DC has forgotten. */
static struct ntm_sig forgotten(struct testnode *a, struct testnode *b)
{
	struct ntm_sig d;

	join(a, "alice");
	join(b, "bob");
	cr_assert_eq(testnode_direct(a, "bob", &d), 0);
	cr_assert_eq(d.n_tickets, 1);
	cr_assert_arr_eq(&await_direction(b).tickets[0], &d.tickets[0], sizeof(d.tickets[0]));
	restart_without(&d, "alice", "bob");
	cr_assert_eq(stored("alice"), 0);
	return d;
}

static struct ntm_sig report(struct testnode *t, const struct ntm_path_ticket *tickets, unsigned n)
{
	struct ntm_sig m, r;

	testnode_request(t, &m, NTM_M_PATH_REPORT);
	memcpy(m.tickets, tickets, n * sizeof(*tickets));
	m.n_tickets = n;
	m.have = NTM_SIG_BIT(NTM_F_PATH_TICKET);
	cr_assert_eq(testnode_ask(t, &m, &r), 0);
	return r;
}

static void expect_taken(struct testnode *t, const struct ntm_sig *direction)
{
	struct ntm_sig r = report(t, direction->tickets, 1);

	cr_assert_eq(r.msg, NTM_M_PATH_REPORT_RESPONSE, "%s", r.error_text);
}

Test(path_report, the_reporter_hears_of_a_revocation)
{
	struct testnode a, b;
	struct ntm_sig d = forgotten(&a, &b);

	come_back(&a, "alice");
	expect_taken(&a, &d);
	expect_silence(&a);
	cr_assert_eq(stored("bob"), d.path_id);
	cr_assert_eq(dc.counters.paths_taken, 1);
	cr_assert_eq(ntm_dc_revoke(&dc, "bob"), 0);
	await_release(&a, d.path_id);
	testnode_close(&a);
	testnode_close(&b);
}

Test(path_report, so_does_the_other_end_though_it_says_nothing)
{
	struct testnode a, b;
	struct ntm_sig d = forgotten(&a, &b);

	come_back(&a, "alice");
	come_back(&b, "bob");
	expect_taken(&b, &d);
	cr_assert_eq(ntm_dc_revoke(&dc, "bob"), 0);
	await_release(&a, d.path_id);
	testnode_close(&a);
	testnode_close(&b);
}

Test(path_report, what_is_not_reported_is_not_known)
{
	struct testnode a, b;
	struct ntm_sig d = forgotten(&a, &b);

	(void)d;
	come_back(&a, "alice");
	cr_assert_eq(ntm_dc_revoke(&dc, "bob"), 0);
	expect_silence(&a);
	testnode_close(&a);
	testnode_close(&b);
}

Test(path_report, the_same_report_again_changes_nothing)
{
	struct testnode a, b;
	struct ntm_sig d = forgotten(&a, &b), m, first, again;

	come_back(&a, "alice");
	testnode_request(&a, &m, NTM_M_PATH_REPORT);
	m.tickets[0] = d.tickets[0];
	m.n_tickets = 1;
	m.have = NTM_SIG_BIT(NTM_F_PATH_TICKET);
	cr_assert_eq(testnode_ask(&a, &m, &first), 0);
	cr_assert_eq(testnode_ask(&a, &m, &again), 0);
	cr_assert_arr_eq(&first, &again, sizeof(first));
	come_back(&b, "bob");
	expect_taken(&b, &d);
	cr_assert_eq(stored("alice"), d.path_id);
	cr_assert_eq(ntm_dc_revoke(&dc, "alice"), 0);
	await_release(&b, d.path_id);
	expect_silence(&b);
	testnode_close(&a);
	testnode_close(&b);
}

Test(path_report, a_known_path_stays_as_it_is)
{
	struct testnode a, b;
	struct ntm_sig d;

	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_direct(&a, "bob", &d), 0);
	await_direction(&b);
	expect_taken(&a, &d);
	expect_taken(&b, &d);
	cr_assert_eq(dc.counters.path_reports, 2);
	cr_assert_eq(dc.counters.paths_taken, 0);
	cr_assert_eq(dc.paths.by_id.n, 1);
	testnode_close(&a);
	testnode_close(&b);
}

/* Of a pair's two paths, both reported, whichever the store has. */
static struct ntm_sig second_path(struct testnode *a, struct testnode *b, const struct ntm_sig *first)
{
	struct ntm_sig m, d;

	testnode_request(a, &m, NTM_M_DIRECTION_REQUEST);
	strcpy(m.name, "bob");
	m.stale_path_id = first->path_id;
	m.have = 1u << NTM_F_NAME | 1u << NTM_F_STALE;
	cr_assert_eq(testnode_ask(a, &m, &d), 0);
	cr_assert_eq(d.msg, NTM_M_ROUTE_DIRECTION, "%s", d.error_text);
	await_direction(b);
	return d;
}

Test(path_report, a_later_path_of_the_pair_is_not_replaced)
{
	struct testnode a, b;
	struct ntm_sig first, second;

	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_direct(&a, "bob", &first), 0);
	await_direction(&b);
	second = second_path(&a, &b, &first);
	expect_taken(&a, &first);
	cr_assert_eq(stored("alice"), second.path_id, "the DC knows the later one");
	cr_assert_eq(dc.counters.paths_taken, 0);
	stop_dc();
	start_dc();
	come_back(&a, "alice");
	come_back(&b, "bob");
	expect_taken(&a, &first);
	cr_assert_eq(stored("alice"), second.path_id, "the store does");
	cr_assert_eq(ntm_dc_revoke(&dc, "alice"), 0);
	await_release(&b, second.path_id);
	testnode_close(&a);
	testnode_close(&b);
}

Test(path_report, the_later_path_of_the_pair_replaces_an_earlier_one)
{
	struct ntm_path_ticket both[2];
	struct testnode a, b;
	struct ntm_sig first, second;
	struct ntm_path_record row;

	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_direct(&a, "bob", &first), 0);
	await_direction(&b);
	second = second_path(&a, &b, &first);
	row = (struct ntm_path_record){.id = first.path_id,
				       .nodes = {id_of("alice"), id_of("bob")},
				       .created_s = (int64_t)be64toh(first.tickets[0].created_s)};
	restart_without(&second, "alice", "bob");
	cr_assert_eq(dc.store->ops->save_paths(dc.store, &row, 1), 0);
	come_back(&a, "alice");
	both[0] = second.tickets[0];
	both[1] = first.tickets[0];
	cr_assert_eq(report(&a, both, 2).msg, NTM_M_PATH_REPORT_RESPONSE);
	cr_assert_eq(stored("alice"), second.path_id);
	testnode_close(&a);
	testnode_close(&b);
}

Test(path_report, the_other_end_was_revoked_meanwhile)
{
	struct testnode a, b;
	struct ntm_sig d = forgotten(&a, &b), m;

	cr_assert_eq(ntm_dc_revoke(&dc, "bob"), 0);
	come_back(&a, "alice");
	testnode_request(&a, &m, NTM_M_PATH_REPORT);
	m.tickets[0] = d.tickets[0];
	m.n_tickets = 1;
	m.have = NTM_SIG_BIT(NTM_F_PATH_TICKET);
	cr_assert_eq(testnode_send(&a, &m), 0);
	cr_assert_eq(testnode_recv(&a, &m, TESTNODE_WAIT_MS), 0);
	cr_assert_eq(m.msg, NTM_M_RELEASE, "at once");
	cr_assert_eq(m.path_id, d.path_id);
	cr_assert_eq(testnode_recv(&a, &m, TESTNODE_WAIT_MS), 0);
	cr_assert_eq(m.msg, NTM_M_PATH_REPORT_RESPONSE, "%s", m.error_text);
	/* should she have missed all copies: when she is back */
	cr_assert_eq(stored("alice"), d.path_id);
	stop_dc();
	start_dc();
	cr_assert_eq(testnode_connect(&a), 0);
	testnode_request(&a, &m, NTM_M_REGISTRATION_REQUEST);
	strcpy(m.name, "alice");
	m.have = 1u << NTM_F_NAME;
	cr_assert_eq(testnode_send(&a, &m), 0);
	await_release(&a, d.path_id);
	testnode_close(&a);
	testnode_close(&b);
}

/* What the store does not have when another process revokes an end, that process cannot release. */
Test(path_report, revoked_by_another_process_before_it_is_written)
{
	struct testnode a, b;
	struct ntm_sig d = forgotten(&a, &b);
	struct ntm_node_record rec;

	come_back(&a, "alice");
	uv_timer_stop(&dc.behind->timer);
	expect_taken(&a, &d);
	cr_assert_eq(dc.behind->n_taken, 1);
	cr_assert_eq(dc.store->ops->revoke(dc.store, "bob", 1, &rec), 0);
	ntm_dc_revoked(&dc, &rec);
	await_release(&a, d.path_id);
	cr_assert_eq(stored("alice"), d.path_id);
	rec.id = 0;
	cr_assert_eq(dc.store->ops->each_path(dc.store, id_of("alice"), true, last_path, &rec.id), 0);
	cr_assert_eq(rec.id, d.path_id, "it is one of a revoked node, as soon as it is there");
	testnode_close(&a);
	testnode_close(&b);
}

Test(path_report, the_relay_hears_of_it)
{
	struct testnode a, b, rs;
	struct ntm_sig d;

	join_relay(&rs, "rs1", 0);
	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_direct(&a, "bob", &d), 0);
	cr_assert(ntm_sig_has(&d, NTM_F_RELAY));
	await_relay_direction(&rs, (enum ntm_error)0);
	await_direction(&b);
	restart_without(&d, "alice", "bob");
	cr_assert_eq(testnode_connect(&rs), 0);
	register_relay(&rs, "rs1", 0);
	come_back(&a, "alice");
	expect_taken(&a, &d);
	cr_assert_eq(ntm_dc_revoke(&dc, "bob"), 0);
	await_release(&rs, d.path_id);
	await_release(&a, d.path_id);
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&rs);
}

Test(path_report, a_new_policy_forbids_it)
{
	struct testnode a, b;
	struct ntm_sig d = forgotten(&a, &b), m;
	char why[128];

	cr_assert_eq(ntm_dc_policy_parse("default deny\n", "test", &dc.policy, why, sizeof(why)), 0, "%s", why);
	come_back(&b, "bob");
	come_back(&a, "alice");
	testnode_request(&a, &m, NTM_M_PATH_REPORT);
	m.tickets[0] = d.tickets[0];
	m.n_tickets = 1;
	m.have = NTM_SIG_BIT(NTM_F_PATH_TICKET);
	cr_assert_eq(testnode_send(&a, &m), 0);
	await_release(&a, d.path_id);
	await_release(&b, d.path_id);
	testnode_close(&a);
	testnode_close(&b);
}

Test(path_report, of_before_the_dc_changed_its_key)
{
	char name[128], text[NTM_KEY_TEXT_LEN + 1];
	struct testnode a, b;
	struct ntm_sig d, r;
	FILE *f;

	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_direct(&a, "bob", &d), 0);
	await_direction(&b);
	snprintf(name, sizeof(name), "%s/previous.key", dir);
	ntm_key_to_text(dc_priv, text);
	umask(077);
	f = fopen(name, "w");
	cr_assert_not_null(f);
	fprintf(f, "%s\n", text);
	fclose(f);
	cr_assert_eq(ntm_x25519_generate(dc_priv, dc_pub), 0);
	conf.previous_key_file = name;
	restart_without(&d, "alice", "bob");
	come_back(&a, "alice"); /* with the former one still */
	expect_taken(&a, &d);
	cr_assert_eq(stored("alice"), d.path_id);
	conf.previous_key_file = NULL;
	unlink(name);
	restart_without(&d, "alice", "bob");
	memcpy(a.dc_pub, dc_pub, NTM_DH_LEN);
	cr_assert_eq(ntm_cookie_client_init(&a.cookies, dc_pub), 0);
	come_back(&a, "alice");
	r = report(&a, d.tickets, 1);
	expect_error(&r, NTM_E_DENIED);
	testnode_close(&a);
	testnode_close(&b);
}

Test(path_report, of_a_path_of_others)
{
	struct testnode a, b, c;
	struct ntm_sig d, r;

	join(&c, "carol");
	d = forgotten(&a, &b);
	come_back(&c, "carol");
	r = report(&c, d.tickets, 1);
	expect_error(&r, NTM_E_DENIED);
	cr_assert_eq(dc.counters.bad_tickets, 1);
	cr_assert_eq(dc.behind->n_taken, 0);
	cr_assert_eq(stored("alice"), 0);
	cr_assert_eq(stored("carol"), 0);
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&c);
}

Test(path_report, with_any_byte_changed)
{
	struct testnode a, b;
	struct ntm_sig d = forgotten(&a, &b), r;

	come_back(&a, "alice");
	for (size_t i = 0; i < sizeof(d.tickets[0]); i++) {
		struct ntm_path_ticket t = d.tickets[0];

		((uint8_t *)&t)[i] ^= 1;
		r = report(&a, &t, 1);
		expect_error(&r, NTM_E_DENIED);
	}
	cr_assert_eq(dc.counters.bad_tickets, sizeof(d.tickets[0]));
	cr_assert_eq(dc.counters.paths_taken, 0);
	cr_assert_eq(stored("alice"), 0);
	/* one that is right is taken, whatever comes with it */
	d.tickets[1] = d.tickets[0];
	d.tickets[0].mac[0] ^= 1;
	r = report(&a, d.tickets, 2);
	expect_error(&r, NTM_E_DENIED);
	cr_assert_eq(stored("alice"), d.path_id);
	testnode_close(&a);
	testnode_close(&b);
}

/* Nobody but the DC can make one of these: of a store that was put back from a backup there may be some. */
Test(path_report, of_a_node_that_the_store_does_not_know)
{
	struct ntm_dc_node nobody = {.rec = {.id = 999, .index = 6}};
	struct ntm_dc_path p = {.id = 77, .created_s = ntm_dc_wall_s()};
	struct ntm_path_ticket t;
	struct testnode a, b;
	struct ntm_sig d = forgotten(&a, &b), m;

	come_back(&a, "alice");
	p.ends[0] = ntm_dc_node_by_label(&dc.nodes, "alice");
	p.ends[1] = &nobody;
	cr_assert_eq(ntm_dc_ticket_sign(&dc.ids, &p), 0);
	ntm_dc_ticket_write(&p, &t);
	testnode_request(&a, &m, NTM_M_PATH_REPORT);
	m.tickets[0] = t;
	m.tickets[1] = d.tickets[0];
	m.n_tickets = 2;
	m.have = NTM_SIG_BIT(NTM_F_PATH_TICKET);
	cr_assert_eq(testnode_send(&a, &m), 0);
	await_release(&a, 77);
	cr_assert_eq(testnode_recv(&a, &m, TESTNODE_WAIT_MS), 0);
	cr_assert_eq(m.msg, NTM_M_PATH_REPORT_RESPONSE);
	cr_assert_eq(stored("alice"), d.path_id, "what is written with it is there");
	/* nor is one that the store keeps no longer */
	p.ends[1] = p.ends[0];
	p.ends[0] = &nobody;
	p.created_s -= NTM_DC_PATH_KEEP_S + 1;
	cr_assert_eq(ntm_dc_ticket_sign(&dc.ids, &p), 0);
	ntm_dc_ticket_write(&p, &t);
	cr_assert_eq(report(&a, &t, 1).msg, NTM_M_PATH_REPORT_RESPONSE);
	expect_silence(&a);
	cr_assert_eq(dc.counters.paths_taken, 2);
	testnode_close(&a);
	testnode_close(&b);
}

Test(path_report, without_end)
{
	struct testnode a, b;
	struct ntm_sig d = forgotten(&a, &b), r = {0};
	struct ntm_path_ticket t[NTM_PATH_TICKETS_MAX];
	unsigned taken = 0;

	come_back(&a, "alice");
	for (unsigned i = 0; i < NTM_PATH_TICKETS_MAX; i++)
		t[i] = d.tickets[0];
	for (unsigned i = 0; i < 100000; i++) {
		r = report(&a, t, NTM_PATH_TICKETS_MAX);
		if (r.msg != NTM_M_PATH_REPORT_RESPONSE)
			break;
		taken += NTM_PATH_TICKETS_MAX;
		cr_assert_leq(dc.behind->n_taken, (size_t)NTM_DC_BATCH);
	}
	expect_error(&r, NTM_E_BUSY);
	cr_assert_geq(taken, 1984);
	/* of what it may report and ask for there is one measure */
	cr_assert_eq(stored("alice"), d.path_id);
	testnode_close(&a);
	testnode_close(&b);
}

Test(path_report, that_says_nothing_or_too_much)
{
	struct ntm_sig_hdr hdr = {.msg = NTM_M_PATH_REPORT, .txid = htobe32(77)};
	uint8_t plain[NTM_SIGNAL_MAX], sealed[NTM_SIGNAL_MAX];
	size_t len = sizeof(hdr), sealed_len;
	struct testnode a;
	struct ntm_sig m, r;

	join(&a, "alice");
	testnode_request(&a, &m, NTM_M_PATH_REPORT);
	cr_assert_eq(testnode_ask(&a, &m, &r), 0);
	expect_error(&r, NTM_E_MALFORMED);
	memset(plain, 0, sizeof(plain));
	memcpy(plain, &hdr, sizeof(hdr));
	for (unsigned i = 0; i < NTM_PATH_TICKETS_MAX + 1; i++) {
		plain[len + 1] = NTM_F_PATH_TICKET;
		plain[len + 3] = sizeof(struct ntm_path_ticket);
		len += 4 + sizeof(struct ntm_path_ticket);
	}
	cr_assert_eq(ntm_session_seal(&a.session, plain, len, sealed, sizeof(sealed), &sealed_len), 0);
	cr_assert_eq(testnode_send_raw(&a, sealed, sealed_len), 0);
	cr_assert_eq(testnode_recv(&a, &r, TESTNODE_WAIT_MS), 0);
	expect_error(&r, NTM_E_MALFORMED);
	cr_assert_eq(r.txid, 77);
	cr_assert_eq(dc.counters.bad_tickets, 0);
	testnode_close(&a);
}

Test(path_report, of_who_is_not_registered)
{
	struct ntm_path_ticket none = {0};
	struct testnode t;
	struct ntm_sig r;

	open_node(&t);
	r = report(&t, &none, 1);
	expect_error(&r, NTM_E_NOT_REGISTERED);
	testnode_close(&t);
}
