/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Noise_IK_25519_ChaChaPoly_BLAKE2s and Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s, Noise specification
 * revision 34. A handshake lives in a caller-owned struct, wiped by ntm_noise_clear(). Any failure
 * leaves it unusable (-EPROTO afterwards). Functions return 0 or -errno.
 */
#ifndef NTM_NOISE_H
#define NTM_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ntm/limits.h>

#include "crypto.h"

struct ntm_noise {
	uint8_t ck[NTM_HASH_LEN], h[NTM_HASH_LEN], k[NTM_KEY_LEN];
	uint64_t n;
	uint8_t s[NTM_DH_LEN], s_pub[NTM_DH_LEN];
	uint8_t e[NTM_DH_LEN], e_pub[NTM_DH_LEN];
	uint8_t rs[NTM_DH_LEN], re[NTM_DH_LEN];
	uint8_t psk[NTM_PSK_LEN];
	bool has_k, has_psk, initiator, fixed_e;
	uint8_t step; /* messages done; 255: failed */
	struct ntm_noise_static *own;
};

/*
 * What a responder with many peers keeps of its static key from one handshake to the next, as WireGuard does: the
 * exchange of two static keys ("ss") has the same result each time. Not for others' eyes, and worth nothing without the
 * exchanges that are new in each handshake.
 */
struct ntm_noise_static {
	struct ntm_dh dh; /* s of ntm_noise_init(), open */
	/* The result with this peer's key; false: it is not kept. */
	bool (*find)(void *arg, const uint8_t rs[NTM_DH_LEN], uint8_t ss[NTM_DH_LEN]);
	void *arg;
	uint8_t ss[NTM_DH_LEN]; /* with ns->rs, once message 1 was read; the caller wipes it */
};

/*
 * rs: responder's static public key; NULL for a responder. psk: NULL selects IK, else IKpsk2.
 * A responder may set the PSK later, after reading message 1, by ntm_noise_set_psk() if it gave a
 * psk of zeros here (the pattern's name, and so the transcript, depends on it).
 */
int ntm_noise_init(struct ntm_noise *ns, bool initiator, const uint8_t s[NTM_DH_LEN], const uint8_t s_pub[NTM_DH_LEN],
		   const uint8_t *rs, const uint8_t *psk, const void *prologue, size_t prologue_len);
void ntm_noise_set_psk(struct ntm_noise *ns, const uint8_t psk[NTM_PSK_LEN]);
/* A responder's, before it reads message 1; own stays the caller's, and valid as long as ns is used. */
void ntm_noise_set_static(struct ntm_noise *ns, struct ntm_noise_static *own);
void ntm_noise_set_ephemeral(struct ntm_noise *ns, const uint8_t e[NTM_DH_LEN]); /* test vectors only */

/* Message 1 out: 32 (e) + 48 (s) + payload_len + 16. Message 2 out: 32 (e) + payload_len + 16. */
int ntm_noise_write(struct ntm_noise *ns, const void *payload, size_t payload_len, uint8_t *out, size_t out_cap,
		    size_t *out_len);
/* payload_cap must hold the payload; after message 1 ns->rs is the initiator's static key. */
int ntm_noise_read(struct ntm_noise *ns, const void *in, size_t in_len, uint8_t *payload, size_t payload_cap,
		   size_t *payload_len);

/* After message 2: transport keys by direction, and clears the handshake. */
int ntm_noise_split(struct ntm_noise *ns, uint8_t tx[NTM_KEY_LEN], uint8_t rx[NTM_KEY_LEN]);
void ntm_noise_clear(struct ntm_noise *ns);

#endif
