/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What BPF programs and the agent share. All arrays are mmapable: the agent writes single fields
 * with atomic stores, so a change never replaces a counter or a replay window under a running
 * program. Integers are in host byte order unless typed __be*.
 *
 * Who writes what: fields marked [k] kernel programs, [a] the agent, [b] both (atomically).
 */
#ifndef NTM_MAPS_H
#define NTM_MAPS_H

#include "types.h"
#include "limits.h"

#define NTM_MAPS_LAYOUT 7 /* goes up with any change below: the agent then refuses to adopt */

#define NTM_MAX_PATHS_DEFAULT 4096
#define NTM_NO_SLOT 0xffffffffu

/*
 * Map names (BPF object, pin in RUNTIME_DIR/bpf/):
 *   ntm_settings   ARRAY[1]     struct ntm_settings    mmapable
 *   ntm_uplinks    ARRAY[16]    struct ntm_uplink      mmapable, index 2 * pair + (IPv6 outer ? 1 : 0); pair 0 is used,
 *                                                      1 the one before it while that is still there
 *   ntm_paths      ARRAY[max]   struct ntm_path        mmapable, slot 0 unused
 *   ntm_path_ids   HASH[max]    __be64 Path ID  -> __u32 slot
 *   ntm_vips       HASH[2 max]  struct ntm_vip  -> __u32 slot
 *   ntm_locals     HASH         struct ntm_vip  -> __u32 1: real addresses of this host
 *   ntm_counters   PERCPU_ARRAY[NTM_R_COUNT] struct ntm_counter
 *   ntm_events     RINGBUF      struct ntm_event
 *   ntm_agent      ARRAY[max]   struct ntm_path_agent  mmapable, never touched by BPF
 *   ntm_lanes      ARRAY[1]     struct ntm_lanes       mmapable
 */

/* An address as map key: IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2), network byte order. */
struct ntm_vip {
	__u8 ip[16];
};
NTM_ASSERT_SIZE(struct ntm_vip, 16);

enum ntm_settings_flags {
	NTM_SETTINGS_GATEWAY = 1, /* this host is the way to general nodes for its client paths */
};

#define NTM_PEER_POOLS 7

/* The virtual pools of another zone. */
struct ntm_peer_pools {
	__be32 pool4;
	__u8 pool4_len;
	__u8 pool6_len;
	__u8 pad[2];
	__u8 pool6[16];
};
NTM_ASSERT_SIZE(struct ntm_peer_pools, 24);

struct ntm_settings {
	__u32 layout;                                /* [a] NTM_MAPS_LAYOUT */
	__u32 flags;                                 /* [a] enum ntm_settings_flags */
	__be16 port;                                 /* [a] own UDP port */
	__u8 pool4_len;                              /* [a] prefix length of the virtual IPv4 pool */
	__u8 pool6_len;                              /* [a] */
	__be32 pool4;                                /* [a] network address, 0 with length 0: no pool yet */
	__be32 vip4;                                 /* [a] own virtual addresses */
	__u32 if_ntm0;                               /* [a] ifindex of ntm0 */
	__u32 if_ntm0p;                              /* [a] ifindex of its peer: packets sent into it arrive at ntm0 */
	__u8 mac_ntm0[6];                            /* [a] destination address of delivered frames */
	__u8 mac_ntm0p[6];                           /* [a] their source address */
	__u8 pool6[16];                              /* [a] */
	__u8 vip6[16];                               /* [a] */
	__u32 max_paths;                             /* [a] entries of ntm_paths */
	__u32 native;                                /* [a] bit ifindex % 32: XDP is in native mode on that uplink */
	__u32 gateway;                               /* [a] slot of the path that general destinations take, 0: none */
	__u32 n_peers;                               /* [a] entries of peers in use */
	struct ntm_peer_pools peers[NTM_PEER_POOLS]; /* [a] */
};
NTM_ASSERT_SIZE(struct ntm_settings, 256);
NTM_ASSERT_OFFSET(struct ntm_settings, pool6, 40);

enum ntm_way_flags {
	NTM_WAY_KNOWN = 1,   /* mask, gateway and NTM_WAY_DEFAULT say all; else the kernel's routes are asked */
	NTM_WAY_DEFAULT = 2, /* what is not on the link goes to gateway, or is reached without one if that is zero */
};

/*
 * By which interface, from which address and to which next hop. A known next hop is a route look-up less a packet; and
 * a default route that is taken away, or replaced by another interface's, takes no packet with it before the agent has
 * heard of it: asked for a way out by an interface that has none, the kernel would look for the peer on that link, and
 * keep the packets meanwhile.
 */
