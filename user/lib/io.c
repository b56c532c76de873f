/* SPDX-License-Identifier: BSD-2-Clause */
/* Data in and out. */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "lib.h"
#include "wait.h"

enum { WRITABLE = 64 << 10 }; /* so much room is enough, whatever the buffer */

bool vs_readable(const struct vsock *s)
{
	if (s->error || s->rd_shut)
		return true;
	if (s->type == SOCK_DGRAM)
		return s->dg_first != NULL;
	if (s->state == VS_LISTEN)
		return s->accept_first != NULL;
	return s->rx.len || s->eof || s->state == VS_DEAD || s->state == VS_NEW;
}

bool vs_writable(const struct vsock *s)
{
	size_t room;

	if (s->error || s->wr_shut || s->type == SOCK_DGRAM)
		return true;
	if (s->state != VS_CONNECTED)
		return s->state == VS_NEW || s->state == VS_DEAD;
	room = tcp_vs_room(s);
	return !s->pcb || room >= WRITABLE || (room && room >= (size_t)s->sndbuf / 4);
}

static bool has_room(const struct vsock *s)
{
	return s->error || s->wr_shut || s->state != VS_CONNECTED || !s->pcb || tcp_vs_room(s);
}

/* What a call must fail with before anything else; 0: nothing. */
static int pending_error(struct vsock *s)
{
	int err = s->error;

	s->error = 0;
	return -err;
}

static int may_write(struct vsock *s)
{
	int err = pending_error(s);

	if (err)
		return err;
	if (s->wr_shut || s->state == VS_DEAD)
		return -EPIPE;
	if (s->state != VS_CONNECTED)
		return s->state == VS_CONNECTING ? -EAGAIN : -ENOTCONN;
	return s->pcb ? 0 : -EPIPE;
}

static ssize_t send_stream(struct vsock **ps, const void *buf, size_t len, int flags)
{
	bool nonblock = (*ps)->nonblock || flags & MSG_DONTWAIT;
	size_t done = 0;
	int err;

	if ((*ps)->state == VS_CONNECTING && !nonblock) {
		err = vs_wait(ps, has_room, false, (*ps)->sndtimeo);
		if (err)
			return err;
	}
	err = may_write(*ps);
	while (!err && done < len) {
		ssize_t n = tcp_vs_write(*ps, (const uint8_t *)buf + done, len - done, flags & MSG_MORE);

		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		err = vs_wait(ps, has_room, nonblock, (*ps)->sndtimeo);
		if (!err)
			err = may_write(*ps);
	}
	return done ? (ssize_t)done : err;
}

static ssize_t send_dgram(struct vsock *s, const void *buf, size_t len, const struct sockaddr *sa, socklen_t salen)
{
	struct ntm_addr to = s->peer;
	int err = pending_error(s);

	if (!err && s->wr_shut)
		err = -EPIPE;
	if (!err && sa)
		err = vs_addr_in(s, sa, salen, &to);
	else if (!err && s->state != VS_CONNECTED)
		err = -EDESTADDRREQ;
	if (!err && !to.port && s->protocol == IPPROTO_UDP)
		err = -EINVAL;
	if (!err && (vs_is_any(to.ip) || !ntm_host_is_virtual(s->host, to.ip) || !s->host->registered))
		err = -ENETUNREACH;
	if (!err)
		err = vs_bind_auto(s);
	return err ? err : dgram_vs_send(s, buf, len, &to);
}

ssize_t ntm_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *sa, socklen_t salen)
{
	struct vsock *s;
	ssize_t n;

	if (!buf && len) {
		errno = EFAULT;
		return -1;
	}
	if (!vs_enter(fd, &s))
		return -1;
	if (flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE))
		n = -EOPNOTSUPP;
	else if (len > SSIZE_MAX)
		n = -EINVAL;
	else if (s->type == SOCK_STREAM)
		n = send_stream(&s, buf, len, flags);
	else
		n = send_dgram(s, buf, len, sa, salen);
	if (n < 0)
		return vs_fail((int)n);
	ntm_leave();
	return n;
}

ssize_t ntm_send(int fd, const void *buf, size_t len, int flags)
{
	return ntm_sendto(fd, buf, len, flags, NULL, 0);
}

