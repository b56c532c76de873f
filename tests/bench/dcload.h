/* SPDX-License-Identifier: BSD-2-Clause */
/* Load on a DC from many nodes in one process: real keys, real sessions, two sockets that all nodes share. */
#ifndef NTM_BENCH_DCLOAD_H
#define NTM_BENCH_DCLOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "../../user/common/session.h"
#include "../../user/common/signal_codec.h"

enum {
	SOCKETS = 2, /* a node that changes its address takes the other */
};

#define LOST_NS 5000000000ULL /* what has no answer by then, on a busy machine too, has none */

enum op {
	OP_SESSION,   /* Noise handshake, then the first registration on it */
	OP_HANDSHAKE, /* the first half of that: until the DC has answered, then sim_finish() */
	OP_FIRST,     /* and the other half */
	OP_REGISTER,  /* from the other address than before */
	OP_DIRECT,    /* to a node drawn at random */
};

/* A node's side of a handshake under way. */
struct sim_handshake {
	struct ntm_session_init_state st;
	struct ntm_session_resp resp;
	struct ntm_session keys; /* once dcload_clients.c has finished it */
	int err;
};

struct sim_node {
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
	struct ntm_session keys;
	struct sim_handshake *hs;
	uint32_t txid;
	uint8_t sock;
	bool up, busy;
	bool prepared; /* hs was not sent yet */
	bool answered; /* hs->resp is the DC's answer */
	bool away;     /* hs is being finished */
	enum op op;
	uint64_t due_ns; /* when the request under way was to be sent; its latency counts from here */
	uint64_t sent_ns;
	uint64_t answered_ns;
	uint64_t own_ns; /* from the DC's answer until its next message left: what the node itself took */
	TAILQ_ENTRY(sim_node) link;
	STAILQ_ENTRY(sim_node) work;
};

struct sim_latency {
	uint64_t due_ns, came_ns;
	uint64_t ns; /* what the DC and the wire took of that */
};

struct sim {
	struct sim_node *nodes;
	unsigned n;     /* nodes that take part so far */
	unsigned total; /* that the DC's store knows */
	uint8_t dc_pub[NTM_DH_LEN];
	struct ntm_cookie_client cookies;
	int fd[SOCKETS];
	TAILQ_HEAD(sim_flight, sim_node) flight; /* requests under way, the oldest first */
	unsigned in_flight;
	uint32_t next_txid;
	uint64_t seed;
	uint64_t arrived_ns;         /* when the datagram that is taken came to the socket */
	uint64_t done, failed, lost; /* of the phase under way */
	struct sim_latency *latency; /* of those done, the first latency_cap of them; may be NULL */
	size_t latency_cap;
};

uint64_t sim_now(void); /* ns, monotonic */
/* Key pairs of node i, the same in every run: the store is filled before the DC starts. 0 or -errno */
int sim_keys(unsigned i, uint8_t priv[NTM_DH_LEN], uint8_t pub[NTM_DH_LEN]);
int sim_open(struct sim *s, const struct ntm_addr *dc, const uint8_t dc_pub[NTM_DH_LEN], unsigned total);
void sim_close(struct sim *s);

struct sim_node *sim_idle_node(struct sim *s); /* drawn from the n first ones; up. NULL: all that were tried are busy */
/* Makes the session init that the next OP_SESSION sends. 0 or -errno */
int sim_prepare(struct sim *s, struct sim_node *node);
/* Of nodes[from] to nodes[to - 1], whose OP_HANDSHAKE is over: they compute their keys. */
void sim_finish(struct sim *s, unsigned from, unsigned to);
/* Begins op: queued until sim_flush(). 0 or -errno */
int sim_begin(struct sim *s, struct sim_node *node, enum op op, uint64_t due_ns);
void sim_flush(struct sim *s);
/* Takes some of what has come, waiting for it until the time `until_ns`; what had no answer for LOST_NS is lost. */
void sim_receive(struct sim *s, uint64_t until_ns);

#endif
