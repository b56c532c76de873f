/* SPDX-License-Identifier: BSD-2-Clause */
/* The daemon: opens everything in order, runs the loop, closes everything. */
#include "node.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../common/crypto.h"
#include "../common/keystore.h"
#include "../common/sdnotify.h"
#include "agent.h"
#include "control.h"
#include "dnsmode.h"
#include "dnsstub.h"
#include "netwatch.h"
#include "privs.h"
#include "state.h"
#include "userpath.h"

enum { LOCK_WAIT_MS = 1000, LOCK_PAUSE_MS = 10 };

struct daemon {
	struct ntm_agent agent;
	uv_loop_t loop;
	uv_signal_t sigterm, sigint, sighup;
};

static void on_term(uv_signal_t *h, int signum)
{
	struct daemon *d = h->data;

	ntm_info("%s: ending; paths %s", signum == SIGTERM ? "SIGTERM" : "SIGINT",
		 d->agent.node.userpath ? "wait for the next agent" : "go on in the kernel");
	uv_stop(&d->loop);
}

static void needs_restart(const char *what)
{
	ntm_warn("reload: %s has changed, which needs a restart", what);
}

static void swap_addrs(struct ntm_addr_list *a, struct ntm_addr_list *b)
{
	struct ntm_addr_list t = *a;

	*a = *b;
	*b = t;
}

static void reload(struct ntm_node *n)
{
	struct ntm_node_config c;
	char err[512] = "";
	int looked;

	ntm_sdnotify_reloading();
	if (ntm_node_config_load(&c, n->conf_file, err, sizeof(err))) {
		ntm_err("reload: %s; nothing changed", err);
		ntm_sdnotify("READY=1");
		return;
	}
	if (c.log_level != n->conf.log_level) {
		n->conf.log_level = c.log_level;
		ntm_log_init("ntm-node", c.log_level);
	}
	/* Read at each query. */
	swap_addrs(&n->conf.dns_upstreams, &c.dns_upstreams);
	if (!ntm_addr_list_equal(&n->conf.dc_endpoints, &c.dc_endpoints)) {
		swap_addrs(&n->conf.dc_endpoints, &c.dc_endpoints);
		ntm_dc_endpoints_changed(&n->dc);
	}
	if (!ntm_text_equal(n->conf.dc_token, c.dc_token)) {
		char *t = n->conf.dc_token;

		n->conf.dc_token = c.dc_token;
		c.dc_token = t;
		if (!ntm_dc_connected(&n->dc))
			ntm_dc_reregister(&n->dc);
	}
	if (!ntm_string_list_equal(&n->conf.uplink_prefer, &c.uplink_prefer) ||
	    n->conf.uplink_settle_ms != c.uplink_settle_ms) {
		struct ntm_string_list old = n->conf.uplink_prefer;

		n->conf.uplink_prefer = c.uplink_prefer;
		c.uplink_prefer = old;
		n->conf.uplink_settle_ms = c.uplink_settle_ms;
		ntm_netwatch_set_settle(n->netwatch, c.uplink_settle_ms);
		looked = ntm_netwatch_scan(n->netwatch, false);
		if (looked)
			ntm_err("reload: the order of uplinks: %s", strerror(-looked));
	}
	if (n->conf.uplink_duplicate_ms != c.uplink_duplicate_ms)
		needs_restart("node.uplink_duplicate_ms");
	if (n->conf.no_bulk != c.no_bulk)
		needs_restart("node.bulk");
	if (strcmp(n->conf.name, c.name))
		needs_restart("node.name");
	if (!ntm_text_equal(n->conf.private_key_file, c.private_key_file))
		needs_restart("node.private_key_file");
	if (!ntm_text_equal(n->conf.interface, c.interface))
		needs_restart("node.interface");
	if (n->conf.port != c.port)
		needs_restart("node.port");
	if (!ntm_string_list_equal(&n->conf.uplinks, &c.uplinks))
		needs_restart("node.uplinks");
	if (n->conf.xdp_mode != c.xdp_mode)
		needs_restart("node.xdp_mode");
	if (n->conf.user_datapath != c.user_datapath)
		needs_restart("node.datapath");
	if (!ntm_text_equal(n->conf.runtime_dir, c.runtime_dir))
		needs_restart("node.runtime_dir");
	if (!ntm_listen_equal(&n->conf.metrics_listen, &c.metrics_listen))
		needs_restart("node.metrics_listen");
	if (n->conf.max_paths != c.max_paths)
		needs_restart("node.max_paths");
	if (memcmp(&n->conf.dc_keys, &c.dc_keys, sizeof(c.dc_keys)) != 0)
		needs_restart("dc.public_key");
	if (c.gateway_table != n->conf.gateway_table || c.gateway_mark != n->conf.gateway_mark ||
	    !c.gateway_routes.n != !n->conf.gateway_routes.n) {
		needs_restart("[gateway] table, mark or whether there are routes");
	} else {
		struct ntm_prefix_list old = n->conf.gateway_routes;

		n->conf.gateway_routes = c.gateway_routes;
		c.gateway_routes = old;
		if (ntm_gwclient_reload(n))
			ntm_err("reload: general routes are not as configured");
	}
	if (n->conf.dns_mode != c.dns_mode || !ntm_addr_equal(&n->conf.dns_listen, &c.dns_listen) ||
	    !ntm_addr_list_equal(&n->conf.dns_addresses, &c.dns_addresses) ||
	    !ntm_text_equal(n->conf.dns_cgroup, c.dns_cgroup))
		needs_restart("[dns] mode, listen, address or cgroup");
	ntm_node_config_free(&c);
	ntm_info("configuration read again");
	ntm_sdnotify("READY=1");
}

