/* SPDX-License-Identifier: BSD-2-Clause */
/* What DNS says of the DC's nodes as they come, move and go. */
#include <fcntl.h>
#include <ldns/ldns.h>

#include "../harness/dc_rig.h"
#include "../harness/wall_clock.h"

static struct ntm_addr dns_addr;
static int dns_fd;

static void start_dns(enum ntm_dns_publish publish)
{
	struct sockaddr_storage sa;
	socklen_t len;

	stop_dc();
	cr_assert_eq(ntm_addr_parse("127.0.0.1:1", 0, &dns_addr), 0);
	dns_addr.port = 0;
	conf.dns_listen.addrs = &dns_addr;
	conf.dns_listen.n = 1;
	conf.dns.publish = publish;
	start_dc();
	len = ntm_addr_to_sockaddr(ntm_dc_dns_bound(&dc, 0), AF_INET, &sa);
	dns_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	cr_assert_eq(connect(dns_fd, (struct sockaddr *)&sa, len), 0);
}

static void setup_virtual(void)
{
	setup();
	start_dns(NTM_DNS_VIRTUAL);
}

static void setup_real(void)
{
	setup();
	start_dns(NTM_DNS_REAL);
}

static void end(void)
{
	close(dns_fd);
	teardown();
}

TestSuite(dns_virtual, .init = setup_virtual, .fini = end, .timeout = 30);
TestSuite(dns_real, .init = setup_real, .fini = end, .timeout = 30);

/* The rcode's name, or the answer's records without owner, TTL and class. */
static const char *ask(const char *name, ldns_rr_type type)
{
	static char text[1024];
	ldns_pkt *q = ldns_pkt_query_new(ldns_dname_new_frm_str(name), type, LDNS_RR_CLASS_IN, 0), *r;
	uint8_t in[NTM_DNS_UDP_MAX], *wire;
	size_t len, n = 0;
	ssize_t got = -1;

	cr_assert_eq(ldns_pkt2wire(&wire, q, &len), LDNS_STATUS_OK);
	cr_assert_eq(send(dns_fd, wire, len, 0), (ssize_t)len);
	while (got < 0) {
		uv_run(&loop, UV_RUN_ONCE); /* the DC's timers keep it turning */
		got = recv(dns_fd, in, sizeof(in), 0);
	}
	cr_assert_eq(ldns_wire2pkt(&r, in, (size_t)got), LDNS_STATUS_OK);
	text[0] = 0;
	for (size_t i = 0; i < ldns_rr_list_rr_count(ldns_pkt_answer(r)); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(ldns_pkt_answer(r), i);

		for (size_t f = 0; f < ldns_rr_rd_count(rr); f++) {
			char *field = ldns_rdf2str(ldns_rr_rdf(rr, f));

			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? " " : "", field);
			free(field);
		}
	}
	if (!n)
		snprintf(text, sizeof(text), "%s", ldns_lookup_by_id(ldns_rcodes, ldns_pkt_get_rcode(r))->name);
	free(wire);
	ldns_pkt_free(q);
	ldns_pkt_free(r);
	return text;
}

static unsigned long serial(void)
{
	unsigned long v;

	cr_assert_eq(sscanf(ask("ntm.example.", LDNS_RR_TYPE_SOA), "%*s %*s %lu", &v), 1);
	return v;
}

static void register_from(struct testnode *t, const char *candidate)
{
	struct ntm_sig m, answer;

	testnode_request(t, &m, NTM_M_REGISTRATION_REQUEST);
	strcpy(m.name, "alice");
	cr_assert_eq(ntm_addr_parse(candidate, 0, &m.candidates[0].addr), 0);
	m.candidates[0].kind = NTM_CAND_HOST;
	m.n_candidates = 1;
	m.have = 1u << NTM_F_NAME | 1u << NTM_F_CANDIDATE;
	cr_assert_eq(testnode_ask(t, &m, &answer), 0);
	cr_assert_eq(answer.msg, NTM_M_REGISTRATION_RESPONSE, "%s", answer.error_text);
}

Test(dns_virtual, a_node_has_its_name_as_soon_as_it_is_enrolled)
{
	struct testnode t;

	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_A), "NXDOMAIN");
	join(&t, "alice");
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_A), "100.96.0.1");
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_AAAA), "fd4e:544d::1");
	cr_assert_str_eq(ask("1.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR), "alice.ntm.example.");
	cr_assert_str_eq(ask("7.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR), "NXDOMAIN");
	/* the pool is 100.96.0.0/29 */
	cr_assert_str_eq(ask("8.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR), "REFUSED");
	cr_assert_str_eq(ask("0.96.100.in-addr.arpa.", LDNS_RR_TYPE_SOA), "REFUSED");
	testnode_close(&t);
}

Test(dns_virtual, names_are_there_after_a_restart_before_anybody_registers)
{
	struct testnode t;

	join(&t, "alice");
	close(dns_fd);
	start_dns(NTM_DNS_VIRTUAL);
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_A), "100.96.0.1");
	cr_assert_str_eq(ask("1.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR), "alice.ntm.example.");
	testnode_close(&t);
}

Test(dns_virtual, revoked_is_gone)
{
	struct testnode t;

	join(&t, "alice");
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_A), "100.96.0.1");
	cr_assert_str_eq(ask("1.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR), "alice.ntm.example.");
	cr_assert_eq(ntm_dc_revoke(&dc, "alice"), 0);
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_A), "NXDOMAIN");
	cr_assert_str_eq(ask("1.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR), "NXDOMAIN");
	testnode_close(&t);
}

static uint64_t repeated(void)
{
	return ntm_dc_dns_server_stats(&dc)->repeated;
}

/* Answers are kept while nothing changes, and it is the node that changes whose answers are made anew. */
Test(dns_virtual, a_change_of_one_node_leaves_the_answers_of_others)
{
	struct testnode alice, bob;
	uint64_t before;

	join(&alice, "alice");
	join(&bob, "bob");
	ask("alice.ntm.example.", LDNS_RR_TYPE_A);
	ask("bob.ntm.example.", LDNS_RR_TYPE_A);
	before = repeated();
	cr_assert_eq(ntm_dc_revoke(&dc, "alice"), 0);
	cr_assert_str_eq(ask("bob.ntm.example.", LDNS_RR_TYPE_A), "100.96.0.2");
	cr_assert_eq(repeated(), before + 1);
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_A), "NXDOMAIN");
	cr_assert_eq(repeated(), before + 1);
	testnode_close(&alice);
	testnode_close(&bob);
}

Test(dns_virtual, after_a_reload_no_answer_is_an_old_one)
{
	uint64_t before;
	struct testnode t;

	join(&t, "alice");
	ask("alice.ntm.example.", LDNS_RR_TYPE_A);
	before = repeated();
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_A), "100.96.0.1");
	cr_assert_eq(repeated(), before + 1);
	conf.private_key_file = conf.runtime_dir = dir; /* compared with themselves */
	ntm_dc_reload(&dc, &conf);
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_A), "100.96.0.1");
	cr_assert_eq(repeated(), before + 1);
	testnode_close(&t);
}

