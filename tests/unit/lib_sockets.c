/* SPDX-License-Identifier: BSD-2-Clause */
/* Virtual sockets between instances, as a program uses them. */
#include <fcntl.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/ioctl.h>

#include "../harness/lib_rig.h"

TestSuite(lib_sockets, .init = lib_setup, .fini = lib_teardown, .timeout = 60);

static struct ntm *a, *b;

static void join_both(void)
{
	a = lib_join("alice");
	b = lib_join("bob");
}

static void leave_both(void)
{
	ntm_unregister(a);
	ntm_unregister(b);
	cr_expect_eq(ntm_fd(), -1);
}

static int listener(struct ntm *n, int family, uint16_t port)
{
	struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	int s = ntm_socket(n, family, SOCK_STREAM, 0), on = 1;

	cr_assert(s >= NTM_FD_BASE);
	cr_assert_eq(ntm_setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	if (family == AF_INET)
		cr_assert_eq(ntm_bind(s, (struct sockaddr *)&any4, sizeof(any4)), 0);
	else
		cr_assert_eq(ntm_bind(s, (struct sockaddr *)&any6, sizeof(any6)), 0);
	cr_assert_eq(ntm_listen(s, 8), 0);
	return s;
}

/* alice's end, connected to `l` of bob's, whose end goes to *peer */
static int connected(int family, uint16_t port, int l, int *peer)
{
	socklen_t len;
	struct sockaddr_storage to = lib_resolve(a, "bob", family, port, &len);
	int s = ntm_socket(a, family, SOCK_STREAM, 0);

	cr_assert_eq(ntm_connect(s, (struct sockaddr *)&to, len), 0, "%s", strerror(errno));
	*peer = ntm_accept(l, NULL, NULL);
	cr_assert(*peer >= NTM_FD_BASE);
	return s;
}

static void *pump(void *arg)
{
	static uint8_t block[65536];
	int s = *(int *)arg;

	for (unsigned i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)(i * 7);
	for (unsigned i = 0; i < 160; i++)
		cr_assert_eq(ntm_send(s, block, sizeof(block), 0), (ssize_t)sizeof(block));
	cr_assert_eq(ntm_shutdown(s, SHUT_WR), 0);
	return NULL;
}

static void transfer(int family)
{
	int l = listener(b, AF_INET6, 8080), peer, s = connected(family, 8080, l, &peer);
	static uint8_t buf[100000];
	size_t got = 0;
	pthread_t t;
	ssize_t n;

	cr_assert_eq(pthread_create(&t, NULL, pump, &s), 0);
	while ((n = ntm_recv(peer, buf, sizeof(buf), 0)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != (uint8_t)((got + (size_t)i) % 65536 * 7))
				cr_assert_fail("byte %zu differs", got + (size_t)i);
		got += (size_t)n;
	}
	cr_expect_eq(n, 0);
	cr_expect_eq(got, 160u * 65536);
	pthread_join(t, NULL);
	/* The other direction still works after the peer's FIN. */
	cr_expect_eq(ntm_send(peer, "done", 4, 0), 4);
	cr_expect_eq(ntm_close(peer), 0);
	cr_expect_eq(ntm_recv(s, buf, 100, MSG_WAITALL), 4);
	cr_expect_eq(ntm_recv(s, buf, 100, 0), 0);
	cr_expect_eq(ntm_close(s), 0);
	cr_expect_eq(ntm_close(l), 0);
}

Test(lib_sockets, tcp_in_both_families)
{
	join_both();
	transfer(AF_INET);
	transfer(AF_INET6);
	leave_both();
}

Test(lib_sockets, names_and_addresses)
{
	struct sockaddr_storage to, from, self;
	struct sockaddr_in vip4;
	struct sockaddr_in6 vip6;
	socklen_t len, flen = sizeof(from), slen = sizeof(self);
	char name[80];
	int l, s, c;

	join_both();
	l = listener(b, AF_INET, 80);
	cr_assert_eq(ntm_identity(b, name, sizeof(name), &vip4, &vip6), 0);
	cr_expect_str_eq(name, "bob.ntm.example");
	to = lib_resolve(a, "bob", AF_INET, 80, &len);
	cr_expect_eq(((struct sockaddr_in *)&to)->sin_addr.s_addr, vip4.sin_addr.s_addr);
	cr_expect_eq(ntm_getname(a, (struct sockaddr *)&to, len, name, sizeof(name)), 0);
	cr_expect_str_eq(name, "bob.ntm.example");
	cr_expect_eq(ntm_is_virtual(a, (struct sockaddr *)&to, len), 1);
	cr_expect_eq(ntm_is_virtual_name(a, "BOB.ntm.example."), 1);
	cr_expect_eq(ntm_is_virtual_name(a, "ntm.example"), 0);
	cr_expect_eq(ntm_is_virtual_name(a, "www.debian.org"), 0);
	s = ntm_socket(a, AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(ntm_connect(s, (struct sockaddr *)&to, len), 0);
	c = ntm_accept(l, (struct sockaddr *)&from, &flen);
	cr_assert_eq(ntm_getsockname(s, (struct sockaddr *)&self, &slen), 0);
	cr_expect_eq(flen, slen);
	cr_expect_arr_eq(&from, &self, flen);
	flen = sizeof(from);
	cr_assert_eq(ntm_getpeername(s, (struct sockaddr *)&from, &flen), 0);
	cr_expect_arr_eq(&from, &to, flen);
	cr_expect_eq(ntm_getname(b, (struct sockaddr *)&self, slen, name, sizeof(name)), 0);
	cr_expect_str_eq(name, "alice.ntm.example");
	cr_expect_eq(ntm_close(c) | ntm_close(s) | ntm_close(l), 0);
	leave_both();
}

static ssize_t ask(int s, const struct sockaddr_storage *to, socklen_t len, const void *q, size_t n, void *r,
		   size_t cap)
{
	struct timeval tv = {5, 0};

	cr_assert_eq(ntm_setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	cr_assert_eq(ntm_sendto(s, q, n, 0, (const struct sockaddr *)to, len), (ssize_t)n);
	return ntm_recv(s, r, cap, 0);
}

static void *echo(void *arg)
{
	struct sockaddr_storage from;
	static char buf[65536];

	for (;;) {
		socklen_t len = sizeof(from);
		ssize_t n = ntm_recvfrom(*(int *)arg, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

		if (n < 0 || (n == 4 && !memcmp(buf, "stop", 4)))
			return NULL;
		ntm_sendto(*(int *)arg, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
}

Test(lib_sockets, udp)
{
	static const size_t sizes[] = {0, 1, 1200, 1372, 1500, 3000, 10000};
	static uint8_t q[10000], r[10000];
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(5300)};
	pthread_t t;
	int e, s;

	join_both();
	e = ntm_socket(b, AF_INET6, SOCK_DGRAM, 0);
	cr_assert_eq(ntm_bind(e, (struct sockaddr *)&any, sizeof(any)), 0);
	cr_assert_eq(pthread_create(&t, NULL, echo, &e), 0);
	for (int f = 0; f < 2; f++) {
		int family = f ? AF_INET6 : AF_INET;
		socklen_t len;
		struct sockaddr_storage to = lib_resolve(a, "bob", family, 5300, &len);

		s = ntm_socket(a, family, SOCK_DGRAM, 0);
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			memset(q, (int)('a' + i), sizes[i]);
			cr_expect_eq(ask(s, &to, len, q, sizes[i], r, sizeof(r)), (ssize_t)sizes[i], "%zu bytes",
				     sizes[i]);
			cr_expect_arr_eq(q, r, sizes[i]);
		}
		cr_expect_eq(ntm_close(s), 0);
	}
	s = ntm_socket(a, AF_INET, SOCK_DGRAM, 0);
	{
		socklen_t len;
		struct sockaddr_storage to = lib_resolve(a, "bob", AF_INET, 5399, &len);

		/* Nobody is there: a connected socket is told so. */
		cr_assert_eq(ntm_connect(s, (struct sockaddr *)&to, len), 0);
		cr_assert_eq(ntm_send(s, "x", 1, 0), 1);
		cr_expect_eq(ntm_recv(s, r, 1, 0), -1);
		cr_expect_eq(errno, ECONNREFUSED);
		((struct sockaddr_in *)&to)->sin_port = htons(5300);
		cr_assert_eq(ntm_sendto(s, "stop", 4, 0, (struct sockaddr *)&to, len), 4);
	}
	pthread_join(t, NULL);
	cr_expect_eq(ntm_close(s) | ntm_close(e), 0);
	leave_both();
}

Test(lib_sockets, ping)
{
	uint8_t q[64] = {0}, r[128];
	socklen_t len;
	struct sockaddr_storage to;
	int s;

	join_both();
	to = lib_resolve(a, "bob", AF_INET, 1, &len);
	s = ntm_socket(a, AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	q[0] = ICMP_ECHO;
	q[7] = 42; /* sequence number */
	memcpy(q + 8, "payload", 7);
	cr_assert_eq(ask(s, &to, len, q, sizeof(q), r, sizeof(r)), (ssize_t)sizeof(q));
	cr_expect_eq(r[0], ICMP_ECHOREPLY);
	cr_expect_eq(r[7], 42);
	cr_expect_arr_eq(r + 8, q + 8, sizeof(q) - 8);
	cr_expect_eq(ntm_close(s), 0);

	to = lib_resolve(a, "bob", AF_INET6, 1, &len);
	s = ntm_socket(a, AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6);
	q[0] = ICMP6_ECHO_REQUEST;
	cr_assert_eq(ask(s, &to, len, q, sizeof(q), r, sizeof(r)), (ssize_t)sizeof(q));
	cr_expect_eq(r[0], ICMP6_ECHO_REPLY);
	cr_expect_arr_eq(r + 8, q + 8, sizeof(q) - 8);
	q[0] = ICMP6_ECHO_REPLY;
	cr_expect_eq(ntm_sendto(s, q, sizeof(q), 0, (struct sockaddr *)&to, len), -1);
	cr_expect_eq(errno, EINVAL);
	cr_expect_eq(ntm_close(s), 0);
	leave_both();
}

/* An application's own loop: nothing blocks, everything is driven by ntm_fd(). */
static int drive(int s, short events)
{
	for (int i = 0; i < 2000; i++) {
		struct pollfd k = {.fd = ntm_fd(), .events = POLLIN}, v = {.fd = s, .events = events};

		if (ntm_poll(&v, 1, 0) > 0)
			return v.revents;
		if (poll(&k, 1, 5000) <= 0)
			return -1;
		ntm_process();
	}
	return -1;
}

Test(lib_sockets, an_event_loop_of_the_programs_own)
{
	socklen_t len, elen = sizeof(int);
	struct sockaddr_storage to;
	int l, s, c, err = -1, n;
	char buf[16];

	join_both();
	l = listener(b, AF_INET6, 9000);
	to = lib_resolve(a, "bob", AF_INET6, 9000, &len);
	s = ntm_socket(a, AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
	cr_assert_eq(ntm_fcntl(l, F_SETFL, O_NONBLOCK), 0);
	cr_expect_eq(ntm_accept(l, NULL, NULL), -1);
	cr_expect_eq(errno, EAGAIN);
	cr_assert_eq(ntm_connect(s, (struct sockaddr *)&to, len), -1);
	cr_expect_eq(errno, EINPROGRESS);
	cr_expect_eq(ntm_connect(s, (struct sockaddr *)&to, len), -1);
	cr_expect_eq(errno, EALREADY);
	cr_expect_eq(drive(s, POLLOUT), POLLOUT);
	cr_expect_eq(ntm_getsockopt(s, SOL_SOCKET, SO_ERROR, &err, &elen), 0);
	cr_expect_eq(err, 0);
	cr_expect_eq(drive(l, POLLIN), POLLIN);
	c = ntm_accept4(l, NULL, NULL, SOCK_NONBLOCK);
	cr_assert(c >= 0);
	cr_expect_eq(ntm_recv(c, buf, sizeof(buf), 0), -1);
	cr_expect_eq(errno, EAGAIN);
	cr_expect_eq(ntm_send(s, "hello", 5, 0), 5);
	cr_expect_eq(drive(c, POLLIN), POLLIN);
	cr_expect_eq(ntm_ioctl(c, FIONREAD, &n), 0);
	cr_expect_eq(n, 5);
	cr_expect_eq(ntm_recv(c, buf, sizeof(buf), MSG_PEEK), 5);
	cr_expect_eq(ntm_recv(c, buf, sizeof(buf), 0), 5);
	cr_expect_eq(ntm_close(s), 0);
	cr_expect_eq(drive(c, POLLIN | POLLRDHUP), POLLIN | POLLRDHUP);
	cr_expect_eq(ntm_recv(c, buf, sizeof(buf), 0), 0);

	/* A port that nobody listens at. */
	s = ntm_socket(a, AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
	((struct sockaddr_in6 *)&to)->sin6_port = htons(9001);
	cr_assert_eq(ntm_connect(s, (struct sockaddr *)&to, len), -1);
	cr_expect_eq(drive(s, POLLOUT), POLLOUT | POLLERR | POLLHUP);
	cr_expect_eq(ntm_getsockopt(s, SOL_SOCKET, SO_ERROR, &err, &elen), 0);
	cr_expect_eq(err, ECONNREFUSED);
	cr_expect_eq(ntm_close(s) | ntm_close(c) | ntm_close(l), 0);
	leave_both();
}

Test(lib_sockets, kernel_descriptors_are_polled_with_virtual_ones)
{
	struct pollfd p[3];
	int l, fds[2];

	join_both();
	l = listener(b, AF_INET, 7);
	cr_assert_eq(pipe(fds), 0);
	p[0] = (struct pollfd){.fd = l, .events = POLLIN};
	p[1] = (struct pollfd){.fd = fds[0], .events = POLLIN};
	p[2] = (struct pollfd){.fd = -1, .events = POLLIN, .revents = 77};
	cr_expect_eq(ntm_poll(p, 3, 20), 0);
	cr_assert_eq(write(fds[1], "x", 1), 1);
	cr_expect_eq(ntm_poll(p, 3, 5000), 1);
	cr_expect_eq(p[1].revents, POLLIN);
	cr_expect_eq(p[0].revents | p[2].revents, 0);
	p[0].fd = NTM_FD_BASE + 60000;
	cr_expect_eq(ntm_poll(p, 1, 0), 1);
	cr_expect_eq(p[0].revents, POLLNVAL);
	cr_expect_eq(ntm_close(l), 0);
	leave_both();
}

/* One's own name: packets that never leave the process. */
Test(lib_sockets, oneself)
{
	socklen_t len;
	struct sockaddr_storage to;
	char buf[8];
	int l, s, c;

	a = lib_join("alice");
	l = listener(a, AF_INET6, 80);
	for (int f = 0; f < 2; f++) {
		to = lib_resolve(a, "alice", f ? AF_INET6 : AF_INET, 80, &len);
		s = ntm_socket(a, f ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
		cr_assert_eq(ntm_connect(s, (struct sockaddr *)&to, len), 0, "%s", strerror(errno));
		c = ntm_accept(l, NULL, NULL);
		cr_expect_eq(ntm_send(s, "hi", 2, 0), 2);
		cr_expect_eq(ntm_recv(c, buf, sizeof(buf), 0), 2);
		cr_expect_eq(ntm_close(s) | ntm_close(c), 0);
	}
	ntm_unregister(a);
	cr_expect_eq(ntm_close(l), -1);
	cr_expect_eq(errno, EBADF);
}

static int by_thread;
static void *wait_for_connection(void *arg)
{
	by_thread = ntm_accept(*(int *)arg, NULL, NULL);
	return NULL;
}

/* Several threads wait at once; a third instance's driving thread serves them all. */
Test(lib_sockets, threads_and_several_instances)
{
	struct ntm_config cfg = lib_config("carol");
	struct ntm *c3;
	pthread_t t[2];
	int l1, l2, s1, s2, family = AF_INET;
	struct sockaddr_storage to;
	socklen_t len;

	join_both();
	cfg.flags = NTM_THREAD;
	cr_assert_eq(ntm_register(&cfg, &c3), 0, "%s", ntm_reason());
	l1 = listener(b, family, 1001);
	l2 = listener(c3, family, 1001); /* the same port, another instance */
	cr_assert_eq(pthread_create(&t[0], NULL, wait_for_connection, &l1), 0);
	to = lib_resolve(a, "bob", family, 1001, &len);
	s1 = ntm_socket(a, family, SOCK_STREAM, 0);
	cr_expect_eq(ntm_connect(s1, (struct sockaddr *)&to, len), 0);
	pthread_join(t[0], NULL);
	cr_expect(by_thread >= NTM_FD_BASE);
	cr_assert_eq(pthread_create(&t[1], NULL, wait_for_connection, &l2), 0);
	to = lib_resolve(a, "carol", family, 1001, &len);
	s2 = ntm_socket(a, family, SOCK_STREAM, 0);
	cr_expect_eq(ntm_connect(s2, (struct sockaddr *)&to, len), 0);
	pthread_join(t[1], NULL);
	cr_expect(by_thread >= NTM_FD_BASE);
	cr_expect_eq(ntm_close(s1) | ntm_close(s2), 0);
	ntm_unregister(c3);
	leave_both();
}

static unsigned moves;
static void on_event(void *arg, struct ntm *n, enum ntm_event_kind kind, const char *text)
{
	(void)n;
	(void)text;
	cr_expect_eq(arg, &moves);
	moves += kind == NTM_EV_MOVED;
}

/* The host's address goes, another one comes: connections stay. */
Test(lib_sockets, an_address_change)
{
	struct ntm_config c = lib_config("alice");
	char buf[8];
	int l, s, peer;

	lib_run(
	    "ip link add v0 type veth peer name v1 && ip addr add 192.0.3.1/24 dev v0 && ip link set v1 up && ip link set v0 up");
	c.event = on_event;
	c.arg = &moves;
	c.uplinks = "u0";
	cr_assert_eq(ntm_register(&c, &a), 0, "%s", ntm_reason());
	c = lib_config("bob");
	c.uplinks = "v0";
	cr_assert_eq(ntm_register(&c, &b), 0, "%s", ntm_reason());
	l = listener(b, AF_INET, 80);
	s = connected(AF_INET, 80, l, &peer);
	lib_run(
	    "ip addr add 192.0.2.77/24 dev u0 && ip addr del 192.0.2.1/24 dev u0 && ip -6 addr flush dev u0 scope global");
	moves = 0;
	cr_expect_eq(ntm_notify_address_change(a), 0);
	cr_expect(moves > 0);
	cr_expect_eq(ntm_send(s, "moved", 5, 0), 5);
	cr_expect_eq(ntm_recv(peer, buf, sizeof(buf), 0), 5);
	cr_expect_eq(ntm_send(peer, "so?", 3, 0), 3);
	cr_expect_eq(ntm_recv(s, buf, sizeof(buf), 0), 3);
	leave_both();
}
