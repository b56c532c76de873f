/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ntm/relay.h>

enum {
	DRAIN_DEFAULT_S = 30,
	DRAIN_MAX_S = 24 * 3600,
	IDLE_MIN_S = 30, /* ends rebind every 20 s at most */
	IDLE_MAX_S = NTM_RELAY_IDLE_MAX_S,
	PATHS_MAX = 1 << 24,
};

static int refuse(char *why, size_t cap, const char *text)
{
	snprintf(why, cap, "%s", text);
	return -EINVAL;
}

static int parse_within(const char *v, uint32_t min, uint32_t max, uint32_t *out, char *why, size_t cap)
{
	uint32_t n;
	int err = ntm_conf_uint(v, &n, why, cap);

	if (err)
		return err;
	if (n < min || n > max) {
		snprintf(why, cap, "not between %u and %u", min, max);
		return -EINVAL;
	}
	*out = n;
	return 0;
}

static int parse_max_paths(const char *v, void *field, char *why, size_t cap)
{
	return parse_within(v, 2, PATHS_MAX, field, why, cap);
}

static int parse_idle(const char *v, void *field, char *why, size_t cap)
{
	return parse_within(v, IDLE_MIN_S, IDLE_MAX_S, field, why, cap);
}

static int parse_drain(const char *v, void *field, char *why, size_t cap)
{
	return parse_within(v, 0, DRAIN_MAX_S, field, why, cap);
}

static int parse_on_stop(const char *v, void *field, char *why, size_t cap)
{
	enum ntm_relay_stop *stop = field;

	if (!strcmp(v, "drain"))
		*stop = NTM_RELAY_STOP_DRAIN;
	else if (!strcmp(v, "keep"))
		*stop = NTM_RELAY_STOP_KEEP;
	else
		return refuse(why, cap, "not one of drain, keep");
	return 0;
}

/* The relay answers out of the interface that a packet came in by, which tc has no short way for. */
static int parse_xdp_mode(const char *v, void *field, char *why, size_t cap)
{
	if (!strcmp(v, "tc"))
		return refuse(why, cap, "not one of auto, native, generic");
	return ntm_node_conf_xdp_mode(v, field, why, cap);
}

#define FIELD(f) offsetof(struct ntm_relay_config, f)
static const struct ntm_conf_key keys[] = {
    {"relay", "name", ntm_conf_label, FIELD(node.name), true},
    {"relay", "private_key_file", ntm_conf_path, FIELD(node.private_key_file), true},
    {"relay", "port", ntm_conf_port, FIELD(node.port), false},
    {"relay", "interfaces", ntm_node_conf_uplinks, FIELD(node.uplinks), true},
    {"relay", "xdp_mode", parse_xdp_mode, FIELD(node.xdp_mode), false},
    {"relay", "runtime_dir", ntm_conf_path, FIELD(node.runtime_dir), false},
    {"relay", "gateway", ntm_conf_bool, FIELD(gateway), false},
    {"relay", "gateway_interface", ntm_node_conf_interface, FIELD(node.interface), false},
    {"relay", "max_paths", parse_max_paths, FIELD(max_paths), false},
    {"relay", "idle_s", parse_idle, FIELD(idle_s), false},
    {"relay", "drain_s", parse_drain, FIELD(drain_s), false},
    {"relay", "on_stop", parse_on_stop, FIELD(on_stop), false},
    {"relay", "metrics_listen", ntm_conf_listen, FIELD(node.metrics_listen), false},
    {"relay", "log_level", ntm_node_conf_log_level, FIELD(node.log_level), false},
    {"dc", "endpoint", ntm_node_conf_endpoints, FIELD(node.dc_endpoints), true},
    {"dc", "public_key", ntm_conf_keys, FIELD(node.dc_keys), true},
};

int ntm_relay_config_load(struct ntm_relay_config *c, const char *file, char *err, size_t cap)
{
	int ret;

	*c = (struct ntm_relay_config){.node = {.port = NTM_PORT, .log_level = NTM_LOG_INFO, .dns_mode = NTM_DNS_OFF},
				       .drain_s = DRAIN_DEFAULT_S};
	c->node.interface = strdup("ntm0");
	c->node.runtime_dir = strdup("/run/ntm-relay");
	if (!c->node.interface || !c->node.runtime_dir) {
		snprintf(err, cap, "%s: out of memory", file);
		ret = -ENOMEM;
	} else {
		ret = ntm_conf_load(file, keys, sizeof(keys) / sizeof(keys[0]), NULL, c, err, cap);
	}
	if (ret)
		ntm_relay_config_free(c);
	return ret;
}

void ntm_relay_config_free(struct ntm_relay_config *c)
{
	ntm_node_config_free(&c->node);
	*c = (struct ntm_relay_config){0};
}
