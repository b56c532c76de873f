/* SPDX-License-Identifier: BSD-2-Clause */
/* The way to general nodes on the data plane: routes and rules of the node, and traffic of both ends. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../user/common/addr.h"
#include "../harness/dp_rig.h"

static struct ntm_rig rig;
static char why[256];

static void up(void)
{
	if (ntm_rig_unable())
		cr_skip_test("%s", ntm_rig_unable());
	ntm_rig_up(&rig);
	rig.gateway = true;
	ntm_rig_run("ip route add default via 192.0.2.254");
	ntm_rig_run("ip route add default via 2001:db8::fe");
}

static void down(void)
{
	if (!ntm_rig_unable())
		ntm_rig_down(&rig);
}

static bool ok(const char *cmd)
{
	return system(cmd) == 0;
}

/* Where a lookup leads: "ip route get ARGS" names this interface. */
static bool leads(const char *args, const char *to)
{
	char cmd[256];
	snprintf(cmd, sizeof(cmd), "ip route get %s 2>/dev/null | grep -qw 'dev %s'", args, to);
	return ok(cmd);
}

static struct ntm_prefix prefix(const char *text)
{
	struct ntm_prefix p;
	cr_assert(eq(int, ntm_prefix_parse(text, &p), 0), "%s", text);
	return p;
}

static int set_general(const struct ntm_prefix *p, size_t n)
{
	struct ntm_dp_general g = {.prefixes = p, .n = n, .table = 4680, .mark = 0x1248};
	return rig.dp[0]->ops->set_general(rig.dp[0], &g);
}

static void everything(void)
{
	struct ntm_prefix all[2] = {prefix("0.0.0.0/0"), prefix("::/0")};
	cr_assert(eq(int, set_general(all, 2), 0));
}

/* All routes and rules, as one number. */
static unsigned fingerprint(void)
{
	char text[16] = "";
	FILE *p =
	    popen("(ip rule; ip -6 rule; ip route show table all; ip -6 route show table all) | "
		  "grep -v 'dev ntm0\\|cache\\|^local\\|^multicast\\|^anycast' | sed 's/ expires.*//' | sort | cksum",
		  "r");
	cr_assert(p && fgets(text, sizeof(text), p));
	pclose(p);
	return (unsigned)strtoul(text, NULL, 10);
}

TestSuite(dp_gateway, .init = up, .fini = down, .timeout = 60);

Test(dp_gateway, what_goes_which_way)
{
	ntm_rig_tunnel(&rig, false);
	cr_expect(leads("203.0.113.1", "wire0"), "not before it is asked for");
	everything();
	cr_expect(leads("203.0.113.1", "ntm0"));
	cr_expect(leads("2001:db8:77::1", "ntm0"));
	cr_expect(ok("ip route get 203.0.113.1 | grep -q 'src 100.96.0.1'"));
	cr_expect(ok("ip -6 route get 2001:db8:77::1 | grep -q 'src fd4e:544d::1'"));
	cr_expect(leads("203.0.113.1 from 100.96.0.1", "ntm0"));
	cr_expect(leads("2001:db8:77::1 from fd4e:544d::1", "ntm0"));

	/* The agent's own packets, and what has a real address: as ever. */
	cr_expect(leads("203.0.113.1 mark 0x1248", "wire0"));
	cr_expect(leads("2001:db8:77::1 mark 0x1248", "wire0"));
	cr_expect(leads("203.0.113.1 from 192.0.2.1", "wire0"));
	cr_expect(leads("2001:db8:77::1 from 2001:db8::1", "wire0"));
	/* What is near stays near. */
	cr_expect(leads("192.0.2.9", "wire0"));
	cr_expect(leads("2001:db8::9", "wire0"));
	cr_expect(leads("100.96.0.7", "ntm0"));
	cr_expect(leads("224.0.0.5", "wire0"));
	cr_expect(leads("169.254.3.4", "wire0"));
	/* A marked packet of somebody else's goes by the tunnel. */
	cr_expect(leads("203.0.113.1 mark 7", "ntm0"));
}

