/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two engines on the loopback interface, paths in plain memory, a socket pair in place of each TUN: the lane comes up,
 * carries, refuses what is wrong, and goes down when the other one is gone.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ntm/wire.h>

#include "../../user/common/crypto.h"
#include "../../user/engine/aead.h"
#include "../../user/engine/engine.h"
#include "../../user/engine/gso.h"
#include "../../user/engine/path_mem.h"
#include "../harness/inner.h"

enum { SLOT = 1, SLOTS = 4, WAIT_MS = 10000 };
#define PATH_ID htobe64(0x1122334455667788)

static const uint8_t key[2][NTM_KEY_LEN] = {{1}, {2}};
static uint8_t bulk[2][NTM_KEY_LEN] = {{3}, {4}};

static struct side {
	struct ntm_engine *e;
	struct ntm_path paths[SLOTS];
	struct ntm_settings settings;
	_Alignas(8) struct ntm_uplink uplinks[16];
	struct ntm_lanes lanes;
	int owner, tun; /* the test's end of the TUN */
	uint16_t port;
	unsigned datagrams, lane_up, lane_down, no_path, too_big, tun_gone;
} s[2];

static uint32_t by_id(void *arg, uint64_t id)
{
	struct side *me = arg;
	return me->paths[SLOT].path_id == id ? SLOT : 0;
}

static uint32_t by_dst(void *arg, const uint8_t ip[16])
{
	struct side *me = arg;
	uint8_t peer[16];
	ntm_ip_from_v4(peer, &me->paths[SLOT].peer_vip4);
	return !memcmp(ip, peer, 16) ? SLOT : 0;
}

static bool is_local(void *arg, const uint8_t ip[16])
{
	(void)arg;
	(void)ip;
	return false;
}

static void on_event(void *arg, const struct ntm_engine_event *ev)
{
	struct side *me = arg;
	me->datagrams += ev->type == NTM_ENGINE_DATAGRAM;
	me->lane_up += ev->type == NTM_ENGINE_LANE && ev->up;
	me->lane_down += ev->type == NTM_ENGINE_LANE && !ev->up;
	me->no_path += ev->type == NTM_ENGINE_NO_PATH;
	me->too_big += ev->type == NTM_ENGINE_TOO_BIG;
	me->tun_gone += ev->type == NTM_ENGINE_TUN_GONE;
}

static const struct ntm_engine_ops ops = {.by_id = by_id, .by_dst = by_dst, .is_local = is_local, .event = on_event};

/* The addresses of tests/harness/inner.c: .1 sends to .2. */
static void addresses(struct side *me, int i)
{
	static const uint8_t pool[4] = {100, 96, 0, 0};
	struct ntm_path *p = &me->paths[SLOT];
	me->settings.pool4_len = 12;
	memcpy(&me->settings.pool4, pool, 4);
	memcpy(&me->settings.vip4, (uint8_t[]){100, 96, 0, (uint8_t)(1 + i)}, 4);
	memcpy(&p->peer_vip4, (uint8_t[]){100, 96, 0, (uint8_t)(2 - i)}, 4);
	me->uplinks[0].way[0].ifindex = 1;
	ntm_ip_from_v4(me->uplinks[0].way[0].addr, (uint8_t[]){127, 0, 0, 1});
	p->inner_mtu = 1440;
	p->next_epoch = NTM_NO_EPOCH;
	p->path_id = PATH_ID;
}

