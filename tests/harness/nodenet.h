/* SPDX-License-Identifier: BSD-2-Clause */
/* The network of nodeworld.h: what is before each agent (NAT, firewall, nothing), and RSs. */
#ifndef NTM_NODENET_H
#define NTM_NODENET_H

#include <stdbool.h>
#include <stdint.h>

#include "../../user/common/signal_codec.h"
#include "../../user/node/node.h"

struct world;
struct world_packet;

enum { WORLD_NODES = 2, WORLD_DC = WORLD_NODES, WORLD_RS, WORLD_RELAYS = 2, WORLD_PARTIES = WORLD_RS + WORLD_RELAYS };
enum { WORLD_FLOWS = 256, WORLD_RELAYED = 32 };

enum world_nat {
	WORLD_OPEN,
	WORLD_ONE_TO_ONE, /* translates the address only, lets everything in */
	WORLD_EASY,       /* one outer port a socket; lets in who was sent to (address and port) */
	WORLD_HARD,       /* another outer port for each destination */
	WORLD_FIREWALL,   /* translates nothing, lets in who was sent to */
};

/* What is before an agent. All zero: nothing, both families, everybody on one LAN. */
struct world_net {
	enum world_nat nat; /* IPv4; IPv6 has a firewall in its place, but for WORLD_OPEN and WORLD_ONE_TO_ONE */
	bool no4, no6;
	bool far;        /* on a network of its own: nobody else is on the prefix */
	uint8_t lan;     /* not 0: agents with the same number share LAN and NAT */
	unsigned life_s; /* of an unused mapping; 0: 180 */
};

struct world_flow {
	uint16_t lport, eport; /* network order */
	struct ntm_addr remote;
	uint8_t by[16]; /* own address, where there are several */
	uint64_t used_ms;
};

struct world_flows {
	struct world_flow f[WORLD_FLOWS];
	unsigned n, next_port;
};

/* A path at an RS. */
struct world_relayed {
	uint64_t id;
	uint8_t key[2][NTM_KEY_LEN];
	struct ntm_addr end[2]; /* port 0: not bound */
	bool end_v6[2];
	uint64_t seq[2];
	bool held; /* a Tunnel Request for the other end */
	unsigned held_from;
	uint8_t request[160];
	unsigned packets;
};

struct world_relay {
	bool down, draining, refuses_binds;
	unsigned binds, probes, dropped;
	struct world_relayed path[WORLD_RELAYED];
	unsigned n;
};

/* Where a packet of `from` to p->dst comes out; sets p->to, p->src, p->dst. False: nowhere. */
bool world_route(struct world *w, struct world_packet *p, uint16_t lport);
struct ntm_addr world_address(const struct world *w, int who, bool v6); /* as it is configured */
/* The first uplink of an agent, as another one that is there, too: packets go and come by the one that is said. */
struct ntm_uplink_info world_beside(struct world *w, int node);
struct ntm_addr world_outside(const struct world *w, int who, bool v6); /* as others see it, if that is one thing */

void world_relay_info(const struct world *w, unsigned relay, struct ntm_relay_info *out);
void world_relay_offer(const struct world *w, unsigned relay, int node, struct ntm_relay_offer *out);
/* Relay Direction. */
void world_relay_add(struct world *w, unsigned relay, uint64_t path_id, const uint8_t psk[NTM_PSK_LEN]);
/* It drains, and tells the ends of its paths so. */
void world_relay_drain(struct world *w, unsigned relay);
void world_relay_receives(struct world *w, unsigned relay, const struct world_packet *p);
struct world_relayed *world_relay_path(struct world *w, unsigned relay, uint64_t path_id);

#endif
