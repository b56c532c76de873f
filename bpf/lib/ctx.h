/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What every program includes first: kernel types, helpers, and the constants that are macros in uapi. */
#ifndef NTM_LIB_CTX_H
#define NTM_LIB_CTX_H

#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define ETH_HLEN 14
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88A8
#define IP_MF 0x2000
#define IP_OFFSET 0x1FFF
#define IP_DF 0x4000
#define NEXTHDR_HOP 0
#define NEXTHDR_ROUTING 43
#define NEXTHDR_FRAGMENT 44
#define NEXTHDR_AUTH 51
#define NEXTHDR_DEST 60
#define TC_ACT_SHOT 2
#define TC_ACT_REDIRECT 7
#define NTM_AF_INET 2
#define NTM_AF_INET6 10
#define EBADMSG 74
#define EINVAL 22

#define NTM_LIKELY(x) __builtin_expect(!!(x), 1)
#define NTM_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* One load or store, neither torn nor repeated: for fields that others write at the same time. */
#define NTM_READ(x) (*(const volatile typeof(x) *)&(x))
#define NTM_WRITE(x, v) (*(volatile typeof(x) *)&(x) = (v))

/* The compiler forgets what it knows of x, so that a check that the verifier needs stays in the program. */
#define NTM_UNKNOWN(x) asm volatile("" : "+r"(x))

#define NTM_DATA(ctx) ((void *)(long)(ctx)->data)
#define NTM_DATA_END(ctx) ((void *)(long)(ctx)->data_end)

#endif
