/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What nodes compute between the DC's answer to a handshake and their first message on the session: two X25519 each.
 * Real nodes do that on machines of their own, so here it is the work of threads that give way to all else, and none of
 * the time that it takes is the DC's.
 */
#ifndef NTM_BENCH_DCLOAD_CLIENTS_H
#define NTM_BENCH_DCLOAD_CLIENTS_H

#include "dcload.h"

int clients_begin(int priority); /* real-time, or 0; before all below; 0 or -errno */
void clients_end(void);          /* what was not finished stays so */
void clients_ask(struct sim_node *node);
struct sim_node *clients_finished(void); /* NULL: none now. hs->keys or hs->err is set */
int clients_fd(void);                    /* readable: some are finished */
void clients_wait(void);                 /* until it is */

#endif
