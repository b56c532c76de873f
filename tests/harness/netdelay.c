/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A longer wire: what netem would do, for kernels without it.
 *
 *   netdelay MICROSECONDS IF-A IF-B [IF-C IF-D]...
 *
 * Bridges each pair of interfaces; every frame leaves that long after the kernel received it, in order, unchanged. The
 * interfaces have no addresses, and whoever sends on their other ends has to complete checksums and segment by itself
 * (tx off, tso off, gso off): frames are copied as they are. Prints "ready", and after SIGTERM or SIGINT a line for
 * each direction: frames, bytes, those lost here (no room, too long, refused), and the latest departure in
 * microseconds. "late MICROSECONDS at NANOSECONDS" (CLOCK_MONOTONIC) for each frame that left more than 5 ms late: the
 * threads run before everything else, so the machine itself stood still.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/net_tstamp.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	BATCH = 64,
	SLOTS = 4096, /* of a direction; a power of two */
	FRAME_MAX = 2048,
	BUFFER = 64 << 20,
	PAIRS_MAX = 32,
	LATE_US = 5000,
	BURST_NS = 100000,
	AHEAD_NS = 3000000,
};
#define NS_PER_S 1000000000ull

struct frame {
	uint64_t due;
	uint32_t len;
	uint8_t data[FRAME_MAX];
};

struct direction {
	const char *from, *to;
	int rx, tx;
	uint64_t delay;
	struct frame *ring; /* head..tail - 1 wait, the oldest first */
	unsigned head, tail;
	uint64_t frames, bytes, lost, latest;
	bool broken;
	pthread_t thread;
};

static volatile sig_atomic_t ended;

static void on_end(int sig)
{
	(void)sig;
	ended = 1;
}

static void die(const char *what, const char *of)
{
	fprintf(stderr, "netdelay: %s: %s: %s\n", of, what, strerror(errno));
	exit(1);
}

/* The clock of SO_TIMESTAMPNS. */
static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static int open_interface(const char *name)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	struct packet_mreq all = {.mr_type = PACKET_MR_PROMISC};
	int one = 1, size = BUFFER;
	/* no protocol yet: nothing is taken before the interface is chosen */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket", name);
	at.sll_ifindex = all.mr_ifindex = (int)if_nametoindex(name);
	if (!at.sll_ifindex)
		die("no such interface", name);
	if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) ||
	    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)))
		die("socket options", name);
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)))
		die("bind", name);
	return fd;
}

static uint64_t received_at(struct msghdr *m, uint64_t now)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct timespec ts;
		uint64_t at;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		memcpy(&ts, CMSG_DATA(c), sizeof(ts));
		at = (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
		return at < now ? at : now;
	}
	return now;
}

/* One batch into the ring; false: no more waits, or no room. */
static bool take(struct direction *d)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(struct timespec))];
	} control[BATCH];
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	unsigned room = SLOTS - (d->tail - d->head), want = room < BATCH ? room : BATCH;
	uint64_t now;
	int n;

	for (unsigned i = 0; i < want; i++) {
		iov[i] = (struct iovec){d->ring[(d->tail + i) % SLOTS].data, FRAME_MAX};
		msgs[i].msg_hdr = (struct msghdr){
		    .msg_iov = &iov[i],
		    .msg_iovlen = 1,
		    .msg_control = &control[i],
		    .msg_controllen = sizeof(control[i].room),
		};
	}
	n = want ? recvmmsg(d->rx, msgs, want, MSG_DONTWAIT, NULL) : 0;
	if (n < 0) {
		/* a link that goes down says so once */
		d->broken = errno != EAGAIN && errno != EINTR && errno != ENETDOWN;
		return false;
	}
	now = now_ns();
	for (int i = 0; i < n; i++) {
		struct frame *f = &d->ring[(d->tail + (unsigned)i) % SLOTS];

		f->due = received_at(&msgs[i].msg_hdr, now) + d->delay;
		f->len = msgs[i].msg_hdr.msg_flags & MSG_TRUNC ? 0 : msgs[i].msg_len;
	}
	d->tail += (unsigned)n;
	return n == BATCH;
}

/* A clock set back does not make anything wait longer. */
static bool is_due(const struct direction *d, uint64_t now)
{
	uint64_t due = d->ring[d->head % SLOTS].due;

	return due <= now || due - now > d->delay;
}

static void note_late(struct direction *d, uint64_t us)
{
	struct timespec ts;

	if (us * 1000 > d->latest)
		d->latest = us * 1000;
	if (us < LATE_US)
		return;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	printf("late %llu at %llu\n", (unsigned long long)us,
	       (unsigned long long)ts.tv_sec * NS_PER_S + (unsigned long long)ts.tv_nsec);
	fflush(stdout);
}

static void lose(struct direction *d)
{
	d->head++;
	d->lost++;
}

