/* SPDX-License-Identifier: BSD-2-Clause */
/* The interfaces that outer packets use, and the virtual one. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl.h"
#include "doctor.h"

enum {
	OUTER_MTU_MIN = 1360, /* 1,280 inner + 16 header + 16 tag + 8 UDP + 40 IPv6 */
	UPLINKS_MAX = 32,
};

static int ethtool(int fd, const char *name, void *request)
{
	struct ifreq r = {0};

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	r.ifr_data = request;
	return ioctl(fd, SIOCETHTOOL, &r) ? -errno : 0;
}

/* The program attached by XDP, and whether it is one of ours by its name. */
static void prog_name(__u32 id, char out[BPF_OBJ_NAME_LEN])
{
	int fd = bpf_prog_get_fd_by_id(id);
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);

	snprintf(out, BPF_OBJ_NAME_LEN, "?");
	if (fd < 0)
		return;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len))
		snprintf(out, BPF_OBJ_NAME_LEN, "%s", info.name);
	close(fd);
}

/* What the agent says of an interface; NULL: nothing. */
static json_object *reported(const struct doctor *d, const char *name)
{
	json_object *uplinks = ctl_member(d->status, "uplinks");
	size_t n = json_object_is_type(uplinks, json_type_array) ? json_object_array_length(uplinks) : 0;

	for (size_t i = 0; i < n; i++) {
		json_object *u = json_object_array_get_idx(uplinks, i);
		const char *other = ctl_text(u, "name");

		if (other && !strcmp(other, name))
			return u;
	}
	return NULL;
}

/* Is node_ingress at tc ingress? By link since Linux 6.6, by filter before. */
static bool has_ingress(const char *name)
{
	enum { TCX_INGRESS = 46, HANDLE = 0x4e544d, PROGS = 16 }; /* of linux/bpf.h and user/dataplane/attach.c */
	int ifindex = (int)if_nametoindex(name);
	__u32 ids[PROGS], n = PROGS, flags = 0;
	char prog[BPF_OBJ_NAME_LEN];

	if (!bpf_prog_query(ifindex, (enum bpf_attach_type)TCX_INGRESS, 0, &flags, ids, &n)) {
		for (__u32 i = 0; i < n && i < PROGS; i++) {
			prog_name(ids[i], prog);
			if (!strcmp(prog, "node_ingress"))
				return true;
		}
	}
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .handle = HANDLE, .priority = 1);
	return !bpf_tc_query(&hook, &filter);
}

static void check_ingress(struct doctor *d, const char *name, const char *driver, const char *check)
{
	if (has_ingress(name))
		doctor_add(d, DOCTOR_OK, check, NULL, "packets are taken in at tc ingress (driver %s)", driver);
	else
		doctor_add(d, DOCTOR_FAIL, check, "restart ntm-node; it attaches its program again",
			   "the agent uses it, but its program is not at tc ingress (driver %s)", driver);
}

static void check_xdp(struct doctor *d, const char *name, const char *driver, const char *check)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);
	int err = bpf_xdp_query((int)if_nametoindex(name), 0, &q);
	char prog[BPF_OBJ_NAME_LEN];
	json_object *ours = reported(d, name);
	const char *hook = ours ? ctl_text(ours, "xdp") : NULL;

	if (hook && !strcmp(hook, "tc")) {
		check_ingress(d, name, driver, check);
	} else if (err) {
		doctor_add(d, DOCTOR_WARN, check, "run this as root", "its XDP program cannot be seen: %s",
			   strerror(-err));
	} else if (q.attach_mode == XDP_ATTACHED_NONE) {
		if (ours)
			doctor_add(d, DOCTOR_FAIL, check, "restart ntm-node; it attaches its program again",
				   "the agent uses it, but no XDP program is attached (driver %s)", driver);
		else
			doctor_add(d, DOCTOR_OK, check, NULL, "no XDP program is attached, ntm-node can (driver %s)",
				   driver);
	} else if (!ours) {
		prog_name(q.prog_id, prog);
		doctor_add(d, DOCTOR_WARN, check,
			   "if it is not NTMobile's own, detach it (`ip link set dev NAME xdp off`) or leave this "
			   "interface out of `uplinks`",
			   "XDP program %s (id %u) is attached, and not by the agent asked here", prog, q.prog_id);
	} else if (q.attach_mode == XDP_ATTACHED_SKB) {
		doctor_add(d, DOCTOR_WARN, check,
			   "nothing, if the speed is enough; else use a driver with XDP and an MTU it allows",
			   "XDP in generic mode (driver %s): works, but each packet costs more", driver);
	} else {
		doctor_add(d, DOCTOR_OK, check, NULL, "XDP in native mode (driver %s)", driver);
	}
}

