/* SPDX-License-Identifier: BSD-2-Clause */
/* The DNS server over loopback: UDP and TCP, and what it bounds. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "../../dc/dns_server.h"
#include "../harness/dns_rig.h"

static uv_loop_t loop;
static struct dns_rig rig;
static struct ntm_dns_server *server;
static uint8_t query[512];
static size_t query_len;

static void start(uint32_t rate)
{
	struct ntm_addr listen[2];
	char why[128];

	cr_assert_eq(rig_init(&rig, NTM_DNS_VIRTUAL, 1000, 40), 0);
	cr_assert_eq(uv_loop_init(&loop), 0);
	listen[0] = rig_addr("127.0.0.1:53");
	listen[1] = rig_addr("[::1]:53");
	listen[0].port = listen[1].port = 0;
	cr_assert_eq(ntm_dns_server_start(&server, &loop, &rig.zone, listen, 2, rate, why, sizeof(why)), 0, "%s", why);
}

static void setup(void)
{
	start(0);
}

static void stop(void)
{
	ntm_dns_server_stop(server);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0);
	ntm_dns_zone_free(&rig.zone);
}

TestSuite(dns_server, .init = setup, .fini = stop);

static int connected(int type, int family)
{
	struct sockaddr_storage sa;
	socklen_t len = ntm_addr_to_sockaddr(ntm_dns_server_bound(server, family == AF_INET6), family, &sa);
	int fd = socket(family, type | SOCK_CLOEXEC, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&sa, len), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void on_late(uv_timer_t *t)
{
	*(bool *)t->data = true;
}

/* What arrives on fd while the server runs, up to cap bytes or the end (*closed) or ms of nothing. */
static size_t receive(int fd, uint8_t *in, size_t cap, uint64_t ms, bool *closed)
{
	uv_timer_t timer;
	bool late = false;
	size_t got = 0;

	*closed = false;
	uv_timer_init(&loop, &timer);
	timer.data = &late;
	uv_timer_start(&timer, on_late, ms, 0);
	while (!late && got < cap && !*closed) {
		ssize_t n;

		uv_run(&loop, UV_RUN_NOWAIT);
		n = recv(fd, in + got, cap - got, 0);
		*closed = n == 0 || (n < 0 && errno == ECONNRESET);
		if (n > 0) {
			got += (size_t)n;
			uv_timer_start(&timer, on_late, ms, 0);
		} else if (!*closed) {
			uv_run(&loop, UV_RUN_ONCE);
		}
	}
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
	return got;
}

/* Keeps the loop turning while nothing happens on the server's side. */
static void on_tick(uv_timer_t *t)
{
	(void)t;
}

static uv_timer_t tick;
static void begin_ticking(void)
{
	uv_timer_init(&loop, &tick);
	uv_timer_start(&tick, on_tick, 1, 1);
}

static void end_ticking(void)
{
	uv_close((uv_handle_t *)&tick, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
}

static void make(const char *name, unsigned type)
{
	query_len = rig_query(query, sizeof(query), name, type, 1232);
}

/* The query with its length before it, n times; IDs count up. */
static size_t stream(uint8_t *out, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t *p = out + i * (query_len + 2);

		p[0] = 0;
		p[1] = (uint8_t)query_len;
		memcpy(p + 2, query, query_len);
		p[2] = (uint8_t)(i >> 8);
		p[3] = (uint8_t)i;
	}
	return n * (query_len + 2);
}

Test(dns_server, udp_of_both_families)
{
	uint8_t in[1300];
	bool closed;

	begin_ticking();
	for (int i = 0; i < 2; i++) {
		int fd = connected(SOCK_DGRAM, i ? AF_INET6 : AF_INET);

		make("n9.ntm.example.", LDNS_RR_TYPE_A);
		send(fd, query, query_len, 0);
		cr_assert_gt(receive(fd, in, 1, 2000, &closed), 0);
		close(fd);
	}
	cr_assert_eq(ntm_dns_server_stats(server)->udp_queries, 2);
	end_ticking();
}

Test(dns_server, pipelined_queries_are_answered_in_order)
{
	static uint8_t out[65536], in[65536];
	int fd = connected(SOCK_STREAM, AF_INET6);
	bool closed;
	size_t len, got, at = 0;
	unsigned n = 0;

	begin_ticking();
	make("n9.ntm.example.", LDNS_RR_TYPE_A);
	len = stream(out, 500);
	cr_assert_eq(send(fd, out, len - 7, 0), (ssize_t)(len - 7));
	got = receive(fd, in, sizeof(in), 200, &closed);
	cr_assert_eq(send(fd, out + len - 7, 7, 0), 7); /* the rest of the last one */
	got += receive(fd, in + got, sizeof(in) - got, 200, &closed);
	for (; at + 2 <= got; at += 2 + ((size_t)in[at] << 8 | in[at + 1]), n++)
		cr_assert_eq(in[at + 2] << 8 | in[at + 3], n);
	cr_assert_eq(at, got);
	cr_assert_eq(n, 500);
	cr_assert(!closed);
	shutdown(fd, SHUT_WR);
	receive(fd, in, 1, 2000, &closed);
	cr_assert(closed);
	close(fd);
	end_ticking();
}

