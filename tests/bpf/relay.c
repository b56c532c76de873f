/* SPDX-License-Identifier: BSD-2-Clause */
/* What the relay sends on, byte for byte: families, interfaces, tags, lengths, checksums. */
#include <endian.h>
#include <time.h>

#include "relay_rig.h"

enum { DROP = 1, PASS = 2, TX = 3, REDIRECT = 4 };

TestSuite(bpf_relay, .init = rig_up, .fini = rig_down);

/* What the frame has to be after `k` was relayed to host 20 at nic. */
static void check_relayed(const struct fx_frame *f, const struct rig_packet *k, bool to_v6, int nic,
			  const uint8_t *payload, const char *what)
{
	const struct ntm_relay_uplink *up = &rig.uplinks[nic];
	size_t l3 = 14 + 4u * up->n_tags, ip_len = to_v6 ? 40 : 20;
	const uint8_t mac[6] = {2, 0, 0, 0, (uint8_t)nic, 0x20}, *ip = f->data + l3, *udp = ip + ip_len;
	struct ntm_addr src = rig_addr(to_v6, nic, 1), dst = rig_addr(to_v6, nic, 20);

	cr_assert_eq(f->len, l3 + ip_len + 8 + k->len, "%s: %zu bytes", what, f->len);
	cr_expect_arr_eq(f->data, mac, 6, "%s", what);
	cr_expect_arr_eq(f->data + 6, up->mac, 6, "%s", what);
	cr_expect_eq(f->data[l3 - 2] << 8 | f->data[l3 - 1], to_v6 ? 0x86dd : 0x0800, "%s", what);
	if (to_v6) {
		cr_expect_eq(ip[0] << 8 | ip[1], 0x6000 | k->tos << 4, "%s: traffic class", what);
		cr_expect_eq(ip[4] << 8 | ip[5], 8 + k->len);
		cr_expect_eq(ip[6], 17);
		cr_expect_eq(ip[7], k->ttl - 1);
		cr_expect_arr_eq(ip + 8, src.ip, 16, "%s: source", what);
		cr_expect_arr_eq(ip + 24, dst.ip, 16, "%s: destination", what);
	} else {
		cr_expect_eq(ip[0], 0x45);
		cr_expect_eq(ip[1], k->tos, "%s: TOS", what);
		cr_expect_eq(ip[2] << 8 | ip[3], 28 + k->len);
		cr_expect_eq(ip[6] << 8 | ip[7], k->may_fragment ? 0 : 0x4000, "%s: DF", what);
		cr_expect_eq(ip[8], k->ttl - 1);
		cr_expect_eq(ip[9], 17);
		cr_expect_eq(fx_sum(ip, 20, 0), 0xffff, "%s: header checksum", what);
		cr_expect_arr_eq(ip + 12, src.ip + 12, 4, "%s: source", what);
		cr_expect_arr_eq(ip + 16, dst.ip + 12, 4, "%s: destination", what);
	}
	cr_expect_eq(udp[0] << 8 | udp[1], NTM_PORT);
	cr_expect_eq(udp[2] << 8 | udp[3], RIG_PORT);
	cr_expect_eq(udp[4] << 8 | udp[5], 8 + k->len);
	if (!to_v6 && !k->v6 && !k->checked)
		cr_expect_eq(udp[6] << 8 | udp[7], 0, "%s: no checksum stays none", what);
	else
		cr_expect(rig_udp_sum(ip) == 0xffff && (udp[6] || udp[7]), "%s: UDP checksum", what);
	cr_expect_arr_eq(udp + 8, payload, k->len, "%s: payload", what);
}

static void relay_one(struct rig_packet k, bool to_v6, int nic)
{
	struct fx_frame f, before;
	char what[80];
	rig_make(&f, &k);
	before = f;
	snprintf(what, sizeof(what), "v%d to v%d at r%d, %u bytes, %u tags%s", k.v6 ? 6 : 4, to_v6 ? 6 : 4, nic, k.len,
		 k.n_tags, k.checked ? ", checksum" : "");
	cr_assert_eq(rig_run(&f), nic ? REDIRECT : TX, "%s", what);
	rig_counted(NTM_RR_RELAYED, before.len, what);
	check_relayed(&f, &k, to_v6, nic, before.data + rig_payload(&k), what);
}

