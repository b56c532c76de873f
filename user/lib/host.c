/* SPDX-License-Identifier: BSD-2-Clause */
/* Instances: an agent, its data plane in memory, and an interface of the TCP/IP stack, put together. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/crypto.h"
#include "../common/keystore.h"
#include "../dataplane/dp_user.h"
#include "../node/netwatch.h"
#include "../node/udp.h"
#include "engine.h"
#include "lib.h"

enum { MAX_PATHS = 4096, REGISTER_MS = 10000, FLUSH_MS = 2000 };

static _Thread_local char reason[256];

void ntm_set_reason(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
}

const char *ntm_reason(void)
{
	return reason;
}

/* Data plane. */
static int deliver(void *arg, const uint8_t *packet, size_t len)
{
	struct ntm *n = arg;

	ntm_vif_input(&n->vif, packet, len);
	return 0;
}

static int send_datagram(void *arg, const struct ntm_addr *to, const void *datagram, size_t len, uint8_t tos)
{
	struct ntm *n = arg;
	struct ntm_udp_to dst = {.to = *to, .tos = tos};
	uint8_t *room;

	ntm_node_source(&n->agent->node, to, dst.src);
	/* As signalling does. */
	dst.ifindex = ntm_udp_interface(n->agent->node.udp, dst.src);
	room = ntm_udp_tx_room(n->tx, &dst, len);
	memcpy(room, datagram, len);
	ntm_udp_tx_add(n->tx, len);
	return 0;
}

void ntm_host_flush_all(void)
{
	for (struct ntm *n = ntm_engine_first(); n; n = n->next)
		if (n->tx && n->tx->n)
			ntm_udp_tx_flush(n->tx);
}

static int open_tx(struct ntm *n)
{
	int fds[2];

	n->tx = malloc(sizeof(*n->tx));
	if (!n->tx)
		return -ENOMEM;
	ntm_udp_fds(n->agent->node.udp, fds);
	ntm_udp_tx_init(n->tx, fds[0], fds[1]);
	return 0;
}

struct change {
	uint8_t ip[2][16];
	uint16_t mtu;
	bool moved;
};

static void on_change(struct vsock *s, void *arg)
{
	const struct change *c = arg;

	if (!memcmp(s->peer.ip, c->ip[0], 16) || !memcmp(s->peer.ip, c->ip[1], 16))
		tcp_vs_path_changed(s, c->mtu, c->moved);
}

static int peer_route(void *arg, const uint8_t ip[16], uint16_t mtu)
{
	struct change c = {.mtu = mtu};

	memcpy(c.ip[0], ip, 16);
	memcpy(c.ip[1], ip, 16);
	vs_foreach(arg, on_change, &c);
	return 0;
}

/* The stack. */
static void output(void *arg, const uint8_t *packet, size_t len)
{
	struct ntm *n = arg;

	ntm_dp_user_inner_input(n->agent->node.dp, packet, len);
}

uint16_t ntm_host_mtu(struct ntm *n, const uint8_t ip[16])
{
	struct ntm_node *node = &n->agent->node;
	struct ntm_tunnel *t = ntm_tunnel_by_vip(node, ip);
	struct ntm_dp_stats s;

	return t && !node->dp->ops->stats(node->dp, t->id, &s) ? s.inner_mtu : NTM_INNER_MTU_BASE;
}

static uint16_t mtu_to(void *arg, const uint8_t dst[16])
{
	return ntm_host_mtu(arg, dst);
}

struct refusal {
	uint8_t protocol;
	const struct ntm_addr *src, *dst;
	int err;
};

static void on_refusal(struct vsock *s, void *arg)
{
	const struct refusal *r = arg;

	/* TCP has its own way of finding out. */
	if (s->type == SOCK_DGRAM && s->protocol == r->protocol && s->state == VS_CONNECTED &&
	    s->local.port == r->src->port && ntm_addr_equal(&s->peer, r->dst)) {
		s->error = r->err;
		vs_wake(s);
	}
}

