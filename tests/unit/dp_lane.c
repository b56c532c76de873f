/* SPDX-License-Identifier: BSD-2-Clause */
/* Two data planes, a wire, and packets: the kernel lane and the slow path, alone and together. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../user/common/addr.h"
#include "../../user/common/crypto.h"
#include "../harness/dp_rig.h"

#define PORT 5000
#define WAIT_MS 10000 /* for what has to come */
#define NONE_MS 100   /* for what must not */

static struct ntm_rig rig;
static char buf[2048];

static void up(void)
{
	if (ntm_rig_unable())
		cr_skip_test("%s", ntm_rig_unable());
	ntm_rig_up(&rig);
}

static void down(void)
{
	if (!ntm_rig_unable())
		ntm_rig_down(&rig);
}

static bool ok(const char *cmd)
{
	return system(cmd) == 0;
}

TestSuite(dp_lane, .init = up, .fini = down, .timeout = 60);

static void pings(bool outer_ipv6)
{
	ntm_rig_tunnel(&rig, outer_ipv6);
	cr_expect(ok("ping -q -c 3 -i 0.05 -W 10 100.96.0.2 >/dev/null"), "IPv4");
	cr_expect(ok("ping -q -c 3 -i 0.05 -W 10 fd4e:544d::2 >/dev/null"), "IPv6");
	cr_expect(ok("ping -q -M do -s 1392 -c 1 -W 10 100.96.0.2 >/dev/null"), "up to the path's MTU");
	cr_expect(ok("ping -q -s 4000 -c 1 -W 10 fd4e:544d::2 >/dev/null"), "in fragments");
	cr_expect(ge(u64, ntm_rig_count(&rig, 0, NTM_R_TX_OK), 8));
	cr_expect(ge(u64, ntm_rig_count(&rig, 1, NTM_R_RX_OK), 8));
	cr_expect(eq(u64, ntm_rig_count(&rig, 1, NTM_R_RX_BAD_TAG), 0));
	struct ntm_dp_stats s;
	cr_assert(eq(int, rig.dp[0]->ops->stats(rig.dp[0], NTM_RIG_PATH, &s), 0));
	cr_expect(ge(u64, s.tx_packets, 8));
	cr_expect(ge(u64, s.rx_packets, 8));
	cr_expect(ne(u64, s.last_rx_ns, 0));
}

Test(dp_lane, ping_over_ipv4)
{
	pings(false);
}

Test(dp_lane, ping_over_ipv6)
{
	pings(true);
}

Test(dp_lane, strict_reverse_path_filter)
{
	for (int i = 0; i < 2; i++) {
		ntm_rig_enter(&rig, i);
		ntm_rig_run("sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1");
	}
	ntm_rig_tunnel(&rig, false);
	cr_expect(ok("ping -q -c 2 -i 0.05 -W 10 100.96.0.2 >/dev/null"));
}

Test(dp_lane, ipv6_switched_off_by_default)
{
	for (int i = 0; i < 2; i++) {
		ntm_rig_enter(&rig, i);
		ntm_rig_run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
	}
	ntm_rig_tunnel(&rig, false);
	cr_expect(ok("ping -q -c 2 -i 0.05 -W 10 fd4e:544d::2 >/dev/null"));
}

Test(dp_lane, generic_xdp)
{
	rig.xdp_mode = NTM_XDP_GENERIC;
	ntm_rig_tunnel(&rig, false);
	cr_expect(ok("ping -q -c 2 -i 0.05 -W 10 100.96.0.2 >/dev/null"));
	cr_expect(ok("ping -q -c 2 -i 0.05 -W 10 fd4e:544d::2 >/dev/null"));
}

