/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>
#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <ntm/maps.h>
#include <ntm/relay.h>
#include <ntm/wire.h>

#include "../../user/engine/csum.h"
#include "../../user/engine/packet.h"
#include "scene.h"

#define HOUR_NS 3600000000000ull
#define MTU 1500

enum scene_node_options {
	O_EP_V6 = 1 << 0,
	O_EP_NONE = 1 << 1,
	O_SMALL = 1 << 2,
	O_CLIENT = 1 << 3,  /* this host is the peer's gateway */
	O_GATEWAY = 1 << 4, /* another path leads to this host's gateway */
	O_PEERS = 1 << 5,
	O_KNOWN = 1 << 6,
	O_DEFAULT = 1 << 7,
	O_EXPIRED = 1 << 8,
	O_NO_KEY = 1 << 9,
	O_NEXT_EPOCH = 1 << 10,
	O_GENERIC = 1 << 11,
	O_HOLD = 1 << 12,
	O_NO_UPLINK = 1 << 13,
	O_COPY = 1 << 14,
	O_LAST_COUNTER = 1 << 15,
};

enum scene_relay_options {
	O_END0_V6 = 1 << 0,
	O_END1_V6 = 1 << 1,
	O_OTHER_NIC = 1 << 2,
	O_LIMITED = 1 << 3,
	O_TAGGED = 1 << 4,
	O_UNBOUND = 1 << 5,
	O_RELAY_GATEWAY = 1 << 6,
	O_CHANGING = 1 << 7,
	O_PLACE = 3 << 8, /* of end 1: 0 a neighbour, 1 multicast, 2 without a route, 3 without a neighbour entry */
	O_RELAY_GENERIC = 1 << 10,
	O_FORMER = 1 << 11, /* end 0 has moved */
};

uint32_t scene_nics[2] = {2, 3};

static const uint8_t vip4[2][4] = {{100, 96, 0, 1}, {100, 111, 255, 2}};
static const char *const vip6[2] = {"fd4e:544d::1", "fd4e:544d:0:ff00::2"};
static const char *const own[2] = {"::ffff:192.0.2.1", "2001:db8::1"};
static const char *const peer[2] = {"::ffff:198.51.100.2", "2001:db8:2::2"};

static uint32_t options(const struct scene *s)
{
	return s->options[0] | (uint32_t)s->options[1] << 8 | (uint32_t)s->options[2] << 16;
}

static void ip(void *to, const char *text)
{
	inet_pton(AF_INET6, text, to);
}

static void key_of(unsigned epoch, bool from_peer, uint8_t key[NTM_KEY_LEN])
{
	for (unsigned i = 0; i < NTM_KEY_LEN; i++)
		key[i] = (uint8_t)(i * 7 + epoch * 29 + (from_peer ? 101 : 3));
}

static void build_settings(uint32_t o)
{
	struct ntm_settings *s = native_slot("ntm_settings", 0);

	s->layout = NTM_MAPS_LAYOUT;
	s->flags = o & O_CLIENT ? NTM_SETTINGS_GATEWAY : 0;
	s->port = htons(NTM_PORT);
	s->pool4_len = 12;
	s->pool6_len = 48;
	s->pool4 = inet_addr("100.96.0.0");
	ip(s->pool6, "fd4e:544d::");
	memcpy(&s->vip4, vip4[0], 4);
	ip(s->vip6, vip6[0]);
	s->if_ntm0 = s->if_ntm0p = 1;
	memcpy(s->mac_ntm0, "\x02\x00\x00\x00\x00\x10", 6);
	memcpy(s->mac_ntm0p, "\x02\x00\x00\x00\x00\x20", 6);
	s->max_paths = SCENE_PATHS;
	s->native = o & O_GENERIC ? 0 : 1u << 1;
	s->gateway = o & O_GATEWAY ? SCENE_SLOT + 1 : 0;
	if (o & O_PEERS) {
		s->n_peers = 2;
		s->peers[0] = (struct ntm_peer_pools){.pool4 = inet_addr("10.64.0.0"), .pool4_len = 10};
		s->peers[1] = (struct ntm_peer_pools){.pool6_len = 72};
		ip(s->peers[1].pool6, "fd00:1:2:3:4::");
	}
}

