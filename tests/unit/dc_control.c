/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket's commands, as `ntm dc ...` uses them: the DC runs in a thread of its own. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../dc/dc.h"
#include "../../user/common/crypto.h"
#include "../../user/common/keystore.h"
#include "../harness/testnode.h"

static uv_loop_t loop;
static uv_async_t end;
static pthread_t thread;
static struct ntm_dc dc;
static struct ntm_dc_config conf;
static uint8_t dc_priv[NTM_DH_LEN], dc_pub[NTM_DH_LEN];
static char dir[64], db[96], runtime_dir[96];
static struct ntm_addr listen_addr, bound;
static struct ntm_dc_remote relay_conf, *relay_list = &relay_conf;
static struct ntm_addr relay_addr;
static struct testnode relay;

static void on_end(uv_async_t *a)
{
	ntm_dc_stop(&dc);
	uv_close((uv_handle_t *)a, NULL);
}

static void *run(void *arg)
{
	uv_run(arg, UV_RUN_DEFAULT);
	return NULL;
}

static void setup(void)
{
	char why[256];

	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_eq(ntm_x25519_generate(dc_priv, dc_pub), 0);
	snprintf(dir, sizeof(dir), "/tmp/ntm-ctl-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(db, sizeof(db), "%s/dc.db", dir);
	strcpy(conf.zone, "ntm.example");
	conf.store_file = db;
	snprintf(runtime_dir, sizeof(runtime_dir), "%s/run", dir); /* made by the DC */
	conf.runtime_dir = runtime_dir;
	conf.cookie_threshold = 2000;
	conf.lifetime_s = 120;
	conf.keepalive_s = 15;
	conf.listen.addrs = &listen_addr;
	conf.listen.n = 1;
	ntm_addr_parse("127.0.0.1:1", 0, &listen_addr);
	listen_addr.port = 0;
	ntm_prefix_parse("100.96.0.0/12", &conf.vip4_pool);
	ntm_prefix_parse("fd4e:544d::/48", &conf.vip6_pool);
	cr_assert_eq(ntm_pool_init(&conf.pool, &conf.vip4_pool, &conf.vip6_pool, why, sizeof(why)), 0);
	uv_loop_init(&loop);
	uv_async_init(&loop, &end, on_end);
	cr_assert_eq(ntm_dc_start(&dc, &loop, &conf, dc_priv, dc_pub, why, sizeof(why)), 0, "%s", why);
	bound = *ntm_dc_net_bound(dc.net, 0);
	pthread_create(&thread, NULL, run, &loop);
}

static void teardown(void)
{
	char cmd[128];

	uv_async_send(&end);
	pthread_join(thread, NULL);
	ntm_dc_free(&dc);
	cr_assert_eq(uv_loop_close(&loop), 0);
	snprintf(cmd, sizeof(cmd), "%s/ctl.sock", runtime_dir);
	cr_assert_neq(access(cmd, F_OK), 0, "the socket is removed");
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	cr_assert_eq(system(cmd), 0);
}

TestSuite(control, .init = setup, .fini = teardown, .timeout = 30);

static void setup_with_relay(void)
{
	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_eq(ntm_x25519_generate(relay.priv, relay.pub), 0);
	memcpy(relay_conf.keys.keys[0], relay.pub, NTM_DH_LEN);
	relay_conf.keys.n = 1;
	relay_conf.name = (char *)"rs1";
	ntm_addr_parse("192.0.2.20:4680", 0, &relay_addr);
	relay_conf.endpoints = (struct ntm_addr_list){&relay_addr, 1};
	conf.relays = (struct ntm_dc_remotes){&relay_list, 1};
	setup();
}

TestSuite(control_relays, .init = setup_with_relay, .fini = teardown, .timeout = 30);

/* The result of a command given as JSON; NULL with the reason in why. */
static char why[256];
static json_object *call(const char *request)
{
	json_object *req = json_tokener_parse(request), *result = NULL;

	*why = 0;
	cr_assert_not_null(req);
	if (ntm_ctl_call(runtime_dir, req, 5000, NULL, NULL, &result, why, sizeof(why)))
		result = NULL;
	json_object_put(req);
	return result;
}

static json_object *member(json_object *o, const char *key)
{
	json_object *v = NULL;

	cr_assert(json_object_object_get_ex(o, key, &v), "no member %s", key);
	return v;
}

static const char *string(json_object *o, const char *key)
{
	return json_object_get_string(member(o, key));
}

static void join(struct testnode *t, const char *name)
{
	json_object *r = call("{\"cmd\":\"token_create\"}");
	struct ntm_sig answer;

	cr_assert_not_null(r, "%s", why);
	cr_assert_eq(testnode_open(t, NULL, &bound, dc_pub), 0);
	cr_assert_eq(testnode_connect(t), 0);
	cr_assert_eq(testnode_register(t, name, string(r, "token"), &answer), 0);
	cr_assert_eq(answer.msg, NTM_M_REGISTRATION_RESPONSE, "%s", answer.error_text);
	json_object_put(r);
}

Test(control, token)
{
	json_object *r = call("{\"cmd\":\"token_create\",\"name\":\"Alice\",\"ttl_s\":60}");
	struct testnode t;
	struct ntm_sig answer;

	cr_assert_not_null(r, "%s", why);
	cr_assert_eq(strlen(string(r, "token")), 40);
	cr_assert_str_eq(string(r, "name"), "alice");
	cr_assert_eq(strlen(string(r, "expires")), strlen("2030-01-01T00:00:00Z"));
	cr_assert_eq(testnode_open(&t, NULL, &bound, dc_pub), 0);
	cr_assert_eq(testnode_connect(&t), 0);
	cr_assert_eq(testnode_register(&t, "bob", string(r, "token"), &answer), 0);
	cr_assert_eq(answer.error_code, NTM_E_BAD_NAME);
	cr_assert_eq(testnode_register(&t, "alice", string(r, "token"), &answer), 0);
	cr_assert_eq(answer.msg, NTM_M_REGISTRATION_RESPONSE);
	json_object_put(r);

	r = call("{\"cmd\":\"token_create\"}");
	cr_assert_null(member(r, "name"));
	json_object_put(r);
	cr_assert_null(call("{\"cmd\":\"token_create\",\"name\":\"alice\"}"), "alice is enrolled");
	cr_assert_null(call("{\"cmd\":\"token_create\",\"name\":\"no_label\"}"));
	cr_assert_null(call("{\"cmd\":\"token_create\",\"ttl_s\":0}"));
	cr_assert_null(call("{\"cmd\":\"token_create\",\"ttl_s\":\"1h\"}"));
	cr_assert_null(call("{\"cmd\":\"dance\"}"));
	testnode_close(&t);
}

Test(control, nodes_and_status)
{
	struct testnode a, b;
	json_object *r, *n;
	char key[NTM_KEY_TEXT_LEN + 1];

	join(&a, "alice");
	join(&b, "bob");
	r = call("{\"cmd\":\"nodes\"}");
	cr_assert_not_null(r, "%s", why);
	cr_assert_eq(json_object_array_length(r), 2);
	n = json_object_array_get_idx(r, 0);
	ntm_key_to_text(a.pub, key);
	cr_assert_str_eq(string(n, "name"), "alice.ntm.example");
	cr_assert_str_eq(string(n, "vip4"), "100.96.0.1");
	cr_assert_str_eq(string(n, "vip6"), "fd4e:544d::1");
	cr_assert_str_eq(string(n, "public_key"), key);
	cr_assert(json_object_get_boolean(member(n, "online")));
	cr_assert_not_null(strstr(string(n, "endpoint"), "127.0.0.1:"));
	cr_assert_leq(json_object_get_int(member(n, "last_seen_s")), 1);
	cr_assert(!json_object_get_boolean(member(n, "revoked")));
	json_object_put(r);

	r = call("{\"cmd\":\"status\"}");
	cr_assert_str_eq(string(r, "zone"), "ntm.example");
	cr_assert_eq(json_object_get_int(member(r, "nodes")), 2);
	cr_assert_eq(json_object_get_int(member(r, "online")), 2);
	cr_assert_str_eq(string(r, "version"), NTM_VERSION);
	cr_assert_eq(json_object_get_int(member(member(r, "counters"), "enrolments")), 2);
	member(r, "uptime_s");
	json_object_put(r);
	testnode_close(&a);
	testnode_close(&b);
}

Test(control, paths_and_revoke)
{
	struct testnode a, b;
	struct ntm_sig d;
	json_object *r, *p;
	char id[17];

	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_direct(&a, "bob", &d), 0);
	r = call("{\"cmd\":\"paths\"}");
	cr_assert_eq(json_object_array_length(r), 1);
	p = json_object_array_get_idx(r, 0);
	snprintf(id, sizeof(id), "%016llx", (unsigned long long)d.path_id);
	cr_assert_str_eq(string(p, "path_id"), id);
	cr_assert_str_eq(string(p, "a"), "alice.ntm.example");
	cr_assert_str_eq(string(p, "b"), "bob.ntm.example");
	cr_assert_leq(json_object_get_int(member(p, "age_s")), 1);
	json_object_put(r);

	cr_assert_null(call("{\"cmd\":\"revoke\"}"));
	cr_assert_null(call("{\"cmd\":\"revoke\",\"name\":\"nobody\"}"));
	r = call("{\"cmd\":\"revoke\",\"name\":\"bob.ntm.example\"}");
	cr_assert_not_null(r, "%s", why);
	cr_assert_str_eq(string(r, "name"), "bob");
	cr_assert(json_object_get_boolean(member(r, "revoked")));
	json_object_put(r);
	cr_assert_null(call("{\"cmd\":\"revoke\",\"name\":\"bob\"}"));

	cr_assert_eq(testnode_recv(&a, &d, TESTNODE_WAIT_MS), 0);
	cr_assert_eq(d.msg, NTM_M_RELEASE);
	r = call("{\"cmd\":\"paths\"}");
	cr_assert_eq(json_object_array_length(r), 0);
	json_object_put(r);
	r = call("{\"cmd\":\"nodes\"}");
	cr_assert(json_object_get_boolean(member(json_object_array_get_idx(r, 1), "revoked")));
	cr_assert(!json_object_get_boolean(member(json_object_array_get_idx(r, 1), "online")));
	json_object_put(r);
	testnode_close(&a);
	testnode_close(&b);
}

