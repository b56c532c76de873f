/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Signalling: what is inside a type 4 datagram (session) or a type 11 datagram of suite 8 (path).
 * struct ntm_sig_hdr, then fields { be16 type, be16 length, value }. Unknown fields are skipped;
 * an unknown message is answered with NTM_M_ERROR / NTM_E_UNKNOWN_MESSAGE.
 */
#ifndef NTM_SIGNAL_H
#define NTM_SIGNAL_H

#include "types.h"

struct ntm_sig_hdr {
	__u8 msg;   /* enum ntm_msg */
	__u8 flags; /* 0 */
	__be16 reserved;
	__be32 txid; /* chosen by the requester, echoed in the answer; a resend keeps it */
};
NTM_ASSERT_SIZE(struct ntm_sig_hdr, 8);

enum ntm_msg {
	NTM_M_REGISTRATION_REQUEST = 1,
	NTM_M_REGISTRATION_RESPONSE = 2,
	NTM_M_DIRECTION_REQUEST = 3, /* node → DC */
	NTM_M_ROUTE_DIRECTION = 4,   /* DC → both nodes; to the requester with its txid */
	NTM_M_ROUTE_ACK = 5,         /* node → DC */
	NTM_M_RELAY_DIRECTION = 6,   /* DC → RS */
	NTM_M_RELAY_RESPONSE = 7,    /* RS → DC */
	NTM_M_UPDATE_REQUEST = 8,    /* NTM Update */
	NTM_M_UPDATE_RESPONSE = 9,
	NTM_M_KEEP_ALIVE = 10, /* answered with the reflexive address */
	NTM_M_KEEP_ALIVE_RESPONSE = 11,
	NTM_M_PROBE = 12, /* padded: path MTU (RFC 8899), round trip */
	NTM_M_PROBE_RESPONSE = 13,
	NTM_M_RELEASE = 14, /* a path ends (NTM_F_PATH_ID), or the node leaves */
	NTM_M_ERROR = 15,
	NTM_M_CHECK = 16, /* node ↔ node, in the path: does this pair of addresses work (RFC 8445)? moves nothing */
	NTM_M_CHECK_RESPONSE = 17,
	NTM_M_PEER_HELLO = 18, /* DC → DC of another zone: whose it is, also its keep-alive */
	NTM_M_PEER_HELLO_RESPONSE = 19,
	NTM_M_PEER_DIRECTION_REQUEST = 20, /* DC of the asking node → DC of the wanted one */
	NTM_M_PEER_DIRECTION_RESPONSE = 21,
	NTM_M_KEY_UPDATE_REQUEST = 22, /* node → DC: its key from now on */
	NTM_M_KEY_UPDATE_RESPONSE = 23,
	NTM_M_PATH_REPORT = 24, /* node → DC: paths that a process of it which is gone may not have written down */
	NTM_M_PATH_REPORT_RESPONSE = 25,
};

enum ntm_field {
	NTM_F_NAME = 1,          /* UTF-8 without NUL; a node's label or an FQDN, no trailing dot */
	NTM_F_TOKEN = 2,         /* UTF-8 */
	NTM_F_ZONE = 3,          /* UTF-8, FQDN */
	NTM_F_VIP4 = 4,          /* 4 bytes */
	NTM_F_VIP6 = 5,          /* 16 bytes */
	NTM_F_POOL4 = 6,         /* 4 bytes address, u8 prefix length */
	NTM_F_POOL6 = 7,         /* 16 bytes address, u8 prefix length */
	NTM_F_CANDIDATE = 8,     /* u8 kind, u8 preference, be16 port, 16 bytes address; repeatable */
	NTM_F_REFLEXIVE = 9,     /* be16 port, 16 bytes address: sender as the receiver sees it */
	NTM_F_LIFETIME = 10,     /* be32 seconds */
	NTM_F_PATH_ID = 11,      /* be64 */
	NTM_F_ROLE = 12,         /* u8, enum ntm_role */
	NTM_F_PUBLIC_KEY = 13,   /* 32 bytes, X25519 */
	NTM_F_PSK = 14,          /* 32 bytes */
	NTM_F_ERROR_CODE = 15,   /* be16, enum ntm_error */
	NTM_F_ERROR_TEXT = 16,   /* UTF-8, for people */
	NTM_F_MTU = 17,          /* be16 bytes */
	NTM_F_KEEPALIVE = 18,    /* be16 seconds: interval the DC wants */
	NTM_F_PADDING = 19,      /* any bytes */
	NTM_F_STALE = 20,        /* be64: the path that the requester found dead; never reuse it */
	NTM_F_RELAY = 21,        /* the RS of a path: be16 port, 4 bytes IPv4; be16 port, 16 bytes IPv6; UTF-8 name.
				    A family that the RS lacks: zeros */
	NTM_F_RELAY_OFFER = 22,  /* as NTM_F_RELAY, before it be64 probe ID and 32 bytes probe key; repeatable */
	NTM_F_RELAY_RTT = 23,    /* be32 µs (0xffffffff: no answer), UTF-8 name of the RS; repeatable */
	NTM_F_RELAY_SECRET = 24, /* 32 bytes: Relay Direction: root of a path's relay keys; Registration Response to an
				    RS: root of its probe keys */
	NTM_F_RATE = 25,         /* be32 kbit/s: of a relay path, both directions together; 0: no limit */
	NTM_F_LOAD = 26,         /* RS → DC: struct ntm_relay_load */
	NTM_F_CHECK_FLAGS = 27,  /* u8, enum ntm_check_flags */
	NTM_F_DELAY = 28,        /* be16 seconds after which a Keep Alive is to be answered */
	NTM_F_GATEWAY = 29, /* u8 1: the wanted peer is any gateway RS; in Route Direction: this path is to/from it */
	NTM_F_PEER_ZONE =
	    30, /* as NTM_F_POOL4 and NTM_F_POOL6, then UTF-8 zone: whose nodes can be asked for; repeatable */
	NTM_F_WANTED = 31,      /* UTF-8, FQDN of the node that a message between DCs is about or for */
	NTM_F_DC_KEY = 32,      /* u8, enum ntm_dc_key_state; 32 bytes, X25519: a key of the DC; repeatable */
	NTM_F_KEY_PROOF = 33,   /* 32 bytes: that the sender has the private part of PUBLIC_KEY */
	NTM_F_PATH_TICKET = 34, /* struct ntm_path_ticket: a path that the DC directed, in its own words; repeatable */
};

