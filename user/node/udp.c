/* SPDX-License-Identifier: BSD-2-Clause */
#include "udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <ntm/wire.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum {
	BATCH = 16,
	ROUNDS = 16,          /* batches a wake-up: the rest waits, other events get their turn */
	DATAGRAM_MAX = 65536, /* GRO merges for all sockets of a port or for none */
	BUFFER_BYTES = 4 << 20,
};

struct sock {
	int fd;
	bool v6;
	uv_poll_t *poll;
	struct ntm_udp *udp;
};

union control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo)) +
		 CMSG_SPACE(sizeof(int))];
};

enum { SOCKS = 4, GATHER = 64, GATHER_LEN = 128 };

/* Of one family, waiting for one call. */
struct gathered {
	bool on;
	bool v6;
	unsigned n;
	struct mmsghdr msgs[GATHER];
	struct iovec iov[GATHER];
	struct sockaddr_storage names[GATHER];
	union control ctl[GATHER];
	uint8_t data[GATHER][GATHER_LEN];
};

struct ntm_udp {
	struct sock s[SOCKS]; /* IPv4, IPv6; the same aside: -1 until wanted */
	uv_loop_t *loop;
	uint16_t port;
	uint32_t mark; /* 0: none */
	struct {
		uint8_t ip[16];
		uint32_t ifindex;
	} sources[NTM_UPLINKS_MAX * NTM_UPLINK_ADDRS];
	unsigned n_sources;
	int usual[2]; /* of sources, by family: for what is sent from no address in particular; -1: the kernel chooses
		       */
	ntm_udp_input input;
	void *arg;
	void (*reader)(void *arg, int fd); /* NULL: input */
	void *reader_arg;
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_storage names[BATCH];
	union control ctl[BATCH];
	struct gathered out;
	alignas(16) uint8_t buf[BATCH][DATAGRAM_MAX];
};

/* Returns the size of the datagrams that GRO merged, 0: one. */
static size_t control_data(struct msghdr *m, uint8_t to[16])
{
	int size = 0;

	memset(to, 0, 16);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo pi;

			memcpy(&pi, CMSG_DATA(c), sizeof(pi));
			ntm_ip_from_v4(to, &pi.ipi_addr);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo pi;

			memcpy(&pi, CMSG_DATA(c), sizeof(pi));
			memcpy(to, &pi.ipi6_addr, 16);
		} else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			memcpy(&size, CMSG_DATA(c), sizeof(size));
		}
	}
	return size > 0 ? (size_t)size : 0;
}

static void take(struct ntm_udp *u, const struct ntm_addr *from, const uint8_t to[16], uint8_t *data, size_t len,
		 size_t size)
{
	alignas(16) uint8_t one[NTM_CONTROL_MAX];

	if (!size || size >= len) {
		u->input(u->arg, from, to, data, len);
		return;
	}
	for (size_t off = 0; off < len; off += size) {
		size_t n = len - off < size ? len - off : size;

		if (n > sizeof(one))
			continue;
		memcpy(one, data + off, n);
		u->input(u->arg, from, to, one, n);
	}
}

static void on_readable(uv_poll_t *h, int status, int events)
{
	struct sock *s = h->data;
	struct ntm_udp *u = s->udp;
	struct ntm_addr from;
	uint8_t to[16];
	size_t size;

	(void)status;
	(void)events;
	if (u->reader && s < &u->s[2]) {
		u->reader(u->reader_arg, s->fd);
		return;
	}
	for (int round = 0; round < ROUNDS; round++) {
		int n;

		for (int i = 0; i < BATCH; i++) {
			u->iov[i] = (struct iovec){u->buf[i], DATAGRAM_MAX};
			u->msgs[i].msg_hdr = (struct msghdr){.msg_name = &u->names[i],
							     .msg_namelen = sizeof(u->names[i]),
							     .msg_iov = &u->iov[i],
							     .msg_iovlen = 1,
							     .msg_control = &u->ctl[i],
							     .msg_controllen = sizeof(u->ctl[i])};
		}
		n = recvmmsg(s->fd, u->msgs, BATCH, MSG_DONTWAIT, NULL);
		if (n <= 0)
			return; /* a queued ICMP error is consumed by this, and says nothing that a timer doesn't */
		for (int i = 0; i < n; i++) {
			struct msghdr *m = &u->msgs[i].msg_hdr;

			if (m->msg_flags & MSG_TRUNC || ntm_addr_from_sockaddr(&from, (struct sockaddr *)&u->names[i]))
				continue;
			size = control_data(m, to);
			take(u, &from, to, u->buf[i], u->msgs[i].msg_len, size);
		}
		if (n < BATCH)
			return;
	}
}

