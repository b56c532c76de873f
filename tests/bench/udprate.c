/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The highest rate of UDP datagrams that arrives with less loss than a limit.
 *
 *   udprate recv ADDRESS PORT
 *   udprate send|gso ADDRESS PORT BYTES [TRIAL-MS]    prints "PPS LOSS-PERCENT"
 *   udprate gso ADDRESS PORT BYTES [TRIAL-MS]     the same, but up to 64 KiB of datagrams a send (UDP_SEGMENT)
 *
 * A trial sends at one rate for a while; then the receiver is asked how many came. The rate grows until a trial fails,
 * and is then bisected; what is printed was confirmed by a longer trial. Bursts of one tick go out by sendmmsg, so that
 * the sender sleeps in between and leaves its CPU to whoever encrypts.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { GSO_BYTES = 65000, BATCH = 64, SIZE_MAX_BYTES = 9000, TICK_NS = 200000, BUFFER = 8 << 20, KEEP = 16 };

/* First bytes of each datagram; a question has want_answer set. */
struct head {
	uint32_t trial;
	uint32_t want_answer;
	uint64_t received; /* in the answer */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void sleep_until(uint64_t ns)
{
	struct timespec ts = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

static void die(const char *what)
{
	fprintf(stderr, "udprate: %s: %s\n", what, strerror(errno));
	exit(1);
}

static socklen_t address(const char *ip, const char *port, struct sockaddr_storage *out)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
	struct sockaddr_in *in = (struct sockaddr_in *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET6, ip, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)atoi(port));
		return sizeof(*in6);
	}
	if (inet_pton(AF_INET, ip, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)atoi(port));
		return sizeof(*in);
	}
	errno = EINVAL;
	die(ip);
	return 0;
}

static int open_socket(int family)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = BUFFER;

	if (fd < 0)
		die("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		die("socket buffers (root is needed)");
	return fd;
}

static _Noreturn void receive(const char *ip, const char *port)
{
	static uint8_t data[BATCH][SIZE_MAX_BYTES];
	struct sockaddr_storage self, from[BATCH];
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	uint64_t received = 0;
	uint32_t trial = 0;
	socklen_t len = address(ip, port, &self);
	int fd = open_socket(self.ss_family), n;

	if (bind(fd, (struct sockaddr *)&self, len))
		die("bind");
	for (;;) {
		for (int i = 0; i < BATCH; i++) {
			iov[i] = (struct iovec){data[i], sizeof(data[i])};
			msgs[i].msg_hdr = (struct msghdr){
			    .msg_name = &from[i], .msg_namelen = sizeof(from[i]), .msg_iov = &iov[i], .msg_iovlen = 1};
		}
		n = recvmmsg(fd, msgs, BATCH, MSG_WAITFORONE, NULL);
		if (n < 0 && errno != EINTR && errno != ECONNREFUSED)
			die("recvmmsg");
		for (int i = 0; i < n; i++) {
			struct head h;

			if (msgs[i].msg_len < sizeof(h))
				continue;
			memcpy(&h, data[i], sizeof(h));
			if (h.trial != trial) { /* late ones of an earlier trial count for nothing */
				if (h.trial < trial && h.trial != 1)
					continue;
				trial = h.trial;
				received = 0;
			}
			if (!h.want_answer) {
				received++;
				continue;
			}
			h.received = received;
			if (sendto(fd, &h, sizeof(h), 0, (struct sockaddr *)&from[i], msgs[i].msg_hdr.msg_namelen) <
				0 &&
			    errno != ECONNREFUSED)
				die("sendto");
		}
	}
}

struct sender {
	int fd;
	size_t size;
	uint32_t trial;
	unsigned together; /* datagrams that leave as one, 0: none do */
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	uint8_t data[BATCH][SIZE_MAX_BYTES];
};

static uint64_t ask(struct sender *s)
{
	struct head h = {.trial = s->trial, .want_answer = 1}, answer;

	for (int tries = 0; tries < 100; tries++) {
		struct pollfd p = {.fd = s->fd, .events = POLLIN};

		if (send(s->fd, &h, sizeof(h), 0) < 0 && errno != ECONNREFUSED && errno != ENOBUFS)
			die("send");
		if (poll(&p, 1, 50) > 0 && recv(s->fd, &answer, sizeof(answer), 0) == sizeof(answer) &&
		    answer.trial == s->trial)
			return answer.received;
	}
	errno = ETIMEDOUT;
	die("the receiver does not answer");
	return 0;
}

