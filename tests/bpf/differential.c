/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The programs in the kernel (BPF_PROG_TEST_RUN) against the same programs compiled for this machine: on the same
 * packets and the same contents of maps both must come to the same verdict, packet, counters, events and paths. Inputs
 * are tests/fuzz/corpus/fuzz_programs and NTM_MUTATIONS (600) changed ones of each; NTM_SEED=N: those of that seed.
 */
#include <dirent.h>
#include <net/if.h>
#include <sched.h>

#include "relay_rig.h"
#include "../native/scene.h"

#define CORPUS "tests/fuzz/corpus/fuzz_programs/"
#define INPUT_MAX 8192
#define INPUTS 256
#define VALUE_MAX 2048
/* After a longer pause a token bucket is not another one's equal: again, and in the end without. */
#define PAUSE_NS 50000000ull
#define TRIES 20

static struct input {
	uint8_t data[INPUT_MAX];
	size_t size;
	char name[256];
} inputs[INPUTS];
static size_t n_inputs;

static bool is_relay;
static struct fx node;
static const char *now_at; /* for messages */
static unsigned long long seed;
static unsigned long n_left; /* inputs not compared */
static uint64_t chance;      /* splitmix64 */

static uint64_t rnd(uint64_t below)
{
	uint64_t z = (chance += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (z ^ z >> 31) % below;
}

static int map_fd(const char *name)
{
	return is_relay ? bpf_object__find_map_fd_by_name(rig.skel->obj, name) : fx_map_fd(&node, name);
}

static bool is_percpu(const struct native_decl *d)
{
	return d->type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

/* What the kernel has for each processor, its sum in *value. */
static int read_value(const struct native_decl *d, const void *key, void *value)
{
	size_t cpus = is_percpu(d) ? (size_t)libbpf_num_possible_cpus() : 1, words = d->value_size / 8;
	uint64_t v[cpus * (d->value_size / 8 + 1)], *sum = value;

	if (bpf_map_lookup_elem(map_fd(d->name), key, v))
		return -1;
	if (!is_percpu(d)) {
		memcpy(value, v, d->value_size);
		return 0;
	}
	memset(value, 0, d->value_size);
	for (size_t i = 0; i < cpus * words; i++)
		sum[i % words] += v[i];
	return 0;
}

static void to_kernel(void *arg, const struct native_decl *d, const void *key, void *value)
{
	size_t cpus = is_percpu(d) ? (size_t)libbpf_num_possible_cpus() : 1;
	uint8_t v[cpus * VALUE_MAX];
	int err;
	(void)arg;

	if (map_fd(d->name) < 0)
		return;
	memset(v, 0, sizeof(v));
	memcpy(v, value, d->value_size); /* one processor's; the others have nothing */
	err = bpf_map_update_elem(map_fd(d->name), key, v, BPF_ANY);
	cr_assert_eq(err, 0, "%s: %s", d->name, strerror(-err));
}

static void forget(void *arg, const struct native_decl *d, const void *key, void *value)
{
	(void)arg;
	(void)value;
	if (map_fd(d->name) >= 0 && (d->type == BPF_MAP_TYPE_HASH || d->type == BPF_MAP_TYPE_LRU_HASH))
		bpf_map_delete_elem(map_fd(d->name), key);
}

#define IS(map) (!strcmp(d->name, map))

/* Both have clocks of their own: of a time remains whether there is one, or how far away it is. */
static void without_times(const struct native_decl *d, void *value)
{
	if (IS("ntm_paths")) {
		struct ntm_path *p = value;

		p->last_tx_ns = !!p->last_tx_ns;
		p->last_rx_ns = !!p->last_rx_ns;
		for (int i = 0; i < NTM_EPOCHS; i++)
			p->rx[i].expires_ns = !p->rx[i].expires_ns                                    ? 0
					      : p->rx[i].expires_ns > native_boot_ns + 60000000000ull ? 2
												      : 1;
	} else if (IS("ntm_upcall_tat") || IS("ntm_quiet") || IS("ntm_relay_buckets")) {
		*(uint64_t *)value = !!*(uint64_t *)value;
	} else if (IS("ntm_relay_paths")) {
		struct ntm_relay_path *p = value;

		p->last = !!p->last;
		for (int i = 0; i < 2; i++)
			p->hop[i] &= 0x80000fff;
	} else if (IS("ntm_relay_accounts")) {
		((struct ntm_relay_account *)value)->tat_ns = 0;
		((struct ntm_relay_account *)value)->bind_tat = 0;
	} else if (IS("ntm_relay_hops")) {
		((struct ntm_relay_hop *)value)->used = 0;
	}
}

static void compare(void *arg, const struct native_decl *d, const void *key, void *value)
{
	uint8_t want[VALUE_MAX], got[VALUE_MAX];
	uint32_t index;
	(void)arg;

	if (map_fd(d->name) < 0)
		return;
	memcpy(want, value, d->value_size);
	memcpy(&index, key, sizeof(index));
	cr_assert_eq(read_value(d, key, got), 0, "%s: %s: no entry %u in the kernel", now_at, d->name, index);
	without_times(d, want);
	without_times(d, got);
	for (size_t i = 0; i < d->value_size; i++)
		cr_assert_eq(got[i], want[i], "%s: %s[%u]: byte %zu is %02x in the kernel, %02x natively", now_at,
			     d->name, index, i, got[i], want[i]);
}

static void compare_events(void)
{
	cr_assert_eq(node.n_events, native_n_events, "%s: %zu events of the kernel, %u natively", now_at, node.n_events,
		     native_n_events);
	for (unsigned i = 0; i < native_n_events; i++) {
		const struct ntm_event *want = native_events[i].data;

		cr_assert_arr_eq(&node.events[i], want, NTM_EVENT_HDR_LEN + want->len, "%s: event %u", now_at, i);
	}
}

/* Linux 6.18 makes no packet of what ends before the IP header that it begins does. */
static bool is_refused(const struct scene *s, int err)
{
	return s->program == SCENE_ENCAP && s->len < 14 + 40 && err == -EINVAL;
}

/* The verdict, or -1: there is no such packet. */
static int run_kernel(const struct scene *s, struct fx_frame *out)
{
	struct xdp_md md = {.data_end = (uint32_t)s->len, .ingress_ifindex = scene_nics[0]};
	LIBBPF_OPTS(bpf_test_run_opts, t, .data_in = s->frame, .data_size_in = (uint32_t)s->len, .data_out = out->data,
		    .data_size_out = sizeof(out->data), .repeat = 1);
	int fd = is_relay ? rig.prog : s->program == SCENE_DECAP ? node.decap_fd : node.encap_fd, err;

	if (is_relay) {
		t.ctx_in = &md;
		t.ctx_size_in = sizeof(md);
	}
	err = bpf_prog_test_run_opts(fd, &t);
	if (is_refused(s, err))
		return -1;
	cr_assert_eq(err, 0, "%s: test run of %zu bytes: %s", now_at, s->len, strerror(-err));
	out->len = t.data_size_out;
	return (int)t.retval;
}

/* 0, or 1: it took too long to be compared. */
static int play(const struct input *in)
{
	static struct scene s;
	static struct fx_frame out;
	uint64_t begin;

	native_each(forget, NULL);
	native_boot_ns = fx_now();
	native_coarse_ns = native_boot_ns;
	if (scene_begin(&s, in->data, in->size))
		return 0;
	native_each(to_kernel, NULL);
	node.n_events = 0;
	begin = fx_now();
	while (scene_next(&s)) {
		int kernel = run_kernel(&s, &out), native;

		if (kernel < 0)
			continue;
		native = scene_run(&s);
		if (fx_now() - begin > PAUSE_NS)
			return 1;
		cr_assert_eq(kernel, native, "%s: frame %u: verdict %d in the kernel, %d natively", now_at, s.n, kernel,
			     native);
		cr_assert_eq(out.len, s.len, "%s: frame %u: %zu bytes out of the kernel, %zu natively", now_at, s.n,
			     out.len, s.len);
		cr_assert_arr_eq(out.data, s.frame, s.len, "%s: frame %u: other bytes", now_at, s.n);
	}
	if (!is_relay) {
		ring_buffer__consume(node.ring);
		compare_events();
	}
	native_each(compare, NULL);
	return 0;
}

static void both(const struct input *in, const char *what, unsigned long n)
{
	static char text[400];

	snprintf(text, sizeof(text), "%s%s%s, input %lu of NTM_SEED=%llu", in->name, *what ? ", " : "", what, n, seed);
	now_at = text;
	for (int tries = 0; play(in); tries++)
		if (tries == TRIES) {
			n_left++;
			return;
		}
}

/* Values that programs look for, or where something changes. */
static void change(struct input *in)
{
	static const uint8_t odd[] = {0,    1,    4,    5,    6,    7,    8,    14,   15,   16,   17,   20,  32,
				      0x40, 0x45, 0x46, 0x60, 0x64, 0x7f, 0x80, 0x81, 0x88, 0x9b, 0xfe, 0xff};
	size_t at = in->size > 4 ? 1 + rnd(in->size - 1) : 0, n;

	if (!at)
		return;
	/* headers are what is at the beginning */
	if (rnd(4))
		at = at % 110 + 1 < in->size ? at % 110 + 1 : at;
	n = 1 + rnd(16);
	switch (rnd(8)) {
	case 0:
		in->data[at] ^= (uint8_t)(1u << rnd(8));
		break;
	case 1:
		in->data[at] = (uint8_t)rnd(256);
		break;
	case 2:
	case 3:
		in->data[at] = odd[rnd(sizeof(odd))];
		break;
	case 4: /* shorter */
		if (at + n < in->size) {
			memmove(in->data + at, in->data + at + n, in->size - at - n);
			in->size -= n;
		}
		break;
	case 5: /* longer, by a copy of what is there */
		if (at + n < in->size && in->size + n < INPUT_MAX) {
			memmove(in->data + at + n, in->data + at, in->size - at);
			in->size += n;
		}
		break;
	case 6: /* another length of the frame, the flags as well */
		in->data[4 + rnd(3)] = (uint8_t)rnd(256);
		break;
	default: /* other contents of maps */
		in->data[1 + rnd(3)] ^= (uint8_t)(1u << rnd(8));
	}
}

static void load_corpus(void)
{
	struct dirent **names;
	int n = scandir(CORPUS, &names, NULL, alphasort);

	cr_assert_gt(n, 2, "%s: %s", CORPUS, strerror(errno));
	for (int i = 0; i < n && n_inputs < INPUTS; i++) {
		struct input *in = &inputs[n_inputs];
		char path[512];
		FILE *f;

		snprintf(path, sizeof(path), CORPUS "%s", names[i]->d_name);
		f = names[i]->d_name[0] == '.' ? NULL : fopen(path, "rb");
		if (!f)
			continue;
		in->size = fread(in->data, 1, INPUT_MAX, f);
		fclose(f);
		snprintf(in->name, sizeof(in->name), "%s", names[i]->d_name);
		if (in->size > 4 && (in->data[0] % SCENE_PROGRAMS == SCENE_RELAY) == is_relay)
			n_inputs++;
	}
	cr_assert_gt(n_inputs, 0);
}

static void compare_all(void)
{
	const char *text = getenv("NTM_SEED"), *count = getenv("NTM_MUTATIONS");
	const char *scale = getenv("NTM_TIME_SCALE");
	unsigned long n = count ? strtoul(count, NULL, 10) : 600 / (scale ? strtoul(scale, NULL, 10) : 1), k = 0;
	static struct input changed;

	seed = text ? strtoull(text, NULL, 10) : fx_now();
	chance = seed;
	load_corpus();
	for (size_t i = 0; i < n_inputs; i++)
		both(&inputs[i], "", 0);
	for (size_t i = 0; k < n; i = (i + 1) % n_inputs) {
		changed = inputs[i];
		for (uint64_t c = 1 + rnd(6); c; c--)
			change(&changed);
		changed.data[0] = inputs[i].data[0];
		both(&changed, "changed", ++k);
	}
	printf("%zu inputs of the corpus and %lu changed ones, NTM_SEED=%llu; too slow to compare: %lu\n", n_inputs, k,
	       seed, n_left);
	cr_assert_lt(2 * n_left, n_inputs + k);
}

Test(differential, node)
{
	scene_init();
	cr_assert(!geteuid() || (cr_skip_test("needs root to load BPF programs"), 0));
	cr_assert_eq(unshare(CLONE_NEWNET), 0); /* copies of packets go into lo */
	fx_open(&node, FX_ALICE, SCENE_PATHS);
	scene_nics[0] = FX_IFINDEX;
	compare_all();
	fx_close(&node);
}

Test(differential, relay)
{
	is_relay = true;
	scene_init();
	rig_up();
	scene_nics[0] = rig.nic[0];
	scene_nics[1] = rig.nic[1];
	compare_all();
	rig_down();
}
