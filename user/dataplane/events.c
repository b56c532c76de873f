/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the ring buffer to the agent's functions. fd() is an epoll set of the ring buffer and a timer; the timer also
 * announces old keys to wipe and what the slow path found out.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "../common/log.h"
#include "../engine/engine.h"
#include "dp_internal.h"

#define NSEC 1000000000ULL
#define EVENTS_A_CALL 64

static void epoch_confirmed(struct ntm_dp_bpf *d, uint64_t path_id, uint8_t epoch)
{
	uint32_t slot = ntm_path_slot(d, path_id);
	if (!slot)
		return; /* deleted meanwhile */
	if ((__atomic_load_n(&d->paths[slot].tx_epoch, __ATOMIC_ACQUIRE) & 15) == epoch)
		ntm_epoch_switched(d, slot, epoch);
	if (d->dp.events->epoch_confirmed)
		d->dp.events->epoch_confirmed(d->dp.arg, path_id, epoch);
}

static void on_event(struct ntm_dp_bpf *d, const struct ntm_event *ev, size_t data_len)
{
	const struct ntm_dp_events *fn = d->dp.events;
	uint64_t id = be64toh(ev->path_id);
	struct ntm_addr addr = {.port = ev->port};
	switch (ev->type) {
	case NTM_EV_NO_PATH:
		if (fn->no_path && ev->len <= data_len)
			fn->no_path(d->dp.arg, ev->addr, ev->data, ev->len);
		break;
	case NTM_EV_TOO_BIG:
		if (fn->too_big && ev->len <= data_len)
			fn->too_big(d->dp.arg, id, ev->data, ev->len);
		break;
	case NTM_EV_ROAMED:
		memcpy(addr.ip, ev->addr, 16);
		if (fn->roamed)
			fn->roamed(d->dp.arg, id, &addr);
		break;
	case NTM_EV_EPOCH:
		epoch_confirmed(d, id, ev->epoch);
		break;
	case NTM_EV_EXPIRED:
		if (fn->expired)
			fn->expired(d->dp.arg, id);
		break;
	default:
		ntm_warn_limited("unknown event %u from the kernel program", ev->type);
	}
}

static int on_sample(void *arg, void *data, size_t size)
{
	struct ntm_dp_bpf *d = arg;
	if (size >= NTM_EVENT_HDR_LEN)
		on_event(d, data, size - NTM_EVENT_HDR_LEN);
	/* An error ends this call with the sample consumed; the rest keeps the descriptor readable. */
	return --d->budget ? 0 : -ECANCELED;
}

int ntm_events_init(struct ntm_dp_bpf *d)
{
	d->quarantine.item_size = d->old_keys.item_size = sizeof(struct ntm_due);
	d->pending.item_size = sizeof(struct ntm_pending);
	d->ring = ring_buffer__new(d->map_fd[NTM_MAP_EVENTS], on_sample, d, NULL);
	if (!d->ring)
		return -errno;
	d->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	d->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (d->timer_fd < 0 || d->poll_fd < 0)
		return -errno;
	struct epoll_event ev = {.events = EPOLLIN};
	if (epoll_ctl(d->poll_fd, EPOLL_CTL_ADD, ring_buffer__epoll_fd(d->ring), &ev) ||
	    epoll_ctl(d->poll_fd, EPOLL_CTL_ADD, d->timer_fd, &ev))
		return -errno;
	return 0;
}

int ntm_events_watch(struct ntm_dp_bpf *d, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};
	return epoll_ctl(d->poll_fd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

void ntm_events_close(struct ntm_dp_bpf *d)
{
	ring_buffer__free(d->ring);
	d->ring = NULL;
	if (d->timer_fd >= 0)
		close(d->timer_fd);
	if (d->poll_fd >= 0)
		close(d->poll_fd);
	ntm_fifo_free(&d->quarantine);
	ntm_fifo_free(&d->old_keys);
	ntm_fifo_free(&d->pending);
}

void ntm_events_rearm(struct ntm_dp_bpf *d)
{
	const struct ntm_due *q = ntm_fifo_peek(&d->quarantine), *k = ntm_fifo_peek(&d->old_keys);
	uint64_t at = q ? q->due_ns : 0;
	if (k && (!at || k->due_ns < at))
		at = k->due_ns;
	if (d->pending.n)
		at = 1; /* long past: at once */
	struct itimerspec its = {.it_value = {(time_t)(at / NSEC), (long)(at % NSEC)}};
	if (timerfd_settime(d->timer_fd, TFD_TIMER_ABSTIME, &its, NULL))
		ntm_err("timerfd_settime: %s", strerror(errno));
}

void ntm_event_push(struct ntm_dp_bpf *d, const struct ntm_pending *p)
{
	if (ntm_fifo_push(&d->pending, p)) {
		ntm_err("no memory for an event of path %016llx", (unsigned long long)p->path_id);
		return;
	}
	ntm_events_rearm(d);
}

static void run_pending(struct ntm_dp_bpf *d)
{
	for (size_t n = d->pending.n; n > 0; n--) {
		struct ntm_pending ev = *(struct ntm_pending *)ntm_fifo_peek(&d->pending);
		ntm_fifo_pop(&d->pending);
		if (ev.type == NTM_EV_EPOCH)
			epoch_confirmed(d, ev.path_id, ev.epoch);
		else if (d->dp.events->roamed)
			d->dp.events->roamed(d->dp.arg, ev.path_id, &ev.addr);
	}
}

void ntm_dp_dispatch(struct ntm_dp *dp)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	uint64_t ticks;
	if (d->engine)
		ntm_engine_dispatch(d->engine);
	d->budget = EVENTS_A_CALL;
	int n = ring_buffer__consume(d->ring);
	if (n < 0 && n != -ECANCELED)
		ntm_err("ring buffer: %s", strerror(-n));
	run_pending(d);
	if (read(d->timer_fd, &ticks, sizeof(ticks)) == (ssize_t)sizeof(ticks) || d->quarantine.n || d->old_keys.n) {
		(void)ntm_paths_sweep(d, ntm_boottime_ns());
		ntm_events_rearm(d);
	}
}
