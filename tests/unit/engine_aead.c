/* SPDX-License-Identifier: BSD-2-Clause */
/* Contexts kept for many packets give what a context made for each gives. */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "../../user/common/crypto.h"
#include "../../user/engine/aead.h"

static const uint8_t key[NTM_KEY_LEN] = {7, 8, 9};

static struct ntm_hdr header(unsigned suite, uint64_t ctr)
{
	return (struct ntm_hdr){.ver_type = 0x1b,
				.suite_epoch = (uint8_t)(suite << 4 | 5),
				.ctr_hi = htobe16((uint16_t)(ctr >> 32)),
				.ctr_lo = htobe32((uint32_t)ctr),
				.id = htobe64(0x1122334455667788)};
}

static void fill(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 31);
}

/* AES-256-GCM by a context of its own, with nothing kept. */
static void reference_gcm(const struct ntm_hdr *h, uint64_t ctr, const uint8_t *in, size_t len, uint8_t *out)
{
	uint8_t nonce[NTM_NONCE_LEN];
	int n;
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	ntm_nonce(nonce, ctr);
	cr_assert(EVP_EncryptInit_ex2(c, EVP_aes_256_gcm(), key, nonce, NULL) == 1);
	cr_assert(EVP_EncryptUpdate(c, NULL, &n, (const uint8_t *)h, sizeof(*h)) == 1);
	cr_assert(EVP_EncryptUpdate(c, out, &n, in, (int)len) == 1);
	cr_assert(EVP_EncryptFinal_ex(c, out + len, &n) == 1);
	cr_assert(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, NTM_TAG_LEN, out + len) == 1);
	EVP_CIPHER_CTX_free(c);
}

typedef struct ntm_aead *(*maker)(unsigned suite, const uint8_t *key, bool seal);

static void as_by_themselves(maker make)
{
	unsigned suites[] = {NTM_SUITE_KERNEL, NTM_SUITE_BULK_AES, NTM_SUITE_BULK_CHACHA};
	cr_assert_eq(ntm_crypto_init(), 0);
	for (size_t s = 0; s < 3; s++) {
		struct ntm_aead *seal = make(suites[s], key, true), *open = make(suites[s], key, false);
		cr_assert(seal && open);
		for (size_t len = 0; len < 1500; len += 1 + len / 7) {
			uint8_t text[2048], got[2048], want[2048], nonce[NTM_NONCE_LEN];
			uint64_t ctr = 0xfffffff0 + len;
			struct ntm_hdr h = header(suites[s], ctr);
			fill(text, len);
			memcpy(got, text, len);
			cr_assert_eq(ntm_aead_seal(seal, &h, got, len), 0);
			ntm_nonce(nonce, ctr);
			if (suites[s] == NTM_SUITE_BULK_AES)
				reference_gcm(&h, ctr, text, len, want);
			else
				cr_assert_eq(ntm_seal(key, nonce, &h, sizeof(h), text, len, want), 0);
			cr_assert(!memcmp(got, want, len + NTM_TAG_LEN), "suite %u, %zu bytes", suites[s], len);
			cr_assert_eq(ntm_aead_open(open, &h, got, len), 0);
			cr_assert(!memcmp(got, text, len));
		}
		ntm_aead_free(seal);
		ntm_aead_free(open);
	}
}

Test(aead, each_packet_as_by_itself)
{
	as_by_themselves(ntm_aead_new);
	as_by_themselves(ntm_aead_new_evp);
}

static void leaves_nothing(maker make)
{
	static const uint8_t zero[64];
	for (unsigned suite = 1; suite <= 2; suite++) {
		struct ntm_aead *seal = make(suite, key, true), *open = make(suite, key, false);
		for (int bit = 0; bit < 4; bit++) {
			uint8_t text[64 + NTM_TAG_LEN];
			struct ntm_hdr h = header(suite, 1);
			fill(text, 64);
			cr_assert_eq(ntm_aead_seal(seal, &h, text, 64), 0);
			if (bit == 0)
				text[3] ^= 1;
			else if (bit == 1)
				text[64 + 15] ^= 0x80;
			else if (bit == 2)
				h.id ^= htobe64(1);
			else
				h.ctr_lo = htobe32(2);
			cr_assert_eq(ntm_aead_open(open, &h, text, 64), -EBADMSG);
			cr_assert(!memcmp(text, zero, 64));
			/* and the context is good for the next one */
			h = header(suite, 9);
			fill(text, 64);
			cr_assert_eq(ntm_aead_seal(seal, &h, text, 64), 0);
			cr_assert_eq(ntm_aead_open(open, &h, text, 64), 0);
		}
		ntm_aead_free(seal);
		ntm_aead_free(open);
	}
	ntm_aead_free(NULL);
}

Test(aead, nothing_of_a_forged_packet_is_left)
{
	leaves_nothing(ntm_aead_new);
	leaves_nothing(ntm_aead_new_evp);
}
