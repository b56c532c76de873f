/* SPDX-License-Identifier: BSD-2-Clause */
/* The Direction Coordinator: what its parts share. One loop; threads beside it share only what their files say. */
#ifndef NTM_DC_DC_H
#define NTM_DC_DC_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "../user/common/cookie.h"
#include "../user/common/ctlsock.h"
#include "../user/common/metrics.h"
#include "../user/common/signal_codec.h"
#include "../user/common/version.h"
#include "audit.h"
#include "backup.h"
#include "cluster.h"
#include "config.h"
#include "dns.h"
#include "events.h"
#include "identity.h"
#include "net.h"
#include "nodes.h"
#include "outbox.h"
#include "paths.h"
#include "peers.h"
#include "policy.h"
#include "ratelimit.h"
#include "relays.h"
#include "responder.h"
#include "sessions.h"
#include "store.h"
#include "ticket.h"
#include "write_behind.h"

/* X(symbol, what is counted); `ntm status` of the DC prints them. */
/* clang-format off */
#define NTM_DC_COUNTERS(X) \
	X(bad_form, "not a message that a DC gets: length, version or type") \
	X(bad_mac1, "handshakes from senders that do not know this DC's key") \
	X(cookies_sent, "handshakes answered with a cookie, under load") \
	X(rate_limited, "handshakes beyond what one address may begin, under load") \
	X(bad_handshake, "handshakes that failed after mac1 held") \
	X(handshakes_refused, "handshakes not answered because too many others waited") \
	X(sessions_made, "sessions answered") \
	X(unknown_session, "sealed messages for no session of this process") \
	X(bad_seal, "sealed messages that failed authentication") \
	X(replayed, "sealed messages seen before") \
	X(malformed, "authenticated messages that could not be decoded") \
	X(errors_sent, "requests answered with an error") \
	X(registrations, "registrations answered") \
	X(enrolments, "nodes let in by a token") \
	X(key_changes, "nodes and relays that took over another key") \
	X(directions, "direction requests answered") \
	X(denials, "direction requests that the policy denies") \
	X(path_reports, "reports of paths answered") \
	X(paths_taken, "paths of such reports that this process did not know") \
	X(bad_tickets, "paths of such reports that this DC did not direct, or not between these two") \
	X(keepalives, "keep-alives answered") \
	X(relay_directions, "paths given to a relay") \
	X(relay_refusals, "paths that a relay refused or did not answer for") \
	X(relays_lost, "times that a relay went offline") \
	X(openers, "datagrams that open a NAT for what this process may have to say")
/* clang-format on */

struct ntm_dc_counters {
#define X(symbol, meaning) uint64_t symbol;
	NTM_DC_COUNTERS(X)
#undef X
};

#define NTM_DC_POLICY_SETTING "policy" /* its text, in a store of several processes */

struct ntm_dc_cluster;
struct ntm_dc_dns;
struct ntm_dc_invites;
struct ntm_dc_peers;
struct ntm_dc_retired;
TAILQ_HEAD(ntm_dc_retired_list, ntm_dc_retired);

struct ntm_dc {
	uv_loop_t *loop;
	const struct ntm_dc_config *conf;
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN]; /* the current ones */
	struct ntm_dc_identities ids;
	struct ntm_dc_ratelimit handshakes;
	struct ntm_dc_responder *responder;
	struct ntm_store *store;
	struct ntm_dc_net *net;
	struct ntm_ctl_server *ctl;
	struct ntm_dc_nodes nodes;
	struct ntm_dc_sessions sessions;
	struct ntm_dc_outbox outbox;
	struct ntm_dc_paths paths;
	struct ntm_dc_relays relays;
	struct ntm_dc_retired_list retired; /* replaced paths that relays still have, oldest first */
	size_t n_retired;
	struct ntm_dc_cluster *cluster; /* NULL: the store serves one process */
	bool running;                   /* the start is over */
	struct ntm_dc_peers *peers;     /* NULL: no other zones are configured */
	struct ntm_dc_dns *dns;         /* NULL: none is configured */
	struct ntm_dc_invites *invites; /* NULL: nobody left to invite */
	struct ntm_dc_policy *policy;   /* NULL: everybody reaches everybody */
	struct ntm_dc_audit_log audit;
	struct ntm_dc_events events;
	struct ntm_dc_backup_job *backup;   /* under way; NULL: none */
	struct ntm_metrics_server *metrics; /* NULL: off */
	struct ntm_histogram direction_seconds;
	struct ntm_dc_counters counters;
	uv_timer_t sweep, news;
	struct ntm_dc_behind *behind;
	size_t news_at;      /* how far nodes were asked */
	uint64_t purged_ms;  /* when old rows were cleared from the store last, or when that began to wait */
	bool unchecked;      /* there may be nodes that are (nodes.h) */
	int64_t clock_ahead; /* seconds since 1970 at monotonic 0, as last looked at */
	uint64_t started_ms;
};