static int set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) ? -errno : 0;
}

static int open_socket(struct ntm_udp *u, bool aside, bool v6, uint16_t port)
{
	struct ntm_addr any = {.port = htons(port)};
	struct sockaddr_storage ss;
	socklen_t len;
	int err, fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (v6) {
		err = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
		if (!err)
			err = set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
		if (!err)
			err = set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
	} else {
		ntm_ip_from_v4(any.ip, &(struct in_addr){INADDR_ANY});
		err = set(fd, IPPROTO_IP, IP_PKTINFO, 1);
		if (!err)
			err = set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
	}
	if (!err && u->mark)
		err = set(fd, SOL_SOCKET, SO_MARK, (int)u->mark);
	/* A handshake storm must not be lost for want of room. Without the capability the system's limit is good
	 * enough. */
	if (set(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES))
		(void)set(fd, SOL_SOCKET, SO_RCVBUF, BUFFER_BYTES);
	if (set(fd, SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES))
		(void)set(fd, SOL_SOCKET, SO_SNDBUF, BUFFER_BYTES);
	if (!err) {
		len = ntm_addr_to_sockaddr(&any, v6 ? AF_INET6 : AF_INET, &ss);
		if (bind(fd, (struct sockaddr *)&ss, len))
			err = -errno;
	}
	len = sizeof(ss);
	if (!err && !u->port) {
		if (getsockname(fd, (struct sockaddr *)&ss, &len))
			err = -errno;
		else if (!ntm_addr_from_sockaddr(&any, (struct sockaddr *)&ss))
			u->port = ntohs(any.port);
	}
	if (err) {
		close(fd);
		return err;
	}
	u->s[2 * aside + v6] = (struct sock){.fd = fd, .v6 = v6, .udp = u};
	return 0;
}

static int watch(struct sock *s, uv_loop_t *loop)
{
	int err;

	s->poll = malloc(sizeof(*s->poll));
	if (!s->poll)
		return -ENOMEM;
	err = uv_poll_init(loop, s->poll, s->fd);
	if (err) {
		free(s->poll);
		s->poll = NULL;
		return err;
	}
	s->poll->data = s;
	return uv_poll_start(s->poll, UV_READABLE, on_readable);
}

int ntm_udp_open(struct ntm_udp **out, uv_loop_t *loop, uint16_t port, ntm_udp_input input, void *arg, char *why,
		 size_t cap)
{
	struct ntm_udp *u = calloc(1, sizeof(*u));
	int err;

	if (!u) {
		snprintf(why, cap, "out of memory");
		return -ENOMEM;
	}
	for (int i = 0; i < SOCKS; i++)
		u->s[i].fd = -1;
	u->usual[0] = u->usual[1] = -1;
	u->loop = loop;
	u->port = port;
	u->input = input;
	u->arg = arg;
	err = open_socket(u, false, false, port);
	if (!err) {
		err = open_socket(u, false, true, u->port);
		if (err == -EAFNOSUPPORT)
			err = 0;
	}
	for (int i = 0; i < 2 && !err; i++)
		if (u->s[i].fd >= 0)
			err = watch(&u->s[i], loop);
	if (err) {
		snprintf(why, cap, "UDP port %u: %s", port, strerror(-err));
		ntm_udp_close(u);
		return err;
	}
	*out = u;
	return 0;
}

int ntm_udp_set_mark(struct ntm_udp *u, uint32_t mark)
{
	int err = 0;

	u->mark = mark;
	for (int i = 0; i < SOCKS && !err; i++)
		if (u->s[i].fd >= 0)
			err = set(u->s[i].fd, SOL_SOCKET, SO_MARK, (int)mark);
	return err;
}

void ntm_udp_fds(const struct ntm_udp *u, int fds[2])
{
	fds[0] = u->s[0].fd;
	fds[1] = u->s[1].fd;
}

int ntm_udp_share(struct ntm_udp *u, int fds[2])
{
	int err = 0;

	for (int i = 0; i < 2 && !err; i++) {
		fds[i] = u->s[i].fd;
		if (fds[i] < 0)
			continue;
		err = set(fds[i], SOL_SOCKET, SO_REUSEPORT, 1);
		/* Without it the others' datagrams come one by one. */
		(void)set(fds[i], IPPROTO_UDP, UDP_GRO, 1);
	}
	return err;
}

static void on_closed(uv_handle_t *h)
{
	free(h);
}

