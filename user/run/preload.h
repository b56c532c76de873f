/* SPDX-License-Identifier: BSD-2-Clause */
/* The library that ntm-run preloads: what its files share. errno is kept by everything that does not fail. */
#ifndef NTM_RUN_PRELOAD_H
#define NTM_RUN_PRELOAD_H

#include <dlfcn.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "message.h"
#include "proto.h"

#define EXPORT __attribute__((visibility("default")))
/* The function that this one stands before. */
#define REAL(name)                                                                                              \
	({                                                                                                      \
		static __typeof__(&name) real_;                                                                 \
		if (!__atomic_load_n(&real_, __ATOMIC_RELAXED))                                                 \
			__atomic_store_n(&real_, (__typeof__(&name))dlsym(RTLD_NEXT, #name), __ATOMIC_RELAXED); \
		__atomic_load_n(&real_, __ATOMIC_RELAXED);                                                      \
	})

/* What a descriptor of ours is; see proto.h. */
struct described {
	char kind;
	int family;
	uint32_t id;
};
bool run_describe(int fd, struct described *d); /* false: not one of ours */

bool run_address(const struct sockaddr *sa, socklen_t len, struct ntm_addr *out); /* false: not IP */
void run_fill(int family, const struct ntm_addr *a, struct sockaddr *sa, socklen_t *len);
bool run_is_virtual(const struct ntm_addr *a);
bool run_is_virtual_name(const char *name);
/* Asks the broker. pass: a descriptor that goes along, -1: none; *got: the one that comes back (NULL: none is
 * expected). 0, or the errno value (or EAI_* of RESOLVE) that it says. */
int run_ask(struct ntm_run_request *q, int pass, struct ntm_run_answer *a, int *got);

/* Takes fd out of the epoll sets of this process, and puts into them what has its number by then. */
struct run_watch;
struct run_watch *run_unwatch(int fd);
void run_watch_again(struct run_watch *all, int fd);

extern bool run_has_datagrams; /* some descriptor may be a NTM_RUN_DATAGRAM */

#endif
