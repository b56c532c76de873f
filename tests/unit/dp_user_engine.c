/* SPDX-License-Identifier: BSD-2-Clause */
/* Two data planes in user space with worker threads, on the loopback interface, a socket pair in place of each TUN. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ntm/wire.h>

#include "../../user/engine/gso.h"
#include "../harness/dp_user_rig.h"
#include "../harness/inner.h"

enum { WAIT_MS = 10000 };

static struct side {
	struct ntm_dp *dp;
	int owner, tun; /* tun: the test's end */
	uint16_t port;
	int queues_error;
	unsigned lane_up, lane_down, no_path, tun_gone, own, delivered;
	uint8_t packet[NTM_INNER_MAX], to[16];
	size_t len;
} s[2];

static int queues(void *arg, struct ntm_tun *tuns, unsigned n)
{
	struct side *me = arg;
	int fds[2], size = 8 << 20;
	if (me->queues_error)
		return me->queues_error;
	cr_assert(eq(int, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0));
	for (int i = 0; i < 2; i++)
		(void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	me->tun = fds[0];
	/* Any worker may have something for the device; the first one reads it, as with one that was handed over. */
	tuns[0] = (struct ntm_tun){.fd = fds[1], .vnet = true, .uso = true};
	for (unsigned i = 1; i < n; i++)
		cr_assert(eq(int, ntm_tun_dup(&tuns[0], true, &tuns[i]), 0));
	return 0;
}

static void keep(struct side *me, const uint8_t *packet, size_t len)
{
	cr_assert(le(sz, len, sizeof(me->packet)));
	memcpy(me->packet, packet, len);
	me->len = len;
}

static int deliver(void *arg, const uint8_t *packet, size_t len)
{
	struct side *me = arg;
	me->delivered++;
	keep(me, packet, len);
	return 0;
}

static int send_out(void *arg, const struct ntm_addr *to, const void *datagram, size_t len, uint8_t tos)
{
	(void)arg;
	(void)to;
	(void)datagram;
	(void)len;
	(void)tos;
	return 0;
}

static void tun_gone(void *arg)
{
	((struct side *)arg)->tun_gone++;
}

/* 100.96.0.200 is a service of the host. */
static bool is_own(void *arg, const uint8_t ip[16])
{
	(void)arg;
	return !memcmp(ip + 12, (uint8_t[]){100, 96, 0, 200}, 4);
}

static bool own(void *arg, const uint8_t *packet, size_t len)
{
	struct side *me = arg;
	if (packet[19] != 200)
		return false;
	me->own++;
	keep(me, packet, len);
	return true;
}

static void on_lane(void *arg, uint64_t path_id, bool up)
{
	struct side *me = arg;
	cr_assert(eq(u64, path_id, NTM_RIG_PATH));
	me->lane_up += up;
	me->lane_down += !up;
}

static void on_no_path(void *arg, const uint8_t dst[16], const uint8_t *packet, size_t len)
{
	struct side *me = arg;
	me->no_path++;
	memcpy(me->to, dst, 16);
	keep(me, packet, len);
}

static const struct ntm_dp_events events = {.lane = on_lane, .no_path = on_no_path};

static struct ntm_dp_user_config config(struct side *me)
{
	return (struct ntm_dp_user_config){.deliver = deliver,
					   .send = send_out,
					   .engine = true,
					   .queues = queues,
					   .tun_gone = tun_gone,
					   .is_own = is_own,
					   .own = own,
					   .arg = me};
}

static void open_owner(struct side *me)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
	socklen_t len = sizeof(in);
	int one = 1;
	me->owner = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	cr_assert(eq(int, setsockopt(me->owner, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0));
	cr_assert(eq(int, bind(me->owner, (struct sockaddr *)&in, sizeof(in)), 0));
	cr_assert(eq(int, getsockname(me->owner, (struct sockaddr *)&in, &len), 0));
	me->port = ntohs(in.sin_port);
}

static int open_side(int i, char *why, size_t cap)
{
	struct side *me = &s[i];
	struct ntm_dp_user_config c = config(me);
	struct ntm_dp_addresses a = ntm_rig_addresses(i);
	struct ntm_dp_uplink u = {.name = "lo", .ifindex = if_nametoindex("lo"), .mtu = 1500, .addr4 = {127, 0, 0, 1}};
	open_owner(me);
	struct ntm_dp_start st = {.port = me->port, .fds = {me->owner, -1}};
	cr_assert(eq(int, ntm_dp_user_open(&me->dp, &c, &events, me, why, cap), 0), "%s", why);
	cr_assert(eq(int, me->dp->ops->set_addresses(me->dp, &a), 0));
	cr_assert(eq(int, me->dp->ops->set_uplinks(me->dp, &u, 1, why, cap), 0), "%s", why);
	return me->dp->ops->start(me->dp, &st, why, cap);
}

static void add_path(int i)
{
	struct ntm_dp *dp = s[i].dp;
	struct ntm_dp_path p = ntm_rig_path(i, false);
	struct ntm_dp_keys k = ntm_rig_keys(i, 0);
	p.endpoint.port = htons(s[!i].port);
	cr_assert(eq(int, ntm_ip_parse("127.0.0.1", p.endpoint.ip), 0));
	k.bulk_suite = NTM_SUITE_BULK_CHACHA;
	memset(k.bulk_tx, 0x40 + i, sizeof(k.bulk_tx));
	memset(k.bulk_rx, 0x40 + !i, sizeof(k.bulk_rx));
	cr_assert(eq(int, dp->ops->add_path(dp, &p), 0));
	cr_assert(eq(int, dp->ops->set_keys(dp, p.path_id, &k, true), 0));
	cr_assert(eq(int, dp->ops->activate(dp, p.path_id), 0));
}

static bool is_bulk(int i)
{
	struct ntm_dp_stats st;
	cr_assert(eq(int, s[i].dp->ops->stats(s[i].dp, NTM_RIG_PATH, &st), 0));
	return st.bulk;
}

/* Runs the owners until it holds. */
#define UNTIL(condition)                                                                             \
	do {                                                                                         \
		for (int waited_ = 0; !(condition) && waited_ < WAIT_MS; waited_ += 5) {             \
			struct pollfd p_[2] = {{.fd = s[0].dp->ops->fd(s[0].dp), .events = POLLIN},  \
					       {.fd = s[1].dp->ops->fd(s[1].dp), .events = POLLIN}}; \
			(void)poll(p_, 2, 5);                                                        \
			for (int i_ = 0; i_ < 2; i_++)                                               \
				s[i_].dp->ops->dispatch(s[i_].dp);                                   \
		}                                                                                    \
		cr_assert(condition, "not in time: " #condition);                                    \
	} while (0)

static void up(void)
{
	char why[256] = "";
	ntm_user_rig_up();
	memset(s, 0, sizeof(s));
	for (int i = 0; i < 2; i++)
		cr_assert(eq(int, open_side(i, why, sizeof(why)), 0), "%s", why);
	for (int i = 0; i < 2; i++)
		add_path(i);
	UNTIL(is_bulk(0) && is_bulk(1) && s[0].lane_up && s[1].lane_up);
}

static void down(void)
{
	for (int i = 0; i < 2; i++) {
		s[i].dp->ops->close(s[i].dp, false);
		close(s[i].tun);
		close(s[i].owner);
	}
}

TestSuite(dp_user_engine, .timeout = 60);

static void to_tun(int i, const struct virtio_net_hdr *vh, void *p, size_t len)
{
	struct iovec iov[2] = {{(void *)vh, sizeof(*vh)}, {p, len}};
	cr_assert(eq(int, (int)writev(s[i].tun, iov, 2), (int)(sizeof(*vh) + len)), "%s", strerror(errno));
}

static uint8_t packet[NTM_SUPER_MAX], got[NTM_SUPER_MAX];

/* One of inner_make()'s is .1's to .2; the other way its addresses change places, which no sum notices. */
static size_t make(int from, const struct inner_spec *spec, size_t *l4)
{
	size_t len = inner_make(spec, packet, l4);
	if (from) {
		uint8_t a[4];
		memcpy(a, packet + 12, 4);
		memcpy(packet + 12, packet + 16, 4);
		memcpy(packet + 16, a, 4);
	}
	return len;
}

static void send_super(int from, size_t payload)
{
	struct inner_spec spec = {.payload = payload, .seq = 7};
	size_t l4, len = make(from, &spec, &l4);
	struct virtio_net_hdr vh = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				    .gso_size = 1400,
				    .csum_start = (uint16_t)l4,
				    .csum_offset = 16};
	to_tun(from, &vh, packet, len);
}

static void receive(int at, size_t payload)
{
	for (size_t off = 0; off < payload;) {
		struct virtio_net_hdr vh;
		struct iovec iov[2] = {{&vh, sizeof(vh)}, {got, sizeof(got)}};
		struct pollfd p = {.fd = s[at].tun, .events = POLLIN};
		cr_assert(eq(int, poll(&p, 1, WAIT_MS), 1), "%zu of %zu bytes", off, payload);
		ssize_t n = readv(s[at].tun, iov, 2);
		cr_assert(n > (ssize_t)sizeof(vh) + 40);
		size_t len = (size_t)n - sizeof(vh) - 40;
		cr_assert(eq(u32, ntm_get32(got + 24), (uint32_t)(7 + off)));
		for (size_t i = 0; i < len; i++)
			cr_assert(got[40 + i] == (uint8_t)(off + i));
		off += len;
	}
}

Test(dp_user_engine, carries_super_packets_both_ways)
{
	struct ntm_dp_stats st;
	up();
	for (int from = 0; from < 2; from++) {
		send_super(from, 61000);
		receive(!from, 61000);
		cr_assert(eq(int, s[from].dp->ops->stats(s[from].dp, NTM_RIG_PATH, &st), 0));
		cr_expect(eq(u64, st.bulk_tx_packets, 44));
		cr_expect(eq(u64, st.tx_packets, 44));
		cr_expect(eq(int, st.bulk_suite, NTM_SUITE_BULK_CHACHA));
	}
	cr_expect(ntm_dp_user_engine_runs(s[0].dp));
	down();
}

Test(dp_user_engine, what_workers_dont_decide_comes_to_the_owner)
{
	struct virtio_net_hdr vh = {0};
	struct inner_spec spec = {.udp = true, .payload = 100};
	up();
	size_t len = make(0, &spec, NULL);
	packet[19] = 77; /* nobody; its checksums are wrong now, which is not the owner's business */
	to_tun(0, &vh, packet, len);
	UNTIL(s[0].no_path == 1);
	cr_expect(eq(int, s[0].to[15], 77));
	cr_assert(eq(sz, s[0].len, len));
	cr_expect(eq(int, memcmp(s[0].packet, packet, len), 0));
	packet[19] = 200;
	to_tun(0, &vh, packet, len);
	UNTIL(s[0].own == 1);
	cr_expect(eq(int, memcmp(s[0].packet, packet, len), 0));
	cr_expect(eq(u32, s[0].no_path, 1));
	spec.payload = 1440; /* 28 bytes too many, and DF is set: answered as a router would */
	len = make(0, &spec, NULL);
	to_tun(0, &vh, packet, len);
	UNTIL(s[0].delivered == 1);
	cr_expect(eq(int, s[0].packet[9], IPPROTO_ICMP));
	cr_expect(eq(int, s[0].packet[20], 3));
	cr_expect(eq(int, s[0].packet[21], 4));
	cr_expect(eq(u32, (uint32_t)(s[0].packet[26] << 8 | s[0].packet[27]), 1440));
	down();
}

Test(dp_user_engine, another_device_in_place_of_one_that_is_gone)
{
	up();
	close(s[0].tun);
	UNTIL(s[0].tun_gone == 1);
	cr_assert(eq(int, ntm_dp_user_new_tun(s[0].dp), 0));
	send_super(0, 30000);
	receive(1, 30000);
	s[0].queues_error = -ENODEV;
	cr_expect(eq(int, ntm_dp_user_new_tun(s[0].dp), -ENODEV), "and the one that is there stays");
	send_super(0, 30000);
	receive(1, 30000);
	down();
}

/* Keys of the next epoch while packets of the last one are on their way; then the path goes, and its keys with it. */
Test(dp_user_engine, epochs_follow_each_other_and_end_with_the_path)
{
	up();
	for (uint8_t epoch = 1; epoch < 4; epoch++) {
		send_super(0, 61000);
		for (int i = 1; i >= 0; i--) {
			struct ntm_dp_keys k = ntm_rig_keys(i, epoch);
			k.bulk_suite = NTM_SUITE_BULK_CHACHA;
			memset(k.bulk_tx, 0x40 + 2 * epoch + i, sizeof(k.bulk_tx));
			memset(k.bulk_rx, 0x40 + 2 * epoch + !i, sizeof(k.bulk_rx));
			cr_assert(eq(int, s[i].dp->ops->set_keys(s[i].dp, NTM_RIG_PATH, &k, i == 0), 0));
		}
		receive(1, 61000);
		send_super(0, 61000);
		receive(1, 61000);
		send_super(1, 61000);
		receive(0, 61000);
	}
	cr_assert(eq(int, s[0].dp->ops->del_path(s[0].dp, NTM_RIG_PATH), 0));
	send_super(0, 2800);
	UNTIL(s[0].no_path == 2);
	down();
}

Test(dp_user_engine, says_why_it_does_not_run)
{
	char why[256] = "";
	ntm_user_rig_up();
	s[0].queues_error = -ENODEV;
	cr_assert(eq(int, open_side(0, why, sizeof(why)), -ENODEV));
	cr_expect(ne(int, why[0], 0));
	cr_expect(not(ntm_dp_user_engine_runs(s[0].dp)));
	cr_expect(eq(int, s[0].dp->suites, 0), "no bulk suite is agreed on");
	cr_expect(eq(int, ntm_dp_user_new_tun(s[0].dp), 0));
	add_path(0);
	cr_expect(eq(int, is_bulk(0), false), "paths are there all the same");
	s[0].dp->ops->close(s[0].dp, false);
	struct ntm_dp_user_config c = config(&s[1]);
	c.queues = NULL;
	s[1].dp = NULL;
	cr_expect(eq(int, ntm_dp_user_open(&s[1].dp, &c, &events, &s[1], why, sizeof(why)), -EINVAL));
	close(s[0].owner);
}
