/* SPDX-License-Identifier: BSD-2-Clause */
/* What the DC asks of an RS and is told by it, draining, and what `ntm status` shows of it. */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "../../user/common/crypto.h"
#include "../../user/common/relay_crypto.h"
#include "../../user/relay/relay.h"

static struct ntm_relay *r;
static struct ntm_sig answer;
static uint8_t secret[32] = {1}, other[32] = {2};
static uint64_t clock_now;
static unsigned n_sent, n_ended;
static struct ntm_addr dc_addr;

static uint64_t read_clock(void)
{
	return clock_now;
}

static int send_it(void *arg, const struct ntm_addr *to, const uint8_t src[16], const void *data, size_t len,
		   enum ntm_send_mode mode)
{
	(void)arg;
	(void)to;
	(void)src;
	(void)data;
	(void)len;
	(void)mode;
	n_sent++;
	return 0;
}

static void on_ended(struct ntm_relay *relay)
{
	(void)relay;
	n_ended++;
}

static void setup(void)
{
	struct ntm_relay_dp_config c = {.max_paths = 2};
	struct ntm_net net = {.send = send_it};
	char why[128];

	cr_assert_eq(ntm_crypto_init(), 0);
	clock_now = 5000000000;
	r = calloc(1, sizeof(*r));
	cr_assert_not_null(r);
	r->node.timers.clock_ns = read_clock;
	r->conf.drain_s = 10;
	r->load.stat_fd = -1;
	r->load.cpus = 1;
	strcpy(r->node.conf.name, "rs1");
	cr_assert_eq(ntm_addr_parse("192.0.2.1:4680", 0, &dc_addr), 0);
	r->node.conf.dc_endpoints = (struct ntm_addr_list){&dc_addr, 1};
	cr_assert_eq(ntm_relay_dp_fake_open(&r->dp, &c, why, sizeof(why)), 0);
	cr_assert_eq(ntm_dp_none_open(&r->node.dp), 0);
	cr_assert_eq(ntm_admission_init(&r->admission, r->dp, &net, &r->node.timers), 0);
	ntm_relay_session_init(r);
	ntm_relay_tick_init(r);
	r->ended = on_ended;
}

static void teardown(void)
{
	ntm_relay_tick_stop(r);
	ntm_admission_free(&r->admission);
	r->dp->ops->close(r->dp, false);
	free(r);
}

TestSuite(session, .init = setup, .fini = teardown);

static struct ntm_sig direction(uint64_t path, const uint8_t s[32])
{
	struct ntm_sig m;

	ntm_sig_init(&m, NTM_M_RELAY_DIRECTION, 99);
	m.path_id = path;
	memcpy(m.relay_secret, s, 32);
	m.rate_kbit = 1000;
	m.have = 1u << NTM_F_PATH_ID | 1u << NTM_F_RELAY_SECRET | 1u << NTM_F_RATE;
	return m;
}

static bool message(const struct ntm_sig *m)
{
	ntm_sig_init(&answer, NTM_M_ERROR, m->txid);
	return r->node.hooks.message(&r->node, m, &answer);
}

static void assert_taken(uint64_t path)
{
	struct ntm_sig m = direction(path, secret);

	cr_assert(message(&m));
	cr_assert_eq(answer.msg, NTM_M_RELAY_RESPONSE);
	cr_assert_eq(answer.txid, 99);
	cr_assert(ntm_sig_has(&answer, NTM_F_PATH_ID));
	cr_assert_eq(answer.path_id, path);
}

static void assert_refused(const struct ntm_sig *m, enum ntm_error code)
{
	cr_assert(message(m));
	cr_assert_eq(answer.msg, NTM_M_ERROR);
	cr_assert_eq(answer.txid, m->txid);
	cr_assert(ntm_sig_has(&answer, NTM_F_ERROR_CODE));
	cr_assert_eq(answer.error_code, code);
}

static void pass(unsigned ms)
{
	for (unsigned i = 0; i < ms; i += 50) {
		clock_now += 50000000;
		ntm_timers_run(&r->node.timers);
	}
}

Test(session, a_relay_direction_makes_a_path)
{
	struct ntm_relay_dp_path p;

	assert_taken(7);
	cr_assert_eq(r->dp->ops->get(r->dp, 7, &p), 0);
	cr_assert_arr_eq(p.secret, secret, 32);
	cr_assert_eq(p.rate_kbit, 1000);
	cr_assert_eq(p.ends[0].addr.port, 0);
}