/* Those at the head that are due leave; what the other side refuses (link down, too long for it) is lost. */
static void give(struct direction *d)
{
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	uint64_t now = now_ns();
	unsigned n;
	int sent;

	for (n = 0; n < BATCH && d->head + n != d->tail; n++) {
		struct frame *f = &d->ring[(d->head + n) % SLOTS];

		if (!f->len || (n && f->due > now))
			break;
		if (!n && now > f->due)
			note_late(d, (now - f->due) / 1000);
		iov[n] = (struct iovec){f->data, f->len};
		msgs[n].msg_hdr = (struct msghdr){.msg_iov = &iov[n], .msg_iovlen = 1};
	}
	if (!n) { /* longer than a frame can be */
		lose(d);
		return;
	}
	sent = sendmmsg(d->tx, msgs, n, 0);
	if (sent < 0 && errno == EINTR)
		return;
	if (sent <= 0) {
		lose(d);
		return;
	}
	for (int i = 0; i < sent; i++)
		d->bytes += d->ring[(d->head + (unsigned)i) % SLOTS].len;
	d->frames += (uint64_t)sent;
	d->head += (unsigned)sent;
}

static void *run(void *arg)
{
	struct direction *d = arg;
	struct sched_param first = {.sched_priority = 1};

	/* a late thread is a longer wire; without the right to it, it is as punctual as the machine allows */
	(void)pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);
	prctl(PR_SET_TIMERSLACK, 1);
	while (!ended && !d->broken) {
		struct pollfd p = {.fd = d->rx, .events = POLLIN};
		struct timespec wait = {.tv_nsec = 200000000};

		if (d->head != d->tail) {
			uint64_t now = now_ns(), left;
			bool ahead;

			if (is_due(d, now)) {
				give(d);
				if (d->tail - d->head < SLOTS / 2)
					take(d);
				/* A burst of this direction is no reason for another one to be late. */
				sched_yield();
				continue;
			}
			left = d->ring[d->head % SLOTS].due - now;
			ahead = left > AHEAD_NS;
			/* Those of a burst leave together, at most so late: not each by a wake-up of its own. */
			if (d->tail - d->head > BATCH)
				left += BURST_NS;
			/* What comes now is due later than the head and waits in the socket, where the kernel has noted
			 * when it came: to wake up for each frame would slow down who sends them. It is fetched a
			 * moment before the head is due, so that a burst need only leave then. */
			if (ahead)
				left -= AHEAD_NS;
			wait = (struct timespec){(time_t)(left / NS_PER_S), (long)(left % NS_PER_S)};
			p.fd = -1;
			ppoll(&p, 1, &wait, NULL);
			while (ahead && take(d))
				;
		} else if (ppoll(&p, 1, &wait, NULL) > 0) {
			while (take(d))
				;
		}
	}
	return NULL;
}

static uint64_t dropped_by_kernel(int fd)
{
	struct tpacket_stats s = {0};
	socklen_t len = sizeof(s);

	return getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &s, &len) ? 0 : s.tp_drops;
}

static void start(struct direction *d, const char *from, const char *to, int rx, int tx, uint64_t delay)
{
	*d = (struct direction){.from = from, .to = to, .rx = rx, .tx = tx, .delay = delay};
	d->ring = calloc(SLOTS, sizeof(*d->ring));
	if (!d->ring || (errno = pthread_create(&d->thread, NULL, run, d)))
		die("no thread", from);
}

int main(int argc, char **argv)
{
	static struct direction dirs[2 * PAIRS_MAX];
	struct sigaction end = {.sa_handler = on_end};
	char *rest = NULL;
	unsigned long us = argc > 1 ? strtoul(argv[1], &rest, 10) : 0;
	unsigned n = 0;

	if (argc < 4 || argc % 2 || argc > 2 + 2 * PAIRS_MAX || *rest || us > 10000000) {
		fprintf(stderr, "usage: netdelay MICROSECONDS IF-A IF-B [IF-C IF-D]...\n");
		return 2;
	}
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGINT, &end, NULL);
	for (int i = 2; i < argc; i += 2) {
		int a = open_interface(argv[i]), b = open_interface(argv[i + 1]);

		start(&dirs[n++], argv[i], argv[i + 1], a, b, us * 1000);
		start(&dirs[n++], argv[i + 1], argv[i], b, a, us * 1000);
	}
	printf("ready\n");
	fflush(stdout);
	for (unsigned i = 0; i < n; i++) {
		struct direction *d = &dirs[i];

		pthread_join(d->thread, NULL);
		d->lost += dropped_by_kernel(d->rx);
		printf("%s %s %llu frames %llu bytes %llu lost, latest by %llu us%s\n", d->from, d->to,
		       (unsigned long long)d->frames, (unsigned long long)d->bytes, (unsigned long long)d->lost,
		       (unsigned long long)d->latest / 1000, d->broken ? ", broke off" : "");
	}
	return 0;
}
