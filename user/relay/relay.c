/* SPDX-License-Identifier: BSD-2-Clause */
/* The daemon: opens everything in order, runs the loop, closes everything. */
#include "relay.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../common/crypto.h"
#include "../common/keystore.h"
#include "../common/sdnotify.h"
#include "../node/netwatch.h"
#include "../node/privs.h"
#include "../node/udp.h"
#include "gateway.h"
#include "hostwatch.h"
#include "reload.h"

enum { LOCK_WAIT_MS = 1000, LOCK_PAUSE_MS = 10 };

struct daemon {
	struct ntm_relay relay;
	uv_loop_t loop;
	uv_timer_t timer;
	uv_prepare_t prepare;
	uv_signal_t sigterm, sigint, sighup;
	bool keep; /* the data plane, when the loop has ended */
};

static void on_timer(uv_timer_t *h)
{
	struct daemon *d = h->data;

	ntm_timers_run(&d->relay.node.timers);
}

/* Before the loop sleeps: until the first timer of ours is due. */
static void on_prepare(uv_prepare_t *h)
{
	struct daemon *d = h->data;
	int64_t in = ntm_timers_next(&d->relay.node.timers);

	uv_update_time(&d->loop);
	if (in < 0)
		uv_timer_stop(&d->timer);
	else
		uv_timer_start(&d->timer, on_timer, (uint64_t)in, 0);
}

static void on_input(void *arg, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *data, size_t len)
{
	ntm_node_input(arg, from, to, data, len);
}

static void on_uplinks(void *arg, const struct ntm_uplink_info *u, unsigned n, bool force)
{
	struct ntm_relay *r = arg;
	struct ntm_dp_uplink dp[NTM_UPLINKS_MAX];
	struct ntm_uplink_info info[NTM_UPLINKS_MAX];
	char why[256] = "";
	int err;

	for (unsigned i = 0; i < n; i++)
		dp[i] = u[i].dp;
	err = r->dp->ops->set_uplinks(r->dp, dp, n, why, sizeof(why));
	if (err)
		ntm_err("interfaces: %s", why[0] ? why : strerror(-err));
	for (unsigned i = 0; i < n; i++) {
		info[i] = u[i];
		info[i].dp.hook = dp[i].hook;
	}
	ntm_node_set_uplinks(&r->node, info, n, force);
}

static void take_addresses(struct ntm_relay *r)
{
	uint8_t ips[NTM_RELAY_LOCALS][16];
	int n = ntm_host_addresses(ips, NTM_RELAY_LOCALS), err;

	if (n < 0) {
		ntm_err("own addresses: %s", strerror(-n));
		return;
	}
	if (n > NTM_RELAY_LOCALS) {
		ntm_warn("this host has %d addresses; beyond %d, an end bound to one is not told from others", n,
			 NTM_RELAY_LOCALS);
		n = NTM_RELAY_LOCALS;
	}
	err = r->dp->ops->set_locals(r->dp, ips, (size_t)n);
	if (!err)
		err = ntm_admission_set_own(&r->admission, ips, (size_t)n);
	if (err)
		ntm_err("own addresses: %s", strerror(-err));
}

static void on_host(void *arg, bool addresses)
{
	struct ntm_relay *r = arg;

	if (addresses)
		take_addresses(r);
	r->dp->ops->routes_changed(r->dp);
}

static void on_ended(struct ntm_relay *r)
{
	uv_stop(r->node.loop);
}

