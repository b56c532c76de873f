/* SPDX-License-Identifier: BSD-2-Clause */
/* relay.conf (DESIGN.md section 8). */
#ifndef NTM_RELAY_CONFIG_H
#define NTM_RELAY_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "../node/config.h"

enum ntm_relay_stop { NTM_RELAY_STOP_DRAIN, NTM_RELAY_STOP_KEEP };

struct ntm_relay_config {
	/* Its session with the DC and, with gateway = yes, its tunnels: name, keys, port, uplinks (the interfaces that
	 * are relayed on), interface (the gateway's). max_paths here is the tunnels'. */
	struct ntm_node_config node;
	bool gateway;
	uint32_t max_paths; /* relay paths; 0: default */
	uint32_t idle_s;    /* 0: default */
	uint32_t drain_s;   /* after SIGTERM existing paths are kept for so long */
	enum ntm_relay_stop on_stop;
};

/* 0, or -errno with "FILE:LINE: what is wrong" in err; *c holds freed state on failure. */
int ntm_relay_config_load(struct ntm_relay_config *c, const char *file, char *err, size_t cap);
void ntm_relay_config_free(struct ntm_relay_config *c);

#endif
