/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses: IPv6 or IPv4-mapped IPv6 (RFC 4291 2.5.5.2), network byte order throughout. */
#ifndef NTM_ADDR_H
#define NTM_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A transport address. All zero: none. */
struct ntm_addr {
	uint8_t ip[16];
	uint16_t port; /* network byte order */
};

/* A prefix; IPv4 prefixes have lengths 96..128 here. */
struct ntm_prefix {
	uint8_t ip[16];
	uint8_t len;
};

#define NTM_ADDR_STRLEN 56

bool ntm_ip_is_v4(const uint8_t ip[16]);
void ntm_ip_from_v4(uint8_t ip[16], const void *v4);
bool ntm_ip_is_zero(const uint8_t ip[16]);
/* loopback, link-local, multicast, unspecified: never a candidate */
bool ntm_ip_is_usable(const uint8_t ip[16]);
bool ntm_addr_equal(const struct ntm_addr *a, const struct ntm_addr *b);

/* Both return 0 or -EINVAL; out is untouched on failure. "a.b.c.d:port", "[v6]:port", port optional if dflt_port (host
 * order) is not 0. */
int ntm_addr_parse(const char *text, uint16_t dflt_port, struct ntm_addr *out);
int ntm_ip_parse(const char *text, uint8_t out[16]);
int ntm_prefix_parse(const char *text, struct ntm_prefix *out); /* host bits must be zero */
bool ntm_prefix_contains(const struct ntm_prefix *p, const uint8_t ip[16]);

/* Write text, at most NTM_ADDR_STRLEN bytes with NUL; return out. IPv4-mapped prints as IPv4. */
const char *ntm_addr_format(const struct ntm_addr *a, char out[NTM_ADDR_STRLEN]);
const char *ntm_ip_format(const uint8_t ip[16], char out[NTM_ADDR_STRLEN]);
const char *ntm_prefix_format(const struct ntm_prefix *p, char out[NTM_ADDR_STRLEN]);

/* To and from the kernel's form. `family` AF_INET or AF_INET6 says which sockaddr to build (AF_INET6 takes v4-mapped).
 */
socklen_t ntm_addr_to_sockaddr(const struct ntm_addr *a, int family, struct sockaddr_storage *out);
int ntm_addr_from_sockaddr(struct ntm_addr *out, const struct sockaddr *sa);

#endif
