/* SPDX-License-Identifier: BSD-2-Clause */
#include "dcload_net.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dcload_clients.h"

enum { BATCH = 64, BUFFER = 8 << 20, AT_ONCE = 16 /* then it is looked whether something is to leave */ };

static struct {
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	uint8_t data[BATCH][NTM_SIGNAL_MAX];
	union {
		char buf[CMSG_SPACE(sizeof(struct timespec))];
		struct cmsghdr align;
	} control[BATCH];
	unsigned n;
} out[SOCKETS], in;

int sim_socket(int *fd, const struct ntm_addr *dc)
{
	int one = 1;

	struct sockaddr_storage sa;
	int family = ntm_ip_is_v4(dc->ip) ? AF_INET : AF_INET6, size = BUFFER, err;
	socklen_t len = ntm_addr_to_sockaddr(dc, family, &sa);

	*fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0)
		return -errno;
	/* without the right to force it, the kernel's limit has to do: what does not fit counts as lost */
	if (setsockopt(*fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		(void)setsockopt(*fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (!setsockopt(*fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)) &&
	    !connect(*fd, (struct sockaddr *)&sa, len))
		return 0;
	err = -errno;
	close(*fd);
	return err;
}

static void flush(struct sim *s, unsigned sock)
{
	unsigned sent = 0;

	while (sent < out[sock].n) {
		int n = sendmmsg(s->fd[sock], out[sock].msgs + sent, out[sock].n - sent, 0);

		if (n > 0)
			sent += (unsigned)n;
		else if (errno != EINTR)
			sent++; /* refused: its answer will not come, and it counts as lost */
	}
	out[sock].n = 0;
}

void sim_flush(struct sim *s)
{
	for (unsigned i = 0; i < SOCKETS; i++)
		flush(s, i);
}

void sim_queue(struct sim *s, unsigned sock, const void *data, size_t len)
{
	unsigned i;

	if (out[sock].n == BATCH)
		flush(s, sock);
	i = out[sock].n++;
	memcpy(out[sock].data[i], data, len);
	out[sock].iov[i] = (struct iovec){out[sock].data[i], len};
	out[sock].msgs[i].msg_hdr = (struct msghdr){.msg_iov = &out[sock].iov[i], .msg_iovlen = 1};
}

static uint64_t ns_of(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * 1000000000 + (uint64_t)ts->tv_nsec;
}

/* By the kernel's clock for that, as monotonic time: what this program did meanwhile is no latency of the DC's. */
static uint64_t arrival(struct msghdr *h)
{
	struct timespec now, then;
	struct cmsghdr *c = CMSG_FIRSTHDR(h);
	uint64_t ago = 0;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
		memcpy(&then, CMSG_DATA(c), sizeof(then));
		clock_gettime(CLOCK_REALTIME, &now);
		ago = ns_of(&now) - ns_of(&then);
	}
	return sim_now() - ago;
}

static void read_socket(struct sim *s, unsigned sock)
{
	uint64_t arrived[AT_ONCE];
	int n;

	for (int i = 0; i < AT_ONCE; i++) {
		in.iov[i] = (struct iovec){in.data[i], sizeof(in.data[i])};
		in.msgs[i].msg_hdr = (struct msghdr){
		    .msg_iov = &in.iov[i],
		    .msg_iovlen = 1,
		    .msg_control = &in.control[i],
		    .msg_controllen = sizeof(in.control[i]),
		};
	}
	n = recvmmsg(s->fd[sock], in.msgs, AT_ONCE, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		arrived[i] = arrival(&in.msgs[i].msg_hdr);
	for (int i = 0; i < n; i++) {
		s->arrived_ns = arrived[i];
		sim_take(s, in.data[i], in.msgs[i].msg_len);
	}
}

void sim_receive(struct sim *s, uint64_t until_ns)
{
	struct pollfd fds[SOCKETS + 1] = {[SOCKETS] = {.fd = clients_fd(), .events = POLLIN}};
	uint64_t now = sim_now(), wait = until_ns > now ? until_ns - now : 0;
	struct timespec ts = {.tv_sec = (time_t)(wait / 1000000000), .tv_nsec = (long)(wait % 1000000000)};

	for (unsigned i = 0; i < SOCKETS; i++)
		fds[i] = (struct pollfd){.fd = s->fd[i], .events = POLLIN};
	if (ppoll(fds, SOCKETS + 1, &ts, NULL) > 0) {
		for (unsigned i = 0; i < SOCKETS; i++) {
			if (fds[i].revents)
				read_socket(s, i);
		}
		if (fds[SOCKETS].revents)
			sim_finished(s);
	}
	sim_flush(s);
	sim_expire(s);
}
