/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent's side of the session with its DC: handshake (either end may begin one), registration, keep-alive, and
 * requests that are resent until they are answered, on a new session if the old one went silent.
 */
#ifndef NTM_NODE_DCCLIENT_H
#define NTM_NODE_DCCLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../common/session.h"
#include "../common/signal_codec.h"
#include "dckeys.h"
#include "timer.h"

struct ntm_node;

enum {
	NTM_DC_REQUESTS = 256,
	NTM_DC_GIVE_UP_MS = 1000, /* unanswered for so long: the session is dead */
	NTM_DC_TRY_NEXT_MS = 500, /* likewise, where there is another endpoint and round trips are much shorter */
	NTM_DC_KEEPALIVE_S = 15,  /* unless the DC wants another interval */
};

/* One answer a request: err 0 and the message (which may be NTM_M_ERROR), or -errno and NULL. */
typedef void (*ntm_dc_answer)(void *arg, int err, const struct ntm_sig *m);

struct ntm_dc_request {
	bool used, resend; /* resend: survives a change of session */
	uint32_t txid;
	uint8_t session; /* slot it was last sent on */
	unsigned sends;
	uint64_t first_ms, sent_ns, deadline_ms; /* first_ms: on this session; 0: not sent yet */
	uint32_t wait_ms;
	uint8_t *msg;
	size_t len;
	ntm_dc_answer cb;
	void *arg;
	struct ntm_dcclient *dc;
	struct ntm_timer timer;
};

/* CUR is used for sending; NEXT was begun by the DC and is not proven yet; OLD only receives. */
enum ntm_dc_slot { NTM_DC_CUR, NTM_DC_NEXT, NTM_DC_OLD, NTM_DC_SLOTS };

struct ntm_dc_session {
	bool used;
	struct ntm_session s;
	struct ntm_addr addr;
};

struct ntm_dcclient {
	struct ntm_node *node;
	struct ntm_dc_session slot[NTM_DC_SLOTS];
	bool registered; /* on CUR */
	bool started;
	size_t endpoint; /* index into conf.dc_endpoints, used for the next handshake */
	struct ntm_dckeys keys;
	size_t key; /* likewise, into keys */

	struct ntm_session_init_state *hs; /* in progress */
	struct ntm_addr hs_addr;
	struct ntm_cookie_client cookie;
	uint64_t hs_begin_ms, retry_ms, last_kick_ms;
	uint32_t hs_wait_ms;
	unsigned hs_sends;
	/* Instead of from `from`, which was not answered, messages are sent from `via`; zero: by the kernel's choice.
	 */
	bool astray;
	uint8_t from[16], via[16];
	unsigned failures; /* handshakes in a row */
	struct ntm_timer hs_timer, keepalive_timer, lifetime_timer;

	uint32_t next_txid;
	struct ntm_dc_request req[NTM_DC_REQUESTS];
	double rtt_ms; /* smoothed; 0: not measured */
	uint16_t keepalive_s;
	struct ntm_addr reflexive;
	uint32_t reg_txid;   /* outstanding registration; 0: none */
	uint16_t last_error; /* of the registration; 0: none */
	uint64_t refused_ms; /* the pause after the DC could not; 0: it was able to answer */
	unsigned unable;     /* times in a row that it could not */
	bool try_next;       /* since it could not: the next registration is at another endpoint */
};

int ntm_dc_init(struct ntm_dcclient *dc, struct ntm_node *n);
void ntm_dc_free(struct ntm_dcclient *dc);
void ntm_dc_start(struct ntm_dcclient *dc); /* connects, registers, stays so */

/* A datagram of type 1, 2, 3 or 4 came. */
void ntm_dc_input(struct ntm_dcclient *dc, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *msg,
		  size_t len);

/*
 * Sends a request; its txid is chosen here. cb is called exactly once, never before this returns, at latest after
 * deadline_ms. -EBUSY: too many; -ENOMEM; -EINVAL.
 */
int ntm_dc_call(struct ntm_dcclient *dc, struct ntm_sig *m, uint32_t deadline_ms, ntm_dc_answer cb, void *arg);
void ntm_dc_forget(struct ntm_dcclient *dc, void *arg); /* calls with this arg are given up, cb is not called */
/* Sends once, without an answer (ROUTE_ACK, RELEASE). -ENOTCONN without a session. */
int ntm_dc_send(struct ntm_dcclient *dc, const struct ntm_sig *m);
/* Addresses have changed: registers anew. */
void ntm_dc_reregister(struct ntm_dcclient *dc);
/* Paths leave by another uplink, and so do messages to the DC, whatever was answered before. */
void ntm_dc_uplink_changed(struct ntm_dcclient *dc);
/* There is news for the DC: a Keep Alive, now. */
void ntm_dc_keepalive_now(struct ntm_dcclient *dc);
/*
 * A Keep Alive that the DC answers after delay_s, from a port of its own: nothing else uses that NAT mapping. Its
 * answer is told to ntm_mapping_answered(). Sent once. 0 or -errno (-ENOTSUP: no such port).
 */
int ntm_dc_keepalive_aside(struct ntm_dcclient *dc, uint16_t delay_s, uint32_t *txid);
/*
 * A Keep Alive from another address of this node, which moves nothing at the DC; sent once, answered to
 * ntm_proof_answered(). 0 or -errno (-ENOTCONN: no session, or not with an address of that family).
 */
int ntm_dc_ask(struct ntm_dcclient *dc, const uint8_t src[16], uint32_t txid);
bool ntm_dc_connected(const struct ntm_dcclient *dc);
/* The DC's key of the session in use; NULL: there is none. */
const uint8_t *ntm_dc_session_key(const struct ntm_dcclient *dc);
/* Own key or the DC's has changed: a new session, beside which the former one is used until it is there. */
void ntm_dc_renew(struct ntm_dcclient *dc);
/* The configuration's endpoints have changed (SIGHUP). */
void ntm_dc_endpoints_changed(struct ntm_dcclient *dc);

#endif
