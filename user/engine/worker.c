/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker: sleeps until its TUN queue or its sockets have something, works in rounds of bounded size. What comes
 * faster than it works waits in the kernel's queues, which are bounded; what comes by UDP goes first, as it frees
 * memory.
 */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../common/log.h"
#include "engine_int.h"

enum { ROUND_PACKETS = 16, ROUND_READS = 4, SOURCES = 4 };

enum source { SRC_TUN, SRC_UDP4, SRC_UDP6, SRC_WAKE };

static void write_tun(void *arg, const struct virtio_net_hdr *vh, struct iovec *iov, unsigned n, size_t len)
{
	struct ntm_worker *w = arg;
	int err = w->tun.fd < 0 ? -EBADFD : ntm_tun_write(&w->tun, vh, iov, n);
	/* Counted as received before; what is lost here says so. */
	if (err)
		ntm_worker_count(w, NTM_R_RX_ERROR, len);
}

static int add_source(struct ntm_worker *w, int fd, enum source src)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = src};
	return fd < 0 || !epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) ? 0 : -errno;
}

static int add_tun(struct ntm_worker *w)
{
	return w->tun.write_only ? 0 : add_source(w, w->tun.fd, SRC_TUN);
}

int ntm_worker_open(struct ntm_worker *w, struct ntm_engine *e, unsigned index, uint16_t port, uint32_t mark)
{
	w->e = e;
	w->index = index;
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->epoll_fd < 0 || w->wake_fd < 0)
		return -errno;
	w->fd4 = ntm_udp_data_socket(false, port, mark);
	if (w->fd4 < 0)
		return w->fd4;
	w->fd6 = ntm_udp_data_socket(true, port, mark);
	if (w->fd6 < 0 && w->fd6 != -EAFNOSUPPORT)
		return w->fd6;
	ntm_gro_init(&w->gro, w->tun.vnet, w->tun.uso, write_tun, w);
	int err = add_tun(w);
	err = err ? err : add_source(w, w->fd4, SRC_UDP4);
	err = err ? err : add_source(w, w->fd6, SRC_UDP6);
	return err ? err : add_source(w, w->wake_fd, SRC_WAKE);
}

int ntm_worker_open_tx(struct ntm_worker *w, uint16_t port, uint32_t mark)
{
	w->tx4 = ntm_udp_data_socket(false, port, mark);
	if (w->tx4 < 0)
		return w->tx4;
	w->tx6 = w->fd6 < 0 ? -1 : ntm_udp_data_socket(true, port, mark);
	if (w->fd6 >= 0 && w->tx6 < 0)
		return w->tx6;
	ntm_udp_tx_init(&w->tx, w->tx4, w->tx6);
	return 0;
}

static void tun_gone(struct ntm_worker *w)
{
	struct ntm_engine_event ev = {.type = NTM_ENGINE_TUN_GONE, .epoch = (uint8_t)w->index};
	(void)epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, w->tun.fd, NULL);
	pthread_mutex_lock(&w->e->lock);
	ntm_tun_close(&w->tun);
	pthread_mutex_unlock(&w->e->lock);
	(void)ntm_engine_push(w->e, &ev);
}

/* tc counts the time from the first packet that it gave on: see bpf/node_lane.bpf.c. */
static void taken(struct ntm_worker *w)
{
	struct ntm_lanes *s = w->e->c.lanes;
	if (s && __atomic_load_n(&s->q[w->index].waiting_ns, __ATOMIC_RELAXED))
		__atomic_store_n(&s->q[w->index].waiting_ns, 0, __ATOMIC_RELAXED);
}

static void used(struct ntm_worker *w)
{
	if (w->e->beat.started)
		ntm_beat_used(&w->e->beat, w->now);
}

static void still_here(void *arg)
{
	taken(arg);
}

static void on_tun(struct ntm_worker *w)
{
	struct virtio_net_hdr vh;
	used(w);
	for (int i = 0; i < ROUND_PACKETS && w->tun.fd >= 0; i++) {
		ssize_t n = ntm_tun_read(&w->tun, &vh, w->super, sizeof(w->super));
		taken(w);
		if (n == -EAGAIN || n == -EINTR)
			break;
		if (n < 0) {
			if (n == -EBADMSG) {
				ntm_worker_count(w, NTM_R_TX_BAD_INNER, 0);
				continue;
			}
			/* EIO: it is down, and may come up again; EBADFD: it is gone. */
			if (n == -EBADFD || n == -EBADF)
				tun_gone(w);
			break;
		}
		ntm_outbound(w, &vh, w->super, (size_t)n);
	}
}

