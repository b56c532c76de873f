/* SPDX-License-Identifier: BSD-2-Clause */
#include "direction.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "node.h"

/* What is wanted: a gateway, a name, or else a virtual address. */
struct target {
	bool gateway;
	char name[NTM_NAME_MAX + 1];
	uint8_t vip[16];
};

static const char *target_text(const struct ntm_direction *d, char text[NTM_ADDR_STRLEN])
{
	return d->gateway ? "gateway" : d->name[0] ? d->name : ntm_ip_format(d->vip, text);
}

static bool same_target(const struct target *a, bool gateway, const char *name, const uint8_t vip[16])
{
	if (a->gateway || gateway)
		return a->gateway == gateway;
	return a->name[0] ? !strcmp(a->name, name) : !name[0] && !memcmp(a->vip, vip, 16);
}

static struct target target_of(const struct ntm_direction *d)
{
	struct target w = {.gateway = d->gateway};

	memcpy(w.name, d->name, sizeof(w.name));
	memcpy(w.vip, d->vip, sizeof(w.vip));
	return w;
}

static struct ntm_negative *negative_find(struct ntm_node *n, const struct target *w)
{
	for (unsigned i = 0; i < NTM_NEGATIVE_MAX; i++) {
		struct ntm_negative *g = &n->directions.neg[i];

		if (g->used_ms && same_target(w, g->gateway, g->name, g->vip))
			return g;
	}
	return NULL;
}

