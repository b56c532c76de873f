/* SPDX-License-Identifier: BSD-2-Clause */
#include "dp_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ipv6_route.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../user/common/addr.h"
#include "../../user/common/crypto.h"
#include "../../user/common/log.h"

static void die(const char *what)
{
	fprintf(stderr, "dp_rig: %s: %s\n", what, strerror(errno));
	abort();
}

void ntm_rig_run(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	if (system(cmd))
		die(cmd);
}

const char *ntm_rig_unable(void)
{
	if (geteuid())
		return "not root";
	if (system("ip -V >/dev/null 2>&1"))
		return "ip(8) is missing";
	return NULL;
}

void ntm_rig_enter(struct ntm_rig *r, int side)
{
	if (setns(r->ns[side], CLONE_NEWNET))
		die("setns");
}

static int new_netns(void)
{
	if (unshare(CLONE_NEWNET))
		die("unshare");
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("/proc/self/ns/net");
	return fd;
}

/* The kernel makes an IPv6 address its own in a work queue, later than it says that the address is there. */
static bool is_local6(const uint8_t ip[16])
{
	char want[33], addr[33];
	unsigned prefix, flags;
	bool found = false;
	FILE *f = fopen("/proc/thread-self/net/ipv6_route", "re");

	if (!f)
		return false;
	for (int i = 0; i < 16; i++)
		snprintf(want + 2 * i, 3, "%02x", ip[i]);
	while (!found && fscanf(f, "%32s %x %*s %*s %*s %*s %*s %*s %x %*s", addr, &prefix, &flags) == 3)
		found = prefix == 128 && flags & RTF_LOCAL && !strcmp(addr, want);
	fclose(f);
	return found;
}

void ntm_rig_await_local6(const uint8_t ip[16])
{
	for (int i = 0; !is_local6(ip); i++) {
		if (i == 20000)
			die("an IPv6 address that does not become a local one");
		usleep(1000);
	}
}

static void wire_end(int side)
{
	ntm_rig_run("ip link set lo up; ethtool -K wire%d tso off gso off gro on tx-udp-segmentation off >/dev/null",
		    side);
	ntm_rig_run("ip addr add 192.0.2.%d/24 dev wire%d", side + 1, side);
	ntm_rig_run("ip addr add 2001:db8::%d/64 dev wire%d nodad", side + 1, side);
	ntm_rig_run("ip link set wire%d up", side);
}

void ntm_rig_up(struct ntm_rig *r)
{
	memset(r, 0, sizeof(*r));
	if (ntm_crypto_init())
		die("ntm_crypto_init");
	ntm_log_init("test", NTM_LOG_WARN);
	/* The pins' file systems in a mount namespace of the process go with it. */
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die("private mounts");
	for (int i = 0; i < 2; i++) {
		char bpf[80];
		r->ns[i] = new_netns();
		snprintf(r->dir[i], sizeof(r->dir[i]), "/tmp/ntm-dp-XXXXXX");
		if (!mkdtemp(r->dir[i]))
			die("mkdtemp");
		snprintf(bpf, sizeof(bpf), "%s/bpf", r->dir[i]);
		if (mkdir(bpf, 0700) || mount("bpf", bpf, "bpf", 0, "mode=0700"))
			die("bpffs");
	}
	ntm_rig_enter(r, 0);
	ntm_rig_run("ip link add wire0 type veth peer name wire1");
	ntm_rig_run("ip link set wire1 netns /proc/%d/fd/%d", getpid(), r->ns[1]);
	wire_end(0);
	ntm_rig_enter(r, 1);
	wire_end(1);
	for (int i = 0; i < 2; i++) {
		ntm_rig_enter(r, i);
		ntm_rig_await_local6(ntm_rig_endpoint(i, true).ip);
	}
	ntm_rig_enter(r, 0);
}

void ntm_rig_down(struct ntm_rig *r)
{
	for (int i = 0; i < 2; i++) {
		char cmd[160];
		ntm_rig_enter(r, i);
		if (r->dp[i])
			r->dp[i]->ops->close(r->dp[i], false);
		snprintf(cmd, sizeof(cmd), "umount -l %s/bpf 2>/dev/null; rm -rf %s", r->dir[i], r->dir[i]);
		if (system(cmd))
			fprintf(stderr, "dp_rig: left %s\n", r->dir[i]);
		close(r->ns[i]);
	}
}

static void on_no_path(void *arg, const uint8_t dst[16], const uint8_t *packet, size_t len)
{
	struct ntm_rig_seen *s = arg;
	s->no_path++;
	memcpy(s->addr, dst, 16);
	memcpy(s->packet, packet, len);
	s->len = len;
}

static void on_too_big(void *arg, uint64_t path_id, const uint8_t *packet, size_t len)
{
	struct ntm_rig_seen *s = arg;
	s->too_big++;
	s->path_id = path_id;
	memcpy(s->packet, packet, len);
	s->len = len;
}

static void on_roamed(void *arg, uint64_t path_id, const struct ntm_addr *endpoint)
{
	struct ntm_rig_seen *s = arg;
	s->roamed++;
	s->path_id = path_id;
	s->endpoint = *endpoint;
}

