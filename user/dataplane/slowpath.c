/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Seal and open in the agent, for what the programs can't do: outer fragments, IP options, packets merged by GRO before
 * generic XDP. It uses the keys, counters and replay windows of the programs in the very same memory, and gives the
 * same verdicts. ECN is the exception: the outer field does not reach a socket's datagram, so the inner one stays.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <endian.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ntm/wire.h>

#include "../../bpf/lib/general.h"
#include "../../bpf/lib/replay.h"
#include "../common/addr.h"
#include "../common/crypto.h"
#include "dp_internal.h"

/* A raw socket that sends into ntm0p, so into ntm0. Protocol 0: it receives nothing. */
int ntm_inject_open(struct ntm_dp_bpf *d)
{
	struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_ifindex = (int)d->ntm0p.ifindex};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&ll, sizeof(ll))) {
		int err = -errno;
		close(fd);
		return err;
	}
	d->inject_fd = fd;
	return 0;
}

int ntm_dp_seal(struct ntm_dp *dp, uint64_t path_id, const uint8_t *inner, size_t len, uint8_t *out, size_t cap,
		size_t *out_len)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	uint32_t slot = ntm_path_slot(d, path_id);
	if (!slot)
		return -ENOENT;
	if (len > NTM_INNER_MAX || cap < sizeof(struct ntm_hdr) + len + NTM_TAG_LEN)
		return -EMSGSIZE;
	struct ntm_path *p = &d->paths[slot];
	uint8_t epoch = __atomic_load_n(&p->tx_epoch, __ATOMIC_ACQUIRE) & 15, nonce[NTM_NONCE_LEN];
	struct ntm_tx_epoch *tx = &p->tx[epoch & 1];
	uint64_t now = ntm_boottime_ns(), expires = __atomic_load_n(&tx->expires_ns, __ATOMIC_ACQUIRE);
	if (!expires) {
		d->counts[NTM_R_TX_NO_KEY].packets++;
		return -ENOKEY;
	}
	uint64_t ctr = NTM_COUNTER_LIMIT;
	if (expires > now)
		ctr = __atomic_fetch_add(&tx->counter, 1, __ATOMIC_RELAXED);
	if (ctr >= NTM_COUNTER_LIMIT) {
		d->counts[NTM_R_TX_KEY_EXPIRED].packets++;
		return -EKEYEXPIRED;
	}
	struct ntm_hdr h = {.ver_type = NTM_WIRE_VERSION << 4 | NTM_T_DATA,
			    .suite_epoch = (uint8_t)(NTM_SUITE_KERNEL << 4 | epoch),
			    .ctr_hi = htobe16((uint16_t)(ctr >> 32)),
			    .ctr_lo = htobe32((uint32_t)ctr),
			    .id = htobe64(path_id)};
	ntm_nonce(nonce, ctr);
	int err = ntm_seal(tx->key, nonce, &h, sizeof(h), inner, len, out + sizeof(h));
	if (err)
		return err;
	memcpy(out, &h, sizeof(h));
	*out_len = sizeof(h) + len + NTM_TAG_LEN;
	__atomic_store_n(&p->last_tx_ns, now, __ATOMIC_RELAXED);
	if (len) {
		__atomic_fetch_add(&p->tx_packets, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&p->tx_bytes, len, __ATOMIC_RELAXED);
		d->counts[NTM_R_TX_OK].packets++;
		d->counts[NTM_R_TX_OK].bytes += len;
	}
	return 0;
}

/* Returns the inner length by its own header, or 0: malformed. */
static size_t inner_len(const uint8_t *p, size_t avail, bool *is_ipv6)
{
	size_t len;
	if (avail >= sizeof(struct iphdr) && p[0] >> 4 == 4) {
		struct iphdr ip;
		memcpy(&ip, p, sizeof(ip));
		*is_ipv6 = false;
		len = ntohs(ip.tot_len);
		if (ip.ihl < 5 || len < (size_t)ip.ihl * 4)
			return 0;
	} else if (avail >= sizeof(struct ip6_hdr) && p[0] >> 4 == 6) {
		struct ip6_hdr ip6;
		memcpy(&ip6, p, sizeof(ip6));
		*is_ipv6 = true;
		len = sizeof(ip6) + ntohs(ip6.ip6_plen);
	} else {
		return 0;
	}
	return len > avail ? 0 : len;
}

static void address(const uint8_t *p, bool is_ipv6, struct ntm_vip *out)
{
	if (is_ipv6)
		memcpy(out->ip, p, 16);
	else
		ntm_ip_from_v4(out->ip, p);
}

