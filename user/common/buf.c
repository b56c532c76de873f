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