static ssize_t recv_stream(struct vsock **ps, void *buf, size_t len, int flags)
{
	bool nonblock = (*ps)->nonblock || flags & MSG_DONTWAIT;
	size_t done = 0;
	int err = 0;

	if ((*ps)->state == VS_NEW || (*ps)->state == VS_LISTEN)
		return -ENOTCONN;
	while (!err && len) {
		struct vsock *s = *ps;

		if (flags & MSG_PEEK) {
			done = ring_peek(&s->rx, buf, len);
		} else {
			size_t n = ring_get(&s->rx, (uint8_t *)buf + done, len - done);

			tcp_vs_read(s, n);
			done += n;
		}
		if (done == len || (done && !(flags & MSG_WAITALL)))
			break;
		if (s->rd_shut || s->eof || (s->state == VS_DEAD && !s->error))
			break;
		err = s->error && !done ? pending_error(s) : 0;
		if (!err && !s->error)
			err = vs_wait(ps, vs_readable, nonblock, s->rcvtimeo);
		else if (done)
			break;
	}
	return done ? (ssize_t)done : err;
}

static ssize_t recv_dgram(struct vsock **ps, void *buf, size_t len, int flags, struct sockaddr *sa, socklen_t *salen)
{
	struct vsock *s = *ps;
	struct dgram *d;
	size_t n;
	int err = vs_bind_auto(s);

	if (!err)
		err = vs_wait(ps, vs_readable, s->nonblock || flags & MSG_DONTWAIT, s->rcvtimeo);
	if (err)
		return err;
	s = *ps;
	err = pending_error(s);
	if (err)
		return err;
	d = s->dg_first;
	if (!d) { /* shut down */
		if (salen)
			*salen = 0;
		return 0;
	}
	n = d->len < len ? d->len : len;
	if (n)
		memcpy(buf, d->data, n);
	vs_addr_out(s, &d->from, sa, salen);
	len = flags & MSG_TRUNC ? d->len : n;
	if (!(flags & MSG_PEEK)) {
		s->dg_first = d->next;
		if (!s->dg_first)
			s->dg_last = NULL;
		s->dg_bytes -= d->len + VS_DGRAM_OVERHEAD;
		free(d);
	}
	return (ssize_t)len;
}

/* msg_flags: MSG_TRUNC if a datagram was longer. */
static ssize_t receive(int fd, void *buf, size_t len, int flags, struct sockaddr *sa, socklen_t *salen, int *msg_flags)
{
	struct vsock *s;
	ssize_t n;

	if (!buf && len) {
		errno = EFAULT;
		return -1;
	}
	if (!vs_enter(fd, &s))
		return -1;
	if (flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_PEEK | MSG_WAITALL | MSG_TRUNC | MSG_CMSG_CLOEXEC)) {
		n = -EOPNOTSUPP;
	} else if (s->type == SOCK_STREAM) {
		n = recv_stream(&s, buf, len, flags);
		if (n >= 0 && salen)
			*salen = 0;
	} else {
		n = recv_dgram(&s, buf, len, flags | MSG_TRUNC, sa, salen);
		if (n > (ssize_t)len && msg_flags)
			*msg_flags = MSG_TRUNC;
		if (n > (ssize_t)len && !(flags & MSG_TRUNC))
			n = (ssize_t)len;
	}
	if (n < 0)
		return vs_fail((int)n);
	ntm_leave();
	return n;
}

ssize_t ntm_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *sa, socklen_t *salen)
{
	return receive(fd, buf, len, flags, sa, salen, NULL);
}

ssize_t ntm_recv(int fd, void *buf, size_t len, int flags)
{
	return receive(fd, buf, len, flags, NULL, NULL, NULL);
}

static ssize_t iov_total(const struct msghdr *msg)
{
	size_t total = 0;

	if (msg->msg_iovlen > IOV_MAX)
		return -1;
	for (size_t i = 0; i < msg->msg_iovlen; i++) {
		if (msg->msg_iov[i].iov_len > (size_t)SSIZE_MAX - total)
			return -1;
		total += msg->msg_iov[i].iov_len;
	}
	return (ssize_t)total;
}

ssize_t ntm_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	ssize_t total = msg ? iov_total(msg) : 0, n;
	uint8_t *flat, *at;

	if (!msg || total < 0) {
		errno = msg ? EINVAL : EFAULT;
		return -1;
	}
	if (msg->msg_iovlen == 1)
		return ntm_sendto(fd, msg->msg_iov[0].iov_base, msg->msg_iov[0].iov_len, flags, msg->msg_name,
				  msg->msg_namelen);
	flat = malloc(total ? (size_t)total : 1);
	if (!flat) {
		errno = ENOBUFS;
		return -1;
	}
	at = flat;
	for (size_t i = 0; i < msg->msg_iovlen; i++) {
		if (msg->msg_iov[i].iov_len)
			memcpy(at, msg->msg_iov[i].iov_base, msg->msg_iov[i].iov_len);
		at += msg->msg_iov[i].iov_len;
	}
	n = ntm_sendto(fd, flat, (size_t)total, flags, msg->msg_name, msg->msg_namelen);
	free(flat);
	return n;
}

