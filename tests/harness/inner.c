/* SPDX-License-Identifier: BSD-2-Clause */
#include "inner.h"

#include <netinet/in.h>
#include <string.h>

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

/* RFC 1071 in its plainest form: what is tested must not be tested with itself. */
static uint32_t sum(const uint8_t *p, size_t len, uint32_t s)
{
	for (size_t i = 0; i < len; i++)
		s += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

static uint32_t transport_sum(const uint8_t *p, bool v6, unsigned proto, size_t l4, size_t len)
{
	uint32_t s = v6 ? sum(p + 8, 32, 0) : sum(p + 12, 8, 0);
	return sum(p + l4, len - l4, s + proto + (uint32_t)(len - l4));
}

size_t inner_make(const struct inner_spec *s, uint8_t *p, size_t *l4_out)
{
	size_t l4 = s->v6 ? 40 : 20, hdr = l4 + (s->udp ? 8 : 20 + s->options), len = hdr + s->payload;
	unsigned proto = s->udp ? IPPROTO_UDP : IPPROTO_TCP;
	uint8_t *t = p + l4;
	memset(p, 0, hdr);
	if (s->v6) {
		put32(p, 6u << 28 | (uint32_t)s->tos << 20 | 0x12345);
		put16(p + 4, (unsigned)(len - 40));
		p[6] = (uint8_t)proto;
		p[7] = s->ttl ? s->ttl : 64;
		p[8] = p[24] = 0xfd;
		p[23] = 1;
		p[39] = 2;
	} else {
		p[0] = 0x45;
		p[1] = s->tos;
		put16(p + 2, (unsigned)len);
		put16(p + 4, s->id);
		put16(p + 6, s->no_df ? 0 : 0x4000);
		p[8] = s->ttl ? s->ttl : 64;
		p[9] = (uint8_t)proto;
		memcpy(p + 12, (uint8_t[]){100, 96, 0, 1, 100, 96, 0, 2}, 8);
		put16(p + 10, (uint16_t)~sum(p, 20, 0));
	}
	put16(t, s->sport ? s->sport : 1000);
	put16(t + 2, s->dport ? s->dport : 2000);
	if (s->udp) {
		put16(t + 4, (unsigned)(8 + s->payload));
	} else {
		put32(t + 4, s->seq);
		put32(t + 8, s->ack);
		t[12] = (uint8_t)((20 + s->options) / 4 << 4);
		t[13] = s->flags ? s->flags : 16;
		put16(t + 14, s->window ? s->window : 500);
		memset(t + 20, 1, s->options);
		if (s->options)
			t[20 + s->options - 1] = s->option;
	}
	for (size_t i = 0; i < s->payload; i++)
		p[hdr + i] = (uint8_t)(s->fill + i);
	uint16_t c = (uint16_t)~transport_sum(p, s->v6, proto, l4, len);
	put16(t + (s->udp ? 6 : 16), s->udp && !c ? 0xffff : c);
	if (l4_out)
		*l4_out = l4;
	return len;
}

bool inner_csum_ok(const uint8_t *p, size_t len)
{
	bool v6 = p[0] >> 4 == 6;
	size_t l4 = v6 ? 40 : (size_t)(p[0] & 15) * 4;
	if (!v6 && sum(p, l4, 0) != 0xffff)
		return false;
	return transport_sum(p, v6, v6 ? p[6] : p[9], l4, len) == 0xffff;
}
