/* SPDX-License-Identifier: BSD-2-Clause */
#include "net.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ntm/limits.h>

#include "../user/common/log.h"

#define BATCH 64
#define ROUNDS 8 /* batches from one socket before the others and the timers have their turn */
#define SOCKET_BUFFER (8 << 20)
#define HOLD_NS 250000  /* how long an answer waits for others, to leave with them in one system call */
#define TURN_NS 2000000 /* what begins later than this is for the next turn of the loop */

/* sendmmsg and recvmmsg want everything by pointers: one slot holds what they point to */
struct slot {
	uint8_t data[NTM_DC_DATAGRAM_MAX + 1];
	struct sockaddr_storage sa;
	struct iovec iov;
	union {
		char buf[CMSG_SPACE(sizeof(struct in6_pktinfo))];
		struct cmsghdr align;
	} control;
};

struct dc_socket {
	struct ntm_dc_net *net;
	uv_poll_t poll;
	int fd, family;
	uint16_t index;
	bool wildcard;
	struct ntm_addr bound;
	unsigned n_out;
	struct mmsghdr in_msgs[BATCH], out_msgs[BATCH];
	struct slot in[BATCH], out[BATCH];
};

struct ntm_dc_net {
	uv_prepare_t prepare; /* what timers sent leaves */
	uv_check_t check;     /* and what other descriptors brought about */
	ntm_dc_receive receive;
	void *arg;
	struct dc_socket **socks;
	size_t n, closing;
	uint64_t queued_ns; /* when the oldest datagram that waits to be sent came to wait; 0: none does */
	struct ntm_dc_net_stats stats;
};

static void prepare_in(struct dc_socket *s)
{
	for (int i = 0; i < BATCH; i++) {
		struct slot *slot = &s->in[i];

		slot->iov = (struct iovec){slot->data, sizeof(slot->data)};
		s->in_msgs[i].msg_hdr = (struct msghdr){
		    .msg_name = &slot->sa,
		    .msg_namelen = sizeof(slot->sa),
		    .msg_iov = &slot->iov,
		    .msg_iovlen = 1,
		    .msg_control = &slot->control,
		    .msg_controllen = sizeof(slot->control),
		};
	}
}

static void read_local(struct msghdr *h, uint8_t local[16])
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo pi;

			memcpy(&pi, CMSG_DATA(c), sizeof(pi));
			ntm_ip_from_v4(local, &pi.ipi_spec_dst);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo pi;

			memcpy(&pi, CMSG_DATA(c), sizeof(pi));
			memcpy(local, &pi.ipi6_addr, 16);
		}
	}
}

