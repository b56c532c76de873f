/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sends what sockets say to port 53 to the agent's stub, and lets its answers look as if from the server that was
 * asked. Only in the agent's network namespace, as a cgroup reaches beyond it. Every program lets the call go on: a
 * query that can't be taken to the stub goes where it was to go.
 */
#include "lib/ctx.h"
#include <ntm/dns_hook.h>

#define NTM_DNS_PORT bpf_htons(53)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ntm_dns_settings);
} dns_settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, NTM_DNS_FLOWS);
	__type(key, __u64);
	__type(value, struct ntm_dns_flow);
} dns_flows SEC(".maps");

/* The agent's own sockets, entered before they connect. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, NTM_DNS_OWN);
	__type(key, __u64);
	__type(value, __u8);
} dns_own SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NTM_DNS_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} dns_counters SEC(".maps");

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&dns_counters, &what);

	if (n)
		*n += 1;
}

/* NULL: another network namespace. */
static __always_inline const struct ntm_dns_settings *settings(struct bpf_sock_addr *ctx)
{
	__u32 zero = 0;
	const struct ntm_dns_settings *s = bpf_map_lookup_elem(&dns_settings, &zero);

	return s && s->netns == bpf_get_netns_cookie(ctx) ? s : NULL;
}

/* May this query go to the stub, and is its server remembered? */
static __always_inline int take(struct bpf_sock_addr *ctx, const struct ntm_dns_flow *flow)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct bpf_sock *sk = ctx->sk;

	if (bpf_map_lookup_elem(&dns_own, &cookie)) {
		count(NTM_DNS_OWN_SOCKET);
		return 0;
	}
	if (sk && sk->bound_dev_if) {
		count(NTM_DNS_BOUND);
		return 0;
	}
	if (bpf_map_update_elem(&dns_flows, &cookie, flow, BPF_ANY)) {
		count(NTM_DNS_FULL);
		return 0;
	}
	count(NTM_DNS_REDIRECTED);
	return 1;
}

static __always_inline void v4_mapped(__u8 ip[16], __be32 v4)
{
	__u32 *w = (__u32 *)ip;

	w[0] = w[1] = 0;
	w[2] = bpf_htonl(0xffff);
	w[3] = v4;
}

static __always_inline int to_stub4(struct bpf_sock_addr *ctx)
{
	const struct ntm_dns_settings *s;
	struct ntm_dns_flow flow = {.port = NTM_DNS_PORT};

	if (ctx->user_port != NTM_DNS_PORT || !(s = settings(ctx)))
		return 1;
	if (ctx->protocol != IPPROTO_UDP && ctx->protocol != IPPROTO_TCP)
		return 1;
	if (!s->port4) {
		count(NTM_DNS_NO_STUB);
		return 1;
	}
	if (ctx->user_ip4 == s->stub4)
		return 1;
	v4_mapped(flow.ip, ctx->user_ip4);
	if (take(ctx, &flow)) {
		ctx->user_ip4 = s->stub4;
		ctx->user_port = s->port4;
	}
	return 1;
}

static __always_inline int to_stub6(struct bpf_sock_addr *ctx)
{
	const struct ntm_dns_settings *s;
	struct ntm_dns_flow flow = {.port = NTM_DNS_PORT};
	__u32 *ip = (__u32 *)flow.ip;
	const __u32 *stub;

	if (ctx->user_port != NTM_DNS_PORT || !(s = settings(ctx)))
		return 1;
	if (ctx->protocol != IPPROTO_UDP && ctx->protocol != IPPROTO_TCP)
		return 1;
	ip[0] = ctx->user_ip6[0];
	ip[1] = ctx->user_ip6[1];
	ip[2] = ctx->user_ip6[2];
	ip[3] = ctx->user_ip6[3];
	if (!ip[0] && !ip[1] && ip[2] == bpf_htonl(0xffff)) {
		/* connect() of an IPv6 socket to an IPv4 server; datagrams of such go through the IPv4 programs. */
		if (!s->port4 || ip[3] == s->stub4)
			return 1;
		if (take(ctx, &flow)) {
			ctx->user_ip6[3] = s->stub4;
			ctx->user_port = s->port4;
		}
		return 1;
	}
	if (!s->port6) {
		count(NTM_DNS_NO_STUB);
		return 1;
	}
	stub = (const __u32 *)s->stub6;
	if (s->port6 == NTM_DNS_PORT && ip[0] == stub[0] && ip[1] == stub[1] && ip[2] == stub[2] && ip[3] == stub[3])
		return 1;
	if (take(ctx, &flow)) {
		ctx->user_ip6[0] = stub[0];
		ctx->user_ip6[1] = stub[1];
		ctx->user_ip6[2] = stub[2];
		ctx->user_ip6[3] = stub[3];
		ctx->user_port = s->port6;
	}
	return 1;
}

static __always_inline const struct ntm_dns_flow *flow_of(struct bpf_sock_addr *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);

	return bpf_map_lookup_elem(&dns_flows, &cookie);
}

static __always_inline int from_stub4(struct bpf_sock_addr *ctx)
{
	const struct ntm_dns_settings *s = settings(ctx);
	const struct ntm_dns_flow *f;

	if (!s || ctx->user_port != s->port4 || ctx->user_ip4 != s->stub4 || !(f = flow_of(ctx)))
		return 1;
	ctx->user_ip4 = ((const __u32 *)f->ip)[3];
	ctx->user_port = f->port;
	count(NTM_DNS_RESTORED);
	return 1;
}

static __always_inline int from_stub6(struct bpf_sock_addr *ctx)
{
	const struct ntm_dns_settings *s = settings(ctx);
	const struct ntm_dns_flow *f;
	const __u32 *w;
	int six, four;

	if (!s)
		return 1;
	w = (const __u32 *)s->stub6;
	six = ctx->user_port == s->port6 && ctx->user_ip6[0] == w[0] && ctx->user_ip6[1] == w[1] &&
	      ctx->user_ip6[2] == w[2] && ctx->user_ip6[3] == w[3];
	four = ctx->user_port == s->port4 && !ctx->user_ip6[0] && !ctx->user_ip6[1] &&
	       ctx->user_ip6[2] == bpf_htonl(0xffff) && ctx->user_ip6[3] == s->stub4;
	if ((!six && !four) || !(f = flow_of(ctx)))
		return 1;
	w = (const __u32 *)f->ip;
	ctx->user_ip6[0] = w[0];
	ctx->user_ip6[1] = w[1];
	ctx->user_ip6[2] = w[2];
	ctx->user_ip6[3] = w[3];
	ctx->user_port = f->port;
	count(NTM_DNS_RESTORED);
	return 1;
}

#define HOOK(section, name, body)                        \
	SEC(section) int name(struct bpf_sock_addr *ctx) \
	{                                                \
		return body(ctx);                        \
	}
HOOK("cgroup/connect4", dns_connect4, to_stub4)
HOOK("cgroup/connect6", dns_connect6, to_stub6)
HOOK("cgroup/sendmsg4", dns_sendmsg4, to_stub4)
HOOK("cgroup/sendmsg6", dns_sendmsg6, to_stub6)
HOOK("cgroup/recvmsg4", dns_recvmsg4, from_stub4)
HOOK("cgroup/recvmsg6", dns_recvmsg6, from_stub6)
HOOK("cgroup/getpeername4", dns_getpeername4, from_stub4)
HOOK("cgroup/getpeername6", dns_getpeername6, from_stub6)

char _license[] SEC("license") = "Dual BSD/GPL";
