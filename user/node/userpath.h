/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * datapath = user: the data plane in the agent between a TUN device and the node's UDP port. The device is the agent's
 * own, or comes over the control socket (interface = fd).
 */
#ifndef NTM_NODE_USERPATH_H
#define NTM_NODE_USERPATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ntm_node;
struct ntm_userpath;

/* Opens device and data plane, which becomes n->dp. 0 or -errno with a sentence in why. */
int ntm_userpath_open(struct ntm_userpath **out, struct ntm_node *n, char *why, size_t cap);
/* n->udp is there: its sockets are read from here on, and the device. 0 or -errno. */
int ntm_userpath_start(struct ntm_userpath *u);
/* Nothing is read any more; comes before n->udp goes. */
void ntm_userpath_stop(struct ntm_userpath *u);
void ntm_userpath_close(struct ntm_userpath *u, bool keep); /* after n->dp; keep as there */

/* interface = fd: takes fd, also where that fails. 0 or -errno with a sentence in why. */
int ntm_userpath_take(struct ntm_userpath *u, int fd, char *why, size_t cap);
const char *ntm_userpath_ifname(const struct ntm_userpath *u); /* "": no device now */
bool ntm_userpath_guarded(const struct ntm_userpath *u);

/* dns.mode = tun: names are asked of the device, and n->dns is there. 0 or -errno with a sentence in why. */
int ntm_userpath_dns(struct ntm_userpath *u, char *why, size_t cap);
void ntm_userpath_dns_close(struct ntm_userpath *u); /* before n->dns */

/* `ntm-node --down` */
int ntm_userpath_down(const char *interface, const char *runtime_dir, char *why, size_t cap);

#endif
