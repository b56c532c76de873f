/* SPDX-License-Identifier: BSD-2-Clause */
/* The data plane in the agent: what it does to packets. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "../../user/dataplane/pathops.h"
#include "../harness/dp_user_rig.h"

TestSuite(dp_user, .init = ntm_user_rig_up, .fini = ntm_user_rig_down, .timeout = 30);

Test(dp_user, carries_both_families_both_ways)
{
	uint8_t in[256];
	ntm_user_rig_tunnel();
	for (int from = 0; from < 2; from++)
		for (int v6 = 0; v6 < 2; v6++) {
			struct ntm_user_side *to = &ntm_user_side[!from];
			size_t n = ntm_user_rig_inner(from, v6, 100, in, sizeof(in));
			to->n_got = 0;
			ntm_dp_user_inner_input(ntm_user_side[from].dp, in, n);
			cr_assert(eq(sz, ntm_user_side[from].n_sent, 1));
			cr_expect(eq(sz, ntm_user_side[from].sent[0].len, n + 32));
			struct ntm_addr want = ntm_rig_endpoint(!from, false);
			cr_expect(ntm_addr_equal(&ntm_user_side[from].sent[0].to, &want));
			cr_expect(eq(int, ntm_user_rig_carry(from), 0));
			cr_assert(eq(sz, to->n_got, 1));
			cr_expect(eq(sz, to->got_len[0], n));
			cr_expect(eq(int, memcmp(to->got[0], in, n), 0));
		}
	struct ntm_dp_stats s;
	cr_assert(eq(int, ntm_user_side[0].dp->ops->stats(ntm_user_side[0].dp, NTM_RIG_PATH, &s), 0));
	cr_expect(eq(u64, s.tx_packets, 2));
	cr_expect(eq(u64, s.rx_packets, 2));
	struct ntm_addr ep;
	cr_assert(eq(int, ntm_user_side[0].dp->ops->endpoint(ntm_user_side[0].dp, NTM_RIG_PATH, &ep), 0));
	cr_expect(ntm_addr_equal(&ep, &s.endpoint));
	cr_expect(eq(u64, ntm_user_rig_counted(1, NTM_R_RX_OK), 2));
	cr_expect(eq(u32, ntm_user_side[0].routes[0], 1440));
	cr_expect(eq(u32, ntm_user_side[0].routes[1], 1440));
}

Test(dp_user, copies_leave_by_the_uplink_before_and_are_taken_once)
{
	struct ntm_dp_uplink u[2] = {{.name = "a", .ifindex = 7, .mtu = 1500, .addr4 = {192, 0, 2, 7}},
				     {.name = "b", .ifindex = 8, .mtu = 1500, .addr4 = {192, 0, 2, 8}}};
	struct ntm_dp_uplink turned[2] = {u[1], u[0]};
	struct ntm_user_side *a = &ntm_user_side[0], *b = &ntm_user_side[1];
	uint8_t packet[512], from[16];
	char why[128];
	ntm_user_rig_tunnel();
	size_t len = ntm_user_rig_inner(0, false, 100, packet, sizeof(packet));
	cr_assert(eq(int, a->dp->ops->set_uplinks(a->dp, u, 2, why, sizeof(why)), 0));
	ntm_dp_user_inner_input(a->dp, packet, len);
	cr_assert(eq(sz, a->n_sent, 1));
	ntm_user_rig_carry(0);

	cr_assert(eq(int, a->dp->ops->set_uplinks(a->dp, turned, 2, why, sizeof(why)), 0));
	ntm_dp_user_inner_input(a->dp, packet, len);
	cr_assert(eq(sz, a->n_sent, 2));
	ntm_ip_from_v4(from, u[0].addr4);
	cr_expect(eq(u32, a->sent[0].ifindex, 0));
	cr_expect(eq(u32, a->sent[1].ifindex, 7));
	cr_expect_arr_eq(a->sent[1].src, from, 16);
	cr_expect(eq(sz, a->sent[1].len, a->sent[0].len));
	cr_expect_arr_eq(a->sent[1].data, a->sent[0].data, a->sent[0].len);
	ntm_user_rig_carry(0);
	cr_expect(eq(sz, b->n_got, 2));
	cr_expect(eq(u64, ntm_user_rig_counted(0, NTM_R_TX_COPY), 1));
	cr_expect(eq(u64, ntm_user_rig_counted(1, NTM_R_RX_REPLAY), 1));

	/* It is gone. */
	cr_assert(eq(int, a->dp->ops->set_uplinks(a->dp, &u[1], 1, why, sizeof(why)), 0));
	ntm_dp_user_inner_input(a->dp, packet, len);
	cr_expect(eq(sz, a->n_sent, 1));
}

