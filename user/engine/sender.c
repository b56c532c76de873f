/* SPDX-License-Identifier: BSD-2-Clause */
#include "sender.h"

#include <time.h>

enum {
	WORTH_BYTES = 16384, /* less than that is sent sooner than another thread is woken */
	SLICE_NS = 4000000,
	HANGS_NS =
	    20000000, /* with the same batch: the worker waits for it, so that its device's queue is seen to stand */
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool hangs(const struct ntm_sender *s)
{
	return s->head != s->tail && now_ns() - s->began_ns > HANGS_NS;
}

static void *run(void *arg)
{
	struct ntm_sender *s = arg;
	if (s->setup)
		s->setup(s->setup_arg);
	pthread_mutex_lock(&s->lock);
	for (;;) {
		while (s->head == s->tail && !s->stop)
			pthread_cond_wait(&s->work, &s->lock);
		if (s->stop)
			break;
		struct ntm_udp_batch *b = &s->batches[s->head % NTM_SENDER_BATCHES];
		pthread_mutex_unlock(&s->lock);
		ntm_udp_tx_send(&s->tx, b);
		pthread_mutex_lock(&s->lock);
		s->head++;
		s->began_ns = now_ns();
		/* Not for each of them: waking costs as much as sealing ten packets. */
		if (s->full && s->tail - s->head <= NTM_SENDER_BATCHES / 2)
			pthread_cond_signal(&s->room);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int ntm_sender_start(struct ntm_sender *s, struct ntm_udp_tx *t, const char *name, void (*setup)(void *arg), void *arg)
{
	pthread_condattr_t attr;
	ntm_udp_tx_init(&s->tx, t->fd4, t->fd6);
	s->tx.waits = t->waits;
	s->tx.arg = t->arg;
	s->setup = setup;
	s->setup_arg = arg;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->work, &attr);
	pthread_cond_init(&s->room, &attr);
	pthread_condattr_destroy(&attr);
	int err = -pthread_create(&s->thread, NULL, run, s);
	if (err)
		return err;
	(void)pthread_setname_np(s->thread, name);
	s->started = true;
	t->b = &s->batches[0];
	t->sender = s;
	return 0;
}

void ntm_sender_stop(struct ntm_sender *s)
{
	if (!s->started)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->work);
	pthread_cond_destroy(&s->room);
	pthread_mutex_destroy(&s->lock);
	s->started = false;
}

static void wait_for_room(struct ntm_sender *s, const struct ntm_udp_tx *t)
{
	s->full = true;
	for (unsigned head = s->head; s->tail - s->head > NTM_SENDER_BATCHES / 2 || hangs(s);) {
		struct timespec at;
		clock_gettime(CLOCK_MONOTONIC, &at);
		at.tv_nsec += SLICE_NS;
		at.tv_sec += at.tv_nsec / 1000000000;
		at.tv_nsec %= 1000000000;
		(void)pthread_cond_timedwait(&s->room, &s->lock, &at);
		/* A sender that hangs is not waited for without anybody noticing. */
		if (t->waits && s->head != head)
			t->waits(t->arg);
		head = s->head;
	}
	s->full = false;
}

bool ntm_sender_take(struct ntm_sender *s, struct ntm_udp_tx *t, bool more)
{
	pthread_mutex_lock(&s->lock);
	if (s->head == s->tail && (!more || t->b->len < WORTH_BYTES)) {
		pthread_mutex_unlock(&s->lock);
		return false;
	}
	if (s->tail++ == s->head) {
		s->began_ns = now_ns();
		pthread_cond_signal(&s->work);
	}
	if (s->tail - s->head == NTM_SENDER_BATCHES || hangs(s))
		wait_for_room(s, t);
	t->b = &s->batches[s->tail % NTM_SENDER_BATCHES];
	pthread_mutex_unlock(&s->lock);
	return true;
}
