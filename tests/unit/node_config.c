/* SPDX-License-Identifier: BSD-2-Clause */
/* node.conf: what is taken, and that what isn't says file and line. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../user/node/config.h"

#define KEY "i4QbLXL+f3Ls7qCPBdkHBruh0p6tcmmbdLYrk+RrShs="
#define DC "[dc]\nendpoint = 192.0.2.1\npublic_key = " KEY "\n"

static char file[64];

static void setup(void)
{
	int fd;

	strcpy(file, "/tmp/ntm-node-XXXXXX");
	fd = mkstemp(file);
	cr_assert_geq(fd, 0);
	close(fd);
}

static void teardown(void)
{
	unlink(file);
}

TestSuite(config, .init = setup, .fini = teardown);

static int load(struct ntm_node_config *c, const char *text, char *err, size_t cap)
{
	FILE *f = fopen(file, "w");

	fputs(text, f);
	fclose(f);
	return ntm_node_config_load(c, file, err, cap);
}

Test(config, every_key)
{
	struct ntm_node_config c;
	char err[256] = "";

	cr_assert_eq(
	    load(&c,
		 "[node]\nname = Alice\nprivate_key_file = node.key\ninterface = vpn0\nport = 5000\n"
		 "uplinks = eth0, wlan0\nxdp_mode = generic\nbulk = off\ndatapath = bpf\nruntime_dir = /run/x\n"
		 "uplink_duplicate_ms = 150\nmax_paths = 10000\nlog_level = debug\n"
		 "[dc]\nendpoint = 192.0.2.1:4000, [2001:db8::1]\npublic_key = " KEY "\ntoken = abc\n"
		 "[dns]\nmode = off\nlisten = 127.0.0.1:5353\nupstream = 192.0.2.53, [2001:db8::53]:54\n",
		 err, sizeof(err)),
	    0, "%s", err);
	cr_assert_str_eq(c.name, "alice");
	cr_assert_str_eq(c.private_key_file, "/tmp/node.key", "relative to the file");
	cr_assert_str_eq(c.interface, "vpn0");
	cr_assert_eq(c.port, 5000);
	cr_assert_eq(c.uplinks.n, 2);
	cr_assert_str_eq(c.uplinks.items[1], "wlan0");
	cr_assert_eq(c.xdp_mode, NTM_XDP_GENERIC);
	cr_assert(c.no_bulk);
	cr_assert_str_eq(c.runtime_dir, "/run/x");
	cr_assert_eq(c.max_paths, 10000);
	cr_assert_eq(c.uplink_duplicate_ms, 150);
	cr_assert_eq(c.log_level, NTM_LOG_DEBUG);
	cr_assert_eq(c.dc_endpoints.n, 2);
	cr_assert_eq(ntohs(c.dc_endpoints.addrs[0].port), 4000);
	cr_assert_eq(ntohs(c.dc_endpoints.addrs[1].port), NTM_PORT);
	cr_assert_str_eq(c.dc_token, "abc");
	cr_assert_eq(c.dns_mode, NTM_DNS_OFF);
	cr_assert_eq(ntohs(c.dns_listen.port), 5353);
	cr_assert_eq(c.dns_upstreams.n, 2);
	cr_assert_eq(ntohs(c.dns_upstreams.addrs[0].port), 53);
	ntm_node_config_free(&c);
}

Test(config, defaults)
{
	struct ntm_node_config c;
	char err[256] = "";

	cr_assert_eq(load(&c, "[node]\nname = a\nprivate_key_file = /k\nuplinks = auto\n" DC, err, sizeof(err)), 0,
		     "%s", err);
	cr_assert_str_eq(c.interface, "ntm0");
	cr_assert_str_eq(c.runtime_dir, "/run/ntm");
	cr_assert_eq(c.port, NTM_PORT);
	cr_assert_eq(c.uplinks.n, 0);
	cr_assert_eq(c.xdp_mode, NTM_XDP_AUTO);
	cr_assert(!c.no_bulk);
	cr_assert_eq(c.dns_mode, NTM_DNS_AUTO);
	cr_assert_eq(ntohs(c.dns_listen.port), 53);
	cr_assert_null(c.dc_token);
	ntm_node_config_free(&c);
}

/* One bad line, the fifth; the message names it and says what is wrong. */
static void refused(const char *line, const char *says)
{
	struct ntm_node_config c;
	char text[1024], err[256] = "", where[80];

	snprintf(text, sizeof(text), "[node]\nname = a\nprivate_key_file = /k\n\n%s\n" DC, line);
	cr_assert_neq(load(&c, text, err, sizeof(err)), 0, "%s", line);
	snprintf(where, sizeof(where), "%s:5", file);
	cr_assert_eq(strncmp(err, where, strlen(where)), 0, "%s: %s", line, err);
	cr_assert_not_null(strstr(err, says), "%s: %s", line, err);
}

Test(config, what_goes_with_datapath_user_only)
{
	static const char *const lines[] = {"interface = fd\n", "[dns]\nmode = tun\n"};
	struct ntm_node_config c;
	char text[1024], err[256] = "";

	for (size_t i = 0; i < 2; i++) {
		snprintf(text, sizeof(text), "[node]\nname = a\nprivate_key_file = /k\n%s" DC, lines[i]);
		cr_assert_eq(load(&c, text, err, sizeof(err)), -EINVAL);
		cr_assert_not_null(strstr(err, "goes with datapath = user"), "%s", err);
		snprintf(text, sizeof(text), "[node]\nname = a\nprivate_key_file = /k\ndatapath = user\n%s" DC,
			 lines[i]);
		cr_assert_eq(load(&c, text, err, sizeof(err)), 0, "%s", err);
		cr_assert(c.user_datapath);
		ntm_node_config_free(&c);
	}
}

