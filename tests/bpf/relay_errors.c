/* SPDX-License-Identifier: BSD-2-Clause */
/* What the relay does not send on, what it hands to others, and what it answers. */
#include "relay_rig.h"

#include <time.h>

enum { DROP = 1, PASS = 2, TX = 3, REDIRECT = 4 };

TestSuite(bpf_relay_errors, .init = rig_up, .fini = rig_down);

#define IP 14
#define UDP4 34
#define UDP6 54

struct row {
	const char *name;
	struct rig_packet k;
	void (*edit)(struct fx_frame *f); /* before it is sent */
	int verdict;
	enum ntm_relay_reason reason;
};

static void fragment4(struct fx_frame *f)
{
	f->data[IP + 6] |= 0x20;
	fx_fix_ipv4(f->data + IP);
}
static void later_fragment4(struct fx_frame *f)
{
	put16(f->data + IP + 6, 100);
	fx_fix_ipv4(f->data + IP);
}
static void options4(struct fx_frame *f)
{
	memmove(f->data + UDP4 + 4, f->data + UDP4, f->len - UDP4);
	memset(f->data + UDP4, 1, 4);
	f->len += 4;
	f->data[IP] = 0x46;
	put16(f->data + IP + 2, (unsigned)(f->len - IP));
	fx_fix_ipv4(f->data + IP);
}
static void extension(struct fx_frame *f, uint8_t kind, uint8_t third)
{
	memmove(f->data + UDP6 + 8, f->data + UDP6, f->len - UDP6);
	memset(f->data + UDP6, 0, 8);
	f->data[UDP6] = 17;
	f->data[UDP6 + 3] = third;
	f->data[IP + 6] = kind;
	f->len += 8;
	put16(f->data + IP + 4, (unsigned)(f->len - UDP6));
}
static void hop_by_hop6(struct fx_frame *f)
{
	extension(f, 0, 0);
}
static void fragment6(struct fx_frame *f)
{
	extension(f, 44, 1);
}
static void no_checksum6(struct fx_frame *f)
{
	memset(f->data + UDP6 + 6, 0, 2);
}
static void other_port(struct fx_frame *f)
{
	f->data[UDP4 + 3]++;
}
static void udp_longer(struct fx_frame *f)
{
	f->data[UDP4 + 5]++;
}
static void cut_off(struct fx_frame *f)
{
	f->len -= 1;
}
static void version2(struct fx_frame *f)
{
	f->data[UDP4 + 8] += 0x10;
}
static void to_other_host(struct fx_frame *f)
{
	f->data[IP + 19] = 77;
	fx_fix_ipv4(f->data + IP);
}
static void arp(struct fx_frame *f)
{
	put16(f->data + 12, 0x0806);
}
static void mismatched_version(struct fx_frame *f)
{
	put16(f->data + 12, 0x86dd);
}

static void check_rows(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct row *r = &rows[i];
		struct rig_packet k = r->k;
		struct fx_frame f, before;
		rig_forget();
		rig_make(&f, &k);
		if (r->edit)
			r->edit(&f);
		before = f;
		cr_expect_eq(rig_run(&f), r->verdict, "%s", r->name);
		rig_counted(r->reason, before.len, r->name);
		cr_expect_eq(f.len, before.len, "%s", r->name);
		cr_expect_arr_eq(f.data, before.data, before.len, "%s: not changed", r->name);
	}
}

