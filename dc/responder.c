/* SPDX-License-Identifier: BSD-2-Clause */
#include "responder.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../user/common/crypto.h"

enum { NICE = 5 /* messages of sessions that there are come first */ };

struct job {
	STAILQ_ENTRY(job) link;
	struct ntm_dc_handshake h;
};
STAILQ_HEAD(job_list, job);

struct own_key {
	uint32_t number; /* 0: none */
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
};

struct ntm_dc_responder {
	/*
	 * Not libuv's uv_async_t: its loop spins while a thread is inside uv_async_send(), also if the loop itself has
	 * the CPU which that thread waits for.
	 */
	uv_poll_t answered;
	int fd;
	struct ntm_dc_kept *kept;
	ntm_dc_handshake_done done;
	void *arg;
	pthread_t threads[NTM_DC_RESPONDERS_MAX];
	size_t n_threads;
	/* all below belongs to the lock */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct job_list spare, waiting, ready;
	unsigned idle, waking; /* threads that wait; those of them that were woken and do not run yet */
	bool ending;
	uint64_t keys_generation;
	struct own_key keys[NTM_DC_KEYS_MAX];
	struct job jobs[NTM_DC_HANDSHAKES_MAX];
};

/* A thread's own: an open key is not to be shared. */
struct worker {
	struct ntm_dc_responder *r;
	uint64_t keys_generation;
	struct own_key keys[NTM_DC_KEYS_MAX];
	struct ntm_dh dh[NTM_DC_KEYS_MAX];
	bool open[NTM_DC_KEYS_MAX];
};

static void forget_keys(struct worker *w)
{
	for (int i = 0; i < NTM_DC_KEYS_MAX; i++) {
		if (w->open[i])
			ntm_dh_close(&w->dh[i]);
		w->open[i] = false;
	}
	ntm_wipe(w->keys, sizeof(w->keys));
}

/* Under the lock. */
static void take_keys(struct worker *w)
{
	forget_keys(w);
	memcpy(w->keys, w->r->keys, sizeof(w->keys));
	w->keys_generation = w->r->keys_generation;
	for (int i = 0; i < NTM_DC_KEYS_MAX; i++)
		w->open[i] = w->keys[i].number && !ntm_dh_open(&w->dh[i], w->keys[i].priv);
}

struct find_arg {
	struct ntm_dc_kept *kept;
	uint32_t number;
};

static bool find_ss(void *arg, const uint8_t rs[NTM_DH_LEN], uint8_t ss[NTM_DH_LEN])
{
	const struct find_arg *f = arg;

	return ntm_dc_kept_find(f->kept, rs, f->number, ss);
}

static void answer(struct worker *w, struct ntm_dc_handshake *h)
{
	struct find_arg arg = {w->r->kept, h->number};
	struct ntm_noise_static own = {.find = find_ss, .arg = &arg};
	int i = 0;

	while (i < NTM_DC_KEYS_MAX && !(w->open[i] && w->keys[i].number == h->number))
		i++;
	if (i == NTM_DC_KEYS_MAX) {
		h->err = -ENOKEY;
		return;
	}
	own.dh = w->dh[i];
	h->err = ntm_session_accept_with(&own, w->keys[i].priv, w->keys[i].pub, &h->init, sizeof(h->init), h->local_id,
					 NTM_DC_SESSION_LIFETIME_S, h->now_ms, &h->keys, &h->resp);
	memcpy(h->ss, own.ss, sizeof(h->ss));
	ntm_wipe(own.ss, sizeof(own.ss));
}

static void wait_for_work(struct ntm_dc_responder *r)
{
	r->idle++;
	pthread_cond_wait(&r->wake, &r->lock);
	r->idle--;
	if (r->waking)
		r->waking--;
}

/* Never fails: the counter does not come near its limit. */
static void wake_loop(struct ntm_dc_responder *r)
{
	eventfd_write(r->fd, 1);
}

static void *work(void *arg)
{
	struct worker w = {.r = arg};
	struct ntm_dc_responder *r = arg;
	struct job *j;
	bool first;

	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE); /* without it, it works as well, if less well */
	pthread_mutex_lock(&r->lock);
	while (!r->ending) {
		if (w.keys_generation != r->keys_generation)
			take_keys(&w);
		j = STAILQ_FIRST(&r->waiting);
		if (!j) {
			wait_for_work(r);
			continue;
		}
		STAILQ_REMOVE_HEAD(&r->waiting, link);
		pthread_mutex_unlock(&r->lock);
		answer(&w, &j->h);
		pthread_mutex_lock(&r->lock);
		first = STAILQ_EMPTY(&r->ready);
		STAILQ_INSERT_TAIL(&r->ready, j, link);
		if (first) { /* once for all that the loop did not take yet */
			pthread_mutex_unlock(&r->lock);
			wake_loop(r);
			pthread_mutex_lock(&r->lock);
		}
	}
	pthread_mutex_unlock(&r->lock);
	forget_keys(&w);
	return NULL;
}

