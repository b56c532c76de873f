/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The primitives, over OpenSSL 3's EVP interfaces: X25519 (RFC 7748), ChaCha20-Poly1305 (RFC 8439),
 * BLAKE2s (RFC 7693), HKDF in Noise's form (Noise rev. 34, section 4.3). Algorithms are fetched once, by
 * ntm_crypto_init(). Functions return 0 or -errno (-EBADMSG: tag mismatch, output zeroed; -EIO:
 * OpenSSL refused).
 */
#ifndef NTM_CRYPTO_H
#define NTM_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ntm/limits.h>

int ntm_crypto_init(void); /* once a process, before anything else; idempotent */

int ntm_random(void *out, size_t len);
void ntm_wipe(void *p, size_t len);                       /* not optimised away */
bool ntm_equal(const void *a, const void *b, size_t len); /* constant time */

int ntm_x25519_generate(uint8_t priv[NTM_DH_LEN], uint8_t pub[NTM_DH_LEN]);
int ntm_x25519_public(const uint8_t priv[NTM_DH_LEN], uint8_t pub[NTM_DH_LEN]);
/* -EINVAL if the result is all zero (low-order point) */
int ntm_x25519(const uint8_t priv[NTM_DH_LEN], const uint8_t pub[NTM_DH_LEN], uint8_t out[NTM_DH_LEN]);
int ntm_x25519_private(uint8_t priv[NTM_DH_LEN]); /* half of generate: for who opens it and asks for the public one */

/* A private key made ready for more than one exchange. Of one thread at a time; closing wipes it. */
struct ntm_dh {
	struct evp_pkey_ctx_st *ctx;
};
int ntm_dh_open(struct ntm_dh *d, const uint8_t priv[NTM_DH_LEN]); /* after a failure there is nothing to close */
void ntm_dh_close(struct ntm_dh *d);
int ntm_dh_public(struct ntm_dh *d, uint8_t pub[NTM_DH_LEN]);
int ntm_dh_derive(struct ntm_dh *d, const uint8_t pub[NTM_DH_LEN], uint8_t out[NTM_DH_LEN]); /* as ntm_x25519() */

/* out holds len + NTM_TAG_LEN; in place (out == in) allowed. */
int ntm_seal(const uint8_t key[NTM_KEY_LEN], const uint8_t nonce[NTM_NONCE_LEN], const void *ad, size_t ad_len,
	     const void *in, size_t len, uint8_t *out);
/* len includes the tag; out holds len - NTM_TAG_LEN; in place allowed. */
int ntm_open(const uint8_t key[NTM_KEY_LEN], const uint8_t nonce[NTM_NONCE_LEN], const void *ad, size_t ad_len,
	     const void *in, size_t len, uint8_t *out);

struct ntm_iov {
	const void *data;
	size_t len;
};
/* BLAKE2s-256 of the concatenation */
int ntm_hash(uint8_t out[NTM_HASH_LEN], const struct ntm_iov *in, size_t n);
/* keyed BLAKE2s with 16-byte output; key 1..32 bytes */
int ntm_mac(uint8_t out[NTM_MAC_LEN], const void *key, size_t key_len, const struct ntm_iov *in, size_t n);
/* Noise HKDF: n = 1..3 outputs of 32 bytes each, contiguous in out */
int ntm_hkdf(const uint8_t ck[NTM_HASH_LEN], const void *ikm, size_t ikm_len, unsigned n, uint8_t *out);

/* Header nonce (PROTOCOL.md): 6 zero bytes, 48-bit big-endian counter (host order argument). */
void ntm_nonce(uint8_t out[NTM_NONCE_LEN], uint64_t counter);

/*
 * Key of one suite and direction out of a direction's root key (a Noise Split output): the first output of ntm_hkdf()
 * with ck = "NTMobile 1 suite" and 16 zero bytes, ikm = root || suite (1 byte).
 */
int ntm_suite_key(const uint8_t root[NTM_KEY_LEN], unsigned suite, uint8_t out[NTM_KEY_LEN]);

#endif
