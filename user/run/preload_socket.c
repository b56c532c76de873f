/* SPDX-License-Identifier: BSD-2-Clause */
/* Sockets: where a virtual address is meant, the kernel's socket gives its place to one of the broker's. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload.h"

static int fail(int err)
{
	errno = err;
	return -1;
}

static int option(int fd, int level, int name)
{
	int v = 0;
	socklen_t len = sizeof(v);

	return REAL(getsockopt)(fd, level, name, &v, &len) ? 0 : v;
}

/* A kernel's IP socket that could be replaced, as far as it has been set up. */
static bool inet(int fd, struct ntm_run_request *q)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct ntm_addr local;
	int saved = errno;

	*q = (struct ntm_run_request){.family = option(fd, SOL_SOCKET, SO_DOMAIN),
				      .type = option(fd, SOL_SOCKET, SO_TYPE)};
	if ((q->family != AF_INET && q->family != AF_INET6) || (q->type != SOCK_STREAM && q->type != SOCK_DGRAM)) {
		errno = saved;
		return false;
	}
	q->nonblock = (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
	q->reuseaddr = option(fd, SOL_SOCKET, SO_REUSEADDR);
	q->keepalive = option(fd, SOL_SOCKET, SO_KEEPALIVE);
	if (q->type == SOCK_STREAM)
		q->nodelay = option(fd, IPPROTO_TCP, TCP_NODELAY);
	if (q->family == AF_INET6)
		q->v6only = option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
	if (!REAL(getsockname)(fd, (struct sockaddr *)&ss, &len) && run_address((struct sockaddr *)&ss, len, &local) &&
	    ntm_ip_is_zero(local.ip))
		q->local = local;
	errno = saved;
	return true;
}

/* got takes fd's place, with fd's flags. */
static int replace(int fd, int got)
{
	int saved = errno, fl = fcntl(fd, F_GETFL), fdfl = fcntl(fd, F_GETFD), err = 0;
	struct run_watch *sets = run_unwatch(fd);

	if (fcntl(got, F_SETFL, fl) || dup3(got, fd, fdfl & FD_CLOEXEC ? O_CLOEXEC : 0) < 0)
		err = errno;
	run_watch_again(sets, fd);
	close(got);
	errno = saved;
	return err;
}

/* Asks, and puts what comes back in fd's place. 0 or an errno value. */
static int ask_and_replace(int fd, struct ntm_run_request *q, int pass)
{
	int got, err = run_ask(q, pass, NULL, &got);

	if (err)
		return err;
	if (q->op == NTM_RUN_BIND && q->type == SOCK_DGRAM)
		run_has_datagrams = true;
	return replace(fd, got);
}

static int connect_again(int fd, const struct described *d)
{
	struct ntm_run_request q = {.op = NTM_RUN_STATE, .id = d->id};
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int err = run_ask(&q, -1, NULL, NULL);

	if (err)
		return fail(err);
	return fail(poll(&p, 1, 0) ? EISCONN : EALREADY);
}

