/* SPDX-License-Identifier: BSD-2-Clause */
#include "control.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/ctlsock.h"
#include "netwatch.h"
#include "node.h"

enum {
	JOBS_MAX = 64,
	PING_COUNT_MAX = 100000,
	PING_LATE_MS = 1000, /* unanswered for so long: lost */
	PING_FLIGHT = 8,
};

/* A request that takes its time: resolve, ping, monitor. */
struct job {
	struct ntm_control *control;
	struct ntm_ctl_client *client;
	struct job *next, **link;
	enum { JOB_RESOLVE, JOB_PING, JOB_MONITOR } kind;
	uint64_t begin_ns;
	bool directing;
	char name[NTM_NAME_MAX + 1];
	/* ping */
	uint64_t path_id;
	unsigned count, sent, received;
	uint32_t interval_ms;
	double min_ms, max_ms, sum_ms;
	struct ntm_timer timer;
	struct {
		bool waiting;
		uint32_t txid;
		unsigned seq;
		uint64_t sent_ms;
	} flight[PING_FLIGHT];
};

struct ntm_control {
	struct ntm_node *node;
	struct ntm_ctl_server *server;
	struct job *jobs;
	unsigned n_jobs, n_monitors;
};

static void update_monitoring(struct ntm_control *c);

static struct job *job_new(struct ntm_control *c, struct ntm_ctl_client *client, int kind)
{
	struct job *j = c->n_jobs < JOBS_MAX ? calloc(1, sizeof(*j)) : NULL;

	if (!j) {
		ntm_ctl_error(client, "busy", "too many commands at once");
		return NULL;
	}
	j->control = c;
	j->client = client;
	j->kind = kind;
	j->begin_ns = ntm_timers_ns(&c->node->timers);
	j->next = c->jobs;
	j->link = &c->jobs;
	if (j->next)
		j->next->link = &j->next;
	c->jobs = j;
	c->n_jobs++;
	c->n_monitors += kind == JOB_MONITOR;
	update_monitoring(c);
	return j;
}

static void job_free(struct job *j)
{
	struct ntm_control *c = j->control;

	ntm_timer_stop(&c->node->timers, &j->timer);
	if (j->directing)
		ntm_direct_forget(c->node, j);
	*j->link = j->next;
	if (j->next)
		j->next->link = j->link;
	c->n_jobs--;
	c->n_monitors -= j->kind == JOB_MONITOR;
	free(j);
	update_monitoring(c);
}

static void on_node_event(struct ntm_node *n, json_object *ev)
{
	for (struct job *j = n->control->jobs; j; j = j->next)
		if (j->kind == JOB_MONITOR)
			ntm_ctl_event(j->client, json_object_get(ev));
	json_object_put(ev);
}

static void update_monitoring(struct ntm_control *c)
{
	c->node->on_event = c->n_monitors ? on_node_event : NULL;
}

static void explain(struct ntm_ctl_client *client, int result, const char *name)
{
	static const struct {
		int result;
		const char *text;
	} texts[] = {
	    {NTM_E_NO_SUCH_NAME, "there is no such node"}, {NTM_E_OFFLINE, "the node is not online"},
	    {NTM_E_DENIED, "the DC does not allow it"},    {NTM_E_BUSY, "the DC is busy, try again"},
	    {-ETIMEDOUT, "no answer within two seconds"},  {-ENOTCONN, "the DC cannot be reached"},
	    {-EBUSY, "too many directions at once"},
	};
	const char *text = "the path could not be set up";

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].result == result)
			text = texts[i].text;
	ntm_ctl_error(client, ntm_direction_result_name(result), "%s: %s", name, text);
}

/* The name as the DC knows it: a label alone gets the zone. */
static bool full_name(const struct ntm_node *n, json_object *request, char out[NTM_NAME_MAX + 1])
{
	json_object *v;
	const char *text;
	int len;

	if (!json_object_object_get_ex(request, "name", &v) || !json_object_is_type(v, json_type_string))
		return false;
	text = json_object_get_string(v);
	if (!text[0] || text[0] == '.')
		return false;
	len = strchr(text, '.') || !n->id.zone[0] ? snprintf(out, NTM_NAME_MAX + 1, "%s", text)
						  : snprintf(out, NTM_NAME_MAX + 1, "%s.%s", text, n->id.zone);
	if (len <= 0 || len > NTM_NAME_MAX)
		return false;
	if (out[len - 1] == '.')
		out[len - 1] = 0;
	return out[0] != 0;
}

/* Milliseconds with three decimals: more would claim a precision that is not there. */
static json_object *milliseconds(double ms)
{
	char text[32];

	snprintf(text, sizeof(text), "%.3f", ms);
	return json_object_new_double_s(ms, text);
}

static json_object *address_text(const uint8_t ip[16])
{
	char text[NTM_ADDR_STRLEN];

	return json_object_new_string(ntm_ip_format(ip, text));
}

