/* SPDX-License-Identifier: BSD-2-Clause */
/* The DNS settings of dc.conf, and key files. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../dc/dns_config.h"

static struct ntm_dc_dns_config c;
static char why[256], file[64];

static void setup(void)
{
	memset(&c, 0, sizeof(c));
	snprintf(file, sizeof(file), "/tmp/ntm-dns-key-%d", (int)getpid());
}

static void teardown(void)
{
	ntm_dc_dns_config_free(&c);
	unlink(file);
}

TestSuite(dns_config, .init = setup, .fini = teardown);

static int check(bool listens)
{
	return ntm_dc_dns_config_check(&c, "ntm.example", listens, why, sizeof(why));
}

Test(dns_config, words)
{
	cr_assert_eq(ntm_dc_conf_dns_mode("update", &c.mode, why, sizeof(why)), 0);
	cr_assert_eq(c.mode, NTM_DC_DNS_UPDATE);
	cr_assert_eq(ntm_dc_conf_dns_mode("bind", &c.mode, why, sizeof(why)), -EINVAL);
	cr_assert(strstr(why, "embedded, update"));
	cr_assert_eq(ntm_dc_conf_dns_publish("real", &c.publish, why, sizeof(why)), 0);
	cr_assert_eq(c.publish, NTM_DNS_REAL);
	cr_assert_eq(ntm_dc_conf_dns_publish("Real", &c.publish, why, sizeof(why)), -EINVAL);
}

Test(dns_config, lists)
{
	cr_assert_eq(ntm_dc_conf_dns_prefixes("192.0.2.0/24, 2001:db8::/32", &c.transfer, why, sizeof(why)), 0);
	cr_assert_eq(c.transfer.n, 2);
	cr_assert_eq(ntm_dc_conf_dns_prefixes("192.0.2.1/24", &c.transfer, why, sizeof(why)), -EINVAL);
	cr_assert_eq(c.transfer.n, 2, "what was there stays");
	cr_assert_eq(ntm_dc_conf_dns_zones("96.100.in-addr.arpa, 0-127.2.0.192.in-addr.arpa", &c.reverse_zones, why,
					   sizeof(why)),
		     0);
	cr_assert_eq(c.reverse_zones.n, 2);
	cr_assert_eq(ntm_dc_conf_dns_zones("a..b", &c.reverse_zones, why, sizeof(why)), -EINVAL);
	cr_assert_eq(ntm_dc_conf_dns_server("[2001:db8::1]", &c.server, why, sizeof(why)), 0);
	cr_assert_eq(ntohs(c.server.port), 53);
	cr_assert_eq(ntm_dc_conf_dns_server("ns.example", &c.server, why, sizeof(why)), -EINVAL);
}

Test(dns_config, what_belongs_together)
{
	cr_assert_eq(check(false), 0);
	cr_assert_eq(check(true), 0);
	c.mode = NTM_DC_DNS_UPDATE;
	cr_assert_eq(check(false), -EINVAL, "no server");
	cr_assert_eq(ntm_dc_conf_dns_server("192.0.2.53", &c.server, why, sizeof(why)), 0);
	cr_assert_eq(ntm_dc_conf_dns_name("ntm-dc.ntm.example", &c.key_name, why, sizeof(why)), 0);
	cr_assert_eq(check(false), -EINVAL, "no key");
	c.key_file = strdup("dns.key");
	cr_assert_eq(check(false), 0);
	cr_assert_eq(check(true), -EINVAL, "it does not listen");
	c.mode = NTM_DC_DNS_EMBEDDED;
	cr_assert_eq(check(true), -EINVAL, "no updates, but a server for them");
	cr_assert(strstr(why, "dns = update"));
}

Test(dns_config, a_zone_needs_room_for_its_own_names)
{
	char zone[NTM_NAME_MAX + 1];

	memset(zone, 'a', sizeof(zone) - 1);
	zone[NTM_NAME_MAX] = 0;
	zone[63] = zone[127] = zone[191] = '.';
	cr_assert_eq(ntm_dc_dns_config_check(&c, zone, true, why, sizeof(why)), -EINVAL);
	cr_assert_eq(ntm_dc_dns_config_check(&c, zone, false, why, sizeof(why)), 0);
}

static int load(const char *text, char **key)
{
	FILE *f = fopen(file, "w");

	cr_assert(f && fputs(text, f) >= 0 && !fclose(f));
	return ntm_dc_dns_key_load(file, key, why, sizeof(why));
}

Test(dns_config, key_files)
{
	static const char *const good[] = {"c2VjcmV0", " c2VjcmV0\n",
					   "key \"k\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n"};
	static const char *const bad[] = {"",          "\n",           "two words",       "secret",
					  "secret \"", "secret \"\";", "secret c2VjcmV0;"};
	char *key;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		cr_assert_eq(load(good[i], &key), 0, "%s: %s", good[i], why);
		cr_assert_str_eq(key, "c2VjcmV0");
		free(key);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(load(bad[i], &key), -EINVAL, "%s", bad[i]);
		cr_assert(strstr(why, "no key"), "%s", why);
	}
	cr_assert_eq(ntm_dc_dns_key_load("/nonexistent/key", &key, why, sizeof(why)), -ENOENT);
}
