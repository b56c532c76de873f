/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../bpf/lib/general.h"

enum { ROUTES_MAX = 256, GATEWAY_TABLE = 4680, GATEWAY_MARK = 0x1248 };

static int refuse(char *why, size_t cap, const char *text)
{
	snprintf(why, cap, "%s", text);
	return -EINVAL;
}

int ntm_node_conf_interface(const char *v, void *field, char *why, size_t cap)
{
	size_t len = strlen(v);

	/* The peer's name has one letter more. */
	if (len == 0 || len > IFNAMSIZ - 2)
		return refuse(why, cap, "not an interface name of 1 to 14 characters");
	if (v[strcspn(v, "/: \t")] || !strcmp(v, ".") || !strcmp(v, ".."))
		return refuse(why, cap, "an interface name has no '/', ':' or blanks");
	return ntm_conf_string(v, field, why, cap);
}

int ntm_node_conf_uplinks(const char *v, void *field, char *why, size_t cap)
{
	struct ntm_string_list list = {0}, *out = field;
	int err;

	if (!strcasecmp(v, "auto"))
		return 0;
	err = ntm_conf_strings(v, &list, why, cap);
	if (err)
		return err;
	for (size_t i = 0; i < list.n && !err; i++)
		if (!list.items[i][0] || strlen(list.items[i]) >= IFNAMSIZ)
			err = refuse(why, cap, "not `auto` or a list of interface names");
	if (!err && list.n == 0)
		err = refuse(why, cap, "empty list of interfaces");
	if (err) {
		for (size_t i = 0; i < list.n; i++)
			free(list.items[i]);
		free(list.items);
		return err;
	}
	*out = list;
	return 0;
}

int ntm_node_conf_xdp_mode(const char *v, void *field, char *why, size_t cap)
{
	enum ntm_xdp_mode *mode = field;

	if (!strcmp(v, "auto"))
		*mode = NTM_XDP_AUTO;
	else if (!strcmp(v, "native"))
		*mode = NTM_XDP_NATIVE;
	else if (!strcmp(v, "generic"))
		*mode = NTM_XDP_GENERIC;
	else if (!strcmp(v, "tc"))
		*mode = NTM_XDP_TC;
	else
		return refuse(why, cap, "not one of auto, native, generic, tc");
	return 0;
}

static int parse_datapath(const char *v, void *field, char *why, size_t cap)
{
	bool *user = field;

	*user = !strcmp(v, "user");
	return *user || !strcmp(v, "bpf") ? 0 : refuse(why, cap, "not one of bpf, user");
}

static int parse_bulk(const char *v, void *field, char *why, size_t cap)
{
	bool *no_bulk = field;

	if (strcmp(v, "auto") && strcmp(v, "off"))
		return refuse(why, cap, "not one of auto, off");
	*no_bulk = !strcmp(v, "off");
	return 0;
}

static int parse_dns_mode(const char *v, void *field, char *why, size_t cap)
{
	enum ntm_dns_mode *mode = field;

	if (!strcmp(v, "auto"))
		*mode = NTM_DNS_AUTO;
	else if (!strcmp(v, "off"))
		*mode = NTM_DNS_OFF;
	else if (!strcmp(v, "stub"))
		*mode = NTM_DNS_STUB;
	else if (!strcmp(v, "resolved"))
		*mode = NTM_DNS_RESOLVED;
	else if (!strcmp(v, "resolvconf"))
		*mode = NTM_DNS_RESOLVCONF;
	else if (!strcmp(v, "hook"))
		*mode = NTM_DNS_HOOK;
	else if (!strcmp(v, "tun"))
		*mode = NTM_DNS_TUN;
	else
		return refuse(why, cap, "not one of auto, resolved, resolvconf, hook, tun, stub, off");
	return 0;
}

int ntm_node_conf_log_level(const char *v, void *field, char *why, size_t cap)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	enum ntm_log_level *level = field;

	for (unsigned i = 0; i < 4; i++) {
		if (!strcmp(v, names[i])) {
			*level = (enum ntm_log_level)i;
			return 0;
		}
	}
	return refuse(why, cap, "not one of error, warn, info, debug");
}

static int parse_max_paths(const char *v, void *field, char *why, size_t cap)
{
	uint32_t n;
	int err = ntm_conf_uint(v, &n, why, cap);

	if (err)
		return err;
	if (n < 2 || n > 1u << 20)
		return refuse(why, cap, "not between 2 and 1048576");
	*(uint32_t *)field = n;
	return 0;
}

