/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "../../user/common/signal_codec.h"

static struct ntm_relay_info relay(const char *name, const char *ep4, const char *ep6)
{
	struct ntm_relay_info r = {0};

	strcpy(r.name, name);
	if (ep4)
		cr_assert_eq(ntm_addr_parse(ep4, 0, &r.ep4), 0);
	if (ep6)
		cr_assert_eq(ntm_addr_parse(ep6, 0, &r.ep6), 0);
	return r;
}

/* All fields, so that each is met by each test below. */
static struct ntm_sig full(void)
{
	struct ntm_sig m;

	ntm_sig_init(&m, NTM_M_ROUTE_DIRECTION, 0xdeadbeef);
	m.have = (NTM_SIG_BIT(NTM_F_PATH_TICKET) << 1) - 2;
	strcpy(m.name, "bob.ntm.example");
	strcpy(m.zone, "ntm.example");
	strcpy(m.token, "TOKEN-7");
	strcpy(m.error_text, "käse ✓");
	m.error_code = NTM_E_OFFLINE;
	memcpy(m.vip4, "\x64\x60\x00\x02", 4);
	memset(m.vip6, 0xfd, 16);
	cr_assert_eq(ntm_prefix_parse("100.96.0.0/12", &m.pool4), 0);
	cr_assert_eq(ntm_prefix_parse("fd4e:544d::/48", &m.pool6), 0);
	for (unsigned i = 0; i < 3; i++) {
		m.candidates[i].kind = NTM_CAND_HOST;
		m.candidates[i].preference = (uint8_t)(100 + i);
		cr_assert_eq(ntm_addr_parse(i ? "192.0.2.1:4680" : "[2001:db8::1]:9", 0, &m.candidates[i].addr), 0);
	}
	m.n_candidates = 3;
	cr_assert_eq(ntm_addr_parse("198.51.100.1:1024", 0, &m.reflexive), 0);
	m.lifetime_s = 0x01020304;
	m.path_id = 0x1122334455667788;
	m.stale_path_id = 0x8877665544332211;
	m.role = NTM_ROLE_RESPONDER;
	memset(m.public_key, 0x11, 32);
	memset(m.psk, 0x22, 32);
	m.mtu = 1500;
	m.keepalive_s = 25;
	m.padding_len = 40;
	m.relay = relay("rs1", "192.0.2.20:4680", "[2001:db8::20]:4680");
	m.offers[0] = (struct ntm_relay_offer){relay("rs1", "192.0.2.20:4680", NULL), 7, {1}};
	m.offers[1] = (struct ntm_relay_offer){relay("rs2", NULL, "[2001:db8::30]:9"), UINT64_MAX, {2}};
	m.n_offers = 2;
	m.rtts[0] = (struct ntm_relay_rtt){"rs1", 1500};
	m.rtts[1] = (struct ntm_relay_rtt){"rs2", NTM_RELAY_RTT_NONE};
	m.n_rtts = 2;
	for (unsigned i = 0; i < 2; i++) {
		strcpy(m.peer_zones[i].zone, i ? "c.example" : "b.example");
		cr_assert_eq(ntm_prefix_parse(i ? "10.8.0.0/16" : "100.112.0.0/12", &m.peer_zones[i].pool4), 0);
		cr_assert_eq(ntm_prefix_parse(i ? "fd00:8::/48" : "fd4e:544e::/48", &m.peer_zones[i].pool6), 0);
	}
	m.n_peer_zones = 2;
	strcpy(m.wanted, "carol.b.example");
	memset(m.relay_secret, 0x33, 32);
	m.rate_kbit = 1000000;
	m.load = (struct ntm_load){1, 65536, 3, 4, 5000000000, 999, NTM_LOAD_DRAINING | NTM_LOAD_GATEWAY};
	m.check_flags = NTM_CHECK_NOMINATE;
	m.delay_s = 120;
	m.gateway = 1;
	m.dc_keys[0] = (struct ntm_dc_key){NTM_DC_KEY_CURRENT, {0x44}};
	m.dc_keys[1] = (struct ntm_dc_key){NTM_DC_KEY_NEXT, {0x55}};
	m.n_dc_keys = 2;
	memset(m.key_proof, 0x66, 32);
	memset(m.tickets, 0x77, 2 * sizeof(m.tickets[0]));
	m.n_tickets = 2;
	return m;
}

static size_t encode(const struct ntm_sig *m, uint8_t out[NTM_SIGNAL_MAX])
{
	size_t len;

	cr_assert_eq(ntm_sig_encode(m, out, NTM_SIGNAL_MAX, &len), 0);
	return len;
}

