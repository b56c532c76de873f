/* SPDX-License-Identifier: BSD-2-Clause */
/* Capabilities: what the agent must have to start, and what it keeps. */
#ifndef NTM_NODE_PRIVS_H
#define NTM_NODE_PRIVS_H

#include <stdbool.h>
#include <stddef.h>

/* 0, or -EPERM with a sentence in why. low_port: a DNS listener below port 1024 is wanted. */
int ntm_privs_check(bool low_port, char *why, size_t cap);
/*
 * Keeps CAP_NET_ADMIN (XDP on new uplinks, addresses, routes, socket buffers) and CAP_BPF (maps), in the bounding set
 * too, and sets no_new_privs. Call when everything is open.
 */
int ntm_privs_drop(char *why, size_t cap);

#endif
