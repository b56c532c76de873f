/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs and maps. Maps are made by the first object, pinned, and given to the second; an agent that finds the pins
 * of an earlier one gives those to both, so that the new programs go on with the old keys, counters and windows.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../common/log.h"
#include "bpffs.h"
#include "dp_internal.h"

#include "node_decap.skel.h"
#include "node_encap.skel.h"
#include "node_ingress.skel.h"
#include "node_lane.skel.h"

static const struct map_spec {
	const char *name;
	uint32_t value_size; /* 0: no check (ring buffer) */
	bool per_path;       /* entries grow with max_paths, times: */
	uint8_t times;
	bool mapped;
} specs[NTM_MAP_COUNT] = {
    [NTM_MAP_SETTINGS] = {"ntm_settings", sizeof(struct ntm_settings), .mapped = true},
    [NTM_MAP_UPLINKS] = {"ntm_uplinks", sizeof(struct ntm_uplink), .mapped = true},
    [NTM_MAP_PATHS] = {"ntm_paths", sizeof(struct ntm_path), true, 1, true},
    [NTM_MAP_PATH_IDS] = {"ntm_path_ids", sizeof(uint32_t), true, 1, false},
    [NTM_MAP_VIPS] = {"ntm_vips", sizeof(uint32_t), true, 2, false},
    [NTM_MAP_LOCALS] = {"ntm_locals", sizeof(uint32_t)},
    [NTM_MAP_COUNTERS] = {"ntm_counters", sizeof(struct ntm_counter)},
    [NTM_MAP_EVENTS] = {"ntm_events", 0},
    [NTM_MAP_AGENT] = {"ntm_agent", sizeof(struct ntm_path_agent), true, 1, true},
    [NTM_MAP_LANES] = {"ntm_lanes", sizeof(struct ntm_lanes), .mapped = true},
};

int ntm_encap_fd(const struct ntm_dp_bpf *d)
{
	return bpf_program__fd(bpf_object__next_program(d->encap->obj, NULL));
}

int ntm_decap_fd(const struct ntm_dp_bpf *d)
{
	return bpf_program__fd(bpf_object__next_program(d->decap->obj, NULL));
}

int ntm_lane_fd(const struct ntm_dp_bpf *d)
{
	return bpf_program__fd(d->lane->progs.node_lane);
}

int ntm_lane_in_fd(const struct ntm_dp_bpf *d)
{
	return bpf_program__fd(d->lane->progs.node_lane_in);
}

int ntm_steer_fd(const struct ntm_dp_bpf *d)
{
	return bpf_program__fd(d->lane->progs.node_steer);
}

static int map_info(int fd, struct bpf_map_info *info)
{
	__u32 len = sizeof(*info);
	memset(info, 0, sizeof(*info));
	return bpf_obj_get_info_by_fd(fd, info, &len);
}