static void build_uplinks(uint32_t o)
{
	for (unsigned i = 0; i < 4 && !(o & O_NO_UPLINK); i++) {
		struct ntm_uplink *up = native_slot("ntm_uplinks", i);
		struct ntm_way *way = &up->way[i >> 1]; /* of either pair another one is in use */

		up->cur = i >> 1;
		way->ifindex = 1;
		way->mtu = MTU;
		ip(way->addr, own[i & 1]);
		way->addr[15] += (uint8_t)(i & 2);
		memset(way->mask, 0xff, i & 1 ? 8 : 15);
		way->flags = (o & O_KNOWN ? NTM_WAY_KNOWN : 0) | (o & O_DEFAULT ? NTM_WAY_DEFAULT : 0);
		if (i & 1)
			ip(way->gateway, o & O_SMALL ? "::" : "fe80::1");
		else
			ip(way->gateway, "::ffff:192.0.2.254");
		way->copy_until_ns = o & O_COPY ? native_boot_ns + HOUR_NS : 0;
	}
}

static void build_epoch(struct ntm_path *p, unsigned epoch, uint64_t tx_expires)
{
	struct ntm_tx_epoch *tx = &p->tx[epoch & 1];
	struct ntm_rx_epoch *rx = &p->rx[epoch & 1];

	key_of(epoch, false, tx->key);
	key_of(epoch, true, rx->key);
	rx->epoch = (uint8_t)epoch;
	tx->expires_ns = tx_expires;
	rx->expires_ns = native_boot_ns + HOUR_NS;
}

static void build_path(uint32_t slot, uint32_t o, unsigned flags)
{
	struct ntm_path *p = native_slot("ntm_paths", slot);
	struct ntm_vip v = {.ip = {[10] = 0xff, [11] = 0xff}};

	p->path_id = htobe64(SCENE_PATH + slot - SCENE_SLOT);
	p->next_epoch = o & O_NEXT_EPOCH ? 2 : 16;
	p->tx_epoch = 1;
	p->inner_mtu = o & O_SMALL ? 600 : 1400;
	p->flags = (uint16_t)flags | (o & O_SMALL ? NTM_PATH_SMALL_OUTER : 0);
	p->hold_until_ns = o & O_HOLD ? native_boot_ns + HOUR_NS : 0;
	memcpy(&p->peer_vip4, vip4[1], 4);
	ip(p->peer_vip6, vip6[1]);
	p->peer_vip6[15] += (uint8_t)(slot - SCENE_SLOT);
	*((uint8_t *)&p->peer_vip4 + 3) += (uint8_t)(slot - SCENE_SLOT);
	ip(p->ep[0].addr, peer[o & O_EP_V6 ? 1 : 0]);
	p->ep[0].is_ipv6 = !!(o & O_EP_V6);
	p->ep[0].port = o & O_EP_NONE ? 0 : htons(NTM_PORT);
	build_epoch(p, 1, o & O_NO_KEY ? 0 : o & O_EXPIRED ? 1 : native_boot_ns + HOUR_NS);
	if (o & O_NEXT_EPOCH)
		build_epoch(p, 2, native_boot_ns + HOUR_NS);
	if (o & O_LAST_COUNTER)
		p->tx[1].counter = NTM_COUNTER_LIMIT - 1;
	*(uint32_t *)native_value("ntm_path_ids", &p->path_id) = slot;
	memcpy(v.ip + 12, &p->peer_vip4, 4);
	*(uint32_t *)native_value("ntm_vips", &v) = slot;
	memcpy(v.ip, p->peer_vip6, 16);
	*(uint32_t *)native_value("ntm_vips", &v) = slot;
}

static void build_node(uint32_t o)
{
	struct ntm_vip v;

	build_settings(o);
	build_uplinks(o);
	build_path(SCENE_SLOT, o, o & O_CLIENT ? NTM_PATH_CLIENT : 0);
	build_path(SCENE_SLOT + 1, o, o & O_GATEWAY ? NTM_PATH_GATEWAY : 0);
	for (int v6 = 0; v6 < 2; v6++) {
		ip(&v, own[v6]);
		*(uint32_t *)native_value("ntm_locals", &v) = 1;
	}
}

/* An address at one of the relay's networks; the last byte is in hexadecimal what the text of IPv4's says. */
static void relay_host(uint8_t to[16], bool v6, unsigned nic, unsigned host)
{
	static const char *const net[2][2] = {{"::ffff:192.0.2.0", "::ffff:198.51.100.0"},
					      {"2001:db8:1::", "2001:db8:2::"}};

	ip(to, net[v6][nic]);
	to[15] = (uint8_t)(v6 && host != 1 ? host + 6 : host);
}

static int relay_route(int is_ipv6, const uint8_t *dst, struct native_hop *hop)
{
	uint8_t a[16];

	for (unsigned i = 0; i < 4; i++) {
		unsigned nic = i & 1, host = i & 2 ? 20 : 10;

		relay_host(a, is_ipv6, nic, host);
		if (memcmp(is_ipv6 ? a : a + 12, dst, is_ipv6 ? 16 : 4) != 0)
			continue;
		*hop = (struct native_hop){scene_nics[nic], MTU, {2, 0, 0, 0, (uint8_t)nic, (uint8_t)(host / 10 * 16)}};
		return 0;
	}
	return BPF_FIB_LKUP_RET_NOT_FWDED;
}