/* A comma-separated list whose items have a default port. */
static int parse_addrs(const char *v, void *field, uint16_t dflt_port, char *why, size_t cap)
{
	struct ntm_addr_list list = {0}, *out = field;
	struct ntm_string_list words = {0};
	int err = ntm_conf_strings(v, &words, why, cap);

	if (err)
		return err;
	list.addrs = calloc(words.n ? words.n : 1, sizeof(*list.addrs));
	if (!list.addrs)
		err = -ENOMEM;
	for (size_t i = 0; i < words.n && !err; i++) {
		err = ntm_addr_parse(words.items[i], dflt_port, &list.addrs[i]);
		if (!err && (ntm_ip_is_zero(list.addrs[i].ip) || !list.addrs[i].port))
			err = -EINVAL;
		if (err)
			snprintf(why, cap, "%s: not an address", words.items[i]);
		else
			list.n++;
	}
	if (!err && !list.n)
		err = refuse(why, cap, "empty list of addresses");
	for (size_t i = 0; i < words.n; i++)
		free(words.items[i]);
	free(words.items);
	if (err) {
		free(list.addrs);
		return err;
	}
	free(out->addrs);
	*out = list;
	return 0;
}

int ntm_node_conf_endpoints(const char *v, void *field, char *why, size_t cap)
{
	return parse_addrs(v, field, NTM_PORT, why, cap);
}

static int parse_upstreams(const char *v, void *field, char *why, size_t cap)
{
	return parse_addrs(v, field, 53, why, cap);
}

static int parse_listen(const char *v, void *field, char *why, size_t cap)
{
	struct ntm_addr a;

	if (ntm_addr_parse(v, 53, &a))
		return refuse(why, cap, "not an address");
	*(struct ntm_addr *)field = a;
	return 0;
}

static int parse_token(const char *v, void *field, char *why, size_t cap)
{
	size_t len = strlen(v);

	if (len == 0 || len > NTM_TOKEN_MAX)
		return refuse(why, cap, "not a token of 1 to 64 characters");
	for (size_t i = 0; i < len; i++)
		if (v[i] <= ' ' || v[i] > '~')
			return refuse(why, cap, "a token has no blanks or control characters");
	return ntm_conf_string(v, field, why, cap);
}

/* Not this host, nor this link, nor multicast; a shorter prefix has others in it, too. */
static bool is_routable(const struct ntm_prefix *p)
{
	bool v4 = p->len >= 96 && ntm_ip_is_v4(p->ip);
	uint32_t ip[4];

	memcpy(ip, p->ip, sizeof(ip));
	return p->len - (v4 ? 96 : 0) < 8 || (v4 ? ntm_is_general4(&ip[3]) : ntm_is_general6(ip));
}

static int parse_routes(const char *v, void *field, char *why, size_t cap)
{
	struct ntm_prefix_list list = {0}, *out = field;
	struct ntm_string_list words = {0};
	int err = ntm_conf_strings(v, &words, why, cap);

	if (err)
		return err;
	list.prefixes = calloc(words.n ? words.n : 1, sizeof(*list.prefixes));
	if (!list.prefixes)
		err = -ENOMEM;
	for (size_t i = 0; i < words.n && !err; i++) {
		struct ntm_prefix *p = &list.prefixes[list.n];

		err = ntm_prefix_parse(words.items[i], p);
		if (err) {
			snprintf(why, cap, "%.60s: not a prefix like 198.51.100.0/24, or with host bits",
				 words.items[i]);
		} else if (!is_routable(p)) {
			snprintf(why, cap, "%.60s: no gateway leads there", words.items[i]);
			err = -EINVAL;
		} else {
			list.n++;
		}
	}
	if (!err && !list.n)
		err = refuse(why, cap, "empty list of prefixes");
	if (!err && list.n > ROUTES_MAX)
		err = refuse(why, cap, "more than 256 prefixes");
	for (size_t i = 0; i < words.n; i++)
		free(words.items[i]);
	free(words.items);
	if (err) {
		free(list.prefixes);
		return err;
	}
	free(out->prefixes);
	*out = list;
	return 0;
}

/* 253 to 255 are the kernel's tables default, main and local. */
static int parse_table(const char *v, void *field, char *why, size_t cap)
{
	uint32_t n;
	int err = ntm_conf_uint(v, &n, why, cap);

	if (err)
		return err;
	if (!n || (n >= 253 && n <= 255))
		return refuse(why, cap, "not a routing table of its own");
	*(uint32_t *)field = n;
	return 0;
}

static int parse_mark(const char *v, void *field, char *why, size_t cap)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(v, &end, 0);
	if (*v < '0' || *v > '9' || *end || errno || !n || n > UINT32_MAX)
		return refuse(why, cap, "not a mark, 1 to 0xffffffff");
	*(uint32_t *)field = (uint32_t)n;
	return 0;
}

static int parse_settle(const char *v, void *field, char *why, size_t cap)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(v, &end, 10);
	if (*v < '0' || *v > '9' || *end || errno || n > 60000)
		return refuse(why, cap, "not a time in milliseconds, 0 to 60000");
	*(uint32_t *)field = (uint32_t)n;
	return 0;
}

