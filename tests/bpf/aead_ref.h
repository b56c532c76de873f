/* SPDX-License-Identifier: BSD-2-Clause */
/* The packet of bpf/lib/aead.h, sealed and opened by OpenSSL: header, payload, tag. Functions return 0 or -errno. */
#ifndef NTM_TEST_AEAD_REF_H
#define NTM_TEST_AEAD_REF_H

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <openssl/evp.h>

static EVP_CIPHER_CTX *aead_ref_start(const uint8_t *key, const uint8_t *hdr, int seal)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t nonce[12] = {};
	int n;

	memcpy(nonce + 6, hdr + 2, 6);
	if (!c || !EVP_CipherInit_ex(c, EVP_chacha20_poly1305(), NULL, key, nonce, seal) ||
	    !EVP_CipherUpdate(c, NULL, &n, hdr, 16)) {
		EVP_CIPHER_CTX_free(c);
		return NULL;
	}
	return c;
}

static inline int aead_ref_seal(const uint8_t *key, uint8_t *hdr, uint32_t len)
{
	EVP_CIPHER_CTX *c = aead_ref_start(key, hdr, 1);
	int n, ok;

	if (!c)
		return -EIO;
	ok = EVP_CipherUpdate(c, hdr + 16, &n, hdr + 16, (int)len) && EVP_CipherFinal_ex(c, hdr + 16 + len, &n) &&
	     EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, hdr + 16 + len);
	EVP_CIPHER_CTX_free(c);
	return ok ? 0 : -EIO;
}

static inline int aead_ref_open(const uint8_t *key, uint8_t *hdr, uint32_t len)
{
	EVP_CIPHER_CTX *c = aead_ref_start(key, hdr, 0);
	uint8_t tag[16], last[16];
	int n, ok;

	if (!c)
		return -EIO;
	memcpy(tag, hdr + 16 + len, sizeof(tag));
	ok = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, 16, tag) &&
	     EVP_CipherUpdate(c, hdr + 16, &n, hdr + 16, (int)len) && EVP_CipherFinal_ex(c, last, &n);
	EVP_CIPHER_CTX_free(c);
	return ok ? 0 : -EBADMSG;
}

#endif
