/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../dc/config.h"
#include "../../dc/dc.h"

#define KEY "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY2 "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define BASE                                                     \
	"[dc]\nzone = NTM.example\nlisten = 192.0.2.1:4680\n"    \
	"private_key_file = dc.key\nvip4_pool = 100.96.0.0/12\n" \
	"vip6_pool = fd4e:544d::/48\n"

static char file[64], err[512];

static int load(const char *text, struct ntm_dc_config *c)
{
	FILE *f;
	int fd;

	snprintf(file, sizeof(file), "/tmp/ntm-conf-XXXXXX");
	fd = mkstemp(file);
	cr_assert_geq(fd, 0);
	f = fdopen(fd, "w");
	fputs(text, f);
	fclose(f);
	*err = 0;
	fd = ntm_dc_config_load(file, c, err, sizeof(err));
	unlink(file);
	return fd;
}

Test(config, the_documented_file_is_accepted)
{
	struct ntm_dc_config c;
	char text[NTM_ADDR_STRLEN];

	cr_assert_eq(load("[dc]\n"
			  "zone = ntm.example\n"
			  "listen = 192.0.2.1:4680, [2001:db8::1]:4680\n"
			  "private_key_file = dc.key\n"
			  "vip4_pool = 100.96.0.0/12\n"
			  "vip6_pool = fd4e:544d::/48\n"
			  "store = sqlite:dc.db\n"
			  "dns_listen = 192.0.2.1:53\n"
			  "runtime_dir = /run/ntm-dc\n"
			  "[relay rs1]\n"
			  "public_key = " KEY "\n"
			  "endpoint = 192.0.2.20:4680, [2001:db8::20]:4680\n"
			  "[relay rs2]\n"
			  "public_key = " KEY2 "\n"
			  "endpoint = 192.0.2.21:4680\n"
			  "[peer other.example]\n"
			  "public_key = " KEY "\n"
			  "endpoint = 198.51.100.1:4680\n",
			  &c),
		     0, "%s", err);
	cr_assert_str_eq(c.zone, "ntm.example");
	cr_assert_eq(c.listen.n, 2);
	cr_assert_str_eq(ntm_addr_format(&c.listen.addrs[1], text), "[2001:db8::1]:4680");
	cr_assert_str_eq(c.private_key_file, "/tmp/dc.key");
	cr_assert_str_eq(c.store_file, "/tmp/dc.db");
	cr_assert_str_eq(c.runtime_dir, "/run/ntm-dc");
	cr_assert_eq(c.pool.last, (1u << 20) - 2);
	cr_assert_eq(c.dns_listen.n, 1);
	cr_assert_eq(c.relays.n, 2);
	cr_assert_str_eq(c.relays.items[0]->name, "rs1");
	cr_assert_eq(c.relays.items[0]->endpoints.n, 2);
	cr_assert_eq(c.relays.items[1]->keys.keys[0][31], 31);
	cr_assert_eq(c.peers.n, 1);
	cr_assert_str_eq(c.peers.items[0]->name, "other.example");
	cr_assert_eq(c.cookie_threshold, 2000);
	cr_assert_eq(c.lifetime_s, 120);
	cr_assert_eq(c.keepalive_s, 15);
	ntm_dc_config_free(&c);
}

Test(config, what_may_be_left_out_has_defaults)
{
	struct ntm_dc_config c;

	cr_assert_eq(load(BASE "store = sqlite:/var/lib/dc.db\n", &c), 0, "%s", err);
	cr_assert_str_eq(c.zone, "ntm.example", "lower-cased");
	cr_assert_str_eq(c.store_file, "/var/lib/dc.db");
	cr_assert_str_eq(c.runtime_dir, "/run/ntm-dc");
	ntm_dc_config_free(&c);
	cr_assert_eq(load(BASE "store = postgres:host=/run/postgresql dbname=ntm\n", &c), 0, "%s", err);
	cr_assert_str_eq(c.store_file, "postgres:host=/run/postgresql dbname=ntm");
	ntm_dc_config_free(&c);
}

