/* SPDX-License-Identifier: BSD-2-Clause */
/* Wrong use of each call of libntm: what the BSD calls say. */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "../harness/lib_rig.h"

TestSuite(lib_errors, .init = lib_setup, .fini = lib_teardown, .timeout = 60);

#define FAILS(call, code)                                                                \
	do {                                                                             \
		errno = 0;                                                               \
		cr_expect_eq((call), -1, #call);                                         \
		cr_expect_eq(errno, code, #call ": %s, not %s", strerror(errno), #code); \
	} while (0)

Test(lib_errors, registration)
{
	struct ntm_config c = lib_config("alice"), bad;
	struct ntm *n;

	FAILS(ntm_register(NULL, &n), EINVAL);
	FAILS(ntm_register(&c, NULL), EINVAL);
	bad = c;
	bad.flags = 0x80;
	FAILS(ntm_register(&bad, &n), EINVAL);
	bad = c;
	bad.name = "not a label";
	FAILS(ntm_register(&bad, &n), EINVAL);
	bad = c;
	bad.private_key = "AAAA";
	FAILS(ntm_register(&bad, &n), EINVAL);
	cr_expect(strstr(ntm_reason(), "private_key") != NULL, "%s", ntm_reason());
	bad = c;
	bad.dc_endpoints = NULL;
	FAILS(ntm_register(&bad, &n), EINVAL);
	bad = c;
	bad.dc_public_key = NULL;
	FAILS(ntm_register(&bad, &n), EINVAL);
	bad = c;
	bad.token = "wrong";
	FAILS(ntm_register(&bad, &n), EACCES);
	cr_expect(strlen(ntm_reason()) > 0);
	bad = c;
	bad.dc_endpoints = "127.0.0.1:9";
	bad.timeout_ms = 300;
	FAILS(ntm_register(&bad, &n), ETIMEDOUT);
	cr_expect_eq(ntm_fd(), -1);
	FAILS(ntm_process(), EBADF);
	FAILS(ntm_socket(NULL, AF_INET, SOCK_STREAM, 0), EINVAL);
	cr_assert_eq(ntm_register(&c, &n), 0, "%s", ntm_reason());
	cr_expect_str_eq(ntm_reason(), "");
	bad = lib_config("alice");
	bad.token = lib_token("bob");
	FAILS(ntm_register(&bad, &n), EACCES);
	ntm_unregister(n);
	ntm_unregister(NULL);
}

/* One stack serves all instances, and has room for so many interfaces. */
Test(lib_errors, too_many_instances)
{
	struct ntm_config c = lib_config("alice");
	static struct ntm *all[300];
	unsigned n = 0;

	c.dc_endpoints = "127.0.0.1:9";
	c.flags = NTM_NOWAIT;
	while (n < 300 && !ntm_register(&c, &all[n]))
		n++;
	cr_expect_eq(errno, EMFILE, "%s", strerror(errno));
	cr_expect_eq(n, 250);
	ntm_unregister(all[--n]);
	cr_expect_eq(ntm_register(&c, &all[n]), 0, "%s", ntm_reason());
	for (n++; n;)
		ntm_unregister(all[--n]);
}

static void descriptors(void)
{
	static const int none[] = {-1, 0, NTM_FD_BASE + 1000, 0x7fffffff};
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t len = sizeof(sa);
	struct iovec iov = {&sa, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	int v = 0;

	for (unsigned i = 0; i < sizeof(none) / sizeof(*none); i++) {
		int s = none[i];

		FAILS(ntm_bind(s, (struct sockaddr *)&sa, len), EBADF);
		FAILS(ntm_connect(s, (struct sockaddr *)&sa, len), EBADF);
		FAILS(ntm_listen(s, 1), EBADF);
		FAILS(ntm_accept(s, NULL, NULL), EBADF);
		FAILS(ntm_send(s, "", 0, 0), EBADF);
		FAILS(ntm_recv(s, &v, 1, 0), EBADF);
		FAILS(ntm_sendmsg(s, &m, 0), EBADF);
		FAILS(ntm_recvmsg(s, &m, 0), EBADF);
		FAILS(ntm_shutdown(s, SHUT_WR), EBADF);
		FAILS(ntm_close(s), EBADF);
		FAILS(ntm_getsockname(s, (struct sockaddr *)&sa, &len), EBADF);
		FAILS(ntm_getpeername(s, (struct sockaddr *)&sa, &len), EBADF);
		FAILS(ntm_setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &v, sizeof(v)), EBADF);
		FAILS(ntm_getsockopt(s, SOL_SOCKET, SO_ERROR, &v, &len), EBADF);
		FAILS(ntm_fcntl(s, F_GETFL), EBADF);
		FAILS(ntm_ioctl(s, FIONREAD, &v), EBADF);
	}
}

static void sockets(struct ntm *n)
{
	FAILS(ntm_socket(n, AF_UNIX, SOCK_STREAM, 0), EAFNOSUPPORT);
	FAILS(ntm_socket(n, AF_INET, SOCK_RAW, 0), ESOCKTNOSUPPORT);
	FAILS(ntm_socket(n, AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
	FAILS(ntm_socket(n, AF_INET, SOCK_DGRAM, IPPROTO_ICMPV6), EPROTONOSUPPORT);
}

static void binding(struct ntm *n, const struct sockaddr_in *own)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(1234)};
	struct sockaddr_in6 sa6 = {.sin6_family = AF_INET6};
	int s = ntm_socket(n, AF_INET, SOCK_STREAM, 0), t = ntm_socket(n, AF_INET, SOCK_STREAM, 0);

	FAILS(ntm_bind(s, NULL, sizeof(sa)), EFAULT);
	FAILS(ntm_bind(s, (struct sockaddr *)&sa, 1), EINVAL);
	FAILS(ntm_bind(s, (struct sockaddr *)&sa, 4), EINVAL);
	FAILS(ntm_bind(s, (struct sockaddr *)&sa6, sizeof(sa6)), EAFNOSUPPORT);
	sa.sin_addr.s_addr = htonl(0xc0000201);
	FAILS(ntm_bind(s, (struct sockaddr *)&sa, sizeof(sa)), EADDRNOTAVAIL);
	sa.sin_addr = own->sin_addr;
	cr_expect_eq(ntm_bind(s, (struct sockaddr *)&sa, sizeof(sa)), 0);
	FAILS(ntm_bind(s, (struct sockaddr *)&sa, sizeof(sa)), EINVAL);
	FAILS(ntm_bind(t, (struct sockaddr *)&sa, sizeof(sa)), EADDRINUSE);
	cr_expect_eq(ntm_listen(s, 0), 0);
	cr_expect_eq(ntm_listen(s, 5), 0);
	FAILS(ntm_connect(s, (struct sockaddr *)&sa, sizeof(sa)), EISCONN);
	cr_expect_eq(ntm_close(s) | ntm_close(t), 0);
	s = ntm_socket(n, AF_INET, SOCK_DGRAM, 0);
	FAILS(ntm_listen(s, 5), EOPNOTSUPP);
	FAILS(ntm_accept(s, NULL, NULL), EOPNOTSUPP);
	cr_expect_eq(ntm_close(s), 0);
	FAILS(ntm_close(s), EBADF);
}

static void unconnected(struct ntm *n, const struct sockaddr_in *own)
{
	struct sockaddr_in sa = *own;
	socklen_t len = sizeof(sa);
	int s = ntm_socket(n, AF_INET, SOCK_STREAM, 0), v;
	char buf[4];

	FAILS(ntm_send(s, "x", 1, 0), ENOTCONN);
	FAILS(ntm_recv(s, buf, 1, 0), ENOTCONN);
	FAILS(ntm_send(s, NULL, 1, 0), EFAULT);
	FAILS(ntm_recv(s, NULL, 1, 0), EFAULT);
	FAILS(ntm_send(s, "x", 1, MSG_OOB), EOPNOTSUPP);
	FAILS(ntm_recv(s, buf, 1, MSG_OOB), EOPNOTSUPP);
	FAILS(ntm_sendmsg(s, NULL, 0), EFAULT);
	FAILS(ntm_recvmsg(s, NULL, 0), EFAULT);
	FAILS(ntm_shutdown(s, SHUT_WR), ENOTCONN);
	FAILS(ntm_shutdown(s, 77), EINVAL);
	FAILS(ntm_getpeername(s, (struct sockaddr *)&sa, &len), ENOTCONN);
	FAILS(ntm_getpeername(s, NULL, &len), EFAULT);
	FAILS(ntm_getsockname(s, (struct sockaddr *)&sa, NULL), EFAULT);
	FAILS(ntm_accept(s, NULL, NULL), EINVAL);
	FAILS(ntm_accept4(s, NULL, NULL, 1), EINVAL);
	FAILS(ntm_ioctl(s, FIONREAD, NULL), EFAULT);
	FAILS(ntm_ioctl(s, 0x1234, &v), ENOTTY);
	FAILS(ntm_fcntl(s, F_GETLK), EINVAL);
	sa.sin_addr.s_addr = htonl(0xc6336401);
	sa.sin_port = htons(80);
	FAILS(ntm_connect(s, (struct sockaddr *)&sa, sizeof(sa)), ENETUNREACH);
	/* Of the pool, and nobody's: the DC says so. */
	sa.sin_addr.s_addr = htonl(ntohl(own->sin_addr.s_addr) + 3);
	FAILS(ntm_connect(s, (struct sockaddr *)&sa, sizeof(sa)), EHOSTUNREACH);
	/* Oneself, where nobody listens; and the socket is good for another try each time. */
	sa = *own;
	sa.sin_port = htons(81);
	FAILS(ntm_connect(s, (struct sockaddr *)&sa, sizeof(sa)), ECONNREFUSED);
	FAILS(ntm_connect(s, (struct sockaddr *)&sa, sizeof(sa)), ECONNREFUSED);
	cr_expect_eq(ntm_close(s), 0);

	s = ntm_socket(n, AF_INET, SOCK_DGRAM, 0);
	FAILS(ntm_send(s, "x", 1, 0), EDESTADDRREQ);
	sa.sin_port = 0;
	FAILS(ntm_sendto(s, "x", 1, 0, (struct sockaddr *)&sa, sizeof(sa)), EINVAL);
	sa.sin_port = htons(5);
	FAILS(ntm_sendto(s, "x", 1, 0, (struct sockaddr *)&sa, 3), EINVAL);
	sa.sin_addr.s_addr = htonl(0x08080808);
	FAILS(ntm_sendto(s, "x", 1, 0, (struct sockaddr *)&sa, sizeof(sa)), ENETUNREACH);
	sa = *own;
	sa.sin_port = htons(5);
	{
		static char big[70000];

		FAILS(ntm_sendto(s, big, sizeof(big), 0, (struct sockaddr *)&sa, sizeof(sa)), EMSGSIZE);
	}
	FAILS(ntm_recv(s, buf, 1, MSG_DONTWAIT), EAGAIN);
	cr_expect_eq(ntm_close(s), 0);
}

static void options(struct ntm *n)
{
	int s = ntm_socket(n, AF_INET, SOCK_STREAM, 0), v = 1;
	struct timeval tv = {0, 30000}, back;
	socklen_t len = sizeof(v);
	char buf[4];

	FAILS(ntm_setsockopt(s, SOL_SOCKET, SO_REUSEADDR, NULL, sizeof(v)), EFAULT);
	FAILS(ntm_setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &v, 1), EINVAL);
	FAILS(ntm_setsockopt(s, SOL_SOCKET, 9999, &v, sizeof(v)), ENOPROTOOPT);
	FAILS(ntm_setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &v, sizeof(v)), ENOPROTOOPT);
	FAILS(ntm_getsockopt(s, SOL_SOCKET, SO_TYPE, NULL, &len), EFAULT);
	FAILS(ntm_getsockopt(s, 4711, 1, &v, &len), ENOPROTOOPT);
	v = 256;
	FAILS(ntm_setsockopt(s, IPPROTO_IP, IP_TOS, &v, sizeof(v)), EINVAL);
	v = 0;
	FAILS(ntm_setsockopt(s, IPPROTO_TCP, TCP_KEEPIDLE, &v, sizeof(v)), EINVAL);
	v = 1;
	cr_expect_eq(ntm_setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &v, sizeof(v)), 0);
	v = 0;
	cr_expect_eq(ntm_getsockopt(s, IPPROTO_TCP, TCP_NODELAY, &v, &len), 0);
	cr_expect_eq(v, 1);
	cr_expect_eq(ntm_getsockopt(s, SOL_SOCKET, SO_TYPE, &v, &len), 0);
	cr_expect_eq(v, SOCK_STREAM);
	cr_expect_eq(ntm_close(s), 0);
	s = ntm_socket(n, AF_INET, SOCK_DGRAM, 0);
	FAILS(ntm_setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &v, sizeof(v)), ENOPROTOOPT);
	cr_expect_eq(ntm_setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	len = sizeof(back);
	cr_expect_eq(ntm_getsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &back, &len), 0);
	cr_expect_eq(back.tv_usec, 30000);
	FAILS(ntm_recv(s, buf, sizeof(buf), 0), EAGAIN);
	tv.tv_usec = 2000000;
	FAILS(ntm_setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), EDOM);
	cr_expect_eq(ntm_close(s), 0);
}

