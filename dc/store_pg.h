/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the PostgreSQL engine share. Calls block, so each is bounded, by the server and, should that hang,
 * here; while the server is away they fail at once, and the connection is made again little by little, by whoever
 * calls.
 */
#ifndef NTM_DC_STORE_PG_H
#define NTM_DC_STORE_PG_H

#include <libpq-fe.h>

#include "store.h"

enum { NTM_PG_ARGS_MAX = 8 };

struct ntm_pg_store {
	struct ntm_store base;
	PGconn *db;
	uint64_t holder; /* this process: 63 random bits */
	bool held;       /* the others see by a lock that this process lives */
	bool lost;       /* the connection is of no use any more */
	char *conninfo;
	struct ntm_pg_hosts {
		char *host, *hostaddr, *port; /* as in conninfo: lists */
		unsigned n, at, tried; /* at: the one that is, or was last, connected to; tried: since it was lost */
		unsigned patience_ms;  /* with each */
	} hosts;
	bool connecting; /* PQconnectPoll() is under way */
	PostgresPollingStatusType step;
	uint64_t retry_at_ms; /* monotonic: no new connection before that; while connecting: given up then */
	uint64_t began_ms;    /* the try for a connection, of all hosts */
	unsigned backoff_ms;
	unsigned patience_ms; /* what the call under way may wait for a connection */
	char channel[80];     /* of notifications; quoted as an identifier */
	bool listens;         /* the server has LISTEN */
	bool notified;        /* there may be changes */
	bool doubtful;        /* whether a change of our own was made is not known */
	uint64_t looked_ms;   /* when it was asked for changes last */
	int64_t seq;          /* the last change that was told */
	uint64_t notifications, times_lost;
};

/* Parameters of a statement, $1 first. What they point to is the caller's until it was run. */
struct ntm_pg_args {
	int n;
	const char *values[NTM_PG_ARGS_MAX];
	int lengths[NTM_PG_ARGS_MAX], formats[NTM_PG_ARGS_MAX];
	uint64_t ints[NTM_PG_ARGS_MAX];
};

static inline struct ntm_pg_store *ntm_pg(struct ntm_store *s)
{
	return (struct ntm_pg_store *)(void *)s;
}

void ntm_pg_int(struct ntm_pg_args *a, int64_t v);
void ntm_pg_blob(struct ntm_pg_args *a, const void *data, size_t len);
void ntm_pg_text(struct ntm_pg_args *a, const char *text); /* NULL: SQL's NULL; arrays are text, too */

/*
 * Runs one statement. 0 and *res, which the caller clears, with the columns in binary; -EAGAIN if the transaction is to
 * be tried again; -EIO, logged. a NULL: no parameters. res NULL: nobody looks at the rows.
 */
int ntm_pg_query(struct ntm_pg_store *s, const char *sql, const struct ntm_pg_args *a, PGresult **res);
int64_t ntm_pg_get_int(const PGresult *res, int row, int col); /* NULL: 0 */

/*
 * Runs work in a transaction of its own, again if the server says so. Awaited: on the disk when this returns, and one
 * at a time over all processes, so that each sees what the one before left. No address and no token is given twice even
 * without that, by unique constraints; it saves the second try. Behind: on the disk a little later.
 */
enum ntm_pg_kind { NTM_PG_AWAITED, NTM_PG_BEHIND };
typedef int (*ntm_pg_work)(struct ntm_pg_store *s, void *arg);
int ntm_pg_transaction(struct ntm_pg_store *s, enum ntm_pg_kind kind, ntm_pg_work work, void *arg);

/* store_pg_conn.c: the connection. 0, or -EIO and the server's words in why, one line. */
int ntm_pg_connect(struct ntm_pg_store *s, const char *conninfo, char *why, size_t cap);
void ntm_pg_disconnect(struct ntm_pg_store *s);
int ntm_pg_ready(struct ntm_pg_store *s); /* there is a connection, or a step is taken towards one: -EIO */
/* Bounded in time. The result, NULL if the connection was lost over it. a NULL: no parameters, several statements. */
PGresult *ntm_pg_exec(struct ntm_pg_store *s, const char *sql, const struct ntm_pg_args *a);
void ntm_pg_name(uint64_t holder, char out[32]); /* application_name */
void ntm_pg_one_line(char *text);
uint64_t ntm_pg_now_ms(void); /* monotonic */
/* While this process lives, the others see that it does. */
int ntm_pg_hold(struct ntm_store *base, char *why, size_t cap);

/* store_pg_shared.c: several processes */
enum { NTM_PG_ADDR_LEN = 18 }; /* of an address in a column */
int ntm_pg_note_change(struct ntm_pg_store *s, const char *kind, uint64_t node_id, const char *name); /* inside */
int ntm_pg_join(struct ntm_store *base, const struct ntm_process_record *me);
uint64_t ntm_pg_holder(const struct ntm_store *base);
int ntm_pg_leave(struct ntm_store *base, uint64_t holder);
int ntm_pg_each_process(struct ntm_store *base, ntm_store_visit_process visit, void *arg);
int ntm_pg_process_gone(struct ntm_store *base, uint64_t holder);
int ntm_pg_changes(struct ntm_store *base, ntm_store_visit_change visit, void *arg);
struct ntm_store_health ntm_pg_health(const struct ntm_store *base);

/* store_pg_nodes.c */
int ntm_pg_node_by_key(struct ntm_store *base, const uint8_t key[NTM_DH_LEN], struct ntm_node_record *out);
int ntm_pg_node_by_label(struct ntm_store *base, const char *label, struct ntm_node_record *out);
int ntm_pg_node_by_index(struct ntm_store *base, uint32_t index, struct ntm_node_record *out);
int ntm_pg_node_after_index(struct ntm_store *base, uint32_t index, struct ntm_node_record *out);
int ntm_pg_node_by_id(struct ntm_store *base, uint64_t id, struct ntm_node_record *out);
int ntm_pg_each_node(struct ntm_store *base, enum ntm_store_nodes which, ntm_store_visit visit, void *arg);
int ntm_pg_highest_index(struct ntm_store *base, uint32_t *index);
int ntm_pg_count_nodes(struct ntm_store *base, uint64_t *n);
int ntm_pg_save_presence(struct ntm_store *base, const struct ntm_presence *p, size_t n);
/* store_pg_enrol.c */
int ntm_pg_enrol(struct ntm_store *base, const struct ntm_enrolment *e, struct ntm_node_record *out, const char **why);
int ntm_pg_admit(struct ntm_store *base, const struct ntm_admission *a, struct ntm_node_record *out, const char **why);
int ntm_pg_token_create(struct ntm_store *base, const char *token, const char *label, int64_t now_s, int64_t expires_s);
int ntm_pg_revoke(struct ntm_store *base, const char *label, int64_t now_s, struct ntm_node_record *out);
int ntm_pg_rekey(struct ntm_store *base, uint64_t id, const uint8_t key[NTM_DH_LEN]);
/* store_pg_paths.c */
int ntm_pg_save_paths(struct ntm_store *base, const struct ntm_path_record *p, size_t n);
int ntm_pg_take_paths(struct ntm_store *base, const struct ntm_path_record *p, size_t n);
int ntm_pg_remove_paths(struct ntm_store *base, const struct ntm_path_record *p, size_t n);
int ntm_pg_purge_paths(struct ntm_store *base, int64_t before_s);
int ntm_pg_each_path(struct ntm_store *base, uint64_t node, bool only_released, ntm_store_visit_path visit, void *arg);

#endif
