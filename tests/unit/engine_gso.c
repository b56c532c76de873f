/* SPDX-License-Identifier: BSD-2-Clause */
/* Segmenting super-packets, and what is wrong with some of them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "../../user/engine/gso.h"
#include "../harness/inner.h"

static uint8_t super[NTM_SUPER_MAX + 64], seg[2048];

static struct virtio_net_hdr header(const struct inner_spec *s, uint16_t size, size_t l4)
{
	return (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				       .gso_type = s->udp  ? VIRTIO_NET_HDR_GSO_UDP_L4
						   : s->v6 ? VIRTIO_NET_HDR_GSO_TCPV6
							   : VIRTIO_NET_HDR_GSO_TCPV4,
				       .gso_size = size,
				       .csum_start = (uint16_t)l4,
				       .csum_offset = s->udp ? 6 : 16};
}

/* Each segment must be what a sender of single packets would have sent. */
static void check_segments(struct inner_spec s, uint16_t size, uint16_t mtu)
{
	struct ntm_gso g;
	size_t l4, len = inner_make(&s, super, &l4), payload = s.payload;
	struct virtio_net_hdr vh = header(&s, size, l4);
	cr_assert_eq(ntm_gso_begin(&g, &vh, super, len, mtu), 0);
	cr_assert_eq(g.n, (payload + size - 1) / size);
	for (unsigned i = 0; i < g.n; i++) {
		struct inner_spec one = s;
		uint8_t want[2048];
		one.payload = payload - (size_t)i * size < size ? payload - (size_t)i * size : size;
		one.fill = (uint8_t)(s.fill + i * size);
		one.seq = s.seq + i * size;
		one.id = (uint16_t)(s.id + i);
		if (!s.udp) {
			one.flags = s.flags ? s.flags : 16;
			if (i + 1 < g.n)
				one.flags &= (uint8_t) ~(NTM_TCP_FIN | NTM_TCP_PSH);
			if (i)
				one.flags &= (uint8_t)~NTM_TCP_CWR;
		}
		size_t n = inner_make(&one, want, NULL);
		cr_assert_eq(ntm_gso_len(&g, i), n);
		memset(seg, 0xee, sizeof(seg));
		ntm_gso_write(&g, i, seg);
		cr_assert(!memcmp(seg, want, n), "segment %u of %u", i, g.n);
		cr_assert_eq(seg[n], 0xee, "nothing behind it is written");
	}
}

Test(gso, tcp_and_udp_in_both_families)
{
	for (int v6 = 0; v6 < 2; v6++)
		for (int udp = 0; udp < 2; udp++) {
			check_segments(
			    (struct inner_spec){
				.v6 = v6, .udp = udp, .payload = 60001, .seq = 0xfffff000, .id = 0xfffe},
			    1360, 1440);
			check_segments((struct inner_spec){.v6 = v6, .udp = udp, .payload = 2720, .fill = 9}, 1360,
				       1440);
			check_segments((struct inner_spec){.v6 = v6, .udp = udp, .payload = 7}, 1360, 1440);
			check_segments((struct inner_spec){.v6 = v6, .udp = udp, .payload = 999}, 1, 1440);
		}
}

Test(gso, tcp_flags_and_options)
{
	check_segments((struct inner_spec){.payload = 5000,
					   .flags = 16 | NTM_TCP_PSH | NTM_TCP_FIN | NTM_TCP_CWR | 64,
					   .options = 12,
					   .option = 0x55,
					   .tos = 0xb9},
		       1348, 1400);
	check_segments((struct inner_spec){.v6 = true, .payload = 5000, .flags = 16 | NTM_TCP_URG, .options = 40}, 1300,
		       1400);
}

Test(gso, single_packet_gets_its_checksum)
{
	for (int v6 = 0; v6 < 2; v6++)
		for (int udp = 0; udp < 2; udp++) {
			struct inner_spec s = {.v6 = v6, .udp = udp, .payload = 101};
			struct ntm_gso g;
			size_t l4, len = inner_make(&s, super, &l4);
			struct virtio_net_hdr vh = header(&s, 0, l4);
			uint8_t want[256];
			memcpy(want, super, len);
			vh.gso_type = VIRTIO_NET_HDR_GSO_NONE;
			/* What the kernel leaves there: the pseudo-header's sum, which is what the segment lacks. */
			uint32_t part = 0;
			for (size_t i = v6 ? 8 : 12; i < (v6 ? 40u : 20u); i += 2)
				part += ntm_get16(super + i);
			part += (udp ? 17 : 6) + (uint32_t)(len - l4);
			while (part >> 16)
				part = (part & 0xffff) + (part >> 16);
			ntm_put16(super + l4 + vh.csum_offset, part);
			cr_assert_eq(ntm_gso_begin(&g, &vh, super, len, 1440), 0);
			cr_assert_eq(g.n, 1);
			cr_assert_eq(ntm_gso_len(&g, 0), len);
			ntm_gso_write(&g, 0, seg);
			cr_assert(!memcmp(seg, want, len));
		}
}

