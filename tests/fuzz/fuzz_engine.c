/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segmenting and coalescing. First byte, bit 0 clear: MTU (2 bytes), a virtio_net_hdr and a packet, as a TUN may give
 * them: what is cut must be as long as said, within the MTU, readable, and all of it. Set: packets, each with two bytes
 * of length and flags before it, of which some get the right checksums or go on from the one before: what coalescing
 * makes of them must, cut again, be the same packets, each flow's in order.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../user/engine/csum.h"
#include "../../user/engine/gro.h"
#include "../../user/engine/gso.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PACKETS = 80, ROOM = 2048, RIGHT = 0x8000, NEXT = 0x4000, LENGTH = 0x7ff };

static struct item {
	uint8_t bytes[ROOM];
	size_t len;
	bool seen;
} in[PACKETS], work[PACKETS];
static unsigned n_in, n_out;

static void require(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_engine: %s\n", what);
	abort();
}

static void segment(const uint8_t *data, size_t size)
{
	static uint8_t out[NTM_SUPER_MAX];
	struct virtio_net_hdr vh;
	struct ntm_packet k;
	struct ntm_gso g;
	size_t sum = 0;
	uint16_t mtu;

	if (size < 2 + sizeof(vh))
		return;
	memcpy(&mtu, data, 2);
	memcpy(&vh, data + 2, sizeof(vh));
	data += 2 + sizeof(vh);
	size -= 2 + sizeof(vh);
	uint8_t *packet = malloc(size + 1); /* its end is the end of the memory */
	require(packet != NULL, "no memory");
	memcpy(packet, data, size);
	if (!ntm_gso_begin(&g, &vh, packet, size, mtu)) {
		require(g.n > 0, "no segment");
		for (unsigned i = 0; i < g.n; i++) {
			size_t len = ntm_gso_len(&g, i);
			require(len <= mtu && len <= sizeof(out), "a segment over the MTU");
			ntm_gso_write(&g, i, out);
			require(!ntm_packet_parse(&k, out, len) && k.len == len, "a segment that is no packet");
			sum += len - (g.n > 1 ? g.hdr_len : 0);
		}
		require(sum + (g.n > 1 ? g.hdr_len : 0) == g.in.len, "bytes lost or made");
	}
	free(packet);
}

static bool same_flow(const struct item *a, const struct item *b)
{
	bool v6 = a->bytes[0] >> 4 == 6;
	size_t at = v6 ? 8 : 12, n = v6 ? 32 : 8;
	struct ntm_packet ka, kb;

	if (ntm_packet_parse(&ka, a->bytes, a->len) || ntm_packet_parse(&kb, b->bytes, b->len) ||
	    ka.is_ipv6 != kb.is_ipv6 || ka.proto != kb.proto || !ka.l4 || ka.l4 != kb.l4 || ka.len < ka.l4 + 4u ||
	    kb.len < kb.l4 + 4u)
		return false;
	return !memcmp(a->bytes + at, b->bytes + at, n) && !memcmp(a->bytes + ka.l4, b->bytes + kb.l4, 4);
}

/* The same bytes. RFC 6864: with DF the identification says nothing. */
static bool same_packet(const uint8_t *a, const uint8_t *b, size_t len)
{
	if (a[0] >> 4 == 4 && (ntm_get16(a + 6) & 0x4000))
		return !memcmp(a, b, 4) && !memcmp(a + 6, b + 6, 4) && !memcmp(a + 12, b + 12, len - 12);
	return !memcmp(a, b, len);
}

/* The oldest of the packets that are like this one, behind none of its flow that is still to come. */
static void came(const uint8_t *p, size_t len)
{
	unsigned i, k;

	for (i = 0; i < n_in; i++)
		if (!in[i].seen && in[i].len == len && same_packet(in[i].bytes, p, len))
			break;
	require(i < n_in, "a packet that nobody sent");
	for (k = 0; k < i; k++)
		require(in[k].seen || !same_flow(&in[k], &in[i]), "a packet before another one of its flow");
	in[i].seen = true;
	n_out++;
}

