/* SPDX-License-Identifier: BSD-2-Clause */
/* The relay's BPF data plane: opening, adopting, closing, and the vtable. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../common/crypto.h"
#include "../common/log.h"
#include "../dataplane/bpffs.h"
#include "relay_dp_internal.h"

static int take_lock(struct ntm_relay_dp_bpf *d, char *why, size_t cap)
{
	d->lock_fd = ntm_runtime_lock(d->runtime_dir, "relay.lock", "ntm-relay", why, cap);
	return d->lock_fd < 0 ? d->lock_fd : 0;
}

static struct ntm_relay_dp_bpf *new_dp(const struct ntm_relay_dp_config *c)
{
	struct ntm_relay_dp_bpf *d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	snprintf(d->runtime_dir, sizeof(d->runtime_dir), "%s", c->runtime_dir);
	d->port = c->port;
	d->links.mode = c->xdp_mode;
	d->max_paths = c->max_paths ? c->max_paths : NTM_RELAY_PATHS_DEFAULT;
	d->slots = NTM_RELAY_SLOTS(d->max_paths);
	d->idle_s = c->idle_s ? c->idle_s : NTM_RELAY_IDLE_S;
	d->lock_fd = d->pins = -1;
	for (int i = 0; i < NTM_RMAP_COUNT; i++)
		d->map_fd[i] = -1;
	return d;
}

/* Lets go of everything, in the kernel nothing changes. */
static void free_dp(struct ntm_relay_dp_bpf *d)
{
	ntm_relay_program_unload(d);
	ntm_relay_maps_close(d);
	ntm_xdp_links_close(&d->links);
	if (d->rtnl.nl)
		ntm_rtnl_close(&d->rtnl);
	if (d->pins >= 0)
		close(d->pins);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	free(d);
}

/* Decides whether what is pinned goes on, and leaves either all of it or nothing. */
static int find_old(struct ntm_relay_dp_bpf *d, char *why, size_t cap)
{
	char reason[160] = "";
	int adopt = ntm_relay_maps_adopt(d, reason, sizeof(reason));
	if (!adopt) {
		d->adopted = true;
		return 0;
	}
	if (adopt == -ENOENT)
		return 0;
	ntm_info("starting anew: %s", reason[0] ? reason : strerror(-adopt));
	ntm_relay_maps_close(d);
	int err = ntm_relay_pins_clear(d);
	if (err)
		snprintf(why, cap, "can't remove what an earlier relay left in %s/bpf: %s", d->runtime_dir,
			 strerror(-err));
	return err;
}

/*
 * bpf_fib_lookup() asks for forwarding on the interface that it is told a packet came by: bpf/lib/fib.h says lo, where
 * no packet to another host ever comes in.
 */
static void allow_lookups(void)
{
	static const char *const files[] = {"/proc/sys/net/ipv4/conf/lo/forwarding",
					    "/proc/sys/net/ipv6/conf/lo/forwarding"};
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char now = 0;
		int fd = open(files[i], O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue; /* a kernel without that family */
		bool on = read(fd, &now, 1) == 1 && now == '1';
		close(fd);
		if (on)
			continue;
		fd = open(files[i], O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "1", 1) != 1)
			ntm_warn("can't set %s to 1 (%s): relaying needs it, or forwarding on the relay's interfaces",
				 files[i], strerror(errno));
		if (fd >= 0)
			close(fd);
	}
}

static void write_settings(struct ntm_relay_dp_bpf *d)
{
	struct ntm_relay_settings *s = d->settings;
	s->port = htons(d->port);
	s->slots = d->slots;
	s->paths = d->max_paths;
	__atomic_store_n(&s->layout, NTM_RELAY_LAYOUT, __ATOMIC_RELEASE);
	ntm_relay_forget_hops(d);
}

/*
 * On a veth pair native XDP reaches only an end where XDP or GRO runs, and it fails in silence: so `auto` takes generic
 * mode, which reaches any.
 */
