/* SPDX-License-Identifier: BSD-2-Clause */
/* dc.conf */
#ifndef NTM_DC_CONFIG_H
#define NTM_DC_CONFIG_H

#include <ntm/limits.h>

#include "../user/common/conf.h"
#include "dns_config.h"
#include "pool.h"

/* [relay NAME] and [peer ZONE]. */
struct ntm_dc_remote {
	char *name;
	struct ntm_key_list keys; /* several while it changes its key */
	struct ntm_addr_list endpoints;
};
struct ntm_dc_remotes {
	struct ntm_dc_remote **items; /* each by itself: the parser keeps pointers to them while the list grows */
	size_t n;
};

struct ntm_dc_config {
	char zone[NTM_NAME_MAX + 1];
	struct ntm_addr_list listen;
	struct ntm_addr_list process_address; /* where other processes of this DC reach it; empty: listen */
	struct ntm_addr_list dns_listen;
	struct ntm_dc_dns_config dns;
	char *private_key_file;
	char *next_key_file, *previous_key_file; /* NULL: none */
	char *store_file; /* of "sqlite:FILE"; or "postgres:CONNINFO" as it is: see ntm_store_open() */
	char *runtime_dir;
	char *policy_file;                /* NULL: everybody reaches everybody */
	char *audit_file;                 /* NULL: none */
	char *admin_group;                /* NULL: root only */
	struct ntm_listen metrics_listen; /* not given: off */
	struct ntm_prefix vip4_pool, vip6_pool;
	struct ntm_pool pool;
	uint32_t cookie_threshold; /* handshakes a second without cookies */
	uint32_t lifetime_s;       /* a node not heard of for so long is offline */
	uint32_t keepalive_s;      /* interval nodes are told */
	struct ntm_dc_remotes relays, peers;
};

/* 0, or -errno and err = "FILE:LINE: what is wrong". c: uninitialised; freed by ntm_dc_config_free() on success only.
 */
int ntm_dc_config_load(const char *file, struct ntm_dc_config *c, char *err, size_t cap);
void ntm_dc_config_free(struct ntm_dc_config *c);

#endif
