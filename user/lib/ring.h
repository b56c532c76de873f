/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes that were received and not yet read: grows as it fills, by powers of two, and is freed when it is closed. */
#ifndef NTM_LIB_RING_H
#define NTM_LIB_RING_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct ring {
	uint8_t *buf;
	size_t cap, begin, len; /* cap: 0 or a power of two */
};

static inline void ring_copy_out(const struct ring *r, size_t at, void *out, size_t n)
{
	size_t from = (r->begin + at) & (r->cap - 1), first = r->cap - from < n ? r->cap - from : n;

	memcpy(out, r->buf + from, first);
	memcpy((uint8_t *)out + first, r->buf, n - first);
}

/* 0 or -ENOMEM. */
static inline int ring_put(struct ring *r, const void *data, size_t n)
{
	size_t cap = r->cap ? r->cap : 4096, at, first;
	uint8_t *buf;

	while (cap < r->len + n)
		cap *= 2;
	if (cap != r->cap) {
		buf = malloc(cap);
		if (!buf)
			return -ENOMEM;
		if (r->len)
			ring_copy_out(r, 0, buf, r->len);
		free(r->buf);
		*r = (struct ring){buf, cap, 0, r->len};
	}
	at = (r->begin + r->len) & (r->cap - 1);
	first = r->cap - at < n ? r->cap - at : n;
	memcpy(r->buf + at, data, first);
	memcpy(r->buf, (const uint8_t *)data + first, n - first);
	r->len += n;
	return 0;
}

/* At most n; out NULL: they are dropped. */
static inline size_t ring_get(struct ring *r, void *out, size_t n)
{
	if (n > r->len)
		n = r->len;
	if (!n)
		return 0;
	if (out)
		ring_copy_out(r, 0, out, n);
	r->begin = (r->begin + n) & (r->cap - 1);
	r->len -= n;
	return n;
}

static inline size_t ring_peek(const struct ring *r, void *out, size_t n)
{
	if (n > r->len)
		n = r->len;
	if (n)
		ring_copy_out(r, 0, out, n);
	return n;
}

static inline void ring_free(struct ring *r)
{
	free(r->buf);
	*r = (struct ring){0};
}

#endif
