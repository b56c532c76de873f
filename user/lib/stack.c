/* SPDX-License-Identifier: BSD-2-Clause */
#include "stack.h"

#include <errno.h>
#include <lwip/init.h>
#include <lwip/ip4_frag.h>
#include <lwip/ip6_frag.h>
#include <lwip/nd6.h>
#include <lwip/pbuf.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/tcp.h>
#include <string.h>
#include <time.h>

#include "../common/crypto.h"
#include "tcpopt.h"

#if LWIP_VERSION_MAJOR != 2 || !LWIP_WND_SCALE || !MEMP_MEM_MALLOC || !ENABLE_LOOPBACK
#error "lwIP is not built as this file expects"
#endif

enum {
	REASSEMBLY_MS = 1000,
	REASSEMBLY_ROUNDS = 20,
	VIFS_MAX = 250, /* lwIP numbers interfaces in 8 bits, and looks for a free number for ever when there is none */
	STREAM_MTU = 1500, /* out of which lwIP makes what TCP may send at most; tcp.c knows the path's */
};

static struct {
	bool ready;
	struct ntm_vif *vifs;
	unsigned n_vifs;
	uint64_t tcp_ms, reass_ms; /* when their timers are due; 0: not armed */
	unsigned reass_rounds;     /* that are left until all fragments have been used or dropped */
	bool looped;
} stack;

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

void ntm_ip_to_lwip(ip_addr_t *out, const uint8_t ip[16])
{
	memset(out, 0, sizeof(*out));
	if (ntm_ip_is_v4(ip)) {
		IP_SET_TYPE_VAL(*out, IPADDR_TYPE_V4);
		memcpy(&ip_2_ip4(out)->addr, ip + 12, 4);
	} else {
		IP_SET_TYPE_VAL(*out, IPADDR_TYPE_V6);
		memcpy(ip_2_ip6(out)->addr, ip, 16);
	}
}

void ntm_ip_from_lwip(uint8_t out[16], const ip_addr_t *ip)
{
	if (IP_IS_V4(ip))
		ntm_ip_from_v4(out, &ip_2_ip4(ip)->addr);
	else
		memcpy(out, ip_2_ip6(ip)->addr, 16);
}

static struct ntm_vif *vif_of(struct netif *netif)
{
	return netif->state;
}

static void output(struct ntm_vif *v, struct pbuf *p)
{
	uint8_t flat[NTM_STACK_MTU_MAX];
	const uint8_t *packet = p->payload;

	if (!v->up || p->tot_len > sizeof(flat))
		return;
	if (p->next) {
		pbuf_copy_partial(p, flat, p->tot_len, 0);
		packet = flat;
	}
	v->ops->output(v->arg, packet, p->tot_len);
}

/* A path may have become narrower since this was cut. */
static uint16_t narrow(struct ntm_vif *v, const uint8_t dst[16])
{
	uint16_t mtu = v->ops->mtu(v->arg, dst);

	return mtu < NTM_STACK_MTU_MIN ? NTM_STACK_MTU_MIN : mtu;
}

static err_t output4(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
	struct ntm_vif *v = vif_of(netif);
	uint8_t dst[16];
	uint16_t mtu;

	ntm_ip_from_v4(dst, &to->addr);
	ntm_tcpopt_scale(p->payload, p->len);
	mtu = p->tot_len > NTM_STACK_MTU_MIN ? narrow(v, dst) : NTM_STACK_MTU_MIN;
	if (p->tot_len > mtu) {
		netif->mtu = mtu;
		return ip4_frag(p, netif, to);
	}
	output(v, p);
	return ERR_OK;
}

static err_t output6(struct netif *netif, struct pbuf *p, const ip6_addr_t *to)
{
	struct ntm_vif *v = vif_of(netif);
	uint8_t dst[16];
	uint16_t mtu;

	memcpy(dst, to->addr, 16);
	ntm_tcpopt_scale(p->payload, p->len);
	mtu = p->tot_len > NTM_STACK_MTU_MIN ? narrow(v, dst) : NTM_STACK_MTU_MIN;
	if (p->tot_len > mtu) {
		netif->mtu = netif->mtu6 = mtu;
		return ip6_frag(p, netif, to);
	}
	output(v, p);
	return ERR_OK;
}

static err_t init(struct netif *netif)
{
	netif->name[0] = 'n';
	netif->name[1] = 't';
	netif->mtu = netif->mtu6 = NTM_STACK_MTU_MIN;
	netif->output = output4;
	netif->output_ip6 = output6;
	netif->ip6_autoconfig_enabled = 0;
	netif->rs_count = 0;
	return ERR_OK;
}

/*
 * lwIP hands a packet to itself by way of its thread, which is not there. It does so only for the first of a list:
 * with one in the list that never leaves, it only appends, and take_looped() takes what is behind.
 */
static int plug_loop(struct netif *netif)
{
	struct pbuf *plug = pbuf_alloc(PBUF_RAW, 1, PBUF_RAM);

	if (!plug)
		return -ENOMEM;
	*(uint8_t *)plug->payload = 0;
	netif->loop_first = netif->loop_last = plug;
	return 0;
}

