/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What outlives the process, in words of the domain: nodes, their addresses, tokens. An engine fills the vtable; one
 * contract suite (tests/unit/dc_store.c) runs on each. Calls block, belong to one thread, and return 0 or -errno:
 * -EIO is the engine's failure, logged by the engine with its own words. Outputs are untouched on failure.
 */
#ifndef NTM_DC_STORE_H
#define NTM_DC_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ntm/limits.h>

#include "../user/common/addr.h"

struct ntm_node_record {
	uint64_t id;
	char label[NTM_LABEL_MAX + 1]; /* lower case */
	uint8_t public_key[NTM_DH_LEN];
	uint32_t index; /* into the pools (pool.h); 0: a revoked node whose address was given to another */
	int64_t created_s;
	int64_t revoked_s;        /* 0: not revoked */
	int64_t last_seen_s;      /* 0: never */
	struct ntm_addr endpoint; /* where it was last seen; zero: nowhere */
	struct ntm_addr via;      /* own address that it talked to */
	bool online;              /* as last written: a process that died leaves it */
	bool relay;               /* let in by the configuration */
};

/* A node that asks to be let in. */
struct ntm_enrolment {
	const char *label; /* valid, lower case */
	const uint8_t *public_key;
	const char *token;
	uint32_t last_index; /* of the pools */
	int64_t now_s;
};

/* A relay: its name and key stand in the configuration. */
struct ntm_admission {
	const char *label; /* valid, lower case */
	const uint8_t *public_key;
	uint32_t last_index; /* of the pools */
	int64_t now_s;
};

enum ntm_store_nodes { NTM_STORE_ALL, NTM_STORE_ONLINE, NTM_STORE_RELAYS }; /* relays: not revoked */

/* What may be written behind: where a node is. */
struct ntm_presence {
	uint64_t id;
	struct ntm_addr endpoint, via;
	int64_t last_seen_s;
	bool online;
};

/* A path between two nodes, as directed. */
struct ntm_path_record {
	uint64_t id;
	uint64_t nodes[2];
	int64_t created_s;
};

/* What is written behind: of paths that were released, taken over, directed; of nodes. */
struct ntm_store_batch {
	const struct ntm_path_record *gone, *taken, *paths; /* in this order */
	const struct ntm_presence *presence;
	size_t n_gone, n_taken, n_paths, n_presence;
};

/* A process of this DC that has the store open, and where the others reach it. */
enum { NTM_STORE_PROCESS_ADDRS = 8 };
struct ntm_process_record {
	uint64_t holder; /* its number: random, never 0 */
	uint8_t public_key[NTM_DH_LEN];
	struct ntm_addr addrs[NTM_STORE_PROCESS_ADDRS];
	size_t n_addrs;
};

/* What another process changed. */
enum ntm_store_change_kind {
	NTM_STORE_NODE,      /* let in, or again: node_id */
	NTM_STORE_REVOKED,   /* node_id */
	NTM_STORE_SETTING,   /* name */
	NTM_STORE_PROCESSES, /* one came or went */
	NTM_STORE_MISSED,    /* changes that are not on record any more: look at everything */
};
struct ntm_store_change {
	enum ntm_store_change_kind kind;
	uint64_t node_id;
	const char *name;
	uint32_t lag_ms; /* since it was made, by the server's clock */
};

struct ntm_store_health {
	bool up;                /* the last call found the server there */
	bool listens;           /* hears of changes; else it asks */
	uint64_t notifications; /* heard */
	uint64_t lost;          /* times that the connection broke */
};

struct ntm_store;
typedef int (*ntm_store_visit)(void *arg, const struct ntm_node_record *node); /* not 0: stop, and return it */
typedef int (*ntm_store_visit_process)(void *arg, const struct ntm_process_record *process);
typedef int (*ntm_store_visit_change)(void *arg, const struct ntm_store_change *change);
typedef int (*ntm_store_visit_path)(void *arg, uint64_t path_id, const uint8_t peer_key[NTM_DH_LEN]);

struct ntm_store_ops {
	void (*close)(struct ntm_store *s);

	/*
	 * Settings that must not change under given addresses: stores text under name the first time; later -EEXIST
	 * with the stored text in was if it differs. replace: overwrite.
	 */
	int (*setting)(struct ntm_store *s, const char *name, const char *text, bool replace, char *was, size_t cap);
	int (*highest_index)(struct ntm_store *s, uint32_t *index); /* ever given; 0: none */
	int (*count_nodes)(struct ntm_store *s, uint64_t *n);       /* not revoked */

	/* 0 or -ENOENT. By label: the live node, else the one revoked last. */
	int (*node_by_key)(struct ntm_store *s, const uint8_t key[NTM_DH_LEN], struct ntm_node_record *out);
	int (*node_by_label)(struct ntm_store *s, const char *label, struct ntm_node_record *out);
	int (*node_by_index)(struct ntm_store *s, uint32_t index, struct ntm_node_record *out);
	/* the live node with the lowest index above that */
	int (*node_after_index)(struct ntm_store *s, uint32_t index, struct ntm_node_record *out);
	int (*each_node)(struct ntm_store *s, enum ntm_store_nodes which, ntm_store_visit visit, void *arg);