/* Everything but the header is gone. */
static void assert_only_header(const struct ntm_sig *m, uint8_t msg, uint32_t txid)
{
	struct ntm_sig want;

	ntm_sig_init(&want, (enum ntm_msg)msg, txid);
	cr_assert_eq(memcmp(m, &want, sizeof(want)), 0);
}

Test(signal, round_trip)
{
	struct ntm_sig m = full(), back;
	uint8_t buf[NTM_SIGNAL_MAX];
	size_t len = encode(&m, buf);

	cr_assert_eq(ntm_sig_decode(&back, buf, len), 0);
	cr_assert_eq(memcmp(&m, &back, sizeof(m)), 0);
	cr_assert(ntm_sig_has(&back, NTM_F_PSK));
}

Test(signal, bytes_on_the_wire)
{
	static const uint8_t want[] = {3,   0, 0,  0, 0, 0, 0, 7, 0, 1, 0, 3, 'b', 'o',
				       'b', 0, 20, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2};
	uint8_t buf[NTM_SIGNAL_MAX];
	struct ntm_sig m;

	ntm_sig_init(&m, NTM_M_DIRECTION_REQUEST, 7);
	strcpy(m.name, "bob");
	m.stale_path_id = 0x102;
	m.have = 1u << NTM_F_NAME | 1u << NTM_F_STALE;
	cr_assert_eq(encode(&m, buf), sizeof(want));
	cr_assert_eq(memcmp(buf, want, sizeof(want)), 0);
}

Test(signal, truncated_at_every_byte)
{
	struct ntm_sig m = full(), back;
	uint8_t buf[NTM_SIGNAL_MAX];
	size_t len = encode(&m, buf), whole = 0;

	for (size_t cut = 0; cut < len; cut++) {
		int err = ntm_sig_decode(&back, buf, cut);
		bool boundary = cut == sizeof(struct ntm_sig_hdr);

		for (size_t p = sizeof(struct ntm_sig_hdr); p < cut;) {
			p += 4 + (size_t)(buf[p + 2] << 8 | buf[p + 3]);
			boundary |= p == cut;
		}
		cr_assert_eq(err, boundary ? 0 : -EBADMSG, "cut at %zu", cut);
		whole += boundary;
		if (err && cut >= sizeof(struct ntm_sig_hdr))
			assert_only_header(&back, m.msg, m.txid);
		else if (err)
			assert_only_header(&back, 0, 0);
	}
	cr_assert_eq(whole, 41); /* the header alone and after each of 41 fields but the last */
}

Test(signal, no_space_at_every_size)
{
	struct ntm_sig m = full();
	uint8_t buf[NTM_SIGNAL_MAX];
	size_t len = encode(&m, buf), out = 12345;

	for (size_t cap = 0; cap < len; cap++)
		cr_assert_eq(ntm_sig_encode(&m, buf, cap, &out), -ENOSPC);
	cr_assert_eq(out, 12345);
	cr_assert_eq(ntm_sig_encode(&m, buf, len, &out), 0);
}

static size_t put_field(uint8_t *buf, size_t at, unsigned type, size_t len, uint8_t fill)
{
	buf[at] = (uint8_t)(type >> 8);
	buf[at + 1] = (uint8_t)type;
	buf[at + 2] = (uint8_t)(len >> 8);
	buf[at + 3] = (uint8_t)len;
	memset(buf + at + 4, fill, len);
	return at + 4 + len;
}

