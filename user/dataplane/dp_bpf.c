/* SPDX-License-Identifier: BSD-2-Clause */
/* The BPF data plane: opening, adopting, closing, and the vtable. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../common/addr.h"
#include "../common/crypto.h"
#include "../common/log.h"
#include "../engine/engine.h"
#include "bpffs.h"
#include "dp_internal.h"
#include "engineops.h"

/*
 * Two locks, both gone with the process: on the runtime directory, and an abstract socket address, which are one a
 * network namespace, on the interface.
 */
static int take_locks(struct ntm_dp_bpf *d, char *why, size_t cap)
{
	d->lock_fd = ntm_runtime_lock(d->runtime_dir, "lock", "ntm-node", why, cap);
	if (d->lock_fd < 0)
		return d->lock_fd;
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int n = snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "ntm-node/%s", d->ifname);
	d->claim_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (d->claim_fd < 0)
		return -errno;
	if (bind(d->claim_fd, (struct sockaddr *)&un,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n))) {
		int err = -errno;
		snprintf(why, cap,
			 err == -EADDRINUSE ? "another ntm-node uses %s in this network namespace"
					    : "%s: can't claim it",
			 d->ifname);
		return err == -EADDRINUSE ? -EBUSY : err;
	}
	return 0;
}

static struct ntm_dp_bpf *new_dp(const struct ntm_dp_config *c)
{
	struct ntm_dp_bpf *d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	snprintf(d->ifname, sizeof(d->ifname), "%s", c->ifname);
	snprintf(d->peer_name, sizeof(d->peer_name), "%.14sp", c->ifname);
	snprintf(d->runtime_dir, sizeof(d->runtime_dir), "%s", c->runtime_dir);
	d->port = c->port;
	d->links.mode = c->xdp_mode;
	d->duplicate_ms = c->duplicate_ms;
	d->gateway = c->gateway;
	d->external_xdp = c->external_xdp;
	d->n_slots = (c->max_paths ? c->max_paths : NTM_MAX_PATHS_DEFAULT) + 1;
	snprintf(d->bulk_name, sizeof(d->bulk_name), "%.14sb", c->ifname);
	d->tc_lane.link_fd = d->tc_bulk.link_fd = -1;
	d->lock_fd = d->claim_fd = d->pins = d->inject_fd = d->poll_fd = d->timer_fd = d->tc.link_fd = -1;
	for (int i = 0; i < NTM_MAP_COUNT; i++)
		d->map_fd[i] = -1;
	return d;
}

/* Lets go of everything, in the kernel nothing changes. */
static void free_dp(struct ntm_dp_bpf *d)
{
	ntm_bulk_close(d);
	ntm_events_close(d);
	ntm_programs_unload(d);
	ntm_maps_close(d);
	ntm_xdp_links_close(&d->links);
	ntm_rtnl_close(&d->rtnl);
	int fds[] = {d->tc.link_fd, d->tc_lane.link_fd, d->inject_fd, d->pins, d->claim_fd, d->lock_fd};
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	ntm_general_free(d);
	free(d->free_slots);
	free(d->found);
	free(d);
}

static int clear_old(struct ntm_dp_bpf *d, const char *reason, char *why, size_t cap)
{
	ntm_info("starting anew: %s", reason);
	ntm_maps_close(d);
	int err = ntm_pins_clear(d);
	if (err)
		snprintf(why, cap, "can't remove what an earlier agent left in %s/bpf: %s", d->runtime_dir,
			 strerror(-err));
	return err;
}

/* Decides whether what is pinned and what is there as ntm0 goes on, and leaves either all of it or nothing. */
static int find_old(struct ntm_dp_bpf *d, char *why, size_t cap)
{
	char reason[160] = "";
	bool mine;
	int adopt = ntm_maps_adopt(d, reason, sizeof(reason));
	int found = ntm_ntm0_find(d, &mine);
	if (found && found != -ENODEV)
		return found;
	if (!adopt && !found && mine) {
		d->adopted = true;
		return 0;
	}
	if (!adopt)
		snprintf(reason, sizeof(reason), "%s %s", d->ifname, found ? "is gone" : "is not the one it was");
	else if (!reason[0])
		snprintf(reason, sizeof(reason), "the pinned maps can't be opened: %s", strerror(-adopt));
	int err = adopt == -ENOENT ? 0 : clear_old(d, reason, why, cap);
	if (err || found)
		return err;
	if (strcmp(d->ntm0.kind, "veth")) {
		snprintf(why, cap,
			 "%s exists and is no veth pair of an earlier agent: remove it or choose another name",
			 d->ifname);
		return -EEXIST;
	}
	ntm_info("removing an old %s", d->ifname);
	return ntm_ntm0_remove(d);
}