static void flush(struct dc_socket *s)
{
	unsigned done = 0;

	while (done < s->n_out) {
		int n = sendmmsg(s->fd, s->out_msgs + done, s->n_out - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			s->net->stats.tx += (unsigned)n;
			done += (unsigned)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		/* the first one was refused: its sender resends it, the others have done nothing wrong */
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			ntm_warn_limited("net: send: %s", strerror(errno));
		s->net->stats.tx_dropped++;
		done++;
	}
	s->n_out = 0;
}

static void flush_all(struct ntm_dc_net *net)
{
	for (size_t i = 0; net->queued_ns && i < net->n; i++) {
		if (net->socks[i]->n_out)
			flush(net->socks[i]);
	}
	net->queued_ns = 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct dc_socket *s = poll->data;
	uint64_t began_ns;

	(void)events;
	if (status < 0) {
		ntm_warn_limited("net: poll: %s", uv_strerror(status));
		return;
	}
	began_ns = uv_hrtime();
	for (int round = 0; round < ROUNDS; round++) {
		int n;

		prepare_in(s);
		n = recvmmsg(s->fd, s->in_msgs, BATCH, MSG_DONTWAIT, NULL);
		if (n < 0) {
			if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
				ntm_warn_limited("net: receive: %s", strerror(errno));
			return;
		}
		s->net->stats.rx += (unsigned)n;
		for (int i = 0; i < n; i++) {
			struct ntm_dc_route from = {.sock = s->index};

			if (ntm_addr_from_sockaddr(&from.peer, (struct sockaddr *)&s->in[i].sa) || !from.peer.port)
				continue;
			memcpy(from.local, s->bound.ip, 16);
			if (s->wildcard)
				read_local(&s->in_msgs[i].msg_hdr, from.local);
			s->net->receive(s->net->arg, &from, s->in[i].data, s->in_msgs[i].msg_len);
			/* a handshake takes longer than a hundred other messages */
			if (s->net->queued_ns && uv_hrtime() - s->net->queued_ns >= HOLD_NS)
				flush_all(s->net);
		}
		flush_all(s->net);
		if (n < BATCH || uv_hrtime() - began_ns >= TURN_NS)
			return;
	}
}

static void on_prepare(uv_prepare_t *p)
{
	flush_all(p->data);
}

static void on_check(uv_check_t *c)
{
	flush_all(c->data);
}

static void put_local(struct dc_socket *s, struct msghdr *h, struct slot *slot, const uint8_t local[16])
{
	struct cmsghdr *c;

	h->msg_control = &slot->control;
	h->msg_controllen = sizeof(slot->control);
	c = CMSG_FIRSTHDR(h);
	if (s->family == AF_INET) {
		struct in_pktinfo pi = {0};

		memcpy(&pi.ipi_spec_dst, local + 12, 4);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(pi));
		memcpy(CMSG_DATA(c), &pi, sizeof(pi));
		h->msg_controllen = CMSG_SPACE(sizeof(pi));
	} else {
		struct in6_pktinfo pi = {0};

		memcpy(&pi.ipi6_addr, local, 16);
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(pi));
		memcpy(CMSG_DATA(c), &pi, sizeof(pi));
		h->msg_controllen = CMSG_SPACE(sizeof(pi));
	}
}

void ntm_dc_net_send(struct ntm_dc_net *net, const struct ntm_dc_route *to, const void *data, size_t len)
{
	struct dc_socket *s = to->sock < net->n ? net->socks[to->sock] : NULL;
	struct slot *slot;
	struct msghdr *h;

	if (!s || len > sizeof(slot->data) || (s->family == AF_INET) != ntm_ip_is_v4(to->peer.ip)) {
		net->stats.tx_dropped++;
		return;
	}
	if (s->n_out == BATCH)
		flush(s);
	if (!net->queued_ns)
		net->queued_ns = uv_hrtime();
	slot = &s->out[s->n_out];
	h = &s->out_msgs[s->n_out++].msg_hdr;
	memcpy(slot->data, data, len);
	slot->iov = (struct iovec){slot->data, len};
	*h = (struct msghdr){.msg_name = &slot->sa, .msg_iov = &slot->iov, .msg_iovlen = 1};
	h->msg_namelen = ntm_addr_to_sockaddr(&to->peer, s->family, &slot->sa);
	if (s->wildcard && !ntm_ip_is_zero(to->local))
		put_local(s, h, slot, to->local);
}

int ntm_dc_net_route(const struct ntm_dc_net *net, const struct ntm_addr *peer, const struct ntm_addr *via,
		     struct ntm_dc_route *out)
{
	const struct dc_socket *best = NULL;
	bool v4 = ntm_ip_is_v4(peer->ip);
	int best_score = 0;

	for (size_t i = 0; i < net->n; i++) {
		const struct dc_socket *s = net->socks[i];
		bool port = s->bound.port == via->port;
		int score = 1;

		if ((s->family == AF_INET) != v4)
			continue;
		if (!memcmp(s->bound.ip, via->ip, 16))
			score = port ? 5 : 4;
		else if (s->wildcard)
			score = port ? 3 : 2;
		if (score > best_score) {
			best_score = score;
			best = s;
		}
	}
	if (!best)
		return -EAFNOSUPPORT;
	*out = (struct ntm_dc_route){.peer = *peer, .sock = best->index};
	if (!best->wildcard)
		memcpy(out->local, best->bound.ip, 16);
	else if (ntm_ip_is_v4(via->ip) == v4)
		memcpy(out->local, via->ip, 16);
	return 0;
}

