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
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../common/crypto.h"
#include "dp_internal.h"
#include "packet.h"

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
	enum ntm_reason r = ntm_packet_seal(&d->paths[slot], inner, len, out, cap, out_len);
	if (len || r != NTM_R_TX_OK) {
		d->counts[r].packets++;
		d->counts[r].bytes += len;
	}
	return ntm_packet_errno(r);
}

static bool is_local(const void *arg, const struct ntm_vip *a)
{
	const struct ntm_dp_bpf *d = arg;
	uint32_t value;
	return !bpf_map_lookup_elem(d->map_fd[NTM_MAP_LOCALS], a, &value);
}

static enum ntm_reason deliver(struct ntm_dp_bpf *d, struct ntm_path *p, struct ntm_opened *o)
{
	struct ethhdr eth = {.h_proto = htons(ETH_P_IP)};
	enum ntm_reason r = ntm_packet_inner(d->settings, p, o, 0, is_local, d);
	if (r != NTM_R_RX_OK)
		return r;
	if (o->is_ipv6)
		eth.h_proto = htons(ETH_P_IPV6);
	memcpy(eth.h_dest, d->ntm0.mac, 6);
	memcpy(eth.h_source, d->ntm0p.mac, 6);
	struct iovec iov[2] = {{&eth, sizeof(eth)}, {o->inner, o->inner_len}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	if (sendmsg(d->inject_fd, &msg, 0) < 0)
		return NTM_R_RX_ERROR;
	__atomic_fetch_add(&p->rx_packets, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&p->rx_bytes, o->inner_len, __ATOMIC_RELAXED);
	return NTM_R_RX_OK;
}

/* What the packet changed on its path, for dispatch(). */
static void tell(struct ntm_dp_bpf *d, struct ntm_path *p, const struct ntm_hdr *h, const struct ntm_opened *o,
		 const struct ntm_addr *from, size_t len)
{
	struct ntm_pending ev = {.path_id = be64toh(p->path_id)};
	if (o->confirmed) {
		ev.type = NTM_EV_EPOCH;
		ev.epoch = ntm_hdr_epoch(h);
		ntm_event_push(d, &ev);
	}
	if (o->roamed) {
		d->counts[NTM_R_RX_ROAMED].packets++;
		d->counts[NTM_R_RX_ROAMED].bytes += len;
		ev.type = NTM_EV_ROAMED;
		ev.addr = *from;
		ntm_event_push(d, &ev);
	}
}

static enum ntm_reason open_datagram(struct ntm_dp_bpf *d, const uint8_t *datagram, size_t len,
				     const struct ntm_addr *from)
{
	struct ntm_hdr h;
	struct ntm_opened o;
	uint8_t inner[NTM_INNER_MAX];
	enum ntm_reason r = ntm_packet_header(datagram, len, &h);
	if (r != NTM_R_RX_OK)
		return r;
	uint32_t slot = ntm_path_slot(d, be64toh(h.id));
	if (!slot)
		return NTM_R_RX_UNKNOWN_PATH;
	r = ntm_packet_open(&d->paths[slot], &h, datagram, len, from, inner, &o);
	tell(d, &d->paths[slot], &h, &o, from, len);
	if (r != NTM_R_RX_OK)
		return r;
	r = deliver(d, &d->paths[slot], &o);
	ntm_wipe(o.inner, o.len);
	return r;
}

int ntm_dp_open_datagram(struct ntm_dp *dp, const uint8_t *datagram, size_t len, const struct ntm_addr *from)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	enum ntm_reason r = open_datagram(d, datagram, len, from);
	d->counts[r].packets++;
	d->counts[r].bytes += len;
	return ntm_packet_errno(r);
}
