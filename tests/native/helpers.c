/* SPDX-License-Identifier: BSD-2-Clause */
/* Helpers on packets, as Linux does them (net/core/filter.c) to one that is linear and not shared. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <sanitizer/asan_interface.h>

#include "native.h"

enum { MEMORY = NATIVE_ROOM + NATIVE_FRAME_MAX + NATIVE_ROOM, XDP_FRAME = 40 };

uint64_t native_boot_ns, native_coarse_ns;
int (*native_route)(int is_ipv6, const uint8_t *dst, struct native_hop *hop);

static uint8_t *at(struct native_ctx *ctx)
{
	return (uint8_t *)(uintptr_t)ctx->data;
}

static size_t length(const struct native_ctx *ctx)
{
	return ctx->data_end - ctx->data;
}

/* Between these two the helper may touch all of the memory; the program, afterwards, the packet alone. */
static uint8_t *lift(struct native_ctx *ctx)
{
	ASAN_UNPOISON_MEMORY_REGION(ctx->memory, MEMORY);
	return at(ctx);
}

static void fence(struct native_ctx *ctx)
{
	ASAN_POISON_MEMORY_REGION(ctx->memory, MEMORY);
	ASAN_UNPOISON_MEMORY_REGION(at(ctx), length(ctx));
	ctx->len = (uint32_t)length(ctx);
}

void native_open(struct native_ctx *ctx, const uint8_t *frame, size_t len, uint32_t ifindex)
{
	uint16_t proto = (uint16_t)(frame[12] << 8 | frame[13]);

	memset(ctx, 0, sizeof(*ctx));
	ctx->memory = malloc(MEMORY);
	if (!ctx->memory || len < ETH_HLEN || len > NATIVE_FRAME_MAX)
		abort();
	memset(ctx->memory, 0xa5, MEMORY);
	ctx->data = (uintptr_t)ctx->memory + NATIVE_ROOM;
	ctx->data_end = ctx->data + len;
	memcpy(at(ctx), frame, len);
	/* eth_type_trans() */
	if (proto < ETH_P_802_3_MIN)
		proto = len >= ETH_HLEN + 2 && frame[14] == 0xff && frame[15] == 0xff ? ETH_P_802_3 : ETH_P_802_2;
	ctx->protocol = htons(proto);
	ctx->ingress_ifindex = ifindex;
	fence(ctx);
}

void native_close(struct native_ctx *ctx)
{
	lift(ctx);
	free(ctx->memory);
}

long native_adjust_head(struct native_ctx *ctx, int delta)
{
	uint64_t data = ctx->data + (int64_t)delta;

	if (data < (uintptr_t)ctx->memory + XDP_FRAME || data > ctx->data_end - ETH_HLEN)
		return -EINVAL;
	ctx->data = data;
	fence(ctx);
	return 0;
}

long native_adjust_tail(struct native_ctx *ctx, int delta)
{
	uint64_t end = ctx->data_end + (int64_t)delta;

	if (end > (uintptr_t)ctx->memory + NATIVE_ROOM + NATIVE_FRAME_MAX || end < ctx->data + ETH_HLEN)
		return -EINVAL;
	lift(ctx);
	if (delta > 0)
		memset((uint8_t *)(uintptr_t)ctx->data_end, 0, (size_t)delta);
	ctx->data_end = end;
	fence(ctx);
	return 0;
}

static int within(const struct native_ctx *ctx, uint32_t off, uint32_t len)
{
	return off <= 0xffff && len <= 0xffff && (uint64_t)off + len <= length(ctx);
}

long native_load(struct native_ctx *ctx, uint32_t off, void *to, uint32_t len)
{
	if (!within(ctx, off, len))
		return -EFAULT;
	memcpy(to, at(ctx) + off, len);
	return 0;
}

long native_store(struct native_ctx *ctx, uint32_t off, const void *from, uint32_t len)
{
	if (!within(ctx, off, len))
		return -EFAULT;
	memcpy(at(ctx) + off, from, len);
	return 0;
}

long native_store_flags(struct native_ctx *ctx, uint32_t off, const void *from, uint32_t len, uint64_t flags)
{
	return flags ? -EINVAL : native_store(ctx, off, from, len);
}

long native_pull(struct native_ctx *ctx, uint32_t len)
{
	return len <= length(ctx) ? 0 : -ENOMEM;
}

long native_change_tail(struct native_ctx *ctx, uint32_t len, uint64_t flags)
{
	if (flags || len < ETH_HLEN || len > MEMORY - NATIVE_ROOM)
		return -EINVAL;
	ctx->data_end = ctx->data + len;
	fence(ctx);
	return 0;
}