static json_object *resolved(const char *name, const uint8_t vip4[4], const uint8_t vip6[16])
{
	json_object *o = json_object_new_object();
	uint8_t ip[16];

	ntm_ip_from_v4(ip, vip4);
	json_object_object_add(o, "name", json_object_new_string(name));
	json_object_object_add(o, "vip4", address_text(ip));
	json_object_object_add(o, "vip6", address_text(vip6));
	return o;
}

static void on_resolved(void *arg, int result, struct ntm_tunnel *t)
{
	struct job *j = arg;
	struct ntm_node *n = j->control->node;
	char text[NTM_ADDR_STRLEN], id[17];
	struct ntm_dp_stats s = {0};
	json_object *o;

	j->directing = false;
	if (result) {
		explain(j->client, result, j->name);
		job_free(j);
		return;
	}
	n->dp->ops->stats(n->dp, t->id, &s);
	snprintf(id, sizeof(id), "%016" PRIx64, t->id);
	o = resolved(t->name, t->vip4, t->vip6);
	json_object_object_add(o, "path_id", json_object_new_string(id));
	json_object_object_add(o, "route", json_object_new_string(ntm_route_name(t)));
	json_object_object_add(o, "endpoint", json_object_new_string(ntm_addr_format(&s.endpoint, text)));
	json_object_object_add(o, "ms", milliseconds((double)(ntm_timers_ns(&n->timers) - j->begin_ns) / 1e6));
	ntm_ctl_result(j->client, o);
	job_free(j);
}

static void cmd_resolve(struct ntm_control *c, struct ntm_ctl_client *client, json_object *request)
{
	struct ntm_node *n = c->node;
	char name[NTM_NAME_MAX + 1];
	struct job *j;

	if (!full_name(n, request, name)) {
		ntm_ctl_error(client, "malformed", "resolve needs a name");
		return;
	}
	if (n->id.known && !strcasecmp(name, n->id.fqdn)) {
		json_object *o = resolved(n->id.fqdn, n->id.addrs.vip4, n->id.addrs.vip6);

		json_object_object_add(o, "path_id", NULL);
		json_object_object_add(o, "route", json_object_new_string("local"));
		json_object_object_add(o, "endpoint", NULL);
		json_object_object_add(o, "ms", milliseconds(0));
		ntm_ctl_result(client, o);
		return;
	}
	j = job_new(c, client, JOB_RESOLVE);
	if (!j)
		return;
	j->directing = true;
	memcpy(j->name, name, sizeof(j->name));
	ntm_direct(n, name, NULL, 0, on_resolved, j);
}

static void ping_finish(struct job *j)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "sent", json_object_new_int((int)j->sent));
	json_object_object_add(o, "received", json_object_new_int((int)j->received));
	json_object_object_add(o, "min_ms", j->received ? milliseconds(j->min_ms) : NULL);
	json_object_object_add(o, "avg_ms", j->received ? milliseconds(j->sum_ms / j->received) : NULL);
	json_object_object_add(o, "max_ms", j->received ? milliseconds(j->max_ms) : NULL);
	ntm_ctl_result(j->client, o);
	job_free(j);
}

static void ping_timeout(struct job *j, unsigned slot)
{
	json_object *ev = json_object_new_object();

	j->flight[slot].waiting = false;
	json_object_object_add(ev, "event", json_object_new_string("timeout"));
	json_object_object_add(ev, "seq", json_object_new_int((int)j->flight[slot].seq));
	ntm_ctl_event(j->client, ev);
}

static void on_ping_timer(void *arg)
{
	struct job *j = arg;
	struct ntm_node *n = j->control->node;
	struct ntm_tunnel *t = ntm_tunnel_by_id(n, j->path_id);
	uint64_t now = ntm_timers_ms(&n->timers);
	bool waiting = false;

	for (unsigned i = 0; i < PING_FLIGHT; i++) {
		if (j->flight[i].waiting && (now - j->flight[i].sent_ms >= PING_LATE_MS || !t))
			ping_timeout(j, i);
		waiting |= j->flight[i].waiting;
	}
	if (!t || (j->sent >= j->count && !waiting)) {
		ping_finish(j);
		return;
	}
	if (j->sent < j->count) {
		unsigned slot = j->sent % PING_FLIGHT;

		if (j->flight[slot].waiting)
			ping_timeout(j, slot);
		j->flight[slot].seq = ++j->sent;
		j->flight[slot].sent_ms = now;
		j->flight[slot].waiting = true;
		ntm_ctl_probe(t, NTM_PROBE_PING, NTM_M_PROBE, 0, &j->flight[slot].txid);
	}
	ntm_timer_arm(&n->timers, &j->timer, j->sent < j->count ? j->interval_ms : 20);
}

