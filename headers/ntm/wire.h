/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is on the wire: the common header and the fixed-length handshake messages.
 * PROTOCOL.md explains each field; this file is the one definition of their layout.
 * Everything is in network byte order.
 */
#ifndef NTM_WIRE_H
#define NTM_WIRE_H

#include "types.h"
#include "limits.h"

#define NTM_WIRE_VERSION 1

enum ntm_wire_type {
	NTM_T_SESSION_INIT = 1, /* Noise IK message 1 */
	NTM_T_SESSION_RESP = 2, /* Noise IK message 2 */
	NTM_T_COOKIE_REPLY = 3, /* to a type 1 or 9, under load */
	NTM_T_SIGNAL = 4,       /* sealed signalling on a session */
	NTM_T_TUNNEL_REQ = 9,   /* Noise IKpsk2 message 1 */
	NTM_T_TUNNEL_RESP = 10, /* Noise IKpsk2 message 2 */
	NTM_T_DATA = 11,        /* capsulated packet; empty: keep-alive */
};

enum ntm_suite {
	NTM_SUITE_KERNEL = 0,      /* kernel lane, ChaCha20-Poly1305 */
	NTM_SUITE_BULK_AES = 1,    /* bulk lane, AES-256-GCM */
	NTM_SUITE_BULK_CHACHA = 2, /* bulk lane, ChaCha20-Poly1305 */
	NTM_SUITE_CONTROL = 8,     /* in-path control for the agent, ChaCha20-Poly1305 */
	NTM_SUITE_RS_PROBE = 15,   /* type 9 and 10 between a node and an RS: no path, hdr.id is a probe ID */
};

/*
 * The header of every datagram, and the AEAD's associated data.
 * Nonce: 6 zero bytes, then the 6 counter bytes as they stand here.
 */
struct ntm_hdr {
	__u8 ver_type;    /* version << 4 | type */
	__u8 suite_epoch; /* suite << 4 | epoch */
	__be16 ctr_hi;    /* counter bits 47..32 */
	__be32 ctr_lo;    /* counter bits 31..0 */
	__be64 id;        /* Path ID, or the receiver's session ID */
};
NTM_ASSERT_SIZE(struct ntm_hdr, 16);
NTM_ASSERT_OFFSET(struct ntm_hdr, ctr_hi, 2);
NTM_ASSERT_OFFSET(struct ntm_hdr, id, 8);

/*
 * Proof that the sender knows the receiver's static key (mac1) and owns its address (mac2,
 * zero unless a cookie was received). Ends every type 1 and type 9 message.
 * mac1 = BLAKE2s-128(key = BLAKE2s-256("ntm1 mac1" || receiver static), all bytes before mac1)
 * mac2 = BLAKE2s-128(key = cookie, all bytes before mac2)
 */
struct ntm_macs {
	__u8 mac1[NTM_MAC_LEN];
	__u8 mac2[NTM_MAC_LEN];
};

/* Type 1. hdr.id is the session ID by which the initiator wants to be addressed; counter 0. */
struct ntm_session_init {
	struct ntm_hdr hdr;
	__u8 e[NTM_DH_LEN];
	__u8 s[NTM_DH_LEN + NTM_TAG_LEN];
	__u8 payload[8 + NTM_TAG_LEN]; /* struct ntm_session_init_payload, sealed */
	struct ntm_macs macs;
};
NTM_ASSERT_SIZE(struct ntm_session_init, 152);

struct ntm_session_init_payload {
	__be32 features; /* none defined yet: 0 sent, ignored when received */
	__be32 reserved;
};
NTM_ASSERT_SIZE(struct ntm_session_init_payload, 8);

/* Type 2. hdr.id is the initiator's session ID out of type 1; counter 0. */
struct ntm_session_resp {
	struct ntm_hdr hdr;
	__u8 e[NTM_DH_LEN];
	__u8 payload[16 + NTM_TAG_LEN]; /* struct ntm_session_resp_payload, sealed */
};
NTM_ASSERT_SIZE(struct ntm_session_resp, 80);

struct ntm_session_resp_payload {
	__be64 session_id; /* by which the responder wants to be addressed */
	__be32 features;
	__be32 lifetime_s; /* after which the initiator makes a new session */
};
NTM_ASSERT_SIZE(struct ntm_session_resp_payload, 16);

/*
 * Type 3. hdr.id as in the message that it answers. The cookie is sealed with ChaCha20-Poly1305,
 * key = BLAKE2s-256("ntm1 cookie" || responder static), associated data = mac1 of that message.
 */
struct ntm_cookie_reply {
	struct ntm_hdr hdr;
	__u8 nonce[NTM_NONCE_LEN]; /* random */
	__u8 reserved[4];          /* 0 */
	__u8 cookie[NTM_COOKIE_LEN + NTM_TAG_LEN];
};
NTM_ASSERT_SIZE(struct ntm_cookie_reply, 64);

