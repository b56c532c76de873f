/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keys of the Relay Server (PROTOCOL.md). A path's relay secret follows from its PSK, so an RS that is given the secret
 * cannot learn the PSK; each end binds under its own key out of that secret. An RS's probe secret follows from the DC's
 * private key; node and RS get a probe key from it that needs no state at the RS. Functions return 0 or -errno
 * (-EIO: OpenSSL refused), outputs are untouched on failure and keys are the caller's to wipe.
 */
#ifndef NTM_RELAY_CRYPTO_H
#define NTM_RELAY_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ntm/signal.h>
#include <ntm/wire.h>

int ntm_relay_secret(const uint8_t psk[NTM_PSK_LEN], uint8_t out[NTM_KEY_LEN]);
int ntm_relay_end_key(const uint8_t secret[NTM_KEY_LEN], enum ntm_role end, uint8_t out[NTM_KEY_LEN]);

int ntm_probe_secret(const uint8_t dc_priv[NTM_DH_LEN], const uint8_t rs_pub[NTM_DH_LEN], uint8_t out[NTM_KEY_LEN]);
/* *id in host order, never 0. */
int ntm_probe_id(const uint8_t probe_secret[NTM_KEY_LEN], const uint8_t node_pub[NTM_DH_LEN], uint64_t *id);
int ntm_probe_key(const uint8_t probe_secret[NTM_KEY_LEN], uint64_t id, uint8_t out[NTM_KEY_LEN]);

/*
 * The mac that ends a struct ntm_relay_bind, _bind_request or _bound: over the len - 16 bytes before it. sign: -EINVAL
 * if msg is shorter than a mac. verify: constant time, false also if msg is too short or OpenSSL refused.
 */
int ntm_bind_sign(const uint8_t key[NTM_KEY_LEN], void *msg, size_t len);
bool ntm_bind_verify(const uint8_t key[NTM_KEY_LEN], const void *msg, size_t len);

#endif
