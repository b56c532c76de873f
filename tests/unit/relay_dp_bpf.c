/* SPDX-License-Identifier: BSD-2-Clause */
/* The relay's BPF data plane: what it does to a namespace, what an agent that dies leaves to the next, how much fits.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <ntm/wire.h>

#include "../../user/relay/relay_dp_internal.h"
#include "../harness/dp_rig.h"

#define PATH 0x123456789abcdef0ULL

/* The relay is in namespace 0, both ends are sockets in namespace 1. */
static struct ntm_rig rig;
static struct ntm_relay_dp *dp;
static char why[256];
static uint32_t max_paths;
static const uint8_t secret[NTM_KEY_LEN] = {4, 5, 6};

static void up(void)
{
	if (ntm_rig_unable())
		cr_skip_test("%s", ntm_rig_unable());
	ntm_rig_up(&rig);
	max_paths = 1000;
}

static void down(void)
{
	if (ntm_rig_unable())
		return;
	if (dp)
		dp->ops->close(dp, false);
	ntm_rig_down(&rig);
}

static struct ntm_relay_dp_config config(void)
{
	return (struct ntm_relay_dp_config){.runtime_dir = rig.dir[0],
					    .port = NTM_PORT,
					    .xdp_mode = rig.xdp_mode,
					    .max_paths = max_paths,
					    .idle_s = 60};
}

static int open_relay(struct ntm_relay_dp **out)
{
	struct ntm_relay_dp_config c = config();
	ntm_rig_enter(&rig, 0);
	return ntm_relay_dp_bpf_open(out, &c, why, sizeof(why));
}

static int with_uplink(struct ntm_relay_dp *d)
{
	struct ntm_dp_uplink u = ntm_rig_uplink(0);
	uint8_t locals[2][16];
	ntm_ip_from_v4(locals[0], u.addr4);
	memcpy(locals[1], u.addr6, 16);
	int err = d->ops->set_locals(d, locals, 2);
	return err ? err : d->ops->set_uplinks(d, &u, 1, why, sizeof(why));
}

/* A socket in namespace 1; *a its address. */
static int end_socket(bool v6, uint16_t port, struct ntm_addr *a)
{
	struct sockaddr_storage ss;
	*a = ntm_rig_endpoint(1, v6);
	a->port = htons(port);
	ntm_rig_enter(&rig, 1);
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = ntm_addr_to_sockaddr(a, v6 ? AF_INET6 : AF_INET, &ss);
	cr_assert(fd >= 0 && !bind(fd, (struct sockaddr *)&ss, len), "%s", strerror(errno));
	ntm_rig_enter(&rig, 0);
	return fd;
}

static void send_data(int fd, bool v6, uint64_t id, uint8_t mark)
{
	struct sockaddr_storage ss;
	uint8_t d[100] = {NTM_WIRE_VERSION << 4 | NTM_T_DATA, [99] = mark};
	struct ntm_addr to = ntm_rig_endpoint(0, v6);
	id = htobe64(id);
	memcpy(d + 8, &id, 8);
	socklen_t len = ntm_addr_to_sockaddr(&to, v6 ? AF_INET6 : AF_INET, &ss);
	cr_assert_eq(sendto(fd, d, sizeof(d), 0, (struct sockaddr *)&ss, len), (ssize_t)sizeof(d));
}

static int receive(int fd)
{
	uint8_t d[200];
	return ntm_rig_recv(fd, d, sizeof(d), 10000) == 100 ? d[99] : -1;
}

/* Neighbour entries, as the agent's answers to binds make them. */
static void know_neighbours(void)
{
	ntm_rig_run("ping -c 1 -W 10 192.0.2.2 >/dev/null; ping -c 1 -W 10 2001:db8::2 >/dev/null");
}

static void two_ends(struct ntm_relay_dp *d, const struct ntm_addr *a, const struct ntm_addr *b)
{
	cr_assert_eq(d->ops->add(d, PATH, secret, 0), 0);
	cr_assert_eq(d->ops->bind(d, PATH, 0, a, 11), 0);
	cr_assert_eq(d->ops->bind(d, PATH, 1, b, 12), 0);
}

TestSuite(relay_dp_bpf, .init = up, .fini = down, .timeout = 120);

