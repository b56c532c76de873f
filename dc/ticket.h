/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Path tickets: what this DC directed, in its own words, kept by the two nodes. A process that comes after one which
 * was killed believes nobody but the DC: it learns from tickets what the former one had not written down, and nothing
 * else.
 */
#ifndef NTM_DC_TICKET_H
#define NTM_DC_TICKET_H

#include <stdint.h>

#include <ntm/limits.h>
#include <ntm/signal.h>

struct ntm_dc_identities;
struct ntm_dc_path;

struct ntm_dc_ticket {
	uint64_t path_id;
	uint64_t nodes[2]; /* the store's numbers of the ends */
	uint32_t index[2];
	int64_t created_s;
};

/* The key that tickets are made with, of a DC with this private key. 0 or -EIO. */
int ntm_dc_ticket_key(const uint8_t priv[NTM_DH_LEN], uint8_t key[NTM_KEY_LEN]);
/* Finds the path's mac, with the current key: both ends are nodes of this zone. 0 or -EIO. */
int ntm_dc_ticket_sign(const struct ntm_dc_identities *ids, struct ntm_dc_path *p);
/* The ticket of a path that was signed. */
void ntm_dc_ticket_write(const struct ntm_dc_path *p, struct ntm_path_ticket *out);
/* 0, or -EBADMSG: no key of this DC's made it; -EIO. */
int ntm_dc_ticket_open(const struct ntm_dc_identities *ids, const struct ntm_path_ticket *in,
		       struct ntm_dc_ticket *out);

#endif
