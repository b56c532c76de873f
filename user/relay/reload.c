/* SPDX-License-Identifier: BSD-2-Clause */
#include "reload.h"

#include <string.h>

#include "../common/sdnotify.h"
#include "relay.h"

static void take(struct ntm_relay *r, struct ntm_relay_config *c)
{
	struct ntm_addr_list former = r->conf.node.dc_endpoints;

	if (c->node.log_level != r->conf.node.log_level) {
		r->conf.node.log_level = r->node.conf.log_level = c->node.log_level;
		ntm_log_init("ntm-relay", c->node.log_level);
	}
	r->conf.drain_s = c->drain_s;
	r->conf.on_stop = c->on_stop;
	if (!ntm_addr_list_equal(&former, &c->node.dc_endpoints)) {
		r->conf.node.dc_endpoints = r->node.conf.dc_endpoints = c->node.dc_endpoints;
		c->node.dc_endpoints = former;
		ntm_dc_endpoints_changed(&r->node.dc);
	}
}

static void name_the_rest(const struct ntm_relay_config *a, const struct ntm_relay_config *b)
{
	const struct {
		bool same;
		const char *name;
	} fixed[] = {
	    {!strcmp(a->node.name, b->node.name), "relay.name"},
	    {!strcmp(a->node.private_key_file, b->node.private_key_file), "relay.private_key_file"},
	    {a->node.port == b->node.port, "relay.port"},
	    {ntm_string_list_equal(&a->node.uplinks, &b->node.uplinks), "relay.interfaces"},
	    {a->node.xdp_mode == b->node.xdp_mode, "relay.xdp_mode"},
	    {!strcmp(a->node.runtime_dir, b->node.runtime_dir), "relay.runtime_dir"},
	    {a->gateway == b->gateway, "relay.gateway"},
	    {!strcmp(a->node.interface, b->node.interface), "relay.gateway_interface"},
	    {ntm_listen_equal(&a->node.metrics_listen, &b->node.metrics_listen), "relay.metrics_listen"},
	    {a->max_paths == b->max_paths, "relay.max_paths"},
	    {a->idle_s == b->idle_s, "relay.idle_s"},
	    {!memcmp(&a->node.dc_keys, &b->node.dc_keys, sizeof(a->node.dc_keys)), "dc.public_key"},
	};

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		if (!fixed[i].same)
			ntm_warn("reload: %s has changed, which needs a restart", fixed[i].name);
}

void ntm_relay_reload(struct ntm_relay *r)
{
	struct ntm_relay_config c;
	char err[512] = "";

	ntm_sdnotify_reloading();
	if (ntm_relay_config_load(&c, r->conf_file, err, sizeof(err))) {
		ntm_err("reload: %s; nothing changed", err);
	} else {
		take(r, &c);
		name_the_rest(&r->conf, &c);
		ntm_relay_config_free(&c);
		ntm_info("configuration read again");
	}
	ntm_sdnotify("READY=1");
}
