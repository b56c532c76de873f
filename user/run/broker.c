/* SPDX-License-Identifier: BSD-2-Clause */
/* The broker: one identity's virtual sockets for all programs that ntm-run started with it. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "../common/crypto.h"
#include "../lib/engine.h"
#include "chan.h"
#include "run.h"

enum { CONNS_MAX = 512 };

/* A request on its way, or a program that has joined. */
struct conn {
	struct conn *next;
	int fd, pid_fd;
	bool resolving, gone; /* gone: freed when what it waits for is there */
	uv_poll_t *poll, *pid_poll;
};

static struct {
	struct ntm *host;
	int fd, lock;
	uv_poll_t poll;
	struct conn *conns;
	unsigned n_conns, n_joined;
	bool has_joined, end;
} b;

static void on_closed(uv_handle_t *h)
{
	free(h);
}

static void stop_poll(uv_poll_t **p)
{
	if (!*p)
		return;
	uv_poll_stop(*p);
	uv_close((uv_handle_t *)*p, on_closed);
	*p = NULL;
}

static uv_poll_t *start_poll(int fd, int events, uv_poll_cb cb, void *data)
{
	uv_poll_t *p = calloc(1, sizeof(*p));

	if (!p || uv_poll_init(ntm_engine_loop(), p, fd)) {
		free(p);
		return NULL;
	}
	p->data = data;
	uv_poll_start(p, events, cb);
	return p;
}

static void conn_free(struct conn *c)
{
	struct conn **link = &b.conns;

	stop_poll(&c->poll);
	stop_poll(&c->pid_poll);
	if (c->fd >= 0)
		close(c->fd);
	if (c->pid_fd >= 0)
		close(c->pid_fd);
	c->fd = c->pid_fd = -1;
	while (*link != c)
		link = &(*link)->next;
	*link = c->next;
	b.n_conns--;
	free(c);
}

static void answer(struct conn *c, const struct ntm_run_answer *a, int fd)
{
	/* One that has gone away meanwhile doesn't miss it. */
	(void)run_send(c->fd, a, sizeof(*a), fd);
	if (fd >= 0)
		close(fd);
}

static void refuse(struct conn *c, int err)
{
	struct ntm_run_answer a = {.err = err};

	answer(c, &a, -1);
}

static void info(struct conn *c)
{
	const struct ntm_identity *id = &b.host->agent->node.id;
	struct ntm_run_info i = {.n = 1};

	i.zones[0].pool4 = id->addrs.pool4;
	i.zones[0].pool6 = id->addrs.pool6;
	snprintf(i.zones[0].name, sizeof(i.zones[0].name), "%s", id->zone);
	for (unsigned z = 0; z < id->addrs.n_peers && i.n < NTM_RUN_ZONES; z++, i.n++) {
		i.zones[i.n].pool4 = id->addrs.peers[z].pool4;
		i.zones[i.n].pool6 = id->addrs.peers[z].pool6;
		snprintf(i.zones[i.n].name, sizeof(i.zones[i.n].name), "%s", id->peer_zones[z]);
	}
	(void)run_send(c->fd, &i, sizeof(i), -1);
}

static int eai(int result)
{
	if (result == NTM_E_NO_SUCH_NAME || result == NTM_E_BAD_NAME)
		return EAI_NONAME;
	return result == NTM_E_DENIED ? EAI_FAIL : EAI_AGAIN;
}

static void on_direction(void *arg, int result, struct ntm_tunnel *t)
{
	struct conn *c = arg;
	struct ntm_run_answer a = {0};

	c->resolving = false;
	if (result || !t) {
		a.err = eai(result);
	} else {
		memcpy(a.addr.ip, t->vip6, 16);
		ntm_ip_from_v4(a.local.ip, t->vip4);
	}
	answer(c, &a, -1);
	conn_free(c);
}

/* True: the connection has been dealt with. */
static bool resolve(struct conn *c, const struct ntm_run_request *q)
{
	struct ntm_node *node = &b.host->agent->node;
	char fqdn[NTM_NAME_MAX + 1];
	struct ntm_run_answer a = {0};

	if (!ntm_name_in_zones(b.host, q->name, fqdn)) {
		refuse(c, EAI_NONAME);
	} else if (!strcmp(fqdn, node->id.fqdn)) {
		memcpy(a.addr.ip, node->id.addrs.vip6, 16);
		ntm_ip_from_v4(a.local.ip, node->id.addrs.vip4);
		answer(c, &a, -1);
	} else {
		c->resolving = true;
		stop_poll(&c->poll);
		(void)ntm_direct(node, fqdn, NULL, 0, on_direction, c);
		return true;
	}
	return false;
}

