/* SPDX-License-Identifier: BSD-2-Clause */
/* node_decap: what is delivered, and what becomes of every other packet. */
#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#include <criterion/criterion.h>

#include "fixture.h"

enum { DROP = 1, PASS = 2, REDIRECT = 4 };

static struct fx f;
static uint64_t counter;

static void setup(void)
{
	fx_open(&f, FX_ALICE, 0);
	counter = 0;
}

static void teardown(void)
{
	fx_close(&f);
}

TestSuite(bpf_decap, .init = setup, .fini = teardown);

static void receive_one(struct fx_outer o, const struct fx_inner *in)
{
	struct fx_frame p, inner = {.len = 0};
	struct fx_inner reply = *in;
	const char *why;
	size_t wire;

	reply.reply = true;
	fx_put_inner(&f, &inner, &reply);
	o.counter = counter++;
	fx_sealed_frame(&f, &p, &o, inner.data, inner.len);
	wire = p.len;
	fx_path(&f)->last_rx_ns = 0;
	cr_assert_eq(fx_decap(&f, &p), REDIRECT, "v%d in v%d, %u bytes", in->v6 ? 6 : 4, o.v6 ? 6 : 4, in->payload);
	why = fx_only(&f, NTM_R_RX_OK, wire, false);
	cr_assert_null(why, "%s", why);
	cr_assert_eq(p.len, 14 + inner.len);
	cr_expect_arr_eq(p.data, f.settings->mac_ntm0, 6);
	cr_expect_arr_eq(p.data + 6, f.settings->mac_ntm0p, 6);
	cr_expect_eq(p.data[12] << 8 | p.data[13], in->v6 ? 0x86dd : 0x0800);
	cr_expect_arr_eq(p.data + 14, inner.data, inner.len);
	cr_expect_lt(fx_now() - fx_path(&f)->last_rx_ns, 10000000000ull);
	cr_expect_eq(fx_path(&f)->rx[FX_EPOCH & 1].head, counter);
}

Test(bpf_decap, four_families_all_lengths_and_tags)
{
	uint64_t bytes = 0;

	for (int outer = 0; outer < 2; outer++) {
		fx_set_endpoint(&f, outer);
		for (int inner = 0; inner < 2; inner++) {
			for (int len = 0; len <= NTM_INNER_MAX - 40; len += len < 80 ? 1 : 97) {
				struct fx_outer o = {.v6 = outer, .vlans = len % 3};

				receive_one(o, &(struct fx_inner){.v6 = inner, .payload = len});
				bytes += len + (inner ? 40 : 20);
			}
		}
	}
	cr_expect_eq(fx_path(&f)->rx_packets, counter);
	cr_expect_eq(fx_path(&f)->rx_bytes, bytes);
	cr_expect_eq(fx_path(&f)->roams, 0);
}

Test(bpf_decap, padding_is_trimmed)
{
	struct fx_frame p, inner = {.len = 0};

	/* behind the inner packet, sealed; and behind the datagram, as Ethernet pads */
	fx_put_inner(&f, &inner, &(struct fx_inner){.payload = 8, .reply = true});
	memset(inner.data + inner.len, 0x55, 100);
	fx_sealed_frame(&f, &p, &(struct fx_outer){}, inner.data, inner.len + 100);
	memset(p.data + p.len, 0x66, 40);
	p.len += 40;
	cr_assert_eq(fx_decap(&f, &p), REDIRECT);
	cr_expect_eq(p.len, 14 + inner.len);
	cr_expect_arr_eq(p.data + 14, inner.data, inner.len);
}

Test(bpf_decap, one_byte_stays_in_generic_mode)
{
	for (int inner = 0; inner < 2; inner++) {
		struct fx_frame p, plain = {.len = 14};

		f.settings->native = ~(1u << FX_IFINDEX);
		fx_put_inner(&f, &plain, &(struct fx_inner){.v6 = inner, .payload = 99, .reply = true});
		fx_sealed_frame(&f, &p, &(struct fx_outer){.counter = inner}, plain.data + 14, plain.len - 14);
		cr_assert_eq(fx_decap(&f, &p), REDIRECT);
		cr_expect_eq(p.len, plain.len + 1);
		cr_expect_arr_eq(p.data + 14, plain.data + 14, plain.len - 14);
	}
}

