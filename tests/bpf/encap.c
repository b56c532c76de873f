/* SPDX-License-Identifier: BSD-2-Clause */
/* node_encap: what leaves, and under which reason the rest is dropped. */
#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "fixture.h"

enum { SHOT = 2, REDIRECT = 7 };

static struct fx f;

static void setup(void)
{
	fx_open(&f, FX_ALICE, 0);
}

static void teardown(void)
{
	fx_close(&f);
}

TestSuite(bpf_encap, .init = setup, .fini = teardown);

static void send_one(const struct fx_inner *in, bool outer_v6, uint64_t counter)
{
	size_t hdr_off = fx_hdr_off(outer_v6), inner_len = in->payload + (in->v6 ? 40 : 20);
	struct fx_frame clear, p;
	uint8_t key[NTM_KEY_LEN], *ip = p.data + 14, *udp = p.data + fx_udp_off(outer_v6), *tag;
	struct ntm_hdr h;
	const char *why;

	fx_clear_frame(&f, &clear, in);
	p = clear;
	cr_assert_eq(fx_encap(&f, &p), REDIRECT, "inner v%d, %u bytes", in->v6 ? 6 : 4, in->payload);
	why = fx_only(&f, NTM_R_TX_OK, inner_len, false);
	cr_assert_null(why, "%s", why);
	cr_assert_eq(p.len, hdr_off + sizeof(h) + inner_len + NTM_TAG_LEN);

	if (outer_v6) {
		cr_expect_eq(p.data[12] << 8 | p.data[13], 0x86dd);
		cr_expect_eq(ip[0], 0x60 | in->tos >> 4);
		cr_expect_eq(ip[1], (in->tos << 4 & 0xf0));
		cr_expect_eq(ip[4] << 8 | ip[5], p.len - 14 - 40);
		cr_expect_eq(ip[6], 17);
		cr_expect_eq(ip[7], 64);
		cr_expect_arr_eq(ip + 8, fx_real(FX_ALICE, true), 16);
		cr_expect_arr_eq(ip + 24, fx_real(FX_BOB, true), 16);
		cr_expect_eq(fx_check_udp6(&p), 0, "UDP checksum, %zu bytes", p.len);
	} else {
		cr_expect_eq(p.data[12] << 8 | p.data[13], 0x0800);
		cr_expect_eq(ip[0], 0x45);
		cr_expect_eq(ip[1], in->tos);
		cr_expect_eq(ip[2] << 8 | ip[3], p.len - 14);
		cr_expect_eq(ip[6] << 8 | ip[7], 0x4000, "DF");
		cr_expect_eq(ip[8], 64);
		cr_expect_eq(ip[9], 17);
		cr_expect_eq(fx_sum(ip, 20, 0), 0xffff, "IPv4 header checksum");
		cr_expect_arr_eq(ip + 12, fx_real(FX_ALICE, false) + 12, 4);
		cr_expect_arr_eq(ip + 16, fx_real(FX_BOB, false) + 12, 4);
		cr_expect_eq(udp[6] << 8 | udp[7], 0);
	}
	cr_expect_eq(udp[0] << 8 | udp[1], NTM_PORT);
	cr_expect_eq(udp[2] << 8 | udp[3], NTM_PORT);
	cr_expect_eq(udp[4] << 8 | udp[5], 8 + sizeof(h) + inner_len + NTM_TAG_LEN);

	memcpy(&h, p.data + hdr_off, sizeof(h));
	cr_expect_eq(h.ver_type, 0x1b);
	cr_expect_eq(h.suite_epoch, FX_EPOCH);
	cr_expect_eq(be64toh(h.id), FX_PATH_ID);
	cr_expect_eq((uint64_t)ntohs(h.ctr_hi) << 32 | ntohl(h.ctr_lo), counter);
	fx_key(FX_ALICE, FX_EPOCH, key);
	tag = p.data + p.len - NTM_TAG_LEN;
	cr_assert_eq(fx_aead(false, key, &h, p.data + hdr_off + sizeof(h), inner_len, tag), 0);
	cr_expect_arr_eq(p.data + hdr_off + sizeof(h), clear.data + 14, inner_len);
}