Test(bpf_relay, every_pair_of_families_by_the_same_nic_and_another)
{
	for (int i = 0; i < 16; i++) {
		bool from_v6 = i & 1, to_v6 = i & 2, checked = i & 8;
		int nic = !!(i & 4);
		uint64_t packets = 0, bytes = 0;
		rig_path(from_v6, to_v6, nic);
		for (int len = 32; len <= 1400; len += len < 100 ? 1 : 97, packets++) {
			relay_one((struct rig_packet){.v6 = from_v6, .checked = checked, .len = (uint16_t)len}, to_v6,
				  nic);
			bytes += (uint64_t)len;
		}
		struct ntm_relay_dp_path p = rig_get(RIG_PATH);
		cr_expect_eq(p.ends[0].packets, packets);
		cr_expect_eq(p.ends[0].bytes, bytes);
		cr_expect_eq(p.ends[1].packets, 0);
		cr_expect_eq(p.drops, 0);
		ntm_relay_table_del(&rig.table, RIG_PATH);
	}
}

/* What was counted lately goes to the account again and again; nothing is counted twice or lost. */
Test(bpf_relay, many_packets_are_counted)
{
	enum { N = 1000 };
	rig_path(false, false, 0);
	for (int i = 1; i <= N; i++) {
		struct rig_packet k = {.len = 1400}, back = {.from = 20, .len = 160};
		struct fx_frame f;
		rig_make(&f, &k);
		cr_assert_eq(rig_run(&f), TX);
		if (i % 2) {
			rig_make(&f, &back);
			cr_assert_eq(rig_run(&f), TX);
		}
		if (i % 100)
			continue;
		struct ntm_relay_dp_path p = rig_get(RIG_PATH);
		cr_expect_eq(p.ends[0].packets, (uint64_t)i);
		cr_expect_eq(p.ends[0].bytes, 1400 * (uint64_t)i);
		cr_expect_eq(p.ends[1].packets, (uint64_t)i / 2);
		cr_expect_eq(p.ends[1].bytes, 160 * (uint64_t)i / 2);
	}
}

Test(bpf_relay, both_directions)
{
	struct rig_packet k = {.from = 20};
	struct fx_frame f;
	rig_path(true, false, 0);
	rig_make(&f, &k);
	cr_assert_eq(rig_run(&f), TX);
	struct ntm_addr want = rig_addr(true, 0, 10);
	cr_expect_arr_eq(f.data + 14 + 24, want.ip, 16);
	cr_expect_eq(rig_udp_sum(f.data + 14), 0xffff);
	cr_expect_eq(rig_get(RIG_PATH).ends[1].packets, 1);
	cr_expect_eq(rig_get(RIG_PATH).ends[1].bytes, k.len);
}

Test(bpf_relay, big_payloads_get_their_checksum)
{
	rig_path(false, true, 0);
	rig_sh("ip link set p0 mtu 3400; ip link set r0 mtu 3400");
	rig.settings->routing++;
	for (int len = 1401; len < 3300; len += 61)
		relay_one((struct rig_packet){.len = (uint16_t)len}, true, 0);
}

Test(bpf_relay, what_the_header_says_stays)
{
	for (int pair = 0; pair < 4; pair++) {
		rig_path(pair & 1, pair & 2, 0);
		for (int tos = 0; tos < 256; tos += 5)
			relay_one((struct rig_packet){.v6 = pair & 1,
						      .tos = (uint8_t)tos,
						      .ttl = (uint8_t)(tos + 2 > 255 ? 2 : tos + 2)},
				  pair & 2, 0);
		ntm_relay_table_del(&rig.table, RIG_PATH);
	}
	rig_path(false, false, 0);
	relay_one((struct rig_packet){.may_fragment = true}, false, 0);
}

