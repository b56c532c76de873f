/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A DC in the test's own process, asked over loopback UDP by scripted nodes (testnode.h). For inclusion by a test file,
 * which names setup() and teardown() in its TestSuite().
 */
#ifndef NTM_TEST_DC_RIG_H
#define NTM_TEST_DC_RIG_H

#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <ntm/wire.h>

#include "../../dc/clock.h"
#include "../../dc/dc.h"
#include "../../user/common/crypto.h"
#include "testnode.h"

static uv_loop_t loop;
static struct ntm_dc dc;
static struct ntm_dc_config conf;
static uint8_t dc_priv[NTM_DH_LEN], dc_pub[NTM_DH_LEN];
static const char *base = "/tmp"; /* where the DC has its directory */
static char dir[64], db[96];
static struct ntm_addr listen_addr;
static struct ntm_dc_remote relay_conf[4], *relay_list[4];

static inline void start_dc(void)
{
	char why[256];

	cr_assert_eq(ntm_dc_start(&dc, &loop, &conf, dc_priv, dc_pub, why, sizeof(why)), 0, "%s", why);
	listen_addr = *ntm_dc_net_bound(dc.net, 0); /* the next start listens there again */
}

static inline void stop_dc(void)
{
	ntm_dc_stop(&dc);
	uv_run(&loop, UV_RUN_DEFAULT);
	ntm_dc_free(&dc);
}

static inline void setup(void)
{
	char why[128];

	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_eq(ntm_x25519_generate(dc_priv, dc_pub), 0);
	snprintf(dir, sizeof(dir), "%s/ntm-dc-XXXXXX", base);
	cr_assert_not_null(mkdtemp(dir));
	snprintf(db, sizeof(db), "%s/dc.db", dir);
	memset(&conf, 0, sizeof(conf));
	strcpy(conf.zone, "ntm.example");
	conf.store_file = db;
	conf.cookie_threshold = 2000;
	conf.lifetime_s = 120;
	conf.keepalive_s = 15;
	conf.listen.addrs = &listen_addr;
	conf.listen.n = 1;
	conf.relays.items = relay_list;
	ntm_addr_parse("127.0.0.1:1", 0, &listen_addr);
	listen_addr.port = 0;
	ntm_prefix_parse("100.96.0.0/29", &conf.vip4_pool);
	ntm_prefix_parse("fd4e:544d::/48", &conf.vip6_pool);
	cr_assert_eq(ntm_pool_init(&conf.pool, &conf.vip4_pool, &conf.vip6_pool, why, sizeof(why)), 0);
	uv_loop_init(&loop);
	start_dc();
}

static inline void teardown(void)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	char path[128];

	stop_dc();
	for (size_t i = 0; i < conf.relays.n; i++)
		free(relay_conf[i].endpoints.addrs);
	cr_assert_eq(uv_loop_close(&loop), 0);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s%s", db, suffixes[i]);
		unlink(path);
	}
	cr_assert_eq(rmdir(dir), 0);
}

static inline void token(const char *text, const char *label)
{
	int64_t now = ntm_dc_wall_s();

	cr_assert_eq(dc.store->ops->token_create(dc.store, text, label, now, now + 60), 0);
}

static inline void open_node(struct testnode *t)
{
	cr_assert_eq(testnode_open(t, &loop, &listen_addr, dc_pub), 0);
	cr_assert_eq(testnode_connect(t), 0);
}

/* Connected and registered, by a token of its own. */
static inline struct ntm_sig join(struct testnode *t, const char *name)
{
	struct ntm_sig answer;
	char text[NTM_TOKEN_MAX];

	snprintf(text, sizeof(text), "token-of-%s", name);
	token(text, name);
	open_node(t);
	cr_assert_eq(testnode_register(t, name, text, &answer), 0);
	cr_assert_eq(answer.msg, NTM_M_REGISTRATION_RESPONSE, "%s", answer.error_text);
	return answer;
}

/* [relay NAME] with the node's key and the addresses 192.0.2.2N and 2001:db8::2N, N its number, in the configuration.
 */
static inline void configure_relay(struct testnode *t, const char *name)
{
	size_t i = conf.relays.n++;
	char text[64];

	cr_assert_lt(i, 4);
	relay_list[i] = &relay_conf[i];
	relay_conf[i].name = (char *)name;
	memcpy(relay_conf[i].keys.keys[0], t->pub, NTM_DH_LEN);
	relay_conf[i].keys.n = 1;
	relay_conf[i].endpoints.addrs = calloc(2, sizeof(struct ntm_addr));
	relay_conf[i].endpoints.n = 2;
	snprintf(text, sizeof(text), "192.0.2.2%zu:4680", i);
	ntm_addr_parse(text, 0, &relay_conf[i].endpoints.addrs[0]);
	snprintf(text, sizeof(text), "[2001:db8::2%zu]:4680", i);
	ntm_addr_parse(text, 0, &relay_conf[i].endpoints.addrs[1]);
	cr_assert_eq(ntm_dc_relays_apply(&dc, &conf.relays), 0);
}