static void write_settings(struct ntm_dp_bpf *d)
{
	struct ntm_settings *s = d->settings;
	s->port = htobe16(d->port);
	__atomic_store_n(&s->flags, d->gateway ? NTM_SETTINGS_GATEWAY : 0, __ATOMIC_RELEASE);
	if (d->adopted)
		return;
	s->if_ntm0 = d->ntm0.ifindex;
	s->if_ntm0p = d->ntm0p.ifindex;
	memcpy(s->mac_ntm0, d->ntm0.mac, 6);
	memcpy(s->mac_ntm0p, d->ntm0p.mac, 6);
	s->max_paths = d->n_slots;
	__atomic_store_n(&s->layout, NTM_MAPS_LAYOUT, __ATOMIC_RELEASE);
}

static int ingress_prog(void *arg)
{
	return ntm_ingress_fd(arg);
}

static int adopt_links(struct ntm_dp_bpf *d)
{
	d->links.tc_prog = ingress_prog;
	d->links.tc_arg = d;
	d->links.pins = d->pins;
	d->links.prog_fd = ntm_decap_fd(d);
	d->links.rtnl = &d->rtnl;
	d->links.native = &d->settings->native; /* bpf/lib/hook_xdp.h says what for */
	return ntm_xdp_links_adopt(&d->links);
}

static int setup(struct ntm_dp_bpf *d, bool bulk, char *why, size_t cap)
{
	bool lasting;
	int err = take_locks(d, why, cap);
	if (err)
		return err;
	err = ntm_rtnl_open(&d->rtnl);
	if (err)
		return err;
	d->pins = ntm_bpffs_open(d->runtime_dir, &lasting, why, cap);
	if (d->pins < 0)
		return d->pins;
	if (!lasting)
		ntm_warn("%s/bpf is mounted in a private mount namespace: a restarted agent will not find its paths",
			 d->runtime_dir);
	err = find_old(d, why, cap);
	if (!err && !d->adopted)
		err = ntm_general_clear(d);
	if (!err && !d->adopted)
		err = ntm_ntm0_create(d, why, cap);
	if (err)
		return err;
	err = ntm_programs_load(d, why, cap);
	if (err)
		return err;
	write_settings(d);
	err = ntm_events_init(d);
	if (!err)
		err = ntm_paths_init(d);
	if (!err)
		err = ntm_inject_open(d);
	if (!err)
		err = adopt_links(d);
	if (err)
		return err;
	err = ntm_attach_tc(d->pins, NTM_ENCAP_PIN, d->ntm0p.ifindex, NTM_TC_INGRESS, ntm_encap_fd(d), true, &d->tc);
	if (err)
		snprintf(why, cap, "can't attach to tc ingress of %s: %s", d->peer_name, strerror(-err));
	else if (d->lane)
		err = ntm_attach_tc(d->pins, NTM_LANE_PIN, d->ntm0.ifindex, NTM_TC_EGRESS, ntm_lane_fd(d), true,
				    &d->tc_lane);
	if (err && !why[0])
		snprintf(why, cap, "can't attach to tc egress of %s: %s", d->ifname, strerror(-err));
	if (!err && bulk && d->lane)
		ntm_bulk_init(d);
	if (!err)
		ntm_events_rearm(d);
	return err;
}

/* Detaches, deletes, unpins. Returns the first error, having tried everything. */
static int remove_all(struct ntm_dp_bpf *d)
{
	int first = 0, err;
	ntm_bulk_close(d);
	if (d->ntm0.ifindex && d->tc_lane.ifindex)
		(void)ntm_detach_tc(d->pins, NTM_LANE_PIN, &d->tc_lane);
	if (d->ntm0p.ifindex && d->tc.ifindex)
		first = ntm_detach_tc(d->pins, NTM_ENCAP_PIN, &d->tc);
	err = ntm_general_clear(d);
	first = first ? first : err;
	err = ntm_pins_clear(d);
	first = first ? first : err;
	if (d->ntm0.ifindex) {
		err = ntm_ntm0_remove(d);
		first = first ? first : err;
	}
	for (uint32_t slot = 1; d->paths && d->agents && slot < d->n_slots; slot++) {
		if (!d->paths[slot].path_id)
			continue;
		ntm_wipe(&d->paths[slot], sizeof(d->paths[slot]));
		ntm_wipe(&d->agents[slot], sizeof(d->agents[slot]));
	}
	close(d->pins);
	d->pins = -1;
	err = ntm_bpffs_remove(d->runtime_dir);
	/* An agent that gave up CAP_SYS_ADMIN leaves an empty bpffs to the next one. */
	if (err && err != -EPERM && err != -EACCES && !first)
		first = err;
	return first;
}

