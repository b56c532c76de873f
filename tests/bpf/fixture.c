/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <criterion/criterion.h>

#include <ntm/types.h>
#include "node_encap.skel.h"
#include "node_decap.skel.h"
#include "node_ingress.skel.h"
#include "fixture.h"

static const char *const shared[] = {
    "ntm_settings", "ntm_uplinks", "ntm_paths",    "ntm_agent",  "ntm_path_ids",
    "ntm_vips",     "ntm_locals",  "ntm_counters", "ntm_events",
};

uint64_t fx_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

struct ntm_path *fx_path(struct fx *f)
{
	return &f->paths[FX_SLOT];
}

int fx_map_fd(struct fx *f, const char *name)
{
	return bpf_object__find_map_fd_by_name(f->enc->obj, name);
}

static void *map_memory(struct fx *f, const char *name, size_t value, uint32_t entries)
{
	size_t page = sysconf(_SC_PAGESIZE), len = (value * entries + page - 1) / page * page;
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fx_map_fd(f, name), 0);

	cr_assert_neq(p, MAP_FAILED, "mmap %s: %s", name, strerror(errno));
	return p;
}

static int on_event(void *arg, void *data, size_t len)
{
	struct fx *f = arg;

	if (f->n_events < FX_EVENTS) {
		memset(&f->events[f->n_events], 0xee, sizeof(*f->events));
		memcpy(&f->events[f->n_events], data, len < sizeof(*f->events) ? len : sizeof(*f->events));
	}
	f->n_events++;
	return 0;
}

void fx_key(enum fx_side sender, uint8_t epoch, uint8_t key[NTM_KEY_LEN])
{
	for (int i = 0; i < NTM_KEY_LEN; i++)
		key[i] = i * 7 + epoch * 29 + (sender == FX_BOB ? 101 : 3);
}

void fx_set_epoch(struct fx *f, uint8_t epoch)
{
	struct ntm_tx_epoch *tx = &fx_path(f)->tx[epoch & 1];
	struct ntm_rx_epoch *rx = &fx_path(f)->rx[epoch & 1];
	uint64_t expires = fx_now() + 60000000000ull;

	memset(tx, 0, sizeof(*tx));
	memset(rx, 0, sizeof(*rx));
	fx_key(f->side, epoch, tx->key);
	fx_key(!f->side, epoch, rx->key);
	rx->epoch = epoch;
	tx->expires_ns = expires;
	rx->expires_ns = expires;
}

static void update(struct fx *f, const char *map, const void *key, const void *value)
{
	int err = bpf_map_update_elem(fx_map_fd(f, map), key, value, BPF_ANY);

	cr_assert_eq(err, 0, "%s: %s", map, strerror(-err));
}

void fx_add_path(struct fx *f, uint32_t slot, uint64_t id, const uint8_t vip4[4], const uint8_t vip6[16])
{
	struct ntm_path *p = &f->paths[slot];
	struct ntm_vip v = {.ip = {[10] = 0xff, [11] = 0xff}};

	memset(p, 0, sizeof(*p));
	p->next_epoch = 16;
	p->tx_epoch = FX_EPOCH;
	p->inner_mtu = FX_MTU;
	memcpy(&p->peer_vip4, vip4, 4);
	memcpy(p->peer_vip6, vip6, 16);
	p->path_id = htobe64(id);
	update(f, "ntm_path_ids", &p->path_id, &slot);
	memcpy(v.ip + 12, vip4, 4);
	update(f, "ntm_vips", &v, &slot);
	memcpy(v.ip, vip6, 16);
	update(f, "ntm_vips", &v, &slot);
}

void fx_set_endpoint(struct fx *f, bool v6)
{
	struct ntm_endpoint *ep = &fx_path(f)->ep[fx_path(f)->ep_cur];

	memcpy(ep->addr, fx_real(!f->side, v6), 16);
	ep->port = htons(NTM_PORT);
	ep->is_ipv6 = v6;
}

static void build_world(struct fx *f)
{
	struct ntm_settings *s = f->settings;
	uint32_t one = 1;

	s->layout = NTM_MAPS_LAYOUT;
	s->port = htons(NTM_PORT);
	s->pool4_len = 12;
	s->pool6_len = 48;
	s->pool4 = inet_addr("100.96.0.0");
	inet_pton(AF_INET6, "fd4e:544d::", s->pool6);
	memcpy(&s->vip4, fx_vip4(f->side), 4);
	memcpy(s->vip6, fx_vip6(f->side), 16);
	s->if_ntm0 = FX_IFINDEX;
	s->native = 1u << FX_IFINDEX;
	s->if_ntm0p = FX_IFINDEX;
	memcpy(s->mac_ntm0, "\x02\x00\x00\x00\x00\x10", 6);
	memcpy(s->mac_ntm0p, "\x02\x00\x00\x00\x00\x20", 6);
	s->max_paths = f->max_paths;

	for (int v6 = 0; v6 < 2; v6++) {
		f->uplinks[v6].way[0].ifindex = FX_IFINDEX;
		f->uplinks[v6].way[0].mtu = 1500;
		memcpy(f->uplinks[v6].way[0].addr, fx_real(f->side, v6), 16);
		update(f, "ntm_locals", fx_real(f->side, v6), &one);
	}
	fx_add_path(f, FX_SLOT, FX_PATH_ID, fx_vip4(!f->side), fx_vip6(!f->side));
	fx_set_endpoint(f, false);
	fx_set_epoch(f, FX_EPOCH);
}

