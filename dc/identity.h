/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The DC's own keys. One is current: sessions that the DC begins are made with it. While the key is being changed there
 * are up to two more, the next and the previous one, which answer sessions just as well; nodes are told of all.
 */
#ifndef NTM_DC_IDENTITY_H
#define NTM_DC_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include "../user/common/cookie.h"
#include "../user/common/crypto.h"
#include "../user/common/signal_codec.h"

struct ntm_dc;
struct ntm_dc_config;

struct ntm_dc_identity {
	uint8_t state; /* enum ntm_dc_key_state */
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
	struct ntm_dh dh;                /* priv, open */
	uint32_t number;                 /* no other key of this process ever had it; not 0 */
	uint8_t ticket_key[NTM_KEY_LEN]; /* ticket.h */
	struct ntm_cookie_jar jar;
};

struct ntm_dc_identities {
	struct ntm_dc_identity items[NTM_DC_KEYS_MAX]; /* the current one first */
	size_t n;
	uint32_t generation; /* of what nodes are told */
	uint32_t last_number;
};

/* The current key alone. 0 or -errno. */
int ntm_dc_identities_init(struct ntm_dc_identities *ids, const uint8_t priv[NTM_DH_LEN], const uint8_t pub[NTM_DH_LEN],
			   unsigned cookie_threshold);
void ntm_dc_identities_free(struct ntm_dc_identities *ids); /* closes and wipes them; may be done twice */
/* Takes next and previous key as the configuration has them. 0, or -errno with a sentence in why; then as before. */
int ntm_dc_identities_load(struct ntm_dc_identities *ids, const struct ntm_dc_config *conf, char *why, size_t cap);
/*
 * The key that a session init is meant for, and the verdict on its macs; with NTM_MAC_BAD, which is for none of them,
 * the current one.
 */
struct ntm_dc_identity *ntm_dc_identity_of(struct ntm_dc_identities *ids, const void *msg, size_t len,
					   const struct ntm_addr *from, uint64_t now_ms, enum ntm_mac_verdict *verdict);
bool ntm_dc_identity_has(const struct ntm_dc_identities *ids, const uint8_t pub[NTM_DH_LEN]);
void ntm_dc_identities_tell(const struct ntm_dc_identities *ids, struct ntm_sig *m); /* adds DC_KEY for each */
const char *ntm_dc_key_state_name(unsigned state);

#endif