/* Side 0 seals in the agent; the kernel of side 1 opens. */
static void slow_to_kernel(bool ipv6)
{
	uint8_t inner[256], dgram[512];
	size_t n, len;
	ntm_rig_tunnel(&rig, false);
	int fd = ntm_rig_socket(&rig, 1, ipv6, PORT);
	n = ntm_rig_inner(0, ipv6, PORT, "hello", 5, inner, sizeof(inner));
	struct ntm_dp *dp = rig.dp[0];
	cr_assert(eq(int, dp->ops->seal(dp, NTM_RIG_PATH, inner, n, dgram, sizeof(dgram), &len), 0));
	cr_expect(eq(sz, len, n + 32));
	ntm_rig_wire(&rig, 0, NTM_PORT, dgram, len);
	cr_assert(eq(int, ntm_rig_recv(fd, buf, sizeof(buf), WAIT_MS), 5));
	cr_expect(eq(int, memcmp(buf, "hello", 5), 0));
	ntm_rig_wire(&rig, 0, NTM_PORT, dgram, len);
	cr_expect(eq(int, ntm_rig_recv(fd, buf, sizeof(buf), NONE_MS), -1), "replayed");
	cr_expect(eq(u64, ntm_rig_count(&rig, 1, NTM_R_RX_REPLAY), 1));
}

Test(dp_lane, agent_seals_and_kernel_opens_ipv4)
{
	slow_to_kernel(false);
}

Test(dp_lane, agent_seals_and_kernel_opens_ipv6)
{
	slow_to_kernel(true);
}

/* One window: what the agent opened the kernel doesn't, and the other way round. */
Test(dp_lane, one_replay_window_for_both)
{
	enum { N = 64 };
	static uint8_t dgram[N][256];
	size_t len[N];
	uint8_t inner[128];
	struct ntm_addr from = ntm_rig_endpoint(0, false);
	ntm_rig_tunnel(&rig, false);
	struct ntm_dp *a = rig.dp[0], *b = rig.dp[1];
	for (int i = 0; i < N; i++) {
		uint8_t text = (uint8_t)i;
		size_t n = ntm_rig_inner(0, i & 1, PORT, &text, 1, inner, sizeof(inner));
		cr_assert(eq(int, a->ops->seal(a, NTM_RIG_PATH, inner, n, dgram[i], sizeof(dgram[i]), &len[i]), 0));
	}
	int fd[2] = {ntm_rig_socket(&rig, 1, false, PORT), ntm_rig_socket(&rig, 1, true, PORT)};
	unsigned delivered[N] = {0}, refused = 0;
	for (int i = N - 1; i >= 0; i--) { /* newest first: order must not matter */
		bool agent_first = i & 2;
		if (agent_first)
			cr_expect(eq(int, b->ops->open(b, dgram[i], len[i], &from), 0), "%d", i);
		ntm_rig_wire(&rig, 0, NTM_PORT, dgram[i], len[i]);
		if (!agent_first) {
			cr_assert(eq(int, ntm_rig_recv(fd[i & 1], buf, sizeof(buf), WAIT_MS), 1), "%d", i);
			delivered[(uint8_t)buf[0]]++;
			ntm_rig_enter(&rig, 1);
			refused += b->ops->open(b, dgram[i], len[i], &from) == -EALREADY;
		}
	}
	for (int f = 0; f < 2; f++)
		while (ntm_rig_recv(fd[f], buf, sizeof(buf), NONE_MS) == 1)
			delivered[(uint8_t)buf[0]]++;
	for (int i = 0; i < N; i++)
		cr_expect(eq(uint, delivered[i], 1), "%d", i);
	cr_expect(eq(uint, refused, N / 2));
	cr_expect(eq(u64, ntm_rig_count(&rig, 1, NTM_R_RX_REPLAY), N));
	cr_expect(eq(u64, ntm_rig_count(&rig, 1, NTM_R_RX_OK), N));
}

static bool has_roamed(const struct ntm_rig_seen *s)
{
	return s->roamed > 0;
}

