/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A thread with a connection of its own writes what no request waits for: many rows in a transaction, for a page that
 * changed is written whole, however many of its rows did. It also copies the write-ahead log back into the database
 * whenever a commit leaves that long: both are synced to the disk then, tens of milliseconds.
 *
 * SQLite has one writer at a time. Between the two connections the turn says which it is: the store's own thread asks
 * for it, and gets it after a few rows, however many the other still has.
 */
#include "store_sqlite.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../user/common/log.h"

enum {
	NICE = 5,  /* requests come first */
	ROWS = 64, /* between two looks whether the turn is wanted: about a millisecond */
	/*
	 * When the log is copied. A disk that is the work of the same CPUs, as a virtual machine's may be, holds them
	 * up for as long as one sync takes: four times as many pages were 15 ms of that.
	 */
	LONG_PAGES = 1000,
	TOO_LONG_PAGES = 65536, /* what cannot wait outran it: writers wait for once, so that the log can begin anew */
};

/* Changes nothing; but the first commit after a whole copy begins the log anew, and syncs that: better here. */
static const char BEGIN_ANEW[] = "UPDATE settings SET value = value WHERE name = 'zone'";

struct ntm_sq_writer {
	struct sqlite_store *own; /* the thread's */
	pthread_t thread;
	pthread_mutex_t lock;
	/* all below belongs to the lock, but for wanted */
	pthread_cond_t changed;
	atomic_bool wanted; /* the turn, by the store's thread */
	bool taken;         /* the turn */
	bool ending, log_long;
	const struct ntm_store_batch *batch; /* to be written; NULL: none */
	int err;                             /* of the last one */
	char why[NTM_SQ_WHY];
	int failed; /* SQLite's code of the last copy of the log; what is logged, the store's thread logs */
};

static void take_turn(struct ntm_sq_writer *w, bool thread)
{
	pthread_mutex_lock(&w->lock);
	while (w->taken || (thread && atomic_load(&w->wanted)))
		pthread_cond_wait(&w->changed, &w->lock);
	w->taken = true;
	pthread_mutex_unlock(&w->lock);
}

static void give_turn(struct ntm_sq_writer *w)
{
	pthread_mutex_lock(&w->lock);
	w->taken = false;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

void ntm_sq_turn_begin(struct sqlite_store *s)
{
	if (!s->writer)
		return;
	atomic_store(&s->writer->wanted, true);
	take_turn(s->writer, false);
}

void ntm_sq_turn_end(struct sqlite_store *s)
{
	if (!s->writer)
		return;
	atomic_store(&s->writer->wanted, false);
	give_turn(s->writer);
}

/* Some of what is left of the batch, from done on, which it moves; in a transaction. */
static int put_some(struct sqlite_store *s, const struct ntm_store_batch *b, size_t done[4])
{
	size_t n;
	int err;

	if (done[0] < b->n_gone) {
		n = b->n_gone - done[0] < ROWS ? b->n_gone - done[0] : ROWS;
		err = ntm_sq_put_gone(s, b->gone + done[0], n);
		done[0] += n;
	} else if (done[1] < b->n_taken) {
		n = b->n_taken - done[1] < ROWS ? b->n_taken - done[1] : ROWS;
		err = ntm_sq_put_taken(s, b->taken + done[1], n);
		done[1] += n;
	} else if (done[2] < b->n_paths) {
		n = b->n_paths - done[2] < ROWS ? b->n_paths - done[2] : ROWS;
		err = ntm_sq_put_paths(s, b->paths + done[2], n);
		done[2] += n;
	} else {
		n = b->n_presence - done[3] < ROWS ? b->n_presence - done[3] : ROWS;
		err = ntm_sq_put_presence(s, b->presence + done[3], n);
		done[3] += n;
	}
	return err;
}

/* One transaction, unless the turn is wanted meanwhile: then it goes on in another. */
static int write_batch(struct ntm_sq_writer *w, const struct ntm_store_batch *b)
{
	size_t done[4] = {0}, all = b->n_gone + b->n_taken + b->n_paths + b->n_presence, left = all;
	int err = 0;

	while (!err && left) {
		take_turn(w, true);
		err = ntm_sq_run(w->own, S_BEGIN);
		while (!err && left) {
			err = put_some(w->own, b, done);
			left = all - done[0] - done[1] - done[2] - done[3];
			if (atomic_load(&w->wanted))
				break;
		}
		if (!err)
			err = ntm_sq_run(w->own, S_COMMIT);
		if (err)
			ntm_sq_rollback(w->own);
		give_turn(w);
	}
	return err;
}

static int copy_log(struct ntm_sq_writer *w)
{
	int rc = sqlite3_wal_checkpoint_v2(w->own->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);

	if (rc == SQLITE_OK) {
		take_turn(w, true);
		rc = sqlite3_exec(w->own->db, BEGIN_ANEW, NULL, NULL, NULL);
		give_turn(w);
	}
	return rc == SQLITE_BUSY ? SQLITE_OK : rc;
}

static void *work(void *arg)
{
	struct ntm_sq_writer *w = arg;
	int done;

	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE); /* without it, it works as well, if less well */
	pthread_mutex_lock(&w->lock);
	while (!w->ending || w->batch) {
		if (w->batch) {
			pthread_mutex_unlock(&w->lock);
			done = write_batch(w, w->batch);
			pthread_mutex_lock(&w->lock);
			w->err = done;
			w->batch = NULL;
			memcpy(w->why, w->own->why, sizeof(w->why));
			pthread_cond_broadcast(&w->changed);
		} else if (w->log_long) {
			w->log_long = false;
			pthread_mutex_unlock(&w->lock);
			done = copy_log(w);
			pthread_mutex_lock(&w->lock);
			if (done != SQLITE_OK)
				w->failed = done;
		} else {
			pthread_cond_wait(&w->changed, &w->lock);
		}
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* After each commit, in the thread that made it. */
static int on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct ntm_sq_writer *w = arg;

	if (pages >= TOO_LONG_PAGES) {
		sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL); /* busy: the next one */
	} else if (pages >= LONG_PAGES) {
		pthread_mutex_lock(&w->lock);
		w->log_long = true;
		pthread_cond_broadcast(&w->changed);
		pthread_mutex_unlock(&w->lock);
	}
	return SQLITE_OK; /* what was committed is committed, whatever becomes of the log */
}

