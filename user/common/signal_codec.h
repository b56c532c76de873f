/* SPDX-License-Identifier: BSD-2-Clause */
/* Signalling messages to and from bytes (headers/ntm/signal.h). One struct holds any message's fields. */
#ifndef NTM_SIGNAL_CODEC_H
#define NTM_SIGNAL_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ntm/limits.h>
#include <ntm/signal.h>

#include "addr.h"

struct ntm_candidate {
	struct ntm_addr addr;
	uint8_t kind; /* enum ntm_candidate_kind */
	uint8_t preference;
};

/* An RS, by name and transport addresses (port 0: not that family). */
struct ntm_relay_info {
	char name[NTM_LABEL_MAX + 1];
	struct ntm_addr ep4, ep6;
};
struct ntm_relay_offer {
	struct ntm_relay_info relay;
	uint64_t probe_id;
	uint8_t probe_key[NTM_KEY_LEN];
};
struct ntm_relay_rtt {
	char name[NTM_LABEL_MAX + 1];
	uint32_t rtt_us; /* NTM_RELAY_RTT_NONE: no answer */
};
/* Another zone that the DC federates with, and its virtual pools (pool4 v4-mapped). */
struct ntm_peer_zone {
	char zone[NTM_NAME_MAX + 1];
	struct ntm_prefix pool4, pool6;
};
struct ntm_dc_key {
	uint8_t state; /* enum ntm_dc_key_state */
	uint8_t key[NTM_DH_LEN];
};
struct ntm_load { /* struct ntm_relay_load in host order */
	uint32_t paths, paths_max, packets_per_s, drops_per_s;
	uint64_t bytes_per_s;
	uint16_t cpu_permille, flags;
};

/* Which fields are present: bit NTM_SIG_BIT(NTM_F_*) of `have`. Strings are NUL-terminated here. */
#define NTM_SIG_BIT(f) (1ull << (f))
#define NTM_SIG_LAST_FIELD NTM_F_PATH_TICKET
#define NTM_SIG_KNOWN_FIELDS ((NTM_SIG_BIT(NTM_SIG_LAST_FIELD) << 1) - 2)
struct ntm_sig {
	uint8_t msg;   /* enum ntm_msg */
	uint32_t txid; /* host order */
	uint64_t have;
	char name[NTM_NAME_MAX + 1];
	char zone[NTM_NAME_MAX + 1];
	char token[NTM_TOKEN_MAX + 1];
	char error_text[128];
	uint16_t error_code;
	uint8_t vip4[4], vip6[16];
	struct ntm_prefix pool4, pool6; /* pool4 v4-mapped, lengths 96..128 */
	struct ntm_candidate candidates[NTM_CANDIDATES_MAX];
	unsigned n_candidates;
	struct ntm_addr reflexive;
	uint32_t lifetime_s;
	uint64_t path_id; /* as a number: hdr.id is htobe64() of it */
	uint64_t stale_path_id;
	uint8_t role;
	uint8_t public_key[NTM_DH_LEN], psk[NTM_PSK_LEN];
	uint16_t mtu, keepalive_s;
	uint16_t padding_len;
	struct ntm_relay_info relay;
	struct ntm_relay_offer offers[NTM_RELAY_OFFERS_MAX];
	unsigned n_offers;
	struct ntm_relay_rtt rtts[NTM_RELAY_OFFERS_MAX];
	unsigned n_rtts;
	uint8_t relay_secret[NTM_KEY_LEN];
	uint32_t rate_kbit;
	struct ntm_load load;
	uint8_t check_flags, gateway;
	uint16_t delay_s;
	struct ntm_peer_zone peer_zones[NTM_PEER_ZONES_MAX];
	unsigned n_peer_zones;
	char wanted[NTM_NAME_MAX + 1];
	struct ntm_dc_key dc_keys[NTM_DC_KEYS_MAX];
	unsigned n_dc_keys;
	uint8_t key_proof[NTM_KEY_LEN];
	struct ntm_path_ticket tickets[NTM_PATH_TICKETS_MAX]; /* as on the wire */
	unsigned n_tickets;
};

static inline bool ntm_sig_has(const struct ntm_sig *m, enum ntm_field f)
{
	return m->have >> f & 1;
}
void ntm_sig_init(struct ntm_sig *m, enum ntm_msg msg, uint32_t txid); /* zeroes, sets both */

/* Encodes every field in `have`. 0 or -ENOSPC, -EINVAL (a string too long). */
int ntm_sig_encode(const struct ntm_sig *m, uint8_t *out, size_t cap, size_t *len);
/*
 * 0 or -EBADMSG: truncated, a known field of the wrong length, a field twice (but candidates, offers, zones, keys
 * of the DC, tickets and round trips, of which more than their MAX are an error), a string with NUL or control
 * characters. *m is zeroed on failure but for msg and txid where the fixed header was whole (so that an error can be
 * answered).
 */
int ntm_sig_decode(struct ntm_sig *m, const uint8_t *in, size_t len);
const char *ntm_error_name(enum ntm_error e); /* "no_such_name"; never NULL */
const char *ntm_msg_name(enum ntm_msg m);

#endif