Test(config, bad_lines_are_named)
{
	refused("nonsense = 1", "nonsense");
	refused("port = 0", "port");
	refused("port = 70000", "port");
	refused("interface = waytoolongforthis", "interface name");
	refused("interface = a/b", "interface name");
	refused("xdp_mode = offload", "auto, native, generic, tc");
	refused("bulk = on", "auto, off");
	refused("datapath = kernel", "not one of bpf, user");
	refused("datapath = magic", "bpf, user");
	refused("uplinks = thisnameismuchtoolong", "interface names");
	refused("max_paths = 1", "between");
	refused("uplink_duplicate_ms = 5001", "0 to 5000");
	refused("uplink_duplicate_ms = -1", "0 to 5000");
	refused("max_paths = many", "max_paths");
	refused("log_level = loud", "error, warn, info, debug");
	refused("name = again", "name");
}

static void dns_refused(const char *line, const char *says)
{
	struct ntm_node_config c;
	char text[1024], err[256] = "", where[80];

	snprintf(text, sizeof(text), "[node]\nname = a\nprivate_key_file = /k\n[dns]\n%s\n" DC, line);
	cr_assert_neq(load(&c, text, err, sizeof(err)), 0, "%s", line);
	snprintf(where, sizeof(where), "%s:5", file);
	cr_assert_eq(strncmp(err, where, strlen(where)), 0, "%s: %s", line, err);
	cr_assert_not_null(strstr(err, says), "%s: %s", line, err);
}

Test(config, wrong_dns_settings_are_refused)
{
	dns_refused("mode = sometimes", "not one of");
	dns_refused("listen = localhost", "address");
	dns_refused("upstream = 192.0.2.1, bad", "bad");
	dns_refused("upstream =", "");
}

Test(config, gateway)
{
	static const char *const bad[][2] = {
	    {"routes = everything", "not a prefix"},
	    {"routes = 10.0.0.1/8", "host bits"},
	    {"routes = ", ""},
	    {"routes = 198.51.100.0/24, 127.0.0.0/8", "no gateway"},
	    {"routes = fe80::/64", "no gateway"},
	    {"routes = 169.254.0.0/16", "no gateway"},
	    {"routes = ff02::/16", "no gateway"},
	    {"table = 254", "table"},
	    {"table = 0", "table"},
	    {"mark = 0", "mark"},
	    {"mark = 0x100000000", "mark"},
	    {"mark = red", "mark"},
	};
	struct ntm_node_config c;
	char text[512], err[256] = "", where[80];

	cr_assert_eq(load(&c, "[node]\nname = a\nprivate_key_file = /k\n" DC, err, sizeof(err)), 0, "%s", err);
	cr_assert_eq(c.gateway_routes.n, 0);
	ntm_node_config_free(&c);
	cr_assert_eq(load(&c,
			  "[node]\nname = a\nprivate_key_file = /k\n[gateway]\nroutes = 0.0.0.0/0, ::/0, 2000::/3, "
			  "0.0.0.0/1\ntable = 100\nmark = 0xabc\n" DC,
			  err, sizeof(err)),
		     0, "%s", err);
	cr_assert_eq(c.gateway_routes.n, 4);
	cr_assert_eq(c.gateway_routes.prefixes[0].len, 96);
	cr_assert_eq(c.gateway_routes.prefixes[1].len, 0);
	cr_assert_eq(c.gateway_table, 100);
	cr_assert_eq(c.gateway_mark, 0xabc);
	ntm_node_config_free(&c);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "[node]\nname = a\nprivate_key_file = /k\n[gateway]\n%s\n" DC, bad[i][0]);
		cr_assert_neq(load(&c, text, err, sizeof(err)), 0, "%s", bad[i][0]);
		snprintf(where, sizeof(where), "%s:5", file);
		cr_expect_eq(strncmp(err, where, strlen(where)), 0, "%s: %s", bad[i][0], err);
		cr_expect_not_null(strstr(err, bad[i][1]), "%s: %s", bad[i][0], err);
	}
}

Test(config, what_is_required)
{
	struct ntm_node_config c;
	char err[256] = "";

	cr_assert_neq(load(&c, "[node]\nprivate_key_file = /k\n" DC, err, sizeof(err)), 0);
	cr_assert_not_null(strstr(err, "name"), "%s", err);
	cr_assert_neq(load(&c, "[node]\nname = a\n" DC, err, sizeof(err)), 0);
	cr_assert_not_null(strstr(err, "private_key_file"), "%s", err);
	cr_assert_neq(
	    load(&c, "[node]\nname = a\nprivate_key_file = /k\n[dc]\npublic_key = " KEY "\n", err, sizeof(err)), 0);
	cr_assert_not_null(strstr(err, "endpoint"), "%s", err);
	cr_assert_neq(
	    load(&c, "[node]\nname = a\nprivate_key_file = /k\n[dc]\nendpoint = 192.0.2.1\n", err, sizeof(err)), 0);
	cr_assert_not_null(strstr(err, "public_key"), "%s", err);
	cr_assert_neq(ntm_node_config_load(&c, "/nowhere/node.conf", err, sizeof(err)), 0);
	cr_assert_not_null(strstr(err, "/nowhere/node.conf"), "%s", err);
}
