/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands of the control socket: token_create, nodes, revoke, paths, relays, status. */
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>

#include "../user/common/crypto.h"
#include "../user/common/keystore.h"
#include "../user/common/log.h"
#include "clock.h"
#include "dc.h"

#define TOKEN_BYTES 25 /* 200 bits: 40 characters */
#define TOKEN_TTL_S 3600
#define TOKEN_TTL_MAX_S (365 * 86400)

static void add_string(json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, value ? json_object_new_string(value) : NULL);
}

static void add_int(json_object *o, const char *key, int64_t v)
{
	json_object_object_add(o, key, json_object_new_int64(v));
}

static void add_bool(json_object *o, const char *key, bool v)
{
	json_object_object_add(o, key, json_object_new_boolean(v));
}

static const char *argument(json_object *request, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(request, key, &v) && json_object_is_type(v, json_type_string)
		   ? json_object_get_string(v)
		   : NULL;
}

enum { ACTOR_LEN = 24 };

/* For the audit log. */
static const char *actor_of(const struct ntm_ctl_client *c, char out[ACTOR_LEN])
{
	snprintf(out, ACTOR_LEN, "uid:%u", ntm_ctl_peer(c));
	return out;
}

/* Base 32 of RFC 4648 in lower case, without padding: survives any shell and any telephone. */
static int make_token(char out[TOKEN_BYTES * 8 / 5 + 1])
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t raw[TOKEN_BYTES];
	int err = ntm_random(raw, sizeof(raw));

	for (unsigned i = 0; !err && i < TOKEN_BYTES * 8 / 5; i++) {
		unsigned bit = i * 5, v = raw[bit / 8] << 8;

		if (bit / 8 + 1 < TOKEN_BYTES)
			v |= raw[bit / 8 + 1];
		out[i] = digits[v >> (11 - bit % 8) & 31];
	}
	out[TOKEN_BYTES * 8 / 5] = 0;
	ntm_wipe(raw, sizeof(raw));
	return err;
}

static void cmd_token_create(struct ntm_dc *dc, struct ntm_ctl_client *c, json_object *request)
{
	const char *name = argument(request, "name");
	char label[NTM_LABEL_MAX + 1], token[TOKEN_BYTES * 8 / 5 + 1], expires[32];
	int64_t ttl = TOKEN_TTL_S, now = ntm_dc_wall_s();
	char actor[ACTOR_LEN];
	struct ntm_node_record rec;
	json_object *v, *result;
	struct tm tm;
	time_t end;
	int err;

	if (json_object_object_get_ex(request, "ttl_s", &v) && v) {
		ttl = json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : 0;
		if (ttl < 1 || ttl > TOKEN_TTL_MAX_S) {
			ntm_ctl_error(c, "bad_argument", "ttl_s must be 1 second to 1 year");
			return;
		}
	}
	if (name) {
		if (ntm_dc_label(dc, name, label)) {
			ntm_ctl_error(c, "bad_name", "%s is not a name of the zone %s", name, dc->conf->zone);
			return;
		}
		if (ntm_dns_reserved(label)) {
			ntm_ctl_error(c, "bad_name", "%s is the zone's own name", label);
			return;
		}
		err = dc->store->ops->node_by_label(dc->store, label, &rec);
		if (!err && !rec.revoked_s) {
			ntm_ctl_error(c, "name_taken", "%s is enrolled already: revoke it first", label);
			return;
		}
	}
	err = make_token(token);
	if (!err)
		err = dc->store->ops->token_create(dc->store, token, name ? label : NULL, now, now + ttl);
	if (err) {
		ntm_ctl_error(c, "internal", "no token: %s", strerror(-err));
		return;
	}
	end = (time_t)(now + ttl);
	gmtime_r(&end, &tm);
	strftime(expires, sizeof(expires), "%Y-%m-%dT%H:%M:%SZ", &tm);
	ntm_dc_audit(dc, actor_of(c, actor), "token_create", name ? label : "*", expires);
	result = json_object_new_object();
	add_string(result, "token", token);
	add_string(result, "name", name ? label : NULL);
	add_string(result, "expires", expires);
	ntm_ctl_result(c, result);
	ntm_wipe(token, sizeof(token));
}

