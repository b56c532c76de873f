/* SPDX-License-Identifier: BSD-2-Clause */
/* What the DNS server answers, rule by rule. */
#include <criterion/criterion.h>

#include "../harness/dns_rig.h"

static struct dns_rig rig;
static struct ntm_dns_answerer *answerer;
static struct ntm_dns_client client;
static ldns_pkt *reply;
static uint8_t query[4096], out[NTM_DNS_TCP_MAX];
static size_t query_len, out_len;
static bool transfer;

static void begin(enum ntm_dns_publish publish, size_t n_ns)
{
	cr_assert_eq(rig_init(&rig, publish, 100000, n_ns), 0);
	answerer = ntm_dns_answerer_new(&rig.zone, 1 << 20);
	cr_assert_not_null(answerer);
	memset(&client, 0, sizeof(client));
	cr_assert_eq(ntm_ip_parse("198.51.100.7", client.ip), 0);
}

static void setup(void)
{
	begin(NTM_DNS_VIRTUAL, 1);
}

static void teardown(void)
{
	ldns_pkt_free(reply);
	reply = NULL;
	ntm_dns_answerer_free(answerer);
	ntm_dns_zone_free(&rig.zone);
}

TestSuite(dns_answer, .init = setup, .fini = teardown);

static void again(enum ntm_dns_publish publish, size_t n_ns)
{
	teardown();
	begin(publish, n_ns);
}

/* Sends what is in query. */
static void send_query(void)
{
	ldns_pkt_free(reply);
	reply = NULL;
	out_len = ntm_dns_answer(answerer, &client, query, query_len, out,
				 client.tcp ? sizeof(out) : (size_t)NTM_DNS_UDP_MAX, &transfer);
	if (out_len)
		cr_assert_eq(ldns_wire2pkt(&reply, out, out_len), LDNS_STATUS_OK);
}

static void ask_edns(const char *name, unsigned type, unsigned edns)
{
	query_len = rig_query(query, sizeof(query), name, type, edns);
	send_query();
	cr_assert(reply, "no answer for %s", name);
	cr_assert_eq(ldns_pkt_id(reply), 0x1234);
	cr_assert(ldns_pkt_qr(reply) && ldns_pkt_rd(reply) && !ldns_pkt_ra(reply));
}

static void ask(const char *name, unsigned type)
{
	ask_edns(name, type, 0);
}

static unsigned rcode(void)
{
	return ldns_pkt_get_rcode(reply);
}

/* The records of a section as text, without owner, TTL and class, joined by blanks. */
static const char *records(const ldns_rr_list *l)
{
	static char text[8192];
	size_t n = 0;

	text[0] = 0;
	for (size_t i = 0; i < ldns_rr_list_rr_count(l); i++) {
		char *line = ldns_rr2str(ldns_rr_list_rr(l, i)), *field = line;

		for (int skip = 0; skip < 3; skip++)
			field = strchr(field, '\t') + 1;
		for (char *p = field; *p; p++)
			*p = *p == '\t' ? ' ' : *p;
		field[strcspn(field, "\n")] = 0;
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? "; " : "", field);
		free(line);
	}
	return text;
}

static const char *answers(void)
{
	return records(ldns_pkt_answer(reply));
}

/* A negative answer: no records, and the SOA of the zone with the time it may be remembered. */
static void expect_negative(unsigned code, const char *zone)
{
	const ldns_rr *soa = ldns_rr_list_rr(ldns_pkt_authority(reply), 0);
	char *owner;

	cr_assert_eq(rcode(), code);
	cr_assert(ldns_pkt_aa(reply));
	cr_assert_eq(ldns_pkt_ancount(reply), 0);
	cr_assert_eq(ldns_pkt_nscount(reply), 1);
	cr_assert_eq(ldns_rr_get_type(soa), LDNS_RR_TYPE_SOA);
	cr_assert_eq(ldns_rr_ttl(soa), NTM_DNS_NEGATIVE_TTL_S);
	owner = ldns_rdf2str(ldns_rr_owner(soa));
	cr_assert_str_eq(owner, zone);
	free(owner);
}

