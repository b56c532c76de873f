/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel offers, and what this process may use of it. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "ctl.h"
#include "doctor.h"

static bool kernel_at_least(unsigned want_major, unsigned want_minor)
{
	unsigned major, minor;
	struct utsname u;

	if (uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		return false;
	return major > want_major || (major == want_major && minor >= want_minor);
}

static void check_release(struct doctor *d)
{
	struct utsname u = {0};

	uname(&u);
	if (kernel_at_least(6, 1))
		doctor_add(d, DOCTOR_OK, "kernel", NULL, "Linux %s", u.release);
	else
		doctor_add(d, DOCTOR_FAIL, "kernel", "boot Linux 6.1 or newer", "Linux %s is older than 6.1",
			   u.release);
}

static void check_btf(struct doctor *d)
{
	if (!access("/sys/kernel/btf/vmlinux", R_OK))
		doctor_add(d, DOCTOR_OK, "BTF", NULL, "/sys/kernel/btf/vmlinux is there");
	else
		doctor_add(d, DOCTOR_FAIL, "BTF",
			   "use a kernel with CONFIG_DEBUG_INFO_BTF=y, as distributions build them, and mount sysfs",
			   "/sys/kernel/btf/vmlinux: %s", strerror(errno));
}

/* A number in a file below /proc/sys; -1 if it cannot be read. */
static int read_sysctl(const char *path)
{
	FILE *f = fopen(path, "re");
	int v;

	if (!f)
		return -1;
	if (fscanf(f, "%d", &v) != 1)
		v = -1;
	fclose(f);
	return v;
}

/* Loads `return XDP_PASS`. The sysctl of the JIT is not visible in network namespaces, its result is. 0 or -errno. */
static int check_load(struct doctor *d)
{
	static const struct bpf_insn pass[] = {
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_PASS},
	    {.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "ntm_doctor", "GPL", pass, 2, NULL), err = errno;
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);

	if (fd < 0) {
		doctor_add(d, DOCTOR_FAIL, "bpf()",
			   err == EPERM ? "run this as root; in a container, allow bpf() and CAP_BPF"
					: "use a kernel with CONFIG_BPF_SYSCALL=y",
			   "no BPF program can be loaded: %s", strerror(err));
		return -err;
	}
	doctor_add(d, DOCTOR_OK, "bpf()", NULL, "BPF programs can be loaded");
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		doctor_add(d, DOCTOR_WARN, "BPF JIT", "sysctl net.core.bpf_jit_enable=1", "it cannot be seen: %s",
			   strerror(errno));
	else if (!info.jited_prog_len)
		doctor_add(d, DOCTOR_WARN, "BPF JIT", "sysctl net.core.bpf_jit_enable=1",
			   "off: every packet costs many times more");
	else
		doctor_add(d, DOCTOR_OK, "BPF JIT", NULL, "on");
	close(fd);
	return 0;
}

static void check_unprivileged(struct doctor *d)
{
	int v = read_sysctl("/proc/sys/kernel/unprivileged_bpf_disabled");

	if (v == 0)
		doctor_add(d, DOCTOR_WARN, "unprivileged", "sysctl kernel.unprivileged_bpf_disabled=2",
			   "any user of this host may load BPF programs; NTMobile does not need that");
	else if (v > 0)
		doctor_add(d, DOCTOR_OK, "unprivileged", NULL, "only privileged processes may load BPF programs");
}

static void check_feature(struct doctor *d, const char *check, int probe, const char *what, const char *advice)
{
	if (probe > 0)
		doctor_add(d, DOCTOR_OK, check, NULL, "%s is there", what);
	else
		doctor_add(d, DOCTOR_FAIL, check, advice, "this kernel has no %s", what);
}

/* Is a module built in or installed for the running kernel? 1 yes, 0 no, -1 unknown. */
static int have_module(const char *name)
{
	static const char *const lists[] = {"modules.builtin", "modules.dep"};
	char path[256], line[4096], file[64];
	struct utsname u = {0};
	int known = -1;

	snprintf(path, sizeof(path), "/sys/module/%s", name);
	if (!access(path, F_OK))
		return 1;
	uname(&u);
	snprintf(file, sizeof(file), "/%s.ko", name);
	for (unsigned i = 0; i < 2; i++) {
		FILE *f;

		snprintf(path, sizeof(path), "/lib/modules/%s/%s", u.release, lists[i]);
		f = fopen(path, "re");
		if (!f)
			continue;
		known = 0;
		while (fgets(line, sizeof(line), f)) {
			line[strcspn(line, ":\n")] = 0;
			if (strstr(line, file)) {
				fclose(f);
				return 1;
			}
		}
		fclose(f);
	}
	return known;
}

/* BPF_PROG_QUERY for BPF_TCX_INGRESS, Linux 6.6; the headers of Linux 6.1 don't name it. */
static bool have_tcx(void)
{
	enum { TCX_INGRESS = 46, LOOPBACK = 1 };
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.query.target_fd = LOOPBACK; /* an interface index here */
	attr.query.attach_type = TCX_INGRESS;
	return syscall(SYS_bpf, BPF_PROG_QUERY, &attr, sizeof(attr)) == 0;
}

