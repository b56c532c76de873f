/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The heartbeat: while the TUN is in use, a thread of its own tells node_lane each few milliseconds that the agent is
 * alive. A worker may not get a CPU for longer than node_lane waits for it, on a host with more to do than it can: its
 * flows would change lanes, and their packets overtake what waits in the TUN. This thread does nothing else, and so may
 * go before everybody.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../common/log.h"
#include "engine_int.h"

enum { NICE = -20 };
#define UNUSED_NS 1000000000ull /* then it sleeps until the TUN is used again */

static void raise_priority(void)
{
	struct sched_param sp = {.sched_priority = 1};
	int err = pthread_setschedparam(pthread_self(), SCHED_FIFO, &sp);
	if (err && setpriority(PRIO_PROCESS, (id_t)gettid(), NICE))
		ntm_debug("heartbeat: priority not raised: %s", strerror(err));
}

static bool is_in_use(struct ntm_beat *b)
{
	return ntm_boottime_ns() < __atomic_load_n(&b->used_ns, __ATOMIC_SEQ_CST) + UNUSED_NS;
}

static void *run(void *arg)
{
	struct ntm_beat *b = arg;
	struct pollfd p = {.fd = b->fd, .events = POLLIN};
	raise_priority();
	while (!__atomic_load_n(&b->stop, __ATOMIC_ACQUIRE)) {
		uint64_t n;
		int timeout = NTM_BEAT_MS;
		__atomic_store_n(b->at, ntm_boottime_ns(), __ATOMIC_RELAXED);
		if (!is_in_use(b)) {
			__atomic_store_n(&b->sleeps, true, __ATOMIC_SEQ_CST);
			timeout = is_in_use(b) ? 0 : -1;
		}
		if (poll(&p, 1, timeout) > 0)
			(void)!read(b->fd, &n, sizeof(n));
		__atomic_store_n(&b->sleeps, false, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void wake(struct ntm_beat *b)
{
	uint64_t one = 1;
	(void)!write(b->fd, &one, sizeof(one));
}

int ntm_beat_start(struct ntm_beat *b, uint64_t *at)
{
	pthread_attr_t small;
	b->at = at;
	b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->fd < 0)
		return -errno;
	pthread_attr_init(&small);
	(void)pthread_attr_setstacksize(&small, NTM_BEAT_STACK);
	int err = -pthread_create(&b->thread, &small, run, b);
	pthread_attr_destroy(&small);
	b->started = !err;
	if (!err)
		(void)pthread_setname_np(b->thread, "ntm-beat");
	return err;
}

void ntm_beat_used(struct ntm_beat *b, uint64_t now)
{
	__atomic_store_n(&b->used_ns, now, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&b->sleeps, __ATOMIC_SEQ_CST) && __atomic_exchange_n(&b->sleeps, false, __ATOMIC_SEQ_CST))
		wake(b);
}

void ntm_beat_stop(struct ntm_beat *b)
{
	if (b->started) {
		__atomic_store_n(&b->stop, true, __ATOMIC_RELEASE);
		wake(b);
		pthread_join(b->thread, NULL);
		b->started = false;
	}
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
}
