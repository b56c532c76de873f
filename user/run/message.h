/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef NTM_RUN_MESSAGE_H
#define NTM_RUN_MESSAGE_H

#include <stddef.h>
#include <sys/types.h>

/* One message and at most one descriptor (-1: none). Never waits. 0 or -errno. */
int run_send(int fd, const void *data, size_t len, int pass);
/* flags of recvmsg(). Bytes, 0 at the end, or -errno. The descriptor that came with it is the caller's. */
ssize_t run_receive(int fd, void *data, size_t cap, int flags, int *pass);

#endif
