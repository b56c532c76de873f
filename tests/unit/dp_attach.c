/* SPDX-License-Identifier: BSD-2-Clause */
/* tc and XDP attachments: what is attached, replaced, detached, on new kernels (TCX) and as on old ones (clsact). */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../user/dataplane/attach.h"
#include "../../user/dataplane/bpffs.h"
#include "../harness/dp_rig.h"

static struct ntm_rig rig;
static int pins = -1;
static uint32_t ifindex;

static void up(void)
{
	char path[96];
	if (ntm_rig_unable())
		cr_skip_test("%s", ntm_rig_unable());
	ntm_rig_up(&rig);
	snprintf(path, sizeof(path), "%s/bpf", rig.dir[0]);
	pins = open(path, O_RDONLY | O_DIRECTORY);
	ifindex = if_nametoindex("wire0");
}

static void down(void)
{
	if (ntm_rig_unable())
		return;
	close(pins);
	ntm_rig_down(&rig);
}

/* A program that returns a constant. */
static int program(enum bpf_prog_type type, const char *name, int ret)
{
	struct bpf_insn insns[] = {
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = ret},
	    {.code = BPF_JMP | BPF_EXIT},
	};
	return bpf_prog_load(type, name, "GPL", insns, 2, NULL);
}

static bool pinned(const char *name)
{
	return faccessat(pins, name, F_OK, 0) == 0;
}

static bool reachable(void)
{
	return system("ping -q -c 1 -i 0.2 -w 2 192.0.2.2 >/dev/null") == 0; /* until one answer */
}

TestSuite(dp_attach, .init = up, .fini = down, .timeout = 60);

static void tc(bool tcx)
{
	enum { OK = 0, SHOT = 2 };
	struct ntm_tc_attachment a, b;
	int drop = program(BPF_PROG_TYPE_SCHED_CLS, "drop", SHOT), pass = program(BPF_PROG_TYPE_SCHED_CLS, "pass", OK);
	cr_assert(drop >= 0 && pass >= 0);
	cr_assert(eq(int, ntm_attach_tc(pins, "t", ifindex, NTM_TC_INGRESS, drop, tcx, &a), 0));
	if (tcx && a.link_fd < 0)
		cr_skip_test("kernel without TCX");
	cr_expect(eq(int, a.link_fd >= 0, tcx));
	cr_expect(eq(int, pinned("t"), tcx));
	cr_expect(not(reachable()));
	if (a.link_fd >= 0)
		close(a.link_fd); /* the agent is gone */
	cr_expect(not(reachable()));
	cr_assert(eq(int, ntm_attach_tc(pins, "t", ifindex, NTM_TC_INGRESS, pass, tcx, &b), 0));
	cr_expect(reachable(), "replaced, not added");
	cr_expect(eq(int, ntm_detach_tc(pins, "t", &b), 0));
	cr_expect(not(pinned("t")));
	cr_expect(reachable());
	cr_assert(eq(int, ntm_attach_tc(pins, "t", ifindex, NTM_TC_INGRESS, drop, tcx, &a), 0));
	cr_expect(not(reachable()));
	cr_expect(eq(int, ntm_detach_tc(pins, "t", &a), 0));
	cr_expect(reachable());
}

Test(dp_attach, tcx)
{
	tc(true);
}

Test(dp_attach, clsact)
{
	tc(false);
}

