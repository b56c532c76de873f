/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ntm-run: what the preloaded library asks its broker, over a SOCK_SEQPACKET socket, one request a connection.
 *
 * A virtual socket is, in the program, one end of a pair of AF_UNIX sockets; the broker has the other end, and moves
 * data between it and the virtual socket. So poll, epoll, dup, fork, exec and plain reads and writes are the kernel's
 * business. The broker's end is bound to an abstract name that says what it is, and getpeername() reads it: a
 * descriptor needs no table in the program, which fork() and exec() would take apart.
 *
 *   "\0ntm-run." KIND FAMILY "." ID      KIND: see below; FAMILY: 4 or 6, of the program's socket; ID: hexadecimal
 */
#ifndef NTM_RUN_PROTO_H
#define NTM_RUN_PROTO_H

#include <stdint.h>

#include "../common/addr.h"

#define NTM_RUN_ENV "NTM_RUN_SOCKET"
#define NTM_RUN_NAME "ntm-run."

enum ntm_run_kind {
	NTM_RUN_STREAM = 's', /* SOCK_STREAM: bytes */
	NTM_RUN_LISTENER =
	    'l', /* SOCK_SEQPACKET: struct ntm_run_accepted with a descriptor each; before listen(): nothing */
	NTM_RUN_CONNECTED = 'c', /* SOCK_SEQPACKET: datagrams */
	NTM_RUN_DATAGRAM = 'd',  /* SOCK_SEQPACKET: struct ntm_run_from and a datagram, both ways */
};

enum ntm_run_op {
	NTM_RUN_JOIN = 1, /* pid: lives as long as this process, or this connection */
	NTM_RUN_INFO,     /* answer: struct ntm_run_info */
	NTM_RUN_RESOLVE,  /* name */
	NTM_RUN_GETNAME,  /* addr */
	NTM_RUN_CONNECT,  /* addr, local, id of what was bound (or 0); answered when it is made, if not nonblock */
	NTM_RUN_BIND,     /* type, local; a descriptor: the same of the kernel's, which is served, too */
	NTM_RUN_LISTEN,   /* id, or local and a descriptor; backlog */
	NTM_RUN_STATE,    /* id: both addresses, and the error that ended it */
	NTM_RUN_OPTION,   /* id, level, option, value */
};

enum { NTM_RUN_ZONES = 5, NTM_RUN_NAME_MAX = 253 };

struct ntm_run_request {
	uint32_t op, id;
	int32_t family, type, nonblock, v6only, reuseaddr, nodelay, keepalive, backlog, pid;
	int32_t level, option, value;
	struct ntm_addr addr, local;
	char name[NTM_RUN_NAME_MAX + 1];
};

struct ntm_run_answer {
	int32_t err; /* errno; RESOLVE: EAI_* */
	uint32_t id;
	struct ntm_addr addr, local; /* RESOLVE: the IPv6 and IPv4 address */
	char name[NTM_RUN_NAME_MAX + 1];
};

struct ntm_run_info {
	int32_t n;
	struct {
		struct ntm_prefix pool4, pool6;
		char name[NTM_RUN_NAME_MAX + 1];
	} zones[NTM_RUN_ZONES];
};

struct ntm_run_accepted {
	struct ntm_addr addr; /* port 0: a socket of the kernel's, which knows */
};

struct ntm_run_from {
	struct ntm_addr addr;
};

#endif