/* A node whose key the operator has: let in by a token made for it and used at once. */
static void cmd_node_add(struct ntm_dc *dc, struct ntm_ctl_client *c, json_object *request)
{
	const char *name = argument(request, "name"), *text = argument(request, "public_key"), *why = "";
	char label[NTM_LABEL_MAX + 1], token[TOKEN_BYTES * 8 / 5 + 1], actor[ACTOR_LEN];
	struct ntm_enrolment e = {.label = label, .token = token, .last_index = dc->conf->pool.last};
	struct ntm_node_record rec;
	uint8_t key[NTM_DH_LEN];
	json_object *result;
	int err;

	if (!name || ntm_dc_label(dc, name, label) || ntm_dns_reserved(label)) {
		ntm_ctl_error(c, "bad_name", "node_add needs a name of the zone %s", dc->conf->zone);
		return;
	}
	if (!text || ntm_key_from_text(text, key)) {
		ntm_ctl_error(c, "bad_argument", "node_add needs a public key, as `ntm pubkey` prints it");
		return;
	}
	e.public_key = key;
	e.now_s = ntm_dc_wall_s();
	err = make_token(token);
	if (!err)
		err = dc->store->ops->token_create(dc->store, token, label, e.now_s, e.now_s + 60);
	if (!err)
		err = dc->store->ops->enrol(dc->store, &e, &rec, &why);
	ntm_wipe(token, sizeof(token));
	if (err == -EALREADY) {
		ntm_ctl_error(c, "key_taken", "this key is that of %s", rec.label);
	} else if (err == -EEXIST) {
		ntm_ctl_error(c, "name_taken", "%s: %s", label, why);
	} else if (err) {
		ntm_ctl_error(c, "internal", "cannot add %s: %s", label, *why ? why : strerror(-err));
	} else {
		ntm_dc_audit(dc, actor_of(c, actor), "node_add", label, text);
		ntm_dc_dns_changed(dc, &rec);
		result = json_object_new_object();
		add_string(result, "name", label);
		ntm_ctl_result(c, result);
	}
}

struct listing {
	struct ntm_dc *dc;
	json_object *nodes;
};

/* The clock may have been set back since. */
static int64_t age_s(int64_t since_s)
{
	int64_t now_s = ntm_dc_wall_s();

	return now_s > since_s ? now_s - since_s : 0;
}

static int list_node(void *arg, const struct ntm_node_record *rec)
{
	struct listing *l = arg;
	struct ntm_dc *dc = l->dc;
	const struct ntm_dc_node *live = ntm_dc_node_by_key(&dc->nodes, rec->public_key);
	char text[NTM_NAME_MAX + 1], addr[NTM_ADDR_STRLEN], key[NTM_KEY_TEXT_LEN + 1];
	const struct ntm_addr *endpoint = live ? &live->rec.endpoint : &rec->endpoint;
	json_object *o = json_object_new_object();
	uint8_t vip4[4], vip6[16], ip[16];

	if (!o)
		return -ENOMEM;
	if (ntm_dc_fqdn(dc, rec->label, text, sizeof(text)))
		snprintf(text, sizeof(text), "%s", rec->label);
	add_string(o, "name", text);
	if (rec->index) {
		ntm_pool_addresses(&dc->conf->pool, rec->index, vip4, vip6);
		ntm_ip_from_v4(ip, vip4);
		add_string(o, "vip4", ntm_ip_format(ip, addr));
		add_string(o, "vip6", ntm_ip_format(vip6, addr));
	} else {
		add_string(o, "vip4", NULL);
		add_string(o, "vip6", NULL);
	}
	ntm_key_to_text(rec->public_key, key);
	add_string(o, "public_key", key);
	add_bool(o, "online", live && live->online);
	add_string(o, "endpoint", endpoint->port ? ntm_addr_format(endpoint, addr) : NULL);
	if (live)
		add_int(o, "last_seen_s", (int64_t)((ntm_dc_now(dc) - live->last_seen_ms) / 1000));
	else if (rec->last_seen_s)
		add_int(o, "last_seen_s", age_s(rec->last_seen_s));
	else
		json_object_object_add(o, "last_seen_s", NULL);
	add_bool(o, "relay", rec->relay);
	add_bool(o, "revoked", rec->revoked_s != 0);
	json_object_array_add(l->nodes, o);
	return 0;
}

