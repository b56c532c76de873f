/* SPDX-License-Identifier: BSD-2-Clause */
#include "direction.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "node.h"

static bool same_target(const char *name, const uint8_t vip[16], const char *name2, const uint8_t vip2[16])
{
	return name[0] ? !strcmp(name, name2) : !name2[0] && !memcmp(vip, vip2, 16);
}

static struct ntm_negative *negative_find(struct ntm_node *n, const char *name, const uint8_t vip[16])
{
	for (unsigned i = 0; i < NTM_NEGATIVE_MAX; i++) {
		struct ntm_negative *g = &n->directions.neg[i];

		if (g->used_ms && same_target(name, vip, g->name, g->vip))
			return g;
	}
	return NULL;
}

static void negative_put(struct ntm_node *n, const struct ntm_direction *d, int result, uint64_t stale_id)
{
	struct ntm_negative *g = negative_find(n, d->name, d->vip), *oldest = &n->directions.neg[0];
	uint64_t now = ntm_timers_ms(&n->timers);

	for (unsigned i = 0; !g && i < NTM_NEGATIVE_MAX; i++)
		if (n->directions.neg[i].used_ms < oldest->used_ms)
			oldest = &n->directions.neg[i];
	if (!g) {
		g = oldest;
		g->stale_id = 0;
		memcpy(g->name, d->name, sizeof(g->name));
		memcpy(g->vip, d->vip, sizeof(g->vip));
	}
	g->result = result;
	g->until_ms = now + NTM_NEGATIVE_MS;
	g->used_ms = now ? now : 1;
	if (stale_id)
		g->stale_id = stale_id;
}

static void tell(struct ntm_node *n, struct ntm_direction *d, int result, struct ntm_tunnel *t)
{
	struct ntm_direction_waiter waiters[NTM_WAITERS_MAX];
	unsigned count = d->n;
	json_object *ev = ntm_node_event(n, "direction");
	char text[NTM_ADDR_STRLEN];

	if (ev) {
		json_object_object_add(ev, "target",
				       json_object_new_string(d->name[0] ? d->name : ntm_ip_format(d->vip, text)));
		json_object_object_add(ev, "result", json_object_new_string(ntm_direction_result_name(result)));
		json_object_object_add(ev, "ms",
				       json_object_new_int64((int64_t)(ntm_timers_ms(&n->timers) - d->begin_ms)));
		ntm_node_emit(n, ev);
	}
	/* A waiter may ask again at once: the slot must be free by then. */
	memcpy(waiters, d->waiters, count * sizeof(waiters[0]));
	ntm_timer_stop(&n->timers, &d->timer);
	ntm_dc_forget(&n->dc, d);
	d->used = false;
	d->n = 0;
	for (unsigned i = 0; i < count; i++)
		if (waiters[i].fn)
			waiters[i].fn(waiters[i].arg, result, t);
}

static void fail(struct ntm_direction *d, int result, uint64_t stale_id)
{
	struct ntm_node *n = d->node;
	char text[NTM_ADDR_STRLEN];

	ntm_debug("direction to %s: %s", d->name[0] ? d->name : ntm_ip_format(d->vip, text),
		  ntm_direction_result_name(result));
	negative_put(n, d, result, stale_id);
	if (!d->name[0])
		ntm_hold_drop(&n->hold, d->vip);
	tell(n, d, result, NULL);
}

static void on_timeout(void *arg)
{
	struct ntm_direction *d = arg;

	fail(d, -ETIMEDOUT, 0);
}

static void on_answer(void *arg, int err, const struct ntm_sig *m)
{
	struct ntm_direction *d = arg;
	struct ntm_tunnel *t = NULL;

	if (!d->used || d->path_id)
		return;
	if (err) {
		fail(d, err, 0);
		return;
	}
	if (m->msg == NTM_M_ERROR) {
		fail(d, m->error_code ? m->error_code : NTM_E_INTERNAL, 0);
		return;
	}
	if (m->msg != NTM_M_ROUTE_DIRECTION) {
		fail(d, NTM_E_INTERNAL, 0);
		return;
	}
	err = ntm_path_directed(d->node, m, &t);
	if (err) {
		fail(d, err, 0);
		return;
	}
	/* ntm_path_directed() may have brought it up already, and told us. */
	if (!d->used)
		return;
	d->path_id = t->id;
	if (t->state == NTM_TUN_UP)
		tell(d->node, d, 0, t);
}

static struct ntm_direction *begin(struct ntm_node *n, const char *name, const uint8_t vip[16], uint64_t stale_id)
{
	struct ntm_direction *d = NULL;
	struct ntm_sig m;

	for (unsigned i = 0; i < NTM_DIRECTIONS_MAX && !d; i++)
		if (!n->directions.d[i].used)
			d = &n->directions.d[i];
	if (!d)
		return NULL;

