/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The relay's program on packets in memory (BPF_PROG_TEST_RUN), in a network namespace of its own:
 *
 *   r0  192.0.2.1, 2001:db8:1::1            ends .10 and .20, ::10 and ::20 there
 *   r1  198.51.100.1, 2001:db8:2::1         ends .20 and ::20 there
 *
 * Packets come in by r0. Ends' neighbours are 02:00:00:00:NIC:HOST.
 */
#ifndef NTM_RELAY_RIG_H
#define NTM_RELAY_RIG_H

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <criterion/criterion.h>
#include <linux/bpf.h>
#include <ntm/wire.h>

#include "../../user/relay/relay_table.h"
#include "fixture.h"
#include "relay.skel.h"

#define RIG_PATH 0x8899aabbccddeeffULL
#define RIG_SLOTS 97
#define RIG_PATHS 64
#define RIG_PORT 5000

struct rig {
	struct relay *skel;
	int prog;
	uint32_t nic[2];
	struct ntm_relay_settings *settings;
	struct ntm_relay_uplink *uplinks;
	struct ntm_relay_path *paths;
	struct ntm_relay_account *accounts;
	struct ntm_relay_agent *agents;
	struct ntm_relay_table table;
	struct ntm_counter before[NTM_RR_COUNT];
};

struct rig_packet {
	bool v6;
	uint8_t from;   /* host number, 10 */
	uint8_t to;     /* 1: the relay */
	uint16_t sport; /* RIG_PORT */
	uint8_t type;   /* NTM_T_DATA */
	uint8_t suite;
	uint8_t ttl; /* 64 */
	uint8_t tos;
	uint8_t n_tags;
	uint16_t tci[2];
	bool checked; /* IPv4: with UDP checksum */
	bool may_fragment;
	uint16_t len; /* of UDP payload, 160 */
	uint64_t id;  /* RIG_PATH */
};

static struct rig rig;
static const uint8_t rig_secret[NTM_KEY_LEN] = {7};

static inline void rig_sh(const char *command)
{
	cr_assert_eq(system(command), 0, "%s", command);
}

static inline void *rig_memory(struct bpf_map *m, size_t value)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), len = (value * bpf_map__max_entries(m) + page - 1) / page * page;
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(m), 0);
	cr_assert_neq(p, MAP_FAILED);
	return p;
}

static inline struct ntm_addr rig_addr(bool v6, int nic, int host)
{
	struct ntm_addr a = {.port = htons(RIG_PORT)};
	char text[48];
	if (v6)
		snprintf(text, sizeof(text), "2001:db8:%d::%x", nic + 1, host == 1 ? 1 : host + 6);
	else
		snprintf(text, sizeof(text), "%s.%d", nic ? "198.51.100" : "192.0.2", host);
	cr_assert_eq(ntm_ip_parse(text, a.ip), 0);
	return a;
}

static inline void rig_local(const struct ntm_addr *a)
{
	uint32_t one = 1;
	cr_assert_eq(bpf_map_update_elem(bpf_map__fd(rig.skel->maps.ntm_relay_locals), a->ip, &one, BPF_ANY), 0);
}

static inline void rig_nic(int nic)
{
	char name[8], c[512];
	snprintf(name, sizeof(name), "r%d", nic);
	snprintf(c, sizeof(c),
		 "ip link add r%d type veth peer name p%d; ip link set p%d up; ip link set r%d up;"
		 "ip addr add %s.1/24 dev r%d; ip addr add 2001:db8:%d::1/64 dev r%d nodad",
		 nic, nic, nic, nic, nic ? "198.51.100" : "192.0.2", nic, nic + 1, nic);
	rig_sh(c);
	for (int host = 10; host <= 20; host += 10) {
		snprintf(c, sizeof(c),
			 "ip neigh add %s.%d lladdr 02:00:00:00:0%d:%d dev r%d nud permanent;"
			 "ip neigh add 2001:db8:%d::%x lladdr 02:00:00:00:0%d:%d dev r%d nud permanent",
			 nic ? "198.51.100" : "192.0.2", host, nic, host, nic, nic + 1, host + 6, nic, host, nic);
		rig_sh(c);
	}
	struct ntm_addr a4 = rig_addr(false, nic, 1), a6 = rig_addr(true, nic, 1);
	struct ntm_relay_uplink *up = &rig.uplinks[nic];
	rig.nic[nic] = if_nametoindex(name);
	*up = (struct ntm_relay_uplink){.ifindex = rig.nic[nic], .nic = rig.nic[nic], .mac = {2, 0, 0, 0, 0xff}};
	up->mac[5] = (uint8_t)nic;
	memcpy(&up->addr4, a4.ip + 12, 4);
	memcpy(up->addr6, a6.ip, 16);
	rig_local(&a4);
	rig_local(&a6);
}