EXPORT int connect(int fd, __CONST_SOCKADDR_ARG arg, socklen_t len)
{
	const struct sockaddr *sa = arg.__sockaddr__;
	struct ntm_run_request q;
	struct ntm_addr to;
	struct described d;
	int err;

	if (!run_address(sa, len, &to) || !run_is_virtual(&to))
		return REAL(connect)(fd, sa, len);
	if (run_describe(fd, &d)) {
		if (d.kind == NTM_RUN_STREAM)
			return connect_again(fd, &d);
		q = (struct ntm_run_request){.id = d.id,
					     .family = d.family,
					     .type = d.kind == NTM_RUN_LISTENER ? SOCK_STREAM : SOCK_DGRAM,
					     .nonblock = (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0,
					     .reuseaddr = 1};
		struct ntm_run_request s = {.op = NTM_RUN_STATE, .id = d.id};
		struct ntm_run_answer a;

		if (!run_ask(&s, -1, &a, NULL))
			q.local = a.local;
	} else if (!inet(fd, &q)) {
		return REAL(connect)(fd, sa, len);
	}
	if (sa->sa_family != q.family)
		return fail(EAFNOSUPPORT);
	q.op = NTM_RUN_CONNECT;
	q.addr = to;
	err = ask_and_replace(fd, &q, -1);
	if (!err && q.type == SOCK_STREAM && q.nonblock)
		err = EINPROGRESS;
	return err ? fail(err) : 0;
}

EXPORT int bind(int fd, __CONST_SOCKADDR_ARG arg, socklen_t len)
{
	const struct sockaddr *sa = arg.__sockaddr__;
	struct ntm_run_request q;
	struct ntm_addr local;
	int done, err;
	bool any;

	if (!run_address(sa, len, &local) || !inet(fd, &q))
		return REAL(bind)(fd, sa, len);
	any = ntm_ip_is_zero(local.ip);
	if (!any && !run_is_virtual(&local))
		return REAL(bind)(fd, sa, len);
	done = any ? REAL(bind)(fd, sa, len) : -1;
	/* Virtual ports below 1024 need no rights. Streams are looked at when they listen. */
	if (any && done && errno != EACCES)
		return -1;
	if (any && !done && (q.type == SOCK_STREAM || !local.port))
		return 0;
	q.op = NTM_RUN_BIND;
	q.local = local;
	err = ask_and_replace(fd, &q, done ? -1 : fd);
	return err ? fail(err) : 0;
}

EXPORT int listen(int fd, int backlog)
{
	struct ntm_run_request q;
	struct described d;
	int err;

	if (run_describe(fd, &d)) {
		q = (struct ntm_run_request){.op = NTM_RUN_LISTEN, .id = d.id, .backlog = backlog};
		err = d.kind == NTM_RUN_LISTENER ? run_ask(&q, -1, NULL, NULL) : EOPNOTSUPP;
		return err ? fail(err) : 0;
	}
	if (REAL(listen)(fd, backlog))
		return -1;
	/* At every address, so at the virtual ones, too; but a port that is taken there must not fail what works here.
	 */
	if (!inet(fd, &q) || q.type != SOCK_STREAM || !q.local.port)
		return 0;
	q.op = NTM_RUN_LISTEN;
	q.backlog = backlog;
	err = ask_and_replace(fd, &q, fd);
	return err && err != ENETDOWN ? fail(err) : 0;
}

EXPORT int accept4(int fd, __SOCKADDR_ARG arg, socklen_t *len, int flags)
{
	struct sockaddr *sa = arg.__sockaddr__;
	struct ntm_run_accepted from;
	struct described d;
	ssize_t n;
	int got;

	if (!run_describe(fd, &d) || d.kind != NTM_RUN_LISTENER)
		return REAL(accept4)(fd, sa, len, flags);
	n = run_receive(fd, &from, sizeof(from), flags & SOCK_CLOEXEC ? MSG_CMSG_CLOEXEC : 0, &got);
	if (n != (ssize_t)sizeof(from) || got < 0) {
		if (got >= 0)
			close(got);
		return fail(n < 0 ? (int)-n : n ? EMFILE : EINVAL);
	}
	if (flags & SOCK_NONBLOCK)
		fcntl(got, F_SETFL, fcntl(got, F_GETFL) | O_NONBLOCK);
	if (from.addr.port)
		run_fill(d.family, &from.addr, sa, len);
	else if (sa && len && REAL(getpeername)(got, sa, len))
		*len = 0;
	return got;
}

EXPORT int accept(int fd, __SOCKADDR_ARG arg, socklen_t *len)
{
	return accept4(fd, arg.__sockaddr__, len, 0);
}

static int name(const struct described *d, bool peer, struct sockaddr *sa, socklen_t *len)
{
	struct ntm_run_request q = {.op = NTM_RUN_STATE, .id = d->id};
	struct ntm_run_answer a;

	if (!sa || !len)
		return fail(EFAULT);
	/* What there is to say of an error belongs to SO_ERROR: it was just taken, and is lost; so is the socket. */
	(void)run_ask(&q, -1, &a, NULL);
	if (peer && (d->kind == NTM_RUN_LISTENER || d->kind == NTM_RUN_DATAGRAM || !a.addr.port))
		return fail(ENOTCONN);
	run_fill(d->family, peer ? &a.addr : &a.local, sa, len);
	return 0;
}

EXPORT int getsockname(int fd, __SOCKADDR_ARG arg, socklen_t *len)
{
	struct sockaddr *sa = arg.__sockaddr__;
	struct described d;

	return run_describe(fd, &d) ? name(&d, false, sa, len) : REAL(getsockname)(fd, sa, len);
}

EXPORT int getpeername(int fd, __SOCKADDR_ARG arg, socklen_t *len)
{
	struct sockaddr *sa = arg.__sockaddr__;
	struct described d;

	return run_describe(fd, &d) ? name(&d, true, sa, len) : REAL(getpeername)(fd, sa, len);
}

static int put(void *value, socklen_t *len, int v)
{
	if (!value || !len)
		return fail(EFAULT);
	if (*len > sizeof(v)) {
		memset(value, 0, *len); /* a struct: nothing is known */
	} else {
		memcpy(value, &v, *len);
	}
	return 0;
}

EXPORT int getsockopt(int fd, int level, int opt, void *value, socklen_t *len)
{
	struct ntm_run_request q = {.op = NTM_RUN_STATE};
	struct described d;
	bool stream;

	if (!run_describe(fd, &d))
		return REAL(getsockopt)(fd, level, opt, value, len);
	if (level != SOL_SOCKET)
		return put(value, len, 0);
	stream = d.kind == NTM_RUN_STREAM || d.kind == NTM_RUN_LISTENER;
	switch (opt) {
	case SO_ERROR:
		q.id = d.id;
		return put(value, len, run_ask(&q, -1, NULL, NULL));
	case SO_TYPE:
		return put(value, len, stream ? SOCK_STREAM : SOCK_DGRAM);
	case SO_DOMAIN:
		return put(value, len, d.family);
	case SO_PROTOCOL:
		return put(value, len, stream ? IPPROTO_TCP : IPPROTO_UDP);
	case SO_ACCEPTCONN:
		return put(value, len, d.kind == NTM_RUN_LISTENER);
	}
	return REAL(getsockopt)(fd, level, opt, value, len);
}

EXPORT int setsockopt(int fd, int level, int opt, const void *value, socklen_t len)
{
	struct ntm_run_request q = {.op = NTM_RUN_OPTION, .level = level, .option = opt};
	struct described d;

	if (!run_describe(fd, &d))
		return REAL(setsockopt)(fd, level, opt, value, len);
	if (level == SOL_SOCKET && opt != SO_KEEPALIVE && opt != SO_REUSEADDR && opt != SO_LINGER)
		return REAL(setsockopt)(fd, level, opt, value, len);
	if (!value)
		return fail(EFAULT);
	if (len == sizeof(q.value)) {
		memcpy(&q.value, value, len);
		/* One that the virtual stack doesn't have changes nothing that a program could rely on. */
		(void)run_ask(&q, -1, NULL, NULL);
	}
	return 0;
}

/* A datagram socket that must have a virtual side from now on. False: it stays the kernel's. */
static bool convert(int fd, const struct ntm_addr *to, struct described *d)
{
	struct ntm_run_request q;

	if (!run_is_virtual(to) || !inet(fd, &q) || q.type != SOCK_DGRAM)
		return false;
	q.op = NTM_RUN_BIND;
	return !ask_and_replace(fd, &q, fd) && run_describe(fd, d);
}

static ssize_t send_framed(int fd, const struct msghdr *m, const struct ntm_addr *to, int flags)
{
	struct ntm_run_from head = {*to};
	struct msghdr copy = {.msg_iovlen = m->msg_iovlen + 1};
	struct iovec *iov = calloc(copy.msg_iovlen, sizeof(*iov));
	ssize_t n;

	if (!iov)
		return fail(ENOBUFS);
	iov[0] = (struct iovec){&head, sizeof(head)};
	if (m->msg_iovlen)
		memcpy(iov + 1, m->msg_iov, m->msg_iovlen * sizeof(*iov));
	copy.msg_iov = iov;
	n = REAL(sendmsg)(fd, &copy, flags);
	free(iov);
	return n < 0 ? n : n - (ssize_t)sizeof(head);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	struct msghdr copy;
	struct ntm_addr to;
	struct described d;

	if (!m || !m->msg_name) {
		if (run_has_datagrams && run_describe(fd, &d) && d.kind == NTM_RUN_DATAGRAM)
			return fail(EDESTADDRREQ);
		return REAL(sendmsg)(fd, m, flags);
	}
	if (!run_address(m->msg_name, m->msg_namelen, &to))
		return REAL(sendmsg)(fd, m, flags);
	if (!run_describe(fd, &d) && !convert(fd, &to, &d))
		return REAL(sendmsg)(fd, m, flags);
	if (d.kind == NTM_RUN_DATAGRAM)
		return send_framed(fd, m, &to, flags);
	copy = *m;
	copy.msg_name = NULL;
	copy.msg_namelen = 0;
	copy.msg_control = NULL;
	copy.msg_controllen = 0;
	return REAL(sendmsg)(fd, &copy, flags);
}

EXPORT ssize_t sendto(int fd, const void *buf, size_t len, int flags, __CONST_SOCKADDR_ARG arg, socklen_t salen)
{
	const struct sockaddr *sa = arg.__sockaddr__;
	struct iovec iov = {(void *)buf, len};
	struct msghdr m = {.msg_name = (void *)sa, .msg_namelen = salen, .msg_iov = &iov, .msg_iovlen = 1};

	if (!sa)
		return REAL(sendto)(fd, buf, len, flags, sa, salen);
	return sendmsg(fd, &m, flags);
}

EXPORT int sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags)
{
	struct ntm_addr to;
	struct described d;
	unsigned i;

	if (!n || !v[0].msg_hdr.msg_name || !run_address(v[0].msg_hdr.msg_name, v[0].msg_hdr.msg_namelen, &to) ||
	    (!run_describe(fd, &d) && !run_is_virtual(&to)))
		return REAL(sendmmsg)(fd, v, n, flags);
	for (i = 0; i < n; i++) {
		ssize_t len = sendmsg(fd, &v[i].msg_hdr, flags);

		if (len < 0)
			return i ? (int)i : -1;
		v[i].msg_len = (unsigned)len;
	}
	return (int)i;
}