/*
 * Packets that are not delivered. The frame is an outer IPv4 or IPv6 one with 100 inner bytes; edit changes it, or the
 * path. authenticated: head, window and times may move.
 */
struct row {
	const char *name;
	void (*edit)(struct fx_frame *p);
	bool v6;
	int action;
	enum ntm_reason reason;
	bool authenticated;
};

#define UDP4 (14 + 20)
#define UDP6 (14 + 40)
#define HDR4 (UDP4 + 8)
#define HDR6 (UDP6 + 8)

static void set16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v;
}

/* all lengths of an IPv4 datagram, for n bytes of UDP payload */
static void resize(struct fx_frame *p, size_t n)
{
	set16(p->data + 16, 28 + n);
	set16(p->data + UDP4 + 4, 8 + n);
	p->len = HDR4 + n;
}

static void seal_raw(struct fx_frame *p, const void *inner, size_t len)
{
	fx_sealed_frame(&f, p, &(struct fx_outer){.counter = counter}, inner, len);
}

static void seal_edited(struct fx_frame *p, bool v6, size_t at, uint8_t value)
{
	struct fx_frame inner = {.len = 0};

	fx_put_inner(&f, &inner, &(struct fx_inner){.v6 = v6, .payload = 100, .reply = true});
	inner.data[at] = value;
	seal_raw(p, inner.data, inner.len);
}