static int adopt_links(struct ntm_relay_dp_bpf *d)
{
	_Static_assert(NTM_RELAY_UPLINKS <= NTM_XDP_LINKS_MAX, "XDP on all of them");
	d->links.pins = d->pins;
	d->links.prog_fd = ntm_relay_program_fd(d);
	d->links.rtnl = &d->rtnl;
	d->links.veth_generic = true;
	d->links.native = &d->settings->native; /* bpf/lib/relay_rewrite.h says what for */
	return ntm_xdp_links_adopt(&d->links);
}

static int setup(struct ntm_relay_dp_bpf *d, char *why, size_t cap)
{
	bool lasting;
	int err = take_lock(d, why, cap);
	if (!err)
		err = ntm_rtnl_open(&d->rtnl);
	if (err)
		return err;
	d->pins = ntm_bpffs_open(d->runtime_dir, &lasting, why, cap);
	if (d->pins < 0)
		return d->pins;
	if (!lasting)
		ntm_warn("%s/bpf is mounted in a private mount namespace: a restarted relay will not find its paths",
			 d->runtime_dir);
	err = find_old(d, why, cap);
	if (!err)
		err = ntm_relay_program_load(d, why, cap);
	if (err)
		return err;
	ntm_relay_table_init(&d->table, d->paths, d->accounts, d->agents, d->slots, d->max_paths);
	write_settings(d);
	allow_lookups();
	return adopt_links(d);
}

/* Detaches, wipes, unpins. Returns the first error, having tried everything. */
static int remove_all(struct ntm_relay_dp_bpf *d)
{
	int first = ntm_relay_pins_clear(d);
	if (d->table.paths)
		ntm_relay_table_clear(&d->table);
	else if (d->agents)
		ntm_wipe(d->agents, (size_t)d->slots * sizeof(*d->agents));
	close(d->pins);
	d->pins = -1;
	int err = ntm_bpffs_remove(d->runtime_dir);
	/* An agent that gave up CAP_SYS_ADMIN leaves an empty bpffs to the next one. */
	return first || err == -EPERM || err == -EACCES ? first : err;
}

static bool op_adopted(struct ntm_relay_dp *dp)
{
	return ntm_rdp(dp)->adopted;
}

static int op_set_locals(struct ntm_relay_dp *dp, const uint8_t (*ips)[16], size_t n)
{
	struct ntm_relay_dp_bpf *d = ntm_rdp(dp);
	int fd = d->map_fd[NTM_RMAP_LOCALS], err = 0;
	struct ntm_vip key, next, gone[NTM_RELAY_LOCALS];
	size_t n_gone = 0;
	uint32_t one = 1;
	if (n > NTM_RELAY_LOCALS)
		return -E2BIG;
	for (bool more = !bpf_map_get_next_key(fd, NULL, &key); more; key = next) {
		bool stays = false;
		for (size_t i = 0; i < n; i++)
			stays |= !memcmp(ips[i], key.ip, 16);
		if (!stays && n_gone < NTM_RELAY_LOCALS)
			gone[n_gone++] = key;
		more = !bpf_map_get_next_key(fd, &key, &next);
	}
	for (size_t i = 0; i < n_gone; i++)
		(void)bpf_map_delete_elem(fd, &gone[i]); /* -ENOENT is as good */
	for (size_t i = 0; i < n && !err; i++)
		err = bpf_map_update_elem(fd, ips[i], &one, BPF_ANY);
	ntm_relay_forget_hops(d);
	return err;
}

static void op_routes_changed(struct ntm_relay_dp *dp)
{
	ntm_relay_forget_hops(ntm_rdp(dp));
}

static void set_flag(struct ntm_relay_dp_bpf *d, uint16_t flag, bool on)
{
	if (on)
		__atomic_or_fetch(&d->settings->flags, flag, __ATOMIC_SEQ_CST);
	else
		__atomic_and_fetch(&d->settings->flags, (uint16_t)~flag, __ATOMIC_SEQ_CST);
}

static void op_set_draining(struct ntm_relay_dp *dp, bool draining)
{
	set_flag(ntm_rdp(dp), NTM_RELAY_DRAINING, draining);
}