Test(dns_virtual, names_of_the_zone_are_not_given_to_nodes)
{
	struct testnode t;
	struct ntm_sig r;

	token("free", NULL);
	open_node(&t);
	cr_assert_eq(testnode_register(&t, "ns", "free", &r), 0);
	expect_error(&r, NTM_E_BAD_NAME);
	cr_assert_eq(testnode_register(&t, "nsx", "free", &r), 0); /* the token was not used up */
	cr_assert_eq(r.msg, NTM_M_REGISTRATION_RESPONSE);
	testnode_close(&t);
}

Test(dns_virtual, the_serial_grows_with_changes_only)
{
	unsigned long first = serial(), second;
	struct testnode t;

	cr_assert_eq(serial(), first);
	join(&t, "alice");
	while ((second = serial()) == first)
		uv_run(&loop, UV_RUN_ONCE);
	cr_assert_gt(second, first);
	register_from(&t, "192.0.2.1:4680"); /* no news for virtual addresses */
	dc.started_ms = ntm_dc_now(&dc);
	while (ntm_dc_now(&dc) - dc.started_ms < 1200)
		uv_run(&loop, UV_RUN_ONCE);
	cr_assert_eq(serial(), second);
	testnode_close(&t);
}

/* Secondaries take what is later only. */
Test(dns_virtual, the_serial_grows_whichever_way_the_clock_is_set)
{
	static const int64_t clocks[] = {-3600, 3600, -3600, 0};
	unsigned long before = serial(), now;

	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		struct testnode t;
		char name[8];

		wall_ahead_s = clocks[i];
		snprintf(name, sizeof(name), "n%zu", i);
		join(&t, name);
		while ((now = serial()) == before)
			uv_run(&loop, UV_RUN_ONCE);
		cr_assert_gt(now, before);
		cr_assert_leq(now - before, 3601);
		before = now;
		testnode_close(&t);
	}
}

Test(dns_real, behind_a_nat_the_address_that_the_world_sees)
{
	struct testnode t;
	const char *record;
	char port[16];

	join(&t, "alice");
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_A), "127.0.0.1"); /* it announced none */
	register_from(&t, "10.0.0.2:4680");
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_A), "127.0.0.1");
	record = ask("alice.ntm.example.", (ldns_rr_type)NTM_DNS_TYPE_NTM4);
	snprintf(port, sizeof(port), "7f000001%04x", ntohs(own_address(&t).port));
	cr_assert(strstr(record, "0a0000021248"), "%s", record);
	cr_assert(strstr(record, port), "%s in %s", port, record);
	register_from(&t, "127.0.0.1:4680"); /* loopback is nobody's address for others: not taken */
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_A), "127.0.0.1");
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_AAAA), "NOERROR");
	testnode_close(&t);
}

/* Its next datagram comes from elsewhere. */
Test(dns_real, moved_it_has_the_new_address_in_the_next_answer)
{
	const struct sockaddr_in there = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1)};
	struct sockaddr_storage sa;
	socklen_t len = ntm_addr_to_sockaddr(&listen_addr, AF_INET, &sa);
	struct testnode t;

	join(&t, "alice");
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_A), "127.0.0.1");
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_A), "127.0.0.1");
	close(t.fd);
	t.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(t.fd, (const struct sockaddr *)&there, sizeof(there)), 0);
	cr_assert_eq(connect(t.fd, (struct sockaddr *)&sa, len), 0);
	register_from(&t, "10.0.0.2:4680");
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_A), "127.0.0.2");
	testnode_close(&t);
}

Test(dns_real, offline_there_is_no_real_address)
{
	struct testnode t;
	struct ntm_sig m;

	join(&t, "alice");
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_A), "127.0.0.1");
	testnode_request(&t, &m, NTM_M_RELEASE); /* it leaves */
	cr_assert_eq(testnode_send(&t, &m), 0);
	while (dc.nodes.n_online)
		uv_run(&loop, UV_RUN_ONCE);
	cr_assert_str_eq(ask("alice.ntm.example.", LDNS_RR_TYPE_A), "NOERROR");
	cr_assert(strstr(ask("alice.ntm.example.", (ldns_rr_type)NTM_DNS_TYPE_NTM4), "0000000000006460"));
	testnode_close(&t);
}