static struct ntm_path contested;
static const struct ntm_addr elsewhere = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 99}, .port = 99};

/* As whoever found no hold, then took the lock, and was held up. */
static void *move_late(void *arg)
{
	while (!__atomic_load_n(&contested.hold_until_ns, __ATOMIC_ACQUIRE))
		sched_yield();
	ntm_endpoint_set(&contested.ep[1], &elsewhere);
	__atomic_store_n(&contested.ep_cur, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&contested.ep_lock, 0, __ATOMIC_RELEASE);
	return arg;
}

Test(dp_user, what_is_held_is_where_it_is_to_be)
{
	struct ntm_addr home = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 7}, .port = 7}, now;
	pthread_t mover;
	contested.ep_lock = 1;
	ntm_endpoint_set(&contested.ep[0], &home);
	cr_assert(eq(int, pthread_create(&mover, NULL, move_late, NULL), 0));
	ntm_path_set_endpoint(&contested, &home, 60000);
	pthread_join(mover, NULL);
	ntm_path_endpoint(&contested, &now);
	cr_expect(ntm_addr_equal(&now, &home));
}

Test(dp_user, refuses_inner_packets_that_are_not_its_own)
{
	static const struct {
		const char *what;
		int off;
		uint8_t value;
		enum ntm_reason reason;
	} cases[] = {
	    {"version 7", 0, 0x75, NTM_R_TX_NOT_IP},
	    {"short header", 0, 0x44, NTM_R_TX_BAD_INNER},
	    {"longer than it is", 2, 0x40, NTM_R_TX_BAD_INNER},
	    {"another's source", 15, 9, NTM_R_TX_BAD_SOURCE},
	    {"multicast", 16, 239, NTM_R_TX_NOT_IP},
	    {"out of the pools, no gateway", 16, 8, NTM_R_TX_NOT_VIRTUAL},
	    {"to itself", 19, 1, NTM_R_TX_NOT_VIRTUAL},
	    {"nobody", 18, 77, NTM_R_TX_NO_PATH},
	};
	uint8_t in[256];
	ntm_user_rig_tunnel();
	size_t n = ntm_user_rig_inner(0, false, 10, in, sizeof(in));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t bad[256];
		memcpy(bad, in, n);
		bad[cases[i].off] = cases[i].value;
		ntm_dp_user_inner_input(ntm_user_side[0].dp, bad, n);
		cr_expect(eq(u64, ntm_user_rig_counted(0, cases[i].reason),
			     i == 4   ? 2
			     : i == 6 ? 2
			     : i == 2 ? 2
				      : 1),
			  "%s", cases[i].what);
	}
	for (size_t len = 0; len < 20; len++)
		ntm_dp_user_inner_input(ntm_user_side[0].dp, in, len);
	cr_expect(eq(sz, ntm_user_side[0].n_sent, 0));
	cr_expect(eq(sz, ntm_user_side[0].n_got, 0));
}

Test(dp_user, packet_without_a_path_is_told_within_limits)
{
	uint8_t in[256];
	ntm_user_rig_tunnel();
	size_t n = ntm_user_rig_inner(0, true, 10, in, sizeof(in));
	in[24 + 15] = 99;
	ntm_dp_user_inner_input(ntm_user_side[0].dp, in, n);
	cr_expect(eq(u32, ntm_user_side[0].seen.no_path, 0), "not before dispatch()");
	ntm_user_rig_events_of(0);
	cr_expect(eq(u32, ntm_user_side[0].seen.no_path, 1));
	cr_expect(eq(sz, ntm_user_side[0].seen.len, n));
	cr_expect(eq(int, memcmp(ntm_user_side[0].seen.addr, in + 24, 16), 0));
	cr_expect(eq(int, memcmp(ntm_user_side[0].seen.packet, in, n), 0));
	for (int i = 0; i < 2000; i++)
		ntm_dp_user_inner_input(ntm_user_side[0].dp, in, n);
	for (int i = 0; i < 40; i++)
		ntm_user_side[0].dp->ops->dispatch(ntm_user_side[0].dp);
	cr_expect(lt(u32, ntm_user_side[0].seen.no_path, 1500), "a flood is thinned out");
	cr_expect(
	    eq(u64, ntm_user_rig_counted(0, NTM_R_TX_NO_PATH) + ntm_user_rig_counted(0, NTM_R_TX_AGENT_BUSY), 2001));
}

