/* SPDX-License-Identifier: BSD-2-Clause */
/* The server runs in the test, its clients are raw sockets, or a thread that calls ntm_ctl_call(). */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../user/common/ctlsock.h"

static char dir[] = "/tmp/ntm-ctl-XXXXXX", path[64];
static uv_loop_t loop;
static struct ntm_ctl_server *server;
static struct ntm_ctl_client *held; /* a client whose request "hold" is not answered yet */
static unsigned handled, closed_clients;

static void on_request(struct ntm_ctl_client *c, const char *cmd, json_object *request, void *arg)
{
	cr_assert_eq(arg, &handled);
	handled++;
	if (!strcmp(cmd, "hold")) {
		held = c;
	} else if (!strcmp(cmd, "refuse")) {
		ntm_ctl_error(c, "no_such_name", "there is no \"%s\"", "bob");
	} else if (!strcmp(cmd, "count")) {
		for (int i = 0; i < 3; i++) {
			json_object *ev = json_object_new_object();

			json_object_object_add(ev, "event", json_object_new_int(i));
			ntm_ctl_event(c, ev);
		}
		ntm_ctl_result(c, json_object_new_string("done"));
	} else if (!strcmp(cmd, "big")) {
		json_object *list = json_object_new_array();

		for (int i = 0; i < 100000; i++)
			json_object_array_add(list, json_object_new_int(i));
		ntm_ctl_result(c, list);
	} else {
		ntm_ctl_result(c, json_object_get(request));
	}
}

static void on_closed(struct ntm_ctl_client *c, void *arg)
{
	(void)arg;
	closed_clients++;
	if (c == held)
		held = NULL;
}

static void setup(void)
{
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/ctl.sock", dir);
	uv_loop_init(&loop);
	cr_assert_eq(ntm_ctl_server_start(&server, &loop, dir, on_request, on_closed, &handled), 0);
}

static void teardown(void)
{
	ntm_ctl_server_stop(server);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0, "a handle was left open");
	cr_assert_eq(access(path, F_OK), -1);
	rmdir(dir);
}

TestSuite(ctlsock, .init = setup, .fini = teardown, .timeout = 20);

