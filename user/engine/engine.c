/* SPDX-License-Identifier: BSD-2-Clause */
/* Life of the engine, keys, the queue to the owner, and the owner's questions on lanes that are down. */
#include "engine_int.h"

#include <endian.h>
#include <errno.h>
#include <linux/filter.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <ntm/wire.h>

#include "../common/crypto.h"

#define NSEC 1000000000ull
#define WORKERS_DEFAULT_MAX 4u
#define LOST_NS 50000000ull

static unsigned default_workers(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = cpus > 0 ? (unsigned)cpus : 1;
	return n < WORKERS_DEFAULT_MAX ? n : WORKERS_DEFAULT_MAX;
}

static int make_fds(struct ntm_engine *e)
{
	struct epoll_event ev = {.events = EPOLLIN};
	e->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	e->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	e->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (e->timer_fd < 0 || e->event_fd < 0 || e->poll_fd < 0 ||
	    epoll_ctl(e->poll_fd, EPOLL_CTL_ADD, e->timer_fd, &ev) ||
	    epoll_ctl(e->poll_fd, EPOLL_CTL_ADD, e->event_fd, &ev))
		return -errno;
	return 0;
}

int ntm_engine_new(struct ntm_engine **out, const struct ntm_engine_config *c)
{
	struct ntm_engine *e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->c = *c;
	e->n_workers = c->workers ? c->workers : default_workers();
	if (e->n_workers > NTM_WORKERS_MAX)
		e->n_workers = NTM_WORKERS_MAX;
	e->timer_fd = e->event_fd = e->poll_fd = e->beat.fd = -1;
	pthread_mutex_init(&e->lock, NULL);
	/* Buffers of a megabyte: pages that are never touched cost nothing. */
	size_t len = e->n_workers * sizeof(*e->workers);
	e->workers = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (e->workers == MAP_FAILED)
		e->workers = NULL;
	for (unsigned i = 0; e->workers && i < e->n_workers; i++) {
		struct ntm_worker *w = &e->workers[i];
		w->e = e;
		w->epoll_fd = w->wake_fd = w->fd4 = w->fd6 = w->tx4 = w->tx6 = w->tun.fd = w->next.fd = -1;
	}
	e->lanes = calloc(c->n_slots, sizeof(struct ntm_lane *));
	e->asking = calloc(c->n_slots, sizeof(uint32_t));
	e->queue = calloc(NTM_ENGINE_QUEUE, sizeof(*e->queue));
	e->tx = calloc(1, sizeof(*e->tx));
	int err = e->workers && e->lanes && e->asking && e->queue && e->tx ? make_fds(e) : -ENOMEM;
	if (err) {
		ntm_engine_free(e);
		return err;
	}
	/* Of an earlier engine, whose keys are gone. */
	for (uint32_t i = 0; i < c->n_slots; i++)
		__atomic_and_fetch(&c->paths[i].flags, (uint16_t)~NTM_PATH_BULK, __ATOMIC_RELAXED);
	*out = e;
	return 0;
}

/*
 * Which of the sockets on the port a datagram goes to, by its first bytes: 0 is the owner's if it has one, the next
 * ones are the workers' that receive; those that only send are behind them. Sealed data of a path goes to one worker.
 * GRO puts a datagram behind others without asking: the workers hand what is not theirs to the owner.
 */
static int steer(int fd, bool owner, unsigned workers)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
	    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 15),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NTM_T_DATA, 0, 7),
	    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 1),
	    BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 4),
	    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, NTM_SUITE_BULK_CHACHA, 4, 0),
	    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 15),
	    BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, workers),
	    BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, owner),
	    BPF_STMT(BPF_RET | BPF_A, 0),
	    BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog prog = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &prog, sizeof(prog)) ? -errno : 0;
}

static int open_workers(struct ntm_engine *e, uint16_t port, uint32_t mark)
{
	int err = 0;
	for (unsigned i = 0; i < e->n_workers && !err; i++)
		err = ntm_worker_open(&e->workers[i], e, i, port, mark);
	for (unsigned i = 0; i < e->n_workers && !err; i++)
		err = ntm_worker_open_tx(&e->workers[i], port, mark);
	return err;
}

