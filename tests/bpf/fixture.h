/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs the BPF programs on packets in memory (BPF_PROG_TEST_RUN) and looks at verdict, bytes, counters, path and
 * events.
 *
 * The world: alice and bob, one path between them, epoch 1 in use. A fixture is one of the two; FX_ME and FX_PEER are
 * seen from there.
 */
#ifndef NTM_TEST_FIXTURE_H
#define NTM_TEST_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bpf/libbpf.h>
#include <ntm/maps.h>
#include <ntm/reasons.h>
#include <ntm/wire.h>

#define FX_FRAME_MAX 3520
#define FX_PATH_ID 0x1122334455667788ull
#define FX_SLOT 5
#define FX_EPOCH 1
#define FX_MTU 1400
#define FX_IFINDEX 1 /* lo: there in every namespace, and no packet is really sent */
#define FX_EVENTS 256

enum fx_side { FX_ALICE, FX_BOB };

struct node_encap;
struct node_decap;
struct node_ingress;

struct fx {
	enum fx_side side;
	struct node_encap *enc;
	struct node_decap *dec;
	struct node_ingress *ing;
	int encap_fd, decap_fd, ingress_fd;
	uint32_t max_paths;
	struct ntm_settings *settings; /* the maps' own memory */
	struct ntm_uplink *uplinks;
	struct ntm_path *paths;
	struct ring_buffer *ring;
	struct ntm_counter before[NTM_R_COUNT];
	struct ntm_event *events;
	size_t n_events;
};

struct fx_frame {
	uint8_t data[FX_FRAME_MAX];
	size_t len;
};

/* Loads both programs with one set of maps and builds the world. Fails the test if it can't. max_paths 0: 64. */
void fx_open(struct fx *f, enum fx_side side, uint32_t max_paths);
void fx_close(struct fx *f);

struct ntm_path *fx_path(struct fx *f);
int fx_map_fd(struct fx *f, const char *name);
uint64_t fx_now(void); /* CLOCK_BOOTTIME, ns */

/* Install a key pair for an epoch, valid for a minute; direction as seen from f. */
void fx_set_epoch(struct fx *f, uint8_t epoch);
void fx_key(enum fx_side sender, uint8_t epoch, uint8_t key[NTM_KEY_LEN]);
void fx_set_endpoint(struct fx *f, bool v6);
void fx_add_path(struct fx *f, uint32_t slot, uint64_t id, const uint8_t vip4[4], const uint8_t vip6[16]);

/*
 * In place. Returns the verdict (TC_ACT_*, XDP_*); counters and events are those since the call. fx_decap() lets
 * node_ingress have the same packet first and demands that bytes, counters, events and path come out the same.
 */
int fx_encap(struct fx *f, struct fx_frame *p);
int fx_decap(struct fx *f, struct fx_frame *p);
/* The limits on events start anew. */
void fx_forget(struct fx *f);
/* ns a packet, over `repeat` runs */
uint32_t fx_time(int fd, const struct fx_frame *p, uint32_t repeat);

/* Packets counted under r since the last run began; bytes too if not NULL. */
uint64_t fx_counted(struct fx *f, enum ntm_reason r, uint64_t *bytes);
/* Exactly one packet under r (and under RX_ROAMED if roamed), nothing else. NULL or what is wrong. */
const char *fx_only(struct fx *f, enum ntm_reason r, uint64_t bytes, bool roamed);

/* Packets, in fixture_packet.c */

struct fx_inner {
	bool v6;
	uint8_t tos;
	uint16_t payload; /* bytes behind the IP header */
	bool reply;       /* from the peer to this side */
};

struct fx_outer {
	bool v6;
	uint8_t tos;
	uint8_t vlans;
	uint8_t epoch;
	uint16_t sport;     /* host order, 0: NTM_PORT */
	uint8_t last_octet; /* of the source address, 0: the peer's */
	uint64_t counter;
};

const uint8_t *fx_vip4(enum fx_side side);
const uint8_t *fx_vip6(enum fx_side side);
const uint8_t *fx_real(enum fx_side side, bool v6); /* v4-mapped */

/* Appends to p an inner packet; returns its offset. */
size_t fx_put_inner(const struct fx *f, struct fx_frame *p, const struct fx_inner *in);
/* Ethernet header and inner packet, as they arrive on ntm0p. */
void fx_clear_frame(const struct fx *f, struct fx_frame *p, const struct fx_inner *in);
/* A capsulated packet from the peer. len 0: keep-alive. */
void fx_sealed_frame(const struct fx *f, struct fx_frame *p, const struct fx_outer *o, const void *inner, size_t len);
void fx_sealed_inner(const struct fx *f, struct fx_frame *p, const struct fx_outer *o, const struct fx_inner *in);
/* UDP to the own port with any payload. */
void fx_udp_frame(const struct fx *f, struct fx_frame *p, const struct fx_outer *o, const void *payload, size_t len);

/* Offsets into a frame without tags. */
static inline size_t fx_udp_off(bool v6)
{
	return 14 + (v6 ? 40 : 20);
}
static inline size_t fx_hdr_off(bool v6)
{
	return fx_udp_off(v6) + 8;
}

void fx_fix_ipv4(uint8_t *ip);
uint16_t fx_sum(const void *p, size_t len, uint32_t start); /* folded, not inverted, network order */
/* 0 if the frame's UDP checksum over IPv6 is right. */
int fx_check_udp6(const struct fx_frame *p);
int fx_aead(bool seal, const uint8_t key[NTM_KEY_LEN], const struct ntm_hdr *hdr, uint8_t *text, size_t len,
	    uint8_t tag[NTM_TAG_LEN]);

#endif