Test(signal, every_field_of_every_wrong_length)
{
	static const uint8_t fixed[NTM_F_PATH_TICKET + 1] = {
	    [NTM_F_VIP4] = 4,       [NTM_F_VIP6] = 16,       [NTM_F_POOL4] = 5,       [NTM_F_POOL6] = 17,
	    [NTM_F_CANDIDATE] = 20, [NTM_F_REFLEXIVE] = 18,  [NTM_F_LIFETIME] = 4,    [NTM_F_PATH_ID] = 8,
	    [NTM_F_ROLE] = 1,       [NTM_F_PUBLIC_KEY] = 32, [NTM_F_PSK] = 32,        [NTM_F_ERROR_CODE] = 2,
	    [NTM_F_MTU] = 2,        [NTM_F_KEEPALIVE] = 2,   [NTM_F_STALE] = 8,       [NTM_F_RELAY_SECRET] = 32,
	    [NTM_F_RATE] = 4,       [NTM_F_LOAD] = 32,       [NTM_F_CHECK_FLAGS] = 1, [NTM_F_DELAY] = 2,
	    [NTM_F_GATEWAY] = 1,    [NTM_F_DC_KEY] = 33,     [NTM_F_KEY_PROOF] = 32,  [NTM_F_PATH_TICKET] = 56,
	};
	static const uint16_t text_max[NTM_F_PATH_TICKET + 1] = {[NTM_F_NAME] = NTM_NAME_MAX,
								 [NTM_F_TOKEN] = NTM_TOKEN_MAX,
								 [NTM_F_ZONE] = NTM_NAME_MAX,
								 [NTM_F_ERROR_TEXT] = 127,
								 [NTM_F_WANTED] = NTM_NAME_MAX};
	/* of what is before a label, which is never empty */
	static const uint8_t before_label[NTM_F_PATH_TICKET + 1] = {
	    [NTM_F_RELAY] = 24, [NTM_F_RELAY_OFFER] = 64, [NTM_F_RELAY_RTT] = 4, [NTM_F_PEER_ZONE] = 22};
	uint8_t buf[NTM_SIGNAL_MAX] = {NTM_M_KEEP_ALIVE};
	struct ntm_sig m;

	for (unsigned f = 1; f <= NTM_F_PATH_TICKET; f++) {
		for (size_t len = 0; len < 400; len++) {
			size_t label = before_label[f], most = f == NTM_F_PEER_ZONE ? NTM_NAME_MAX : NTM_LABEL_MAX;
			uint8_t fill = text_max[f] || label ? 'x' : 0;
			bool right = f == NTM_F_PADDING ? true
				     : label            ? len > label && len <= label + most
				     : fixed[f]         ? len == fixed[f]
							: len <= text_max[f];
			size_t end = put_field(buf, sizeof(struct ntm_sig_hdr), f, len, fill);

			if (f == NTM_F_PEER_ZONE) /* pools of no prefix */
				memset(buf + sizeof(struct ntm_sig_hdr) + 4, 0, len < label ? len : label);

			cr_assert_eq(ntm_sig_decode(&m, buf, end), right ? 0 : -EBADMSG, "field %u length %zu", f, len);
		}
	}
}

Test(signal, field_twice)
{
	struct ntm_sig m = full(), back;
	uint8_t buf[2 * NTM_SIGNAL_MAX];

	for (unsigned f = 1; f <= NTM_F_PATH_TICKET; f++) {
		size_t len, hdr = sizeof(struct ntm_sig_hdr);
		bool repeatable = f == NTM_F_CANDIDATE || f == NTM_F_RELAY_OFFER || f == NTM_F_RELAY_RTT ||
				  f == NTM_F_PEER_ZONE || f == NTM_F_DC_KEY || f == NTM_F_PATH_TICKET;

		m.have = NTM_SIG_BIT(f);
		m.n_candidates = m.n_offers = m.n_rtts = m.n_peer_zones = m.n_dc_keys = m.n_tickets = 1;
		len = encode(&m, buf);
		memcpy(buf + len, buf + hdr, len - hdr);
		cr_assert_eq(ntm_sig_decode(&back, buf, 2 * len - hdr), repeatable ? 0 : -EBADMSG, "%u", f);
	}
}

Test(signal, candidates_are_bounded)
{
	uint8_t buf[NTM_SIGNAL_MAX] = {NTM_M_ROUTE_DIRECTION};
	size_t at = sizeof(struct ntm_sig_hdr), len;
	struct ntm_sig m;

	for (unsigned i = 0; i < NTM_CANDIDATES_MAX; i++)
		at = put_field(buf, at, NTM_F_CANDIDATE, 20, 1);
	cr_assert_eq(ntm_sig_decode(&m, buf, at), 0);
	cr_assert_eq(m.n_candidates, NTM_CANDIDATES_MAX);
	at = put_field(buf, at, NTM_F_CANDIDATE, 20, 1);
	cr_assert_eq(ntm_sig_decode(&m, buf, at), -EBADMSG);
	assert_only_header(&m, NTM_M_ROUTE_DIRECTION, 0);

	m.have = 1u << NTM_F_CANDIDATE;
	m.n_candidates = NTM_CANDIDATES_MAX + 1;
	cr_assert_eq(ntm_sig_encode(&m, buf, sizeof(buf), &len), -EINVAL);
}