Test(dp_user, replays_and_forgeries_are_refused)
{
	uint8_t in[256], seen[2048], bad[2048];
	struct ntm_addr from = ntm_rig_endpoint(0, false);
	ntm_user_rig_tunnel();
	struct ntm_dp *b = ntm_user_side[1].dp;
	ntm_dp_user_inner_input(ntm_user_side[0].dp, in, ntm_user_rig_inner(0, false, 10, in, sizeof(in)));
	size_t len = ntm_user_side[0].sent[0].len;
	memcpy(seen, ntm_user_side[0].sent[0].data, len);
	for (size_t i = 0; i < len; i++) {
		memcpy(bad, seen, len);
		bad[i] ^= 0x40;
		cr_expect(ne(int, b->ops->open(b, bad, len, &from), 0), "byte %zu", i);
		cr_expect(ne(int, b->ops->open(b, seen, i, &from), 0), "length %zu", i);
	}
	cr_expect(eq(sz, ntm_user_side[1].n_got, 0));
	cr_expect(eq(int, b->ops->open(b, seen, len, &from), 0));
	cr_expect(eq(int, b->ops->open(b, seen, len, &from), -EALREADY));
	ntm_user_side[0].n_sent = 0;
	for (int i = 0; i < NTM_REPLAY_WINDOW + 2; i++) {
		ntm_dp_user_inner_input(ntm_user_side[0].dp, in, ntm_user_rig_inner(0, false, 10, in, sizeof(in)));
		ntm_user_side[1].n_got = 0;
		cr_assert(eq(int, ntm_user_rig_carry(0), 0));
	}
	uint64_t before = ntm_user_rig_counted(1, NTM_R_RX_TOO_OLD); /* a flipped bit of the counter, too */
	cr_expect(eq(int, b->ops->open(b, seen, len, &from), -ESTALE));
	cr_expect(eq(u64, ntm_user_rig_counted(1, NTM_R_RX_REPLAY), 1));
	cr_expect(eq(u64, ntm_user_rig_counted(1, NTM_R_RX_TOO_OLD), before + 1));
}

Test(dp_user, only_the_peer_itself_and_only_to_here)
{
	uint8_t in[256], out[512];
	size_t len;
	struct ntm_addr from = ntm_rig_endpoint(0, false);
	ntm_user_rig_tunnel();
	struct ntm_dp *a = ntm_user_side[0].dp, *b = ntm_user_side[1].dp;
	for (int v6 = 0; v6 < 2; v6++) {
		size_t n = ntm_user_rig_inner(0, v6, 10, in, sizeof(in)), src = v6 ? 8 + 15 : 15,
		       dst = v6 ? 24 + 15 : 19;
		in[src] ^= 4;
		cr_assert(eq(int, a->ops->seal(a, NTM_RIG_PATH, in, n, out, sizeof(out), &len), 0));
		cr_expect(eq(int, b->ops->open(b, out, len, &from), -EADDRNOTAVAIL));
		in[src] ^= 4;
		in[dst] ^= 4;
		cr_assert(eq(int, a->ops->seal(a, NTM_RIG_PATH, in, n, out, sizeof(out), &len), 0));
		cr_expect(eq(int, b->ops->open(b, out, len, &from), -EADDRNOTAVAIL));
	}
	cr_expect(eq(u64, ntm_user_rig_counted(1, NTM_R_RX_BAD_SOURCE), 2));
	cr_expect(eq(u64, ntm_user_rig_counted(1, NTM_R_RX_BAD_DEST), 2));
	cr_expect(eq(sz, ntm_user_side[1].n_got, 0));
	/* A keep-alive is authenticated, and nothing to deliver. */
	cr_assert(eq(int, a->ops->seal(a, NTM_RIG_PATH, NULL, 0, out, sizeof(out), &len), 0));
	cr_expect(eq(int, b->ops->open(b, out, len, &from), 0));
	cr_expect(eq(u64, ntm_user_rig_counted(1, NTM_R_RX_KEEPALIVE), 1));
}

