/* SPDX-License-Identifier: BSD-2-Clause */
/* UPDATE messages against a scripted server that checks the signature. */
#include <criterion/criterion.h>
#include <uv.h>

#include "../../dc/dns_update.h"
#include "../../user/common/crypto.h"
#include "../harness/dns_rig.h"

#define KEY_NAME "ntm-dc.key."
#define KEY "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

static uv_loop_t loop;
static struct dns_rig rig;
static struct ntm_dns_update *update;
static uv_tcp_t listener, peer;
static struct ntm_addr address;
static bool peer_open;

/* The scripted server */
static uint8_t in[65537];
static size_t in_len;
static int rcode;           /* it answers; -1: nothing, -2: unsigned, -3: with another ID */
static const char *notauth; /* zone it does not have */
static unsigned messages;
static char seen[1 << 16]; /* "ZONE:" and the update section of each message, one record a line */

static void on_peer_closed(uv_handle_t *h)
{
	(void)h;
	peer_open = false;
}

static void note(const ldns_pkt *p)
{
	char *zone = ldns_rdf2str(ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(p), 0)));
	size_t n = strlen(seen);

	n += (size_t)snprintf(seen + n, sizeof(seen) - n, "%s:\n", zone);
	for (size_t i = 0; i < ldns_rr_list_rr_count(ldns_pkt_authority(p)); i++) {
		char *line = ldns_rr2str(ldns_rr_list_rr(ldns_pkt_authority(p), i));

		if (n < sizeof(seen))
			n += (size_t)snprintf(seen + n, sizeof(seen) - n, "%s", line);
		free(line);
	}
	free(zone);
}

static void answer(ldns_pkt *p, const uint8_t *wire, size_t len)
{
	ldns_pkt *r = ldns_pkt_new();
	const ldns_rr *zone = ldns_rr_list_rr(ldns_pkt_question(p), 0);
	char *name = ldns_rdf2str(ldns_rr_owner(zone));
	uint8_t out[600], *response;
	uv_buf_t buf;
	size_t n;

	cr_assert(ldns_pkt_tsig_verify(p, wire, len, KEY_NAME, KEY, NULL), "not signed");
	ldns_pkt_set_id(r, (uint16_t)(ldns_pkt_id(p) + (rcode == -3)));
	ldns_pkt_set_qr(r, true);
	ldns_pkt_set_opcode(r, LDNS_PACKET_UPDATE);
	ldns_pkt_set_rcode(r, (uint8_t)(notauth && !strcmp(name, notauth) ? LDNS_RCODE_NOTAUTH
					: rcode > 0                       ? rcode
									  : 0));
	free(name);
	if (rcode != -2)
		cr_assert_eq(
		    ldns_pkt_tsig_sign(r, KEY_NAME, KEY, 300, "hmac-sha256.", ldns_rr_rdf(ldns_pkt_tsig(p), 3)),
		    LDNS_STATUS_OK);
	cr_assert_eq(ldns_pkt2wire(&response, r, &n), LDNS_STATUS_OK);
	out[0] = 0;
	out[1] = (uint8_t)n;
	if (n > 255)
		out[0] = 1, out[1] = (uint8_t)(n - 256);
	memcpy(out + 2, response, n);
	buf = uv_buf_init((char *)out, (unsigned)n + 2);
	cr_assert_eq(uv_try_write((uv_stream_t *)&peer, &buf, 1), (int)n + 2);
	free(response);
	ldns_pkt_free(r);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	size_t len;
	ldns_pkt *p;

	(void)buf;
	if (n < 0) {
		uv_close((uv_handle_t *)s, on_peer_closed);
		return;
	}
	in_len += (size_t)n;
	len = in_len >= 2 ? (size_t)in[0] << 8 | in[1] : SIZE_MAX;
	if (len == SIZE_MAX || in_len < len + 2)
		return;
	cr_assert_eq(in_len, len + 2, "one message at a time");
	in_len = 0;
	messages++;
	cr_assert_eq(ldns_wire2pkt(&p, in + 2, len), LDNS_STATUS_OK);
	cr_assert_eq(ldns_pkt_get_opcode(p), LDNS_PACKET_UPDATE);
	note(p);
	if (rcode != -1)
		answer(p, in + 2, len);
	ldns_pkt_free(p);
}

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *buf)
{
	(void)h;
	(void)size;
	*buf = uv_buf_init((char *)in + in_len, (unsigned)(sizeof(in) - in_len));
}

