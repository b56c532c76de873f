/* SPDX-License-Identifier: BSD-2-Clause */
#include "dp_user_rig.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <poll.h>
#include <string.h>

#include "../../user/common/crypto.h"

struct ntm_user_side ntm_user_side[2];
char ntm_user_why[256];

static int deliver(void *arg, const uint8_t *packet, size_t len)
{
	struct ntm_user_side *s = arg;
	cr_assert(s->n_got < NTM_USER_RIG_KEPT && len <= sizeof(s->got[0]));
	memcpy(s->got[s->n_got], packet, len);
	s->got_len[s->n_got++] = len;
	return 0;
}

static int send_by(void *arg, const struct ntm_addr *to, const uint8_t src[16], uint32_t ifindex, const void *datagram,
		   size_t len, uint8_t tos)
{
	struct ntm_user_side *s = arg;
	cr_assert(s->n_sent < NTM_USER_RIG_KEPT && len <= sizeof(s->sent[0].data));
	if (s->send_result)
		return s->send_result;
	memcpy(s->sent[s->n_sent].data, datagram, len);
	s->sent[s->n_sent].len = len;
	s->sent[s->n_sent].to = *to;
	memcpy(s->sent[s->n_sent].src, src, 16);
	s->sent[s->n_sent].ifindex = ifindex;
	s->sent[s->n_sent++].tos = tos;
	return 0;
}

static int send_out(void *arg, const struct ntm_addr *to, const void *datagram, size_t len, uint8_t tos)
{
	static const uint8_t any[16];
	return send_by(arg, to, any, 0, datagram, len, tos);
}

static int peer_route(void *arg, const uint8_t ip[16], uint16_t mtu)
{
	struct ntm_user_side *s = arg;
	s->routes[!ntm_ip_is_v4(ip)] = mtu;
	return 0;
}

static int uplink_mtu(void *arg, uint32_t mtu)
{
	((struct ntm_user_side *)arg)->mtu = mtu;
	return 0;
}

static void on_no_path(void *arg, const uint8_t dst[16], const uint8_t *packet, size_t len)
{
	struct ntm_rig_seen *s = &((struct ntm_user_side *)arg)->seen;
	s->no_path++;
	memcpy(s->addr, dst, 16);
	memcpy(s->packet, packet, len);
	s->len = len;
}

static void on_too_big(void *arg, uint64_t path_id, const uint8_t *packet, size_t len)
{
	struct ntm_rig_seen *s = &((struct ntm_user_side *)arg)->seen;
	s->too_big++;
	s->path_id = path_id;
	memcpy(s->packet, packet, len);
	s->len = len;
}

static void on_roamed(void *arg, uint64_t path_id, const struct ntm_addr *endpoint)
{
	struct ntm_rig_seen *s = &((struct ntm_user_side *)arg)->seen;
	s->roamed++;
	s->path_id = path_id;
	s->endpoint = *endpoint;
}

static void on_epoch(void *arg, uint64_t path_id, uint8_t epoch)
{
	struct ntm_rig_seen *s = &((struct ntm_user_side *)arg)->seen;
	s->epochs++;
	s->path_id = path_id;
	s->epoch = epoch;
}

static void on_expired(void *arg, uint64_t path_id)
{
	struct ntm_rig_seen *s = &((struct ntm_user_side *)arg)->seen;
	s->expired++;
	s->path_id = path_id;
}

const struct ntm_dp_events ntm_user_rig_events = {.no_path = on_no_path,
						  .too_big = on_too_big,
						  .roamed = on_roamed,
						  .epoch_confirmed = on_epoch,
						  .expired = on_expired};

struct ntm_dp_user_config ntm_user_rig_config(int i)
{
	return (struct ntm_dp_user_config){.deliver = deliver,
					   .send = send_out,
					   .send_by = send_by,
					   .duplicate_ms = 60000,
					   .peer_route = peer_route,
					   .uplink_mtu = uplink_mtu,
					   .arg = &ntm_user_side[i]};
}

int ntm_user_rig_open(int i, const struct ntm_dp_user_config *c)
{
	return ntm_dp_user_open(&ntm_user_side[i].dp, c, &ntm_user_rig_events, &ntm_user_side[i], ntm_user_why,
				sizeof(ntm_user_why));
}

void ntm_user_rig_tunnel(void)
{
	for (int i = 0; i < 2; i++) {
		struct ntm_dp_user_config c = ntm_user_rig_config(i);
		struct ntm_dp_addresses a = ntm_rig_addresses(i);
		struct ntm_dp_path p = ntm_rig_path(i, false);
		struct ntm_dp_keys k = ntm_rig_keys(i, 0);
		cr_assert(eq(int, ntm_user_rig_open(i, &c), 0), "%s", ntm_user_why);
		struct ntm_dp *dp = ntm_user_side[i].dp;
		cr_assert(eq(int, dp->ops->set_addresses(dp, &a), 0));
		cr_assert(eq(int, dp->ops->add_path(dp, &p), 0));
		cr_assert(eq(int, dp->ops->set_keys(dp, p.path_id, &k, true), 0));
		cr_assert(eq(int, dp->ops->activate(dp, p.path_id), 0));
	}
}

void ntm_user_rig_up(void)
{
	cr_assert(eq(int, ntm_crypto_init(), 0));
	memset(ntm_user_side, 0, sizeof(ntm_user_side));
}

void ntm_user_rig_down(void)
{
	for (int i = 0; i < 2; i++)
		if (ntm_user_side[i].dp)
			ntm_user_side[i].dp->ops->close(ntm_user_side[i].dp, false);
}

int ntm_user_rig_carry_from(int from, const struct ntm_addr *src, uint8_t tos)
{
	struct ntm_user_side *s = &ntm_user_side[from], *to = &ntm_user_side[!from];
	int r = 0;
	for (size_t i = 0; i < s->n_sent; i++)
		r = ntm_dp_user_outer_input(to->dp, s->sent[i].data, s->sent[i].len, src, tos);
	s->n_sent = 0;
	return r;
}

int ntm_user_rig_carry(int from)
{
	struct ntm_addr src = ntm_rig_endpoint(from, false);
	return ntm_user_rig_carry_from(from, &src, 0);
}

void ntm_user_rig_events_of(int i)
{
	struct pollfd pfd = {.fd = ntm_user_side[i].dp->ops->fd(ntm_user_side[i].dp), .events = POLLIN};
	cr_assert(eq(int, poll(&pfd, 1, 5000), 1));
	ntm_user_side[i].dp->ops->dispatch(ntm_user_side[i].dp);
}

uint64_t ntm_user_rig_counted(int i, enum ntm_reason r)
{
	struct ntm_counter c[NTM_R_COUNT];
	cr_assert(eq(int, ntm_user_side[i].dp->ops->counters(ntm_user_side[i].dp, c), 0));
	return c[r].packets;
}

size_t ntm_user_rig_inner(int from, bool v6, size_t payload, uint8_t *out, size_t cap)
{
	uint8_t data[2048] = {0};
	return ntm_rig_inner(from, v6, NTM_USER_RIG_PORT, data, payload, out, cap);
}

uint16_t ntm_user_rig_checksum(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *p = data;
	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}
