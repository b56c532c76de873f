/* SPDX-License-Identifier: BSD-2-Clause */
/* An uplink as the watcher found it: the data plane's part, and all its addresses for candidates. */
#ifndef NTM_NODE_UPLINK_INFO_H
#define NTM_NODE_UPLINK_INFO_H

#include <stdbool.h>
#include <stdint.h>

#include "../dataplane/dp.h"

enum { NTM_UPLINKS_MAX = 16, NTM_UPLINK_ADDRS = 8 };

struct ntm_uplink_info {
	struct ntm_dp_uplink dp;
	uint8_t addrs[NTM_UPLINK_ADDRS][16];
	uint8_t prefix_len[NTM_UPLINK_ADDRS]; /* of each; as in struct ntm_prefix, 0: not known */
	unsigned n_addrs;
	bool default4, default6; /* there is a way out by it */
	/* So is one by an interface without a carrier, and the kernel goes on preferring that. */
	bool rival4, rival6;
};

#endif