static int op_add(struct ntm_relay_dp *dp, uint64_t path_id, const uint8_t secret[NTM_KEY_LEN], uint32_t rate_kbit)
{
	return ntm_relay_table_add(&ntm_rdp(dp)->table, path_id, secret, rate_kbit);
}

static int op_get(struct ntm_relay_dp *dp, uint64_t path_id, struct ntm_relay_dp_path *out)
{
	return ntm_relay_table_get(&ntm_rdp(dp)->table, path_id, out);
}

/* Before the end moves: packets that it sent from where it was may come later than its bind. */
static void note_former(struct ntm_relay_dp_bpf *d, uint64_t path_id, unsigned end, const struct ntm_addr *to)
{
	uint64_t key = htobe64(path_id);
	struct ntm_relay_former f = {0};
	struct ntm_relay_dp_path p;
	struct timespec now;
	const struct ntm_addr *was;

	if (end > 1 || ntm_relay_table_get(&d->table, path_id, &p))
		return;
	was = &p.ends[end].addr;
	if (was->port && !ntm_addr_equal(was, to)) {
		/* What is there of the other end stays. */
		(void)bpf_map_lookup_elem(d->map_fd[NTM_RMAP_FORMER], &key, &f);
		clock_gettime(CLOCK_MONOTONIC, &now);
		f.until_ns[end] = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + NTM_RELAY_FORMER_NS;
		memcpy(f.addr[end], was->ip, 16);
		f.port[end] = was->port;
		int err = bpf_map_update_elem(d->map_fd[NTM_RMAP_FORMER], &key, &f, BPF_ANY);
		if (err)
			ntm_debug("relay: former address not noted: %s", strerror(-err));
	}
	ntm_wipe(&p, sizeof(p));
}

static int op_bind(struct ntm_relay_dp *dp, uint64_t path_id, unsigned end, const struct ntm_addr *addr, uint64_t seq)
{
	struct ntm_relay_dp_bpf *d = ntm_rdp(dp);
	uint32_t one;
	int err = bpf_map_lookup_elem(d->map_fd[NTM_RMAP_LOCALS], addr->ip, &one);
	if (!err)
		return -EINVAL;
	if (err != -ENOENT)
		return err;
	note_former(d, path_id, end, addr);
	return ntm_relay_table_bind(&d->table, path_id, end, addr, seq);
}

static int op_del(struct ntm_relay_dp *dp, uint64_t path_id)
{
	return ntm_relay_table_del(&ntm_rdp(dp)->table, path_id);
}

static void op_foreach(struct ntm_relay_dp *dp, void (*fn)(void *arg, const struct ntm_relay_dp_path *p), void *arg)
{
	ntm_relay_table_foreach(&ntm_rdp(dp)->table, fn, arg);
}

static size_t op_count(struct ntm_relay_dp *dp)
{
	return ntm_rdp(dp)->table.count;
}

static size_t op_max(struct ntm_relay_dp *dp)
{
	return ntm_rdp(dp)->max_paths;
}

static unsigned op_expire(struct ntm_relay_dp *dp)
{
	return ntm_relay_table_expire(&ntm_rdp(dp)->table, ntm_rdp(dp)->idle_s);
}

static int op_counters(struct ntm_relay_dp *dp, struct ntm_counter *out)
{
	struct ntm_counter sum[NTM_RR_COUNT];
	int cpus = libbpf_num_possible_cpus(), err = 0;
	struct ntm_counter *per_cpu = cpus > 0 ? calloc((size_t)cpus, sizeof(*per_cpu)) : NULL;
	if (!per_cpu)
		return cpus < 0 ? cpus : -ENOMEM;
	memset(sum, 0, sizeof(sum));
	for (uint32_t r = 0; r < NTM_RR_COUNT && !err; r++) {
		err = bpf_map_lookup_elem(ntm_rdp(dp)->map_fd[NTM_RMAP_COUNTERS], &r, per_cpu);
		for (int i = 0; i < cpus; i++) {
			sum[r].packets += per_cpu[i].packets;
			sum[r].bytes += per_cpu[i].bytes;
		}
	}
	free(per_cpu);
	if (!err)
		memcpy(out, sum, sizeof(sum));
	return err;
}