/* The peer's packets come from another port: replies go there, and the agent hears of it. */
static void roams(bool by_agent)
{
	uint8_t dgram[64];
	size_t len;
	struct ntm_addr from = ntm_rig_endpoint(0, false);
	struct ntm_dp_stats s;
	from.port = htons(4999);
	ntm_rig_tunnel(&rig, false);
	struct ntm_dp *a = rig.dp[0], *b = rig.dp[1];
	cr_assert(eq(int, a->ops->seal(a, NTM_RIG_PATH, NULL, 0, dgram, sizeof(dgram), &len), 0));
	if (by_agent)
		cr_assert(eq(int, b->ops->open(b, dgram, len, &from), 0));
	else
		ntm_rig_wire(&rig, 0, 4999, dgram, len);
	cr_assert(ntm_rig_wait(&rig, 1, has_roamed, WAIT_MS));
	cr_expect(eq(int, ntm_addr_equal(&rig.seen[1].endpoint, &from), 1));
	cr_assert(eq(int, b->ops->stats(b, NTM_RIG_PATH, &s), 0));
	cr_expect(eq(int, ntm_addr_equal(&s.endpoint, &from), 1));
	cr_expect(eq(u64, s.roams, 1));
	cr_expect(eq(u64, ntm_rig_count(&rig, 1, NTM_R_RX_KEEPALIVE), 1));
	/* An old packet from elsewhere moves nothing. */
	ntm_rig_enter(&rig, 1);
	cr_expect(eq(int, b->ops->open(b, dgram, len, &from), -EALREADY));
}

Test(dp_lane, roams_in_the_kernel)
{
	roams(false);
}

Test(dp_lane, roams_in_the_agent)
{
	roams(true);
}

static bool has_epoch(const struct ntm_rig_seen *s)
{
	return s->epochs > 0;
}

/* The responder installs first and keeps sending on the old epoch until the initiator's first packet. */
static void rekeys(bool by_agent)
{
	uint8_t dgram[64];
	size_t len;
	struct ntm_dp_stats s;
	struct ntm_addr from = ntm_rig_endpoint(0, false);
	struct ntm_dp_keys ka = ntm_rig_keys(0, 1), kb = ntm_rig_keys(1, 1);
	ntm_rig_tunnel(&rig, false);
	struct ntm_dp *a = rig.dp[0], *b = rig.dp[1];
	cr_assert(eq(int, b->ops->set_keys(b, NTM_RIG_PATH, &kb, false), 0));
	cr_expect(ok("ping -q -c 1 -W 10 100.96.0.2 >/dev/null"), "old epoch both ways");
	cr_assert(eq(int, b->ops->stats(b, NTM_RIG_PATH, &s), 0));
	cr_expect(eq(u8, s.tx_epoch, 0));
	cr_assert(eq(int, a->ops->set_keys(a, NTM_RIG_PATH, &ka, true), 0));
	cr_assert(eq(int, a->ops->seal(a, NTM_RIG_PATH, NULL, 0, dgram, sizeof(dgram), &len), 0));
	if (by_agent)
		cr_assert(eq(int, b->ops->open(b, dgram, len, &from), 0));
	else
		ntm_rig_wire(&rig, 0, NTM_PORT, dgram, len);
	cr_assert(ntm_rig_wait(&rig, 1, has_epoch, WAIT_MS));
	cr_expect(eq(u8, rig.seen[1].epoch, 1));
	cr_assert(eq(int, b->ops->stats(b, NTM_RIG_PATH, &s), 0));
	cr_expect(eq(u8, s.tx_epoch, 1));
	ntm_rig_enter(&rig, 0);
	cr_expect(ok("ping -q -c 1 -W 10 100.96.0.2 >/dev/null"), "new epoch both ways");
}

Test(dp_lane, rekey_confirmed_in_the_kernel)
{
	rekeys(false);
}

Test(dp_lane, rekey_confirmed_in_the_agent)
{
	rekeys(true);
}

