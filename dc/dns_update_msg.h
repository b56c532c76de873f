/* SPDX-License-Identifier: BSD-2-Clause */
/* UPDATE messages and what is answered to them. */
#ifndef NTM_DC_DNS_UPDATE_MSG_H
#define NTM_DC_DNS_UPDATE_MSG_H

#include "dns_zone.h"

struct ntm_dns_change {
	char label[NTM_LABEL_MAX + 1]; /* "": the DC's own names */
	uint8_t vip4[4], vip6[16];
};

struct ntm_dns_signer {
	char *name, *key; /* domain name, base64 */
};

struct ntm_dns_message {
	uint8_t *wire; /* malloc'd */
	size_t len;
	uint16_t id;
	ldns_rdf *mac; /* the request's; the response is signed over it */
};
void ntm_dns_message_clear(struct ntm_dns_message *m);

/* Adds to rrs what makes the zone of names say of c what the source says now. 0, -ENOMEM or the source's error. */
int ntm_dns_change_forward(const struct ntm_dns_zone *z, const struct ntm_dns_change *c, ldns_rr_list *rrs);
/* The same for one of the n reverse zones: for those of c's addresses that belong to it rather than to another. */
int ntm_dns_change_reverse(const struct ntm_dns_zone *z, const struct ntm_dns_change *c, ldns_rdf *const *zones,
			   size_t n, size_t which, ldns_rr_list *rrs);

/* Takes over rrs in any case. 0, -ENOMEM, or -EIO: it cannot be encoded or signed. */
int ntm_dns_message_make(struct ntm_dns_message *m, const ldns_rdf *zone, ldns_rr_list *rrs,
			 const struct ntm_dns_signer *signer);
/*
 * A response to m. 0: done. -EBADMSG: not an answer to it, or not signed by the key; *rcode says what it claims, or is
 * -1. -EREMOTEIO: authentic, and *rcode says why not. -EADDRNOTAVAIL: authentic, the server has no such zone.
 */
int ntm_dns_message_answered(const struct ntm_dns_message *m, const struct ntm_dns_signer *signer, const uint8_t *data,
			     size_t len, int *rcode);

#endif
