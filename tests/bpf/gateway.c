/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way to general nodes: which addresses a node's gateway path and a gateway's client path carry, and that nothing
 * else gets through. alice is the node, bob the gateway.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "fixture.h"

enum { SHOT = 2, TC_REDIRECT = 7, DROP = 1, XDP_REDIRECTED = 4 };

static struct fx f;
static uint64_t counter;

static void node(void)
{
	fx_open(&f, FX_ALICE, 0);
	fx_path(&f)->flags = NTM_PATH_GATEWAY;
	f.settings->gateway = FX_SLOT;
	counter = 0;
}

static void gateway(void)
{
	fx_open(&f, FX_BOB, 0);
	fx_path(&f)->flags = NTM_PATH_CLIENT;
	f.settings->flags = NTM_SETTINGS_GATEWAY;
	counter = 0;
}

static void teardown(void)
{
	fx_close(&f);
}

TestSuite(bpf_gateway_node, .init = node, .fini = teardown);
TestSuite(bpf_gateway_host, .init = gateway, .fini = teardown);

/* Which end of the inner packet a row changes. */
enum end { SOURCE, DESTINATION };

static void put_address(uint8_t *ip, enum end end, const char *text)
{
	if (strchr(text, ':')) {
		cr_assert_eq(inet_pton(AF_INET6, text, ip + (end == SOURCE ? 8 : 24)), 1, "%s", text);
	} else {
		cr_assert_eq(inet_pton(AF_INET, text, ip + (end == SOURCE ? 12 : 16)), 1, "%s", text);
		fx_fix_ipv4(ip);
	}
}

/* An inner packet of this side's in the clear, one end changed, through node_encap. */
static int send_with(enum end end, const char *address, struct fx_frame *p)
{
	fx_clear_frame(&f, p, &(struct fx_inner){.v6 = strchr(address, ':'), .payload = 100});
	put_address(p->data + 14, end, address);
	return fx_encap(&f, p);
}

/* An inner packet of the peer's, one end changed, sealed, through node_decap. */
static int receive_with(enum end end, const char *address, struct fx_frame *p)
{
	struct fx_frame inner = {.len = 0};

	fx_put_inner(&f, &inner, &(struct fx_inner){.v6 = strchr(address, ':'), .payload = 100, .reply = true});
	put_address(inner.data, end, address);
	fx_sealed_frame(&f, p, &(struct fx_outer){.counter = counter++}, inner.data, inner.len);
	return fx_decap(&f, p);
}

struct row {
	const char *address;
	enum ntm_reason reason; /* TX_OK, RX_OK: it gets through */
};

static void expect_sent(const char *address, enum end end, enum ntm_reason reason)
{
	struct fx_frame p;
	size_t inner = strchr(address, ':') ? 140 : 120;
	int action = send_with(end, address, &p);
	const char *why = fx_only(&f, reason, inner, false);

	cr_expect_eq(action, reason == NTM_R_TX_OK ? TC_REDIRECT : SHOT, "%s", address);
	cr_expect_null(why, "%s: %s", address, why);
	if (reason == NTM_R_TX_OK) {
		cr_expect_eq(p.len, fx_hdr_off(false) + sizeof(struct ntm_hdr) + inner + NTM_TAG_LEN, "%s", address);
		cr_expect(!memcmp(p.data + 14 + 16, fx_real(!f.side, false) + 12, 4), "%s: sent to the peer", address);
	}
	cr_expect_eq(f.n_events, 0, "%s: the agent is not asked", address);
}

static void expect_received(const char *address, enum end end, enum ntm_reason reason)
{
	struct fx_frame p;
	int action = receive_with(end, address, &p);
	uint64_t bytes = 0;

	cr_expect_eq(action, reason == NTM_R_RX_OK ? XDP_REDIRECTED : DROP, "%s", address);
	cr_expect_eq(fx_counted(&f, reason, &bytes), 1, "%s", address);
	if (reason == NTM_R_RX_OK)
		cr_expect_eq(p.len, 14 + (strchr(address, ':') ? 140 : 120), "%s", address);
}

/* Nobody beyond a gateway has such an address. */
static const char *const never[] = {
    "0.0.0.1", "127.0.0.1",   "169.254.1.1", "240.0.0.1", "::",
    "::1",     "::192.0.2.1", "fe80::1",     "febf::1",   "::ffff:192.0.2.77",
};
enum { NEVER = sizeof(never) / sizeof(never[0]) };

static const char *const general[] = {"192.0.2.77",     "8.8.8.8",     "10.0.0.1",       "223.255.255.255",
				      "100.95.255.255", "100.112.0.0", "2001:db8:77::1", "64:ff9b::1",
				      "fd4e:544d:1::1", "fec0::1"};