static void open_owner(struct side *me)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
	socklen_t len = sizeof(in);
	int one = 1;
	me->owner = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	cr_assert_eq(setsockopt(me->owner, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
	cr_assert_eq(bind(me->owner, (struct sockaddr *)&in, sizeof(in)), 0);
	cr_assert_eq(getsockname(me->owner, (struct sockaddr *)&in, &len), 0);
	me->port = ntohs(in.sin_port);
}

static void start(int i)
{
	struct side *me = &s[i];
	int fds[2], first[2] = {me->owner, -1};
	struct ntm_engine_config c = {.paths = me->paths,
				      .n_slots = SLOTS,
				      .settings = &me->settings,
				      .uplinks = me->uplinks,
				      .lanes = &me->lanes,
				      .ops = &ops,
				      .arg = me,
				      .workers = 2};
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
	me->tun = fds[0];
	int size = 8 << 20;
	(void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	(void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	struct ntm_tun tun = {.fd = fds[1], .vnet = true, .uso = true};
	cr_assert_eq(ntm_engine_new(&me->e, &c), 0);
	cr_assert_eq(ntm_engine_start(me->e, &tun, 1, me->port, 0, first), 0);
}

static void set_keys(int i, uint8_t suite)
{
	struct ntm_path *p = &s[i].paths[SLOT];
	struct ntm_engine_keys k = {
	    .tx = key[i], .rx = key[!i], .bulk_suite = suite, .bulk_tx = bulk[i], .bulk_rx = bulk[!i]};
	struct ntm_addr peer = {.port = htons(s[!i].port)};
	ntm_ip_from_v4(peer.ip, (uint8_t[]){127, 0, 0, 1});
	ntm_path_move(p, &peer);
	__atomic_store_n(&p->tx[0].expires_ns, UINT64_MAX, __ATOMIC_RELEASE);
	__atomic_store_n(&p->rx[0].expires_ns, UINT64_MAX, __ATOMIC_RELEASE);
	cr_assert_eq(ntm_engine_set_keys(s[i].e, SLOT, &k), 0);
}

static void begin(uint8_t suite)
{
	cr_assert_eq(ntm_crypto_init(), 0);
	memset(s, 0, sizeof(s));
	for (int i = 0; i < 2; i++) {
		addresses(&s[i], i);
		open_owner(&s[i]);
		start(i);
	}
	for (int i = 0; i < 2; i++)
		set_keys(i, suite);
}

static void end(void)
{
	for (int i = 0; i < 2; i++) {
		ntm_engine_free(s[i].e);
		close(s[i].tun);
		close(s[i].owner);
	}
}

static uint64_t count(int i, enum ntm_reason r)
{
	struct ntm_counter c[NTM_R_COUNT] = {{0}};
	ntm_engine_counters(s[i].e, c);
	return c[r].packets;
}

/* Runs the owners until it holds. */
#define UNTIL(condition)                                                                                      \
	do {                                                                                                  \
		int waited = 0;                                                                               \
		for (; !(condition) && waited < WAIT_MS; waited += 5) {                                       \
			struct pollfd p[2] = {{.fd = s[0].e ? ntm_engine_fd(s[0].e) : -1, .events = POLLIN},  \
					      {.fd = s[1].e ? ntm_engine_fd(s[1].e) : -1, .events = POLLIN}}; \
			(void)poll(p, 2, 5);                                                                  \
			for (int i_ = 0; i_ < 2; i_++)                                                        \
				if (s[i_].e)                                                                  \
					ntm_engine_dispatch(s[i_].e);                                         \
		}                                                                                             \
		cr_assert(condition, "not in time: " #condition);                                             \
	} while (0)

static bool is_bulk(int i)
{
	struct ntm_engine_stats st;
	ntm_engine_stats(s[i].e, SLOT, &st);
	return st.bulk;
}

static void to_tun(const struct virtio_net_hdr *vh, const void *p, size_t len)
{
	struct iovec iov[2] = {{(void *)vh, sizeof(*vh)}, {(void *)p, len}};
	cr_assert_eq(writev(s[0].tun, iov, 2), (ssize_t)(sizeof(*vh) + len), "%s", strerror(errno));
}

static uint8_t packet[NTM_SUPER_MAX], got[NTM_SUPER_MAX];

static void send_super(size_t payload)
{
	struct inner_spec spec = {.payload = payload, .seq = 7};
	size_t l4, len = inner_make(&spec, packet, &l4);
	struct virtio_net_hdr vh = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				    .gso_size = 1400,
				    .csum_start = (uint16_t)l4,
				    .csum_offset = 16};
	to_tun(&vh, packet, len);
}

/* All of send_super()'s payload, in order, in whatever pieces. */
static void receive(size_t payload)
{
	for (size_t off = 0; off < payload;) {
		struct virtio_net_hdr vh;
		struct iovec iov[2] = {{&vh, sizeof(vh)}, {got, sizeof(got)}};
		struct pollfd p = {.fd = s[1].tun, .events = POLLIN};
		cr_assert_eq(poll(&p, 1, WAIT_MS), 1, "%zu of %zu bytes", off, payload);
		ssize_t n = readv(s[1].tun, iov, 2);
		cr_assert_gt(n, (ssize_t)sizeof(vh) + 40);
		size_t len = (size_t)n - sizeof(vh) - 40;
		cr_assert_eq(ntm_get32(got + 24), 7 + off);
		for (size_t i = 0; i < len; i++)
			cr_assert_eq(got[40 + i], (uint8_t)(off + i));
		off += len;
	}
}

Test(engine, carries_on_both_ciphers)
{
	for (uint8_t suite = 1; suite <= 2; suite++) {
		begin(suite);
		UNTIL(is_bulk(0) && is_bulk(1));
		cr_assert(__atomic_load_n(&s[0].paths[SLOT].flags, __ATOMIC_RELAXED) & NTM_PATH_BULK);
		for (int i = 0; i < 20; i++) {
			send_super(61000);
			receive(61000);
		}
		cr_assert_eq(count(0, NTM_R_TX_BULK), 20 * 44);
		cr_assert_eq(count(1, NTM_R_RX_BULK), 20 * 44);
		cr_assert_eq(s[1].paths[SLOT].rx_packets, 20 * 44);
		cr_assert_eq(s[0].lane_down, 0);
		end();
	}
}

Test(engine, without_a_bulk_lane_the_same_packets_go_by_suite_0)
{
	begin(0);
	send_super(61000);
	receive(61000);
	cr_assert_eq(count(0, NTM_R_TX_OK), 44);
	cr_assert_eq(count(1, NTM_R_RX_OK), 44);
	cr_assert_eq(s[0].paths[SLOT].tx[0].counter, 44, "the counter is the path's");
	cr_assert_eq(s[1].paths[SLOT].rx[0].head, 44, "the window is the path's");
	end();
}

/* While an uplink is new: each packet a second time, from the address of the one before, and taken once. */
Test(engine, copies_are_sent_and_taken_once)
{
	for (uint8_t suite = 0; suite <= 2; suite++) {
		begin(suite);
		UNTIL(!suite || (is_bulk(0) && is_bulk(1)));
		enum ntm_reason tx = suite ? NTM_R_TX_BULK : NTM_R_TX_OK, rx = suite ? NTM_R_RX_BULK : NTM_R_RX_OK;
		enum ntm_reason copy = suite ? NTM_R_TX_COPY_BULK : NTM_R_TX_COPY;
		enum ntm_reason other = suite ? NTM_R_TX_COPY : NTM_R_TX_COPY_BULK;
		struct ntm_way now = s[0].uplinks[0].way[0], before = {.ifindex = 1, .mtu = 1500};
		ntm_ip_from_v4(before.addr, (uint8_t[]){127, 0, 0, 2});
		now.copy_until_ns = UINT64_MAX;
		ntm_way_set(&s[0].uplinks[2 * NTM_COPY_PAIR], &before);
		ntm_way_set(&s[0].uplinks[0], &now);
		uint64_t replays = count(1, NTM_R_RX_REPLAY);
		for (int i = 0; i < 5; i++) {
			send_super(61000);
			receive(61000);
		}
		UNTIL(count(1, NTM_R_RX_REPLAY) - replays == 5 * 44);
		cr_assert_eq(count(0, tx), 5 * 44);
		cr_assert_eq(count(0, copy), 5 * 44);
		cr_assert_eq(count(0, other), 0);
		cr_assert_eq(count(1, rx), 5 * 44);
		cr_assert_eq(s[1].paths[SLOT].rx_packets, 5 * 44);

		/* Not what the other uplink can't carry, and none when its time is over. */
		before.mtu = 1400;
		ntm_way_set(&s[0].uplinks[2 * NTM_COPY_PAIR], &before);
		send_super(61000);
		receive(61000);
		before.mtu = 1500;
		now.copy_until_ns = 1;
		ntm_way_set(&s[0].uplinks[2 * NTM_COPY_PAIR], &before);
		ntm_way_set(&s[0].uplinks[0], &now);
		send_super(61000);
		receive(61000);
		cr_assert_eq(count(0, tx), 7 * 44);
		cr_assert_eq(count(0, copy), 5 * 44);
		end();
	}
}

Test(engine, malformed_headers_cost_a_counter)
{
	begin(1);
	UNTIL(is_bulk(0));
	struct virtio_net_hdr bad[] = {{.gso_type = VIRTIO_NET_HDR_GSO_TCPV4},
				       {.gso_type = VIRTIO_NET_HDR_GSO_TCPV6, .gso_size = 1000},
				       {.gso_type = 99, .gso_size = 1000},
				       {.flags = 1, .csum_start = 60000}};
	size_t len = inner_make(&(struct inner_spec){.payload = 1000}, packet, NULL);
	for (size_t i = 0; i < 4; i++)
		to_tun(&bad[i], packet, len);
	to_tun(&bad[0], packet, 0);
	cr_assert_eq(write(s[0].tun, "short", 5), 5);
	UNTIL(count(0, NTM_R_TX_BAD_INNER) == 6);
	/* segments above the MTU */
	struct virtio_net_hdr big = {.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1401};
	len = inner_make(&(struct inner_spec){.payload = 5000}, packet, NULL);
	to_tun(&big, packet, len);
	UNTIL(count(0, NTM_R_TX_TOO_BIG) == 1);
	/* another sender, another destination */
	struct virtio_net_hdr none = {0};
	len = inner_make(&(struct inner_spec){.payload = 100}, packet, NULL);
	packet[15] = 77;
	to_tun(&none, packet, len);
	UNTIL(count(0, NTM_R_TX_BAD_SOURCE) == 1);
	packet[15] = 1;
	packet[19] = 9;
	to_tun(&none, packet, len);
	UNTIL(s[0].no_path == 1);
	packet[16] = 8;
	to_tun(&none, packet, len);
	UNTIL(count(0, NTM_R_TX_NOT_VIRTUAL) == 1);
	send_super(20000);
	receive(20000);
	end();
}

/* A path that takes less than IPv6's 1,280 bytes: its owner gets all that is to go in fragments. */
Test(engine, what_the_owner_carries_is_traffic)
{
	enum { BATCH = 60, BATCHES = 10, MORE = 200, PLACES = 64 };
	struct virtio_net_hdr none = {0};
	begin(0);
	s[0].paths[SLOT].inner_mtu = 1000;
	s[0].paths[SLOT].flags |= NTM_PATH_SMALL_OUTER;
	size_t len = inner_make(&(struct inner_spec){.payload = 1100}, packet, NULL);
	for (unsigned n = 1; n <= BATCHES; n++) {
		for (int i = 0; i < BATCH; i++)
			to_tun(&none, packet, len);
		UNTIL(s[0].too_big == n * BATCH);
	}
	/* The owner is busy: what has no place is gone, and there is place for the rest that it has to know. */
	for (int i = 0; i < MORE; i++)
		to_tun(&none, packet, len);
	for (int waited = 0; count(0, NTM_R_TX_AGENT_BUSY) < MORE - PLACES && waited < WAIT_MS; waited += 5)
		(void)poll(NULL, 0, 5);
	len = inner_make(&(struct inner_spec){.payload = 100}, packet, NULL);
	packet[19] = 9;
	to_tun(&none, packet, len);
	UNTIL(s[0].no_path == 1);
	cr_assert_eq(s[0].too_big, BATCH * BATCHES + PLACES);
	cr_assert_eq(count(0, NTM_R_TX_AGENT_BUSY), MORE - PLACES);
	end();
}

static void datagram(const void *p, size_t len)
{
	struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons(s[1].port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	cr_assert_eq(sendto(s[0].owner, p, len, 0, (struct sockaddr *)&to, sizeof(to)), (ssize_t)len);
}

static size_t seal(uint8_t *out, uint64_t ctr, const uint8_t *inner, size_t len)
{
	struct ntm_aead *a = ntm_aead_new(1, bulk[0], true);
	struct ntm_hdr h = {.ver_type = 0x1b, .suite_epoch = 0x10, .ctr_lo = htobe32((uint32_t)ctr), .id = PATH_ID};
	memcpy(out, &h, sizeof(h));
	memcpy(out + sizeof(h), inner, len);
	cr_assert_eq(ntm_aead_seal(a, &h, out + sizeof(h), len), 0);
	ntm_aead_free(a);
	return sizeof(h) + len + NTM_TAG_LEN;
}

Test(engine, what_is_forged_replayed_or_not_the_peers_is_dropped)
{
	static uint8_t d[2048];
	begin(1);
	UNTIL(is_bulk(0) && is_bulk(1));
	size_t len = inner_make(&(struct inner_spec){.payload = 100}, packet, NULL), n = seal(d, 1000, packet, len);
	d[100] ^= 1;
	datagram(d, n);
	UNTIL(count(1, NTM_R_RX_BAD_TAG) == 1);
	d[100] ^= 1;
	datagram(d, n);
	UNTIL(count(1, NTM_R_RX_BULK) == 1);
	datagram(d, n);
	UNTIL(count(1, NTM_R_RX_REPLAY) == 1);
	packet[15] = 77;
	datagram(d, seal(d, 1001, packet, len));
	UNTIL(count(1, NTM_R_RX_BAD_SOURCE) == 1);
	packet[15] = 1;
	packet[19] = 77;
	datagram(d, seal(d, 1002, packet, len));
	UNTIL(count(1, NTM_R_RX_BAD_DEST) == 1);
	packet[19] = 2;
	packet[0] = 0x75;
	datagram(d, seal(d, 1003, packet, len));
	UNTIL(count(1, NTM_R_RX_BAD_INNER) == 1);
	n = seal(d, 1004, packet, len);
	d[15] ^= 1; /* of the Path ID */
	datagram(d, n);
	UNTIL(count(1, NTM_R_RX_UNKNOWN_PATH) == 1);
	d[15] ^= 1;
	d[1] = 0x15; /* an epoch that nobody has */
	datagram(d, n);
	UNTIL(count(1, NTM_R_RX_NO_KEY) == 1);
	datagram(d, 20);
	UNTIL(count(1, NTM_R_RX_SHORT) == 1);
	/* Signalling goes to the owner's socket, not to a worker. */
	d[0] = 0x14;
	datagram(d, 100);
	struct pollfd p = {.fd = s[1].owner, .events = POLLIN};
	cr_assert_eq(poll(&p, 1, WAIT_MS), 1);
	cr_assert_eq(recv(s[1].owner, got, sizeof(got), 0), 100);
	end();
}

Test(engine, the_lane_goes_with_the_peers_engine_and_comes_back)
{
	begin(1);
	UNTIL(is_bulk(0) && is_bulk(1));
	ntm_engine_free(s[1].e);
	s[1].e = NULL;
	close(s[1].tun);
	send_super(61000);
	UNTIL(s[0].lane_down == 1);
	cr_assert(!is_bulk(0));
	cr_assert(!(s[0].paths[SLOT].flags & NTM_PATH_BULK));
	/* It starts anew, and the handshake gives both new keys. */
	start(1);
	for (int i = 0; i < 2; i++) {
		ntm_engine_forget(s[i].e, SLOT, 0);
		memset(&s[i].paths[SLOT].rx[0], 0, sizeof(s[i].paths[SLOT].rx[0]));
		set_keys(i, 1);
	}
	UNTIL(is_bulk(0) && is_bulk(1));
	send_super(61000);
	receive(61000);
	end();
}

Test(engine, tun_closed_by_its_owner)
{
	begin(1);
	UNTIL(is_bulk(0) && is_bulk(1));
	close(s[0].tun);
	UNTIL(s[0].tun_gone == 1);
	int fds[2];
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
	struct ntm_tun tun = {.fd = fds[1], .vnet = true};
	s[0].tun = fds[0];
	cr_assert_eq(ntm_engine_set_tun(s[0].e, 0, &tun), 0);
	send_super(30000);
	receive(30000);
	cr_assert_eq(ntm_engine_set_tun(s[0].e, 99, &tun), -EINVAL);
	end();
}

static unsigned open_fds(void)
{
	unsigned n = 0;
	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Whichever descriptor of it is the one too many: it says so, and leaves none open. */
Test(engine, file_descriptors_exhausted)
{
	struct rlimit whole, few;
	struct side *me = &s[0];
	struct ntm_engine_config c = {.paths = me->paths,
				      .n_slots = SLOTS,
				      .settings = &me->settings,
				      .uplinks = me->uplinks,
				      .lanes = &me->lanes,
				      .ops = &ops,
				      .arg = me,
				      .workers = 2};
	int first[2] = {-1, -1}, err = -EMFILE;
	unsigned failed = 0;
	open_owner(me);
	first[0] = me->owner;
	unsigned before = open_fds();
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &whole), 0);
	for (few = whole, few.rlim_cur = (rlim_t)me->owner + 1; err; few.rlim_cur++) {
		cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
		me->e = NULL;
		err = ntm_engine_new(&me->e, &c);
		if (!err)
			err = ntm_engine_start(me->e, NULL, 0, me->port, 0, first);
		cr_assert(err == 0 || err == -EMFILE, "%s", strerror(-err));
		failed += err != 0;
		ntm_engine_free(me->e);
		cr_assert_eq(open_fds(), before);
	}
	cr_expect_geq(failed, 3u + 2 * 6 + 1); /* its own, each worker's, the heartbeat's */
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &whole), 0);
	close(me->owner);
}

Test(engine, keys_change_under_traffic)
{
	begin(1);
	UNTIL(is_bulk(0) && is_bulk(1));
	for (int i = 0; i < 50; i++) {
		send_super(30000);
		bulk[0][1]++;
		bulk[1][1]++;
		set_keys(0, 1);
		set_keys(1, 1);
		UNTIL(is_bulk(0) && is_bulk(1));
	}
	ntm_engine_del(s[0].e, SLOT);
	s[0].paths[SLOT].path_id = 0;
	send_super(30000);
	UNTIL(count(0, NTM_R_TX_NO_PATH) >= 1); /* what was waiting comes to the same end */
	end();
}