int ntm_engine_start(struct ntm_engine *e, const struct ntm_tun *tuns, unsigned n_tuns, uint16_t port, uint32_t mark,
		     const int first[2])
{
	for (unsigned i = 0; i < e->n_workers && i < n_tuns; i++)
		e->workers[i].tun = tuns[i];
	/* Sockets keep the order of their binding; the owner's are bound already. */
	int err = open_workers(e, port, mark);
	for (int v6 = 0; v6 < 2 && !err; v6++) {
		int fd = v6 ? e->workers[0].fd6 : e->workers[0].fd4;
		if (fd >= 0)
			err = steer(fd, first[v6] >= 0, e->n_workers);
	}
	if (!err && e->c.lanes)
		err = ntm_beat_start(&e->beat, (uint64_t *)&e->c.lanes->alive_ns);
	for (unsigned i = 0; i < e->n_workers && !err; i++)
		err = ntm_worker_start(&e->workers[i]);
	if (err) {
		for (unsigned i = 0; i < e->n_workers; i++)
			ntm_worker_close(&e->workers[i]);
		ntm_beat_stop(&e->beat);
		return err;
	}
	ntm_udp_tx_init(e->tx, e->workers[0].tx4, e->workers[0].tx6);
	e->running = true;
	return 0;
}

unsigned ntm_engine_workers(const struct ntm_engine *e)
{
	return e->n_workers;
}

int ntm_engine_set_tun(struct ntm_engine *e, unsigned worker, const struct ntm_tun *tun)
{
	uint64_t one = 1;
	if (worker >= e->n_workers)
		return -EINVAL;
	struct ntm_worker *w = &e->workers[worker];
	pthread_mutex_lock(&e->lock);
	if (w->has_next)
		ntm_tun_close(&w->next);
	w->next = *tun;
	w->has_next = true;
	pthread_mutex_unlock(&e->lock);
	return write(w->wake_fd, &one, sizeof(one)) < 0 ? -errno : 0;
}

static void look_for_lost(struct ntm_engine *e, uint64_t now)
{
	struct ntm_lanes *s = e->c.lanes;
	for (unsigned i = 0; s && e->running && i < e->n_workers; i++) {
		__u64 since = __atomic_load_n(&s->q[i].waiting_ns, __ATOMIC_RELAXED);
		struct pollfd p = {.events = POLLIN};
		pthread_mutex_lock(&e->lock);
		p.fd = e->workers[i].tun.fd;
		pthread_mutex_unlock(&e->lock);
		if (since && now > since + LOST_NS && p.fd >= 0 && poll(&p, 1, 0) == 0)
			__atomic_compare_exchange_n(&s->q[i].waiting_ns, &since, 0, false, __ATOMIC_RELAXED,
						    __ATOMIC_RELAXED);
	}
}

/* --- what workers may still be using --- */

static bool is_unused(const struct ntm_engine *e, const struct ntm_retired *r)
{
	for (unsigned i = 0; i < e->n_workers; i++)
		if (r->rounds[i] & 1 && __atomic_load_n(&e->workers[i].rounds, __ATOMIC_SEQ_CST) == r->rounds[i])
			return false;
	return true;
}

static void reclaim(struct ntm_engine *e)
{
	struct ntm_retired **at = &e->retired, *r;
	while ((r = *at)) {
		if (!is_unused(e, r)) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		r->free(r->p);
		free(r);
	}
}

/* p is not to be found any more; frees it when nobody has it. */
static void retire(struct ntm_engine *e, void *p, void (*fn)(void *))
{
	struct ntm_retired *r = p ? calloc(1, sizeof(*r)) : NULL;
	if (!p)
		return;
	if (!r)
		return; /* better lost than used after it was freed */
	r->p = p;
	r->free = fn;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < e->n_workers; i++)
		r->rounds[i] = __atomic_load_n(&e->workers[i].rounds, __ATOMIC_SEQ_CST);
	r->next = e->retired;
	e->retired = r;
}

void ntm_engine_free(struct ntm_engine *e)
{
	if (!e)
		return;
	for (unsigned i = 0; e->workers && i < e->n_workers; i++)
		ntm_worker_close(&e->workers[i]);
	ntm_beat_stop(&e->beat);
	/* No program is to hand on to nobody. */
	for (uint32_t i = 0; e->lanes && i < e->c.n_slots; i++) {
		if (!e->lanes[i])
			continue;
		__atomic_and_fetch(&e->c.paths[i].flags, (uint16_t)~NTM_PATH_BULK, __ATOMIC_RELAXED);
		ntm_lane_free(e->lanes[i]);
	}
	for (struct ntm_retired *r = e->retired, *next; r; r = next) {
		next = r->next;
		r->free(r->p);
		free(r);
	}
	int fds[] = {e->timer_fd, e->event_fd, e->poll_fd};
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (e->workers)
		munmap(e->workers, e->n_workers * sizeof(*e->workers));
	pthread_mutex_destroy(&e->lock);
	free(e->lanes);
	free(e->asking);
	free(e->queue);
	free(e->tx);
	free(e);
}

