/* SPDX-License-Identifier: BSD-2-Clause */
/* Who is bound to a relay path, what is answered to whom, and what nobody gets an answer to. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <endian.h>
#include <string.h>

#include "../../user/common/crypto.h"
#include "../../user/common/relay_crypto.h"
#include "../../user/relay/admission.h"

#define PATH 0x1122334455667788ULL

static struct ntm_relay_dp *dp;
static struct ntm_admission a;
static struct ntm_timers timers;
static uint64_t clock_now = 1000000000;
static uint8_t secret[32], probe_secret[32], keys[2][32];
static struct ntm_addr alice, bob, rs4, rs6;

static struct {
	struct ntm_addr to;
	uint8_t src[16], data[256];
	bool has_src;
	size_t len;
} sent[16];
static unsigned n_sent;

static uint64_t read_clock(void)
{
	return clock_now;
}

static int send_it(void *arg, const struct ntm_addr *to, const uint8_t src[16], const void *data, size_t len,
		   enum ntm_send_mode mode)
{
	(void)arg;
	(void)mode;
	cr_assert_lt(n_sent, 16);
	cr_assert_leq(len, sizeof(sent[0].data));
	sent[n_sent].to = *to;
	sent[n_sent].has_src = src != NULL;
	if (src)
		memcpy(sent[n_sent].src, src, 16);
	memcpy(sent[n_sent].data, data, len);
	sent[n_sent++].len = len;
	return 0;
}

static struct ntm_addr addr(const char *text)
{
	struct ntm_addr x;

	cr_assert_eq(ntm_addr_parse(text, 0, &x), 0);
	return x;
}

static void setup(void)
{
	struct ntm_relay_dp_config c = {.port = NTM_PORT, .max_paths = 8};
	struct ntm_net net = {.send = send_it};
	uint8_t own[3][16];
	char why[128];

	cr_assert_eq(ntm_crypto_init(), 0);
	timers.clock_ns = read_clock;
	cr_assert_eq(ntm_relay_dp_fake_open(&dp, &c, why, sizeof(why)), 0);
	cr_assert_eq(ntm_admission_init(&a, dp, &net, &timers), 0);
	cr_assert_eq(ntm_random(secret, 32) | ntm_random(probe_secret, 32), 0);
	cr_assert_eq(ntm_relay_end_key(secret, NTM_ROLE_INITIATOR, keys[0]), 0);
	cr_assert_eq(ntm_relay_end_key(secret, NTM_ROLE_RESPONDER, keys[1]), 0);
	ntm_admission_set_probe_secret(&a, probe_secret);
	alice = addr("198.51.100.1:40001");
	bob = addr("[2001:db8:3::1]:40002");
	rs4 = addr("192.0.2.20:4680");
	rs6 = addr("[2001:db8::20]:4680");
	memcpy(own[0], rs4.ip, 16);
	memcpy(own[1], rs6.ip, 16);
	memcpy(own[2], addr("192.0.2.255:1").ip, 16);
	cr_assert_eq(ntm_admission_set_own(&a, own, 3), 0);
	cr_assert_eq(dp->ops->add(dp, PATH, secret, 0), 0);
}

static void teardown(void)
{
	ntm_admission_free(&a);
	dp->ops->close(dp, false);
}

TestSuite(admission, .init = setup, .fini = teardown);

static struct ntm_hdr header(uint64_t path, unsigned suite, unsigned epoch)
{
	return (struct ntm_hdr){
	    .ver_type = NTM_WIRE_VERSION << 4 | NTM_T_TUNNEL_REQ,
	    .suite_epoch = (uint8_t)(suite << 4 | epoch),
	    .id = htobe64(path),
	};
}

static struct ntm_relay_bind bind_of(unsigned end, uint64_t seq)
{
	struct ntm_relay_bind m = {.hdr = header(PATH, 0, 0), .seq = htobe64(seq)};

	cr_assert_eq(ntm_bind_sign(keys[end], &m, sizeof(m)), 0);
	return m;
}

static bool input(const struct ntm_addr *from, const void *m, size_t len)
{
	n_sent = 0;
	return ntm_admission_input(&a, from, ntm_ip_is_v4(from->ip) ? rs4.ip : rs6.ip, m, len);
}

static bool bind_from(unsigned end, uint64_t seq, const struct ntm_addr *from)
{
	struct ntm_relay_bind m = bind_of(end, seq);

	cr_assert(input(from, &m, sizeof(m)));
	return n_sent > 0;
}

static bool bind_request(unsigned end, uint64_t seq, const struct ntm_addr *from, uint8_t fill)
{
	struct ntm_relay_bind_request m = {.hdr = header(PATH, 0, 3), .seq = htobe64(seq)};

	memset(m.request, fill, sizeof(m.request));
	cr_assert_eq(ntm_bind_sign(keys[end], &m, sizeof(m)), 0);
	cr_assert(input(from, &m, sizeof(m)));
	return n_sent > 0;
}

static struct ntm_relay_bound bound(const uint8_t key[32])
{
	struct ntm_relay_bound r;

	cr_assert_geq(n_sent, 1);
	cr_assert_eq(sent[0].len, sizeof(r));
	memcpy(&r, sent[0].data, sizeof(r));
	cr_assert_eq(r.hdr.ver_type, NTM_WIRE_VERSION << 4 | NTM_T_TUNNEL_RESP);
	cr_assert(ntm_bind_verify(key, &r, sizeof(r)));
	return r;
}

static struct ntm_addr at(unsigned end)
{
	struct ntm_relay_dp_path p;

	cr_assert_eq(dp->ops->get(dp, PATH, &p), 0);
	return p.ends[end].addr;
}

Test(admission, a_bind_is_answered_with_what_was_seen)
{
	struct ntm_relay_bound r;
	struct ntm_addr where;

	cr_assert(bind_from(0, 5, &alice));
	r = bound(keys[0]);
	cr_assert_eq(n_sent, 1);
	cr_assert(ntm_addr_equal(&sent[0].to, &alice));
	cr_assert_arr_eq(sent[0].src, rs4.ip, 16, "from the address that it was sent to");
	cr_assert_eq(r.hdr.id, htobe64(PATH));
	cr_assert_eq(r.seq, htobe64(5));
	cr_assert_arr_eq(r.observed, alice.ip, 16);
	cr_assert_eq(r.observed_port, alice.port);
	cr_assert_eq(r.flags, 0);
	where = at(0);
	cr_assert(ntm_addr_equal(&where, &alice));

	cr_assert(bind_from(1, 1, &bob));
	cr_assert_eq(ntohs(bound(keys[1]).flags), NTM_BOUND_PEER);
	where = at(1);
	cr_assert(ntm_addr_equal(&where, &bob));
}

Test(admission, rebinding_moves_the_end)
{
	struct ntm_addr moved = addr("[2001:db8:9::9]:5"), where;

	cr_assert(bind_from(0, 1, &alice));
	cr_assert(bind_from(0, 2, &moved));
	where = at(0);
	cr_assert(ntm_addr_equal(&where, &moved));
}

Test(admission, the_last_bind_again_gets_the_same_answer_again)
{
	struct ntm_relay_bound first, again;

	cr_assert(bind_from(0, 7, &alice));
	first = bound(keys[0]);
	cr_assert(bind_from(0, 7, &alice));
	again = bound(keys[0]);
	cr_assert_arr_eq(&first, &again, sizeof(first));
	cr_assert_eq(a.counters.repeated, 1);
}

Test(admission, a_replay_from_elsewhere_changes_nothing_and_gets_no_answer)
{
	struct ntm_addr mallory = addr("203.0.113.66:666"), where;

	cr_assert(bind_from(0, 7, &alice));
	cr_assert_not(bind_from(0, 7, &mallory));
	cr_assert_not(bind_from(0, 6, &mallory));
	cr_assert_not(bind_from(0, 6, &alice), "nor an old one from the right address");
	cr_assert_not(bind_from(1, 0, &bob), "sequence numbers begin at 1");
	where = at(0);
	cr_assert(ntm_addr_equal(&where, &alice));
	cr_assert_eq(a.counters.refused_seq, 4);
}

Test(admission, forged_binds_get_no_answer)
{
	struct ntm_relay_bind m = bind_of(0, 1), n;

	for (size_t i = 0; i < sizeof(m) * 8; i++) {
		n = m;
		((uint8_t *)&n)[i / 8] ^= (uint8_t)(1 << i % 8);
		input(&alice, &n, sizeof(n));
		cr_assert_eq(n_sent, 0, "bit %zu", i);
	}
	cr_assert_eq(at(0).port, 0);
	cr_assert_gt(a.counters.refused_mac, 300);
}

Test(admission, unknown_paths_get_no_answer)
{
	struct ntm_relay_bind m = {.hdr = header(PATH + 1, 0, 0), .seq = htobe64(1)};

	cr_assert_eq(ntm_bind_sign(keys[0], &m, sizeof(m)), 0);
	cr_assert(input(&alice, &m, sizeof(m)));
	cr_assert_eq(n_sent, 0);
	cr_assert_eq(a.counters.refused_path, 1);
}

Test(admission, addresses_that_nobody_may_be_bound_to)
{
	static const char *const bad[] = {
	    "127.0.0.1:4680",  "[::1]:4680",   "224.0.0.1:4680",      "[ff02::1]:4680", "255.255.255.255:4680",
	    "240.0.0.1:1",     "0.1.2.3:1",    "169.254.1.1:1",       "[fe80::1]:1",    "192.0.2.255:9",
	    "192.0.2.20:4680", "192.0.2.20:9", "[2001:db8::20]:4680",
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct ntm_addr from = addr(bad[i]);

		cr_assert_not(bind_from(0, 10 + i, &from), "%s", bad[i]);
		cr_assert_eq(at(0).port, 0, "%s", bad[i]);
	}
	cr_assert_eq(a.counters.refused_source, sizeof(bad) / sizeof(bad[0]));
}

Test(admission, both_ends_at_one_address_would_loop)
{
	struct ntm_addr neighbour = addr("198.51.100.1:40009");

	cr_assert(bind_from(0, 1, &alice));
	cr_assert_not(bind_from(1, 1, &alice));
	cr_assert_eq(at(1).port, 0);
	cr_assert_eq(a.counters.refused_loop, 1);
	cr_assert(bind_from(1, 1, &neighbour), "behind the same NAT they differ by port");
}

Test(admission, a_request_goes_on_to_the_other_end)
{
	struct ntm_tunnel_req m;

	cr_assert(bind_from(1, 1, &bob));
	cr_assert(bind_request(0, 1, &alice, 0xaa));
	cr_assert_eq(n_sent, 2);
	cr_assert_eq(sent[1].len, 160);
	cr_assert(ntm_addr_equal(&sent[1].to, &bob));
	cr_assert_arr_eq(sent[1].src, rs6.ip, 16, "from the address that this end bound at");
	memcpy(&m, sent[1].data, sizeof(m));
	cr_assert_eq(m.hdr.ver_type, NTM_WIRE_VERSION << 4 | NTM_T_TUNNEL_REQ);
	cr_assert_eq(m.hdr.suite_epoch, 3);
	cr_assert_eq(m.hdr.id, htobe64(PATH));
	for (size_t i = 16; i < 160; i++)
		cr_assert_eq(sent[1].data[i], 0xaa);
}

Test(admission, a_request_waits_for_the_other_end)
{
	cr_assert(bind_request(0, 1, &alice, 0xaa));
	cr_assert_eq(n_sent, 1, "answered, but there is nobody to send it to");
	clock_now += 900000000;
	cr_assert(bind_from(1, 1, &bob));
	cr_assert_eq(n_sent, 2);
	cr_assert(ntm_addr_equal(&sent[1].to, &bob));
	cr_assert_eq(sent[1].len, 160);
	cr_assert_eq(sent[1].data[100], 0xaa);
	cr_assert(bind_from(1, 2, &bob));
	cr_assert_eq(n_sent, 1, "once");
}

Test(admission, but_not_for_long)
{
	cr_assert(bind_request(0, 1, &alice, 0xaa));
	clock_now += 1000000000;
	cr_assert(bind_from(1, 1, &bob));
	cr_assert_eq(n_sent, 1);
}

Test(admission, draining_is_told_and_binds_go_on)
{
	a.draining = true;
	cr_assert(bind_from(0, 1, &alice));
	cr_assert_eq(ntohs(bound(keys[0]).flags), NTM_BOUND_DRAINING);
}

Test(admission, both_ends_are_told)
{
	ntm_admission_tell(&a, PATH + 1);
	ntm_admission_tell(&a, PATH);
	cr_assert_eq(n_sent, 0, "nobody is bound");
	cr_assert(bind_from(0, 7, &alice));
	cr_assert(bind_from(1, 9, &bob));
	n_sent = 0;
	a.draining = true;
	ntm_admission_tell(&a, PATH);
	cr_assert_eq(n_sent, 2);
	cr_assert(ntm_addr_equal(&sent[0].to, &alice));
	cr_assert(sent[0].has_src && !memcmp(sent[0].src, rs4.ip, 16));
	cr_assert_eq(be64toh(bound(keys[0]).seq), 7);
	cr_assert_eq(ntohs(bound(keys[0]).flags), NTM_BOUND_DRAINING | NTM_BOUND_PEER);
	cr_assert(ntm_addr_equal(&sent[1].to, &bob));
	cr_assert(ntm_bind_verify(keys[1], sent[1].data, sent[1].len));
	cr_assert_eq(a.counters.told, 2);
}

static struct ntm_relay_bind probe_of(uint64_t id)
{
	struct ntm_relay_bind m = {.hdr = header(id, NTM_SUITE_RS_PROBE, 0), .seq = htobe64(3)};
	uint8_t key[32];

	cr_assert_eq(ntm_probe_key(probe_secret, id, key), 0);
	cr_assert_eq(ntm_bind_sign(key, &m, sizeof(m)), 0);
	return m;
}

Test(admission, probes_are_answered_without_state)
{
	struct ntm_relay_bind m = probe_of(77);
	struct ntm_relay_bound r;
	uint8_t key[32];

	cr_assert_eq(ntm_probe_key(probe_secret, 77, key), 0);
	for (int i = 0; i < 3; i++) {
		cr_assert(input(&bob, &m, sizeof(m)));
		r = bound(key);
		cr_assert_eq(r.hdr.suite_epoch >> 4, NTM_SUITE_RS_PROBE);
		cr_assert_eq(r.hdr.id, htobe64(77));
		cr_assert_arr_eq(r.observed, bob.ip, 16);
	}
	m.hdr.id = htobe64(78);
	cr_assert(input(&bob, &m, sizeof(m)));
	cr_assert_eq(n_sent, 0, "the key is of one probe ID");
	m = probe_of(77);
	cr_assert(input(&rs6, &m, sizeof(m)));
	cr_assert_eq(n_sent, 0, "an own address");
}

Test(admission, no_probes_before_the_dc_gave_their_secret)
{
	struct ntm_relay_bind m = probe_of(77);

	a.has_probe_secret = false;
	cr_assert(input(&bob, &m, sizeof(m)));
	cr_assert_eq(n_sent, 0);
}

Test(admission, what_is_none_of_the_relays)
{
	struct ntm_relay_bind m = bind_of(0, 1);
	struct ntm_tunnel_req req = {.hdr = header(PATH + 1, 0, 0)};
	uint8_t junk[256] = {0};

	cr_assert_not(input(&alice, &req, sizeof(req)), "a gateway's client");
	cr_assert_not(input(&alice, junk, 8));
	cr_assert_not(input(&alice, junk, sizeof(junk)));
	m.hdr.ver_type = NTM_WIRE_VERSION << 4 | NTM_T_DATA;
	cr_assert_not(input(&alice, &m, sizeof(m)));
	cr_assert_eq(n_sent, 0);
}

Test(admission, wrong_forms)
{
	struct ntm_relay_bind_request m = {.hdr = header(PATH, 0, 0), .seq = htobe64(1)};

	for (size_t len = sizeof(m.hdr) + NTM_MAC_LEN; len < sizeof(m); len++) {
		if (len == sizeof(struct ntm_relay_bind))
			continue;
		m.seq = htobe64(len);
		cr_assert_eq(ntm_bind_sign(keys[0], &m, len), 0);
		cr_assert(input(&alice, &m, len), "%zu", len);
		cr_assert_eq(n_sent, 0, "%zu", len);
	}
	m.hdr.ctr_lo = 1;
	cr_assert_eq(ntm_bind_sign(keys[0], &m, sizeof(m)), 0);
	cr_assert(input(&alice, &m, sizeof(m)));
	cr_assert_eq(n_sent, 0);
	cr_assert_eq(a.counters.refused_mac, 0);
}

Test(admission, no_more_is_verified_in_a_second_than_the_agent_can)
{
	struct ntm_relay_bind m = bind_of(0, 1);
	uint64_t before;

	m.mac[0] ^= 1;
	for (int i = 0; i < 6000; i++)
		input(&alice, &m, sizeof(m));
	cr_assert_eq(a.counters.refused_mac, 5000);
	cr_assert_eq(a.counters.refused_rate, 1000);
	before = a.counters.refused_mac;
	clock_now += 10000000;
	for (int i = 0; i < 1000; i++)
		input(&alice, &m, sizeof(m));
	cr_assert_eq(a.counters.refused_mac - before, 500);
	clock_now += 1000000000;
	cr_assert(bind_from(0, 1, &alice));
}