static inline struct ntm_sig send_load(struct testnode *t, const struct ntm_load *load)
{
	struct ntm_sig m, answer;

	testnode_request(t, &m, NTM_M_KEEP_ALIVE);
	m.load = *load;
	m.have = 1u << NTM_F_LOAD;
	cr_assert_eq(testnode_ask(t, &m, &answer), 0);
	return answer;
}

static inline struct ntm_sig register_relay(struct testnode *t, const char *name, uint16_t flags)
{
	struct ntm_sig m, answer;

	testnode_request(t, &m, NTM_M_REGISTRATION_REQUEST);
	strcpy(m.name, name);
	m.load = (struct ntm_load){.paths_max = 1000, .flags = flags};
	m.have = 1u << NTM_F_NAME | 1u << NTM_F_LOAD;
	cr_assert_eq(testnode_ask(t, &m, &answer), 0);
	return answer;
}

/* A relay of the configuration, connected and registered. flags: enum ntm_load_flags */
static inline struct ntm_sig join_relay(struct testnode *t, const char *name, uint16_t flags)
{
	struct ntm_sig answer;

	cr_assert_eq(testnode_open(t, &loop, &listen_addr, dc_pub), 0);
	configure_relay(t, name);
	cr_assert_eq(testnode_connect(t), 0);
	answer = register_relay(t, name, flags);
	cr_assert_eq(answer.msg, NTM_M_REGISTRATION_RESPONSE, "%s", answer.error_text);
	return answer;
}

static inline struct ntm_addr own_address(const struct testnode *t)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct ntm_addr a;

	getsockname(t->fd, (struct sockaddr *)&sa, &len);
	ntm_addr_from_sockaddr(&a, (struct sockaddr *)&sa);
	return a;
}

static inline int keep_alive(struct testnode *t, struct ntm_sig *answer)
{
	struct ntm_sig m;

	testnode_request(t, &m, NTM_M_KEEP_ALIVE);
	return testnode_ask(t, &m, answer);
}

static inline void expect_error(const struct ntm_sig *answer, enum ntm_error code)
{
	cr_assert_eq(answer->msg, NTM_M_ERROR, "%s", ntm_msg_name(answer->msg));
	cr_assert_eq(answer->error_code, code, "%s: %s", ntm_error_name(answer->error_code), answer->error_text);
	cr_assert_neq(answer->error_text[0], 0);
}

static inline void expect_silence(struct testnode *t)
{
	uint8_t buf[NTM_SIGNAL_MAX];

	cr_assert_eq(testnode_recv_raw(t, buf, sizeof(buf), 60), -ETIMEDOUT);
}

/* What the DC asks of a relay, answered: code 0 by a Relay Response, else by that error. */
static inline struct ntm_sig await_relay_direction(struct testnode *t, enum ntm_error code)
{
	struct ntm_sig m, answer;

	cr_assert_eq(testnode_recv(t, &m, TESTNODE_WAIT_MS), 0);
	cr_assert_eq(m.msg, NTM_M_RELAY_DIRECTION, "%s", ntm_msg_name(m.msg));
	ntm_sig_init(&answer, code ? NTM_M_ERROR : NTM_M_RELAY_RESPONSE, m.txid);
	answer.path_id = m.path_id;
	answer.error_code = code;
	answer.have = code ? 1u << NTM_F_ERROR_CODE : 1u << NTM_F_PATH_ID;
	cr_assert_eq(testnode_send(t, &answer), 0);
	return m;
}

static inline void await_release(struct testnode *t, uint64_t path_id)
{
	struct ntm_sig m, ack;

	cr_assert_eq(testnode_recv(t, &m, TESTNODE_WAIT_MS), 0);
	cr_assert_eq(m.msg, NTM_M_RELEASE, "%s", ntm_msg_name(m.msg));
	cr_assert_eq(m.path_id, path_id);
	ntm_sig_init(&ack, NTM_M_ROUTE_ACK, m.txid);
	cr_assert_eq(testnode_send(t, &ack), 0);
}

static inline struct ntm_sig await_direction(struct testnode *t)
{
	struct ntm_sig m, ack;

	cr_assert_eq(testnode_recv(t, &m, TESTNODE_WAIT_MS), 0);
	cr_assert_eq(m.msg, NTM_M_ROUTE_DIRECTION);
	ntm_sig_init(&ack, NTM_M_ROUTE_ACK, m.txid);
	cr_assert_eq(testnode_send(t, &ack), 0);
	return m;
}

#endif