static const struct {
	const char *text, *line, *what;
} bad[] = {
    {BASE "store = postgresql:host=db\n", ":7:", "PostgreSQL"},
    {BASE "store = dc.db\n", ":7:", "sqlite:FILE"},
    {BASE "store = sqlite:\n", ":7:", "sqlite:FILE"},
    {BASE, "", "store"},
    {BASE "store = sqlite:a\ncolour = blue\n", ":8:", "colour"},
    {BASE "store = sqlite:a\n[dns]\nx = 1\n", ":8:", "dns"},
    {BASE "store = sqlite:a\nstore = sqlite:b\n", ":8:", "store"},
    {BASE "store = sqlite:a\nlifetime = 0\n", ":8:", "3600"},
    {BASE "store = sqlite:a\nlifetime = 20\n", "", "keepalive"},
    {BASE "store = sqlite:a\ndns_listen = nonsense\n", ":8:", ""},
    {BASE "store = sqlite:a\n[relay rs1]\npublic_key = short\n", ":9:", ""},
    {BASE "store = sqlite:a\n[relay rs1]\npublic_key = " KEY "\n", "", "endpoint"},
    {BASE "store = sqlite:a\n[relay rs1]\npublic_key = " KEY "\nendpoint = 192.0.2.1:1, 192.0.2.2:1\n", "",
     "[relay rs1]: endpoint takes one"},
    {BASE "store = sqlite:a\n[relay rs1]\npublic_key = " KEY "\nendpoint = 192.0.2.1:1\n[relay rs2]\npublic_key = " KEY
	  "\nendpoint = 192.0.2.2:1\n",
     "", "[relay rs1] and [relay rs2] have one key"},
    {BASE "store = sqlite:a\n[peer ntm.example]\npublic_key = " KEY "\nendpoint = 192.0.2.1:1\n", "", "own zone"},
    {"[dc]\nzone = -bad-\n", ":2:", ""},
    {"[dc]\nlisten = 192.0.2.1:99999\n", ":2:", ""},
    {"[dc]\nvip4_pool = fd00::/8\n", ":2:", "IPv4"},
    {"[dc]\nvip4_pool = 10.0.0.1/8\n", ":2:", ""},
    {"[dc]\nvip4_pool = 10.0.0.0/31\n", ":2:", "30"},
    {"[dc]\nvip6_pool = 10.0.0.0/8\n", ":2:", "IPv6"},
};

Test(config, what_is_wrong_is_said_with_file_and_line)
{
	struct ntm_dc_config c;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_expect_lt(load(bad[i].text, &c), 0, "%s", bad[i].text);
		cr_expect_not_null(strstr(err, file), "%s", err);
		cr_expect_not_null(strstr(err, bad[i].line), "%s: no %s", err, bad[i].line);
		cr_expect_not_null(strstr(err, bad[i].what), "%s: no %s", err, bad[i].what);
	}
	cr_assert_lt(ntm_dc_config_load("/nowhere/dc.conf", &c, err, sizeof(err)), 0);
	cr_assert_not_null(strstr(err, "/nowhere/dc.conf"));
}

#define STORE "store = sqlite:a\n"

/* Every setting: what a reload takes over is not among those that it names. */
Test(config, a_reload_names_what_it_does_not_take_over)
{
	static const struct {
		const char *line, *named;
	} settings[] = {
	    {"process_address = 192.0.2.7:1", "process_address"},
	    {"dns_listen = 192.0.2.7:53", "dns_listen"},
	    {"publish = real", "publish"},
	    {"dns_transfer = 192.0.2.0/24", "dns_transfer"},
	    {"dns_rate_limit = 7", "dns_rate_limit"},
	    {"runtime_dir = /run/other", "runtime_dir"},
	    {"admin_group = adm", "admin_group"},
	    {"metrics_listen = 127.0.0.1:9", "metrics_listen"},
	    {"store = postgres:dbname=x", "store"},
	    {"policy = p", ""},
	    {"audit_log = a", ""},
	    {"cookie_threshold = 7", ""},
	    {"lifetime = 70", ""},
	    {"keepalive = 7", ""},
	    {"next_private_key_file = n", ""},
	    {"previous_private_key_file = n", ""},
	    {"[relay rs1]\npublic_key = " KEY "\nendpoint = 192.0.2.20:4680", ""},
	    {"[peer other.example]\npublic_key = " KEY "\nendpoint = 192.0.2.20:4680", ""},
	};
	struct ntm_dc_config was, now;
	char text[1024], names[256];

	cr_assert_eq(load(BASE STORE, &was), 0, "%s", err);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		snprintf(text, sizeof(text), BASE "%s%s\n", strstr(settings[i].line, "store") ? "" : STORE,
			 settings[i].line);
		cr_assert_eq(load(text, &now), 0, "%s: %s", settings[i].line, err);
		cr_expect_eq(ntm_dc_config_fixed(&was, &now, names, sizeof(names)), *settings[i].named != 0);
		cr_expect_str_eq(names, settings[i].named);
		ntm_dc_config_free(&now);
	}
	ntm_dc_config_free(&was);
	cr_assert_eq(load("[dc]\nzone = other.example\nlisten = 192.0.2.2:4680\nprivate_key_file = d.key\n" STORE
			  "vip4_pool = 100.64.0.0/12\nvip6_pool = fd4e:544e::/48\ndns = update\n"
			  "dns_server = 192.0.2.3:53\ndns_key_name = k\ndns_key_file = f\n"
			  "dns_reverse_zones = 96.100.in-addr.arpa\n",
			  &was),
		     0, "%s", err);
	cr_assert_eq(load(BASE STORE, &now), 0, "%s", err);
	ntm_dc_config_fixed(&was, &now, names, sizeof(names));
	cr_assert_str_eq(names, "zone, listen, private_key_file, vip4_pool, vip6_pool, dns, dns_server, "
				"dns_key_name, dns_key_file, dns_reverse_zones");
	ntm_dc_config_fixed(&was, &now, names, 12);
	cr_assert_str_eq(names, "zone, liste", "cut where there is no room");
	ntm_dc_config_free(&was);
	ntm_dc_config_free(&now);
}