Test(bpf_relay, handshake_messages_pass_by_length)
{
	static const struct {
		uint8_t type;
		uint16_t len;
	} rows[] = {{NTM_T_TUNNEL_REQ, 160}, {NTM_T_TUNNEL_RESP, 96}, {NTM_T_COOKIE_REPLY, 64}, {NTM_T_DATA, 32}};
	rig_path(false, true, 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		relay_one((struct rig_packet){.type = rows[i].type, .len = rows[i].len}, true, 1);
	for (int suite = 0; suite < 16; suite++)
		relay_one((struct rig_packet){.suite = (uint8_t)suite}, true, 1);
}

static void tag(int nic, int n, uint16_t outer, uint16_t inner)
{
	struct ntm_relay_uplink *up = &rig.uplinks[nic];
	up->n_tags = (uint8_t)n;
	up->tpid[0] = htons(n == 2 ? 0x88a8 : 0x8100);
	up->tpid[1] = htons(0x8100);
	up->tci[0] = htons(outer);
	up->tci[1] = htons(inner);
}

Test(bpf_relay, tags_as_the_way_out_needs_them)
{
	for (int in = 0; in < 3; in++)
		for (int out = 0; out < 3; out++)
			for (int pair = 0; pair < 4; pair++) {
				rig_path(pair & 1, pair & 2, in != out);
				tag(in != out, out, 5, 6);
				relay_one((struct rig_packet){.v6 = pair & 1, .n_tags = (uint8_t)in, .tci = {5, 6}},
					  pair & 2, in != out);
				ntm_relay_table_del(&rig.table, RIG_PATH);
			}
}

Test(bpf_relay, a_tag_keeps_its_priority)
{
	struct rig_packet k = {.n_tags = 2, .tci = {0xe000 | 100, 0x7000 | 200}};
	struct fx_frame f;
	rig_path(false, false, 0);
	tag(0, 2, 100, 201);
	rig_make(&f, &k);
	cr_assert_eq(rig_run(&f), TX);
	cr_expect_arr_eq(f.data + 12, "\x88\xa8\xe0\x64\x81\x00\x70\xc9\x08\x00", 10);
}

Test(bpf_relay, padding_of_the_frame_is_not_in_the_checksum)
{
	struct rig_packet k = {.len = 33};
	struct fx_frame f;
	rig_path(false, true, 0);
	rig_make(&f, &k);
	memset(f.data + f.len, 0xee, 90);
	f.len += 90;
	cr_assert_eq(rig_run(&f), TX);
	cr_expect_eq(rig_udp_sum(f.data + 14), 0xffff);
}

/* Damage on the way must not get a right checksum here. */
Test(bpf_relay, a_wrong_checksum_stays_wrong)
{
	for (int pair = 0; pair < 4; pair++) {
		struct rig_packet k = {.v6 = pair & 1, .checked = true};
		struct fx_frame f;
		rig_path(pair & 1, pair & 2, 0);
		rig_make(&f, &k);
		f.data[f.len - 1] ^= 1;
		cr_assert_eq(rig_run(&f), TX);
		cr_expect_neq(rig_udp_sum(f.data + 14), 0xffff);
		ntm_relay_table_del(&rig.table, RIG_PATH);
	}
}

Test(bpf_relay, it_leaves_from_the_address_that_it_was_sent_to)
{
	struct ntm_addr second = rig_addr(false, 0, 2);
	struct rig_packet k = {.to = 2};
	struct fx_frame f;
	rig_path(false, false, 0);
	rig_local(&second);
	rig_make(&f, &k);
	cr_assert_eq(rig_run(&f), TX);
	cr_expect_arr_eq(f.data + 26, second.ip + 12, 4);
}

/* What a sender on this host leaves to hardware that is not there: generic mode knows, native mode has to be told. */
Test(bpf_relay, a_checksum_that_the_kernel_would_complete)
{
	for (int i = 0; i < 8; i++) {
		bool native = i & 4, to_v6 = i & 2;
		struct rig_packet k = {.v6 = i & 1, .checked = true, .len = 700};
		struct fx_frame f;
		rig_path(k.v6, to_v6, 0);
		rig.settings->native = native ? 1u << (rig.nic[0] % 32) : 0;
		rig_make(&f, &k);
		uint8_t *ip = f.data + 14, *udp = ip + (k.v6 ? 40 : 20);
		put16(udp + 6, fx_sum(ip + (k.v6 ? 8 : 12), k.v6 ? 32 : 8, 17u + 8 + k.len));
		cr_assert_eq(rig_run(&f), TX);
		ip = f.data + 14;
		udp = ip + (to_v6 ? 40 : 20);
		if (!native)
			cr_expect_eq(udp[6] << 8 | udp[7],
				     fx_sum(ip + (to_v6 ? 8 : 12), to_v6 ? 32 : 8, 17u + 8 + k.len),
				     "of the new pseudo-header");
		else if (to_v6)
			cr_expect_eq(rig_udp_sum(ip), 0xffff, "complete");
		else
			cr_expect_eq(udp[6] << 8 | udp[7], 0, "none");
		ntm_relay_table_del(&rig.table, RIG_PATH);
	}
}

/* A whole checksum that happens to be the sum of its pseudo-header. */
Test(bpf_relay, a_checksum_that_looks_unfinished)
{
	struct rig_packet k = {.checked = true, .len = 100};
	struct fx_frame f;
	rig_path(false, false, 0);
	rig_make(&f, &k);
	uint8_t *ip = f.data + 14, *udp = ip + 20;
	uint16_t pseudo = fx_sum(ip + 12, 8, 17u + 8 + k.len);
	put16(udp + 6, pseudo);
	put16(f.data + f.len - 2, 0);
	put16(f.data + f.len - 2, (uint16_t)~rig_udp_sum(ip));
	cr_assert_eq(rig_udp_sum(ip), 0xffff);
	cr_assert_eq(rig_run(&f), TX);
	cr_expect_eq(rig_udp_sum(f.data + 14), 0xffff);
}

/* An end that was bound elsewhere still has packets on the way from where it was; for a second, and only from there. */
Test(bpf_relay, packets_from_where_an_end_was)
{
	struct ntm_relay_former was = {.port = {htons(RIG_PORT), htons(RIG_PORT)}};
	struct ntm_addr old = rig_addr(false, 0, 10), new = rig_addr(false, 0, 30);
	uint64_t key = htobe64(RIG_PATH);
	int fd = bpf_map__fd(rig.skel->maps.ntm_relay_former);
	struct timespec now;
	struct fx_frame f;
	rig_path(false, true, 0);
	cr_assert_eq(ntm_relay_table_bind(&rig.table, RIG_PATH, 0, &new, 2), 0);
	struct rig_packet late = {0}, other = {.from = 11}, port = {.sport = RIG_PORT + 1};
	rig_make(&f, &late);
	cr_expect_eq(rig_run(&f), DROP);
	clock_gettime(CLOCK_MONOTONIC, &now);
	was.until_ns[0] = ((uint64_t)now.tv_sec + 100) * 1000000000u;
	memcpy(was.addr[0], old.ip, 16);
	cr_assert_eq(bpf_map_update_elem(fd, &key, &was, BPF_ANY), 0);
	rig_make(&f, &late);
	cr_expect_eq(rig_run(&f), TX);
	struct ntm_addr want = rig_addr(true, 0, 20);
	cr_expect_arr_eq(f.data + 14 + 24, want.ip, 16);
	cr_expect_eq(rig_get(RIG_PATH).ends[0].packets, 1);
	rig_make(&f, &other);
	cr_expect_eq(rig_run(&f), DROP);
	rig_make(&f, &port);
	cr_expect_eq(rig_run(&f), DROP);
	was.until_ns[0] = ((uint64_t)now.tv_sec - 1) * 1000000000u;
	cr_assert_eq(bpf_map_update_elem(fd, &key, &was, BPF_ANY), 0);
	rig_make(&f, &late);
	cr_expect_eq(rig_run(&f), DROP);
}
