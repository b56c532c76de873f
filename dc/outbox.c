/* SPDX-License-Identifier: BSD-2-Clause */
#include "outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"
#include "nodes.h"

/* until the next copy; after the last, until it counts as unanswered */
static const unsigned delay_ms[NTM_DC_OUTBOX_STAGES] = {50, 100, 200, 400, 400};

struct ntm_dc_outbox_entry {
	struct ntm_table_link by_txid;
	TAILQ_ENTRY(ntm_dc_outbox_entry) link;
	struct ntm_dc_node *to;
	const struct ntm_dc_node *about;
	uint32_t txid;
	struct ntm_dc_sent what;
	unsigned stage;
	uint64_t due_ms;
	size_t len;
	uint8_t data[];
};

static void drop(struct ntm_dc_outbox *o, struct ntm_dc_outbox_entry *e)
{
	TAILQ_REMOVE(&o->stages[e->stage], e, link);
	ntm_table_del(&o->by_txid, &e->by_txid);
	ntm_wipe(e->data, e->len); /* a PSK may be in it */
	free(e);
}

static void enter(struct ntm_dc_outbox *o, struct ntm_dc_outbox_entry *e, unsigned stage)
{
	e->stage = stage;
	e->due_ms = uv_now(o->timer.loop) + delay_ms[stage];
	TAILQ_INSERT_TAIL(&o->stages[stage], e, link);
}

static void give_up(struct ntm_dc_outbox *o, struct ntm_dc_outbox_entry *e)
{
	struct ntm_dc_node *to = e->to;
	struct ntm_dc_sent what = e->what;

	drop(o, e);
	o->lost(o->arg, to, &what); /* may add and forget entries */
}

static void on_timer(uv_timer_t *timer);

static void arm(struct ntm_dc_outbox *o)
{
	uint64_t due = UINT64_MAX, now = uv_now(o->timer.loop);

	for (int i = 0; i < NTM_DC_OUTBOX_STAGES; i++) {
		struct ntm_dc_outbox_entry *e = TAILQ_FIRST(&o->stages[i]);

		if (e && e->due_ms < due)
			due = e->due_ms;
	}
	if (due == UINT64_MAX)
		uv_timer_stop(&o->timer);
	else
		uv_timer_start(&o->timer, on_timer, due > now ? due - now : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
	struct ntm_dc_outbox *o = timer->data;
	uint64_t now = uv_now(timer->loop);
	struct ntm_dc_outbox_entry *e;

	for (unsigned i = NTM_DC_OUTBOX_STAGES; i--;) {
		while ((e = TAILQ_FIRST(&o->stages[i])) && e->due_ms <= now) {
			if (i == NTM_DC_OUTBOX_STAGES - 1) {
				o->unanswered++;
				ntm_debug("%s did not acknowledge request %08x", e->to->rec.label, e->txid);
				give_up(o, e);
				continue;
			}
			o->send(o->arg, e->to, e->data, e->len);
			TAILQ_REMOVE(&o->stages[i], e, link);
			enter(o, e, i + 1);
		}
	}
	arm(o);
}

int ntm_dc_outbox_init(struct ntm_dc_outbox *o, uv_loop_t *loop, ntm_dc_outbox_send send, ntm_dc_outbox_lost lost,
		       void *arg)
{
	int err;

	memset(o, 0, sizeof(*o));
	for (int i = 0; i < NTM_DC_OUTBOX_STAGES; i++)
		TAILQ_INIT(&o->stages[i]);
	o->send = send;
	o->lost = lost;
	o->arg = arg;
	err = ntm_random(&o->next_txid, sizeof(o->next_txid));
	if (!err)
		err = ntm_table_init(&o->by_txid, 0);
	if (err)
		return err;
	uv_timer_init(loop, &o->timer);
	o->timer.data = o;
	return 0;
}

void ntm_dc_outbox_close(struct ntm_dc_outbox *o)
{
	struct ntm_dc_outbox_entry *e;

	for (int i = 0; i < NTM_DC_OUTBOX_STAGES; i++) {
		while ((e = TAILQ_FIRST(&o->stages[i])))
			drop(o, e);
	}
	ntm_table_free(&o->by_txid);
	uv_close((uv_handle_t *)&o->timer, NULL);
}

int ntm_dc_outbox_add(struct ntm_dc_outbox *o, struct ntm_dc_node *to, const struct ntm_dc_node *about,
		      struct ntm_sig *m)
{
	uint8_t data[NTM_SIGNAL_MAX];
	struct ntm_dc_outbox_entry *e;
	size_t len;
	int err;

	if (o->by_txid.n >= NTM_DC_OUTBOX_MAX)
		return -EBUSY;
	m->txid = o->next_txid++;
	err = ntm_sig_encode(m, data, sizeof(data), &len);
	if (err)
		return err;
	e = calloc(1, sizeof(*e) + len);
	if (e) {
		e->to = to;
		e->about = about;
		e->txid = m->txid;
		e->what = (struct ntm_dc_sent){m->msg, ntm_sig_has(m, NTM_F_PATH_ID) ? m->path_id : 0};
		e->len = len;
		memcpy(e->data, data, len);
		ntm_table_add(&o->by_txid, &e->by_txid, e->txid);
		enter(o, e, 0);
		o->send(o->arg, to, e->data, e->len);
		if (!uv_is_active((uv_handle_t *)&o->timer) || uv_timer_get_due_in(&o->timer) > delay_ms[0])
			arm(o);
	}
	ntm_wipe(data, len);
	return e ? 0 : -ENOMEM;
}

bool ntm_dc_outbox_ack(struct ntm_dc_outbox *o, const struct ntm_dc_node *from, uint32_t txid, struct ntm_dc_sent *what)
{
	struct ntm_table_link *l = ntm_table_first(&o->by_txid, txid);

	for (; l; l = ntm_table_next(l)) {
		struct ntm_dc_outbox_entry *e = ntm_container_of(l, struct ntm_dc_outbox_entry, by_txid);

		if (e->to == from) {
			if (what)
				*what = e->what;
			drop(o, e);
			return true;
		}
	}
	return false;
}

struct ntm_dc_node *ntm_dc_outbox_addressee(const struct ntm_dc_outbox *o, uint32_t txid)
{
	struct ntm_table_link *l = ntm_table_first(&o->by_txid, txid);

	return l ? ntm_container_of(l, struct ntm_dc_outbox_entry, by_txid)->to : NULL;
}

void ntm_dc_outbox_forget(struct ntm_dc_outbox *o, const struct ntm_dc_node *a, const struct ntm_dc_node *b)
{
	for (int i = 0; i < NTM_DC_OUTBOX_STAGES; i++) {
		struct ntm_dc_outbox_entry *e = TAILQ_FIRST(&o->stages[i]), *next;

		for (; e; e = next) {
			next = TAILQ_NEXT(e, link);
			if ((e->to == a && (!b || e->about == b)) || (e->about == a && (!b || e->to == b)))
				drop(o, e);
		}
	}
}