Test(bpf_encap, four_families_all_lengths)
{
	uint64_t counter = 0, bytes = 0;

	for (int outer = 0; outer < 2; outer++) {
		fx_set_endpoint(&f, outer);
		for (int inner = 0; inner < 2; inner++) {
			for (int len = inner ? 0 : 1; len <= FX_MTU - 40; len += len < 160 ? 1 : 61) {
				struct fx_inner in = {.v6 = inner, .payload = len, .tos = len};

				send_one(&in, outer, counter++);
				bytes += len + (inner ? 40 : 20);
			}
			send_one(&(struct fx_inner){.v6 = inner, .payload = FX_MTU - (inner ? 40 : 20)}, outer,
				 counter++);
			bytes += FX_MTU;
		}
	}
	cr_expect_eq(fx_path(&f)->tx_packets, counter);
	cr_expect_eq(fx_path(&f)->tx_bytes, bytes);
	cr_expect_eq(fx_path(&f)->tx[FX_EPOCH & 1].counter, counter);
	cr_expect_lt(fx_now() - fx_path(&f)->last_tx_ns, 10000000000ull);
}

Test(bpf_encap, counter_above_32_bits)
{
	fx_path(&f)->tx[FX_EPOCH & 1].counter = 0x12fffffffeull;
	send_one(&(struct fx_inner){.payload = 100}, false, 0x12fffffffeull);
	send_one(&(struct fx_inner){.payload = 100}, false, 0x12ffffffffull);
	send_one(&(struct fx_inner){.payload = 100}, false, 0x1300000000ull);
}

Test(bpf_encap, padding_is_not_sent)
{
	struct fx_frame p;

	fx_clear_frame(&f, &p, &(struct fx_inner){.payload = 10});
	memset(p.data + p.len, 0xaa, 16);
	p.len += 16;
	cr_assert_eq(fx_encap(&f, &p), REDIRECT);
	cr_expect_eq(p.len, fx_hdr_off(false) + 16 + 30 + 16);
}

/* Packets that don't leave. edit changes a good frame or the path. */
struct row {
	const char *name;
	void (*edit)(struct fx_frame *p);
	bool v6;
	enum ntm_reason reason;
	enum ntm_event_type event; /* 0: none */
};

