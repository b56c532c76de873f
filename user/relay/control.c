/* SPDX-License-Identifier: BSD-2-Clause */
/* The relay's commands on the control socket, and the JSON that scripts read. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/crypto.h"
#include "../common/ctlsock.h"
#include "../node/control.h"
#include "../node/netwatch.h"
#include "relay.h"

enum { PATHS_SHOWN = 10000 }; /* an answer is built in memory: a million paths are not for reading */

struct ntm_relay_control {
	struct ntm_relay *relay;
	struct ntm_ctl_server *server;
};

static void add_int(json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_int64((int64_t)value));
}

static json_object *counters(struct ntm_relay *r)
{
	static const char *const names[NTM_RR_COUNT] = {
#define X(symbol, name, meaning) [NTM_RR_##symbol] = name,
	    NTM_RELAY_REASONS(X)
#undef X
	};
	struct ntm_counter c[NTM_RR_COUNT];
	json_object *o = json_object_new_object();

	if (r->dp->ops->counters(r->dp, c))
		return o;
	for (unsigned i = 0; i < NTM_RR_COUNT; i++) {
		json_object *one = json_object_new_object();

		add_int(one, "packets", c[i].packets);
		add_int(one, "bytes", c[i].bytes);
		json_object_object_add(o, names[i], one);
	}
	return o;
}

static json_object *admission(const struct ntm_relay *r)
{
	const struct ntm_admission_counters *c = &r->admission.counters;
	json_object *o = json_object_new_object();

#define X(name) add_int(o, #name, c->name);
	NTM_ADMISSION_COUNTERS(X)
#undef X
	return o;
}

static json_object *relay_status(struct ntm_relay *r)
{
	json_object *o = json_object_new_object();
	uint64_t now = ntm_timers_ms(&r->node.timers);
	struct ntm_load load;

	ntm_relay_load(r, &load);
	json_object_object_add(o, "draining", json_object_new_boolean(r->draining));
	if (r->draining)
		add_int(o, "drain_left_s", r->drain_end_ms > now ? (r->drain_end_ms - now + 999) / 1000 : 0);
	json_object_object_add(o, "gateway", json_object_new_boolean(r->conf.gateway));
	add_int(o, "paths", load.paths);
	add_int(o, "paths_max", load.paths_max);
	add_int(o, "packets_per_s", load.packets_per_s);
	add_int(o, "bytes_per_s", load.bytes_per_s);
	add_int(o, "drops_per_s", load.drops_per_s);
	add_int(o, "cpu_permille", load.cpu_permille);
	add_int(o, "paths_added", r->paths_added);
	add_int(o, "paths_refused", r->paths_refused);
	add_int(o, "paths_released", r->paths_released);
	add_int(o, "paths_expired", r->paths_expired);
	json_object_object_add(o, "admission", admission(r));
	return o;
}

json_object *ntm_relay_status(struct ntm_relay *r)
{
	json_object *o = ntm_control_status(&r->node), *node_counters;

	if (!o)
		return NULL;
	json_object_object_del(o, "dns");
	if (r->conf.gateway) {
		if (json_object_object_get_ex(o, "counters", &node_counters))
			json_object_object_add(o, "gateway_counters", json_object_get(node_counters));
	} else {
		json_object_object_del(o, "interface");
	}
	json_object_object_add(o, "adopted", json_object_new_boolean(r->adopted));
	json_object_object_add(o, "relay", relay_status(r));
	json_object_object_add(o, "counters", counters(r));
	return o;
}

struct listing {
	json_object *list;
	uint64_t now_ns;
};

static json_object *end_of_path(const struct ntm_relay_dp_end *e)
{
	json_object *o = json_object_new_object();
	char text[NTM_ADDR_STRLEN];

	json_object_object_add(o, "endpoint",
			       e->addr.port ? json_object_new_string(ntm_addr_format(&e->addr, text)) : NULL);
	add_int(o, "packets", e->packets);
	add_int(o, "bytes", e->bytes);
	return o;
}

