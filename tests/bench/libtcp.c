/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One TCP flow between a program with libntm and a server on the kernel's stack.
 *
 *   libtcp serve PORT                                      takes connections one by one; the first byte says what to do
 *   libtcp send|receive SECONDS PEER PORT NAME KEYFILE DC-ENDPOINTS DC-KEY TOKEN      prints Mbit/s
 */
#include <errno.h>
#include <libntm.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char block[256 << 10];

static void die(const char *what)
{
	fprintf(stderr, "libtcp: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void serve(const char *port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port))};
	int l = socket(AF_INET6, SOCK_STREAM, 0), c, on = 1;

	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (l < 0 || bind(l, (struct sockaddr *)&any, sizeof(any)) || listen(l, 4))
		die("listen");
	while ((c = accept(l, NULL, NULL)) >= 0) {
		unsigned long long total = 0;
		ssize_t n;

		if (recv(c, block, 1, 0) == 1 && *block == 'r') {
			while (send(c, block, sizeof(block), MSG_NOSIGNAL) > 0)
				;
		} else {
			while ((n = recv(c, block, sizeof(block), 0)) > 0)
				total += (unsigned long long)n;
			send(c, &total, sizeof(total), MSG_NOSIGNAL);
		}
		close(c);
	}
}

static double send_for(int s, double seconds)
{
	double begin = now(), end = begin + seconds;
	unsigned long long total = 0;

	if (ntm_send(s, "s", 1, 0) != 1)
		die("send");
	while (now() < end)
		if (ntm_send(s, block, sizeof(block), 0) < 0)
			die("send");
	ntm_shutdown(s, SHUT_WR);
	/* Until the last byte is there. */
	if (ntm_recv(s, &total, sizeof(total), MSG_WAITALL) != sizeof(total))
		die("answer");
	return (double)total * 8 / 1e6 / (now() - begin);
}

static double receive_for(int s, double seconds)
{
	double begin = now(), end = begin + seconds;
	unsigned long long total = 0;
	ssize_t n;

	if (ntm_send(s, "r", 1, 0) != 1)
		die("send");
	while (now() < end && (n = ntm_recv(s, block, sizeof(block), 0)) > 0)
		total += (unsigned long long)n;
	return (double)total * 8 / 1e6 / (now() - begin);
}

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *res;
	struct ntm_config c = {0};
	char key[128] = "";
	struct ntm *n;
	FILE *f;
	int s;

	if (argc == 3 && !strcmp(argv[1], "serve")) {
		serve(argv[2]);
		return 1;
	}
	if (argc != 10)
		return 2;
	c = (struct ntm_config){
	    .name = argv[5], .private_key = key, .dc_endpoints = argv[7], .dc_public_key = argv[8], .token = argv[9]};
	f = fopen(argv[6], "r");
	if (!f || !fgets(key, sizeof(key), f))
		die(argv[6]);
	fclose(f);
	key[strcspn(key, "\n")] = 0;
	if (ntm_register(&c, &n)) {
		fprintf(stderr, "libtcp: %s\n", ntm_reason());
		return 1;
	}
	if (ntm_getaddrinfo(n, argv[3], argv[4], &hints, &res))
		die(argv[3]);
	s = ntm_socket(n, AF_INET, SOCK_STREAM, 0);
	if (ntm_connect(s, res->ai_addr, res->ai_addrlen))
		die("connect");
	ntm_freeaddrinfo(res);
	printf("%.0f\n", !strcmp(argv[1], "send") ? send_for(s, atof(argv[2])) : receive_for(s, atof(argv[2])));
	return 0;
}
