/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ChaCha20 (RFC 8439, section 2.3) for BPF, and for tests compiled natively. The 16 state words do not fit a BPF
 * program's ten registers, and left alone the compiler moves most of them twice a quarter round. So the moves are
 * written out: nine words stay in registers, one register is scratch. The steps of the quarter rounds are interleaved
 * in an order found by search on x86-64 with the JIT's instructions: the processor finds more of them ready at once
 * than if one quarter round followed another (a block takes a tenth less time), although 21 words a double round move
 * and not 14. Moves go by other units of the processor than arithmetic and are nearly free.
 * Time depends on lengths only.
 */
#ifndef NTM_LIB_CHACHA20_H
#define NTM_LIB_CHACHA20_H

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif

#ifdef __clang__
#define NTM_UNROLL _Pragma("unroll")
#else
#define NTM_UNROLL
#endif

#define NTM_CHACHA_BLOCK 64
#define NTM_CHACHA_C0 0x61707865u
#define NTM_CHACHA_C1 0x3320646eu
#define NTM_CHACHA_C2 0x79622d32u
#define NTM_CHACHA_C3 0x6b206574u

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NTM_LE32(v) ((__u32)(v))
#define NTM_LE64(v) ((__u64)(v))
#else
#define NTM_LE32(v) __builtin_bswap32(v)
#define NTM_LE64(v) __builtin_bswap64(v)
#endif

/* Loads and stores at any alignment, little-endian. The packed form makes BPF access single bytes. */
#ifdef __bpf__
typedef __u32 __attribute__((may_alias)) ntm_alias32;
typedef __u64 __attribute__((may_alias)) ntm_alias64;
#else
typedef __u32 __attribute__((may_alias, aligned(1))) ntm_alias32;
typedef __u64 __attribute__((may_alias, aligned(1))) ntm_alias64;
#endif
#define NTM_LOAD32(p) NTM_LE32(*(const ntm_alias32 *)(p))
#define NTM_LOAD64(p) NTM_LE64(*(const ntm_alias64 *)(p))
#define NTM_STORE64(p, v) (*(ntm_alias64 *)(p) = NTM_LE64(v))

/*
 * In BPF, operations are written as they shall stand: the compiler would add to a copy of either operand and then need
 * a register, and a move, more.
 */
#ifdef __bpf__
#define NTM_ADD32(a, b) asm volatile("%0 += %1" : "+w"(a) : "w"(b))
#define NTM_XOR32(a, b) asm volatile("%0 ^= %1" : "+w"(a) : "w"(b))
#define NTM_ROTL32(v, n)                                               \
	do {                                                           \
		__u32 high;                                            \
		asm volatile("%1 = %0\n%0 <<= %2\n%1 >>= %3\n%0 |= %1" \
			     : "+w"(v), "=&w"(high)                    \
			     : "i"(n), "i"(32 - (n)));                 \
	} while (0)
#else
#define NTM_ADD32(a, b) ((a) += (b))
#define NTM_XOR32(a, b) ((a) ^= (b))
#define NTM_ROTL32(v, n) ((v) = (v) << (n) | (v) >> (32 - (n)))
#endif

/* A quarter of a quarter round. */
#define NTM_QR_STEP(a, b, d, n)   \
	do {                      \
		NTM_ADD32(a, b);  \
		NTM_XOR32(d, a);  \
		NTM_ROTL32(d, n); \
	} while (0)

/* The rounds can be run backwards: who finds the words in an old stack frame finds the key. */
static __always_inline void ntm_forget(volatile __u32 *words, int n)
{
	NTM_UNROLL
	for (int i = 0; i < n; i++)
		words[i] = 0;
}

/* One word leaves the registers, another enters. */
#define NTM_SWAP(out, out_at, in, in_at) \
	do {                             \
		x[out_at] = out;         \
		in = x[in_at];           \
	} while (0)