/* Returns how many of n were taken, or -1. */
static int send_burst(struct sender *s, unsigned n)
{
	struct msghdr m = {.msg_iov = s->iov, .msg_iovlen = n < s->together ? n : s->together};

	if (!s->together)
		return sendmmsg(s->fd, s->msgs, n, 0);
	return sendmsg(s->fd, &m, 0) < 0 ? -1 : (int)m.msg_iovlen;
}

/* Sends at pps for ms. Returns the loss (0..1), or 1 if the sender itself could not keep the rate. */
static double trial(struct sender *s, double pps, unsigned ms)
{
	uint64_t begin, sent = 0, tick = 0, ticks = (uint64_t)ms * 1000000u / TICK_NS;
	struct head h = {.trial = ++s->trial};

	for (int i = 0; i < BATCH; i++)
		memcpy(s->data[i], &h, sizeof(h));
	ask(s); /* begins the trial, and warms the path up */
	begin = now_ns();
	for (tick = 1; tick <= ticks; tick++) {
		uint64_t due = (uint64_t)(pps * (double)(tick * TICK_NS) / 1e9);

		while (sent < due) {
			unsigned n = due - sent < BATCH ? (unsigned)(due - sent) : BATCH;
			int done = send_burst(s, n);

			if (done < 0 && errno != ECONNREFUSED && errno != ENOBUFS && errno != EAGAIN)
				die("sendmmsg");
			sent += done > 0 ? (unsigned)done : 1; /* one refused for want of buffers is one lost */
		}
		sleep_until(begin + tick * TICK_NS);
	}
	if ((double)(now_ns() - begin) > 1.03e6 * ms)
		return 1;
	sleep_until(now_ns() + 20000000u); /* queues run empty */
	uint64_t got = ask(s);

	return sent ? 1 - (double)got / (double)sent : 1;
}

static int search(const char *ip, const char *port, size_t size, unsigned ms, int gso)
{
	static struct sender s;
	struct sockaddr_storage to;
	socklen_t len = address(ip, port, &to);
	const double limit = 0.001;
	double good = 0, bad = 0, loss = 0;

	s.fd = open_socket(to.ss_family);
	s.size = size;
	if (connect(s.fd, (struct sockaddr *)&to, len))
		die("connect");
	for (int i = 0; i < BATCH; i++) {
		s.iov[i] = (struct iovec){s.data[i], size};
		s.msgs[i].msg_hdr = (struct msghdr){.msg_iov = &s.iov[i], .msg_iovlen = 1};
	}
	if (gso) {
		int segment = (int)size;

		if (setsockopt(s.fd, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)))
			die("UDP_SEGMENT");
		s.together = (unsigned)(GSO_BYTES / size);
	}
	prctl(PR_SET_TIMERSLACK, 1000ul);

	for (double pps = 4000; !bad && pps < 2e7; pps *= 1.6) {
		if (trial(&s, pps, ms) < limit || trial(&s, pps, ms) < limit)
			good = pps;
		else
			bad = pps;
	}
	for (int i = 0; i < 6 && good > 0; i++) {
		double middle = (good + bad) / 2;

		if (trial(&s, middle, ms) < limit)
			good = middle;
		else
			bad = middle;
	}
	/* short trials flatter: buffers hide a queue that grows */
	for (int i = 0; i < KEEP && good > 0; i++, good *= 0.97) {
		loss = trial(&s, good, 4 * ms);
		if (loss < limit)
			break;
	}
	printf("%.0f %.4f\n", good, loss * 100);
	return good > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "recv"))
		receive(argv[2], argv[3]);
	if ((argc == 5 || argc == 6) && (!strcmp(argv[1], "send") || !strcmp(argv[1], "gso"))) {
		size_t size = strtoul(argv[4], NULL, 10);

		if (size >= sizeof(struct head) && size <= SIZE_MAX_BYTES)
			return search(argv[2], argv[3], size, argc == 6 ? (unsigned)atoi(argv[5]) : 300,
				      !strcmp(argv[1], "gso"));
	}
	fputs("usage: udprate recv ADDRESS PORT | udprate send ADDRESS PORT BYTES [TRIAL-MS]\n", stderr);
	return 2;
}
