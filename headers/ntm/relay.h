/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What relay.bpf.c and ntm-relay share: reasons, and the layout of the relay's maps. */
#ifndef NTM_RELAY_H
#define NTM_RELAY_H

#include "types.h"
#include "limits.h"
#include "maps.h"

#define NTM_RELAY_LAYOUT 3 /* goes up with any change below: the agent then refuses to adopt */

#define NTM_RELAY_PATHS_DEFAULT 65536
#define NTM_RELAY_IDLE_S 300
#define NTM_RELAY_LOCALS 256
#define NTM_RELAY_UPLINKS 16
#define NTM_RELAY_HOPS 1024 /* a power of two, at most 4096 */
#define NTM_RELAY_FORMER 4096

/*
 * Map names (BPF object, pin in RUNTIME_DIR/bpf/):
 *   ntm_relay_settings  ARRAY[1]      struct ntm_relay_settings  mmapable
 *   ntm_relay_paths     ARRAY[slots]  struct ntm_relay_path      mmapable, open addressing
 *   ntm_relay_accounts  ARRAY[slots]  struct ntm_relay_account   mmapable
 *   ntm_relay_agent     ARRAY[slots]  struct ntm_relay_agent     mmapable, never touched by BPF
 *   ntm_relay_hops      ARRAY[1024]   struct ntm_relay_hop       next hops that paths share
 *   ntm_relay_uplinks   ARRAY[16]     struct ntm_relay_uplink    mmapable
 *   ntm_relay_former    LRU_HASH[4096] __be64 Path ID -> struct ntm_relay_former
 *   ntm_relay_locals    HASH          struct ntm_vip -> __u32 1: real addresses of this host
 *   ntm_relay_counters  PERCPU_ARRAY[NTM_RR_COUNT] struct ntm_counter
 *   ntm_relay_buckets   PERCPU_ARRAY[NTM_RB_COUNT] __u64
 *   ntm_relay_next      PROG_ARRAY[1] the gateway's program
 *
 * The table: a path's home slot is (upper half of its Path ID * slots) >> 32, as Path IDs are random; when that is
 * taken, the next free one, at most NTM_RELAY_PROBES away. A look-up ends at an empty slot, so a deleted path leaves
 * NTM_RELAY_TOMBSTONE unless an empty slot follows. Three slots for two paths: 1,000,000 paths are 1,500,000 slots of
 * 64 + 56 + 48 bytes. The first 64 are all that a packet touches, one cache line: with many paths the time that memory
 * takes to deliver it is most of what a packet costs.
 */
#define NTM_RELAY_PROBES 256
#define NTM_RELAY_SLOTS(paths) ((__u32)((__u64)(paths)*3 / 2))
#define NTM_RELAY_EMPTY 0ULL
#define NTM_RELAY_TOMBSTONE (~0ULL) /* as EMPTY no Path ID */

#define NTM_RELAY_BURST_NS 100000000ULL /* a path's token bucket holds what its rate lets pass in so long */

/* Units of a path's times, in bits of CLOCK_MONOTONIC nanoseconds: about 0.27 s, of 16 bits: 4.9 hours; and 1 ms. */
#define NTM_RELAY_LAST_SHIFT 28
#define NTM_RELAY_IDLE_MAX_S 7200 /* under half of what 16 bits hold */
#define NTM_RELAY_BIND_SHIFT 20

/* So long after an end was bound elsewhere, packets that come from where it was are its own, too. */
#define NTM_RELAY_FORMER_NS 1000000000ULL

/* Of struct ntm_relay_path.recent: packets in the upper 8 bits, bytes in the lower 24. */
#define NTM_RECENT_PACKET (1u << 24)
#define NTM_RECENT_BYTES (NTM_RECENT_PACKET - 1)
#define NTM_RECENT_FULL (128 * NTM_RECENT_PACKET) /* then all of it goes to the account; 128 datagrams fit 24 bits */

struct ntm_relay_settings {
	__u32 layout;  /* [a] NTM_RELAY_LAYOUT; else everything passes */
	__u32 slots;   /* [a] entries of ntm_relay_paths */
	__be16 port;   /* [a] own UDP port */
	__u16 flags;   /* [a] enum ntm_relay_flags */
	__u32 routing; /* [b] generation of routes: next hops found under another one are asked for anew */
	__u32 paths;   /* [a] how many there may be */
	__u32 native;  /* [a] bit ifindex % 32: XDP is in native mode on that NIC */
	__u32 reserved[10];
};
NTM_ASSERT_SIZE(struct ntm_relay_settings, 64);

enum ntm_relay_flags {
	NTM_RELAY_GATEWAY = 1,  /* ntm_relay_next holds a program */
	NTM_RELAY_DRAINING = 2, /* for the next agent; XDP relays on */
};

