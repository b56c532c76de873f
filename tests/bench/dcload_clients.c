/* SPDX-License-Identifier: BSD-2-Clause */
#include "dcload_clients.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { THREADS = 2 };

STAILQ_HEAD(node_list, sim_node);
static pthread_mutex_t lock; /* who holds it inherits the priority of who waits for it */
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static struct node_list waiting = STAILQ_HEAD_INITIALIZER(waiting), finished = STAILQ_HEAD_INITIALIZER(finished);
static pthread_t threads[THREADS];
static int n_threads, fd = -1;
static bool ending;

static void *work(void *arg)
{
	struct sim_node *node;
	bool first;

	(void)arg;
	pthread_mutex_lock(&lock);
	while (!ending) {
		node = STAILQ_FIRST(&waiting);
		if (!node) {
			pthread_cond_wait(&wake, &lock);
			continue;
		}
		STAILQ_REMOVE_HEAD(&waiting, work);
		pthread_mutex_unlock(&lock);
		node->hs->err = ntm_session_finish(&node->hs->st, &node->hs->resp, sizeof(node->hs->resp),
						   sim_now() / 1000000, &node->hs->keys);
		pthread_mutex_lock(&lock);
		first = STAILQ_EMPTY(&finished);
		STAILQ_INSERT_TAIL(&finished, node, work);
		if (first)
			eventfd_write(fd, 1);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

static int start(pthread_t *thread, int priority)
{
	struct sched_param param = {.sched_priority = priority};
	pthread_attr_t attr;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, priority ? SCHED_RR : SCHED_OTHER);
	pthread_attr_setschedparam(&attr, &param);
	err = -pthread_create(thread, &attr, work, NULL);
	pthread_attr_destroy(&attr);
	return err;
}

int clients_begin(int priority)
{
	pthread_mutexattr_t attr;
	int err = 0;

	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	ending = false;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&lock, &attr);
	pthread_mutexattr_destroy(&attr);
	while (!err && n_threads < THREADS) {
		err = start(&threads[n_threads], priority);
		n_threads += !err;
	}
	if (err)
		clients_end();
	return err;
}

void clients_end(void)
{
	pthread_mutex_lock(&lock);
	ending = true;
	pthread_cond_broadcast(&wake);
	pthread_mutex_unlock(&lock);
	while (n_threads)
		pthread_join(threads[--n_threads], NULL);
	pthread_mutex_destroy(&lock);
	if (fd >= 0)
		close(fd);
	fd = -1;
}

void clients_ask(struct sim_node *node)
{
	pthread_mutex_lock(&lock);
	STAILQ_INSERT_TAIL(&waiting, node, work);
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
}

struct sim_node *clients_finished(void)
{
	struct sim_node *node;
	eventfd_t n;

	pthread_mutex_lock(&lock);
	node = STAILQ_FIRST(&finished);
	if (node)
		STAILQ_REMOVE_HEAD(&finished, work);
	else
		eventfd_read(fd, &n); /* under the lock, so that none is finished between */
	pthread_mutex_unlock(&lock);
	return node;
}

int clients_fd(void)
{
	return fd;
}

void clients_wait(void)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
}
