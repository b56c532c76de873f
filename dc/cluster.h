/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several processes of one DC: one key, one zone, one store (PostgreSQL). A node has its session with one of them. Each
 * tells all others where its nodes are, as that changes, over sessions of their own under the DC's key; so any of them
 * knows every node that is online, and what it has to say to another's node it sends by that process. The store says
 * who the processes are and what was enrolled and revoked. When one dies, the others invite its nodes.
 *
 *   cluster.c        processes: sessions, who is there, who died
 *   cluster_nodes.c  where the nodes are: told, heard, and whose a node is when two have it
 *   cluster_pass.c   messages for and from nodes of another process; which process makes a path
 *   cluster_store.c  what changed in the store
 *
 * Functions do nothing in a DC of one process.
 */
#ifndef NTM_DC_CLUSTER_H
#define NTM_DC_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "../user/common/signal_codec.h"

struct ntm_dc;
struct ntm_dc_node;
struct ntm_node_record;
struct ntm_dc_process;
struct ntm_dc_route;
struct ntm_dc_session;

enum { NTM_DC_PROCESSES_MAX = 16, NTM_DC_ORPHAN_MS = 1000 };

struct ntm_dc_cluster_stats {
	unsigned processes, up; /* others, and those that are heard of */
	uint64_t nodes_elsewhere;
	uint64_t told, heard;     /* changes of nodes */
	uint64_t passed, relayed; /* messages to other processes, and for them */
	uint64_t died, adopted;   /* processes, and nodes that came over from another */
	uint64_t changes;         /* of the store, made by others */
	uint32_t lag_ms;          /* of the last change: from its commit to here */
	uint32_t lag_max_ms;
	bool store_up;
};

/* Nothing if the store serves one process. 0, or -errno and a sentence in why. */
int ntm_dc_cluster_start(struct ntm_dc *dc, char *why, size_t cap);
void ntm_dc_cluster_stop(struct ntm_dc *dc); /* while store, sessions and loop are there */
bool ntm_dc_cluster_stats(const struct ntm_dc *dc, struct ntm_dc_cluster_stats *out); /* false: one process */
typedef void (*ntm_dc_cluster_visit)(void *arg, uint64_t holder, bool up, const char *addr);
void ntm_dc_cluster_each(const struct ntm_dc *dc, ntm_dc_cluster_visit visit, void *arg);
/* Does the store know of other processes? */
bool ntm_dc_cluster_joined(const struct ntm_dc *dc);

/* dispatch.c: handshakes, sessions and messages of processes */
bool ntm_dc_cluster_answer(struct ntm_dc *dc, const struct ntm_dc_route *from, const uint8_t *data, size_t len);
bool ntm_dc_cluster_cookie(struct ntm_dc *dc, const uint8_t *data, size_t len);
bool ntm_dc_cluster_owns(const struct ntm_dc *dc, const struct ntm_dc_session *s);
void ntm_dc_cluster_message(struct ntm_dc *dc, struct ntm_dc_session *s, const uint8_t *data, size_t len);
void ntm_dc_cluster_session_gone(struct ntm_dc_session *s);

/* The node got a session here: it is this process's now. */
void ntm_dc_cluster_claim(struct ntm_dc *dc, struct ntm_dc_node *node);
/* What others know of a node of this process has changed. */
void ntm_dc_cluster_changed(struct ntm_dc *dc, struct ntm_dc_node *node);
void ntm_dc_cluster_forget(struct ntm_dc *dc, struct ntm_dc_node *node); /* before it is freed */
/* Its process died a moment ago: it is on its way to another one. */
bool ntm_dc_cluster_orphaned(const struct ntm_dc *dc, const struct ntm_dc_node *node);
/* Of the processes that are heard of, this is the one that is to see to the node. */
bool ntm_dc_cluster_mine(const struct ntm_dc *dc, const struct ntm_dc_node *node);

/* An encoded message, to a node that is another process's. */
void ntm_dc_cluster_pass(struct ntm_dc *dc, const struct ntm_dc_node *to, const uint8_t *data, size_t len);
/* A node's message that this process has no use for: an answer to what another one asked, or about a path of it. */
void ntm_dc_cluster_heard(struct ntm_dc *dc, const struct ntm_dc_node *from, const struct ntm_sig *m);
/* The pair's paths are made by another process, which was told of the request and answers it. */
bool ntm_dc_cluster_direct(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m,
			   const struct ntm_dc_node *other);

/* This process revoked it; the store says so to all others, and this to those that the store is out of reach of. */
void ntm_dc_cluster_revoked(struct ntm_dc *dc, const struct ntm_node_record *rec);
/* cluster_store.c: to be called every few ms */
void ntm_dc_cluster_read_changes(struct ntm_dc *dc);

#endif