static void on_answered(uv_poll_t *p, int status, int events)
{
	struct ntm_dc_responder *r = p->data;
	struct job_list ready = STAILQ_HEAD_INITIALIZER(ready);
	eventfd_t n;
	struct job *j;

	(void)status;
	(void)events;
	eventfd_read(r->fd, &n); /* nothing to be read is no error: then there is nothing to be taken either */
	pthread_mutex_lock(&r->lock);
	STAILQ_CONCAT(&ready, &r->ready);
	pthread_mutex_unlock(&r->lock);
	STAILQ_FOREACH(j, &ready, link)
	{
		r->done(r->arg, &j->h);
		ntm_wipe(&j->h, sizeof(j->h));
	}
	pthread_mutex_lock(&r->lock);
	STAILQ_CONCAT(&r->spare, &ready);
	pthread_mutex_unlock(&r->lock);
}

int ntm_dc_responder_ask(struct ntm_dc_responder *r, const struct ntm_dc_handshake *h)
{
	struct job *j;

	pthread_mutex_lock(&r->lock);
	j = STAILQ_FIRST(&r->spare);
	if (j) {
		STAILQ_REMOVE_HEAD(&r->spare, link);
		j->h.from = h->from;
		j->h.init = h->init;
		j->h.number = h->number;
		j->h.local_id = h->local_id;
		j->h.now_ms = h->now_ms;
		STAILQ_INSERT_TAIL(&r->waiting, j, link);
		if (r->idle > r->waking) {
			r->waking++;
			pthread_cond_signal(&r->wake);
		}
	}
	pthread_mutex_unlock(&r->lock);
	return j ? 0 : -EBUSY;
}

void ntm_dc_responder_set_keys(struct ntm_dc_responder *r, const struct ntm_dc_identities *ids)
{
	pthread_mutex_lock(&r->lock);
	ntm_wipe(r->keys, sizeof(r->keys));
	for (size_t i = 0; i < ids->n; i++) {
		r->keys[i].number = ids->items[i].number;
		memcpy(r->keys[i].priv, ids->items[i].priv, NTM_DH_LEN);
		memcpy(r->keys[i].pub, ids->items[i].pub, NTM_DH_LEN);
	}
	r->keys_generation++;
	r->waking = r->idle;
	pthread_cond_broadcast(&r->wake); /* a key that is ours no more is to be forgotten at once */
	pthread_mutex_unlock(&r->lock);
}

/* Signals are for the loop. */
static int start_threads(struct ntm_dc_responder *r)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t n = cpus < 1 ? 1 : cpus > NTM_DC_RESPONDERS_MAX ? NTM_DC_RESPONDERS_MAX : (size_t)cpus;
	sigset_t all, was;
	int err = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	while (!err && r->n_threads < n) {
		err = -pthread_create(&r->threads[r->n_threads], NULL, work, r);
		if (!err)
			r->n_threads++;
	}
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	return err;
}

int ntm_dc_responder_start(struct ntm_dc_responder **out, uv_loop_t *loop, struct ntm_dc_kept *kept,
			   ntm_dc_handshake_done done, void *arg)
{
	struct ntm_dc_responder *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = r->fd < 0 ? -errno : uv_poll_init(loop, &r->answered, r->fd);
	if (err) {
		if (r->fd >= 0)
			close(r->fd);
		free(r);
		return err;
	}
	r->answered.data = r;
	r->kept = kept;
	r->done = done;
	r->arg = arg;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->wake, NULL);
	STAILQ_INIT(&r->spare);
	STAILQ_INIT(&r->waiting);
	STAILQ_INIT(&r->ready);
	for (int i = 0; i < NTM_DC_HANDSHAKES_MAX; i++)
		STAILQ_INSERT_TAIL(&r->spare, &r->jobs[i], link);
	err = uv_poll_start(&r->answered, UV_READABLE, on_answered);
	if (!err)
		err = start_threads(r);
	if (err) {
		ntm_dc_responder_stop(r);
		return err;
	}
	*out = r;
	return 0;
}

static void closed(uv_handle_t *h)
{
	struct ntm_dc_responder *r = h->data;

	close(r->fd);
	free(r);
}

void ntm_dc_responder_stop(struct ntm_dc_responder *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->ending = true;
	pthread_cond_broadcast(&r->wake);
	pthread_mutex_unlock(&r->lock);
	for (size_t i = 0; i < r->n_threads; i++)
		pthread_join(r->threads[i], NULL);
	pthread_cond_destroy(&r->wake);
	pthread_mutex_destroy(&r->lock);
	ntm_wipe(r->keys, sizeof(r->keys));
	ntm_wipe(r->jobs, sizeof(r->jobs));
	uv_close((uv_handle_t *)&r->answered, closed);
}