static void relays_between_families(enum ntm_xdp_mode mode)
{
	struct ntm_addr a, b;
	struct ntm_relay_dp_path p;
	struct ntm_counter c[NTM_RR_COUNT];
	rig.xdp_mode = mode;
	cr_assert_eq(open_relay(&dp), 0, "%s", why);
	cr_assert_eq(with_uplink(dp), 0, "%s", why);
	int fa = end_socket(false, 6000, &a), fb = end_socket(true, 6001, &b);
	know_neighbours();
	two_ends(dp, &a, &b);
	for (uint8_t i = 1; i < 50; i++) {
		send_data(fa, false, PATH, i);
		cr_assert_eq(receive(fb), i);
		send_data(fb, true, PATH, i);
		cr_assert_eq(receive(fa), i);
	}
	cr_assert_eq(dp->ops->get(dp, PATH, &p), 0);
	cr_expect_eq(p.ends[0].packets, 49);
	cr_expect_eq(p.ends[1].bytes, 4900);
	cr_assert_eq(dp->ops->counters(dp, c), 0);
	cr_expect_eq(c[NTM_RR_RELAYED].packets, 98);
	send_data(fa, false, PATH + 1, 1);
	cr_expect_eq(ntm_rig_recv(fb, (uint8_t[200]){0}, 200, 50), -1);
	cr_assert_eq(dp->ops->counters(dp, c), 0);
	cr_expect_eq(c[NTM_RR_UNKNOWN_PATH].packets, 1);
	close(fa);
	close(fb);
}

Test(relay_dp_bpf, relays_between_families_in_generic_mode)
{
	relays_between_families(NTM_XDP_GENERIC);
}

/* veth delivers what native XDP sends only where XDP runs at the other end, too */
Test(relay_dp_bpf, relays_between_families_in_native_mode)
{
	const struct bpf_insn pass[] = {
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_PASS},
	    {.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "pass", "GPL", pass, 2, NULL);
	cr_assert_geq(fd, 0);
	ntm_rig_enter(&rig, 1);
	cr_assert_eq(bpf_xdp_attach((int)ntm_rig_uplink(1).ifindex, fd, XDP_FLAGS_DRV_MODE, NULL), 0);
	close(fd);
	relays_between_families(NTM_XDP_NATIVE);
}

/* It binds by another uplink before it sends by it: what comes from the one before is its own, too. */
Test(relay_dp_bpf, an_end_that_moves_is_heard_from_both_places)
{
	struct ntm_addr a, moved, other, b;
	cr_assert_eq(open_relay(&dp), 0, "%s", why);
	cr_assert_eq(with_uplink(dp), 0, "%s", why);
	int fd_a = end_socket(false, 5000, &a), fd_moved = end_socket(false, 5001, &moved);
	int fd_other = end_socket(false, 5002, &other), fd_b = end_socket(true, 6000, &b);
	know_neighbours();
	two_ends(dp, &a, &b);
	cr_assert_eq(dp->ops->bind(dp, PATH, 0, &moved, 13), 0);
	send_data(fd_other, false, PATH, 1);
	send_data(fd_a, false, PATH, 2);
	cr_expect_eq(receive(fd_b), 2, "not that of the third");
	send_data(fd_moved, false, PATH, 3);
	cr_expect_eq(receive(fd_b), 3);
	send_data(fd_b, true, PATH, 4);
	cr_expect_eq(receive(fd_moved), 4);
	/* The other end moves to where the first one was: whoever is bound there now counts. */
	cr_assert_eq(dp->ops->bind(dp, PATH, 1, &a, 14), 0);
	send_data(fd_a, false, PATH, 5);
	cr_expect_eq(receive(fd_moved), 5);
	close(fd_a);
	close(fd_moved);
	close(fd_other);
	close(fd_b);
}

Test(relay_dp_bpf, auto_is_generic_on_a_veth_pair)
{
	struct ntm_dp_uplink u;
	rig.xdp_mode = NTM_XDP_AUTO;
	cr_assert_eq(open_relay(&dp), 0, "%s", why);
	u = ntm_rig_uplink(0);
	cr_assert_eq(dp->ops->set_uplinks(dp, &u, 1, why, sizeof(why)), 0, "%s", why);
	cr_expect(u.hook == NTM_RX_GENERIC);
}

