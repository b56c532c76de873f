/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The XDP and tc programs of bpf/ compiled for this machine, with helpers and maps in user space: sanitizers and
 * libFuzzer then see into them, and what they do can be compared with what the kernel makes of the same programs.
 *
 * shim.h gives the programs' sources what they include from the kernel; node.c and relay.c are those sources; maps.c
 * and helpers.c the kernel's side; scene.c builds contents of maps and packets out of a fuzzer's input.
 */
#ifndef NTM_TEST_NATIVE_H
#define NTM_TEST_NATIVE_H

#include <stddef.h>
#include <stdint.h>

/* Of BPF_PROG_TEST_RUN with XDP: what is left of a page. */
#define NATIVE_FRAME_MAX 3520
#define NATIVE_ROOM 256

/* In place of struct xdp_md and struct __sk_buff, with pointers as wide as this machine's. */
struct native_ctx {
	uint64_t data, data_end;
	uint32_t len, protocol; /* tc */
	uint32_t ingress_ifindex, ifindex, mark;
	uint8_t *memory; /* outside of data..data_end nothing may be touched */
};

/* A map as a program declares it. */
struct native_decl {
	const char *name;
	const void *id; /* what the program hands to helpers */
	uint32_t type, entries, key_size, value_size;
};

extern const struct native_decl native_node_maps[], native_relay_maps[]; /* end with an entry without name */

/* Times that programs are told, ns. */
extern uint64_t native_boot_ns, native_coarse_ns;

/* Programs. Each returns its verdict. */
int node_decap(struct native_ctx *ctx);
int node_encap(struct native_ctx *ctx);
int relay(struct native_ctx *ctx);
/* The kernel lane's AEAD on what ctx holds. 0 or -errno. */
int native_seal(struct native_ctx *ctx, uint32_t hdr_off, uint32_t len, const uint8_t *key);

/* Maps. No memory: abort. */
void native_declare(const struct native_decl *maps);
/* How many entries a map has that is to be smaller, or larger, than declared. */
void native_limit(const char *map, uint32_t entries);
/* All values zero, hash tables and events empty. */
void native_reset(void);
void *native_map_lookup(void *map, const void *key);
long native_map_update(void *map, const void *key, const void *value, uint64_t flags);
/* The value of a key, there from now on. key_size bytes of key. */
void *native_value(const char *map, const void *key);
void *native_slot(const char *map, uint32_t key);
/* Each entry that was met or made since the program was started (arrays) or the last reset (hash tables). */
typedef void native_visit(void *arg, const struct native_decl *map, const void *key, void *value);
void native_each(native_visit *visit, void *arg);

struct native_event {
	void *data;
	size_t len;
};
extern struct native_event native_events[];
extern unsigned native_n_events;
void *native_ring_reserve(void *ring, uint64_t size, uint64_t flags);
void native_ring_submit(void *event, uint64_t flags);
void native_ring_discard(void *event, uint64_t flags);

/* Packets. The frame is copied in; len at least 14, at most NATIVE_FRAME_MAX. */
void native_open(struct native_ctx *ctx, const uint8_t *frame, size_t len, uint32_t ifindex);
void native_close(struct native_ctx *ctx);
long native_adjust_head(struct native_ctx *ctx, int delta);
long native_adjust_tail(struct native_ctx *ctx, int delta);
long native_load(struct native_ctx *ctx, uint32_t off, void *to, uint32_t len);
long native_store(struct native_ctx *ctx, uint32_t off, const void *from, uint32_t len);
long native_store_flags(struct native_ctx *ctx, uint32_t off, const void *from, uint32_t len, uint64_t flags);
long native_pull(struct native_ctx *ctx, uint32_t len);
long native_change_tail(struct native_ctx *ctx, uint32_t len, uint64_t flags);
long native_adjust_room(struct native_ctx *ctx, int32_t diff, uint32_t mode, uint64_t flags);
long native_change_proto(struct native_ctx *ctx, uint16_t proto, uint64_t flags);
long native_clone_redirect(struct native_ctx *ctx, uint32_t ifindex, uint64_t flags);
long native_redirect(uint32_t ifindex, uint64_t flags);
long native_redirect_neigh(uint32_t ifindex, const void *params, int len, uint64_t flags);
long native_tail_call(struct native_ctx *ctx, void *map, uint32_t index);
int64_t native_csum_diff(const uint32_t *from, uint32_t from_size, const uint32_t *to, uint32_t to_size, uint32_t seed);
uint64_t native_ktime_boot(void);
uint64_t native_ktime_coarse(void);

struct bpf_fib_lookup;
long native_fib_lookup(struct native_ctx *ctx, struct bpf_fib_lookup *params, int len, uint32_t flags);
/* The routes. 0, or as the helper. */
struct native_hop {
	uint32_t ifindex, mtu;
	uint8_t mac[6];
};
extern int (*native_route)(int is_ipv6, const uint8_t *dst, struct native_hop *hop);

#endif
