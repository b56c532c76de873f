/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Behind a gateway's tunnels: NAT44 and NAT66 from the virtual pools, and what may be forwarded, as one nftables table
 * (inet ntm_gateway), set by nft(8) in one transaction; connections that are under way keep their translation.
 */
#ifndef NTM_RELAY_NAT_H
#define NTM_RELAY_NAT_H

#include <stdbool.h>
#include <stddef.h>

#include "../common/addr.h"

struct ntm_nat {
	const char *ifname;             /* of the tunnels */
	struct ntm_prefix pool4, pool6; /* pool4 v4-mapped */
	bool only_ours4, only_ours6;    /* nothing else is forwarded: this host was no router before */
};

enum { NTM_NAT_SCRIPT_MAX = 4096 };

/* nft's input that makes the table, or replaces it. Returns its length, or -ENOSPC. */
int ntm_nat_script(const struct ntm_nat *c, char *out, size_t cap);

/* All: 0, or -errno with one sentence in why. They wait for nft to end. */
int ntm_nat_check(char *why, size_t cap); /* can it be done here? Changes nothing. */
int ntm_nat_set(const struct ntm_nat *c, char *why, size_t cap);
int ntm_nat_remove(char *why, size_t cap); /* also if there is none */

#endif