/*
 * The agent changes ends with version odd. What is counted, and the next hop of an end, are written by the CPU that its
 * packets come to, without atomic operations: when a flow moves to another CPU a packet may go uncounted.
 */
struct ntm_relay_path {
	__be64 path_id;   /* [a] or EMPTY, TOMBSTONE */
	__u8 addr[2][16]; /* [a] of the ends, initiator and responder; IPv4 as ::ffff:a.b.c.d */
	__be16 port[2];   /* [a] 0: not bound */
	__u8 version;     /* [a] odd: ends are being changed */
	__u8 flags;       /* [a] enum ntm_relay_path_flags */
	__u16 last;       /* [b] last packet relayed or bind, in units of LAST_SHIFT */
	__u32 hop[2];     /* [k] the way to the end: see bpf/lib/fib.h */
	__u32 recent[2];  /* [k] counted from the end since the account was brought up to date */
};
NTM_ASSERT_SIZE(struct ntm_relay_path, 64);

enum ntm_relay_path_flags {
	NTM_RELAY_IPV6_0 = 1, /* end 0 has an IPv6 address */
	NTM_RELAY_IPV6_1 = 2,
	NTM_RELAY_LIMITED = 4, /* the account has a rate */
};

/*
 * Where the ends of a path that moved were before. With two uplinks up a node binds by the new one while it sends by
 * the old one, and what it sent so is on its way for a while: looked at when a packet comes from neither end.
 */
struct ntm_relay_former {
	__u64 until_ns[2]; /* [a] CLOCK_MONOTONIC; 0: nowhere */
	__u8 addr[2][16];  /* [a] as in struct ntm_relay_path */
	__be16 port[2];    /* [a] */
	__u32 reserved;
};
NTM_ASSERT_SIZE(struct ntm_relay_former, 56);

/* What most packets of a path don't touch. */
struct ntm_relay_account {
	__u64 packets[2]; /* [k] that came from the end and were sent on, without recent ones */
	__u64 bytes[2];   /* [k] of UDP payload */
	__u64 tat_ns;     /* [k] theoretical arrival time (GCRA), CLOCK_MONOTONIC */
	__u32 rate_kbit;  /* [a] kbit/s of UDP payload, both directions together; 0: no limit */
	__u32 drops;      /* [k] by rate, size, route */
	__u32 bind_tat;   /* [k] as tat_ns, of binds, in units of BIND_SHIFT */
	__u32 reserved;
};
NTM_ASSERT_SIZE(struct ntm_relay_account, 56);

/* A next hop, as many paths have it. See bpf/lib/fib.h. */
struct ntm_relay_hop {
	__u64 word; /* [k] MAC address, uplink */
	__u32 mtu;  /* [k] */
	__u32 used; /* [k] when a path last took it, in units of NTM_HOP_GEN_SHIFT */
};
NTM_ASSERT_SIZE(struct ntm_relay_hop, 16);

struct ntm_relay_agent {
	__u8 secret[NTM_KEY_LEN]; /* root of both ends' relay keys */
	__u64 seq[2];             /* of the bind that holds */
};
NTM_ASSERT_SIZE(struct ntm_relay_agent, 48);

/* An interface that packets leave by, as routes name it: a NIC, or a VLAN interface on one. */
struct ntm_relay_uplink {
	__u32 ifindex;  /* [a] 0: none */
	__u32 nic;      /* [a] where XDP sends: ifindex itself, or the NIC below the VLAN */
	__u8 addr6[16]; /* [a] source addresses; zero: not that family */
	__be32 addr4;   /* [a] */
	__u8 mac[6];    /* [a] */
	__u8 n_tags;    /* [a] 0 to 2 */
	__u8 pad;
	__be16 tpid[2]; /* [a] outermost first */
	__be16 tci[2];  /* [a] VLAN ID; priority 0 */
	__u8 reserved[20];
};
NTM_ASSERT_SIZE(struct ntm_relay_uplink, 64);

/* Token buckets of each CPU. */
enum ntm_relay_bucket { NTM_RB_SIGNAL, NTM_RB_PROBE, NTM_RB_ICMP, NTM_RB_COUNT };

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
	X(BIND_RATE, "bind_rate", "more binds, probes or signalling than the agent takes") \
	X(TTL, "ttl", "TTL or hop limit used up") \
	X(TOO_BIG, "too_big", "too big for the way out: answered with an ICMP error (rate limited)") \
	X(NO_ROUTE, "no_route", "no route or neighbour to the other end") \
	X(BAD_DEST, "bad_dest", "the other end is a broadcast, multicast, loopback or own address") \
	X(BUSY, "busy", "the agent was changing the path at that moment") \
	X(ERROR, "error", "a kernel helper refused")
/* clang-format on */

enum ntm_relay_reason {
#define X(symbol, name, meaning) NTM_RR_##symbol,
	NTM_RELAY_REASONS(X)
#undef X
	    NTM_RR_COUNT
};

#endif
