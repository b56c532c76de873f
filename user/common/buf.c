/* SPDX-License-Identifier: BSD-2-Clause */
#include "buf.h"

#include <errno.h>
#include <string.h>

struct ntm_rd ntm_rd_init(const void *data, size_t len)
{
	const uint8_t *p = data;

	return (struct ntm_rd){.p = p, .end = p ? p + len : p};
}

size_t ntm_rd_left(const struct ntm_rd *r)
{
	return r->err ? 0 : (size_t)(r->end - r->p);
}

const uint8_t *ntm_rd_view(struct ntm_rd *r, size_t len)
{
	const uint8_t *p = r->p;

	if (r->err || (size_t)(r->end - r->p) < len) {
		r->err = -EBADMSG;
		return NULL;
	}
	r->p += len;
	return p;
}

void ntm_rd_bytes(struct ntm_rd *r, void *out, size_t len)
{
	const uint8_t *p = ntm_rd_view(r, len);

	if (!len)
		return;
	if (p)
		memcpy(out, p, len);
	else
		memset(out, 0, len);
}

static uint64_t rd_be(struct ntm_rd *r, size_t n)
{
	const uint8_t *p = ntm_rd_view(r, n);
	uint64_t v = 0;

	for (size_t i = 0; p && i < n; i++)
		v = v << 8 | p[i];
	return v;
}

uint8_t ntm_rd_u8(struct ntm_rd *r)
{
	return (uint8_t)rd_be(r, 1);
}
uint16_t ntm_rd_u16(struct ntm_rd *r)
{
	return (uint16_t)rd_be(r, 2);
}
uint32_t ntm_rd_u32(struct ntm_rd *r)
{
	return (uint32_t)rd_be(r, 4);
}
uint64_t ntm_rd_u64(struct ntm_rd *r)
{
	return rd_be(r, 8);
}

struct ntm_wr ntm_wr_init(void *data, size_t cap)
{
	uint8_t *p = data;

	return (struct ntm_wr){.base = p, .p = p, .end = p ? p + cap : p};
}

size_t ntm_wr_len(const struct ntm_wr *w)
{
	return (size_t)(w->p - w->base);
}

void ntm_wr_bytes(struct ntm_wr *w, const void *data, size_t len)
{
	if (w->err || (size_t)(w->end - w->p) < len) {
		w->err = -ENOSPC;
		return;
	}
	if (len)
		memcpy(w->p, data, len);
	w->p += len;
}

static void wr_be(struct ntm_wr *w, uint64_t v, size_t n)
{
	uint8_t b[8];

	for (size_t i = 0; i < n; i++)
		b[i] = (uint8_t)(v >> 8 * (n - 1 - i));
	ntm_wr_bytes(w, b, n);
}

void ntm_wr_u8(struct ntm_wr *w, uint8_t v)
{
	wr_be(w, v, 1);
}
void ntm_wr_u16(struct ntm_wr *w, uint16_t v)
{
	wr_be(w, v, 2);
}
void ntm_wr_u32(struct ntm_wr *w, uint32_t v)
{
	wr_be(w, v, 4);
}
void ntm_wr_u64(struct ntm_wr *w, uint64_t v)
{
	wr_be(w, v, 8);
}

/* Well-formed UTF-8 (RFC 3629) without control characters: strings end up in logs, JSON and the DC's store. */
bool ntm_text_ok(const uint8_t *s, size_t len)
{
	static const uint32_t least[] = {0xa0, 0x800, 0x10000}; /* 0x80..0x9f are the C1 controls */

	for (size_t i = 0; i < len;) {
		uint32_t c = s[i++];
		unsigned more;

		if (c < 0x80) {
			if (c < 0x20 || c == 0x7f)
				return false;
			continue;
		}
		if ((c & 0xe0) == 0xc0)
			more = 1;
		else if ((c & 0xf0) == 0xe0)
			more = 2;
		else if ((c & 0xf8) == 0xf0)
			more = 3;
		else
			return false;
		c &= 0x3fu >> more;
		if (len - i < more)
			return false;
		for (unsigned k = 0; k < more; k++) {
			if ((s[i] & 0xc0) != 0x80)
				return false;
			c = c << 6 | (s[i++] & 0x3f);
		}
		if (c < least[more - 1] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return false;
	}
	return true;
}
