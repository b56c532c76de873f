/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A UDP stream both ways, with everything that arrives on record.
 *
 *   stream serve ADDRESS PORT FILE      sends to whoever was heard last
 *   stream run ADDRESS PORT FILE        begins
 *
 * Each end sends a numbered datagram of 100 bytes every millisecond, and writes to FILE for each that comes
 * three 64-bit numbers in host order: its number, when it was sent, when it came (CLOCK_MONOTONIC, ns; both ends are on
 * one machine). A datagram that can't be sent counts as sent: it is lost. Prints "ready" when `run` heard the other
 * end. SIGTERM or SIGINT ends it; it then prints how many it sent.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

enum { SIZE = 100, TICK_NS = 1000000, BUFFER = 1 << 20 };

struct datagram {
	uint64_t number, sent;
	uint8_t rest[SIZE - 16];
};

static volatile sig_atomic_t ended;

static void on_end(int sig)
{
	(void)sig;
	ended = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "stream: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static socklen_t address(const char *ip, const char *port, struct sockaddr_storage *out)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	uint16_t number = htons((uint16_t)strtoul(port, NULL, 10));

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET6, ip, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = number;
		return sizeof(*in6);
	}
	if (inet_pton(AF_INET, ip, &in->sin_addr) != 1) {
		errno = EINVAL;
		die(ip);
	}
	in->sin_family = AF_INET;
	in->sin_port = number;
	return sizeof(*in);
}

int main(int argc, char **argv)
{
	struct sigaction end = {.sa_handler = on_end};
	struct sockaddr_storage peer;
	socklen_t peer_len;
	struct datagram d = {0};
	bool serve, heard = false, know;
	uint64_t due, sent = 0;
	int fd, size = BUFFER;
	FILE *record;

	if (argc != 5 || (strcmp(argv[1], "serve") && strcmp(argv[1], "run"))) {
		fprintf(stderr, "usage: stream serve|run ADDRESS PORT FILE\n");
		return 2;
	}
	serve = !strcmp(argv[1], "serve");
	know = !serve;
	peer_len = address(argv[2], argv[3], &peer);
	record = fopen(argv[4], "w");
	fd = socket(peer.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (!record || fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		die(argv[4]);
	if (serve && bind(fd, (struct sockaddr *)&peer, peer_len))
		die("bind");
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGINT, &end, NULL);
	prctl(PR_SET_TIMERSLACK, 1);
	if (serve) {
		printf("ready\n");
		fflush(stdout);
	}
	due = now_ns();
	while (!ended) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		struct timespec wait = {0};
		uint64_t now = now_ns();

		if (now >= due) {
			/* a machine that was away does not make up for it with a burst */
			due = now - due > 20 * TICK_NS ? now + TICK_NS : due + TICK_NS;
			if (know) {
				d.number = sent++;
				d.sent = now;
				/* unreachable, no route: lost, as the record will show */
				(void)sendto(fd, &d, sizeof(d), 0, (struct sockaddr *)&peer, peer_len);
			}
			continue;
		}
		wait.tv_nsec = (long)(due - now);
		if (ppoll(&p, 1, &wait, NULL) <= 0)
			continue;
		for (;;) {
			struct sockaddr_storage from;
			socklen_t from_len = sizeof(from);
			struct datagram got;
			uint64_t line[3];
			ssize_t len = recvfrom(fd, &got, sizeof(got), 0, (struct sockaddr *)&from, &from_len);

			if (len < 0)
				break;
			if (len != sizeof(got))
				continue;
			line[0] = got.number, line[1] = got.sent, line[2] = now_ns();
			if (fwrite(line, sizeof(line), 1, record) != 1)
				die(argv[4]);
			if (serve) {
				peer = from;
				peer_len = from_len;
				know = true;
			} else if (!heard) {
				printf("ready\n");
				fflush(stdout);
			}
			heard = true;
		}
		if (fflush(record)) /* others read it while this goes on */
			die(argv[4]);
	}
	if (fclose(record))
		die(argv[4]);
	printf("%llu sent\n", (unsigned long long)sent);
	return 0;
}
