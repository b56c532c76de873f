/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DNS in the DC: what the configuration asks for, embedded server or updates to another, and the DC's nodes as what the
 * zone is made of. Functions do nothing in a DC that has no DNS.
 */
#ifndef NTM_DC_DNS_H
#define NTM_DC_DNS_H

#include "dns_server.h"
#include "dns_update.h"

struct ntm_dc;
struct ntm_node_record;

/* 0, or -errno and a sentence in why. */
int ntm_dc_dns_start(struct ntm_dc *dc, char *why, size_t cap);
void ntm_dc_dns_stop(struct ntm_dc *dc);
void ntm_dc_dns_free(struct ntm_dc *dc); /* when the loop has run */

/* A node was let in or revoked. */
void ntm_dc_dns_changed(struct ntm_dc *dc, const struct ntm_node_record *rec);
/* It is in memory from now on, by word of another process; whoever let it in tells the rest. */
void ntm_dc_dns_heard(struct ntm_dc *dc, const struct ntm_node_record *rec);
/* Any node may have changed: no answer is given again. */
void ntm_dc_dns_unsure(struct ntm_dc *dc);
/* It is elsewhere, online or offline: that shows only where real addresses are published. */
void ntm_dc_dns_moved(struct ntm_dc *dc, const struct ntm_node_record *rec);

/* For status. */
const struct ntm_dns_stats *ntm_dc_dns_server_stats(const struct ntm_dc *dc);            /* NULL: no server */
bool ntm_dc_dns_update_stats(const struct ntm_dc *dc, struct ntm_dns_update_stats *out); /* false: no updates */
/* Where the server listens, i < the number of dns_listen; NULL: nowhere. */
const struct ntm_addr *ntm_dc_dns_bound(const struct ntm_dc *dc, size_t i);

#endif