static void check_tc(struct doctor *d)
{
	int module;

	if (have_tcx()) {
		doctor_add(d, DOCTOR_OK, "tc", NULL, "TCX is there");
		return;
	}
	module = have_module("sch_ingress");
	if (module > 0)
		doctor_add(d, DOCTOR_OK, "tc", NULL, "no TCX (Linux 6.6): clsact is used");
	else
		doctor_add(d, module ? DOCTOR_WARN : DOCTOR_FAIL, "tc",
			   "install the module sch_ingress, or boot Linux 6.6 or newer",
			   module ? "no TCX, and clsact (sch_ingress) cannot be looked for"
				  : "neither TCX nor clsact (sch_ingress) is there");
}

/* Without it everything works, more slowly. */
static void check_bulk(struct doctor *d)
{
	int fd;

	if (d->conf && d->conf->no_bulk) {
		doctor_add(d, DOCTOR_OK, "bulk lane", NULL, "switched off (node.bulk)");
		return;
	}
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		doctor_add(d, DOCTOR_WARN, "bulk lane",
			   errno == EACCES || errno == EPERM ? "run this as root"
							     : "modprobe tun; in a container, pass /dev/net/tun on",
			   "/dev/net/tun: %s; large packets take the kernel lane", strerror(errno));
		return;
	}
	close(fd);
	if (kernel_at_least(6, 2))
		doctor_add(d, DOCTOR_OK, "bulk lane", NULL, "TUN devices, with UDP in super-packets");
	else
		doctor_add(d, DOCTOR_OK, "bulk lane", NULL, "TUN devices; UDP goes one by one before Linux 6.2");
}

bool doctor_user_datapath(const struct doctor *d)
{
	const char *datapath = ctl_text(d->status, "datapath");

	return d->conf ? d->conf->user_datapath : datapath && !strcmp(datapath, "user");
}

void doctor_kernel(struct doctor *d)
{
	static const char own_kernel[] = "use a kernel as distributions build it";

	libbpf_set_print(NULL);
	check_release(d);
	if (d->conf && d->conf->user_datapath) {
		if (!access("/dev/net/tun", R_OK | W_OK) || !strcmp(d->conf->interface, NTM_INTERFACE_FD))
			doctor_add(d, DOCTOR_OK, "TUN", NULL, "datapath = user: no BPF is needed");
		else
			doctor_add(d, DOCTOR_FAIL, "TUN", "load the module tun; in a container, allow /dev/net/tun",
				   "/dev/net/tun: %s", strerror(errno));
		return;
	}
	check_btf(d);
	check_unprivileged(d);
	if (check_load(d)) /* then all the others would fail for the same reason */
		return;
	check_feature(d, "XDP", libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_XDP, NULL), "program type XDP", own_kernel);
	check_feature(d, "tc programs", libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_SCHED_CLS, NULL),
		      "program type sched_cls", "use a kernel with CONFIG_NET_CLS_BPF and CONFIG_NET_CLS_ACT");
	check_tc(d);
	check_feature(d, "ring buffer", libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL), "map type ringbuf",
		      "boot Linux 6.1 or newer");
	if (have_module("veth") == 0 && access("/sys/class/net/ntm0", F_OK))
		doctor_add(d, DOCTOR_FAIL, "veth", "install the module veth", "this kernel has no veth interfaces");
	check_bulk(d);
}

void doctor_capabilities(struct doctor *d)
{
	static const struct {
		cap_value_t cap;
		const char *name, *purpose;
	} needed[] = {
	    {CAP_NET_ADMIN, "CAP_NET_ADMIN", "interfaces, routes, attaching programs"},
	    {CAP_BPF, "CAP_BPF", "loading programs"},
	    {CAP_NET_RAW, "CAP_NET_RAW", "packets that the agent sends itself"},
	    {CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "mounting the BPF file system"},
	    {CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE", "listening on port 53"},
	};
	cap_t caps = cap_get_proc();
	char missing[400] = "";

	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++) {
		cap_flag_value_t v = CAP_CLEAR;
		size_t len = strlen(missing);

		if (caps && !cap_get_flag(caps, needed[i].cap, CAP_EFFECTIVE, &v) && v == CAP_SET)
			continue;
		if (d->conf && d->conf->user_datapath &&
		    (needed[i].cap != CAP_NET_ADMIN || !strcmp(d->conf->interface, NTM_INTERFACE_FD)))
			continue;
		snprintf(missing + len, sizeof(missing) - len, "%s%s (%s)", len ? ", " : "", needed[i].name,
			 needed[i].purpose);
	}
	if (missing[0])
		doctor_add(d, DOCTOR_FAIL, "capabilities", "run this, and ntm-node, as root; in a container, add them",
			   "missing: %s", missing);
	else
		doctor_add(d, DOCTOR_OK, "capabilities", NULL, "all that ntm-node needs");
	if (caps)
		cap_free(caps);
}
