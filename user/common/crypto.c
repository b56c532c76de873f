/* SPDX-License-Identifier: BSD-2-Clause */
#include "crypto.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

enum { BLAKE2S_BLOCK = 64 };

/* Fetched once: a fetch by name costs more than sealing a small packet. */
static EVP_CIPHER *chacha;
static EVP_MD *blake2s;
static EVP_MAC *blake2smac;

/* One set of contexts a thread, so the library needs no lock; made when used, freed, and with it wiped, when it ends.
 */
static _Thread_local EVP_CIPHER_CTX *cipher_ctx;
static _Thread_local EVP_MD_CTX *md_ctx;
static _Thread_local EVP_MAC_CTX *mac_ctx;
static _Thread_local EVP_PKEY_CTX *import_ctx; /* holds no key */
static _Thread_local EVP_PKEY *peer_key;       /* the public one that was exchanged with last */
static _Thread_local bool ends_with_thread;
static pthread_key_t thread_end;
static pthread_once_t thread_end_once = PTHREAD_ONCE_INIT;
static bool has_thread_end;

/* Runs in the thread that ends. */
static void free_contexts(void *arg)
{
	(void)arg;
	EVP_CIPHER_CTX_free(cipher_ctx);
	EVP_MD_CTX_free(md_ctx);
	EVP_MAC_CTX_free(mac_ctx);
	EVP_PKEY_CTX_free(import_ctx);
	EVP_PKEY_free(peer_key);
	cipher_ctx = NULL;
	md_ctx = NULL;
	mac_ctx = NULL;
	import_ctx = NULL;
	peer_key = NULL;
	ends_with_thread = false;
}

static void make_thread_end(void)
{
	has_thread_end = !pthread_key_create(&thread_end, free_contexts);
}

/* A context that was just made is freed with its thread; c, or NULL. Without a key for it, it is kept for ever. */
static void *with_thread(void *c)
{
	if (!c || ends_with_thread)
		return c;
	pthread_once(&thread_end_once, make_thread_end);
	/* Any value but NULL: the destructor looks at the thread's own variables. */
	ends_with_thread = has_thread_end && !pthread_setspecific(thread_end, &thread_end);
	return c;
}

int ntm_crypto_init(void)
{
	if (!chacha)
		chacha = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
	if (!blake2s)
		blake2s = EVP_MD_fetch(NULL, "BLAKE2S-256", NULL);
	if (!blake2smac)
		blake2smac = EVP_MAC_fetch(NULL, "BLAKE2SMAC", NULL);
	return chacha && blake2s && blake2smac ? 0 : -EIO;
}

/* With the cipher set: to name it again with each key would have the context torn down and made anew. */
static EVP_CIPHER_CTX *get_cipher_ctx(void)
{
	EVP_CIPHER_CTX *c = cipher_ctx ? NULL : EVP_CIPHER_CTX_new();

	if (c && EVP_CipherInit_ex2(c, chacha, NULL, NULL, 1, NULL) == 1)
		cipher_ctx = with_thread(c);
	else
		EVP_CIPHER_CTX_free(c);
	return cipher_ctx;
}

static EVP_PKEY_CTX *get_import_ctx(void)
{
	if (!import_ctx)
		import_ctx = with_thread(EVP_PKEY_CTX_new_from_name(NULL, "X25519", NULL));
	return import_ctx;
}

int ntm_random(void *out, size_t len)
{
	return len <= INT32_MAX && RAND_bytes(out, (int)len) == 1 ? 0 : -EIO;
}

void ntm_wipe(void *p, size_t len)
{
	OPENSSL_cleanse(p, len);
}

bool ntm_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

/*
 * The curve's ladder wants the private half alone, but with only that given OpenSSL computes the public one, as long as
 * a whole exchange: so this is a key whose public half is not looked at.
 */
