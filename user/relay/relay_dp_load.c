/* SPDX-License-Identifier: BSD-2-Clause */
/* The relay's program and maps: loaded, pinned, and found again by the next agent. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../dataplane/attach.h"
#include "../dataplane/bpffs.h"
#include "relay_dp_internal.h"

#include "relay.skel.h"

static const struct map_spec {
	const char *name;
	uint32_t value_size;
	bool per_slot;
} specs[NTM_RMAP_COUNT] = {
    [NTM_RMAP_SETTINGS] = {"ntm_relay_settings", sizeof(struct ntm_relay_settings)},
    [NTM_RMAP_PATHS] = {"ntm_relay_paths", sizeof(struct ntm_relay_path), true},
    [NTM_RMAP_ACCOUNTS] = {"ntm_relay_accounts", sizeof(struct ntm_relay_account), true},
    [NTM_RMAP_AGENT] = {"ntm_relay_agent", sizeof(struct ntm_relay_agent), true},
    [NTM_RMAP_HOPS] = {"ntm_relay_hops", sizeof(struct ntm_relay_hop)},
    [NTM_RMAP_UPLINKS] = {"ntm_relay_uplinks", sizeof(struct ntm_relay_uplink)},
    [NTM_RMAP_FORMER] = {"ntm_relay_former", sizeof(struct ntm_relay_former)},
    [NTM_RMAP_LOCALS] = {"ntm_relay_locals", sizeof(uint32_t)},
    [NTM_RMAP_COUNTERS] = {"ntm_relay_counters", sizeof(struct ntm_counter)},
    [NTM_RMAP_BUCKETS] = {"ntm_relay_buckets", sizeof(uint64_t)},
    [NTM_RMAP_NEXT] = {"ntm_relay_next", sizeof(uint32_t)},
};

int ntm_relay_program_fd(const struct ntm_relay_dp_bpf *d)
{
	return bpf_program__fd(d->skel->progs.relay);
}

static int map_info(int fd, struct bpf_map_info *info)
{
	__u32 len = sizeof(*info);
	memset(info, 0, sizeof(*info));
	return bpf_obj_get_info_by_fd(fd, info, &len);
}

static size_t map_len(const struct bpf_map_info *info)
{
	return (size_t)((info->value_size + 7) & ~7u) * info->max_entries;
}

static int map_memory(int fd, void **where)
{
	struct bpf_map_info info;
	int err = *where ? 0 : map_info(fd, &info);
	if (err || *where)
		return err;
	void *p = mmap(NULL, map_len(&info), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*where = p;
	return 0;
}

static void unmap_memory(int fd, void **where)
{
	struct bpf_map_info info;
	if (*where && !map_info(fd, &info))
		munmap(*where, map_len(&info));
	*where = NULL;
}

void ntm_relay_maps_close(struct ntm_relay_dp_bpf *d)
{
	unmap_memory(d->map_fd[NTM_RMAP_SETTINGS], (void **)&d->settings);
	unmap_memory(d->map_fd[NTM_RMAP_PATHS], (void **)&d->paths);
	unmap_memory(d->map_fd[NTM_RMAP_ACCOUNTS], (void **)&d->accounts);
	unmap_memory(d->map_fd[NTM_RMAP_AGENT], (void **)&d->agents);
	unmap_memory(d->map_fd[NTM_RMAP_UPLINKS], (void **)&d->uplinks);
	for (int i = 0; i < NTM_RMAP_COUNT; i++) {
		if (d->map_fd[i] >= 0)
			close(d->map_fd[i]);
		d->map_fd[i] = -1;
	}
}

static int map_all_memory(struct ntm_relay_dp_bpf *d)
{
	int err = map_memory(d->map_fd[NTM_RMAP_SETTINGS], (void **)&d->settings);
	if (!err)
		err = map_memory(d->map_fd[NTM_RMAP_PATHS], (void **)&d->paths);
	if (!err)
		err = map_memory(d->map_fd[NTM_RMAP_ACCOUNTS], (void **)&d->accounts);
	if (!err)
		err = map_memory(d->map_fd[NTM_RMAP_AGENT], (void **)&d->agents);
	return err ? err : map_memory(d->map_fd[NTM_RMAP_UPLINKS], (void **)&d->uplinks);
}

static int check_map(const struct ntm_relay_dp_bpf *d, int i, char *why, size_t cap)
{
	struct bpf_map_info info;
	if (d->map_fd[i] < 0) {
		snprintf(why, cap, "%s is missing", specs[i].name);
		return -ESTALE;
	}
	int err = map_info(d->map_fd[i], &info);
	if (err)
		return err;
	uint32_t entries = specs[i].per_slot        ? d->slots
			   : i == NTM_RMAP_COUNTERS ? (uint32_t)NTM_RR_COUNT
			   : i == NTM_RMAP_BUCKETS  ? (uint32_t)NTM_RB_COUNT
						    : info.max_entries;
	if (info.value_size == specs[i].value_size && info.max_entries == entries)
		return 0;
	snprintf(why, cap, "%s has %u entries of %u bytes, not %u of %u", specs[i].name, info.max_entries,
		 info.value_size, entries, specs[i].value_size);
	return -ESTALE;
}

int ntm_relay_maps_adopt(struct ntm_relay_dp_bpf *d, char *why, size_t cap)
{
	char path[NTM_PIN_PATH_LEN];
	int found = 0, err = 0;
	for (int i = 0; i < NTM_RMAP_COUNT; i++) {
		d->map_fd[i] = bpf_obj_get(ntm_pin_path(d->pins, specs[i].name, path));
		if (d->map_fd[i] >= 0)
			found++;
		else if (d->map_fd[i] != -ENOENT)
			return d->map_fd[i];
	}
	if (!found)
		return -ENOENT;
	for (int i = 0; i < NTM_RMAP_COUNT && !err; i++)
		err = check_map(d, i, why, cap);
	if (!err)
		err = map_memory(d->map_fd[NTM_RMAP_SETTINGS], (void **)&d->settings);
	if (!err && d->settings->layout != NTM_RELAY_LAYOUT) {
		snprintf(why, cap, "its layout is version %u, not %u", d->settings->layout, NTM_RELAY_LAYOUT);
		err = -ESTALE;
	}
	return err;
}

/* Known maps: ours if there are any already, else of the right size. */
static int prepare(struct ntm_relay_dp_bpf *d)
{
	for (int i = 0; i < NTM_RMAP_COUNT; i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(d->skel->obj, specs[i].name);
		int err = m ? 0 : -ENOENT;
		if (!err && d->map_fd[i] >= 0)
			err = bpf_map__reuse_fd(m, d->map_fd[i]);
		else if (!err && specs[i].per_slot)
			err = bpf_map__set_max_entries(m, d->slots);
		if (err)
			return err;
	}
	return 0;
}