static void on_epoch(void *arg, uint64_t path_id, uint8_t epoch)
{
	struct ntm_rig_seen *s = arg;
	s->epochs++;
	s->path_id = path_id;
	s->epoch = epoch;
}

static void on_expired(void *arg, uint64_t path_id)
{
	struct ntm_rig_seen *s = arg;
	s->expired++;
	s->path_id = path_id;
}

static const struct ntm_dp_events events = {.no_path = on_no_path,
					    .too_big = on_too_big,
					    .roamed = on_roamed,
					    .epoch_confirmed = on_epoch,
					    .expired = on_expired};

struct ntm_dp_config ntm_rig_config(const struct ntm_rig *r, int side)
{
	return (struct ntm_dp_config){.ifname = "ntm0",
				      .runtime_dir = r->dir[side],
				      .port = NTM_PORT,
				      .xdp_mode = r->xdp_mode,
				      .max_paths = r->max_paths,
				      .duplicate_ms = r->duplicate_ms,
				      .gateway = r->gateway && side == 1};
}

int ntm_rig_open(struct ntm_rig *r, int side, char *why, size_t cap)
{
	struct ntm_dp_config c = ntm_rig_config(r, side);
	ntm_rig_enter(r, side);
	return ntm_dp_bpf_open(&r->dp[side], &c, &events, &r->seen[side], why, cap);
}

struct ntm_dp_addresses ntm_rig_addresses(int side)
{
	struct ntm_dp_addresses a = {.vip4 = {100, 96, 0, (uint8_t)(side + 1)}, .vip6 = {0xfd, 0x4e, 0x54, 0x4d}};
	a.vip6[15] = (uint8_t)(side + 1);
	if (ntm_prefix_parse("100.96.0.0/12", &a.pool4) || ntm_prefix_parse("fd4e:544d::/48", &a.pool6))
		die("prefix");
	return a;
}

struct ntm_dp_uplink ntm_rig_uplink(int side)
{
	struct ntm_dp_uplink u = {.mtu = 1500, .addr4 = {192, 0, 2, (uint8_t)(side + 1)}};
	struct ntm_addr v6 = ntm_rig_endpoint(side, true);
	snprintf(u.name, sizeof(u.name), "wire%d", side);
	u.ifindex = if_nametoindex(u.name);
	memcpy(u.addr6, v6.ip, 16);
	return u;
}

struct ntm_addr ntm_rig_endpoint(int side, bool ipv6)
{
	struct ntm_addr a = {.port = htons(NTM_PORT)};
	char text[32];
	snprintf(text, sizeof(text), ipv6 ? "2001:db8::%d" : "192.0.2.%d", side + 1);
	if (ntm_ip_parse(text, a.ip))
		die(text);
	return a;
}

struct ntm_dp_path ntm_rig_path(int side, bool outer_ipv6)
{
	struct ntm_dp_addresses peer = ntm_rig_addresses(!side);
	struct ntm_dp_path p = {.path_id = NTM_RIG_PATH,
				.endpoint = ntm_rig_endpoint(!side, outer_ipv6),
				.inner_mtu = outer_ipv6 ? 1420 : 1440};
	memcpy(p.peer_vip4, peer.vip4, 4);
	memcpy(p.peer_vip6, peer.vip6, 16);
	return p;
}

struct ntm_dp_keys ntm_rig_keys(int side, uint8_t epoch)
{
	struct ntm_dp_keys k = {.epoch = epoch};
	memset(k.tx, 16 * epoch + side + 1, sizeof(k.tx));
	memset(k.rx, 16 * epoch + !side + 1, sizeof(k.rx));
	return k;
}

void ntm_rig_tunnel(struct ntm_rig *r, bool outer_ipv6)
{
	for (int i = 0; i < 2; i++) {
		char why[256] = "";
		if (ntm_rig_open(r, i, why, sizeof(why)))
			die(why);
		struct ntm_dp *dp = r->dp[i];
		struct ntm_dp_addresses a = ntm_rig_addresses(i);
		struct ntm_dp_uplink u = ntm_rig_uplink(i);
		struct ntm_dp_path p = ntm_rig_path(i, outer_ipv6);
		struct ntm_dp_keys k = ntm_rig_keys(i, 0);
		p.gateway = r->gateway && i == 0;
		p.client = r->gateway && i == 1;
		if (dp->ops->set_addresses(dp, &a) || dp->ops->set_uplinks(dp, &u, 1, why, sizeof(why)) ||
		    dp->ops->add_path(dp, &p) || dp->ops->set_keys(dp, p.path_id, &k, true) ||
		    dp->ops->activate(dp, p.path_id))
			die(why);
		ntm_rig_await_local6(a.vip6);
	}
	ntm_rig_enter(r, 0);
}

static int64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

