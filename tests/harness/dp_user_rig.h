/* SPDX-License-Identifier: BSD-2-Clause */
/* Two data planes of dp_user.h in one process, joined by a wire that the test can bend. No privileges. */
#ifndef NTM_DP_USER_RIG_H
#define NTM_DP_USER_RIG_H

#include "../../user/dataplane/dp_user.h"
#include "dp_rig.h"

enum { NTM_USER_RIG_PORT = 5000, NTM_USER_RIG_KEPT = 64 };

struct ntm_user_side {
	struct ntm_dp *dp;
	struct ntm_rig_seen seen;
	struct { /* what left it, and was not carried on */
		uint8_t data[2048];
		size_t len;
		struct ntm_addr to;
		uint8_t tos;
		uint8_t src[16]; /* of a copy */
		uint32_t ifindex;
	} sent[NTM_USER_RIG_KEPT];
	size_t n_sent;
	uint8_t got[NTM_USER_RIG_KEPT][2048]; /* what it delivered */
	size_t got_len[NTM_USER_RIG_KEPT], n_got;
	unsigned routes[2]; /* of the peer's virtual addresses, IPv4 and IPv6: their MTU, 0: none */
	unsigned mtu;
	int send_result;
};

extern struct ntm_user_side ntm_user_side[2];
extern char ntm_user_why[256];
extern const struct ntm_dp_events ntm_user_rig_events;

void ntm_user_rig_up(void);
void ntm_user_rig_down(void);
struct ntm_dp_user_config ntm_user_rig_config(int i);
int ntm_user_rig_open(int i, const struct ntm_dp_user_config *c); /* ntm_user_why says why not */
/* Opens both with addresses, and one path with keys of epoch 0, active. */
void ntm_user_rig_tunnel(void);
/* The other side gets what this one sent, from that address or its wire address. Returns the last verdict. */
int ntm_user_rig_carry_from(int from, const struct ntm_addr *src, uint8_t tos);
int ntm_user_rig_carry(int from);
/* fd() says that there is something to tell, and dispatch() tells it. */
void ntm_user_rig_events_of(int i);
uint64_t ntm_user_rig_counted(int i, enum ntm_reason r);
/* An inner UDP packet to the other side; returns its length. */
size_t ntm_user_rig_inner(int from, bool v6, size_t payload, uint8_t *out, size_t cap);
/* Internet checksum, host order; 0 over what has a right one. */
uint16_t ntm_user_rig_checksum(const void *data, size_t len, uint32_t sum);

#endif
