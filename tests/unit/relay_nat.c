/* SPDX-License-Identifier: BSD-2-Clause */
/* A gateway's nftables table and the kernel's forwarding, in a network namespace of its own. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "../../user/relay/forwarding.h"
#include "../../user/relay/nat.h"

static char dir[] = "/tmp/ntm-nat-XXXXXX", why[512];
static struct ntm_nat nat = {.ifname = "ntm0"};

static bool ok(const char *cmd)
{
	return system(cmd) == 0;
}

static void setup(void)
{
	if (geteuid())
		cr_skip_test("not root");
	if (access("/usr/sbin/nft", X_OK))
		cr_skip_test("nft is not installed");
	/* /proc/sys/net shows the namespace of who looks; a mount of its own makes sure. */
	cr_assert(!unshare(CLONE_NEWNET | CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	cr_assert_not_null(mkdtemp(dir));
	cr_assert(ok("ip link set lo up; ip link add up0 type veth peer name up1"));
	cr_assert_eq(ntm_prefix_parse("100.96.0.0/12", &nat.pool4), 0);
	cr_assert_eq(ntm_prefix_parse("fd4e:544d::/48", &nat.pool6), 0);
}

static void teardown(void)
{
	char cmd[64];

	if (!access(dir, F_OK)) {
		snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
		cr_assert(ok(cmd));
	}
}

TestSuite(nat, .init = setup, .fini = teardown, .timeout = 30);

Test(nat, made_replaced_removed)
{
	cr_assert_eq(ntm_nat_check(why, sizeof(why)), 0, "%s", why);
	cr_expect(ok("test -z \"$(nft list ruleset)\""), "a check changes nothing");
	cr_assert_eq(ntm_nat_set(&nat, why, sizeof(why)), 0, "%s", why);
	cr_expect(ok(
	    "nft list table inet ntm_gateway | grep -q 'ip saddr 100.96.0.0/12 ip daddr != 100.96.0.0/12.*masquerade'"));
	cr_expect(ok(
	    "nft list table inet ntm_gateway | grep -q 'ip6 saddr fd4e:544d::/48 ip6 daddr != fd4e:544d::/48.*masquerade'"));
	cr_expect(ok("nft list table inet ntm_gateway | grep -q 'iifname \"ntm0\" oifname \"ntm0\".*drop'"),
		  "clients are kept apart");
	cr_expect(ok("! nft list table inet ntm_gateway | grep -q nfproto"));

	cr_assert_eq(ntm_prefix_parse("10.64.0.0/10", &nat.pool4), 0);
	nat.only_ours6 = true;
	cr_assert_eq(ntm_nat_set(&nat, why, sizeof(why)), 0, "%s", why);
	cr_expect(ok("! nft list table inet ntm_gateway | grep -q 100.96"), "replaced");
	cr_expect(ok("nft list table inet ntm_gateway | grep -q 'nfproto ipv6.*drop'"));
	cr_expect(ok("! nft list table inet ntm_gateway | grep -q 'nfproto ipv4'"));

	cr_assert_eq(ntm_nat_remove(why, sizeof(why)), 0, "%s", why);
	cr_expect(ok("test -z \"$(nft list ruleset)\""));
	cr_assert_eq(ntm_nat_remove(why, sizeof(why)), 0, "a second time: %s", why);
}

Test(nat, other_tables_are_left_alone)
{
	cr_assert(ok("nft add table inet mine && nft add chain inet mine c"));
	cr_assert_eq(ntm_nat_set(&nat, why, sizeof(why)), 0, "%s", why);
	cr_assert_eq(ntm_nat_remove(why, sizeof(why)), 0, "%s", why);
	cr_expect(ok("nft list table inet mine >/dev/null"));
}

Test(nat, says_what_nft_says)
{
	nat.ifname = "x\" nonsense \"";
	cr_expect_eq(ntm_nat_set(&nat, why, sizeof(why)), -EPROTO);
	cr_expect(strstr(why, "syntax error"), "%s", why);
	cr_expect_null(strchr(why, '\n'));
	cr_expect(ok("test -z \"$(nft list ruleset)\""), "all or nothing");
}

Test(nat, without_nft)
{
	cr_assert(!mount("/dev/null", "/usr/sbin/nft", NULL, MS_BIND, NULL));
	cr_expect_lt(ntm_nat_check(why, sizeof(why)), 0);
	cr_expect(strstr(why, "not installed"), "%s", why);
}

Test(nat, script_too_long)
{
	char out[100];

	cr_expect_eq(ntm_nat_script(&nat, out, sizeof(out)), -ENOSPC);
}

static bool sysctl_is(const char *name, char value)
{
	char path[128];
	FILE *f;
	int c;

	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	f = fopen(path, "re");
	cr_assert_not_null(f, "%s", path);
	c = fgetc(f);
	fclose(f);
	return c == value;
}

Test(nat, forwarding_on_and_back)
{
	struct ntm_forwarding was;

	cr_assert(ok("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 net.ipv6.conf.up0.accept_ra=1 "
		     "net.ipv6.conf.up1.accept_ra=0"));
	cr_assert_eq(ntm_forwarding_prepare(dir, &was), 0);
	cr_expect(was.was_off4 && was.was_off6);
	cr_expect(sysctl_is("ipv4/ip_forward", '0'), "not yet");
	cr_assert_eq(ntm_forwarding_on(dir), 0);
	cr_expect(sysctl_is("ipv4/ip_forward", '1'));
	cr_expect(sysctl_is("ipv6/conf/all/forwarding", '1'));
	cr_expect(sysctl_is("ipv6/conf/up0/accept_ra", '2'), "router advertisements are still heard");
	cr_expect(sysctl_is("ipv6/conf/up1/accept_ra", '0'), "but not where they were not");

	/* After a crash: what it was is what the file says. */
	cr_assert_eq(ntm_forwarding_prepare(dir, &was), 0);
	cr_expect(was.was_off4 && was.was_off6);
	/* An interface has gone meanwhile. */
	cr_assert(ok("ip link del up0"));
	cr_assert_eq(ntm_forwarding_restore(dir), 0);
	cr_expect(sysctl_is("ipv4/ip_forward", '0'));
	cr_expect(sysctl_is("ipv6/conf/all/forwarding", '0'));
	cr_assert_eq(ntm_forwarding_restore(dir), 0, "a second time");
}

Test(nat, a_router_stays_one)
{
	struct ntm_forwarding was;

	cr_assert(ok("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"));
	cr_assert_eq(ntm_forwarding_prepare(dir, &was), 0);
	cr_expect(!was.was_off4 && !was.was_off6);
	cr_assert_eq(ntm_forwarding_on(dir), 0);
	cr_assert_eq(ntm_forwarding_restore(dir), 0);
	cr_expect(sysctl_is("ipv4/ip_forward", '1'));
	cr_expect(sysctl_is("ipv6/conf/all/forwarding", '1'));
}

Test(nat, a_damaged_file_reaches_nothing_else)
{
	struct ntm_forwarding was;
	char path[64];
	FILE *f;

	cr_assert(ok("sysctl -qw net.ipv4.ip_forward=0"));
	snprintf(path, sizeof(path), "%s/forwarding", dir);
	f = fopen(path, "we");
	fprintf(f, "0 1 ipv6/../ipv4/ip_forward\nnonsense\n");
	fclose(f);
	cr_expect_eq(ntm_forwarding_prepare(dir, &was), -EBADMSG);
	cr_expect_eq(ntm_forwarding_on(dir), -EBADMSG);
	cr_expect(sysctl_is("ipv4/ip_forward", '0'));
}