static bool is_framed(int fd, struct described *d)
{
	return run_has_datagrams && run_describe(fd, d) && d->kind == NTM_RUN_DATAGRAM;
}

static ssize_t receive_framed(int fd, struct msghdr *m, int flags, int family)
{
	struct ntm_run_from head = {0};
	struct msghdr copy = {.msg_iovlen = m->msg_iovlen + 1};
	struct iovec *iov = calloc(copy.msg_iovlen, sizeof(*iov));
	ssize_t n;

	if (!iov)
		return fail(ENOMEM);
	iov[0] = (struct iovec){&head, sizeof(head)};
	if (m->msg_iovlen)
		memcpy(iov + 1, m->msg_iov, m->msg_iovlen * sizeof(*iov));
	copy.msg_iov = iov;
	n = REAL(recvmsg)(fd, &copy, flags);
	free(iov);
	if (n < (ssize_t)sizeof(head))
		return n < 0 ? n : 0;
	m->msg_flags = copy.msg_flags & MSG_TRUNC;
	m->msg_controllen = 0;
	if (m->msg_name)
		run_fill(family, &head.addr, m->msg_name, &m->msg_namelen);
	return n - (ssize_t)sizeof(head);
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	struct described d;
	ssize_t n;

	if (m && is_framed(fd, &d))
		return receive_framed(fd, m, flags, d.family);
	n = REAL(recvmsg)(fd, m, flags);
	/* The name of the broker's end means nothing to the program. */
	if (n >= 0 && m && m->msg_name && m->msg_namelen >= sizeof(sa_family_t) &&
	    ((struct sockaddr *)m->msg_name)->sa_family == AF_UNIX && run_describe(fd, &d) &&
	    (d.kind != NTM_RUN_CONNECTED || name(&d, true, m->msg_name, &m->msg_namelen)))
		m->msg_namelen = 0;
	return n;
}

