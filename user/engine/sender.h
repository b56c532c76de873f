/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A thread that sends what a worker has sealed while the worker seals what comes next: a flow has two CPUs then. Order
 * is kept: as long as anything waits here, all of the worker's goes this way. Where there is nothing but one batch, the
 * worker sends it itself, and nobody is woken.
 */
#ifndef NTM_ENGINE_SENDER_H
#define NTM_ENGINE_SENDER_H

#include <pthread.h>

#include "udpio.h"

enum { NTM_SENDER_BATCHES = 16 };

struct ntm_sender {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work, room;
	void (*setup)(void *arg);
	void *setup_arg;
	bool started, stop;
	bool full;           /* the worker waits: for room, or for one that hangs */
	unsigned head, tail; /* batches head to tail - 1 wait; the first of them is being sent */
	uint64_t began_ns;   /* when it became the first; CLOCK_MONOTONIC */
	struct ntm_udp_tx tx;
	struct ntm_udp_batch batches[NTM_SENDER_BATCHES];
};

/* Starts the thread, of that name, and makes it t's. s: zeroed; t: no batch begun. setup(arg): called in the thread
 * first. 0 or -errno. */
int ntm_sender_start(struct ntm_sender *s, struct ntm_udp_tx *t, const char *name, void (*setup)(void *arg), void *arg);
/* Nobody may be in ntm_sender_take(). What waits is lost. */
void ntm_sender_stop(struct ntm_sender *s);
/*
 * t's batch is complete: takes it and gives t an empty one in its place; waits for one for as long as that takes, and
 * also where the thread has not got on for 20 ms. more: the caller goes on with another. False: the caller is to send
 * it.
 */
bool ntm_sender_take(struct ntm_sender *s, struct ntm_udp_tx *t, bool more);

#endif