Test(signal, offers_and_round_trips_are_bounded)
{
	static const struct {
		enum ntm_field f;
		size_t len;
	} list[] = {{NTM_F_RELAY_OFFER, 70}, {NTM_F_RELAY_RTT, 7}};
	struct ntm_sig m;
	size_t len;

	for (unsigned k = 0; k < 2; k++) {
		uint8_t buf[2 * NTM_SIGNAL_MAX] = {NTM_M_KEEP_ALIVE};
		size_t at = sizeof(struct ntm_sig_hdr);

		for (unsigned i = 0; i < NTM_RELAY_OFFERS_MAX; i++)
			at = put_field(buf, at, list[k].f, list[k].len, 'x');
		cr_assert_eq(ntm_sig_decode(&m, buf, at), 0);
		cr_assert_eq(k ? m.n_rtts : m.n_offers, NTM_RELAY_OFFERS_MAX);
		cr_assert_str_eq(k ? m.rtts[7].name : m.offers[7].relay.name, k ? "xxx" : "xxxxxx");
		at = put_field(buf, at, list[k].f, list[k].len, 'x');
		cr_assert_eq(ntm_sig_decode(&m, buf, at), -EBADMSG);
		assert_only_header(&m, NTM_M_KEEP_ALIVE, 0);

		m = full();
		m.have = 1u << list[k].f;
		m.n_offers = m.n_rtts = NTM_RELAY_OFFERS_MAX + 1;
		cr_assert_eq(ntm_sig_encode(&m, buf, sizeof(buf), &len), -EINVAL);
	}
}

/* A family that the RS lacks is zeros, whatever was in the address. */
Test(signal, a_relay_of_one_family)
{
	uint8_t buf[NTM_SIGNAL_MAX];
	struct ntm_sig m, back;
	size_t len;

	ntm_sig_init(&m, NTM_M_ROUTE_DIRECTION, 1);
	m.relay = relay("rs1", "192.0.2.20:4680", NULL);
	memset(m.relay.ep6.ip, 0xee, 16);
	m.have = 1u << NTM_F_RELAY;
	len = encode(&m, buf);
	cr_assert_eq(ntm_sig_decode(&back, buf, len), 0);
	cr_assert(ntm_addr_equal(&back.relay.ep4, &m.relay.ep4));
	cr_assert(ntm_ip_is_zero(back.relay.ep6.ip));
	cr_assert_eq(back.relay.ep6.port, 0);
	memset(m.relay.ep4.ip, 0x20, 16); /* not an IPv4 address */
	cr_assert_eq(ntm_sig_encode(&m, buf, sizeof(buf), &len), -EINVAL);
}

Test(signal, relays_have_names)
{
	static const char *const bad[] = {"", "a\nb", "\xff"};
	uint8_t buf[NTM_SIGNAL_MAX];
	struct ntm_sig m = full();
	size_t len;

	for (unsigned i = 0; i < 3; i++) {
		strcpy(m.relay.name, bad[i]);
		strcpy(m.offers[1].relay.name, bad[i]);
		strcpy(m.rtts[1].name, bad[i]);
		m.have = 1u << NTM_F_RELAY;
		cr_assert_eq(ntm_sig_encode(&m, buf, sizeof(buf), &len), -EINVAL);
		m.have = 1u << NTM_F_RELAY_OFFER;
		cr_assert_eq(ntm_sig_encode(&m, buf, sizeof(buf), &len), -EINVAL);
		m.have = 1u << NTM_F_RELAY_RTT;
		cr_assert_eq(ntm_sig_encode(&m, buf, sizeof(buf), &len), -EINVAL);
	}
	memset(m.rtts[1].name, 'x', sizeof(m.rtts[1].name)); /* no NUL */
	cr_assert_eq(ntm_sig_encode(&m, buf, sizeof(buf), &len), -EINVAL);
}

Test(signal, load_on_the_wire)
{
	static const uint8_t want[] = {0, 26, 0, 32, 0, 0, 0,  1, 0,   1, 0, 0,   0, 0, 0, 3, 0, 0,
				       0, 4,  0, 0,  0, 1, 42, 5, 242, 0, 3, 231, 0, 3, 0, 0, 0, 0};
	struct ntm_sig m = full();
	uint8_t buf[NTM_SIGNAL_MAX];

	m.have = 1u << NTM_F_LOAD;
	cr_assert_eq(encode(&m, buf), sizeof(struct ntm_sig_hdr) + sizeof(want));
	cr_assert_arr_eq(buf + sizeof(struct ntm_sig_hdr), want, sizeof(want));
}

Test(signal, unknown_fields_are_skipped)
{
	static const unsigned unknown[] = {0, 35, 63, 64, 0x8001, 0xffff};
	struct ntm_sig m, back;
	uint8_t buf[NTM_SIGNAL_MAX];
	size_t len;

	ntm_sig_init(&m, (enum ntm_msg)200, 5);
	m.have = 1u << NTM_F_MTU;
	m.mtu = 1400;
	len = encode(&m, buf);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++)
		len = put_field(buf, put_field(buf, len, unknown[i], 3, 9), unknown[i], 0, 0);
	cr_assert_eq(ntm_sig_decode(&back, buf, len), 0);
	cr_assert_eq(memcmp(&m, &back, sizeof(m)), 0);

	m.have |= 1;
	cr_assert_eq(ntm_sig_encode(&m, buf, sizeof(buf), &len), -EINVAL);
}