Test(dp_gateway, a_list_of_prefixes_and_another)
{
	ntm_rig_tunnel(&rig, false);
	unsigned before = fingerprint();
	struct ntm_prefix some[2] = {prefix("203.0.113.0/24"), prefix("2001:db8:77::/48")};
	cr_assert(eq(int, set_general(some, 2), 0));
	cr_expect(leads("203.0.113.1", "ntm0"));
	cr_expect(leads("198.51.100.1", "wire0"));
	cr_expect(leads("2001:db8:77::1", "ntm0"));
	cr_expect(leads("2001:db8:78::1", "wire0"));
	some[0] = prefix("198.51.100.0/24");
	cr_assert(eq(int, set_general(some, 1), 0));
	cr_expect(leads("203.0.113.1", "wire0"));
	cr_expect(leads("198.51.100.1", "ntm0"));
	cr_expect(leads("2001:db8:77::1", "wire0"));
	cr_expect(ok("test -z \"$(ip -6 rule | grep 4680)\""), "no rule for a family without prefixes");
	cr_assert(eq(int, set_general(some, 1), 0), "again: nothing to do");
	cr_expect(ok("test $(ip rule | grep -c 'lookup 4680') = 2"));
	cr_assert(eq(int, set_general(NULL, 0), 0));
	cr_expect(eq(u32, fingerprint(), before));
}

Test(dp_gateway, another_table)
{
	ntm_rig_tunnel(&rig, false);
	everything();
	struct ntm_prefix all = prefix("0.0.0.0/0");
	struct ntm_dp_general g = {.prefixes = &all, .n = 1, .table = 100, .mark = 9};
	cr_assert(eq(int, rig.dp[0]->ops->set_general(rig.dp[0], &g), 0));
	cr_expect(ok("test -z \"$(ip route show table 4680 2>/dev/null; ip -6 route show table 4680 2>/dev/null)\""));
	cr_expect(leads("203.0.113.1", "ntm0"));
	cr_expect(leads("203.0.113.1 mark 9", "wire0"));
	cr_expect(leads("203.0.113.1 mark 0x1248", "ntm0"));
}

Test(dp_gateway, bad_settings)
{
	struct ntm_prefix all = prefix("0.0.0.0/0");
	struct ntm_dp_general g = {.prefixes = &all, .n = 1, .table = 254, .mark = 9};
	cr_assert(eq(int, ntm_rig_open(&rig, 0, why, sizeof(why)), 0));
	cr_expect(eq(int, set_general(&all, 1), -EADDRNOTAVAIL), "no virtual address yet");
	cr_expect(eq(int, rig.dp[0]->ops->set_general(rig.dp[0], &g), -EINVAL), "the table main");
	g.table = 100;
	g.mark = 0;
	cr_expect(eq(int, rig.dp[0]->ops->set_general(rig.dp[0], &g), -EINVAL), "no mark");
	struct ntm_dp_path p = ntm_rig_path(0, false);
	p.client = true;
	cr_expect(eq(int, rig.dp[0]->ops->add_path(rig.dp[0], &p), -EINVAL), "a client of what is no gateway");
}

Test(dp_gateway, mtu_of_the_path_in_use)
{
	ntm_rig_tunnel(&rig, false);
	struct ntm_dp *dp = rig.dp[0];
	everything();
	cr_expect(ok("ip route show table 4680 | grep default | grep -q 'mtu 1440 advmss 1400'"));
	cr_assert(eq(int, dp->ops->set_mtu(dp, NTM_RIG_PATH, 1337, false), 0));
	cr_expect(ok("ip route show table 4680 | grep default | grep -q 'mtu 1337'"));
	cr_expect(ok("ip -6 route show table 4680 | grep default | grep -q 'mtu 1337'"));
	cr_assert(eq(int, dp->ops->set_mtu(dp, NTM_RIG_PATH, 1200, true), 0));
	cr_expect(ok("ip -6 route show table 4680 | grep default | grep -q 'mtu 1280'"));
}