/* Type 9. hdr.id is the Path ID, hdr's epoch the one that is being set up; counter 0. */
struct ntm_tunnel_req {
	struct ntm_hdr hdr;
	__u8 e[NTM_DH_LEN];
	__u8 s[NTM_DH_LEN + NTM_TAG_LEN];
	__u8 payload[16 + NTM_TAG_LEN]; /* struct ntm_tunnel_req_payload, sealed */
	struct ntm_macs macs;
};
NTM_ASSERT_SIZE(struct ntm_tunnel_req, 160);

struct ntm_tunnel_req_payload {
	__be64 seq;    /* grows with every new request on this path; not greater: replay */
	__be16 suites; /* bit n: suite n is offered; bits 0 and 8 always */
	__be16 mtu;    /* sender's uplink MTU, bytes */
	__be32 flags;  /* 0 */
};
NTM_ASSERT_SIZE(struct ntm_tunnel_req_payload, 16);

/* Type 10. hdr.id and epoch as in type 9; counter 0. */
struct ntm_tunnel_resp {
	struct ntm_hdr hdr;
	__u8 e[NTM_DH_LEN];
	__u8 payload[32 + NTM_TAG_LEN]; /* struct ntm_tunnel_resp_payload, sealed */
};
NTM_ASSERT_SIZE(struct ntm_tunnel_resp, 96);

struct ntm_tunnel_resp_payload {
	__be16 suites;     /* chosen: a subset of the offer */
	__be16 mtu;        /* sender's uplink MTU, bytes */
	__be32 flags;      /* 0 */
	__u8 observed[16]; /* requester's address as the responder sees it; IPv4 as ::ffff:a.b.c.d */
	__be16 observed_port;
	__u8 reserved[6];
};
NTM_ASSERT_SIZE(struct ntm_tunnel_resp_payload, 32);

/*
 * Type 9 as a node sends it to an RS: binds the address that it comes from to the sender's end of the relay path
 * hdr.id, and may carry a Tunnel Request for the other end, which the RS sends on as a struct ntm_tunnel_req with the
 * same header. Told apart by length: 64 bytes without, 208 with the request. The mac is keyed BLAKE2s-128 under the
 * relay key of that end over all bytes before it. With suite NTM_SUITE_RS_PROBE: 64 bytes, under the probe key.
 */
#define NTM_REQUEST_BODY_LEN (sizeof(struct ntm_tunnel_req) - sizeof(struct ntm_hdr))

struct ntm_relay_bind {
	struct ntm_hdr hdr; /* type 9, counter 0 */
	__be64 seq;         /* grows with every bind of this end on this path; not greater: replay */
	__u8 reserved[24];  /* 0; makes the answer no longer than the question */
	__u8 mac[NTM_MAC_LEN];
};
NTM_ASSERT_SIZE(struct ntm_relay_bind, 64);

struct ntm_relay_bind_request {
	struct ntm_hdr hdr;
	__be64 seq;
	__u8 reserved[24];
	__u8 request[144]; /* struct ntm_tunnel_req without its header */
	__u8 mac[NTM_MAC_LEN];
};
NTM_ASSERT_SIZE(struct ntm_relay_bind_request, 208);
static_assert(NTM_REQUEST_BODY_LEN == 144, "a Tunnel Request fits behind a bind");

enum ntm_bound_flags {
	NTM_BOUND_PEER = 1,     /* the other end is bound, too */
	NTM_BOUND_DRAINING = 2, /* the RS will go: ask the DC for another */
};

/* Type 10 as an RS answers each of those, to the address it came from. mac: same key, all bytes before it. */
struct ntm_relay_bound {
	struct ntm_hdr hdr; /* type 10; suite, epoch and id as in the question */
	__be64 seq;         /* of the question */
	__u8 observed[16];  /* the sender's address as the RS sees it; IPv4 as ::ffff:a.b.c.d */
	__be16 observed_port;
	__be16 flags;     /* enum ntm_bound_flags */
	__u8 reserved[4]; /* 0 */
	__u8 mac[NTM_MAC_LEN];
};
NTM_ASSERT_SIZE(struct ntm_relay_bound, 64);

static inline __u8 ntm_hdr_version(const struct ntm_hdr *h)
{
	return h->ver_type >> 4;
}
static inline __u8 ntm_hdr_type(const struct ntm_hdr *h)
{
	return h->ver_type & 15;
}
static inline __u8 ntm_hdr_suite(const struct ntm_hdr *h)
{
	return h->suite_epoch >> 4;
}
static inline __u8 ntm_hdr_epoch(const struct ntm_hdr *h)
{
	return h->suite_epoch & 15;
}

#endif
