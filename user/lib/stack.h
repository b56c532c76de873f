/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lwIP as Debian packages it (liblwip0), without its threads: its callback interface ("raw API") needs none as long as
 * tcpip_init() is never called, and its timers are run from here. lwIP is one for the process; each instance has an
 * interface (netif) in it, and everything is bound to one, so that instances can't be mixed up, whatever their
 * addresses.
 */
#ifndef NTM_LIB_STACK_H
#define NTM_LIB_STACK_H

#include <lwip/ip.h>
#include <lwip/netif.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../common/addr.h"

enum {
	NTM_STACK_MTU_MAX = 1984, /* of an inner packet */
	NTM_STACK_MTU_MIN = 1280,
	NTM_WND_SCALE = 7, /* windows up to 8 MiB */
};

struct ntm_vif_ops {
	void (*output)(void *arg, const uint8_t *packet, size_t len);
	/* Largest inner packet that this destination takes now. */
	uint16_t (*mtu)(void *arg, const uint8_t dst[16]);
	/* An ICMP error about a packet that was sent from here: an errno value, and its addresses and ports. */
	void (*unreachable)(void *arg, uint8_t protocol, const struct ntm_addr *src, const struct ntm_addr *dst,
			    int err);
};

struct ntm_vif {
	struct netif netif;
	uint8_t vip4[16], vip6[16]; /* v4-mapped */
	const struct ntm_vif_ops *ops;
	void *arg;
	bool added, up;
	struct ntm_vif *next;
};

int ntm_vif_add(struct ntm_vif *v, const struct ntm_vif_ops *ops, void *arg); /* 0 or -errno */
void ntm_vif_addresses(struct ntm_vif *v, const uint8_t vip4[4], const uint8_t vip6[16]);
void ntm_vif_remove(struct ntm_vif *v); /* all of its connections are reset */
void ntm_vif_input(struct ntm_vif *v, const uint8_t *packet, size_t len);
/* What is sent next leaves by this interface, to dst, whose path says how it is fragmented. NULL: it is TCP. */
void ntm_vif_select(struct ntm_vif *v, const uint8_t dst[16]);
bool ntm_vif_unsent(const struct ntm_vif *v); /* has TCP anything that was not acknowledged yet? */

void ntm_stack_run(void);     /* timers that are due, packets to oneself */
int64_t ntm_stack_next(void); /* milliseconds until there is something to do; -1: nothing */

void ntm_ip_to_lwip(ip_addr_t *out, const uint8_t ip[16]);
void ntm_ip_from_lwip(uint8_t out[16], const ip_addr_t *ip);

#endif
