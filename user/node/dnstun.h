/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Name resolution taken from the TUN device (dns.mode = tun): a DNS server that is an address in the virtual pools, so
 * that its packets come to the agent with all others, and no socket of the host listens. UDP, and as much of TCP (RFC
 * 9293) as a server of short answers needs.
 */
#ifndef NTM_NODE_DNSTUN_H
#define NTM_NODE_DNSTUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../common/addr.h"
#include "../engine/packet.h"
#include "timer.h"

struct ntm_node;
struct ntm_dnstun;

/* deliver: to the host. n->dns is opened without sockets. 0 or -errno with a sentence in why. */
int ntm_dnstun_open(struct ntm_dnstun **out, struct ntm_node *n,
		    int (*deliver)(void *arg, const uint8_t *packet, size_t len), void *arg, char *why, size_t cap);
void ntm_dnstun_close(struct ntm_dnstun *d); /* before n->dns */
/* An inner packet of the host. True: it was for the server. */
bool ntm_dnstun_packet(struct ntm_dnstun *d, const uint8_t *packet, size_t len);
/* The server's address: dns.address, or the first of the pool, which no node has. False: not known yet. */
bool ntm_dnstun_address(const struct ntm_node *n, bool v6, uint8_t out[16]);

/* dnstun_tcp.c */
struct ntm_dnstun_tcp;
struct ntm_dnstun_tcp *ntm_dnstun_tcp_new(struct ntm_dnstun *d); /* NULL: no memory */
void ntm_dnstun_tcp_free(struct ntm_dnstun_tcp *t);
void ntm_dnstun_tcp_segment(struct ntm_dnstun_tcp *t, const struct ntm_packet *in, const uint8_t *packet);
/* What it uses of dnstun.c: a packet from the server to the client; l4 is len bytes with a zero checksum at csum_at. */
struct ntm_node *ntm_dnstun_node(const struct ntm_dnstun *d);
void ntm_dnstun_send(struct ntm_dnstun *d, const struct ntm_addr *client, uint8_t proto, uint8_t *l4, size_t len,
		     size_t csum_at);

#endif