static void get_name(struct conn *c, const struct ntm_run_request *q)
{
	struct ntm_run_answer a = {0};
	struct sockaddr_storage ss;
	socklen_t len = ntm_addr_to_sockaddr(&q->addr, ntm_ip_is_v4(q->addr.ip) ? AF_INET : AF_INET6, &ss);

	if (ntm_getname(b.host, (struct sockaddr *)&ss, len, a.name, sizeof(a.name)))
		a.err = errno;
	answer(c, &a, -1);
}

static int set_option(int v, int level, int name, int value)
{
	return ntm_setsockopt(v, level, name, &value, sizeof(value));
}

/* A virtual socket, bound if the program's is. -1 and errno. */
static int make(const struct ntm_run_request *q, int family, int type)
{
	int v = ntm_socket(b.host, family, type | SOCK_NONBLOCK, 0), saved;
	struct sockaddr_storage ss;
	struct ntm_addr local = q->local;
	socklen_t len;

	if (v < 0)
		return -1;
	if (q->nodelay && type == SOCK_STREAM)
		set_option(v, IPPROTO_TCP, 1, 1);
	if (q->keepalive)
		set_option(v, SOL_SOCKET, SO_KEEPALIVE, 1);
	if (q->reuseaddr)
		set_option(v, SOL_SOCKET, SO_REUSEADDR, 1);
	if (q->v6only && family == AF_INET6)
		set_option(v, IPPROTO_IPV6, 26, 1);
	if (!local.port && ntm_ip_is_zero(local.ip))
		return v;
	if (ntm_ip_is_zero(local.ip) && family == AF_INET)
		ntm_ip_from_v4(local.ip, &(uint32_t){0});
	len = ntm_addr_to_sockaddr(&local, family, &ss);
	if (!ntm_bind(v, (struct sockaddr *)&ss, len))
		return v;
	saved = errno;
	ntm_close(v);
	errno = saved;
	return -1;
}

static void local_of(int v, struct ntm_addr *out)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (!ntm_getsockname(v, (struct sockaddr *)&ss, &len))
		(void)ntm_addr_from_sockaddr(out, (struct sockaddr *)&ss);
}

struct connecting {
	struct conn *conn; /* blocking: waits for the answer */
	int app;
};

static void on_settled(void *arg, struct chan *ch, int err)
{
	struct connecting *p = arg;
	struct ntm_run_answer a = {.err = err, .id = ch->id};

	local_of(ch->v, &a.local);
	answer(p->conn, &a, err ? -1 : p->app);
	if (err)
		close(p->app);
	conn_free(p->conn);
	free(p);
}

/* True: the connection has been dealt with, or waits. */
static bool connect_stream(struct conn *c, struct ntm_run_request *q)
{
	struct chan *bound = q->id ? chan_find(q->id) : NULL, *ch;
	int family = ntm_ip_is_v4(q->addr.ip) ? AF_INET : AF_INET6, v, app;
	struct ntm_run_answer a = {0};
	struct connecting *p;
	struct sockaddr_storage ss;
	socklen_t len;

	if (bound)
		chan_free(bound); /* its port is bound anew */
	v = make(q, family, SOCK_STREAM);
	len = ntm_addr_to_sockaddr(&q->addr, family, &ss);
	if (v < 0 || (ntm_connect(v, (struct sockaddr *)&ss, len) && errno != EINPROGRESS)) {
		refuse(c, errno);
		if (v >= 0)
			ntm_close(v);
		return false;
	}
	ch = chan_new(b.host, NTM_RUN_STREAM, q->family, v, -1, &app);
	p = ch ? calloc(1, sizeof(*p)) : NULL;
	if (!p) {
		refuse(c, ENOMEM);
		if (ch) {
			close(app);
			chan_free(ch);
		}
		return false;
	}
	if (!q->nonblock) {
		*p = (struct connecting){c, app};
		stop_poll(&c->poll);
		chan_connecting(ch, on_settled, p);
		return true;
	}
	free(p);
	a.id = ch->id;
	local_of(v, &a.local);
	chan_plug(ch, app);
	chan_connecting(ch, NULL, NULL);
	(void)run_send(c->fd, &a, sizeof(a), app);
	return false;
}

