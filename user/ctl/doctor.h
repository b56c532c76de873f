/* SPDX-License-Identifier: BSD-2-Clause */
/* `ntm doctor`: each check says what it found and, unless all is well, what to do. */
#ifndef NTM_CTL_DOCTOR_H
#define NTM_CTL_DOCTOR_H

#include <json-c/json.h>

#include "../node/config.h"

enum doctor_state { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor {
	const struct ntm_node_config *conf; /* NULL: none was given */
	json_object *status;                /* the agent's, NULL: it does not run */
	json_object *checks;                /* [{"check", "state", "text", "advice"}] */
	unsigned count[3];                  /* by enum doctor_state */
	char ifname[16];                    /* of the virtual interface */
	uint16_t port;                      /* host order */
};

/* Adds a finding. advice: what to do, NULL where all is well. */
void doctor_add(struct doctor *d, enum doctor_state state, const char *check, const char *advice, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* By node.conf, or as the agent says: no BPF is at work here. */
bool doctor_user_datapath(const struct doctor *d);
void doctor_kernel(struct doctor *d);                  /* doctor_kernel.c */
void doctor_capabilities(struct doctor *d);            /* doctor_kernel.c */
void doctor_uplinks(struct doctor *d);                 /* doctor_uplink.c */
void doctor_net(struct doctor *d);                     /* doctor_net.c: port, pool, DC, DNS */
void doctor_agent(struct doctor *d);                   /* doctor_net.c */
void doctor_repair(struct doctor *d, const char *dir); /* doctor_repair.c; with no agent only */
void doctor_gateway(struct doctor *d);                 /* doctor_gateway.c */

#endif