static int begin(struct inner_spec s, void (*spoil)(struct virtio_net_hdr *vh, uint8_t *p, size_t *len), uint16_t mtu)
{
	struct ntm_gso g;
	size_t l4, len = inner_make(&s, super, &l4);
	struct virtio_net_hdr vh = header(&s, 1000, l4);
	spoil(&vh, super, &len);
	return ntm_gso_begin(&g, &vh, super, len, mtu);
}

#define SPOIL(name, ...)                                                     \
	static void name(struct virtio_net_hdr *vh, uint8_t *p, size_t *len) \
	{                                                                    \
		(void)vh, (void)p, (void)len;                                \
		__VA_ARGS__;                                                 \
	}
SPOIL(nothing)
SPOIL(size_0, vh->gso_size = 0)
SPOIL(size_huge, vh->gso_size = 65535)
SPOIL(type_ufo, vh->gso_type = VIRTIO_NET_HDR_GSO_UDP)
SPOIL(type_unknown, vh->gso_type = 77)
SPOIL(type_other_family, vh->gso_type = VIRTIO_NET_HDR_GSO_TCPV6)
SPOIL(type_udp, vh->gso_type = VIRTIO_NET_HDR_GSO_UDP_L4)
SPOIL(cut, *len -= 1)
SPOIL(empty, *len = 0)
SPOIL(one_byte, *len = 1)
SPOIL(not_ip, p[0] = 0x75)
SPOIL(ihl_4, p[0] = 0x44)
SPOIL(ihl_15, p[0] = 0x4f)
SPOIL(total_0, ntm_put16(p + 2, 0))
SPOIL(fragment, ntm_put16(p + 6, 0x2000))
SPOIL(doff_4, p[20 + 12] = 0x40)
SPOIL(doff_over_end, p[20 + 12] = 0xf0; ntm_put16(p + 2, 60); *len = 60)
SPOIL(no_payload, ntm_put16(p + 2, 40); *len = 40)
SPOIL(syn, p[20 + 13] |= NTM_TCP_SYN)
SPOIL(csum_outside, vh->gso_type = 0; vh->csum_start = 3000)
SPOIL(csum_at_end, vh->gso_type = 0; vh->csum_start = 1000; vh->csum_offset = 39)
SPOIL(csum_wraps, vh->gso_type = 0; vh->csum_start = 65535; vh->csum_offset = 65535)
SPOIL(csum_in_ip, vh->gso_type = 0; vh->csum_start = 0; vh->csum_offset = 8)

Test(gso, bad_input)
{
	struct inner_spec s = {.payload = 1000};
	cr_assert_eq(begin(s, nothing, 1440), 0);
	void (*bad[])(struct virtio_net_hdr *, uint8_t *, size_t *) = {
	    size_0,      type_other_family, type_udp,  cut,    empty,         one_byte,   not_ip, ihl_4,
	    ihl_15,      total_0,           fragment,  doff_4, doff_over_end, no_payload, syn,    csum_outside,
	    csum_at_end, csum_wraps,        csum_in_ip};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(begin(s, bad[i], 1440), -EBADMSG, "case %zu", i);
	cr_assert_eq(begin(s, type_ufo, 1440), -EOPNOTSUPP);
	cr_assert_eq(begin(s, type_unknown, 1440), -EOPNOTSUPP);
}

Test(gso, above_the_mtu)
{
	struct inner_spec s = {.payload = 4000};
	cr_assert_eq(begin(s, nothing, 1040), 0);
	cr_assert_eq(begin(s, nothing, 1039), -EMSGSIZE);
	cr_assert_eq(begin(s, size_huge, 1440), -EMSGSIZE);
	s.payload = 1000;
	cr_assert_eq(begin(s, size_huge, 1440), 0, "a size that no segment reaches is none");
}

Test(gso, ipv6_extension_headers)
{
	struct ntm_gso g;
	struct inner_spec s = {.v6 = true, .payload = 2000};
	size_t l4, len = inner_make(&s, super, &l4);
	memmove(super + 48, super + 40, len - 40);
	memcpy(super + 40, (uint8_t[8]){6, 0, 1, 4}, 8); /* hop-by-hop options, padding */
	super[6] = 0;
	ntm_put16(super + 4, (uint32_t)(len + 8 - 40));
	struct virtio_net_hdr vh = header(&s, 1000, l4 + 8);
	cr_assert_eq(ntm_gso_begin(&g, &vh, super, len + 8, 1440), 0);
	cr_assert_eq(g.n, 2);
	ntm_gso_write(&g, 1, seg);
	cr_assert_eq(ntm_get16(seg + 4), 8 + 20 + 1000);
	cr_assert_eq(ntm_get32(seg + 48 + 4), 1000);
	super[41] = 255; /* longer than the packet */
	cr_assert_eq(ntm_gso_begin(&g, &vh, super, len + 8, 1440), -EBADMSG);
}