Test(dp_user, follows_the_peer_by_authenticated_new_packets)
{
	uint8_t in[256], old[512];
	struct ntm_addr moved = ntm_rig_endpoint(0, true), home = ntm_rig_endpoint(0, false);
	struct ntm_dp_stats s;
	ntm_user_rig_tunnel();
	size_t n = ntm_user_rig_inner(0, false, 10, in, sizeof(in));
	ntm_dp_user_inner_input(ntm_user_side[0].dp, in, n);
	size_t len = ntm_user_side[0].sent[0].len;
	memcpy(old, ntm_user_side[0].sent[0].data, len);
	ntm_user_side[0].n_sent = 0;
	ntm_dp_user_inner_input(ntm_user_side[0].dp, in, n);
	cr_assert(eq(int, ntm_user_rig_carry_from(0, &moved, 0), 0));
	ntm_user_rig_events_of(1);
	cr_expect(eq(u32, ntm_user_side[1].seen.roamed, 1));
	cr_expect(ntm_addr_equal(&ntm_user_side[1].seen.endpoint, &moved));
	ntm_dp_user_inner_input(ntm_user_side[1].dp, in, ntm_user_rig_inner(1, false, 10, in, sizeof(in)));
	cr_expect(ntm_addr_equal(&ntm_user_side[1].sent[0].to, &moved));
	/* One that was overtaken moves nothing, nor does any while the agents' choice is held. */
	cr_expect(eq(int, ntm_user_side[1].dp->ops->open(ntm_user_side[1].dp, old, len, &home), 0));
	cr_assert(eq(int, ntm_user_side[1].dp->ops->set_endpoint(ntm_user_side[1].dp, NTM_RIG_PATH, &home, 60000), 0));
	ntm_dp_user_inner_input(ntm_user_side[0].dp, in, ntm_user_rig_inner(0, false, 10, in, sizeof(in)));
	cr_assert(eq(int, ntm_user_rig_carry_from(0, &moved, 0), 0));
	cr_assert(eq(int, ntm_user_side[1].dp->ops->stats(ntm_user_side[1].dp, NTM_RIG_PATH, &s), 0));
	cr_expect(ntm_addr_equal(&s.endpoint, &home));
	cr_expect(eq(u64, s.roams, 1));
}

Test(dp_user, responder_switches_with_the_first_packet_of_an_epoch)
{
	uint8_t in[256], old[512], late[512];
	struct ntm_addr from = ntm_rig_endpoint(0, false);
	struct ntm_dp_keys ka = ntm_rig_keys(0, 1), kb = ntm_rig_keys(1, 1);
	struct ntm_dp_stats s;
	ntm_user_rig_tunnel();
	struct ntm_dp *a = ntm_user_side[0].dp, *b = ntm_user_side[1].dp;
	size_t n = ntm_user_rig_inner(0, false, 10, in, sizeof(in)), len, late_len;
	cr_assert(eq(int, a->ops->seal(a, NTM_RIG_PATH, in, n, old, sizeof(old), &len), 0));
	cr_assert(eq(int, a->ops->seal(a, NTM_RIG_PATH, in, n, late, sizeof(late), &late_len), 0));
	cr_assert(eq(int, b->ops->set_keys(b, NTM_RIG_PATH, &kb, false), 0));
	cr_assert(eq(int, b->ops->stats(b, NTM_RIG_PATH, &s), 0));
	cr_expect(eq(u8, s.tx_epoch, 0));
	cr_assert(eq(int, a->ops->set_keys(a, NTM_RIG_PATH, &ka, true), 0));
	ntm_dp_user_inner_input(a, in, n);
	cr_assert(eq(int, ntm_user_rig_carry(0), 0));
	ntm_user_rig_events_of(1);
	cr_expect(eq(u32, ntm_user_side[1].seen.epochs, 1));
	cr_expect(eq(u8, ntm_user_side[1].seen.epoch, 1));
	cr_assert(eq(int, b->ops->stats(b, NTM_RIG_PATH, &s), 0));
	cr_expect(eq(u8, s.tx_epoch, 1));
	cr_expect(eq(int, b->ops->open(b, old, len, &from), 0), "the old epoch's last packets are on the way");
	sleep(NTM_EPOCH_GRACE_S + 1); /* the passing of time is what is tested */
	cr_expect(eq(int, b->ops->open(b, late, late_len, &from), -ENOKEY));
	ntm_user_rig_events_of(1);
	cr_expect(eq(u64, ntm_user_rig_counted(1, NTM_R_RX_NO_KEY), 1));
}