static void unreachable(void *arg, uint8_t protocol, const struct ntm_addr *src, const struct ntm_addr *dst, int err)
{
	struct refusal r = {protocol, src, dst, err};

	vs_foreach(arg, on_refusal, &r);
}

static const struct ntm_vif_ops vif_ops = {output, mtu_to, unreachable};

bool ntm_host_is_virtual(const struct ntm *n, const uint8_t ip[16])
{
	return ntm_node_is_virtual(&n->agent->node, ip);
}

/* What the agent tells. */
static void tell(struct ntm *n, enum ntm_event_kind kind, const char *text)
{
	if (n->event)
		n->event(n->arg, n, kind, text);
}

static void on_registered(struct ntm *n)
{
	const struct ntm_dp_addresses *a = &n->agent->node.id.addrs;

	ntm_vif_addresses(&n->vif, a->vip4, a->vip6);
	n->registered = true;
	n->refused[0] = 0;
	tell(n, NTM_EV_REGISTERED, n->agent->node.id.fqdn);
}

static int refusal_errno(int code)
{
	switch (code) {
	case NTM_E_NAME_TAKEN:
		return EEXIST;
	case NTM_E_POOL_EXHAUSTED:
		return ENOSPC;
	case NTM_E_BUSY:
		return EAGAIN;
	default:
		return EACCES;
	}
}

static const char *text_of(json_object *ev, const char *key)
{
	const char *s = json_object_get_string(json_object_object_get(ev, key));

	return s ? s : "";
}

static void on_path_event(struct ntm *n, json_object *ev)
{
	uint64_t id = strtoull(text_of(ev, "path_id"), NULL, 16);
	struct ntm_tunnel *t = ntm_tunnel_by_id(&n->agent->node, id);
	struct change c = {.moved = true};

	if (!t)
		return;
	ntm_ip_from_v4(c.ip[0], t->vip4);
	memcpy(c.ip[1], t->vip6, 16);
	vs_foreach(n, on_change, &c);
}

static void on_event(struct ntm_node *node, json_object *ev)
{
	struct ntm_agent *a = (struct ntm_agent *)((char *)node - offsetof(struct ntm_agent, node));
	struct ntm *n = a->owner;
	const char *what = text_of(ev, "event");

	if (!strcmp(what, "registered")) {
		on_registered(n);
	} else if (!strcmp(what, "refused")) {
		snprintf(n->refused, sizeof(n->refused), "%s", text_of(ev, "error"));
		n->refused_errno = refusal_errno(json_object_get_int(json_object_object_get(ev, "code")));
		tell(n, NTM_EV_REFUSED, n->refused);
	} else if (!strcmp(what, "dc_lost")) {
		tell(n, NTM_EV_DISCONNECTED, "");
	} else if (!strcmp(what, "uplink")) {
		tell(n, NTM_EV_MOVED, text_of(ev, "uplink"));
	} else if (!strcmp(what, "handover") || !strcmp(what, "route_changed") || !strcmp(what, "roamed")) {
		on_path_event(n, ev);
	}
	json_object_put(ev);
}

static int parse(struct ntm_node_config *c, const struct ntm_config *config, struct ntm_node *node)
{
	char why[128] = "";
	const char *field = "name";
	int err = config->name ? ntm_conf_label(config->name, c->name, why, sizeof(why)) : -EINVAL;

	if (!err) {
		field = "private_key";
		err = config->private_key ? ntm_key_from_text(config->private_key, node->priv) : -EINVAL;
		if (!err)
			err = ntm_x25519_public(node->priv, node->pub);
	}
	if (!err) {
		field = "dc_endpoints";
		err = config->dc_endpoints
			  ? ntm_node_conf_endpoints(config->dc_endpoints, &c->dc_endpoints, why, sizeof(why))
			  : -EINVAL;
	}
	if (!err) {
		field = "dc_public_key";
		err = config->dc_public_key ? ntm_conf_keys(config->dc_public_key, &c->dc_keys, why, sizeof(why))
					    : -EINVAL;
	}
	if (!err && config->uplinks) {
		field = "uplinks";
		err = ntm_node_conf_uplinks(config->uplinks, &c->uplinks, why, sizeof(why));
	}
	if (!err && config->token) {
		field = "token";
		err = strlen(config->token) > NTM_TOKEN_MAX
			  ? -EINVAL
			  : ntm_conf_string(config->token, &c->dc_token, why, sizeof(why));
	}
	if (err)
		ntm_set_reason("%s: %s", field, why[0] ? why : "missing, or makes no sense");
	return err;
}

