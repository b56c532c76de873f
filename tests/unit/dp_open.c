/* SPDX-License-Identifier: BSD-2-Clause */
/* What opening, addressing and removing a data plane does to a network namespace. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../user/dataplane/ethtool.h"
#include "../../user/dataplane/rtnl.h"
#include "../harness/dp_rig.h"

static struct ntm_rig rig;
static char why[256];

static void up(void)
{
	if (ntm_rig_unable())
		cr_skip_test("%s", ntm_rig_unable());
	ntm_rig_up(&rig);
}

static void down(void)
{
	if (!ntm_rig_unable())
		ntm_rig_down(&rig);
}

/* Does a shell command succeed? */
static bool ok(const char *cmd)
{
	return system(cmd) == 0;
}

static struct ntm_dp *open0(void)
{
	int err = ntm_rig_open(&rig, 0, why, sizeof(why));
	cr_assert(err == 0, "%s", why);
	return rig.dp[0];
}

TestSuite(dp_open, .init = up, .fini = down, .timeout = 60);

Test(dp_open, makes_the_pair)
{
	struct ntm_rtnl r;
	struct ntm_link a, b;
	struct ntm_dp *dp = open0();
	cr_assert(not(dp->ops->adopted(dp)));
	cr_assert(eq(int, ntm_rtnl_open(&r), 0));
	cr_assert(eq(int, ntm_rtnl_link_get(&r, "ntm0", 0, &a), 0));
	cr_assert(eq(int, ntm_rtnl_link_get(&r, "ntm0p", 0, &b), 0));
	ntm_rtnl_close(&r);
	cr_expect(eq(int, a.flags &(IFF_UP | IFF_NOARP | IFF_MULTICAST), IFF_UP | IFF_NOARP));
	cr_expect(eq(int, b.flags &(IFF_UP | IFF_NOARP | IFF_MULTICAST), IFF_UP | IFF_NOARP));
	cr_expect(eq(u32, a.mtu, 1440));
	static const char *const off[] = {"tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-checksum-ip-generic",
					  "tx-udp-segmentation"};
	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++)
		cr_expect(eq(int, ntm_ethtool_feature_get("ntm0", off[i]), 0), "%s", off[i]);
	cr_expect(eq(int, ntm_ethtool_feature_get("ntm0", "rx-gro"), 1));
	cr_expect(ok("! ip -6 addr show dev ntm0 | grep -q fe80"), "no link-local address");
}

Test(dp_open, adds_addresses_and_routes)
{
	struct ntm_dp *dp = open0();
	struct ntm_dp_addresses a = ntm_rig_addresses(0), got;
	cr_expect(eq(int, dp->ops->get_addresses(dp, &got), -ENOENT));
	cr_assert(eq(int, dp->ops->set_addresses(dp, &a), 0));
	cr_assert(eq(int, dp->ops->get_addresses(dp, &got), 0));
	cr_expect(eq(int, memcmp(&a, &got, sizeof(a)), 0));
	cr_expect(ok("ip addr show dev ntm0 | grep -q 'inet 100.96.0.1/32'"));
	cr_expect(ok("ip addr show dev ntm0 | grep 'inet6 fd4e:544d::1/128' | grep -vq tentative"));
	cr_expect(ok("ip route get 100.100.1.1 | grep -q 'dev ntm0 src 100.96.0.1'"));
	cr_expect(ok("ip -6 route get fd4e:544d::77 | grep 'dev ntm0' | grep -q 'src fd4e:544d::1'"));
	cr_expect(ok("ip route show 100.96.0.0/12 | grep -q 'mtu 1280'"));
	cr_expect(ok("ip -6 route show fd4e:544d::/48 | grep -q 'mtu 1280'"));

	/* Moved to another address and pool: nothing of the old ones is left. */
	a.vip4[3] = 9;
	a.vip6[15] = 9;
	a.pool4.ip[13] = 64;
	a.pool4.len = 96 + 10;
	cr_assert(eq(int, dp->ops->set_addresses(dp, &a), 0));
	cr_expect(ok("test \"$(ip -o -4 addr show dev ntm0 | awk '{print $4}')\" = 100.96.0.9/32"));
	cr_expect(ok("test \"$(ip -o -6 addr show dev ntm0 | awk '{print $4}')\" = fd4e:544d::9/128"));
	cr_expect(ok("test -z \"$(ip route show 100.96.0.0/12)\""));
	cr_expect(ok("ip route show 100.64.0.0/10 | grep -q 'dev ntm0'"));
}

Test(dp_open, refuses_bad_pools)
{
	struct ntm_dp *dp = open0();
	struct ntm_dp_addresses a = ntm_rig_addresses(0);
	a.pool4.len = 96;
	cr_expect(eq(int, dp->ops->set_addresses(dp, &a), -EINVAL));
	a = ntm_rig_addresses(0);
	a.pool6.len = 0;
	cr_expect(eq(int, dp->ops->set_addresses(dp, &a), -EINVAL));
	cr_expect(eq(int, dp->ops->get_addresses(dp, &a), -ENOENT));
}