static EVP_PKEY *import_private(const uint8_t priv[NTM_DH_LEN])
{
	static const uint8_t unused[NTM_DH_LEN];
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, (void *)priv, NTM_DH_LEN),
	    OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)unused, NTM_DH_LEN),
	    OSSL_PARAM_construct_end(),
	};
	EVP_PKEY_CTX *c = get_import_ctx();
	EVP_PKEY *k = NULL;

	if (!c || EVP_PKEY_fromdata_init(c) != 1 || EVP_PKEY_fromdata(c, &k, EVP_PKEY_KEYPAIR, params) != 1)
		return NULL;
	return k;
}

/* The other end's key, in the one object that this thread has for it. */
static EVP_PKEY *set_peer_key(const uint8_t pub[NTM_DH_LEN])
{
	OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)pub, NTM_DH_LEN),
	    OSSL_PARAM_construct_end(),
	};

	EVP_PKEY_CTX *c = get_import_ctx();

	if (peer_key)
		return EVP_PKEY_set1_encoded_public_key(peer_key, pub, NTM_DH_LEN) == 1 ? peer_key : NULL;
	if (c && EVP_PKEY_fromdata_init(c) == 1 && EVP_PKEY_fromdata(c, &peer_key, EVP_PKEY_PUBLIC_KEY, params) == 1)
		return with_thread(peer_key);
	return NULL;
}

int ntm_dh_open(struct ntm_dh *d, const uint8_t priv[NTM_DH_LEN])
{
	EVP_PKEY *k = import_private(priv);

	d->ctx = k ? EVP_PKEY_CTX_new_from_pkey(NULL, k, NULL) : NULL;
	EVP_PKEY_free(k); /* the context has it */
	if (d->ctx && EVP_PKEY_derive_init(d->ctx) == 1)
		return 0;
	ntm_dh_close(d);
	return -EIO;
}

void ntm_dh_close(struct ntm_dh *d)
{
	EVP_PKEY_CTX_free(d->ctx);
	d->ctx = NULL;
}

int ntm_dh_derive(struct ntm_dh *d, const uint8_t pub[NTM_DH_LEN], uint8_t out[NTM_DH_LEN])
{
	static const uint8_t zero[NTM_DH_LEN];
	EVP_PKEY *peer = set_peer_key(pub);
	uint8_t tmp[NTM_DH_LEN] = {0};
	size_t len = sizeof(tmp);
	int ret = -EIO;

	/* Any 32 bytes are a public key (RFC 7748 section 5): there is nothing to validate before. */
	if (peer && EVP_PKEY_derive_set_peer_ex(d->ctx, peer, 0) == 1) {
		/* OpenSSL refuses an all-zero result by itself; the compare states the rule */
		if (EVP_PKEY_derive(d->ctx, tmp, &len) != 1 || len != sizeof(tmp) || ntm_equal(tmp, zero, sizeof(tmp)))
			ret = -EINVAL;
		else
			ret = 0;
	}
	if (!ret)
		memcpy(out, tmp, sizeof(tmp));
	ntm_wipe(tmp, sizeof(tmp));
	return ret;
}

/* A public key is the private one times the base point, which the ladder does faster than OpenSSL's own way. */
int ntm_dh_public(struct ntm_dh *d, uint8_t pub[NTM_DH_LEN])
{
	static const uint8_t base[NTM_DH_LEN] = {9};

	return ntm_dh_derive(d, base, pub);
}

int ntm_x25519_public(const uint8_t priv[NTM_DH_LEN], uint8_t pub[NTM_DH_LEN])
{
	struct ntm_dh d;
	int ret = ntm_dh_open(&d, priv);

	if (ret)
		return ret;
	ret = ntm_dh_public(&d, pub);
	ntm_dh_close(&d);
	return ret;
}

int ntm_x25519_private(uint8_t priv[NTM_DH_LEN])
{
	if (RAND_priv_bytes(priv, NTM_DH_LEN) != 1)
		return -EIO;
	/* RFC 7748 section 5 clamps at use; storing it clamped makes keys look as wg's */
	priv[0] &= 248;
	priv[31] = (uint8_t)((priv[31] & 127) | 64);
	return 0;
}