Test(dp_lane, old_epoch_ends_after_its_grace)
{
	uint8_t before[2][64];
	size_t len;
	struct ntm_dp_keys ka = ntm_rig_keys(0, 1), kb = ntm_rig_keys(1, 1);
	struct ntm_addr from = ntm_rig_endpoint(0, false);
	ntm_rig_tunnel(&rig, false);
	struct ntm_dp *a = rig.dp[0], *b = rig.dp[1];
	for (int i = 0; i < 2; i++)
		cr_assert(eq(int, a->ops->seal(a, NTM_RIG_PATH, NULL, 0, before[i], sizeof(before[i]), &len), 0));
	cr_assert(eq(int, a->ops->set_keys(a, NTM_RIG_PATH, &ka, true), 0));
	cr_assert(eq(int, b->ops->set_keys(b, NTM_RIG_PATH, &kb, true), 0));
	cr_expect(eq(int, b->ops->open(b, before[0], len, &from), 0), "still on the way");
	sleep(NTM_EPOCH_GRACE_S + 1); /* the passing of time is what is tested */
	cr_expect(eq(int, b->ops->open(b, before[1], len, &from), -ENOKEY));
	ntm_rig_wire(&rig, 0, NTM_PORT, before[1], len);
	cr_expect(ok("ping -q -c 1 -W 10 100.96.0.2 >/dev/null"));
	cr_expect(eq(u64, ntm_rig_count(&rig, 1, NTM_R_RX_NO_KEY), 2));
}

static bool has_no_path(const struct ntm_rig_seen *s)
{
	return s->no_path > 0;
}

Test(dp_lane, packet_without_a_path_reaches_the_agent)
{
	ntm_rig_tunnel(&rig, false);
	int fd = ntm_rig_socket(&rig, 0, false, PORT);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	inet_pton(AF_INET, "100.96.7.7", &to.sin_addr);
	cr_assert(eq(int, (int)sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1));
	cr_assert(ntm_rig_wait(&rig, 0, has_no_path, WAIT_MS));
	cr_expect(eq(int, memcmp(rig.seen[0].addr + 12, &to.sin_addr, 4), 0));
	cr_expect(eq(sz, rig.seen[0].len, 29));
	cr_expect(eq(int, memcmp(rig.seen[0].packet + 16, &to.sin_addr, 4), 0), "the whole inner packet");
}

static bool has_expired(const struct ntm_rig_seen *s)
{
	return s->expired > 0;
}

Test(dp_lane, path_without_keys_says_so)
{
	struct ntm_dp_path p = ntm_rig_path(0, false);
	ntm_rig_tunnel(&rig, false);
	struct ntm_dp *a = rig.dp[0];
	p.path_id++;
	cr_assert(eq(int, a->ops->add_path(a, &p), 0));
	cr_assert(eq(int, a->ops->activate(a, p.path_id), 0));
	cr_expect(not(ok("ping -q -c 1 -W 1 100.96.0.2 >/dev/null")));
	cr_assert(ntm_rig_wait(&rig, 0, has_expired, WAIT_MS));
	cr_expect(eq(u64, rig.seen[0].path_id, p.path_id));
}

