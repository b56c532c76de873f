/* SPDX-License-Identifier: BSD-2-Clause */
/* Between dcclient.c (sessions), dcrequest.c (requests) and dcregister.c (messages). */
#ifndef NTM_NODE_DCCLIENT_INT_H
#define NTM_NODE_DCCLIENT_INT_H

#include "dcclient.h"

/* dcclient.c */
int ntm_dc_slot_of(const struct ntm_dcclient *dc, uint64_t id); /* -1: unknown */
void ntm_dc_promote_next(struct ntm_dcclient *dc);
void ntm_dc_session_dead(struct ntm_dcclient *dc);          /* went silent: a new one at once */
void ntm_dc_kick(struct ntm_dcclient *dc);                  /* somebody waits for a session */
uint64_t ntm_dc_patience_ms(const struct ntm_dcclient *dc); /* unanswered for so long: it is dead */
/*
 * Where a message for that endpoint is sent from: of several uplinks, that which paths use. But by the kernel's routes
 * to who is on another one's link, and by whatever was answered when that uplink was not. NULL: the kernel's choice.
 */
const uint8_t *ntm_dc_source(const struct ntm_dcclient *dc, const struct ntm_addr *to, uint8_t out[16]);
/* To all endpoints but that of the session: NATs and firewalls let in what the DC may send from there. */
void ntm_dc_open_ways(struct ntm_dcclient *dc);

void ntm_dc_keys_told(struct ntm_dcclient *dc, const struct ntm_sig *m); /* DC_KEY of a message on CUR */

/* dcrequest.c */
int ntm_dc_call_on(struct ntm_dcclient *dc, enum ntm_dc_slot slot, struct ntm_sig *m, uint32_t deadline_ms, bool resend,
		   ntm_dc_answer cb, void *arg);
int ntm_dc_send_on(struct ntm_dcclient *dc, enum ntm_dc_slot slot, const struct ntm_sig *m);
bool ntm_dc_answered(struct ntm_dcclient *dc, const struct ntm_sig *m); /* was it the answer to a request? */
void ntm_dc_resend_all(struct ntm_dcclient *dc);                        /* registered on a new session */
void ntm_dc_rtt(struct ntm_dcclient *dc, double sample_ms);
void ntm_dc_requests_free(struct ntm_dcclient *dc);

/* dcregister.c */
void ntm_dc_init_messages(struct ntm_dcclient *dc);
void ntm_dc_register(struct ntm_dcclient *dc, enum ntm_dc_slot slot);
void ntm_dc_message(struct ntm_dcclient *dc, enum ntm_dc_slot slot, const uint8_t *plain, size_t len);

#endif