int ntm_x25519_generate(uint8_t priv[NTM_DH_LEN], uint8_t pub[NTM_DH_LEN])
{
	uint8_t k[NTM_DH_LEN];
	int ret = ntm_x25519_private(k);

	if (!ret)
		ret = ntm_x25519_public(k, pub);
	if (!ret)
		memcpy(priv, k, sizeof(k));
	ntm_wipe(k, sizeof(k));
	return ret;
}

int ntm_x25519(const uint8_t priv[NTM_DH_LEN], const uint8_t pub[NTM_DH_LEN], uint8_t out[NTM_DH_LEN])
{
	struct ntm_dh d;
	int ret = ntm_dh_open(&d, priv);

	if (ret)
		return ret;
	ret = ntm_dh_derive(&d, pub, out);
	ntm_dh_close(&d);
	return ret;
}

int ntm_seal(const uint8_t key[NTM_KEY_LEN], const uint8_t nonce[NTM_NONCE_LEN], const void *ad, size_t ad_len,
	     const void *in, size_t len, uint8_t *out)
{
	EVP_CIPHER_CTX *c = get_cipher_ctx();
	int n;

	if (!c || len > INT32_MAX - NTM_TAG_LEN || ad_len > INT32_MAX)
		return -EIO;
	if (EVP_EncryptInit_ex2(c, NULL, key, nonce, NULL) != 1 ||
	    (ad_len && EVP_EncryptUpdate(c, NULL, &n, ad, (int)ad_len) != 1) ||
	    (len && EVP_EncryptUpdate(c, out, &n, in, (int)len) != 1) || EVP_EncryptFinal_ex(c, out + len, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, NTM_TAG_LEN, out + len) != 1)
		return -EIO;
	return 0;
}

int ntm_open(const uint8_t key[NTM_KEY_LEN], const uint8_t nonce[NTM_NONCE_LEN], const void *ad, size_t ad_len,
	     const void *in, size_t len, uint8_t *out)
{
	EVP_CIPHER_CTX *c = get_cipher_ctx();
	const uint8_t *p = in;
	uint8_t tag[NTM_TAG_LEN], end[1];
	int n, ret;

	if (len < NTM_TAG_LEN)
		return -EBADMSG;
	len -= NTM_TAG_LEN;
	if (!c || len > INT32_MAX || ad_len > INT32_MAX)
		return -EIO;
	memcpy(tag, p + len, sizeof(tag));
	if (EVP_DecryptInit_ex2(c, NULL, key, nonce, NULL) != 1 ||
	    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, NTM_TAG_LEN, tag) != 1 ||
	    (ad_len && EVP_DecryptUpdate(c, NULL, &n, ad, (int)ad_len) != 1) ||
	    (len && EVP_DecryptUpdate(c, out, &n, p, (int)len) != 1))
		ret = -EIO;
	else
		ret = EVP_DecryptFinal_ex(c, len ? out + len : end, &n) == 1 ? 0 : -EBADMSG;
	if (ret && len)
		ntm_wipe(out, len);
	return ret;
}

int ntm_hash(uint8_t out[NTM_HASH_LEN], const struct ntm_iov *in, size_t n)
{
	const EVP_MD *md = md_ctx ? NULL : blake2s; /* named at the first use only: half of a short hash's time */

	if (!md_ctx)
		md_ctx = with_thread(EVP_MD_CTX_new());
	if (!md_ctx || EVP_DigestInit_ex2(md_ctx, md, NULL) != 1)
		return -EIO;
	for (size_t i = 0; i < n; i++)
		if (EVP_DigestUpdate(md_ctx, in[i].data, in[i].len) != 1)
			return -EIO;
	return EVP_DigestFinal_ex(md_ctx, out, NULL) == 1 ? 0 : -EIO;
}