static bool op_adopted(struct ntm_dp *dp)
{
	return ntm_dpb(dp)->adopted;
}

static void op_foreach(struct ntm_dp *dp, void (*fn)(void *arg, const struct ntm_dp_path *p), void *arg)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	for (uint32_t slot = 1; slot < d->n_slots; slot++) {
		struct ntm_dp_path p;
		if (!d->paths[slot].path_id)
			continue;
		ntm_path_fill(&d->paths[slot], &p);
		fn(arg, &p);
	}
}

static int op_get_addresses(struct ntm_dp *dp, struct ntm_dp_addresses *a)
{
	return ntm_settings_get_addresses(ntm_dpb(dp)->settings, a);
}

static int op_set_addresses(struct ntm_dp *dp, const struct ntm_dp_addresses *a)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	struct ntm_dp_addresses old;
	if (ntm_addresses_check(a))
		return -EINVAL;
	bool had = !op_get_addresses(dp, &old);
	bool same = had && !memcmp(old.vip4, a->vip4, 4) && !memcmp(old.vip6, a->vip6, 16);
	int err = ntm_ntm0_addresses(d, had ? &old : NULL, a);
	if (err)
		return err;
	ntm_settings_set_addresses(d->settings, a);
	/* The kernel dropped the routes that preferred the old source. */
	for (uint32_t slot = 1; had && !same && !err && slot < d->n_slots; slot++)
		if (d->paths[slot].path_id && ntm_path_is_active(d, slot))
			err = ntm_path_routes(d, &d->paths[slot]);
	if (!err && !same && d->general.n) {
		const struct ntm_dp_general g = d->general;
		err = ntm_dp_set_general(dp, &g);
	}
	return err;
}

static int op_stats(struct ntm_dp *dp, uint64_t path_id, struct ntm_dp_stats *out)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	uint32_t slot = ntm_path_slot(d, path_id);
	if (!slot)
		return -ENOENT;
	ntm_path_stats(&d->paths[slot], out);
	ntm_dp_engine_stats(d->engine, slot, out);
	return 0;
}

static int op_endpoint(struct ntm_dp *dp, uint64_t path_id, struct ntm_addr *ep)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	uint32_t slot = ntm_path_slot(d, path_id);
	if (!slot)
		return -ENOENT;
	ntm_path_endpoint(&d->paths[slot], ep);
	return 0;
}

static int op_counters(struct ntm_dp *dp, struct ntm_counter *out)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	struct ntm_counter sum[NTM_R_COUNT];
	int cpus = libbpf_num_possible_cpus();
	if (cpus < 0)
		return cpus;
	struct ntm_counter *per_cpu = calloc((size_t)cpus, sizeof(*per_cpu));
	if (!per_cpu)
		return -ENOMEM;
	int err = 0;
	for (uint32_t r = 0; r < NTM_R_COUNT && !err; r++) {
		sum[r] = d->counts[r];
		err = bpf_map_lookup_elem(d->map_fd[NTM_MAP_COUNTERS], &r, per_cpu);
		for (int i = 0; i < cpus; i++) {
			sum[r].packets += per_cpu[i].packets;
			sum[r].bytes += per_cpu[i].bytes;
		}
	}
	free(per_cpu);
	if (!err && d->engine)
		ntm_engine_counters(d->engine, sum);
	if (!err)
		memcpy(out, sum, sizeof(sum));
	return err;
}

static struct ntm_path_agent *op_agent_record(struct ntm_dp *dp, uint64_t path_id)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	uint32_t slot = ntm_path_slot(d, path_id);
	return slot ? &d->agents[slot] : NULL;
}

static int op_fd(struct ntm_dp *dp)
{
	return ntm_dpb(dp)->poll_fd;
}

