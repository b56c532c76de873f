/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libntm: NTMobile inside one program, without root, without a kernel part. One call registers with a Direction
 * Coordinator (DC) and gives the program a name and a virtual IPv4 and IPv6 address that stay whatever network it moves
 * to; after that, BSD-like sockets on a TCP/IP stack of its own talk to any other node of the zone.
 *
 * Calls that take or make a descriptor behave as their namesakes of POSIX: -1 and errno on failure, blocking unless
 * NTM_SOCK_NONBLOCK (SOCK_NONBLOCK), O_NONBLOCK by ntm_fcntl(), or MSG_DONTWAIT says otherwise. Nothing here raises
 * SIGPIPE: EPIPE is returned. Addresses are struct sockaddr_in and sockaddr_in6, as everywhere.
 *
 * Who drives: there is no thread behind this, unless NTM_THREAD asks for one. Blocking calls drive all of the process's
 * instances while they wait. A program with an event loop watches ntm_fd() for reading, and calls ntm_process() when
 * it is readable. While nobody drives, packets wait and paths starve: a program that computes for seconds should take
 * the thread.
 *
 * Threads: every call may be made from any thread; one lock serialises them, and is not held while a call waits. Not
 * from signal handlers. After fork() the child has no instance: its calls fail with EBADF, and it may register anew
 * only after exec().
 */
#ifndef LIBNTM_H
#define LIBNTM_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

struct addrinfo;
struct sockaddr_in;
struct sockaddr_in6;

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* Descriptors from here on are virtual ones; those below are the kernel's, and ntm_poll() takes both. */
#define NTM_FD_BASE 0x01000000

struct ntm; /* an instance: one identity, registered with one DC */

enum ntm_event_kind {
	NTM_EV_REGISTERED = 1, /* with the DC: names and new paths can be asked for */
	NTM_EV_REFUSED,        /* by the DC; text says why */
	NTM_EV_DISCONNECTED,   /* the DC does not answer; paths that are there go on */
	NTM_EV_MOVED,          /* this host's real addresses have changed */
};

enum {
	NTM_THREAD = 1, /* a thread drives (all instances of the process) */
	NTM_NOWAIT = 2, /* ntm_register() returns at once; sockets work from NTM_EV_REGISTERED on */
};

struct ntm_config {
	const char *name;          /* one label: "alice" */
	const char *private_key;   /* base64, as `ntm genkey` writes it; this is the identity */
	const char *dc_endpoints;  /* "192.0.2.1:4680, [2001:db8::1]:4680" */
	const char *dc_public_key; /* base64; more than one, separated by commas, while the DC changes its key */
	const char *token;         /* enrols an unknown key, once; NULL: none */
	const char *uplinks;       /* "eth0, wlan0"; NULL: all */
	uint16_t port;             /* UDP port of the tunnels, host order; 0: any */
	unsigned flags;            /* NTM_THREAD, NTM_NOWAIT */
	int timeout_ms;            /* ntm_register() waits so long; 0: 10 s */
	/* Called by whoever drives, with the lock held: calls that don't block are allowed in it. May be NULL. */
	void (*event)(void *arg, struct ntm *n, enum ntm_event_kind kind, const char *text);
	void *arg;
};

/*
 * 0, and the instance in *out. -1 with errno: EINVAL (a field is missing or makes no sense), EACCES (the DC refuses
 * this key, name or token), EEXIST (the name is another key's), ETIMEDOUT (no answer), EADDRINUSE (port), ENOMEM,
 * EMFILE (descriptors, or 250 instances of this process). ntm_reason() has a sentence. The strings are copied, the key
 * is wiped at the end.
 */
int ntm_register(const struct ntm_config *config, struct ntm **out);
const char *ntm_reason(void); /* why this thread's last ntm_register() or ntm_getaddrinfo() failed; "" if it didn't */
/* Resets what is still connected after at most 2 s for what was written and not yet acknowledged. Descriptors end. */
void ntm_unregister(struct ntm *n);

/* Of this instance; ENOTCONN until it is registered. name: cap bytes, "alice.ntm.example". Any may be NULL. */
int ntm_identity(struct ntm *n, char *name, size_t cap, struct sockaddr_in *vip4, struct sockaddr_in6 *vip6);
/* Is this address one of the zone, or of a zone that its DC federates with? 1, 0, or -1 with EAFNOSUPPORT. */
int ntm_is_virtual(struct ntm *n, const struct sockaddr *sa, socklen_t len);
/* Is this a name that ntm_getaddrinfo() answers itself? 1 or 0. */
int ntm_is_virtual_name(struct ntm *n, const char *name);
/* The host's real addresses have changed: looks at once, tells DC and peers. 0, or -1 with errno. */
int ntm_notify_address_change(struct ntm *n);

