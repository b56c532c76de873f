/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AEAD for many packets under one key: a context that keeps its key schedule, so that a packet costs neither an
 * allocation nor a fetch. One context a key, direction and thread. Suites 0, 2 (and 8): ChaCha20-Poly1305 (RFC 8439)
 * by libcrypto; suite 1: AES-256-GCM (NIST SP 800-38D) with 12-byte nonces, by gcm.h where that is usable. Both have
 * tags of NTM_TAG_LEN.
 */
#ifndef NTM_ENGINE_AEAD_H
#define NTM_ENGINE_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ntm/wire.h>

struct ntm_aead;

/* Is AES-256-GCM faster than ChaCha20-Poly1305 here: has the CPU instructions for it? */
bool ntm_aead_has_aes(void);

/* NULL: no memory, or OpenSSL lacks the cipher. */
struct ntm_aead *ntm_aead_new(unsigned suite, const uint8_t key[NTM_KEY_LEN], bool seal);
/* By libcrypto, whatever else is there: gcm.h's is measured against it. */
struct ntm_aead *ntm_aead_new_evp(unsigned suite, const uint8_t key[NTM_KEY_LEN], bool seal);
void ntm_aead_free(struct ntm_aead *a); /* wipes the key schedule; NULL: nothing */

/*
 * hdr is the associated data, its counter the nonce. seal: text of len bytes becomes ciphertext in place, the tag is
 * written behind it. open: the same backwards; in place. 0, -EBADMSG (wrong tag: text is wiped), -EIO.
 */
int ntm_aead_seal(struct ntm_aead *a, const struct ntm_hdr *hdr, uint8_t *text, size_t len);
int ntm_aead_open(struct ntm_aead *a, const struct ntm_hdr *hdr, uint8_t *text, size_t len);

#endif