	ntm_sig_init(&m, NTM_M_DIRECTION_REQUEST, 0);
	if (name[0]) {
		memcpy(m.name, name, sizeof(m.name));
		m.have |= 1u << NTM_F_NAME;
	} else if (ntm_ip_is_v4(vip)) {
		memcpy(m.vip4, vip + 12, 4);
		m.have |= 1u << NTM_F_VIP4;
	} else {
		memcpy(m.vip6, vip, 16);
		m.have |= 1u << NTM_F_VIP6;
	}
	if (stale_id) {
		m.stale_path_id = stale_id;
		m.have |= 1u << NTM_F_STALE;
	}
	if (ntm_dc_call(&n->dc, &m, NTM_DIRECTION_MS - 100, on_answer, d))
		return NULL;
	d->used = true;
	d->node = n;
	memcpy(d->name, name, sizeof(d->name));
	memcpy(d->vip, vip, sizeof(d->vip));
	d->path_id = 0;
	d->begin_ms = ntm_timers_ms(&n->timers);
	d->n = 0;
	ntm_timer_init(&d->timer, on_timeout, d);
	ntm_timer_arm(&n->timers, &d->timer, NTM_DIRECTION_MS);
	return d;
}

int ntm_direct(struct ntm_node *n, const char *name, const uint8_t vip[16], uint64_t stale_id, ntm_direction_done fn,
	       void *arg)
{
	static const uint8_t none[16];
	char lname[NTM_NAME_MAX + 1] = "";
	struct ntm_direction *d = NULL;
	struct ntm_negative *g;
	struct ntm_tunnel *t;

	if (name)
		for (size_t i = 0; i < NTM_NAME_MAX && name[i]; i++)
			lname[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
	if (!vip)
		vip = none;

	if (!stale_id) {
		t = lname[0] ? ntm_tunnel_by_name(n, lname) : ntm_tunnel_by_vip(n, vip);
		if (t && ntm_tunnel_usable(t)) {
			if (fn)
				fn(arg, 0, t);
			return 0;
		}
		/* Known to be silent: the DC must not hand out the same path again. */
		if (t && t->state == NTM_TUN_SILENT)
			stale_id = t->id;
	}
	for (unsigned i = 0; i < NTM_DIRECTIONS_MAX && !d; i++)
		if (n->directions.d[i].used && same_target(lname, vip, n->directions.d[i].name, n->directions.d[i].vip))
			d = &n->directions.d[i];
	if (!d) {
		g = negative_find(n, lname, vip);
		if (g && ntm_timers_ms(&n->timers) < g->until_ms) {
			if (fn)
				fn(arg, g->result, NULL);
			return g->result;
		}
		if (g && !stale_id)
			stale_id = g->stale_id;
		d = begin(n, lname, vip, stale_id);
	}
	if (!d || (fn && d->n == NTM_WAITERS_MAX)) {
		if (fn)
			fn(arg, -EBUSY, NULL);
		return -EBUSY;
	}
	if (fn)
		d->waiters[d->n++] = (struct ntm_direction_waiter){fn, arg};
	return 0;
}

void ntm_direct_forget(struct ntm_node *n, void *arg)
{
	for (unsigned i = 0; i < NTM_DIRECTIONS_MAX; i++) {
		struct ntm_direction *d = &n->directions.d[i];

		for (unsigned j = 0; d->used && j < d->n; j++)
			if (d->waiters[j].arg == arg)
				d->waiters[j].fn = NULL;
	}
}

static bool concerns(const struct ntm_direction *d, const struct ntm_tunnel *t)
{
	if (!d->used)
		return false;
	if (d->path_id)
		return d->path_id == t->id;
	if (d->name[0])
		return !strcmp(d->name, t->name);
	return ntm_ip_is_v4(d->vip) ? !memcmp(d->vip + 12, t->vip4, 4) : !memcmp(d->vip, t->vip6, 16);
}

void ntm_direction_path_up(struct ntm_node *n, struct ntm_tunnel *t)
{
	for (unsigned i = 0; i < NTM_DIRECTIONS_MAX; i++) {
		struct ntm_direction *d = &n->directions.d[i];
		struct ntm_negative *g;

		if (!concerns(d, t))
			continue;
		g = negative_find(n, d->name, d->vip);
		if (g)
			g->used_ms = 0;
		tell(n, d, 0, t);
	}
}

void ntm_direction_path_failed(struct ntm_node *n, struct ntm_tunnel *t, int result)
{
	for (unsigned i = 0; i < NTM_DIRECTIONS_MAX; i++) {
		struct ntm_direction *d = &n->directions.d[i];

		if (d->used && d->path_id == t->id)
			fail(d, result, t->id);
	}
}

void ntm_directions_free(struct ntm_node *n)
{
	for (unsigned i = 0; i < NTM_DIRECTIONS_MAX; i++)
		if (n->directions.d[i].used)
			tell(n, &n->directions.d[i], -ECANCELED, NULL);
}

const char *ntm_direction_result_name(int result)
{
	if (result > 0)
		return ntm_error_name((enum ntm_error)result);
	switch (result) {
	case 0:
		return "ok";
	case -ETIMEDOUT:
		return "timeout";
	case -ENOTCONN:
		return "dc_unreachable";
	case -EBUSY:
		return "busy";
	case -ECANCELED:
		return "cancelled";
	case -ENOSPC:
		return "too_many_paths";
	default:
		return "internal";
	}
}
