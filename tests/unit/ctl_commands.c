/* SPDX-License-Identifier: BSD-2-Clause */
/* The sub-commands against a daemon that answers by rote: what they send, print and return. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../user/common/ctlsock.h"
#include "../../user/ctl/ctl.h"

static char dir[] = "/tmp/ntm-cmd-XXXXXX";
static uv_loop_t loop;
static uv_async_t stop;
static pthread_t thread;
static struct ntm_ctl_server *server;
static char last_request[512];
/* Lines that the daemon sends: events, and the last one is the result; "!text": an error. */
static const char *const *script;

static void on_request(struct ntm_ctl_client *c, const char *cmd, json_object *request, void *arg)
{
	(void)cmd;
	(void)arg;
	snprintf(last_request, sizeof(last_request), "%s",
		 json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN));
	for (; script[1]; script++)
		ntm_ctl_event(c, json_tokener_parse(script[0]));
	if (script[0][0] == '!')
		ntm_ctl_error(c, "refused", "%s", script[0] + 1);
	else
		ntm_ctl_result(c, json_tokener_parse(script[0]));
}

static void on_stop(uv_async_t *a)
{
	ntm_ctl_server_stop(server);
	uv_close((uv_handle_t *)a, NULL);
}

static void *run(void *arg)
{
	uv_run(arg, UV_RUN_DEFAULT);
	return NULL;
}

static void setup(void)
{
	cr_redirect_stdout();
	cr_redirect_stderr();
	cr_assert_not_null(mkdtemp(dir));
	uv_loop_init(&loop);
	uv_async_init(&loop, &stop, on_stop);
	cr_assert_eq(ntm_ctl_server_start(&server, &loop, dir, on_request, NULL, NULL), 0);
	cr_assert_eq(pthread_create(&thread, NULL, run, &loop), 0);
}

static void teardown(void)
{
	uv_async_send(&stop);
	pthread_join(thread, NULL);
	uv_loop_close(&loop);
	rmdir(dir);
}

TestSuite(commands, .init = setup, .fini = teardown, .timeout = 20);

#define SCRIPT(...) (script = (const char *const[]){__VA_ARGS__, NULL})

/* Runs a command line of blank-separated words; gives its exit code. */
static int ntm(int (*main)(const struct ctl *, int, char **), bool json, const char *words)
{
	struct ctl ctl = {.runtime_dir = dir, .json = json, .usage = "usage"};
	char copy[256], *argv[16], *save = NULL;
	int argc = 0, ret;

	snprintf(copy, sizeof(copy), "%s", words);
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	argv[argc] = NULL;
	ret = main(&ctl, argc, argv);
	fflush(stdout);
	fflush(stderr);
	return ret;
}

Test(commands, resolve)
{
	SCRIPT("{\"name\":\"bob.x\",\"vip4\":\"100.96.0.3\",\"vip6\":\"fd4e::3\",\"ms\":1.5}");
	cr_assert_eq(ntm(resolve_main, false, "resolve bob"), CTL_OK);
	cr_assert_str_eq(last_request, "{\"cmd\":\"resolve\",\"name\":\"bob\"}");
	cr_assert_stdout_eq_str("100.96.0.3\nfd4e::3\n");
}

Test(commands, resolve_fails)
{
	SCRIPT("!bob: there is no such node");
	cr_assert_eq(ntm(resolve_main, true, "resolve bob"), CTL_FAILED);
	cr_assert_stderr_eq_str("ntm: bob: there is no such node\n");
}

Test(commands, resolve_without_name)
{
	cr_assert_eq(ntm(resolve_main, false, "resolve"), CTL_USAGE);
	cr_assert_eq(ntm(resolve_main, false, "resolve a b"), CTL_USAGE);
	cr_assert_str_eq(last_request, "");
}

Test(commands, paths_json_is_what_the_daemon_says)
{
	SCRIPT("[{\"peer\":\"bob.x\",\"path_id\":\"00000000000000ff\",\"rtt_ms\":0.250,\"relay\":null,\"new\":[1]}]");
	cr_assert_eq(ntm(paths_main, true, "paths"), CTL_OK);
	cr_assert_stdout_eq_str(
	    "[\n  {\n    \"peer\": \"bob.x\",\n    \"path_id\": \"00000000000000ff\",\n"
	    "    \"rtt_ms\": 0.250,\n    \"relay\": null,\n    \"new\": [\n      1\n    ]\n  }\n]\n");
}

