/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests to the DC: resent with back-off, moved to a new session when the old one went silent. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../common/crypto.h"
#include "dcclient_int.h"
#include "node.h"

enum { RESEND_MIN_MS = 50 };

void ntm_dc_rtt(struct ntm_dcclient *dc, double sample_ms)
{
	dc->rtt_ms = dc->rtt_ms > 0 ? dc->rtt_ms * 0.875 + sample_ms * 0.125 : sample_ms;
}

static int transmit(struct ntm_dcclient *dc, enum ntm_dc_slot slot, const uint8_t *msg, size_t len)
{
	struct ntm_node *n = dc->node;
	uint8_t out[NTM_SIGNAL_MAX], src[16];
	size_t out_len;
	int err;

	if (!dc->slot[slot].used)
		return -ENOTCONN;
	err = ntm_session_seal(&dc->slot[slot].s, msg, len, out, sizeof(out), &out_len);
	if (err)
		return err;
	return n->net.send(n->net.arg, &dc->slot[slot].addr, ntm_dc_source(dc, &dc->slot[slot].addr, src), out, out_len,
			   NTM_SEND_NORMAL);
}

static void release(struct ntm_dc_request *r)
{
	ntm_timer_stop(&r->dc->node->timers, &r->timer);
	ntm_wipe(r->msg, r->len);
	free(r->msg);
	r->msg = NULL;
	r->used = false;
}

static void finish(struct ntm_dc_request *r, int err, const struct ntm_sig *m)
{
	ntm_dc_answer cb = r->cb;
	void *arg = r->arg;

	release(r);
	if (cb)
		cb(arg, err, m);
}

static void send_request(struct ntm_dc_request *r)
{
	struct ntm_dcclient *dc = r->dc;
	uint64_t now = ntm_timers_ms(&dc->node->timers);
	int err;

	if (!r->first_ms) {
		uint32_t first = (uint32_t)(2 * dc->rtt_ms);

		r->first_ms = now ? now : 1;
		r->wait_ms = first > RESEND_MIN_MS ? first : RESEND_MIN_MS;
		r->sends = 0;
	} else {
		r->wait_ms *= 2;
	}
	r->sends++;
	r->sent_ns = ntm_timers_ns(&dc->node->timers);
	err = transmit(dc, (enum ntm_dc_slot)r->session, r->msg, r->len);
	if (err)
		ntm_debug("dc: request not sent: %s", strerror(-err));
}

static void arm(struct ntm_dc_request *r)
{
	uint64_t now = ntm_timers_ms(&r->dc->node->timers), in = r->deadline_ms > now ? r->deadline_ms - now : 1;

	if (r->first_ms) {
		uint64_t patience = ntm_dc_patience_ms(r->dc), left = r->first_ms + patience - now;

		if (r->wait_ms < in)
			in = r->wait_ms;
		if (r->first_ms + patience > now && left < in)
			in = left;
	}
	ntm_timer_arm(&r->dc->node->timers, &r->timer, in);
}

static void on_request_timer(void *arg)
{
	struct ntm_dc_request *r = arg;
	struct ntm_dcclient *dc = r->dc;
	uint64_t now = ntm_timers_ms(&dc->node->timers);
	bool silent = r->first_ms && now - r->first_ms >= ntm_dc_patience_ms(dc);

	if (now >= r->deadline_ms || (silent && !r->resend)) {
		bool cur = r->session == NTM_DC_CUR && r->first_ms;
		int err = r->first_ms ? -ETIMEDOUT : -ENOTCONN;

		finish(r, err, NULL);
		/* The session is in doubt only if it had its time. */
		if (cur && silent && dc->slot[NTM_DC_CUR].used)
			ntm_dc_session_dead(dc);
		return;
	}
	if (silent) {
		r->first_ms = 0; /* waits for ntm_dc_resend_all() */
		arm(r);
		if (dc->slot[NTM_DC_CUR].used)
			ntm_dc_session_dead(dc);
		return;
	}
	if (r->first_ms)
		send_request(r);
	arm(r);
}

int ntm_dc_call_on(struct ntm_dcclient *dc, enum ntm_dc_slot slot, struct ntm_sig *m, uint32_t deadline_ms, bool resend,
		   ntm_dc_answer cb, void *arg)
{
	uint8_t buf[NTM_SIGNAL_MAX - sizeof(struct ntm_hdr) - NTM_TAG_LEN];
	struct ntm_dc_request *r = NULL;
	bool now_ok;
	size_t len;
	int err;

	for (unsigned i = 0; i < NTM_DC_REQUESTS && !r; i++)
		if (!dc->req[i].used)
			r = &dc->req[i];
	if (!r)
		return -EBUSY;
	m->txid = dc->next_txid++;
	err = ntm_sig_encode(m, buf, sizeof(buf), &len);
	if (err)
		return err;
	*r = (struct ntm_dc_request){.used = true,
				     .resend = resend,
				     .txid = m->txid,
				     .session = slot,
				     .cb = cb,
				     .arg = arg,
				     .dc = dc,
				     .len = len};
	r->msg = malloc(len);
	if (!r->msg) {
		r->used = false;
		return -ENOMEM;
	}
	memcpy(r->msg, buf, len);
	ntm_wipe(buf, sizeof(buf));
	ntm_timer_init(&r->timer, on_request_timer, r);
	r->deadline_ms = ntm_timers_ms(&dc->node->timers) + deadline_ms;
	now_ok = dc->slot[slot].used && (dc->registered || !resend);
	if (now_ok)
		send_request(r);
	else
		ntm_dc_kick(dc);
	arm(r);
	return 0;
}