Test(session, a_resend_gets_the_same_answer)
{
	assert_taken(7);
	assert_taken(7);
	cr_assert_eq(r->dp->ops->count(r->dp), 1);
	cr_assert_eq(r->paths_added, 1);
}

Test(session, refusals_say_why)
{
	struct ntm_sig m = direction(7, other);

	assert_taken(7);
	assert_refused(&m, NTM_E_INTERNAL);
	assert_taken(8);
	m = direction(9, secret);
	assert_refused(&m, NTM_E_BUSY);
	cr_assert_eq(r->paths_refused, 2);
}

Test(session, malformed_directions)
{
	struct ntm_sig m = direction(7, secret);

	m.have &= ~(1u << NTM_F_RELAY_SECRET);
	assert_refused(&m, NTM_E_MALFORMED);
	m = direction(7, secret);
	m.have &= ~(1u << NTM_F_PATH_ID);
	assert_refused(&m, NTM_E_MALFORMED);
	m = direction(0, secret);
	assert_refused(&m, NTM_E_MALFORMED);
	cr_assert_eq(r->dp->ops->count(r->dp), 0);
}

Test(session, release_ends_the_path)
{
	struct ntm_sig m;

	assert_taken(7);
	ntm_sig_init(&m, NTM_M_RELEASE, 5);
	m.path_id = 7;
	cr_assert_not(message(&m), "without a Path ID it is none of the relay's");
	m.have = 1u << NTM_F_PATH_ID;
	cr_assert(message(&m));
	cr_assert_eq(answer.msg, NTM_M_ROUTE_ACK);
	cr_assert_eq(answer.path_id, 7);
	cr_assert_eq(r->dp->ops->count(r->dp), 0);
	cr_assert_not(message(&m), "a path that is not there is answered as a node does");
}

Test(session, what_a_node_answers_itself)
{
	struct ntm_sig m;

	ntm_sig_init(&m, NTM_M_CHECK, 1);
	cr_assert_not(message(&m));
	ntm_sig_init(&m, NTM_M_RELAY_RESPONSE, 1);
	cr_assert_not(message(&m));
}

static struct ntm_load told(void)
{
	struct ntm_sig m;

	ntm_sig_init(&m, NTM_M_KEEP_ALIVE, 0);
	r->node.hooks.keepalive(&r->node, &m);
	cr_assert(ntm_sig_has(&m, NTM_F_LOAD));
	return m.load;
}

Test(session, load_is_in_each_keep_alive)
{
	struct ntm_load l;

	assert_taken(7);
	l = told();
	cr_assert_eq(l.paths, 1);
	cr_assert_eq(l.paths_max, 2);
	cr_assert_eq(l.flags, 0);
	r->conf.gateway = true;
	cr_assert_eq(told().flags, 0, "a gateway only when its NAT is set");
	ntm_relay_drain(r);
	cr_assert_eq(told().flags, NTM_LOAD_DRAINING);
}

Test(session, registration_brings_the_probe_secret)
{
	struct ntm_relay_bind m = {.hdr = {.ver_type = NTM_WIRE_VERSION << 4 | NTM_T_TUNNEL_REQ,
					   .suite_epoch = NTM_SUITE_RS_PROBE << 4,
					   .id = htobe64(9)}};
	struct ntm_addr from;
	struct ntm_sig reg;
	uint8_t key[32];

	cr_assert_eq(ntm_addr_parse("198.51.100.1:9", 0, &from), 0);
	cr_assert_eq(ntm_probe_key(secret, 9, key), 0);
	cr_assert_eq(ntm_bind_sign(key, &m, sizeof(m)), 0);
	ntm_sig_init(&reg, NTM_M_REGISTRATION_RESPONSE, 1);
	r->node.hooks.registered(&r->node, &reg); /* a DC that does not know it as a relay: said, no harm */
	cr_assert(r->node.hooks.datagram(&r->node, &from, dc_addr.ip, (uint8_t *)&m, sizeof(m)));
	cr_assert_eq(n_sent, 0);
	memcpy(reg.relay_secret, secret, 32);
	reg.have = 1u << NTM_F_RELAY_SECRET;
	r->node.hooks.registered(&r->node, &reg);
	cr_assert(r->node.hooks.datagram(&r->node, &from, dc_addr.ip, (uint8_t *)&m, sizeof(m)));
	cr_assert_eq(n_sent, 1);
}

