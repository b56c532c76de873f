/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ChaCha20-Poly1305 (RFC 8439, section 2.8) on a packet in place, for tc and XDP programs and, natively, for tests.
 * The packet has struct ntm_hdr at hdr_off, which is the associated data and holds the nonce's counter, then len bytes
 * of payload, then the tag.
 *
 * Cipher and MAC are two passes, so a packet with a bad tag is never decrypted. The passes are global functions: the
 * verifier walks each once a program, however many paths lead to it. With their caller ntm_aead_*() they use
 * 256 of the 512 bytes of stack, as Linux 6.1 rounds; nothing is kept in maps, so programs may preempt each other.
 * Each pass is one loop with one copy of the rounds, or of the block: unrolled further, they run no faster in BPF.
 *
 * Time depends on lengths only.
 */
#ifndef NTM_LIB_AEAD_H
#define NTM_LIB_AEAD_H

#include <ntm/limits.h>
#include "chacha20.h"
#include "poly1305.h"

#define NTM_AEAD_EBADMSG 74
#define NTM_AEAD_EINVAL 22
#define NTM_AEAD_AD_LEN 16
#define NTM_AEAD_HDR_OFF_MAX 255

struct ntm_aead_key {
	__u8 bytes[NTM_KEY_LEN];
};

/*
 * What goes into and comes out of a pass. nonce: its last 8 bytes as a little-endian number; the first 4 are zero.
 * started: not 0 if block 0 of the key stream has been taken. word: out of the stream and into the MAC, the one-time
 * key of Poly1305 (r, then pad), which is block 0; out of the MAC, the tag in the first four.
 */
struct ntm_aead_pass {
	union {
		struct {
			__u64 nonce;
			__u32 started;
		};
		__u32 word[8];
	};
};

/* The compiler can't see where v comes from: it must not rewrite pointers to the end of the packet. */
#define NTM_OPAQUE(v) asm volatile("" : "+r"(v))

/* Clears what is above a bound of the form 2^n - 1, where the compiler would find that it is clear already. */
#define NTM_AEAD_BOUND(v, max) \
	do {                   \
		NTM_OPAQUE(v); \
		v &= (max);    \
	} while (0)

static __always_inline void *ntm_aead_at(void *data, __u64 off)
{
	__u8 *p = data;

	NTM_OPAQUE(off);
	p += off;
	return p;
}

#define NTM_XOR_PAIR(i, pair)                                           \
	do {                                                            \
		__u64 ks = (pair);                                      \
		NTM_STORE64(p + 8 * (i), NTM_LOAD64(p + 8 * (i)) ^ ks); \
	} while (0)
#define NTM_KEEP_PAIR(i, pair)                                \
	do {                                                  \
		__u64 ks = (pair);                            \
		x[2 * (i)] = NTM_LE32((__u32)ks);             \
		x[2 * (i) + 1] = NTM_LE32((__u32)(ks >> 32)); \
	} while (0)

/*
 * Adds what is in x after the rounds to the payload's last bytes, fewer than a block. off and len: of the whole
 * payload; all that the block is comes from them and not from the loop: one state for the verifier, however often that
 * ran.
 */
static __always_inline int ntm_aead_last_block(void *data, void *data_end, __u64 off, __u64 len, volatile __u32 x[16],
					       const struct ntm_aead_key *key, __u32 n1, __u32 n2)
{
	__u64 done = len & ~(__u64)(NTM_CHACHA_BLOCK - 1), left = len & (NTM_CHACHA_BLOCK - 1);
	__u32 counter = 1 + done / NTM_CHACHA_BLOCK, last;
	__u8 *p = ntm_aead_at(data, off + done);

	NTM_CHACHA_OUTPUT(x, key, counter, 0, n1, n2, NTM_KEEP_PAIR);
	NTM_UNROLL
	for (__u32 i = 0; i < NTM_CHACHA_BLOCK / 8 - 1; i++) {
		NTM_OPAQUE(p);
		if (left < 8)
			break;
		if ((void *)(p + 8) > data_end)
			return -NTM_AEAD_EINVAL;
		*(ntm_alias64 *)p ^= *(volatile ntm_alias64 *)&x[2 * i];
		p += 8;
		left -= 8;
	}
	p = ntm_aead_at(data, off + (len & ~(__u64)7));
	if (len & 4) {
		if ((void *)(p + 4) > data_end)
			return -NTM_AEAD_EINVAL;
		*(ntm_alias32 *)p ^= x[len / 8 % 8 * 2];
		p += 4;
		NTM_OPAQUE(p);
	}
	last = NTM_LE32(x[len / 4 % 16]);
	if (len & 2) {
		if ((void *)(p + 2) > data_end)
			return -NTM_AEAD_EINVAL;
		p[0] ^= last;
		p[1] ^= last >> 8;
		last >>= 16;
		p += 2;
		NTM_OPAQUE(p);
	}
	if (len & 1) {
		if ((void *)(p + 1) > data_end)
			return -NTM_AEAD_EINVAL;
		p[0] ^= last;
	}
	return 0;
}