static void cmd_nodes(struct ntm_dc *dc, struct ntm_ctl_client *c)
{
	struct listing l = {dc, json_object_new_array()};
	int err = dc->store->ops->each_node(dc->store, NTM_STORE_ALL, list_node, &l);

	if (!err) {
		ntm_ctl_result(c, l.nodes);
		return;
	}
	json_object_put(l.nodes);
	ntm_ctl_error(c, "internal", "cannot list nodes: %s", strerror(-err));
}

static void cmd_revoke(struct ntm_dc *dc, struct ntm_ctl_client *c, json_object *request)
{
	const char *name = argument(request, "name");
	char label[NTM_LABEL_MAX + 1], actor[ACTOR_LEN];
	json_object *result;
	int err;

	if (!name) {
		ntm_ctl_error(c, "bad_argument", "revoke needs a name");
		return;
	}
	err = ntm_dc_label(dc, name, label) ? -ENOENT : 0;
	if (!err && ntm_dc_relay_by_name(&dc->relays, label)) {
		ntm_ctl_error(c, "relay", "%s is a relay of the configuration: take it out there, then reload", label);
		return;
	}
	if (!err)
		err = ntm_dc_revoke(dc, label);
	if (err == -ENOENT) {
		ntm_ctl_error(c, "no_such_name", "no node is named %s", name);
	} else if (err == -EALREADY) {
		ntm_ctl_error(c, "revoked", "%s was revoked before", label);
	} else if (err) {
		ntm_ctl_error(c, "internal", "cannot revoke %s: %s", label, strerror(-err));
	} else {
		ntm_dc_audit(dc, actor_of(c, actor), "revoke", label, NULL);
		result = json_object_new_object();
		add_string(result, "name", label);
		json_object_object_add(result, "revoked", json_object_new_boolean(true));
		ntm_ctl_result(c, result);
	}
}

static void cmd_paths(struct ntm_dc *dc, struct ntm_ctl_client *c)
{
	json_object *list = json_object_new_array();
	char text[NTM_NAME_MAX + 1];
	struct ntm_dc_path *p;

	for (p = TAILQ_FIRST(&dc->paths.all); p; p = TAILQ_NEXT(p, link)) {
		const struct ntm_dc_relay *relay = ntm_dc_path_relay(dc, p);
		json_object *o = json_object_new_object();

		snprintf(text, sizeof(text), "%016" PRIx64, p->id);
		add_string(o, "path_id", text);
		add_string(o, "a", ntm_dc_node_fqdn(dc, p->ends[0], text, sizeof(text)) ? NULL : text);
		add_string(o, "b", ntm_dc_node_fqdn(dc, p->ends[1], text, sizeof(text)) ? NULL : text);
		add_string(o, "relay", relay ? relay->info.name : p->peer_relay ? p->peer_relay->name : NULL);
		add_bool(o, "gateway", p->gateway);
		add_int(o, "age_s", (int64_t)((ntm_dc_now(dc) - p->created_ms) / 1000));
		json_object_array_add(list, o);
	}
	ntm_ctl_result(c, list);
}

static void add_endpoint(json_object *o, const char *key, const struct ntm_addr *a)
{
	char text[NTM_ADDR_STRLEN];

	add_string(o, key, a->port ? ntm_addr_format(a, text) : NULL);
}

