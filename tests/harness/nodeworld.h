/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Agents, a DC and the network between them in one process and on one clock, for the agent's unit tests: real messages
 * and keys, the data plane in memory (dp_fake.h), time that passes only when a test says so. What the kernel does with
 * a capsulated packet (note that it came, confirm the epoch, move the endpoint) is done here.
 */
#ifndef NTM_NODEWORLD_H
#define NTM_NODEWORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../user/dataplane/dp_fake.h"
#include "../../user/node/node.h"
#include "nodenet.h"

enum { WORLD_HEADS = 256 };

struct world_packet {
	int from, to; /* 0, 1: agents; WORLD_DC; WORLD_RS and above */
	struct ntm_addr src, dst;
	uint8_t by[16]; /* address that the agent said it sends from; zero: none */
	uint64_t at_ms;
	size_t len;
	uint8_t data[4096];
	struct world_packet *next;
};

struct world_session {
	bool used;
	struct ntm_session s;
	struct ntm_addr peer;
};

struct world_dc {
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
	bool down;         /* hears nothing */
	bool coalesce;     /* who asks second gets the path of who asked first; else each gets its own */
	bool no_bob;       /* OFFLINE */
	uint16_t refuse;   /* registrations, with this error; 0: not */
	unsigned requests; /* direction requests, resends not counted */
	unsigned registrations, keepalives, releases, acks;
	uint32_t last_txid[WORLD_NODES];
	uint64_t last_stale, last_path, next_path;
	struct ntm_sig last_direction[WORLD_NODES];                  /* as sent */
	struct ntm_candidate cands[WORLD_NODES][NTM_CANDIDATES_MAX]; /* as registered */
	unsigned n_cands[WORLD_NODES];
	struct ntm_relay_rtt rtts[WORLD_NODES][NTM_RELAY_OFFERS_MAX]; /* as told last */
	unsigned n_rtts[WORLD_NODES];
	int relay_of_path;        /* of the last direction; -1: none */
	bool avoid[WORLD_RELAYS]; /* not given to paths */
	struct {                  /* Keep Alives that are answered later */
		uint64_t at_ms;
		uint32_t txid;
		int node;
		struct ntm_addr to;
	} later[4];
	struct world_session sessions[WORLD_NODES];
	unsigned reports;                        /* of paths, resends not counted */
	uint64_t reported[NTM_PATH_TICKETS_MAX]; /* by the last one */
	unsigned n_reported;
	uint32_t report_txid;
	uint16_t refuse_report; /* with this error; 0: not */
	bool no_tickets;        /* it is one of before there were any */
	uint64_t last_error;    /* of messages that nodes answered with an error */
	struct ntm_session_init_state *hs;
};

struct world {
	struct ntm_node *n[WORLD_NODES];
	struct world_dc dc;
	struct world_net net[WORLD_NODES];
	struct world_flows flows[WORLD_NODES];
	struct world_relay rs[WORLD_RELAYS];
	unsigned n_relays;
	bool beside;       /* there are second uplinks (world_beside), with addresses of their own */
	const uint8_t *by; /* of the packet that is sent now; NULL: no address in particular */
	unsigned delay_ms; /* beyond 1 ms, of each packet; not to be lowered */
	struct world_packet *queue, **tail;
	/* true: the packet is lost. NULL: nothing is */
	bool (*drop)(struct world *w, const struct world_packet *p);
	/* sees every packet that is sent, lost ones too */
	void (*see)(struct world *w, const struct world_packet *p);
	void *arg;
	uv_loop_t *loop;   /* run once a step if set */
	unsigned seen[16]; /* packets sent, by type */
	struct {
		uint64_t id, head;
		uint8_t epoch;
	} heads[WORLD_NODES][WORLD_HEADS]; /* newest counters of the kernel lane, by the low bits of path and epoch */
};

/* One world at a time: its clock is static. Agents are alice (10.0.0.1, fd00::1) and bob; registered after a while. */
void world_init(struct world *w);
/* The same with NATs and the like before the agents, and RSs. Nobody is registered yet. */
void world_init_net(struct world *w, const struct world_net net[WORLD_NODES], unsigned relays);
bool world_registered(struct world *w);
/* With one RS, every packet delay_ms later than else; both are registered and a path between them has settled. */
void world_connect(struct world *w, const struct world_net net[WORLD_NODES], unsigned delay_ms);
void world_set_net(struct world *w, int node, const struct world_net *net); /* it moves: new uplinks */
void world_free(struct world *w);
void world_run(struct world *w, unsigned ms);
/* Runs until cond holds, at most ms; returns whether it does. */
bool world_until(struct world *w, unsigned ms, bool (*cond)(struct world *w));
uint64_t world_ns(void);
void world_skip(unsigned ms); /* time passes and nobody is awake */

struct ntm_tunnel *world_tunnel(struct world *w, int node); /* the first there is */
bool world_both_up(struct world *w);
/* An agent ends and another one adopts what it left. */
void world_restart(struct world *w, int node);
/* Sends a packet of inner traffic from a node's kernel; its data plane counts it. False: no path or no key. */
bool world_traffic(struct world *w, int node, size_t len);
/* A datagram on its way. lport: where it is sent from, network order. */
void world_put(struct world *w, int from, const struct ntm_addr *to, uint16_t lport, const void *data, size_t len);
void world_deliver(struct world *w, const struct world_packet *p); /* now, past the queue */
/* The DC loses its sessions and begins new ones with the nodes that it knows. */
void world_dc_restart(struct world *w, bool contact);
void world_dc_send(struct world *w, int node, struct ntm_sig *m);
void world_vips(int node, uint8_t vip4[4], uint8_t vip6[16]); /* virtual addresses */
void world_dc_receives(struct world *w, const struct world_packet *p);
void world_dc_step(struct world *w); /* a millisecond has passed */

#endif
