/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the process's instances share: one lock, one loop, and whoever waits drives it. Of several threads that wait one
 * drives, the others sleep until their turn or until what they wait for is there.
 */
#ifndef NTM_LIB_ENGINE_H
#define NTM_LIB_ENGINE_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct ntm;

/* 0, or -EBADF in the child of a fork(), -errno if the loop can't be made. Recursive; each needs a leave. */
int ntm_enter(void);
/* Wakes whoever drives or waits for ntm_fd(), if there is something new to do. Keeps errno. */
void ntm_leave(void);

/* These are called between enter and leave. */
uv_loop_t *ntm_engine_loop(void);
void ntm_engine_add(struct ntm *n);
void ntm_engine_remove(struct ntm *n); /* the last one: the loop and ntm_fd() go */
struct ntm *ntm_engine_first(void);
void ntm_engine_step(void);   /* what is to be done now */
int64_t ntm_engine_now(void); /* milliseconds, CLOCK_MONOTONIC */
/*
 * Drives until ready(arg) or the deadline (-1: none), which may be past: then it looks once. The lock is released while
 * this sleeps. fds: kernel descriptors that end the sleep, too, once poll() says so; revents are filled. 0; -EAGAIN:
 * the deadline; -EINTR: a signal; -EDEADLK: called in a callback.
 */
int ntm_engine_wait(bool (*ready)(void *arg), void *arg, int64_t deadline_ms, struct pollfd *fds, unsigned n);
int ntm_engine_thread(void); /* starts the driving thread, if there is none. 0 or -errno */

#endif