Test(dns_answer, virtual_addresses_of_a_node)
{
	ask("n1.ntm.example.", LDNS_RR_TYPE_A);
	cr_assert_eq(rcode(), LDNS_RCODE_NOERROR);
	cr_assert(ldns_pkt_aa(reply) && !ldns_pkt_tc(reply));
	cr_assert_str_eq(answers(), "A 100.96.0.1");
	cr_assert_eq(ldns_pkt_nscount(reply), 0);
	ask("n70000.ntm.example.", LDNS_RR_TYPE_AAAA);
	cr_assert_str_eq(answers(), "AAAA fd4e:544d::1:1170");
	ask("n3.ntm.example.", LDNS_RR_TYPE_A); /* offline: its virtual address is the same */
	cr_assert_str_eq(answers(), "A 100.96.0.3");
}

Test(dns_answer, the_case_of_the_question_is_kept)
{
	char *owner;

	ask("N1.nTm.ExamPLE.", LDNS_RR_TYPE_A);
	cr_assert_str_eq(answers(), "A 100.96.0.1");
	owner = ldns_rdf2str(ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_answer(reply), 0)));
	cr_assert_str_eq(owner, "N1.nTm.ExamPLE.");
	free(owner);
	owner = ldns_rdf2str(ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(reply), 0)));
	cr_assert_str_eq(owner, "N1.nTm.ExamPLE.");
	free(owner);
	ask("nONE.nTm.ExamPLE.", LDNS_RR_TYPE_A);
	expect_negative(LDNS_RCODE_NXDOMAIN, "nTm.ExamPLE.");
}

Test(dns_answer, names_are_compressed)
{
	ask("n1.ntm.example.", LDNS_RR_TYPE_A);
	cr_assert_eq(out_len, query_len + 16, "%zu of %zu", out_len, query_len);
	ask("none.ntm.example.", LDNS_RR_TYPE_A);
	cr_assert_leq(out_len, 90, "%zu", out_len);
}

Test(dns_answer, negative_answers)
{
	static const char *const nowhere[] = {
	    "none.ntm.example.", "a.n1.ntm.example.",           "n0.ntm.example.",          "n100001.ntm.example.",
	    "_tcp.ntm.example.", "_ntm._tcp.ntm.example.",      "x._ntm._udp.ntm.example.", "n1\\000.ntm.example.",
	    "-n1.ntm.example.",  "\\255\\001\\046.ntm.example."};

	for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
		ask(nowhere[i], LDNS_RR_TYPE_A);
		cr_assert_eq(rcode(), LDNS_RCODE_NXDOMAIN, "%s", nowhere[i]);
		expect_negative(LDNS_RCODE_NXDOMAIN, "ntm.example.");
	}
	ask("n1.ntm.example.", LDNS_RR_TYPE_MX);
	expect_negative(LDNS_RCODE_NOERROR, "ntm.example.");
	ask("ntm.example.", LDNS_RR_TYPE_A);
	expect_negative(LDNS_RCODE_NOERROR, "ntm.example.");
	ask("_udp.ntm.example.", LDNS_RR_TYPE_A); /* empty, but there is something below */
	expect_negative(LDNS_RCODE_NOERROR, "ntm.example.");
	ask("none.ntm.example.", LDNS_RR_TYPE_ANY);
	expect_negative(LDNS_RCODE_NXDOMAIN, "ntm.example.");
}

