/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What relaying a packet costs in XDP (BPF_PROG_TEST_RUN) with a million relay paths: packets of random paths, and of
 * one. Lines "name\tvalue\tunit". Each figure is the median of runs that alternate with runs of the same program that
 * makes the packet but does not relay it (tests/bpf/relay_bench.bpf.c); what those cost is taken off. The pairs of
 * families take turns in rounds, as memory is now faster and now slower on a machine that others use, too. The time
 * holds what the kernel's routing tables cost whenever a path asks them again. relay_find_random is the part of finding
 * the path: of waiting for memory. relay_memory_random is what this machine takes to read one word of the table at a
 * random place, nothing else: no packet of a random path can cost less. Runs in a network namespace of its own.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <ntm/wire.h>

#include "../../user/relay/relay_table.h"
#include "../bpf/relay_bench.h"
#include "relay_bench.skel.h"

enum {
	PATHS = 1000000,
	ROUNDS = 3,
	RUNS = 25,
	REPEAT = 20000,
	MESSAGE = 160,
	FULL = 1400,
	READS = 200000,
	CHAINS = 21
};

struct params { /* struct bench_params */
	uint64_t seed;
	uint32_t paths, in_v6, out_v6, idle, payload, hot, wrong;
};

static struct relay_bench *skel;
static struct params *params;
static struct ntm_relay_table table;

static int prepare_namespace(void)
{
	static const char *const commands[] = {
	    "ip link set lo up",
	    "ip link add out0 type veth peer name out1",
	    "ip addr add 192.0.2.1/24 dev out0",
	    "ip addr add 2001:db8::1/64 dev out0 nodad",
	    "ip link set out1 up; ip link set out0 up",
	    "ip neigh add 192.0.2.254 lladdr 02:00:00:00:00:fe dev out0 nud permanent",
	    "ip neigh add fe80::fe lladdr 02:00:00:00:00:fe dev out0 nud permanent",
	    "ip route add default via 192.0.2.254",
	    "ip -6 route del 2001:db8::/64 dev out0",
	    "ip -6 route add default via fe80::fe dev out0",
	    "sysctl -qw net.ipv4.conf.lo.forwarding=1 net.ipv6.conf.lo.forwarding=1",
	};
	if (unshare(CLONE_NEWNET))
		return -errno;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (system(commands[i]))
			return -EIO;
	return 0;
}

static void *memory(struct bpf_map *m, size_t value)
{
	void *p = mmap(NULL, value * bpf_map__max_entries(m), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(m), 0);
	return p == MAP_FAILED ? NULL : p;
}

static int load(void)
{
	uint32_t slots = NTM_RELAY_SLOTS(PATHS);
	skel = relay_bench__open();
	if (!skel || bpf_map__set_max_entries(skel->maps.ntm_relay_paths, slots) ||
	    bpf_map__set_max_entries(skel->maps.ntm_relay_accounts, slots) ||
	    bpf_map__set_max_entries(skel->maps.ntm_relay_agent, slots) || relay_bench__load(skel))
		return -errno;
	params = memory(skel->maps.bench_params, sizeof(*params));
	struct ntm_relay_settings *s = memory(skel->maps.ntm_relay_settings, sizeof(*s));
	struct ntm_relay_uplink *up = memory(skel->maps.ntm_relay_uplinks, sizeof(*up));
	struct ntm_relay_path *paths = memory(skel->maps.ntm_relay_paths, sizeof(*paths));
	struct ntm_relay_account *accounts = memory(skel->maps.ntm_relay_accounts, sizeof(*accounts));
	struct ntm_relay_agent *agents = memory(skel->maps.ntm_relay_agent, sizeof(*agents));
	if (!params || !s || !up || !paths || !accounts || !agents)
		return -ENOMEM;
	*s = (struct ntm_relay_settings){
	    .layout = NTM_RELAY_LAYOUT, .slots = slots, .port = htons(NTM_PORT), .paths = PATHS};
	/* Test runs come from lo: what leaves by it is sent, not redirected. */
	*up = (struct ntm_relay_uplink){.ifindex = if_nametoindex("out0"), .nic = 1, .addr4 = htonl(BENCH_V4_OWN)};
	uint32_t own6[4] = {htonl(BENCH_V6), 0, 0, htonl(1)};
	memcpy(up->addr6, own6, 16);
	ntm_relay_table_init(&table, paths, accounts, agents, slots, PATHS);
	return 0;
}

static void set_addr(struct ntm_addr *a, bool v6, uint32_t base, uint32_t index)
{
	uint32_t w[4] = {0, 0, htonl(0xffff), htonl(base + index)};
	if (v6) {
		w[0] = htonl(BENCH_V6);
		w[2] = htonl(base == BENCH_V4_OUT);
		w[3] = htonl(256 + index);
	}
	memcpy(a->ip, w, 16);
	a->port = htons((uint16_t)(BENCH_PORT + (index & 0x7fff)));
}

/* Binds every path's ends anew: initiators of the one family, responders of the other. */
static int bind_all(bool in_v6, bool out_v6)
{
	static const uint8_t secret[NTM_KEY_LEN] = {1};
	int err = 0;
	for (uint32_t i = 0; i < PATHS && !err; i++) {
		struct ntm_addr a, b;
		uint64_t id = bench_path_id(i);
		set_addr(&a, in_v6, BENCH_V4_IN, i);
		set_addr(&b, out_v6, BENCH_V4_OUT, i);
		err = ntm_relay_table_add(&table, id, secret, 0);
		/* The responder first moves out of the way of an initiator that had its address. */
		if (!err)
			err = ntm_relay_table_del(&table, id);
		if (!err)
			err = ntm_relay_table_add(&table, id, secret, 0);
		if (!err)
			err = ntm_relay_table_bind(&table, id, 0, &a, 1);
		if (!err)
			err = ntm_relay_table_bind(&table, id, 1, &b, 1);
	}
	return err;
}