void ntm_udp_close(struct ntm_udp *u)
{
	if (!u)
		return;
	for (int i = 0; i < SOCKS; i++) {
		if (u->s[i].poll) {
			uv_poll_stop(u->s[i].poll);
			uv_close((uv_handle_t *)u->s[i].poll, on_closed);
		}
		if (u->s[i].fd >= 0)
			close(u->s[i].fd);
	}
	free(u);
}

uint16_t ntm_udp_port(const struct ntm_udp *u)
{
	return u->port;
}

static void set_mode(const struct sock *s, enum ntm_send_mode mode)
{
	if (s->v6) {
		set(s->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER,
		    mode == NTM_SEND_DF ? IPV6_PMTUDISC_PROBE : IPV6_PMTUDISC_DONT);
		set(s->fd, IPPROTO_IPV6, IPV6_DONTFRAG, mode == NTM_SEND_DF);
		/* IPv6 routers don't fragment: the sender does, for the smallest link there may be. 0 is refused. */
		if (mode == NTM_SEND_FRAGMENT)
			set(s->fd, IPPROTO_IPV6, IPV6_MTU, 1280);
		else if (mode == NTM_SEND_NORMAL)
			set(s->fd, IPPROTO_IPV6, IPV6_MTU, 65535);
	} else {
		set(s->fd, IPPROTO_IP, IP_MTU_DISCOVER, mode == NTM_SEND_DF ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT);
	}
}

void ntm_udp_set_uplinks(struct ntm_udp *u, const struct ntm_uplink_info *up, unsigned n)
{
	u->n_sources = 0;
	u->usual[0] = u->usual[1] = -1;
	for (unsigned i = 0; i < n && i < NTM_UPLINKS_MAX; i++) {
		if (n == 1 && !up[i].rival4 && !up[i].rival6)
			continue;
		/* Without a way out by it, where it leads is the routing table's business. */
		if (!up[i].default4 && !up[i].default6)
			continue;
		for (unsigned j = 0; j < up[i].n_addrs; j++) {
			bool v6 = !ntm_ip_is_v4(up[i].addrs[j]);

			if (!(v6 ? up[i].default6 : up[i].default4))
				continue;
			if (u->usual[v6] < 0 && (v6 ? up[i].rival6 : up[i].rival4))
				u->usual[v6] = (int)u->n_sources;
			memcpy(u->sources[u->n_sources].ip, up[i].addrs[j], 16);
			u->sources[u->n_sources++].ifindex = up[i].dp.ifindex;
		}
	}
}

void ntm_udp_take_over(struct ntm_udp *u, void (*reader)(void *arg, int fd), void *arg, int fds[2])
{
	u->reader = reader;
	u->reader_arg = arg;
	fds[0] = u->s[0].fd;
	fds[1] = u->s[1].fd;
}

uint32_t ntm_udp_interface(const struct ntm_udp *u, const uint8_t ip[16])
{
	for (unsigned i = 0; i < u->n_sources; i++)
		if (!memcmp(u->sources[i].ip, ip, 16))
			return u->sources[i].ifindex;
	return 0;
}

static void put_source(struct msghdr *m, union control *ctl, bool v6, const uint8_t src[16], uint32_t ifindex)
{
	struct cmsghdr *c;

	memset(ctl, 0, sizeof(*ctl));
	m->msg_control = ctl;
	if (v6) {
		struct in6_pktinfo pi = {.ipi6_ifindex = ifindex};

		memcpy(&pi.ipi6_addr, src, 16);
		m->msg_controllen = CMSG_SPACE(sizeof(pi));
		c = CMSG_FIRSTHDR(m);
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(pi));
		memcpy(CMSG_DATA(c), &pi, sizeof(pi));
	} else {
		struct in_pktinfo pi = {.ipi_ifindex = (int)ifindex};

		memcpy(&pi.ipi_spec_dst, src + 12, 4);
		m->msg_controllen = CMSG_SPACE(sizeof(pi));
		c = CMSG_FIRSTHDR(m);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(pi));
		memcpy(CMSG_DATA(c), &pi, sizeof(pi));
	}
}

/* Everything but what is sent. */
static void address(struct ntm_udp *u, struct msghdr *m, struct sockaddr_storage *ss, union control *ctl,
		    const struct ntm_addr *to, const uint8_t *src)
{
	bool v6 = !ntm_ip_is_v4(to->ip);

	*m = (struct msghdr){.msg_name = ss};
	m->msg_namelen = ntm_addr_to_sockaddr(to, v6 ? AF_INET6 : AF_INET, ss);
	if ((!src || ntm_ip_is_zero(src)) && u->usual[v6] >= 0)
		src = u->sources[u->usual[v6]].ip;
	if (src && !ntm_ip_is_zero(src) && ntm_ip_is_v4(src) == !v6)
		put_source(m, ctl, v6, src, ntm_udp_interface(u, src));
}

