/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptors, addresses, and the calls that make and end connections. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <lwip/err.h>

#include "../common/crypto.h"
#include "engine.h"
#include "lib.h"
#include "wait.h"

static struct {
	struct vsock **table;
	unsigned cap, next;
} fds;

struct vsock *vs_get(int s)
{
	unsigned i = (unsigned)(s - NTM_FD_BASE);

	if (s < NTM_FD_BASE || i >= fds.cap || !fds.table[i]) {
		errno = EBADF;
		return NULL;
	}
	return fds.table[i];
}

static int table_grow(void)
{
	unsigned cap = fds.cap ? fds.cap * 2 : 64;
	struct vsock **t = cap > VS_MAX ? NULL : realloc(fds.table, cap * sizeof(*t));

	if (!t)
		return cap > VS_MAX ? -EMFILE : -ENOMEM;
	memset(t + fds.cap, 0, (cap - fds.cap) * sizeof(*t));
	fds.table = t;
	fds.next = fds.cap;
	fds.cap = cap;
	return 0;
}

/* A number that has not been in use for as long as possible, so that a late call with an old one fails. */
static int table_put(struct vsock *s)
{
	int err;

	for (unsigned i = 0; i < fds.cap; i++) {
		unsigned at = (fds.next + i) % fds.cap;

		if (fds.table[at])
			continue;
		fds.table[at] = s;
		fds.next = at + 1;
		s->id = NTM_FD_BASE + (int)at;
		return 0;
	}
	err = table_grow();
	return err ? err : table_put(s);
}

struct vsock *vs_new(struct ntm *n, int domain, int type, int protocol)
{
	struct vsock *s = calloc(1, sizeof(*s));
	int err;

	if (!s) {
		errno = ENOMEM;
		return NULL;
	}
	s->host = n;
	s->domain = domain;
	s->type = type;
	s->protocol = protocol;
	s->rcvbuf = type == SOCK_STREAM ? VS_RCVBUF : VS_UDP_RCVBUF;
	s->sndbuf = VS_SNDBUF;
	s->ttl = 64;
	s->keepidle_s = 7200;
	s->keepintvl_s = 75;
	s->keepcnt = 9;
	err = table_put(s);
	if (!err)
		return s;
	free(s);
	errno = -err;
	return NULL;
}

void vs_free(struct vsock *s)
{
	fds.table[s->id - NTM_FD_BASE] = NULL;
	free(s);
}

void vs_foreach(struct ntm *n, void (*fn)(struct vsock *s, void *arg), void *arg)
{
	for (unsigned i = 0; i < fds.cap; i++)
		if (fds.table[i] && fds.table[i]->host == n)
			fn(fds.table[i], arg);
}

static void end(struct vsock *s)
{
	if (s->directing)
		ntm_direct_forget(&s->host->agent->node, s);
	if (s->type == SOCK_STREAM)
		tcp_vs_close(s);
	else
		dgram_vs_close(s);
	vs_free(s);
}

void vs_host_gone(struct ntm *n)
{
	for (unsigned i = 0; i < fds.cap; i++)
		if (fds.table[i] && fds.table[i]->host == n && !fds.table[i]->listener)
			end(fds.table[i]);
}

int vs_fail(int err)
{
	ntm_leave();
	errno = -err;
	return -1;
}

int vs_errno(signed char e)
{
	switch (e) {
	case ERR_OK:
		return 0;
	case ERR_MEM:
		return -ENOBUFS;
	case ERR_BUF:
		return -EAGAIN;
	case ERR_RTE:
		return -ENETUNREACH;
	case ERR_USE:
		return -EADDRINUSE;
	case ERR_ISCONN:
		return -EISCONN;
	default:
		return -EINVAL;
	}
}

bool vs_is_any(const uint8_t ip[16])
{
	return ntm_ip_is_zero(ip);
}