static void die_with_a_path(const struct ntm_addr *a, const struct ntm_addr *b)
{
	pid_t pid = fork();
	if (!pid) {
		struct ntm_relay_dp *d;
		if (open_relay(&d) || with_uplink(d) || d->ops->add(d, PATH, secret, 77000) ||
		    d->ops->bind(d, PATH, 0, a, 11) || d->ops->bind(d, PATH, 1, b, 12)) {
			fprintf(stderr, "%s\n", why);
			_exit(1);
		}
		_exit(0);
	}
	int status;
	cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid && !status);
}

Test(relay_dp_bpf, goes_on_without_an_agent_and_with_the_next)
{
	struct ntm_relay_dp_path p;
	struct ntm_addr a, b;
	int fa = end_socket(false, 6000, &a), fb = end_socket(false, 6001, &b);
	know_neighbours();
	rig.xdp_mode = NTM_XDP_GENERIC;
	die_with_a_path(&a, &b);
	send_data(fa, false, PATH, 1);
	cr_assert_eq(receive(fb), 1, "nobody is there, and it relays");
	for (int i = 0; i < 20; i++)
		send_data(fa, false, PATH, (uint8_t)(10 + i));
	cr_assert_eq(open_relay(&dp), 0, "%s", why);
	cr_expect(dp->ops->adopted(dp));
	for (int i = 0; i < 20; i++)
		cr_assert_eq(receive(fb), 10 + i);
	cr_expect_eq(dp->ops->count(dp), 1);
	cr_assert_eq(dp->ops->get(dp, PATH, &p), 0);
	cr_expect_arr_eq(p.secret, secret, sizeof(secret));
	cr_expect(ntm_addr_equal(&p.ends[0].addr, &a));
	cr_expect_eq(p.ends[1].seq, 12);
	cr_expect_eq(p.rate_kbit, 77000);
	cr_expect_eq(p.ends[0].packets, 21, "its counters, too");
	cr_assert_eq(with_uplink(dp), 0, "%s", why);
	send_data(fb, false, PATH, 99);
	cr_expect_eq(receive(fa), 99);
	close(fa);
	close(fb);
}

Test(relay_dp_bpf, another_size_starts_anew)
{
	struct ntm_addr a = ntm_rig_endpoint(1, false), b = a;
	b.port++;
	die_with_a_path(&a, &b);
	max_paths = 2000;
	cr_assert_eq(open_relay(&dp), 0, "%s", why);
	cr_expect(!dp->ops->adopted(dp));
	cr_expect_eq(dp->ops->count(dp), 0);
	cr_expect_eq(dp->ops->max(dp), 2000);
	cr_expect_neq(system("ip link show wire0 | grep -q ' xdp'"), 0, "the old program is detached");
}

Test(relay_dp_bpf, one_agent_a_runtime_directory)
{
	struct ntm_relay_dp *second;
	cr_assert_eq(open_relay(&dp), 0, "%s", why);
	cr_expect_eq(open_relay(&second), -EBUSY);
	cr_expect(strstr(why, "another ntm-relay"), "%s", why);
}

Test(relay_dp_bpf, closing_and_removing_leave_nothing)
{
	struct ntm_addr a = ntm_rig_endpoint(1, false), b = a;
	struct ntm_relay_dp_config c = config();
	char cmd[160];
	b.port++;
	snprintf(cmd, sizeof(cmd), "test -e %s/bpf/ntm_relay_paths", rig.dir[0]);
	die_with_a_path(&a, &b);
	cr_expect_eq(system(cmd), 0);
	cr_assert_eq(ntm_relay_dp_bpf_remove(&c, why, sizeof(why)), 0, "%s", why);
	cr_expect_neq(system(cmd), 0);
	cr_expect_neq(system("ip link show wire0 | grep -q ' xdp'"), 0);
	cr_expect_eq(ntm_relay_dp_bpf_remove(&c, why, sizeof(why)), 0, "again: %s", why);
}

