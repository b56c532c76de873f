/* SPDX-License-Identifier: BSD-2-Clause */
/* X25519 keys as base64 text, one line, 44 characters, as wg(8) writes them. */
#ifndef NTM_KEYSTORE_H
#define NTM_KEYSTORE_H

#include <stddef.h>
#include <stdint.h>

#include <ntm/limits.h>

#define NTM_KEY_TEXT_LEN 44
void ntm_key_to_text(const uint8_t key[NTM_DH_LEN], char out[NTM_KEY_TEXT_LEN + 1]);
int ntm_key_from_text(const char *text, uint8_t out[NTM_DH_LEN]); /* 0 or -EINVAL; surrounding white space allowed */
/* Reads a private key and derives its public key. 0 or -errno; why (cap bytes) says what is wrong. Warns if others can
 * read the file. */
int ntm_key_load(const char *path, uint8_t priv[NTM_DH_LEN], uint8_t pub[NTM_DH_LEN], char *why, size_t cap);

#endif
