/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets on their way in and out. The order of checks and the reasons are those of node_encap and node_decap. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../common/crypto.h"
#include "dp_user_int.h"

/* As in bpf/lib/upcall.h and bpf/lib/pmtu.h; there they are for each CPU. */
#define UPCALL_INTERVAL_NS 1000000ULL
#define UPCALL_BURST 128
#define ICMP_INTERVAL_NS 10000000ULL
#define ICMP_BURST 20

static void count(struct ntm_dp_user *d, enum ntm_reason r, size_t len)
{
	d->counts[r].packets++;
	d->counts[r].bytes += len;
}

/* Theoretical arrival time of the next one (GCRA): a token bucket in one word. */
static bool allowed(uint64_t *tat, uint64_t interval, unsigned burst)
{
	uint64_t now = ntm_boottime_ns();
	if (*tat > now + (burst - 1) * interval)
		return false;
	*tat = (*tat > now ? *tat : now) + interval;
	return true;
}

/* An event with a copy of the packet. False: it is lost. */
static bool upcall(struct ntm_dp_user *d, uint32_t type, uint64_t path_id, const struct ntm_vip *dst,
		   const uint8_t *packet, size_t len)
{
	struct ntm_user_event e = {.type = type, .path_id = path_id, .len = len, .packet = malloc(len)};
	if (!e.packet)
		return false;
	memcpy(e.packet, packet, len);
	memcpy(e.addr.ip, dst->ip, 16);
	return !ntm_user_event(d, &e);
}

static void complain(struct ntm_dp_user *d, uint32_t slot)
{
	uint64_t now = ntm_boottime_ns();
	if (d->complained_ns[slot] && now - d->complained_ns[slot] < NTM_NSEC)
		return;
	struct ntm_user_event e = {.type = NTM_EV_EXPIRED, .path_id = be64toh(d->paths[slot].path_id)};
	if (!ntm_user_event(d, &e))
		d->complained_ns[slot] = now;
}

static enum ntm_reason send_error(int err)
{
	switch (err) {
	case 0:
		return NTM_R_TX_OK;
	case -EMSGSIZE:
		return NTM_R_TX_TOO_BIG;
	case -EAGAIN:
	case -ENOBUFS:
		return NTM_R_TX_AGENT_BUSY;
	case -ENETUNREACH:
	case -ENETDOWN:
	case -EAFNOSUPPORT:
	case -EADDRNOTAVAIL:
	case -EDESTADDRREQ:
		return NTM_R_TX_NO_UPLINK;
	default:
		return NTM_R_TX_ERROR;
	}
}

/* By the uplink before, as long as the one in use is new. */
static void send_copy(struct ntm_dp_user *d, uint32_t slot, const struct ntm_addr *to, const uint8_t *out, size_t len,
		      uint8_t tos)
{
	struct ntm_way way, before;
	struct ntm_endpoint ep;
	if (!d->conf.duplicate_ms || !d->conf.send_by)
		return;
	ntm_endpoint_get(&d->paths[slot], &ep);
	ntm_way_get(d->uplinks, &ep, &way);
	if (!ntm_way_get_copy(d->uplinks, &ep, &way, ntm_boottime_ns(), len, &before))
		return;
	if (d->conf.send_by(d->conf.arg, to, before.addr, before.ifindex, out, len, tos))
		return;
	d->counts[NTM_R_TX_COPY].packets++;
	d->counts[NTM_R_TX_COPY].bytes += len;
}

static enum ntm_reason seal_and_send(struct ntm_dp_user *d, uint32_t slot, const uint8_t *packet, size_t len,
				     uint8_t tos)
{
	uint8_t out[sizeof(struct ntm_hdr) + NTM_INNER_MAX + NTM_TAG_LEN];
	struct ntm_addr ep;
	size_t out_len;
	ntm_path_endpoint(&d->paths[slot], &ep);
	if (!ep.port)
		return NTM_R_TX_NO_UPLINK;
	enum ntm_reason r = ntm_packet_seal(&d->paths[slot], packet, len, out, sizeof(out), &out_len);
	if (r == NTM_R_TX_NO_KEY || r == NTM_R_TX_KEY_EXPIRED)
		complain(d, slot);
	if (r != NTM_R_TX_OK)
		return r;
	r = send_error(d->conf.send(d->conf.arg, &ep, out, out_len, tos));
	send_copy(d, slot, &ep, out, out_len, tos);
	return r;
}

struct pieces {
	struct ntm_dp_user *d;
	uint32_t slot;
	uint8_t tos;
	enum ntm_reason worst;
};

static void send_piece(void *arg, const uint8_t *p, size_t len)
{
	struct pieces *s = arg;
	enum ntm_reason r = seal_and_send(s->d, s->slot, p, len, s->tos);
	if (r != NTM_R_TX_OK)
		s->worst = r;
}

