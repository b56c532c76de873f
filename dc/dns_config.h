/* SPDX-License-Identifier: BSD-2-Clause */
/* The settings of dc.conf that are about DNS; all of them in [dc]. */
#ifndef NTM_DC_DNS_CONFIG_H
#define NTM_DC_DNS_CONFIG_H

#include "dns_zone.h"

enum ntm_dc_dns_mode { NTM_DC_DNS_EMBEDDED, NTM_DC_DNS_UPDATE };
enum { NTM_DC_DNS_RATE = 500 };

struct ntm_dc_prefixes {
	struct ntm_prefix *items;
	size_t n;
};

struct ntm_dc_dns_config {
	enum ntm_dc_dns_mode mode;            /* dns = embedded | update */
	enum ntm_dns_publish publish;         /* publish = virtual | real | none */
	struct ntm_dc_prefixes transfer;      /* dns_transfer: who may have the zone by AXFR */
	uint32_t rate;                        /* dns_rate_limit: UDP responses a second to a network; 0: no limit */
	struct ntm_addr server;               /* dns_server, where updates go; port 0: none */
	char *key_name, *key_file;            /* dns_key_name, dns_key_file */
	struct ntm_string_list reverse_zones; /* dns_reverse_zones: at that server, for PTR records */
};

/* Parsers as conf.h's; the field is of the type said above. */
int ntm_dc_conf_dns_mode(const char *v, void *field, char *why, size_t cap);
int ntm_dc_conf_dns_publish(const char *v, void *field, char *why, size_t cap);
int ntm_dc_conf_dns_prefixes(const char *v, void *field, char *why, size_t cap);
int ntm_dc_conf_dns_server(const char *v, void *field, char *why, size_t cap);
int ntm_dc_conf_dns_name(const char *v, void *field, char *why, size_t cap);
int ntm_dc_conf_dns_zones(const char *v, void *field, char *why, size_t cap);

/* Do the settings fit together? 0, or -EINVAL with a sentence. */
int ntm_dc_dns_config_check(const struct ntm_dc_dns_config *c, const char *zone, bool listens, char *why, size_t cap);
void ntm_dc_dns_config_free(struct ntm_dc_dns_config *c);

/*
 * The secret in a key file: base64 alone, or as tsig-keygen(8) writes it. 0, or -errno with a sentence. *out is
 * malloc'd; to be wiped. Warns if others can read the file.
 */
int ntm_dc_dns_key_load(const char *file, char **out, char *why, size_t cap);

#endif