struct ntm_way {
	__u32 ifindex;    /* [a] 0: no uplink of this family */
	__u32 mtu;        /* [a] of the interface, bytes */
	__u8 addr[16];    /* [a] source address; IPv4 in the last four bytes (v4-mapped) */
	__u8 mask[16];    /* [a] what differs from addr under it is not on the link */
	__u8 gateway[16]; /* [a] */
	__u32 flags;      /* [a] enum ntm_way_flags */
	__u32 reserved;
	__u64 copy_until_ns; /* [a] CLOCK_BOOTTIME: until then a copy leaves by the same family's uplink of pair 1 */
};
NTM_ASSERT_SIZE(struct ntm_way, 72);

#define NTM_COPY_PAIR 1 /* of ntm_uplinks: the uplink before the one in use */

/*
 * Where outer packets of one family leave. Writing cur moves every path that uses it, and loses none: the agent fills
 * the way that is not current before.
 */
struct ntm_uplink {
	struct ntm_way way[2]; /* [a] */
	__u32 cur;             /* [a] index of the way in use */
	__u32 reserved;
};
NTM_ASSERT_SIZE(struct ntm_uplink, 152);

/*
 * A peer's real address. Two of them a path: readers take ep[ep_cur]; a writer holds ep_lock
 * (compare-and-swap 0 → 1), fills the other one and then stores ep_cur.
 */
struct ntm_endpoint {
	__u8 addr[16]; /* IPv4 as ::ffff:a.b.c.d */
	__be16 port;
	__u8 is_ipv6; /* outer family: 0 IPv4, 1 IPv6 */
	__u8 uplink;  /* pair index into ntm_uplinks */
	__u32 reserved;
};
NTM_ASSERT_SIZE(struct ntm_endpoint, 24);

struct ntm_tx_epoch {
	__u8 key[NTM_KEY_LEN]; /* [a] */
	__u64 counter;         /* [b] next counter; taken by atomic fetch-and-add */
	__u64 expires_ns;      /* [a] CLOCK_BOOTTIME; 0: slot is empty */
};
NTM_ASSERT_SIZE(struct ntm_tx_epoch, 48);

/*
 * Replay window, free of locks: a counter c belongs to block b = c / 32, word b % 66, tag
 * b / 66 + 1. A word holds tag << 32 | bitmap and changes by compare-and-swap only: an older
 * tag than the word's is behind the window, a newer one replaces the word. So each counter is
 * accepted once, whichever CPU, kernel or agent, asks.
 */
struct ntm_rx_epoch {
	__u8 key[NTM_KEY_LEN]; /* [a] */
	__u64 head;            /* [b] highest accepted counter + 1 */
	__u64 expires_ns;      /* [b] CLOCK_BOOTTIME; 0: slot is empty */
	__u8 epoch;            /* [a] 0..15, which epoch is in this slot */
	__u8 pad[7];
	__u64 words[NTM_REPLAY_WORDS]; /* [b] */
};
NTM_ASSERT_SIZE(struct ntm_rx_epoch, 584);

struct ntm_path {
	__be64 path_id;            /* [a] 0: slot is free */
	__u32 tx_epoch;            /* [b] 0..15 in use for sending; tx[tx_epoch & 1] */
	__u32 next_epoch;          /* [b] responder: epoch waiting for the peer's first packet; 16: none */
	__u32 ep_lock;             /* [b] */
	__u32 ep_cur;              /* [b] 0 or 1 */
	struct ntm_endpoint ep[2]; /* [b] */
	__be32 peer_vip4;          /* [a] */
	__u16 inner_mtu;           /* [a] largest inner packet that fits the outer MTU */
	__u16 flags;               /* [a] enum ntm_path_flags */
	__u8 peer_vip6[16];        /* [a] */
	__u64 tx_packets;          /* [k] */
	__u64 tx_bytes;            /* [k] inner bytes */
	__u64 rx_packets;          /* [b] inner packets delivered */
	__u64 rx_bytes;            /* [b] */
	__u64 last_tx_ns;          /* [b] CLOCK_BOOTTIME */
	__u64 last_rx_ns;          /* [b] last authenticated packet, keep-alives included */
	__u64 roams;               /* [b] endpoint changes made on authenticated packets */
	__u64 hold_until_ns;       /* [a] CLOCK_BOOTTIME: until then packets don't move the endpoint (nomination) */
	struct ntm_tx_epoch tx[NTM_EPOCHS];
	struct ntm_rx_epoch rx[NTM_EPOCHS];
};
NTM_ASSERT_OFFSET(struct ntm_path, ep, 24);
NTM_ASSERT_OFFSET(struct ntm_path, peer_vip4, 72);
NTM_ASSERT_OFFSET(struct ntm_path, tx_packets, 96);
NTM_ASSERT_OFFSET(struct ntm_path, tx, 160);
NTM_ASSERT_OFFSET(struct ntm_path, rx, 256);
NTM_ASSERT_SIZE(struct ntm_path, 1424);

