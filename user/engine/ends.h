/* SPDX-License-Identifier: BSD-2-Clause */
/* Whose an inner packet's addresses may be: the rules of bpf/lib/deliver.h and bpf/node_encap.bpf.c, in user space. */
#ifndef NTM_ENGINE_ENDS_H
#define NTM_ENGINE_ENDS_H

#include <ntm/maps.h>
#include <ntm/reasons.h>

#include "packet.h"

/* The set of this host's real addresses; v4-mapped or IPv6. */
typedef bool (*ntm_is_local_fn)(void *arg, const uint8_t ip[16]);

/* May the peer of path send packet p here? NTM_R_RX_OK, NTM_R_RX_BAD_SOURCE or NTM_R_RX_BAD_DEST. */
enum ntm_reason ntm_ends_in(const struct ntm_settings *s, const struct ntm_path *path, const uint8_t *p, bool is_ipv6,
			    ntm_is_local_fn is_local, void *arg);

struct ntm_out {
	uint8_t dst[16];  /* v4-mapped or IPv6 */
	bool from_beyond; /* a general node's: this host is a gateway */
	bool to_beyond;   /* to a general node, by this host's gateway */
};
/* May packet p leave by any path at all? NTM_R_TX_OK and *o, or the reason why not. */
enum ntm_reason ntm_ends_out(const struct ntm_settings *s, const uint8_t *p, bool is_ipv6, struct ntm_out *o);
/* And by this one? path is not NULL. */
bool ntm_ends_path(const struct ntm_path *path, const struct ntm_out *o);

#endif
