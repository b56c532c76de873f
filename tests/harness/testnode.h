/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A node as a script sees it: one UDP socket, one session with a DC, messages sent and awaited one at a time. For tests
 * in the DC's own process, whose loop it runs while it waits, and for load generation against a real one.
 */
#ifndef NTM_TESTNODE_H
#define NTM_TESTNODE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "../../user/common/session.h"
#include "../../user/common/signal_codec.h"

/* For what has to come: it costs nothing when it comes. What must not come is waited for with a limit of the test's
 * own. */
enum { TESTNODE_WAIT_MS = 10000 };

struct testnode {
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
	uint8_t dc_pub[NTM_DH_LEN];
	struct ntm_addr dc;
	struct ntm_cookie_client cookies;
	struct ntm_session session;
	unsigned cookies_got;
	uint32_t txid; /* of the last request */
	int fd;
	int patience_ms; /* of connect and ask; TESTNODE_WAIT_MS unless the test sets it */
	uv_loop_t *loop; /* run while waiting; NULL: the DC is another process */
};

/* All return 0 or -errno; waits end with -ETIMEDOUT. */
int testnode_open(struct testnode *t, uv_loop_t *loop, const struct ntm_addr *dc, const uint8_t dc_pub[NTM_DH_LEN]);
int testnode_move(struct testnode *t); /* a new socket: another source port */
void testnode_close(struct testnode *t);

int testnode_send_raw(struct testnode *t, const void *data, size_t len);
ssize_t testnode_recv_raw(struct testnode *t, void *data, size_t cap, int timeout_ms);

int testnode_connect(struct testnode *t); /* a session as initiator, with a cookie where one is asked for */
/* Waits for a session init of the DC's own and answers it. */
int testnode_accept(struct testnode *t, int timeout_ms);
int testnode_send(struct testnode *t, const struct ntm_sig *m);
int testnode_recv(struct testnode *t, struct ntm_sig *m, int timeout_ms);

/* A message with the next transaction id. */
void testnode_request(struct testnode *t, struct ntm_sig *m, enum ntm_msg msg);
/* Sends m and waits for the answer to it; other messages are dropped. */
int testnode_ask(struct testnode *t, const struct ntm_sig *m, struct ntm_sig *answer);
/* Registers; token may be NULL. *answer is the response or the error. */
int testnode_register(struct testnode *t, const char *name, const char *token, struct ntm_sig *answer);
int testnode_direct(struct testnode *t, const char *name, struct ntm_sig *answer);

#endif