/* One for the process. Readable: ntm_process() has something to do. Closed with the last instance. -1: none. */
int ntm_fd(void);
int ntm_process(void); /* does what is to be done now, never waits. 0, or -1 with EBADF: no instance */

/* domain AF_INET or AF_INET6 (which takes IPv4 too unless IPV6_V6ONLY); type SOCK_STREAM, SOCK_DGRAM; for SOCK_DGRAM
 * protocol IPPROTO_UDP, or IPPROTO_ICMP, IPPROTO_ICMPV6: echo requests with their header, as Linux's ping sockets. */
int ntm_socket(struct ntm *n, int domain, int type, int protocol);
int ntm_connect(int s, const struct sockaddr *sa, socklen_t len);
int ntm_bind(int s, const struct sockaddr *sa, socklen_t len); /* to a virtual address of its own, or to any */
int ntm_listen(int s, int backlog);
int ntm_accept(int s, struct sockaddr *sa, socklen_t *len);
int ntm_accept4(int s, struct sockaddr *sa, socklen_t *len, int flags);
/* flags: MSG_DONTWAIT, MSG_NOSIGNAL, MSG_MORE; MSG_PEEK, MSG_WAITALL, MSG_TRUNC. MSG_OOB: EOPNOTSUPP. */
ssize_t ntm_send(int s, const void *buf, size_t len, int flags);
ssize_t ntm_recv(int s, void *buf, size_t len, int flags);
ssize_t ntm_sendto(int s, const void *buf, size_t len, int flags, const struct sockaddr *sa, socklen_t salen);
ssize_t ntm_recvfrom(int s, void *buf, size_t len, int flags, struct sockaddr *sa, socklen_t *salen);
ssize_t ntm_sendmsg(int s, const struct msghdr *msg, int flags); /* control data is ignored */
ssize_t ntm_recvmsg(int s, struct msghdr *msg, int flags);
int ntm_shutdown(int s, int how);
int ntm_close(int s);
int ntm_getsockname(int s, struct sockaddr *sa, socklen_t *len);
int ntm_getpeername(int s, struct sockaddr *sa, socklen_t *len);
/*
 * SOL_SOCKET: SO_ERROR, SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ACCEPTCONN, SO_REUSEADDR, SO_KEEPALIVE, SO_LINGER,
 * SO_RCVBUF, SO_SNDBUF, SO_RCVTIMEO, SO_SNDTIMEO. IPPROTO_TCP: TCP_NODELAY, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT,
 * TCP_MAXSEG (read). IPPROTO_IP: IP_TOS, IP_TTL. IPPROTO_IPV6: IPV6_V6ONLY, IPV6_TCLASS, IPV6_UNICAST_HOPS. Others:
 * ENOPROTOOPT.
 */
int ntm_setsockopt(int s, int level, int name, const void *value, socklen_t len);
int ntm_getsockopt(int s, int level, int name, void *value, socklen_t *len);
int ntm_fcntl(int s, int cmd, ...);               /* F_GETFL, F_SETFL: O_NONBLOCK; F_GETFD, F_SETFD do nothing */
int ntm_ioctl(int s, unsigned long request, ...); /* FIONREAD, FIONBIO, SIOCOUTQ */
/* Virtual and kernel descriptors side by side. */
int ntm_poll(struct pollfd *fds, nfds_t n, int timeout_ms);

/*
 * As getaddrinfo(). A name of the zone (or of a federated one) is resolved by the DC, and the path to it is set up
 * before this returns, 2 s at most; a numeric address is taken as it is. Other names are EAI_NONAME: they are the
 * system's business. EAI_AGAIN: the DC or the other end did not answer. Free with ntm_freeaddrinfo().
 */
int ntm_getaddrinfo(struct ntm *n, const char *node, const char *service, const struct addrinfo *hints,
		    struct addrinfo **res);
void ntm_freeaddrinfo(struct addrinfo *res);
/* The name of a peer that a path is known to, or of this instance. ENOENT: not known. */
int ntm_getname(struct ntm *n, const struct sockaddr *sa, socklen_t len, char *name, size_t cap);

/* Where the library's log lines go, for the process: level 0 error, 1 warning, 2 information, 3 debugging. fn NULL: to
 * stderr if the environment has NTM_LOG=error|warn|info|debug, else nowhere, which is how it starts. */
void ntm_set_log(void (*fn)(void *arg, int level, const char *line), void *arg, int max_level);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
