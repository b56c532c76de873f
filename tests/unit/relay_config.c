/* SPDX-License-Identifier: BSD-2-Clause */
/* relay.conf: what is taken, and that what isn't says file and line. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../user/relay/config.h"

#define KEY "i4QbLXL+f3Ls7qCPBdkHBruh0p6tcmmbdLYrk+RrShs="
#define DC "[dc]\nendpoint = 192.0.2.1\npublic_key = " KEY "\n"
#define RELAY "[relay]\nname = rs1\nprivate_key_file = relay.key\n"

static char file[64];

static void setup(void)
{
	int fd;

	strcpy(file, "/tmp/ntm-relay-XXXXXX");
	fd = mkstemp(file);
	cr_assert_geq(fd, 0);
	close(fd);
}

static void teardown(void)
{
	unlink(file);
}

TestSuite(config, .init = setup, .fini = teardown);

static int load(struct ntm_relay_config *c, const char *text, char *err, size_t cap)
{
	FILE *f = fopen(file, "w");

	fputs(text, f);
	fclose(f);
	return ntm_relay_config_load(c, file, err, cap);
}

static void assert_refused(const char *text, int line, const char *reason)
{
	struct ntm_relay_config c;
	char err[256] = "", where[96];

	cr_assert_neq(load(&c, text, err, sizeof(err)), 0, "taken: %s", text);
	snprintf(where, sizeof(where), "%s:%d: ", file, line);
	cr_assert(strncmp(err, where, strlen(where)) == 0 && strstr(err, reason), "%s", err);
	ntm_relay_config_free(&c); /* harmless */
}

Test(config, every_key)
{
	struct ntm_relay_config c;
	char err[256] = "";

	cr_assert_eq(load(&c,
			  RELAY "port = 5000\ninterfaces = eth0, eth1\nxdp_mode = native\nruntime_dir = /run/x\n"
				"gateway = yes\ngateway_interface = gw0\nmax_paths = 1000000\nidle_s = 60\n"
				"drain_s = 0\non_stop = keep\nlog_level = debug\n" DC,
			  err, sizeof(err)),
		     0, "%s", err);
	cr_assert_str_eq(c.node.name, "rs1");
	cr_assert_str_eq(c.node.private_key_file, "/tmp/relay.key", "relative to the file");
	cr_assert_eq(c.node.port, 5000);
	cr_assert_eq(c.node.uplinks.n, 2);
	cr_assert_str_eq(c.node.uplinks.items[1], "eth1");
	cr_assert_eq(c.node.xdp_mode, NTM_XDP_NATIVE);
	cr_assert_str_eq(c.node.runtime_dir, "/run/x");
	cr_assert(c.gateway);
	cr_assert_str_eq(c.node.interface, "gw0");
	cr_assert_eq(c.max_paths, 1000000);
	cr_assert_eq(c.idle_s, 60);
	cr_assert_eq(c.drain_s, 0);
	cr_assert_eq(c.on_stop, NTM_RELAY_STOP_KEEP);
	cr_assert_eq(c.node.dc_endpoints.n, 1);
	ntm_relay_config_free(&c);
}

Test(config, defaults)
{
	struct ntm_relay_config c;
	char err[256] = "";

	cr_assert_eq(load(&c, RELAY "interfaces = auto\n" DC, err, sizeof(err)), 0, "%s", err);
	cr_assert_eq(c.node.port, NTM_PORT);
	cr_assert_eq(c.node.uplinks.n, 0);
	cr_assert_str_eq(c.node.runtime_dir, "/run/ntm-relay");
	cr_assert_not(c.gateway);
	cr_assert_eq(c.drain_s, 30);
	cr_assert_eq(c.on_stop, NTM_RELAY_STOP_DRAIN);
	cr_assert_eq(c.node.dns_mode, NTM_DNS_OFF, "a relay answers no names");
	ntm_relay_config_free(&c);
}

Test(config, interfaces_are_required)
{
	struct ntm_relay_config c;
	char err[256] = "";

	cr_assert_neq(load(&c, RELAY DC, err, sizeof(err)), 0);
	cr_assert(strstr(err, "interfaces"), "%s", err);
}

Test(config, bad_values)
{
	assert_refused(RELAY "interfaces = auto\nxdp_mode = tc\n" DC, 5, "not one of auto, native, generic");
	assert_refused(RELAY "interfaces = auto\nmax_paths = 1\n" DC, 5, "not between 2");
	assert_refused(RELAY "interfaces = auto\nmax_paths = 99999999\n" DC, 5, "not between 2");
	assert_refused(RELAY "interfaces = auto\nidle_s = 5\n" DC, 5, "not between 30");
	assert_refused(RELAY "interfaces = auto\ndrain_s = 100000\n" DC, 5, "not between 0");
	assert_refused(RELAY "interfaces = auto\non_stop = never\n" DC, 5, "drain, keep");
	assert_refused(RELAY "interfaces = auto\ngateway = perhaps\n" DC, 5, "gateway");
	assert_refused(RELAY "interfaces = auto\nuplinks = eth0\n" DC, 5, "uplinks");
	assert_refused(RELAY "interfaces = averyveryverylongname\n" DC, 4, "interface");
	assert_refused(RELAY "interfaces = auto\n[dns]\nmode = off\n" DC, 5, "dns");
}