Test(dp_open, attaches_and_detaches_uplinks)
{
	struct ntm_dp *dp = open0();
	struct ntm_dp_uplink u = ntm_rig_uplink(0);
	cr_assert(eq(int, dp->ops->set_uplinks(dp, &u, 1, why, sizeof(why)), 0), "%s", why);
	cr_expect(eq(int, u.hook, NTM_RX_NATIVE));
	cr_expect(ok("ip link show wire0 | grep -q ' xdp '"));
	u.mtu = 1900; /* as the watcher says */
	cr_assert(eq(int, dp->ops->set_uplinks(dp, &u, 1, why, sizeof(why)), 0));
	cr_expect(ok("ip link show ntm0 | grep -q 'mtu 1840 '"));
	cr_assert(eq(int, dp->ops->set_uplinks(dp, NULL, 0, why, sizeof(why)), 0));
	cr_expect(ok("! ip link show wire0 | grep -q xdp"));
}

Test(dp_open, generic_mode_on_request)
{
	rig.xdp_mode = NTM_XDP_GENERIC;
	struct ntm_dp *dp = open0();
	struct ntm_dp_uplink u = ntm_rig_uplink(0);
	cr_assert(eq(int, dp->ops->set_uplinks(dp, &u, 1, why, sizeof(why)), 0), "%s", why);
	cr_expect(eq(int, u.hook, NTM_RX_GENERIC));
	cr_expect(ok("ip link show wire0 | grep -q xdpgeneric"));
}

Test(dp_open, tc_on_request)
{
	rig.xdp_mode = NTM_XDP_TC;
	struct ntm_dp *dp = open0();
	struct ntm_dp_uplink u = ntm_rig_uplink(0);
	ntm_rig_run("ethtool -K wire0 gro off");
	cr_assert(eq(int, dp->ops->set_uplinks(dp, &u, 1, why, sizeof(why)), 0), "%s", why);
	cr_expect(eq(int, u.hook, NTM_RX_TC));
	cr_expect(ok("! ip link show wire0 | grep -q xdp"));
	cr_expect(ok("ethtool -k wire0 | grep -q 'generic-receive-offload: on'"));
	cr_assert(eq(int, dp->ops->set_uplinks(dp, NULL, 0, why, sizeof(why)), 0));
	cr_expect(ok("ethtool -k wire0 | grep -q 'generic-receive-offload: off'"), "as it was");
}

Test(dp_open, generic_mode_where_the_driver_has_no_native_one)
{
	struct ntm_dp *dp = open0();
	struct ntm_dp_uplink u = {.name = "br9", .mtu = 1500, .addr4 = {192, 0, 2, 77}};
	if (!ok("ip link add br9 type bridge 2>/dev/null"))
		cr_skip_test("no interface type here whose driver lacks XDP");
	u.ifindex = if_nametoindex("br9");
	cr_assert(eq(int, dp->ops->set_uplinks(dp, &u, 1, why, sizeof(why)), 0), "%s", why);
	cr_expect(eq(int, u.hook, NTM_RX_GENERIC));
}

Test(dp_open, says_that_another_xdp_program_is_there)
{
	struct ntm_dp *dp = open0();
	struct ntm_dp_uplink u = ntm_rig_uplink(0);
	cr_assert(eq(int, dp->ops->set_uplinks(dp, &u, 1, why, sizeof(why)), 0));
	/* A second data plane of another name is the other program. */
	struct ntm_dp_config c = ntm_rig_config(&rig, 1);
	struct ntm_dp *other;
	static const struct ntm_dp_events none;
	c.ifname = "ntm1";
	cr_assert(eq(int, ntm_dp_bpf_open(&other, &c, &none, NULL, why, sizeof(why)), 0), "%s", why);
	int err = other->ops->set_uplinks(other, &u, 1, why, sizeof(why));
	cr_expect(eq(int, err, -EBUSY));
	cr_expect(strstr(why, "wire0") && strstr(why, "XDP program"), "%s", why);
	other->ops->close(other, false);
	cr_expect(ok("ip link show wire0 | grep -q ' xdp '"), "the first one's stays");
}

Test(dp_open, one_agent_a_runtime_directory_and_an_interface)
{
	struct ntm_dp_config c = ntm_rig_config(&rig, 0);
	struct ntm_dp *dp = NULL;
	static const struct ntm_dp_events none;
	open0();
	cr_expect(eq(int, ntm_dp_bpf_open(&dp, &c, &none, NULL, why, sizeof(why)), -EBUSY));
	cr_expect(strstr(why, "runtime directory") != NULL, "%s", why);
	c.runtime_dir = rig.dir[1];
	cr_expect(eq(int, ntm_dp_bpf_open(&dp, &c, &none, NULL, why, sizeof(why)), -EBUSY));
	cr_expect(strstr(why, "ntm0") != NULL, "%s", why);
	cr_expect(dp == NULL);
	cr_expect(ok("ip link show ntm0 >/dev/null"), "the first one's interface stays");
}