static void share_maps(struct fx *f, struct bpf_object *obj)
{
	for (size_t i = 0; i < sizeof(shared) / sizeof(*shared); i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(obj, shared[i]);

		cr_assert_eq(bpf_map__reuse_fd(m, fx_map_fd(f, shared[i])), 0, "%s", shared[i]);
	}
}

void fx_open(struct fx *f, enum fx_side side, uint32_t max_paths)
{
	int err;

	memset(f, 0, sizeof(*f));
	if (geteuid())
		cr_skip_test("needs root to load BPF programs");
	f->side = side;
	f->max_paths = max_paths ?: 64;
	f->events = calloc(FX_EVENTS, sizeof(*f->events));
	f->enc = node_encap__open();
	f->dec = node_decap__open();
	f->ing = node_ingress__open();
	cr_assert(f->enc && f->dec && f->ing && f->events, "objects can't be opened");
	bpf_map__set_max_entries(f->enc->maps.ntm_paths, f->max_paths);
	bpf_map__set_max_entries(f->enc->maps.ntm_agent, f->max_paths);
	bpf_map__set_max_entries(f->enc->maps.ntm_path_ids, f->max_paths);
	bpf_map__set_max_entries(f->enc->maps.ntm_vips, 2 * f->max_paths);
	err = node_encap__load(f->enc);
	cr_assert_eq(err, 0, "node_encap: %s", strerror(-err));
	share_maps(f, f->dec->obj);
	err = node_decap__load(f->dec);
	cr_assert_eq(err, 0, "node_decap: %s", strerror(-err));
	share_maps(f, f->ing->obj);
	err = node_ingress__load(f->ing);
	cr_assert_eq(err, 0, "node_ingress: %s", strerror(-err));
	f->ingress_fd = bpf_program__fd(f->ing->progs.node_ingress);
	f->encap_fd = bpf_program__fd(f->enc->progs.node_encap);
	f->decap_fd = bpf_program__fd(f->dec->progs.node_decap);
	f->settings = map_memory(f, "ntm_settings", sizeof(*f->settings), 1);
	f->uplinks = map_memory(f, "ntm_uplinks", sizeof(*f->uplinks), 16);
	f->paths = map_memory(f, "ntm_paths", sizeof(*f->paths), f->max_paths);
	f->ring = ring_buffer__new(fx_map_fd(f, "ntm_events"), on_event, f, NULL);
	cr_assert(f->ring);
	build_world(f);
}

void fx_close(struct fx *f)
{
	ring_buffer__free(f->ring);
	node_decap__destroy(f->dec);
	node_ingress__destroy(f->ing);
	node_encap__destroy(f->enc);
	free(f->events);
}

static void read_counters(struct fx *f, struct ntm_counter out[NTM_R_COUNT])
{
	int cpus = libbpf_num_possible_cpus();
	struct ntm_counter v[cpus];

	memset(out, 0, NTM_R_COUNT * sizeof(*out));
	for (uint32_t r = 0; r < NTM_R_COUNT; r++) {
		cr_assert_eq(bpf_map_lookup_elem(fx_map_fd(f, "ntm_counters"), &r, v), 0);
		for (int c = 0; c < cpus; c++) {
			out[r].packets += v[c].packets;
			out[r].bytes += v[c].bytes;
		}
	}
}

static int run(struct fx *f, int fd, struct fx_frame *p)
{
	struct fx_frame out;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = p->data, .data_size_in = p->len, .data_out = out.data,
		    .data_size_out = sizeof(out.data), .repeat = 1);
	int err;

	read_counters(f, f->before);
	f->n_events = 0;
	err = bpf_prog_test_run_opts(fd, &opts);
	cr_assert_eq(err, 0, "test run of %zu bytes: %s", p->len, strerror(-err));
	memcpy(p->data, out.data, opts.data_size_out);
	p->len = opts.data_size_out;
	ring_buffer__consume(f->ring);
	return opts.retval;
}

int fx_encap(struct fx *f, struct fx_frame *p)
{
	return run(f, f->encap_fd, p);
}

/* What a packet does, apart from its verdict; times are left out. */
struct outcome {
	struct fx_frame p;
	struct ntm_path path;
	struct ntm_counter counters[NTM_R_COUNT];
	size_t n_events;
	struct ntm_event event;
};