static inline void rig_up(void)
{
	memset(&rig, 0, sizeof(rig));
	if (geteuid())
		cr_skip_test("needs root to load BPF programs");
	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	rig.skel = relay__open();
	cr_assert(rig.skel);
	bpf_map__set_max_entries(rig.skel->maps.ntm_relay_paths, RIG_SLOTS);
	bpf_map__set_max_entries(rig.skel->maps.ntm_relay_accounts, RIG_SLOTS);
	bpf_map__set_max_entries(rig.skel->maps.ntm_relay_agent, RIG_SLOTS);
	cr_assert_eq(relay__load(rig.skel), 0, "%s", strerror(errno));
	rig.prog = bpf_program__fd(rig.skel->progs.relay);
	rig.settings = rig_memory(rig.skel->maps.ntm_relay_settings, sizeof(*rig.settings));
	rig.uplinks = rig_memory(rig.skel->maps.ntm_relay_uplinks, sizeof(*rig.uplinks));
	rig.paths = rig_memory(rig.skel->maps.ntm_relay_paths, sizeof(*rig.paths));
	rig.accounts = rig_memory(rig.skel->maps.ntm_relay_accounts, sizeof(*rig.accounts));
	rig.agents = rig_memory(rig.skel->maps.ntm_relay_agent, sizeof(*rig.agents));
	*rig.settings = (struct ntm_relay_settings){
	    .layout = NTM_RELAY_LAYOUT, .slots = RIG_SLOTS, .port = htons(NTM_PORT), .paths = RIG_PATHS};
	ntm_relay_table_init(&rig.table, rig.paths, rig.accounts, rig.agents, RIG_SLOTS, RIG_PATHS);
	rig_sh("ip link set lo up; sysctl -qw net.ipv4.conf.lo.forwarding=1 net.ipv6.conf.lo.forwarding=1");
	rig_nic(0);
	rig_nic(1);
}

static inline void rig_down(void)
{
	relay__destroy(rig.skel);
}

static inline void rig_add(uint64_t id)
{
	cr_assert_eq(ntm_relay_table_add(&rig.table, id, rig_secret, 0), 0);
}

static inline void rig_bind(uint64_t id, unsigned end, struct ntm_addr a)
{
	cr_assert_eq(ntm_relay_table_bind(&rig.table, id, end, &a, 1), 0);
}

/* RIG_PATH from 10 at r0 to 20 at nic. */
static inline void rig_path(bool from_v6, bool to_v6, int nic)
{
	rig_add(RIG_PATH);
	rig_bind(RIG_PATH, 0, rig_addr(from_v6, 0, 10));
	rig_bind(RIG_PATH, 1, rig_addr(to_v6, nic, 20));
}

/* Of a frame that was sent through the relay. */
struct rig_path_counts {
	uint64_t packets[2], bytes[2], drops;
};

static inline struct ntm_relay_dp_path rig_get(uint64_t id)
{
	struct ntm_relay_dp_path p;
	cr_assert_eq(ntm_relay_table_get(&rig.table, id, &p), 0);
	return p;
}

static inline size_t rig_l3(const struct rig_packet *k)
{
	return 14 + 4u * k->n_tags;
}

static inline size_t rig_payload(const struct rig_packet *k)
{
	return rig_l3(k) + (k->v6 ? 40 : 20) + 8;
}

static inline void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* The UDP checksum of a datagram, from its pseudo-header up; ip at the IP header. 0 in the field: of what belongs
 * there, 0xffff: it is right. */
static inline uint16_t rig_udp_sum(const uint8_t *ip)
{
	bool v6 = ip[0] >> 4 == 6;
	const uint8_t *udp = ip + (v6 ? 40 : 20);
	size_t len = (size_t)udp[4] << 8 | udp[5];
	return fx_sum(udp, len, fx_sum(ip + (v6 ? 8 : 12), v6 ? 32 : 8, (uint32_t)(17 + len)));
}