Test(commands, paths_of_a_relay)
{
	SCRIPT("[{\"path_id\":\"00000000000000ff\",\"initiator\":\"192.0.2.2:4680\",\"responder\":null,\"packets\":12,"
	       "\"bytes\":900,\"drops\":1,\"idle_s\":0.3,\"ends\":[{},{}]}]");
	cr_assert_eq(ntm(paths_main, false, "paths"), CTL_OK);
	cr_assert_stdout_eq_str("PATH              INITIATOR       RESPONDER  PACKETS  BYTES  DROPS   IDLE\n"
				"00000000000000ff  192.0.2.2:4680  -               12  900 B      1  0.3 s\n");
}

Test(commands, status_of_a_relay)
{
	SCRIPT(
	    "{\"name\":\"rs1.x\",\"vip4\":\"100.96.0.9\",\"vip6\":\"fd4e::9\",\"version\":\"1\",\"pid\":7,\"uptime_s\":3,"
	    "\"datapath\":\"bpf\",\"adopted\":true,\"dc\":{\"connected\":true,\"endpoint\":\"192.0.2.1:4680\"},"
	    "\"uplinks\":[{\"name\":\"eth0\",\"mtu\":1500,\"xdp\":\"native\",\"addr4\":\"192.0.2.20\"}],"
	    "\"relay\":{\"paths\":3,\"paths_max\":65536,\"draining\":true,\"drain_left_s\":9,\"gateway\":true,"
	    "\"packets_per_s\":15,\"bytes_per_s\":900,\"drops_per_s\":0,\"cpu_permille\":42,"
	    "\"admission\":{\"bound\":5,\"refused_mac\":0}},"
	    "\"counters\":{\"relayed\":{\"packets\":53,\"bytes\":800},\"other\":{\"packets\":0,\"bytes\":0}}}");
	cr_assert_eq(ntm(status_main, false, "status"), CTL_OK);
	cr_assert_stdout_eq_str(
	    "rs1.x\n"
	    "  addresses  100.96.0.9, fd4e::9\n"
	    "  DC         192.0.2.1:4680, connected\n"
	    "  uplink     eth0: MTU 1500, XDP native, 192.0.2.20\n"
	    "  relay      3 of 65536 paths, gateway to general nodes, draining for 9.0 s more\n"
	    "  load       15 packets/s, 900 B/s, 0 drops/s, CPU 4.2 %\n"
	    "  agent      version 1, process 7, up 3.0 s, datapath bpf, took over a running data path\n"
	    "  counters\n"
	    "    relayed                    53 packets        800 B\n"
	    "  admission\n"
	    "    bound                               5\n");
}

Test(commands, peers)
{
	SCRIPT("[{\"name\":\"bob.x\",\"vip4\":\"100.96.0.3\",\"vip6\":\"fd4e::3\",\"route\":\"direct\","
	       "\"endpoint\":\"192.0.2.2:4680\",\"last_rx_s\":0.31}]");
	cr_assert_eq(ntm(peers_main, false, "peers"), CTL_OK);
	cr_assert_stdout_eq_str("NAME   VIP4        VIP6     ROUTE   ENDPOINT        LAST HEARD\n"
				"bob.x  100.96.0.3  fd4e::3  direct  192.0.2.2:4680       0.3 s\n");
}

Test(commands, relays_of_a_node)
{
	SCRIPT("[{\"name\":\"rs1\",\"rtt_ms\":1.5,\"endpoint4\":\"192.0.2.9:4680\",\"endpoint6\":null,"
	       "\"bound\":2,\"paths\":1}]");
	cr_assert_eq(ntm(relays_main, false, "relays"), CTL_OK);
	cr_assert_stdout_eq_str("NAME       RTT  IPV4            IPV6  BOUND  IN USE BY\n"
				"rs1   1.500 ms  192.0.2.9:4680  -         2          1\n");
}

