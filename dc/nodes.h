/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nodes that registered since this process began: what the store knows of them, and what is known only now. Found by
 * key, label and address index. A node stays in memory until the process ends or its key is revoked.
 */
#ifndef NTM_DC_NODES_H
#define NTM_DC_NODES_H

#include <sys/queue.h>

#include "../user/common/signal_codec.h"
#include "relays.h"
#include "shelves.h"
#include "store.h"
#include "table.h"

struct ntm_dc_peer;
struct ntm_dc_process;
struct ntm_dc_session;

struct ntm_dc_node {
	struct ntm_node_record rec;
	struct ntm_table_link by_key, by_label, by_index;
	struct ntm_dc_session *session;   /* the one that messages to it are sealed by; may be NULL */
	struct ntm_candidate *candidates; /* as the node announced them, usable ones only */
	unsigned n_candidates;
	uint16_t mtu;                            /* of its uplink, bytes; 0: unknown */
	bool online;                             /* heard of within its lifetime */
	bool unchecked;                          /* the store could not say which of its paths have ended */
	uint64_t last_seen_ms;                   /* monotonic */
	uint64_t budget_ms;                      /* when budget was filled up last */
	uint32_t budget;                         /* new paths that it may ask for now */
	struct ntm_dc_peer *peer;                /* of another zone, and this its DC; NULL: ours */
	struct ntm_dc_relay *relay;              /* it is this one; NULL: an ordinary node */
	struct ntm_dc_rtt rtts[NTM_DC_RTTS_MAX]; /* as the node measured them */
	unsigned n_rtts;
	uint32_t offers_generation, offers_txid; /* relays it was told last, and in the answer to what */
	uint32_t zones_generation, zones_txid;   /* likewise of other zones */
	uint32_t keys_generation, keys_txid;     /* and of the DC's keys */
	uint64_t rekeyed_ms;                     /* when its own key changed last; 0: not in this process */
	uint64_t gateway_path;                   /* the last one it got; may be gone */
	bool in_order;                           /* on the list `online` of all nodes */
	/* several processes of this DC (cluster.h) */
	struct ntm_dc_process *at; /* the one that it has its session with; NULL: this one, or none */
	uint64_t claim;            /* when it got its session, by the clock of all processes; 0: never */
	uint64_t seq;              /* of its last change */
	uint64_t orphaned_ms;      /* its process died then, and no other has it yet; 0: no */
	bool told;                 /* on the list of those that others are told of */
	TAILQ_ENTRY(ntm_dc_node) online_link, told_link;
	struct ntm_shelf_item dirty; /* waits: presence differs from the store's */
};
TAILQ_HEAD(ntm_dc_node_list, ntm_dc_node);

struct ntm_dc_nodes {
	struct ntm_table by_key, by_label, by_index;
	struct ntm_dc_node_list online; /* least recently heard of first; no relays, whose lifetime is another */
	struct ntm_shelves dirty;
	size_t n_online;
};

int ntm_dc_nodes_init(struct ntm_dc_nodes *ns);
void ntm_dc_nodes_free(struct ntm_dc_nodes *ns);

struct ntm_dc_node *ntm_dc_node_by_key(const struct ntm_dc_nodes *ns, const uint8_t key[NTM_DH_LEN]);
struct ntm_dc_node *ntm_dc_node_by_label(const struct ntm_dc_nodes *ns, const char *label);
struct ntm_dc_node *ntm_dc_node_by_index(const struct ntm_dc_nodes *ns, uint32_t index);

struct ntm_dc_node *ntm_dc_node_add(struct ntm_dc_nodes *ns, const struct ntm_node_record *rec); /* NULL: no memory */
/* It has another key from now on. */
void ntm_dc_node_set_key(struct ntm_dc_nodes *ns, struct ntm_dc_node *node, const uint8_t key[NTM_DH_LEN]);
void ntm_dc_node_remove(struct ntm_dc_nodes *ns, struct ntm_dc_node *node); /* frees it */

/* Heard of, authenticated: it is online. */
void ntm_dc_node_seen(struct ntm_dc_nodes *ns, struct ntm_dc_node *node, uint64_t now_ms);
void ntm_dc_node_offline(struct ntm_dc_nodes *ns, struct ntm_dc_node *node);
/* Another process of this DC says whether it is online, and writes that to the store. */
void ntm_dc_node_elsewhere(struct ntm_dc_nodes *ns, struct ntm_dc_node *node, bool online, uint64_t now_ms);
/* Which session it has, here or at another process: changes with each new one. 0: none. */
uint64_t ntm_dc_node_binding(const struct ntm_dc_node *node);
static inline bool ntm_dc_node_reachable(const struct ntm_dc_node *node)
{
	return node->online && (node->session || node->at);
}
/* visit may remove the node that it is given. */
void ntm_dc_nodes_each(struct ntm_dc_nodes *ns, void (*visit)(void *arg, struct ntm_dc_node *node), void *arg);
/*
 * Those of so many buckets of the table, from *at on, which begins at 0 and moves on. False: that was the end. A table
 * that grows in between may show a node twice or not at all.
 */
bool ntm_dc_nodes_some(struct ntm_dc_nodes *ns, size_t *at, size_t buckets,
		       void (*visit)(void *arg, struct ntm_dc_node *node), void *arg);
/* The next node, relays apart, not heard of for lifetime_ms, made offline; NULL: none. */
struct ntm_dc_node *ntm_dc_nodes_expire(struct ntm_dc_nodes *ns, uint64_t now_ms, uint64_t lifetime_ms);

void ntm_dc_node_mark_dirty(struct ntm_dc_nodes *ns, struct ntm_dc_node *node);
struct ntm_dc_node *ntm_dc_node_take_dirty(struct ntm_dc_nodes *ns); /* it is not any more. NULL: none is */
/* Replaces the node's candidates by those of c, host and reflexive ones, that are usable. -ENOMEM leaves the old. */
int ntm_dc_node_set_candidates(struct ntm_dc_node *node, const struct ntm_candidate *c, unsigned n);

#endif