Test(dp_user, path_without_keys_says_so_once_a_second)
{
	uint8_t in[256];
	struct ntm_dp_path p = ntm_rig_path(0, false);
	ntm_user_rig_tunnel();
	struct ntm_dp *a = ntm_user_side[0].dp;
	p.path_id++;
	cr_assert(eq(int, a->ops->add_path(a, &p), 0));
	cr_assert(eq(int, a->ops->activate(a, p.path_id), 0));
	size_t n = ntm_user_rig_inner(0, false, 10, in, sizeof(in));
	for (int i = 0; i < 3; i++)
		ntm_dp_user_inner_input(a, in, n);
	ntm_user_rig_events_of(0);
	cr_expect(eq(u32, ntm_user_side[0].seen.expired, 1));
	cr_expect(eq(u64, ntm_user_side[0].seen.path_id, p.path_id));
	cr_expect(eq(u64, ntm_user_rig_counted(0, NTM_R_TX_NO_KEY), 3));
	/* With it gone, the first path is not used again: that is the agent's to decide. */
	cr_assert(eq(int, a->ops->del_path(a, p.path_id), 0));
	cr_expect(eq(u32, ntm_user_side[0].routes[0], 0));
	ntm_dp_user_inner_input(a, in, n);
	cr_expect(eq(u64, ntm_user_rig_counted(0, NTM_R_TX_NO_PATH), 1));
	cr_assert(eq(int, a->ops->activate(a, NTM_RIG_PATH), 0));
	ntm_dp_user_inner_input(a, in, n);
	cr_expect(eq(sz, ntm_user_side[0].n_sent, 1));
}

Test(dp_user, too_big_is_answered_as_a_router_would)
{
	uint8_t in[2048];
	ntm_user_rig_tunnel();
	struct ntm_dp *a = ntm_user_side[0].dp;
	size_t n = ntm_user_rig_inner(0, false, 1500, in, sizeof(in));
	in[6] |= 0x40; /* don't fragment */
	ntm_dp_user_inner_input(a, in, n);
	cr_assert(eq(sz, ntm_user_side[0].n_got, 1));
	const uint8_t *r = ntm_user_side[0].got[0];
	cr_expect(eq(sz, ntm_user_side[0].got_len[0], 576));
	cr_expect(eq(int, ntm_user_rig_checksum(r, 20, 0), 0));
	cr_expect(eq(int, ntm_user_rig_checksum(r + 20, 556, 0), 0));
	cr_expect(eq(int, r[20], ICMP_DEST_UNREACH));
	cr_expect(eq(int, r[21], ICMP_FRAG_NEEDED));
	cr_expect(eq(int, r[26] << 8 | r[27], 1440));
	cr_expect(eq(int, memcmp(r + 12, in + 16, 4), 0));
	cr_expect(eq(int, memcmp(r + 16, in + 12, 4), 0));
	cr_expect(eq(int, memcmp(r + 28, in, 500), 0));

	n = ntm_user_rig_inner(0, true, 1500, in, sizeof(in));
	ntm_dp_user_inner_input(a, in, n);
	cr_assert(eq(sz, ntm_user_side[0].n_got, 2));
	r = ntm_user_side[0].got[1];
	cr_expect(eq(sz, ntm_user_side[0].got_len[1], 1280));
	cr_expect(eq(int, r[40], ICMP6_PACKET_TOO_BIG));
	cr_expect(eq(int, r[46] << 8 | r[47], 1440));
	cr_expect(eq(int, ntm_user_rig_checksum(r + 8, 1272, 1240 + IPPROTO_ICMPV6), 0), "with the pseudo-header");
	cr_expect(eq(u64, ntm_user_rig_counted(0, NTM_R_TX_TOO_BIG), 2));
	cr_expect(eq(sz, ntm_user_side[0].n_sent, 0));

	/* Nobody is told of an error about an error. */
	in[6] = IPPROTO_ICMPV6;
	in[40] = ICMP6_DST_UNREACH;
	ntm_dp_user_inner_input(a, in, n);
	cr_expect(eq(sz, ntm_user_side[0].n_got, 2));
}