Test(dns_answer, a_revoked_node_is_gone)
{
	rig.gone = 5;
	ask("n5.ntm.example.", LDNS_RR_TYPE_A);
	expect_negative(LDNS_RCODE_NXDOMAIN, "ntm.example.");
	ask("5.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR);
	expect_negative(LDNS_RCODE_NXDOMAIN, "96.100.in-addr.arpa.");
}

Test(dns_answer, apex)
{
	ask("ntm.example.", LDNS_RR_TYPE_SOA);
	cr_assert_str_eq(answers(), "SOA ns.ntm.example. hostmaster.ntm.example. 7 300 60 604800 10");
	ask("ntm.example.", LDNS_RR_TYPE_NS);
	cr_assert_str_eq(answers(), "NS ns.ntm.example.");
	cr_assert_str_eq(records(ldns_pkt_additional(reply)), "AAAA 2001:db8::53");
	ask("ns.ntm.example.", LDNS_RR_TYPE_AAAA);
	cr_assert_str_eq(answers(), "AAAA 2001:db8::53");
}

Test(dns_answer, the_dc_is_found_by_srv)
{
	ask("_ntm._udp.ntm.example.", LDNS_RR_TYPE_SRV);
	cr_assert_str_eq(answers(), "SRV 0 0 4680 dc.ntm.example.");
	cr_assert_str_eq(records(ldns_pkt_additional(reply)), "A 192.0.2.1; AAAA 2001:db8::1");
	ask("DC.ntm.example.", LDNS_RR_TYPE_A);
	cr_assert_str_eq(answers(), "A 192.0.2.1");
}

Test(dns_answer, reverse_names)
{
	ask("1.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR);
	cr_assert_str_eq(answers(), "PTR n1.ntm.example.");
	ask("112.17.97.100.IN-addr.arpa.", LDNS_RR_TYPE_PTR);
	cr_assert_str_eq(answers(), "PTR n70000.ntm.example.");
	ask("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.4.4.5.E.4.d.f.ip6.arpa.", LDNS_RR_TYPE_PTR);
	cr_assert_str_eq(answers(), "PTR n2.ntm.example.");
	ask("2.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_A);
	expect_negative(LDNS_RCODE_NOERROR, "96.100.in-addr.arpa.");
	ask("0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR);
	expect_negative(LDNS_RCODE_NOERROR, "96.100.in-addr.arpa.");
	ask("96.100.in-addr.arpa.", LDNS_RR_TYPE_SOA);
	cr_assert_eq(ldns_pkt_ancount(reply), 1);
	ask("0.0.0.0.d.4.4.5.e.4.d.f.ip6.arpa.", LDNS_RR_TYPE_NS);
	cr_assert_str_eq(answers(), "NS ns.ntm.example.");
	ask("1.1.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR);
	expect_negative(LDNS_RCODE_NXDOMAIN, "96.100.in-addr.arpa.");
	ask("0.0.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR);
	expect_negative(LDNS_RCODE_NXDOMAIN, "96.100.in-addr.arpa.");
	ask("01.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR); /* not how an octet is written */
	expect_negative(LDNS_RCODE_NXDOMAIN, "96.100.in-addr.arpa.");
	ask("256.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR);
	expect_negative(LDNS_RCODE_NXDOMAIN, "96.100.in-addr.arpa.");
}

Test(dns_answer, other_zones_are_refused)
{
	static const char *const names[] = {".",
					    "example.",
					    "com.",
					    "www.example.com.",
					    "xntm.example.",
					    "ntm.example.com.",
					    "n1.ntm\\.example.",
					    "1.0.112.100.in-addr.arpa.",
					    "100.in-addr.arpa.",
					    "in-addr.arpa.",
					    "d.f.ip6.arpa.",
					    "1.0.0.0.d.4.4.5.e.4.d.f.ip6.arpa."};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ask(names[i], LDNS_RR_TYPE_A);
		cr_assert_eq(rcode(), LDNS_RCODE_REFUSED, "%s", names[i]);
		cr_assert_eq(ldns_pkt_ancount(reply) + ldns_pkt_nscount(reply) + ldns_pkt_arcount(reply), 0);
		cr_assert(!ldns_pkt_aa(reply));
	}
}

Test(dns_answer, real_addresses_by_policy)
{
	ask("n1.ntm.example.", NTM_DNS_TYPE_NTM4);
	expect_negative(LDNS_RCODE_NOERROR, "ntm.example.");
	again(NTM_DNS_REAL, 1);
	ask("n1.ntm.example.", LDNS_RR_TYPE_A);
	cr_assert_str_eq(answers(), "A 198.51.100.1");
	ask("n1.ntm.example.", LDNS_RR_TYPE_AAAA);
	cr_assert_str_eq(answers(), "AAAA 2001:db8:2::1");
	ask("n2.ntm.example.", LDNS_RR_TYPE_A); /* where the world sees it */
	cr_assert_str_eq(answers(), "A 203.0.113.9");
	ask("n2.ntm.example.", LDNS_RR_TYPE_AAAA);
	expect_negative(LDNS_RCODE_NOERROR, "ntm.example.");
	ask("n3.ntm.example.", LDNS_RR_TYPE_A);
	expect_negative(LDNS_RCODE_NOERROR, "ntm.example.");
}

Test(dns_answer, ntm_records_hold_what_the_header_says)
{
	static const uint8_t want4[] = "\2n2\3ntm\7example\0"
				       "\12\0\0\2\x12\x48" /* 10.0.0.2, 4680 */
				       "\144\140\0\2"      /* 100.96.0.2 */
				       "\313\0\161\11\x75\x31"
				       "\300\0\2\1\x12\x48";
	const ldns_rdf *rdata;

	again(NTM_DNS_REAL, 1);
	ask("N2.ntm.example.", NTM_DNS_TYPE_NTM4);
	cr_assert_eq(ldns_pkt_ancount(reply), 1);
	rdata = ldns_rr_rdf(ldns_rr_list_rr(ldns_pkt_answer(reply), 0), 0);
	cr_assert_eq(ldns_rdf_size(rdata), sizeof(want4) - 1, "%zu", ldns_rdf_size(rdata));
	cr_assert_arr_eq(ldns_rdf_data(rdata), want4, sizeof(want4) - 1);
	ask("n1.ntm.example.", NTM_DNS_TYPE_NTM6);
	rdata = ldns_rr_rdf(ldns_rr_list_rr(ldns_pkt_answer(reply), 0), 0);
	cr_assert_eq(ldns_rdf_size(rdata), 16 + 18 + 16 + 18 + 18);
	cr_assert_eq(ldns_rdf_data(rdata)[16], 0x20);
	cr_assert_eq(ldns_rdf_data(rdata)[16 + 18], 0xfd);
	ask("n3.ntm.example.", NTM_DNS_TYPE_NTM4); /* offline: nothing real of it */
	rdata = ldns_rr_rdf(ldns_rr_list_rr(ldns_pkt_answer(reply), 0), 0);
	cr_assert_arr_eq(ldns_rdf_data(rdata) + 16, "\0\0\0\0\0\0\144\140\0\3\0\0\0\0\0\0", 16);
}

Test(dns_answer, nothing_is_published)
{
	again(NTM_DNS_NONE, 1);
	ask("n1.ntm.example.", LDNS_RR_TYPE_A);
	expect_negative(LDNS_RCODE_NXDOMAIN, "ntm.example.");
	ask("1.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR);
	expect_negative(LDNS_RCODE_NXDOMAIN, "96.100.in-addr.arpa.");
	ask("_ntm._udp.ntm.example.", LDNS_RR_TYPE_SRV);
	cr_assert_eq(ldns_pkt_ancount(reply), 1);
}

Test(dns_answer, any_gets_one_rrset)
{
	ask("n1.ntm.example.", LDNS_RR_TYPE_ANY);
	cr_assert_str_eq(answers(), "A 100.96.0.1");
	ask("ntm.example.", LDNS_RR_TYPE_ANY);
	cr_assert_eq(ldns_pkt_ancount(reply), 1);
}

Test(dns_answer, edns)
{
	ask("n1.ntm.example.", LDNS_RR_TYPE_A);
	cr_assert(!ldns_pkt_edns(reply));
	ask_edns("n1.ntm.example.", LDNS_RR_TYPE_A, 4096);
	cr_assert(ldns_pkt_edns(reply));
	cr_assert_eq(ldns_pkt_edns_udp_size(reply), NTM_DNS_UDP_MAX);
	cr_assert_eq(ldns_pkt_edns_version(reply), 0);
	cr_assert_str_eq(answers(), "A 100.96.0.1");
	cr_assert(!ldns_pkt_edns_do(reply));
	query[query_len - 4] = 0x80; /* DO */
	send_query();
	cr_assert(ldns_pkt_edns_do(reply));
}

Test(dns_answer, unknown_edns_options_are_ignored)
{
	query_len = rig_query(query, sizeof(query), "n1.ntm.example.", LDNS_RR_TYPE_A, 1232);
	query[query_len - 1] = 8;
	memcpy(query + query_len, "\xff\xdc\0\4abcd", 8);
	query_len += 8;
	send_query();
	cr_assert_eq(rcode(), LDNS_RCODE_NOERROR);
	cr_assert_str_eq(answers(), "A 100.96.0.1");
}

Test(dns_answer, other_edns_version)
{
	query_len = rig_query(query, sizeof(query), "n1.ntm.example.", LDNS_RR_TYPE_A, 1232);
	query[query_len - 5] = 1;
	send_query();
	cr_assert_eq(rcode(), 0);
	cr_assert_eq(ldns_pkt_edns_extended_rcode(reply), 1);
	cr_assert_eq(ldns_pkt_edns_version(reply), 0);
	cr_assert_eq(ldns_pkt_ancount(reply), 0);
}

Test(dns_answer, two_opt_records_are_malformed)
{
	query_len = rig_query(query, sizeof(query), "n1.ntm.example.", LDNS_RR_TYPE_A, 1232);
	memcpy(query + query_len, query + query_len - 11, 11);
	query_len += 11;
	query[11] = 2;
	send_query();
	cr_assert_eq(rcode(), LDNS_RCODE_FORMERR);
}

Test(dns_answer, what_does_not_fit_is_truncated)
{
	again(NTM_DNS_VIRTUAL, 60);
	ask("ns.ntm.example.", LDNS_RR_TYPE_AAAA);
	cr_assert(ldns_pkt_tc(reply));
	cr_assert_eq(ldns_pkt_ancount(reply), 0);
	cr_assert_leq(out_len, 512);
	ask_edns("ns.ntm.example.", LDNS_RR_TYPE_AAAA, 65535);
	cr_assert(ldns_pkt_tc(reply) && ldns_pkt_edns(reply));
	ask("ntm.example.", LDNS_RR_TYPE_NS); /* addresses nobody asked for are left out without a word */
	cr_assert(!ldns_pkt_tc(reply));
	cr_assert_str_eq(answers(), "NS ns.ntm.example.");
	client.tcp = true;
	ask("ns.ntm.example.", LDNS_RR_TYPE_AAAA);
	cr_assert(!ldns_pkt_tc(reply));
	cr_assert_eq(ldns_pkt_ancount(reply), 60);
}

Test(dns_answer, edns_size_is_the_clients_up_to_ours)
{
	again(NTM_DNS_VIRTUAL, 30); /* 28 bytes each */
	ask_edns("ns.ntm.example.", LDNS_RR_TYPE_AAAA, 600);
	cr_assert(ldns_pkt_tc(reply));
	ask_edns("ns.ntm.example.", LDNS_RR_TYPE_AAAA, 1100);
	cr_assert(!ldns_pkt_tc(reply));
	cr_assert_eq(ldns_pkt_ancount(reply), 30);
	again(NTM_DNS_VIRTUAL, 10);
	ask_edns("ns.ntm.example.", LDNS_RR_TYPE_AAAA, 100); /* less than 512 means 512 */
	cr_assert(!ldns_pkt_tc(reply));
}

Test(dns_answer, opcodes_and_classes)
{
	query_len = rig_query(query, sizeof(query), "n1.ntm.example.", LDNS_RR_TYPE_A, 0);
	for (unsigned opcode = 1; opcode < 16; opcode++) {
		query[2] = (uint8_t)(opcode << 3);
		send_query();
		cr_assert_eq(rcode(), LDNS_RCODE_NOTIMPL);
		cr_assert_eq(ldns_pkt_get_opcode(reply), opcode);
		cr_assert_eq(out_len, NTM_DNS_HEADER);
	}
	query[2] = 0;
	query[query_len - 1] = LDNS_RR_CLASS_CH;
	send_query();
	cr_assert_eq(rcode(), LDNS_RCODE_REFUSED);
	ask("n1.ntm.example.", LDNS_RR_TYPE_MAILB);
	cr_assert_eq(rcode(), LDNS_RCODE_NOTIMPL);
	ask("n1.ntm.example.", 0);
	cr_assert_eq(rcode(), LDNS_RCODE_FORMERR);
	ask("n1.ntm.example.", LDNS_RR_TYPE_OPT);
	cr_assert_eq(rcode(), LDNS_RCODE_FORMERR);
}

Test(dns_answer, malformed_queries)
{
	size_t whole = query_len = rig_query(query, sizeof(query), "n1.ntm.example.", LDNS_RR_TYPE_A, 1232);

	for (query_len = 0; query_len < whole; query_len++) {
		send_query();
		if (query_len < NTM_DNS_HEADER)
			cr_assert_eq(out_len, 0);
		else
			cr_assert_eq(rcode(), LDNS_RCODE_FORMERR, "%zu bytes", query_len);
	}
	query[2] |= 0x80; /* a response is never answered: no loop between two servers */
	send_query();
	cr_assert_eq(out_len, 0);
	for (int at = 4; at < 12; at += 2) {
		query_len = rig_query(query, sizeof(query), "n1.ntm.example.", LDNS_RR_TYPE_A, 0);
		query[at] = 0x40;
		send_query();
		cr_assert_eq(rcode(), LDNS_RCODE_FORMERR, "count at %d", at);
	}
	query_len = rig_query(query, sizeof(query), "n1.ntm.example.", LDNS_RR_TYPE_A, 0);
	query[5] = 0;
	send_query();
	cr_assert_eq(rcode(), LDNS_RCODE_FORMERR);
	query_len = rig_query(query, sizeof(query), "n1.ntm.example.", LDNS_RR_TYPE_A, 0);
	query[12] = 0xc0; /* a name that points to itself */
	query[13] = 12;
	send_query();
	cr_assert_eq(rcode(), LDNS_RCODE_FORMERR);
}

Test(dns_answer, come_by_tcp)
{
	size_t whole = rig_query(query, sizeof(query), "n1.ntm.example.", LDNS_RR_TYPE_A, 0);

	out_len = ntm_dns_answer_truncated(query, whole, out);
	cr_assert_eq(out_len, whole);
	cr_assert_eq(ldns_wire2pkt(&reply, out, out_len), LDNS_STATUS_OK);
	cr_assert(ldns_pkt_tc(reply) && ldns_pkt_qr(reply));
	cr_assert_eq(ldns_pkt_id(reply), 0x1234);
	cr_assert_eq(ldns_pkt_qdcount(reply), 1);
	for (size_t len = 0; len < whole; len++)
		cr_assert_eq(ntm_dns_answer_truncated(query, len, out), 0);
	query[12] = 0xc0;
	cr_assert_eq(ntm_dns_answer_truncated(query, whole, out), 0);
	query[12] = 2;
	query[2] |= 0x80;
	cr_assert_eq(ntm_dns_answer_truncated(query, whole, out), 0);
}

Test(dns_answer, names_of_255_bytes)
{
	char name[256];

	memset(name, 'a', sizeof(name));
	name[63] = name[127] = name[191] = '.';
	strcpy(name + 241, ".ntm.example.");
	cr_assert_eq(strlen(name), 254);
	ask(name, LDNS_RR_TYPE_A);
	expect_negative(LDNS_RCODE_NXDOMAIN, "ntm.example.");
}

/* In a label any byte is allowed: a dot in one is no separator, a NUL no end. */
Test(dns_answer, every_byte_in_a_name)
{
	static const uint8_t zone[] = "\3ntm\7example";

	for (unsigned b = 0; b < 256; b++) {
		for (unsigned at = 0; at < 3; at++) {
			uint8_t *p = query + NTM_DNS_HEADER;

			query_len = rig_query(query, sizeof(query), "n1.ntm.example.", LDNS_RR_TYPE_A, 0);
			*p++ = 3;
			memcpy(p, "n1x", 3);
			p[at] = (uint8_t)b;
			p += 3;
			memcpy(p, zone, sizeof(zone));
			p += sizeof(zone);
			memcpy(p, "\0\1\0\1", 4);
			query_len = (size_t)(p + 4 - query);
			send_query();
			cr_assert(reply, "byte %u", b);
			/* n10 to n19 are there */
			cr_assert_eq(rcode(),
				     at == 2 && b >= '0' && b <= '9' ? LDNS_RCODE_NOERROR : LDNS_RCODE_NXDOMAIN,
				     "byte %u at %u: %d", b, at, rcode());
			cr_assert_arr_eq(out + NTM_DNS_HEADER, query + NTM_DNS_HEADER, query_len - NTM_DNS_HEADER,
					 "the question comes back as it was");
		}
	}
}

Test(dns_answer, a_source_that_fails_is_a_servfail)
{
	rig.err = -EIO;
	ask("n1.ntm.example.", LDNS_RR_TYPE_A);
	cr_assert_eq(rcode(), LDNS_RCODE_SERVFAIL);
	cr_assert_eq(ldns_pkt_ancount(reply) + ldns_pkt_nscount(reply), 0);
	ask("ntm.example.", LDNS_RR_TYPE_SOA);
	cr_assert_eq(rcode(), LDNS_RCODE_NOERROR);
}

Test(dns_answer, transfers_are_refused_unless_allowed)
{
	static const unsigned types[] = {LDNS_RR_TYPE_AXFR, LDNS_RR_TYPE_IXFR};

	for (int i = 0; i < 4; i++) {
		client.tcp = i & 1;
		ask("ntm.example.", types[i / 2]);
		cr_assert(!transfer);
		cr_assert_eq(rcode(), LDNS_RCODE_REFUSED);
	}
	cr_assert_eq(ntm_ip_parse("192.0.2.200", client.ip), 0);
	client.tcp = false;
	ask("ntm.example.", LDNS_RR_TYPE_AXFR);
	cr_assert_eq(rcode(), LDNS_RCODE_REFUSED);
	ask("ntm.example.", LDNS_RR_TYPE_IXFR); /* the SOA: come by TCP */
	cr_assert_eq(ldns_pkt_ancount(reply), 1);
	client.tcp = true;
	ask("n1.ntm.example.", LDNS_RR_TYPE_AXFR);
	cr_assert_eq(rcode(), LDNS_RCODE_NOTAUTH);
	query_len = rig_query(query, sizeof(query), "ntm.example.", LDNS_RR_TYPE_AXFR, 0);
	send_query();
	cr_assert(transfer && !out_len);
}

/* All records of a transfer, in order. */
static ldns_rr_list *transferred(const char *zone)
{
	ldns_rr_list *all = ldns_rr_list_new();
	struct ntm_dns_transfer *t;
	int len, messages = 0;

	query_len = rig_query(query, sizeof(query), zone, LDNS_RR_TYPE_AXFR, 0);
	cr_assert_eq(ntm_dns_transfer_begin(answerer, query, query_len, &t), 0);
	while ((len = ntm_dns_transfer_next(t, out, sizeof(out))) > 0) {
		ldns_pkt *p;

		cr_assert_eq(ldns_wire2pkt(&p, out, (size_t)len), LDNS_STATUS_OK);
		cr_assert(ldns_pkt_aa(p) && ldns_pkt_id(p) == 0x1234);
		cr_assert_gt(ldns_pkt_ancount(p), 0);
		ldns_rr_list_cat(all, ldns_pkt_answer(p));
		ldns_rr_list_free(ldns_pkt_answer(p)); /* the records are all's now */
		ldns_pkt_set_answer(p, ldns_rr_list_new());
		ldns_pkt_free(p);
		if (!messages++)
			rig.serial++; /* meanwhile something changes */
	}
	cr_assert_eq(len, 0);
	ntm_dns_transfer_end(t);
	return all;
}

static void expect_zone(ldns_rr_list *all, size_t n)
{
	const ldns_rr *first = ldns_rr_list_rr(all, 0), *last = ldns_rr_list_rr(all, ldns_rr_list_rr_count(all) - 1);

	cr_assert_eq(ldns_rr_list_rr_count(all), n, "%zu", ldns_rr_list_rr_count(all));
	cr_assert_eq(ldns_rr_get_type(first), LDNS_RR_TYPE_SOA);
	cr_assert_eq(ldns_rr_compare(first, last), 0);
	for (size_t i = 1; i + 1 < n; i++)
		cr_assert_neq(ldns_rr_get_type(ldns_rr_list_rr(all, i)), LDNS_RR_TYPE_SOA);
	ldns_rr_list_deep_free(all);
}

Test(dns_answer, transfer_of_the_whole_zone)
{
	rig.n = 1000;
	rig.gone = 500;
	/* SOA, NS, 1 ns, 2 dc, SRV, A and AAAA of 999 nodes, SOA */
	expect_zone(transferred("ntm.example."), 6 + 2 * 999 + 1);
	rig.n = 0;
	expect_zone(transferred("ntm.example."), 7);
}

Test(dns_answer, transfer_of_a_reverse_zone)
{
	rig.n = 70000;
	/* 100.97.0.0/16: indices 65536 and up */
	expect_zone(transferred("97.100.in-addr.arpa."), 2 + 70000 - 65535 + 1);
	expect_zone(transferred("98.100.in-addr.arpa."), 3);
	rig.n = 200;
	expect_zone(transferred("0.0.0.0.d.4.4.5.e.4.d.f.ip6.arpa."), 203);
}

Test(dns_answer, a_transfer_ends_when_the_source_fails)
{
	struct ntm_dns_transfer *t;

	query_len = rig_query(query, sizeof(query), "ntm.example.", LDNS_RR_TYPE_AXFR, 0);
	cr_assert_eq(ntm_dns_transfer_begin(answerer, query, query_len, &t), 0);
	cr_assert_gt(ntm_dns_transfer_next(t, out, sizeof(out)), 0);
	rig.err = -EIO;
	cr_assert_eq(ntm_dns_transfer_next(t, out, sizeof(out)), -EIO);
	ntm_dns_transfer_end(t);
}