static void relay_end(struct ntm_relay_path *p, unsigned end, bool v6, unsigned nic, unsigned host)
{
	relay_host(p->addr[end], v6, nic, host);
	p->port[end] = htons(5000);
	p->flags |= v6 ? NTM_RELAY_IPV6_0 << end : 0;
}

static void build_relay_path(uint32_t o, uint64_t id, uint32_t slot)
{
	struct ntm_relay_path *p = native_slot("ntm_relay_paths", slot);
	struct ntm_relay_account *a = native_slot("ntm_relay_accounts", slot);
	unsigned place = (o & O_PLACE) >> 8, nic = o & O_OTHER_NIC ? 1 : 0;

	p->path_id = htobe64(id);
	relay_end(p, 0, o & O_END0_V6, 0, 10);
	relay_end(p, 1, o & O_END1_V6, nic, place == 3 ? 30 : 20);
	if (place == 1)
		ip(p->addr[1], o & O_END1_V6 ? "ff02::1" : "::ffff:224.0.0.9");
	if (place == 2)
		ip(p->addr[1], o & O_END1_V6 ? "2001:db8:ff::1" : "::ffff:203.0.113.9");
	if (o & O_UNBOUND)
		p->port[1] = 0;
	p->version = o & O_CHANGING ? 1 : 2;
	if (o & O_FORMER) {
		struct ntm_relay_former *f = native_value("ntm_relay_former", &p->path_id);

		relay_host(f->addr[0], o & O_END0_V6, 0, 11);
		f->port[0] = htons(5000);
		f->until_ns[0] = native_coarse_ns + HOUR_NS;
	}
	if (o & O_LIMITED) {
		p->flags |= NTM_RELAY_LIMITED;
		a->rate_kbit = 1;
	}
}

static void build_relay(uint32_t o)
{
	struct ntm_relay_settings *s = native_slot("ntm_relay_settings", 0);
	uint32_t home = (uint32_t)((SCENE_RELAY_PATH >> 32) * SCENE_RELAY_SLOTS >> 32);
	uint8_t a[16];

	s->layout = NTM_RELAY_LAYOUT;
	s->slots = SCENE_RELAY_SLOTS;
	s->port = htons(NTM_PORT);
	s->flags = o & O_RELAY_GATEWAY ? NTM_RELAY_GATEWAY : 0;
	s->paths = 64;
	s->native = o & O_RELAY_GENERIC ? 0 : 1u << (scene_nics[0] & 31);
	for (unsigned nic = 0; nic < 2; nic++) {
		struct ntm_relay_uplink *up = native_slot("ntm_relay_uplinks", nic);

		up->ifindex = up->nic = scene_nics[nic];
		memcpy(up->mac, "\x02\x00\x00\x00\xff", 5);
		up->mac[5] = (uint8_t)nic;
		if (o & O_TAGGED && nic) {
			up->n_tags = 2;
			up->tpid[0] = htons(ETH_P_8021AD);
			up->tpid[1] = htons(ETH_P_8021Q);
			up->tci[0] = htons(7);
			up->tci[1] = htons(9);
		}
		for (unsigned v6 = 0; v6 < 2; v6++) {
			relay_host(a, v6, nic, 1);
			memcpy(v6 ? up->addr6 : (uint8_t *)&up->addr4, v6 ? a : a + 12, v6 ? 16 : 4);
			*(uint32_t *)native_value("ntm_relay_locals", a) = 1;
		}
	}
	/* one at home, one behind it, and one that has to be searched for */
	build_relay_path(o, SCENE_RELAY_PATH, home);
	build_relay_path(o, SCENE_RELAY_PATH ^ 1, home + 1);
	((struct ntm_relay_path *)native_slot("ntm_relay_paths", home + 2))->path_id = NTM_RELAY_TOMBSTONE;
	build_relay_path(o, SCENE_RELAY_PATH ^ 2, home + 3);
	native_route = relay_route;
}

void scene_init(void)
{
	native_declare(native_node_maps);
	native_declare(native_relay_maps);
	native_limit("ntm_paths", SCENE_PATHS);
	native_limit("ntm_path_ids", SCENE_PATHS);
	native_limit("ntm_vips", 2 * SCENE_PATHS);
	native_limit("ntm_relay_paths", SCENE_RELAY_SLOTS);
	native_limit("ntm_relay_accounts", SCENE_RELAY_SLOTS);
}