/* --- keys --- */

static void arm(struct ntm_engine *e, uint64_t at)
{
	struct itimerspec its = {.it_value = {(time_t)(at / NSEC), (long)(at % NSEC)}};
	(void)timerfd_settime(e->timer_fd, TFD_TIMER_ABSTIME, &its, NULL);
}

static void ask_from_now(struct ntm_engine *e, uint32_t slot, struct ntm_lane *l)
{
	l->ask_wait_ms = NTM_ASK_MS;
	l->ask_ns = ntm_boottime_ns();
	if (!l->asking) {
		l->asking = true;
		e->asking[e->n_asking++] = slot;
	}
	arm(e, l->ask_ns);
}

static struct ntm_lane *lane_of(struct ntm_engine *e, uint32_t slot)
{
	struct ntm_lane *l = e->lanes[slot];
	uint64_t id = e->c.paths[slot].path_id;
	if (l && l->path_id == id)
		return l;
	if (l)
		ntm_engine_del(e, slot);
	l = calloc(1, sizeof(*l));
	if (l) {
		l->path_id = id;
		__atomic_store_n(&e->lanes[slot], l, __ATOMIC_RELEASE);
	}
	return l;
}

static void replace(struct ntm_engine *e, struct ntm_lane *l, unsigned epoch, int which, struct ntm_lane_key *k)
{
	retire(e, __atomic_exchange_n(&l->keys[epoch & 1][which], k, __ATOMIC_ACQ_REL), ntm_lane_key_free);
}

void ntm_engine_forget(struct ntm_engine *e, uint32_t slot, uint8_t epoch)
{
	struct ntm_lane *l = ntm_engine_lane(e, slot);
	if (l)
		replace(e, l, epoch, NTM_LANE_KERNEL, NULL);
}

int ntm_engine_set_keys(struct ntm_engine *e, uint32_t slot, const struct ntm_engine_keys *k)
{
	if (!slot || slot >= e->c.n_slots || k->epoch > 15)
		return -EINVAL;
	struct ntm_lane *l = lane_of(e, slot);
	struct ntm_lane_key *kernel = ntm_lane_key_new(NTM_SUITE_KERNEL, k->epoch, k->tx, k->rx), *bulk = NULL;
	if (k->bulk_suite)
		bulk = ntm_lane_key_new(k->bulk_suite, k->epoch, k->bulk_tx, k->bulk_rx);
	if (!l || !kernel || (k->bulk_suite && !bulk)) {
		ntm_lane_key_free(kernel);
		ntm_lane_key_free(bulk);
		return -ENOMEM;
	}
	replace(e, l, k->epoch, NTM_LANE_KERNEL, kernel);
	replace(e, l, k->epoch, NTM_LANE_BULK, bulk);
	reclaim(e);
	if (!bulk)
		ntm_engine_lane_up(e, slot, l, false);
	else if (!__atomic_load_n(&l->up, __ATOMIC_RELAXED))
		ask_from_now(e, slot, l);
	return 0;
}

void ntm_engine_del(struct ntm_engine *e, uint32_t slot)
{
	if (!slot || slot >= e->c.n_slots)
		return;
	struct ntm_lane *l = __atomic_exchange_n(&e->lanes[slot], NULL, __ATOMIC_ACQ_REL);
	if (!l)
		return;
	for (uint32_t i = 0; l->asking && i < e->n_asking; i++) {
		if (e->asking[i] == slot) {
			e->asking[i] = e->asking[--e->n_asking];
			break;
		}
	}
	__atomic_and_fetch(&e->c.paths[slot].flags, (uint16_t)~NTM_PATH_BULK, __ATOMIC_RELAXED);
	retire(e, l, ntm_lane_free);
	reclaim(e);
}

