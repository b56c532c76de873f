/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copying the write-ahead log back into the database syncs both to the disk, tens of milliseconds in which no node
 * would be answered. So a thread with a connection of its own does it, whenever a commit leaves the log long.
 */
#include "store_sqlite.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "../user/common/log.h"

enum {
	/*
	 * When the thread begins; what can wait waits for it. A disk that is the work of the same CPUs, as a virtual
	 * machine's may be, holds them up for as long as one sync takes: four times as many pages were 15 ms of that.
	 */
	LONG_PAGES = 1000,
	TOO_LONG_PAGES = 65536, /* what cannot wait outran it: writers wait for once, so that the log can begin anew */
};

/* Changes nothing; but the first commit after a whole copy begins the log anew, and syncs that: better here. */
static const char BEGIN_ANEW[] = "UPDATE settings SET value = value WHERE name = 'zone'";

struct ntm_sq_checkpointer {
	sqlite3 *db;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool wanted, ending, working;
	atomic_int failed; /* SQLite's code of the last time; the log belongs to the store's thread */
};

static void *work(void *arg)
{
	struct ntm_sq_checkpointer *c = arg;

	pthread_mutex_lock(&c->lock);
	for (;;) {
		int rc;

		while (!c->wanted && !c->ending)
			pthread_cond_wait(&c->wake, &c->lock);
		if (c->ending)
			break;
		c->wanted = false;
		c->working = true;
		pthread_mutex_unlock(&c->lock);
		rc = sqlite3_wal_checkpoint_v2(c->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
		if (rc == SQLITE_OK)
			rc = sqlite3_exec(c->db, BEGIN_ANEW, NULL, NULL, NULL);
		if (rc != SQLITE_OK && rc != SQLITE_BUSY)
			atomic_store(&c->failed, rc);
		pthread_mutex_lock(&c->lock);
		c->working = false;
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* After each commit, in the store's thread. */
static int on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
	static struct ntm_log_limit limit;
	struct ntm_sq_checkpointer *c = arg;
	int failed = atomic_exchange(&c->failed, SQLITE_OK);

	if (failed != SQLITE_OK)
		ntm_log_limited(&limit, NTM_LOG_ERROR, "store: checkpoint: %s", sqlite3_errstr(failed));
	if (pages >= TOO_LONG_PAGES) {
		sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL); /* busy: the next one */
	} else if (pages >= LONG_PAGES) {
		pthread_mutex_lock(&c->lock);
		c->wanted = true;
		pthread_cond_signal(&c->wake);
		pthread_mutex_unlock(&c->lock);
	}
	return SQLITE_OK; /* what was committed is committed, whatever becomes of the log */
}

bool ntm_sq_busy(struct ntm_store *base)
{
	struct ntm_sq_checkpointer *c = ntm_sq(base)->checkpointer;
	bool busy;

	pthread_mutex_lock(&c->lock);
	busy = c->wanted || c->working;
	pthread_mutex_unlock(&c->lock);
	return busy;
}

/* Signals are for the loop. */
static int start_thread(struct ntm_sq_checkpointer *c)
{
	sigset_t all, was;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	err = -pthread_create(&c->thread, NULL, work, c);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	return err;
}

int ntm_sq_checkpointer_start(sqlite3 *db, const char *file, struct ntm_sq_checkpointer **out)
{
	struct ntm_sq_checkpointer *c = calloc(1, sizeof(*c));
	int err = 0;

	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->wake, NULL);
	if (sqlite3_open_v2(file, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		err = -EIO;
	if (!err)
		err = start_thread(c);
	if (err) {
		sqlite3_close(c->db);
		free(c);
		return err;
	}
	sqlite3_wal_hook(db, on_commit, c); /* in place of SQLite's own, which checkpoints in the writer */
	*out = c;
	return 0;
}

void ntm_sq_checkpointer_stop(struct ntm_sq_checkpointer *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->ending = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	sqlite3_close(c->db);
	free(c);
}