bool ntm_rig_wait(struct ntm_rig *r, int side, bool (*done)(const struct ntm_rig_seen *s), int ms)
{
	struct ntm_dp *dp = r->dp[side];
	int64_t end = now_ms() + ms;
	ntm_rig_enter(r, side);
	for (;;) {
		int64_t left = end - now_ms();
		struct pollfd pfd = {.fd = dp->ops->fd(dp), .events = POLLIN};
		if (poll(&pfd, 1, left > 0 ? (int)left : 0) > 0)
			dp->ops->dispatch(dp);
		if (done(&r->seen[side]))
			return true;
		if (left <= 0)
			return false;
	}
}

static uint32_t sum16(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *p = data;
	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

size_t ntm_rig_inner(int from, bool ipv6, uint16_t port, const void *data, size_t len, uint8_t *out, size_t cap)
{
	struct ntm_dp_addresses a = ntm_rig_addresses(from), b = ntm_rig_addresses(!from);
	size_t ip_len = ipv6 ? sizeof(struct ip6_hdr) : sizeof(struct iphdr), n = sizeof(struct udphdr) + len;
	struct udphdr udp = {.source = htons(port), .dest = htons(port), .len = htons((uint16_t)n)};
	if (ip_len + n > cap)
		die("inner packet");
	uint32_t sum = (uint32_t)(IPPROTO_UDP + n);
	if (ipv6) {
		struct ip6_hdr h = {.ip6_flow = htonl(6u << 28),
				    .ip6_plen = htons((uint16_t)n),
				    .ip6_nxt = IPPROTO_UDP,
				    .ip6_hlim = 64};
		memcpy(&h.ip6_src, a.vip6, 16);
		memcpy(&h.ip6_dst, b.vip6, 16);
		memcpy(out, &h, sizeof(h));
		sum = sum16(&h.ip6_src, 32, sum);
	} else {
		struct iphdr h = {.version = 4,
				  .ihl = 5,
				  .tot_len = htons((uint16_t)(ip_len + n)),
				  .ttl = 64,
				  .protocol = IPPROTO_UDP};
		memcpy(&h.saddr, a.vip4, 4);
		memcpy(&h.daddr, b.vip4, 4);
		h.check = fold(sum16(&h, sizeof(h), 0));
		memcpy(out, &h, sizeof(h));
		sum = sum16(&h.saddr, 8, sum);
	}
	udp.check = fold(sum16(data, len, sum16(&udp, sizeof(udp), sum)));
	memcpy(out + ip_len, &udp, sizeof(udp));
	memcpy(out + ip_len + sizeof(udp), data, len);
	return ip_len + n;
}

static socklen_t vip_sockaddr(int side, bool ipv6, uint16_t port, struct sockaddr_storage *ss)
{
	struct ntm_dp_addresses a = ntm_rig_addresses(side);
	memset(ss, 0, sizeof(*ss));
	if (ipv6) {
		struct sockaddr_in6 *s = (struct sockaddr_in6 *)ss;
		*s = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
		memcpy(&s->sin6_addr, a.vip6, 16);
		return sizeof(*s);
	}
	struct sockaddr_in *s = (struct sockaddr_in *)ss;
	*s = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
	memcpy(&s->sin_addr, a.vip4, 4);
	return sizeof(*s);
}

int ntm_rig_socket(struct ntm_rig *r, int side, bool ipv6, uint16_t port)
{
	struct sockaddr_storage ss;
	socklen_t len = vip_sockaddr(side, ipv6, port, &ss);
	ntm_rig_enter(r, side);
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len))
		die("socket on a virtual address");
	if (ipv6)
		ntm_rig_await_local6(ntm_rig_addresses(side).vip6);
	return fd;
}

int ntm_rig_recv(int fd, void *buf, size_t cap, int ms)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	return poll(&pfd, 1, ms) > 0 ? (int)recv(fd, buf, cap, MSG_DONTWAIT) : -1;
}

int ntm_rig_send(int fd, int to_side, bool ipv6, uint16_t port, const void *data, size_t len)
{
	struct sockaddr_storage ss;
	socklen_t sl = vip_sockaddr(to_side, ipv6, port, &ss);
	return sendto(fd, data, len, 0, (struct sockaddr *)&ss, sl) < 0 ? -errno : 0;
}

void ntm_rig_wire(struct ntm_rig *r, int from, uint16_t sport, const void *datagram, size_t len)
{
	struct ntm_addr src = ntm_rig_endpoint(from, false), dst = ntm_rig_endpoint(!from, false);
	struct sockaddr_storage ss;
	int one = 1;
	src.port = htons(sport);
	ntm_rig_enter(r, from);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t sl = ntm_addr_to_sockaddr(&src, AF_INET, &ss);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&ss, sl))
		die("wire socket");
	sl = ntm_addr_to_sockaddr(&dst, AF_INET, &ss);
	if (sendto(fd, datagram, len, 0, (struct sockaddr *)&ss, sl) < 0)
		die("wire send");
	close(fd);
}

uint64_t ntm_rig_count(struct ntm_rig *r, int side, enum ntm_reason reason)
{
	struct ntm_counter c[NTM_R_COUNT];
	if (r->dp[side]->ops->counters(r->dp[side], c))
		die("counters");
	return c[reason].packets;
}