/* As ntm_beyond4(), ntm_beyond6() of bpf/lib/addr.h. */
static bool is_beyond(const struct ntm_settings *s, const struct ntm_vip *a)
{
	struct ntm_prefix pool = {.len = s->pool6_len};
	bool v4 = ntm_ip_is_v4(a->ip);
	memcpy(pool.ip, s->pool6, 16);
	if (v4) {
		ntm_ip_from_v4(pool.ip, &s->pool4);
		pool.len = (uint8_t)(96 + s->pool4_len);
	}
	if (ntm_prefix_contains(&pool, a->ip))
		return false;
	for (uint32_t i = 0; i < s->n_peers && i < NTM_PEER_POOLS; i++) {
		pool.len = s->peers[i].pool6_len;
		memcpy(pool.ip, s->peers[i].pool6, 16);
		if (v4) {
			ntm_ip_from_v4(pool.ip, (const uint8_t *)&s->peers[i].pool4);
			pool.len = (uint8_t)(96 + s->peers[i].pool4_len);
		}
		if (ntm_prefix_contains(&pool, a->ip))
			return false;
	}
	return v4 ? ntm_is_general4(a->ip + 12) : ntm_is_general6(a->ip);
}

static bool is_local(const struct ntm_dp_bpf *d, const struct ntm_vip *a)
{
	uint32_t value;
	return !bpf_map_lookup_elem(d->map_fd[NTM_MAP_LOCALS], a, &value);
}

static enum ntm_reason check_inner(const struct ntm_dp_bpf *d, const struct ntm_path *p, const uint8_t *inner,
				   bool is_ipv6)
{
	const struct ntm_settings *s = d->settings;
	size_t off = is_ipv6 ? 8 : 12, n = is_ipv6 ? 16 : 4;
	struct ntm_vip src __attribute__((aligned(8))), dst __attribute__((aligned(8)));
	address(inner + off, is_ipv6, &src);
	address(inner + off + n, is_ipv6, &dst);
	if (memcmp(inner + off, is_ipv6 ? (const void *)p->peer_vip6 : &p->peer_vip4, n) &&
	    !(p->flags & NTM_PATH_GATEWAY && is_beyond(s, &src)))
		return NTM_R_RX_BAD_SOURCE;
	if (memcmp(inner + off + n, is_ipv6 ? (const void *)s->vip6 : &s->vip4, n) &&
	    !(p->flags & NTM_PATH_CLIENT && is_beyond(s, &dst) && !is_local(d, &dst)))
		return NTM_R_RX_BAD_DEST;
	return NTM_R_RX_OK;
}