int scene_begin(struct scene *s, const uint8_t *data, size_t size)
{
	if (size < 4)
		return -1;
	s->program = data[0] % SCENE_PROGRAMS;
	memcpy(s->options, data + 1, 3);
	s->next = data + 4;
	s->left = size - 4;
	s->n = 0;
	native_reset();
	if (s->program == SCENE_RELAY)
		build_relay(options(s));
	else
		build_node(options(s));
	return 0;
}

/* Where the IP header is, and the UDP header if it is where the programs look for it; 0: there is none. */
static size_t headers(const struct scene *s, size_t *udp, bool *v6)
{
	size_t at = 12, hdr;
	unsigned proto;

	for (int i = 0;
	     i < 2 && at + 6 <= s->len && (!memcmp(s->frame + at, "\x81", 2) || !memcmp(s->frame + at, "\x88\xa8", 2));
	     i++)
		at += 4;
	proto = at + 2 <= s->len ? (unsigned)s->frame[at] << 8 | s->frame[at + 1] : 0;
	at += 2;
	*v6 = proto == ETH_P_IPV6;
	hdr = *v6 ? 40 : 20;
	if ((!*v6 && proto != ETH_P_IP) || s->len < at + hdr)
		return 0;
	*udp = s->len >= at + hdr + 8 && s->frame[at + (*v6 ? 6 : 9)] == IPPROTO_UDP ? at + hdr : 0;
	return at;
}

static void seal(struct scene *s, size_t udp)
{
	size_t hdr = udp + 8, len = ntm_get16(s->frame + udp + 4);
	struct native_ctx ctx;
	uint8_t key[NTM_KEY_LEN];

	if (len < 8 + sizeof(struct ntm_hdr) + NTM_TAG_LEN || udp + len > s->len)
		return;
	key_of(s->frame[hdr + 1] & 15, true, key);
	native_open(&ctx, s->frame, s->len, 1);
	if (!native_seal(&ctx, (uint32_t)hdr, (uint32_t)(len - 8 - sizeof(struct ntm_hdr) - NTM_TAG_LEN), key))
		memcpy(s->frame, (void *)(uintptr_t)ctx.data, s->len);
	native_close(&ctx);
}

static void mend(struct scene *s, unsigned flags)
{
	size_t udp = 0, at;
	bool v6;

	at = headers(s, &udp, &v6);
	if (!at)
		return;
	if (flags & SCENE_LENGTHS) {
		ntm_put16(s->frame + at + (v6 ? 4 : 2), (unsigned)(s->len - at - (v6 ? 40 : 0)));
		if (udp)
			ntm_put16(s->frame + udp + 4, (unsigned)(s->len - udp));
	}
	if (udp && flags & SCENE_SEAL && s->program == SCENE_DECAP)
		seal(s, udp);
	if (udp && flags & SCENE_CHECKSUM) {
		size_t len = s->len - udp;
		uint16_t sum;

		memset(s->frame + udp + 6, 0, 2);
		sum = (uint16_t)~ntm_sum_fold(
		    ntm_sum(s->frame + udp, len, ntm_sum_pseudo(s->frame + at, v6, IPPROTO_UDP, (uint32_t)len)));
		sum = sum ? sum : 0xffff;
		memcpy(s->frame + udp + 6, &sum, 2);
	}
}

int scene_next(struct scene *s)
{
	unsigned flags;
	size_t len;

	if (s->left < 3 || s->n == SCENE_FRAMES)
		return 0;
	flags = s->next[0];
	len = ntm_get16(s->next + 1);
	s->next += 3;
	s->left -= 3;
	len = len < s->left ? len : s->left;
	len = len < NATIVE_FRAME_MAX ? len : NATIVE_FRAME_MAX;
	memset(s->frame, 0, ETH_HLEN);
	memcpy(s->frame, s->next, len);
	s->next += len;
	s->left -= len;
	s->len = len < ETH_HLEN ? ETH_HLEN : len;
	s->n++;
	mend(s, flags);
	return 1;
}

int scene_run(struct scene *s)
{
	static int (*const programs[])(struct native_ctx *) = {node_decap, node_encap, relay};
	struct native_ctx ctx;
	int verdict;

	native_open(&ctx, s->frame, s->len, s->program == SCENE_RELAY ? scene_nics[0] : 1);
	verdict = programs[s->program](&ctx);
	s->len = ctx.data_end - ctx.data;
	if (s->len > NATIVE_FRAME_MAX)
		s->len = NATIVE_FRAME_MAX;
	memcpy(s->frame, (void *)(uintptr_t)ctx.data, s->len);
	native_close(&ctx);
	return verdict;
}