static void add_path(void *arg, const struct ntm_relay_dp_path *p)
{
	struct listing *l = arg;
	json_object *o, *ends;
	char id[17], idle[32];
	double idle_s = l->now_ns > p->last_ns ? (double)(l->now_ns - p->last_ns) / 1e9 : 0;

	if (json_object_array_length(l->list) >= PATHS_SHOWN)
		return;
	o = json_object_new_object();
	ends = json_object_new_array();
	snprintf(id, sizeof(id), "%016" PRIx64, p->path_id);
	snprintf(idle, sizeof(idle), "%.3f", idle_s);
	json_object_object_add(o, "path_id", json_object_new_string(id));
	for (int i = 0; i < 2; i++) {
		json_object *end = end_of_path(&p->ends[i]), *endpoint;

		json_object_object_get_ex(end, "endpoint", &endpoint);
		json_object_object_add(o, i ? "responder" : "initiator", json_object_get(endpoint));
		json_object_array_add(ends, end);
	}
	add_int(o, "packets", p->ends[0].packets + p->ends[1].packets);
	add_int(o, "bytes", p->ends[0].bytes + p->ends[1].bytes);
	json_object_object_add(o, "ends", ends);
	add_int(o, "drops", p->drops);
	add_int(o, "rate_kbit", p->rate_kbit);
	json_object_object_add(o, "idle_s", json_object_new_double_s(idle_s, idle));
	json_object_array_add(l->list, o);
}

json_object *ntm_relay_paths(struct ntm_relay *r)
{
	struct listing l = {json_object_new_array(), ntm_timers_ns(&r->node.timers)};

	if (l.list)
		r->dp->ops->foreach(r->dp, add_path, &l);
	return l.list;
}

static void cmd_moved(struct ntm_relay *r, struct ntm_ctl_client *client)
{
	int err = r->node.netwatch ? ntm_netwatch_scan(r->node.netwatch, true) : -ENODEV;

	if (err)
		ntm_ctl_error(client, "internal", "cannot read the network interfaces: %s", strerror(-err));
	else
		ntm_ctl_result(client, NULL);
}

static void on_request(struct ntm_ctl_client *client, const char *cmd, json_object *request, void *arg)
{
	struct ntm_relay_control *c = arg;

	(void)request;
	if (!strcmp(cmd, "status"))
		ntm_ctl_result(client, ntm_relay_status(c->relay));
	else if (!strcmp(cmd, "paths"))
		ntm_ctl_result(client, ntm_relay_paths(c->relay));
	else if (!strcmp(cmd, "peers")) /* a gateway's clients */
		ntm_ctl_result(client, ntm_control_peers(&c->relay->node));
	else if (!strcmp(cmd, "moved"))
		cmd_moved(c->relay, client);
	else if (!ntm_control_rotate(&c->relay->node, client, cmd))
		ntm_ctl_error(client, "unknown_command", "%s: not a command of ntm-relay", cmd);
}

static void on_closed(struct ntm_ctl_client *client, void *arg)
{
	struct ntm_relay_control *c = arg;

	ntm_rotation_forget(&c->relay->node, client); /* every other command is answered at once */
}

int ntm_relay_control_open(struct ntm_relay_control **out, struct ntm_relay *r, char *why, size_t cap)
{
	struct ntm_relay_control *c = calloc(1, sizeof(*c));
	int err;

	if (!c) {
		snprintf(why, cap, "out of memory");
		return -ENOMEM;
	}
	c->relay = r;
	err = ntm_ctl_server_start(&c->server, r->node.loop, r->conf.node.runtime_dir, on_request, on_closed, c);
	if (err) {
		snprintf(why, cap, "control socket in %s: %s", r->conf.node.runtime_dir, strerror(-err));
		free(c);
		return err;
	}
	*out = c;
	return 0;
}

void ntm_relay_control_close(struct ntm_relay_control *c)
{
	if (!c)
		return;
	ntm_ctl_server_stop(c->server);
	free(c);
}
