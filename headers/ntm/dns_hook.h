/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Maps of the DNS hook, shared by its BPF programs and the agent. Host byte order unless typed __be*. */
#ifndef NTM_DNS_HOOK_H
#define NTM_DNS_HOOK_H

#include "types.h"

#define NTM_DNS_FLOWS 8192
#define NTM_DNS_OWN 1024

struct ntm_dns_settings {
	__u64 netns; /* cookie of the agent's network namespace: others can't reach its stub */
	__be32 stub4;
	__be16 port4; /* 0: queries to IPv4 servers are left alone */
	__be16 port6; /* likewise IPv6 */
	__u8 stub6[16];
};
NTM_ASSERT_SIZE(struct ntm_dns_settings, 32);

/* Where a socket's queries were to go; by socket cookie. */
struct ntm_dns_flow {
	__u8 ip[16]; /* IPv4 as ::ffff:a.b.c.d */
	__be16 port;
	__u8 pad[6];
};
NTM_ASSERT_SIZE(struct ntm_dns_flow, 24);

#define NTM_DNS_COUNTS(X)                                                                                       \
	X(REDIRECTED, "redirected") /* connects and datagrams that go to the stub */                            \
	X(RESTORED, "restored")     /* answers and peer names that look as if from the server that was asked */ \
	X(OWN_SOCKET, "own")        /* the agent's own */                                                       \
	X(BOUND, "bound")           /* left alone: the socket is bound to a device */                           \
	X(NO_STUB, "no_stub")       /* left alone: the stub has no address of that family */                    \
	X(FULL, "full")             /* left alone: the server could not be remembered */

enum ntm_dns_count {
#define X(symbol, name) NTM_DNS_##symbol,
	NTM_DNS_COUNTS(X)
#undef X
	    NTM_DNS_COUNT
};

#endif