Test(bpf_relay_errors, every_reason)
{
	static const struct row rows[] = {
	    {"IPv4 fragment", {0}, fragment4, DROP, NTM_RR_FRAGMENT},
	    {"IPv4 fragment without a port", {0}, later_fragment4, PASS, NTM_RR_OTHER},
	    {"IPv6 fragment", {.v6 = true}, fragment6, DROP, NTM_RR_FRAGMENT},
	    {"IPv4 options", {0}, options4, DROP, NTM_RR_IP_OPTIONS},
	    {"IPv6 hop-by-hop options", {.v6 = true}, hop_by_hop6, DROP, NTM_RR_IP_OPTIONS},
	    {"no checksum over IPv6", {.v6 = true}, no_checksum6, DROP, NTM_RR_NO_CHECKSUM},
	    {"another port", {0}, other_port, PASS, NTM_RR_OTHER},
	    {"ARP", {0}, arp, PASS, NTM_RR_OTHER},
	    {"IPv4 that calls itself IPv6", {0}, mismatched_version, PASS, NTM_RR_OTHER},
	    {"UDP longer than IP", {0}, udp_longer, DROP, NTM_RR_BAD_LENGTH},
	    {"frame cut off", {0}, cut_off, DROP, NTM_RR_BAD_LENGTH},
	    {"half a header", {.len = 15}, NULL, DROP, NTM_RR_SHORT},
	    {"data without a tag", {.len = 31}, NULL, DROP, NTM_RR_SHORT},
	    {"other version", {0}, version2, DROP, NTM_RR_BAD_VERSION},
	    {"undefined type", {.type = 5}, NULL, DROP, NTM_RR_BAD_TYPE},
	    {"unknown path", {.id = RIG_PATH ^ 1}, NULL, DROP, NTM_RR_UNKNOWN_PATH},
	    {"third address", {.from = 30}, NULL, DROP, NTM_RR_BAD_SOURCE},
	    {"other port of the end", {.sport = RIG_PORT + 1}, NULL, DROP, NTM_RR_BAD_SOURCE},
	    {"other family of the end", {.v6 = true}, NULL, DROP, NTM_RR_BAD_SOURCE},
	    {"request of another length", {.type = NTM_T_TUNNEL_REQ, .len = 161}, NULL, DROP, NTM_RR_BAD_LENGTH},
	    {"response of another length", {.type = NTM_T_TUNNEL_RESP, .len = 97}, NULL, DROP, NTM_RR_BAD_LENGTH},
	    {"cookie of another length", {.type = NTM_T_COOKIE_REPLY, .len = 65}, NULL, DROP, NTM_RR_BAD_LENGTH},
	    {"TTL 1", {.ttl = 1}, NULL, DROP, NTM_RR_TTL},
	    {"not to this host", {0}, to_other_host, PASS, NTM_RR_OTHER},
	    {"not to this host, unknown path", {.id = 5}, to_other_host, PASS, NTM_RR_OTHER},
	    {"bind", {.type = NTM_T_TUNNEL_REQ, .len = 64}, NULL, PASS, NTM_RR_TO_AGENT},
	    {"bind from anywhere", {.from = 30, .type = NTM_T_TUNNEL_REQ, .len = 64}, NULL, PASS, NTM_RR_TO_AGENT},
	    {"bind with request", {.type = NTM_T_TUNNEL_REQ, .len = 208}, NULL, PASS, NTM_RR_TO_AGENT},
	    {"bind of no path", {.type = 9, .len = 64, .id = 5}, NULL, DROP, NTM_RR_UNKNOWN_PATH},
	    {"probe", {.type = 9, .suite = 15, .len = 64, .id = 5}, NULL, PASS, NTM_RR_TO_AGENT},
	    {"probe of another length", {.type = 9, .suite = 15, .len = 208}, NULL, DROP, NTM_RR_BAD_LENGTH},
	    {"session init", {.type = 1, .id = 5}, NULL, PASS, NTM_RR_TO_AGENT},
	    {"session response", {.type = 2, .id = 5}, NULL, PASS, NTM_RR_TO_AGENT},
	    {"cookie for the agent", {.type = 3, .len = 64, .id = 5}, NULL, PASS, NTM_RR_TO_AGENT},
	    {"signalling", {.type = 4, .id = 5}, NULL, PASS, NTM_RR_TO_AGENT},
	};
	for (int to_v6 = 0; to_v6 < 2; to_v6++) {
		rig_path(false, to_v6, 0);
		check_rows(rows, sizeof(rows) / sizeof(rows[0]));
		ntm_relay_table_del(&rig.table, RIG_PATH);
	}
}

static void expect_one(struct rig_packet k, int verdict, enum ntm_relay_reason reason, const char *what)
{
	check_rows(&(struct row){what, k, NULL, verdict, reason}, 1);
}

static void expect_relayed(struct rig_packet k, const char *what)
{
	struct fx_frame f;
	rig_make(&f, &k);
	cr_expect_eq(rig_run(&f), TX, "%s", what);
}

