/* SPDX-License-Identifier: BSD-2-Clause */
/* node.conf (DESIGN.md section 8). */
#ifndef NTM_NODE_CONFIG_H
#define NTM_NODE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include <ntm/limits.h>

#include "../common/conf.h"
#include "../common/log.h"
#include "../dataplane/dp.h"

/* stub: only the stub, the resolver's settings are the operator's */
enum ntm_dns_mode {
	NTM_DNS_AUTO,
	NTM_DNS_OFF,
	NTM_DNS_STUB,
	NTM_DNS_RESOLVED,
	NTM_DNS_RESOLVCONF,
	NTM_DNS_HOOK,
	NTM_DNS_TUN,
};

struct ntm_prefix_list {
	struct ntm_prefix *prefixes;
	size_t n;
};

enum { NTM_UPLINK_SETTLE_MS = 200, NTM_UPLINK_DUPLICATE_MS = 5000 /* at most */ };

/* interface = fd: a TUN device that comes over the control socket */
#define NTM_INTERFACE_FD "fd"

struct ntm_node_config {
	char name[NTM_LABEL_MAX + 1];
	char *private_key_file;
	char *interface;
	char *runtime_dir;
	uint16_t port; /* host order */
	enum ntm_xdp_mode xdp_mode;
	bool no_bulk;                         /* bulk = off */
	bool user_datapath;                   /* datapath = user */
	struct ntm_string_list uplinks;       /* n == 0: auto */
	struct ntm_string_list uplink_prefer; /* before all others, in this order; n == 0: metrics decide */
	uint32_t uplink_settle_ms;            /* a better uplink must last so long before it takes over */
	uint32_t uplink_duplicate_ms;         /* after it did, packets leave by the former one, too; 0: not */
	uint32_t max_paths;                   /* 0: default */
	enum ntm_log_level log_level;
	struct ntm_listen metrics_listen; /* not given: off */

	struct ntm_addr_list dc_endpoints;
	struct ntm_key_list dc_keys; /* the first is expected to be the current one */
	char *dc_token;              /* NULL: none */

	enum ntm_dns_mode dns_mode;
	struct ntm_addr dns_listen;
	struct ntm_addr_list dns_addresses; /* of mode tun, ports unused; n == 0: the first of the pools */
	struct ntm_addr_list dns_upstreams; /* n == 0: from /etc/resolv.conf */
	char *dns_cgroup;                   /* of mode hook; NULL: the root */

	struct ntm_prefix_list gateway_routes; /* n == 0: no gateway wanted */
	uint32_t gateway_table, gateway_mark;
};

/* 0, or -errno with "FILE:LINE: what is wrong" in err; *c holds defaults or freed state on failure. */
int ntm_node_config_load(struct ntm_node_config *c, const char *file, char *err, size_t cap);
void ntm_node_config_free(struct ntm_node_config *c);

/* Parsers (conf.h) that relay.conf shares. */
int ntm_node_conf_uplinks(const char *v, void *string_list, char *why, size_t cap); /* auto: left empty */
int ntm_node_conf_xdp_mode(const char *v, void *xdp_mode, char *why, size_t cap);
int ntm_node_conf_log_level(const char *v, void *log_level, char *why, size_t cap);
int ntm_node_conf_endpoints(const char *v, void *addr_list, char *why, size_t cap);
int ntm_node_conf_interface(const char *v, void *char_ptr, char *why, size_t cap);

#endif
