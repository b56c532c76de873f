/* SPDX-License-Identifier: BSD-2-Clause */
#include "gateway.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "node.h"

enum { BACKOFF_MIN_MS = 1000, BACKOFF_MAX_MS = 30000 };

static bool is_wanted(const struct ntm_node *n)
{
	return n->conf.gateway_routes.n > 0;
}

static int set_routes(struct ntm_node *n)
{
	const struct ntm_dp_general g = {.prefixes = n->conf.gateway_routes.prefixes,
					 .n = n->conf.gateway_routes.n,
					 .table = n->conf.gateway_table,
					 .mark = n->conf.gateway_mark};
	int err = n->dp->ops->set_general(n->dp, &g);

	if (err)
		ntm_err("routes to general nodes not set: %s", strerror(-err));
	else
		n->gateway.routed = g.n > 0;
	return err;
}

/* The data plane uses the one that came up last. NULL: none is usable. */
static struct ntm_tunnel *newest(const struct ntm_node *n)
{
	struct ntm_tunnel *best = NULL;

	for (struct ntm_tunnel *t = n->tunnels.all; t; t = t->next_all)
		if (t->gateway && t->state == NTM_TUN_UP && (!best || t->created_ms > best->created_ms))
			best = t;
	return best;
}

static void emit(struct ntm_node *n, const char *peer)
{
	json_object *ev = ntm_node_event(n, "gateway");

	if (!ev)
		return;
	json_object_object_add(ev, "peer", peer ? json_object_new_string(peer) : NULL);
	ntm_node_emit(n, ev);
}

static void in_use(struct ntm_node *n, const struct ntm_tunnel *t)
{
	struct ntm_gwclient *g = &n->gateway;
	char text[NTM_ADDR_STRLEN];

	g->backoff_ms = 0;
	g->next_ms = 0;
	g->said = false;
	if (!g->routed && set_routes(n)) {
		ntm_timer_arm(&n->timers, &g->timer, BACKOFF_MIN_MS);
		return;
	}
	if (g->path_id == t->id)
		return;
	g->path_id = t->id;
	ntm_info("general nodes are reached by the gateway %s", ntm_tunnel_label(t, text));
	emit(n, ntm_tunnel_label(t, text));
}

static void lost(struct ntm_node *n)
{
	struct ntm_gwclient *g = &n->gateway;

	if (!g->path_id)
		return;
	g->path_id = 0;
	ntm_warn("the gateway does not answer: general nodes can't be reached");
	emit(n, NULL);
}

static void failed(struct ntm_node *n, int result)
{
	struct ntm_gwclient *g = &n->gateway;

	g->backoff_ms = g->backoff_ms ? 2 * g->backoff_ms : BACKOFF_MIN_MS;
	if (g->backoff_ms > BACKOFF_MAX_MS)
		g->backoff_ms = BACKOFF_MAX_MS;
	g->next_ms = ntm_timers_ms(&n->timers) + g->backoff_ms;
	ntm_timer_arm(&n->timers, &g->timer, g->backoff_ms);
	if (!g->said)
		ntm_warn("no path to a gateway: %s; trying on", ntm_direction_result_name(result));
	g->said = true;
}

static void on_directed(void *arg, int result, struct ntm_tunnel *t)
{
	struct ntm_gwclient *g = arg;
	struct ntm_node *n = g->timer.arg;

	(void)t;
	g->asking = false;
	if (result == -ECANCELED)
		return;
	if (result)
		failed(n, result);
	else
		ntm_gwclient_changed(n);
}

/* Looks at what there is; whoever has news of it may be in the middle of something, so this runs from the timer. */
static void look(void *arg)
{
	struct ntm_node *n = arg;
	struct ntm_gwclient *g = &n->gateway;
	struct ntm_tunnel *t = newest(n);
	uint64_t now = ntm_timers_ms(&n->timers);

	if (t) {
		in_use(n, t);
		return;
	}
	lost(n);
	if (g->asking || !n->id.known)
		return;
	if (now < g->next_ms) {
		ntm_timer_arm(&n->timers, &g->timer, g->next_ms - now);
		return;
	}
	g->asking = true;
	/* The answer, perhaps a refusal, may come before this returns. */
	ntm_direct_gateway(n, on_directed, g);
}

void ntm_gwclient_changed(struct ntm_node *n)
{
	if (is_wanted(n) && n->gateway.timer.fn)
		ntm_timer_arm(&n->timers, &n->gateway.timer, 0);
}

int ntm_gwclient_start(struct ntm_node *n)
{
	int err = 0;

	n->gateway = (struct ntm_gwclient){0};
	/* Without an adopted path there may be no gateway, and then everything goes its ordinary way for now. */
	if (n->adopted && (!is_wanted(n) || n->id.known))
		err = set_routes(n);
	if (err || !is_wanted(n))
		return err;
	ntm_timer_init(&n->gateway.timer, look, n);
	ntm_gwclient_changed(n);
	return 0;
}

void ntm_gwclient_stop(struct ntm_node *n)
{
	if (!n->gateway.timer.fn)
		return;
	ntm_timer_stop(&n->timers, &n->gateway.timer);
	ntm_direct_forget(n, &n->gateway);
	n->gateway.timer.fn = NULL;
}

int ntm_gwclient_reload(struct ntm_node *n)
{
	return n->gateway.routed ? set_routes(n) : 0;
}

json_object *ntm_gwclient_status(struct ntm_node *n)
{
	struct ntm_tunnel *t = newest(n);
	char text[NTM_ADDR_STRLEN];
	json_object *o, *routes;

	if (!is_wanted(n))
		return NULL;
	o = json_object_new_object();
	routes = json_object_new_array();
	for (size_t i = 0; i < n->conf.gateway_routes.n; i++)
		json_object_array_add(
		    routes, json_object_new_string(ntm_prefix_format(&n->conf.gateway_routes.prefixes[i], text)));
	json_object_object_add(o, "peer", t ? json_object_new_string(ntm_tunnel_label(t, text)) : NULL);
	json_object_object_add(o, "routes", routes);
	return o;
}
