/* SPDX-License-Identifier: BSD-2-Clause */
#include "aead.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <string.h>
#ifdef __aarch64__
#include <sys/auxv.h>
#include <asm/hwcap.h>
#endif

#include "../common/crypto.h"

/* Fetched once and never freed: contexts of all threads refer to them. */
static EVP_CIPHER *aes, *chacha;
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

static void fetch(void)
{
	aes = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	chacha = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
}

bool ntm_aead_has_aes(void)
{
	pthread_once(&fetched, fetch);
	if (!aes)
		return false;
#if defined(__x86_64__)
	return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
	return (getauxval(AT_HWCAP) & HWCAP_AES) && (getauxval(AT_HWCAP) & HWCAP_PMULL);
#else
	return false;
#endif
}

struct ntm_aead *ntm_aead_new(unsigned suite, const uint8_t key[NTM_KEY_LEN], bool seal)
{
	pthread_once(&fetched, fetch);
	const EVP_CIPHER *cipher = suite == NTM_SUITE_BULK_AES ? aes : chacha;
	EVP_CIPHER_CTX *ctx = cipher ? EVP_CIPHER_CTX_new() : NULL;
	/* Nonces of NTM_NONCE_LEN are the default of both. */
	if (ctx && EVP_CipherInit_ex2(ctx, cipher, key, NULL, seal, NULL) == 1)
		return (struct ntm_aead *)ctx;
	EVP_CIPHER_CTX_free(ctx);
	return NULL;
}

void ntm_aead_free(struct ntm_aead *a)
{
	EVP_CIPHER_CTX_free((EVP_CIPHER_CTX *)a);
}

/* As ntm_nonce() makes it of the counter. */
static void nonce_of(const struct ntm_hdr *hdr, uint8_t nonce[NTM_NONCE_LEN])
{
	memset(nonce, 0, 6);
	memcpy(nonce + 6, &hdr->ctr_hi, 6);
}

static int run(EVP_CIPHER_CTX *ctx, const struct ntm_hdr *hdr, uint8_t *text, size_t len)
{
	uint8_t nonce[NTM_NONCE_LEN];
	int n;
	nonce_of(hdr, nonce);
	if (EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, -1, NULL) != 1 ||
	    EVP_CipherUpdate(ctx, NULL, &n, (const uint8_t *)hdr, sizeof(*hdr)) != 1)
		return -EIO;
	if (len && EVP_CipherUpdate(ctx, text, &n, text, (int)len) != 1)
		return -EIO;
	return 0;
}

int ntm_aead_seal(struct ntm_aead *a, const struct ntm_hdr *hdr, uint8_t *text, size_t len)
{
	EVP_CIPHER_CTX *ctx = (EVP_CIPHER_CTX *)a;
	OSSL_PARAM tag[2] = {OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, text + len, NTM_TAG_LEN),
			     OSSL_PARAM_construct_end()};
	int n, err = run(ctx, hdr, text, len);
	if (err || EVP_CipherFinal_ex(ctx, text + len, &n) != 1 || EVP_CIPHER_CTX_get_params(ctx, tag) != 1)
		return -EIO;
	return 0;
}

int ntm_aead_open(struct ntm_aead *a, const struct ntm_hdr *hdr, uint8_t *text, size_t len)
{
	EVP_CIPHER_CTX *ctx = (EVP_CIPHER_CTX *)a;
	uint8_t want[NTM_TAG_LEN], nonce[NTM_NONCE_LEN];
	OSSL_PARAM tag[2] = {OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, want, NTM_TAG_LEN),
			     OSSL_PARAM_construct_end()};
	int n;
	memcpy(want, text + len, NTM_TAG_LEN);
	nonce_of(hdr, nonce);
	/* The tag goes in with the nonce, so that one call sets both. */
	if (EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, -1, tag) != 1 ||
	    EVP_CipherUpdate(ctx, NULL, &n, (const uint8_t *)hdr, sizeof(*hdr)) != 1 ||
	    (len && EVP_CipherUpdate(ctx, text, &n, text, (int)len) != 1)) {
		ntm_wipe(text, len);
		return -EIO;
	}
	if (EVP_CipherFinal_ex(ctx, want, &n) != 1) {
		ntm_wipe(text, len);
		return -EBADMSG;
	}
	return 0;
}