uint16_t vs_random_port(void)
{
	uint16_t r = 0;

	/* A bad one is tried anew by whoever asks. RFC 6056, section 3.2: the dynamic ports. */
	(void)ntm_random(&r, sizeof(r));
	return (uint16_t)(49152 + r % 16384);
}

int vs_addr_in(const struct vsock *s, const struct sockaddr *sa, socklen_t len, struct ntm_addr *out)
{
	static const uint8_t any4[4];
	socklen_t need = s->domain == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

	if (!sa)
		return -EFAULT;
	if (len < sizeof(sa->sa_family))
		return -EINVAL;
	if (sa->sa_family != s->domain)
		return -EAFNOSUPPORT;
	if (len < need || ntm_addr_from_sockaddr(out, sa))
		return -EINVAL;
	if (ntm_ip_is_v4(out->ip) && !memcmp(out->ip + 12, any4, 4))
		memset(out->ip, 0, 16);
	return 0;
}

void vs_addr_out(const struct vsock *s, const struct ntm_addr *a, struct sockaddr *sa, socklen_t *len)
{
	struct sockaddr_storage ss;
	struct ntm_addr copy = *a;
	socklen_t need;

	if (!sa || !len)
		return;
	if (s->domain == AF_INET && vs_is_any(a->ip))
		ntm_ip_from_v4(copy.ip, &(struct in_addr){INADDR_ANY});
	need = ntm_addr_to_sockaddr(&copy, s->domain, &ss);
	memcpy(sa, &ss, *len < need ? *len : need);
	*len = need;
}

int vs_bind_auto(struct vsock *s)
{
	struct ntm_addr any = {0};

	if (s->bound)
		return 0;
	if (!s->host->registered)
		return -ENETDOWN;
	return s->type == SOCK_STREAM ? tcp_vs_bind(s, &any) : dgram_vs_bind(s, &any);
}

static int checked_protocol(int domain, int type, int protocol)
{
	if (domain != AF_INET && domain != AF_INET6)
		return -EAFNOSUPPORT;
	if (type == SOCK_STREAM)
		return protocol && protocol != IPPROTO_TCP ? -EPROTONOSUPPORT : IPPROTO_TCP;
	if (type != SOCK_DGRAM)
		return -ESOCKTNOSUPPORT;
	if (!protocol || protocol == IPPROTO_UDP)
		return IPPROTO_UDP;
	return protocol == (domain == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6) ? protocol : -EPROTONOSUPPORT;
}

int ntm_socket(struct ntm *n, int domain, int type, int protocol)
{
	int flags = type & (SOCK_NONBLOCK | SOCK_CLOEXEC), p, err;
	struct vsock *s;

	type &= ~flags;
	p = checked_protocol(domain, type, protocol);
	if (!n || p < 0) {
		errno = n ? -p : EINVAL;
		return -1;
	}
	err = ntm_enter();
	if (err) {
		errno = -err;
		return -1;
	}
	s = vs_new(n, domain, type, p);
	if (!s)
		return vs_fail(-errno);
	s->nonblock = flags & SOCK_NONBLOCK;
	p = s->id;
	ntm_leave();
	return p;
}

static bool is_own(const struct vsock *s, const uint8_t ip[16])
{
	return !memcmp(ip, s->host->vif.vip4, 16) || !memcmp(ip, s->host->vif.vip6, 16);
}

int ntm_bind(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct ntm_addr a;
	struct vsock *s;
	int err;

	if (!vs_enter(fd, &s))
		return -1;
	err = vs_addr_in(s, sa, len, &a);
	if (!err && (s->bound || s->state != VS_NEW))
		err = -EINVAL;
	if (!err && !s->host->registered)
		err = -ENETDOWN;
	if (!err && !vs_is_any(a.ip) && (!is_own(s, a.ip) || (ntm_ip_is_v4(a.ip) && s->v6only)))
		err = -EADDRNOTAVAIL;
	if (!err)
		err = s->type == SOCK_STREAM ? tcp_vs_bind(s, &a) : dgram_vs_bind(s, &a);
	if (err)
		return vs_fail(err);
	ntm_leave();
	return 0;
}