static void broken(struct ntm *n, const struct sockaddr_in *own)
{
	struct sockaddr_in sa = *own;
	struct linger reset = {1, 0};
	char buf[4];
	int l = ntm_socket(n, AF_INET, SOCK_STREAM, 0), s = ntm_socket(n, AF_INET, SOCK_STREAM, 0), c;

	sa.sin_port = htons(4000);
	cr_assert_eq(ntm_bind(l, (struct sockaddr *)&sa, sizeof(sa)) | ntm_listen(l, 4), 0);
	cr_assert_eq(ntm_connect(s, (struct sockaddr *)&sa, sizeof(sa)), 0);
	FAILS(ntm_connect(s, (struct sockaddr *)&sa, sizeof(sa)), EISCONN);
	c = ntm_accept(l, NULL, NULL);
	cr_assert_eq(ntm_setsockopt(c, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	cr_assert_eq(ntm_close(c), 0);
	FAILS(ntm_recv(s, buf, 1, 0), ECONNRESET);
	cr_expect_eq(ntm_recv(s, buf, 1, 0), 0);
	/* No SIGPIPE, which would end this process. */
	FAILS(ntm_send(s, "x", 1, 0), EPIPE);
	cr_expect_eq(ntm_close(s) | ntm_close(l), 0);
}

static void names(struct ntm *n, const struct sockaddr_in *own)
{
	struct addrinfo hints = {.ai_family = AF_UNIX}, *res;
	char name[4];

	cr_expect_eq(ntm_getaddrinfo(n, NULL, NULL, NULL, &res), EAI_NONAME);
	cr_expect_eq(ntm_getaddrinfo(n, "bob.ntm.example", "80", &hints, &res), EAI_FAMILY);
	hints.ai_family = AF_INET;
	cr_expect_eq(ntm_getaddrinfo(n, "www.example.org", "80", &hints, &res), EAI_NONAME);
	cr_expect_eq(ntm_getaddrinfo(n, "nobody.ntm.example", "80", &hints, &res), EAI_NONAME);
	cr_expect_eq(ntm_getaddrinfo(n, "alice.ntm.example", "no-such-service", &hints, &res), EAI_SERVICE);
	hints.ai_flags = AI_NUMERICHOST;
	cr_expect_eq(ntm_getaddrinfo(n, "bob.ntm.example", "80", &hints, &res), EAI_NONAME);
	FAILS(ntm_getname(n, (const struct sockaddr *)own, sizeof(*own), name, sizeof(name)), ERANGE);
	FAILS(ntm_getname(n, (const struct sockaddr *)own, 1, name, sizeof(name)), EAFNOSUPPORT);
}

Test(lib_errors, every_call)
{
	struct ntm *n = lib_join("alice");
	struct sockaddr_in own;
	struct pollfd p;
	int s;

	cr_assert_eq(ntm_identity(n, NULL, 0, &own, NULL), 0);
	descriptors();
	sockets(n);
	binding(n, &own);
	unconnected(n, &own);
	options(n);
	broken(n, &own);
	names(n, &own);
	FAILS(ntm_poll(NULL, 1, 0), EFAULT);
	cr_expect_eq(ntm_poll(NULL, 0, 1), 0);
	p = (struct pollfd){.fd = ntm_socket(n, AF_INET, SOCK_STREAM, 0), .events = POLLOUT};
	cr_expect_eq(ntm_poll(&p, 1, 0), 1);
	cr_expect_eq(p.revents, POLLOUT | POLLHUP);
	s = p.fd;
	ntm_unregister(n);
	FAILS(ntm_send(s, "x", 1, 0), EBADF);
}

static int accepted = 1;
static int accept_errno;
static void *accept_in_thread(void *arg)
{
	accepted = ntm_accept(*(int *)arg, NULL, NULL);
	accept_errno = errno;
	return NULL;
}

/* What is closed while others wait for it, and a child that goes on with what isn't its own. */
Test(lib_errors, closed_under_a_waiter_and_forked)
{
	struct ntm *n = lib_join("alice");
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(5)};
	int l = ntm_socket(n, AF_INET, SOCK_STREAM, 0), status;
	pthread_t t;
	pid_t pid;

	cr_assert_eq(ntm_bind(l, (struct sockaddr *)&sa, sizeof(sa)) | ntm_listen(l, 4), 0);
	cr_assert_eq(pthread_create(&t, NULL, accept_in_thread, &l), 0);
	/* Whether it waits already or not: the result is the same. */
	sched_yield();
	cr_expect_eq(ntm_close(l), 0);
	pthread_join(t, NULL);
	cr_expect_eq(accepted, -1);
	cr_expect_eq(accept_errno, EBADF);
	pid = fork();
	if (!pid)
		_exit(ntm_socket(n, AF_INET, SOCK_STREAM, 0) == -1 && errno == EBADF && ntm_fd() == -1 ? 0 : 1);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(status, 0);
	ntm_unregister(n);
}
