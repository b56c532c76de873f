/* SPDX-License-Identifier: BSD-2-Clause */
#include "udpio.h"

#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { BUFFER_BYTES = 4 << 20, WAIT_MS = 100, SLICE_MS = 4 };

static int set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) ? -errno : 0;
}

static int set_options(int fd, bool v6)
{
	int err;
	if (v6) {
		err = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
		err = err ? err : set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
		err = err ? err : set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
		err = err ? err : set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
		err = err ? err : set(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1);
	} else {
		err = set(fd, IPPROTO_IP, IP_PKTINFO, 1);
		err = err ? err : set(fd, IPPROTO_IP, IP_RECVTOS, 1);
		err = err ? err : set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
	}
	/* Without it datagrams come one by one, which works as well. */
	(void)set(fd, IPPROTO_UDP, UDP_GRO, 1);
	if (set(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES))
		(void)set(fd, SOL_SOCKET, SO_RCVBUF, BUFFER_BYTES);
	if (set(fd, SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES))
		(void)set(fd, SOL_SOCKET, SO_SNDBUF, BUFFER_BYTES);
	return err ? err : set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
}

int ntm_udp_data_socket(bool v6, uint16_t port, uint32_t mark)
{
	struct ntm_addr any = {.port = htons(port)};
	struct sockaddr_storage ss;
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int err = set_options(fd, v6);
	if (!err && mark)
		err = set(fd, SOL_SOCKET, SO_MARK, (int)mark);
	if (!v6)
		ntm_ip_from_v4(any.ip, &(struct in_addr){INADDR_ANY});
	socklen_t len = ntm_addr_to_sockaddr(&any, v6 ? AF_INET6 : AF_INET, &ss);
	if (!err && bind(fd, (struct sockaddr *)&ss, len))
		err = -errno;
	if (!err)
		return fd;
	close(fd);
	return err;
}

void ntm_udp_tx_init(struct ntm_udp_tx *t, int fd4, int fd6)
{
	memset(t, 0, offsetof(struct ntm_udp_tx, buf));
	t->fd4 = fd4;
	t->fd6 = fd6;
}

static bool same_dst(const struct ntm_udp_to *a, const struct ntm_udp_to *b)
{
	return a->tos == b->tos && a->ifindex == b->ifindex && ntm_addr_equal(&a->to, &b->to) &&
	       !memcmp(a->src, b->src, 16) && a->copy.ifindex == b->copy.ifindex &&
	       !memcmp(a->copy.src, b->copy.src, 16);
}

uint8_t *ntm_udp_tx_room(struct ntm_udp_tx *t, const struct ntm_udp_to *dst, size_t len)
{
	if (t->n && (len > t->seg || t->len % t->seg || t->n == NTM_UDP_SEGS || t->len + len > NTM_UDP_SEND_MAX ||
		     !same_dst(&t->dst, dst)))
		ntm_udp_tx_flush(t);
	if (!t->n) {
		t->dst = *dst;
		t->seg = len;
	}
	return t->buf + t->len;
}

void ntm_udp_tx_add(struct ntm_udp_tx *t, size_t len)
{
	t->len += len;
	t->n++;
}

static void put_cmsg(struct msghdr *m, int level, int type, const void *value, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)((char *)m->msg_control + m->msg_controllen);
	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), value, len);
	m->msg_controllen += CMSG_SPACE(len);
}

static void put_source(struct msghdr *m, const struct ntm_udp_to *dst, bool v6)
{
	bool usable = !ntm_ip_is_zero(dst->src) && ntm_ip_is_v4(dst->src) == !v6;
	if (!usable && !dst->ifindex)
		return;
	if (v6) {
		struct in6_pktinfo pi = {.ipi6_ifindex = dst->ifindex};
		if (usable)
			memcpy(&pi.ipi6_addr, dst->src, 16);
		put_cmsg(m, IPPROTO_IPV6, IPV6_PKTINFO, &pi, sizeof(pi));
	} else {
		struct in_pktinfo pi = {.ipi_ifindex = (int)dst->ifindex};
		if (usable)
			memcpy(&pi.ipi_spec_dst, dst->src + 12, 4);
		put_cmsg(m, IPPROTO_IP, IP_PKTINFO, &pi, sizeof(pi));
	}
}