Test(bpf_relay_errors, paths_that_lead_nowhere)
{
	struct ntm_relay_dp_path p;
	rig_add(RIG_PATH);
	expect_one((struct rig_packet){0}, DROP, NTM_RR_BAD_SOURCE, "nobody is bound");
	rig_bind(RIG_PATH, 0, rig_addr(false, 0, 10));
	expect_one((struct rig_packet){0}, DROP, NTM_RR_NOT_BOUND, "the other end is not bound");
	rig_bind(RIG_PATH, 1, rig_addr(false, 0, 99));
	expect_one((struct rig_packet){0}, DROP, NTM_RR_NO_ROUTE, "no neighbour");
	struct ntm_addr a = rig_addr(false, 0, 20);
	a.ip[12] = 203;
	rig_bind(RIG_PATH, 1, a);
	expect_one((struct rig_packet){0}, DROP, NTM_RR_NO_ROUTE, "no route");
	p = rig_get(RIG_PATH);
	cr_expect_eq(p.drops, 2, "dropped on the way out");
	cr_expect_eq(p.ends[0].packets, 0);
}

Test(bpf_relay_errors, addresses_that_nothing_is_sent_to)
{
	static const char *const refused[] = {"127.0.0.1", "224.0.0.1", "239.1.2.3", "255.255.255.255", "0.0.0.0",
					      "0.1.2.3",   "240.0.0.1", "192.0.2.1", "198.51.100.1",    "::1",
					      "::",        "ff02::1",   "fe80::1",   "2001:db8:1::1",   "febf::1"};
	rig_add(RIG_PATH);
	rig_bind(RIG_PATH, 0, rig_addr(false, 0, 10));
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct ntm_addr a = {.port = htons(RIG_PORT)};
		cr_assert_eq(ntm_ip_parse(refused[i], a.ip), 0, "%s", refused[i]);
		rig_bind(RIG_PATH, 1, a);
		expect_one((struct rig_packet){0}, DROP, NTM_RR_BAD_DEST, refused[i]);
	}
	struct ntm_addr subnet = rig_addr(false, 0, 255);
	rig_bind(RIG_PATH, 1, subnet);
	expect_one((struct rig_packet){0}, DROP, NTM_RR_NO_ROUTE, "subnet broadcast");
}

Test(bpf_relay_errors, a_changed_neighbour_is_seen_when_routes_are_said_to_have_changed)
{
	struct rig_packet k = {0};
	struct fx_frame f;
	rig_path(false, false, 0);
	expect_relayed(k, "before");
	rig_sh("ip neigh replace 192.0.2.20 lladdr 02:00:00:00:aa:aa dev r0 nud permanent");
	rig.settings->routing++;
	rig_make(&f, &k);
	cr_assert_eq(rig_run(&f), TX);
	cr_expect_arr_eq(f.data, "\x02\x00\x00\x00\xaa\xaa", 6);
	rig_bind(RIG_PATH, 1, rig_addr(false, 1, 20));
	rig_make(&f, &k);
	cr_expect_eq(rig_run(&f), REDIRECT, "a bind is seen at once");
}

/* The table of next hops, every entry another one, last taken `ago` units of 2^34 ns ago. */
static void fill_hops(uint32_t ago)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	uint64_t now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	for (uint32_t i = 0; i < NTM_RELAY_HOPS; i++) {
		struct ntm_relay_hop h = {
		    .word = 1ULL << 63 | (i + 1), .mtu = 1500, .used = (uint32_t)(now >> 34) - ago};
		cr_assert_eq(bpf_map_update_elem(bpf_map__fd(rig.skel->maps.ntm_relay_hops), &i, &h, BPF_ANY), 0);
	}
}

static int kept_hops(void)
{
	int kept = 0;
	for (int i = 0; i < RIG_SLOTS; i++)
		kept += rig.paths[i].hop[1] != 0;
	return kept;
}

Test(bpf_relay_errors, more_next_hops_than_are_kept)
{
	fill_hops(0);
	rig_path(false, true, 0);
	for (int i = 0; i < 3; i++) {
		struct rig_packet k = {0};
		struct fx_frame f;
		rig_make(&f, &k);
		cr_assert_eq(rig_run(&f), TX);
		cr_expect_arr_eq(f.data, "\x02\x00\x00\x00\x00\x20", 6, "looked up for this packet");
		cr_expect_eq(kept_hops(), 0, "the others are in use");
	}
	fill_hops(10);
	expect_relayed((struct rig_packet){0}, "in the place of one that nobody takes any more");
	cr_expect_eq(kept_hops(), 1);
}

