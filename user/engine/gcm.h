/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AES-256-GCM (NIST SP 800-38D) by Intel's IPsec multi-buffer library, where that was there at build time: one call a
 * packet, while libcrypto's EVP interface spends as long on parameters as on 1,400 bytes. Elsewhere
 * ntm_gcm_usable() says no, and aead.c takes libcrypto. Nonces are NTM_NONCE_LEN bytes, tags NTM_TAG_LEN.
 */
#ifndef NTM_ENGINE_GCM_H
#define NTM_ENGINE_GCM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ntm_gcm; /* a key schedule, and the state of one packet: of one thread at a time */

/* Built in, and made for this CPU? Any thread; the answer is found once. */
bool ntm_gcm_usable(void);

/* key: 32 bytes. NULL: no memory. Only where ntm_gcm_usable(). */
struct ntm_gcm *ntm_gcm_new(const uint8_t *key);
void ntm_gcm_free(struct ntm_gcm *g); /* wipes it; NULL: nothing */

/* In place: text of len bytes becomes ciphertext, the tag is written behind it. */
void ntm_gcm_seal(struct ntm_gcm *g, const uint8_t *nonce, const void *aad, size_t aad_len, uint8_t *text, size_t len);
/* The same backwards. False: the tag is wrong, what is at text is not to be used, and to be wiped. */
bool ntm_gcm_open(struct ntm_gcm *g, const uint8_t *nonce, const void *aad, size_t aad_len, uint8_t *text, size_t len);

#endif