static void on_hup(uv_signal_t *h, int signum)
{
	struct daemon *d = h->data;

	(void)signum;
	reload(&d->agent.node);
}

static int restore(struct ntm_node *n)
{
	struct ntm_identity id = {0};
	int err;

	n->adopted = n->dp->ops->adopted(n->dp);
	if (!n->adopted)
		return ntm_gwclient_start(n);
	if (!ntm_state_get_identity(n->state, &id) && !n->dp->ops->get_addresses(n->dp, &id.addrs)) {
		err = ntm_node_set_identity(n, &id);
		if (err)
			return err;
		ntm_info("adopted the data plane of an earlier agent as %s", id.fqdn);
	}
	ntm_path_adopt_all(n);
	return ntm_gwclient_start(n);
}

static bool keep_peer(void *arg, uint64_t path_id)
{
	return ntm_tunnel_by_id(arg, path_id) != NULL;
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

/*
 * An agent that was killed a moment ago may still hold its lock while the kernel takes its memory apart. A lock's end
 * can be awaited only without a limit, so it is asked for again and again.
 */
static int open_dp_patiently(struct ntm_node *n, const struct ntm_dp_config *c, char *why, size_t cap)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000};
	int err;

	for (unsigned waited = 0;; waited += LOCK_PAUSE_MS) {
		err = ntm_dp_bpf_open(&n->dp, c, &ntm_node_dp_events, n, why, cap);
		if (err != -EBUSY || waited >= LOCK_WAIT_MS)
			return err;
		nanosleep(&pause, NULL);
	}
}

static int open_userpath_patiently(struct ntm_node *n, char *why, size_t cap)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000};
	int err;

	for (unsigned waited = 0;; waited += LOCK_PAUSE_MS) {
		err = ntm_userpath_open(&n->userpath, n, why, cap);
		if (err != -EBUSY || waited >= LOCK_WAIT_MS)
			return err;
		nanosleep(&pause, NULL);
	}
}