static void arp(struct fx_frame *p)
{
	set16(p->data + 12, 0x0806);
}
static void tiny(struct fx_frame *p)
{
	p->len = 14;
}
static void cut_ip(struct fx_frame *p)
{
	p->len = 14 + 19;
}
static void three_tags(struct fx_frame *p)
{
	memmove(p->data + 24, p->data + 12, p->len - 12);
	memcpy(p->data + 12, "\x88\xa8\x00\x01\x81\x00\x00\x02\x81\x00\x00\x03", 12);
	p->len += 12;
}
static void tcp(struct fx_frame *p)
{
	p->data[23] = 6;
}
static void other_port(struct fx_frame *p)
{
	p->data[UDP4 + 3]++;
}
static void clear_source(struct fx_frame *p)
{
	memcpy(p->data + 26, fx_vip4(FX_BOB), 4);
}
static void clear_dest(struct fx_frame *p)
{
	memcpy(p->data + 30, fx_vip4(FX_ALICE), 4);
	p->data[23] = 1;
}
static void clear_source6(struct fx_frame *p)
{
	memcpy(p->data + 22, fx_vip6(FX_BOB), 16);
	p->data[20] = 58;
}
static void clear_dest6(struct fx_frame *p)
{
	memcpy(p->data + 38, fx_vip6(FX_ALICE), 16);
}
static void beside_pool(struct fx_frame *p)
{
	memcpy(p->data + 26, "\x64\x70\x00\x01", 4); /* 100.112.0.1 */
	p->data[23] = 6;
}
static void first_fragment(struct fx_frame *p)
{
	p->data[20] = 0x20;
}
static void last_fragment(struct fx_frame *p)
{
	p->data[21] = 100;
}
static void tcp_fragment(struct fx_frame *p)
{
	p->data[20] = 0x20;
	p->data[23] = 6;
}
static void put_ext(struct fx_frame *p, uint8_t type, size_t len)
{
	memmove(p->data + UDP6 + len, p->data + UDP6, p->len - UDP6);
	memset(p->data + UDP6, 0, len);
	p->data[UDP6] = p->data[20];
	p->data[UDP6 + 1] = type == 51 ? len / 4 - 2 : type == 44 ? 0 : len / 8 - 1;
	p->data[20] = type;
	p->len += len;
	set16(p->data + 18, p->len - UDP6);
}
static void fragment6(struct fx_frame *p)
{
	put_ext(p, 44, 8);
}
static void icmp_fragment6(struct fx_frame *p)
{
	p->data[20] = 58;
	put_ext(p, 44, 8);
}
static void options6(struct fx_frame *p)
{
	put_ext(p, 60, 16);
	put_ext(p, 43, 24);
	put_ext(p, 51, 24);
	put_ext(p, 0, 8);
}
static void options6_other(struct fx_frame *p)
{
	p->data[UDP6 + 3]++;
	put_ext(p, 0, 8);
}
static void options6_mld(struct fx_frame *p)
{
	p->data[20] = 58;
	put_ext(p, 0, 8);
}
static void options6_cut(struct fx_frame *p)
{
	put_ext(p, 0, 8);
	p->len = UDP6 + 8 + 4;
}
static void options4(struct fx_frame *p)
{
	memmove(p->data + 14 + 24, p->data + 14 + 20, p->len - 34);
	memset(p->data + 34, 1, 4);
	p->data[14] = 0x46;
	p->len += 4;
	set16(p->data + 16, p->len - 14);
}
static void options4_other(struct fx_frame *p)
{
	other_port(p);
	options4(p);
}
static void no_payload(struct fx_frame *p)
{
	resize(p, 0);
}
static void half_header(struct fx_frame *p)
{
	resize(p, 15);
}
static void half_tag(struct fx_frame *p)
{
	resize(p, 16 + 15);
}
static void half_header_through(struct fx_frame *p)
{
	resize(p, 15);
	p->data[33]++;
}
static void too_long(struct fx_frame *p)
{
	static const uint8_t inner[NTM_INNER_MAX + 1];

	seal_raw(p, inner, sizeof(inner));
}
static void udp_longer(struct fx_frame *p)
{
	p->data[UDP4 + 5]++;
}
static void udp_shorter(struct fx_frame *p)
{
	p->data[UDP4 + 5]--;
}
static void udp_tiny(struct fx_frame *p)
{
	resize(p, 0);
	p->data[17]--;
	p->data[UDP4 + 5] = 7;
}
static void ip_shorter(struct fx_frame *p)
{
	p->data[17]--;
}
static void frame_shorter(struct fx_frame *p)
{
	p->len--;
}
static void ip6_longer(struct fx_frame *p)
{
	p->data[19]++;
}
static void jumbo6(struct fx_frame *p)
{
	set16(p->data + 18, 0);
	set16(p->data + UDP6 + 4, 0);
}
static void version_2(struct fx_frame *p)
{
	p->data[HDR4] = 0x2b;
}
static void version_2_through(struct fx_frame *p)
{
	version_2(p);
	p->data[33]++;
}
static void type_5(struct fx_frame *p)
{
	p->data[HDR4] = 0x15;
}
static void type_5_through(struct fx_frame *p)
{
	type_5(p);
	p->data[33]++;
}
static void suite_3(struct fx_frame *p)
{
	p->data[HDR4 + 1] = 0x31;
}
static void unknown_path(struct fx_frame *p)
{
	p->data[HDR4 + 15]++;
}
static void unknown_path_through(struct fx_frame *p)
{
	unknown_path(p);
	p->data[33]++;
}
static void unknown_path6(struct fx_frame *p)
{
	p->data[HDR6 + 8]++;
}
static void slot_reused(struct fx_frame *p)
{
	(void)p;
	fx_path(&f)->path_id = htobe64(FX_PATH_ID + 1);
}
static void epoch_3(struct fx_frame *p)
{
	p->data[HDR4 + 1] = 3;
}
static void epoch_2(struct fx_frame *p)
{
	p->data[HDR4 + 1] = 2;
}
static void expired(struct fx_frame *p)
{
	(void)p;
	fx_path(&f)->rx[FX_EPOCH & 1].expires_ns = fx_now() - 1;
}
static void no_key(struct fx_frame *p)
{
	(void)p;
	fx_path(&f)->rx[FX_EPOCH & 1].expires_ns = 0;
}
static void tag_first(struct fx_frame *p)
{
	p->data[p->len - 16] ^= 1;
}
static void tag_last(struct fx_frame *p)
{
	p->data[p->len - 1] ^= 0x80;
}
static void text_bit(struct fx_frame *p)
{
	p->data[HDR4 + 16 + 50] ^= 4;
}
static void header_counter(struct fx_frame *p)
{
	p->data[HDR4 + 7]++;
}
static void counter_limit(struct fx_frame *p)
{
	struct fx_frame inner = {.len = 0};

	fx_put_inner(&f, &inner, &(struct fx_inner){.payload = 100, .reply = true});
	fx_sealed_frame(&f, p, &(struct fx_outer){.counter = NTM_COUNTER_LIMIT}, inner.data, inner.len);
}
static void keepalive(struct fx_frame *p)
{
	seal_raw(p, "", 0);
}
static void inner_nothing(struct fx_frame *p)
{
	seal_raw(p, "\x45", 1);
}
static void inner_version(struct fx_frame *p)
{
	seal_edited(p, false, 0, 0x55);
}
static void inner_ihl(struct fx_frame *p)
{
	seal_edited(p, false, 0, 0x44);
}
static void inner_longer(struct fx_frame *p)
{
	seal_edited(p, false, 3, 121);
}
static void inner_under_header(struct fx_frame *p)
{
	seal_edited(p, false, 3, 19);
}
static void inner6_longer(struct fx_frame *p)
{
	seal_edited(p, true, 5, 101);
}
static void inner6_cut(struct fx_frame *p)
{
	struct fx_frame inner = {.len = 0};

	fx_put_inner(&f, &inner, &(struct fx_inner){.v6 = true, .reply = true});
	seal_raw(p, inner.data, 39);
}
static void inner_source(struct fx_frame *p)
{
	seal_edited(p, false, 15, 77);
}
static void inner6_source(struct fx_frame *p)
{
	seal_edited(p, true, 23, 77);
}
static void inner_dest(struct fx_frame *p)
{
	seal_edited(p, false, 19, 77);
}
static void inner6_dest(struct fx_frame *p)
{
	seal_edited(p, true, 39, 77);
}
static void inner_multicast(struct fx_frame *p)
{
	seal_edited(p, false, 16, 224);
}