static void on_connection(uv_stream_t *l, int status)
{
	cr_assert_eq(status, 0);
	cr_assert(!peer_open);
	in_len = 0;
	uv_tcp_init(&loop, &peer);
	peer_open = true;
	cr_assert_eq(uv_accept(l, (uv_stream_t *)&peer), 0);
	uv_read_start((uv_stream_t *)&peer, on_alloc, on_read);
}

static void listen_now(void)
{
	struct sockaddr_storage sa;
	int len = sizeof(sa);

	ntm_addr_to_sockaddr(&address, AF_INET, &sa);
	uv_tcp_init(&loop, &listener);
	cr_assert_eq(uv_tcp_bind(&listener, (struct sockaddr *)&sa, 0), 0);
	cr_assert_eq(uv_listen((uv_stream_t *)&listener, 8, on_connection), 0);
	uv_tcp_getsockname(&listener, (struct sockaddr *)&sa, &len);
	ntm_addr_from_sockaddr(&address, (struct sockaddr *)&sa);
}

static int start_update(const char *key, const char *const *reverse, size_t n)
{
	struct ntm_dns_update_settings s = {
	    .server = address, .key_name = KEY_NAME, .key = key, .reverse = reverse, .n_reverse = n};
	char why[128];

	return ntm_dns_update_start(&update, &loop, &rig.zone, &s, why, sizeof(why));
}

static void begin(enum ntm_dns_publish publish, const char *const *reverse, size_t n)
{
	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_eq(rig_init(&rig, publish, 1000, 1), 0);
	cr_assert_eq(uv_loop_init(&loop), 0);
	address = rig_addr("127.0.0.1:53");
	address.port = 0;
	listen_now();
	cr_assert_eq(start_update(KEY, reverse, n), 0);
}

static void teardown(void)
{
	if (update)
		ntm_dns_update_stop(update);
	uv_close((uv_handle_t *)&listener, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0);
	ntm_dns_zone_free(&rig.zone);
}

TestSuite(dns_update, .fini = teardown);

static void changed(unsigned index)
{
	char label[16];
	uint8_t vip4[4], vip6[16];

	snprintf(label, sizeof(label), "n%u", index);
	ntm_pool_addresses(&rig.zone.s.pool, index, vip4, vip6);
	cr_assert_eq(ntm_dns_update_changed(update, label, vip4, vip6), 0);
}

static void on_late(uv_timer_t *t)
{
	*(bool *)t->data = true;
}

/* Runs the loop until nothing is waiting, or so many failures were counted; false: neither within 20 s. */
static bool run_until(uint64_t failures)
{
	uv_timer_t timer;
	bool late = false;

	uv_timer_init(&loop, &timer);
	timer.data = &late;
	uv_timer_start(&timer, on_late, 20000, 0);
	while (!late) {
		struct ntm_dns_update_stats s = ntm_dns_update_stats(update);

		if (failures ? s.failures >= failures : !s.waiting)
			break;
		uv_run(&loop, UV_RUN_ONCE);
	}
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
	return !late;
}