static void on_pong(struct ntm_node *n, struct ntm_tunnel *t, uint32_t txid, double rtt_ms, const struct ntm_addr *from)
{
	for (struct job *j = n->control->jobs; j; j = j->next) {
		for (unsigned i = 0; i < PING_FLIGHT && j->kind == JOB_PING; i++) {
			char text[NTM_ADDR_STRLEN];
			json_object *ev;

			if (j->path_id != t->id || !j->flight[i].waiting || j->flight[i].txid != txid)
				continue;
			j->flight[i].waiting = false;
			j->min_ms = !j->received || rtt_ms < j->min_ms ? rtt_ms : j->min_ms;
			j->max_ms = rtt_ms > j->max_ms ? rtt_ms : j->max_ms;
			j->sum_ms += rtt_ms;
			j->received++;
			ev = json_object_new_object();
			json_object_object_add(ev, "event", json_object_new_string("pong"));
			json_object_object_add(ev, "seq", json_object_new_int((int)j->flight[i].seq));
			json_object_object_add(ev, "rtt_ms", milliseconds(rtt_ms));
			json_object_object_add(ev, "endpoint", json_object_new_string(ntm_addr_format(from, text)));
			json_object_object_add(ev, "route", json_object_new_string(ntm_route_name(t)));
			ntm_ctl_event(j->client, ev);
			if (j->sent >= j->count)
				ntm_timer_arm(&n->timers, &j->timer, 1);
			return;
		}
	}
}

static void on_ping_directed(void *arg, int result, struct ntm_tunnel *t)
{
	struct job *j = arg;

	j->directing = false;
	if (result) {
		explain(j->client, result, j->name);
		job_free(j);
		return;
	}
	j->path_id = t->id;
	on_ping_timer(j);
}

static uint32_t number(json_object *request, const char *key, uint32_t dflt, uint32_t min, uint32_t max)
{
	json_object *v;
	int64_t n;

	if (!json_object_object_get_ex(request, key, &v) || !json_object_is_type(v, json_type_int))
		return dflt;
	n = json_object_get_int64(v);
	return n < min ? min : n > max ? max : (uint32_t)n;
}

static void cmd_ping(struct ntm_control *c, struct ntm_ctl_client *client, json_object *request)
{
	char name[NTM_NAME_MAX + 1];
	struct job *j;

	if (!full_name(c->node, request, name)) {
		ntm_ctl_error(client, "malformed", "ping needs a name");
		return;
	}
	j = job_new(c, client, JOB_PING);
	if (!j)
		return;
	j->count = number(request, "count", 4, 1, PING_COUNT_MAX);
	j->interval_ms = number(request, "interval_ms", 1000, 1, 60000);
	ntm_timer_init(&j->timer, on_ping_timer, j);
	j->directing = true;
	memcpy(j->name, name, sizeof(j->name));
	ntm_direct(c->node, name, NULL, 0, on_ping_directed, j);
}

static void cmd_moved(struct ntm_control *c, struct ntm_ctl_client *client)
{
	int err = ntm_node_notify_address_change(c->node);

	if (err)
		ntm_ctl_error(client, "internal", "cannot read the network interfaces: %s", strerror(-err));
	else
		ntm_ctl_result(client, NULL);
}

static void on_request(struct ntm_ctl_client *client, const char *cmd, json_object *request, void *arg)
{
	struct ntm_control *c = arg;

	if (!strcmp(cmd, "status"))
		ntm_ctl_result(client, ntm_control_status(c->node));
	else if (!strcmp(cmd, "peers"))
		ntm_ctl_result(client, ntm_control_peers(c->node));
	else if (!strcmp(cmd, "paths"))
		ntm_ctl_result(client, ntm_control_paths(c->node));
	else if (!strcmp(cmd, "relays"))
		ntm_ctl_result(client, ntm_control_relays(c->node));
	else if (!strcmp(cmd, "netcheck"))
		ntm_ctl_result(client, ntm_control_netcheck(c->node));
	else if (!strcmp(cmd, "resolve"))
		cmd_resolve(c, client, request);
	else if (!strcmp(cmd, "ping"))
		cmd_ping(c, client, request);
	else if (!strcmp(cmd, "moved"))
		cmd_moved(c, client);
	else if (!strcmp(cmd, "monitor"))
		job_new(c, client, JOB_MONITOR);
	else if (!ntm_control_rotate(c->node, client, cmd))
		ntm_ctl_error(client, "unknown_command", "%s: not a command of ntm-node", cmd);
}

static void on_closed(struct ntm_ctl_client *client, void *arg)
{
	struct ntm_control *c = arg;

	ntm_rotation_forget(c->node, client);
	for (struct job *j = c->jobs, *next; j; j = next) {
		next = j->next;
		if (j->client == client)
			job_free(j);
	}
}

int ntm_control_open(struct ntm_control **out, struct ntm_node *n, char *why, size_t cap)
{
	struct ntm_control *c = calloc(1, sizeof(*c));
	int err;

	if (!c) {
		snprintf(why, cap, "out of memory");
		return -ENOMEM;
	}
	c->node = n;
	err = ntm_ctl_server_start(&c->server, n->loop, n->conf.runtime_dir, on_request, on_closed, c);
	if (err) {
		snprintf(why, cap, "control socket in %s: %s", n->conf.runtime_dir, strerror(-err));
		free(c);
		return err;
	}
	n->pong = on_pong;
	*out = c;
	return 0;
}

void ntm_control_close(struct ntm_control *c)
{
	if (!c)
		return;
	while (c->jobs)
		job_free(c->jobs);
	c->node->pong = NULL;
	c->node->on_event = NULL;
	ntm_ctl_server_stop(c->server);
	free(c);
}
