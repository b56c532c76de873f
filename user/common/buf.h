/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bounded cursors over bytes with a sticky error: read or write as many items as you like, then look
 * at err once. After an error reads return zeros and writes do nothing. Integers are big-endian on
 * the wire and host order in arguments, except where a name says otherwise.
 */
#ifndef NTM_BUF_H
#define NTM_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ntm_rd {
	const uint8_t *p, *end;
	int err; /* 0 or -EBADMSG */
};
struct ntm_wr {
	uint8_t *base, *p, *end;
	int err; /* 0 or -ENOSPC */
};

struct ntm_rd ntm_rd_init(const void *data, size_t len);
size_t ntm_rd_left(const struct ntm_rd *r);
uint8_t ntm_rd_u8(struct ntm_rd *r);
uint16_t ntm_rd_u16(struct ntm_rd *r);
uint32_t ntm_rd_u32(struct ntm_rd *r);
uint64_t ntm_rd_u64(struct ntm_rd *r);
void ntm_rd_bytes(struct ntm_rd *r, void *out, size_t len); /* zeroes out on error */
const uint8_t *ntm_rd_view(struct ntm_rd *r, size_t len);   /* NULL on error; points into the input */

struct ntm_wr ntm_wr_init(void *data, size_t cap);
size_t ntm_wr_len(const struct ntm_wr *w);
void ntm_wr_u8(struct ntm_wr *w, uint8_t v);
void ntm_wr_u16(struct ntm_wr *w, uint16_t v);
void ntm_wr_u32(struct ntm_wr *w, uint32_t v);
void ntm_wr_u64(struct ntm_wr *w, uint64_t v);
void ntm_wr_bytes(struct ntm_wr *w, const void *data, size_t len);

/* Well-formed UTF-8 (RFC 3629) without control characters, of len bytes. */
bool ntm_text_ok(const uint8_t *s, size_t len);

#endif