int ntm_listen(int fd, int backlog)
{
	struct vsock *s;
	int err = 0;

	if (!vs_enter(fd, &s))
		return -1;
	if (s->type != SOCK_STREAM)
		err = -EOPNOTSUPP;
	else if (s->state != VS_NEW && s->state != VS_LISTEN)
		err = -EINVAL;
	if (!err)
		err = vs_bind_auto(s);
	if (!err)
		err = tcp_vs_listen(s, backlog);
	if (err)
		return vs_fail(err);
	ntm_leave();
	return 0;
}

static bool may_accept(const struct vsock *s)
{
	return s->accept_first || s->state != VS_LISTEN;
}

int ntm_accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags)
{
	struct vsock *s, *c;
	int err = 0;

	if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) {
		errno = EINVAL;
		return -1;
	}
	if (!vs_enter(fd, &s))
		return -1;
	if (s->type != SOCK_STREAM)
		err = -EOPNOTSUPP;
	else if (s->state != VS_LISTEN)
		err = -EINVAL;
	if (!err)
		err = vs_wait(&s, may_accept, s->nonblock, s->rcvtimeo);
	if (!err && !s->accept_first)
		err = -EINVAL;
	if (err)
		return vs_fail(err);
	c = s->accept_first;
	s->accept_first = c->accept_next;
	if (!s->accept_first)
		s->accept_last = NULL;
	s->pending--;
	c->accept_next = c->listener = NULL;
	c->nonblock = flags & SOCK_NONBLOCK;
	vs_addr_out(c, &c->peer, sa, len);
	fd = c->id;
	ntm_leave();
	return fd;
}

int ntm_accept(int fd, struct sockaddr *sa, socklen_t *len)
{
	return ntm_accept4(fd, sa, len, 0);
}

static int direction_errno(int result)
{
	switch (result) {
	case NTM_E_NO_SUCH_NAME:
	case NTM_E_OFFLINE:
		return EHOSTUNREACH;
	case NTM_E_DENIED:
		return EACCES;
	case NTM_E_BUSY:
	case -EBUSY:
		return EAGAIN;
	case -ECANCELED:
		return ECONNABORTED;
	case -ETIMEDOUT:
		return ETIMEDOUT;
	default:
		return ENETUNREACH;
	}
}

static void on_path(void *arg, int result, struct ntm_tunnel *t)
{
	struct vsock *s = arg;
	int err = result ? direction_errno(result) : 0;

	(void)t;
	s->directing = false;
	if (!err)
		err = -tcp_vs_connect(s);
	if (!err)
		return;
	s->state = VS_DEAD;
	s->error = s->dead = err;
	vs_wake(s);
}

static bool is_settled(const struct vsock *s)
{
	return s->state != VS_CONNECTING;
}

/* A connection that failed may be tried anew, as on Linux. */
static int take_failure(struct vsock *s)
{
	int err = s->error ? s->error : s->dead ? s->dead : ECONNABORTED;

	s->error = s->dead = 0;
	s->state = VS_NEW;
	s->bound = false;
	memset(&s->local, 0, sizeof(s->local));
	return -err;
}

static int connect_stream(struct vsock **ps, const struct ntm_addr *a)
{
	struct vsock *s = *ps;
	int err;

	if (s->state == VS_CONNECTED || s->state == VS_LISTEN)
		return -EISCONN;
	if (s->state == VS_CONNECTING)
		return -EALREADY;
	if (s->state == VS_DEAD && s->error)
		return take_failure(s);
	if (s->state == VS_DEAD)
		(void)take_failure(s);
	if (!a->port || vs_is_any(a->ip))
		return -ECONNREFUSED;
	err = vs_bind_auto(s);
	if (err)
		return err;
	s->peer = *a;
	s->state = VS_CONNECTING;
	s->directing = true;
	if (is_own(s, a->ip))
		on_path(s, 0, NULL);
	else
		(void)ntm_direct(&s->host->agent->node, NULL, a->ip, 0, on_path, s);
	err = vs_wait(ps, is_settled, s->nonblock, s->sndtimeo);
	if (err == -EAGAIN)
		return -EINPROGRESS;
	if (!err && (*ps)->state == VS_DEAD)
		return take_failure(*ps);
	return err;
}

