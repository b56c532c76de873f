/* SPDX-License-Identifier: BSD-2-Clause */
#include "gateway.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "../node/state.h"
#include "forwarding.h"
#include "nat.h"

enum { LOCK_WAIT_MS = 1000, LOCK_PAUSE_MS = 10 };

struct ntm_gateway {
	uv_poll_t poll; /* first: freed when it is closed */
	struct ntm_relay *relay;
	char dir[PATH_MAX];
	bool polled, serving;
	struct ntm_prefix pool4, pool6; /* that the NAT is set for */
};

/* Of its own, as the pins of two data planes have nothing to do with each other. */
static int directory(const struct ntm_relay_config *c, char dir[PATH_MAX], char *why, size_t cap)
{
	if ((size_t)snprintf(dir, PATH_MAX, "%s/gateway", c->node.runtime_dir) >= PATH_MAX) {
		snprintf(why, cap, "the runtime directory's name is too long");
		return -ENAMETOOLONG;
	}
	return 0;
}

static struct ntm_dp_config dp_config(const struct ntm_relay_config *c, const char *dir)
{
	return (struct ntm_dp_config){.ifname = c->node.interface,
				      .runtime_dir = dir,
				      .port = c->node.port,
				      .xdp_mode = c->node.xdp_mode,
				      .max_paths = c->node.max_paths,
				      .gateway = true,
				      .external_xdp = true};
}

/* As the node does: a relay that was killed a moment ago may still hold its lock. */
static int open_dp_patiently(struct ntm_relay *r, const char *dir, char *why, size_t cap)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000};
	struct ntm_dp_config c = dp_config(&r->conf, dir);
	int err;

	for (unsigned waited = 0;; waited += LOCK_PAUSE_MS) {
		err = ntm_dp_bpf_open(&r->node.dp, &c, &ntm_node_dp_events, &r->node, why, cap);
		if (err != -EBUSY || waited >= LOCK_WAIT_MS)
			return err;
		nanosleep(&pause, NULL);
	}
}

static void on_dp(uv_poll_t *h, int status, int events)
{
	struct ntm_gateway *g = (struct ntm_gateway *)h;

	(void)status;
	(void)events;
	g->relay->node.dp->ops->dispatch(g->relay->node.dp);
}

static int watch(struct ntm_gateway *g)
{
	struct ntm_node *n = &g->relay->node;
	int err = uv_poll_init(n->loop, &g->poll, n->dp->ops->fd(n->dp));

	if (err)
		return err;
	g->polled = true;
	return uv_poll_start(&g->poll, UV_READABLE, on_dp);
}

/* NAT first, forwarding then: at no moment is this host a router for everybody. */
static int serve(struct ntm_gateway *g, const struct ntm_dp_addresses *a, char *why, size_t cap)
{
	struct ntm_nat nat = {.ifname = g->relay->conf.node.interface, .pool4 = a->pool4, .pool6 = a->pool6};
	struct ntm_forwarding was;
	int err;

	if (g->serving && !memcmp(&g->pool4, &a->pool4, sizeof(a->pool4)) &&
	    !memcmp(&g->pool6, &a->pool6, sizeof(a->pool6)))
		return 0;
	err = ntm_forwarding_prepare(g->dir, &was);
	if (err) {
		snprintf(why, cap, "%s/forwarding: %s", g->dir, strerror(-err));
		return err;
	}
	nat.only_ours4 = was.was_off4;
	nat.only_ours6 = was.was_off6;
	err = ntm_nat_set(&nat, why, cap);
	if (err)
		return err;
	err = ntm_forwarding_on(g->dir);
	if (err) {
		snprintf(why, cap, "the kernel's forwarding can't be switched on: %s", strerror(-err));
		return err;
	}
	g->pool4 = a->pool4;
	g->pool6 = a->pool6;
	if (!g->serving)
		ntm_info("gateway to general nodes: %s, NAT for both families", nat.ifname);
	g->serving = true;
	return 0;
}

/* What an earlier gateway left goes on. */
static int restore(struct ntm_gateway *g, char *why, size_t cap)
{
	struct ntm_node *n = &g->relay->node;
	struct ntm_identity id = {0};
	int err;

	n->adopted = n->dp->ops->adopted(n->dp);
	if (!n->adopted)
		return 0;
	if (!ntm_state_get_identity(n->state, &id) && !n->dp->ops->get_addresses(n->dp, &id.addrs)) {
		err = ntm_node_set_identity(n, &id);
		if (!err)
			err = serve(g, &id.addrs, why, cap);
		if (err)
			return err;
	}
	ntm_path_adopt_all(n);
	return 0;
}