static void negative_put(struct ntm_node *n, const struct ntm_direction *d, int result, uint64_t stale_id)
{
	struct target w = target_of(d);
	struct ntm_negative *g = negative_find(n, &w), *oldest = &n->directions.neg[0];
	uint64_t now = ntm_timers_ms(&n->timers);

	for (unsigned i = 0; !g && i < NTM_NEGATIVE_MAX; i++)
		if (n->directions.neg[i].used_ms < oldest->used_ms)
			oldest = &n->directions.neg[i];
	if (!g) {
		g = oldest;
		g->stale_id = 0;
		g->gateway = d->gateway;
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
	struct ntm_tunnel *silent;
	char text[NTM_ADDR_STRLEN];

	if (ev) {
		json_object_object_add(ev, "target", json_object_new_string(target_text(d, text)));
		json_object_object_add(ev, "result", json_object_new_string(ntm_direction_result_name(result)));
		json_object_object_add(ev, "ms",
				       json_object_new_int64((int64_t)(ntm_timers_ms(&n->timers) - d->begin_ms)));
		ntm_node_emit(n, ev);
	}
	silent = ntm_tunnel_by_vip(n, d->vip);
	if (silent)
		silent->peer_offline = result == NTM_E_OFFLINE;
	n->directions_done++;
	n->directions_failed += result != 0;
	if (!result)
		ntm_histogram_observe(&n->direction_seconds, (double)(ntm_timers_ms(&n->timers) - d->begin_ms) / 1e3);
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

	ntm_debug("direction to %s: %s", target_text(d, text), ntm_direction_result_name(result));
	negative_put(n, d, result, stale_id);
	if (!d->name[0] && !d->gateway)
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

static struct ntm_direction *begin(struct ntm_node *n, const struct target *w, uint64_t stale_id)
{
	struct ntm_direction *d = NULL;
	struct ntm_sig m;

	for (unsigned i = 0; i < NTM_DIRECTIONS_MAX && !d; i++)
		if (!n->directions.d[i].used)
			d = &n->directions.d[i];
	if (!d)
		return NULL;

	ntm_sig_init(&m, NTM_M_DIRECTION_REQUEST, 0);
	if (w->gateway) {
		m.gateway = 1;
		m.have |= 1u << NTM_F_GATEWAY;
	} else if (w->name[0]) {
		memcpy(m.name, w->name, sizeof(m.name));
		m.have |= 1u << NTM_F_NAME;
	} else if (ntm_ip_is_v4(w->vip)) {
		memcpy(m.vip4, w->vip + 12, 4);
		m.have |= 1u << NTM_F_VIP4;
	} else {
		memcpy(m.vip6, w->vip, 16);
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
	d->gateway = w->gateway;
	memcpy(d->name, w->name, sizeof(d->name));
	memcpy(d->vip, w->vip, sizeof(d->vip));
	d->path_id = 0;
	d->begin_ms = ntm_timers_ms(&n->timers);
	d->n = 0;
	ntm_timer_init(&d->timer, on_timeout, d);
	ntm_timer_arm(&n->timers, &d->timer, NTM_DIRECTION_MS);
	return d;
}

static int answer_at_once(ntm_direction_done fn, void *arg, int result, struct ntm_tunnel *t)
{
	if (fn)
		fn(arg, result, t);
	return result;
}

/* t: the path that there is, perhaps. */
static int direct(struct ntm_node *n, const struct target *w, struct ntm_tunnel *t, uint64_t stale_id,
		  ntm_direction_done fn, void *arg)
{
	struct ntm_direction *d = NULL;
	struct ntm_negative *g;

	if (!stale_id && t && ntm_tunnel_usable(t))
		return answer_at_once(fn, arg, 0, t);
	/* Known to be silent: the DC must not hand out the same path again. */
	if (!stale_id && t && t->state == NTM_TUN_SILENT)
		stale_id = t->id;
	for (unsigned i = 0; i < NTM_DIRECTIONS_MAX && !d; i++) {
		struct ntm_direction *o = &n->directions.d[i];

		if (o->used && same_target(w, o->gateway, o->name, o->vip))
			d = o;
	}
	if (!d) {
		g = negative_find(n, w);
		if (g && ntm_timers_ms(&n->timers) < g->until_ms)
			return answer_at_once(fn, arg, g->result, NULL);
		if (g && !stale_id)
			stale_id = g->stale_id;
		d = begin(n, w, stale_id);
	}
	if (!d || (fn && d->n == NTM_WAITERS_MAX))
		return answer_at_once(fn, arg, -EBUSY, NULL);
	if (fn)
		d->waiters[d->n++] = (struct ntm_direction_waiter){fn, arg};
	return 0;
}

int ntm_direct(struct ntm_node *n, const char *name, const uint8_t vip[16], uint64_t stale_id, ntm_direction_done fn,
	       void *arg)
{
	struct target w = {0};

	if (name)
		for (size_t i = 0; i < NTM_NAME_MAX && name[i]; i++)
			w.name[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
	if (vip)
		memcpy(w.vip, vip, sizeof(w.vip));
	return direct(n, &w, w.name[0] ? ntm_tunnel_by_name(n, w.name) : ntm_tunnel_by_vip(n, w.vip), stale_id, fn,
		      arg);
}

static struct ntm_tunnel *gateway_path(struct ntm_node *n, enum ntm_tunnel_state state)
{
	for (struct ntm_tunnel *t = n->tunnels.all; t; t = t->next_all)
		if (t->gateway && t->state == state)
			return t;
	return NULL;
}

struct ntm_tunnel *ntm_direct_gateway_path(struct ntm_node *n)
{
	return gateway_path(n, NTM_TUN_UP);
}

int ntm_direct_gateway(struct ntm_node *n, ntm_direction_done fn, void *arg)
{
	struct target w = {.gateway = true};
	struct ntm_tunnel *t = gateway_path(n, NTM_TUN_UP);

	return direct(n, &w, t ? t : gateway_path(n, NTM_TUN_SILENT), 0, fn, arg);
}

int ntm_direct_gateway_stale(struct ntm_node *n, uint64_t stale_id)
{
	struct target w = {.gateway = true};

	return direct(n, &w, NULL, stale_id, NULL, NULL);
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
	if (d->path_id || d->gateway)
		return d->path_id == t->id;
	if (d->name[0])
		return !strcmp(d->name, t->name);
	return ntm_ip_is_v4(d->vip) ? !memcmp(d->vip + 12, t->vip4, 4) : !memcmp(d->vip, t->vip6, 16);
}

void ntm_direction_path_up(struct ntm_node *n, struct ntm_tunnel *t)
{
	struct ntm_tunnel *best = t->state == NTM_TUN_OLD ? ntm_tunnel_by_vip(n, t->vip6) : NULL;

	for (unsigned i = 0; i < NTM_DIRECTIONS_MAX; i++) {
		struct ntm_direction *d = &n->directions.d[i];
		struct ntm_negative *g;
		struct target w;

		if (!concerns(d, t))
			continue;
		w = target_of(d);
		g = negative_find(n, &w);
		if (g)
			g->used_ms = 0;
		tell(n, d, 0, best ? best : t);
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

void ntm_directions_dc_back(struct ntm_node *n)
{
	for (unsigned i = 0; i < NTM_NEGATIVE_MAX; i++) {
		struct ntm_negative *g = &n->directions.neg[i];

		/* Which path it left behind is still of use. */
		if (g->result == -ENOTCONN)
			g->until_ms = 0;
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