static int connect_dgram(struct vsock *s, const struct ntm_addr *a)
{
	int err = vs_bind_auto(s);

	if (err)
		return err;
	s->peer = *a;
	s->state = VS_CONNECTED;
	return 0;
}

int ntm_connect(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct ntm_addr a;
	struct vsock *s;
	int err;

	if (!vs_enter(fd, &s))
		return -1;
	if (sa && len >= sizeof(sa->sa_family) && sa->sa_family == AF_UNSPEC && s->type == SOCK_DGRAM) {
		s->state = VS_NEW;
		memset(&s->peer, 0, sizeof(s->peer));
		ntm_leave();
		return 0;
	}
	err = vs_addr_in(s, sa, len, &a);
	if (!err && !s->host->registered)
		err = -ENETDOWN;
	if (!err && !vs_is_any(a.ip) &&
	    (!ntm_host_is_virtual(s->host, a.ip) || (ntm_ip_is_v4(a.ip) && s->domain == AF_INET6 && s->v6only)))
		err = -ENETUNREACH;
	if (!err)
		err = s->type == SOCK_STREAM ? connect_stream(&s, &a) : connect_dgram(s, &a);
	if (err)
		return vs_fail(err);
	ntm_leave();
	return 0;
}

int ntm_shutdown(int fd, int how)
{
	struct vsock *s;

	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) {
		errno = EINVAL;
		return -1;
	}
	if (!vs_enter(fd, &s))
		return -1;
	if (s->state != VS_CONNECTED)
		return vs_fail(-ENOTCONN);
	if (how != SHUT_WR)
		s->rd_shut = true;
	if (how != SHUT_RD && s->type == SOCK_STREAM)
		tcp_vs_shutdown_tx(s);
	else if (how != SHUT_RD)
		s->wr_shut = true;
	ntm_leave();
	return 0;
}

static bool is_flushed(const struct vsock *s)
{
	return !tcp_vs_unacked(s);
}

int ntm_close(int fd)
{
	struct vsock *s;

	if (!vs_enter(fd, &s))
		return -1;
	if (s->type == SOCK_STREAM && s->linger_on && s->linger_s > 0 && !s->nonblock) {
		tcp_vs_shutdown_tx(s);
		/* Whatever comes of it, the descriptor ends. */
		(void)vs_wait(&s, is_flushed, false, (int64_t)s->linger_s * 1000);
	}
	if (s)
		end(s);
	ntm_leave();
	return 0;
}

const uint8_t *vs_own_ip(const struct vsock *s, const uint8_t to[16])
{
	return ntm_ip_is_v4(to) ? s->host->vif.vip4 : s->host->vif.vip6;
}

int ntm_getsockname(int fd, struct sockaddr *sa, socklen_t *len)
{
	struct ntm_addr a;
	struct vsock *s;

	if (!sa || !len) {
		errno = EFAULT;
		return -1;
	}
	if (!vs_enter(fd, &s))
		return -1;
	a = s->local;
	if (vs_is_any(a.ip) && s->state == VS_CONNECTED)
		memcpy(a.ip, vs_own_ip(s, s->peer.ip), 16);
	vs_addr_out(s, &a, sa, len);
	ntm_leave();
	return 0;
}

int ntm_getpeername(int fd, struct sockaddr *sa, socklen_t *len)
{
	struct vsock *s;

	if (!sa || !len) {
		errno = EFAULT;
		return -1;
	}
	if (!vs_enter(fd, &s))
		return -1;
	if (s->state != VS_CONNECTED)
		return vs_fail(-ENOTCONN);
	vs_addr_out(s, &s->peer, sa, len);
	ntm_leave();
	return 0;
}