void ntm_engine_look(struct ntm_engine *e, uint32_t slot)
{
	struct ntm_lane *l = ntm_engine_lane(e, slot);
	struct ntm_path *p = &e->c.paths[slot];
	uint64_t now = ntm_boottime_ns(), used;
	look_for_lost(e, now);
	if (!l || !e->running || l->asking || !__atomic_load_n(&l->up, __ATOMIC_RELAXED))
		return;
	used = __atomic_load_n(&p->last_rx_ns, __ATOMIC_RELAXED);
	if (now > used + NSEC || now < __atomic_load_n(&l->heard_ns, __ATOMIC_RELAXED) + NSEC)
		return;
	ask_from_now(e, slot, l);
}

/* --- the lane --- */

void ntm_engine_lane_up(struct ntm_engine *e, uint32_t slot, struct ntm_lane *l, bool up)
{
	struct ntm_path *p = &e->c.paths[slot];
	struct ntm_engine_event ev = {.type = NTM_ENGINE_LANE, .path_id = be64toh(l->path_id), .up = up};
	if (__atomic_exchange_n(&l->up, up, __ATOMIC_ACQ_REL) == up)
		return;
	if (up)
		__atomic_or_fetch(&p->flags, NTM_PATH_BULK, __ATOMIC_RELEASE);
	else
		__atomic_and_fetch(&p->flags, (uint16_t)~NTM_PATH_BULK, __ATOMIC_RELEASE);
	__atomic_store_n(&l->unanswered_ns, 0, __ATOMIC_RELAXED);
	(void)ntm_engine_push(e, &ev);
}

bool ntm_lane_is_late(const struct ntm_lane *l, uint64_t now)
{
	__u64 since = __atomic_load_n(&l->unanswered_ns, __ATOMIC_RELAXED);
	uint64_t rtt = __atomic_load_n(&l->rtt_ns, __ATOMIC_RELAXED);
	return since && now > since && now - since > rtt + rtt / 4 + NTM_SILENCE_MS * 1000000ull;
}

/* Is the lane up and was the last question answered? Takes it down if that is late. */
static bool is_answered(struct ntm_engine *e, uint32_t slot, struct ntm_lane *l, uint64_t now)
{
	if (!__atomic_load_n(&l->up, __ATOMIC_RELAXED))
		return false;
	if (ntm_lane_is_late(l, now)) {
		ntm_engine_lane_up(e, slot, l, false);
		return false;
	}
	return now < __atomic_load_n(&l->heard_ns, __ATOMIC_RELAXED) + NSEC;
}

