/* SPDX-License-Identifier: BSD-2-Clause */
/* An agent that dies without a word, and the next one. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../user/dataplane/bpffs.h"
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

/* Runs an agent's life in a child that ends without closing anything. */
static void short_life(void (*life)(struct ntm_dp *dp))
{
	pid_t pid = fork();
	if (!pid) {
		if (ntm_rig_open(&rig, 0, why, sizeof(why))) {
			fprintf(stderr, "%s\n", why);
			_exit(1);
		}
		life(rig.dp[0]);
		_exit(0);
	}
	int status;
	cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid);
	cr_assert(eq(int, status, 0));
}

static void must(int err)
{
	if (err) {
		fprintf(stderr, "error %d\n", err);
		_exit(1);
	}
}

static void with_a_path(struct ntm_dp *dp)
{
	struct ntm_dp_addresses a = ntm_rig_addresses(0);
	struct ntm_dp_uplink u = ntm_rig_uplink(0);
	struct ntm_dp_path p = ntm_rig_path(0, false), half = p;
	struct ntm_dp_keys k = ntm_rig_keys(0, 3);
	uint8_t out[64];
	size_t len;
	must(dp->ops->set_addresses(dp, &a));
	must(dp->ops->set_uplinks(dp, &u, 1, why, sizeof(why)));
	must(dp->ops->add_path(dp, &p));
	must(dp->ops->set_keys(dp, p.path_id, &k, true));
	must(dp->ops->activate(dp, p.path_id));
	for (int i = 0; i < 5; i++)
		must(dp->ops->seal(dp, p.path_id, NULL, 0, out, sizeof(out), &len));
	dp->ops->agent_record(dp, p.path_id)->hs_seq = 4711;
	half.path_id = 99; /* died before its handshake ended */
	must(dp->ops->add_path(dp, &half));
}

static struct ntm_dp *open0(void)
{
	int err = ntm_rig_open(&rig, 0, why, sizeof(why));
	cr_assert(err == 0, "%s", why);
	return rig.dp[0];
}

static void remember(void *arg, const struct ntm_dp_path *p)
{
	struct ntm_dp_path **next = arg;
	*(*next)++ = *p;
}

TestSuite(dp_adopt, .init = up, .fini = down, .timeout = 60);

Test(dp_adopt, goes_on_with_keys_counters_and_records)
{
	struct ntm_dp_path found[4], *end = found, p = ntm_rig_path(0, false);
	struct ntm_dp_addresses a, want = ntm_rig_addresses(0);
	struct ntm_dp_uplink u = ntm_rig_uplink(0);
	struct ntm_dp_stats s;
	uint8_t out[64];
	size_t len;
	short_life(with_a_path);
	unsigned ifindex = if_nametoindex("ntm0");
	cr_assert(ne(int, (int)ifindex, 0), "the interface outlives the agent");
	struct ntm_dp *dp = open0();
	cr_assert(dp->ops->adopted(dp));
	cr_expect(eq(int, (int)if_nametoindex("ntm0"), (int)ifindex));
	dp->ops->foreach(dp, remember, &end);
	cr_assert(eq(int, (int)(end - found), 1), "the half-made path is gone");
	cr_expect(eq(u64, found[0].path_id, p.path_id));
	cr_expect(eq(int, memcmp(&found[0].endpoint, &p.endpoint, sizeof(p.endpoint)), 0));
	cr_expect(eq(int, memcmp(found[0].peer_vip6, p.peer_vip6, 16), 0));
	cr_expect(eq(u16, found[0].inner_mtu, p.inner_mtu));
	cr_assert(eq(int, dp->ops->get_addresses(dp, &a), 0));
	cr_expect(eq(int, memcmp(&a, &want, sizeof(a)), 0));
	cr_expect(eq(u64, dp->ops->agent_record(dp, p.path_id)->hs_seq, 4711));
	cr_assert(eq(int, dp->ops->stats(dp, p.path_id, &s), 0));
	cr_expect(eq(u8, s.tx_epoch, 3));
	cr_expect(eq(u64, s.tx_counter, 5));
	cr_assert(eq(int, dp->ops->seal(dp, p.path_id, NULL, 0, out, sizeof(out), &len), 0));
	cr_expect(eq(u8, out[7], 5), "no counter is used twice");
	cr_expect(eq(int, system("ip link show wire0 | grep -q ' xdp '"), 0));
	cr_assert(eq(int, dp->ops->set_uplinks(dp, &u, 1, why, sizeof(why)), 0), "%s", why);
	cr_expect(eq(int, u.hook, NTM_RX_NATIVE));
	struct ntm_dp_path again = ntm_rig_path(0, false);
	again.path_id = 99;
	cr_expect(eq(int, dp->ops->add_path(dp, &again), 0), "its Path ID is free again");
}

Test(dp_adopt, another_size_starts_anew)
{
	short_life(with_a_path);
	rig.max_paths = 100;
	struct ntm_dp *dp = open0();
	struct ntm_dp_addresses a;
	cr_expect(not(dp->ops->adopted(dp)));
	cr_expect(eq(int, dp->ops->get_addresses(dp, &a), -ENOENT));
	cr_expect(eq(int, system("ip link show wire0 | grep -q ' xdp '") != 0, 1), "the old program is detached");
}

