/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bulk lane: the engine between a TUN, which node_lane sends super-packets to, and sockets on the node's port. TUN,
 * keys and sockets are gone with the agent; node_lane notices that nobody takes what it gives, and the next agent makes
 * them anew.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <ntm/wire.h>

#include "../common/log.h"
#include "../engine/aead.h"
#include "../engine/engine.h"
#include "dp_internal.h"
#include "engineops.h"
#include "hostif.h"

static uint32_t by_id(void *arg, uint64_t id_be)
{
	struct ntm_dp_bpf *d = arg;
	uint32_t slot;
	if (bpf_map_lookup_elem(d->map_fd[NTM_MAP_PATH_IDS], &id_be, &slot) || slot >= d->n_slots)
		return 0;
	return slot;
}

static uint32_t by_dst(void *arg, const uint8_t ip[16])
{
	struct ntm_dp_bpf *d = arg;
	uint32_t slot;
	if (bpf_map_lookup_elem(d->map_fd[NTM_MAP_VIPS], ip, &slot) || slot >= d->n_slots)
		return 0;
	return slot;
}

static bool is_local(void *arg, const uint8_t ip[16])
{
	struct ntm_dp_bpf *d = arg;
	uint32_t value;
	return !bpf_map_lookup_elem(d->map_fd[NTM_MAP_LOCALS], ip, &value);
}

/*
 * A worker's packets take the CPU that it is on, and it moves between CPUs: packets of a flow would overtake each
 * other. With receive packet steering on the TUN a flow has its CPU; what the kernel lane delivers to ntm0 makes no
 * such detour. Without it TCP sees some reordering.
 */
static void steer_flows(const struct ntm_dp_bpf *d)
{
	char path[128], mask[32];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int n = snprintf(mask, sizeof(mask), "%llx", cpus >= 32 || cpus < 1 ? 0xffffffffull : (1ull << cpus) - 1);
	for (int i = 0;; i++) {
		snprintf(path, sizeof(path), "/sys/class/net/%s/queues/rx-%d/rps_cpus", d->bulk_name, i);
		int fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 && i)
			return;
		if (fd < 0 || write(fd, mask, (size_t)n) != n)
			ntm_debug("%s: %s", path, strerror(errno));
		if (fd < 0)
			return;
		close(fd);
	}
}

/* The TUN's queues: one for each worker. All of them or none; the interface is gone with the last. */
static int open_tun(struct ntm_dp_bpf *d, struct ntm_tun tuns[NTM_WORKERS_MAX])
{
	unsigned n = ntm_engine_workers(d->engine), opened = 0;
	int err = 0, prog = ntm_steer_fd(d);
	struct ntm_link l;
	while (opened < n && !err) {
		err = ntm_tun_open(&tuns[opened], d->bulk_name, n > 1);
		opened += !err;
	}
	if (!err && n > 1 && ioctl(tuns[0].fd, TUNSETSTEERINGEBPF, &prog))
		err = -errno;
	if (!err)
		err = ntm_rtnl_link_get(&d->rtnl, d->bulk_name, 0, &l);
	if (!err)
		err = ntm_attach_tc(d->pins, NULL, l.ifindex, NTM_TC_INGRESS, ntm_lane_in_fd(d), true, &d->tc_bulk);
	if (!err) {
		ntm_link_enable_ipv6(d->bulk_name);
		struct ntm_link_change c = {.ifindex = l.ifindex,
					    .mtu = NTM_INNER_MAX,
					    .flags = IFF_UP | IFF_NOARP,
					    .flags_mask = IFF_UP | IFF_NOARP | IFF_MULTICAST,
					    .no_addrgen = true};
		err = ntm_rtnl_link_set(&d->rtnl, &c);
		c.no_addrgen = false;
		if (err == -EAFNOSUPPORT)
			err = ntm_rtnl_link_set(&d->rtnl, &c);
	}
	if (err) {
		while (opened)
			ntm_tun_close(&tuns[--opened]);
		return err;
	}
	for (unsigned i = 0; i < NTM_LANE_QUEUES; i++)
		__atomic_store_n(&d->lanes->q[i].waiting_ns, 0, __ATOMIC_RELAXED);
	steer_flows(d);
	__atomic_store_n(&d->lanes->queues, n, __ATOMIC_RELAXED);
	__atomic_store_n(&d->lanes->ifindex, l.ifindex, __ATOMIC_RELEASE);
	return 0;
}

static void close_tun(struct ntm_dp_bpf *d)
{
	if (d->lanes)
		__atomic_store_n(&d->lanes->ifindex, 0, __ATOMIC_RELEASE);
	if (d->tc_bulk.link_fd >= 0)
		close(d->tc_bulk.link_fd);
	d->tc_bulk.link_fd = -1;
}

