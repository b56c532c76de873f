/* SPDX-License-Identifier: BSD-2-Clause */
/* How a call begins, and how it waits: other threads may close its socket meanwhile. */
#ifndef NTM_LIB_WAIT_H
#define NTM_LIB_WAIT_H

#include "lib.h"

/* Takes the lock and looks the descriptor up. False: errno is set, and nothing is held. */
bool vs_enter(int fd, struct vsock **out);
/*
 * Until ready(*s): 0. nonblock: -EAGAIN at once. timeout_ms: -EAGAIN then, 0: never. -EINTR, -EDEADLK as the engine
 * says. -EBADF, and *s is NULL: it was closed meanwhile.
 */
int vs_wait(struct vsock **s, bool (*ready)(const struct vsock *s), bool nonblock, int64_t timeout_ms);

#endif
