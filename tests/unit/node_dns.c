/* SPDX-License-Identifier: BSD-2-Clause */
/* The DNS stub over real sockets: the zone on a scripted DC's clock, forwarding to a scripted upstream. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ldns/ldns.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../user/node/dnsstub.h"
#include "../harness/nodeworld.h"

static struct world w;
static uv_loop_t loop;
static struct ntm_addr stub_addr, upstream_addr;
static int upstream = -1, upstream_tcp = -1;

static int udp_socket(struct ntm_addr *bound)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	getsockname(fd, (struct sockaddr *)&sin, &len);
	ntm_addr_from_sockaddr(bound, (struct sockaddr *)&sin);
	return fd;
}

static void open_stub(bool with_upstream)
{
	struct ntm_node *n = w.n[0];
	char why[256] = "";

	ntm_addr_parse("127.0.0.1:1", 0, &n->conf.dns_listen);
	n->conf.dns_listen.port = 0;
	n->conf.dns_upstreams.addrs = calloc(2, sizeof(struct ntm_addr));
	n->conf.dns_upstreams.n = 1;
	n->conf.dns_upstreams.addrs[0] = upstream_addr;
	/* Our own address is no upstream: none is left. */
	if (!with_upstream)
		n->conf.dns_upstreams.addrs[0] = n->conf.dns_listen;
	cr_assert_eq(ntm_dnsstub_open(&n->dns, n, why, sizeof(why)), 0, "%s", why);
	ntm_addr_parse("127.0.0.1:1", 0, &stub_addr);
	stub_addr.port = htons(ntm_dnsstub_port(n->dns));
}

static void setup(void)
{
	memset(&w, 0, sizeof(w));
	cr_assert_eq(uv_loop_init(&loop), 0);
	world_init(&w);
	w.loop = &loop;
	w.n[0]->loop = &loop;
	upstream = udp_socket(&upstream_addr);
}

static void teardown(void)
{
	ntm_dnsstub_close(w.n[0]->dns);
	w.n[0]->dns = NULL;
	free(w.n[0]->conf.dns_upstreams.addrs);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0, "every handle is closed");
	w.loop = NULL;
	world_free(&w);
	close(upstream);
	if (upstream_tcp >= 0)
		close(upstream_tcp);
}

TestSuite(dns, .init = setup, .fini = teardown, .timeout = 60);

static int client(void)
{
	struct sockaddr_storage ss;
	struct ntm_addr own;
	int fd = udp_socket(&own);

	ntm_addr_to_sockaddr(&stub_addr, AF_INET, &ss);
	cr_assert_eq(connect(fd, (struct sockaddr *)&ss, sizeof(struct sockaddr_in)), 0);
	return fd;
}

static size_t question(uint8_t *out, size_t cap, uint16_t id, const char *name, ldns_rr_type type)
{
	ldns_pkt *q = NULL;
	uint8_t *wire;
	size_t len;

	cr_assert_eq(ldns_pkt_query_new_frm_str(&q, name, type, LDNS_RR_CLASS_IN, LDNS_RD), LDNS_STATUS_OK);
	ldns_pkt_set_id(q, id);
	cr_assert_eq(ldns_pkt2wire(&wire, q, &len), LDNS_STATUS_OK);
	cr_assert_leq(len, cap);
	memcpy(out, wire, len);
	free(wire);
	ldns_pkt_free(q);
	return len;
}

/* Milliseconds of the world until an answer is there; -1: none within that time. */
static int await(int fd, unsigned ms, uint8_t *out, size_t cap, size_t *len)
{
	for (unsigned i = 0; i <= ms; i++) {
		ssize_t n;

		world_run(&w, 1);
		usleep(20); /* sockets are real, the clock is not */
		n = recv(fd, out, cap, 0);
		if (n >= 0) {
			*len = (size_t)n;
			return (int)i;
		}
	}
	return -1;
}

static ldns_pkt *ask(const char *name, ldns_rr_type type, unsigned max_ms, int *took)
{
	uint8_t buf[4096];
	ldns_pkt *p = NULL;
	int fd = client(), ms;
	size_t len = question(buf, sizeof(buf), 4711, name, type);

	cr_assert_eq(send(fd, buf, len, 0), (ssize_t)len);
	ms = await(fd, max_ms, buf, sizeof(buf), &len);
	close(fd);
	cr_assert_geq(ms, 0, "%s answered within %u ms", name, max_ms);
	if (took)
		*took = ms;
	cr_assert_eq(ldns_wire2pkt(&p, buf, len), LDNS_STATUS_OK);
	cr_assert_eq(ldns_pkt_id(p), 4711);
	cr_assert(ldns_pkt_qr(p));
	cr_assert(ldns_pkt_ra(p));
	return p;
}