Test(bpf_relay_errors, forwarding_on_the_interface_serves_as_well)
{
	rig_path(false, true, 0);
	rig_sh("sysctl -qw net.ipv4.conf.lo.forwarding=0 net.ipv6.conf.lo.forwarding=0");
	expect_one((struct rig_packet){0}, DROP, NTM_RR_NO_ROUTE, "no forwarding at all");
	rig_sh("sysctl -qw net.ipv6.conf.r0.forwarding=1");
	expect_relayed((struct rig_packet){0}, "forwarding on r0");
}

Test(bpf_relay_errors, while_the_agent_changes_it)
{
	rig_path(false, false, 0);
	for (int i = 0; i < RIG_SLOTS; i++)
		rig.paths[i].version |= 1;
	expect_one((struct rig_packet){0}, DROP, NTM_RR_BUSY, "odd version");
	for (int i = 0; i < RIG_SLOTS; i++)
		rig.paths[i].version++;
	expect_relayed((struct rig_packet){0}, "even again");
}

Test(bpf_relay_errors, nothing_happens_without_settings)
{
	rig_path(false, false, 0);
	rig.settings->layout = 0;
	struct rig_packet k = {0};
	struct fx_frame f;
	rig_make(&f, &k);
	cr_expect_eq(rig_run(&f), PASS);
}

/* All of them at home in the last slot, so that they go round the end of the table. */
Test(bpf_relay_errors, paths_that_share_a_home_slot)
{
	enum { N = 20 };
	for (uint64_t i = 0; i < N; i++) {
		rig_add(0xffffffff00000000 + i + 1);
		rig_bind(0xffffffff00000000 + i + 1, 0, rig_addr(false, 0, 10));
		rig_bind(0xffffffff00000000 + i + 1, 1, rig_addr(false, 0, 20));
	}
	for (uint64_t i = 0; i < N; i++)
		expect_relayed((struct rig_packet){.id = 0xffffffff00000000 + i + 1}, "all there");
	for (uint64_t i = 0; i < N; i += 2)
		cr_assert_eq(ntm_relay_table_del(&rig.table, 0xffffffff00000000 + i + 1), 0);
	for (uint64_t i = 0; i < N; i++) {
		struct rig_packet k = {.id = 0xffffffff00000000 + i + 1};
		if (i % 2)
			expect_relayed(k, "behind tombstones");
		else
			expect_one(k, DROP, NTM_RR_UNKNOWN_PATH, "deleted");
	}
	expect_one((struct rig_packet){.id = UINT64_MAX}, DROP, NTM_RR_UNKNOWN_PATH, "a tombstone is no path");
}

Test(bpf_relay_errors, a_rate_is_kept)
{
	struct fx_frame f;
	uint64_t began = fx_now();
	int passed = 0;
	rig_path(false, false, 0);
	cr_assert_eq(ntm_relay_table_add(&rig.table, RIG_PATH, rig_secret, 1000), 0);
	/* 1 Mbit/s: 12,500 bytes in the 100 ms of the bucket, and one packet each 10 ms that this takes */
	for (int i = 0; i < 100; i++) {
		struct rig_packet k = {.len = 1250};
		rig_make(&f, &k);
		passed += rig_run(&f) == TX;
	}
	cr_expect(passed >= 10 && (uint64_t)passed <= 12 + (fx_now() - began) / 10000000, "%d of 1,250 bytes", passed);
	cr_expect_eq(rig_get(RIG_PATH).drops, (uint64_t)(100 - passed));
	/* 1 kbit/s: a packet is 10 s */
	cr_assert_eq(ntm_relay_table_add(&rig.table, RIG_PATH, rig_secret, 1), 0);
	for (int i = 0; i < 2; i++) {
		struct rig_packet k = {.len = 1250};
		rig_make(&f, &k);
		rig_run(&f);
	}
	expect_one((struct rig_packet){.len = 1250}, DROP, NTM_RR_RATE, "empty");
	cr_assert_eq(ntm_relay_table_add(&rig.table, RIG_PATH, rig_secret, 0), 0);
	expect_relayed((struct rig_packet){0}, "no limit");
}