int ntm_mac(uint8_t out[NTM_MAC_LEN], const void *key, size_t key_len, const struct ntm_iov *in, size_t n)
{
	size_t size = NTM_MAC_LEN, len;
	OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size), OSSL_PARAM_construct_end()};

	if (!mac_ctx)
		mac_ctx = with_thread(EVP_MAC_CTX_new(blake2smac));
	if (!mac_ctx || EVP_MAC_init(mac_ctx, key, key_len, params) != 1)
		return -EIO;
	for (size_t i = 0; i < n; i++)
		if (EVP_MAC_update(mac_ctx, in[i].data, in[i].len) != 1)
			return -EIO;
	return EVP_MAC_final(mac_ctx, out, &len, NTM_MAC_LEN) == 1 && len == NTM_MAC_LEN ? 0 : -EIO;
}

/* RFC 2104 over BLAKE2s, which is what Noise means by HMAC-HASH; key is at most one block long here. */
static int hmac(uint8_t out[NTM_HASH_LEN], const uint8_t key[NTM_HASH_LEN], const struct ntm_iov *in, size_t n)
{
	uint8_t pad[BLAKE2S_BLOCK], inner[NTM_HASH_LEN];
	struct ntm_iov v[4] = {{pad, sizeof(pad)}};
	int ret;

	if (n > 3)
		return -EINVAL;
	memset(pad, 0x36, sizeof(pad));
	for (size_t i = 0; i < NTM_HASH_LEN; i++)
		pad[i] ^= key[i];
	memcpy(v + 1, in, n * sizeof(*in));
	ret = ntm_hash(inner, v, n + 1);
	if (!ret) {
		memset(pad, 0x5c, sizeof(pad));
		for (size_t i = 0; i < NTM_HASH_LEN; i++)
			pad[i] ^= key[i];
		v[1] = (struct ntm_iov){inner, sizeof(inner)};
		ret = ntm_hash(out, v, 2);
	}
	ntm_wipe(pad, sizeof(pad));
	ntm_wipe(inner, sizeof(inner));
	return ret;
}

int ntm_hkdf(const uint8_t ck[NTM_HASH_LEN], const void *ikm, size_t ikm_len, unsigned n, uint8_t *out)
{
	uint8_t temp[NTM_HASH_LEN], t[NTM_HASH_LEN];
	struct ntm_iov v[2] = {{ikm, ikm_len}};
	int ret;

	if (n < 1 || n > 3)
		return -EINVAL;
	ret = hmac(temp, ck, v, 1);
	for (uint8_t i = 1; !ret && i <= n; i++) {
		v[0] = (struct ntm_iov){t, i == 1 ? 0 : sizeof(t)};
		v[1] = (struct ntm_iov){&i, 1};
		ret = hmac(t, temp, v, 2);
		if (!ret)
			memcpy(out + (size_t)(i - 1) * NTM_HASH_LEN, t, sizeof(t));
	}
	ntm_wipe(temp, sizeof(temp));
	ntm_wipe(t, sizeof(t));
	return ret;
}

void ntm_nonce(uint8_t out[NTM_NONCE_LEN], uint64_t counter)
{
	memset(out, 0, 6);
	for (int i = 0; i < 6; i++)
		out[6 + i] = (uint8_t)(counter >> 8 * (5 - i));
}

int ntm_suite_key(const uint8_t root[NTM_KEY_LEN], unsigned suite, uint8_t out[NTM_KEY_LEN])
{
	static const uint8_t label[NTM_HASH_LEN] = "NTMobile 1 suite";
	uint8_t ikm[NTM_KEY_LEN + 1];
	int ret;

	memcpy(ikm, root, NTM_KEY_LEN);
	ikm[NTM_KEY_LEN] = (uint8_t)suite;
	ret = ntm_hkdf(label, ikm, sizeof(ikm), 1, out);
	ntm_wipe(ikm, sizeof(ikm));
	return ret;
}