static void assert_answer(const char *name, ldns_rr_type type, const char *expected)
{
	ldns_pkt *p = ask(name, type, 500, NULL);
	char *text;

	cr_assert_eq(ldns_pkt_get_rcode(p), LDNS_RCODE_NOERROR);
	cr_assert_eq(ldns_pkt_ancount(p), 1, "%s", name);
	text = ldns_rdf2str(ldns_rr_rdf(ldns_rr_list_rr(ldns_pkt_answer(p), 0), 0));
	cr_assert_str_eq(text, expected);
	cr_assert_eq(ldns_rr_ttl(ldns_rr_list_rr(ldns_pkt_answer(p), 0)), NTM_DNS_TTL_S);
	cr_assert(ldns_pkt_aa(p));
	free(text);
	ldns_pkt_free(p);
}

static void assert_rcode(const char *name, ldns_rr_type type, ldns_pkt_rcode rcode)
{
	ldns_pkt *p = ask(name, type, 2100, NULL);

	cr_assert_eq(ldns_pkt_get_rcode(p), rcode, "%s: %d", name, ldns_pkt_get_rcode(p));
	cr_assert_eq(ldns_pkt_ancount(p), 0);
	cr_assert_eq(ldns_pkt_qdcount(p), 1);
	ldns_pkt_free(p);
}

Test(dns, own_name_and_a_peers_by_virtual_addresses)
{
	open_stub(false);
	assert_answer("alice.ntm.example.", LDNS_RR_TYPE_A, "100.96.0.1");
	cr_assert_eq(w.dc.requests, 0);
	assert_answer("bob.ntm.example.", LDNS_RR_TYPE_A, "100.96.0.2");
	cr_assert(world_both_up(&w), "the answer comes when the path is up");
	assert_answer("BoB.NTM.example.", LDNS_RR_TYPE_AAAA, "fd4e:544d::2");
	cr_assert_eq(w.dc.requests, 1);
}

Test(dns, what_does_not_exist)
{
	open_stub(false);
	assert_rcode("nobody.ntm.example.", LDNS_RR_TYPE_A, LDNS_RCODE_NXDOMAIN);
	assert_rcode("nobody.ntm.example.", LDNS_RR_TYPE_TXT, LDNS_RCODE_NXDOMAIN);
	assert_rcode("deep.bob.ntm.example.", LDNS_RR_TYPE_A, LDNS_RCODE_NXDOMAIN);
	assert_rcode("bob.ntm.example.", LDNS_RR_TYPE_TXT, LDNS_RCODE_NOERROR);
	assert_rcode("alice.ntm.example.", LDNS_RR_TYPE_MX, LDNS_RCODE_NOERROR);
	assert_rcode("ntm.example.", LDNS_RR_TYPE_A, LDNS_RCODE_NOERROR);
}

Test(dns, a_peer_that_is_offline_is_servfail_at_once)
{
	ldns_pkt *p;
	int ms;

	open_stub(false);
	w.dc.no_bob = true;
	p = ask("bob.ntm.example.", LDNS_RR_TYPE_A, 2100, &ms);
	cr_assert_eq(ldns_pkt_get_rcode(p), LDNS_RCODE_SERVFAIL);
	cr_assert_lt(ms, 100);
	ldns_pkt_free(p);
}

static bool drop_requests(struct world *world, const struct world_packet *p)
{
	(void)world;
	return (p->data[0] & 15) == NTM_T_TUNNEL_REQ;
}

Test(dns, a_path_that_does_not_come_up_is_servfail_within_two_seconds)
{
	ldns_pkt *p;
	int ms;

	open_stub(false);
	w.drop = drop_requests;
	p = ask("bob.ntm.example.", LDNS_RR_TYPE_A, 2100, &ms);
	cr_assert_eq(ldns_pkt_get_rcode(p), LDNS_RCODE_SERVFAIL);
	cr_assert_leq(ms, 2000);
	cr_assert_geq(ms, 1000, "and not before there was hope");
	ldns_pkt_free(p);
}

