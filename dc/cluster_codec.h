/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the processes of one DC say to each other, in the form of signalling messages but with fields of their own
 * (PROTOCOL.md, section 11): never to anybody else, so never in what nodes or other zones' DCs decode.
 */
#ifndef NTM_DC_CLUSTER_CODEC_H
#define NTM_DC_CLUSTER_CODEC_H

#include "../user/common/signal_codec.h"

enum ntm_cluster_msg {
	NTM_C_HELLO = 64, /* HOLDER, TO, STAMP, HAVE: each 100 ms */
	NTM_C_NODE = 65,  /* SEQ, PREV, STAMP and a node: where it is now */
	NTM_C_HAVE = 66,  /* HAVE: this far without a gap */
	NTM_C_PASS = 67,  /* NODE_ID, INDEX, MESSAGE: for that node, which has its session with the receiver */
	NTM_C_HEARD = 68, /* likewise: from that node, which has its session with the sender */
	NTM_C_GONE = 69,  /* GONE: revoked a moment ago */
};

enum ntm_cluster_field {
	NTM_CF_HOLDER = 1,
	NTM_CF_TO,
	NTM_CF_STAMP,
	NTM_CF_HAVE,
	NTM_CF_SEQ,
	NTM_CF_PREV,
	NTM_CF_CLAIM,
	NTM_CF_NODE_ID,
	NTM_CF_INDEX,
	NTM_CF_LABEL,
	NTM_CF_PUBLIC_KEY,
	NTM_CF_FLAGS,
	NTM_CF_ENDPOINT,
	NTM_CF_VIA,
	NTM_CF_MTU,
	NTM_CF_CANDIDATE,
	NTM_CF_RTT,
	NTM_CF_LOAD,
	NTM_CF_MESSAGE,
	NTM_CF_GONE,
};

enum ntm_cluster_flags { NTM_CFL_ONLINE = 1, NTM_CFL_RELAY = 2 };

enum { NTM_CLUSTER_GONE_MAX = 64 };
struct ntm_cluster_gone {
	uint64_t node_id;
	uint32_t index;
};

struct ntm_cluster {
	uint8_t msg;     /* enum ntm_cluster_msg */
	uint32_t fields; /* bits 1u << NTM_CF_* that were there */
	uint64_t holder, to, stamp, have, seq, prev, claim, node_id;
	uint32_t index;
	char label[NTM_LABEL_MAX + 1];
	uint8_t public_key[NTM_DH_LEN], flags;
	struct ntm_addr endpoint, via;
	uint16_t mtu;
	struct ntm_candidate candidates[NTM_CANDIDATES_MAX];
	unsigned n_candidates;
	struct ntm_relay_rtt rtts[NTM_RELAY_OFFERS_MAX];
	unsigned n_rtts;
	struct ntm_load load;
	const uint8_t *message; /* points into what was decoded */
	size_t message_len;
	struct ntm_cluster_gone gone[NTM_CLUSTER_GONE_MAX];
	unsigned n_gone;
};

/* Writes the fields that m->fields names. 0 or -ENOSPC. */
int ntm_cluster_encode(const struct ntm_cluster *m, uint8_t *out, size_t cap, size_t *len);
/* 0 or -EBADMSG. Unknown fields are skipped; a known one twice, but for those that repeat, is an error. */
int ntm_cluster_decode(struct ntm_cluster *m, const uint8_t *in, size_t len);
static inline bool ntm_cluster_is(const uint8_t *in, size_t len)
{
	return len >= 8 && in[0] >= NTM_C_HELLO && in[0] <= NTM_C_GONE;
}

#endif