/* Begins and ends with the same nine words in registers. */
#define NTM_DOUBLE_ROUND()                   \
	do {                                 \
		NTM_SWAP(b3, 7, a1, 1);      \
		NTM_QR_STEP(a1, b1, d1, 16); \
		NTM_SWAP(a1, 1, b2, 6);      \
		NTM_QR_STEP(a2, b2, d2, 16); \
		NTM_QR_STEP(c1, d1, b1, 12); \
		NTM_SWAP(c1, 9, a0, 0);      \
		NTM_SWAP(d1, 13, d0, 12);    \
		NTM_QR_STEP(a0, b0, d0, 16); \
		NTM_QR_STEP(c0, d0, b0, 12); \
		NTM_QR_STEP(c2, d2, b2, 12); \
		NTM_QR_STEP(a0, b0, d0, 8);  \
		NTM_QR_STEP(c0, d0, b0, 7);  \
		NTM_QR_STEP(a2, b2, d2, 8);  \
		NTM_SWAP(c0, 8, a3, 3);      \
		NTM_SWAP(a2, 2, b3, 7);      \
		NTM_SWAP(a0, 0, d3, 15);     \
		NTM_QR_STEP(a3, b3, d3, 16); \
		NTM_QR_STEP(c2, d2, b2, 7);  \
		NTM_SWAP(c2, 10, c3, 11);    \
		NTM_QR_STEP(c3, d3, b3, 12); \
		NTM_SWAP(d0, 12, a1, 1);     \
		NTM_SWAP(b2, 6, d1, 13);     \
		NTM_QR_STEP(a1, b1, d1, 8);  \
		NTM_QR_STEP(a3, b3, d3, 8);  \
		NTM_QR_STEP(a3, b0, d2, 16); \
		NTM_QR_STEP(c3, d3, b3, 7);  \
		NTM_SWAP(a3, 3, c1, 9);      \
		NTM_QR_STEP(c1, d1, b1, 7);  \
		NTM_SWAP(b3, 7, b2, 6);      \
		NTM_SWAP(d1, 13, d0, 12);    \
		NTM_QR_STEP(a1, b2, d0, 16); \
		NTM_QR_STEP(c3, d0, b2, 12); \
		NTM_QR_STEP(a1, b2, d0, 8);  \
		NTM_QR_STEP(c1, d2, b0, 12); \
		NTM_SWAP(a1, 1, a0, 0);      \
		NTM_QR_STEP(a0, b1, d3, 16); \
		NTM_QR_STEP(c3, d0, b2, 7);  \
		NTM_SWAP(c3, 11, c2, 10);    \
		NTM_QR_STEP(c2, d3, b1, 12); \
		NTM_QR_STEP(a0, b1, d3, 8);  \
		NTM_SWAP(a0, 0, a2, 2);      \
		NTM_SWAP(d0, 12, b3, 7);     \
		NTM_SWAP(b2, 6, d1, 13);     \
		NTM_QR_STEP(a2, b3, d1, 16); \
		NTM_SWAP(c1, 9, a3, 3);      \
		NTM_QR_STEP(a3, b0, d2, 8);  \
		NTM_SWAP(a3, 3, c0, 8);      \
		NTM_QR_STEP(c0, d1, b3, 12); \
		NTM_QR_STEP(c2, d3, b1, 7);  \
		NTM_QR_STEP(a2, b3, d1, 8);  \
		NTM_QR_STEP(c0, d1, b3, 7);  \
		NTM_SWAP(d3, 15, c1, 9);     \
		NTM_QR_STEP(c1, d2, b0, 7);  \
	} while (0)

/*
 * The 20 rounds, without the final addition. x: the state, in the caller's frame; volatile, so that words move where
 * this file says. The loop counter lives beside it for want of a register.
 */
static __always_inline void ntm_chacha20_rounds(volatile __u32 x[16])
{
	__u32 a0, a1, a2 = x[2], a3;
	__u32 b0 = x[4], b1 = x[5], b2, b3 = x[7];
	__u32 c0 = x[8], c1 = x[9], c2 = x[10], c3;
	__u32 d0, d1 = x[13], d2 = x[14], d3;
	volatile __u64 left = 10;
	__u64 n;

	do {
		NTM_DOUBLE_ROUND();
		n = left - 1;
		left = n;
	} while (n);
	x[2] = a2;
	x[4] = b0;
	x[5] = b1;
	x[7] = b3;
	x[8] = c0;
	x[9] = c1;
	x[10] = c2;
	x[13] = d1;
	x[14] = d2;
}

/* The state for one block. key: 32 bytes; nonce: its three words. */
static __always_inline void ntm_chacha20_init(volatile __u32 x[16], const void *key, __u32 counter, __u32 n0, __u32 n1,
					      __u32 n2)
{
	x[0] = NTM_CHACHA_C0;
	x[1] = NTM_CHACHA_C1;
	x[2] = NTM_CHACHA_C2;
	x[3] = NTM_CHACHA_C3;
	NTM_UNROLL
	for (int i = 0; i < 8; i++)
		x[4 + i] = NTM_LOAD32((const __u8 *)key + 4 * i);
	x[12] = counter;
	x[13] = n0;
	x[14] = n1;
	x[15] = n2;
}

/* Words 2 * i and 2 * i + 1 of the key stream, as they lie in memory. */
#define NTM_CHACHA_PAIR(x, i, lo, hi) ((__u64)((__u32)((x)[2 * (i)] + (lo))) | (__u64)((x)[2 * (i) + 1] + (hi)) << 32)
#define NTM_KEY_WORD(key, i) NTM_LOAD32((const __u8 *)(key) + 4 * (i))

/* emit(i, pair) for the eight pairs of words. */
#define NTM_CHACHA_OUTPUT(x, key, counter, n0, n1, n2, emit)                                \
	do {                                                                                \
		emit(0, NTM_CHACHA_PAIR(x, 0, NTM_CHACHA_C0, NTM_CHACHA_C1));               \
		emit(1, NTM_CHACHA_PAIR(x, 1, NTM_CHACHA_C2, NTM_CHACHA_C3));               \
		emit(2, NTM_CHACHA_PAIR(x, 2, NTM_KEY_WORD(key, 0), NTM_KEY_WORD(key, 1))); \
		emit(3, NTM_CHACHA_PAIR(x, 3, NTM_KEY_WORD(key, 2), NTM_KEY_WORD(key, 3))); \
		emit(4, NTM_CHACHA_PAIR(x, 4, NTM_KEY_WORD(key, 4), NTM_KEY_WORD(key, 5))); \
		emit(5, NTM_CHACHA_PAIR(x, 5, NTM_KEY_WORD(key, 6), NTM_KEY_WORD(key, 7))); \
		emit(6, NTM_CHACHA_PAIR(x, 6, counter, n0));                                \
		emit(7, NTM_CHACHA_PAIR(x, 7, n1, n2));                                     \
	} while (0)

#endif
