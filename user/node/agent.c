/* SPDX-License-Identifier: BSD-2-Clause */
#include "agent.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../common/crypto.h"
#include "netwatch.h"
#include "udp.h"

static void on_timer(uv_timer_t *h)
{
	struct ntm_agent *a = h->data;

	ntm_timers_run(&a->node.timers);
}

/* Before the loop sleeps: until the first timer of ours is due. */
static void on_prepare(uv_prepare_t *h)
{
	struct ntm_agent *a = h->data;
	int64_t in = ntm_timers_next(&a->node.timers);

	uv_update_time(a->node.loop);
	if (in < 0)
		uv_timer_stop(&a->timer);
	else
		uv_timer_start(&a->timer, on_timer, (uint64_t)in, 0);
}

static void on_dp(uv_poll_t *h, int status, int events)
{
	struct ntm_agent *a = h->data;

	(void)status;
	(void)events;
	a->node.dp->ops->dispatch(a->node.dp);
}

static void on_input(void *arg, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *data, size_t len)
{
	ntm_node_input(arg, from, to, data, len);
}

static void on_uplinks(void *arg, const struct ntm_uplink_info *u, unsigned n, bool force)
{
	struct ntm_node *node = arg;

	ntm_udp_set_uplinks(node->udp, u, n);
	ntm_node_set_uplinks(node, u, n, force);
}

/* What the data plane tells. */
static void on_no_path(void *arg, const uint8_t dst[16], const uint8_t *packet, size_t len)
{
	struct ntm_node *n = arg;
	struct ntm_tunnel *t = ntm_tunnel_by_vip(n, dst);

	if (t && ntm_tunnel_usable(t)) {
		ntm_path_send(t, packet, len, false);
		return;
	}
	ntm_hold_put(&n->hold, dst, packet, len, ntm_timers_ms(&n->timers));
	if (ntm_direct(n, NULL, dst, 0, NULL, NULL))
		ntm_hold_drop(&n->hold, dst);
}

static void on_too_big(void *arg, uint64_t path_id, const uint8_t *packet, size_t len)
{
	struct ntm_tunnel *t = ntm_tunnel_by_id(arg, path_id);

	if (t)
		ntm_path_send(t, packet, len, true);
}

static void on_roamed(void *arg, uint64_t path_id, const struct ntm_addr *endpoint)
{
	struct ntm_tunnel *t = ntm_tunnel_by_id(arg, path_id);

	(void)endpoint;
	if (t)
		ntm_path_moved(t);
}

static void on_epoch(void *arg, uint64_t path_id, uint8_t epoch)
{
	struct ntm_tunnel *t = ntm_tunnel_by_id(arg, path_id);

	if (!t)
		return;
	ntm_hs_confirmed(t, epoch);
	/* Sent in the new epoch: the initiator stops repeating itself. */
	ntm_ctl_probe(t, NTM_PROBE_LIVE, NTM_M_KEEP_ALIVE, 0, NULL);
}

static void on_expired(void *arg, uint64_t path_id)
{
	struct ntm_tunnel *t = ntm_tunnel_by_id(arg, path_id);

	if (t)
		ntm_live_expired(t);
}

static void on_lane(void *arg, uint64_t path_id, bool up)
{
	struct ntm_tunnel *t = ntm_tunnel_by_id(arg, path_id);

	if (t)
		ntm_live_lane(t, up);
}

const struct ntm_dp_events ntm_node_dp_events = {
    .no_path = on_no_path,
    .too_big = on_too_big,
    .roamed = on_roamed,
    .epoch_confirmed = on_epoch,
    .expired = on_expired,
    .lane = on_lane,
    .datagram = on_input,
};

void ntm_agent_init(struct ntm_agent *a, uv_loop_t *loop)
{
	a->node.loop = loop;
	uv_timer_init(loop, &a->timer);
	uv_prepare_init(loop, &a->prepare);
	a->timer.data = a->prepare.data = a->dp_poll.data = a;
	a->handles = 2;
}

