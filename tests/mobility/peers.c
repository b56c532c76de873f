/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Many nodes in one process, each with its own key, session, UDP port and address: libntm's.
 *
 *   peers DC-ENDPOINTS DC-KEY < "NAME PRIVATE-KEY TOKEN" lines, then lines with a virtual address each
 *
 * Prints "ready" when all are registered. For each address that it reads, every node sends a datagram there, which
 * makes a path. Ends with its input.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libntm.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX = 4096 };

static struct ntm *nodes[MAX];
static int sockets[MAX];
static unsigned n, registered;

static void die(const char *what)
{
	fprintf(stderr, "peers: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void on_event(void *arg, struct ntm *node, enum ntm_event_kind kind, const char *text)
{
	bool *known = arg;

	(void)node;
	if (kind == NTM_EV_REFUSED) {
		fprintf(stderr, "peers: refused: %s\n", text);
		exit(1);
	}
	if (kind != NTM_EV_REGISTERED || *known)
		return;
	*known = true;
	registered++;
}

static void begin(char *line, const char *dc, const char *key)
{
	static bool known[MAX];
	struct ntm_config c = {.dc_endpoints = dc, .dc_public_key = key, .flags = NTM_NOWAIT, .event = on_event};

	c.name = strtok(line, " ");
	c.private_key = strtok(NULL, " ");
	c.token = strtok(NULL, " ");
	c.arg = &known[n];
	if (n == MAX || ntm_register(&c, &nodes[n]))
		die(n == MAX ? "too many" : ntm_reason());
	sockets[n++] = -1;
}

static void send_all(const char *address)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
		die(address);
	for (unsigned i = 0; i < n; i++) {
		if (sockets[i] < 0)
			sockets[i] = ntm_socket(nodes[i], AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		/* What can't be sent yet is lost; whoever asked sees which paths there are, and asks again. */
		if (sockets[i] < 0)
			die("socket");
		ntm_sendto(sockets[i], "x", 1, 0, (struct sockaddr *)&to, sizeof(to));
		ntm_process();
	}
}

int main(int argc, char **argv)
{
	struct pollfd p[2] = {{.fd = 0, .events = POLLIN}, {.events = POLLIN}};
	static char buf[65536];
	size_t have = 0;
	bool said = false;
	ssize_t got;
	char *end;

	if (argc != 3) {
		fprintf(stderr, "usage: peers DC-ENDPOINTS DC-KEY\n");
		return 2;
	}
	for (;;) {
		p[1].fd = ntm_fd();
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			die("poll");
		if (p[1].revents)
			ntm_process();
		if (!said && n && registered == n) {
			said = true;
			puts("ready");
			fflush(stdout);
		}
		if (!p[0].revents)
			continue;
		got = read(0, buf + have, sizeof(buf) - 1 - have);
		if (got <= 0)
			return 0;
		have += (size_t)got;
		buf[have] = 0;
		while ((end = strchr(buf, '\n'))) {
			*end = 0;
			if (strchr(buf, ' '))
				begin(buf, argv[1], argv[2]);
			else
				send_all(buf);
			have -= (size_t)(end + 1 - buf);
			memmove(buf, end + 1, have + 1);
		}
	}
}