static void *map_mmap(int fd)
{
	struct bpf_map_info info;
	if (map_info(fd, &info))
		return NULL;
	size_t len = (size_t)((info.value_size + 7) & ~7u) * info.max_entries;
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void map_munmap(int fd, void *p)
{
	struct bpf_map_info info;
	if (p && !map_info(fd, &info))
		munmap(p, (size_t)((info.value_size + 7) & ~7u) * info.max_entries);
}

int ntm_maps_mmap(struct ntm_dp_bpf *d)
{
	void **where[NTM_MAP_COUNT] = {[NTM_MAP_SETTINGS] = (void **)&d->settings,
				       [NTM_MAP_UPLINKS] = (void **)&d->uplinks,
				       [NTM_MAP_PATHS] = (void **)&d->paths,
				       [NTM_MAP_AGENT] = (void **)&d->agents,
				       [NTM_MAP_LANES] = (void **)&d->lanes};
	for (int i = 0; i < NTM_MAP_COUNT; i++) {
		if (!where[i] || *where[i])
			continue;
		*where[i] = map_mmap(d->map_fd[i]);
		if (!*where[i])
			return -errno;
	}
	return 0;
}

void ntm_maps_close(struct ntm_dp_bpf *d)
{
	map_munmap(d->map_fd[NTM_MAP_SETTINGS], d->settings);
	map_munmap(d->map_fd[NTM_MAP_UPLINKS], d->uplinks);
	map_munmap(d->map_fd[NTM_MAP_PATHS], d->paths);
	map_munmap(d->map_fd[NTM_MAP_AGENT], d->agents);
	map_munmap(d->map_fd[NTM_MAP_LANES], d->lanes);
	d->settings = NULL;
	d->uplinks = NULL;
	d->paths = NULL;
	d->agents = NULL;
	d->lanes = NULL;
	for (int i = 0; i < NTM_MAP_COUNT; i++) {
		if (d->map_fd[i] >= 0)
			close(d->map_fd[i]);
		d->map_fd[i] = -1;
	}
}

int ntm_maps_adopt(struct ntm_dp_bpf *d, char *why, size_t cap)
{
	char path[NTM_PIN_PATH_LEN];
	int found = 0, err = 0;
	for (int i = 0; i < NTM_MAP_COUNT; i++) {
		d->map_fd[i] = bpf_obj_get(ntm_pin_path(d->pins, specs[i].name, path));
		if (d->map_fd[i] >= 0)
			found++;
		else if (d->map_fd[i] != -ENOENT)
			return d->map_fd[i];
	}
	if (!found)
		return -ENOENT;
	for (int i = 0; i < NTM_MAP_COUNT && !err; i++) {
		struct bpf_map_info info;
		if (d->map_fd[i] < 0) {
			snprintf(why, cap, "%s is missing", specs[i].name);
			err = -ESTALE;
			break;
		}
		err = map_info(d->map_fd[i], &info);
		if (err)
			break;
		uint32_t entries = specs[i].per_path ? specs[i].times * d->n_slots : info.max_entries;
		if ((specs[i].value_size && info.value_size != specs[i].value_size) || info.max_entries != entries ||
		    (i == NTM_MAP_COUNTERS && info.max_entries != NTM_R_COUNT)) {
			snprintf(why, cap, "%s has %u entries of %u bytes, not %u of %u", specs[i].name,
				 info.max_entries, info.value_size, entries, specs[i].value_size);
			err = -ESTALE;
		}
	}
	if (!err && !d->settings) {
		d->settings = map_mmap(d->map_fd[NTM_MAP_SETTINGS]);
		if (!d->settings)
			err = -errno;
		else if (d->settings->layout != NTM_MAPS_LAYOUT) {
			snprintf(why, cap, "its layout is version %u, not %u", d->settings->layout, NTM_MAPS_LAYOUT);
			err = -ESTALE;
		}
	}
	return err;
}

/* Known maps: ours if there are any already, else of the right size. */
static int prepare(struct ntm_dp_bpf *d, struct bpf_object *obj)
{
	for (int i = 0; i < NTM_MAP_COUNT; i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(obj, specs[i].name);
		int err = 0;
		if (!m)
			continue;
		if (d->map_fd[i] >= 0)
			err = bpf_map__reuse_fd(m, d->map_fd[i]);
		else if (specs[i].per_path)
			err = bpf_map__set_max_entries(m, specs[i].times * d->n_slots);
		if (err)
			return err;
	}
	return 0;
}

/* Own descriptors of the maps that obj made: they outlive the object. */
static int take_maps(struct ntm_dp_bpf *d, struct bpf_object *obj)
{
	for (int i = 0; i < NTM_MAP_COUNT; i++) {
		if (d->map_fd[i] >= 0)
			continue;
		struct bpf_map *m = bpf_object__find_map_by_name(obj, specs[i].name);
		if (!m)
			return -ENOENT;
		d->map_fd[i] = dup(bpf_map__fd(m));
		if (d->map_fd[i] < 0)
			return -errno;
	}
	return 0;
}

static int pin_maps(struct ntm_dp_bpf *d)
{
	char path[NTM_PIN_PATH_LEN];
	for (int i = 0; i < NTM_MAP_COUNT; i++) {
		int err = bpf_obj_pin(d->map_fd[i], ntm_pin_path(d->pins, specs[i].name, path));
		if (err && err != -EEXIST)
			return err;
	}
	return 0;
}

static int load_failed(const char *what, int err, char *why, size_t cap)
{
	const char *hint = "";
	if (err == -EPERM)
		hint = " (CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed)";
	else if (err == -ENOENT || err == -ESRCH)
		hint = " (a kernel with BTF is needed: CONFIG_DEBUG_INFO_BTF)";
	else if (err == -EINVAL || err == -EACCES || err == -E2BIG)
		hint = " (Linux 6.1 or newer is needed; NTM_LOG=debug shows the verifier's words)";
	snprintf(why, cap, "the kernel refused %s: %s%s", what, strerror(-err), hint);
	return err;
}

int ntm_programs_load(struct ntm_dp_bpf *d, char *why, size_t cap)
{
	d->decap = node_decap__open();
	d->encap = node_encap__open();
	d->lane = node_lane__open();
	if (!d->decap || !d->encap || !d->lane)
		return load_failed("to read the BPF objects", -errno, why, cap);
	int err = prepare(d, d->decap->obj);
	if (!err)
		err = node_decap__load(d->decap);
	if (!err)
		err = take_maps(d, d->decap->obj);
	if (err)
		return load_failed("node_decap", err, why, cap);
	err = prepare(d, d->encap->obj);
	if (!err)
		err = node_encap__load(d->encap);
	if (err)
		return load_failed("node_encap", err, why, cap);
	err = prepare(d, d->lane->obj);
	if (!err)
		err = node_lane__load(d->lane);
	if (err) {
		/* The kernel lane does without. */
		(void)load_failed("node_lane", err, why, cap);
		ntm_warn("no bulk lane: %s", why);
		why[0] = 0;
		node_lane__destroy(d->lane);
		d->lane = NULL;
	}
	err = pin_maps(d);
	if (!err)
		err = ntm_maps_mmap(d);
	if (err)
		snprintf(why, cap, "can't pin and map the BPF maps: %s", strerror(-err));
	return err;
}

int ntm_ingress_fd(struct ntm_dp_bpf *d)
{
	if (!d->ingress) {
		struct node_ingress *o = node_ingress__open();
		int err = o ? prepare(d, o->obj) : -errno;
		if (!err)
			err = node_ingress__load(o);
		if (err) {
			node_ingress__destroy(o);
			return err;
		}
		d->ingress = o;
	}
	return bpf_program__fd(d->ingress->progs.node_ingress);
}

void ntm_programs_unload(struct ntm_dp_bpf *d)
{
	node_encap__destroy(d->encap);
	node_decap__destroy(d->decap);
	node_lane__destroy(d->lane);
	node_ingress__destroy(d->ingress);
	d->ingress = NULL;
	d->encap = NULL;
	d->decap = NULL;
	d->lane = NULL;
}

struct clear {
	struct ntm_dp_bpf *d;
	int err;
};

static int clear_pin(void *arg, const char *name)
{
	struct clear *c = arg;
	char path[NTM_PIN_PATH_LEN];
	int err = 0;
	uint32_t ingress = ntm_ingress_pin_ifindex(name);
	if (ingress) {
		int fd = bpf_obj_get(ntm_pin_path(c->d->pins, name, path));
		if (fd >= 0)
			err = ntm_detach_ingress(c->d->pins, ingress, fd);
	} else if (ntm_xdp_pin_ifindex(name) || !strcmp(name, NTM_ENCAP_PIN) || !strcmp(name, NTM_LANE_PIN)) {
		int fd = bpf_obj_get(ntm_pin_path(c->d->pins, name, path));
		if (fd >= 0) {
			err = bpf_link_detach(fd);
			close(fd);
			if (err == -ENOLINK || err == -ENODEV || err == -EINVAL)
				err = 0; /* its interface went before it */
		}
	}
	int rm = ntm_pin_remove(c->d->pins, name);
	if (!c->err)
		c->err = err ? err : rm;
	return 0;
}

int ntm_pins_clear(struct ntm_dp_bpf *d)
{
	struct clear c = {.d = d};
	int err = ntm_pin_foreach(d->pins, clear_pin, &c);
	return err ? err : c.err;
}
