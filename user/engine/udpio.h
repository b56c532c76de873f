/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * UDP in batches: datagrams of one size to one peer leave as one UDP_SEGMENT send, and those of one size from one
 * peer come in one buffer (UDP_GRO). Where kernel or interface refuses to segment, they are sent one by one.
 */
#ifndef NTM_ENGINE_UDPIO_H
#define NTM_ENGINE_UDPIO_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "../common/addr.h"

enum {
	NTM_UDP_SEGS = 64,        /* segments of one send (UDP_MAX_SEGMENTS of every kernel) */
	NTM_UDP_SEND_MAX = 65487, /* their sum, bytes: 65,535 less IPv6 and UDP header */
	NTM_UDP_BUF = 65536,
	NTM_UDP_RX_BATCH = 4,
};

/* Where datagrams go, and from where. */
struct ntm_udp_to {
	struct ntm_addr to;
	uint8_t src[16];  /* v4-mapped or IPv6; zero: the kernel's choice */
	uint32_t ifindex; /* 0: the routing table's choice */
	uint8_t tos;      /* DSCP and ECN of the outer header */
	/* The same bytes leave a second time, from there: an uplink that was in use before. ifindex 0: they don't. */
	struct {
		uint8_t src[16];
		uint32_t ifindex;
	} copy;
};

struct ntm_udp_tx {
	int fd4, fd6; /* borrowed; -1: that family is not there */
	bool no_gso4, no_gso6;
	void (*waits)(void *arg); /* called each few ms while a full socket buffer holds it up; NULL: not */
	void *arg;
	struct ntm_udp_to dst; /* of what is in buf */
	size_t len;            /* bytes in buf */
	size_t seg;            /* of each datagram but the last */
	unsigned n;            /* datagrams in buf */
	uint64_t sent, sends;  /* datagrams, system calls */
	uint64_t copies;       /* datagrams that left a second time */
	uint64_t errors;       /* datagrams that could not be sent */
	int last_error;        /* -errno of the latest of those */
	uint8_t buf[NTM_UDP_BUF];
};

/* A socket for this: don't fragment, big buffers, UDP_GRO and outer TOS on receipt. The port is shared (SO_REUSEPORT).
 * fd or -errno. */
int ntm_udp_data_socket(bool v6, uint16_t port, uint32_t mark);

void ntm_udp_tx_init(struct ntm_udp_tx *t, int fd4, int fd6);
/*
 * Room for a datagram of len bytes (at most NTM_UDP_SEND_MAX) to dst, which the caller then writes; sends what is there
 * first where it doesn't go with that.
 */
uint8_t *ntm_udp_tx_room(struct ntm_udp_tx *t, const struct ntm_udp_to *dst, size_t len);
/* The datagram at the place that room() gave is complete (len as there). */
void ntm_udp_tx_add(struct ntm_udp_tx *t, size_t len);
/* Sends what there is. Blocks for as long as the socket's buffer is full, 100 ms at most: what won't go then is lost.
 */
void ntm_udp_tx_flush(struct ntm_udp_tx *t);

/* What came: one buffer of datagrams of `seg` bytes each, the last one perhaps shorter. */
struct ntm_udp_in {
	struct ntm_addr from;
	uint8_t to[16]; /* local address */
	uint8_t tos;
	size_t len, seg; /* seg = len: one datagram */
	uint8_t *data;   /* aligned to 16 */
};

union ntm_udp_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(struct in6_pktinfo)) + 3 * CMSG_SPACE(sizeof(int))];
};

struct ntm_udp_rx {
	struct mmsghdr msgs[NTM_UDP_RX_BATCH];
	struct iovec iov[NTM_UDP_RX_BATCH];
	struct sockaddr_storage names[NTM_UDP_RX_BATCH];
	union ntm_udp_control ctl[NTM_UDP_RX_BATCH];
	struct ntm_udp_in in[NTM_UDP_RX_BATCH];
	uint64_t truncated;
	_Alignas(64) uint8_t buf[NTM_UDP_RX_BATCH][NTM_UDP_BUF];
};

/* Reads what is there into r->in[0..n-1]. n, 0: nothing, -errno. */
int ntm_udp_rx(struct ntm_udp_rx *r, int fd);

#endif