/* Room, zeroed, behind the Ethernet header. */
static void push(struct native_ctx *ctx, uint32_t len)
{
	uint8_t *from = lift(ctx);

	memmove(from - len, from, ETH_HLEN);
	memset(from - len + ETH_HLEN, 0, len);
	ctx->data -= len;
	fence(ctx);
}

static void pop(struct native_ctx *ctx, uint32_t len)
{
	uint8_t *from = lift(ctx);

	memmove(from + len, from, ETH_HLEN);
	ctx->data += len;
	fence(ctx);
}

static int is_ip(uint32_t protocol)
{
	return protocol == htons(ETH_P_IP) || protocol == htons(ETH_P_IPV6);
}

long native_adjust_room(struct native_ctx *ctx, int32_t diff, uint32_t mode, uint64_t flags)
{
	if (flags || diff < 0 || mode != BPF_ADJ_ROOM_MAC || !is_ip(ctx->protocol) ||
	    (uint64_t)diff > ctx->data - (uintptr_t)ctx->memory)
		return -EOPNOTSUPP;
	push(ctx, (uint32_t)diff);
	return 0;
}

long native_change_proto(struct native_ctx *ctx, uint16_t proto, uint64_t flags)
{
	const uint32_t diff = 20;

	if (flags || !is_ip(proto) || !is_ip(ctx->protocol) || proto == ctx->protocol)
		return -EOPNOTSUPP;
	if (proto == htons(ETH_P_IPV6)) {
		push(ctx, diff);
	} else {
		if (length(ctx) < ETH_HLEN + diff)
			return -ENOMEM;
		pop(ctx, diff);
	}
	ctx->protocol = proto;
	return 0;
}

long native_clone_redirect(struct native_ctx *ctx, uint32_t ifindex, uint64_t flags)
{
	return length(ctx) && ifindex && flags == BPF_F_INGRESS ? 0 : -EINVAL;
}

/* Into an interface only tc does: nothing of what is compiled here does the other way, at tc. */
long native_redirect(uint32_t ifindex, uint64_t flags)
{
	if (flags == BPF_F_INGRESS)
		return TC_ACT_REDIRECT;
	return ifindex && !flags ? XDP_REDIRECT : XDP_ABORTED;
}

long native_redirect_neigh(uint32_t ifindex, const void *params, int len, uint64_t flags)
{
	struct bpf_redir_neigh nh;

	if (flags || !ifindex || (params != NULL) != (len != 0) || (len && len < (int)sizeof(nh)))
		return TC_ACT_SHOT;
	if (params) {
		memcpy(&nh, params, sizeof(nh));
		if (nh.nh_family != AF_INET && nh.nh_family != AF_INET6)
			return TC_ACT_SHOT;
	}
	return TC_ACT_REDIRECT;
}

/* There is no program in the table. */
long native_tail_call(struct native_ctx *ctx, void *map, uint32_t index)
{
	return ctx && map && !index ? 0 : -EINVAL;
}

int64_t native_csum_diff(const uint32_t *from, uint32_t from_size, const uint32_t *to, uint32_t to_size, uint32_t seed)
{
	uint64_t sum = seed;
	uint32_t word;

	if (from || from_size || to_size > 512 || to_size % 4)
		return -EINVAL;
	for (uint32_t i = 0; i < to_size; i += 4) {
		memcpy(&word, (const uint8_t *)to + i, 4);
		sum += word;
	}
	while (sum >> 32)
		sum = (sum & 0xffffffff) + (sum >> 32);
	return (int64_t)sum;
}

uint64_t native_ktime_boot(void)
{
	return native_boot_ns;
}

uint64_t native_ktime_coarse(void)
{
	return native_coarse_ns;
}

long native_fib_lookup(struct native_ctx *ctx, struct bpf_fib_lookup *f, int len, uint32_t flags)
{
	struct native_hop hop;
	int err;

	if (!ctx || len != sizeof(*f) || flags)
		return -EINVAL;
	if (f->family != AF_INET && f->family != AF_INET6)
		return -EAFNOSUPPORT;
	err = native_route(f->family == AF_INET6, f->family == AF_INET6 ? (void *)f->ipv6_dst : (void *)&f->ipv4_dst,
			   &hop);
	if (err)
		return err;
	f->ifindex = hop.ifindex;
	f->mtu_result = (uint16_t)hop.mtu;
	memcpy(f->dmac, hop.mac, sizeof(f->dmac));
	return 0;
}