void ntm_sq_save_begin(struct ntm_store *base, const struct ntm_store_batch *batch)
{
	struct ntm_sq_writer *w = ntm_sq(base)->writer;

	pthread_mutex_lock(&w->lock);
	w->batch = batch;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

int ntm_sq_save_end(struct ntm_store *base, bool wait)
{
	static struct ntm_log_limit save, copy; /* a full disk fails each of them */
	struct ntm_sq_writer *w = ntm_sq(base)->writer;
	char why[sizeof(w->why)];
	int err, failed;

	pthread_mutex_lock(&w->lock);
	while (w->batch && wait)
		pthread_cond_wait(&w->changed, &w->lock);
	err = w->batch ? -EAGAIN : w->err;
	memcpy(why, w->why, sizeof(why));
	failed = w->failed;
	w->failed = SQLITE_OK;
	pthread_mutex_unlock(&w->lock);
	if (err && err != -EAGAIN)
		ntm_log_limited(&save, NTM_LOG_ERROR, "store: %s", why);
	if (failed != SQLITE_OK)
		ntm_log_limited(&copy, NTM_LOG_ERROR, "store: checkpoint: %s", sqlite3_errstr(failed));
	return err;
}

/* Signals are for the loop. */
static int start_thread(struct ntm_sq_writer *w)
{
	sigset_t all, was;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	err = -pthread_create(&w->thread, NULL, work, w);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	return err;
}

int ntm_sq_writer_start(struct sqlite_store *s, struct sqlite_store *own)
{
	struct ntm_sq_writer *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->own = own;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	err = start_thread(w);
	if (err) {
		pthread_cond_destroy(&w->changed);
		pthread_mutex_destroy(&w->lock);
		free(w);
		return err;
	}
	/* in place of SQLite's own, which copies in the writer */
	sqlite3_wal_hook(s->db, on_commit, w);
	sqlite3_wal_hook(own->db, on_commit, w); /* the thread has nothing to do yet */
	s->writer = w;
	return 0;
}

struct sqlite_store *ntm_sq_writer_stop(struct sqlite_store *s)
{
	struct ntm_sq_writer *w = s->writer;
	struct sqlite_store *own;

	if (!w)
		return NULL;
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	own = w->own;
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w);
	s->writer = NULL;
	return own;
}