static size_t count(const char *what)
{
	size_t n = 0;

	for (const char *p = seen; (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

Test(dns_update, says_what_a_node_has_now)
{
	begin(NTM_DNS_VIRTUAL, NULL, 0);
	changed(1);
	changed(2);
	changed(1);
	cr_assert(run_until(0));
	cr_assert_eq(messages, 1);
	cr_assert(strstr(seen, "_ntm._udp.ntm.example.\t3600\tIN\tSRV\t0 0 4680 dc.ntm.example."), "%s", seen);
	cr_assert(strstr(seen, "dc.ntm.example.\t3600\tIN\tA\t192.0.2.1"));
	cr_assert_eq(count("n1.ntm.example.\t0\tANY"), 4, "%s", seen);
	cr_assert(strstr(seen, "n1.ntm.example.\t60\tIN\tA\t100.96.0.1"));
	cr_assert(strstr(seen, "n2.ntm.example.\t60\tIN\tAAAA\tfd4e:544d::2"));
	cr_assert_eq(ntm_dns_update_stats(update).names, 3);
}

Test(dns_update, a_revoked_node_is_deleted)
{
	begin(NTM_DNS_VIRTUAL, NULL, 0);
	rig.gone = 4;
	changed(4);
	cr_assert(run_until(0));
	cr_assert_eq(count("n4.ntm.example.\t0\tANY"), 4, "%s", seen);
	cr_assert_eq(count("n4.ntm.example.\t60"), 0);
}

Test(dns_update, ntm_records_go_as_unknown_types)
{
	begin(NTM_DNS_REAL, NULL, 0);
	changed(2);
	cr_assert(run_until(0));
	cr_assert(strstr(seen, "n2.ntm.example.\t5\tIN\tTYPE65280\t\\# "), "%s", seen);
	cr_assert(strstr(seen, "n2.ntm.example.\t5\tIN\tTYPE65281\t\\# "));
	cr_assert(strstr(seen, "n2.ntm.example.\t5\tIN\tA\t203.0.113.9"));
}

Test(dns_update, pointers_go_to_the_zones_configured)
{
	static const char *const reverse[] = {"100.in-addr.arpa", "96.100.in-addr.arpa", "d.f.ip6.arpa"};

	begin(NTM_DNS_VIRTUAL, reverse, 3);
	notauth = "d.f.ip6.arpa.";
	changed(1);
	changed(70000);
	cr_assert(run_until(0));
	cr_assert_eq(messages, 4);
	cr_assert(strstr(seen, "1.0.96.100.in-addr.arpa.\t60\tIN\tPTR\tn1.ntm.example."), "%s", seen);
	/* there is no such node: what was there is deleted, in the zone that its address is in */
	cr_assert(strstr(seen, "100.in-addr.arpa.:\n112.17.97.100.in-addr.arpa.\t0\tANY\tPTR"), "%s", seen);
	changed(2); /* the zone that the server does not have is left alone from now on */
	cr_assert(run_until(0));
	cr_assert_eq(messages, 6);
	cr_assert_eq(count("d.f.ip6.arpa.:\n"), 1);
}

Test(dns_update, many_names_go_in_batches)
{
	begin(NTM_DNS_REAL, NULL, 0);
	for (unsigned i = 1; i <= 400; i++)
		changed(i);
	cr_assert(run_until(0));
	cr_assert_eq(messages, 11);
	cr_assert_eq(ntm_dns_update_stats(update).names, 401);
}

Test(dns_update, what_is_refused_is_tried_again)
{
	begin(NTM_DNS_VIRTUAL, NULL, 0);
	changed(1);
	rcode = LDNS_RCODE_REFUSED;
	cr_assert(run_until(1));
	rcode = 0;
	changed(2); /* waits with the others */
	cr_assert(run_until(0));
	cr_assert_eq(messages, 3);
	cr_assert(strstr(seen, "n2.ntm.example.\t60"));
}

Test(dns_update, unsigned_and_foreign_answers_do_not_count)
{
	begin(NTM_DNS_VIRTUAL, NULL, 0);
	rcode = -2;
	cr_assert(run_until(1));
	rcode = -3;
	cr_assert(run_until(2));
	rcode = 0;
	cr_assert(run_until(0));
	cr_assert_eq(ntm_dns_update_stats(update).failures, 2);
}

Test(dns_update, the_server_comes_back)
{
	begin(NTM_DNS_VIRTUAL, NULL, 0);
	cr_assert(run_until(0));
	uv_close((uv_handle_t *)&listener, NULL);
	if (peer_open)
		uv_close((uv_handle_t *)&peer, on_peer_closed);
	for (int i = 0; i < 5; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	changed(7);
	cr_assert(run_until(1));
	listen_now();
	cr_assert(run_until(0));
	cr_assert(strstr(seen, "n7.ntm.example.\t60"));
}

Test(dns_update, a_change_while_the_message_is_out_is_sent_again)
{
	begin(NTM_DNS_VIRTUAL, NULL, 0);
	changed(1);
	rcode = -1;
	while (!messages)
		uv_run(&loop, UV_RUN_ONCE);
	changed(1);
	rig.gone = 1;
	rcode = 0;
	cr_assert(run_until(1)); /* the first one was never answered */
	cr_assert(run_until(0));
	cr_assert(!strstr(strrchr(seen, ':'), "n1.ntm.example.\t60"), "%s", seen);
}

Test(dns_update, unusable_keys_are_said_at_the_start)
{
	begin(NTM_DNS_VIRTUAL, NULL, 0);
	ntm_dns_update_stop(update);
	cr_assert_eq(start_update("not base64!", NULL, 0), -EINVAL);
	update = NULL;
}