/* Everything that open() refuses, and that nothing of it is delivered. */
Test(dp_lane, agent_refuses_what_the_kernel_refuses)
{
	uint8_t inner[128], good[256], bad[256];
	size_t n, len;
	struct ntm_addr from = ntm_rig_endpoint(0, false);
	ntm_rig_tunnel(&rig, false);
	struct ntm_dp *a = rig.dp[0], *b = rig.dp[1];
	n = ntm_rig_inner(0, false, PORT, "x", 1, inner, sizeof(inner));
	cr_assert(eq(int, a->ops->seal(a, NTM_RIG_PATH, inner, n, good, sizeof(good), &len), 0));
	static const struct {
		const char *what;
		int off;
		uint8_t bits;
		int err;
		enum ntm_reason reason;
	} flips[] = {
	    {"version", 0, 0x30, -EBADMSG, NTM_R_RX_BAD_VERSION},
	    {"type", 0, 0x07, -EBADMSG, NTM_R_RX_BAD_TYPE},
	    {"suite", 1, 0x80, -EBADMSG, NTM_R_RX_BAD_TYPE},
	    {"epoch", 1, 0x02, -ENOKEY, NTM_R_RX_NO_KEY},
	    {"counter", 7, 0x01, -EBADMSG, NTM_R_RX_BAD_TAG},
	    {"counter limit", 2, 0x01, -ESTALE, NTM_R_RX_TOO_OLD},
	    {"Path ID", 15, 0x80, -ENOENT, NTM_R_RX_UNKNOWN_PATH},
	    {"text", 20, 0x01, -EBADMSG, NTM_R_RX_BAD_TAG},
	    {"tag", (int)28 + 32, 0x80, -EBADMSG, NTM_R_RX_BAD_TAG},
	};
	int fd = ntm_rig_socket(&rig, 1, false, PORT);
	for (size_t i = 0; i < sizeof(flips) / sizeof(flips[0]); i++) {
		uint64_t before = ntm_rig_count(&rig, 1, flips[i].reason);
		memcpy(bad, good, len);
		bad[flips[i].off] ^= flips[i].bits;
		cr_expect(eq(int, b->ops->open(b, bad, len, &from), flips[i].err), "%s", flips[i].what);
		cr_expect(eq(u64, ntm_rig_count(&rig, 1, flips[i].reason), before + 1), "%s", flips[i].what);
	}
	cr_expect(eq(int, b->ops->open(b, good, 31, &from), -EBADMSG), "short");
	cr_expect(eq(int, b->ops->open(b, good, len - 1, &from), -EBADMSG), "truncated");

	static const struct {
		const char *what;
		int off;
		uint8_t bits;
		int err;
		enum ntm_reason reason;
	} inners[] = {
	    {"inner version", 0, 0x10, -EBADMSG, NTM_R_RX_BAD_INNER},
	    {"inner length", 2, 0x01, -EBADMSG, NTM_R_RX_BAD_INNER},
	    {"inner source", 15, 0x10, -EADDRNOTAVAIL, NTM_R_RX_BAD_SOURCE},
	    {"inner destination", 19, 0x10, -EADDRNOTAVAIL, NTM_R_RX_BAD_DEST},
	};
	for (size_t i = 0; i < sizeof(inners) / sizeof(inners[0]); i++) {
		size_t l;
		uint64_t before = ntm_rig_count(&rig, 1, inners[i].reason);
		inner[inners[i].off] ^= inners[i].bits;
		cr_assert(eq(int, a->ops->seal(a, NTM_RIG_PATH, inner, n, bad, sizeof(bad), &l), 0));
		inner[inners[i].off] ^= inners[i].bits;
		cr_expect(eq(int, b->ops->open(b, bad, l, &from), inners[i].err), "%s", inners[i].what);
		cr_expect(eq(u64, ntm_rig_count(&rig, 1, inners[i].reason), before + 1), "%s", inners[i].what);
	}
	cr_expect(eq(int, ntm_rig_recv(fd, buf, sizeof(buf), NONE_MS), -1), "nothing came through");
	cr_expect(eq(int, b->ops->open(b, good, len, &from), 0), "nothing else was affected");
	cr_expect(eq(int, ntm_rig_recv(fd, buf, sizeof(buf), WAIT_MS), 1));
}

/* The whole of it again after the agents were gone for a while. */
Test(dp_lane, lives_on_without_agents)
{
	char why[256];
	ntm_rig_tunnel(&rig, false);
	cr_expect(ok("ping -q -c 1 -W 10 100.96.0.2 >/dev/null"));
	for (int i = 0; i < 2; i++) {
		rig.dp[i]->ops->close(rig.dp[i], true);
		rig.dp[i] = NULL;
	}
	cr_expect(ok("ping -q -c 3 -i 0.05 -W 10 100.96.0.2 >/dev/null"));
	for (int i = 0; i < 2; i++)
		cr_assert(eq(int, ntm_rig_open(&rig, i, why, sizeof(why)), 0), "%s", why);
	ntm_rig_enter(&rig, 0);
	cr_expect(ok("ping -q -c 1 -W 10 100.96.0.2 >/dev/null"));
	cr_expect(eq(u64, ntm_rig_count(&rig, 1, NTM_R_RX_OK), 5));
}

