/* SPDX-License-Identifier: BSD-2-Clause */
#include "pathreport.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "node.h"

static void retry(struct ntm_node *n)
{
	struct ntm_path_reports *r = &n->reports;

	r->retry_ms = r->retry_ms ? 2 * r->retry_ms : NTM_REPORT_RETRY_MS;
	if (r->retry_ms > NTM_REPORT_RETRY_MAX_MS)
		r->retry_ms = NTM_REPORT_RETRY_MAX_MS;
	ntm_timer_arm(&n->timers, &r->timer, r->retry_ms);
}

/* The newest that are due, as many as a report holds. How many. */
static unsigned choose(struct ntm_node *n, struct ntm_tunnel *newest[NTM_PATH_TICKETS_MAX])
{
	unsigned count = 0, at;

	for (struct ntm_tunnel *t = n->tunnels.all; t; t = t->next_all) {
		if (!t->claim.due || t->state == NTM_TUN_OLD)
			continue;
		for (at = count; at && newest[at - 1]->claim.at_ms < t->claim.at_ms; at--)
			if (at < NTM_PATH_TICKETS_MAX)
				newest[at] = newest[at - 1];
		if (at == NTM_PATH_TICKETS_MAX)
			continue;
		newest[at] = t;
		if (count < NTM_PATH_TICKETS_MAX)
			count++;
	}
	return count;
}

static void on_answer(void *arg, int err, const struct ntm_sig *m);

static void report(struct ntm_node *n)
{
	struct ntm_tunnel *newest[NTM_PATH_TICKETS_MAX];
	struct ntm_sig m;
	unsigned count;
	int err;

	if (n->reports.busy || !ntm_dc_connected(&n->dc))
		return;
	ntm_sig_init(&m, NTM_M_PATH_REPORT, 0);
	count = choose(n, newest);
	if (!count)
		return;
	m.n_tickets = count;
	m.have = NTM_SIG_BIT(NTM_F_PATH_TICKET);
	for (unsigned i = 0; i < count; i++)
		m.tickets[i] = newest[i]->claim.ticket;
	err = ntm_dc_call(&n->dc, &m, NTM_REPORT_MS, on_answer, n);
	if (err) {
		ntm_debug("dc: report of %u paths not sent: %s", count, strerror(-err));
		retry(n);
		return;
	}
	ntm_timer_stop(&n->timers, &n->reports.timer);
	n->reports.busy = true;
	for (unsigned i = 0; i < count; i++)
		newest[i]->claim.asked = true;
}

static bool again(int err, const struct ntm_sig *m)
{
	return err || (m->msg == NTM_M_ERROR && (m->error_code == NTM_E_BUSY || m->error_code == NTM_E_INTERNAL ||
						 m->error_code == NTM_E_NOT_REGISTERED));
}

static void on_answer(void *arg, int err, const struct ntm_sig *m)
{
	struct ntm_node *n = arg;
	uint64_t now = ntm_timers_ms(&n->timers);
	bool repeat = again(err, m), unknown;

	n->reports.busy = false;
	/* a DC of before there were reports: nothing more for it */
	unknown = !err && m->msg == NTM_M_ERROR && m->error_code == NTM_E_UNKNOWN_MESSAGE;
	for (struct ntm_tunnel *t = n->tunnels.all; t; t = t->next_all) {
		if (unknown || (t->claim.asked && !repeat))
			t->claim.due = false;
		if (t->claim.asked && !repeat)
			t->claim.at_ms = now; /* it may be killed before it has written that, too */
		t->claim.asked = false;
	}
	if (!err && m->msg == NTM_M_ERROR)
		ntm_debug("dc: report of paths: %s", ntm_error_name((enum ntm_error)m->error_code));
	if (repeat) {
		retry(n);
		return;
	}
	n->reports.retry_ms = 0;
	report(n);
}

static void on_timer(void *arg)
{
	report(arg);
}

void ntm_path_reports_init(struct ntm_node *n)
{
	n->reports = (struct ntm_path_reports){0};
	ntm_timer_init(&n->reports.timer, on_timer, n);
}

void ntm_path_reports_stop(struct ntm_node *n)
{
	ntm_timer_stop(&n->timers, &n->reports.timer);
}

void ntm_path_claim(struct ntm_tunnel *t, const struct ntm_sig *m)
{
	t->claim.at_ms = ntm_timers_ms(&t->node->timers);
	if (!ntm_sig_has(m, NTM_F_PATH_TICKET) || be64toh(m->tickets[0].path_id) != t->id)
		return;
	t->claim.ticket = m->tickets[0];
	t->claim.has = true;
}

void ntm_path_reports_heard(struct ntm_node *n, uint64_t session)
{
	if (session == n->reports.session)
		n->reports.heard_ms = ntm_timers_ms(&n->timers);
}

void ntm_path_reports_registered(struct ntm_node *n, uint64_t session)
{
	struct ntm_path_reports *r = &n->reports;

	if (session != r->session) {
		for (struct ntm_tunnel *t = n->tunnels.all; t; t = t->next_all)
			t->claim.due |= t->claim.has && t->claim.at_ms + NTM_REPORT_BACK_MS > r->heard_ms;
		r->session = session;
		r->heard_ms = ntm_timers_ms(&n->timers);
		r->retry_ms = 0;
	}
	report(n);
}