struct flags {
	bool gateway, client;
};

static void note_flags(void *arg, const struct ntm_dp_path *p)
{
	*(struct flags *)arg = (struct flags){p->gateway, p->client};
}

static int general_socket(const char *address, uint16_t port)
{
	bool v6 = strchr(address, ':');
	struct sockaddr_storage ss;
	struct ntm_addr a = {.port = htons(port)};
	struct timeval limit = {.tv_sec = 10};
	ntm_rig_enter(&rig, 1);
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	cr_assert(eq(int, ntm_ip_parse(address, a.ip), 0));
	socklen_t len = ntm_addr_to_sockaddr(&a, v6 ? AF_INET6 : AF_INET, &ss);
	cr_assert(fd >= 0 && !bind(fd, (struct sockaddr *)&ss, len), "%s: %s", address, strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (v6)
		ntm_rig_await_local6(a.ip);
	ntm_rig_enter(&rig, 0);
	return fd;
}

/* A datagram from side 0, without a source of its own, to a general address and back. */
static void there_and_back(const char *address, const char *vip)
{
	int server = general_socket(address, 7000);
	bool v6 = strchr(address, ':');
	struct ntm_addr to = {.port = htons(7000)}, from;
	struct sockaddr_storage ss;
	struct timeval limit = {.tv_sec = 10};
	char buf[64], text[NTM_ADDR_STRLEN];
	ntm_rig_enter(&rig, 0);
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	cr_assert(eq(int, ntm_ip_parse(address, to.ip), 0));
	socklen_t len = ntm_addr_to_sockaddr(&to, v6 ? AF_INET6 : AF_INET, &ss);
	cr_assert(eq(int, (int)sendto(fd, "hello", 5, 0, (struct sockaddr *)&ss, len), 5), "%s", strerror(errno));
	len = sizeof(ss);
	cr_assert(eq(int, (int)recvfrom(server, buf, sizeof(buf), 0, (struct sockaddr *)&ss, &len), 5), "%s: %s",
		  address, strerror(errno));
	cr_assert(eq(int, ntm_addr_from_sockaddr(&from, (struct sockaddr *)&ss), 0));
	cr_expect(eq(str, (char *)ntm_ip_format(from.ip, text), (char *)vip));
	cr_assert(eq(int, (int)sendto(server, "answer", 6, 0, (struct sockaddr *)&ss, len), 6));
	cr_expect(eq(int, (int)recv(fd, buf, sizeof(buf), 0), 6), "%s: %s", address, strerror(errno));
	close(fd);
	close(server);
}

Test(dp_gateway, traffic_both_ways)
{
	ntm_rig_tunnel(&rig, false);
	everything();
	ntm_rig_enter(&rig, 1);
	ntm_rig_run("ip link add far type veth peer name nigh; ip link set far up; ip link set nigh up");
	ntm_rig_run("ip addr add 203.0.113.1/24 dev far; ip addr add 2001:db8:77::1/64 dev far nodad");
	ntm_rig_enter(&rig, 0);
	there_and_back("203.0.113.1", "100.96.0.1");
	there_and_back("2001:db8:77::1", "fd4e:544d::1");

	/* The gateway's own addresses are not general ones. */
	uint64_t refused = ntm_rig_count(&rig, 1, NTM_R_RX_BAD_DEST);
	ntm_rig_enter(&rig, 0);
	cr_expect(not(ok("ping -c 1 -W 1 -I 100.96.0.1 192.0.2.2 >/dev/null")), "near: not by the tunnel at all");
	cr_expect(eq(u64, ntm_rig_count(&rig, 1, NTM_R_RX_BAD_DEST), refused));

	struct flags fl = {0};
	rig.dp[0]->ops->foreach(rig.dp[0], note_flags, &fl);
	cr_expect(fl.gateway && !fl.client);
	cr_assert(eq(int, rig.dp[0]->ops->set_mtu(rig.dp[0], NTM_RIG_PATH, 1300, false), 0));
	rig.dp[0]->ops->foreach(rig.dp[0], note_flags, &fl);
	cr_expect(fl.gateway, "whatever its MTU");
	there_and_back("203.0.113.1", "100.96.0.1");
}

/* What the agent opens in place of the program obeys the same rules. */
Test(dp_gateway, slow_path_has_the_same_rules)
{
	uint8_t inner[128], out[256];
	size_t n, len;
	ntm_rig_tunnel(&rig, false);
	struct ntm_addr from = ntm_rig_endpoint(0, false);
	static const struct {
		const char *src, *dst;
		int result;
	} rows[] = {
	    {"100.96.0.1", "203.0.113.1", 0},
	    {"100.96.0.1", "100.96.0.2", 0},
	    {"100.96.0.1", "100.96.0.7", -EADDRNOTAVAIL},
	    {"100.96.0.1", "192.0.2.2", -EADDRNOTAVAIL},
	    {"100.96.0.1", "127.0.0.1", -EADDRNOTAVAIL},
	    {"100.96.0.1", "224.0.0.1", -EADDRNOTAVAIL},
	    {"100.96.0.7", "203.0.113.1", -EADDRNOTAVAIL},
	    {"203.0.113.1", "203.0.113.2", -EADDRNOTAVAIL},
	};
	struct ntm_dp_uplink u = ntm_rig_uplink(1);
	ntm_rig_enter(&rig, 1);
	u = ntm_rig_uplink(1);
	cr_assert(eq(int, rig.dp[1]->ops->set_uplinks(rig.dp[1], &u, 1, why, sizeof(why)), 0), "%s", why);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		n = ntm_rig_inner(0, false, 7, "x", 1, inner, sizeof(inner));
		cr_assert(inet_pton(AF_INET, rows[i].src, inner + 12) == 1 &&
			  inet_pton(AF_INET, rows[i].dst, inner + 16) == 1);
		cr_assert(eq(int, rig.dp[0]->ops->seal(rig.dp[0], NTM_RIG_PATH, inner, n, out, sizeof(out), &len), 0));
		cr_expect(eq(int, rig.dp[1]->ops->open(rig.dp[1], out, len, &from), rows[i].result), "%s > %s",
			  rows[i].src, rows[i].dst);
	}
}

