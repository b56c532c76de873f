/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Answers to session inits, made by threads: a handshake takes longer than ten other messages, which need not wait for
 * it, and all CPUs work at many. The threads see the message and our keys, and of all else only the kept exchanges
 * (sessions.h); whatever follows from a handshake is the loop's work. So many wait at most; what comes then is refused.
 */
#ifndef NTM_DC_RESPONDER_H
#define NTM_DC_RESPONDER_H

#include <uv.h>

#include "../user/common/session.h"
#include "identity.h"
#include "net.h"
#include "sessions.h"

enum { NTM_DC_HANDSHAKES_MAX = 1024, NTM_DC_RESPONDERS_MAX = 8 };

struct ntm_dc_handshake {
	/* the question */
	struct ntm_dc_route from;
	struct ntm_session_init init; /* whose macs hold */
	uint32_t number;              /* of our key (identity.h) that it is for */
	uint64_t local_id;            /* for the session */
	uint64_t now_ms;
	/* the answer */
	int err; /* as ntm_session_accept(), or -ENOKEY: that key is not ours any more */
	struct ntm_session keys;
	struct ntm_session_resp resp;
	uint8_t ss[NTM_DH_LEN];
};

struct ntm_dc_responder;
/* In the loop. h is wiped afterwards. */
typedef void (*ntm_dc_handshake_done)(void *arg, const struct ntm_dc_handshake *h);

/* A thread a CPU, NTM_DC_RESPONDERS_MAX at most. kept outlives it. 0 or -errno. */
int ntm_dc_responder_start(struct ntm_dc_responder **out, uv_loop_t *loop, struct ntm_dc_kept *kept,
			   ntm_dc_handshake_done done, void *arg);
/* The keys that handshakes are answered with from now on. */
void ntm_dc_responder_set_keys(struct ntm_dc_responder *r, const struct ntm_dc_identities *ids);
/* Copies the question of h. -EBUSY: too many wait. */
int ntm_dc_responder_ask(struct ntm_dc_responder *r, const struct ntm_dc_handshake *h);
/* What waits has no answer. Ends the threads, wipes; freed when the loop has run its callbacks. May be NULL. */
void ntm_dc_responder_stop(struct ntm_dc_responder *r);

#endif