Test(dp_user, fragments_where_it_may)
{
	uint8_t in[2048], whole[2048] = {0};
	size_t total = 0;
	ntm_user_rig_tunnel();
	size_t n = ntm_user_rig_inner(0, false, 1700, in, sizeof(in));
	ntm_dp_user_inner_input(ntm_user_side[0].dp, in, n);
	cr_assert(eq(sz, ntm_user_side[0].n_sent, 2));
	cr_assert(eq(int, ntm_user_rig_carry(0), 0));
	cr_assert(eq(sz, ntm_user_side[1].n_got, 2));
	for (int i = 0; i < 2; i++) {
		const uint8_t *p = ntm_user_side[1].got[i];
		size_t off = (size_t)((p[6] & 0x1f) << 8 | p[7]) * 8, len = ntm_user_side[1].got_len[i] - 20;
		cr_expect(eq(int, ntm_user_rig_checksum(p, 20, 0), 0));
		cr_expect(le(sz, ntm_user_side[1].got_len[i], 1440));
		cr_expect(eq(int, p[6] & 0x20, i ? 0 : 0x20));
		memcpy(whole + off, p + 20, len);
		total += len;
	}
	cr_expect(eq(sz, total, n - 20));
	cr_expect(eq(int, memcmp(whole, in + 20, n - 20), 0));
}

Test(dp_user, small_outer_goes_to_the_agent)
{
	uint8_t in[2048];
	ntm_user_rig_tunnel();
	struct ntm_dp *a = ntm_user_side[0].dp;
	cr_assert(eq(int, a->ops->set_mtu(a, NTM_RIG_PATH, 900, true), 0));
	cr_expect(eq(u32, ntm_user_side[0].routes[1], 1280), "what IPv6 promises");
	size_t n = ntm_user_rig_inner(0, true, 1200, in, sizeof(in));
	ntm_dp_user_inner_input(a, in, n);
	ntm_user_rig_events_of(0);
	cr_expect(eq(u32, ntm_user_side[0].seen.too_big, 1));
	cr_expect(eq(sz, ntm_user_side[0].seen.len, n));
	cr_expect(eq(u64, ntm_user_side[0].seen.path_id, NTM_RIG_PATH));
	cr_expect(eq(sz, ntm_user_side[0].n_sent, 0));
}

/* RFC 6040, figure 4; [inner][outer], 4: dropped */
Test(dp_user, ecn_goes_through_the_tunnel)
{
	static const uint8_t want[4][4] = {{0, 0, 0, 4}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
	uint8_t in[256];
	struct ntm_addr from = ntm_rig_endpoint(0, false);
	ntm_user_rig_tunnel();
	for (int v6 = 0; v6 < 2; v6++)
		for (uint8_t i = 0; i < 4; i++)
			for (uint8_t o = 0; o < 4; o++) {
				size_t n = ntm_user_rig_inner(0, v6, 10, in, sizeof(in));
				uint8_t tos = (uint8_t)(0xb8 | i);
				if (v6) {
					in[0] = (uint8_t)(0x60 | tos >> 4);
					in[1] = (uint8_t)(tos << 4);
				} else {
					in[1] = tos;
					memset(in + 10, 0, 2);
					uint16_t sum = htons(ntm_user_rig_checksum(in, 20, 0));
					memcpy(in + 10, &sum, 2);
				}
				ntm_user_side[1].n_got = 0;
				ntm_dp_user_inner_input(ntm_user_side[0].dp, in, n);
				cr_expect(eq(u8, ntm_user_side[0].sent[0].tos, tos), "uniform at the ingress");
				ntm_user_rig_carry_from(0, &from, o);
				if (want[i][o] == 4) {
					cr_expect(eq(sz, ntm_user_side[1].n_got, 0));
					continue;
				}
				cr_assert(eq(sz, ntm_user_side[1].n_got, 1));
				const uint8_t *p = ntm_user_side[1].got[0];
				uint8_t got = (uint8_t)(v6 ? p[0] << 4 | p[1] >> 4 : p[1]);
				cr_expect(eq(u8, got, 0xb8 | want[i][o]), "inner %u, outer %u", i, o);
				cr_expect(v6 || ntm_user_rig_checksum(p, 20, 0) == 0);
			}
}

Test(dp_user, says_why_nothing_was_sent)
{
	static const struct {
		int err;
		enum ntm_reason reason;
	} cases[] = {{-EMSGSIZE, NTM_R_TX_TOO_BIG},
		     {-EAGAIN, NTM_R_TX_AGENT_BUSY},
		     {-ENETUNREACH, NTM_R_TX_NO_UPLINK},
		     {-EPERM, NTM_R_TX_ERROR}};
	uint8_t in[256];
	static const struct ntm_addr nowhere;
	ntm_user_rig_tunnel();
	size_t n = ntm_user_rig_inner(0, false, 10, in, sizeof(in));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ntm_user_side[0].send_result = cases[i].err;
		ntm_dp_user_inner_input(ntm_user_side[0].dp, in, n);
		cr_expect(eq(u64, ntm_user_rig_counted(0, cases[i].reason), 1));
	}
	ntm_user_side[0].send_result = 0;
	cr_assert(eq(int, ntm_user_side[0].dp->ops->set_endpoint(ntm_user_side[0].dp, NTM_RIG_PATH, &nowhere, 0), 0));
	ntm_dp_user_inner_input(ntm_user_side[0].dp, in, n);
	cr_expect(eq(u64, ntm_user_rig_counted(0, NTM_R_TX_NO_UPLINK), 2));
	cr_expect(eq(sz, ntm_user_side[0].n_sent, 0));
}