static void on_term(uv_signal_t *h, int signum)
{
	struct daemon *d = h->data;
	struct ntm_relay *r = &d->relay;
	const char *name = signum == SIGTERM ? "SIGTERM" : "SIGINT";
	char text[64];

	if (r->conf.on_stop == NTM_RELAY_STOP_KEEP && !r->draining) {
		ntm_info("%s: ending; paths go on in the kernel", name);
		d->keep = true;
		uv_stop(&d->loop);
		return;
	}
	if (r->draining) {
		ntm_info("%s again: ending now", name);
		uv_stop(&d->loop);
		return;
	}
	r->ended = on_ended;
	ntm_relay_drain(r);
	snprintf(text, sizeof(text), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu", (r->conf.drain_s + 5) * 1000000ull);
	ntm_sdnotify(text);
}

static void on_hup(uv_signal_t *h, int signum)
{
	struct daemon *d = h->data;

	(void)signum;
	ntm_relay_reload(&d->relay);
}

static int open_keys(struct ntm_node *n)
{
	char why[256] = "";
	int err = ntm_crypto_init();

	if (err) {
		ntm_err("cannot initialise OpenSSL: %s", strerror(-err));
		return err;
	}
	err = ntm_key_load(n->conf.private_key_file, n->priv, n->pub, why, sizeof(why));
	if (err)
		ntm_err("%s", why);
	return err;
}

/* As the node does: a relay that was killed a moment ago may still hold its lock. */
static int open_dp_patiently(struct ntm_relay *r, const struct ntm_relay_dp_config *c, char *why, size_t cap)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000};
	int err;

	for (unsigned waited = 0;; waited += LOCK_PAUSE_MS) {
		err = ntm_relay_dp_bpf_open(&r->dp, c, why, cap);
		if (err != -EBUSY || waited >= LOCK_WAIT_MS)
			return err;
		nanosleep(&pause, NULL);
	}
}

static struct ntm_relay_dp_config dp_config(const struct ntm_relay_config *c)
{
	return (struct ntm_relay_dp_config){.runtime_dir = c->node.runtime_dir,
					    .port = c->node.port,
					    .xdp_mode = c->node.xdp_mode,
					    .max_paths = c->max_paths,
					    .idle_s = c->idle_s};
}

static int open_dp(struct ntm_relay *r, char *why, size_t cap)
{
	struct ntm_relay_dp_config c = dp_config(&r->conf);
	int err = open_dp_patiently(r, &c, why, cap);

	if (err) {
		if (!why[0])
			snprintf(why, cap, "relay data plane: %s", strerror(-err));
		return err;
	}
	r->adopted = r->dp->ops->adopted(r->dp);
	r->dp->ops->set_draining(r->dp, false);
	if (r->adopted)
		ntm_info("took over a running relay with %zu paths", r->dp->ops->count(r->dp));
	if (r->conf.gateway)
		return ntm_gateway_open(r, why, cap);
	err = r->dp->ops->set_next(r->dp, -1);
	if (!err)
		err = ntm_gateway_remove(&r->conf, why, cap);
	return err ? err : ntm_dp_none_open(&r->node.dp);
}

static int open_network(struct daemon *d, char *why, size_t cap)
{
	struct ntm_relay *r = &d->relay;
	struct ntm_node *n = &r->node;
	int err = ntm_udp_open(&n->udp, &d->loop, n->conf.port, on_input, n, why, cap);

	if (err)
		return err;
	n->net = (struct ntm_net){.send = ntm_udp_send, .arg = n->udp};
	err = ntm_admission_init(&r->admission, r->dp, &n->net, &n->timers);
	if (err) {
		snprintf(why, cap, "out of memory");
		return err;
	}
	err = ntm_hostwatch_open(&r->host, &d->loop, on_host, r, why, cap);
	if (!err)
		err = ntm_netwatch_open(&n->netwatch, &d->loop, &n->conf.uplinks, n->conf.interface, on_uplinks, r, why,
					cap);
	if (err)
		return err;
	take_addresses(r);
	err = ntm_netwatch_scan(n->netwatch, false);
	if (err)
		snprintf(why, cap, "cannot read the network interfaces: %s", strerror(-err));
	return err;
}

static int open_all(struct daemon *d)
{
	struct ntm_relay *r = &d->relay;
	char why[512] = "";
	int err = ntm_privs_check(NTM_PRIVS_BPF, false, why, sizeof(why));

	if (err) {
		ntm_err("%s", why);
		return err;
	}
	err = open_keys(&r->node);
	if (err)
		return err;
	err = ntm_node_core_init(&r->node);
	ntm_relay_session_init(r);
	if (!err)
		err = open_dp(r, why, sizeof(why));
	if (!err)
		err = open_network(d, why, sizeof(why));
	if (!err)
		err = ntm_relay_control_open(&r->control, r, why, sizeof(why));
	if (!err)
		err = ntm_relay_metrics_start(r, why, sizeof(why));
	if (!err)
		err = ntm_privs_drop(NTM_PRIVS_BPF, why, sizeof(why));
	if (err) {
		ntm_err("%s", why[0] ? why : strerror(-err));
		return err;
	}
	ntm_load_open(&r->load);
	ntm_relay_tick_init(r);
	return 0;
}