/* Somebody removed it. Each worker says so; the first one's word makes a new one. */
static void tun_gone(struct ntm_dp_bpf *d)
{
	struct ntm_tun tuns[NTM_WORKERS_MAX];
	struct ntm_link l;
	if (!ntm_rtnl_link_get(&d->rtnl, d->bulk_name, 0, &l) && l.ifindex == d->lanes->ifindex)
		return;
	close_tun(d);
	int err = open_tun(d, tuns);
	if (err) {
		ntm_err("%s was removed and can't be made again: %s; no bulk lane until a restart", d->bulk_name,
			strerror(-err));
		return;
	}
	ntm_warn("%s was removed: made again", d->bulk_name);
	for (unsigned i = 0; i < ntm_engine_workers(d->engine); i++)
		(void)ntm_engine_set_tun(d->engine, i, &tuns[i]);
}

static void on_event(void *arg, const struct ntm_engine_event *ev)
{
	struct ntm_dp_bpf *d = arg;
	const struct ntm_dp_events *fn = d->dp.events;
	uint32_t slot = ev->path_id ? ntm_path_slot(d, ev->path_id) : 0;
	switch (ev->type) {
	case NTM_ENGINE_ROAMED:
		if (fn->roamed && slot)
			fn->roamed(d->dp.arg, ev->path_id, &ev->addr);
		break;
	case NTM_ENGINE_EPOCH:
		if (!slot)
			break;
		if ((__atomic_load_n(&d->paths[slot].tx_epoch, __ATOMIC_ACQUIRE) & 15) == ev->epoch)
			ntm_epoch_switched(d, slot, ev->epoch);
		if (fn->epoch_confirmed)
			fn->epoch_confirmed(d->dp.arg, ev->path_id, ev->epoch);
		break;
	case NTM_ENGINE_EXPIRED:
		if (fn->expired && slot)
			fn->expired(d->dp.arg, ev->path_id);
		break;
	case NTM_ENGINE_LANE:
		if (fn->lane && slot)
			fn->lane(d->dp.arg, ev->path_id, ev->up);
		break;
	case NTM_ENGINE_NO_PATH:
		if (fn->no_path)
			fn->no_path(d->dp.arg, ev->addr.ip, ev->data, ev->len);
		break;
	case NTM_ENGINE_TOO_BIG:
		if (fn->too_big && slot)
			fn->too_big(d->dp.arg, ev->path_id, ev->data, ev->len);
		break;
	case NTM_ENGINE_DATAGRAM:
		if (fn->datagram)
			fn->datagram(d->dp.arg, &ev->addr, ev->to, ev->data, ev->len);
		break;
	case NTM_ENGINE_TUN_GONE:
		tun_gone(d);
		break;
	}
}

static const struct ntm_engine_ops ops = {.by_id = by_id, .by_dst = by_dst, .is_local = is_local, .event = on_event};

void ntm_bulk_init(struct ntm_dp_bpf *d)
{
	struct ntm_engine_config c = {.paths = d->paths,
				      .n_slots = d->n_slots,
				      .settings = d->settings,
				      .uplinks = d->uplinks,
				      .lanes = d->lanes,
				      .ops = &ops,
				      .arg = d};
	int err = ntm_engine_new(&d->engine, &c);
	__atomic_store_n(&d->lanes->ifindex, 0, __ATOMIC_RELEASE);
	if (!err)
		err = ntm_events_watch(d, ntm_engine_fd(d->engine));
	if (err) {
		ntm_warn("no bulk lane: %s", strerror(-err));
		ntm_bulk_close(d);
		return;
	}
	d->dp.suites = 1u << NTM_SUITE_BULK_CHACHA | (ntm_aead_has_aes() ? 1u << NTM_SUITE_BULK_AES : 0);
}

int ntm_dp_start(struct ntm_dp *dp, const struct ntm_dp_start *s, char *why, size_t cap)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	struct ntm_tun tuns[NTM_WORKERS_MAX];
	if (!d->engine)
		return 0;
	int err = open_tun(d, tuns);
	if (err) {
		snprintf(why, cap, "%s can't be made: %s%s", d->bulk_name, strerror(-err),
			 err == -ENOENT ? " (kernel without TUN, or no /dev/net/tun)" : "");
	} else {
		err = ntm_engine_start(d->engine, tuns, ntm_engine_workers(d->engine), s->port, s->mark, s->fds);
		if (err)
			snprintf(why, cap, "its sockets and threads can't be made: %s", strerror(-err));
	}
	if (err)
		ntm_bulk_close(d);
	else
		ntm_ntm0_limit_segments(d);
	return err;
}

void ntm_bulk_forget(struct ntm_dp_bpf *d, uint32_t slot, uint8_t epoch)
{
	if (d->engine)
		ntm_engine_forget(d->engine, slot, epoch);
}

void ntm_bulk_keys(struct ntm_dp_bpf *d, uint32_t slot, const struct ntm_dp_keys *k)
{
	int err = ntm_dp_engine_keys(d->engine, slot, k);
	/* The kernel lane has its keys. */
	if (err)
		ntm_warn("path %016llx has no bulk lane: %s", (unsigned long long)d->paths[slot].path_id,
			 strerror(-err));
}

void ntm_bulk_del(struct ntm_dp_bpf *d, uint32_t slot)
{
	if (d->engine)
		ntm_engine_del(d->engine, slot);
}

void ntm_bulk_close(struct ntm_dp_bpf *d)
{
	d->dp.suites = 0;
	close_tun(d);
	ntm_engine_free(d->engine);
	d->engine = NULL;
}