static const struct row rows[] = {
    {"ARP", arp, false, PASS, NTM_R_RX_OTHER, false},
    {"nothing but Ethernet", tiny, false, PASS, NTM_R_RX_OTHER, false},
    {"IPv4 header cut", cut_ip, false, PASS, NTM_R_RX_OTHER, false},
    {"IPv6 header cut", cut_ip, true, PASS, NTM_R_RX_OTHER, false},
    {"three VLAN tags", three_tags, false, PASS, NTM_R_RX_OTHER, false},
    {"TCP", tcp, false, PASS, NTM_R_RX_OTHER, false},
    {"other port", other_port, false, PASS, NTM_R_RX_OTHER, false},
    {"virtual IPv4 source in the clear", clear_source, false, DROP, NTM_R_RX_CLEAR, false},
    {"virtual IPv4 destination in the clear", clear_dest, false, DROP, NTM_R_RX_CLEAR, false},
    {"virtual IPv6 source in the clear", clear_source6, true, DROP, NTM_R_RX_CLEAR, false},
    {"virtual IPv6 destination in the clear", clear_dest6, true, DROP, NTM_R_RX_CLEAR, false},
    {"the address after the pool", beside_pool, false, PASS, NTM_R_RX_OTHER, false},
    {"first fragment", first_fragment, false, PASS, NTM_R_RX_FRAGMENT, false},
    {"last fragment", last_fragment, false, PASS, NTM_R_RX_FRAGMENT, false},
    {"fragment of TCP", tcp_fragment, false, PASS, NTM_R_RX_OTHER, false},
    {"IPv6 fragment", fragment6, true, PASS, NTM_R_RX_FRAGMENT, false},
    {"IPv6 fragment of ICMPv6", icmp_fragment6, true, PASS, NTM_R_RX_OTHER, false},
    {"IPv4 options", options4, false, PASS, NTM_R_RX_IP_OPTIONS, false},
    {"IPv4 options, other port", options4_other, false, PASS, NTM_R_RX_OTHER, false},
    {"IPv6 extension headers", options6, true, PASS, NTM_R_RX_IP_OPTIONS, false},
    {"IPv6 extension header, other port", options6_other, true, PASS, NTM_R_RX_OTHER, false},
    {"IPv6 extension header, ICMPv6", options6_mld, true, PASS, NTM_R_RX_OTHER, false},
    {"IPv6 extension header, UDP cut", options6_cut, true, PASS, NTM_R_RX_OTHER, false},
    {"empty UDP", no_payload, false, DROP, NTM_R_RX_SHORT, false},
    {"15 bytes", half_header, false, DROP, NTM_R_RX_SHORT, false},
    {"31 bytes", half_tag, false, DROP, NTM_R_RX_SHORT, false},
    {"15 bytes for another host", half_header_through, false, PASS, NTM_R_RX_SHORT, false},
    {"inner packet over the limit", too_long, false, PASS, NTM_R_RX_LONG, false},
    {"UDP longer than IP", udp_longer, false, DROP, NTM_R_RX_BAD_LENGTH, false},
    {"UDP shorter than IP", udp_shorter, false, DROP, NTM_R_RX_BAD_LENGTH, false},
    {"UDP length 7", udp_tiny, false, DROP, NTM_R_RX_BAD_LENGTH, false},
    {"IP shorter than UDP", ip_shorter, false, DROP, NTM_R_RX_BAD_LENGTH, false},
    {"frame shorter than IP", frame_shorter, false, DROP, NTM_R_RX_BAD_LENGTH, false},
    {"IPv6 longer than frame", ip6_longer, true, DROP, NTM_R_RX_BAD_LENGTH, false},
    {"IPv6 length 0", jumbo6, true, DROP, NTM_R_RX_BAD_LENGTH, false},
    {"version 2", version_2, false, DROP, NTM_R_RX_BAD_VERSION, false},
    {"version 2 for another host", version_2_through, false, PASS, NTM_R_RX_BAD_VERSION, false},
    {"type 5", type_5, false, DROP, NTM_R_RX_BAD_TYPE, false},
    {"type 5 for another host", type_5_through, false, PASS, NTM_R_RX_BAD_TYPE, false},
    {"suite 3", suite_3, false, DROP, NTM_R_RX_BAD_TYPE, false},
    {"unknown Path ID", unknown_path, false, DROP, NTM_R_RX_UNKNOWN_PATH, false},
    {"unknown Path ID over IPv6", unknown_path6, true, DROP, NTM_R_RX_UNKNOWN_PATH, false},
    {"unknown Path ID for another host", unknown_path_through, false, PASS, NTM_R_RX_UNKNOWN_PATH, false},
    {"slot of another path by now", slot_reused, false, DROP, NTM_R_RX_UNKNOWN_PATH, false},
    {"epoch of the other slot, empty", epoch_2, false, DROP, NTM_R_RX_NO_KEY, false},
    {"epoch that is not in its slot", epoch_3, false, DROP, NTM_R_RX_NO_KEY, false},
    {"epoch expired", expired, false, DROP, NTM_R_RX_NO_KEY, false},
    {"epoch removed", no_key, false, DROP, NTM_R_RX_NO_KEY, false},
    {"tag, first bit", tag_first, false, DROP, NTM_R_RX_BAD_TAG, false},
    {"tag, last bit", tag_last, false, DROP, NTM_R_RX_BAD_TAG, false},
    {"a bit of the text", text_bit, false, DROP, NTM_R_RX_BAD_TAG, false},
    {"another counter", header_counter, false, DROP, NTM_R_RX_BAD_TAG, false},
    {"counter at its limit", counter_limit, false, DROP, NTM_R_RX_TOO_OLD, false},
    {"keep-alive", keepalive, false, DROP, NTM_R_RX_KEEPALIVE, true},
    {"one inner byte", inner_nothing, false, DROP, NTM_R_RX_BAD_INNER, true},
    {"inner version 5", inner_version, false, DROP, NTM_R_RX_BAD_INNER, true},
    {"inner header length 16", inner_ihl, false, DROP, NTM_R_RX_BAD_INNER, true},
    {"inner IPv4 length over payload", inner_longer, false, DROP, NTM_R_RX_BAD_INNER, true},
    {"inner IPv4 length under header", inner_under_header, false, DROP, NTM_R_RX_BAD_INNER, true},
    {"inner IPv6 length over payload", inner6_longer, false, DROP, NTM_R_RX_BAD_INNER, true},
    {"inner IPv6 header cut", inner6_cut, false, DROP, NTM_R_RX_BAD_INNER, true},
    {"inner IPv4 source", inner_source, false, DROP, NTM_R_RX_BAD_SOURCE, true},
    {"inner IPv6 source", inner6_source, false, DROP, NTM_R_RX_BAD_SOURCE, true},
    {"inner IPv4 destination", inner_dest, false, DROP, NTM_R_RX_BAD_DEST, true},
    {"inner IPv6 destination", inner6_dest, false, DROP, NTM_R_RX_BAD_DEST, true},
    {"inner multicast", inner_multicast, false, DROP, NTM_R_RX_BAD_DEST, true},
};