Test(dp_adopt, another_interface_starts_anew)
{
	short_life(with_a_path);
	ntm_rig_run("ip link del ntm0");
	struct ntm_dp *dp = open0();
	cr_expect(not(dp->ops->adopted(dp)));
	cr_expect(ne(int, (int)if_nametoindex("ntm0"), 0));
	struct ntm_dp_uplink u = ntm_rig_uplink(0);
	cr_expect(eq(int, dp->ops->set_uplinks(dp, &u, 1, why, sizeof(why)), 0), "%s", why);
}

Test(dp_adopt, an_interface_without_pins_is_replaced)
{
	short_life(with_a_path);
	char cmd[128];
	snprintf(cmd, sizeof(cmd), "umount -l %s/bpf", rig.dir[0]);
	ntm_rig_run("%s", cmd);
	unsigned ifindex = if_nametoindex("ntm0");
	struct ntm_dp *dp = open0();
	cr_expect(not(dp->ops->adopted(dp)));
	cr_expect(ne(int, (int)if_nametoindex("ntm0"), (int)ifindex));
}

Test(dp_adopt, uplinks_that_are_gone_are_let_go)
{
	short_life(with_a_path);
	ntm_rig_run("ip link del wire0");
	struct ntm_dp *dp = open0();
	cr_assert(dp->ops->adopted(dp));
	cr_assert(eq(int, dp->ops->set_uplinks(dp, NULL, 0, why, sizeof(why)), 0));
	char cmd[128];
	snprintf(cmd, sizeof(cmd), "test -z \"$(ls %s/bpf | grep xdp_)\"", rig.dir[0]);
	cr_expect(eq(int, system(cmd), 0));
}

Test(dp_adopt, the_other_xdp_mode_is_taken_up)
{
	short_life(with_a_path);
	rig.xdp_mode = NTM_XDP_GENERIC;
	struct ntm_dp *dp = open0();
	struct ntm_dp_uplink u = ntm_rig_uplink(0);
	cr_assert(dp->ops->adopted(dp));
	cr_assert(eq(int, dp->ops->set_uplinks(dp, &u, 1, why, sizeof(why)), 0), "%s", why);
	cr_expect(eq(int, u.hook, NTM_RX_GENERIC));
	cr_expect(eq(int, system("ip link show wire0 | grep -q xdpgeneric"), 0));
}

static void tc_ingress(enum ntm_xdp_mode before, enum ntm_xdp_mode after, enum ntm_rx_hook hook)
{
	char cmd[128];
	rig.xdp_mode = before;
	short_life(with_a_path);
	rig.xdp_mode = after;
	struct ntm_dp *dp = open0();
	struct ntm_dp_uplink u = ntm_rig_uplink(0);
	cr_assert(dp->ops->adopted(dp));
	cr_assert(eq(int, dp->ops->set_uplinks(dp, &u, 1, why, sizeof(why)), 0), "%s", why);
	cr_expect(eq(int, u.hook, hook));
	snprintf(cmd, sizeof(cmd), "test $(ls %s/bpf | grep -cE '^(tc|xdp)_') = 1", rig.dir[0]);
	cr_expect(eq(int, system(cmd), 0), "one pin");
}

Test(dp_adopt, tc_ingress_goes_on)
{
	tc_ingress(NTM_XDP_TC, NTM_XDP_TC, NTM_RX_TC);
}

Test(dp_adopt, tc_ingress_goes_on_where_nothing_else_is_asked_for)
{
	tc_ingress(NTM_XDP_TC, NTM_XDP_AUTO, NTM_RX_TC);
}

Test(dp_adopt, tc_ingress_for_xdp)
{
	tc_ingress(NTM_XDP_NATIVE, NTM_XDP_TC, NTM_RX_TC);
}

Test(dp_adopt, xdp_for_tc_ingress)
{
	tc_ingress(NTM_XDP_TC, NTM_XDP_NATIVE, NTM_RX_NATIVE);
}

/* The agent's mount namespace dies with it, as under `ip netns exec`; the pins must not. */
Test(dp_adopt, pins_outlive_a_private_mount_namespace)
{
	char dir[] = "/tmp/ntm-dp-XXXXXX", cmd[128];
	bool lasting = false;
	int self = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	cr_assert(self >= 0 && mkdtemp(dir));
	int sv[2];
	cr_assert(eq(int, pipe(sv), 0));
	for (int life = 0; life < 2; life++) {
		pid_t pid = fork();
		if (!pid) {
			must(unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
			int fd = ntm_bpffs_open(dir, &lasting, why, sizeof(why));
			if (fd < 0)
				must(fd);
			struct stat st;
			must(fstat(fd, &st));
			must(write(sv[1], &st.st_dev, sizeof(st.st_dev)) != sizeof(st.st_dev));
			_exit(lasting ? 0 : 2);
		}
		int status;
		cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid);
		if (WEXITSTATUS(status) == 2) {
			rmdir(dir);
			cr_skip_test("no outer mount namespace may be entered here");
		}
		cr_assert(eq(int, status, 0), "%s", why);
	}
	dev_t first, second;
	cr_assert(read(sv[0], &first, sizeof(first)) == sizeof(first));
	cr_assert(read(sv[0], &second, sizeof(second)) == sizeof(second));
	cr_expect(eq(u64, first, second), "the same file system in both lives");
	cr_expect(eq(int, ntm_bpffs_remove(dir), 0));
	snprintf(cmd, sizeof(cmd), "test ! -e %s/bpf", dir);
	cr_expect(eq(int, system(cmd), 0));
	rmdir(dir);
}
