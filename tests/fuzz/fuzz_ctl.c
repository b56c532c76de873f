/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket: whatever a client sends, it gets lines of JSON, and the server closes it in the end. */
#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../user/common/ctlsock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uv_loop_t loop;
static struct sockaddr_un sa = {.sun_family = AF_UNIX};
static char dir[] = "/tmp/ntm-fuzz-XXXXXX";

static void require(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_ctl: %s\n", what);
	abort();
}

static void on_request(struct ntm_ctl_client *c, const char *cmd, json_object *request, void *arg)
{
	(void)arg;
	if (cmd[0] == 'e')
		ntm_ctl_error(c, "refused", "%s", cmd);
	else
		ntm_ctl_result(c, json_object_get(request));
}

static void check_answers(char *text)
{
	for (char *end; (end = strchr(text, '\n')); text = end + 1) {
		json_object *o;

		*end = 0;
		o = json_tokener_parse(text);
		require(json_object_object_get_ex(o, "ok", NULL), "an answer without \"ok\"");
		json_object_put(o);
	}
	require(!*text, "an answer without its line end");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char answers[1 << 20];
	struct ntm_ctl_server *server;
	size_t sent = 0, got = 0;
	ssize_t n = 1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	require(fd >= 0 && mkdtemp(dir) && !uv_loop_init(&loop), "no socket, directory or loop");
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/ctl.sock", dir);
	require(!ntm_ctl_server_start(&server, &loop, dir, on_request, NULL, NULL), "the server does not start");
	require(!connect(fd, (struct sockaddr *)&sa, sizeof(sa)), "no connection");
	for (int idle = 0; idle < 50 && n != 0;) {
		n = sent < size ? send(fd, data + sent, size - sent, MSG_NOSIGNAL) : -1;
		sent += n > 0 ? (size_t)n : 0;
		if (sent == size)
			shutdown(fd, SHUT_WR);
		uv_run(&loop, UV_RUN_NOWAIT);
		n = recv(fd, answers + got, sizeof(answers) - 1 - got, 0);
		got += n > 0 ? (size_t)n : 0;
		idle = n > 0 ? 0 : idle + 1;
	}
	require(n == 0, "the server did not close the connection");
	answers[got] = 0;
	check_answers(answers);
	close(fd);
	ntm_ctl_server_stop(server);
	uv_run(&loop, UV_RUN_DEFAULT);
	require(!uv_loop_close(&loop) && !rmdir(dir), "something is left open");
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	return 0;
}
