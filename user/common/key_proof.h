/* SPDX-License-Identifier: BSD-2-Clause */
/* Key rotation: a node proves to its DC that it has the private part of the key that it is going to use. */
#ifndef NTM_KEY_PROOF_H
#define NTM_KEY_PROOF_H

#include <stdint.h>

#include <ntm/limits.h>

/*
 * BLAKE2s-256("ntm1 key proof" || DH(new key, DC's key) || old public key || new public key): both ends can make it.
 * The node calls it with its new private key and the DC's public one, the DC with its private key and the new public
 * one. 0 or -errno (-EINVAL: other_pub is no usable key).
 */
int ntm_key_proof(const uint8_t priv[NTM_DH_LEN], const uint8_t other_pub[NTM_DH_LEN],
		  const uint8_t old_pub[NTM_DH_LEN], const uint8_t new_pub[NTM_DH_LEN], uint8_t out[NTM_KEY_LEN]);

#endif