Test(bpf_decap, not_delivered)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct row *r = &rows[i];
		struct ntm_path saved, edited;
		struct fx_frame p, was;
		const char *why;
		int action;

		counter = 1000 + i;
		fx_set_endpoint(&f, r->v6);
		saved = *fx_path(&f);
		fx_sealed_inner(&f, &p, &(struct fx_outer){.v6 = r->v6, .counter = counter},
				&(struct fx_inner){.payload = 100});
		r->edit(&p);
		was = p;
		edited = *fx_path(&f);
		action = fx_decap(&f, &p);
		cr_expect_eq(action, r->action, "%s: action %d", r->name, action);
		why = fx_only(&f, r->reason, was.len, false);
		cr_expect_null(why, "%s: %s", r->name, why);
		cr_expect_eq(f.n_events, 0, "%s: event", r->name);
		if (r->action == PASS)
			cr_expect(p.len == was.len && !memcmp(p.data, was.data, p.len), "%s: changed", r->name);
		if (r->authenticated) {
			cr_expect_eq(fx_path(&f)->rx[FX_EPOCH & 1].head, counter + 1, "%s: head", r->name);
			cr_expect_gt(fx_path(&f)->last_rx_ns, saved.last_rx_ns, "%s: time", r->name);
			cr_expect_eq(fx_path(&f)->rx_packets, saved.rx_packets, "%s: packets", r->name);
		} else {
			cr_expect(!memcmp(fx_path(&f), &edited, sizeof(edited)), "%s: path changed", r->name);
		}
		fx_path(&f)->path_id = saved.path_id;
		fx_path(&f)->rx[FX_EPOCH & 1].expires_ns = saved.rx[FX_EPOCH & 1].expires_ns;
	}
}