static void cmd_relays(struct ntm_dc *dc, struct ntm_ctl_client *c)
{
	json_object *list = json_object_new_array();

	for (unsigned i = 0; i < dc->relays.n; i++) {
		const struct ntm_dc_relay *r = dc->relays.items[i];
		json_object *o = json_object_new_object();

		add_string(o, "name", r->info.name);
		add_bool(o, "online", r->state != NTM_DC_RELAY_OFFLINE);
		add_bool(o, "draining", r->state == NTM_DC_RELAY_DRAINING);
		add_bool(o, "gateway", ntm_dc_relay_is_gateway(r));
		add_int(o, "paths", r->load.paths);
		add_int(o, "paths_max", r->load.paths_max);
		add_int(o, "packets_per_s", r->load.packets_per_s);
		add_int(o, "bytes_per_s", (int64_t)r->load.bytes_per_s);
		add_int(o, "drops_per_s", r->load.drops_per_s);
		add_int(o, "cpu_permille", r->load.cpu_permille);
		add_endpoint(o, "endpoint4", &r->info.ep4);
		add_endpoint(o, "endpoint6", &r->info.ep6);
		json_object_array_add(list, o);
	}
	ntm_ctl_result(c, list);
}

static unsigned relays_online(const struct ntm_dc *dc)
{
	unsigned n = 0;

	for (unsigned i = 0; i < dc->relays.n; i++)
		n += dc->relays.items[i]->state != NTM_DC_RELAY_OFFLINE;
	return n;
}

static void add_dns(const struct ntm_dc *dc, json_object *counters)
{
	const struct ntm_dns_stats *s = ntm_dc_dns_server_stats(dc);
	struct ntm_dns_update_stats u;

	if (s) {
		add_int(counters, "dns_udp_queries", (int64_t)s->udp_queries);
		add_int(counters, "dns_tcp_queries", (int64_t)s->tcp_queries);
		add_int(counters, "dns_repeated", (int64_t)s->repeated);
		add_int(counters, "dns_rate_limited", (int64_t)s->rate_limited);
		add_int(counters, "dns_transfers", (int64_t)s->transfers);
	}
	if (ntm_dc_dns_update_stats(dc, &u)) {
		add_int(counters, "dns_names_updated", (int64_t)u.names);
		add_int(counters, "dns_names_waiting", (int64_t)u.waiting);
		add_int(counters, "dns_update_failures", (int64_t)u.failures);
	}
}

static void add_process(void *arg, uint64_t holder, bool up, const char *addr)
{
	json_object *o = json_object_new_object();
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, holder);
	add_string(o, "process", text);
	add_string(o, "address", addr);
	add_bool(o, "up", up);
	json_object_array_add(arg, o);
}

/* The other processes of this DC; nothing where there can be none. */
static void add_processes(const struct ntm_dc *dc, json_object *o)
{
	struct ntm_dc_cluster_stats s;
	json_object *list;

	if (!ntm_dc_cluster_stats(dc, &s))
		return;
	list = json_object_new_array();
	ntm_dc_cluster_each(dc, add_process, list);
	json_object_object_add(o, "processes", list);
	add_int(o, "nodes_elsewhere", (int64_t)s.nodes_elsewhere);
	add_bool(o, "store_up", dc->store->ops->health(dc->store).up);
}

/* Its keys, and how many of the nodes that are online have been told of all. */
static void add_keys(const struct ntm_dc *dc, json_object *o)
{
	json_object *list = json_object_new_array();
	const struct ntm_dc_node *n;
	char text[NTM_KEY_TEXT_LEN + 1];
	int64_t told = 0;

	for (size_t i = 0; i < dc->ids.n; i++) {
		json_object *k = json_object_new_object();

		ntm_key_to_text(dc->ids.items[i].pub, text);
		add_string(k, "public_key", text);
		add_string(k, "state", ntm_dc_key_state_name(dc->ids.items[i].state));
		json_object_array_add(list, k);
	}
	TAILQ_FOREACH(n, &dc->nodes.online, online_link)
	told += n->keys_generation == dc->ids.generation;
	for (unsigned i = 0; i < dc->relays.n; i++) {
		n = dc->relays.items[i]->node;
		told += n && n->online && n->keys_generation == dc->ids.generation;
	}
	json_object_object_add(o, "keys", list);
	add_int(o, "keys_told", told);
}

