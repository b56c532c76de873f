/* SPDX-License-Identifier: BSD-2-Clause */
/* Capabilities: what the agent must have to start, and what it keeps. */
#ifndef NTM_NODE_PRIVS_H
#define NTM_NODE_PRIVS_H

#include <stdbool.h>
#include <stddef.h>

enum ntm_privs {
	NTM_PRIVS_BPF,  /* datapath = bpf */
	NTM_PRIVS_TUN,  /* datapath = user with a device of its own: CAP_NET_ADMIN */
	NTM_PRIVS_NONE, /* with a device that somebody else made */
};

/* 0, or -EPERM with a sentence in why. low_port: a DNS listener below port 1024 is wanted. */
int ntm_privs_check(enum ntm_privs need, bool low_port, char *why, size_t cap);
/*
 * Keeps CAP_NET_ADMIN (XDP on new uplinks, addresses, routes, socket buffers) and CAP_BPF (maps), as far as needed, in
 * the bounding set too, and sets no_new_privs. Call when everything is open.
 */
int ntm_privs_drop(enum ntm_privs need, char *why, size_t cap);

#endif
