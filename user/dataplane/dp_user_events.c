/* SPDX-License-Identifier: BSD-2-Clause */
/* Events wait in a queue until dispatch(); fd() is a timer, which also announces keys to wipe. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "../common/log.h"
#include "dp_user_int.h"

enum { EVENTS_MAX = 512, EVENTS_A_CALL = 64 };

int ntm_user_events_watch(struct ntm_dp_user *d, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};
	return epoll_ctl(d->poll_fd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

int ntm_user_events_init(struct ntm_dp_user *d)
{
	d->events.item_size = sizeof(struct ntm_user_event);
	d->resting.item_size = sizeof(struct ntm_user_due);
	d->old_keys.item_size = sizeof(struct ntm_user_due);
	d->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	d->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (d->timer_fd < 0 || d->poll_fd < 0)
		return -errno;
	return ntm_user_events_watch(d, d->timer_fd);
}

void ntm_user_events_free(struct ntm_dp_user *d)
{
	const struct ntm_user_event *e;
	while ((e = ntm_fifo_peek(&d->events))) {
		free(e->packet);
		ntm_fifo_pop(&d->events);
	}
	ntm_fifo_free(&d->events);
	if (d->timer_fd >= 0)
		close(d->timer_fd);
	if (d->poll_fd >= 0)
		close(d->poll_fd);
}

void ntm_user_rearm(struct ntm_dp_user *d)
{
	const struct ntm_user_due *k = ntm_fifo_peek(&d->old_keys), *r = ntm_fifo_peek(&d->resting);
	uint64_t at = k && (!r || k->due_ns < r->due_ns) ? k->due_ns : r ? r->due_ns : 0;
	at = d->events.n ? 1 : at; /* 1: long past, so at once */
	struct itimerspec its = {.it_value = {(time_t)(at / NTM_NSEC), (long)(at % NTM_NSEC)}};
	if (timerfd_settime(d->timer_fd, TFD_TIMER_ABSTIME, &its, NULL))
		ntm_err("timerfd_settime: %s", strerror(errno));
}

int ntm_user_event(struct ntm_dp_user *d, const struct ntm_user_event *e)
{
	int err = d->events.n < EVENTS_MAX ? ntm_fifo_push(&d->events, e) : -ENOBUFS;
	if (err)
		free(e->packet);
	else if (d->events.n == 1)
		ntm_user_rearm(d);
	return err;
}

static void tell(struct ntm_dp_user *d, const struct ntm_user_event *e)
{
	const struct ntm_dp_events *fn = d->dp.events;
	uint32_t slot;
	switch (e->type) {
	case NTM_EV_NO_PATH:
		if (fn->no_path)
			fn->no_path(d->dp.arg, e->addr.ip, e->packet, e->len);
		break;
	case NTM_EV_TOO_BIG:
		if (fn->too_big)
			fn->too_big(d->dp.arg, e->path_id, e->packet, e->len);
		break;
	case NTM_EV_ROAMED:
		if (fn->roamed)
			fn->roamed(d->dp.arg, e->path_id, &e->addr);
		break;
	case NTM_EV_EPOCH:
		slot = ntm_user_slot(d, e->path_id);
		if (!slot)
			break; /* deleted meanwhile */
		if ((d->paths[slot].tx_epoch & 15) == e->epoch)
			ntm_user_epoch_switched(d, slot, e->epoch);
		if (fn->epoch_confirmed)
			fn->epoch_confirmed(d->dp.arg, e->path_id, e->epoch);
		break;
	case NTM_EV_EXPIRED:
		if (fn->expired)
			fn->expired(d->dp.arg, e->path_id);
		break;
	}
}

void ntm_user_dispatch(struct ntm_dp *dp)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	uint64_t ticks;
	if (read(d->timer_fd, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
		ntm_err("timerfd: %s", strerror(errno));
	if (d->engine)
		ntm_engine_dispatch(d->engine);
	/* What comes while these are told is for the next call. */
	for (size_t n = d->events.n < EVENTS_A_CALL ? d->events.n : EVENTS_A_CALL; n > 0; n--) {
		struct ntm_user_event e = *(struct ntm_user_event *)ntm_fifo_peek(&d->events);
		ntm_fifo_pop(&d->events);
		tell(d, &e);
		free(e.packet);
	}
	ntm_user_sweep(d, ntm_boottime_ns());
	ntm_user_rearm(d);
	if (d->running && d->conf.flush)
		d->conf.flush(d->conf.arg);
}