/* Own descriptors, and pins: the maps outlive the object, and the agent. */
static int take_maps(struct ntm_relay_dp_bpf *d)
{
	char path[NTM_PIN_PATH_LEN];
	for (int i = 0; i < NTM_RMAP_COUNT; i++) {
		if (d->map_fd[i] < 0) {
			d->map_fd[i] = dup(bpf_map__fd(bpf_object__find_map_by_name(d->skel->obj, specs[i].name)));
			if (d->map_fd[i] < 0)
				return -errno;
		}
		int err = bpf_obj_pin(d->map_fd[i], ntm_pin_path(d->pins, specs[i].name, path));
		if (err && err != -EEXIST)
			return err;
	}
	return map_all_memory(d);
}

static int load_failed(int err, char *why, size_t cap)
{
	const char *hint = "";
	if (err == -EPERM)
		hint = " (CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed)";
	else if (err == -ENOENT || err == -ESRCH)
		hint = " (a kernel with BTF is needed: CONFIG_DEBUG_INFO_BTF)";
	else if (err == -EINVAL || err == -EACCES || err == -E2BIG)
		hint = " (Linux 6.1 or newer is needed; NTM_LOG=debug shows the verifier's words)";
	snprintf(why, cap, "the kernel refused the relay's program: %s%s", strerror(-err), hint);
	return err;
}

int ntm_relay_program_load(struct ntm_relay_dp_bpf *d, char *why, size_t cap)
{
	d->skel = relay__open();
	if (!d->skel)
		return load_failed(-errno, why, cap);
	int err = prepare(d);
	if (!err)
		err = relay__load(d->skel);
	if (err)
		return load_failed(err, why, cap);
	err = take_maps(d);
	if (err)
		snprintf(why, cap, "can't pin and map the relay's BPF maps: %s", strerror(-err));
	return err;
}

void ntm_relay_program_unload(struct ntm_relay_dp_bpf *d)
{
	relay__destroy(d->skel);
	d->skel = NULL;
}

struct clear {
	struct ntm_relay_dp_bpf *d;
	int err;
};

static int clear_pin(void *arg, const char *name)
{
	struct clear *c = arg;
	char path[NTM_PIN_PATH_LEN];
	int err = 0;
	if (ntm_xdp_pin_ifindex(name)) {
		int fd = bpf_obj_get(ntm_pin_path(c->d->pins, name, path));
		if (fd >= 0) {
			err = bpf_link_detach(fd);
			close(fd);
			if (err == -ENOLINK || err == -ENODEV || err == -EINVAL)
				err = 0; /* its interface went before it */
		}
	} else if (strncmp(name, "ntm_relay_", 10) != 0) {
		return 0;
	}
	int rm = ntm_pin_remove(c->d->pins, name);
	if (!c->err)
		c->err = err ? err : rm;
	return 0;
}

int ntm_relay_pins_clear(struct ntm_relay_dp_bpf *d)
{
	struct clear c = {.d = d};
	int err = ntm_pin_foreach(d->pins, clear_pin, &c);
	return err ? err : c.err;
}
