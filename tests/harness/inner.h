/* SPDX-License-Identifier: BSD-2-Clause */
/* Inner packets for tests: TCP and UDP over IPv4 and IPv6, with checksums complete. */
#ifndef NTM_HARNESS_INNER_H
#define NTM_HARNESS_INNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inner_spec {
	bool v6, udp;
	uint16_t sport, dport; /* 0: 1000, 2000 */
	uint32_t seq, ack;
	uint16_t id, window;
	uint8_t flags;    /* TCP, 0: ACK */
	uint8_t tos, ttl; /* ttl 0: 64 */
	bool no_df;
	size_t options; /* bytes of TCP options, a multiple of 4: NOPs and the option byte below */
	uint8_t option;
	size_t payload;
	uint8_t fill; /* payload byte i is fill + i */
};

/* Writes the packet, returns its length; *l4: offset of the transport header (may be NULL). */
size_t inner_make(const struct inner_spec *s, uint8_t *out, size_t *l4);
/* Transport checksum (and IPv4 header checksum) right? */
bool inner_csum_ok(const uint8_t *p, size_t len);

#endif