/*
 * Opens store, sockets and control socket (no control socket if runtime_dir is NULL: tests). conf stays the caller's
 * and must outlive dc. 0, or -errno and a sentence in why; everything opened is closed again once the loop has run.
 */
int ntm_dc_start(struct ntm_dc *dc, uv_loop_t *loop, const struct ntm_dc_config *conf, const uint8_t priv[NTM_DH_LEN],
		 const uint8_t pub[NTM_DH_LEN], char *why, size_t cap);
/* Writes what is unwritten and closes all handles; run the loop until it ends, then ntm_dc_free(). */
void ntm_dc_stop(struct ntm_dc *dc);
void ntm_dc_free(struct ntm_dc *dc);
/* A configuration read anew. Takes what can change; says what cannot. dc keeps its pointer to the old one. */
void ntm_dc_reload(struct ntm_dc *dc, const struct ntm_dc_config *now);
/* The names of settings that differ and that no reload takes over, in text. How many. */
size_t ntm_dc_config_fixed(const struct ntm_dc_config *was, const struct ntm_dc_config *now, char *text, size_t cap);
/* Nodes and relays that fell silent go offline; a sweep of each second does it. */
void ntm_dc_expire_nodes(struct ntm_dc *dc);

static inline uint64_t ntm_dc_now(const struct ntm_dc *dc)
{
	return uv_now(dc->loop);
}

/* dispatch.c */
void ntm_dc_receive_datagram(void *dc, const struct ntm_dc_route *from, uint8_t *data, size_t len);
void ntm_dc_handshake_answered(void *dc, const struct ntm_dc_handshake *h); /* for the responder */
void ntm_dc_send_encoded(struct ntm_dc *dc, struct ntm_dc_session *s, const uint8_t *data, size_t len);
void ntm_dc_send_to_node(void *dc, struct ntm_dc_node *to, const uint8_t *data, size_t len);
void ntm_dc_reply(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m);
/* Elsewhere than to where the session's peer is. */
void ntm_dc_reply_to(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_dc_route *to,
		     const struct ntm_sig *m);