static int open_parts(struct ntm_gateway *g, char *why, size_t cap)
{
	struct ntm_relay *r = g->relay;
	struct ntm_node *n = &r->node;
	int err = directory(&r->conf, g->dir, why, cap);

	if (!err)
		err = ntm_nat_check(why, cap);
	if (err)
		return err;
	if (mkdir(g->dir, 0755) && errno != EEXIST) {
		snprintf(why, cap, "%s: %s", g->dir, strerror(errno));
		return -errno;
	}
	err = ntm_state_open(&n->state, g->dir);
	if (!err)
		err = open_dp_patiently(r, g->dir, why, cap);
	if (!err)
		err = watch(g);
	if (!err) {
		n->is_gateway = true;
		err = restore(g, why, cap);
	}
	if (!err)
		err = r->dp->ops->set_next(r->dp, ntm_dp_bpf_decap_fd(n->dp));
	return err;
}

int ntm_gateway_open(struct ntm_relay *r, char *why, size_t cap)
{
	struct ntm_gateway *g = calloc(1, sizeof(*g));
	int err;

	if (!g)
		return -ENOMEM;
	g->relay = r;
	r->gateway = g;
	err = open_parts(g, why, cap);
	if (!err)
		return 0;
	if (!why[0])
		snprintf(why, cap, "gateway: %s", strerror(-err));
	ntm_gateway_close(r, r->node.adopted);
	return err;
}

int ntm_gateway_registered(struct ntm_relay *r)
{
	char why[512] = "";
	int err;

	if (!r->gateway)
		return 0;
	err = serve(r->gateway, &r->node.id.addrs, why, sizeof(why));
	if (err)
		ntm_err("gateway: %s", why[0] ? why : strerror(-err));
	return err;
}

bool ntm_gateway_serves(const struct ntm_relay *r)
{
	return r->gateway && r->gateway->serving;
}

void ntm_gateway_leave(struct ntm_relay *r)
{
	struct ntm_tunnel *next;

	if (!r->gateway)
		return;
	for (struct ntm_tunnel *t = r->node.tunnels.all; t; t = next) {
		next = t->next_all;
		ntm_path_end(t, NTM_PATH_END_TELL_PEER | NTM_PATH_END_TELL_DC, "this gateway ends");
	}
}

static int take_down(const char *dir, char *why, size_t cap)
{
	int err = ntm_forwarding_restore(dir), rm;

	if (err)
		snprintf(why, cap, "the kernel's forwarding is not as it was: %s", strerror(-err));
	rm = ntm_nat_remove(why, cap);
	return err ? err : rm;
}

static void on_closed(uv_handle_t *h)
{
	free(h);
}

void ntm_gateway_close(struct ntm_relay *r, bool keep)
{
	struct ntm_gateway *g = r->gateway;
	struct ntm_node *n = &r->node;
	char why[512] = "";
	int err;

	if (!g)
		return;
	r->gateway = NULL;
	if (g->polled)
		uv_poll_stop(&g->poll);
	if (!keep) {
		err = r->dp->ops->set_next(r->dp, -1);
		if (err)
			ntm_err("the gateway's program can't be taken out: %s", strerror(-err));
		if (n->dp && take_down(g->dir, why, sizeof(why)))
			ntm_err("%s", why);
	}
	if (n->dp)
		n->dp->ops->close(n->dp, keep);
	n->dp = NULL;
	ntm_state_close(n->state);
	n->state = NULL;
	if (g->polled)
		uv_close((uv_handle_t *)&g->poll, on_closed);
	else
		free(g);
}

/* What a directory of a gateway that is gone holds: then there is nothing to look after any more. */
static int forget(const char *dir, char *why, size_t cap)
{
	static const char *const files[] = {"state.json", "peers", "lock", "bpf"};
	char path[PATH_MAX + 16];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		if (remove(path) && errno != ENOENT) {
			snprintf(why, cap, "%s: %s", path, strerror(errno));
			return -errno;
		}
	}
	if (rmdir(dir)) {
		snprintf(why, cap, "%s: %s", dir, strerror(errno));
		return -errno;
	}
	return 0;
}

int ntm_gateway_remove(const struct ntm_relay_config *c, char *why, size_t cap)
{
	char dir[PATH_MAX];
	struct ntm_dp_config dc;
	struct stat st;
	int err = directory(c, dir, why, cap), down;

	if (err)
		return err;
	if (stat(dir, &st))
		return errno == ENOENT ? 0 : -errno; /* there never was one, or it was removed */
	dc = dp_config(c, dir);
	err = ntm_dp_bpf_remove(&dc, why, cap);
	if (err == -EBUSY)
		return err; /* it is running */
	down = take_down(dir, why, cap);
	if (!err)
		err = down;
	return err ? err : forget(dir, why, cap);
}
