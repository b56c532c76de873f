/* SPDX-License-Identifier: BSD-2-Clause */
/*
 *   namespace 0            namespace 1
 *   ntm0 ─ dp[0]           dp[1] ─ ntm0        100.96.0.1, .2   fd4e:544d::1, ::2
 *     wire0 ──────────────── wire1             192.0.2.1, .2    2001:db8::1, ::2
 *
 * Two data planes in one process, in network and mount namespaces of its own that vanish with it.
 */
#ifndef NTM_DP_RIG_H
#define NTM_DP_RIG_H

#include "../../user/dataplane/dp.h"

#define NTM_RIG_PATH 0x4e544d0000000001ULL

struct ntm_rig_seen { /* what the events of one data plane said */
	unsigned no_path, too_big, roamed, epochs, expired;
	uint64_t path_id;
	uint8_t epoch, addr[16];
	struct ntm_addr endpoint;
	uint8_t packet[NTM_INNER_MAX];
	size_t len;
};

struct ntm_rig {
	int ns[2];
	char dir[2][64];
	struct ntm_dp *dp[2];
	struct ntm_rig_seen seen[2];
	enum ntm_xdp_mode xdp_mode;
	uint32_t max_paths;
	bool gateway; /* side 1 is one, and side 0 its client */
	uint32_t duplicate_ms;
};

/* NULL, or why these tests can't run here. */
const char *ntm_rig_unable(void);
/* Namespaces, wire, runtime directories; nothing opened. Leaves the process in namespace 0. */
void ntm_rig_up(struct ntm_rig *r);
void ntm_rig_down(struct ntm_rig *r);
void ntm_rig_enter(struct ntm_rig *r, int side);
/* An address that was just given to an interface of this side: the kernel takes packets for it only a moment later. */
void ntm_rig_await_local6(const uint8_t ip[16]);
void ntm_rig_run(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* a shell command that has to succeed */

struct ntm_dp_config ntm_rig_config(const struct ntm_rig *r, int side);
int ntm_rig_open(struct ntm_rig *r, int side, char *why, size_t cap);
struct ntm_dp_addresses ntm_rig_addresses(int side);
struct ntm_dp_uplink ntm_rig_uplink(int side);
struct ntm_addr ntm_rig_endpoint(int side, bool ipv6);
/* Path to the other side: endpoint of that family, no keys. */
struct ntm_dp_path ntm_rig_path(int side, bool outer_ipv6);
/* Keys of an epoch as that side uses them: they match the other side's. */
struct ntm_dp_keys ntm_rig_keys(int side, uint8_t epoch);
/* Opens both sides with addresses, uplink, and one path with keys of epoch 0, active. */
void ntm_rig_tunnel(struct ntm_rig *r, bool outer_ipv6);

/* Runs the events of a side until `done` says so or ms have passed; the last value of done. */
bool ntm_rig_wait(struct ntm_rig *r, int side, bool (*done)(const struct ntm_rig_seen *s), int ms);

/* An inner UDP packet between the virtual addresses, port to port, with its checksum; returns its length. */
size_t ntm_rig_inner(int from, bool ipv6, uint16_t port, const void *data, size_t len, uint8_t *out, size_t cap);
/* A UDP socket on the virtual address of a side. */
int ntm_rig_socket(struct ntm_rig *r, int side, bool ipv6, uint16_t port);
/* Bytes received, or -1 if nothing comes within ms. */
int ntm_rig_recv(int fd, void *buf, size_t cap, int ms);
/* Sends to the other side's virtual address. */
int ntm_rig_send(int fd, int to_side, bool ipv6, uint16_t port, const void *data, size_t len);
/* A datagram from the wire address and port of `from` to the tunnel port of the other side. */
void ntm_rig_wire(struct ntm_rig *r, int from, uint16_t sport, const void *datagram, size_t len);
uint64_t ntm_rig_count(struct ntm_rig *r, int side, enum ntm_reason reason);

#endif