static int passed_of(struct rig_packet k, int n)
{
	struct fx_frame f;
	int passed = 0;
	for (int i = 0; i < n; i++) {
		struct rig_packet again = k;
		rig_make(&f, &again);
		passed += rig_run(&f) == PASS;
	}
	return passed;
}

/* One CPU's buckets: what passes while the test runs comes on top. */
Test(bpf_relay_errors, the_agent_is_not_flooded)
{
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
	rig_path(false, false, 0);
	rig_add(RIG_PATH + 1);
	int binds = passed_of((struct rig_packet){.type = 9, .len = 64}, 60);
	cr_expect(binds >= 20 && binds <= 30, "%d binds", binds);
	cr_expect_eq(passed_of((struct rig_packet){.type = 9, .len = 64, .id = RIG_PATH + 1}, 5), 5,
		     "another path has a bucket of its own");
	uint64_t far = UINT64_MAX / 2;
	for (uint32_t b = 0; b < NTM_RB_COUNT; b++) {
		int cpus = libbpf_num_possible_cpus();
		uint64_t v[cpus];
		for (int i = 0; i < cpus; i++)
			v[i] = far;
		bpf_map_update_elem(bpf_map__fd(rig.skel->maps.ntm_relay_buckets), &b, v, BPF_ANY);
	}
	cr_expect_eq(passed_of((struct rig_packet){.type = 1}, 3), 0, "signalling");
	cr_expect_eq(passed_of((struct rig_packet){.type = 9, .suite = 15, .len = 64}, 3), 0, "probes");
	expect_relayed((struct rig_packet){0}, "paths go on");
}

Test(bpf_relay_errors, a_bind_bucket_of_long_ago_is_full)
{
	rig_path(false, false, 0);
	for (int i = 0; i < RIG_SLOTS; i++)
		rig.accounts[i].bind_tat += 0x70000000;
	cr_expect_eq(passed_of((struct rig_packet){.type = 9, .len = 64}, 5), 5);
}

/* The answer to a frame of k that was too big; mtu: what it names. */
static void check_icmp(const struct fx_frame *f, const struct fx_frame *sent, const struct rig_packet *k, unsigned mtu)
{
	size_t l3 = rig_l3(k), ip_len = k->v6 ? 40 : 20, quote = (k->v6 ? 1280u : 576u) - ip_len - 8;
	const uint8_t *ip = f->data + l3, *icmp = ip + ip_len;
	if (quote > sent->len - l3)
		quote = sent->len - l3;
	cr_assert_eq(f->len, l3 + ip_len + 8 + quote);
	cr_expect_arr_eq(f->data, sent->data + 6, 6);
	cr_expect_arr_eq(f->data + 6, sent->data, 6);
	cr_expect_arr_eq(f->data + 12, sent->data + 12, l3 - 12, "tags stay");
	if (k->v6) {
		cr_expect_eq(ip[4] << 8 | ip[5], 8 + quote);
		cr_expect_eq(ip[6], 58);
		cr_expect_arr_eq(ip + 8, sent->data + l3 + 24, 16);
		cr_expect_arr_eq(ip + 24, sent->data + l3 + 8, 16);
		cr_expect_eq(icmp[0] << 8 | icmp[1], 2 << 8);
		cr_expect_eq(icmp[4] << 24 | icmp[5] << 16 | icmp[6] << 8 | icmp[7], mtu);
		cr_expect_eq(fx_sum(icmp, 8 + quote, fx_sum(ip + 8, 32, (uint32_t)(58 + 8 + quote))), 0xffff);
	} else {
		cr_expect_eq(ip[2] << 8 | ip[3], 28 + quote);
		cr_expect_eq(ip[9], 1);
		cr_expect_eq(fx_sum(ip, 20, 0), 0xffff);
		cr_expect_arr_eq(ip + 12, sent->data + l3 + 16, 4);
		cr_expect_arr_eq(ip + 16, sent->data + l3 + 12, 4);
		cr_expect_eq(icmp[0] << 8 | icmp[1], 3 << 8 | 4);
		cr_expect_eq(icmp[6] << 8 | icmp[7], mtu);
		cr_expect_eq(fx_sum(icmp, 8 + quote, 0), 0xffff);
	}
	cr_expect_arr_eq(icmp + 8, sent->data + l3, quote, "the packet as it came");
}