/* A second wire between the two, and a way to everywhere by it. */
static struct ntm_dp_uplink spare_uplink(int side)
{
	struct ntm_dp_uplink u = {.mtu = 1500, .addr4 = {192, 0, 3, (uint8_t)(side + 1)}};
	struct ntm_dp_way *ways[] = {&u.way4, &u.way6};
	char text[32];
	snprintf(u.name, sizeof(u.name), "spare%d", side);
	ntm_rig_enter(&rig, side);
	ntm_rig_run("ethtool -K %s tso off gso off gro on tx-udp-segmentation off >/dev/null", u.name);
	ntm_rig_run("ip addr add 192.0.3.%d/24 dev %s; ip addr add 2001:db8:3::%d/64 dev %s nodad; ip link set %s up",
		    side + 1, u.name, side + 1, u.name, u.name);
	u.ifindex = if_nametoindex(u.name);
	snprintf(text, sizeof(text), "2001:db8:3::%d", side + 1);
	cr_assert(eq(int, ntm_ip_parse(text, u.addr6), 0));
	for (int v6 = 0; v6 < 2; v6++) {
		*ways[v6] = (struct ntm_dp_way){.known = true, .out = true, .prefix_len = v6 ? 64 : 120};
		snprintf(text, sizeof(text), v6 ? "2001:db8:3::%d" : "192.0.3.%d", !side + 1);
		cr_assert(eq(int, ntm_ip_parse(text, ways[v6]->gateway), 0));
	}
	return u;
}

static void copies(bool outer_ipv6)
{
	enum { N = 20 };
	rig.duplicate_ms = 60000;
	ntm_rig_run("ip link add spare0 type veth peer name spare1; ip link set spare1 netns /proc/%d/fd/%d", getpid(),
		    rig.ns[1]);
	ntm_rig_tunnel(&rig, outer_ipv6);
	struct ntm_dp_uplink both[2];
	char why[256] = "";
	for (int side = 1; side >= 0; side--) {
		both[side] = spare_uplink(side); /* first: that of side 1 stays its second one */
		both[!side] = ntm_rig_uplink(side);
		cr_assert(eq(int, rig.dp[side]->ops->set_uplinks(rig.dp[side], both, 2, why, sizeof(why)), 0), "%s",
			  why);
	}
	int to = ntm_rig_socket(&rig, 1, false, PORT), from = ntm_rig_socket(&rig, 0, false, PORT);
	for (int i = 0; i < N; i++) {
		cr_assert(eq(int, ntm_rig_send(from, 1, false, PORT, "hello", 5), 0));
		cr_assert(eq(int, ntm_rig_recv(to, buf, sizeof(buf), WAIT_MS), 5), "%d", i);
	}
	cr_expect(eq(u64, ntm_rig_count(&rig, 0, NTM_R_TX_COPY), N));
	cr_expect(eq(u64, ntm_rig_count(&rig, 0, NTM_R_TX_OK), N));
	for (int i = 0; i < WAIT_MS && ntm_rig_count(&rig, 1, NTM_R_RX_REPLAY) < N; i++)
		usleep(1000);
	cr_expect(eq(u64, ntm_rig_count(&rig, 1, NTM_R_RX_REPLAY), N), "each came by both wires");
	cr_expect(eq(u64, ntm_rig_count(&rig, 1, NTM_R_RX_OK), N));
	cr_expect(eq(int, ntm_rig_recv(to, buf, sizeof(buf), NONE_MS), -1), "and was delivered once");
}

Test(dp_lane, copies_by_the_former_uplink_over_ipv4)
{
	copies(false);
}

Test(dp_lane, copies_by_the_former_uplink_over_ipv6)
{
	copies(true);
}