static int open_dp(struct daemon *d)
{
	struct ntm_node *n = &d->agent.node;
	struct ntm_dp_config c = {.ifname = n->conf.interface,
				  .runtime_dir = n->conf.runtime_dir,
				  .port = n->conf.port,
				  .xdp_mode = n->conf.xdp_mode,
				  .max_paths = n->conf.max_paths,
				  .duplicate_ms = n->conf.uplink_duplicate_ms,
				  .bulk = !n->conf.no_bulk};
	char why[512] = "";
	int err = n->conf.user_datapath ? open_userpath_patiently(n, why, sizeof(why))
					: open_dp_patiently(n, &c, why, sizeof(why));

	if (err) {
		ntm_err("%s", why[0] ? why : strerror(-err));
		return err;
	}
	err = ntm_agent_watch_dp(&d->agent, why, sizeof(why));
	if (err)
		ntm_err("%s", why);
	return err;
}

/* Paths matter more than names: packets to virtual addresses work without the stub. */
static void open_dns(struct ntm_node *n)
{
	struct ntm_addr any;
	char why[256] = "";
	int err;

	if (n->conf.dns_mode == NTM_DNS_OFF)
		return;
	n->identity_changed = ntm_dnsmode_identity;
	if (n->conf.dns_mode == NTM_DNS_TUN) {
		if (ntm_userpath_dns(n->userpath, why, sizeof(why)))
			ntm_warn("%s; names are not answered", why);
		return;
	}
	err = ntm_dnsstub_open(&n->dns, n, why, sizeof(why));
	/* Where systemd-resolved has that address, and no mode needs one that is known. */
	if (err == -EADDRINUSE && n->conf.dns_mode != NTM_DNS_STUB && n->conf.dns_mode != NTM_DNS_RESOLVCONF &&
	    !ntm_addr_parse("127.0.0.1:53", 53, &any)) {
		any.port = 0;
		err = ntm_dnsstub_open_at(&n->dns, n, &any, why, sizeof(why));
	}
	if (err)
		ntm_warn("%s; names are not answered: choose another dns.listen, or dns.mode = off", why);
	else if (ntm_dnsmode_open(&n->dnsmode, n, why, sizeof(why)))
		ntm_warn("dns.mode %s: %s; the resolver does not ask the stub", ntm_dnsmode_name(n->conf.dns_mode),
			 why);
}

static enum ntm_privs need(const struct ntm_node *n)
{
	if (!n->conf.user_datapath)
		return NTM_PRIVS_BPF;
	return strcmp(n->conf.interface, NTM_INTERFACE_FD) ? NTM_PRIVS_TUN : NTM_PRIVS_NONE;
}

static bool wants_low_port(const struct ntm_node *n)
{
	return n->conf.dns_mode != NTM_DNS_OFF && n->conf.dns_mode != NTM_DNS_TUN &&
	       ntohs(n->conf.dns_listen.port) < 1024;
}

static int open_all(struct daemon *d)
{
	struct ntm_node *n = &d->agent.node;
	char why[256] = "";
	int err;

	err = ntm_privs_check(need(n), wants_low_port(n), why, sizeof(why));
	if (err) {
		ntm_err("%s", why);
		return err;
	}
	err = open_keys(n);
	if (!err) {
		err = ntm_state_open(&n->state, n->conf.runtime_dir);
		if (err)
			ntm_err("%s: %s", n->conf.runtime_dir, strerror(-err));
	}
	if (!err)
		err = ntm_agent_core(&d->agent);
	if (!err)
		err = open_dp(d);
	if (!err)
		err = restore(n);
	if (!err) {
		err = ntm_agent_open_network(&d->agent, why, sizeof(why));
		if (err)
			ntm_err("%s", why);
	}
	if (!err && n->userpath) {
		err = ntm_userpath_start(n->userpath);
		if (err)
			ntm_err("%s can't be watched: %s", n->conf.interface, strerror(-err));
	}
	if (!err) {
		open_dns(n);
		err = ntm_control_open(&n->control, n, why, sizeof(why));
		if (err)
			ntm_err("%s", why);
	}
	if (!err) {
		err = ntm_node_metrics_start(n, why, sizeof(why));
		if (err)
			ntm_err("%s", why);
	}
	if (!err) {
		err = ntm_privs_drop(need(n), why, sizeof(why));
		if (err)
			ntm_err("%s", why);
	}
	if (err)
		return err;
	err = ntm_state_compact(n->state, keep_peer, n);
	if (err)
		ntm_warn("list of peers not rewritten: %s", strerror(-err));
	return 0;
}