Test(dp_open, leaves_a_foreign_interface_alone)
{
	struct ntm_dp_config c = ntm_rig_config(&rig, 0);
	if (!ok("ip link add ntm0 type bridge 2>/dev/null"))
		cr_skip_test("no interface type to stand for a foreign one");
	cr_expect(eq(int, ntm_rig_open(&rig, 0, why, sizeof(why)), -EEXIST));
	cr_expect(strstr(why, "ntm0") != NULL, "%s", why);
	cr_expect(eq(int, ntm_dp_bpf_remove(&c, why, sizeof(why)), -EEXIST));
	cr_expect(ok("ip link show ntm0 >/dev/null"));
}

Test(dp_open, works_with_two_capabilities)
{
	static const cap_value_t kept[] = {CAP_NET_ADMIN, CAP_BPF};
	struct ntm_dp *dp = open0();
	cap_t caps = cap_init();
	cr_assert(caps && !cap_set_flag(caps, CAP_PERMITTED, 2, kept, CAP_SET) &&
		  !cap_set_flag(caps, CAP_EFFECTIVE, 2, kept, CAP_SET));
	pid_t pid = fork(); /* the rig needs its own for cleaning up */
	if (!pid) {
		struct ntm_dp_addresses a = ntm_rig_addresses(0);
		struct ntm_dp_uplink u = ntm_rig_uplink(0);
		struct ntm_dp_path p = ntm_rig_path(0, false);
		struct ntm_dp_keys k = ntm_rig_keys(0, 0);
		struct ntm_counter n[NTM_R_COUNT];
		int step = 0;
		if (++step && cap_set_proc(caps))
			_exit(step);
		if (++step && dp->ops->set_addresses(dp, &a))
			_exit(step);
		if (++step && dp->ops->set_uplinks(dp, &u, 1, why, sizeof(why)))
			_exit(step);
		if (++step && dp->ops->add_path(dp, &p))
			_exit(step);
		if (++step && dp->ops->set_keys(dp, p.path_id, &k, true))
			_exit(step);
		if (++step && dp->ops->activate(dp, p.path_id))
			_exit(step);
		if (++step && dp->ops->counters(dp, n))
			_exit(step);
		if (++step && dp->ops->del_path(dp, p.path_id))
			_exit(step);
		if (++step && dp->ops->set_uplinks(dp, NULL, 0, why, sizeof(why)))
			_exit(step);
		_exit(0);
	}
	int status = -1;
	cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid);
	cr_expect(eq(int, status, 0), "step %d failed", status >> 8);
	cap_free(caps);
}

Test(dp_open, close_removes_everything)
{
	struct ntm_dp *dp = open0();
	struct ntm_dp_addresses a = ntm_rig_addresses(0);
	struct ntm_dp_uplink u = ntm_rig_uplink(0);
	cr_assert(eq(int, dp->ops->set_addresses(dp, &a), 0));
	cr_assert(eq(int, dp->ops->set_uplinks(dp, &u, 1, why, sizeof(why)), 0));
	dp->ops->close(dp, false);
	rig.dp[0] = NULL;
	cr_expect(ok("! ip link show ntm0 2>/dev/null"));
	cr_expect(ok("! ip link show ntm0p 2>/dev/null"));
	cr_expect(ok("! ip link show wire0 | grep -q xdp"));
	cr_expect(ok("test -z \"$(ip route show proto 78; ip -6 route show proto 78)\""));
	char cmd[128];
	snprintf(cmd, sizeof(cmd), "test ! -e %s/bpf", rig.dir[0]);
	cr_expect(ok(cmd), "the pins' directory is gone");
}

Test(dp_open, remove_after_the_agent_is_gone)
{
	struct ntm_dp_config c = ntm_rig_config(&rig, 0);
	struct ntm_dp *dp = open0();
	struct ntm_dp_uplink u = ntm_rig_uplink(0);
	cr_assert(eq(int, dp->ops->set_uplinks(dp, &u, 1, why, sizeof(why)), 0));
	cr_expect(eq(int, ntm_dp_bpf_remove(&c, why, sizeof(why)), -EBUSY), "not under a living agent");
	dp->ops->close(dp, true);
	rig.dp[0] = NULL;
	cr_expect(ok("ip link show wire0 | grep -q ' xdp '"), "kept");
	cr_expect(eq(int, ntm_dp_bpf_remove(&c, why, sizeof(why)), 0), "%s", why);
	cr_expect(ok("! ip link show ntm0 2>/dev/null"));
	cr_expect(ok("! ip link show wire0 | grep -q xdp"));
	cr_expect(eq(int, ntm_dp_bpf_remove(&c, why, sizeof(why)), 0), "again: nothing to do, %s", why);
}
