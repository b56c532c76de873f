/* SPDX-License-Identifier: BSD-2-Clause */
/* The TCP half of the DNS server. */
#ifndef NTM_DC_DNS_TCP_H
#define NTM_DC_DNS_TCP_H

#include <sys/queue.h>

#include "dns_server.h"

struct ntm_dns_conn;
TAILQ_HEAD(ntm_dns_conn_list, ntm_dns_conn);

struct ntm_dns_listener {
	uv_tcp_t tcp;
	bool waiting; /* a connection is there that there was no memory for */
};

struct ntm_dns_tcp {
	uv_loop_t *loop;
	struct ntm_dns_answerer *answerer;
	struct ntm_dns_stats *stats;
	struct ntm_dns_listener *listeners;
	size_t n_listeners;
	uv_timer_t sweep;
	struct ntm_dns_conn_list conns; /* the one silent longest first */
	size_t n_conns;
	size_t open; /* handles that are not closed yet */
	void (*closed)(void *arg);
	void *arg;
	uint8_t out[NTM_DNS_TCP_MAX];
};

/* Listens on n addresses. On failure, too, ntm_dns_tcp_stop() is due. */
int ntm_dns_tcp_start(struct ntm_dns_tcp *t, const struct ntm_addr *listen, size_t n, char *why, size_t cap);
/* closed is called once no handle is open any more. */
void ntm_dns_tcp_stop(struct ntm_dns_tcp *t, void (*closed)(void *arg), void *arg);

#endif