static int parse_duplicate(const char *v, void *field, char *why, size_t cap)
{
	uint32_t ms;

	if (parse_settle(v, &ms, why, cap) || ms > NTM_UPLINK_DUPLICATE_MS)
		return refuse(why, cap, "not a time in milliseconds, 0 to 5000");
	*(uint32_t *)field = ms;
	return 0;
}

#define FIELD(f) offsetof(struct ntm_node_config, f)
static const struct ntm_conf_key keys[] = {
    {"node", "name", ntm_conf_label, FIELD(name), true},
    {"node", "private_key_file", ntm_conf_path, FIELD(private_key_file), true},
    {"node", "interface", ntm_node_conf_interface, FIELD(interface), false},
    {"node", "port", ntm_conf_port, FIELD(port), false},
    {"node", "uplinks", ntm_node_conf_uplinks, FIELD(uplinks), false},
    {"node", "uplink_prefer", ntm_node_conf_uplinks, FIELD(uplink_prefer), false},
    {"node", "uplink_settle_ms", parse_settle, FIELD(uplink_settle_ms), false},
    {"node", "uplink_duplicate_ms", parse_duplicate, FIELD(uplink_duplicate_ms), false},
    {"node", "xdp_mode", ntm_node_conf_xdp_mode, FIELD(xdp_mode), false},
    {"node", "datapath", parse_datapath, FIELD(user_datapath), false},
    {"node", "bulk", parse_bulk, FIELD(no_bulk), false},
    {"node", "runtime_dir", ntm_conf_path, FIELD(runtime_dir), false},
    {"node", "max_paths", parse_max_paths, FIELD(max_paths), false},
    {"node", "metrics_listen", ntm_conf_listen, FIELD(metrics_listen), false},
    {"node", "log_level", ntm_node_conf_log_level, FIELD(log_level), false},
    {"dc", "endpoint", ntm_node_conf_endpoints, FIELD(dc_endpoints), true},
    {"dc", "public_key", ntm_conf_keys, FIELD(dc_keys), true},
    {"dc", "token", parse_token, FIELD(dc_token), false},
    {"dns", "mode", parse_dns_mode, FIELD(dns_mode), false},
    {"dns", "listen", parse_listen, FIELD(dns_listen), false},
    {"dns", "address", parse_upstreams, FIELD(dns_addresses), false},
    {"dns", "upstream", parse_upstreams, FIELD(dns_upstreams), false},
    {"dns", "cgroup", ntm_conf_path, FIELD(dns_cgroup), false},
    {"gateway", "routes", parse_routes, FIELD(gateway_routes), false},
    {"gateway", "table", parse_table, FIELD(gateway_table), false},
    {"gateway", "mark", parse_mark, FIELD(gateway_mark), false},
};

int ntm_node_config_load(struct ntm_node_config *c, const char *file, char *err, size_t cap)
{
	int ret;

	*c = (struct ntm_node_config){.port = NTM_PORT,
				      .uplink_settle_ms = NTM_UPLINK_SETTLE_MS,
				      .log_level = NTM_LOG_INFO,
				      .gateway_table = GATEWAY_TABLE,
				      .gateway_mark = GATEWAY_MARK};
	if (ntm_addr_parse("127.0.0.54:53", 53, &c->dns_listen))
		return -EINVAL;
	c->interface = strdup("ntm0");
	c->runtime_dir = strdup("/run/ntm");
	if (!c->interface || !c->runtime_dir) {
		snprintf(err, cap, "%s: out of memory", file);
		ret = -ENOMEM;
	} else {
		ret = ntm_conf_load(file, keys, sizeof(keys) / sizeof(keys[0]), NULL, c, err, cap);
	}
	if (!ret && !c->user_datapath && !strcmp(c->interface, NTM_INTERFACE_FD)) {
		snprintf(err, cap, "%s: interface = fd goes with datapath = user", file);
		ret = -EINVAL;
	}
	if (!ret && !c->user_datapath && c->dns_mode == NTM_DNS_TUN) {
		snprintf(err, cap, "%s: dns.mode = tun goes with datapath = user", file);
		ret = -EINVAL;
	}
	if (ret)
		ntm_node_config_free(c);
	return ret;
}

void ntm_node_config_free(struct ntm_node_config *c)
{
	free(c->private_key_file);
	free(c->interface);
	free(c->runtime_dir);
	free(c->metrics_listen.path);
	free(c->dc_token);
	free(c->dc_endpoints.addrs);
	free(c->dns_upstreams.addrs);
	free(c->dns_addresses.addrs);
	free(c->dns_cgroup);
	free(c->gateway_routes.prefixes);
	for (size_t i = 0; i < c->uplinks.n; i++)
		free(c->uplinks.items[i]);
	free(c->uplinks.items);
	for (size_t i = 0; i < c->uplink_prefer.n; i++)
		free(c->uplink_prefer.items[i]);
	free(c->uplink_prefer.items);
	*c = (struct ntm_node_config){0};
}