Test(session, draining_refuses_what_is_new)
{
	struct ntm_sig m = direction(8, secret);

	assert_taken(7);
	ntm_relay_drain(r);
	assert_taken(7); /* the DC's copy of what was taken before */
	assert_refused(&m, NTM_E_BUSY);
	cr_assert(r->admission.draining);
}

Test(session, who_is_bound_hears_of_draining_three_times)
{
	struct ntm_addr end;

	assert_taken(7);
	cr_assert_eq(ntm_addr_parse("198.51.100.7:4680", 0, &end), 0);
	cr_assert_eq(r->dp->ops->bind(r->dp, 7, 0, &end, 1), 0);
	ntm_relay_drain(r);
	pass(100);
	cr_assert_eq(r->admission.counters.told, 1);
	pass(9000);
	cr_assert_eq(r->admission.counters.told, 3);
}

Test(session, drained_when_the_last_path_went)
{
	assert_taken(7);
	ntm_relay_drain(r);
	pass(3000);
	cr_assert_eq(n_ended, 0);
	cr_assert_eq(r->dp->ops->del(r->dp, 7), 0);
	pass(300);
	cr_assert_eq(n_ended, 1);
	pass(20000);
	cr_assert_eq(n_ended, 1, "ended once");
}

Test(session, or_when_its_time_is_over)
{
	assert_taken(7);
	ntm_relay_drain(r);
	pass(9500);
	cr_assert_eq(n_ended, 0);
	pass(800);
	cr_assert_eq(n_ended, 1);
}

Test(session, nothing_to_drain)
{
	ntm_relay_drain(r);
	pass(300);
	cr_assert_eq(n_ended, 1);
}

static json_object *member(json_object *o, const char *key)
{
	json_object *v = NULL;

	cr_assert(json_object_object_get_ex(o, key, &v), "%s", key);
	return v;
}

Test(session, status)
{
	json_object *s, *relay;

	assert_taken(7);
	s = ntm_relay_status(r);
	cr_assert_not_null(s);
	cr_assert_str_eq(json_object_get_string(member(s, "name")), "rs1");
	cr_assert_not(json_object_get_boolean(member(member(s, "dc"), "connected")));
	relay = member(s, "relay");
	cr_assert_eq(json_object_get_int(member(relay, "paths")), 1);
	cr_assert_eq(json_object_get_int(member(relay, "paths_max")), 2);
	cr_assert_not(json_object_get_boolean(member(relay, "draining")));
	cr_assert_not(json_object_get_boolean(member(relay, "gateway")));
	cr_assert_eq(json_object_get_int(member(member(relay, "admission"), "refused_mac")), 0);
	cr_assert_eq(json_object_get_int(member(member(member(s, "counters"), "bad_source"), "packets")), 0);
	cr_assert_not(json_object_object_get_ex(s, "dns", NULL));
	json_object_put(s);
	ntm_relay_drain(r);
	s = ntm_relay_status(r);
	relay = member(s, "relay");
	cr_assert(json_object_get_boolean(member(relay, "draining")));
	cr_assert_eq(json_object_get_int(member(relay, "drain_left_s")), 10);
	json_object_put(s);
}

Test(session, paths)
{
	struct ntm_addr from;
	json_object *list, *one, *ends;

	assert_taken(0x1f);
	cr_assert_eq(ntm_addr_parse("198.51.100.1:9", 0, &from), 0);
	cr_assert_eq(r->dp->ops->bind(r->dp, 0x1f, 1, &from, 3), 0);
	list = ntm_relay_paths(r);
	cr_assert_eq(json_object_array_length(list), 1);
	one = json_object_array_get_idx(list, 0);
	cr_assert_str_eq(json_object_get_string(member(one, "path_id")), "000000000000001f");
	ends = member(one, "ends");
	cr_assert_null(member(json_object_array_get_idx(ends, 0), "endpoint"));
	cr_assert_str_eq(json_object_get_string(member(json_object_array_get_idx(ends, 1), "endpoint")),
			 "198.51.100.1:9");
	json_object_put(list);
}