Test(commands, relays_of_a_dc)
{
	SCRIPT("[{\"name\":\"rs1\",\"online\":true,\"draining\":false,\"gateway\":true,\"paths\":3,\"paths_max\":100,"
	       "\"packets_per_s\":10,\"bytes_per_s\":2000,\"drops_per_s\":0,\"cpu_permille\":12,"
	       "\"endpoint4\":\"192.0.2.9:4680\",\"endpoint6\":null}]");
	cr_assert_eq(ntm(relays_main, false, "relays"), CTL_OK);
	cr_assert_stdout_eq_str(
	    "NAME  ONLINE  DRAINING  GATEWAY  PATHS   OF  PACKETS/S  BYTES/S  DROPS/S  CPU 1/1000  IPV4            IPV6\n"
	    "rs1   yes     no        yes          3  100         10   2.0 kB        0          12  192.0.2.9:4680  -\n");
}

Test(commands, netcheck)
{
	SCRIPT("{\"udp4\":true,\"udp6\":false,\"nat4\":true,\"reflexive4\":[\"192.0.2.1:4680\",\"192.0.2.1:50001\"],"
	       "\"reflexive6\":[],\"mapping_varies\":true,\"mapping_survives_s\":40,\"keepalive_s\":32,\"relays\":"
	       "[{\"name\":\"rs1\",\"rtt_ms\":1.5,\"endpoint\":\"192.0.2.9:4680\"},"
	       "{\"name\":\"rs2\",\"rtt_ms\":null,\"endpoint\":\"192.0.2.10:4680\"}]}");
	cr_assert_eq(ntm(netcheck_main, false, "netcheck"), CTL_OK);
	cr_assert_stdout_eq_str("network\n"
				"  IPv4       works, seen as 192.0.2.1:4680, 192.0.2.1:50001\n"
				"  IPv6       no answer\n"
				"  NAT        yes, another port or address for each destination: hard to get through\n"
				"  mappings   live for at least 40 s unused, kept alive each 32 s\n"
				"  relay      rs1 at 192.0.2.9:4680: 1.500 ms\n"
				"  relay      rs2 at 192.0.2.10:4680: no answer\n");
}

Test(commands, status)
{
	SCRIPT("{\"name\":\"alice.x\",\"vip4\":\"100.96.0.2\",\"vip6\":\"fd4e::2\",\"version\":\"1\",\"pid\":7,"
	       "\"uptime_s\":65,\"adopted\":true,\"datapath\":\"bpf\",\"dc\":{\"connected\":true,\"endpoint\":"
	       "\"192.0.2.1:4680\",\"rtt_ms\":0.5,\"reflexive\":\"192.0.2.9:4680\"},\"uplinks\":[{\"name\":\"eth0\","
	       "\"mtu\":1500,\"addr4\":\"192.0.2.9\",\"addr6\":null,\"xdp\":\"native\"}],\"counters\":"
	       "{\"tx_ok\":{\"packets\":3,\"bytes\":2500},\"rx_bad_tag\":{\"packets\":0,\"bytes\":0}}}");
	cr_assert_eq(ntm(status_main, false, "status"), CTL_OK);
	cr_assert_stdout_eq_str(
	    "alice.x\n"
	    "  addresses  100.96.0.2, fd4e::2\n"
	    "  DC         192.0.2.1:4680, connected, 0.500 ms, sees this node as 192.0.2.9:4680\n"
	    "  uplink     eth0: MTU 1500, XDP native, 192.0.2.9\n"
	    "  agent      version 1, process 7, up 65 s, datapath bpf, took over a running data path\n"
	    "  counters\n"
	    "    tx_ok                       3 packets       2.5 kB\n");
}

Test(commands, ping)
{
	SCRIPT("{\"event\":\"pong\",\"seq\":1,\"rtt_ms\":0.2,\"endpoint\":\"192.0.2.2:4680\",\"route\":\"direct\"}",
	       "{\"event\":\"timeout\",\"seq\":2}",
	       "{\"sent\":2,\"received\":1,\"min_ms\":0.2,\"avg_ms\":0.2,\"max_ms\":0.2}");
	cr_assert_eq(ntm(ping_main, false, "ping bob -c 2 -i 0.01"), CTL_OK);
	cr_assert_str_eq(last_request, "{\"cmd\":\"ping\",\"name\":\"bob\",\"count\":2,\"interval_ms\":10}");
	cr_assert_stdout_eq_str("bob: seq 1 from 192.0.2.2:4680 (direct) in 0.200 ms\n"
				"bob: seq 2 lost\n"
				"2 sent, 1 received, min 0.200 ms, average 0.200 ms, max 0.200 ms\n");
}