#define NTM_AEAD_ONE_TIME_KEY(word, x, key)                              \
	do {                                                             \
		(word)[0] = x[0] + NTM_CHACHA_C0;                        \
		(word)[1] = x[1] + NTM_CHACHA_C1;                        \
		(word)[2] = x[2] + NTM_CHACHA_C2;                        \
		(word)[3] = x[3] + NTM_CHACHA_C3;                        \
		NTM_UNROLL                                               \
		for (int i = 0; i < 4; i++)                              \
			(word)[4 + i] = x[4 + i] + NTM_KEY_WORD(key, i); \
	} while (0)

/* Block 0 of the key stream goes to pass->word unless pass->started; blocks from 1 on are added to the payload. */
static __always_inline int ntm_aead_stream_body(void *data, void *data_end, __u32 hdr_off, __u32 payload_len,
						const struct ntm_aead_key *key, struct ntm_aead_pass *pass)
{
	__u64 off = hdr_off + NTM_AEAD_AD_LEN, len = payload_len, left;
	volatile __u32 x[16] __attribute__((aligned(8)));
	__u32 counter, n1, n2;
	int err = 0;
	__u8 *p;

	NTM_AEAD_BOUND(off, 511);
	NTM_AEAD_BOUND(len, 2047);
	if (!key || !pass || off > NTM_AEAD_HDR_OFF_MAX + NTM_AEAD_AD_LEN || len > NTM_INNER_MAX)
		return -NTM_AEAD_EINVAL;
	n1 = pass->nonce;
	n2 = pass->nonce >> 32;

	left = len;
	NTM_OPAQUE(left);
	p = ntm_aead_at(data, off);
	for (counter = pass->started ? 1 : 0; !counter || left; counter++) {
		ntm_chacha20_init(x, key, counter, 0, n1, n2);
		ntm_chacha20_rounds(x);
		if (!counter) {
			NTM_AEAD_ONE_TIME_KEY(pass->word, x, key);
			continue;
		}
		if (left < NTM_CHACHA_BLOCK) {
			err = ntm_aead_last_block(data, data_end, off, len, x, key, n1, n2);
			break;
		}
		if ((void *)(p + NTM_CHACHA_BLOCK) > data_end) {
			err = -NTM_AEAD_EINVAL;
			break;
		}
		NTM_CHACHA_OUTPUT(x, key, counter, 0, n1, n2, NTM_XOR_PAIR);
		p += NTM_CHACHA_BLOCK;
		left -= NTM_CHACHA_BLOCK;
	}
	ntm_forget(x, 16);
	return err;
}

#define NTM_POLY_AT(p) \
	NTM_POLY_BLOCK_AT(NTM_LOAD32(p), NTM_LOAD32((p) + 4), NTM_LOAD32((p) + 8), NTM_LOAD32((p) + 12), 1)

/* MAC over associated data and ciphertext, both where they lie in the packet. */
static __always_inline int ntm_aead_mac_body(void *data, void *data_end, __u32 hdr_off, __u32 payload_len,
					     struct ntm_aead_pass *pass)
{
	__u64 h0 = 0, h1 = 0, h2 = 0, h3 = 0, lo = 0, hi = 0, v = 0;
	__u64 off = hdr_off, len = payload_len, total, left;
	volatile __u32 rs[NTM_POLY_RS];
	__u32 shift = 0;
	__u8 *p;