Test(dns_server, who_takes_no_answers_is_not_read_from)
{
	static uint8_t out[2000 * 64], in[1 << 20];
	int fd = connected(SOCK_STREAM, AF_INET), small = 65536;
	size_t len, sent = 0, asked = 0, got, one, more;
	uint64_t served = 0;
	bool closed;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	begin_ticking();
	make("ns.ntm.example.", LDNS_RR_TYPE_AAAA); /* 1,100 bytes of answer */
	cr_assert_gt(send(fd, out, stream(out, 1), 0), 0);
	one = receive(fd, in, sizeof(in), 100, &closed);
	cr_assert_gt(one, 1000);
	len = stream(out, 2000);
	/* until it takes no more */
	for (int idle = 0; idle < 200;) {
		ssize_t n = send(fd, out + sent, len - sent, 0);

		if (n > 0) {
			sent = (sent + (size_t)n) % len;
			asked += (size_t)n;
		}
		idle = served == ntm_dns_server_stats(server)->tcp_queries ? idle + 1 : 0;
		served = ntm_dns_server_stats(server)->tcp_queries;
		uv_run(&loop, UV_RUN_ONCE);
	}
	cr_assert_lt(served, 1 + asked / (query_len + 2));
	for (got = 0; (more = receive(fd, in, sizeof(in), 300, &closed));)
		got += more;
	cr_assert_eq(got, asked / (query_len + 2) * one, "%zu answers, %zu queries", got / one,
		     asked / (query_len + 2));
	close(fd);
	end_ticking();
}

Test(dns_server, garbage_ends_the_connection)
{
	static const struct {
		const char *data;
		size_t len;
	} bad[] = {{"\377\377", 2}, {"\0\0", 2}, {"\0\4abcd", 6}, {"\10\1", 2}};
	uint8_t in[64];
	bool closed;

	begin_ticking();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = connected(SOCK_STREAM, AF_INET);

		cr_assert_eq(send(fd, bad[i].data, bad[i].len, 0), (ssize_t)bad[i].len);
		cr_assert_eq(receive(fd, in, sizeof(in), 2000, &closed), 0);
		cr_assert(closed, "case %zu", i);
		close(fd);
	}
	end_ticking();
}

Test(dns_server, connections_are_bounded)
{
	int fds[NTM_DNS_TCP_PER_CLIENT + 1];
	uint8_t in[1300];
	bool closed;

	begin_ticking();
	for (int i = 0; i <= NTM_DNS_TCP_PER_CLIENT; i++)
		fds[i] = connected(SOCK_STREAM, AF_INET);
	receive(fds[NTM_DNS_TCP_PER_CLIENT], in, 1, 2000, &closed);
	cr_assert(closed, "one too many from one address");
	cr_assert_eq(ntm_dns_server_stats(server)->tcp_refused, 1);
	make("n9.ntm.example.", LDNS_RR_TYPE_A);
	for (int i = 0; i < NTM_DNS_TCP_PER_CLIENT; i++) {
		uint8_t one[600];

		cr_assert_gt(send(fds[i], one, stream(one, 1), 0), 0);
		cr_assert_gt(receive(fds[i], in, 1, 2000, &closed), 0);
		close(fds[i]);
	}
	close(fds[NTM_DNS_TCP_PER_CLIENT]);
	end_ticking();
}

Test(dns_server, too_fast_clients_get_few_answers)
{
	unsigned truncated = 0, whole = 0;
	int fd;

	stop();
	start(50);
	begin_ticking();
	fd = connected(SOCK_DGRAM, AF_INET);
	make("n9.ntm.example.", LDNS_RR_TYPE_A);
	for (int i = 0; i < 200; i++) {
		uint8_t in[1300];
		ssize_t n;

		send(fd, query, query_len, 0);
		uv_run(&loop, UV_RUN_NOWAIT);
		n = recv(fd, in, sizeof(in), 0);
		if (n > 0) {
			whole += !(in[2] & 2);
			truncated += in[2] & 2 && n < (ssize_t)query_len;
		}
	}
	cr_assert_geq(whole, 49, "%u", whole);
	cr_assert_leq(whole, 150, "%u", whole); /* what may come in the time that the test takes, too */
	cr_assert_geq(truncated, 20, "%u", truncated);
	cr_assert_lt(truncated + whole, 200);
	close(fd);
	end_ticking();
}

Test(dns_server, an_address_in_use_is_an_error)
{
	struct ntm_addr taken = *ntm_dns_server_bound(server, 0);
	struct ntm_dns_server *other;
	char why[128];

	cr_assert_eq(ntm_dns_server_start(&other, &loop, &rig.zone, &taken, 1, 0, why, sizeof(why)), -EADDRINUSE);
	cr_assert(strstr(why, "127.0.0.1"), "%s", why);
}
