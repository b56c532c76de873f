/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers that are given again: they are what would be said now, to whoever asks, and bounded. */
#include <criterion/criterion.h>

#include "../harness/dns_rig.h"

enum { CACHE = 64 << 10 };

static struct dns_rig rig;
static struct ntm_dns_answerer *kept, *fresh; /* the second one keeps nothing */
static struct ntm_dns_client client;
static uint8_t out[NTM_DNS_TCP_MAX];
static size_t out_len;

static void begin(enum ntm_dns_publish publish, size_t cache)
{
	cr_assert_eq(rig_init(&rig, publish, 100000, 1), 0);
	kept = ntm_dns_answerer_new(&rig.zone, cache);
	fresh = ntm_dns_answerer_new(&rig.zone, 0);
	cr_assert(kept && fresh);
	memset(&client, 0, sizeof(client));
	cr_assert_eq(ntm_ip_parse("198.51.100.7", client.ip), 0);
	client.now_ms = 5000;
}

static void setup(void)
{
	begin(NTM_DNS_VIRTUAL, CACHE);
}

static void teardown(void)
{
	ntm_dns_answerer_free(kept);
	ntm_dns_answerer_free(fresh);
	ntm_dns_zone_free(&rig.zone);
}

TestSuite(dns_cache, .init = setup, .fini = teardown);

static size_t send_to(struct ntm_dns_answerer *a, const uint8_t *query, size_t len)
{
	bool transfer;

	out_len =
	    ntm_dns_answer(a, &client, query, len, out, client.tcp ? sizeof(out) : (size_t)NTM_DNS_UDP_MAX, &transfer);
	cr_assert(!transfer);
	return out_len;
}

/* The answer's rcode, or -1 - the number of its answer records. */
static int ask(const char *name, unsigned type)
{
	uint8_t query[512];

	send_to(kept, query, rig_query(query, sizeof(query), name, type, 0));
	cr_assert_geq(out_len, NTM_DNS_HEADER);
	return out[6] || out[7] ? -1 - out[7] : out[3] & 15;
}

static bool last_byte_is(uint8_t v)
{
	return out[out_len - 1] == v;
}

static void expect_same(const uint8_t *query, size_t len)
{
	uint8_t want[NTM_DNS_TCP_MAX];
	size_t n = send_to(fresh, query, len);

	memcpy(want, out, n);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(send_to(kept, query, len), n);
		cr_assert_arr_eq(out, want, n);
	}
}

/* Whatever differs between two who ask the same. */
Test(dns_cache, is_byte_for_byte_what_is_said_without_it)
{
	static const char *const names[] = {
	    "n1.ntm.example.",         "N1.nTm.EXAMPLE.",        "none.ntm.example.", "ntm.example.",
	    "NS.ntm.example.",         "_ntm._udp.ntm.example.", "_udp.ntm.example.", "1.0.96.100.in-addr.arpa.",
	    "9.9.9.100.in-addr.arpa.", "a.b.c.d.ntm.example.",   "www.example.com.",  "."};
	static const unsigned types[] = {1, 2, 6, 12, 15, 28, 33, 255, 251, 65280, 1000}, sizes[] = {0, 100, 512, 1232};
	uint8_t query[512];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) * 11 * 4 * 16; i++) {
		unsigned bits = i & 15, size = sizes[i >> 4 & 3], type = types[(i >> 6) % 11];
		size_t len = rig_query(query, sizeof(query), names[(i >> 6) / 11], type, size);

		query[0] = (uint8_t)i;
		query[2] = bits & 1;
		query[3] = (uint8_t)((bits & 2 ? 0x10 : 0) | (bits & 4 ? 0x20 : 0)); /* CD, AD */
		if (size)
			query[len - 4] = bits & 4 ? 0x80 : 0; /* DO */
		client.tcp = bits & 8;
		expect_same(query, len);
	}
	cr_assert_gt(ntm_dns_answerer_hits(kept), 1000);
}

