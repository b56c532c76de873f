/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ntm-echo: a node in one program, without root.
 *
 *   ntm-echo NAME KEYFILE DC-ENDPOINTS DC-PUBLIC-KEY [TOKEN] listen PORT      answers what it is sent, over TCP
 *   ntm-echo NAME KEYFILE DC-ENDPOINTS DC-PUBLIC-KEY [TOKEN] ask PEER PORT    sends standard input there, prints the
 * answer
 *
 * Build: cc ntm-echo.c $(pkg-config --cflags --libs libntm)
 */
#include <errno.h>
#include <libntm.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void die(const char *what, const char *why)
{
	fprintf(stderr, "ntm-echo: %s: %s\n", what, why);
	exit(1);
}

static struct ntm *join(char **argv, const char *token)
{
	struct ntm_config c = {.name = argv[1], .dc_endpoints = argv[3], .dc_public_key = argv[4], .token = token};
	char key[128] = "";
	struct ntm *n;
	FILE *f = fopen(argv[2], "r");

	if (!f || !fgets(key, sizeof(key), f))
		die(argv[2], f ? "empty" : strerror(errno));
	fclose(f);
	key[strcspn(key, "\n")] = 0;
	c.private_key = key;
	if (ntm_register(&c, &n))
		die("registration", ntm_reason());
	explicit_bzero(key, sizeof(key));
	return n;
}

static int listen_at(struct ntm *n, const char *port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port))};
	int s = ntm_socket(n, AF_INET6, SOCK_STREAM, 0);

	if (s < 0 || ntm_bind(s, (struct sockaddr *)&any, sizeof(any)) || ntm_listen(s, 16))
		die("listen", strerror(errno));
	return s;
}

static void serve(struct ntm *n, const char *port)
{
	int l = listen_at(n, port), c;
	char buf[65536], name[256];

	ntm_identity(n, name, sizeof(name), NULL, NULL);
	printf("%s listens at port %s\n", name, port);
	fflush(stdout);
	while ((c = ntm_accept(l, NULL, NULL)) >= 0) {
		ssize_t len;

		while ((len = ntm_recv(c, buf, sizeof(buf), 0)) > 0 && ntm_send(c, buf, (size_t)len, 0) == len)
			;
		ntm_close(c);
	}
	die("accept", strerror(errno));
}

static int call(struct ntm *n, const char *peer, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *res, *a;
	int err = ntm_getaddrinfo(n, peer, port, &hints, &res), s = -1;

	if (err)
		die(peer, err == EAI_SYSTEM ? strerror(errno) : gai_strerror(err));
	for (a = res; a; a = a->ai_next) {
		s = ntm_socket(n, a->ai_family, a->ai_socktype, a->ai_protocol);
		if (s >= 0 && !ntm_connect(s, a->ai_addr, a->ai_addrlen))
			break;
		ntm_close(s);
	}
	ntm_freeaddrinfo(res);
	if (!a)
		die(peer, strerror(errno));
	return s;
}

/* Both directions at once: kernel descriptors and virtual ones in one ntm_poll(). */
static void ask(struct ntm *n, const char *peer, const char *port)
{
	int s = call(n, peer, port);
	struct pollfd p[] = {{.fd = s, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
	char buf[65536];
	ssize_t len = 1;

	while (len > 0 && ntm_poll(p, 2, -1) >= 0) {
		if (p[1].revents) {
			ssize_t in = read(STDIN_FILENO, buf, sizeof(buf));

			if (in <= 0) {
				ntm_shutdown(s, SHUT_WR);
				p[1].fd = -1;
			} else if (ntm_send(s, buf, (size_t)in, 0) != in) {
				die("send", strerror(errno));
			}
		}
		if (!p[0].revents)
			continue;
		len = ntm_recv(s, buf, sizeof(buf), 0);
		if (len > 0 && write(STDOUT_FILENO, buf, (size_t)len) != len)
			die("standard output", strerror(errno));
	}
	if (len < 0)
		die(peer, strerror(errno));
	ntm_close(s);
}

int main(int argc, char **argv)
{
	int at = argc > 5 && strcmp(argv[5], "listen") && strcmp(argv[5], "ask") ? 6 : 5;
	struct ntm *n;

	if (argc == at + 2 && !strcmp(argv[at], "listen")) {
		n = join(argv, at == 6 ? argv[5] : NULL);
		serve(n, argv[at + 1]);
	} else if (argc == at + 3 && !strcmp(argv[at], "ask")) {
		n = join(argv, at == 6 ? argv[5] : NULL);
		ask(n, argv[at + 1], argv[at + 2]);
	} else {
		fprintf(
		    stderr,
		    "usage: ntm-echo NAME KEYFILE DC-ENDPOINTS DC-PUBLIC-KEY [TOKEN] listen PORT | ask PEER PORT\n");
		return 2;
	}
	ntm_unregister(n);
	return 0;
}
