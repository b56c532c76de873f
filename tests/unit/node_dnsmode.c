/* SPDX-License-Identifier: BSD-2-Clause */
/* Putting back, and where the cgroup is. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../user/dataplane/dns_hook.h"
#include "../../user/node/dnsmode.h"

static char dir[32], file[64];
static struct ntm_addr stub;

static void setup(void)
{
	strcpy(dir, "/tmp/dnsmode-XXXXXX");
	cr_assert(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/resolv.conf", dir);
	ntm_addr_parse("127.0.0.54:53", 53, &stub);
}

static void put(const char *text)
{
	cr_assert_eq(ntm_dnsmode_write(file, text, strlen(text)), 0);
}

static void holds(const char *text)
{
	char now[512] = "";
	FILE *f = fopen(file, "r");

	cr_assert(f);
	now[fread(now, 1, sizeof(now) - 1, f)] = 0;
	fclose(f);
	cr_expect_str_eq(now, text);
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void teardown(void)
{
	cr_expect_eq(nftw(dir, drop, 8, FTW_DEPTH | FTW_PHYS), 0);
}

TestSuite(dnsmode, .init = setup, .fini = teardown);

Test(dnsmode, resolv_conf_comes_back_as_it_was)
{
	char why[256] = "";

	if (ntm_resolvconf_program())
		cr_skip_test("a resolvconf program would be run");
	put("search x\nnameserver 192.0.2.1");
	cr_assert_eq(ntm_resolvconf_set(dir, "ntm0", &stub, file, why, sizeof(why)), 0, "%s", why);
	cr_assert_eq(ntm_resolvconf_restore(dir, file, why, sizeof(why)), 0, "%s", why);
	holds("search x\nnameserver 192.0.2.1");
	put("nameserver 192.0.2.2\n");
	cr_assert_eq(ntm_resolvconf_restore(dir, file, why, sizeof(why)), 0, "a second time: nothing to do");
	holds("nameserver 192.0.2.2\n");
}

Test(dnsmode, a_port_that_resolv_conf_cannot_say_is_refused)
{
	char why[256] = "";

	stub.port = htons(5353);
	put("nameserver 192.0.2.1\n");
	cr_assert_neq(ntm_resolvconf_set(dir, "ntm0", &stub, file, why, sizeof(why)), 0);
	cr_assert(strstr(why, "53"));
	holds("nameserver 192.0.2.1\n");
}

Test(dnsmode, the_cgroup_is_found_beside_version_1)
{
	char out[128] = "";

	put("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
	    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n");
	cr_assert_eq(ntm_cgroup2_root(file, out, sizeof(out)), 0);
	cr_assert_str_eq(out, "/sys/fs/cgroup/unified");
	put("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n");
	cr_assert_neq(ntm_cgroup2_root(file, out, sizeof(out)), 0);
}
