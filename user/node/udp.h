/* SPDX-License-Identifier: BSD-2-Clause */
/* The node's one UDP port, as an IPv4 and an IPv6 socket: signalling, handshakes, control and slow-path packets. */
#ifndef NTM_NODE_UDP_H
#define NTM_NODE_UDP_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "../common/addr.h"
#include "node.h"

struct ntm_udp;

/* Called for each datagram; `to` is the local address it came to. data is aligned for struct ntm_hdr. */
typedef void (*ntm_udp_input)(void *arg, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *data,
			      size_t len);

/* port 0: any (both sockets get the same). A host without IPv6 gets IPv4 alone. 0 or -errno with a sentence in why. */
int ntm_udp_open(struct ntm_udp **out, uv_loop_t *loop, uint16_t port, ntm_udp_input input, void *arg, char *why,
		 size_t cap);
/* Marks what is sent (SO_MARK), so that routing rules leave it alone. 0 or -errno. */
int ntm_udp_set_mark(struct ntm_udp *u, uint32_t mark);
/*
 * What is sent from an address of one of these leaves by that interface, as in the kernel lane, whatever the routing
 * table prefers. n 0 or 1: the routing table decides, unless it might prefer an interface without a carrier; then, what
 * is sent from no address in particular leaves by the first uplink, too.
 */
void ntm_udp_set_uplinks(struct ntm_udp *u, const struct ntm_uplink_info *up, unsigned n);
/* Others of this process may be bound to the port from now on. fds: the sockets, IPv4 and IPv6, -1: none. 0 or -errno.
 */
int ntm_udp_share(struct ntm_udp *u, int fds[2]);
void ntm_udp_fds(const struct ntm_udp *u, int fds[2]); /* IPv4 and IPv6, -1: none; to send by */
/* The interface that such a source leaves by, 0: the routing table decides. */
uint32_t ntm_udp_interface(const struct ntm_udp *u, const uint8_t ip[16]);
/* fds: the port's sockets, IPv4 and IPv6, -1: not there. From here on it is `reader` that reads one that is readable.
 */
void ntm_udp_take_over(struct ntm_udp *u, void (*reader)(void *arg, int fd), void *arg, int fds[2]);
void ntm_udp_close(struct ntm_udp *u);
uint16_t ntm_udp_port(const struct ntm_udp *u); /* host order */
/* As struct ntm_net's send; arg is the struct ntm_udp. */
int ntm_udp_send(void *arg, const struct ntm_addr *to, const uint8_t src[16], const void *data, size_t len,
		 enum ntm_send_mode mode);
/* As struct ntm_net's gather: short datagrams leave by as few calls as possible. Not within itself. */
void ntm_udp_gather(void *arg, bool on);
/* From another port, which is opened with the first call and kept; what comes there is input, too. 0 or -errno. */
int ntm_udp_send_aside(void *arg, const struct ntm_addr *to, const uint8_t src[16], const void *data, size_t len);

#endif
