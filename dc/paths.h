/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Paths that were directed lately: one record a pair of nodes, at most NTM_DC_PATHS_MAX, forgotten after a month or
 * when newer ones need the room; the store has them too. Both ends asking at once must get one path, so a request
 * within NTM_DC_COALESCE_MS, or the same request again, finds the record; its PSK is wiped when that can no longer
 * happen.
 */
#ifndef NTM_DC_PATHS_H
#define NTM_DC_PATHS_H

#include <stdbool.h>
#include <sys/queue.h>

#include <ntm/limits.h>

#include "shelves.h"
#include "table.h"

enum {
	NTM_DC_PATHS_MAX = 262144,
	NTM_DC_COALESCE_MS = 3000,
	NTM_DC_SAME_REQUEST_MS = 60000,
	NTM_DC_PATH_KEEP_S = 30 * 86400,
};

struct ntm_dc_node;
struct ntm_relay_info;

struct ntm_dc_path {
	uint64_t id;
	struct ntm_dc_node *ends[2]; /* initiator, responder */
	uint64_t sessions[2];        /* which they had when it was directed */
	uint32_t txid;               /* of the initiator's request */
	bool fresh;                  /* psk is there */
	uint8_t psk[NTM_PSK_LEN];
	uint64_t created_ms;
	int64_t created_s;                 /* since 1970; of a pair's later path always more */
	uint8_t mac[NTM_MAC_LEN];          /* of its ticket (ticket.h), unless an end is another zone's */
	bool gateway;                      /* to or from a gateway, which relay_id names */
	uint32_t relay_id;                 /* 0: none */
	uint32_t relay_txid;               /* of the Relay Direction */
	uint64_t refused;                  /* bits of relays that did not take it */
	struct ntm_relay_info *peer_relay; /* of a path that another zone's DC made; NULL: none */
	struct ntm_table_link by_pair, by_id;
	TAILQ_ENTRY(ntm_dc_path) link, fresh_link;
	struct ntm_shelf_item unsaved; /* waits: it is not in the store yet */
};
TAILQ_HEAD(ntm_dc_path_list, ntm_dc_path);

struct ntm_dc_paths {
	struct ntm_table by_pair, by_id;
	struct ntm_dc_path_list all, fresh; /* oldest first */
	struct ntm_shelves unsaved;
};

int ntm_dc_paths_init(struct ntm_dc_paths *ps);
void ntm_dc_paths_free(struct ntm_dc_paths *ps);

struct ntm_dc_path *ntm_dc_path_find(const struct ntm_dc_paths *ps, const struct ntm_dc_node *a,
				     const struct ntm_dc_node *b);
struct ntm_dc_path *ntm_dc_path_by_id(const struct ntm_dc_paths *ps, uint64_t id);
/* Random ID and PSK; replaces the pair's former record. 0, -ENOMEM or -EIO. */
int ntm_dc_path_add(struct ntm_dc_paths *ps, struct ntm_dc_node *initiator, struct ntm_dc_node *responder,
		    uint32_t txid, uint64_t now_ms, struct ntm_dc_path **out);
/* It was made elsewhere, with this ID, which no other path has, and this PSK. */
void ntm_dc_path_rename(struct ntm_dc_paths *ps, struct ntm_dc_path *p, uint64_t id, const uint8_t psk[NTM_PSK_LEN]);
void ntm_dc_path_mark_unsaved(struct ntm_dc_paths *ps, struct ntm_dc_path *p);
void ntm_dc_path_saved(struct ntm_dc_paths *ps, struct ntm_dc_path *p); /* or the store is not to know of it */
struct ntm_dc_path *ntm_dc_path_take_unsaved(struct ntm_dc_paths *ps);  /* it is not any more. NULL: none is */
void ntm_dc_path_remove(struct ntm_dc_paths *ps, struct ntm_dc_path *p);
void ntm_dc_paths_expire(struct ntm_dc_paths *ps, uint64_t now_ms);

#endif