static struct pbuf *take_looped(struct netif *netif)
{
	struct pbuf *plug = netif->loop_first, *list = plug->next;

	plug->next = NULL;
	netif->loop_last = plug;
	return list;
}

static int stack_init(void)
{
	uint32_t seed;
	int err = ntm_random(&seed, sizeof(seed));

	if (err)
		return err;
	lwip_init();
	/* Initial sequence numbers begin where they ended in no earlier process. */
	tcp_ticks = seed >> 1;
	stack.ready = true;
	return 0;
}

int ntm_vif_add(struct ntm_vif *v, const struct ntm_vif_ops *ops, void *arg)
{
	ip4_addr_t none = {0};
	int err = stack.ready ? 0 : stack_init();

	if (err)
		return err;
	if (stack.n_vifs == VIFS_MAX)
		return -EMFILE;
	v->ops = ops;
	v->arg = arg;
	if (!netif_add(&v->netif, &none, &none, &none, v, init, ip_input))
		return -ENOMEM;
	v->added = true;
	err = plug_loop(&v->netif);
	if (err) {
		netif_remove(&v->netif);
		v->added = false;
		return err;
	}
	v->next = stack.vifs;
	stack.vifs = v;
	stack.n_vifs++;
	return 0;
}

void ntm_vif_addresses(struct ntm_vif *v, const uint8_t vip4[4], const uint8_t vip6[16])
{
	ip4_addr_t ip4, mask = {0}, gw = {0};
	ip_addr_t ip6;

	ntm_ip_from_v4(v->vip4, vip4);
	memcpy(v->vip6, vip6, 16);
	memcpy(&ip4.addr, vip4, 4);
	/* Mask 0: whatever is sent by this interface has a route by it. */
	netif_set_addr(&v->netif, &ip4, &mask, &gw);
	ntm_ip_to_lwip(&ip6, vip6);
	netif_ip6_addr_set(&v->netif, 0, ip_2_ip6(&ip6));
	netif_ip6_addr_set_state(&v->netif, 0, IP6_ADDR_PREFERRED);
	netif_set_up(&v->netif);
	netif_set_link_up(&v->netif);
	v->up = true;
}

static void reset_all(struct tcp_pcb **list, uint8_t idx)
{
	struct tcp_pcb *pcb = *list, *next;

	while (pcb) {
		next = pcb->next;
		if (pcb->netif_idx != idx) {
			pcb = next;
			continue;
		}
		tcp_arg(pcb, NULL);
		if (pcb->state != LISTEN)
			tcp_abort(pcb);
		pcb = *list; /* it may have taken others with it */
	}
}

void ntm_vif_remove(struct ntm_vif *v)
{
	struct ntm_vif **link = &stack.vifs;
	struct pbuf *p, *next;

	if (!v->added)
		return;
	reset_all(&tcp_active_pcbs, netif_get_index(&v->netif));
	reset_all(&tcp_tw_pcbs, netif_get_index(&v->netif));
	v->up = false;
	while (*link != v)
		link = &(*link)->next;
	*link = v->next;
	stack.n_vifs--;
	for (p = v->netif.loop_first; p; p = next) {
		next = p->next;
		p->next = NULL;
		pbuf_free(p);
	}
	v->netif.loop_first = v->netif.loop_last = NULL;
	netif_remove(&v->netif);
	v->added = false;
}

void ntm_vif_select(struct ntm_vif *v, const uint8_t dst[16])
{
	struct netif **link;
	uint16_t mtu = dst ? narrow(v, dst) : STREAM_MTU;

	v->netif.mtu = v->netif.mtu6 = mtu;
	if (netif_list == &v->netif)
		return;
	/* Answers that lwIP makes by itself are routed by the first interface that fits: all of them do. */
	for (link = &netif_list; *link && *link != &v->netif; link = &(*link)->next)
		;
	if (*link) {
		*link = v->netif.next;
		v->netif.next = netif_list;
		netif_list = &v->netif;
	}
}

/* The peer says that a packet of ours did not reach its socket. inner: what it quotes. */
static void icmp_error(struct ntm_vif *v, bool v6, const uint8_t *icmp, size_t len)
{
	struct ntm_addr src = {0}, dst = {0};
	const uint8_t *ip = icmp + 8;
	size_t hdr;
	uint8_t protocol;
	bool port;

	if (len < 8)
		return;
	len -= 8;
	if (!v6) {
		if (icmp[0] != 3 || len < 20 || ip[0] >> 4 != 4)
			return;
		port = icmp[1] == 3;
		hdr = (size_t)(ip[0] & 15) * 4;
		protocol = ip[9];
		ntm_ip_from_v4(src.ip, ip + 12);
		ntm_ip_from_v4(dst.ip, ip + 16);
	} else {
		if (icmp[0] != 1 || len < 40 || ip[0] >> 4 != 6)
			return;
		port = icmp[1] == 4;
		hdr = 40;
		protocol = ip[6];
		memcpy(src.ip, ip + 8, 16);
		memcpy(dst.ip, ip + 24, 16);
	}
	if (hdr < 20 || len < hdr + 4)
		return;
	memcpy(&src.port, ip + hdr, 2);
	memcpy(&dst.port, ip + hdr + 2, 2);
	v->ops->unreachable(v->arg, protocol, &src, &dst, port ? ECONNREFUSED : EHOSTUNREACH);
}