static void arp(struct fx_frame *p)
{
	p->data[12] = 8;
	p->data[13] = 6;
}
static void version(struct fx_frame *p)
{
	p->data[14] = 0x75;
}
static void multicast4(struct fx_frame *p)
{
	memcpy(p->data + 30, "\xe0\x00\x00\x16", 4);
}
static void broadcast4(struct fx_frame *p)
{
	memset(p->data + 30, 0xff, 4);
}
static void multicast6(struct fx_frame *p)
{
	inet_pton(AF_INET6, "ff02::16", p->data + 38);
}
static void short_ihl(struct fx_frame *p)
{
	p->data[14] = 0x44;
}
static void ihl_over_length(struct fx_frame *p)
{
	p->data[14] = 0x4f;
	p->data[16] = 0;
	p->data[17] = 40;
}
static void length_over_frame(struct fx_frame *p)
{
	p->data[17]++;
}
static void length_over_frame6(struct fx_frame *p)
{
	p->data[19]++;
}
static void other_ethertype(struct fx_frame *p)
{
	p->data[12] = 0x86;
	p->data[13] = 0xdd;
}
static void source4(struct fx_frame *p)
{
	p->data[29]++;
}
static void source6(struct fx_frame *p)
{
	p->data[14 + 23]++;
}
static void outside4(struct fx_frame *p)
{
	inet_pton(AF_INET, "100.112.0.1", p->data + 30);
}
static void outside6(struct fx_frame *p)
{
	inet_pton(AF_INET6, "fd4e:544d:1::2", p->data + 38);
}
static void own4(struct fx_frame *p)
{
	memcpy(p->data + 30, fx_vip4(FX_ALICE), 4);
}
static void own6(struct fx_frame *p)
{
	memcpy(p->data + 38, fx_vip6(FX_ALICE), 16);
}
static void unknown4(struct fx_frame *p)
{
	inet_pton(AF_INET, "100.97.0.9", p->data + 30);
}
static void unknown6(struct fx_frame *p)
{
	inet_pton(AF_INET6, "fd4e:544d:0:1::9", p->data + 38);
}
static void freed(struct fx_frame *p)
{
	(void)p;
	fx_path(&f)->path_id = 0;
}
static void no_key(struct fx_frame *p)
{
	(void)p;
	fx_path(&f)->tx[FX_EPOCH & 1].expires_ns = 0;
}
static void expired(struct fx_frame *p)
{
	(void)p;
	fx_path(&f)->tx[FX_EPOCH & 1].expires_ns = fx_now() - 1;
}
static void worn_out(struct fx_frame *p)
{
	(void)p;
	fx_path(&f)->tx[FX_EPOCH & 1].counter = NTM_COUNTER_LIMIT;
}
static void too_big(struct fx_frame *p)
{
	(void)p;
	fx_path(&f)->inner_mtu = 119;
}
static void too_big_small_outer(struct fx_frame *p)
{
	(void)p;
	fx_path(&f)->inner_mtu = 119;
	fx_path(&f)->flags = NTM_PATH_SMALL_OUTER;
}
static void no_uplink(struct fx_frame *p)
{
	(void)p;
	f.uplinks[0].way[0].ifindex = 0;
}
static void no_way_out(struct fx_frame *p)
{
	(void)p;
	f.uplinks[0].way[1] = f.uplinks[0].way[0];
	memset(f.uplinks[0].way[1].mask, 0xff, 16);
	f.uplinks[0].way[1].flags = NTM_WAY_KNOWN;
	f.uplinks[0].cur = 1;
}
static void no_endpoint(struct fx_frame *p)
{
	(void)p;
	memset(&fx_path(&f)->ep[0], 0, sizeof(fx_path(&f)->ep[0]));
}

static const struct row rows[] = {
    {"ARP", arp, false, NTM_R_TX_NOT_IP, 0},
    {"IP version 7", version, false, NTM_R_TX_NOT_IP, 0},
    {"IPv4 multicast", multicast4, false, NTM_R_TX_NOT_IP, 0},
    {"IPv4 broadcast", broadcast4, false, NTM_R_TX_NOT_IP, 0},
    {"IPv6 multicast", multicast6, true, NTM_R_TX_NOT_IP, 0},
    {"IPv4 header length 16", short_ihl, false, NTM_R_TX_BAD_INNER, 0},
    {"IPv4 header longer than packet", ihl_over_length, false, NTM_R_TX_BAD_INNER, 0},
    {"IPv4 length over frame", length_over_frame, false, NTM_R_TX_BAD_INNER, 0},
    {"IPv6 length over frame", length_over_frame6, true, NTM_R_TX_BAD_INNER, 0},
    {"IPv4 under IPv6's Ethernet type", other_ethertype, false, NTM_R_TX_BAD_INNER, 0},
    {"IPv4 source not own", source4, false, NTM_R_TX_BAD_SOURCE, 0},
    {"IPv6 source not own", source6, true, NTM_R_TX_BAD_SOURCE, 0},
    {"IPv4 outside the pool", outside4, false, NTM_R_TX_NOT_VIRTUAL, 0},
    {"IPv6 outside the pool", outside6, true, NTM_R_TX_NOT_VIRTUAL, 0},
    {"IPv4 to itself", own4, false, NTM_R_TX_NOT_VIRTUAL, 0},
    {"IPv6 to itself", own6, true, NTM_R_TX_NOT_VIRTUAL, 0},
    {"IPv4 without path", unknown4, false, NTM_R_TX_NO_PATH, NTM_EV_NO_PATH},
    {"IPv6 without path", unknown6, true, NTM_R_TX_NO_PATH, NTM_EV_NO_PATH},
    {"path was freed", freed, false, NTM_R_TX_NO_PATH, NTM_EV_NO_PATH},
    {"no key", no_key, false, NTM_R_TX_NO_KEY, NTM_EV_EXPIRED},
    {"key expired", expired, false, NTM_R_TX_KEY_EXPIRED, NTM_EV_EXPIRED},
    {"key worn out", worn_out, false, NTM_R_TX_KEY_EXPIRED, NTM_EV_EXPIRED},
    {"over the path MTU", too_big, false, NTM_R_TX_TOO_BIG, 0},
    {"over a small path's MTU", too_big_small_outer, false, NTM_R_TX_TOO_BIG, NTM_EV_TOO_BIG},
    {"no uplink", no_uplink, false, NTM_R_TX_NO_UPLINK, 0},
    {"no way out by the uplink", no_way_out, false, NTM_R_TX_NO_UPLINK, 0},
    {"no endpoint yet", no_endpoint, false, NTM_R_TX_NO_UPLINK, 0},
};