	/*
	 * Checks and consumes the token, and makes the node with the lowest index never given (when all were: the
	 * index of the node that was revoked first), all or nothing, durable on return. -EACCES: no such token, used
	 * or expired (why tells the log which); -EPERM: token bound to another name; -EEXIST: name taken;
	 * -EALREADY: the key is a node already, *out is that one and the token is untouched; -ENOSPC: no address left.
	 */
	int (*enrol)(struct ntm_store *s, const struct ntm_enrolment *e, struct ntm_node_record *out, const char **why);

	/*
	 * The relay's record, made if the key has none, with an address as enrol gives it; a revoked one lives again.
	 * Durable on return. -EEXIST: the name is another live key's, or the key is another name's, and why says which;
	 * -ENOSPC.
	 */
	int (*admit)(struct ntm_store *s, const struct ntm_admission *a, struct ntm_node_record *out, const char **why);

	/* label NULL: any name. The store keeps only a hash. */
	int (*token_create)(struct ntm_store *s, const char *token, const char *label, int64_t now_s,
			    int64_t expires_s);

	/*
	 * The live node of that name, and marks its paths as released; -ENOENT, or -EALREADY with *out if it was
	 * revoked before. Durable on return.
	 */
	int (*revoke)(struct ntm_store *s, const char *label, int64_t now_s, struct ntm_node_record *out);

	/*
	 * The node, which lives, has this key from now on and the former one is nobody's. -ENOENT; -EEXIST: the key is
	 * another's, or a revoked node's. One that it has already is no error. Durable on return.
	 */
	int (*rekey)(struct ntm_store *s, uint64_t id, const uint8_t key[NTM_DH_LEN]);

	/* Many at once, in one transaction; may be lost by a power failure. */
	int (*save_presence)(struct ntm_store *s, const struct ntm_presence *p, size_t n);
	int (*save_paths)(struct ntm_store *s, const struct ntm_path_record *p, size_t n); /* replaces the pair's */
	/*
	 * Likewise, but a pair's path stays if it is of that time or later, and what marks it as released does in any
	 * case. One of a revoked node is marked, one of a node that was never there is left out.
	 */
	int (*take_paths)(struct ntm_store *s, const struct ntm_path_record *p, size_t n);
	/* those that are still their pairs' */
	int (*remove_paths)(struct ntm_store *s, const struct ntm_path_record *p, size_t n);
	/*
	 * All of these by a thread, while the store's own goes on; NULL: an engine that has none. The batch and what is
	 * in it stay the caller's and as they are until save_end says how it went, with -EAGAIN: not yet (never, with
	 * wait). After an error some of it may be written, so all of it has to be once more. One at a time.
	 */
	void (*save_begin)(struct ntm_store *s, const struct ntm_store_batch *batch);
	int (*save_end)(struct ntm_store *s, bool wait);

	/* The node's paths with the other end's key. only_released: those whose other end was revoked. */
	int (*each_path)(struct ntm_store *s, uint64_t node, bool only_released, ntm_store_visit_path visit, void *arg);
	int (*purge_paths)(struct ntm_store *s, int64_t before_s); /* and what else is only kept for a while */

	/*
	 * Several processes over one store. An engine that serves one process has NULL for all of these.
	 *
	 * join: this process is one of them, or still is (its record may have been cleared away while the server was
	 * gone); those that died are cleared away. Changes are told from then on. -EBUSY: a process with another key
	 * has the store.
	 */
	int (*join)(struct ntm_store *s, const struct ntm_process_record *me);
	uint64_t (*holder)(const struct ntm_store *s); /* this process */
	int (*leave)(struct ntm_store *s, uint64_t holder);
	int (*each_process)(struct ntm_store *s, ntm_store_visit_process visit, void *arg);
	/* 0: it does not have the store open any more: it is dead, or its server thinks so. -EBUSY: it has. */
	int (*process_gone)(struct ntm_store *s, uint64_t holder);
	int (*node_by_id)(struct ntm_store *s, uint64_t id, struct ntm_node_record *out); /* 0 or -ENOENT */
	/* Those since the last call. Costs one system call while there is none: to be called every few ms. */
	int (*changes)(struct ntm_store *s, ntm_store_visit_change visit, void *arg);
	struct ntm_store_health (*health)(const struct ntm_store *s);
};

struct ntm_store {
	const struct ntm_store_ops *ops;
};

/* -EIO, or -ENOTSUP if a newer version wrote it; why says it in a sentence. */
int ntm_store_sqlite_open(const char *file, struct ntm_store **out, char *why, size_t cap);
/* conninfo: libpq's, a string of keywords or a URI. Several processes may have it open at this level. */
int ntm_store_pg_open(const char *conninfo, struct ntm_store **out, char *why, size_t cap);
/* As a daemon does. store: as the configuration has it, a file or "postgres:" and a conninfo. -EBUSY: another has it.
 */
int ntm_store_open(const char *store, struct ntm_store **out, char *why, size_t cap);
const char *ntm_store_conninfo(const char *store); /* NULL: a file */
const char *ntm_store_name(const char *store);     /* for messages: a conninfo may have a password in it */

static inline void ntm_store_close(struct ntm_store *s)
{
	if (s)
		s->ops->close(s);
}

#endif