static void cmd_status(struct ntm_dc *dc, struct ntm_ctl_client *c)
{
	json_object *o = json_object_new_object(), *listen = json_object_new_array();
	json_object *counters = json_object_new_object();
	const struct ntm_dc_net_stats *net = ntm_dc_net_stats(dc->net);
	char text[NTM_ADDR_STRLEN > NTM_KEY_TEXT_LEN ? NTM_ADDR_STRLEN : NTM_KEY_TEXT_LEN + 1];
	uint64_t n;

	ntm_key_to_text(dc->pub, text);
	add_string(o, "zone", dc->conf->zone);
	add_string(o, "version", NTM_VERSION);
	add_string(o, "public_key", text);
	for (size_t i = 0; i < dc->conf->listen.n; i++)
		json_object_array_add(
		    listen, json_object_new_string(ntm_addr_format(ntm_dc_net_bound(dc->net, (uint16_t)i), text)));
	json_object_object_add(o, "listen", listen);
	add_keys(dc, o);
	add_int(o, "uptime_s", (int64_t)((ntm_dc_now(dc) - dc->started_ms) / 1000));
	if (dc->store->ops->count_nodes(dc->store, &n))
		json_object_object_add(o, "nodes", NULL);
	else
		add_int(o, "nodes", (int64_t)n);
	add_int(o, "online", (int64_t)dc->nodes.n_online);
	add_int(o, "sessions", (int64_t)dc->sessions.by_id.n);
	add_int(o, "paths", (int64_t)dc->paths.by_pair.n);
	add_int(o, "relays", dc->relays.n);
	add_int(o, "relays_online", relays_online(dc));
	add_processes(dc, o);
	add_int(counters, "rx", (int64_t)net->rx);
	add_int(counters, "tx", (int64_t)net->tx);
	add_int(counters, "tx_dropped", (int64_t)net->tx_dropped);
	add_int(counters, "sessions_evicted", (int64_t)dc->sessions.evicted);
	add_int(counters, "requests_unanswered", (int64_t)dc->outbox.unanswered);
#define X(symbol, meaning) add_int(counters, #symbol, (int64_t)dc->counters.symbol);
	NTM_DC_COUNTERS(X)
#undef X
	add_dns(dc, counters);
	json_object_object_add(o, "counters", counters);
	ntm_ctl_result(c, o);
}

static void on_command(struct ntm_ctl_client *c, const char *cmd, json_object *request, void *arg)
{
	struct ntm_dc *dc = arg;

	if (!strcmp(cmd, "token_create"))
		cmd_token_create(dc, c, request);
	else if (!strcmp(cmd, "nodes"))
		cmd_nodes(dc, c);
	else if (!strcmp(cmd, "node_add"))
		cmd_node_add(dc, c, request);
	else if (!strcmp(cmd, "backup"))
		ntm_dc_backup(dc, c, argument(request, "file"));
	else if (!strcmp(cmd, "revoke"))
		cmd_revoke(dc, c, request);
	else if (!strcmp(cmd, "paths"))
		cmd_paths(dc, c);
	else if (!strcmp(cmd, "relays"))
		cmd_relays(dc, c);
	else if (!strcmp(cmd, "events"))
		ntm_dc_events_command(dc, c, request);
	else if (!strcmp(cmd, "status"))
		cmd_status(dc, c);
	else
		ntm_ctl_error(
		    c, "unknown_command",
		    "this is a DC: it knows token_create, node_add, nodes, revoke, paths, relays, events, backup, status");
}

static void on_closed(struct ntm_ctl_client *c, void *arg)
{
	/* every other command is answered before it returns */
	ntm_dc_backup_closed(arg, c);
	ntm_dc_events_closed(arg, c);
}

int ntm_dc_control_start(struct ntm_dc *dc)
{
	const struct group *group = NULL;
	int err;

	if (mkdir(dc->conf->runtime_dir, 0755) && errno != EEXIST)
		return -errno;
	if (dc->conf->admin_group) {
		group = getgrnam(dc->conf->admin_group);
		if (!group) {
			ntm_err("admin_group: no group is named %s", dc->conf->admin_group);
			return -EINVAL;
		}
	}
	err = ntm_ctl_server_start(&dc->ctl, dc->loop, dc->conf->runtime_dir, on_command, on_closed, dc);
	return err || !group ? err : ntm_ctl_server_admit(dc->ctl, group->gr_gid);
}