enum ntm_reason ntm_user_too_big(struct ntm_dp_user *d, uint32_t slot, const uint8_t *packet,
				 const struct ntm_inner *in)
{
	const struct ntm_path *p = &d->paths[slot];
	uint8_t answer[NTM_TOO_BIG_MAX];
	bool small = p->flags & NTM_PATH_SMALL_OUTER;
	uint16_t mtu = small || p->inner_mtu < NTM_INNER_MTU_BASE ? NTM_INNER_MTU_BASE : p->inner_mtu;
	if (small && in->len <= NTM_INNER_MTU_BASE) {
		bool told = upcall(d, NTM_EV_TOO_BIG, be64toh(p->path_id), &in->dst, packet, in->len);
		return told ? NTM_R_TX_TOO_BIG : NTM_R_TX_AGENT_BUSY;
	}
	if (ntm_may_fragment(packet, in->len)) {
		struct pieces s = {d, slot, in->tos, NTM_R_TX_OK};
		uint16_t piece = p->inner_mtu < NTM_INNER_MAX ? p->inner_mtu : NTM_INNER_MAX;
		return ntm_fragment(packet, in->len, piece, send_piece, &s) ? NTM_R_TX_TOO_BIG : s.worst;
	}
	if (!allowed(&d->icmp_tat, ICMP_INTERVAL_NS, ICMP_BURST))
		return NTM_R_TX_TOO_BIG;
	size_t len = ntm_too_big_answer(packet, in->len, mtu, answer);
	if (len)
		(void)d->conf.deliver(d->conf.arg, answer, len); /* the next packet asks again */
	return NTM_R_TX_TOO_BIG;
}

static enum ntm_reason inner_input(struct ntm_dp_user *d, const uint8_t *packet, size_t len)
{
	struct ntm_inner in;
	enum ntm_reason r = ntm_packet_accept(d->settings, packet, len, &in);
	if (r != NTM_R_TX_OK)
		return r;
	uint32_t slot = in.beyond ? d->settings->gateway : ntm_user_slot_of_vip(d, &in.dst);
	if (in.beyond && !slot)
		return NTM_R_TX_NOT_VIRTUAL;
	if (!slot) {
		if (in.len <= NTM_INNER_MAX && allowed(&d->no_path_tat, UPCALL_INTERVAL_NS, UPCALL_BURST) &&
		    !upcall(d, NTM_EV_NO_PATH, 0, &in.dst, packet, in.len))
			return NTM_R_TX_AGENT_BUSY;
		return NTM_R_TX_NO_PATH;
	}
	if (in.len > d->paths[slot].inner_mtu || in.len > NTM_INNER_MAX)
		return ntm_user_too_big(d, slot, packet, &in);
	return seal_and_send(d, slot, packet, in.len, in.tos);
}

void ntm_dp_user_inner_input(struct ntm_dp *dp, const uint8_t *packet, size_t len)
{
	count(ntm_dpu(dp), inner_input(ntm_dpu(dp), packet, len), len);
}

int ntm_user_seal(struct ntm_dp *dp, uint64_t path_id, const uint8_t *inner, size_t len, uint8_t *out, size_t cap,
		  size_t *out_len)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	uint32_t slot = ntm_user_slot(d, path_id);
	if (!slot)
		return -ENOENT;
	enum ntm_reason r = ntm_packet_seal(&d->paths[slot], inner, len, out, cap, out_len);
	if (len || r != NTM_R_TX_OK)
		count(d, r, len);
	return ntm_packet_errno(r);
}

/* What the packet changed on its path. */
static void tell(struct ntm_dp_user *d, const struct ntm_hdr *h, const struct ntm_opened *o,
		 const struct ntm_addr *from, size_t len)
{
	struct ntm_user_event e = {.path_id = be64toh(h->id)};
	if (o->confirmed) {
		e.type = NTM_EV_EPOCH;
		e.epoch = ntm_hdr_epoch(h);
		(void)ntm_user_event(d, &e); /* lost, the old epoch ends with its lifetime */
	}
	if (o->roamed) {
		count(d, NTM_R_RX_ROAMED, len);
		e.type = NTM_EV_ROAMED;
		e.addr = *from;
		(void)ntm_user_event(d, &e); /* lost, the endpoint has moved all the same */
	}
}

static enum ntm_reason outer_input(struct ntm_dp_user *d, const uint8_t *datagram, size_t len,
				   const struct ntm_addr *from, uint8_t tos, uint8_t *inner)
{
	struct ntm_hdr h;
	struct ntm_opened o;
	enum ntm_reason r = ntm_packet_header(datagram, len, &h);
	if (r != NTM_R_RX_OK)
		return r;
	uint32_t slot = ntm_user_slot(d, be64toh(h.id));
	if (!slot)
		return NTM_R_RX_UNKNOWN_PATH;
	struct ntm_path *p = &d->paths[slot];
	r = ntm_packet_open(p, &h, datagram, len, from, inner, &o);
	tell(d, &h, &o, from, len);
	if (r != NTM_R_RX_OK)
		return r;
	r = ntm_packet_inner(d->settings, p, &o, tos, NULL, NULL);
	if (r == NTM_R_RX_OK) {
		p->rx_packets++;
		p->rx_bytes += o.inner_len;
		/* Last: it may call back, and even delete the path. */
		if (d->conf.deliver(d->conf.arg, o.inner, o.inner_len))
			r = NTM_R_RX_ERROR;
	}
	return r;
}

int ntm_dp_user_outer_input(struct ntm_dp *dp, uint8_t *datagram, size_t len, const struct ntm_addr *from, uint8_t tos)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	enum ntm_reason r = outer_input(d, datagram, len, from, tos, datagram + sizeof(struct ntm_hdr));
	count(d, r, len);
	return ntm_packet_errno(r);
}

int ntm_user_open(struct ntm_dp *dp, const uint8_t *datagram, size_t len, const struct ntm_addr *from)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	uint8_t inner[NTM_INNER_MAX];
	enum ntm_reason r = outer_input(d, datagram, len, from, 0, inner);
	count(d, r, len);
	ntm_wipe(inner, sizeof(inner));
	return ntm_packet_errno(r);
}