/* A request of the outbox had no answer. */
void ntm_dc_request_lost(void *dc, struct ntm_dc_node *to, const struct ntm_dc_sent *what);
void ntm_dc_reply_error(struct ntm_dc *dc, struct ntm_dc_session *s, uint32_t txid, enum ntm_error code,
			const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* For the log: the node's name, or address and key of a session without one. Valid until the next call. */
const char *ntm_dc_session_name(const struct ntm_dc_session *s);

/* The session is the node's from now on, and the node this process's. */
void ntm_dc_bind(struct ntm_dc *dc, struct ntm_dc_session *s, struct ntm_dc_node *node);
/* Of a node of another process; remote stands for its session. */
void ntm_dc_node_message(struct ntm_dc *dc, struct ntm_dc_session *remote, const struct ntm_sig *m);

/* register.c */
void ntm_dc_register(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m);
/* from: where it came from, and is answered if it carries NTM_F_DELAY; all others to where the peer is */
void ntm_dc_keep_alive(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_dc_route *from,
		       const struct ntm_sig *m);
void ntm_dc_answer_delayed(struct ntm_dc *dc); /* the keep-alives that are due */
/* An authenticated message of a bound session came: presence. */
void ntm_dc_seen(struct ntm_dc *dc, struct ntm_dc_session *s);
/* The label in a name of this zone, "alice" or "alice.ntm.example", lower-cased. -EINVAL no label, -EXDEV other zone.
 */
int ntm_dc_label(const struct ntm_dc *dc, const char *name, char label[NTM_LABEL_MAX + 1]);
int ntm_dc_fqdn(const struct ntm_dc *dc, const char *label, char *out, size_t cap); /* -ENAMETOOLONG */

/* rekey.c */
void ntm_dc_key_update(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m);
/* The node that was known by another key than rec has, brought up to date; NULL: there is none. */
struct ntm_dc_node *ntm_dc_node_rekeyed(struct ntm_dc *dc, const struct ntm_node_record *rec);
void ntm_dc_key_changed(struct ntm_dc *dc, struct ntm_dc_node *node); /* counted, logged */

/* news.c: other zones or the DC's keys have changed */
void ntm_dc_news_init(struct ntm_dc *dc);
void ntm_dc_news(struct ntm_dc *dc);

/* direct.c */
void ntm_dc_direct(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m);
/* The rest of a direction once the other end is known. */
void ntm_dc_direct_to(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m, struct ntm_dc_node *other);
bool ntm_dc_path_answers(const struct ntm_dc_path *p, const struct ntm_dc_node *who, const struct ntm_sig *m,
			 uint64_t now);
int ntm_dc_fill_direction(const struct ntm_dc *dc, const struct ntm_dc_path *p, int mine, struct ntm_sig *m);
/* Adds what others are told of a node: name, key, addresses, candidates. */
int ntm_dc_describe(const struct ntm_dc *dc, const struct ntm_dc_node *node, struct ntm_sig *m);
/* Both ends are sent the path's direction, as it is now, in place of what was on its way. */
void ntm_dc_direct_again(struct ntm_dc *dc, struct ntm_dc_path *p);

/* New paths that a node may ask for or report now: 500 a second, 2,000 at once. False: not so many. */
bool ntm_dc_take_budget(struct ntm_dc_node *n, uint64_t now, unsigned paths);

/* path_report.c: what a process that was killed had not written down */
void ntm_dc_path_report(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m);
/* The node was: the other ends of what the store does not have yet are told; who revoked it could not know of that. */
void ntm_dc_path_report_revoked(struct ntm_dc *dc, uint64_t node_id);

/* release.c */
/*
 * The node is back: it is told again which of its paths ended because the other end was revoked or the policy changed.
 * If the store cannot be asked now, that is done as soon as it can: check_paths_again, to be called now and then.
 */
void ntm_dc_check_paths(struct ntm_dc *dc, struct ntm_dc_node *node);
void ntm_dc_check_paths_again(struct ntm_dc *dc);
void ntm_dc_release(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m);
/* To every relay that is there: which one has a path from before a restart is not known. */
void ntm_dc_release_at_relays(struct ntm_dc *dc, uint64_t path_id);
void ntm_dc_send_release(struct ntm_dc *dc, struct ntm_dc_node *to, uint64_t path_id);
/* Persists, drops the session, tells the peers and relays of its paths. As store.h's revoke. */
int ntm_dc_revoke(struct ntm_dc *dc, const char *label);
/* It was, by this process or another: what is left of it here goes. */
void ntm_dc_revoked(struct ntm_dc *dc, const struct ntm_node_record *rec);

/* relay_paths.c */
struct ntm_dc_relay *ntm_dc_path_relay(const struct ntm_dc *dc, const struct ntm_dc_path *p); /* NULL: none */
/* Chooses a relay for the path and tells it. suspect: one to be avoided; may be NULL. */
void ntm_dc_relay_direct(struct ntm_dc *dc, struct ntm_dc_path *p, const struct ntm_dc_relay *suspect);
/* Tells this relay of the path; it is the path's from now on. 0 or -errno. */
int ntm_dc_relay_take(struct ntm_dc *dc, struct ntm_dc_path *p, struct ntm_dc_relay *r);
/* The relay that this node is does not take the path: both ends get another. */
void ntm_dc_relay_failed(struct ntm_dc *dc, struct ntm_dc_node *node, uint64_t path_id, const char *why);
void ntm_dc_relay_release(struct ntm_dc *dc, const struct ntm_dc_path *p);
/* Released a minute later: the ends use it until its successor is up. */
void ntm_dc_relay_retire(struct ntm_dc *dc, uint64_t path_id, uint32_t relay_id);
void ntm_dc_retired_expire(struct ntm_dc *dc, uint64_t now_ms);
void ntm_dc_retired_free(struct ntm_dc *dc);

/* invite.c: after a restart, sessions to the nodes that were online */
void ntm_dc_invites_start(struct ntm_dc *dc);
void ntm_dc_invite(struct ntm_dc *dc, const struct ntm_dc_node *node); /* its process died */
void ntm_dc_invites_stop(struct ntm_dc *dc);
void ntm_dc_invite_answer(struct ntm_dc *dc, const struct ntm_dc_route *from, const uint8_t *data, size_t len);
void ntm_dc_invite_cookie(struct ntm_dc *dc, const uint8_t *data, size_t len);
void ntm_dc_invite_arrived(struct ntm_dc *dc, const uint8_t key[NTM_DH_LEN]); /* it came by itself */

/* metrics.c */
int ntm_dc_metrics_start(struct ntm_dc *dc, char *why, size_t cap); /* nothing unless configured */

/* control.c */
int ntm_dc_control_start(struct ntm_dc *dc);

/* privs.c: no capability is needed once everything is open. 0 or -errno */
int ntm_dc_drop_privileges(void);

#endif
