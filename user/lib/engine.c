/* SPDX-License-Identifier: BSD-2-Clause */
#include "engine.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "lib.h"
#include "stack.h"

enum { STEPS = 8, FDS_ON_STACK = 16 };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t turn;
	unsigned depth;
	bool forked, open, stepping;
	bool driving;  /* somebody sleeps in poll(), or is about to */
	int64_t until; /* when that sleep ends by itself; -1: never */
	int64_t armed; /* what the timer descriptor is set to; -1: nothing */
	int fd, kick, timer;
	uv_loop_t loop;
	struct ntm *hosts;
	pthread_t thread;
	bool has_thread, end_thread;
} g = {.fd = -1, .kick = -1, .timer = -1, .armed = -1};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void in_child(void)
{
	g.forked = true;
}

static void init_once(void)
{
	pthread_mutexattr_t ma;
	pthread_condattr_t ca;

	pthread_mutexattr_init(&ma);
	pthread_mutexattr_settype(&ma, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&g.lock, &ma);
	pthread_mutexattr_destroy(&ma);
	pthread_condattr_init(&ca);
	pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	pthread_cond_init(&g.turn, &ca);
	pthread_condattr_destroy(&ca);
	pthread_atfork(NULL, NULL, in_child);
}

int64_t ntm_engine_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int watch(int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(g.fd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static void close_fds(void)
{
	int *fds[] = {&g.fd, &g.kick, &g.timer};

	for (unsigned i = 0; i < 3; i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

static int open_engine(void)
{
	int err = uv_loop_init(&g.loop);

	if (err)
		return err;
	g.fd = epoll_create1(EPOLL_CLOEXEC);
	g.kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	g.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (g.fd < 0 || g.kick < 0 || g.timer < 0)
		err = -errno;
	if (!err)
		err = watch(uv_backend_fd(&g.loop));
	if (!err)
		err = watch(g.kick);
	if (!err)
		err = watch(g.timer);
	if (err) {
		close_fds();
		uv_loop_close(&g.loop);
		return err;
	}
	g.armed = -1;
	g.open = true;
	return 0;
}

int ntm_enter(void)
{
	int err = 0;

	pthread_once(&once, init_once);
	if (g.forked)
		return -EBADF;
	pthread_mutex_lock(&g.lock);
	g.depth++;
	if (!g.open)
		err = open_engine();
	if (err)
		ntm_leave();
	return err;
}

/* When something has to be done by itself; -1: never. */
static int64_t next_due(void)
{
	int64_t in = uv_backend_timeout(&g.loop), other = ntm_stack_next();

	if (other >= 0 && (in < 0 || other < in))
		in = other;
	for (struct ntm *n = g.hosts; n; n = n->next) {
		other = ntm_timers_next(&n->agent->node.timers);
		if (other >= 0 && (in < 0 || other < in))
			in = other;
	}
	return in < 0 ? -1 : ntm_engine_now() + in;
}

static void arm_timer(int64_t at)
{
	struct itimerspec its = {.it_value = {at / 1000, at % 1000 * 1000000}};

	if (at == g.armed)
		return;
	if (at >= 0 && !its.it_value.tv_sec && !its.it_value.tv_nsec)
		its.it_value.tv_nsec = 1;
	if (at < 0)
		memset(&its, 0, sizeof(its));
	timerfd_settime(g.timer, TFD_TIMER_ABSTIME, &its, NULL);
	g.armed = at;
}

static void kick(void)
{
	uint64_t one = 1;

	/* It may be full of kicks already. */
	if (write(g.kick, &one, sizeof(one)) < 0)
		return;
}

void ntm_leave(void)
{
	int saved = errno;

	if (g.depth == 1 && g.open) {
		int64_t at = next_due();

		ntm_host_flush_all();
		if (g.driving && at >= 0 && (g.until < 0 || at < g.until)) {
			g.until = at;
			kick();
		}
		if (!g.driving)
			arm_timer(at);
	}
	g.depth--;
	pthread_mutex_unlock(&g.lock);
	errno = saved;
}

uv_loop_t *ntm_engine_loop(void)
{
	return &g.loop;
}

struct ntm *ntm_engine_first(void)
{
	return g.hosts;
}

void ntm_engine_add(struct ntm *n)
{
	n->next = g.hosts;
	g.hosts = n;
}

void ntm_engine_remove(struct ntm *n)
{
	struct ntm **link = &g.hosts;
	pthread_t thread = g.thread;

	while (*link && *link != n)
		link = &(*link)->next;
	if (*link)
		*link = n->next;
	if (g.hosts)
		return;
	if (g.has_thread && !pthread_equal(thread, pthread_self())) {
		unsigned depth = g.depth;

		g.end_thread = true;
		kick();
		pthread_cond_broadcast(&g.turn);
		g.depth = 0;
		for (unsigned i = 0; i < depth; i++)
			pthread_mutex_unlock(&g.lock);
		pthread_join(thread, NULL);
		for (unsigned i = 0; i < depth; i++)
			pthread_mutex_lock(&g.lock);
		g.depth = depth;
		g.has_thread = g.end_thread = false;
	}
	/* Somebody may have registered anew, or still sleeps on what would be closed. */
	if (g.hosts || g.driving)
		return;
	uv_run(&g.loop, UV_RUN_DEFAULT);
	uv_loop_close(&g.loop);
	close_fds();
	g.open = false;
}

void ntm_engine_step(void)
{
	uint64_t n;

	if (g.stepping)
		return;
	g.stepping = true;
	if (read(g.kick, &n, sizeof(n)) < 0 && errno != EAGAIN)
		ntm_debug("eventfd: %m");
	if (read(g.timer, &n, sizeof(n)) > 0)
		g.armed = -1;
	for (unsigned i = 0; i < STEPS; i++) {
		uv_run(&g.loop, UV_RUN_NOWAIT);
		ntm_stack_run();
		ntm_host_flush_all();
		/* New descriptors get into epoll with the next round only. */
		if (uv_backend_timeout(&g.loop) != 0 && ntm_stack_next() != 0)
			break;
	}
	g.stepping = false;
	pthread_cond_broadcast(&g.turn);
}

static int sleep_in_poll(int64_t at, struct pollfd *fds, unsigned n)
{
	struct pollfd few[FDS_ON_STACK], *all = n < FDS_ON_STACK ? few : malloc((n + 1) * sizeof(*all));
	int64_t now = ntm_engine_now();
	unsigned depth = g.depth;
	int got, err;

	if (!all)
		return -ENOMEM;
	all[0] = (struct pollfd){.fd = g.fd, .events = POLLIN};
	if (n)
		memcpy(all + 1, fds, n * sizeof(*fds));
	arm_timer(-1);
	g.until = at;
	g.depth = 0;
	for (unsigned i = 0; i < depth; i++)
		pthread_mutex_unlock(&g.lock);
	got = poll(all, n + 1, at < 0 ? -1 : at > now ? (int)(at - now > 3600000 ? 3600000 : at - now) : 0);
	err = got < 0 ? -errno : 0;
	for (unsigned i = 0; i < depth; i++)
		pthread_mutex_lock(&g.lock);
	g.depth = depth;
	if (got > 0 && n)
		memcpy(fds, all + 1, n * sizeof(*fds));
	if (all != few)
		free(all);
	return err;
}

static bool any_ready(const struct pollfd *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (fds[i].revents)
			return true;
	return false;
}

static int follow(int64_t deadline)
{
	struct timespec ts = {deadline / 1000, deadline % 1000 * 1000000};
	unsigned depth = g.depth;

	g.depth = 0;
	for (unsigned i = 1; i < depth; i++)
		pthread_mutex_unlock(&g.lock);
	if (deadline < 0)
		pthread_cond_wait(&g.turn, &g.lock);
	else
		pthread_cond_timedwait(&g.turn, &g.lock, &ts);
	for (unsigned i = 1; i < depth; i++)
		pthread_mutex_lock(&g.lock);
	g.depth = depth;
	return 0;
}

/* Somebody else drives, and does not know of these: it can't be waited for. */
static int poll_aside(int64_t deadline, struct pollfd *fds, unsigned n)
{
	enum { LOOK_MS = 10 };
	int64_t at = ntm_engine_now() + LOOK_MS;

	return sleep_in_poll(deadline >= 0 && deadline < at ? deadline : at, fds, n);
}

int ntm_engine_wait(bool (*ready)(void *arg), void *arg, int64_t deadline, struct pollfd *fds, unsigned n)
{
	int err = 0;

	if (ready(arg))
		return 0;
	if (g.stepping)
		return -EDEADLK;
	while (!err) {
		if (!g.driving)
			ntm_engine_step();
		if (ready(arg) || any_ready(fds, n))
			return 0;
		if (deadline >= 0 && ntm_engine_now() >= deadline)
			return -EAGAIN;
		if (!g.open)
			return -EBADF;
		if (g.driving && !n) {
			follow(deadline);
		} else if (g.driving) {
			err = poll_aside(deadline, fds, n);
		} else {
			int64_t at = next_due();

			if (deadline >= 0 && (at < 0 || deadline < at))
				at = deadline;
			g.driving = true;
			err = sleep_in_poll(at, fds, n);
			g.driving = false;
			ntm_engine_step();
		}
	}
	/* Another one takes over. */
	pthread_cond_broadcast(&g.turn);
	return ready(arg) ? 0 : err;
}

static bool is_ending(void *arg)
{
	(void)arg;
	return g.end_thread;
}

static void *drive(void *arg)
{
	(void)arg;
	if (ntm_enter())
		return NULL;
	while (!g.end_thread)
		ntm_engine_wait(is_ending, NULL, -1, NULL, 0);
	ntm_leave();
	return NULL;
}

int ntm_engine_thread(void)
{
	sigset_t all, old;
	int err;

	if (g.has_thread)
		return 0;
	/* Signals are the program's own threads' business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&g.thread, NULL, drive, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	g.has_thread = !err;
	return -err;
}

int ntm_fd(void)
{
	return g.forked || !g.open ? -1 : g.fd;
}

int ntm_process(void)
{
	int err;

	if (!g.open && !g.forked) {
		errno = EBADF;
		return -1;
	}
	err = ntm_enter();
	if (err) {
		errno = -err;
		return -1;
	}
	ntm_engine_step();
	ntm_leave();
	return 0;
}
