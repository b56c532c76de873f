/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dcspread COUNT DC-PUBLIC-KEY PROCESS...: how soon a change through one of several processes of a DC is effective
 * through all of them. PROCESS is RUNTIME-DIR=DC-ADDRESS=DNS-ADDRESS; the zone is ntm.example, and publishes real
 * addresses. Processes have their turns: a node of it registers from elsewhere (COUNT times), a new one is let in, one
 * is revoked (COUNT / 3 times each). The time is from before the request leaves until the DNS of each process gave an
 * answer in which the change is; all are asked by turns, some 200 us apart. Prints NAME<TAB>VALUE<TAB>UNIT a line.
 */
#include <errno.h>
#include <ldns/ldns.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../user/common/crypto.h"
#include "../../user/common/ctlsock.h"
#include "../../user/common/keystore.h"
#include "../harness/testnode.h"

enum {
	PROCESSES_MAX = 8,
	COUNT_MAX = 10000,
	CTL_MS = 5000,
	LOST_S = 5,
	PAUSE_NS = 200000,
	ANSWER_MS = 100,
	TYPE_NTM4 = 65280,
	WANTED_LEN = 6, /* IPv4 address, port */
};

struct process {
	char *run;
	struct ntm_addr dc;
	int dns;
	bool seen;
};

static struct process processes[PROCESSES_MAX];
static unsigned n_processes;
static uint8_t dc_pub[NTM_DH_LEN];
static double samples[COUNT_MAX];

/* What is to be found in an answer. */
struct want {
	ldns_pkt_rcode rcode;
	const uint8_t *bytes; /* NULL: nothing else */
};

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "dcspread: ");
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static bool fits(const uint8_t *answer, size_t len, const struct want *w)
{
	return (answer[3] & 15) == (uint8_t)w->rcode && (!w->bytes || memmem(answer, len, w->bytes, WANTED_LEN));
}

/* The answer to this very query, if it comes. */
static bool answered(struct process *p, const uint8_t *query, const struct want *w)
{
	struct pollfd pfd = {.fd = p->dns, .events = POLLIN};
	uint8_t in[2048];
	ssize_t n;

	while (poll(&pfd, 1, ANSWER_MS) > 0) {
		n = recv(p->dns, in, sizeof(in), 0);
		if (n >= LDNS_HEADER_SIZE && !memcmp(in, query, 2))
			return fits(in, (size_t)n, w);
	}
	return false;
}

/* Asks each process until all say what is wanted; when that was. */
static double until_all(const char *label, const struct want *w)
{
	static uint16_t id;
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	double begun = now_ms();
	unsigned left = n_processes;
	char name[NTM_NAME_MAX + 1];
	uint8_t *query;
	ldns_pkt *q;
	size_t len;

	snprintf(name, sizeof(name), "%s.ntm.example.", label);
	q = ldns_pkt_query_new(ldns_dname_new_frm_str(name), (ldns_rr_type)TYPE_NTM4, LDNS_RR_CLASS_IN, 0);
	if (!q || ldns_pkt2wire(&query, q, &len) != LDNS_STATUS_OK)
		die("out of memory");
	ldns_pkt_free(q);
	for (unsigned i = 0; i < n_processes; i++)
		processes[i].seen = false;
	while (left) {
		for (unsigned i = 0; i < n_processes; i++) {
			struct process *p = &processes[i];

			if (p->seen)
				continue;
			id++;
			memcpy(query, &id, 2);
			if (send(p->dns, query, len, 0) != (ssize_t)len)
				die("a query cannot be sent: %s", strerror(errno));
			p->seen = answered(p, query, w);
			left -= p->seen;
		}
		if (now_ms() - begun > LOST_S * 1e3)
			die("%s: not effective everywhere after %d s", label, LOST_S);
		if (left)
			nanosleep(&pause, NULL);
	}
	free(query);
	return now_ms();
}

static json_object *control(const struct process *p, const char *cmd, const char *label)
{
	json_object *request = json_object_new_object(), *result = NULL;
	char why[256];

	json_object_object_add(request, "cmd", json_object_new_string(cmd));
	json_object_object_add(request, "name", json_object_new_string(label));
	if (ntm_ctl_call(p->run, request, CTL_MS, NULL, NULL, &result, why, sizeof(why)))
		die("%s %s: %s", cmd, label, why);
	json_object_put(request);
	return result;
}

/* A session with that process, and a token to register with. */
static void prepare(struct testnode *t, const struct process *p, const char *label, char token[NTM_TOKEN_MAX + 1])
{
	json_object *result = control(p, "token_create", label), *text;
	int err = testnode_open(t, NULL, &p->dc, dc_pub);

	if (!json_object_object_get_ex(result, "token", &text))
		die("no token in the answer");
	snprintf(token, NTM_TOKEN_MAX + 1, "%s", json_object_get_string(text));
	json_object_put(result);
	if (!err)
		err = testnode_connect(t);
	if (err)
		die("%s: no session: %s", label, strerror(-err));
}

static void enrol(struct testnode *t, const char *label, const char *token)
{
	struct ntm_sig answer;

	if (testnode_register(t, label, token, &answer) || answer.msg != NTM_M_REGISTRATION_RESPONSE)
		die("%s was not let in: %s", label, answer.error_text);
}