Test(dp_gateway, the_next_gateway_takes_over)
{
	ntm_rig_tunnel(&rig, false);
	struct ntm_dp *dp = rig.dp[0];
	struct ntm_dp_path other = ntm_rig_path(0, false);
	struct ntm_dp_keys k = ntm_rig_keys(0, 0);
	struct ntm_dp_stats s;
	everything();
	other.path_id = 77;
	other.gateway = true;
	other.inner_mtu = 1311;
	other.peer_vip4[3] = 9;
	other.peer_vip6[15] = 9;
	cr_assert(eq(int, dp->ops->add_path(dp, &other), 0));
	cr_assert(eq(int, dp->ops->set_keys(dp, 77, &k, true), 0));
	cr_assert(eq(int, dp->ops->activate(dp, 77), 0));
	cr_expect(ok("ip route show table 4680 | grep default | grep -q 'mtu 1311'"));
	cr_expect(not(ok("ping -c 1 -W 0.3 203.0.113.1 >/dev/null")));
	cr_assert(eq(int, dp->ops->stats(dp, 77, &s), 0));
	cr_expect(eq(u64, s.tx_packets, 1), "by the new one");
	cr_assert(eq(int, dp->ops->del_path(dp, 77), 0));
	cr_expect(not(ok("ping -c 1 -W 0.3 203.0.113.1 >/dev/null")));
	cr_assert(eq(int, dp->ops->stats(dp, NTM_RIG_PATH, &s), 0));
	cr_expect(eq(u64, s.tx_packets, 1), "by the one before");
	cr_assert(eq(int, dp->ops->del_path(dp, NTM_RIG_PATH), 0));
	cr_expect(not(ok("ping -c 1 -W 0.3 203.0.113.1 >/dev/null")));
	cr_expect(eq(u64, ntm_rig_count(&rig, 0, NTM_R_TX_NOT_VIRTUAL), 1));
}

