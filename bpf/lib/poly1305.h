/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Poly1305 (RFC 8439, section 2.5) for BPF, which multiplies 64 by 64 bits and keeps the low 64. Limbs are 32 bits, the
 * top one 34, and carries wait in 64-bit sums. That fits, as clamping keeps each r below 2^28 and makes r1..r3
 * multiples of 4, so that 5/4 r is an integer: with h0 < 3.1 * 2^32, h1 and h2 < 2^33, h3 < 1.5 * 2^34 (message and
 * bit 128 added), the largest sum, d0, is below (1.55 + 1.25 + 1.25 + 3.75) * 2^61 < 2^64.
 */
#ifndef NTM_LIB_POLY1305_H
#define NTM_LIB_POLY1305_H

#include "chacha20.h"

#define NTM_POLY_BLOCK 16

/* r0..r3, then 5/4 of r1..r3. Volatile: loaded where they are multiplied, no register holds them. */
#define NTM_POLY_RS 7

static __always_inline void ntm_poly1305_init(volatile __u32 rs[NTM_POLY_RS], const __u32 key[4])
{
	__u32 r1 = key[1] & 0x0ffffffc, r2 = key[2] & 0x0ffffffc, r3 = key[3] & 0x0ffffffc;

	rs[0] = key[0] & 0x0fffffff;
	rs[1] = r1;
	rs[2] = r2;
	rs[3] = r3;
	rs[4] = r1 + (r1 >> 2);
	rs[5] = r2 + (r2 >> 2);
	rs[6] = r3 + (r3 >> 2);
}

#ifdef __bpf__
/* A move of 32 bits clears the rest: one instruction where the compiler shifts up and down. */
#define NTM_LOW32(low, v) asm volatile("%0 = %1" : "=w"(low) : "w"((__u32)(v)))
#define NTM_HOLD64(v) asm volatile("" : "+r"(v))
#else
#define NTM_LOW32(low, v) ((low) = (__u32)(v))
#define NTM_HOLD64(v) ((void)(v))
#endif

/* In this order: the compiler would load all of rs first and spill it. */
#define NTM_POLY_MUL(t, i, h)  \
	do {                   \
		t = rs[i];     \
		t *= (h);      \
		NTM_HOLD64(t); \
	} while (0)
#define NTM_POLY_MULADD(t, i, h)             \
	do {                                 \
		__u64 product;               \
                                             \
		NTM_POLY_MUL(product, i, h); \
		t += product;                \
		NTM_HOLD64(t);               \
	} while (0)
#define NTM_POLY_LOW(h, t)         \
	do {                       \
		__u32 low;         \
                                   \
		NTM_LOW32(low, t); \
		h = low;           \
	} while (0)

/*
 * h = (h + m + 2^128 * bit) * r mod 2^130 - 5, partly reduced. h0..h3 are __u64 of the caller, and rs its array.
 * h0 is the last that the block before has ready, so it is multiplied last; 5 times the carry is two additions, which
 * take less time than a product.
 */
#define NTM_POLY_BLOCK_AT(m0, m1, m2, m3, bit) \
	do {                                   \
		__u64 t0, t1, t2, t3;          \
                                               \
		h1 += (m1);                    \
		NTM_POLY_MUL(t0, 6, h1);       \
		NTM_POLY_MUL(t1, 0, h1);       \
		NTM_POLY_MUL(t2, 1, h1);       \
		NTM_POLY_MUL(t3, 2, h1);       \
		h2 += (m2);                    \
		NTM_POLY_MULADD(t0, 5, h2);    \
		NTM_POLY_MULADD(t1, 6, h2);    \
		NTM_POLY_MULADD(t2, 0, h2);    \
		NTM_POLY_MULADD(t3, 1, h2);    \
		h3 += (m3);                    \
		h3 += (__u64)(bit) << 32;      \
		NTM_POLY_MULADD(t0, 4, h3);    \
		NTM_POLY_MULADD(t1, 5, h3);    \
		NTM_POLY_MULADD(t2, 6, h3);    \
		NTM_POLY_MULADD(t3, 0, h3);    \
		h0 += (m0);                    \
		NTM_POLY_MULADD(t0, 0, h0);    \
		NTM_POLY_MULADD(t1, 1, h0);    \
		NTM_POLY_MULADD(t2, 2, h0);    \
		NTM_POLY_MULADD(t3, 3, h0);    \
		t1 += t0 >> 32;                \
		t2 += t1 >> 32;                \
		t3 += t2 >> 32;                \
		NTM_POLY_LOW(h0, t0);          \
		NTM_POLY_LOW(h1, t1);          \
		NTM_POLY_LOW(h2, t2);          \
		h3 = t3 << 30;                 \
		NTM_HOLD64(h3);                \
		h3 >>= 30;                     \
		t3 >>= 34;                     \
		h0 += t3;                      \
		t3 <<= 2;                      \
		NTM_HOLD64(t3);                \
		h0 += t3;                      \
	} while (0)

/* tag = (h mod 2^130 - 5) + pad mod 2^128 */
static __always_inline void ntm_poly1305_finish(__u64 h0, __u64 h1, __u64 h2, __u64 h3, const __u32 pad[4],
						__u32 tag[4])
{
	__u64 g0, g1, g2, g3, keep, c;

	/* twice: the first pass may carry out of the top once more */
	for (int i = 0; i < 2; i++) {
		h1 += h0 >> 32;
		h2 += h1 >> 32;
		h3 += h2 >> 32;
		h0 = (__u32)h0 + (h3 >> 34) * 5;
		h1 = (__u32)h1;
		h2 = (__u32)h2;
		h3 = h3 << 30 >> 30;
	}
	h1 += h0 >> 32;
	h0 = (__u32)h0;

	g0 = h0 + 5;
	g1 = h1 + (g0 >> 32);
	g2 = h2 + (g1 >> 32);
	g3 = h3 + (g2 >> 32);
	keep = (g3 >> 34) - 1;         /* all ones if h < 2^130 - 5 */
	asm volatile("" : "+r"(keep)); /* stays a mask: no branch on it */

	c = ((h0 & keep) | ((__u32)g0 & ~keep)) + pad[0];
	tag[0] = c;
	c = (c >> 32) + ((h1 & keep) | ((__u32)g1 & ~keep)) + pad[1];
	tag[1] = c;
	c = (c >> 32) + ((h2 & keep) | ((__u32)g2 & ~keep)) + pad[2];
	tag[2] = c;
	c = (c >> 32) + ((h3 & keep) | (g3 & ~keep)) + pad[3];
	tag[3] = c;
}

#endif
