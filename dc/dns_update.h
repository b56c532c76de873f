/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The alternative to the embedded server: an unmodified name server that is primary for the zone is kept up to date by
 * UPDATE (RFC 2136) over TCP, signed by TSIG with hmac-sha256 (RFC 8945). What the zone has is the server's; at a
 * node's name only the four types of dns_zone.h are touched, beside these dc.ZONE and _ntm._udp.ZONE.
 *
 * A change says which name, not what: what it is to have is looked up when the message is made, so changes of one name
 * while the server is away are one. Nothing here blocks.
 */
#ifndef NTM_DC_DNS_UPDATE_H
#define NTM_DC_DNS_UPDATE_H

#include <uv.h>

#include "dns_zone.h"

enum {
	NTM_DNS_UPDATE_BATCH = 40,    /* names in one message */
	NTM_DNS_UPDATE_DELAY_MS = 20, /* changes that come close together go together */
	NTM_DNS_UPDATE_TIMEOUT_MS = 5000,
	NTM_DNS_UPDATE_RETRY_MS = 1000, /* doubles up to the next one */
	NTM_DNS_UPDATE_RETRY_MAX_MS = 60000,
};

struct ntm_dns_update_settings {
	struct ntm_addr server;
	const char *key_name;       /* domain name */
	const char *key;            /* base64; copied, and wiped at the end */
	const char *const *reverse; /* zones at that server that get the PTR records; without them there are none */
	size_t n_reverse;
};

struct ntm_dns_update_stats {
	uint64_t messages, names; /* that the server took */
	uint64_t failures;        /* messages refused, unanswered, or answered without the right signature */
	size_t waiting;           /* names */
};

struct ntm_dns_update;

/* z must outlive it. 0, or -errno and a sentence in why. Begins with the DC's own names; the nodes are the caller's. */
int ntm_dns_update_start(struct ntm_dns_update **out, uv_loop_t *loop, const struct ntm_dns_zone *z,
			 const struct ntm_dns_update_settings *s, char *why, size_t cap);
/* Closes everything, sends nothing more; freed when the loop has run its callbacks. */
void ntm_dns_update_stop(struct ntm_dns_update *u);
/* What the zone says of this node, or that it is one, may have changed. -ENOMEM: not noted. */
int ntm_dns_update_changed(struct ntm_dns_update *u, const char *label, const uint8_t vip4[4], const uint8_t vip6[16]);
struct ntm_dns_update_stats ntm_dns_update_stats(const struct ntm_dns_update *u);

#endif