Test(signal, strings)
{
	static const char *const bad[] = {"a\nb",
					  "\x1b[2J",
					  "\x7f",
					  "\xc2\x85",
					  "\xff",
					  "\xc3",
					  "\xc0\xaf",
					  "\xe0\x80\x80",
					  "\xed\xa0\x80",
					  "\xf4\x90\x80\x80",
					  "\xf8\x88\x80\x80\x80"};
	uint8_t buf[NTM_SIGNAL_MAX] = {NTM_M_ERROR};
	size_t at = sizeof(struct ntm_sig_hdr), len;
	struct ntm_sig m;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		size_t end = put_field(buf, at, NTM_F_ERROR_TEXT, strlen(bad[i]), 0);

		memcpy(buf + at + 4, bad[i], strlen(bad[i]));
		cr_assert_eq(ntm_sig_decode(&m, buf, end), -EBADMSG, "string %zu", i);
		ntm_sig_init(&m, NTM_M_ERROR, 1);
		strcpy(m.error_text, bad[i]);
		m.have = 1u << NTM_F_ERROR_TEXT;
		cr_assert_eq(ntm_sig_encode(&m, buf, sizeof(buf), &len), -EINVAL, "string %zu", i);
	}
	cr_assert_eq(ntm_sig_decode(&m, buf, put_field(buf, at, NTM_F_NAME, 3, 0)), -EBADMSG, "NUL in it");
	memset(m.token, 'x', sizeof(m.token)); /* no NUL */
	m.have = 1u << NTM_F_TOKEN;
	cr_assert_eq(ntm_sig_encode(&m, buf, sizeof(buf), &len), -EINVAL);
}

Test(signal, pools)
{
	static const uint8_t host_bits[] = {0, NTM_F_POOL4, 0, 5, 100, 96, 0, 1, 12},
			     too_long[] = {0, NTM_F_POOL4, 0, 5, 0, 0, 0, 0, 33};
	uint8_t buf[64] = {NTM_M_REGISTRATION_RESPONSE};
	struct ntm_sig m;

	memcpy(buf + 8, host_bits, 9);
	cr_assert_eq(ntm_sig_decode(&m, buf, 17), -EBADMSG);
	memcpy(buf + 8, too_long, 9);
	cr_assert_eq(ntm_sig_decode(&m, buf, 17), -EBADMSG);
}

/* What is accepted means the same after it was encoded again. */
Test(signal, random_mutations)
{
	struct ntm_sig m = full(), once, twice;
	uint8_t good[NTM_SIGNAL_MAX], buf[NTM_SIGNAL_MAX + 64], again[2 * NTM_SIGNAL_MAX];
	size_t len = encode(&m, good), n, accepted = 0;
	uint64_t x = 88172645463325252u;

	for (unsigned round = 0; round < 10000; round++) {
		size_t cut = len;

		memcpy(buf, good, len);
		for (unsigned k = 0; k < 1 + round % 4; k++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			if (x >> 60 == 0)
				cut = x % len;
			else
				buf[(x >> 8) % len] ^= (uint8_t)(1 + x % 255);
		}
		if (ntm_sig_decode(&once, buf, cut)) {
			cr_assert_eq(once.have, 0);
			continue;
		}
		accepted++;
		cr_assert_eq(ntm_sig_encode(&once, again, sizeof(again), &n), 0, "round %u", round);
		cr_assert_eq(ntm_sig_decode(&twice, again, n), 0, "round %u", round);
		cr_assert_eq(memcmp(&once, &twice, sizeof(once)), 0, "round %u", round);
	}
	cr_assert_gt(accepted, 1000);
	cr_assert_lt(accepted, 10000);
}

Test(signal, names)
{
	cr_assert_str_eq(ntm_error_name(NTM_E_NO_SUCH_NAME), "no_such_name");
	cr_assert_str_eq(ntm_error_name((enum ntm_error)0), "unknown_error");
	cr_assert_str_eq(ntm_error_name((enum ntm_error)60000), "unknown_error");
	cr_assert_str_eq(ntm_msg_name(NTM_M_ERROR), "error");
	cr_assert_str_eq(ntm_msg_name((enum ntm_msg)255), "unknown_message");
}
