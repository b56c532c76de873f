/* SPDX-License-Identifier: BSD-2-Clause */
/* What the maps look like to those who share them, and what a path costs. */
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <criterion/criterion.h>

#include "node_encap.skel.h"
#include "node_decap.skel.h"
#include "fixture.h"

#define PATHS 10000
#define PATH_COST_MAX 2048

static uint64_t map_bytes(int fd)
{
	char name[64], line[128];
	unsigned long long n = 0;
	FILE *file;

	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", fd);
	file = fopen(name, "r");
	cr_assert(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "memlock: %llu", &n) == 1)
			break;
	fclose(file);
	return n;
}

static uint64_t cost(struct fx *f)
{
	static const char *const names[] = {"ntm_paths", "ntm_agent", "ntm_path_ids", "ntm_vips"};
	uint64_t sum = 0;

	for (size_t i = 0; i < 4; i++)
		sum += map_bytes(fx_map_fd(f, names[i]));
	return sum;
}

/*
 * Kernels before 6.4 report the maps' limits instead of what the elements take; an element of a hash without
 * preallocation is then counted by its limit, which is more than there is.
 */
Test(bpf_layout, ten_thousand_paths, .timeout = 60)
{
	static struct fx f;
	uint64_t before, after;
	uint32_t id_n = 0;
	__be64 key, *prev = NULL;
	struct fx_frame p;

	fx_open(&f, FX_ALICE, PATHS + 16);
	before = cost(&f);
	for (uint32_t i = 0; i < PATHS; i++) {
		uint8_t v4[4] = {100, 97, i >> 8, i}, v6[16];

		memcpy(v6, fx_vip6(FX_BOB), 16);
		v6[8] = 1;
		v6[9] = i >> 8;
		v6[10] = i;
		fx_add_path(&f, i + 10, 0xabc0000000000000ull + i, v4, v6);
	}
	after = cost(&f);
	while (!bpf_map_get_next_key(fx_map_fd(&f, "ntm_path_ids"), prev, &key)) {
		prev = &key;
		id_n++;
	}
	cr_expect_eq(id_n, PATHS + 1);
	cr_expect_leq(after, (uint64_t)PATH_COST_MAX * PATHS, "a path costs %lu bytes", (unsigned long)(after / PATHS));
	cr_log_info("10,000 paths: %lu bytes a path, %lu of them for its entries in the hashes\n",
		    (unsigned long)(after / PATHS), (unsigned long)((after - before) / PATHS));

	/* the last one of them works */
	fx_path(&f)->path_id = 0;
	f.paths[PATHS + 9].tx[FX_EPOCH & 1].expires_ns = fx_now() + 60000000000ull;
	f.paths[PATHS + 9].ep[0] = fx_path(&f)->ep[0];
	fx_clear_frame(&f, &p, &(struct fx_inner){.payload = 100});
	p.data[30] = 100;
	p.data[31] = 97;
	p.data[32] = (PATHS - 1) >> 8;
	p.data[33] = (uint8_t)(PATHS - 1);
	cr_expect_eq(fx_encap(&f, &p), 7);
	cr_expect_eq(f.paths[PATHS + 9].tx_packets, 1);
	fx_close(&f);
}

/* The programs' idea of a structure (their BTF) is this compiler's. */
static void same_size(const struct btf *btf, const char *name, size_t size)
{
	int id = btf__find_by_name_kind(btf, name, BTF_KIND_STRUCT);

	cr_assert_gt(id, 0, "%s", name);
	cr_expect_eq(btf__type_by_id(btf, id)->size, size, "%s", name);
}

Test(bpf_layout, same_in_bpf_and_here)
{
	struct node_encap *enc = node_encap__open();
	const struct btf *btf;

	cr_assert(enc);
	btf = bpf_object__btf(enc->obj);
	same_size(btf, "ntm_settings", sizeof(struct ntm_settings));
	same_size(btf, "ntm_uplink", sizeof(struct ntm_uplink));
	same_size(btf, "ntm_path", sizeof(struct ntm_path));
	same_size(btf, "ntm_path_agent", sizeof(struct ntm_path_agent));
	same_size(btf, "ntm_counter", sizeof(struct ntm_counter));
	node_encap__destroy(enc);
}

Test(bpf_layout, maps_are_what_the_contract_says)
{
	static const struct {
		const char *name;
		uint32_t type, key, value, flags;
	} maps[] = {
	    {"ntm_settings", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct ntm_settings), BPF_F_MMAPABLE},
	    {"ntm_uplinks", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct ntm_uplink), BPF_F_MMAPABLE},
	    {"ntm_paths", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct ntm_path), BPF_F_MMAPABLE},
	    {"ntm_agent", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct ntm_path_agent), BPF_F_MMAPABLE},
	    {"ntm_path_ids", BPF_MAP_TYPE_HASH, 8, 4, BPF_F_NO_PREALLOC},
	    {"ntm_vips", BPF_MAP_TYPE_HASH, 16, 4, BPF_F_NO_PREALLOC},
	    {"ntm_locals", BPF_MAP_TYPE_HASH, 16, 4, BPF_F_NO_PREALLOC},
	    {"ntm_counters", BPF_MAP_TYPE_PERCPU_ARRAY, 4, sizeof(struct ntm_counter), 0},
	    {"ntm_events", BPF_MAP_TYPE_RINGBUF, 0, 0, 0},
	};
	struct node_encap *enc = node_encap__open();
	struct node_decap *dec = node_decap__open();

	cr_assert(enc && dec);
	for (size_t i = 0; i < 2 * sizeof(maps) / sizeof(*maps); i++) {
		const char *name = maps[i / 2].name;
		struct bpf_map *m = bpf_object__find_map_by_name(i & 1 ? dec->obj : enc->obj, name);

		cr_assert(m, "%s", name);
		cr_expect_eq(bpf_map__type(m), maps[i / 2].type, "%s", name);
		cr_expect_eq(bpf_map__key_size(m), maps[i / 2].key, "%s", name);
		cr_expect_eq(bpf_map__value_size(m), maps[i / 2].value, "%s", name);
		cr_expect_eq(bpf_map__map_flags(m), maps[i / 2].flags, "%s", name);
	}
	node_encap__destroy(enc);
	node_decap__destroy(dec);
}