static void ingress(bool tcx)
{
	enum { UNSPEC = -1, SHOT = 2 };
	char pin[32];
	int drop = program(BPF_PROG_TYPE_SCHED_CLS, "drop", SHOT),
	    pass = program(BPF_PROG_TYPE_SCHED_CLS, "pass", UNSPEC);
	cr_assert(drop >= 0 && pass >= 0);
	snprintf(pin, sizeof(pin), "tc_%u", ifindex);
	/* Somebody else's filter, at the place that a first one gets. */
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, other, .handle = 1, .priority = 1, .prog_fd = pass);
	LIBBPF_OPTS(bpf_tc_opts, query, .handle = 1, .priority = 1);
	cr_assert(eq(int, bpf_tc_hook_create(&hook), 0));
	cr_assert(eq(int, bpf_tc_attach(&hook, &other), 0));
	int fd = ntm_attach_ingress(pins, ifindex, drop, tcx);
	cr_assert(ge(int, fd, 0), "%s", strerror(-fd));
	cr_expect(pinned(pin));
	cr_expect(not(reachable()));
	close(fd); /* the agent is gone */
	cr_expect(not(reachable()));
	fd = ntm_attach_ingress(pins, ifindex, pass, tcx);
	cr_assert(ge(int, fd, 0), "%s", strerror(-fd));
	cr_expect(reachable(), "replaced, not added");
	close(fd);
	fd = ntm_attach_ingress(pins, ifindex, drop, tcx);
	cr_assert(ge(int, fd, 0), "%s", strerror(-fd));
	cr_expect(not(reachable()));
	cr_expect(eq(int, ntm_detach_ingress(pins, ifindex, fd), 0));
	cr_expect(not(pinned(pin)));
	cr_expect(reachable());
	cr_expect(eq(int, bpf_tc_query(&hook, &query), 0), "left alone");
	fd = ntm_attach_ingress(pins, ifindex, pass, tcx);
	ntm_rig_run("ip link del wire0");
	cr_expect(eq(int, ntm_detach_ingress(pins, ifindex, fd), 0), "as good as detached");
	cr_expect(not(pinned(pin)));
	cr_expect(lt(int, ntm_attach_ingress(pins, ifindex, pass, tcx), 0));
	cr_expect(not(pinned(pin)));
}

Test(dp_attach, ingress_tcx)
{
	ingress(true);
}

Test(dp_attach, ingress_clsact)
{
	ingress(false);
}

Test(dp_attach, xdp)
{
	bool native = false;
	char pin[32];
	int drop = program(BPF_PROG_TYPE_XDP, "drop", XDP_DROP), pass = program(BPF_PROG_TYPE_XDP, "pass", XDP_PASS);
	snprintf(pin, sizeof(pin), "xdp_%u", ifindex);
	int fd = ntm_attach_xdp(pins, ifindex, drop, NTM_XDP_AUTO, &native);
	cr_assert(ge(int, fd, 0));
	cr_expect(native);
	cr_expect(pinned(pin));
	cr_expect(not(reachable()));
	close(fd);
	fd = ntm_adopt_link(pins, pin, ifindex, pass);
	cr_assert(ge(int, fd, 0));
	cr_expect(reachable());
	cr_expect(eq(int, ntm_attach_xdp(pins, ifindex, drop, NTM_XDP_AUTO, &native), -EBUSY));
	cr_expect(eq(int, ntm_attach_xdp(pins, ifindex, drop, NTM_XDP_GENERIC, &native), -EBUSY));
	cr_expect(eq(int, ntm_detach_xdp(pins, ifindex, fd), 0));
	cr_expect(not(pinned(pin)));
	cr_expect(eq(int, ntm_adopt_link(pins, pin, ifindex, pass), -ENOENT));
}

Test(dp_attach, a_dead_link_is_not_adopted)
{
	bool native;
	char pin[32];
	int pass = program(BPF_PROG_TYPE_XDP, "pass", XDP_PASS);
	snprintf(pin, sizeof(pin), "xdp_%u", ifindex);
	int fd = ntm_attach_xdp(pins, ifindex, pass, NTM_XDP_AUTO, &native);
	cr_assert(ge(int, fd, 0));
	ntm_rig_run("ip link del wire0");
	close(fd);
	cr_expect(eq(int, ntm_adopt_link(pins, pin, ifindex, pass), -ENOENT));
	cr_expect(not(pinned(pin)), "and its pin is removed");
}

Test(dp_attach, names_of_pins)
{
	cr_expect(eq(u32, ntm_xdp_pin_ifindex("xdp_7"), 7));
	cr_expect(eq(u32, ntm_xdp_pin_ifindex("xdp_"), 0));
	cr_expect(eq(u32, ntm_xdp_pin_ifindex("xdp_7x"), 0));
	cr_expect(eq(u32, ntm_xdp_pin_ifindex("tc_7"), 0));
	cr_expect(eq(u32, ntm_ingress_pin_ifindex("tc_7"), 7));
	cr_expect(eq(u32, ntm_ingress_pin_ifindex("xdp_7"), 0));
	cr_expect(eq(u32, ntm_xdp_pin_ifindex("xdp_-7"), 0));
	cr_expect(eq(u32, ntm_xdp_pin_ifindex("xdp_99999999999"), 0));
	cr_expect(eq(u32, ntm_xdp_pin_ifindex("ntm_paths"), 0));
}