static struct ntm_way *second_uplink(bool v6)
{
	struct ntm_way *way = &f.uplinks[2 + v6].way[0];

	*way = f.uplinks[v6].way[0];
	way->addr[15] ^= 64;
	return way;
}

/* What comes in by ntm0p with its own address as source is a sealed packet that has left already. */
Test(bpf_encap, a_copy_leaves_by_the_second_uplink)
{
	for (int v6 = 0; v6 < 2; v6++) {
		struct fx_inner in = {.payload = 333};
		struct ntm_way *way = second_uplink(v6);
		struct fx_frame sealed, copy;

		fx_set_endpoint(&f, v6);
		fx_clear_frame(&f, &sealed, &in);
		cr_assert_eq(fx_encap(&f, &sealed), REDIRECT);
		memcpy(sealed.data + 6, f.settings->mac_ntm0p, 6);
		copy = sealed;
		cr_assert_eq(fx_encap(&f, &copy), REDIRECT, "IPv%d", v6 ? 6 : 4);
		cr_assert_eq(fx_counted(&f, NTM_R_TX_COPY, NULL), 1);
		cr_assert_eq(fx_counted(&f, NTM_R_TX_OK, NULL), 0);
		cr_assert_eq(copy.len, sealed.len);
		if (v6) {
			cr_expect_arr_eq(copy.data + 14 + 8, way->addr, 16);
			cr_expect_eq(fx_check_udp6(&copy), 0);
			memcpy(sealed.data + 14 + 8, way->addr, 16);
			memcpy(sealed.data + 54 + 6, copy.data + 54 + 6, 2);
		} else {
			memcpy(sealed.data + 14 + 12, way->addr + 12, 4);
			fx_fix_ipv4(sealed.data + 14);
		}
		cr_expect_arr_eq(copy.data + 14, sealed.data + 14, sealed.len - 14,
				 "all else is the same, counter and tag too");

		sealed = copy;
		way->mtu = (uint32_t)sealed.len - 15;
		cr_expect_eq(fx_encap(&f, &copy), SHOT, "over the MTU of the second uplink");
		cr_expect_eq(fx_counted(&f, NTM_R_TX_NO_UPLINK, NULL), 1);
		way->mtu = 1500;
		copy = sealed;
		copy.data[fx_udp_off(v6) + 1] ^= 1;
		cr_expect_eq(fx_encap(&f, &copy), SHOT, "from another port");
		way->ifindex = 0;
		copy = sealed;
		cr_expect_eq(fx_encap(&f, &copy), SHOT, "which is gone");
	}
}