/* keep: paths go on without an agent. */
static void close_all(struct daemon *d, bool keep)
{
	struct ntm_node *n = &d->agent.node;

	ntm_control_close(n->control);
	ntm_metrics_stop(n->metrics);
	ntm_dnsmode_close(n->dnsmode);
	n->dnsmode = NULL;
	ntm_userpath_dns_close(n->userpath);
	ntm_dnsstub_close(n->dns);
	ntm_agent_quiesce(&d->agent);
	ntm_userpath_stop(n->userpath);
	ntm_agent_close(&d->agent, keep, NULL);
	ntm_userpath_close(n->userpath, keep);
	ntm_state_close(n->state);
	uv_close((uv_handle_t *)&d->sigterm, NULL);
	uv_close((uv_handle_t *)&d->sigint, NULL);
	uv_close((uv_handle_t *)&d->sighup, NULL);
	uv_run(&d->loop, UV_RUN_DEFAULT);
	uv_loop_close(&d->loop);
	ntm_node_config_free(&n->conf);
}

int ntm_node_run(const char *conf_file)
{
	struct daemon *d;
	char text[512] = "";
	int err;

	ntm_log_init("ntm-node", NTM_LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	d = calloc(1, sizeof(*d));
	if (!d) {
		ntm_err("out of memory");
		return 1;
	}
	if (ntm_node_config_load(&d->agent.node.conf, conf_file, text, sizeof(text))) {
		ntm_err("%s", text);
		free(d);
		return 2;
	}
	ntm_log_init("ntm-node", d->agent.node.conf.log_level);
	d->agent.node.conf_file = conf_file;
	uv_loop_init(&d->loop);
	ntm_agent_init(&d->agent, &d->loop);
	uv_signal_init(&d->loop, &d->sigterm);
	uv_signal_init(&d->loop, &d->sigint);
	uv_signal_init(&d->loop, &d->sighup);
	d->sigterm.data = d->sigint.data = d->sighup.data = d;

	err = open_all(d);
	if (!err) {
		uv_signal_start(&d->sigterm, on_term, SIGTERM);
		uv_signal_start(&d->sigint, on_term, SIGINT);
		uv_signal_start(&d->sighup, on_hup, SIGHUP);
		ntm_agent_start(&d->agent);
		uv_run(&d->loop, UV_RUN_DEFAULT);
		ntm_sdnotify("STOPPING=1");
	}
	/* A start that failed leaves behind what it found, and nothing of its own. */
	close_all(d, !err || d->agent.node.adopted);
	free(d);
	return err ? 1 : 0;
}

int ntm_node_down(const char *conf_file)
{
	struct ntm_node_config c;
	struct ntm_dp_config dc;
	char text[512] = "";
	int err;

	ntm_log_init("ntm-node", NTM_LOG_INFO);
	if (ntm_node_config_load(&c, conf_file, text, sizeof(text))) {
		ntm_err("%s", text);
		return 2;
	}
	dc = (struct ntm_dp_config){.ifname = c.interface, .runtime_dir = c.runtime_dir, .port = c.port};
	err = c.user_datapath ? ntm_userpath_down(c.interface, c.runtime_dir, text, sizeof(text))
			      : ntm_dp_bpf_remove(&dc, text, sizeof(text));
	if (err)
		ntm_err("%s", text[0] ? text : strerror(-err));
	else if (c.user_datapath)
		printf("removed %s and the paths in %s\n", c.interface, c.runtime_dir);
	else
		printf("removed %s, its programs and what was pinned in %s\n", c.interface, c.runtime_dir);
	ntm_node_config_free(&c);
	return err ? 1 : 0;
}