static void op_close(struct ntm_dp *dp, bool keep)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	if (!keep) {
		int err = remove_all(d);
		if (err)
			ntm_err("can't remove %s and its programs: %s", d->ifname, strerror(-err));
	}
	free_dp(d);
}

static const struct ntm_dp_ops ops = {
    .adopted = op_adopted,
    .foreach = op_foreach,
    .set_addresses = op_set_addresses,
    .get_addresses = op_get_addresses,
    .set_uplinks = ntm_dp_set_uplinks,
    .set_general = ntm_dp_set_general,
    .add_path = ntm_dp_add_path,
    .set_keys = ntm_dp_set_keys,
    .activate = ntm_dp_activate,
    .set_endpoint = ntm_dp_set_endpoint,
    .set_mtu = ntm_dp_set_mtu,
    .del_path = ntm_dp_del_path,
    .stats = op_stats,
    .endpoint = op_endpoint,
    .counters = op_counters,
    .agent_record = op_agent_record,
    .seal = ntm_dp_seal,
    .open = ntm_dp_open_datagram,
    .start = ntm_dp_start,
    .fd = op_fd,
    .dispatch = ntm_dp_dispatch,
    .close = op_close,
};

int ntm_dp_bpf_open(struct ntm_dp **out, const struct ntm_dp_config *c, const struct ntm_dp_events *ev, void *arg,
		    char *why, size_t cap)
{
	if (!c->ifname[0] || strlen(c->ifname) + 1 >= IFNAMSIZ || strlen(c->runtime_dir) >= PATH_MAX - 16) {
		snprintf(why, cap, "the interface's name has to be 1 to %d characters", IFNAMSIZ - 2);
		return -EINVAL;
	}
	struct ntm_dp_bpf *d = new_dp(c);
	if (!d)
		return -ENOMEM;
	d->dp = (struct ntm_dp){.ops = &ops, .events = ev, .arg = arg};
	ntm_libbpf_log();
	why[0] = 0;
	int err = mkdir(c->runtime_dir, 0755) && errno != EEXIST ? -errno : setup(d, c->bulk, why, cap);
	if (!err) {
		*out = &d->dp;
		return 0;
	}
	if (!why[0])
		snprintf(why, cap, "data plane on %s: %s", d->ifname, strerror(-err));
	/* What was adopted goes on without an agent; what was half made has no use. */
	if (!d->adopted && d->pins >= 0 && d->settings)
		(void)remove_all(d);
	free_dp(d);
	return err;
}

int ntm_dp_bpf_decap_fd(struct ntm_dp *dp)
{
	return ntm_decap_fd(ntm_dpb(dp));
}

int ntm_dp_bpf_remove(const struct ntm_dp_config *c, char *why, size_t cap)
{
	struct ntm_dp_bpf *d = new_dp(c);
	bool lasting;
	if (!d)
		return -ENOMEM;
	ntm_libbpf_log();
	why[0] = 0;
	int err = take_locks(d, why, cap);
	if (err == -ENOENT) { /* no runtime directory: nothing was ever there but perhaps the interface */
		err = 0;
		why[0] = 0;
	}
	if (!err)
		err = ntm_rtnl_open(&d->rtnl);
	if (!err && access(d->runtime_dir, F_OK) == 0)
		d->pins = ntm_bpffs_open(d->runtime_dir, &lasting, why, cap);
	if (!err && d->pins >= 0) {
		(void)ntm_maps_adopt(d, why, cap);
		why[0] = 0;
		for (int i = 0; i < NTM_MAP_COUNT; i++)
			if (d->map_fd[i] < 0)
				d->map_fd[i] = -1;
	}
	bool mine = false;
	int found = err ? err : ntm_ntm0_find(d, &mine);
	if (!err && found && found != -ENODEV)
		err = found;
	if (!err && !found && strcmp(d->ntm0.kind, "veth")) {
		snprintf(why, cap, "%s is no veth pair of an agent: left alone", d->ifname);
		err = -EEXIST;
		d->ntm0.ifindex = 0;
	}
	if (d->pins >= 0) {
		int rm = remove_all(d);
		err = err ? err : rm;
	} else if (!err) {
		err = ntm_general_clear(d);
		int rm = found ? 0 : ntm_ntm0_remove(d);
		err = err ? err : rm;
	}
	if (err && !why[0])
		snprintf(why, cap, "can't remove %s: %s", d->ifname, strerror(-err));
	free_dp(d);
	return err;
}