Test(control_relays, are_listed_with_their_load)
{
	json_object *r = call("{\"cmd\":\"relays\"}"), *o;
	struct testnode t;
	struct ntm_sig m, answer;

	cr_assert_not_null(r, "%s", why);
	cr_assert_eq(json_object_array_length(r), 1);
	o = json_object_array_get_idx(r, 0);
	cr_assert_str_eq(string(o, "name"), "rs1");
	cr_assert(!json_object_get_boolean(member(o, "online")));
	cr_assert_str_eq(string(o, "endpoint4"), "192.0.2.20:4680");
	cr_assert_null(member(o, "endpoint6"));
	json_object_put(r);

	cr_assert_eq(testnode_open(&t, NULL, &bound, dc_pub), 0);
	memcpy(t.priv, relay.priv, NTM_DH_LEN);
	memcpy(t.pub, relay.pub, NTM_DH_LEN);
	cr_assert_eq(testnode_connect(&t), 0);
	testnode_request(&t, &m, NTM_M_REGISTRATION_REQUEST);
	strcpy(m.name, "rs1");
	m.load = (struct ntm_load){1, 2, 3, 4, 5000000000, 6, NTM_LOAD_GATEWAY | NTM_LOAD_DRAINING};
	m.have = 1u << NTM_F_NAME | 1u << NTM_F_LOAD;
	cr_assert_eq(testnode_ask(&t, &m, &answer), 0);
	cr_assert_eq(answer.msg, NTM_M_REGISTRATION_RESPONSE, "%s", answer.error_text);
	r = call("{\"cmd\":\"relays\"}");
	o = json_object_array_get_idx(r, 0);
	cr_assert(json_object_get_boolean(member(o, "online")));
	cr_assert(json_object_get_boolean(member(o, "draining")));
	cr_assert(json_object_get_boolean(member(o, "gateway")));
	cr_assert_eq(json_object_get_int(member(o, "paths")), 1);
	cr_assert_eq(json_object_get_int(member(o, "paths_max")), 2);
	cr_assert_eq(json_object_get_int(member(o, "packets_per_s")), 3);
	cr_assert_eq(json_object_get_int(member(o, "drops_per_s")), 4);
	cr_assert_eq(json_object_get_int64(member(o, "bytes_per_s")), 5000000000);
	cr_assert_eq(json_object_get_int(member(o, "cpu_permille")), 6);
	json_object_put(r);
	r = call("{\"cmd\":\"status\"}");
	cr_assert_eq(json_object_get_int(member(r, "relays")), 1);
	cr_assert_eq(json_object_get_int(member(r, "relays_online")), 1);
	json_object_put(r);
	testnode_close(&t);
}

Test(control_relays, are_revoked_by_the_configuration_only)
{
	json_object *r;

	cr_assert_null(call("{\"cmd\":\"revoke\",\"name\":\"rs1\"}"));
	cr_assert_not_null(strstr(why, "configuration"), "%s", why);
	cr_assert_null(call("{\"cmd\":\"token_create\",\"name\":\"rs1\"}"), "its name is taken");
	r = call("{\"cmd\":\"nodes\"}");
	cr_assert_eq(json_object_array_length(r), 1);
	cr_assert(json_object_get_boolean(member(json_object_array_get_idx(r, 0), "relay")));
	cr_assert(!json_object_get_boolean(member(json_object_array_get_idx(r, 0), "revoked")));
	json_object_put(r);
}