static void take_outcome(struct fx *f, const struct fx_frame *p, struct outcome *o)
{
	memset(o, 0, sizeof(*o));
	o->p.len = p->len;
	memcpy(o->p.data, p->data, p->len);
	o->path = *fx_path(f);
	o->path.last_rx_ns = 0;
	for (int i = 0; i < NTM_EPOCHS; i++)
		o->path.rx[i].expires_ns = 0;
	read_counters(f, o->counters);
	for (int r = 0; r < NTM_R_COUNT; r++) {
		o->counters[r].packets -= f->before[r].packets;
		o->counters[r].bytes -= f->before[r].bytes;
	}
	o->n_events = f->n_events;
	if (f->n_events)
		memcpy(&o->event, &f->events[0], NTM_EVENT_HDR_LEN);
}

/*
 * Tags are beside the packet at tc; the byte that stays behind one in generic mode is for XDP; and the kernel runs no
 * test with a packet for tc that has half an IP header.
 */
static bool differs_by_design(const struct fx *f, const struct fx_frame *p)
{
	uint16_t proto = p->len > 14 ? p->data[12] << 8 | p->data[13] : 0;

	return !proto || p->len < (proto == 0x86dd ? 54 : 34) || proto == 0x8100 || proto == 0x88a8 ||
	       f->settings->native != 1u << FX_IFINDEX;
}

int fx_decap(struct fx *f, struct fx_frame *p)
{
	enum { SAME_PASS = 2, SAME_DROP = 1, SAME_REDIRECT = 4 };
	static struct outcome tc, xdp;
	struct ntm_path was = *fx_path(f);
	struct fx_frame q = *p;
	int verdict, other;

	if (differs_by_design(f, p))
		return run(f, f->decap_fd, p);
	other = run(f, f->ingress_fd, &q);
	take_outcome(f, &q, &tc);
	*fx_path(f) = was;
	verdict = run(f, f->decap_fd, p);
	take_outcome(f, p, &xdp);
	cr_assert_eq(verdict,
		     other == -1  ? SAME_PASS
		     : other == 2 ? SAME_DROP
		     : other == 7 ? SAME_REDIRECT
				  : -1,
		     "XDP says %d, tc %d", verdict, other);
	/* Dropped in the middle of being changed: nobody sees its bytes. */
	cr_assert(verdict == SAME_DROP || (tc.p.len == xdp.p.len && !memcmp(tc.p.data, xdp.p.data, xdp.p.len)),
		  "other bytes at tc: %zu for %zu", tc.p.len, xdp.p.len);
	cr_assert_arr_eq(&tc.path, &xdp.path, sizeof(xdp.path), "other path at tc");
	cr_assert_arr_eq(tc.counters, xdp.counters, sizeof(xdp.counters), "other counters at tc");
	cr_assert_eq(tc.n_events, xdp.n_events, "%zu events at tc, not %zu", tc.n_events, xdp.n_events);
	cr_assert_arr_eq(&tc.event, &xdp.event, NTM_EVENT_HDR_LEN, "another event at tc");
	return verdict;
}

void fx_forget(struct fx *f)
{
	int cpus = libbpf_num_possible_cpus();
	uint32_t zero = 0, slot = FX_SLOT;
	uint64_t none[cpus];

	memset(none, 0, sizeof(none));
	update(f, "ntm_upcall_tat", &zero, none);
	bpf_map_delete_elem(fx_map_fd(f, "ntm_quiet"), &slot);
}

uint32_t fx_time(int fd, const struct fx_frame *p, uint32_t repeat)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = p->data, .data_size_in = p->len, .repeat = repeat);

	cr_assert_eq(bpf_prog_test_run_opts(fd, &opts), 0);
	return opts.duration;
}

uint64_t fx_counted(struct fx *f, enum ntm_reason r, uint64_t *bytes)
{
	struct ntm_counter now[NTM_R_COUNT];

	read_counters(f, now);
	if (bytes)
		*bytes = now[r].bytes - f->before[r].bytes;
	return now[r].packets - f->before[r].packets;
}

const char *fx_only(struct fx *f, enum ntm_reason reason, uint64_t bytes, bool roamed)
{
#define X(symbol, name, meaning) name,
	static const char *const names[] = {NTM_REASONS(X)};
#undef X
	static char why[256];
	struct ntm_counter now[NTM_R_COUNT];
	size_t n = 0;

	why[0] = 0;
	read_counters(f, now);
	for (int r = 0; r < NTM_R_COUNT; r++) {
		uint64_t got = now[r].packets - f->before[r].packets;
		uint64_t want = r == (int)reason || (r == NTM_R_RX_ROAMED && roamed);

		if (got != want && n < sizeof(why))
			n += snprintf(why + n, sizeof(why) - n, "%s counted %lu times, not %lu. ", names[r],
				      (unsigned long)got, (unsigned long)want);
	}
	if (now[reason].bytes - f->before[reason].bytes != bytes && n < sizeof(why))
		snprintf(why + n, sizeof(why) - n, "%s: %lu bytes, not %lu", names[reason],
			 (unsigned long)(now[reason].bytes - f->before[reason].bytes), (unsigned long)bytes);
	return why[0] ? why : NULL;
}