static int run(enum bench_idle idle, uint32_t repeat, double *ns)
{
	static uint8_t packet[2048];
	size_t len = 14 + (params->in_v6 ? 40 : 20) + 8 + params->payload;
	LIBBPF_OPTS(bpf_test_run_opts, t, .data_in = packet, .data_size_in = (uint32_t)len, .repeat = (int)repeat);
	params->idle = idle;
	params->wrong = 0;
	int err = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.bench), &t);
	*ns = t.duration;
	if (!err && (params->wrong || t.retval != 3)) {
		fprintf(stderr, "relay: %u packets were not relayed\n", params->wrong);
		return -EPROTO;
	}
	return err;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* One figure: what RUNS runs in each of ROUNDS rounds took, without what they take anyway. */
struct figure {
	char name[40];
	double ns[ROUNDS * RUNS];
	int n;
};

static int measure(struct figure *f, uint32_t payload, bool hot, enum bench_idle what)
{
	double with, without;
	int err = 0;
	params->payload = payload;
	params->hot = hot;
	params->seed = 0x123456789abcdefULL;
	for (int i = 0; i < RUNS && !err; i++) {
		err = run(BENCH_IDLE, REPEAT, &without);
		if (!err)
			err = run(what, REPEAT, &with);
		f->ns[f->n++] = with - without;
	}
	return err;
}

static void print_figure(struct figure *f)
{
	if (!f->n)
		return;
	qsort(f->ns, (size_t)f->n, sizeof(double), by_value);
	printf("%s\t%.0f\tns\n", f->name, f->ns[f->n / 2]);
}

enum { KINDS = 4 }; /* of a pair of families: random and hot, short and full */

static int measure_families(bool in_v6, bool out_v6, struct figure of[KINDS], struct figure *find)
{
	double ignored;
	int err = bind_all(in_v6, out_v6);
	params->paths = PATHS;
	params->in_v6 = in_v6;
	params->out_v6 = out_v6;
	params->payload = MESSAGE;
	params->hot = 0;
	if (!err)
		err = run(BENCH_RELAY, 4 * PATHS, &ignored); /* every path has asked for its next hop */
	if (!err && !in_v6 && !out_v6)
		err = measure(find, MESSAGE, false, BENCH_FIND);
	for (int kind = 0; kind < KINDS && !err; kind++) {
		snprintf(of[kind].name, sizeof(of[kind].name), "relay_v%dv%d_%s%s", in_v6 ? 6 : 4, out_v6 ? 6 : 4,
			 kind & 1 ? "hot" : "random", kind & 2 ? "_1400" : "");
		err = measure(&of[kind], kind & 2 ? FULL : MESSAGE, kind & 1, BENCH_RELAY);
	}
	return err;
}

static int measure_all(const char *only)
{
	static struct figure figures[4][KINDS], find = {.name = "relay_find_random"};
	int err = 0;
	for (int round = 0; round < ROUNDS && !err; round++)
		for (int pair = 0; pair < 4 && !err; pair++) {
			char name[8];
			snprintf(name, sizeof(name), "v%dv%d", pair & 2 ? 6 : 4, pair & 1 ? 6 : 4);
			if (!only || !strcmp(only, name))
				err = measure_families(pair & 2, pair & 1, figures[pair], &find);
		}
	if (err)
		return err;
	print_figure(&find);
	for (int pair = 0; pair < 4; pair++)
		for (int kind = 0; kind < KINDS; kind++)
			print_figure(&figures[pair][kind]);
	return 0;
}

/* Reads READS words of the table one after the other, each at a place that depends on the one before. ns a read. */
static double read_chain(bool random)
{
	struct timespec begin, end;
	uint64_t at = 1;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (int i = 0; i < READS; i++) {
		uint64_t id = bench_path_id((uint32_t)at), slot = random ? (id >> 32) * table.slots >> 32 : 0;
		uint64_t word = *(const volatile uint64_t *)&table.paths[slot], same = word;
		__asm__ volatile("" : "+r"(same)); /* the compiler can't know that same - word is 0 */
		at += 1 + (same - word);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	return ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / READS;
}

static void print_memory_time(void)
{
	double ns[CHAINS];
	for (int i = 0; i < CHAINS; i++)
		ns[i] = read_chain(true) - read_chain(false);
	qsort(ns, CHAINS, sizeof(double), by_value);
	printf("relay_memory_random\t%.0f\tns\n", ns[CHAINS / 2]);
}

static int print_memory(void)
{
	const struct bpf_map *m;
	unsigned long long total = 0, bytes;
	bpf_object__for_each_map(m, skel->obj)
	{
		char path[64], line[128];
		if (m == skel->maps.bench_params)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", bpf_map__fd(m));
		FILE *f = fopen(path, "re");
		if (!f)
			return -errno;
		while (fgets(line, sizeof(line), f))
			if (sscanf(line, "memlock: %llu", &bytes) == 1)
				total += bytes;
		fclose(f);
	}
	printf("relay_mem_million\t%.1f\tMiB\n", (double)total / 1048576);
	return 0;
}

/* relay [v4v4|v4v6|v6v4|v6v6] */
int main(int argc, char **argv)
{
	int err = prepare_namespace();
	if (!err)
		err = load();
	if (!err)
		err = measure_all(argc > 1 ? argv[1] : NULL);
	if (!err) {
		print_memory_time();
		err = print_memory();
	}
	if (err)
		fprintf(stderr, "relay: %s\n", strerror(abs(err)));
	relay_bench__destroy(skel);
	return err ? 1 : 0;
}
