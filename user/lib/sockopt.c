/* SPDX-License-Identifier: BSD-2-Clause */
/* Options of sockets, as one table of where each lives and what it may be. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include <lwip/priv/tcp_priv.h>

#include "engine.h"
#include "lib.h"
#include "wait.h"

enum kind { FLAG, INT, UINT, BUFFER };

static const struct option {
	int level, name;
	enum kind kind;
	size_t offset;
	int min, max;
	int type; /* of sockets that have it; 0: all */
} options[] = {
    {SOL_SOCKET, SO_REUSEADDR, FLAG, offsetof(struct vsock, reuseaddr), 0, 0, 0},
    {SOL_SOCKET, SO_KEEPALIVE, FLAG, offsetof(struct vsock, keepalive), 0, 0, 0},
    {SOL_SOCKET, SO_RCVBUF, BUFFER, offsetof(struct vsock, rcvbuf), 0, 0, 0},
    {SOL_SOCKET, SO_SNDBUF, BUFFER, offsetof(struct vsock, sndbuf), 0, 0, 0},
    {IPPROTO_TCP, TCP_NODELAY, FLAG, offsetof(struct vsock, nodelay), 0, 0, SOCK_STREAM},
    {IPPROTO_TCP, TCP_KEEPIDLE, UINT, offsetof(struct vsock, keepidle_s), 1, 32767, SOCK_STREAM},
    {IPPROTO_TCP, TCP_KEEPINTVL, UINT, offsetof(struct vsock, keepintvl_s), 1, 32767, SOCK_STREAM},
    {IPPROTO_TCP, TCP_KEEPCNT, UINT, offsetof(struct vsock, keepcnt), 1, 127, SOCK_STREAM},
    {IPPROTO_IP, IP_TOS, INT, offsetof(struct vsock, tos), 0, 255, 0},
    {IPPROTO_IP, IP_TTL, INT, offsetof(struct vsock, ttl), 1, 255, 0},
    {IPPROTO_IPV6, IPV6_V6ONLY, FLAG, offsetof(struct vsock, v6only), 0, 0, 0},
    {IPPROTO_IPV6, IPV6_TCLASS, INT, offsetof(struct vsock, tos), 0, 255, 0},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, INT, offsetof(struct vsock, ttl), 1, 255, 0},
};

static const struct option *find(const struct vsock *s, int level, int name)
{
	for (unsigned i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		const struct option *o = &options[i];

		if (o->level == level && o->name == name && (!o->type || o->type == s->type) &&
		    (level != IPPROTO_IPV6 || s->domain == AF_INET6))
			return o;
	}
	return NULL;
}

static void *field(struct vsock *s, const struct option *o)
{
	return (char *)s + o->offset;
}

static int set_int(struct vsock *s, const struct option *o, int v)
{
	int old;

	switch (o->kind) {
	case FLAG:
		if (o->name == IPV6_V6ONLY && o->level == IPPROTO_IPV6 && s->bound)
			return -EINVAL;
		*(bool *)field(s, o) = v != 0;
		break;
	case BUFFER:
		old = *(int *)field(s, o);
		v = v < VS_BUF_MIN ? VS_BUF_MIN : v > VS_BUF_MAX ? VS_BUF_MAX : v;
		/* What a connection has promised its peer is not taken back. */
		if (s->pcb && s->state == VS_CONNECTED && v < old)
			return 0;
		*(int *)field(s, o) = v;
		if (s->pcb && s->state == VS_CONNECTED && o->name == SO_SNDBUF)
			s->pcb->snd_buf += (tcpwnd_size_t)(v - old);
		else if (s->pcb && s->state == VS_CONNECTED && tcp_is_flag_set(s->pcb, TF_WND_SCALE))
			s->pcb->rcv_wnd += (tcpwnd_size_t)(v - old);
		break;
	case INT:
	case UINT:
		/* -1: the default again */
		if (v == -1 && o->level != IPPROTO_TCP)
			v = o->offset == offsetof(struct vsock, ttl) ? 64 : 0;
		if (v < o->min || v > o->max)
			return -EINVAL;
		*(int *)field(s, o) = v;
		break;
	}
	if (s->type == SOCK_STREAM)
		tcp_vs_options(s);
	else
		dgram_vs_options(s);
	return 0;
}

static int set_timeout(int64_t *ms, const void *value, socklen_t len)
{
	struct timeval tv;

	if (len < sizeof(tv))
		return -EINVAL;
	memcpy(&tv, value, sizeof(tv));
	if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
		return -EDOM;
	if (tv.tv_sec < 0 || tv.tv_sec > INT_MAX / 1000)
		*ms = tv.tv_sec < 0 ? 1 : 0;
	else
		*ms = (int64_t)tv.tv_sec * 1000 + (tv.tv_usec + 999) / 1000;
	return 0;
}