/* Routes to general destinations have no path of a client at the other end here. */
Test(dp_user, is_no_gateway)
{
	struct ntm_dp_path p = ntm_rig_path(0, false);
	ntm_user_rig_tunnel();
	p.path_id++;
	p.client = true;
	cr_expect(eq(int, ntm_user_side[0].dp->ops->add_path(ntm_user_side[0].dp, &p), -EINVAL));
}

Test(dp_user, general_destinations_go_by_the_gateway)
{
	uint8_t in[256], out[512];
	struct ntm_addr from = ntm_rig_endpoint(0, false);
	ntm_user_rig_tunnel();
	struct ntm_dp *a = ntm_user_side[0].dp, *b = ntm_user_side[1].dp;
	struct ntm_dp_path p = ntm_rig_path(0, false);
	cr_assert(eq(int, a->ops->del_path(a, NTM_RIG_PATH), 0));
	struct ntm_dp_keys k = ntm_rig_keys(0, 0);
	p.gateway = true;
	cr_assert(eq(int, a->ops->add_path(a, &p), 0));
	cr_assert(eq(int, a->ops->set_keys(a, p.path_id, &k, true), 0));
	cr_assert(eq(int, a->ops->activate(a, p.path_id), 0));
	size_t n = ntm_user_rig_inner(0, false, 10, in, sizeof(in)), len;
	memcpy(in + 16, (uint8_t[]){198, 51, 100, 7}, 4);
	ntm_dp_user_inner_input(a, in, n);
	cr_assert(eq(sz, ntm_user_side[0].n_sent, 1));
	/* And back, from there; but not from another node's address. */
	n = ntm_user_rig_inner(1, false, 10, in, sizeof(in));
	memcpy(in + 12, (uint8_t[]){198, 51, 100, 7}, 4);
	cr_assert(eq(int, b->ops->seal(b, NTM_RIG_PATH, in, n, out, sizeof(out), &len), 0));
	cr_expect(eq(int, a->ops->open(a, out, len, &from), 0));
	memcpy(in + 12, (uint8_t[]){100, 96, 0, 9}, 4);
	cr_assert(eq(int, b->ops->seal(b, NTM_RIG_PATH, in, n, out, sizeof(out), &len), 0));
	cr_expect(eq(int, a->ops->open(a, out, len, &from), -EADDRNOTAVAIL));
	cr_assert(eq(int, a->ops->del_path(a, p.path_id), 0));
	n = ntm_user_rig_inner(0, false, 10, in, sizeof(in));
	memcpy(in + 16, (uint8_t[]){198, 51, 100, 7}, 4);
	ntm_dp_user_inner_input(a, in, n);
	cr_expect(eq(u64, ntm_user_rig_counted(0, NTM_R_TX_NOT_VIRTUAL), 1));
}