static void hand_out(struct conn *c, struct chan *ch, const int *app)
{
	struct ntm_run_answer a = {0};

	if (!ch) {
		refuse(c, errno);
		return;
	}
	a.id = ch->id;
	local_of(ch->v, &a.local);
	chan_start(ch);
	answer(c, &a, *app);
}

static void connect_dgram(struct conn *c, struct ntm_run_request *q)
{
	int family = ntm_ip_is_v4(q->addr.ip) ? AF_INET : AF_INET6, app = -1, v;
	struct chan *bound = q->id ? chan_find(q->id) : NULL;
	struct sockaddr_storage ss;
	socklen_t len = ntm_addr_to_sockaddr(&q->addr, family, &ss);

	if (bound)
		chan_free(bound);
	v = make(q, family, SOCK_DGRAM);
	if (v < 0 || ntm_connect(v, (struct sockaddr *)&ss, len)) {
		refuse(c, errno);
		if (v >= 0)
			ntm_close(v);
		return;
	}
	hand_out(c, chan_new(b.host, NTM_RUN_CONNECTED, q->family, v, -1, &app), &app);
}

static void bind_socket(struct conn *c, struct ntm_run_request *q, int *real)
{
	int v = make(q, q->family, q->type), app = -1, kept = *real;

	if (v < 0) {
		refuse(c, errno);
		return;
	}
	*real = -1;
	hand_out(
	    c, chan_new(b.host, q->type == SOCK_STREAM ? NTM_RUN_LISTENER : NTM_RUN_DATAGRAM, q->family, v, kept, &app),
	    &app);
}

static void listen_at(struct conn *c, struct ntm_run_request *q, int *real)
{
	struct chan *ch = q->id ? chan_find(q->id) : NULL;
	int v, app = -1, kept = *real;

	if (ch) {
		if (ntm_listen(ch->v, q->backlog))
			refuse(c, errno);
		else
			refuse(c, 0);
		return;
	}
	v = make(q, q->family, SOCK_STREAM);
	if (v < 0 || ntm_listen(v, q->backlog)) {
		refuse(c, errno);
		if (v >= 0)
			ntm_close(v);
		return;
	}
	*real = -1;
	hand_out(c, chan_new(b.host, NTM_RUN_LISTENER, q->family, v, kept, &app), &app);
}

static void state(struct conn *c, const struct ntm_run_request *q)
{
	struct chan *ch = chan_find(q->id);
	struct ntm_run_answer a = {.err = chan_error(q->id), .id = q->id};
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (ch && ch->v >= 0) {
		local_of(ch->v, &a.local);
		if (!ntm_getpeername(ch->v, (struct sockaddr *)&ss, &len))
			(void)ntm_addr_from_sockaddr(&a.addr, (struct sockaddr *)&ss);
	}
	answer(c, &a, -1);
}

static void option(struct conn *c, const struct ntm_run_request *q)
{
	struct chan *ch = chan_find(q->id);

	refuse(c, ch && ch->v >= 0 && set_option(ch->v, q->level, q->option, q->value) ? errno : 0);
}

static void on_program_end(uv_poll_t *h, int status, int events)
{
	struct conn *c = h->data;

	(void)status;
	(void)events;
	stop_poll(&c->pid_poll);
	if (c->fd < 0) {
		b.n_joined--;
		conn_free(c);
	}
}

static void join(struct conn *c, const struct ntm_run_request *q)
{
	c->pid_fd = (int)syscall(SYS_pidfd_open, q->pid, 0);
	if (c->pid_fd >= 0)
		c->pid_poll = start_poll(c->pid_fd, UV_READABLE, on_program_end, c);
	b.n_joined++;
	b.has_joined = true;
	refuse(c, 0);
}

