/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What relay.bpf.c and ntm-relay share: reasons, and the layout of the relay's maps. */
#ifndef NTM_RELAY_H
#define NTM_RELAY_H

#include "types.h"
#include "limits.h"

#define NTM_RELAY_PATHS_DEFAULT 65536
#define NTM_RELAY_IDLE_S 300
#define NTM_RELAY_LOCALS 256

/* X(symbol, name, meaning), as NTM_REASONS */
/* clang-format off */
#define NTM_RELAY_REASONS(X) \
	X(RELAYED, "relayed", "sent on to the other end") \
	X(TO_AGENT, "to_agent", "bind or signalling: passed to the agent") \
	X(TO_GATEWAY, "to_gateway", "no relay path: passed to the gateway's program") \
	X(OTHER, "other", "not NTMobile: passed to the kernel") \
	X(FRAGMENT, "fragment", "outer IP fragment: dropped") \
	X(IP_OPTIONS, "ip_options", "outer IP options or extension headers: dropped") \
	X(SHORT, "short", "shorter than a header and a tag") \
	X(BAD_LENGTH, "bad_length", "lengths of IP, UDP and frame contradict each other") \
	X(NO_CHECKSUM, "no_checksum", "UDP checksum zero over IPv6") \
	X(BAD_VERSION, "bad_version", "other protocol version") \
	X(BAD_TYPE, "bad_type", "undefined message type, or one that is not relayed") \
	X(UNKNOWN_PATH, "unknown_path", "Path ID unknown") \
	X(BAD_SOURCE, "bad_source", "source is not bound to the path") \
	X(NOT_BOUND, "not_bound", "the other end is not bound yet") \
	X(RATE, "rate", "token bucket of the path is empty") \
	X(BIND_RATE, "bind_rate", "more binds or probes than the agent takes") \
	X(TTL, "ttl", "TTL or hop limit used up") \
	X(TOO_BIG, "too_big", "too big for the way out: answered with an ICMP error (rate limited)") \
	X(NO_ROUTE, "no_route", "no route or neighbour to the other end") \
	X(BAD_DEST, "bad_dest", "the other end is a broadcast, multicast, loopback or own address") \
	X(ERROR, "error", "a kernel helper refused")
/* clang-format on */

enum ntm_relay_reason {
#define X(symbol, name, meaning) NTM_RR_##symbol,
	NTM_RELAY_REASONS(X)
#undef X
	    NTM_RR_COUNT
};

#endif