static int op_set_next(struct ntm_relay_dp *dp, int prog_fd)
{
	struct ntm_relay_dp_bpf *d = ntm_rdp(dp);
	uint32_t zero = 0;
	if (prog_fd >= 0) {
		int err = bpf_map_update_elem(d->map_fd[NTM_RMAP_NEXT], &zero, &prog_fd, BPF_ANY);
		if (!err)
			set_flag(d, NTM_RELAY_GATEWAY, true);
		return err;
	}
	set_flag(d, NTM_RELAY_GATEWAY, false);
	int err = bpf_map_delete_elem(d->map_fd[NTM_RMAP_NEXT], &zero);
	return err == -ENOENT ? 0 : err;
}

static void op_close(struct ntm_relay_dp *dp, bool keep)
{
	struct ntm_relay_dp_bpf *d = ntm_rdp(dp);
	if (!keep) {
		int err = remove_all(d);
		if (err)
			ntm_err("can't remove the relay's programs: %s", strerror(-err));
	}
	free_dp(d);
}

static int op_set_uplinks(struct ntm_relay_dp *dp, struct ntm_dp_uplink *u, size_t n, char *why, size_t cap)
{
	struct ntm_relay_dp_bpf *d = ntm_rdp(dp);
	int first = ntm_relay_uplinks_write(d, u, n);
	if (first)
		snprintf(why, cap, "can't tell the relay its interfaces: %s", strerror(-first));
	int err = ntm_xdp_links_set(&d->links, u, n, true, why, first ? 0 : cap);
	return first ? first : err;
}

static const struct ntm_relay_dp_ops ops = {
    .adopted = op_adopted,
    .set_uplinks = op_set_uplinks,
    .set_locals = op_set_locals,
    .routes_changed = op_routes_changed,
    .set_draining = op_set_draining,
    .add = op_add,
    .get = op_get,
    .bind = op_bind,
    .del = op_del,
    .foreach = op_foreach,
    .count = op_count,
    .max = op_max,
    .expire = op_expire,
    .counters = op_counters,
    .set_next = op_set_next,
    .close = op_close,
};

int ntm_relay_dp_bpf_open(struct ntm_relay_dp **out, const struct ntm_relay_dp_config *c, char *why, size_t cap)
{
	if (strlen(c->runtime_dir) >= PATH_MAX - 16)
		return -ENAMETOOLONG;
	struct ntm_relay_dp_bpf *d = new_dp(c);
	if (!d)
		return -ENOMEM;
	d->dp.ops = &ops;
	ntm_libbpf_log();
	why[0] = 0;
	int err = mkdir(c->runtime_dir, 0755) && errno != EEXIST ? -errno : setup(d, why, cap);
	if (!err) {
		*out = &d->dp;
		return 0;
	}
	if (!why[0])
		snprintf(why, cap, "the relay's data plane: %s", strerror(-err));
	/* What was adopted goes on without an agent; what was half made has no use. */
	if (!d->adopted && d->settings)
		(void)remove_all(d);
	free_dp(d);
	return err;
}

int ntm_relay_dp_bpf_remove(const struct ntm_relay_dp_config *c, char *why, size_t cap)
{
	struct ntm_relay_dp_bpf *d;
	bool lasting;
	why[0] = 0;
	if (access(c->runtime_dir, F_OK))
		return 0; /* nothing was ever there */
	d = new_dp(c);
	if (!d)
		return -ENOMEM;
	ntm_libbpf_log();
	int err = take_lock(d, why, cap);
	if (!err) {
		d->pins = ntm_bpffs_open(d->runtime_dir, &lasting, why, cap);
		err = d->pins < 0 ? d->pins : remove_all(d);
	}
	if (err && !why[0])
		snprintf(why, cap, "can't remove the relay's programs: %s", strerror(-err));
	free_dp(d);
	return err;
}
