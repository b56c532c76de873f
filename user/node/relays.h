/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The RSs that the DC offers: how far each is, and as what it sees this node (relays.c); how long a NAT or firewall
 * before this node keeps a mapping (mapping.c).
 */
#ifndef NTM_NODE_RELAYS_H
#define NTM_NODE_RELAYS_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "../common/signal_codec.h"
#include "timer.h"

struct ntm_node;

enum { NTM_RELAY_PROBES = 3 };

struct ntm_relay_seen { /* by one family */
	uint64_t seq[NTM_RELAY_PROBES], sent_ns[NTM_RELAY_PROBES];
	uint32_t rtt_us;          /* least of the last round; NTM_RELAY_RTT_NONE: no answer */
	uint32_t round_us;        /* of the round under way */
	struct ntm_addr observed; /* port 0: never */
};

struct ntm_relay_known {
	struct ntm_relay_offer offer;
	struct ntm_relay_seen seen[2]; /* IPv4, IPv6 */
	bool measured;
};

struct ntm_relays {
	struct ntm_relay_known r[NTM_RELAY_OFFERS_MAX];
	unsigned n;
	unsigned sends; /* of the round under way */
	uint64_t next_seq;
	struct ntm_addr told[NTM_RELAY_OFFERS_MAX]; /* reflexive addresses that the DC was told */
	unsigned n_told;
	struct ntm_timer timer;
};

void ntm_relays_init(struct ntm_node *n);
void ntm_relays_stop(struct ntm_node *n);
/* Takes RELAY_OFFER fields; without any nothing changes unless `all`: a Registration Response says all there are. */
void ntm_relays_offered(struct ntm_node *n, const struct ntm_sig *m, bool all);
/*
 * A probe from another address of this node, sent once; an answer to it goes to ntm_proof_answered() with the low half
 * of seq, if the high one is NTM_RELAY_ASKED. 0 or -errno.
 */
#define NTM_RELAY_ASKED 0x80000000u
int ntm_relays_ask(struct ntm_node *n, const struct ntm_relay_known *k, bool v6, const uint8_t src[16], uint64_t seq);
void ntm_relays_measure(struct ntm_node *n);                         /* now: addresses have changed */
void ntm_relays_report(const struct ntm_node *n, struct ntm_sig *m); /* adds RELAY_RTT */
void ntm_relays_answer(struct ntm_node *n, const struct ntm_addr *from, const uint8_t *msg, size_t len);
/* Which family to begin with. */
bool ntm_relays_prefer_v6(const struct ntm_node *n, const struct ntm_relay_info *r);
/* Name of the RS at this address, NULL if it is none that is offered. */
const char *ntm_relays_name(const struct ntm_node *n, const struct ntm_addr *a);
/* This node as the DC and RSs see it, own addresses left out, each IP address once. Returns their number. */
unsigned ntm_relays_reflexive(const struct ntm_node *n, struct ntm_addr *out, unsigned cap);
bool ntm_node_has_addr(const struct ntm_node *n, const uint8_t ip[16]);

enum ntm_mapping_phase { NTM_MAPPING_IDLE, NTM_MAPPING_OPENING, NTM_MAPPING_WAITING };

struct ntm_mapping {
	enum ntm_mapping_phase phase;
	unsigned step;     /* next life to be tried */
	uint16_t proven_s; /* 0: nothing yet */
	bool done;
	unsigned tries; /* of this step */
	uint32_t txid;
	uint64_t asked_ms;
	struct ntm_timer timer;
};

void ntm_mapping_init(struct ntm_node *n);
void ntm_mapping_start(struct ntm_node *n);   /* registered: unless it is known already */
void ntm_mapping_restart(struct ntm_node *n); /* addresses have changed: from the beginning */
void ntm_mapping_stop(struct ntm_node *n);
bool ntm_mapping_answered(struct ntm_node *n, uint32_t txid); /* was it a test's? */
/* How often something must be sent for a mapping to stay, milliseconds. */
uint64_t ntm_mapping_keepalive_ms(const struct ntm_node *n);
bool ntm_mapping_is_nat(const struct ntm_node *n); /* IPv4 before this node is translated */

json_object *ntm_control_relays(struct ntm_node *n); /* new; NULL: no memory */
json_object *ntm_control_netcheck(struct ntm_node *n);

#endif
