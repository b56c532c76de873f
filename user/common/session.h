/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A sealed session over datagrams (types 1, 2, 4): node–DC now, DC–DC and DC–RS with the same code. This file
 * knows keys, counters and the replay window of one session; tables, timers and sockets belong to its users. Noise
 * prologue: "NTMobile 1 session" || the 16 header bytes of the type 1 message.
 */
#ifndef NTM_SESSION_H
#define NTM_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ntm/wire.h>

#include "addr.h"
#include "cookie.h"
#include "noise.h"

/* Established keys. */
struct ntm_session {
	uint64_t local_id, remote_id; /* as numbers; hdr.id is htobe64() */
	uint8_t tx_key[NTM_KEY_LEN], rx_key[NTM_KEY_LEN];
	uint64_t tx_counter;
	uint64_t rx_head;      /* highest accepted + 1 */
	uint64_t rx_window[4]; /* the 256 counters below rx_head, the newest in bit 0 of word 0 */
	uint8_t peer_key[NTM_DH_LEN];
	uint64_t created_ms;
	uint32_t lifetime_s;
	bool confirmed; /* responder: a sealed message has arrived */
};

/* Initiator: handshake in progress. */
struct ntm_session_init_state {
	struct ntm_noise noise;
	struct ntm_session_init msg; /* as last signed: resend it after ntm_cookie_sign() */
	uint64_t local_id;
};
int ntm_session_begin(struct ntm_session_init_state *st, const uint8_t priv[NTM_DH_LEN], const uint8_t pub[NTM_DH_LEN],
		      const uint8_t peer_pub[NTM_DH_LEN], struct ntm_cookie_client *cc, uint64_t now_ms);
/* -EBADMSG: not an answer to st (st stays usable for the true one); else *out is the session and st is cleared. */
int ntm_session_finish(struct ntm_session_init_state *st, const void *msg, size_t len, uint64_t now_ms,
		       struct ntm_session *out);

/*
 * Responder: reads a type 1 whose macs were checked (ntm_cookie_check), makes the session and the answer.
 * local_id: chosen by the caller, unused so far. out->peer_key is the initiator's static key, out->confirmed false.
 */
int ntm_session_accept(const uint8_t priv[NTM_DH_LEN], const uint8_t pub[NTM_DH_LEN], const void *msg, size_t len,
		       uint64_t local_id, uint32_t lifetime_s, uint64_t now_ms, struct ntm_session *out,
		       struct ntm_session_resp *answer);
/* The same, with what is kept of the static key: own->dh is priv, open. own->ss is set unless it failed. */
int ntm_session_accept_with(struct ntm_noise_static *own, const uint8_t priv[NTM_DH_LEN], const uint8_t pub[NTM_DH_LEN],
			    const void *msg, size_t len, uint64_t local_id, uint32_t lifetime_s, uint64_t now_ms,
			    struct ntm_session *out, struct ntm_session_resp *answer);

/* out holds 16 + len + 16. *out_len is set. -EOVERFLOW at NTM_COUNTER_LIMIT. */
int ntm_session_seal(struct ntm_session *s, const void *in, size_t len, uint8_t *out, size_t cap, size_t *out_len);
/* in: the whole datagram, a type 4. -EBADMSG bad tag or form, -EALREADY replayed, -ESTALE behind the window. */
int ntm_session_open(struct ntm_session *s, const void *in, size_t in_len, uint8_t *out, size_t cap, size_t *out_len);
void ntm_session_clear(struct ntm_session *s);

#endif