	if (!pass || hdr_off > NTM_AEAD_HDR_OFF_MAX || payload_len > NTM_INNER_MAX)
		return -NTM_AEAD_EINVAL;
	NTM_AEAD_BOUND(off, 255);
	NTM_AEAD_BOUND(len, 2047);
	ntm_poly1305_init(rs, pass->word);

	total = len + NTM_AEAD_AD_LEN;
	NTM_OPAQUE(total);
	p = ntm_aead_at(data, off);
	for (left = total; left >= NTM_POLY_BLOCK; left -= NTM_POLY_BLOCK) {
		NTM_OPAQUE(p);
		if ((void *)(p + NTM_POLY_BLOCK) > data_end)
			return -NTM_AEAD_EINVAL;
		NTM_POLY_AT(p);
		p += NTM_POLY_BLOCK;
	}

	/* the last bytes, padded with zeros */
	if (len & (NTM_POLY_BLOCK - 1)) {
		p = ntm_aead_at(data, off + (total & ~(__u64)(NTM_POLY_BLOCK - 1)));
		if (len & 8) {
			if ((void *)(p + 8) > data_end)
				return -NTM_AEAD_EINVAL;
			lo = NTM_LOAD64(p);
			p += 8;
			NTM_OPAQUE(p);
		}
		if (len & 4) {
			if ((void *)(p + 4) > data_end)
				return -NTM_AEAD_EINVAL;
			v = NTM_LOAD32(p);
			shift = 32;
			p += 4;
			NTM_OPAQUE(p);
		}
		if (len & 2) {
			if ((void *)(p + 2) > data_end)
				return -NTM_AEAD_EINVAL;
			v |= (p[0] | (__u64)p[1] << 8) << shift;
			shift += 16;
			p += 2;
			NTM_OPAQUE(p);
		}
		if (len & 1) {
			if ((void *)(p + 1) > data_end)
				return -NTM_AEAD_EINVAL;
			v |= (__u64)p[0] << shift;
		}
		if (len & 8)
			hi = v;
		else
			lo = v;
		NTM_POLY_BLOCK_AT((__u32)lo, lo >> 32, (__u32)hi, hi >> 32, 1);
	}
	NTM_POLY_BLOCK_AT(NTM_AEAD_AD_LEN, 0, len, 0, 1);
	ntm_poly1305_finish(h0, h1, h2, h3, &pass->word[4], pass->word);
	ntm_forget(rs, NTM_POLY_RS);
	return 0;
}

/*
 * One instance: the passes, and what programs call. ctx is what the hook hands to a program. In a hook, the packet must
 * be linear up to the tag's end; key is a map value.
 *
 * seal: 0, or -EINVAL when len > NTM_INNER_MAX or header, payload and room for the tag do not fit the packet.
 * open: 0, -EINVAL likewise, or -EBADMSG when the tag is wrong: the packet is untouched then.
 */