Test(bpf_decap, bad_tag_delivers_no_plaintext)
{
	struct fx_frame p, was;

	fx_sealed_inner(&f, &p, &(struct fx_outer){}, &(struct fx_inner){.payload = 1000});
	tag_last(&p);
	was = p;
	cr_assert_eq(fx_decap(&f, &p), DROP);
	cr_expect_arr_eq(p.data, was.data, was.len, "opened although the tag is wrong");
}

Test(bpf_decap, for_the_agent)
{
	static const uint8_t types[] = {0x11, 0x12, 0x13, 0x14, 0x19, 0x1a, 0x1b, 0x1b, 0x1b};
	static const uint8_t suites[] = {0, 0, 0, 0, 0x01, 0xff, 0x11, 0x21, 0x81};

	for (size_t i = 0; i < sizeof(types); i++) {
		for (int v6 = 0; v6 < 2; v6++) {
			uint8_t d[200] = {types[i], suites[i]};
			struct fx_frame p, was;

			memcpy(d + 8, &fx_path(&f)->path_id, 8);
			fx_udp_frame(&f, &p, &(struct fx_outer){.v6 = v6, .last_octet = 99}, d, sizeof(d));
			was = p;
			cr_expect_eq(fx_decap(&f, &p), PASS, "type %x suite %x", types[i], suites[i]);
			cr_expect_null(fx_only(&f, NTM_R_RX_TO_AGENT, was.len, false));
			cr_expect_arr_eq(p.data, was.data, was.len);
		}
	}
}

Test(bpf_decap, bulk_lane_of_no_path)
{
	for (uint8_t suite = 1; suite <= 2; suite++) {
		uint8_t d[200] = {0x1b, (uint8_t)(suite << 4), [8] = 9};
		struct fx_frame p, was;

		fx_udp_frame(&f, &p, &(struct fx_outer){}, d, sizeof(d));
		was = p;
		cr_expect_eq(fx_decap(&f, &p), DROP);
		cr_expect_null(fx_only(&f, NTM_R_RX_UNKNOWN_PATH, was.len, false));
	}
}

Test(bpf_decap, nothing_is_ours_without_a_pool)
{
	struct fx_frame p;

	f.settings->pool4_len = 0;
	f.settings->pool6_len = 0;
	fx_clear_frame(&f, &p, &(struct fx_inner){.payload = 100});
	cr_expect_eq(fx_decap(&f, &p), PASS);
	fx_clear_frame(&f, &p, &(struct fx_inner){.v6 = true, .payload = 100});
	cr_expect_eq(fx_decap(&f, &p), PASS);
}