enum { GENERAL = sizeof(general) / sizeof(general[0]) };

Test(bpf_gateway_node, sends_to_general_nodes)
{
	for (int i = 0; i < GENERAL; i++)
		expect_sent(general[i], DESTINATION, NTM_R_TX_OK);
	for (int i = 0; i < NEVER; i++)
		expect_sent(never[i], DESTINATION, NTM_R_TX_NOT_VIRTUAL);
	expect_sent("224.0.0.5", DESTINATION, NTM_R_TX_NOT_IP);
	expect_sent("255.255.255.255", DESTINATION, NTM_R_TX_NOT_IP);
	expect_sent("ff02::5", DESTINATION, NTM_R_TX_NOT_IP);
	cr_expect_eq(fx_path(&f)->tx_packets, GENERAL);
}

Test(bpf_gateway_node, sends_from_its_own_addresses_only)
{
	static const struct row rows[] = {{"192.0.2.77", NTM_R_TX_BAD_SOURCE},
					  {"100.96.0.9", NTM_R_TX_BAD_SOURCE},
					  {"2001:db8::7", NTM_R_TX_BAD_SOURCE},
					  {"fd4e:544d::9", NTM_R_TX_BAD_SOURCE}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		expect_sent(rows[i].address, SOURCE, rows[i].reason);
}

/* The gateway's virtual addresses are reached by the same path, as any node's. */
Test(bpf_gateway_node, sends_to_the_gateway_itself)
{
	expect_sent("100.111.255.2", DESTINATION, NTM_R_TX_OK);
	expect_sent("fd4e:544d:0:ff00::2", DESTINATION, NTM_R_TX_OK);
}

Test(bpf_gateway_node, without_a_gateway_nothing_leaves)
{
	f.settings->gateway = 0;
	expect_sent("8.8.8.8", DESTINATION, NTM_R_TX_NOT_VIRTUAL);
	expect_sent("2001:db8:77::1", DESTINATION, NTM_R_TX_NOT_VIRTUAL);
	/* A slot that has gone to somebody else, or to nobody, since. */
	f.settings->gateway = FX_SLOT;
	fx_path(&f)->flags = 0;
	expect_sent("8.8.8.8", DESTINATION, NTM_R_TX_NO_PATH);
	fx_path(&f)->flags = NTM_PATH_GATEWAY;
	fx_path(&f)->path_id = 0;
	expect_sent("8.8.8.8", DESTINATION, NTM_R_TX_NO_PATH);
	f.settings->gateway = 63;
	expect_sent("8.8.8.8", DESTINATION, NTM_R_TX_NO_PATH);
	f.settings->gateway = 64;
	expect_sent("8.8.8.8", DESTINATION, NTM_R_TX_NO_PATH);
}

Test(bpf_gateway_node, receives_from_general_nodes)
{
	for (int i = 0; i < GENERAL; i++)
		expect_received(general[i], SOURCE, NTM_R_RX_OK);
	for (int i = 0; i < NEVER; i++)
		expect_received(never[i], SOURCE, NTM_R_RX_BAD_SOURCE);
	expect_received("224.0.0.5", SOURCE, NTM_R_RX_BAD_SOURCE);
	expect_received("ff02::5", SOURCE, NTM_R_RX_BAD_SOURCE);
	expect_received("100.111.255.2", SOURCE, NTM_R_RX_OK);
}

/* A gateway can't pass anybody's packets off as another node's, nor send to another address than ours. */
Test(bpf_gateway_node, refuses_other_nodes_addresses)
{
	expect_received("100.96.0.9", SOURCE, NTM_R_RX_BAD_SOURCE);
	expect_received("100.96.0.1", SOURCE, NTM_R_RX_BAD_SOURCE);
	expect_received("fd4e:544d::9", SOURCE, NTM_R_RX_BAD_SOURCE);
	expect_received("192.0.2.1", DESTINATION, NTM_R_RX_BAD_DEST);
	expect_received("8.8.8.8", DESTINATION, NTM_R_RX_BAD_DEST);
	expect_received("100.96.0.9", DESTINATION, NTM_R_RX_BAD_DEST);
	expect_received("2001:db8:77::1", DESTINATION, NTM_R_RX_BAD_DEST);
}

Test(bpf_gateway_node, an_ordinary_path_carries_no_general_traffic)
{
	fx_path(&f)->flags = 0;
	expect_received("8.8.8.8", SOURCE, NTM_R_RX_BAD_SOURCE);
	expect_received("2001:db8:77::1", SOURCE, NTM_R_RX_BAD_SOURCE);
}

Test(bpf_gateway_host, receives_for_general_nodes)
{
	for (int i = 0; i < GENERAL; i++)
		expect_received(general[i], DESTINATION, NTM_R_RX_OK);
	for (int i = 0; i < NEVER; i++)
		expect_received(never[i], DESTINATION, NTM_R_RX_BAD_DEST);
	expect_received("224.0.0.5", DESTINATION, NTM_R_RX_BAD_DEST);
	expect_received("255.255.255.255", DESTINATION, NTM_R_RX_BAD_DEST);
	expect_received("ff02::5", DESTINATION, NTM_R_RX_BAD_DEST);
	expect_received("100.111.255.2", DESTINATION, NTM_R_RX_OK);
}

/* Not to other nodes, and not to what listens on the gateway's own addresses. */
Test(bpf_gateway_host, refuses_pools_and_itself)
{
	char real[2][INET6_ADDRSTRLEN];

	inet_ntop(AF_INET, fx_real(FX_BOB, false) + 12, real[0], sizeof(real[0]));
	inet_ntop(AF_INET6, fx_real(FX_BOB, true), real[1], sizeof(real[1]));
	expect_received(real[0], DESTINATION, NTM_R_RX_BAD_DEST);
	expect_received(real[1], DESTINATION, NTM_R_RX_BAD_DEST);
	expect_received("100.96.0.9", DESTINATION, NTM_R_RX_BAD_DEST);
	expect_received("100.96.0.1", DESTINATION, NTM_R_RX_BAD_DEST);
	expect_received("fd4e:544d::9", DESTINATION, NTM_R_RX_BAD_DEST);
}

Test(bpf_gateway_host, a_client_sends_from_its_own_addresses_only)
{
	expect_received("100.96.0.9", SOURCE, NTM_R_RX_BAD_SOURCE);
	expect_received("8.8.8.8", SOURCE, NTM_R_RX_BAD_SOURCE);
	expect_received("fd4e:544d::9", SOURCE, NTM_R_RX_BAD_SOURCE);
	expect_received("2001:db8:77::1", SOURCE, NTM_R_RX_BAD_SOURCE);
}

Test(bpf_gateway_host, an_ordinary_path_is_no_clients)
{
	fx_path(&f)->flags = 0;
	expect_received("8.8.8.8", DESTINATION, NTM_R_RX_BAD_DEST);
	expect_received("2001:db8:77::1", DESTINATION, NTM_R_RX_BAD_DEST);
	expect_sent("8.8.8.8", SOURCE, NTM_R_TX_BAD_SOURCE);
}

Test(bpf_gateway_host, sends_from_general_nodes_to_clients)
{
	struct fx_frame p;

	for (int i = 0; i < GENERAL; i++)
		expect_sent(general[i], SOURCE, NTM_R_TX_OK);
	for (int i = 0; i < NEVER; i++)
		expect_sent(never[i], SOURCE, NTM_R_TX_BAD_SOURCE);
	expect_sent("100.96.0.9", SOURCE, NTM_R_TX_BAD_SOURCE);
	expect_sent("fd4e:544d::9", SOURCE, NTM_R_TX_BAD_SOURCE);
	/* As a node of its own it goes on to send. */
	fx_clear_frame(&f, &p, &(struct fx_inner){.payload = 100});
	cr_expect_eq(fx_encap(&f, &p), TC_REDIRECT);
	expect_sent("8.8.8.8", DESTINATION, NTM_R_TX_NOT_VIRTUAL);
}

/* A client that has gone is not asked for: a path to it would not be a client's. */
Test(bpf_gateway_host, unknown_client)
{
	struct fx_frame p;

	fx_clear_frame(&f, &p, &(struct fx_inner){.payload = 100});
	put_address(p.data + 14, SOURCE, "8.8.8.8");
	put_address(p.data + 14, DESTINATION, "100.96.0.77");
	cr_expect_eq(fx_encap(&f, &p), SHOT);
	cr_expect_null(fx_only(&f, NTM_R_TX_NO_PATH, 120, false));
	cr_expect_eq(f.n_events, 0);

	/* From one general node to another is nothing that a tunnel carries. */
	fx_clear_frame(&f, &p, &(struct fx_inner){.payload = 100});
	put_address(p.data + 14, SOURCE, "8.8.8.8");
	put_address(p.data + 14, DESTINATION, "192.0.2.77");
	cr_expect_eq(fx_encap(&f, &p), SHOT);
	cr_expect_null(fx_only(&f, NTM_R_TX_NOT_VIRTUAL, 120, false));
}