ssize_t ntm_recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t total = msg ? iov_total(msg) : 0, n;
	size_t left;
	uint8_t *flat, *at;
	int out = 0;

	if (!msg || total < 0) {
		errno = msg ? EINVAL : EFAULT;
		return -1;
	}
	flat = malloc(total ? (size_t)total : 1);
	if (!flat) {
		errno = ENOBUFS;
		return -1;
	}
	n = receive(fd, flat, (size_t)total, flags, msg->msg_name, msg->msg_name ? &msg->msg_namelen : NULL, &out);
	at = flat;
	left = n < 0 ? 0 : n < total ? (size_t)n : (size_t)total;
	for (size_t i = 0; left && i < msg->msg_iovlen; i++) {
		size_t len = msg->msg_iov[i].iov_len < left ? msg->msg_iov[i].iov_len : left;

		if (len)
			memcpy(msg->msg_iov[i].iov_base, at, len);
		at += len;
		left -= len;
	}
	if (n >= 0) {
		msg->msg_flags = out;
		msg->msg_controllen = 0;
	}
	free(flat);
	return n;
}

static short revents(const struct vsock *s, short events)
{
	short r = 0;

	if (vs_readable(s))
		r |= POLLIN | POLLRDNORM;
	if (vs_writable(s))
		r |= POLLOUT | POLLWRNORM;
	r &= events;
	if (s->error)
		r |= POLLERR;
	if (s->type == SOCK_STREAM) {
		if (s->state == VS_DEAD || s->state == VS_NEW || (s->eof && s->wr_shut))
			r |= POLLHUP;
		if ((s->eof || s->state == VS_DEAD) && events & POLLRDHUP)
			r |= POLLRDHUP;
	}
	return r;
}

struct polling {
	struct pollfd *fds;
	nfds_t n;
	int ready;
};

static bool poll_virtual(void *arg)
{
	struct polling *p = arg;

	p->ready = 0;
	for (nfds_t i = 0; i < p->n; i++) {
		const struct vsock *s;

		if (p->fds[i].fd < NTM_FD_BASE)
			continue;
		s = vs_get(p->fds[i].fd);
		p->fds[i].revents = s && !s->listener ? revents(s, p->fds[i].events) : POLLNVAL;
		p->ready += p->fds[i].revents != 0;
	}
	return p->ready > 0;
}

/* The kernel's among them, in an array of their own. */
static unsigned kernel_fds(const struct pollfd *fds, nfds_t n, struct pollfd *out)
{
	unsigned k = 0;

	for (nfds_t i = 0; i < n; i++)
		if (fds[i].fd >= 0 && fds[i].fd < NTM_FD_BASE) {
			out[k] = fds[i];
			out[k++].revents = 0;
		}
	return k;
}

int ntm_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	struct polling p = {fds, n, 0};
	struct pollfd *kernel;
	unsigned k;
	int err;

	if (!fds && n) {
		errno = EFAULT;
		return -1;
	}
	kernel = malloc((n + 1) * sizeof(*kernel));
	err = kernel ? ntm_enter() : -ENOMEM;
	if (err) {
		free(kernel);
		errno = -err;
		return -1;
	}
	k = kernel_fds(fds, n, kernel);
	if (k && poll(kernel, k, 0) > 0)
		(void)poll_virtual(&p);
	else
		err = ntm_engine_wait(poll_virtual, &p, timeout_ms < 0 ? -1 : ntm_engine_now() + timeout_ms, kernel, k);
	k = 0;
	for (nfds_t i = 0; i < n && (!err || err == -EAGAIN); i++)
		if (fds[i].fd >= 0 && fds[i].fd < NTM_FD_BASE) {
			fds[i].revents = kernel[k++].revents;
			p.ready += fds[i].revents != 0;
		} else if (fds[i].fd < 0) {
			fds[i].revents = 0;
		}
	free(kernel);
	if (err && err != -EAGAIN)
		return vs_fail(err);
	ntm_leave();
	return p.ready;
}