static void arm(uint64_t *at, uint32_t in_ms)
{
	if (!*at)
		*at = now_ms() + in_ms;
}

static bool is_fragment(const uint8_t *p, bool v6)
{
	return v6 ? p[6] == 44 : (p[6] & 0x3f) || p[7];
}

void ntm_vif_input(struct ntm_vif *v, const uint8_t *packet, size_t len)
{
	bool v6 = len && packet[0] >> 4 == 6;
	uint8_t src[16], dst[16];
	struct pbuf *p;

	if (!v->up || len < (v6 ? 40u : 20u) || len > NTM_STACK_MTU_MAX || (!v6 && packet[0] >> 4 != 4))
		return;
	if (v6) {
		memcpy(src, packet + 8, 16);
		memcpy(dst, packet + 24, 16);
	} else {
		ntm_ip_from_v4(src, packet + 12);
		ntm_ip_from_v4(dst, packet + 16);
	}
	/* lwIP is built to forward. Not here: only what is for this instance, and comes from somebody else. */
	if (memcmp(dst, v6 ? v->vip6 : v->vip4, 16) || !memcmp(src, dst, 16))
		return;
	if (!v6 && packet[9] == 1 && !is_fragment(packet, false)) {
		size_t hdr = (size_t)(packet[0] & 15) * 4;

		if (hdr < len)
			icmp_error(v, false, packet + hdr, len - hdr);
	} else if (v6 && packet[6] == 58) {
		icmp_error(v, true, packet + 40, len - 40);
	}
	p = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);
	if (!p)
		return;
	memcpy(p->payload, packet, len);
	if (is_fragment(packet, v6)) {
		stack.reass_rounds = REASSEMBLY_ROUNDS;
		arm(&stack.reass_ms, REASSEMBLY_MS);
	}
	ntm_vif_select(v, packet[v6 ? 6 : 9] == IP_PROTO_TCP ? NULL : src);
	if (v->netif.input(p, &v->netif) != ERR_OK)
		pbuf_free(p);
}

bool ntm_vif_unsent(const struct ntm_vif *v)
{
	for (const struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next)
		if (pcb->netif_idx == netif_get_index(&v->netif) && (pcb->unsent || pcb->unacked))
			return true;
	return false;
}

static bool tcp_has_timers(void)
{
	return tcp_active_pcbs || tcp_tw_pcbs;
}

static void run_looped(struct ntm_vif *v)
{
	struct pbuf *p = take_looped(&v->netif), *next;

	for (; p; p = next) {
		next = p->next;
		p->next = NULL;
		if (!v->up || ip_input(p, &v->netif) != ERR_OK)
			pbuf_free(p);
	}
}

static bool anything_looped(void)
{
	for (const struct ntm_vif *v = stack.vifs; v; v = v->next)
		if (v->netif.loop_first->next)
			return true;
	return false;
}

void ntm_stack_run(void)
{
	enum { LOOPS = 16 }; /* a conversation with oneself must not keep others waiting */
	uint64_t now = now_ms();

	if (!stack.ready)
		return;
	for (unsigned i = 0; i < LOOPS && anything_looped(); i++)
		for (struct ntm_vif *v = stack.vifs, *next; v; v = next) {
			next = v->next;
			run_looped(v);
		}
	if (tcp_has_timers() && stack.tcp_ms && now >= stack.tcp_ms) {
		for (struct ntm_vif *v = stack.vifs; v; v = v->next)
			v->netif.mtu = v->netif.mtu6 = STREAM_MTU;
		tcp_tmr();
		stack.tcp_ms = now + TCP_TMR_INTERVAL;
	}
	if (stack.reass_ms && now >= stack.reass_ms) {
		ip_reass_tmr();
		ip6_reass_tmr();
		stack.reass_ms = stack.reass_rounds-- > 1 ? now + REASSEMBLY_MS : 0;
	}
	if (tcp_has_timers())
		arm(&stack.tcp_ms, TCP_TMR_INTERVAL);
	else
		stack.tcp_ms = 0;
}

int64_t ntm_stack_next(void)
{
	uint64_t now, at = 0;

	if (!stack.ready)
		return -1;
	if (anything_looped())
		return 0;
	if (tcp_has_timers())
		arm(&stack.tcp_ms, TCP_TMR_INTERVAL);
	at = stack.tcp_ms;
	if (stack.reass_ms && (!at || stack.reass_ms < at))
		at = stack.reass_ms;
	if (!at)
		return -1;
	now = now_ms();
	return at > now ? (int64_t)(at - now) : 0;
}