static void register_from(struct testnode *t, const char *label, const uint8_t at[WANTED_LEN])
{
	struct ntm_sig m, answer;

	testnode_request(t, &m, NTM_M_REGISTRATION_REQUEST);
	snprintf(m.name, sizeof(m.name), "%s", label);
	ntm_ip_from_v4(m.candidates[0].addr.ip, at);
	memcpy(&m.candidates[0].addr.port, at + 4, 2);
	m.candidates[0].kind = NTM_CAND_HOST;
	m.n_candidates = 1;
	m.have = 1u << NTM_F_NAME | 1u << NTM_F_CANDIDATE;
	if (testnode_ask(t, &m, &answer) || answer.msg != NTM_M_REGISTRATION_RESPONSE)
		die("%s: no registration", label);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print(const char *name, unsigned n)
{
	qsort(samples, n, sizeof(samples[0]), by_value);
	printf("dc_spread_%s\t%.2f\tms\n", name, samples[n / 2]);
	printf("dc_spread_%s_p99\t%.2f\tms\n", name, samples[n * 99 / 100]);
}

static void moves(unsigned count)
{
	struct testnode nodes[PROCESSES_MAX];
	char token[NTM_TOKEN_MAX + 1], label[16];

	for (unsigned i = 0; i < n_processes; i++) {
		snprintf(label, sizeof(label), "mover%u", i);
		prepare(&nodes[i], &processes[i], label, token);
		enrol(&nodes[i], label, token);
	}
	for (unsigned i = 0; i < count; i++) {
		uint8_t at[WANTED_LEN] = {10, 1, (uint8_t)(i >> 8), (uint8_t)i, 0x12, 0x48};
		const struct want w = {LDNS_RCODE_NOERROR, at};
		double begun = now_ms();

		snprintf(label, sizeof(label), "mover%u", i % n_processes);
		register_from(&nodes[i % n_processes], label, at);
		samples[i] = until_all(label, &w) - begun;
	}
	for (unsigned i = 0; i < n_processes; i++)
		testnode_close(&nodes[i]);
	print("move", count);
}

static void arrivals(unsigned count)
{
	const struct want absent = {LDNS_RCODE_NXDOMAIN, NULL}, there = {LDNS_RCODE_NOERROR, NULL};

	for (unsigned i = 0; i < count; i++) {
		char token[NTM_TOKEN_MAX + 1], label[16];
		struct testnode t;
		double begun;

		snprintf(label, sizeof(label), "new%u", i);
		prepare(&t, &processes[i % n_processes], label, token);
		until_all(label, &absent); /* they have said so, and may remember that */
		begun = now_ms();
		enrol(&t, label, token);
		samples[i] = until_all(label, &there) - begun;
		testnode_close(&t);
	}
	print("arrival", count);
}

static void revocations(unsigned count)
{
	const struct want absent = {LDNS_RCODE_NXDOMAIN, NULL};

	for (unsigned i = 0; i < count; i++) {
		char label[16];
		double begun = now_ms();

		snprintf(label, sizeof(label), "new%u", i);
		json_object_put(control(&processes[i % n_processes], "revoke", label));
		samples[i] = until_all(label, &absent) - begun;
	}
	print("revocation", count);
}

static void add_process(char *arg)
{
	struct process *p = &processes[n_processes];
	char *dc = strchr(arg, '='), *dns = dc ? strchr(dc + 1, '=') : NULL;
	struct sockaddr_storage sa;
	struct ntm_addr addr;
	socklen_t len;

	if (!dns || n_processes++ == PROCESSES_MAX)
		die("not RUNTIME-DIR=DC-ADDRESS=DNS-ADDRESS, or too many: %s", arg);
	*dc++ = *dns++ = 0;
	p->run = arg;
	if (ntm_addr_parse(dc, 0, &p->dc) || ntm_addr_parse(dns, 0, &addr))
		die("not an address and port: %s, %s", dc, dns);
	len = ntm_addr_to_sockaddr(&addr, ntm_ip_is_v4(addr.ip) ? AF_INET : AF_INET6, &sa);
	p->dns = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (p->dns < 0 || connect(p->dns, (struct sockaddr *)&sa, len))
		die("%s: %s", dns, strerror(errno));
}

int main(int argc, char **argv)
{
	long count = argc > 4 ? strtol(argv[1], NULL, 10) : 0;

	if (count < 3 || count > COUNT_MAX)
		die("usage: dcspread COUNT DC-PUBLIC-KEY RUNTIME-DIR=DC-ADDRESS=DNS-ADDRESS ...; COUNT: 3 to %d",
		    COUNT_MAX);
	if (ntm_crypto_init() || ntm_key_from_text(argv[2], dc_pub))
		die("not a public key: %s", argv[2]);
	for (int i = 3; i < argc; i++)
		add_process(argv[i]);
	if (!n_processes) /* argc says that there is one */
		return 2;
	moves((unsigned)count);
	arrivals((unsigned)count / 3);
	revocations((unsigned)count / 3);
	return 0;
}
