/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's commands on the control socket, and the JSON that scripts read (DESIGN.md section 8). */
#ifndef NTM_NODE_CONTROL_H
#define NTM_NODE_CONTROL_H

#include <json-c/json.h>

struct ntm_node;
struct ntm_control;

int ntm_control_open(struct ntm_control **out, struct ntm_node *n, char *why, size_t cap);
void ntm_control_close(struct ntm_control *c);

/* control_json.c; each gives a new object, NULL if memory is out */
json_object *ntm_control_status(struct ntm_node *n);
json_object *ntm_control_peers(struct ntm_node *n);
json_object *ntm_control_paths(struct ntm_node *n);
json_object *ntm_control_tun(struct ntm_node *n); /* how its interface is to be configured */

#endif