static int connect_raw(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(sa.sun_path, path);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

/* What there is to read once the server has done all it can; "" if nothing, NULL at the end of the stream. */
static const char *receive(int fd)
{
	static char buf[1 << 16];
	size_t len = 0;
	ssize_t n = 0;

	for (int i = 0; i < 20; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		while (len < sizeof(buf) - 1 && (n = recv(fd, buf + len, sizeof(buf) - 1 - len, 0)) > 0)
			len += (size_t)n;
	}
	buf[len] = 0;
	return len == 0 && n == 0 ? NULL : buf;
}

static void send_text(int fd, const char *text)
{
	cr_assert_eq(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
}

Test(ctlsock, owner_only)
{
	struct stat st;

	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
}

Test(ctlsock, partial_lines)
{
	static const char request[] = "{\"cmd\":\"echo\"}\n";
	int fd = connect_raw();

	for (size_t i = 0; i + 1 < sizeof(request); i++) {
		cr_assert_eq(handled, 0);
		cr_assert_eq(send(fd, request + i, 1, 0), 1);
		if (i + 2 < sizeof(request))
			cr_assert_str_eq(receive(fd), "");
	}
	cr_assert_str_eq(receive(fd), "{\"ok\":true,\"result\":{\"cmd\":\"echo\"}}\n");
	close(fd);
}

Test(ctlsock, several_lines_in_order)
{
	int fd = connect_raw();

	send_text(fd, "{\"cmd\":\"count\"}\n{\"cmd\":\"hold\"}\n{\"cmd\":\"refuse\"}\n{\"cm");
	cr_assert_str_eq(receive(fd),
			 "{\"event\":0}\n{\"event\":1}\n{\"event\":2}\n{\"ok\":true,\"result\":\"done\"}\n");
	cr_assert_eq(handled, 2, "the third waits for the second's answer");
	ntm_ctl_result(held, NULL);
	cr_assert_str_eq(receive(fd), "{\"ok\":true,\"result\":null}\n{\"ok\":false,\"error\":\"no_such_name\","
				      "\"text\":\"there is no \\\"bob\\\"\"}\n");
	send_text(fd, "d\":\"refuse\"}\n");
	cr_assert_not_null(strstr(receive(fd), "no_such_name"));
	close(fd);
}

Test(ctlsock, malformed)
{
	static const char *const bad[] = {"\n",
					  "nonsense\n",
					  "[]\n",
					  "{}\n",
					  "{\"cmd\":1}\n",
					  "{\"cmd\":\"a\"}x\n",
					  "{\"cmd\":\"\xff\"}\n",
					  "{'cmd':'a'}\n",
					  "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n"};
	int fd = connect_raw();

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const char *answer;

		send_text(fd, bad[i]);
		answer = receive(fd);
		cr_assert(answer && strstr(answer, "\"error\":\"bad_request\""), "%zu: %s", i, answer);
	}
	cr_assert_eq(handled, 0);
	send_text(fd, "{\"cmd\":\"count\"}\n");
	cr_assert_not_null(strstr(receive(fd), "done"), "the client is still served");
	close(fd);
}

/* Writes as the server reads. Returns what was sent. */
static size_t send_much(int fd, size_t total)
{
	static char junk[4096];
	size_t sent = 0;

	memset(junk, ' ', sizeof(junk));
	for (int idle = 0; sent < total && idle < 20;) {
		size_t want = total - sent < sizeof(junk) ? total - sent : sizeof(junk);
		ssize_t n = send(fd, junk, want, MSG_NOSIGNAL);

		idle = n > 0 ? 0 : idle + 1;
		sent += n > 0 ? (size_t)n : 0;
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	return sent;
}

Test(ctlsock, line_limit)
{
	static const char request[] = "{\"cmd\":\"count\"}\n";
	int fd = connect_raw();
	const char *answer;

	cr_assert_eq(send_much(fd, NTM_CTL_LINE_MAX - strlen(request)), NTM_CTL_LINE_MAX - strlen(request));
	send_text(fd, request);
	cr_assert_not_null(strstr(receive(fd), "done"), "the longest line allowed");
	send_much(fd, NTM_CTL_LINE_MAX);
	answer = receive(fd);
	cr_assert(answer && strstr(answer, "\"error\":\"too_long\""), "%s", answer);
	cr_assert_null(receive(fd));
	cr_assert_eq(closed_clients, 1);
	cr_assert_eq(handled, 1);
	close(fd);
}

Test(ctlsock, waiting_requests_are_bounded)
{
	int fd = connect_raw();
	size_t sent;

	send_text(fd, "{\"cmd\":\"hold\"}\n");
	sent = send_much(fd, 64 << 20);
	cr_assert_lt(sent, 8 << 20, "the server read %zu bytes while it was busy", sent);
	cr_assert_not_null(held);
	close(fd);
	ntm_ctl_result(held, NULL);
	for (int i = 0; i < 20; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	cr_assert_eq(closed_clients, 1);
}

Test(ctlsock, client_goes_away)
{
	int fd = connect_raw();

	send_text(fd, "{\"cmd\":\"hold\"}\n");
	cr_assert_str_eq(receive(fd), "");
	cr_assert_not_null(held);
	close(fd);
	for (int i = 0; i < 5; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	cr_assert_eq(closed_clients, 1);
	cr_assert_null(held);

	fd = connect_raw();
	send_text(fd, "{\"cmd\":\"hold\"}\n");
	receive(fd);
	close(fd);
	/* The server has not seen it yet. */
	ntm_ctl_event(held, json_object_new_object());
	ntm_ctl_result(held, NULL);
	for (int i = 0; i < 5; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	cr_assert_eq(closed_clients, 2);
}

Test(ctlsock, half_closed_client_is_answered)
{
	int fd = connect_raw();

	send_text(fd, "{\"cmd\":\"hold\"}\n");
	shutdown(fd, SHUT_WR);
	cr_assert_str_eq(receive(fd), "");
	ntm_ctl_result(held, NULL);
	cr_assert_str_eq(receive(fd), "{\"ok\":true,\"result\":null}\n");
	cr_assert_null(receive(fd), "and closed then");
	cr_assert_eq(closed_clients, 1);
	close(fd);
}

Test(ctlsock, slow_reader_is_cut_off)
{
	int fd = connect_raw();

	send_text(fd, "{\"cmd\":\"hold\"}\n");
	receive(fd);
	for (int i = 0; i < 2000 && !closed_clients; i++) {
		json_object *ev = json_object_new_object();
		static char text[16384];

		memset(text, 'x', sizeof(text) - 1);
		json_object_object_add(ev, "event", json_object_new_string(text));
		ntm_ctl_event(held, ev);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	cr_assert_eq(closed_clients, 1);
	close(fd);
}

Test(ctlsock, stop_with_clients)
{
	int fd = connect_raw();

	send_text(fd, "{\"cmd\":\"hold\"}\n");
	receive(fd);
	ntm_ctl_server_stop(server);
	cr_assert_eq(closed_clients, 1, "told at once");
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(recv(fd, &(char){0}, 1, 0), 0);
	close(fd);
	cr_assert_eq(ntm_ctl_server_start(&server, &loop, dir, on_request, on_closed, &handled), 0);
}

Test(ctlsock, second_daemon_and_stale_socket)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct ntm_ctl_server *other = NULL;
	char stale[64], longer[200];
	int fd;

	cr_assert_eq(ntm_ctl_server_start(&other, &loop, dir, on_request, on_closed, NULL), -EADDRINUSE);
	cr_assert_null(other);

	/* A crash leaves the file without a listener. */
	snprintf(stale, sizeof(stale), "%s/stale", dir);
	cr_assert_eq(mkdir(stale, 0700), 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/stale/ctl.sock", dir);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	cr_assert_eq(ntm_ctl_server_start(&other, &loop, stale, on_request, on_closed, NULL), 0);
	ntm_ctl_server_stop(other);
	uv_run(&loop, UV_RUN_NOWAIT);
	rmdir(stale);

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	cr_assert_eq(ntm_ctl_server_start(&other, &loop, longer, on_request, on_closed, NULL), -ENAMETOOLONG);
	cr_assert_eq(ntm_ctl_server_start(&other, &loop, "/nonexistent", on_request, on_closed, NULL), -ENOENT);
}

struct call {
	const char *cmd, *dir;
	int timeout_ms, stop_after, events, err;
	json_object *result;
	char why[200];
	uv_async_t done;
};

static bool count_event(json_object *ev, void *arg)
{
	struct call *call = arg;

	cr_assert_eq(json_object_get_int(json_object_object_get(ev, "event")), call->events);
	return ++call->events != call->stop_after;
}

static void *run_call(void *arg)
{
	struct call *call = arg;
	json_object *request = json_object_new_object();

	json_object_object_add(request, "cmd", json_object_new_string(call->cmd));
	call->err = ntm_ctl_call(call->dir ? call->dir : dir, request, call->timeout_ms, count_event, call,
				 &call->result, call->why, sizeof(call->why));
	json_object_put(request);
	uv_async_send(&call->done);
	return NULL;
}

static void on_done(uv_async_t *a)
{
	uv_close((uv_handle_t *)a, NULL);
	uv_stop(a->loop);
}

static void do_call(struct call *call)
{
	pthread_t thread;

	uv_async_init(&loop, &call->done, on_done);
	cr_assert_eq(pthread_create(&thread, NULL, run_call, call), 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	pthread_join(thread, NULL);
}

Test(ctlsock, call)
{
	struct call count = {.cmd = "count", .timeout_ms = 5000}, refuse = {.cmd = "refuse", .timeout_ms = -1};
	struct call big = {.cmd = "big", .timeout_ms = 5000};

	do_call(&count);
	cr_assert_eq(count.err, 0, "%s", count.why);
	cr_assert_eq(count.events, 3);
	cr_assert_str_eq(json_object_get_string(count.result), "done");
	json_object_put(count.result);

	do_call(&refuse);
	cr_assert_eq(refuse.err, -EREMOTEIO);
	cr_assert_str_eq(refuse.why, "there is no \"bob\"");

	do_call(&big);
	cr_assert_eq(big.err, 0, "%s", big.why);
	cr_assert_eq(json_object_array_length(big.result), 100000);
	json_object_put(big.result);
}

Test(ctlsock, call_ends_early)
{
	struct call stop = {.cmd = "count", .timeout_ms = 5000, .stop_after = 2};
	struct call late = {.cmd = "hold", .timeout_ms = 50};
	struct call none = {.cmd = "count", .dir = "/nonexistent", .timeout_ms = 50};

	do_call(&stop);
	cr_assert_eq(stop.err, 0);
	cr_assert_eq(stop.events, 2);
	cr_assert_null(stop.result);

	do_call(&late);
	cr_assert_eq(late.err, -ETIMEDOUT);

	do_call(&none);
	cr_assert_eq(none.err, -ENOENT);
	cr_assert_not_null(strstr(none.why, "/nonexistent/ctl.sock"), "%s", none.why);
}

static void on_turn(uv_prepare_t *h)
{
	++*(unsigned *)h->data;
}

static void on_time(uv_timer_t *h)
{
	uv_stop(h->loop);
}

static void allow_descriptors(rlim_t n)
{
	struct rlimit limit;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = n;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/*
 * Without a descriptor for a client the spare one serves to turn it away. Without even that the loop must neither hang
 * nor spin, and the client is served when there is one again.
 */
Test(ctlsock, no_descriptor_left)
{
	/* closed in teardown() */
	static uv_prepare_t prepare;
	static uv_timer_t timer;
	int refused = connect_raw(), fd, next;
	unsigned turns = 0;

	next = dup(refused); /* the lowest that is free */
	close(next);
	allow_descriptors((rlim_t)next);
	cr_assert_null(receive(refused), "a client for whom there is no descriptor hears of it");
	close(refused);

	allow_descriptors(1024);
	fd = connect_raw();
	allow_descriptors(0);
	uv_prepare_init(&loop, &prepare);
	prepare.data = &turns;
	uv_prepare_start(&prepare, on_turn);
	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, on_time, 350, 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_lt(turns, 20, "%u turns of the loop", turns);

	allow_descriptors(1024);
	send_text(fd, "{\"cmd\":\"echo\"}\n");
	while (!handled)
		uv_run(&loop, UV_RUN_ONCE);
	cr_assert_str_eq(receive(fd), "{\"ok\":true,\"result\":{\"cmd\":\"echo\"}}\n");
	close(fd);
	uv_close((uv_handle_t *)&prepare, NULL);
	uv_close((uv_handle_t *)&timer, NULL);
}
