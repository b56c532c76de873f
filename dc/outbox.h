/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests of the DC's own to nodes and relays: sent at once and again 50, 150, 350 and 750 ms later, until an answer
 * with the same transaction id. Each copy is sealed by the session the node has at that moment.
 */
#ifndef NTM_DC_OUTBOX_H
#define NTM_DC_OUTBOX_H

#include <stdbool.h>
#include <sys/queue.h>
#include <uv.h>

#include "../user/common/signal_codec.h"
#include "table.h"

enum { NTM_DC_OUTBOX_MAX = 65536, NTM_DC_OUTBOX_STAGES = 5 };

struct ntm_dc_node;
struct ntm_dc_outbox_entry;
TAILQ_HEAD(ntm_dc_outbox_list, ntm_dc_outbox_entry);
/* What a request of the DC's was. */
struct ntm_dc_sent {
	uint8_t msg;      /* enum ntm_msg */
	uint64_t path_id; /* 0: of no path */
};
/* No answer to any copy. */
typedef void (*ntm_dc_outbox_lost)(void *arg, struct ntm_dc_node *to, const struct ntm_dc_sent *what);
/* data: an encoded message */
typedef void (*ntm_dc_outbox_send)(void *arg, struct ntm_dc_node *to, const uint8_t *data, size_t len);

struct ntm_dc_outbox {
	uv_timer_t timer;
	struct ntm_table by_txid;
	struct ntm_dc_outbox_list stages[NTM_DC_OUTBOX_STAGES]; /* one delay a list, so each is in order of time */
	ntm_dc_outbox_send send;
	ntm_dc_outbox_lost lost;
	void *arg;
	uint32_t next_txid;
	uint64_t unanswered;
};

int ntm_dc_outbox_init(struct ntm_dc_outbox *o, uv_loop_t *loop, ntm_dc_outbox_send send, ntm_dc_outbox_lost lost,
		       void *arg);
void ntm_dc_outbox_close(struct ntm_dc_outbox *o); /* drops everything, closes the timer */

/*
 * Sends m, which is about a path with the node `about`, with a transaction id of this outbox (m->txid is set). 0,
 * -ENOMEM, -EBUSY (full), or the codec's error.
 */
int ntm_dc_outbox_add(struct ntm_dc_outbox *o, struct ntm_dc_node *to, const struct ntm_dc_node *about,
		      struct ntm_sig *m);
/* It was answered, or is not to be said again. what: unless NULL, filled if true. */
bool ntm_dc_outbox_ack(struct ntm_dc_outbox *o, const struct ntm_dc_node *from, uint32_t txid,
		       struct ntm_dc_sent *what);
/* Whom this request goes to; NULL: no such request. */
struct ntm_dc_node *ntm_dc_outbox_addressee(const struct ntm_dc_outbox *o, uint32_t txid);
/* What was said to a and is about b, and the reverse, is not said again: it is no longer true. b NULL: any node. */
void ntm_dc_outbox_forget(struct ntm_dc_outbox *o, const struct ntm_dc_node *a, const struct ntm_dc_node *b);

#endif