Test(relay_dp_bpf, interfaces_come_and_go)
{
	ntm_rig_enter(&rig, 0);
	if (system("ip link add link wire0 name v4 type vlan id 4 2>/dev/null"))
		cr_skip_test("no VLAN interfaces in this kernel");
	ntm_rig_run(
	    "ip link del v4; ip link add link wire0 name v5 type vlan id 5; ip addr add 10.5.0.1/24 dev v5; ip link set v5 up");
	ntm_rig_run("ip link add link v5 name v56 type vlan id 6; ip link set v56 up");
	cr_assert_eq(open_relay(&dp), 0, "%s", why);
	cr_assert_eq(with_uplink(dp), 0, "%s", why);
	const struct ntm_relay_uplink *up = ntm_rdp(dp)->uplinks;
	struct ntm_dp_uplink u = ntm_rig_uplink(0);
	cr_expect_eq(up[0].ifindex, u.ifindex);
	cr_expect_eq(up[0].nic, u.ifindex);
	int tagged = 0;
	for (int i = 1; i < NTM_RELAY_UPLINKS; i++) {
		if (!up[i].ifindex)
			continue;
		tagged++;
		cr_expect_eq(up[i].nic, u.ifindex);
		cr_expect_eq(up[i].tpid[0], htons(0x8100));
		cr_expect_eq(up[i].tci[0], htons(5), "outermost first");
		if (up[i].n_tags == 2)
			cr_expect_eq(up[i].tci[1], htons(6));
		else
			cr_expect_arr_eq(&up[i].addr4, "\x0a\x05\x00\x01", 4);
	}
	cr_expect_eq(tagged, 2);
	cr_assert_eq(dp->ops->set_uplinks(dp, NULL, 0, why, sizeof(why)), 0);
	for (int i = 0; i < NTM_RELAY_UPLINKS; i++)
		cr_expect_eq(up[i].ifindex, 0);
	cr_expect_neq(system("ip link show wire0 | grep -q ' xdp'"), 0);
}

Test(relay_dp_bpf, own_addresses_are_refused)
{
	struct ntm_addr own = ntm_rig_endpoint(0, false), a = ntm_rig_endpoint(1, false);
	cr_assert_eq(open_relay(&dp), 0, "%s", why);
	cr_assert_eq(with_uplink(dp), 0, "%s", why);
	dp->ops->add(dp, PATH, secret, 0);
	own.port = htons(9);
	cr_expect_eq(dp->ops->bind(dp, PATH, 0, &own, 1), -EINVAL);
	cr_assert_eq(dp->ops->bind(dp, PATH, 0, &a, 1), 0);
	cr_expect_eq(dp->ops->bind(dp, PATH, 1, &a, 1), -EINVAL);
	cr_assert_eq(dp->ops->set_locals(dp, NULL, 0), 0);
	cr_expect_eq(dp->ops->bind(dp, PATH, 1, &own, 2), 0, "no own address any more");
}

/* Bytes, as the kernel says; of arrays, for which Linux 6.1 adds the keys that they have not, what they hold. */
static unsigned long long memory_of(int fd)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	char file[64], line[128];
	unsigned long long bytes = 0;
	cr_assert_eq(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	if (info.type == BPF_MAP_TYPE_ARRAY)
		return ((unsigned long long)info.value_size * info.max_entries + 8191) / 4096 * 4096;
	snprintf(file, sizeof(file), "/proc/self/fdinfo/%d", fd);
	FILE *f = fopen(file, "re");
	cr_assert(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "memlock: %llu", &bytes) == 1)
			break;
	fclose(f);
	return bytes;
}

Test(relay_dp_bpf, a_million_paths_fit_in_256_mib)
{
	unsigned long long total = 0;
	uint64_t id = 1;
	max_paths = 1000000;
	cr_assert_eq(open_relay(&dp), 0, "%s", why);
	for (uint32_t i = 0; i < max_paths; i++) {
		id = id * 6364136223846793005u + 1442695040888963407u;
		int err = dp->ops->add(dp, id, secret, 0);
		cr_assert_eq(err, 0, "path %u: %s", i, strerror(-err));
	}
	cr_expect_eq(dp->ops->count(dp), max_paths);
	cr_expect_eq(dp->ops->add(dp, id + 1, secret, 0), -ENOSPC);
	for (int i = 0; i < NTM_RMAP_COUNT; i++)
		total += memory_of(ntm_rdp(dp)->map_fd[i]);
	cr_expect(total > 100 << 20 && total <= 256 << 20, "%.1f MiB", (double)total / (1 << 20));
}