static int configure(struct ntm *n, const struct ntm_config *config)
{
	struct ntm_node *node = &n->agent->node;
	struct ntm_node_config *c = &node->conf;

	*c = (struct ntm_node_config){.port = config->port,
				      .uplink_settle_ms = NTM_UPLINK_SETTLE_MS,
				      .max_paths = MAX_PATHS,
				      .dns_mode = NTM_DNS_OFF};
	/* That of an agent on the same host is no uplink. */
	c->interface = strdup("ntm0");
	if (!c->interface)
		return -ENOMEM;
	return parse(c, config, node);
}

static int open_parts(struct ntm *n)
{
	struct ntm_agent *a = n->agent;
	struct ntm_dp_user_config dp = {
	    .max_paths = MAX_PATHS, .deliver = deliver, .send = send_datagram, .peer_route = peer_route, .arg = n};
	char why[256] = "";
	int err = ntm_agent_core(a);

	if (!err)
		err = ntm_dp_user_open(&a->node.dp, &dp, &ntm_node_dp_events, &a->node, why, sizeof(why));
	if (!err)
		err = ntm_agent_watch_dp(a, why, sizeof(why));
	if (!err)
		err = ntm_vif_add(&n->vif, &vif_ops, n);
	if (!err)
		err = ntm_agent_open_network(a, why, sizeof(why));
	if (!err)
		err = open_tx(n);
	if (err)
		ntm_set_reason("%s", why[0] ? why : strerror(-err));
	return err;
}

static void on_closed(struct ntm_agent *a)
{
	ntm_node_config_free(&a->node.conf);
	free(a);
}

/* Peers that went on sending here would find out by silence. */
static void release_paths(struct ntm *n)
{
	struct ntm_node *node = &n->agent->node;

	while (n->registered && node->tunnels.all)
		ntm_path_end(node->tunnels.all, NTM_PATH_END_TELL_PEER | NTM_PATH_END_TELL_DC, "this program ends");
}

static void destroy(struct ntm *n)
{
	vs_host_gone(n);
	ntm_vif_remove(&n->vif);
	release_paths(n);
	if (n->tx)
		ntm_udp_tx_flush(n->tx);
	ntm_agent_close(n->agent, false, on_closed);
	ntm_engine_remove(n);
	free(n->tx);
	free(n);
}

static struct {
	bool chosen;
	void (*fn)(void *arg, int level, const char *line);
	void *arg;
} log_sink;

static void to_program(enum ntm_log_level level, const char *line)
{
	if (log_sink.fn)
		log_sink.fn(log_sink.arg, (int)level, line);
}

/* A library is silent unless it is asked to speak. */
static void default_log(void)
{
	if (log_sink.chosen)
		return;
	log_sink.chosen = true;
	if (getenv("NTM_LOG"))
		ntm_log_init("libntm", NTM_LOG_ERROR);
	else
		ntm_log_to(to_program, NTM_LOG_ERROR);
}

static struct ntm *create(const struct ntm_config *config)
{
	struct ntm *n = calloc(1, sizeof(*n));

	if (n)
		n->agent = calloc(1, sizeof(*n->agent));
	if (!n || !n->agent) {
		free(n);
		return NULL;
	}
	n->flags = config->flags;
	n->event = config->event;
	n->arg = config->arg;
	n->agent->owner = n;
	n->agent->node.embedded = true;
	n->agent->node.on_event = on_event;
	ntm_agent_init(n->agent, ntm_engine_loop());
	ntm_engine_add(n);
	return n;
}

