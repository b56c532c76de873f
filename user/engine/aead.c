/* SPDX-License-Identifier: BSD-2-Clause */
#include "aead.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#ifdef __aarch64__
#include <sys/auxv.h>
#include <asm/hwcap.h>
#endif

#include "../common/crypto.h"
#include "../common/log.h"
#include "gcm.h"

struct ntm_aead { /* one of them */
	EVP_CIPHER_CTX *evp;
	struct ntm_gcm *gcm;
};

/* Fetched once and never freed: contexts of all threads refer to them. */
static EVP_CIPHER *aes, *chacha;
static pthread_once_t fetched = PTHREAD_ONCE_INIT, chosen = PTHREAD_ONCE_INIT;
static bool take_gcm;

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

struct ntm_aead *ntm_aead_new_evp(unsigned suite, const uint8_t key[NTM_KEY_LEN], bool seal)
{
	pthread_once(&fetched, fetch);
	const EVP_CIPHER *cipher = suite == NTM_SUITE_BULK_AES ? aes : chacha;
	struct ntm_aead *a = cipher ? calloc(1, sizeof(*a)) : NULL;
	if (!a)
		return NULL;
	a->evp = EVP_CIPHER_CTX_new();
	/* Nonces of NTM_NONCE_LEN are the default of both. */
	if (a->evp && EVP_CipherInit_ex2(a->evp, cipher, key, NULL, seal, NULL) == 1)
		return a;
	ntm_aead_free(a);
	return NULL;
}

static struct ntm_aead *new_gcm(const uint8_t *key)
{
	struct ntm_aead *a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->gcm = ntm_gcm_new(key);
	if (a->gcm)
		return a;
	free(a);
	return NULL;
}

/* Whole blocks and a part of one: what either seals, the other opens. */
static bool agree(struct ntm_aead *seal, struct ntm_aead *open)
{
	struct ntm_hdr h = {.ver_type = NTM_WIRE_VERSION << 4 | NTM_T_DATA, .ctr_lo = 7};
	uint8_t text[256 + NTM_TAG_LEN] = {9};
	return seal && open && !ntm_aead_seal(seal, &h, text, 256) && !ntm_aead_open(open, &h, text, 256) &&
	       !ntm_aead_seal(seal, &h, text, 203) && !ntm_aead_open(open, &h, text, 203) && text[0] == 9;
}

static void choose(void)
{
	static const uint8_t key[NTM_KEY_LEN] = {1, 2, 3};
	if (!ntm_gcm_usable())
		return;
	struct ntm_aead *gcm = new_gcm(key), *seal = ntm_aead_new_evp(NTM_SUITE_BULK_AES, key, true);
	struct ntm_aead *open = ntm_aead_new_evp(NTM_SUITE_BULK_AES, key, false);
	take_gcm = agree(gcm, open) && agree(seal, gcm);
	if (!take_gcm)
		ntm_warn("AES-GCM of the IPsec multi-buffer library does not work here: taking libcrypto's");
	ntm_aead_free(gcm);
	ntm_aead_free(seal);
	ntm_aead_free(open);
}

struct ntm_aead *ntm_aead_new(unsigned suite, const uint8_t key[NTM_KEY_LEN], bool seal)
{
	pthread_once(&chosen, choose);
	return suite == NTM_SUITE_BULK_AES && take_gcm ? new_gcm(key) : ntm_aead_new_evp(suite, key, seal);
}

void ntm_aead_free(struct ntm_aead *a)
{
	if (!a)
		return;
	EVP_CIPHER_CTX_free(a->evp);
	ntm_gcm_free(a->gcm);
	free(a);
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

static int evp_seal(EVP_CIPHER_CTX *ctx, const struct ntm_hdr *hdr, uint8_t *text, size_t len)
{
	OSSL_PARAM tag[2] = {OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, text + len, NTM_TAG_LEN),
			     OSSL_PARAM_construct_end()};
	int n, err = run(ctx, hdr, text, len);
	if (err || EVP_CipherFinal_ex(ctx, text + len, &n) != 1 || EVP_CIPHER_CTX_get_params(ctx, tag) != 1)
		return -EIO;
	return 0;
}

static int evp_open(EVP_CIPHER_CTX *ctx, const struct ntm_hdr *hdr, uint8_t *text, size_t len)
{
	uint8_t want[NTM_TAG_LEN], nonce[NTM_NONCE_LEN];
	OSSL_PARAM tag[2] = {OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, want, NTM_TAG_LEN),
			     OSSL_PARAM_construct_end()};
	int n;
	memcpy(want, text + len, NTM_TAG_LEN);
	nonce_of(hdr, nonce);
	/* The tag goes in with the nonce, so that one call sets both. */
	if (EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, -1, tag) != 1 ||
	    EVP_CipherUpdate(ctx, NULL, &n, (const uint8_t *)hdr, sizeof(*hdr)) != 1 ||
	    (len && EVP_CipherUpdate(ctx, text, &n, text, (int)len) != 1))
		return -EIO;
	return EVP_CipherFinal_ex(ctx, want, &n) == 1 ? 0 : -EBADMSG;
}

int ntm_aead_seal(struct ntm_aead *a, const struct ntm_hdr *hdr, uint8_t *text, size_t len)
{
	uint8_t nonce[NTM_NONCE_LEN];
	if (a->evp)
		return evp_seal(a->evp, hdr, text, len);
	nonce_of(hdr, nonce);
	ntm_gcm_seal(a->gcm, nonce, hdr, sizeof(*hdr), text, len);
	return 0;
}

int ntm_aead_open(struct ntm_aead *a, const struct ntm_hdr *hdr, uint8_t *text, size_t len)
{
	uint8_t nonce[NTM_NONCE_LEN];
	int err;
	if (a->evp) {
		err = evp_open(a->evp, hdr, text, len);
	} else {
		nonce_of(hdr, nonce);
		err = ntm_gcm_open(a->gcm, nonce, hdr, sizeof(*hdr), text, len) ? 0 : -EBADMSG;
	}
	if (err)
		ntm_wipe(text, len);
	return err;
}
