/* SPDX-License-Identifier: BSD-2-Clause */
/* bpf/lib/{chacha20,poly1305,aead}.h compiled natively: the vectors of RFC 8439, and OpenSSL. */
#include <stdlib.h>

#include <criterion/criterion.h>
#include <linux/types.h>
#include <openssl/rand.h>

#include "../../bpf/lib/aead.h"
#include "aead_ref.h"

enum { ROUNDS = 10000, BUF = 16 + NTM_INNER_MAX + 16 };

static size_t from_hex(uint8_t *out, const char *hex)
{
	size_t n = 0;
	unsigned v;

	for (; hex[0] && hex[1]; hex += 2) {
		sscanf(hex, "%2x", &v);
		out[n++] = (uint8_t)v;
	}
	return n;
}

static void block(uint8_t out[64], const uint8_t key[32], uint32_t counter, const uint8_t nonce[12])
{
	uint32_t n0 = NTM_LOAD32(nonce), n1 = NTM_LOAD32(nonce + 4), n2 = NTM_LOAD32(nonce + 8);
	volatile __u32 x[16];

	ntm_chacha20_init(x, key, counter, n0, n1, n2);
	ntm_chacha20_rounds(x);
#define STORE(i, pair) NTM_STORE64(out + 8 * (i), pair)
	NTM_CHACHA_OUTPUT(x, key, counter, n0, n1, n2, STORE);
#undef STORE
}

/* Plain Poly1305: the last block ends in a 1 bit, where the AEAD pads with zeros. */
static void poly(uint8_t tag[16], const uint8_t key[32], const uint8_t *m, size_t len)
{
	__u32 words[8], sum[4];
	volatile __u32 rs[NTM_POLY_RS];
	__u64 h0 = 0, h1 = 0, h2 = 0, h3 = 0;

	for (int i = 0; i < 8; i++)
		words[i] = NTM_LOAD32(key + 4 * i);
	ntm_poly1305_init(rs, words);
	for (; len >= 16; m += 16, len -= 16)
		NTM_POLY_BLOCK_AT(NTM_LOAD32(m), NTM_LOAD32(m + 4), NTM_LOAD32(m + 8), NTM_LOAD32(m + 12), 1);
	if (len) {
		uint8_t last[16] = {};

		memcpy(last, m, len);
		last[len] = 1;
		NTM_POLY_BLOCK_AT(NTM_LOAD32(last), NTM_LOAD32(last + 4), NTM_LOAD32(last + 8), NTM_LOAD32(last + 12),
				  0);
	}
	ntm_poly1305_finish(h0, h1, h2, h3, words + 4, sum);
	memcpy(tag, sum, 16);
}