Test(dp_gateway, put_back_at_the_end)
{
	unsigned before = fingerprint();
	ntm_rig_tunnel(&rig, false);
	everything();
	cr_expect(ne(u32, fingerprint(), before));
	rig.dp[0]->ops->close(rig.dp[0], false);
	rig.dp[0] = NULL;
	cr_expect(eq(u32, fingerprint(), before));
}

static void die_with_general_routes(void)
{
	pid_t pid = fork();
	if (!pid) {
		ntm_rig_tunnel(&rig, false);
		everything();
		_exit(0);
	}
	int status;
	cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid);
	cr_assert(eq(int, status, 0));
}

Test(dp_gateway, outlives_the_agent_and_is_adopted)
{
	die_with_general_routes();
	cr_expect(leads("203.0.113.1", "ntm0"), "while nobody is there");
	cr_assert(eq(int, ntm_rig_open(&rig, 0, why, sizeof(why)), 0), "%s", why);
	cr_expect(rig.dp[0]->ops->adopted(rig.dp[0]));
	cr_expect(leads("203.0.113.1", "ntm0"));
	cr_expect(not(ok("ping -c 1 -W 0.3 203.0.113.1 >/dev/null")));
	cr_expect(eq(u64, ntm_rig_count(&rig, 0, NTM_R_TX_OK), 1));
	/* This one's configuration has no gateway. */
	cr_assert(eq(int, set_general(NULL, 0), 0));
	cr_expect(leads("203.0.113.1", "wire0"));
}

Test(dp_gateway, put_back_after_a_crash)
{
	unsigned before = fingerprint();
	struct ntm_dp_config c = ntm_rig_config(&rig, 0);
	die_with_general_routes();
	cr_assert(eq(int, ntm_dp_bpf_remove(&c, why, sizeof(why)), 0), "%s", why);
	cr_expect(eq(u32, fingerprint(), before));
}

Test(dp_gateway, put_back_if_the_interface_is_gone)
{
	unsigned before = fingerprint();
	die_with_general_routes();
	ntm_rig_run("ip link del ntm0");
	cr_assert(eq(int, ntm_rig_open(&rig, 0, why, sizeof(why)), 0), "%s", why);
	cr_expect(eq(u32, fingerprint(), before));
}

/* On a relay another program is on the uplink, and calls ours. */
Test(dp_gateway, external_xdp)
{
	struct ntm_dp_config c = ntm_rig_config(&rig, 1);
	struct ntm_dp_events none = {0};
	struct ntm_dp_uplink u;
	c.external_xdp = true;
	ntm_rig_enter(&rig, 1);
	ntm_rig_run("ip rule add pref 32701 from 100.96.0.7 lookup 4680 protocol 78");
	cr_assert(eq(int, ntm_dp_bpf_open(&rig.dp[1], &c, &none, NULL, why, sizeof(why)), 0), "%s", why);
	u = ntm_rig_uplink(1);
	cr_assert(eq(int, rig.dp[1]->ops->set_uplinks(rig.dp[1], &u, 1, why, sizeof(why)), 0), "%s", why);
	cr_expect(not(ok("ip -d link show wire1 | grep -q xdp")));
	cr_expect(eq(int, u.hook, NTM_RX_GENERIC));
	cr_expect(ge(int, ntm_dp_bpf_decap_fd(rig.dp[1]), 0));
	cr_expect(ok("ip rule | grep -q 'from 100.96.0.7 lookup 4680'"), "a node's on the same host");
}
