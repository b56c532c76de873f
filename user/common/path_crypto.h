/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tunnel Request and Response (types 9, 10): Noise IKpsk2 with prologue "NTMobile 1 tunnel" || the 16 header bytes of
 * the type 9 message, so Path ID and epoch are authenticated. The root keys it gives are spread to suites by
 * ntm_suite_key().
 */
#ifndef NTM_PATH_CRYPTO_H
#define NTM_PATH_CRYPTO_H

#include <ntm/wire.h>

#include "cookie.h"
#include "noise.h"

struct ntm_tunnel_keys {
	uint8_t epoch;                                    /* 0..15 */
	uint8_t tx[NTM_KEY_LEN], rx[NTM_KEY_LEN];         /* suite 0 */
	uint8_t ctl_tx[NTM_KEY_LEN], ctl_rx[NTM_KEY_LEN]; /* suite 8 */
	uint8_t bulk_suite;                               /* the one of 1 and 2 that was chosen; 0: none */
	uint8_t bulk_tx[NTM_KEY_LEN], bulk_rx[NTM_KEY_LEN];
};

/* Of the suites that both ends have: the one for the bulk lane, 0: none. */
uint8_t ntm_bulk_suite(uint16_t suites);

struct ntm_tunnel_init_state {
	struct ntm_noise noise;
	struct ntm_tunnel_req msg;
	uint64_t path_id;
	uint8_t epoch;
};

/* p: in host order where a field is a number written as __be here: fill it ready for the wire. */
int ntm_tunnel_begin(struct ntm_tunnel_init_state *st, const uint8_t priv[NTM_DH_LEN], const uint8_t pub[NTM_DH_LEN],
		     const uint8_t peer_pub[NTM_DH_LEN], const uint8_t psk[NTM_PSK_LEN], uint64_t path_id,
		     uint8_t epoch, const struct ntm_tunnel_req_payload *p, struct ntm_cookie_client *cc,
		     uint64_t now_ms);
int ntm_tunnel_finish(struct ntm_tunnel_init_state *st, const void *msg, size_t len, struct ntm_tunnel_keys *keys,
		      struct ntm_tunnel_resp_payload *p);
/*
 * Responder. Reads a type 9 whose macs were checked. -EBADMSG: not from peer_pub, wrong psk or form. On success *req is
 * its payload; the caller decides (replay, epoch) and then calls ntm_tunnel_answer, or ntm_noise_clear(ns).
 */
int ntm_tunnel_read(struct ntm_noise *ns, const uint8_t priv[NTM_DH_LEN], const uint8_t pub[NTM_DH_LEN],
		    const uint8_t peer_pub[NTM_DH_LEN], const uint8_t psk[NTM_PSK_LEN], const void *msg, size_t len,
		    struct ntm_tunnel_req_payload *req);
int ntm_tunnel_answer(struct ntm_noise *ns, uint64_t path_id, uint8_t epoch, const struct ntm_tunnel_resp_payload *p,
		      struct ntm_tunnel_resp *out, struct ntm_tunnel_keys *keys);

#endif