Test(aead_native, chacha20_block_rfc8439_2_3_2)
{
	uint8_t key[32], nonce[12], want[64], got[64];

	from_hex(key, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
	from_hex(nonce, "000000090000004a00000000");
	from_hex(want, "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
		       "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e");
	block(got, key, 1, nonce);
	cr_assert_arr_eq(got, want, 64);
}

static const struct {
	const char *key, *message, *tag;
} poly_vectors[] = {
    /* RFC 8439, section 2.5.2 */
    {"85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b",
     "43727970746f6772617068696320466f72756d2052657365617263682047726f7570", "a8061dc1305136c6c22b8baf0c0127a9"},
    /* appendix A.3: 1, and 5 to 11 */
    {"0000000000000000000000000000000000000000000000000000000000000000",
     "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
     "0000000000000000",
     "00000000000000000000000000000000"},
    {"0200000000000000000000000000000000000000000000000000000000000000", "ffffffffffffffffffffffffffffffff",
     "03000000000000000000000000000000"},
    {"02000000000000000000000000000000ffffffffffffffffffffffffffffffff", "02000000000000000000000000000000",
     "03000000000000000000000000000000"},
    {"0100000000000000000000000000000000000000000000000000000000000000",
     "fffffffffffffffffffffffffffffffff0ffffffffffffffffffffffffffffff11000000000000000000000000000000",
     "05000000000000000000000000000000"},
    {"0100000000000000000000000000000000000000000000000000000000000000",
     "fffffffffffffffffffffffffffffffffbfefefefefefefefefefefefefefefe01010101010101010101010101010101",
     "00000000000000000000000000000000"},
    {"0200000000000000000000000000000000000000000000000000000000000000", "fdffffffffffffffffffffffffffffff",
     "faffffffffffffffffffffffffffffff"},
    {"0100000000000000040000000000000000000000000000000000000000000000",
     "e33594d7505e43b900000000000000003394d7505e4379cd01000000000000000000000000000000000000000000000001000000000000000"
     "000000000000000",
     "14000000000000005500000000000000"},
    {"0100000000000000040000000000000000000000000000000000000000000000",
     "e33594d7505e43b900000000000000003394d7505e4379cd010000000000000000000000000000000000000000000000",
     "13000000000000000000000000000000"},
};

Test(aead_native, poly1305_rfc8439)
{
	for (size_t i = 0; i < sizeof(poly_vectors) / sizeof(poly_vectors[0]); i++) {
		uint8_t key[32], message[128], want[16], got[16];
		size_t n = from_hex(message, poly_vectors[i].message);

		from_hex(key, poly_vectors[i].key);
		from_hex(want, poly_vectors[i].tag);
		poly(got, key, message, n);
		cr_assert_arr_eq(got, want, 16, "vector %zu", i);
	}
}

/* The sums of poly1305.h at their largest: all ones, with r as large as clamping lets it be. */
Test(aead_native, poly1305_largest_sums)
{
	uint8_t key[32], message[512], got[16], want[16];
	size_t n = sizeof(want);

	memset(key, 0xff, sizeof(key));
	memset(message, 0xff, sizeof(message));
	for (size_t len = 0; len <= sizeof(message); len++) {
		cr_assert(EVP_Q_mac(NULL, "POLY1305", NULL, NULL, NULL, key, 32, message, len, want, n, &n));
		poly(got, key, message, len);
		cr_assert_arr_eq(got, want, 16, "%zu bytes", len);
	}
}

Test(aead_native, aead_rfc8439_2_8_2)
{
	static const char text[] =
	    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
	    "future, sunscreen would be it.";
	uint8_t key[32], nonce[12], ad[12], want[114], want_tag[16], ks[64], data[16 + 128 + 16] = {}, tag[16];
	size_t len = sizeof(text) - 1;
	__u32 words[8], sum[4];
	volatile __u32 rs[NTM_POLY_RS];
	__u64 h0 = 0, h1 = 0, h2 = 0, h3 = 0, n;

	from_hex(key, "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
	from_hex(nonce, "070000004041424344454647");
	from_hex(ad, "50515253c0c1c2c3c4c5c6c7");
	from_hex(want,
		 "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b"
		 "1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
		 "3ff4def08e4b7a9de576d26586cec64b6116");
	from_hex(want_tag, "1ae10b594f09e26a7e902ecbd0600691");

	memcpy(data, ad, 12);
	for (size_t i = 0; i < len; i++) {
		if (i % 64 == 0)
			block(ks, key, (uint32_t)(1 + i / 64), nonce);
		data[16 + i] = (uint8_t)(text[i] ^ ks[i % 64]);
	}
	cr_assert_eq(len, sizeof(want));
	cr_assert_arr_eq(data + 16, want, sizeof(want));

	n = 12;
	memcpy(data + 144, &n, 8);
	n = len;
	memcpy(data + 152, &n, 8);
	block(ks, key, 0, nonce);
	for (int i = 0; i < 8; i++)
		words[i] = NTM_LOAD32(ks + 4 * i);
	ntm_poly1305_init(rs, words);
	for (uint8_t *m = data; m < data + sizeof(data); m += 16)
		NTM_POLY_BLOCK_AT(NTM_LOAD32(m), NTM_LOAD32(m + 4), NTM_LOAD32(m + 8), NTM_LOAD32(m + 12), 1);
	ntm_poly1305_finish(h0, h1, h2, h3, words + 4, sum);
	memcpy(tag, sum, 16);
	cr_assert_arr_eq(tag, want_tag, 16);
}

static uint8_t key[32], packet[BUF], plain[BUF], sealed[BUF];

Test(aead_native, random_lengths_and_keys)
{
	srand(8439);
	for (int i = 0; i < ROUNDS; i++) {
		uint32_t len = (uint32_t)rand() % (NTM_INNER_MAX + 1);
		struct ntm_aead_buf p = {packet, packet + 32 + len};

		RAND_bytes(key, sizeof(key));
		RAND_bytes(plain, (int)len + 32);
		memcpy(packet, plain, sizeof(packet));
		memcpy(sealed, plain, sizeof(sealed));
		cr_assert_eq(aead_ref_seal(key, sealed, len), 0);

		cr_assert_eq(ntm_aead_seal_buf(&p, 0, len, key), 0);
		cr_assert_arr_eq(packet, sealed, sizeof(packet), "seal, %u bytes", len);
		cr_assert_eq(aead_ref_open(key, packet, len), 0);
		cr_assert_arr_eq(packet, plain, len + 16);

		memcpy(packet, sealed, sizeof(packet));
		cr_assert_eq(ntm_aead_open_buf(&p, 0, len, key), 0);
		cr_assert_arr_eq(packet, plain, len + 16, "open, %u bytes", len);
	}
}

Test(aead_native, any_changed_bit_is_refused)
{
	uint32_t len = 100;
	struct ntm_aead_buf p = {packet, packet + 32 + len};

	RAND_bytes(key, sizeof(key));
	RAND_bytes(sealed, (int)len + 32);
	cr_assert_eq(ntm_aead_seal_buf(&(struct ntm_aead_buf){sealed, sealed + 32 + len}, 0, len, key), 0);
	for (uint32_t bit = 0; bit < 8 * (len + 32); bit++) {
		memcpy(packet, sealed, len + 32);
		packet[bit / 8] ^= 1 << bit % 8;
		memcpy(plain, packet, len + 32);
		cr_assert_eq(ntm_aead_open_buf(&p, 0, len, key), -EBADMSG);
		cr_assert_arr_eq(packet, plain, len + 32);
	}
	cr_assert_eq(ntm_aead_open_buf(&p, 0, len + 1, key), -EINVAL);
	cr_assert_eq(ntm_aead_open_buf(&p, 0, NTM_INNER_MAX + 1, key), -EINVAL);
}