static void on_udp(struct ntm_worker *w, int fd)
{
	for (int i = 0; i < ROUND_READS; i++) {
		int n = ntm_udp_rx(&w->rx, fd);
		for (int k = 0; k < n; k++)
			ntm_inbound(w, &w->rx.in[k]);
		ntm_inbound_flush(w);
		if (n < NTM_UDP_RX_BATCH)
			break;
	}
}

/* True: to end. */
static bool on_wake(struct ntm_worker *w)
{
	uint64_t n;
	(void)!read(w->wake_fd, &n, sizeof(n));
	pthread_mutex_lock(&w->e->lock);
	bool stop = w->stop, take = w->has_next;
	if (take) {
		if (w->tun.fd >= 0)
			(void)epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, w->tun.fd, NULL);
		ntm_tun_close(&w->tun);
		w->tun = w->next;
		w->next.fd = -1;
		w->has_next = false;
	}
	pthread_mutex_unlock(&w->e->lock);
	if (take) {
		ntm_gro_init(&w->gro, w->tun.vnet, w->tun.uso, write_tun, w);
		if (add_tun(w))
			tun_gone(w);
	}
	return stop;
}

static void check_answers(struct ntm_worker *w)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < w->n_watched; i++) {
		uint32_t slot = w->watched[i];
		struct ntm_lane *l = ntm_engine_lane(w->e, slot);
		uint64_t since = l ? __atomic_load_n(&l->unanswered_ns, __ATOMIC_RELAXED) : 0;
		if (!since)
			continue;
		if (ntm_lane_is_late(l, w->now))
			ntm_engine_lane_up(w->e, slot, l, false);
		else
			w->watched[kept++] = slot;
	}
	w->n_watched = kept;
}

static int timeout_ms(const struct ntm_worker *w)
{
	return w->n_owed ? NTM_ANSWER_MS : w->n_watched ? NTM_WATCH_MS : -1;
}

/* Capabilities are each thread's own. What a worker needs is open by now: who breaks in by a packet gets none. */
static void drop_capabilities(const struct ntm_worker *w)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
	if (syscall(SYS_capset, &h, none))
		ntm_warn("worker %u keeps its capabilities: %s", w->index, strerror(errno));
}

static void *run(void *arg)
{
	struct ntm_worker *w = arg;
	struct epoll_event ev[SOURCES];
	drop_capabilities(w);
	for (bool stop = false; !stop;) {
		int n = epoll_wait(w->epoll_fd, ev, SOURCES, timeout_ms(w));
		if (n < 0 && errno != EINTR) {
			ntm_err("worker %u: %s", w->index, strerror(errno));
			break;
		}
		bool ready[SOURCES] = {false};
		for (int i = 0; i < n; i++)
			ready[ev[i].data.u32] = true;
		__atomic_fetch_add(&w->rounds, 1, __ATOMIC_SEQ_CST);
		w->now = ntm_boottime_ns();
		w->out_slot = w->in_slot = 0;
		if (ready[SRC_UDP4])
			on_udp(w, w->fd4);
		if (ready[SRC_UDP6])
			on_udp(w, w->fd6);
		if (ready[SRC_TUN])
			on_tun(w);
		ntm_inbound_flush(w);
		ntm_udp_tx_flush(&w->tx);
		check_answers(w);
		if (ready[SRC_WAKE])
			stop = on_wake(w);
		__atomic_fetch_add(&w->rounds, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

int ntm_worker_start(struct ntm_worker *w)
{
	sigset_t all, old;
	char name[16] = "ntm-worker-";
	/* Signals are the owner's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	w->tx.waits = still_here;
	w->tx.arg = w;
	int err = -pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return err;
	w->started = true;
	name[11] = (char)('0' + w->index);
	(void)pthread_setname_np(w->thread, name);
	return 0;
}

void ntm_worker_close(struct ntm_worker *w)
{
	uint64_t one = 1;
	if (w->started) {
		pthread_mutex_lock(&w->e->lock);
		w->stop = true;
		pthread_mutex_unlock(&w->e->lock);
		(void)!write(w->wake_fd, &one, sizeof(one));
		pthread_join(w->thread, NULL);
		w->started = false;
	}
	ntm_tun_close(&w->tun);
	ntm_tun_close(&w->next);
	int *fds[] = {&w->epoll_fd, &w->wake_fd, &w->fd4, &w->fd6, &w->tx4, &w->tx6};
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}