static void collect(void *arg, const struct virtio_net_hdr *vh, struct iovec *iov, unsigned n, size_t len)
{
	static uint8_t super[NTM_SUPER_MAX], out[ROOM];
	struct ntm_gso g;
	size_t at = 0;
	(void)arg;

	for (unsigned i = 1; i < n; i++) {
		require(at + iov[i].iov_len <= sizeof(super), "a super-packet that is too large");
		memcpy(super + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	require(at == len, "another length than said");
	if (!vh->gso_type) {
		came(super, len);
		return;
	}
	require(!ntm_gso_begin(&g, vh, super, len, ROOM), "a super-packet that cannot be cut");
	for (unsigned i = 0; i < g.n; i++) {
		ntm_gso_write(&g, i, out);
		came(out, ntm_gso_len(&g, i));
	}
}

/* Sequence number and identification that follow those of the packet before, if it is of the same shape. */
static void go_on(struct item *to, const struct item *from)
{
	struct ntm_packet k, b;

	if (ntm_packet_parse(&k, to->bytes, to->len) || ntm_packet_parse(&b, from->bytes, from->len))
		return;
	if (!k.is_ipv6 && !b.is_ipv6)
		ntm_put16(to->bytes + 4, ntm_get16(from->bytes + 4) + 1u);
	if (k.proto == IPPROTO_TCP && b.proto == IPPROTO_TCP && k.l4 && b.l4 && k.len >= k.l4 + 20u &&
	    b.len >= b.l4 + 20u) {
		uint32_t payload = b.len - b.l4 - (b.len > b.l4 ? (from->bytes[b.l4 + 12] >> 4) * 4u : 0);
		ntm_put32(to->bytes + k.l4 + 4, ntm_get32(from->bytes + b.l4 + 4) + payload);
	}
}

static void checksums(struct item *p)
{
	struct ntm_packet k;
	size_t at;

	if (ntm_packet_parse(&k, p->bytes, p->len) || !k.l4)
		return;
	ntm_packet_set_len(p->bytes, k.is_ipv6, k.len);
	if (k.proto == IPPROTO_UDP && k.len >= k.l4 + 8u)
		at = k.l4 + 6u;
	else if (k.proto == IPPROTO_TCP && k.len >= k.l4 + 20u)
		at = k.l4 + 16u;
	else
		return;
	memset(p->bytes + at, 0, 2);
	if (k.proto == IPPROTO_UDP)
		ntm_put16(p->bytes + k.l4 + 4, k.len - k.l4);
	uint64_t sum = ntm_sum_pseudo(p->bytes, k.is_ipv6, k.proto, k.len - k.l4);
	uint16_t folded = (uint16_t)~ntm_sum_fold(ntm_sum(p->bytes + k.l4, k.len - k.l4, sum));
	if (!folded && k.proto == IPPROTO_UDP)
		folded = 0xffff;
	memcpy(p->bytes + at, &folded, 2);
}

static void coalesce(const uint8_t *data, size_t size, bool tcp, bool udp)
{
	static struct ntm_gro g;
	struct ntm_packet k;

	for (n_in = n_out = 0; size >= 2 && n_in < PACKETS;) {
		unsigned flags = (unsigned)data[0] << 8 | data[1];
		size_t len = flags & LENGTH;
		struct item *p = &in[n_in];
		data += 2, size -= 2;
		if (len > size)
			len = size;
		p->seen = false;
		if (!len && n_in) /* another one as before */
			*p = (struct item){.len = in[n_in - 1].len}, memcpy(p->bytes, in[n_in - 1].bytes, p->len);
		else
			memcpy(p->bytes, data, p->len = len);
		data += len, size -= len;
		if (flags & NEXT && n_in)
			go_on(p, &in[n_in - 1]);
		if (flags & RIGHT)
			checksums(p);
		if (ntm_packet_parse(&k, p->bytes, p->len) || k.len != p->len)
			continue;
		work[n_in] = *p;
		n_in++;
	}
	ntm_gro_init(&g, tcp, udp, collect, NULL);
	for (unsigned i = 0; i < n_in; i++) {
		require(!ntm_packet_parse(&k, work[i].bytes, work[i].len), "read once, and not again");
		ntm_gro_add(&g, work[i].bytes, &k);
	}
	ntm_gro_flush(&g);
	require(n_out == n_in, "packets lost");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] & 1)
		coalesce(data + 1, size - 1, data[0] & 2, data[0] & 4);
	else
		segment(data + 1, size - 1);
	return 0;
}
