/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of dc/cluster*.c share. */
#ifndef NTM_DC_CLUSTER_INT_H
#define NTM_DC_CLUSTER_INT_H

#include <uv.h>

#include "cluster.h"
#include "cluster_codec.h"
#include "dc.h"

enum {
	NTM_DC_PROCESS_SESSIONS = 4, /* both may begin at once, and each may talk on its own one */
	NTM_DC_WINDOW = 512,         /* changes on their way to a process */
	NTM_DC_GONE_MAX = 1024,
};

struct ntm_dc_process {
	uint64_t holder;
	struct ntm_addr addrs[NTM_STORE_PROCESS_ADDRS];
	size_t n_addrs, next_addr;
	struct ntm_dc_session *sessions[NTM_DC_PROCESS_SESSIONS]; /* the one heard on last first */
	bool up;                                                  /* heard of lately */
	uint64_t heard_ms;                                        /* last; 0: never */
	uint64_t asked_ms;                                        /* when the store was asked whether it lives */

	struct ntm_session_init_state init;
	struct ntm_cookie_client cookies;
	struct ntm_dc_route route; /* of the handshake */
	bool shaking;
	uint64_t next_try_ms;

	/* what it is told: the list `told`, in order; see cluster_nodes.c */
	struct ntm_dc_node *next;    /* the next of the list to be sent; NULL: all was */
	uint64_t sent, acked;        /* seq */
	uint64_t way[NTM_DC_WINDOW]; /* seq of what is on its way, a ring */
	unsigned n_way, first_way;
	uint64_t progress_ms; /* when acked grew, or there was nothing to wait for */
	/* what it tells */
	uint64_t have;
	unsigned owes; /* messages since it was told of have */
};

struct ntm_dc_cluster {
	uv_timer_t timer;
	struct ntm_process_record me;
	uint64_t holder;
	uint64_t stamp; /* the greatest known, of our clock (µs) and all that was heard */
	uint64_t seq;   /* of the last change told */
	struct ntm_dc_process *items[NTM_DC_PROCESSES_MAX];
	unsigned n;
	TAILQ_HEAD(ntm_dc_told_list, ntm_dc_node) told; /* this process's nodes, changed longest ago first */
	uint64_t gone[NTM_DC_GONE_MAX];                 /* IDs of nodes revoked lately: news of them is old */
	unsigned n_gone;
	struct ntm_cluster_gone revoked[NTM_CLUSTER_GONE_MAX]; /* by this process, lately: the others are told often */
	unsigned n_revoked;
	uint64_t revoked_ms; /* the last of these; 0: none */
	uint64_t tick_ms, hello_ms, refresh_ms;
	uint64_t orphans_ms; /* when orphans that nobody took are everybody's; 0: there are none */
	bool rejoin;
	struct ntm_dc_cluster_stats stats;
};

uint64_t ntm_dc_cluster_stamp(struct ntm_dc_cluster *c); /* greater than all before, here and heard of */
void ntm_dc_cluster_send(struct ntm_dc *dc, struct ntm_dc_process *p, const struct ntm_cluster *m);
void ntm_dc_cluster_refresh(struct ntm_dc *dc); /* the table, from the store */

/* cluster_nodes.c */
void ntm_dc_cluster_not_gone(struct ntm_dc *dc, uint64_t id);                            /* let in again */
void ntm_dc_cluster_restart(struct ntm_dc *dc, struct ntm_dc_process *p, uint64_t have); /* tell it all behind that */
void ntm_dc_cluster_tell(struct ntm_dc *dc, struct ntm_dc_process *p);                   /* what there is to tell */
void ntm_dc_cluster_acked(struct ntm_dc *dc, struct ntm_dc_process *p, uint64_t have);
void ntm_dc_cluster_on_node(struct ntm_dc *dc, struct ntm_dc_process *p, const struct ntm_cluster *m);
void ntm_dc_cluster_orphan(struct ntm_dc *dc, struct ntm_dc_process *dead);
void ntm_dc_cluster_invite_all(struct ntm_dc *dc); /* orphans that nobody took */
/* cluster_store.c */
void ntm_dc_cluster_tell_revoked(struct ntm_dc *dc, struct ntm_dc_process *p); /* once more */
void ntm_dc_cluster_on_gone(struct ntm_dc *dc, const struct ntm_cluster *m);
/* cluster_pass.c */
void ntm_dc_cluster_on_pass(struct ntm_dc *dc, struct ntm_dc_process *p, const struct ntm_cluster *m);
void ntm_dc_cluster_on_heard(struct ntm_dc *dc, struct ntm_dc_process *p, const struct ntm_cluster *m);

#endif