static void check_uplink(struct doctor *d, int fd, const char *name)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq r = {0};
	char check[32];

	snprintf(check, sizeof(check), "%s", name);
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFMTU, &r)) {
		doctor_add(d, DOCTOR_FAIL, check, "correct `uplinks` in node.conf", "no such interface: %s",
			   strerror(errno));
		return;
	}
	if (ethtool(fd, name, &info))
		snprintf(info.driver, sizeof(info.driver), "unknown");
	if (r.ifr_mtu < OUTER_MTU_MIN)
		doctor_add(d, DOCTOR_WARN, check, "raise its MTU to 1360 or more if the link allows it",
			   "MTU %d: packets over %d bytes travel in fragments", r.ifr_mtu,
			   r.ifr_mtu - (OUTER_MTU_MIN - 1280));
	else
		doctor_add(d, DOCTOR_OK, check, NULL, "MTU %d", r.ifr_mtu);
	if (!doctor_user_datapath(d))
		check_xdp(d, name, info.driver, check);
}

/* Packets that XDP redirects into a veth only arrive if its end polls (NAPI), which GRO turns on. */
static void check_virtual(struct doctor *d, int fd)
{
	struct ethtool_value gro = {.cmd = ETHTOOL_GGRO};

	if (doctor_user_datapath(d) && !strcmp(d->ifname, NTM_INTERFACE_FD)) {
		doctor_add(d, DOCTOR_WARN, "interface", "give it one with `ntm tun`", "no TUN device was given yet");
		return;
	}
	if (!if_nametoindex(d->ifname)) {
		if (d->status)
			doctor_add(d, DOCTOR_FAIL, d->ifname, "restart ntm-node; it makes the interface",
				   "the agent runs, but the interface is not there");
		return;
	}
	if (!ethtool(fd, d->ifname, &gro) && !gro.data)
		doctor_add(d, DOCTOR_FAIL, d->ifname, "ethtool -K ntm0 gro on, or restart ntm-node",
			   "GRO is off: opened packets do not arrive in it");
	else
		doctor_add(d, DOCTOR_OK, d->ifname, NULL, "the virtual interface is there");
}

static bool is_own(const struct doctor *d, const char *name)
{
	size_t len = strlen(d->ifname);

	return !strncmp(name, d->ifname, len) && (!name[len] || !strcmp(name + len, "p"));
}

/* An address inside the usual virtual pool on another interface shadows, or is shadowed by, the nodes there. */
static void check_pool(struct doctor *d, const char *name, const uint8_t ip[16])
{
	static const char pool_text[] = "100.96.0.0/12";
	char text[NTM_ADDR_STRLEN];
	struct ntm_prefix pool;

	if (!ntm_prefix_parse(pool_text, &pool) && ntm_prefix_contains(&pool, ip))
		doctor_add(d, DOCTOR_FAIL, name,
			   "give the DC another vip4_pool, or leave this interface out of `uplinks`",
			   "its address %s lies in the virtual pool %s", ntm_ip_format(ip, text), pool_text);
}

/* Interfaces that are up and have a usable address; returns how many. */
static size_t find_uplinks(struct doctor *d, char names[UPLINKS_MAX][IFNAMSIZ])
{
	struct ifaddrs *list;
	size_t n = 0;

	if (getifaddrs(&list))
		return 0;
	for (struct ifaddrs *a = list; a; a = a->ifa_next) {
		struct ntm_addr addr;
		size_t i;

		if (!a->ifa_addr || !(a->ifa_flags & IFF_UP) || a->ifa_flags & IFF_LOOPBACK || is_own(d, a->ifa_name) ||
		    ntm_addr_from_sockaddr(&addr, a->ifa_addr) || !ntm_ip_is_usable(addr.ip))
			continue;
		check_pool(d, a->ifa_name, addr.ip);
		for (i = 0; i < n && strcmp(names[i], a->ifa_name); i++)
			;
		if (i == n && n < UPLINKS_MAX)
			snprintf(names[n++], IFNAMSIZ, "%s", a->ifa_name);
	}
	freeifaddrs(list);
	return n;
}

void doctor_uplinks(struct doctor *d)
{
	char names[UPLINKS_MAX][IFNAMSIZ];
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	size_t n = find_uplinks(d, names);

	if (fd < 0) {
		doctor_add(d, DOCTOR_FAIL, "uplinks", "see the reason", "no socket: %s", strerror(errno));
		return;
	}
	if (d->conf && d->conf->uplinks.n) {
		for (size_t i = 0; i < d->conf->uplinks.n; i++)
			check_uplink(d, fd, d->conf->uplinks.items[i]);
	} else {
		for (size_t i = 0; i < n; i++)
			check_uplink(d, fd, names[i]);
		if (!n)
			doctor_add(d, DOCTOR_FAIL, "uplinks", "give an interface an address that others can reach",
				   "no interface is up with a usable address");
	}
	check_virtual(d, fd);
	close(fd);
}