static void on_conn(uv_poll_t *h, int status, int events)
{
	struct conn *c = h->data;
	struct ntm_run_request q;
	int fd;
	ssize_t n = run_receive(c->fd, &q, sizeof(q), MSG_DONTWAIT | MSG_CMSG_CLOEXEC, &fd);
	bool keep = false;

	(void)status;
	(void)events;
	if (n == -EAGAIN)
		return;
	if (n <= 0 && c->pid_fd >= 0) { /* all copies of the joined connection are closed */
		stop_poll(&c->poll);
		close(c->fd);
		c->fd = -1;
		if (c->pid_poll)
			return;
		b.n_joined--;
	}
	if (n == (ssize_t)sizeof(q)) {
		q.name[sizeof(q.name) - 1] = 0;
		switch (q.op) {
		case NTM_RUN_JOIN:
			join(c, &q);
			keep = true;
			break;
		case NTM_RUN_INFO:
			info(c);
			break;
		case NTM_RUN_RESOLVE:
			keep = resolve(c, &q);
			break;
		case NTM_RUN_GETNAME:
			get_name(c, &q);
			break;
		case NTM_RUN_CONNECT:
			if (q.type == SOCK_STREAM)
				keep = connect_stream(c, &q);
			else
				connect_dgram(c, &q);
			break;
		case NTM_RUN_BIND:
			bind_socket(c, &q, &fd);
			break;
		case NTM_RUN_LISTEN:
			listen_at(c, &q, &fd);
			break;
		case NTM_RUN_STATE:
			state(c, &q);
			break;
		case NTM_RUN_OPTION:
			option(c, &q);
			break;
		default:
			refuse(c, EINVAL);
		}
	}
	if (fd >= 0)
		close(fd);
	if (!keep)
		conn_free(c);
}

static void on_accept(uv_poll_t *h, int status, int events)
{
	int fd = accept4(b.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred cred;
	socklen_t len = sizeof(cred);
	struct conn *c;

	(void)h;
	(void)status;
	(void)events;
	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) || cred.uid != geteuid() || b.n_conns >= CONNS_MAX ||
	    !(c = calloc(1, sizeof(*c)))) {
		close(fd);
		return;
	}
	c->fd = fd;
	c->pid_fd = -1;
	c->next = b.conns;
	b.conns = c;
	b.n_conns++;
	c->poll = start_poll(fd, UV_READABLE, on_conn, c);
	if (!c->poll)
		conn_free(c);
}

static int open_socket(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	if (snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path) >= (int)sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	b.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (b.fd < 0)
		return -errno;
	unlink(path);
	if (bind(b.fd, (struct sockaddr *)&sa, sizeof(sa)) || chmod(path, 0600) || listen(b.fd, 128))
		return -errno;
	return uv_poll_init(ntm_engine_loop(), &b.poll, b.fd);
}

static void more_descriptors(void)
{
	struct rlimit r;

	if (!getrlimit(RLIMIT_NOFILE, &r)) {
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
}

static bool is_over(void)
{
	return b.has_joined && !b.n_joined && !chan_first();
}

static bool wakes(void *arg)
{
	(void)arg;
	return chan_any_ready() || is_over();
}

/* Nobody may be about to join what is about to end. */
static bool may_end(const char *path)
{
	char lock[PATH_MAX];
	int fd;

	snprintf(lock, sizeof(lock), "%s.lock", path);
	fd = open(lock, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd);
		return false;
	}
	unlink(path);
	return true; /* held until this process has ended */
}

static void serve(const char *path)
{
	for (;;) {
		ntm_engine_step();
		chan_run_ready();
		if (is_over() && may_end(path))
			return;
		(void)ntm_engine_wait(wakes, NULL, is_over() ? ntm_engine_now() + 100 : -1, NULL, 0);
	}
}

int ntm_run_broker(const struct ntm_node_config *c, const char *path, int report, int lock)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), err;
	const char *why = NULL;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	more_descriptors();
	b.fd = -1;
	close(lock);
	if (ntm_run_register(c, &b.host))
		why = *ntm_reason() ? ntm_reason() : strerror(errno);
	if (!why && chdir("/"))
		why = strerror(errno);
	if (!why) {
		(void)ntm_enter();
		err = open_socket(path);
		if (err)
			why = strerror(-err);
	}
	if (why) {
		if (write(report, why, strlen(why)) < 0)
			ntm_err("%s", why);
		return 1;
	}
	uv_poll_start(&b.poll, UV_READABLE, on_accept);
	ntm_engine_step();
	if (write(report, "+", 1) != 1)
		return 1;
	close(report);
	/* From here on what goes wrong has nowhere to go: the program's terminal is the program's. */
	if (!getenv("NTM_LOG"))
		dup2(null, STDERR_FILENO);
	serve(path);
	while (chan_first())
		chan_run_ready();
	uv_close((uv_handle_t *)&b.poll, NULL);
	close(b.fd);
	ntm_unregister(b.host);
	return 0;
}