#define NTM_AEAD_DEFINE(hook, ctx_t, linkage, packet, packet_end)                                                   \
	linkage int ntm_aead_stream_##hook(ctx_t *ctx, __u32 off, __u32 len, const struct ntm_aead_key *key,        \
					   struct ntm_aead_pass *pass)                                              \
	{                                                                                                           \
		return ntm_aead_stream_body(packet, packet_end, off, len, key, pass);                               \
	}                                                                                                           \
	linkage int ntm_aead_mac_##hook(ctx_t *ctx, __u32 off, __u32 len, struct ntm_aead_pass *pass)               \
	{                                                                                                           \
		return ntm_aead_mac_body(packet, packet_end, off, len, pass);                                       \
	}                                                                                                           \
	static __noinline                                                                                           \
	    __attribute__((unused)) int ntm_aead_seal_##hook(ctx_t *ctx, __u32 hdr_off, __u32 len, const __u8 *key) \
	{                                                                                                           \
		const struct ntm_aead_key *k = (const struct ntm_aead_key *)key;                                    \
		struct ntm_aead_pass pass = {};                                                                     \
		__u8 *hdr, *tag;                                                                                    \
                                                                                                                    \
		NTM_AEAD_BOUNDS(packet, packet_end);                                                                \
		pass.nonce = NTM_AEAD_NONCE(hdr);                                                                   \
		if (ntm_aead_stream_##hook(ctx, hdr_off, len, k, &pass) ||                                          \
		    ntm_aead_mac_##hook(ctx, hdr_off, len, &pass))                                                  \
			return -NTM_AEAD_EINVAL;                                                                    \
		NTM_AEAD_BOUNDS(packet, packet_end);                                                                \
		NTM_STORE64(tag, (__u64)pass.word[1] << 32 | pass.word[0]);                                         \
		NTM_STORE64(tag + 8, (__u64)pass.word[3] << 32 | pass.word[2]);                                     \
		ntm_forget(pass.word, 8);                                                                           \
		return 0;                                                                                           \
	}                                                                                                           \
	static __noinline                                                                                           \
	    __attribute__((unused)) int ntm_aead_open_##hook(ctx_t *ctx, __u32 hdr_off, __u32 len, const __u8 *key) \
	{                                                                                                           \
		const struct ntm_aead_key *k = (const struct ntm_aead_key *)key;                                    \
		struct ntm_aead_pass pass = {};                                                                     \
		__u8 *hdr, *tag;                                                                                    \
		__u64 wrong;                                                                                        \
                                                                                                                    \
		NTM_AEAD_BOUNDS(packet, packet_end);                                                                \
		pass.nonce = NTM_AEAD_NONCE(hdr);                                                                   \
		if (ntm_aead_stream_##hook(ctx, hdr_off, 0, k, &pass) ||                                            \
		    ntm_aead_mac_##hook(ctx, hdr_off, len, &pass))                                                  \
			return -NTM_AEAD_EINVAL;                                                                    \
		NTM_AEAD_BOUNDS(packet, packet_end);                                                                \
		wrong = NTM_LOAD64(tag) ^ ((__u64)pass.word[1] << 32 | pass.word[0]);                               \
		wrong |= NTM_LOAD64(tag + 8) ^ ((__u64)pass.word[3] << 32 | pass.word[2]);                          \
		ntm_forget(pass.word, 8);                                                                           \
		if (wrong)                                                                                          \
			return -NTM_AEAD_EBADMSG;                                                                   \
		pass.nonce = NTM_AEAD_NONCE(hdr);                                                                   \
		pass.started = 1;                                                                                   \
		return ntm_aead_stream_##hook(ctx, hdr_off, len, k, &pass);                                         \
	}

/* Sets hdr and tag, or returns. */
#define NTM_AEAD_BOUNDS(packet, packet_end)                                                                       \
	do {                                                                                                      \
		if (hdr_off > NTM_AEAD_HDR_OFF_MAX || len > NTM_INNER_MAX)                                        \
			return -NTM_AEAD_EINVAL;                                                                  \
		hdr = ntm_aead_at(packet, hdr_off);                                                               \
		tag = hdr + NTM_AEAD_AD_LEN + len;                                                                \
		if ((void *)(hdr + NTM_AEAD_AD_LEN) > (packet_end) || (void *)(tag + NTM_TAG_LEN) > (packet_end)) \
			return -NTM_AEAD_EINVAL;                                                                  \
	} while (0)

/* Bytes 2..7 of the header behind 2 of the 6 zero bytes: words 14 and 15 of the cipher's state. */
#define NTM_AEAD_NONCE(hdr) (NTM_LOAD64(hdr) >> 16 << 16)

/* With the hooks' contexts, too, where tests compile whole programs for the machine that they run on. */
#if defined(__bpf__) || defined(NTM_TEST_SHIM_H)
#define NTM_AEAD_DATA ((void *)(long)ctx->data)
#define NTM_AEAD_DATA_END ((void *)(long)ctx->data_end)
NTM_AEAD_DEFINE(skb, struct __sk_buff, __noinline, NTM_AEAD_DATA, NTM_AEAD_DATA_END)
NTM_AEAD_DEFINE(xdp, struct xdp_md, __noinline, NTM_AEAD_DATA, NTM_AEAD_DATA_END)
#else
struct ntm_aead_buf {
	void *data, *data_end;
};
NTM_AEAD_DEFINE(buf, struct ntm_aead_buf, static __noinline, ctx->data, ctx->data_end)
#endif

#endif