Test(commands, ping_unanswered)
{
	SCRIPT("{\"event\":\"timeout\",\"seq\":1}",
	       "{\"sent\":1,\"received\":0,\"min_ms\":null,\"avg_ms\":null,\"max_ms\":null}");
	cr_assert_eq(ntm(ping_main, false, "ping -c 1 bob"), CTL_FAILED);
	cr_assert_stdout_eq_str("bob: seq 1 lost\n1 sent, 0 received\n");
}

Test(commands, ping_usage)
{
	static const char *const bad[] = {"ping",        "ping a b",      "ping a -c 0",  "ping a -c x", "ping a -c",
					  "ping a -i 0", "ping a -i nan", "ping a -i 61", "ping a -x"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_eq(ntm(ping_main, false, bad[i]), CTL_USAGE, "%s", bad[i]);
	cr_assert_str_eq(last_request, "");
}

Test(commands, token)
{
	SCRIPT("{\"token\":\"ABC\",\"name\":\"bob\",\"expires\":\"2030-01-01T00:00:00Z\"}");
	cr_assert_eq(ntm(dc_main, false, "dc token create --name bob --ttl 2h"), CTL_OK);
	cr_assert_str_eq(last_request, "{\"cmd\":\"token_create\",\"name\":\"bob\",\"ttl_s\":7200}");
	cr_assert_stdout_eq_str("ABC\n");
}

Test(commands, dc_usage)
{
	static const char *const bad[] = {
	    "dc",        "dc frob",   "dc token", "dc token delete", "dc token create --ttl 1y", "dc token create x",
	    "dc revoke", "dc nodes x"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_eq(ntm(dc_main, false, bad[i]), CTL_USAGE, "%s", bad[i]);
	cr_assert_str_eq(last_request, "");
}

Test(commands, revoke_and_nodes)
{
	SCRIPT("{\"name\":\"bob\",\"revoked\":true}");
	cr_assert_eq(ntm(dc_main, false, "dc revoke bob"), CTL_OK);
	SCRIPT("[]");
	cr_assert_eq(ntm(dc_main, false, "dc nodes"), CTL_OK);
	cr_assert_stdout_eq_str("bob is revoked\nno nodes\n");
}

Test(commands, monitor)
{
	SCRIPT("{\"event\":\"roamed\",\"time\":\"2030-01-01T00:00:00Z\",\"endpoint\":\"192.0.2.2:1\",\"n\":1}", "!bye");
	cr_assert_eq(ntm(monitor_main, false, "monitor"), CTL_FAILED);
	SCRIPT("{\"event\":\"roamed\",\"n\":1}", "null");
	cr_assert_eq(ntm(monitor_main, true, "monitor"), CTL_OK);
	cr_assert_stdout_eq_str("2030-01-01T00:00:00Z  roamed       endpoint=192.0.2.2:1 n=1\n"
				"{\"event\":\"roamed\",\"n\":1}\n");
}

Test(commands, moved)
{
	SCRIPT("null");
	cr_assert_eq(ntm(moved_main, false, "moved"), CTL_OK);
	cr_assert_stdout_eq_str("");
}

Test(commands, genkey_makes_different_keys)
{
	char a[64] = "", b[64] = "";
	FILE *out;

	cr_assert_eq(ntm(genkey_main, false, "genkey"), CTL_OK);
	cr_assert_eq(ntm(genkey_main, false, "genkey"), CTL_OK);
	out = cr_get_redirected_stdout();
	cr_assert(fgets(a, sizeof(a), out) && fgets(b, sizeof(b), out));
	cr_assert(strlen(a) == 45 && strlen(b) == 45);
	cr_assert_str_neq(a, b);
}