Test(dns_cache, the_source_is_asked_once)
{
	cr_assert_eq(ask("n1.ntm.example.", LDNS_RR_TYPE_A), -2);
	cr_assert_eq(ask("none.ntm.example.", LDNS_RR_TYPE_A), LDNS_RCODE_NXDOMAIN);
	rig.err = -EIO;
	cr_assert_eq(ask("n1.ntm.example.", LDNS_RR_TYPE_A), -2);
	cr_assert_eq(ask("N1.ntm.EXAMPLE.", LDNS_RR_TYPE_A), -2);
	cr_assert_eq(ask("none.ntm.example.", LDNS_RR_TYPE_A), LDNS_RCODE_NXDOMAIN);
	cr_assert_eq(ask("n1.ntm.example.", LDNS_RR_TYPE_AAAA), LDNS_RCODE_SERVFAIL);
	rig.err = 0; /* a failure is not kept */
	cr_assert_eq(ask("n1.ntm.example.", LDNS_RR_TYPE_AAAA), -2);
}

Test(dns_cache, what_is_forgotten_is_asked_for_again)
{
	uint8_t vip4[4] = {100, 96, 0, 5}, vip6[16] = {0xfd, 0x4e, 0x54, 0x4d, [15] = 5};

	static const char reverse6[] = "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.4.4.5.e.4.d.f.ip6.arpa.";

	for (int i = 0; i < 2; i++) {
		int want = i ? LDNS_RCODE_NXDOMAIN : -2;

		cr_assert_eq(ask("n5.ntm.example.", LDNS_RR_TYPE_A), want);
		cr_assert_eq(ask("n5.ntm.example.", LDNS_RR_TYPE_AAAA), want);
		cr_assert_eq(ask("5.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR), want);
		cr_assert_eq(ask(reverse6, LDNS_RR_TYPE_PTR), want);
		rig.gone = 5;
		if (!i)
			ntm_dns_answerer_forget(kept, "n5", vip4, vip6);
	}
	rig.gone = 0; /* it is let in again */
	ntm_dns_answerer_forget(kept, "n5", vip4, vip6);
	cr_assert_eq(ask("n5.ntm.example.", LDNS_RR_TYPE_A), -2);
	rig.gone = 5;
	cr_assert_eq(ask("n5.ntm.example.", LDNS_RR_TYPE_A), -2, "it was not told of");
	ntm_dns_answerer_forget_all(kept);
	cr_assert_eq(ask("n5.ntm.example.", LDNS_RR_TYPE_A), LDNS_RCODE_NXDOMAIN);
}

Test(dns_cache, forgetting_one_leaves_the_others)
{
	uint8_t vip4[4] = {100, 96, 0, 5}, vip6[16] = {0xfd, 0x4e, 0x54, 0x4d, [15] = 5};

	cr_assert_eq(ask("n5.ntm.example.", LDNS_RR_TYPE_A), -2);
	cr_assert_eq(ask("n55.ntm.example.", LDNS_RR_TYPE_A), -2);
	ntm_dns_answerer_forget(kept, "n5", vip4, vip6);
	rig.err = -EIO;
	cr_assert_eq(ask("n5.ntm.example.", LDNS_RR_TYPE_A), LDNS_RCODE_SERVFAIL);
	cr_assert_eq(ask("n55.ntm.example.", LDNS_RR_TYPE_A), -2);
}

/* A negative answer carries the zone's serial, and so does an SOA. */
Test(dns_cache, no_answer_has_an_old_serial)
{
	cr_assert_eq(ask("none.ntm.example.", LDNS_RR_TYPE_A), LDNS_RCODE_NXDOMAIN);
	cr_assert_eq(ask("ntm.example.", LDNS_RR_TYPE_SOA), -2);
	rig.serial = 9;
	cr_assert_eq(ask("none.ntm.example.", LDNS_RR_TYPE_A), LDNS_RCODE_NXDOMAIN);
	cr_assert_eq(out[out_len - 17], 9);
	cr_assert_eq(ask("ntm.example.", LDNS_RR_TYPE_SOA), -2);
	cr_assert_eq(out[out_len - 17], 9);
}

Test(dns_cache, nothing_is_kept_longer_than_by_a_resolver)
{
	static const struct {
		enum ntm_dns_publish publish;
		const char *name;
		uint32_t ttl_s;
	} cases[] = {
	    {NTM_DNS_VIRTUAL, "n1.ntm.example.", NTM_DNS_TTL_S},
	    {NTM_DNS_REAL, "n1.ntm.example.", NTM_DNS_REAL_TTL_S},
	    {NTM_DNS_VIRTUAL, "none.ntm.example.", NTM_DNS_NEGATIVE_TTL_S},
	};

	for (size_t i = 0; i < 3; i++) {
		int want;

		teardown();
		begin(cases[i].publish, CACHE);
		want = ask(cases[i].name, LDNS_RR_TYPE_A);
		rig.err = -EIO;
		client.now_ms += cases[i].ttl_s * 1000 - 1;
		cr_assert_eq(ask(cases[i].name, LDNS_RR_TYPE_A), want);
		client.now_ms++;
		cr_assert_eq(ask(cases[i].name, LDNS_RR_TYPE_A), LDNS_RCODE_SERVFAIL);
	}
}

static void ask_numbered(const char *format, unsigned first, unsigned n, int want)
{
	char name[64];

	for (unsigned i = first; i < first + n; i++) {
		snprintf(name, sizeof(name), format, i);
		cr_assert_eq(ask(name, LDNS_RR_TYPE_A), want, "%s", name);
		if (want < 0)
			cr_assert(last_byte_is((uint8_t)i), "%s", name);
	}
}

Test(dns_cache, more_than_it_holds)
{
	ask_numbered("n%u.ntm.example.", 1, 5000, -2);
	ask_numbered("n%u.ntm.example.", 1, 5000, -2);
	rig.err = -EIO; /* the newest are there, the oldest not */
	ask_numbered("n%u.ntm.example.", 4901, 100, -2);
	ask_numbered("n%u.ntm.example.", 1, 10, LDNS_RCODE_SERVFAIL);
}

Test(dns_cache, names_that_are_made_up_do_not_push_out_nodes)
{
	ask_numbered("n%u.ntm.example.", 1, 100, -2);
	ask_numbered("x%u.ntm.example.", 1, 20000, LDNS_RCODE_NXDOMAIN);
	rig.err = -EIO;
	ask_numbered("n%u.ntm.example.", 1, 100, -2);
}

/* Types that nobody uses would fill it, all under one name. */
Test(dns_cache, unusual_types_are_not_kept)
{
	uint64_t before;

	for (unsigned i = 0; i < 2; i++) {
		before = ntm_dns_answerer_hits(kept);
		for (unsigned type = 1000; type < 2000; type++)
			cr_assert_eq(ask("n1.ntm.example.", type), LDNS_RCODE_NOERROR);
		cr_assert_eq(ntm_dns_answerer_hits(kept), before);
	}
}

Test(dns_cache, long_answers_are_whole_for_who_can_take_them)
{
	uint8_t query[512];
	size_t len;

	ntm_dns_answerer_free(kept);
	ntm_dns_answerer_free(fresh);
	ntm_dns_zone_free(&rig.zone);
	cr_assert_eq(rig_init(&rig, NTM_DNS_VIRTUAL, 100, 60), 0);
	kept = ntm_dns_answerer_new(&rig.zone, CACHE);
	fresh = ntm_dns_answerer_new(&rig.zone, 0);
	for (int i = 0; i < 8; i++) {
		len = rig_query(query, sizeof(query), i & 2 ? "ns.ntm.example." : "ntm.example.",
				i & 2 ? LDNS_RR_TYPE_AAAA : LDNS_RR_TYPE_NS, i & 1 ? 1232 : 0);
		client.tcp = i & 4;
		expect_same(query, len);
	}
}

/* Who may have the zone gets it, and nobody else because of that. */
Test(dns_cache, what_depends_on_who_asks_is_not_kept)
{
	uint8_t query[512];
	size_t len = rig_query(query, sizeof(query), "ntm.example.", LDNS_RR_TYPE_AXFR, 0);
	bool transfer;

	client.tcp = true;
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(ntm_ip_parse(i & 1 ? "192.0.2.200" : "198.51.100.7", client.ip), 0);
		out_len = ntm_dns_answer(kept, &client, query, len, out, sizeof(out), &transfer);
		cr_assert_eq(transfer, i & 1);
		cr_assert(transfer || (out[3] & 15) == LDNS_RCODE_REFUSED);
	}
}
