/* SPDX-License-Identifier: BSD-2-Clause */
#include "dns_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns_tcp.h"
#include "net.h"
#include "table.h"

struct ntm_dns_server {
	uv_loop_t *loop;
	struct ntm_dns_answerer *answerer;
	struct ntm_dc_net *udp;
	struct ntm_dns_tcp tcp;
	struct ntm_dns_stats stats;
	uint32_t rate;
	uint64_t full_us[NTM_DNS_RATE_SLOTS]; /* when a network's bucket will be full again (GCRA, ITU-T I.371) */
};

/* One second's worth may come at once. Networks share slots by a keyed hash: fixed memory, nobody can choose whose. */
static bool within_rate(struct ntm_dns_server *s, const uint8_t ip[16])
{
	uint64_t now = uv_now(s->loop) * 1000;
	uint64_t *slot = &s->full_us[ntm_table_hash(ip, ntm_ip_is_v4(ip) ? 15 : 7) % NTM_DNS_RATE_SLOTS];
	uint64_t full = (*slot > now ? *slot : now) + 1000000 / s->rate;

	if (full - now > 1000000)
		return false;
	*slot = full;
	return true;
}

static void on_datagram(void *arg, const struct ntm_dc_route *from, uint8_t *data, size_t len)
{
	struct ntm_dns_server *s = arg;
	struct ntm_dns_client client = {.now_ms = uv_now(s->loop)};
	uint8_t out[NTM_DNS_UDP_MAX];
	bool transfer;
	size_t n = 0;

	if (len < NTM_DNS_HEADER || len > NTM_DNS_UDP_MAX)
		return;
	s->stats.udp_queries++;
	memcpy(client.ip, from->peer.ip, 16);
	if (!s->rate || within_rate(s, client.ip))
		n = ntm_dns_answer(s->answerer, &client, data, len, out, sizeof(out), &transfer);
	else if (s->stats.rate_limited++ % 2) /* whose address was not forged comes by TCP */
		n = ntm_dns_answer_truncated(data, len, out);
	if (n)
		ntm_dc_net_send(s->udp, from, out, n);
}

static void free_server(void *arg)
{
	struct ntm_dns_server *s = arg;

	ntm_dns_answerer_free(s->answerer);
	free(s->tcp.listeners);
	free(s);
}

/* TCP goes where UDP is, also when the kernel chose the port. */
static int start_tcp(struct ntm_dns_server *s, size_t n, char *why, size_t cap)
{
	struct ntm_addr *bound = calloc(n, sizeof(*bound));
	int err;

	if (!bound) {
		snprintf(why, cap, "out of memory");
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++)
		bound[i] = *ntm_dc_net_bound(s->udp, (uint16_t)i);
	s->tcp.loop = s->loop;
	s->tcp.answerer = s->answerer;
	s->tcp.stats = &s->stats;
	err = ntm_dns_tcp_start(&s->tcp, bound, n, why, cap);
	free(bound);
	if (err) {
		ntm_dc_net_close(s->udp);
		ntm_dns_tcp_stop(&s->tcp, free_server, s);
	}
	return err;
}

int ntm_dns_server_start(struct ntm_dns_server **out, uv_loop_t *loop, const struct ntm_dns_zone *zone,
			 const struct ntm_addr *listen, size_t n, uint32_t rate, char *why, size_t cap)
{
	struct ntm_dns_server *s = calloc(1, sizeof(*s));
	int err;

	snprintf(why, cap, "out of memory");
	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->rate = rate;
	s->answerer = ntm_dns_answerer_new(zone, NTM_DNS_CACHE_BYTES);
	if (!s->answerer) {
		free(s);
		return -ENOMEM;
	}
	err = ntm_dc_net_open(&s->udp, loop, listen, n, on_datagram, s, why, cap);
	if (err) {
		free_server(s);
		return err;
	}
	err = start_tcp(s, n, why, cap);
	if (!err)
		*out = s;
	return err;
}

void ntm_dns_server_stop(struct ntm_dns_server *s)
{
	ntm_dc_net_close(s->udp);
	ntm_dns_tcp_stop(&s->tcp, free_server, s);
}

const struct ntm_addr *ntm_dns_server_bound(const struct ntm_dns_server *s, size_t i)
{
	return ntm_dc_net_bound(s->udp, (uint16_t)i);
}

const struct ntm_dns_stats *ntm_dns_server_stats(struct ntm_dns_server *s)
{
	s->stats.repeated = ntm_dns_answerer_hits(s->answerer);
	return &s->stats;
}

void ntm_dns_server_forget(struct ntm_dns_server *s, const char *label, const uint8_t vip4[4], const uint8_t vip6[16])
{
	ntm_dns_answerer_forget(s->answerer, label, vip4, vip6);
}

void ntm_dns_server_forget_all(struct ntm_dns_server *s)
{
	ntm_dns_answerer_forget_all(s->answerer);
}