static void close_all(struct daemon *d, bool keep)
{
	struct ntm_relay *r = &d->relay;
	struct ntm_node *n = &r->node;

	ntm_relay_control_close(r->control);
	ntm_metrics_stop(n->metrics);
	ntm_netwatch_close(n->netwatch);
	ntm_hostwatch_close(r->host);
	ntm_relay_tick_stop(r);
	if (n->tunnels.by_id)
		ntm_node_core_free(n);
	ntm_udp_close(n->udp);
	if (r->conf.gateway)
		ntm_gateway_close(r, keep);
	ntm_admission_free(&r->admission);
	if (r->dp)
		r->dp->ops->close(r->dp, keep);
	ntm_load_close(&r->load);
	uv_close((uv_handle_t *)&d->timer, NULL);
	uv_close((uv_handle_t *)&d->prepare, NULL);
	uv_close((uv_handle_t *)&d->sigterm, NULL);
	uv_close((uv_handle_t *)&d->sigint, NULL);
	uv_close((uv_handle_t *)&d->sighup, NULL);
	uv_run(&d->loop, UV_RUN_DEFAULT);
	uv_loop_close(&d->loop);
	ntm_wipe(n->priv, sizeof(n->priv));
	ntm_relay_config_free(&r->conf);
}

static void init_loop(struct daemon *d)
{
	uv_loop_init(&d->loop);
	d->relay.node.loop = &d->loop;
	uv_timer_init(&d->loop, &d->timer);
	uv_prepare_init(&d->loop, &d->prepare);
	uv_signal_init(&d->loop, &d->sigterm);
	uv_signal_init(&d->loop, &d->sigint);
	uv_signal_init(&d->loop, &d->sighup);
	d->timer.data = d->prepare.data = d->sigterm.data = d->sigint.data = d->sighup.data = d;
}

static void run(struct daemon *d)
{
	struct ntm_relay *r = &d->relay;

	uv_prepare_start(&d->prepare, on_prepare);
	uv_signal_start(&d->sigterm, on_term, SIGTERM);
	uv_signal_start(&d->sigint, on_term, SIGINT);
	uv_signal_start(&d->sighup, on_hup, SIGHUP);
	ntm_dc_start(&r->node.dc);
	uv_run(&d->loop, UV_RUN_DEFAULT);
	if (!d->keep) {
		ntm_gateway_leave(r);
		ntm_relay_leave(r);
	}
	ntm_sdnotify("STOPPING=1");
}

int ntm_relay_run(const char *conf_file)
{
	struct daemon *d;
	char text[512] = "";
	int err;

	ntm_log_init("ntm-relay", NTM_LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	d = calloc(1, sizeof(*d));
	if (!d) {
		ntm_err("out of memory");
		return 1;
	}
	d->relay.load.stat_fd = -1;
	if (ntm_relay_config_load(&d->relay.conf, conf_file, text, sizeof(text))) {
		ntm_err("%s", text);
		free(d);
		return 2;
	}
	ntm_log_init("ntm-relay", d->relay.conf.node.log_level);
	d->relay.conf_file = conf_file;
	d->relay.node.conf = d->relay.conf.node;
	d->relay.node.conf_file = conf_file;
	init_loop(d);
	err = open_all(d);
	if (!err)
		run(d);
	/* A start that failed leaves behind what it found, and nothing of its own. */
	close_all(d, err ? d->relay.adopted : d->keep);
	free(d);
	return err ? 1 : 0;
}

int ntm_relay_down(const char *conf_file)
{
	struct ntm_relay_config c;
	struct ntm_relay_dp_config dc;
	char text[512] = "";
	int err;

	ntm_log_init("ntm-relay", NTM_LOG_INFO);
	if (ntm_relay_config_load(&c, conf_file, text, sizeof(text))) {
		ntm_err("%s", text);
		return 2;
	}
	dc = dp_config(&c);
	err = ntm_relay_dp_bpf_remove(&dc, text, sizeof(text));
	if (!err)
		err = ntm_gateway_remove(&c, text, sizeof(text));
	if (err)
		ntm_err("%s", text[0] ? text : strerror(-err));
	else
		printf("removed the relay's programs and what was pinned in %s\n", c.node.runtime_dir);
	ntm_relay_config_free(&c);
	return err ? 1 : 0;
}
