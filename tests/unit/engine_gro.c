/* SPDX-License-Identifier: BSD-2-Clause */
/* Coalescing: what is merged gives the same packets when it is cut again, and what must not be merged is not. */
#include <criterion/criterion.h>
#include <string.h>

#include "../../user/engine/gro.h"
#include "../../user/engine/gso.h"
#include "../harness/inner.h"

enum { MAX = 256 };

static uint8_t in[MAX][2048], out[MAX][2048];
static size_t in_len[MAX], out_len[MAX];
static unsigned n_in, n_out, n_super;

/* Cuts what comes into packets again. */
static void collect(void *arg, const struct virtio_net_hdr *vh, struct iovec *iov, unsigned n, size_t len)
{
	static uint8_t super[NTM_SUPER_MAX];
	size_t at = 0;
	struct ntm_gso g;
	(void)arg;
	for (unsigned i = 1; i < n; i++) {
		memcpy(super + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	cr_assert_eq(at, len);
	n_super++;
	cr_assert_eq(ntm_gso_begin(&g, vh, super, len, 2000), 0);
	for (unsigned i = 0; i < g.n; i++, n_out++) {
		out_len[n_out] = ntm_gso_len(&g, i);
		ntm_gso_write(&g, i, out[n_out]);
	}
}

static uint8_t *add(struct inner_spec s)
{
	in_len[n_in] = inner_make(&s, in[n_in], NULL);
	return in[n_in++];
}

static void run(bool tcp, bool udp)
{
	static struct ntm_gro g;
	static uint8_t work[MAX][2048];
	ntm_gro_init(&g, tcp, udp, collect, NULL);
	n_out = n_super = 0;
	memcpy(work, in, sizeof(work));
	for (unsigned i = 0; i < n_in; i++) {
		struct ntm_packet k;
		cr_assert_eq(ntm_packet_parse(&k, work[i], in_len[i]), 0);
		ntm_gro_add(&g, work[i], &k);
	}
	ntm_gro_flush(&g);
	cr_assert_eq(n_out, n_in);
	ntm_gro_flush(&g);
	cr_assert_eq(n_out, n_in, "flushed once");
}

/* All packets as they were and in the order they came, as super-packets of that many. */
static void expect(unsigned supers)
{
	run(true, true);
	for (unsigned i = 0; i < n_in; i++)
		cr_assert(out_len[i] == in_len[i] && !memcmp(out[i], in[i], in_len[i]), "packet %u", i);
	cr_assert_eq(n_super, supers, "%u super-packets, not %u", n_super, supers);
	n_in = 0;
}

Test(gro, bulk_of_tcp)
{
	for (int v6 = 0; v6 < 2; v6++) {
		for (unsigned i = 0; i < 40; i++)
			add((struct inner_spec){.v6 = v6,
						.seq = 0xffff8000 + i * 1380,
						.id = (uint16_t)(65530 + i),
						.payload = 1380,
						.options = 12,
						.tos = 0xb8});
		expect(1);
	}
}

Test(gro, bulk_of_udp)
{
	for (int v6 = 0; v6 < 2; v6++) {
		for (unsigned i = 0; i < 100; i++)
			add((struct inner_spec){
			    .v6 = v6, .udp = true, .id = (uint16_t)i, .payload = i == 99 ? 20 : 500});
		expect(2); /* 64 and 36 */
	}
}

Test(gro, shorter_one_and_push_end_it)
{
	add((struct inner_spec){.payload = 1000});
	add((struct inner_spec){.seq = 1000, .id = 1, .payload = 400});
	add((struct inner_spec){.seq = 1400, .id = 2, .payload = 400});
	expect(2);
	add((struct inner_spec){.payload = 1000});
	add((struct inner_spec){.seq = 1000, .id = 1, .payload = 1000, .flags = 16 | NTM_TCP_PSH});
	add((struct inner_spec){.seq = 2000, .id = 2, .payload = 1000});
	expect(2);
	add((struct inner_spec){.payload = 1000, .flags = 16 | NTM_TCP_CWR});
	add((struct inner_spec){.seq = 1000, .id = 1, .payload = 1000});
	add((struct inner_spec){.seq = 2000, .id = 2, .payload = 1000, .flags = 16 | NTM_TCP_FIN});
	expect(1);
	/* a longer one */
	add((struct inner_spec){.payload = 400});
	add((struct inner_spec){.seq = 400, .id = 1, .payload = 1000});
	expect(2);
}

#define PAIR(...)                                                                                  \
	do {                                                                                       \
		struct inner_spec first = {.payload = 1000, .options = 12},                        \
				  second = {.seq = 1000, .id = 1, .payload = 1000, .options = 12}; \
		__VA_ARGS__;                                                                       \
		add(first);                                                                        \
		add(second);                                                                       \
	} while (0)

Test(gro, what_differs_is_not_merged)
{
	PAIR();
	expect(1);
	PAIR(second.tos = 3); /* ECN changes */
	expect(2);
	PAIR(second.ttl = 63);
	expect(2);
	PAIR(second.ack = 1);
	expect(2);
	PAIR(second.window = 501);
	expect(2);
	PAIR(second.option = 9);
	expect(2);
	PAIR(second.options = 16);
	expect(2);
	PAIR(second.no_df = true);
	expect(2);
	PAIR(first.no_df = second.no_df = true; second.id = 2);
	expect(2);
	PAIR(first.no_df = second.no_df = true);
	expect(1);
	PAIR(second.seq = 1001); /* a hole */
	expect(2);
	PAIR(second.seq = 0); /* a duplicate */
	expect(2);
	PAIR(second.seq = 0xfffffc18); /* reordered */
	expect(2);
	PAIR(second.sport = 1001);
	expect(2);
	PAIR(second.payload = 0); /* an acknowledgement */
	expect(2);
	uint8_t apart[] = {NTM_TCP_SYN, NTM_TCP_RST, NTM_TCP_URG, 64 /* ECE */, NTM_TCP_CWR};
	for (size_t i = 0; i < sizeof(apart); i++) {
		PAIR(second.flags = 16 | apart[i]);
		expect(2);
	}
	PAIR(first.flags = 16 | NTM_TCP_PSH);
	expect(2);
	PAIR(first.v6 = second.v6 = true; second.tos = 2);
	expect(2);
	PAIR(first.v6 = second.v6 = true; second.ttl = 2);
	expect(2);
	PAIR(first.udp = second.udp = true; first.v6 = second.v6 = true);
	expect(1);
	PAIR(first.udp = second.udp = true; second.sport = 7);
	expect(2);
}

Test(gro, wrong_checksum_stays_wrong)
{
	PAIR();
	in[1][800] ^= 1;
	run(true, true);
	cr_assert_eq(n_super, 2);
	cr_assert(!memcmp(out[1], in[1], in_len[1]));
	cr_assert(!inner_csum_ok(out[1], out_len[1]));
	in[1][800] ^= 1;
	in[1][10] ^= 1; /* of the IPv4 header */
	run(true, true);
	cr_assert_eq(n_super, 2);
	n_in = 0;
	PAIR(first.udp = second.udp = true);
	memset(in[0] + 26, 0, 2); /* UDP without a checksum */
	memset(in[1] + 26, 0, 2);
	expect(2);
}

Test(gro, only_what_the_device_takes)
{
	PAIR();
	run(false, true);
	cr_assert_eq(n_super, 2);
	n_in = 0;
	PAIR(first.udp = second.udp = true);
	run(true, false);
	cr_assert_eq(n_super, 2);
	n_in = 0;
}

Test(gro, several_flows_at_once)
{
	/* Two flows in turn are merged each for itself; an acknowledgement among them keeps its place in its flow. */
	for (unsigned i = 0; i < 20; i++) {
		add((struct inner_spec){.seq = i * 100, .id = (uint16_t)i, .payload = 100});
		add((struct inner_spec){.v6 = true, .seq = i * 100, .payload = 100});
	}
	run(true, true);
	cr_assert_eq(n_super, 2);
	for (unsigned i = 0; i < 20; i++) {
		cr_assert(!memcmp(out[i], in[2 * i], in_len[2 * i]));
		cr_assert(!memcmp(out[20 + i], in[2 * i + 1], in_len[2 * i + 1]));
	}
	n_in = 0;
	/* More flows than there is room for. */
	for (unsigned i = 0; i < 3 * NTM_GRO_FLOWS; i++)
		for (unsigned k = 0; k < 2; k++)
			add((struct inner_spec){
			    .sport = (uint16_t)(1 + i), .seq = k * 100, .payload = 100, .id = (uint16_t)k});
	expect(3 * NTM_GRO_FLOWS);
}

Test(gro, fragments_options_and_others_pass)
{
	add((struct inner_spec){.payload = 100});
	ntm_put16(add((struct inner_spec){.seq = 100, .payload = 100}) + 6, 0x2000);
	add((struct inner_spec){.seq = 200, .payload = 100})[9] = 47;
	struct ntm_packet k;
	static struct ntm_gro g;
	ntm_gro_init(&g, true, true, collect, NULL);
	n_out = n_super = 0;
	for (unsigned i = 0; i < n_in; i++) {
		cr_assert_eq(ntm_packet_parse(&k, in[i], in_len[i]), 0);
		ntm_gro_add(&g, in[i], &k);
	}
	ntm_gro_flush(&g);
	cr_assert_eq(n_super, 3);
	n_in = 0;
}

Test(gro, random_trains)
{
	unsigned seed = 4680;
	for (int round = 0; round < 300; round++) {
		uint32_t seq = (uint32_t)rand_r(&seed) * 2u;
		unsigned n = 1 + (unsigned)rand_r(&seed) % 60;
		size_t size = 1 + (size_t)rand_r(&seed) % 1400;
		bool v6 = rand_r(&seed) & 1, udp = !(rand_r(&seed) % 3);
		for (unsigned i = 0; i < n; i++) {
			struct inner_spec s = {.v6 = v6, .udp = udp, .seq = seq, .id = (uint16_t)i, .payload = size};
			if (!(rand_r(&seed) % 9))
				s.payload = 1 + (size_t)rand_r(&seed) % size;
			if (!(rand_r(&seed) % 17))
				s.flags = 16 | NTM_TCP_PSH;
			if (!(rand_r(&seed) % 23))
				s.tos = 3;
			seq += (uint32_t)s.payload;
			add(s);
			if (!(rand_r(&seed) %
			      19)) /* the next one is this one again, or an earlier one, or there is a hole */
				seq += (uint32_t)size * (uint32_t)(rand_r(&seed) % 5) - 3u * (uint32_t)size;
		}
		run(true, true);
		for (unsigned i = 0; i < n_in; i++)
			cr_assert(out_len[i] == in_len[i] && !memcmp(out[i], in[i], in_len[i]), "round %d packet %u",
				  round, i);
		n_in = 0;
	}
}
