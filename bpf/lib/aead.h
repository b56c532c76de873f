/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ChaCha20-Poly1305 (RFC 8439, section 2.8) on a packet in place, for tc and XDP programs and, natively, for tests.
 * The packet has struct ntm_hdr at hdr_off, which is the associated data and holds the nonce's counter, then len bytes
 * of payload, then the tag.
 *
 * Cipher and MAC are two passes, so a packet with a bad tag is never decrypted. The passes are global functions: the
 * verifier walks each once a program, however many paths lead to it. With their caller ntm_aead_*() they use
 * 256 of the 512 bytes of stack, as Linux 6.1 rounds; nothing is kept in maps, so programs may preempt each other.
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

/* In: the one-time key of Poly1305 (r, then pad). Out: the tag in the first four words. */
struct ntm_aead_mac {
	__u32 word[8];
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

/* Block 0 of the key stream. nonce: its last 8 bytes as a little-endian number; the first 4 are zero. */
static __always_inline int ntm_aead_one_time_key_body(const struct ntm_aead_key *key, struct ntm_aead_mac *mac,
						      __u64 nonce)
{
	__u32 n1 = nonce, n2 = nonce >> 32;
	volatile __u32 x[16];

	if (!key || !mac)
		return -NTM_AEAD_EINVAL;
	ntm_chacha20_init(x, key, 0, 0, n1, n2);
	ntm_chacha20_rounds(x);
	mac->word[0] = x[0] + NTM_CHACHA_C0;
	mac->word[1] = x[1] + NTM_CHACHA_C1;
	mac->word[2] = x[2] + NTM_CHACHA_C2;
	mac->word[3] = x[3] + NTM_CHACHA_C3;
	NTM_UNROLL
	for (int i = 0; i < 4; i++)
		mac->word[4 + i] = x[4 + i] + NTM_KEY_WORD(key, i);
	ntm_forget(x, 16);
	return 0;
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

/* Adds the key stream from block 1 on to the payload. */
static __always_inline int ntm_aead_xor_body(void *data, void *data_end, __u32 hdr_off, __u32 payload_len,
					     const struct ntm_aead_key *key, __u64 nonce)
{
	__u32 n1 = nonce, n2 = nonce >> 32, counter = 1, last;
	__u64 off = hdr_off + NTM_AEAD_AD_LEN, len = payload_len, left, done, tail;
	volatile __u32 x[16] __attribute__((aligned(8)));
	__u8 *p;

	NTM_AEAD_BOUND(off, 511);
	NTM_AEAD_BOUND(len, 2047);
	if (!key || off > NTM_AEAD_HDR_OFF_MAX + NTM_AEAD_AD_LEN || len > NTM_INNER_MAX)
		return -NTM_AEAD_EINVAL;

	left = len;
	NTM_OPAQUE(left);

	p = ntm_aead_at(data, off);
	for (; left >= NTM_CHACHA_BLOCK; left -= NTM_CHACHA_BLOCK) {
		ntm_chacha20_init(x, key, counter, 0, n1, n2);
		ntm_chacha20_rounds(x);
		if ((void *)(p + NTM_CHACHA_BLOCK) > data_end)
			return -NTM_AEAD_EINVAL;
		NTM_CHACHA_OUTPUT(x, key, counter, 0, n1, n2, NTM_XOR_PAIR);
		p += NTM_CHACHA_BLOCK;
		counter++;
	}

	/* from len again, not from the loop: one state for the verifier, however often the loop ran */
	tail = len & (NTM_CHACHA_BLOCK - 1);
	if (!tail)
		goto out;
	done = len & ~(__u64)(NTM_CHACHA_BLOCK - 1);
	counter = 1 + done / NTM_CHACHA_BLOCK;
	p = ntm_aead_at(data, off + done);
	ntm_chacha20_init(x, key, counter, 0, n1, n2);
	ntm_chacha20_rounds(x);
	NTM_CHACHA_OUTPUT(x, key, counter, 0, n1, n2, NTM_KEEP_PAIR);
	NTM_UNROLL
	for (__u32 i = 0; i < NTM_CHACHA_BLOCK / 8 - 1; i++) {
		NTM_OPAQUE(p);
		if (tail < 8)
			break;
		if ((void *)(p + 8) > data_end)
			return -NTM_AEAD_EINVAL;
		*(ntm_alias64 *)p ^= *(volatile ntm_alias64 *)&x[2 * i];
		p += 8;
		tail -= 8;
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
out:
	ntm_forget(x, 16);
	return 0;
}

#define NTM_POLY_AT(p) \
	NTM_POLY_BLOCK_AT(NTM_LOAD32(p), NTM_LOAD32((p) + 4), NTM_LOAD32((p) + 8), NTM_LOAD32((p) + 12), 1)

/* MAC over associated data and ciphertext, both where they lie in the packet. */
static __always_inline int ntm_aead_mac_body(void *data, void *data_end, __u32 hdr_off, __u32 payload_len,
					     struct ntm_aead_mac *mac)
{
	__u64 h0 = 0, h1 = 0, h2 = 0, h3 = 0, lo = 0, hi = 0, v = 0;
	__u64 off = hdr_off, len = payload_len, total, left;
	volatile __u32 rs[NTM_POLY_RS];
	__u32 shift = 0;
	__u8 *p;

	if (!mac || hdr_off > NTM_AEAD_HDR_OFF_MAX || payload_len > NTM_INNER_MAX)
		return -NTM_AEAD_EINVAL;
	NTM_AEAD_BOUND(off, 255);
	NTM_AEAD_BOUND(len, 2047);
	ntm_poly1305_init(rs, mac->word);

	total = len + NTM_AEAD_AD_LEN;
	NTM_OPAQUE(total);
	p = ntm_aead_at(data, off);
	for (left = total; left >= 4 * NTM_POLY_BLOCK; left -= 4 * NTM_POLY_BLOCK) {
		NTM_OPAQUE(p);
		if ((void *)(p + 4 * NTM_POLY_BLOCK) > data_end)
			return -NTM_AEAD_EINVAL;
		NTM_POLY_AT(p);
		NTM_POLY_AT(p + 16);
		NTM_POLY_AT(p + 32);
		NTM_POLY_AT(p + 48);
		p += 4 * NTM_POLY_BLOCK;
	}
	p = ntm_aead_at(data, off + (total & ~(__u64)(4 * NTM_POLY_BLOCK - 1)));
	left = total & (4 * NTM_POLY_BLOCK - 1);
	for (__u32 i = 0; i < 3; i++) {
		NTM_OPAQUE(p);
		if (left < NTM_POLY_BLOCK)
			break;
		if ((void *)(p + NTM_POLY_BLOCK) > data_end)
			return -NTM_AEAD_EINVAL;
		NTM_POLY_AT(p);
		p += NTM_POLY_BLOCK;
		left -= NTM_POLY_BLOCK;
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
	ntm_poly1305_finish(h0, h1, h2, h3, &mac->word[4], mac->word);
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
#define NTM_AEAD_DEFINE(hook, ctx_t, linkage, packet, packet_end)                                                      \
	linkage int ntm_aead_otk_##hook(const struct ntm_aead_key *key, struct ntm_aead_mac *mac, __u64 nonce)         \
	{                                                                                                              \
		return ntm_aead_one_time_key_body(key, mac, nonce);                                                    \
	}                                                                                                              \
	linkage int ntm_aead_xor_##hook(ctx_t *ctx, __u32 off, __u32 len, const struct ntm_aead_key *key, __u64 nonce) \
	{                                                                                                              \
		return ntm_aead_xor_body(packet, packet_end, off, len, key, nonce);                                    \
	}                                                                                                              \
	linkage int ntm_aead_mac_##hook(ctx_t *ctx, __u32 off, __u32 len, struct ntm_aead_mac *mac)                    \
	{                                                                                                              \
		return ntm_aead_mac_body(packet, packet_end, off, len, mac);                                           \
	}                                                                                                              \
	static __noinline                                                                                              \
	    __attribute__((unused)) int ntm_aead_seal_##hook(ctx_t *ctx, __u32 hdr_off, __u32 len, const __u8 *key)    \
	{                                                                                                              \
		const struct ntm_aead_key *k = (const struct ntm_aead_key *)key;                                       \
		struct ntm_aead_mac mac = {};                                                                          \
		__u8 *hdr, *tag;                                                                                       \
		__u64 nonce;                                                                                           \
                                                                                                                       \
		NTM_AEAD_BOUNDS(packet, packet_end);                                                                   \
		nonce = NTM_AEAD_NONCE(hdr);                                                                           \
		if (ntm_aead_otk_##hook(k, &mac, nonce) || ntm_aead_xor_##hook(ctx, hdr_off, len, k, nonce) ||         \
		    ntm_aead_mac_##hook(ctx, hdr_off, len, &mac))                                                      \
			return -NTM_AEAD_EINVAL;                                                                       \
		NTM_AEAD_BOUNDS(packet, packet_end);                                                                   \
		NTM_STORE64(tag, (__u64)mac.word[1] << 32 | mac.word[0]);                                              \
		NTM_STORE64(tag + 8, (__u64)mac.word[3] << 32 | mac.word[2]);                                          \
		ntm_forget(mac.word, 8);                                                                               \
		return 0;                                                                                              \
	}                                                                                                              \
	static __noinline                                                                                              \
	    __attribute__((unused)) int ntm_aead_open_##hook(ctx_t *ctx, __u32 hdr_off, __u32 len, const __u8 *key)    \
	{                                                                                                              \
		const struct ntm_aead_key *k = (const struct ntm_aead_key *)key;                                       \
		struct ntm_aead_mac mac = {};                                                                          \
		__u64 nonce, wrong;                                                                                    \
		__u8 *hdr, *tag;                                                                                       \
                                                                                                                       \
		NTM_AEAD_BOUNDS(packet, packet_end);                                                                   \
		nonce = NTM_AEAD_NONCE(hdr);                                                                           \
		if (ntm_aead_otk_##hook(k, &mac, nonce) || ntm_aead_mac_##hook(ctx, hdr_off, len, &mac))               \
			return -NTM_AEAD_EINVAL;                                                                       \
		NTM_AEAD_BOUNDS(packet, packet_end);                                                                   \
		wrong = NTM_LOAD64(tag) ^ ((__u64)mac.word[1] << 32 | mac.word[0]);                                    \
		wrong |= NTM_LOAD64(tag + 8) ^ ((__u64)mac.word[3] << 32 | mac.word[2]);                               \
		ntm_forget(mac.word, 8);                                                                               \
		if (wrong)                                                                                             \
			return -NTM_AEAD_EBADMSG;                                                                      \
		return ntm_aead_xor_##hook(ctx, hdr_off, len, k, nonce);                                               \
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

#ifdef __bpf__
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