/* Waits for room in the socket's buffer: what comes meanwhile waits in the TUN's queue, which is bounded. */
static int send_message(const struct ntm_udp_tx *t, int fd, const struct msghdr *m)
{
	for (int waited = 0;;) {
		if (sendmsg(fd, m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno == EINTR)
			continue;
		/* An ICMP error of an earlier datagram is reported once, in place of sending. */
		if (errno == ECONNREFUSED || errno == EHOSTUNREACH)
			return sendmsg(fd, m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
		if (errno != EAGAIN && errno != ENOBUFS)
			return -errno;
		struct pollfd p = {.fd = fd, .events = POLLOUT};
		if (errno == ENOBUFS || waited >= WAIT_MS)
			return -EAGAIN;
		if (poll(&p, 1, SLICE_MS) > 0)
			continue;
		waited += SLICE_MS;
		if (t->waits)
			t->waits(t->arg);
	}
}

/* How many of the datagrams in buf left; *err: why others did not. */
static unsigned send_each(struct ntm_udp_tx *t, int fd, struct msghdr *m, int *err)
{
	unsigned sent = 0;
	for (size_t off = 0; off < t->len; off += t->seg) {
		size_t len = t->len - off < t->seg ? t->len - off : t->seg;
		m->msg_iov[0] = (struct iovec){t->buf + off, len};
		int e = send_message(t, fd, m);
		t->sends++;
		sent += !e;
		*err = *err ? *err : e;
	}
	return sent;
}

static unsigned send_buf(struct ntm_udp_tx *t, const struct ntm_udp_to *dst, int *err)
{
	bool v6 = !ntm_ip_is_v4(dst->to.ip), *no_gso = v6 ? &t->no_gso6 : &t->no_gso4;
	struct sockaddr_storage ss;
	union ntm_udp_control ctl;
	struct iovec iov = {t->buf, t->len};
	struct msghdr m = {.msg_name = &ss, .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &ctl};
	int fd = v6 ? t->fd6 : t->fd4, tos = dst->tos;
	if (fd < 0) {
		*err = -EAFNOSUPPORT;
		return 0;
	}
	memset(&ctl, 0, sizeof(ctl));
	m.msg_namelen = ntm_addr_to_sockaddr(&dst->to, v6 ? AF_INET6 : AF_INET, &ss);
	put_source(&m, dst, v6);
	if (tos)
		put_cmsg(&m, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS, &tos, sizeof(tos));
	size_t without = m.msg_controllen;
	if (t->n == 1 || *no_gso)
		return send_each(t, fd, &m, err);
	uint16_t seg = (uint16_t)t->seg;
	put_cmsg(&m, IPPROTO_UDP, UDP_SEGMENT, &seg, sizeof(seg));
	*err = send_message(t, fd, &m);
	t->sends++;
	/* EIO: the interface can't checksum; EINVAL: no such option, or too much for it. */
	if (*err != -EIO && *err != -EINVAL && *err != -EOPNOTSUPP)
		return *err ? 0 : t->n;
	*no_gso = *err != -EINVAL || *no_gso;
	*err = 0;
	m.msg_controllen = without;
	return send_each(t, fd, &m, err);
}

void ntm_udp_tx_flush(struct ntm_udp_tx *t)
{
	int err = 0, ignored = 0;
	if (!t->n)
		return;
	unsigned sent = send_buf(t, &t->dst, &err);
	t->sent += sent;
	t->errors += t->n - sent;
	if (err)
		t->last_error = err;
	if (t->dst.copy.ifindex) {
		struct ntm_udp_to again = t->dst;
		memcpy(again.src, again.copy.src, sizeof(again.src));
		again.ifindex = again.copy.ifindex;
		/* That uplink may be gone by now, which the copies are for. */
		t->copies += send_buf(t, &again, &ignored);
	}
	t->len = 0;
	t->n = 0;
}

static void read_control(struct msghdr *m, struct ntm_udp_in *in)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		int value = 0;
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo pi;
			memcpy(&pi, CMSG_DATA(c), sizeof(pi));
			ntm_ip_from_v4(in->to, &pi.ipi_addr);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo pi;
			memcpy(&pi, CMSG_DATA(c), sizeof(pi));
			memcpy(in->to, &pi.ipi6_addr, 16);
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			memcpy(&in->tos, CMSG_DATA(c), 1);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			memcpy(&value, CMSG_DATA(c), sizeof(value));
			in->tos = (uint8_t)value;
		} else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			memcpy(&value, CMSG_DATA(c), sizeof(value));
			if (value > 0)
				in->seg = (size_t)value;
		}
	}
}

int ntm_udp_rx(struct ntm_udp_rx *r, int fd)
{
	int got = 0;
	for (int i = 0; i < NTM_UDP_RX_BATCH; i++) {
		r->iov[i] = (struct iovec){r->buf[i], NTM_UDP_BUF};
		r->msgs[i].msg_hdr = (struct msghdr){.msg_name = &r->names[i],
						     .msg_namelen = sizeof(r->names[i]),
						     .msg_iov = &r->iov[i],
						     .msg_iovlen = 1,
						     .msg_control = &r->ctl[i],
						     .msg_controllen = sizeof(r->ctl[i])};
	}
	int n = recvmmsg(fd, r->msgs, NTM_UDP_RX_BATCH, MSG_DONTWAIT, NULL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR || errno == ECONNREFUSED || errno == EHOSTUNREACH ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		struct ntm_udp_in *in = &r->in[got];
		struct msghdr *m = &r->msgs[i].msg_hdr;
		*in = (struct ntm_udp_in){.len = r->msgs[i].msg_len, .data = r->buf[i]};
		if (m->msg_flags & MSG_TRUNC || ntm_addr_from_sockaddr(&in->from, (struct sockaddr *)&r->names[i])) {
			r->truncated++;
			continue;
		}
		read_control(m, in);
		if (!in->seg || in->seg > in->len)
			in->seg = in->len;
		got++;
	}
	return got;
}
