/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps of headers/ntm/maps.h as the objects declare them. The agent sets max_entries of those that grow with the
 * number of paths before it loads, and gives both objects the same maps; `bpftool prog loadall` takes them as they are.
 */
#ifndef NTM_MAPS_BPF_H
#define NTM_MAPS_BPF_H

#include <ntm/maps.h>
#include <ntm/reasons.h>

#define NTM_UPLINKS 16
#define NTM_LOCALS 256

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ntm_settings);
} ntm_settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NTM_UPLINKS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ntm_uplink);
} ntm_uplinks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NTM_MAX_PATHS_DEFAULT);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ntm_path);
} ntm_paths SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NTM_MAX_PATHS_DEFAULT);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ntm_path_agent);
} ntm_agent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, NTM_MAX_PATHS_DEFAULT);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __be64);
	__type(value, __u32);
} ntm_path_ids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * NTM_MAX_PATHS_DEFAULT);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ntm_vip);
	__type(value, __u32);
} ntm_vips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, NTM_LOCALS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ntm_vip);
	__type(value, __u32);
} ntm_locals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NTM_R_COUNT);
	__type(key, __u32);
	__type(value, struct ntm_counter);
} ntm_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ntm_lanes);
} ntm_lanes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, NTM_RINGBUF_BYTES);
} ntm_events SEC(".maps");

#endif