static int set(struct vsock *s, int level, int name, const void *value, socklen_t len)
{
	const struct option *o = find(s, level, name);
	struct linger l;
	int v;

	if (!value)
		return -EFAULT;
	if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO))
		return set_timeout(name == SO_RCVTIMEO ? &s->rcvtimeo : &s->sndtimeo, value, len);
	if (level == SOL_SOCKET && name == SO_LINGER) {
		if (len < sizeof(l))
			return -EINVAL;
		memcpy(&l, value, sizeof(l));
		s->linger_on = l.l_onoff;
		s->linger_s = l.l_linger < 0 || l.l_linger > INT_MAX / 1000 ? INT_MAX / 1000 : l.l_linger;
		return 0;
	}
	if (!o)
		return -ENOPROTOOPT;
	if (len < sizeof(v))
		return -EINVAL;
	memcpy(&v, value, sizeof(v));
	return set_int(s, o, v);
}

int ntm_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct vsock *s;
	int err;

	if (!vs_enter(fd, &s))
		return -1;
	err = set(s, level, name, value, len);
	if (err)
		return vs_fail(err);
	ntm_leave();
	return 0;
}

static int put(void *value, socklen_t *len, const void *from, socklen_t n)
{
	if (*len > n)
		*len = n;
	memcpy(value, from, *len);
	return 0;
}

static int put_timeout(void *value, socklen_t *len, int64_t ms)
{
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	return put(value, len, &tv, sizeof(tv));
}

/* Those that can only be read. */
static bool get_state(struct vsock *s, int level, int name, int *v)
{
	if (level == IPPROTO_TCP && name == TCP_MAXSEG && s->type == SOCK_STREAM) {
		*v = s->pcb ? s->pcb->mss : 536;
		return true;
	}
	if (level != SOL_SOCKET)
		return false;
	switch (name) {
	case SO_ERROR:
		*v = s->error;
		s->error = 0;
		return true;
	case SO_TYPE:
		*v = s->type;
		return true;
	case SO_DOMAIN:
		*v = s->domain;
		return true;
	case SO_PROTOCOL:
		*v = s->protocol;
		return true;
	case SO_ACCEPTCONN:
		*v = s->state == VS_LISTEN;
		return true;
	}
	return false;
}

static int get(struct vsock *s, int level, int name, void *value, socklen_t *len)
{
	const struct option *o = find(s, level, name);
	int v;

	if (!value || !len)
		return -EFAULT;
	if ((int)*len < 0)
		return -EINVAL;
	if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO))
		return put_timeout(value, len, name == SO_RCVTIMEO ? s->rcvtimeo : s->sndtimeo);
	if (level == SOL_SOCKET && name == SO_LINGER) {
		struct linger l = {s->linger_on, s->linger_s};

		return put(value, len, &l, sizeof(l));
	}
	if (!get_state(s, level, name, &v)) {
		if (!o)
			return -ENOPROTOOPT;
		v = o->kind == FLAG ? *(bool *)field(s, o) : *(int *)field(s, o);
	}
	return put(value, len, &v, sizeof(v));
}

int ntm_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	struct vsock *s;
	int err;

	if (!vs_enter(fd, &s))
		return -1;
	err = get(s, level, name, value, len);
	if (err)
		return vs_fail(err);
	ntm_leave();
	return 0;
}

int ntm_fcntl(int fd, int cmd, ...)
{
	struct vsock *s;
	va_list ap;
	int arg, result = 0;

	va_start(ap, cmd);
	arg = cmd == F_SETFL || cmd == F_SETFD ? va_arg(ap, int) : 0;
	va_end(ap);
	if (!vs_enter(fd, &s))
		return -1;
	switch (cmd) {
	case F_GETFL:
		result = O_RDWR | (s->nonblock ? O_NONBLOCK : 0);
		break;
	case F_SETFL:
		s->nonblock = arg & O_NONBLOCK;
		break;
	case F_GETFD:
		result = FD_CLOEXEC;
		break;
	case F_SETFD:
		break;
	default:
		return vs_fail(-EINVAL);
	}
	ntm_leave();
	return result;
}

int ntm_ioctl(int fd, unsigned long request, ...)
{
	struct vsock *s;
	va_list ap;
	int *arg;

	va_start(ap, request);
	arg = va_arg(ap, int *);
	va_end(ap);
	if (!vs_enter(fd, &s))
		return -1;
	if (!arg)
		return vs_fail(-EFAULT);
	switch (request) {
	case FIONREAD:
		if (s->state == VS_LISTEN)
			return vs_fail(-EINVAL);
		*arg = s->type == SOCK_DGRAM ? (s->dg_first ? (int)s->dg_first->len : 0) : (int)s->rx.len;
		break;
	case FIONBIO:
		s->nonblock = *arg != 0;
		break;
	case SIOCOUTQ:
		*arg = (int)tcp_vs_unacked(s);
		break;
	default:
		return vs_fail(-ENOTTY);
	}
	ntm_leave();
	return 0;
}
