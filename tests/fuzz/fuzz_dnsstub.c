/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent's DNS stub between an application and a resolver, either of which may say anything. First byte, bit 0: the
 * rest is what the resolver answers, with the right ID if bit 1 is set; else what the application asks.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ldns/ldns.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../user/node/dnsstub.h"
#include "../harness/nodeworld.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROUNDS = 6 };

static struct world w;
static uv_loop_t loop;
static int upstream, client;
static const uint8_t question[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\3www\7example\3com\0\0\1\0\1";

static void require(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_dnsstub: %s\n", what);
	abort();
}

static int udp_socket(uint16_t *port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	require(fd >= 0 && !bind(fd, (struct sockaddr *)&sin, sizeof(sin)), "no socket");
	require(!getsockname(fd, (struct sockaddr *)&sin, &len), "a socket without a name");
	*port = sin.sin_port;
	return fd;
}

static void begin(void)
{
	struct ntm_node *n;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char why[256] = "";
	uint16_t port;

	require(!uv_loop_init(&loop), "no loop");
	world_init(&w);
	n = w.n[0];
	w.loop = n->loop = &loop;
	upstream = udp_socket(&port);
	ntm_addr_parse("127.0.0.1:1", 0, &n->conf.dns_listen);
	n->conf.dns_listen.port = 0;
	n->conf.dns_upstreams.addrs = calloc(1, sizeof(struct ntm_addr));
	require(n->conf.dns_upstreams.addrs != NULL, "no memory");
	n->conf.dns_upstreams.n = 1;
	ntm_addr_parse("127.0.0.1:1", 0, &n->conf.dns_upstreams.addrs[0]);
	n->conf.dns_upstreams.addrs[0].port = port;
	require(!ntm_dnsstub_open(&n->dns, n, why, sizeof(why)), why);
	client = udp_socket(&port);
	to.sin_port = htons(ntm_dnsstub_port(n->dns));
	require(!connect(client, (struct sockaddr *)&to, sizeof(to)), "no connection");
}

/* The resolver: says `answer` to what it is asked, with the ID if fix is set; the question's own if there is none. */
static void serve(const uint8_t *answer, size_t len, bool fix)
{
	uint8_t buf[65536];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	ssize_t n = recvfrom(upstream, buf, sizeof(buf), 0, (struct sockaddr *)&from, &from_len);
	uint8_t id[2];

	if (n < 0)
		return;
	require(n >= NTM_DNS_MIN, "half a question was sent on");
	memcpy(id, buf, 2);
	if (answer) {
		memcpy(buf, answer, len);
		n = (ssize_t)len;
	} else {
		buf[2] |= 0x80;
	}
	if (fix && n >= 2)
		memcpy(buf, id, 2);
	require(sendto(upstream, buf, (size_t)n, 0, (struct sockaddr *)&from, from_len) == n, "no answer");
}

/* What the application gets; -1: nothing. */
static ssize_t ask(const void *query, size_t len, const uint8_t *answer, size_t answer_len, bool fix, uint8_t *out,
		   size_t cap)
{
	ssize_t n = -1;

	if (send(client, query, len, 0) < 0)
		return -1;
	for (int i = 0; i < ROUNDS && n < 0; i++) {
		world_run(&w, 1);
		serve(answer, answer_len, fix);
		n = recv(client, out, cap, 0);
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[65536];
	ldns_pkt *p = NULL;
	ssize_t n;

	if (!upstream)
		begin();
	if (!size)
		return 0;
	while (recv(client, out, sizeof(out), 0) >= 0) /* answers that came late */
		;
	if (data[0] & 1) {
		n = ask(question, sizeof(question) - 1, data + 1, size - 1, data[0] & 2, out, sizeof(out));
		if (n >= 0) {
			require(n == (ssize_t)size - 1 && n >= NTM_DNS_MIN, "an answer of another length");
			require(!memcmp(out, question, 2) && !memcmp(out + 2, data + 3, (size_t)n - 2),
				"an answer was changed");
			require(out[2] & 0x80 && out[5] == 1, "what is no answer came through");
			require(n >= (ssize_t)sizeof(question) - 1, "an answer without its question");
		}
		world_skip(5000); /* what is not answered is given up */
		world_run(&w, 2);
	} else if (size > 1) {
		n = ask(data + 1, size - 1, NULL, 0, true, out, sizeof(out));
		if (n >= 0) {
			require(n >= NTM_DNS_MIN && !memcmp(out, data + 1, 2) && out[2] & 0x80, "no answer to this");
			/* One of ours can be read; another server's, as asked, may be anything. */
			if (n > 3 && (out[3] & 15) == LDNS_RCODE_NOERROR && out[2] & 4) {
				require(ldns_wire2pkt(&p, out, (size_t)n) == LDNS_STATUS_OK,
					"an answer that cannot be read");
				ldns_pkt_free(p);
			}
		}
	}
	return 0;
}
