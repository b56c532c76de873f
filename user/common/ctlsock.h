/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: RUNTIME_DIR/ctl.sock, a UNIX stream socket, mode 0600. A client sends one line of JSON,
 * {"cmd": NAME, ...arguments}, and gets lines of JSON. The last line of an answer is {"ok": true, "result": ...} or
 * {"ok": false, "error": NAME, "text": SENTENCE}; before it, a streaming command ("monitor", "ping", "resolve") may
 * send
 * {"event": ...} lines. The server runs on libuv; the client blocks.
 */
#ifndef NTM_CTLSOCK_H
#define NTM_CTLSOCK_H

#include <stdbool.h>
#include <sys/types.h>

#include <json-c/json.h>
#include <uv.h>

/* A request with its line end; a longer one is refused and its client closed. */
#define NTM_CTL_LINE_MAX 65536

struct ntm_ctl_server;
struct ntm_ctl_client; /* one connected client; valid until its close callback */

/*
 * A request arrived; request is borrowed. The handler answers now or later by ntm_ctl_result / ntm_ctl_error, exactly
 * once a request. Further requests of that client wait until it did.
 */
typedef void (*ntm_ctl_handler)(struct ntm_ctl_client *c, const char *cmd, json_object *request, void *arg);
typedef void (*ntm_ctl_closed)(struct ntm_ctl_client *c, void *arg); /* client went away: forget it */

/* Ignores SIGPIPE for the process. -EADDRINUSE: another daemon answers there; -ENAMETOOLONG: over 107 bytes. */
int ntm_ctl_server_start(struct ntm_ctl_server **out, uv_loop_t *loop, const char *runtime_dir, ntm_ctl_handler handler,
			 ntm_ctl_closed closed, void *arg);
/* Lets the group in besides root and the daemon's own user: the socket becomes its, mode 0660. 0 or -errno. */
int ntm_ctl_server_admit(struct ntm_ctl_server *s, gid_t group);
/*
 * The descriptor that came with the request (SCM_RIGHTS); the caller's to close. Of several the first, the others are
 * closed. -ENOENT: none came, or this process has too many open.
 */
int ntm_ctl_take_fd(struct ntm_ctl_client *c);
uid_t ntm_ctl_peer(const struct ntm_ctl_client *c); /* who connected, as the kernel says; -1: unknown */
void ntm_ctl_server_stop(struct ntm_ctl_server *s); /* closes handles (each client's closed() comes first), unlinks */
void ntm_ctl_event(struct ntm_ctl_client *c, json_object *event);   /* takes the reference */
void ntm_ctl_result(struct ntm_ctl_client *c, json_object *result); /* takes the reference; NULL: null */
void ntm_ctl_error(struct ntm_ctl_client *c, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Client. Connects, sends, calls on_event for each event line (may be NULL; returns false to stop listening), and gives
 * the result (NULL if on_event stopped it). 0, or -errno with a sentence in why: -EREMOTEIO if the daemon refused, why
 * is its text then. timeout_ms: longest wait for each line, < 0: for ever. *result is the caller's; request stays the
 * caller's.
 */
int ntm_ctl_call(const char *runtime_dir, json_object *request, int timeout_ms,
		 bool (*on_event)(json_object *ev, void *arg), void *arg, json_object **result, char *why, size_t cap);
/* The same with a descriptor, which stays the caller's. */
int ntm_ctl_call_fd(const char *runtime_dir, json_object *request, int fd, int timeout_ms, json_object **result,
		    char *why, size_t cap);

#endif