/* Returns when to come again, 0: no more. */
static uint64_t ask(struct ntm_engine *e, uint32_t slot, struct ntm_lane *l, uint64_t now)
{
	struct ntm_path *p = &e->c.paths[slot];
	unsigned epoch = __atomic_load_n(&p->tx_epoch, __ATOMIC_ACQUIRE) & 15;
	if (l->path_id != p->path_id || is_answered(e, slot, l, now))
		return 0;
	if (l->ask_ns > now)
		return l->ask_ns;
	uint64_t used = __atomic_load_n(&p->last_tx_ns, __ATOMIC_RELAXED);
	bool first = l->ask_wait_ms < NTM_ASK_MS << NTM_ASK_FIRST;
	if (ntm_lane_key_get(l, epoch, NTM_LANE_BULK) && (first || (used && now < used + NTM_ASK_RECENT_S * NSEC))) {
		uint64_t none = 0;
		/* The answer gives the round trip, too. */
		__atomic_compare_exchange_n(&l->unanswered_ns, &none, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
		(void)ntm_lane_signal(e, e->tx, NTM_WORKERS_MAX, slot, l, true);
		ntm_udp_tx_flush(e->tx);
	}
	l->ask_ns = now + l->ask_wait_ms * 1000000ull;
	l->ask_wait_ms = l->ask_wait_ms * 2 > NTM_ASK_MAX_MS ? NTM_ASK_MAX_MS : l->ask_wait_ms * 2;
	return l->ask_ns;
}

static void ask_all(struct ntm_engine *e)
{
	uint64_t now = ntm_boottime_ns(), next = 0;
	for (uint32_t i = 0; i < e->n_asking;) {
		uint32_t slot = e->asking[i];
		struct ntm_lane *l = e->lanes[slot];
		uint64_t at = ask(e, slot, l, now);
		if (!at) {
			l->asking = false;
			e->asking[i] = e->asking[--e->n_asking];
			continue;
		}
		next = !next || at < next ? at : next;
		i++;
	}
	if (next)
		arm(e, next);
}

/* --- the queue --- */

bool ntm_engine_push(struct ntm_engine *e, const struct ntm_engine_event *ev)
{
	uint64_t one = 1;
	bool room, wake = false;
	/* Traffic leaves half of it to what keeps paths alive. */
	unsigned places = ev->type == NTM_ENGINE_TOO_BIG ? NTM_ENGINE_QUEUE / 2 : NTM_ENGINE_QUEUE;
	pthread_mutex_lock(&e->lock);
	room = e->tail - e->head < places && ev->len <= NTM_ENGINE_DATAGRAM_MAX;
	if (room) {
		struct ntm_engine_item *it = &e->queue[e->tail % NTM_ENGINE_QUEUE];
		it->ev = *ev;
		if (ev->len)
			memcpy(it->data, ev->data, ev->len);
		wake = e->tail++ == e->head;
	}
	pthread_mutex_unlock(&e->lock);
	if (wake)
		(void)!write(e->event_fd, &one, sizeof(one));
	return room;
}

static bool pop(struct ntm_engine *e, struct ntm_engine_item *out)
{
	bool some;
	pthread_mutex_lock(&e->lock);
	some = e->head != e->tail;
	if (some) {
		const struct ntm_engine_item *it = &e->queue[e->head++ % NTM_ENGINE_QUEUE];
		out->ev = it->ev;
		memcpy(out->data, it->data, it->ev.len);
	}
	pthread_mutex_unlock(&e->lock);
	return some;
}

static void lane_went(struct ntm_engine *e, uint64_t path_id)
{
	uint32_t slot = e->c.ops->by_id(e->c.arg, htobe64(path_id));
	struct ntm_lane *l = ntm_engine_lane(e, slot);
	if (l && l->path_id == htobe64(path_id) && !__atomic_load_n(&l->up, __ATOMIC_RELAXED))
		ask_from_now(e, slot, l);
}

int ntm_engine_fd(struct ntm_engine *e)
{
	return e->poll_fd;
}

void ntm_engine_dispatch(struct ntm_engine *e)
{
	struct ntm_engine_item it;
	uint64_t n, one = 1;
	unsigned taken = 0;
	(void)!read(e->event_fd, &n, sizeof(n));
	for (; taken < NTM_ENGINE_QUEUE && pop(e, &it); taken++) {
		it.ev.data = it.data;
		if (it.ev.type == NTM_ENGINE_LANE && !it.ev.up)
			lane_went(e, it.ev.path_id);
		e->c.ops->event(e->c.arg, &it.ev);
	}
	/* Workers may push as fast as this takes, and wake it only where the queue was empty: the next call goes on. */
	if (taken == NTM_ENGINE_QUEUE)
		(void)!write(e->event_fd, &one, sizeof(one));
	if (read(e->timer_fd, &n, sizeof(n)) == (ssize_t)sizeof(n) && e->running)
		ask_all(e);
	reclaim(e);
}

void ntm_engine_stats(struct ntm_engine *e, uint32_t slot, struct ntm_engine_stats *out)
{
	struct ntm_lane *l = ntm_engine_lane(e, slot);
	*out = (struct ntm_engine_stats){.bulk = false};
	if (!l)
		return;
	unsigned epoch = __atomic_load_n(&e->c.paths[slot].tx_epoch, __ATOMIC_ACQUIRE) & 15;
	const struct ntm_lane_key *k = ntm_lane_key_get(l, epoch, NTM_LANE_BULK);
	out->suite = k ? k->suite : 0;
	out->bulk = k && __atomic_load_n(&l->up, __ATOMIC_RELAXED);
	out->tx_packets = __atomic_load_n(&l->tx_packets, __ATOMIC_RELAXED);
	out->tx_bytes = __atomic_load_n(&l->tx_bytes, __ATOMIC_RELAXED);
	out->rx_packets = __atomic_load_n(&l->rx_packets, __ATOMIC_RELAXED);
	out->rx_bytes = __atomic_load_n(&l->rx_bytes, __ATOMIC_RELAXED);
}

void ntm_engine_counters(struct ntm_engine *e, struct ntm_counter *out)
{
	for (unsigned i = 0; i < e->n_workers; i++) {
		for (unsigned r = 0; r < NTM_R_COUNT; r++) {
			const struct ntm_counter *c = &e->workers[i].counts[r];
			out[r].packets += __atomic_load_n(&c->packets, __ATOMIC_RELAXED);
			out[r].bytes += __atomic_load_n(&c->bytes, __ATOMIC_RELAXED);
		}
	}
}