static int send_one(int fd, struct msghdr *m)
{
	int err = sendmsg(fd, m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;

	/* An address that went away a moment ago: let the kernel choose. */
	if ((err == -EINVAL || err == -ENETUNREACH || err == -EADDRNOTAVAIL || err == -ENODEV) && m->msg_control) {
		m->msg_control = NULL;
		m->msg_controllen = 0;
		err = sendmsg(fd, m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
	}
	/* An ICMP error of an earlier packet to that address is reported once, in place of sending. */
	if (err == -ECONNREFUSED || err == -EHOSTUNREACH)
		err = sendmsg(fd, m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
	return err;
}

static void flush(struct ntm_udp *u)
{
	struct gathered *g = &u->out;
	int fd = u->s[g->v6].fd;

	for (unsigned sent = 0; sent < g->n;) {
		int n = sendmmsg(fd, &g->msgs[sent], g->n - sent, MSG_DONTWAIT | MSG_NOSIGNAL), err;

		if (n > 0) {
			sent += (unsigned)n;
			continue;
		}
		/* The first of them it was. */
		err = send_one(fd, &g->msgs[sent++].msg_hdr);
		if (err)
			ntm_debug("one of the datagrams that waited not sent: %s", strerror(-err));
	}
	g->n = 0;
}

static void wait_for_others(struct ntm_udp *u, const struct ntm_addr *to, const uint8_t *src, const void *data,
			    size_t len)
{
	struct gathered *g = &u->out;
	bool v6 = !ntm_ip_is_v4(to->ip);
	unsigned i;

	if (g->n == GATHER || g->v6 != v6)
		flush(u);
	g->v6 = v6;
	i = g->n++;
	memcpy(g->data[i], data, len);
	g->iov[i] = (struct iovec){g->data[i], len};
	address(u, &g->msgs[i].msg_hdr, &g->names[i], &g->ctl[i], to, src);
	g->msgs[i].msg_hdr.msg_iov = &g->iov[i];
	g->msgs[i].msg_hdr.msg_iovlen = 1;
}

void ntm_udp_gather(void *arg, bool on)
{
	struct ntm_udp *u = arg;

	u->out.on = on;
	if (!on)
		flush(u);
}

int ntm_udp_send(void *arg, const struct ntm_addr *to, const uint8_t src[16], const void *data, size_t len,
		 enum ntm_send_mode mode)
{
	struct ntm_udp *u = arg;
	struct sock *s = &u->s[!ntm_ip_is_v4(to->ip)];
	struct iovec iov = {(void *)data, len};
	struct sockaddr_storage ss;
	union control ctl;
	struct msghdr m;
	int err;

	if (s->fd < 0)
		return -EAFNOSUPPORT;
	if (u->out.on && mode == NTM_SEND_NORMAL && len <= GATHER_LEN) {
		wait_for_others(u, to, src, data, len);
		return 0;
	}
	flush(u);
	address(u, &m, &ss, &ctl, to, src);
	m.msg_iov = &iov;
	m.msg_iovlen = 1;
	/* One thread sends, and a datagram's fragments are made within the call: a mode for one packet is safe. */
	if (mode != NTM_SEND_NORMAL)
		set_mode(s, mode);
	err = send_one(s->fd, &m);
	if (mode != NTM_SEND_NORMAL)
		set_mode(s, NTM_SEND_NORMAL);
	return err;
}

int ntm_udp_send_aside(void *arg, const struct ntm_addr *to, const uint8_t src[16], const void *data, size_t len)
{
	struct ntm_udp *u = arg;
	bool v6 = !ntm_ip_is_v4(to->ip);
	struct sock *s = &u->s[2 + v6];
	struct iovec iov = {(void *)data, len};
	struct sockaddr_storage ss;
	union control ctl;
	struct msghdr m;
	int err = s->fd < 0 ? open_socket(u, true, v6, 0) : 0;

	if (!err && !s->poll) {
		err = watch(s, u->loop);
		if (err) {
			close(s->fd);
			s->fd = -1;
		}
	}
	if (err)
		return err;
	address(u, &m, &ss, &ctl, to, src);
	m.msg_iov = &iov;
	m.msg_iovlen = 1;
	return send_one(s->fd, &m);
}