static inline void rig_make(struct fx_frame *f, struct rig_packet *k)
{
	k->from = k->from ?: 10;
	k->to = k->to ?: 1;
	k->sport = k->sport ?: RIG_PORT;
	k->type = k->type ?: NTM_T_DATA;
	k->ttl = k->ttl ?: 64;
	k->len = k->len ?: 160;
	k->id = k->id ?: RIG_PATH;
	struct ntm_addr src = rig_addr(k->v6, 0, k->from), dst = rig_addr(k->v6, 0, k->to);
	uint8_t *p = f->data;
	memset(f, 0, sizeof(*f));
	memcpy(p, "\x02\x00\x00\x00\xff\x00\x02\x00\x00\x00\x00\x10", 12);
	p += 12;
	for (int i = 0; i < k->n_tags; i++, p += 4) {
		put16(p, k->n_tags == 2 && !i ? 0x88a8 : 0x8100);
		put16(p + 2, k->tci[i]);
	}
	put16(p, k->v6 ? 0x86dd : 0x0800);
	uint8_t *ip = p + 2, *udp = ip + (k->v6 ? 40 : 20);
	if (k->v6) {
		put16(ip, 0x6000 | k->tos << 4);
		put16(ip + 4, 8u + k->len);
		ip[6] = 17;
		ip[7] = k->ttl;
		memcpy(ip + 8, src.ip, 16);
		memcpy(ip + 24, dst.ip, 16);
	} else {
		ip[0] = 0x45;
		ip[1] = k->tos;
		put16(ip + 2, 28u + k->len);
		put16(ip + 4, 0x4242);
		ip[6] = k->may_fragment ? 0 : 0x40;
		ip[8] = k->ttl;
		ip[9] = 17;
		memcpy(ip + 12, src.ip + 12, 4);
		memcpy(ip + 16, dst.ip + 12, 4);
		fx_fix_ipv4(ip);
	}
	put16(udp, k->sport);
	put16(udp + 2, NTM_PORT);
	put16(udp + 4, 8u + k->len);
	udp[8] = (uint8_t)(NTM_WIRE_VERSION << 4 | k->type);
	udp[9] = (uint8_t)(k->suite << 4);
	for (int i = 0; i < 8 && k->len >= 16; i++)
		udp[16 + i] = (uint8_t)(k->id >> (56 - 8 * i));
	for (int i = 16; i < k->len; i++)
		udp[8 + i] = (uint8_t)(i * 37 + 11);
	f->len = rig_payload(k) + k->len;
	if (k->v6 || k->checked) {
		uint16_t sum = (uint16_t)~rig_udp_sum(ip);
		put16(udp + 6, sum ?: 0xffff);
	}
}

static inline void rig_counters(struct ntm_counter out[NTM_RR_COUNT])
{
	int cpus = libbpf_num_possible_cpus();
	struct ntm_counter v[cpus];
	memset(out, 0, NTM_RR_COUNT * sizeof(*out));
	for (uint32_t r = 0; r < NTM_RR_COUNT; r++) {
		cr_assert_eq(bpf_map_lookup_elem(bpf_map__fd(rig.skel->maps.ntm_relay_counters), &r, v), 0);
		for (int c = 0; c < cpus; c++) {
			out[r].packets += v[c].packets;
			out[r].bytes += v[c].bytes;
		}
	}
}

/* The verdict; the frame becomes what it is afterwards. */
static inline int rig_run(struct fx_frame *f)
{
	struct fx_frame out;
	struct xdp_md md = {.data_end = (uint32_t)f->len, .ingress_ifindex = rig.nic[0]};
	LIBBPF_OPTS(bpf_test_run_opts, t, .data_in = f->data, .data_size_in = (uint32_t)f->len, .data_out = out.data,
		    .data_size_out = sizeof(out.data), .ctx_in = &md, .ctx_size_in = sizeof(md), .repeat = 1);
	rig_counters(rig.before);
	int err = bpf_prog_test_run_opts(rig.prog, &t);
	cr_assert_eq(err, 0, "test run of %zu bytes: %s", f->len, strerror(-err));
	memcpy(f->data, out.data, t.data_size_out);
	f->len = t.data_size_out;
	return (int)t.retval;
}

/* One packet of `bytes` under r since rig_run() began, and nothing else. */
static inline void rig_counted(enum ntm_relay_reason r, uint64_t bytes, const char *what)
{
#define X(symbol, name, meaning) name,
	static const char *const names[] = {NTM_RELAY_REASONS(X)};
#undef X
	struct ntm_counter now[NTM_RR_COUNT];
	rig_counters(now);
	for (int i = 0; i < NTM_RR_COUNT; i++) {
		uint64_t n = now[i].packets - rig.before[i].packets;
		cr_expect_eq(n, (uint64_t)(i == (int)r), "%s: %s counted %lu times", what, names[i], (unsigned long)n);
		if (i == (int)r)
			cr_expect_eq(now[i].bytes - rig.before[i].bytes, bytes, "%s: bytes", what);
	}
}

/* Buckets of all CPUs are full again, and next hops asked for anew. */
static inline void rig_forget(void)
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t none[cpus];
	memset(none, 0, sizeof(none));
	for (uint32_t b = 0; b < NTM_RB_COUNT; b++)
		bpf_map_update_elem(bpf_map__fd(rig.skel->maps.ntm_relay_buckets), &b, none, BPF_ANY);
	rig.settings->routing++;
}

#endif
