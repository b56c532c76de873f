/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ntm/limits.h>

#include "relays.h"

#define DEFAULT_RUNTIME_DIR "/run/ntm-dc"

static int parse_store(const char *v, void *field, char *why, size_t cap)
{
	if (!strncmp(v, "sqlite:", 7) && v[7])
		return ntm_conf_path(v + 7, field, why, cap);
	if (!strncmp(v, "postgres:", 9)) {
		char *text = strdup(v);

		if (!text) {
			snprintf(why, cap, "out of memory");
			return -ENOMEM;
		}
		free(*(char **)field);
		*(char **)field = text;
		return 0;
	}
	if (!strncmp(v, "postgresql:", 11))
		snprintf(why, cap, "PostgreSQL is postgres:CONNINFO, which may be a URI: postgres:postgresql://...");
	else
		snprintf(why, cap, "not a store: use sqlite:FILE or postgres:CONNINFO");
	return -EINVAL;
}

static int parse_seconds(const char *v, void *field, char *why, size_t cap)
{
	uint32_t s;
	int err = ntm_conf_uint(v, &s, why, cap);

	if (err)
		return err;
	if (s < 1 || s > 3600) {
		snprintf(why, cap, "not between 1 and 3600 seconds");
		return -EINVAL;
	}
	*(uint32_t *)field = s;
	return 0;
}

static int parse_vip4_pool(const char *v, void *field, char *why, size_t cap)
{
	struct ntm_prefix p;
	int err = ntm_conf_prefix(v, &p, why, cap);

	if (err)
		return err;
	if (!ntm_ip_is_v4(p.ip) || p.len < 96 || p.len > 126) {
		snprintf(why, cap, "not an IPv4 prefix of length 30 or shorter");
		return -EINVAL;
	}
	*(struct ntm_prefix *)field = p;
	return 0;
}

static int parse_vip6_pool(const char *v, void *field, char *why, size_t cap)
{
	struct ntm_prefix p;
	int err = ntm_conf_prefix(v, &p, why, cap);

	if (err)
		return err;
	if (ntm_ip_is_v4(p.ip) || p.len > 126) {
		snprintf(why, cap, "not an IPv6 prefix of length 126 or shorter");
		return -EINVAL;
	}
	*(struct ntm_prefix *)field = p;
	return 0;
}

static int parse_listen(const char *v, void *field, char *why, size_t cap)
{
	struct ntm_addr_list l = {0};
	int err = ntm_conf_addrs(v, &l, why, cap);

	if (err)
		return err;
	if (!l.n || l.n > 64) {
		snprintf(why, cap, "needs 1 to 64 addresses");
		free(l.addrs);
		return -EINVAL;
	}
	free(((struct ntm_addr_list *)field)->addrs);
	*(struct ntm_addr_list *)field = l;
	return 0;
}

#define DC(key, parse, field, required)                                           \
	{                                                                         \
		"dc", key, parse, offsetof(struct ntm_dc_config, field), required \
	}
#define REMOTE(section, key, parse, field)                                            \
	{                                                                             \
		section " *", key, parse, offsetof(struct ntm_dc_remote, field), true \
	}

static const struct ntm_conf_key keys[] = {
    DC("zone", ntm_conf_zone, zone, true),
    DC("listen", parse_listen, listen, true),
    DC("private_key_file", ntm_conf_path, private_key_file, true),
    DC("next_private_key_file", ntm_conf_path, next_key_file, false),
    DC("previous_private_key_file", ntm_conf_path, previous_key_file, false),
    DC("vip4_pool", parse_vip4_pool, vip4_pool, true),
    DC("vip6_pool", parse_vip6_pool, vip6_pool, true),
    DC("store", parse_store, store_file, true),
    DC("process_address", parse_listen, process_address, false),
    DC("dns_listen", parse_listen, dns_listen, false),
    DC("dns", ntm_dc_conf_dns_mode, dns.mode, false),
    DC("publish", ntm_dc_conf_dns_publish, dns.publish, false),
    DC("dns_transfer", ntm_dc_conf_dns_prefixes, dns.transfer, false),
    DC("dns_rate_limit", ntm_conf_uint, dns.rate, false),
    DC("dns_server", ntm_dc_conf_dns_server, dns.server, false),
    DC("dns_key_name", ntm_dc_conf_dns_name, dns.key_name, false),
    DC("dns_key_file", ntm_conf_path, dns.key_file, false),
    DC("dns_reverse_zones", ntm_dc_conf_dns_zones, dns.reverse_zones, false),
    DC("runtime_dir", ntm_conf_path, runtime_dir, false),
    DC("policy", ntm_conf_path, policy_file, false),
    DC("admin_group", ntm_conf_string, admin_group, false),
    DC("audit_log", ntm_conf_path, audit_file, false),
    DC("metrics_listen", ntm_conf_listen, metrics_listen, false),
    DC("cookie_threshold", ntm_conf_uint, cookie_threshold, false),
    DC("lifetime", parse_seconds, lifetime_s, false),
    DC("keepalive", parse_seconds, keepalive_s, false),
    REMOTE("relay", "public_key", ntm_conf_keys, keys),
    REMOTE("relay", "endpoint", parse_listen, endpoints),
    REMOTE("peer", "public_key", ntm_conf_keys, keys),
    REMOTE("peer", "endpoint", parse_listen, endpoints),
};