Test(bpf_encap, dropped)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct row *r = &rows[i];
		struct ntm_path saved = *fx_path(&f), edited;
		struct ntm_uplink uplink = f.uplinks[0];
		struct fx_frame p, was;
		const char *why;

		fx_clear_frame(&f, &p, &(struct fx_inner){.v6 = r->v6, .payload = 100});
		r->edit(&p);
		was = p;
		edited = *fx_path(&f);
		cr_assert_eq(fx_encap(&f, &p), SHOT, "%s", r->name);
		why = fx_only(&f, r->reason, was.len - 14, false);
		cr_expect_null(why, "%s: %s", r->name, why);
		cr_expect(p.len == was.len && !memcmp(p.data, was.data, p.len), "%s: packet changed", r->name);
		if (r->edit == worn_out)
			edited.tx[FX_EPOCH & 1].counter++;
		cr_expect(!memcmp(fx_path(&f), &edited, sizeof(edited)), "%s: path changed", r->name);
		cr_expect_eq(f.n_events, r->event != 0, "%s: %zu events", r->name, f.n_events);
		if (r->event) {
			const struct ntm_event *ev = &f.events[0];

			cr_expect_eq(ev->type, r->event, "%s", r->name);
			if (r->event == NTM_EV_NO_PATH || r->event == NTM_EV_TOO_BIG) {
				cr_expect_eq(ev->len, was.len - 14, "%s", r->name);
				cr_expect(!memcmp(ev->data, was.data + 14, ev->len), "%s: event data", r->name);
			} else {
				cr_expect_eq(ev->epoch, FX_EPOCH, "%s", r->name);
			}
			cr_expect_eq(be64toh(ev->path_id), r->event == NTM_EV_NO_PATH ? 0 : FX_PATH_ID, "%s", r->name);
		}
		*fx_path(&f) = saved;
		f.uplinks[0] = uplink;
		fx_forget(&f);
	}
}

static void repeat(const struct fx_frame *p, uint32_t times)
{
	struct fx_frame first = *p;

	fx_encap(&f, &first);
	fx_time(f.encap_fd, p, times - 1);
	ring_buffer__consume(f.ring);
}

Test(bpf_encap, flood_of_unknown_destinations_is_limited)
{
	struct fx_frame p;
	uint64_t start, spent_ms;

	fx_clear_frame(&f, &p, &(struct fx_inner){.payload = 100});
	unknown4(&p);
	start = fx_now();
	repeat(&p, 5000);
	spent_ms = (fx_now() - start) / 1000000 + 1;
	cr_expect_eq(fx_counted(&f, NTM_R_TX_NO_PATH, NULL), 5000);
	cr_expect_geq(f.n_events, 128);
	/* a migration to another CPU brings another burst */
	cr_expect_leq(f.n_events, 2 * (128 + spent_ms), "%zu events in %lu ms", f.n_events, (unsigned long)spent_ms);
}

Test(bpf_encap, expiry_is_told_once_a_second)
{
	struct fx_frame p;

	fx_clear_frame(&f, &p, &(struct fx_inner){.payload = 100});
	fx_path(&f)->tx[FX_EPOCH & 1].expires_ns = 1;
	repeat(&p, 1000);
	cr_expect_eq(fx_counted(&f, NTM_R_TX_KEY_EXPIRED, NULL), 1000);
	cr_expect_eq(f.n_events, 1);
}

Test(bpf_encap, full_queue_is_counted)
{
	struct fx_frame p;
	uint64_t told, busy;

	fx_clear_frame(&f, &p, &(struct fx_inner){.payload = 100});
	too_big_small_outer(&p);
	repeat(&p, 2000);
	told = fx_counted(&f, NTM_R_TX_TOO_BIG, NULL);
	busy = fx_counted(&f, NTM_R_TX_AGENT_BUSY, NULL);
	cr_expect_eq(told, f.n_events);
	cr_expect_gt(told, 100);
	cr_expect_gt(busy, 100);
	cr_expect_eq(told + busy, 2000);
}

Test(bpf_encap, small_path_over_1280_is_dropped_silently)
{
	struct fx_frame p;

	fx_clear_frame(&f, &p, &(struct fx_inner){.payload = 1261});
	too_big_small_outer(&p);
	cr_assert_eq(fx_encap(&f, &p), SHOT);
	cr_expect_null(fx_only(&f, NTM_R_TX_TOO_BIG, 1281, false));
	cr_expect_eq(f.n_events, 0);
}
