/* SPDX-License-Identifier: BSD-2-Clause */
/* The primitives against published vectors; MAC and HKDF against values of another implementation. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../user/common/crypto.h"

static void unhex(const char *hex, uint8_t *out, size_t n)
{
	cr_assert_eq(strlen(hex), 2 * n);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(sscanf(hex + 2 * i, "%2hhx", &out[i]), 1);
}

#define ASSERT_HEX(got, n, hex)                  \
	do {                                     \
		uint8_t want_[256];              \
		unhex(hex, want_, n);            \
		cr_assert_arr_eq(got, want_, n); \
	} while (0)

static void init(void)
{
	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_eq(ntm_crypto_init(), 0);
}
TestSuite(crypto, .init = init);

static void counting(uint8_t *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)i;
}

Test(crypto, aead_rfc8439_2_8_2)
{
	static const char text[] = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for "
				   "the future, sunscreen would be it.";
	enum { N = sizeof(text) - 1 };
	uint8_t key[32], nonce[12], ad[12], out[N + 16], in_place[N + 16], plain[N];

	counting(key, 32);
	for (int i = 0; i < 32; i++)
		key[i] |= 0x80;
	unhex("070000004041424344454647", nonce, 12);
	unhex("50515253c0c1c2c3c4c5c6c7", ad, 12);
	cr_assert_eq(ntm_seal(key, nonce, ad, 12, text, N, out), 0);
	ASSERT_HEX(out, N + 16,
		   "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b"
		   "1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
		   "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691");
	memcpy(in_place, text, N);
	cr_assert_eq(ntm_seal(key, nonce, ad, 12, in_place, N, in_place), 0);
	cr_assert_arr_eq(in_place, out, N + 16);
	cr_assert_eq(ntm_open(key, nonce, ad, 12, in_place, N + 16, in_place), 0);
	cr_assert_arr_eq(in_place, text, N);

	out[N + 15] ^= 1;
	memset(plain, 0xee, N);
	cr_assert_eq(ntm_open(key, nonce, ad, 12, out, N + 16, plain), -EBADMSG);
	for (size_t i = 0; i < N; i++)
		cr_assert_eq(plain[i], 0);
	cr_assert_eq(ntm_open(key, nonce, ad, 12, out, 15, plain), -EBADMSG);
	out[N + 15] ^= 1;
	ad[0] ^= 1;
	cr_assert_eq(ntm_open(key, nonce, ad, 12, out, N + 16, plain), -EBADMSG);
	cr_assert_eq(ntm_seal(key, nonce, NULL, 0, NULL, 0, out), 0);
	cr_assert_eq(ntm_open(key, nonce, NULL, 0, out, 16, plain), 0);
}

/* Two keys in turn, more than one exchange of each, a bad one in between: they do not see each other's. */
Test(crypto, dh_repeated)
{
	static const uint8_t low_order[32] = {1};
	uint8_t a[32], b[32], pa[32], pb[32], got[32], want[32];
	struct ntm_dh da, db;

	cr_assert_eq(ntm_x25519_private(a), 0);
	cr_assert_eq(ntm_x25519_generate(b, pb), 0);
	cr_assert_eq(ntm_dh_open(&da, a), 0);
	cr_assert_eq(ntm_dh_open(&db, b), 0);
	cr_assert_eq(ntm_dh_public(&da, pa), 0);
	cr_assert_eq(ntm_x25519_public(a, got), 0);
	cr_assert_arr_eq(got, pa, 32);
	cr_assert_eq(ntm_dh_derive(&da, pb, want), 0);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(ntm_dh_derive(&db, pa, got), 0);
		cr_assert_arr_eq(got, want, 32);
		cr_assert_eq(ntm_dh_derive(&db, low_order, got), -EINVAL);
		cr_assert_arr_eq(got, want, 32, "untouched on failure");
		cr_assert_eq(ntm_dh_derive(&da, pb, got), 0);
		cr_assert_arr_eq(got, want, 32);
		cr_assert_eq(ntm_dh_public(&db, got), 0);
		cr_assert_arr_eq(got, pb, 32);
	}
	ntm_dh_close(&da);
	ntm_dh_close(&db);
}

Test(crypto, x25519_rfc7748)
{
	static const uint8_t low_order[2][32] = {{0}, {1}};
	uint8_t a[32], b[32], pa[32], pb[32], out[32];

	unhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4", a, 32);
	unhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c", pb, 32);
	cr_assert_eq(ntm_x25519(a, pb, out), 0);
	ASSERT_HEX(out, 32, "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");

	unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a", pa, 32);
	unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb", b, 32);
	cr_assert_eq(ntm_x25519_public(b, pb), 0);
	ASSERT_HEX(pb, 32, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
	cr_assert_eq(ntm_x25519(b, pa, out), 0);
	ASSERT_HEX(out, 32, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");

	memcpy(pa, out, 32);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(ntm_x25519(a, low_order[i], out), -EINVAL);
	}
	cr_assert_arr_eq(out, pa, 32, "untouched on failure");
}

Test(crypto, blake2s_hash_mac_hkdf)
{
	struct ntm_iov abc[] = {{"a", 1}, {"", 0}, {"bc", 2}}, abcdef[] = {{"abc", 3}, {"def", 3}};
	uint8_t key[32], out[96];

	counting(key, 32);
	cr_assert_eq(ntm_hash(out, abc, 3), 0);
	ASSERT_HEX(out, 32, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
	cr_assert_eq(ntm_mac(out, key, 32, abcdef, 2), 0);
	ASSERT_HEX(out, 16, "a39faa4a9ec339b8953422c2d1b846b4");
	cr_assert_eq(ntm_mac(out, key, 16, abcdef, 2), 0);
	ASSERT_HEX(out, 16, "e144f3e5bad64c37676dd8d52d7aae34");
	cr_assert_eq(ntm_hkdf(key, "input", 5, 3, out), 0);
	ASSERT_HEX(out, 96,
		   "87b7f70b24183c6db5dc4f6d9f4c47cdb203321aa2a0bef714896adb3107a040538a02e1eb2e31b7e4d4b82476d1fe2a"
		   "cf50085d3fb584537279195f5d1f58249ad858025593be88de0f9442a589cfe84a88dc19e4753d93684d1c5efc4837f9");
	cr_assert_eq(ntm_hkdf(key, NULL, 0, 1, out), 0);
	ASSERT_HEX(out, 32, "7a38c34bf2b8738d7374ca77c44ecb309a11d2b2528304fa86052c365e722624");
	cr_assert_eq(ntm_hkdf(key, "input", 5, 0, out), -EINVAL);
	cr_assert_eq(ntm_hkdf(key, "input", 5, 4, out), -EINVAL);
}

Test(crypto, nonce_and_suite_keys)
{
	uint8_t root[32], out[32], other[32];

	ntm_nonce(out, 0x010203040506);
	ASSERT_HEX(out, 12, "000000000000010203040506");
	counting(root, 32);
	cr_assert_eq(ntm_suite_key(root, 0, out), 0);
	ASSERT_HEX(out, 32, "1d86516662d2cae60de2406dc01be5ae39168102fcfad5ebf779c241ae41258b");
	cr_assert_eq(ntm_suite_key(root, 8, other), 0);
	ASSERT_HEX(other, 32, "0db6de779ef25ece1786c163b31b51010cb680b0ce9b48584cd8f04f1b3ebdcf");
	root[0] ^= 1;
	cr_assert_eq(ntm_suite_key(root, 0, other), 0);
	cr_assert_arr_neq(other, out, 32, "the other direction's root");
}