/* A relay's name is a label, a peer's its zone. */
static void *new_remote(void *conf, const char *kind, const char *name, char *why, size_t cap)
{
	struct ntm_dc_config *c = conf;
	bool is_peer = !strcmp(kind, "peer");
	struct ntm_dc_remotes *list = is_peer ? &c->peers : &c->relays;
	char normal[NTM_NAME_MAX + 1];
	struct ntm_dc_remote **items, *r;

	if (is_peer ? ntm_conf_zone(name, normal, why, cap) : ntm_conf_label(name, normal, why, cap))
		return NULL;
	if (!is_peer && ntm_dns_reserved(normal)) {
		snprintf(why, cap, "the zone's own name");
		return NULL;
	}
	for (size_t i = 0; i < list->n; i++) {
		if (!strcmp(list->items[i]->name, normal)) {
			snprintf(why, cap, "section given twice");
			return NULL;
		}
	}
	items = realloc(list->items, (list->n + 1) * sizeof(struct ntm_dc_remote *));
	if (items)
		list->items = items;
	r = items ? calloc(1, sizeof(*r)) : NULL;
	if (r)
		r->name = strdup(normal);
	if (!r || !r->name) {
		free(r);
		snprintf(why, cap, "out of memory");
		return NULL;
	}
	list->items[list->n++] = r;
	return r;
}

static void free_remotes(struct ntm_dc_remotes *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->items[i]->name);
		free(l->items[i]->endpoints.addrs);
		free(l->items[i]);
	}
	free(l->items);
}

void ntm_dc_config_free(struct ntm_dc_config *c)
{
	free(c->listen.addrs);
	free(c->process_address.addrs);
	free(c->dns_listen.addrs);
	ntm_dc_dns_config_free(&c->dns);
	free(c->private_key_file);
	free(c->next_key_file);
	free(c->previous_key_file);
	free(c->store_file);
	free(c->runtime_dir);
	free(c->policy_file);
	free(c->audit_file);
	free(c->admin_group);
	free(c->metrics_listen.path);
	free_remotes(&c->relays);
	free_remotes(&c->peers);
	memset(c, 0, sizeof(*c));
}

/* One address of a family is what nodes can be told of a relay. */
static bool one_of_each_family(const struct ntm_dc_remote *r)
{
	unsigned n[2] = {0, 0};

	for (size_t i = 0; i < r->endpoints.n; i++)
		n[ntm_ip_is_v4(r->endpoints.addrs[i].ip)]++;
	return n[0] < 2 && n[1] < 2;
}

static bool share_key(const struct ntm_dc_remote *a, const struct ntm_dc_remote *b)
{
	for (size_t i = 0; i < a->keys.n; i++) {
		if (ntm_key_list_has(&b->keys, a->keys.keys[i]))
			return true;
	}
	return false;
}

static int check_relays(const char *file, const struct ntm_dc_config *c, char *err, size_t cap)
{
	if (c->relays.n > NTM_DC_RELAYS_MAX) {
		snprintf(err, cap, "%s: more than %d relays", file, NTM_DC_RELAYS_MAX);
		return -EINVAL;
	}
	for (size_t i = 0; i < c->relays.n; i++) {
		const struct ntm_dc_remote *r = c->relays.items[i];

		if (!one_of_each_family(r)) {
			snprintf(err, cap, "%s: [relay %s]: endpoint takes one IPv4 and one IPv6 address", file,
				 r->name);
			return -EINVAL;
		}
		for (size_t k = 0; k < i; k++) {
			if (share_key(c->relays.items[k], r)) {
				snprintf(err, cap, "%s: [relay %s] and [relay %s] have one key", file,
					 c->relays.items[k]->name, r->name);
				return -EINVAL;
			}
		}
	}
	return 0;
}

int ntm_dc_config_load(const char *file, struct ntm_dc_config *c, char *err, size_t cap)
{
	char why[160];
	int rc;

	memset(c, 0, sizeof(*c));
	c->cookie_threshold = 2000;
	c->lifetime_s = 120;
	c->keepalive_s = 15;
	c->dns.rate = NTM_DC_DNS_RATE;
	rc = ntm_conf_load(file, keys, sizeof(keys) / sizeof(keys[0]), new_remote, c, err, cap);
	if (!rc && !c->runtime_dir) {
		c->runtime_dir = strdup(DEFAULT_RUNTIME_DIR);
		if (!c->runtime_dir) {
			snprintf(err, cap, "%s: out of memory", file);
			rc = -ENOMEM;
		}
	}
	if (!rc && c->keepalive_s * 2 > c->lifetime_s) {
		snprintf(err, cap, "%s: lifetime must be at least twice keepalive", file);
		rc = -EINVAL;
	}
	if (!rc) {
		rc = ntm_dc_dns_config_check(&c->dns, c->zone, c->dns_listen.n, why, sizeof(why));
		if (rc)
			snprintf(err, cap, "%s: %s", file, why);
	}
	if (!rc)
		rc = check_relays(file, c, err, cap);
	for (size_t i = 0; !rc && i < c->peers.n; i++) {
		if (!strcmp(c->peers.items[i]->name, c->zone)) {
			snprintf(err, cap, "%s: [peer %s] is this DC's own zone", file, c->zone);
			rc = -EINVAL;
		}
	}
	if (!rc) {
		rc = ntm_pool_init(&c->pool, &c->vip4_pool, &c->vip6_pool, why, sizeof(why));
		if (rc)
			snprintf(err, cap, "%s: %s", file, why);
	}
	if (rc)
		ntm_dc_config_free(c);
	return rc;
}