int ntm_agent_core(struct ntm_agent *a)
{
	a->has_core = true;
	return ntm_node_core_init(&a->node);
}

int ntm_agent_watch_dp(struct ntm_agent *a, char *why, size_t cap)
{
	int err = uv_poll_init(a->node.loop, &a->dp_poll, a->node.dp->ops->fd(a->node.dp));

	if (!err) {
		a->dp_polled = true;
		a->handles++;
		err = uv_poll_start(&a->dp_poll, UV_READABLE, on_dp);
	}
	if (err)
		snprintf(why, cap, "cannot watch the data plane: %s", uv_strerror(err));
	return err;
}

/* Without the bulk lane (datapath = user: without workers) everything works, more slowly. */
static void start_bulk(struct ntm_node *n)
{
	struct ntm_dp_start s = {.port = n->conf.port, .mark = n->conf.gateway_routes.n ? n->conf.gateway_mark : 0};
	char why[256] = "";
	int err;

	if (!n->dp->suites)
		return;
	err = ntm_udp_share(n->udp, s.fds);
	if (!err)
		err = n->dp->ops->start(n->dp, &s, why, sizeof(why));
	if (err)
		ntm_warn("no bulk lane: %s", why[0] ? why : strerror(-err));
}

int ntm_agent_open_network(struct ntm_agent *a, char *why, size_t cap)
{
	struct ntm_node *n = &a->node;
	int err = ntm_udp_open(&n->udp, n->loop, n->conf.port, on_input, n, why, cap);

	if (err)
		return err;
	n->conf.port = ntm_udp_port(n->udp);
	n->net = (struct ntm_net){.send = ntm_udp_send, .gather = ntm_udp_gather, .arg = n->udp};
	n->send_aside = ntm_udp_send_aside;
	if (n->conf.gateway_routes.n) {
		err = ntm_udp_set_mark(n->udp, n->conf.gateway_mark);
		if (err) {
			snprintf(why, cap, "UDP port %u can't be marked: %s", n->conf.port, strerror(-err));
			return err;
		}
	}
	start_bulk(n);
	err = ntm_netwatch_open(&n->netwatch, n->loop, &n->conf.uplinks, n->conf.interface, on_uplinks, n, why, cap);
	if (err)
		return err;
	ntm_netwatch_set_settle(n->netwatch, n->conf.uplink_settle_ms);
	ntm_netwatch_set_prefer(n->netwatch, &n->conf.uplink_prefer);
	err = ntm_netwatch_scan(n->netwatch, false);
	if (err)
		snprintf(why, cap, "cannot read the network interfaces: %s", strerror(-err));
	return err;
}

void ntm_agent_start(struct ntm_agent *a)
{
	uv_prepare_start(&a->prepare, on_prepare);
	ntm_dc_start(&a->node.dc);
}

void ntm_agent_quiesce(struct ntm_agent *a)
{
	ntm_netwatch_close(a->node.netwatch);
	a->node.netwatch = NULL;
	/* Answers that are still owed fail here, while the modules that owe them are there. */
	if (a->has_core && a->node.tunnels.by_id)
		ntm_node_core_free(&a->node);
	a->has_core = false;
}

static void on_closed(uv_handle_t *h)
{
	struct ntm_agent *a = h->data;

	if (!--a->handles && a->closed)
		a->closed(a);
}

void ntm_agent_close(struct ntm_agent *a, bool keep, void (*closed)(struct ntm_agent *a))
{
	struct ntm_node *n = &a->node;

	ntm_agent_quiesce(a);
	ntm_udp_close(n->udp);
	n->udp = NULL;
	a->closed = closed;
	if (a->dp_polled) {
		uv_poll_stop(&a->dp_poll);
		uv_close((uv_handle_t *)&a->dp_poll, on_closed);
	}
	if (n->dp)
		n->dp->ops->close(n->dp, keep);
	n->dp = NULL;
	uv_close((uv_handle_t *)&a->timer, on_closed);
	uv_close((uv_handle_t *)&a->prepare, on_closed);
	ntm_wipe(n->priv, sizeof(n->priv));
}
