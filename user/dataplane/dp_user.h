/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The data plane in the agent: no BPF, no interface, no privileges, nothing outside of the memory of the process (but
 * a state file, if one is asked for), and as many of them in a process as one likes. The caller gives it two ways out,
 * and puts in what comes:
 *
 *             inner packets                        UDP datagrams
 *   host ──► ntm_dp_user_inner_input() ──► [seal] ──► send()      ──► peer
 *   host ◄── deliver()                 ◄── [open] ◄── ops->open() ◄── peer
 *
 * The host is a TUN device, a TCP/IP stack in the process, or whatever deals in IP packets. All calls are made on one
 * thread: that of fd() and dispatch() of struct ntm_dp, which tell the events, as for every data plane, later than the
 * call they follow from. Paths are those of ntm/maps.h, in plain memory; every check of the kernel programs holds.
 */
#ifndef NTM_DP_USER_H
#define NTM_DP_USER_H

#include "../engine/tun.h"
#include "dp.h"

struct ntm_dp_user_config {
	uint32_t max_paths; /* 0: NTM_MAX_PATHS_DEFAULT */
	/*
	 * Paths live in this file, so that the agent after this one goes on with them: keys and all, so it has to be on
	 * a file system in memory, and belongs to one agent at a time. NULL: they end with close().
	 */
	const char *state_file;

	/* An inner packet for this host; borrowed. 0, or -errno: it is lost, and counted as rx_error. */
	int (*deliver)(void *arg, const uint8_t *packet, size_t len);
	/*
	 * A datagram for a peer, from the port by which others reach this node, with that TOS or traffic class (ECN and
	 * DSCP of the inner packet). Borrowed. 0, or -errno: it is lost, and counted by what the error says. -EMSGSIZE:
	 * too big for the uplink.
	 */
	int (*send)(void *arg, const struct ntm_addr *to, const void *datagram, size_t len, uint8_t tos);
	/*
	 * So long after a change of uplinks the same datagrams leave by the former one, too (0: they don't): what
	 * send_by() is given after send(), from that address by that interface. NULL: workers alone do that.
	 */
	uint32_t duplicate_ms;
	int (*send_by)(void *arg, const struct ntm_addr *to, const uint8_t src[16], uint32_t ifindex,
		       const void *datagram, size_t len, uint8_t tos);

	/* What an interface on the inner side has to follow; each may be NULL. 0 or -errno. */
	int (*addresses)(void *arg, const struct ntm_dp_addresses *old,
			 const struct ntm_dp_addresses *a);                      /* old or NULL */
	int (*peer_route)(void *arg, const uint8_t ip[16], uint16_t mtu);        /* v4-mapped or IPv6; 0: no more */
	int (*general)(void *arg, const struct ntm_dp_general *g, uint16_t mtu); /* with the gateway path's MTU */
	int (*uplink_mtu)(void *arg, uint32_t mtu);                              /* the largest uplink's */
	void (*closing)(void *arg, bool keep); /* the interface goes, or stays for the next agent */

	/*
	 * With worker threads (the engine), once start() was called: they read and write the device and the port, with
	 * the suites of the bulk lane, and what is left for the functions above is what is not theirs to decide.
	 */
	bool engine;
	/* The device's queues, for workers to own: fd -1 where there is none now. n: how many. 0 or -errno. */
	int (*queues)(void *arg, struct ntm_tun *tuns, unsigned n);
	void (*tun_gone)(void *arg); /* a worker says so: each that reads a queue of it does */
	/*
	 * is_own: do packets to this address ask services of the host itself? Any thread calls it; NULL: none do. own:
	 * a packet to such an address, or to nobody who is known: true, if it was for such a service; borrowed.
	 */
	bool (*is_own)(void *arg, const uint8_t ip[16]);
	bool (*own)(void *arg, const uint8_t *packet, size_t len);
	void (*flush)(void *arg); /* what send() was given goes now */
	void *arg;
};

/* 0, or -errno with one sentence in why. -EBUSY: the state file is another agent's. */
int ntm_dp_user_open(struct ntm_dp **out, const struct ntm_dp_user_config *c, const struct ntm_dp_events *ev, void *arg,
		     char *why, size_t cap);

/* Wipes and removes the state file of an agent that is gone; 0 if there is none. -EBUSY: it is not gone. */
int ntm_dp_user_remove(const struct ntm_dp_user_config *c, char *why, size_t cap);

/*
 * An inner packet of the host, with its checksums complete: sealed and sent, or held back with an event, or answered
 * by ICMP "too big" through deliver(), or dropped; counters() say which.
 */
void ntm_dp_user_inner_input(struct ntm_dp *dp, const uint8_t *packet, size_t len);

/* Workers have device and port: nobody else is to read them. */
bool ntm_dp_user_engine_runs(struct ntm_dp *dp);
/* Another device: asks queues() anew. 0 or -errno. */
int ntm_dp_user_new_tun(struct ntm_dp *dp);

/*
 * As ops->open(), which doesn't know the outer TOS or traffic class of the datagram and takes 0: with it ECN works as
 * RFC 6040 says. The datagram is opened in place: what deliver() is given lies in it, and stays there.
 */
int ntm_dp_user_outer_input(struct ntm_dp *dp, uint8_t *datagram, size_t len, const struct ntm_addr *from, uint8_t tos);

#endif