Test(dns, without_the_dc_is_servfail_within_two_seconds)
{
	ldns_pkt *p;
	int ms;

	open_stub(false);
	w.dc.down = true;
	p = ask("bob.ntm.example.", LDNS_RR_TYPE_A, 2100, &ms);
	cr_assert_eq(ldns_pkt_get_rcode(p), LDNS_RCODE_SERVFAIL);
	cr_assert_leq(ms, 2000);
	ldns_pkt_free(p);
}

Test(dns, reverse_names_of_virtual_addresses_never_leave)
{
	open_stub(true);
	assert_answer("1.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR, "alice.ntm.example.");
	assert_rcode("9.9.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR, LDNS_RCODE_NXDOMAIN);
	assert_answer("bob.ntm.example.", LDNS_RR_TYPE_A, "100.96.0.2");
	assert_answer("2.0.96.100.in-addr.arpa.", LDNS_RR_TYPE_PTR, "bob.ntm.example.");
	assert_answer("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.4.4.5.e.4.d.f.ip6.arpa.", LDNS_RR_TYPE_PTR,
		      "bob.ntm.example.");
	cr_assert_lt(recv(upstream, (char[512]){0}, 512, 0), 0);
}

Test(dns, no_upstream_is_servfail_at_once)
{
	ldns_pkt *p;
	int ms;

	open_stub(false);
	p = ask("debian.org.", LDNS_RR_TYPE_A, 1000, &ms);
	cr_assert_eq(ldns_pkt_get_rcode(p), LDNS_RCODE_SERVFAIL);
	cr_assert_lt(ms, 50);
	ldns_pkt_free(p);
}

/* A packet on loopback is there at once, unless the machine has much else to do. */
static void pause_of(int tries)
{
	usleep(tries < 200 ? 20 : 2000);
}

static size_t upstream_gets(uint8_t *buf, size_t cap, struct sockaddr_in *from)
{
	for (int i = 0; i < 2000; i++) {
		socklen_t len = sizeof(*from);
		ssize_t n = recvfrom(upstream, buf, cap, 0, (struct sockaddr *)from, &len);

		if (n >= 0)
			return (size_t)n;
		world_run(&w, 1);
		pause_of(i);
	}
	cr_assert_fail("the upstream hears nothing");
	return 0;
}

Test(dns, the_rest_is_forwarded_and_comes_back_as_it_is)
{
	uint8_t q[512], got[512], answer[600], back[700];
	struct sockaddr_in from, from2;
	size_t len, n, back_len;
	int fd, fd2;

	open_stub(true);
	fd = client();
	len = question(q, sizeof(q), 0x1234, "www.debian.org.", LDNS_RR_TYPE_A);
	send(fd, q, len, 0);
	n = upstream_gets(got, sizeof(got), &from);
	cr_assert_eq(n, len);
	cr_assert_arr_eq(got + 2, q + 2, len - 2);
	/* Forgeries: another ID, another question, not an answer. */
	memcpy(answer, got, n);
	answer[2] |= 0x80;
	answer[0] ^= 1;
	sendto(upstream, answer, n, 0, (struct sockaddr *)&from, sizeof(from));
	answer[0] ^= 1;
	answer[14] ^= 4;
	sendto(upstream, answer, n, 0, (struct sockaddr *)&from, sizeof(from));
	answer[14] ^= 4;
	answer[2] &= 0x7f;
	sendto(upstream, answer, n, 0, (struct sockaddr *)&from, sizeof(from));
	cr_assert_lt(await(fd, 50, back, sizeof(back), &back_len), 0);
	/* The true one, with something behind the question that is none of our business. */
	answer[2] |= 0x82; /* TC, too */
	memset(answer + n, 0xab, 40);
	sendto(upstream, answer, n + 40, 0, (struct sockaddr *)&from, sizeof(from));
	cr_assert_geq(await(fd, 1000, back, sizeof(back), &back_len), 0);
	cr_assert_eq(back_len, n + 40);
	cr_assert_eq(back[0], 0x12);
	cr_assert_eq(back[1], 0x34);
	cr_assert_arr_eq(back + 2, answer + 2, n + 38);

	fd2 = client();
	send(fd2, q, len, 0);
	upstream_gets(got, sizeof(got), &from2);
	cr_assert_neq(from.sin_port, from2.sin_port, "each query has its own port");
	close(fd);
	close(fd2);
}

Test(dns, an_upstream_that_is_silent_gets_another_try_and_then_servfail)
{
	uint8_t buf[512];
	struct sockaddr_in from;
	size_t len, got = 0;
	int fd;

	open_stub(true);
	fd = client();
	len = question(buf, sizeof(buf), 7, "www.debian.org.", LDNS_RR_TYPE_A);
	send(fd, buf, len, 0);
	for (int i = 0; i < 500; i++) { /* libuv's clock is real */
		socklen_t flen = sizeof(from);
		uint8_t q[512];
		ssize_t n;

		world_run(&w, 1);
		usleep(10000);
		got += recvfrom(upstream, q, sizeof(q), 0, (struct sockaddr *)&from, &flen) >= 0;
		n = recv(fd, buf, sizeof(buf), 0);
		if (n < 0)
			continue;
		cr_assert_eq(buf[3] & 15, LDNS_RCODE_SERVFAIL);
		cr_assert_eq(got, 2);
		close(fd);
		return;
	}
	cr_assert_fail("no answer in five seconds");
}

Test(dns, malformed_queries)
{
	uint8_t q[512], junk[512], back[512];
	size_t len, back_len;
	int fd;

	open_stub(true);
	fd = client();
	len = question(q, sizeof(q), 1, "bob.ntm.example.", LDNS_RR_TYPE_A);
	for (size_t cut = 0; cut < 12; cut++) { /* no header, no answer */
		send(fd, q, cut, 0);
		cr_assert_lt(await(fd, 2, back, sizeof(back), &back_len), 0);
	}
	for (size_t cut = 12; cut < len; cut++) {
		send(fd, q, cut, 0);
		cr_assert_geq(await(fd, 500, back, sizeof(back), &back_len), 0);
		cr_assert_eq(back[3] & 15, LDNS_RCODE_FORMERR);
	}
	q[2] |= 0x80; /* an answer is not answered */
	send(fd, q, len, 0);
	cr_assert_lt(await(fd, 5, back, sizeof(back), &back_len), 0);
	q[2] &= 0x7f;
	q[2] |= 5 << 3; /* UPDATE */
	send(fd, q, len, 0);
	cr_assert_geq(await(fd, 500, back, sizeof(back), &back_len), 0);
	cr_assert_eq(back[3] & 15, LDNS_RCODE_NOTIMPL);
	/* Noise of all kinds must not hurt; what is wrong with it may be answered or not. */
	srand(1);
	for (int i = 0; i < 2000; i++) {
		size_t n = (size_t)rand() % sizeof(junk);

		for (size_t j = 0; j < n; j++)
			junk[j] = (uint8_t)rand();
		if (n > 12 && i % 2)
			memcpy(junk, q, 12);
		send(fd, junk, n, 0);
		world_run(&w, 1);
		while (recv(fd, back, sizeof(back), 0) >= 0)
			;
	}
	close(fd);
	assert_answer("alice.ntm.example.", LDNS_RR_TYPE_A, "100.96.0.1");
}

static int tcp_client(void)
{
	struct sockaddr_storage ss;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ntm_addr_to_sockaddr(&stub_addr, AF_INET, &ss);
	cr_assert_eq(connect(fd, (struct sockaddr *)&ss, sizeof(struct sockaddr_in)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static size_t tcp_answer(int fd, uint8_t *buf, size_t cap)
{
	size_t have = 0;

	for (int i = 0; i < 2000; i++) {
		ssize_t n = recv(fd, buf + have, cap - have, 0);

		if (n > 0)
			have += (size_t)n;
		if (n == 0 || (have >= 2 && have >= 2u + (size_t)(buf[0] << 8 | buf[1])))
			return have;
		world_run(&w, 1);
		pause_of(i);
	}
	return have;
}

Test(dns, tcp_in_pieces_and_several_at_once)
{
	uint8_t q[1024], back[1024];
	size_t len, one;
	int fd;

	open_stub(true);
	fd = tcp_client();
	one = question(q + 2, sizeof(q) - 2, 9, "alice.ntm.example.", LDNS_RR_TYPE_A);
	q[0] = 0;
	q[1] = (uint8_t)one;
	len = question(q + 2 + one + 2, 512, 10, "bob.ntm.example.", LDNS_RR_TYPE_AAAA);
	q[2 + one] = 0;
	q[2 + one + 1] = (uint8_t)len;
	for (size_t i = 0; i < 4 + one + len; i++) {
		send(fd, q + i, 1, 0);
		world_run(&w, 1);
	}
	len = tcp_answer(fd, back, sizeof(back));
	cr_assert_gt(len, 14);
	cr_assert_eq(back[3], 9);
	one = 2u + (size_t)(back[0] << 8 | back[1]);
	if (len < one + 4)
		len += tcp_answer(fd, back + len, sizeof(back) - len);
	cr_assert_gt(len, one + 4);
	cr_assert_eq(back[one + 3], 10);
	close(fd);
	world_run(&w, 5);
}

Test(dns, tcp_is_forwarded_over_tcp)
{
	uint8_t q[512], got[512], back[70000];
	struct sockaddr_storage ss;
	size_t len, n;
	int fd, conn = -1;

	upstream_tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	ntm_addr_to_sockaddr(&upstream_addr, AF_INET, &ss);
	cr_assert_eq(bind(upstream_tcp, (struct sockaddr *)&ss, sizeof(struct sockaddr_in)), 0);
	listen(upstream_tcp, 4);
	open_stub(true);
	fd = tcp_client();
	len = question(q + 2, sizeof(q) - 2, 0x0102, "big.debian.org.", LDNS_RR_TYPE_TXT);
	q[0] = 0;
	q[1] = (uint8_t)len;
	send(fd, q, 2 + len, 0);
	for (int i = 0; i < 1000 && conn < 0; i++) {
		world_run(&w, 1);
		pause_of(i);
		conn = accept4(upstream_tcp, NULL, NULL, SOCK_NONBLOCK);
	}
	cr_assert_geq(conn, 0);
	n = tcp_answer(conn, got, sizeof(got));
	cr_assert_eq(n, 2 + len);
	got[4] |= 0x80;
	memcpy(back, got, n);
	memset(back + n, 0x55, 30000);
	back[0] = (uint8_t)((len + 30000) >> 8);
	back[1] = (uint8_t)(len + 30000);
	cr_assert_eq(send(conn, back, n + 30000, 0), (ssize_t)(n + 30000));
	n = tcp_answer(fd, back, sizeof(back));
	cr_assert_eq(n, 2 + len + 30000);
	cr_assert_eq(back[2], 1);
	cr_assert_eq(back[3], 2);
	close(fd);
	close(conn);
	world_run(&w, 5);
}

Test(dns, a_tcp_client_that_goes_away_while_its_query_is_held)
{
	uint8_t q[512];
	size_t len;
	int fd;

	open_stub(true);
	w.drop = drop_requests;
	fd = tcp_client();
	len = question(q + 2, sizeof(q) - 2, 9, "bob.ntm.example.", LDNS_RR_TYPE_A);
	q[0] = 0;
	q[1] = (uint8_t)len;
	send(fd, q, 2 + len, 0);
	world_run(&w, 50);
	close(fd);
	world_run(&w, 2500);
	w.drop = NULL;
	assert_answer("alice.ntm.example.", LDNS_RR_TYPE_A, "100.96.0.1");
}

Test(dns, closing_with_queries_out_leaves_nothing)
{
	uint8_t q[512];
	size_t len;
	int fd = -1;

	open_stub(true);
	w.drop = drop_requests;
	fd = client();
	len = question(q, sizeof(q), 9, "bob.ntm.example.", LDNS_RR_TYPE_A);
	send(fd, q, len, 0);
	len = question(q, sizeof(q), 10, "debian.org.", LDNS_RR_TYPE_A);
	send(fd, q, len, 0);
	world_run(&w, 20);
	close(fd);
	/* teardown asserts that the loop closes */
}

Test(dns, resolv_conf_is_read_without_ourselves)
{
	char path[] = "/tmp/ntm-resolv-XXXXXX";
	struct ntm_addr self, up[4];
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");

	open_stub(false);
	ntm_addr_parse("127.0.0.54:53", 0, &self);
	fputs("# nameserver 192.0.2.9\nsearch example\n nameserver 127.0.0.54\nnameserver 192.0.2.1\n"
	      "nameserver fe80::1%eth0\nnameserver 2001:db8::53\nnameserver junk\nnameserver 192.0.2.2\n"
	      "nameserver 192.0.2.3\nnameserver 192.0.2.4\n",
	      f);
	fclose(f);
	cr_assert_eq(ntm_dnsforward_parse(path, &self, up, 4), 4);
	cr_assert_eq(up[0].ip[15], 1);
	cr_assert_eq(up[1].ip[0], 0x20);
	cr_assert_eq(up[3].ip[15], 3);
	cr_assert_eq(ntohs(up[0].port), 53);
	cr_assert_eq(ntm_dnsforward_parse("/nowhere/resolv.conf", &self, up, 4), 0);
	unlink(path);
}