static bool is_decided(void *arg)
{
	const struct ntm *n = arg;

	return n->registered || n->refused[0];
}

static int await_registration(struct ntm *n, int timeout_ms)
{
	int64_t deadline = ntm_engine_now() + (timeout_ms > 0 ? timeout_ms : REGISTER_MS);
	int err = 0;

	do
		err = ntm_engine_wait(is_decided, n, deadline, NULL, 0);
	while (err == -EINTR);
	if (n->registered)
		return 0;
	if (n->refused[0]) {
		ntm_set_reason("the DC refuses: %s", n->refused);
		return -n->refused_errno;
	}
	ntm_set_reason("the DC does not answer");
	return err == -EAGAIN ? -ETIMEDOUT : err;
}

int ntm_register(const struct ntm_config *config, struct ntm **out)
{
	struct ntm *n;
	int err;

	reason[0] = 0;
	if (!config || !out || config->flags & ~(unsigned)(NTM_THREAD | NTM_NOWAIT)) {
		errno = EINVAL;
		ntm_set_reason("no configuration, or unknown flags");
		return -1;
	}
	err = ntm_enter();
	if (err) {
		errno = -err;
		return -1;
	}
	default_log();
	n = create(config);
	if (!n)
		return vs_fail(-ENOMEM);
	err = ntm_crypto_init();
	if (!err)
		err = configure(n, config);
	if (!err)
		err = open_parts(n);
	if (!err && config->flags & NTM_THREAD)
		err = ntm_engine_thread();
	if (!err) {
		ntm_agent_start(n->agent);
		ntm_engine_step();
		if (!(config->flags & NTM_NOWAIT))
			err = await_registration(n, config->timeout_ms);
	}
	if (err) {
		destroy(n);
		return vs_fail(err);
	}
	*out = n;
	ntm_leave();
	return 0;
}

static bool is_quiet(void *arg)
{
	const struct ntm *n = arg;

	return !ntm_vif_unsent(&n->vif);
}

void ntm_unregister(struct ntm *n)
{
	if (!n || ntm_enter())
		return;
	if (!n->ending) {
		n->ending = true;
		(void)ntm_engine_wait(is_quiet, n, ntm_engine_now() + FLUSH_MS, NULL, 0);
		destroy(n);
	}
	ntm_leave();
}

int ntm_identity(struct ntm *n, char *name, size_t cap, struct sockaddr_in *vip4, struct sockaddr_in6 *vip6)
{
	const struct ntm_identity *id;
	int err = n ? ntm_enter() : -EINVAL;

	if (err) {
		errno = -err;
		return -1;
	}
	id = &n->agent->node.id;
	if (!n->registered)
		return vs_fail(-ENOTCONN);
	if (name)
		snprintf(name, cap, "%s", id->fqdn);
	if (vip4) {
		*vip4 = (struct sockaddr_in){.sin_family = AF_INET};
		memcpy(&vip4->sin_addr, id->addrs.vip4, 4);
	}
	if (vip6) {
		*vip6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
		memcpy(&vip6->sin6_addr, id->addrs.vip6, 16);
	}
	ntm_leave();
	return 0;
}

int ntm_notify_address_change(struct ntm *n)
{
	int err = n ? ntm_enter() : -EINVAL;

	if (err) {
		errno = -err;
		return -1;
	}
	err = ntm_node_notify_address_change(&n->agent->node);
	if (err)
		return vs_fail(err);
	ntm_leave();
	return 0;
}

void ntm_set_log(void (*fn)(void *arg, int level, const char *line), void *arg, int max_level)
{
	if (ntm_enter())
		return;
	log_sink.fn = fn;
	log_sink.arg = arg;
	log_sink.chosen = fn != NULL;
	if (fn)
		ntm_log_to(to_program, max_level < NTM_LOG_ERROR   ? NTM_LOG_ERROR
				       : max_level > NTM_LOG_DEBUG ? NTM_LOG_DEBUG
								   : (enum ntm_log_level)max_level);
	else
		default_log();
	ntm_leave();
}