static enum ntm_reason deliver(struct ntm_dp_bpf *d, struct ntm_path *p, const uint8_t *inner, size_t avail)
{
	struct ethhdr eth = {.h_proto = htons(ETH_P_IP)};
	bool is_ipv6;
	size_t len = inner_len(inner, avail, &is_ipv6);
	if (!len)
		return NTM_R_RX_BAD_INNER;
	enum ntm_reason r = check_inner(d, p, inner, is_ipv6);
	if (r != NTM_R_RX_OK)
		return r;
	if (is_ipv6)
		eth.h_proto = htons(ETH_P_IPV6);
	memcpy(eth.h_dest, d->ntm0.mac, 6);
	memcpy(eth.h_source, d->ntm0p.mac, 6);
	struct iovec iov[2] = {{&eth, sizeof(eth)}, {(void *)inner, len}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	if (sendmsg(d->inject_fd, &msg, 0) < 0)
		return NTM_R_RX_ERROR;
	__atomic_fetch_add(&p->rx_packets, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&p->rx_bytes, len, __ATOMIC_RELAXED);
	return NTM_R_RX_OK;
}

/* What an authenticated packet changes, as in bpf/lib/roam.h. */
static void authenticated(struct ntm_dp_bpf *d, uint32_t slot, uint8_t epoch, bool newest, const struct ntm_addr *from,
			  size_t len)
{
	struct ntm_path *p = &d->paths[slot];
	struct ntm_pending ev = {.path_id = be64toh(p->path_id)};
	uint32_t waiting = epoch;
	__atomic_store_n(&p->last_rx_ns, ntm_boottime_ns(), __ATOMIC_RELAXED);
	if (__atomic_compare_exchange_n(&p->next_epoch, &waiting, NTM_NO_EPOCH, false, __ATOMIC_ACQ_REL,
					__ATOMIC_RELAXED)) {
		__atomic_store_n(&p->tx_epoch, epoch, __ATOMIC_RELEASE);
		ev.type = NTM_EV_EPOCH;
		ev.epoch = epoch;
		ntm_event_push(d, &ev);
	}
	const struct ntm_endpoint *ep = &p->ep[__atomic_load_n(&p->ep_cur, __ATOMIC_ACQUIRE) & 1];
	if (!newest || (ep->port == from->port && !memcmp(ep->addr, from->ip, 16)) ||
	    ntm_boottime_ns() < __atomic_load_n(&p->hold_until_ns, __ATOMIC_ACQUIRE))
		return;
	ntm_path_move(p, from);
	__atomic_fetch_add(&p->roams, 1, __ATOMIC_RELAXED);
	d->counts[NTM_R_RX_ROAMED].packets++;
	d->counts[NTM_R_RX_ROAMED].bytes += len;
	ev.type = NTM_EV_ROAMED;
	ev.addr = *from;
	ntm_event_push(d, &ev);
}

static enum ntm_reason replay_reason(enum ntm_replay r)
{
	return r == NTM_REPLAY_SEEN ? NTM_R_RX_REPLAY : NTM_R_RX_TOO_OLD;
}

static enum ntm_reason open_datagram(struct ntm_dp_bpf *d, const uint8_t *datagram, size_t len,
				     const struct ntm_addr *from)
{
	struct ntm_hdr h;
	uint8_t inner[NTM_INNER_MAX], nonce[NTM_NONCE_LEN];
	if (len < sizeof(h) + NTM_TAG_LEN)
		return NTM_R_RX_SHORT;
	memcpy(&h, datagram, sizeof(h));
	if (ntm_hdr_version(&h) != NTM_WIRE_VERSION)
		return NTM_R_RX_BAD_VERSION;
	if (ntm_hdr_type(&h) != NTM_T_DATA || ntm_hdr_suite(&h) != NTM_SUITE_KERNEL)
		return NTM_R_RX_BAD_TYPE;
	size_t payload = len - sizeof(h) - NTM_TAG_LEN;
	if (payload > NTM_INNER_MAX)
		return NTM_R_RX_LONG;
	uint32_t slot = ntm_path_slot(d, be64toh(h.id));
	if (!slot)
		return NTM_R_RX_UNKNOWN_PATH;
	struct ntm_path *p = &d->paths[slot];
	uint8_t epoch = ntm_hdr_epoch(&h);
	struct ntm_rx_epoch *rx = &p->rx[epoch & 1];
	if (__atomic_load_n(&rx->expires_ns, __ATOMIC_ACQUIRE) <= ntm_boottime_ns() || rx->epoch != epoch)
		return NTM_R_RX_NO_KEY;
	uint64_t ctr = (uint64_t)be16toh(h.ctr_hi) << 32 | be32toh(h.ctr_lo);
	enum ntm_replay replay = ntm_replay_check(rx, ctr);
	if (replay != NTM_REPLAY_OK)
		return replay_reason(replay);
	ntm_nonce(nonce, ctr);
	int err = ntm_open(rx->key, nonce, &h, sizeof(h), datagram + sizeof(h), payload + NTM_TAG_LEN, inner);
	if (err)
		return err == -EBADMSG ? NTM_R_RX_BAD_TAG : NTM_R_RX_ERROR;
	int newest = 0;
	replay = ntm_replay_accept(rx, ctr, &newest);
	enum ntm_reason r;
	if (replay != NTM_REPLAY_OK) {
		r = replay_reason(replay);
	} else {
		authenticated(d, slot, epoch, newest, from, len);
		r = payload ? deliver(d, p, inner, payload) : NTM_R_RX_KEEPALIVE;
	}
	ntm_wipe(inner, sizeof(inner));
	return r;
}

static int reason_errno(enum ntm_reason r)
{
	switch (r) {
	case NTM_R_RX_OK:
	case NTM_R_RX_KEEPALIVE:
		return 0;
	case NTM_R_RX_UNKNOWN_PATH:
		return -ENOENT;
	case NTM_R_RX_NO_KEY:
		return -ENOKEY;
	case NTM_R_RX_REPLAY:
		return -EALREADY;
	case NTM_R_RX_TOO_OLD:
		return -ESTALE;
	case NTM_R_RX_LONG:
		return -EMSGSIZE;
	case NTM_R_RX_BAD_SOURCE:
	case NTM_R_RX_BAD_DEST:
		return -EADDRNOTAVAIL;
	case NTM_R_RX_ERROR:
		return -EIO;
	default:
		return -EBADMSG;
	}
}

int ntm_dp_open_datagram(struct ntm_dp *dp, const uint8_t *datagram, size_t len, const struct ntm_addr *from)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	enum ntm_reason r = open_datagram(d, datagram, len, from);
	d->counts[r].packets++;
	d->counts[r].bytes += len;
	return reason_errno(r);
}