#define NTM_RELAY_OFFERS_MAX 8
#define NTM_PEER_ZONES_MAX 7
#define NTM_DC_KEYS_MAX 3
#define NTM_PATH_TICKETS_MAX 16
#define NTM_RELAY_RTT_NONE 0xffffffffu

enum ntm_dc_key_state {
	NTM_DC_KEY_CURRENT = 1,
	NTM_DC_KEY_NEXT = 2,     /* will be */
	NTM_DC_KEY_PREVIOUS = 3, /* was: sessions with it are still answered */
};

enum ntm_check_flags {
	NTM_CHECK_NOMINATE = 1, /* the initiator's choice: both ends use this pair from now on */
	NTM_CHECK_MOVED = 2,    /* in an NTM Update: the sender has moved, so what holds its endpoint is void */
	NTM_CHECK_STAY = 4,     /* with it: packets that come from elsewhere meanwhile are no reason to send there */
};

enum ntm_load_flags {
	NTM_LOAD_DRAINING = 1, /* takes no new paths */
	NTM_LOAD_GATEWAY = 2,  /* is a way to general nodes */
};

struct ntm_relay_load {
	__be32 paths, paths_max;
	__be32 packets_per_s;
	__be32 drops_per_s;
	__be64 bytes_per_s;
	__be16 cpu_permille; /* of all CPUs: softirq and this process */
	__be16 flags;        /* enum ntm_load_flags */
	__be32 reserved;     /* 0 */
};
NTM_ASSERT_SIZE(struct ntm_relay_load, 32);

/*
 * The DC's word for a path that it directed between two nodes of its zone, for itself: nodes keep it and show it as it
 * is. Only the DC can make one.
 */
struct ntm_path_ticket {
	__be64 path_id;
	__be64 created_s; /* since 1970, by the DC's clock */
	__be64 nodes[2];  /* the DC's numbers for the ends: initiator, responder */
	__be32 index[2];  /* their places in the virtual pools */
	__u8 mac[16];     /* of all before it */
};
NTM_ASSERT_SIZE(struct ntm_path_ticket, 56);

enum ntm_role {
	NTM_ROLE_INITIATOR = 1, /* sends Tunnel Requests and rekeys */
	NTM_ROLE_RESPONDER = 2,
};

enum ntm_candidate_kind {
	NTM_CAND_HOST = 1,      /* an address of an interface */
	NTM_CAND_REFLEXIVE = 2, /* as the DC sees the node */
	NTM_CAND_RELAY = 3,
};

enum ntm_error {
	NTM_E_UNKNOWN_MESSAGE = 1,
	NTM_E_MALFORMED = 2,
	NTM_E_NOT_REGISTERED = 3, /* register first */
	NTM_E_BAD_TOKEN = 4,      /* unknown, used or expired */
	NTM_E_NAME_TAKEN = 5,     /* by another key */
	NTM_E_BAD_NAME = 6,       /* not a label, or not what the token is bound to */
	NTM_E_NO_SUCH_NAME = 7,
	NTM_E_OFFLINE = 8, /* known, but not registered now */
	NTM_E_DENIED = 9,  /* by policy, or revoked */
	NTM_E_POOL_EXHAUSTED = 10,
	NTM_E_INTERNAL = 11,
	NTM_E_BUSY = 12, /* try again later */
};

#endif
