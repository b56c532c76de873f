/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the sockets of dcload and its nodes. */
#ifndef NTM_BENCH_DCLOAD_NET_H
#define NTM_BENCH_DCLOAD_NET_H

#include "dcload.h"

int sim_socket(int *fd, const struct ntm_addr *dc); /* connected; 0 or -errno */
void sim_queue(struct sim *s, unsigned sock, const void *data, size_t len);
void sim_take(struct sim *s, const uint8_t *data, size_t len); /* one datagram that came */
void sim_finished(struct sim *s);                              /* nodes whose keys came out of a handshake go on */
void sim_expire(struct sim *s);

#endif
