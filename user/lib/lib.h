/* SPDX-License-Identifier: BSD-2-Clause */
/* What the library's files share: instances and sockets. Everything is used between ntm_enter() and ntm_leave(). */
#ifndef NTM_LIB_LIB_H
#define NTM_LIB_LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../engine/udpio.h"
#include "../node/agent.h"
#include "libntm.h"
#include "ring.h"
#include "stack.h"

enum {
	VS_MAX = 65536,
	VS_RCVBUF = 1 << 20,
	VS_SNDBUF = 1 << 20,
	VS_BUF_MAX = 8 << 20,
	VS_BUF_MIN = 4096,
	VS_UDP_RCVBUF = 512 << 10,
	VS_BACKLOG_MAX = 4096,
	VS_DGRAM_OVERHEAD = 256, /* what a queued datagram costs besides its bytes */
};

struct ntm {
	struct ntm *next; /* engine's */
	struct ntm_agent *agent;
	struct ntm_vif vif;
	struct ntm_udp_tx *tx; /* datagrams of paths wait here until the end of a turn, to leave together */
	unsigned flags;
	bool registered, ending;
	void (*event)(void *arg, struct ntm *n, enum ntm_event_kind kind, const char *text);
	void *arg;
	char refused[160]; /* by the DC: why; "": not so */
	int refused_errno;
};

enum vs_state { VS_NEW, VS_LISTEN, VS_CONNECTING, VS_CONNECTED, VS_DEAD };

struct dgram {
	struct dgram *next;
	struct ntm_addr from;
	size_t len;
	uint8_t data[];
};

struct vsock {
	int id;
	struct ntm *host; /* NULL: its instance has ended */
	int domain, type, protocol;
	enum vs_state state;
	bool nonblock, bound, rd_shut, wr_shut;
	int error;                   /* SO_ERROR, positive */
	int dead;                    /* what calls fail with once it is VS_DEAD; 0: end of file */
	struct ntm_addr local, peer; /* all zero ip: any */
	void (*wake)(
	    struct vsock *s); /* something has changed; called in the middle of things: only to be noted. May be NULL */
	void *user;
	bool directing; /* waits for its path */

	bool reuseaddr, keepalive, nodelay, v6only, linger_on;
	int linger_s, rcvbuf, sndbuf, tos, ttl;
	int64_t rcvtimeo, sndtimeo; /* milliseconds, 0: for ever */
	uint32_t keepidle_s, keepintvl_s, keepcnt;

	/* tcp.c */
	struct tcp_pcb *pcb;          /* NULL before and after */
	struct tcp_pcb *listeners[2]; /* IPv4, IPv6 */
	struct ring rx;
	bool eof;
	uint16_t peer_mss, mtu; /* what its SYN allows; the path's */
	struct vsock *accept_first, *accept_last, *accept_next, *listener;
	unsigned backlog, pending;

	/* dgram.c */
	struct udp_pcb *udp[2];
	struct raw_pcb *raw;
	struct dgram *dg_first, *dg_last;
	size_t dg_bytes;
};

/* sock.c */
struct vsock *vs_get(int s); /* NULL and errno: EBADF, ENETDOWN (its instance has ended) */
struct vsock *vs_new(struct ntm *n, int domain, int type, int protocol); /* NULL and errno */
void vs_free(struct vsock *s);     /* out of the table; what hangs on it is gone already */
int vs_bind_auto(struct vsock *s); /* 0 or -errno */
void vs_host_gone(struct ntm *n);  /* all of its sockets end */
/* "Has it to do with this peer?" etc. over all sockets of an instance. */
void vs_foreach(struct ntm *n, void (*fn)(struct vsock *s, void *arg), void *arg);
int vs_fail(int err); /* leaves, sets errno to -err, returns -1 */
static inline void vs_wake(struct vsock *s)
{
	if (s->wake)
		s->wake(s);
}
bool vs_readable(const struct vsock *s);
bool vs_writable(const struct vsock *s);
/* Address in the form of the socket's domain. */
int vs_addr_in(const struct vsock *s, const struct sockaddr *sa, socklen_t len, struct ntm_addr *out);
void vs_addr_out(const struct vsock *s, const struct ntm_addr *a, struct sockaddr *sa, socklen_t *len);
const uint8_t *vs_own_ip(const struct vsock *s, const uint8_t to[16]); /* to send from */
bool vs_is_any(const uint8_t ip[16]);
uint16_t vs_random_port(void); /* host order */
int vs_errno(signed char lwip_err);

/* tcp.c */
int tcp_vs_bind(struct vsock *s, const struct ntm_addr *a);
int tcp_vs_listen(struct vsock *s, int backlog);
int tcp_vs_connect(struct vsock *s); /* to s->peer; the path is there. 0: under way */
size_t tcp_vs_room(const struct vsock *s);
ssize_t tcp_vs_write(struct vsock *s, const void *data, size_t len, bool more); /* what there is room for, or -errno */
void tcp_vs_read(struct vsock *s, size_t len);                                  /* that much has gone out of s->rx */
void tcp_vs_shutdown_tx(struct vsock *s);
void tcp_vs_close(struct vsock *s);
void tcp_vs_options(struct vsock *s); /* s's options into lwIP's */
void tcp_vs_path_changed(struct vsock *s, uint16_t mtu, bool moved);
size_t tcp_vs_unacked(const struct vsock *s);

/* dgram.c */
int dgram_vs_bind(struct vsock *s, const struct ntm_addr *a);
ssize_t dgram_vs_send(struct vsock *s, const void *data, size_t len, const struct ntm_addr *to);
void dgram_vs_close(struct vsock *s);
void dgram_vs_options(struct vsock *s);

/* host.c */
void ntm_host_flush_all(void);
bool ntm_host_is_virtual(const struct ntm *n, const uint8_t ip[16]);
/* A name of the zone, or of one that its DC federates with, in lower case and without the last dot? */
bool ntm_name_in_zones(const struct ntm *n, const char *name, char out[NTM_NAME_MAX + 1]);
uint16_t ntm_host_mtu(struct ntm *n, const uint8_t ip[16]);
void ntm_set_reason(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