int ntm_dc_call(struct ntm_dcclient *dc, struct ntm_sig *m, uint32_t deadline_ms, ntm_dc_answer cb, void *arg)
{
	/* With the DC known to be away, whoever asks waits for one attempt to reach it, not for the whole time. */
	if (!dc->slot[NTM_DC_CUR].used && dc->failures > dc->node->conf.dc_endpoints.n &&
	    deadline_ms > NTM_DC_GIVE_UP_MS)
		deadline_ms = NTM_DC_GIVE_UP_MS;
	return ntm_dc_call_on(dc, NTM_DC_CUR, m, deadline_ms, true, cb, arg);
}

void ntm_dc_forget(struct ntm_dcclient *dc, void *arg)
{
	for (unsigned i = 0; i < NTM_DC_REQUESTS; i++)
		if (dc->req[i].used && dc->req[i].arg == arg)
			release(&dc->req[i]);
}

int ntm_dc_send_on(struct ntm_dcclient *dc, enum ntm_dc_slot slot, const struct ntm_sig *m)
{
	uint8_t buf[NTM_SIGNAL_MAX - sizeof(struct ntm_hdr) - NTM_TAG_LEN];
	size_t len;
	int err = ntm_sig_encode(m, buf, sizeof(buf), &len);

	return err ? err : transmit(dc, slot, buf, len);
}

int ntm_dc_send(struct ntm_dcclient *dc, const struct ntm_sig *m)
{
	struct ntm_sig copy = *m;

	if (!copy.txid)
		copy.txid = dc->next_txid++;
	return ntm_dc_send_on(dc, NTM_DC_CUR, &copy);
}

enum { ASK_MAX = 64 };

/* A Keep Alive that says nothing of where this node is. */
static int seal_ask(struct ntm_dcclient *dc, uint16_t delay_s, uint32_t txid, uint8_t *out, size_t cap, size_t *len)
{
	uint8_t plain[ASK_MAX];
	struct ntm_sig m;
	int err;

	ntm_sig_init(&m, NTM_M_KEEP_ALIVE, txid);
	m.delay_s = delay_s;
	m.have = 1u << NTM_F_DELAY;
	err = ntm_sig_encode(&m, plain, sizeof(plain), len);
	return err ? err : ntm_session_seal(&dc->slot[NTM_DC_CUR].s, plain, *len, out, cap, len);
}

int ntm_dc_keepalive_aside(struct ntm_dcclient *dc, uint16_t delay_s, uint32_t *txid)
{
	uint8_t out[ASK_MAX + sizeof(struct ntm_hdr) + NTM_TAG_LEN], src[16];
	struct ntm_dc_session *s = &dc->slot[NTM_DC_CUR];
	struct ntm_node *n = dc->node;
	size_t len;
	int err;

	if (!n->send_aside)
		return -ENOTSUP;
	if (!s->used)
		return -ENOTCONN;
	*txid = dc->next_txid++;
	err = seal_ask(dc, delay_s, *txid, out, sizeof(out), &len);
	return err ? err : n->send_aside(n->net.arg, &s->addr, ntm_dc_source(dc, &s->addr, src), out, len);
}

int ntm_dc_ask(struct ntm_dcclient *dc, const uint8_t src[16], uint32_t txid)
{
	uint8_t out[ASK_MAX + sizeof(struct ntm_hdr) + NTM_TAG_LEN];
	struct ntm_dc_session *s = &dc->slot[NTM_DC_CUR];
	size_t len;
	int err;

	if (!s->used || ntm_ip_is_v4(s->addr.ip) != ntm_ip_is_v4(src))
		return -ENOTCONN;
	err = seal_ask(dc, 0, txid, out, sizeof(out), &len);
	return err ? err : dc->node->net.send(dc->node->net.arg, &s->addr, src, out, len, NTM_SEND_NORMAL);
}

bool ntm_dc_answered(struct ntm_dcclient *dc, const struct ntm_sig *m)
{
	for (unsigned i = 0; i < NTM_DC_REQUESTS; i++) {
		struct ntm_dc_request *r = &dc->req[i];

		if (!r->used || r->txid != m->txid)
			continue;
		/* Karn's rule: the answer to something resent measures nothing. */
		if (r->sends == 1)
			ntm_dc_rtt(dc, (double)(ntm_timers_ns(&dc->node->timers) - r->sent_ns) / 1e6);
		finish(r, 0, m);
		return true;
	}
	return false;
}

void ntm_dc_resend_all(struct ntm_dcclient *dc)
{
	for (unsigned i = 0; i < NTM_DC_REQUESTS; i++) {
		struct ntm_dc_request *r = &dc->req[i];

		if (!r->used || !r->resend)
			continue;
		r->session = NTM_DC_CUR;
		r->first_ms = 0;
		send_request(r);
		arm(r);
	}
}

void ntm_dc_requests_free(struct ntm_dcclient *dc)
{
	for (unsigned i = 0; i < NTM_DC_REQUESTS; i++)
		if (dc->req[i].used)
			release(&dc->req[i]);
}