EXPORT ssize_t recvfrom(int fd, void *buf, size_t len, int flags, __SOCKADDR_ARG arg, socklen_t *salen)
{
	struct sockaddr *sa = arg.__sockaddr__;
	struct iovec iov = {buf, len};
	struct msghdr m = {.msg_name = sa, .msg_namelen = salen ? *salen : 0, .msg_iov = &iov, .msg_iovlen = 1};
	struct described d;
	ssize_t n;

	if (!sa && !is_framed(fd, &d))
		return REAL(recvfrom)(fd, buf, len, flags, sa, salen);
	n = recvmsg(fd, &m, flags);
	if (n >= 0 && salen)
		*salen = m.msg_namelen;
	return n;
}

EXPORT ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	struct described d;

	return is_framed(fd, &d) ? recvfrom(fd, buf, len, flags, NULL, NULL) : REAL(recv)(fd, buf, len, flags);
}

EXPORT ssize_t read(int fd, void *buf, size_t len)
{
	struct described d;

	return is_framed(fd, &d) ? recvfrom(fd, buf, len, 0, NULL, NULL) : REAL(read)(fd, buf, len);
}

EXPORT int recvmmsg(int fd, struct mmsghdr *v, unsigned n, int flags, struct timespec *timeout)
{
	struct described d;
	ssize_t len;

	if (!n || !is_framed(fd, &d))
		return REAL(recvmmsg)(fd, v, n, flags, timeout);
	len = recvmsg(fd, &v[0].msg_hdr, flags);
	if (len < 0)
		return -1;
	v[0].msg_len = (unsigned)len;
	return 1;
}

/* As programs that were built with _FORTIFY_SOURCE call them. */
EXPORT ssize_t __recv_chk(int fd, void *buf, size_t len, size_t room, int flags);
EXPORT ssize_t __recv_chk(int fd, void *buf, size_t len, size_t room, int flags)
{
	if (len > room)
		abort();
	return recv(fd, buf, len, flags);
}

EXPORT ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t room, int flags, __SOCKADDR_ARG sa,
			      socklen_t *salen);
EXPORT ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t room, int flags, __SOCKADDR_ARG sa,
			      socklen_t *salen)
{
	if (len > room)
		abort();
	return recvfrom(fd, buf, len, flags, sa.__sockaddr__, salen);
}

EXPORT ssize_t __read_chk(int fd, void *buf, size_t len, size_t room);
EXPORT ssize_t __read_chk(int fd, void *buf, size_t len, size_t room)
{
	if (len > room)
		abort();
	return read(fd, buf, len);
}