static int open_socket(struct dc_socket *s, const struct ntm_addr *listen)
{
	struct sockaddr_storage sa;
	int one = 1, size = SOCKET_BUFFER;
	uint8_t any4[16], zero[4] = {0};
	socklen_t len;

	s->family = ntm_ip_is_v4(listen->ip) ? AF_INET : AF_INET6;
	ntm_ip_from_v4(any4, zero);
	s->wildcard = ntm_ip_is_zero(listen->ip) || !memcmp(listen->ip, any4, 16);
	s->fd = socket(s->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return -errno;
	if (s->family == AF_INET6 && setsockopt(s->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)))
		return -errno;
	if (s->wildcard && setsockopt(s->fd, s->family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
				      s->family == AF_INET ? IP_PKTINFO : IPV6_RECVPKTINFO, &one, sizeof(one)))
		return -errno;
	/* FORCE needs CAP_NET_ADMIN; without it the kernel's limit is good enough */
	if (setsockopt(s->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		(void)setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (setsockopt(s->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		(void)setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	len = ntm_addr_to_sockaddr(listen, s->family, &sa);
	if (bind(s->fd, (struct sockaddr *)&sa, len))
		return -errno;
	len = sizeof(sa);
	if (getsockname(s->fd, (struct sockaddr *)&sa, &len))
		return -errno;
	return ntm_addr_from_sockaddr(&s->bound, (struct sockaddr *)&sa);
}

int ntm_dc_net_open(struct ntm_dc_net **out, uv_loop_t *loop, const struct ntm_addr *listen, size_t n,
		    ntm_dc_receive receive, void *arg, char *why, size_t cap)
{
	struct ntm_dc_net *net = calloc(1, sizeof(*net));
	char text[NTM_ADDR_STRLEN];
	int err = -ENOMEM;

	snprintf(why, cap, "out of memory");
	if (!net)
		return -ENOMEM;
	net->socks = calloc(n, sizeof(struct dc_socket *));
	net->receive = receive;
	net->arg = arg;
	for (size_t i = 0; net->socks && i < n; i++) {
		struct dc_socket *s = calloc(1, sizeof(*s));

		err = -ENOMEM;
		if (!s)
			break;
		s->net = net;
		s->index = (uint16_t)i;
		err = open_socket(s, &listen[i]);
		if (!err)
			err = uv_poll_init(loop, &s->poll, s->fd);
		if (err) {
			snprintf(why, cap, "cannot listen on %s: %s", ntm_addr_format(&listen[i], text),
				 strerror(-err));
			if (s->fd >= 0)
				close(s->fd);
			free(s);
			break;
		}
		s->poll.data = s;
		uv_poll_start(&s->poll, UV_READABLE, on_readable);
		net->socks[net->n++] = s;
	}
	uv_prepare_init(loop, &net->prepare);
	net->prepare.data = net;
	uv_prepare_start(&net->prepare, on_prepare);
	uv_check_init(loop, &net->check);
	net->check.data = net;
	uv_check_start(&net->check, on_check);
	if (err) {
		ntm_dc_net_close(net);
		return err;
	}
	*out = net;
	return 0;
}

static void closed(struct ntm_dc_net *net)
{
	if (--net->closing)
		return;
	free(net->socks);
	free(net);
}

static void poll_closed(uv_handle_t *h)
{
	struct dc_socket *s = h->data;
	struct ntm_dc_net *net = s->net;

	close(s->fd);
	free(s);
	closed(net);
}

static void hook_closed(uv_handle_t *h)
{
	closed(h->data);
}

void ntm_dc_net_close(struct ntm_dc_net *net)
{
	net->closing = net->n + 2;
	for (size_t i = 0; i < net->n; i++) {
		flush(net->socks[i]);
		uv_close((uv_handle_t *)&net->socks[i]->poll, poll_closed);
	}
	uv_close((uv_handle_t *)&net->prepare, hook_closed);
	uv_close((uv_handle_t *)&net->check, hook_closed);
}

const struct ntm_addr *ntm_dc_net_bound(const struct ntm_dc_net *net, uint16_t sock)
{
	return sock < net->n ? &net->socks[sock]->bound : NULL;
}

const struct ntm_dc_net_stats *ntm_dc_net_stats(const struct ntm_dc_net *net)
{
	return &net->stats;
}