enum ntm_path_flags {
	NTM_PATH_SMALL_OUTER = 1, /* outer MTU carries less than 1,280 inner bytes: bigger ones
				     go to the agent, which sends the outer packet in fragments */
	NTM_PATH_GATEWAY = 2,     /* the peer is the way to general nodes: any inner source outside the pools is its */
	NTM_PATH_CLIENT = 4,      /* this host is a gateway for the peer: any inner destination outside the pools */
	NTM_PATH_BULK = 8,        /* [a] GSO packets go to the agent, which sends them on the bulk lane */
};

#define NTM_LANE_QUEUES 8

/*
 * The way to the agent's bulk lane. waiting_ns tells node_lane whether the agent takes what it is given: the program
 * sets it, if it is 0, when it gives a packet; the agent sets it to 0 when it has read one. alive_ns tells it whether
 * an agent that takes nothing will: the agent writes it each few milliseconds while the lane is in use.
 */
struct ntm_lanes {
	__u32 ifindex;  /* [a] of the TUN, 0: no bulk lane */
	__u32 queues;   /* [a] of the TUN: a packet is in the one of its flow hash modulo this */
	__u64 alive_ns; /* [a] CLOCK_BOOTTIME */
	__u8 pad[48];
	struct {
		__u64 waiting_ns; /* [b] CLOCK_BOOTTIME */
		__u8 pad[56];     /* a cache line each */
	} q[NTM_LANE_QUEUES];
};
NTM_ASSERT_SIZE(struct ntm_lanes, 576);

struct ntm_counter {
	__u64 packets;
	__u64 bytes; /* of the frame or inner packet, as met */
};
NTM_ASSERT_SIZE(struct ntm_counter, 16);

/* What the agent needs to go on with a path after a restart; BPF never reads it. */
struct ntm_path_agent {
	__u8 peer_key[NTM_DH_LEN];
	__u8 psk[NTM_PSK_LEN];
	__u8 ctl_tx_key[NTM_EPOCHS][NTM_KEY_LEN]; /* suite 8 */
	__u8 ctl_rx_key[NTM_EPOCHS][NTM_KEY_LEN];
	__u64 ctl_tx_counter[NTM_EPOCHS]; /* written before a counter is used */
	__u64 ctl_rx_head[NTM_EPOCHS];    /* highest accepted + 1; 64-counter window below */
	__u64 ctl_rx_window[NTM_EPOCHS];
	__u64 hs_seq;                    /* initiator: last used; responder: last accepted */
	__u64 epoch_ns;                  /* when the current epoch began, CLOCK_BOOTTIME */
	__u64 relay_seq;                 /* last used in a bind */
	__u8 relay4[4], relay6[16];      /* the path's RS */
	__be16 relay4_port, relay6_port; /* 0: not that family */
	__u8 role;                       /* enum ntm_role */
	__u8 pad[7];
};
NTM_ASSERT_SIZE(struct ntm_path_agent, 296);

enum ntm_event_type {
	NTM_EV_NO_PATH = 1, /* packet to a virtual address without a path; data: the inner packet */
	NTM_EV_TOO_BIG = 2, /* packet for the agent's fragmenting send; data: the inner packet */
	NTM_EV_ROAMED = 3,  /* endpoint of path_id moved to addr:port */
	NTM_EV_EPOCH = 4,   /* peer confirmed next_epoch of path_id: tx switched to `epoch` */
	NTM_EV_EXPIRED = 5, /* path_id has no usable key for sending */
};

struct ntm_event {
	__u32 type;
	__u32 len; /* of data, bytes */
	__be64 path_id;
	__u8 addr[16]; /* NO_PATH: inner destination; ROAMED: new endpoint (v4-mapped) */
	__be16 port;
	__u8 epoch;
	__u8 pad[5];
	__u8 data[NTM_INNER_MAX]; /* only events with a packet carry it; others end before it */
};
NTM_ASSERT_OFFSET(struct ntm_event, data, 40);

#define NTM_EVENT_HDR_LEN offsetof(struct ntm_event, data)
#define NTM_RINGBUF_BYTES (1u << 20)

#endif