Test(bpf_relay_errors, too_big_for_the_way_out)
{
	/* r1 carries 1,400; to IPv6 senders nothing below 1,280 is named */
	static const struct {
		bool from_v6, to_v6;
		unsigned out_mtu, named;
	} rows[] = {{false, false, 1400, 1400}, {false, true, 1400, 1380}, {true, false, 1400, 1420},
		    {true, true, 1400, 1400},   {true, false, 1000, 1280}, {false, false, 600, 600}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char c[64];
		struct fx_frame f, sent;
		rig_path(rows[i].from_v6, rows[i].to_v6, 1);
		snprintf(c, sizeof(c), "ip link set r1 mtu %u", rows[i].out_mtu);
		rig_sh(c);
		unsigned exact = rows[i].out_mtu - (rows[i].to_v6 ? 48 : 28);
		for (unsigned tags = 0; tags < 3; tags++) {
			struct rig_packet k = {.v6 = rows[i].from_v6, .n_tags = (uint8_t)tags, .len = (uint16_t)exact};
			rig_forget();
			rig_make(&f, &k);
			cr_expect_eq(rig_run(&f), REDIRECT, "row %zu: %u bytes just fit", i, exact);
			k.len++;
			rig_make(&f, &k);
			sent = f;
			cr_assert_eq(rig_run(&f), TX, "row %zu", i);
			rig_counted(NTM_RR_TOO_BIG, sent.len, "too big");
			check_icmp(&f, &sent, &k, rows[i].named);
		}
		cr_expect_eq(rig_get(RIG_PATH).drops, 3);
		ntm_relay_table_del(&rig.table, RIG_PATH);
	}
}

Test(bpf_relay_errors, too_big_without_an_answer)
{
	rig_path(false, false, 1);
	rig_sh("ip link set r1 mtu 1000");
	expect_one((struct rig_packet){.len = 1200, .may_fragment = true}, DROP, NTM_RR_TOO_BIG, "no DF");
	struct fx_frame f;
	int answered = 0;
	for (int i = 0; i < 300; i++) {
		struct rig_packet k = {.len = 1200};
		rig_make(&f, &k);
		answered += rig_run(&f) == TX;
	}
	cr_expect(answered >= 20 && answered < 150, "%d answers", answered);
}

/* Returns verdict for every packet. */
static int tiny_program(int verdict)
{
	const struct bpf_insn code[] = {
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = verdict},
	    {.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, o, .expected_attach_type = BPF_XDP);
	return bpf_prog_load(BPF_PROG_TYPE_XDP, "tiny", "GPL", code, 2, &o);
}

Test(bpf_relay_errors, the_gateway_gets_what_is_none_of_the_relays)
{
	uint32_t zero = 0;
	int fd = tiny_program(REDIRECT);
	cr_assert_geq(fd, 0);
	rig_path(false, false, 0);
	cr_assert_eq(bpf_map_update_elem(bpf_map__fd(rig.skel->maps.ntm_relay_next), &zero, &fd, BPF_ANY), 0);
	expect_one((struct rig_packet){.id = 5}, DROP, NTM_RR_UNKNOWN_PATH, "only when the settings say so");
	rig.settings->flags = NTM_RELAY_GATEWAY;
	static const struct row rows[] = {
	    {"unknown path", {.id = 5}, NULL, REDIRECT, NTM_RR_TO_GATEWAY},
	    {"handshake of an unknown path", {.id = 5, .type = 9}, NULL, REDIRECT, NTM_RR_TO_GATEWAY},
	    {"fragment", {0}, fragment4, REDIRECT, NTM_RR_TO_GATEWAY},
	    {"another port", {0}, other_port, REDIRECT, NTM_RR_OTHER},
	    {"third address", {.from = 30}, NULL, DROP, NTM_RR_BAD_SOURCE},
	    {"signalling", {.type = 4, .id = 5}, NULL, PASS, NTM_RR_TO_AGENT},
	};
	check_rows(rows, sizeof(rows) / sizeof(rows[0]));
	expect_relayed((struct rig_packet){0}, "the relay's own");
	close(fd);
}
