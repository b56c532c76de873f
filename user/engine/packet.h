/* SPDX-License-Identifier: BSD-2-Clause */
/* An inner packet's headers as far as segmenting, coalescing and sending need them. */
#ifndef NTM_ENGINE_PACKET_H
#define NTM_ENGINE_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NTM_TCP_FIN = 1, NTM_TCP_SYN = 2, NTM_TCP_RST = 4, NTM_TCP_PSH = 8, NTM_TCP_URG = 32, NTM_TCP_CWR = 128 };

struct ntm_packet {
	uint32_t len;  /* by its own header, bytes; at most what is there */
	uint16_t l4;   /* offset of the transport header; 0: none to speak of (fragments, unknown extension headers) */
	uint8_t proto; /* of what is at l4 */
	uint8_t tos;   /* DSCP and ECN */
	bool is_ipv6;
	bool plain; /* no IPv4 options, no extension headers */
};

/* 0 or -EBADMSG: not IP, or its lengths contradict each other. */
int ntm_packet_parse(struct ntm_packet *k, const uint8_t *p, size_t avail);

static inline uint16_t ntm_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t ntm_get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void ntm_put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void ntm_put32(uint8_t *p, uint32_t v)
{
	ntm_put16(p, v >> 16);
	ntm_put16(p + 2, v);
}

/* Writes the length of the whole packet, and an IPv4 header's checksum. */
void ntm_packet_set_len(uint8_t *p, bool is_ipv6, size_t len);

#endif
