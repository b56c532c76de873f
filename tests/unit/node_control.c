/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's commands, asked over its control socket as scripts do. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../user/node/control.h"
#include "../harness/nodeworld.h"

static struct world w;
static uv_loop_t loop;
static char dir[64];

static void setup(void)
{
	char why[256] = "";

	memset(&w, 0, sizeof(w));
	cr_assert_eq(uv_loop_init(&loop), 0);
	world_init(&w);
	w.loop = &loop;
	w.n[0]->loop = &loop;
	strcpy(dir, "/tmp/ntm-control-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	w.n[0]->conf.runtime_dir = dir;
	w.n[0]->conf.interface = (char[]){"ntm0"};
	cr_assert_eq(ntm_control_open(&w.n[0]->control, w.n[0], why, sizeof(why)), 0, "%s", why);
}

static void teardown(void)
{
	ntm_control_close(w.n[0]->control);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0);
	w.loop = NULL;
	world_free(&w);
	cr_assert_eq(rmdir(dir), 0);
}

TestSuite(control, .init = setup, .fini = teardown, .timeout = 30);

static int dial(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/ctl.sock", dir);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

/* The next line of an answer; waits at most 3 s of the world's time. */
static json_object *line(int fd)
{
	static char buf[65536];
	size_t have = 0;

	for (int i = 0; i < 3000;) {
		ssize_t n = recv(fd, buf + have, 1, 0);

		if (n == 1) {
			if (buf[have++] != '\n')
				continue;
			buf[have] = 0;
			return json_tokener_parse(buf);
		}
		cr_assert_neq(n, 0, "connection closed");
		world_run(&w, 1);
		usleep(i < 500 ? 20 : 2000); /* at once, unless the machine has much else to do */
		i++;
	}
	return NULL;
}

static int request(const char *text)
{
	int fd = dial();

	cr_assert_eq(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
	return fd;
}

static json_object *get(json_object *o, const char *key)
{
	json_object *v = NULL;

	cr_assert(json_object_object_get_ex(o, key, &v), "%s is there", key);
	return v;
}

static const char *text(json_object *o, const char *key)
{
	return json_object_get_string(get(o, key));
}

static json_object *ask(const char *req)
{
	int fd = request(req);
	json_object *o = line(fd);

	cr_assert_not_null(o, "%s", req);
	close(fd);
	return o;
}

static json_object *result(json_object *answer)
{
	cr_assert(json_object_get_boolean(get(answer, "ok")));
	return get(answer, "result");
}

static void fails(const char *req, const char *error)
{
	json_object *o = ask(req);

	cr_assert_not(json_object_get_boolean(get(o, "ok")), "%s", req);
	cr_assert_str_eq(text(o, "error"), error);
	cr_assert_gt(strlen(text(o, "text")), 5, "a sentence for people");
	json_object_put(o);
}

Test(control, status_has_what_scripts_rely_on)
{
	json_object *o = ask("{\"cmd\":\"status\"}\n"), *s = result(o), *dc = get(s, "dc"), *u;

	cr_assert_str_eq(text(s, "name"), "alice.ntm.example");
	cr_assert_str_eq(text(s, "zone"), "ntm.example");
	cr_assert_str_eq(text(s, "vip4"), "100.96.0.1");
	cr_assert_str_eq(text(s, "vip6"), "fd4e:544d::1");
	cr_assert_str_eq(text(s, "datapath"), "bpf");
	cr_assert_str_eq(text(s, "uplink"), "up0");
	cr_assert_not(json_object_get_boolean(get(s, "adopted")));
	cr_assert_eq(json_object_get_int(get(s, "pid")), getpid());
	cr_assert(json_object_get_boolean(get(dc, "connected")));
	cr_assert_str_eq(text(dc, "endpoint"), "10.0.0.3:4680");
	cr_assert_str_eq(text(dc, "reflexive"), "10.0.0.1:4680");
	u = json_object_array_get_idx(get(s, "uplinks"), 0);
	cr_assert_str_eq(text(u, "name"), "up0");
	cr_assert_str_eq(text(u, "addr4"), "10.0.0.1");
	cr_assert_str_eq(text(u, "addr6"), "fd00::1");
	cr_assert_str_eq(text(u, "xdp"), "native");
	cr_assert(json_object_is_type(get(u, "leads_nowhere"), json_type_boolean));
	cr_assert_not(json_object_get_boolean(get(u, "leads_nowhere")));
	cr_assert_eq(json_object_get_int(get(u, "mtu")), 1500);
	cr_assert_eq(json_object_object_length(get(s, "counters")), NTM_R_COUNT);
	cr_assert_eq(json_object_get_int(get(get(get(s, "counters"), "rx_replay"), "packets")), 0);
	json_object_put(o);
}

Test(control, resolve_sets_the_path_up_and_paths_and_peers_list_it)
{
	json_object *o = ask("{\"cmd\":\"resolve\",\"name\":\"bob\"}\n"), *r = result(o), *p;
	char id[17];

	cr_assert_str_eq(text(r, "name"), "bob.ntm.example");
	cr_assert_str_eq(text(r, "vip4"), "100.96.0.2");
	cr_assert_str_eq(text(r, "vip6"), "fd4e:544d::2");
	cr_assert_str_eq(text(r, "route"), "direct");
	cr_assert_eq(strlen(text(r, "path_id")), 16);
	strcpy(id, text(r, "path_id"));
	json_object_put(o);
	world_run(&w, 100);

	o = ask("{\"cmd\":\"paths\"}\n");
	cr_assert_eq(json_object_array_length(result(o)), 1);
	p = json_object_array_get_idx(result(o), 0);
	cr_assert_str_eq(text(p, "peer"), "bob.ntm.example");
	cr_assert_str_eq(text(p, "path_id"), id);
	cr_assert_str_eq(text(p, "route"), "direct");
	cr_assert_str_eq(text(p, "endpoint"), "10.0.0.2:4680");
	cr_assert_null(get(p, "relay"));
	cr_assert_str_eq(text(p, "lane"), "kernel");
	cr_assert_str_eq(text(p, "state"), "up");
	cr_assert_str_eq(text(p, "role"), "initiator");
	cr_assert_eq(json_object_get_int(get(p, "mtu")), 1440);
	cr_assert_gt(json_object_get_double(get(p, "rtt_ms")), 0);
	for (const char *const *k = (const char *const[]){"tx_packets", "rx_packets", "tx_bytes", "rx_bytes",
							  "handovers", "epoch", "rekeys", NULL};
	     *k; k++)
		cr_assert(json_object_is_type(get(p, *k), json_type_int), "%s", *k);
	json_object_put(o);

	o = ask("{\"cmd\":\"peers\"}\n");
	cr_assert_eq(json_object_array_length(result(o)), 1);
	p = json_object_array_get_idx(result(o), 0);
	cr_assert_str_eq(text(p, "name"), "bob.ntm.example");
	cr_assert_str_eq(text(p, "vip4"), "100.96.0.2");
	cr_assert_eq(strlen(text(p, "public_key")), 44);
	json_object_put(o);
}

Test(control, resolve_knows_oneself_and_says_why_not)
{
	json_object *o = ask("{\"cmd\":\"resolve\",\"name\":\"alice.ntm.example.\"}\n");

	cr_assert_str_eq(text(result(o), "vip4"), "100.96.0.1");
	json_object_put(o);
	cr_assert_eq(w.dc.requests, 0);
	fails("{\"cmd\":\"resolve\",\"name\":\"nobody\"}\n", "no_such_name");
	fails("{\"cmd\":\"resolve\"}\n", "malformed");
	fails("{\"cmd\":\"resolve\",\"name\":7}\n", "malformed");
	fails("{\"cmd\":\"resolve\",\"name\":\"\"}\n", "malformed");
	w.dc.no_bob = true;
	fails("{\"cmd\":\"resolve\",\"name\":\"bob\"}\n", "offline");
	fails("{\"cmd\":\"selfdestruct\"}\n", "unknown_command");
}

static bool drop_all_control(struct world *world, const struct world_packet *p)
{
	(void)world;
	return (p->data[0] & 15) == NTM_T_DATA && p->data[1] >> 4 == NTM_SUITE_CONTROL;
}

Test(control, ping_counts_answers_and_timeouts)
{
	int fd = request("{\"cmd\":\"ping\",\"name\":\"bob\",\"count\":3,\"interval_ms\":10}\n");
	json_object *o;

	for (int i = 1; i <= 3; i++) {
		o = line(fd);
		cr_assert_str_eq(text(o, "event"), "pong");
		cr_assert_eq(json_object_get_int(get(o, "seq")), i);
		cr_assert_str_eq(text(o, "endpoint"), "10.0.0.2:4680");
		cr_assert_gt(json_object_get_double(get(o, "rtt_ms")), 0);
		json_object_put(o);
	}
	o = line(fd);
	cr_assert_eq(json_object_get_int(get(result(o), "sent")), 3);
	cr_assert_eq(json_object_get_int(get(result(o), "received")), 3);
	cr_assert_leq(json_object_get_double(get(result(o), "min_ms")),
		      json_object_get_double(get(result(o), "max_ms")));
	json_object_put(o);
	close(fd);

	w.drop = drop_all_control;
	fd = request("{\"cmd\":\"ping\",\"name\":\"bob\",\"count\":2,\"interval_ms\":10}\n");
	for (int i = 1; i <= 2; i++) {
		o = line(fd);
		cr_assert_str_eq(text(o, "event"), "timeout");
		json_object_put(o);
	}
	o = line(fd);
	cr_assert_eq(json_object_get_int(get(result(o), "received")), 0);
	cr_assert_null(get(result(o), "avg_ms"));
	json_object_put(o);
	close(fd);
}

Test(control, monitor_tells_and_who_leaves_is_forgotten)
{
	int fd = request("{\"cmd\":\"monitor\"}\n");
	bool direction = false, up = false;
	json_object *o;

	world_run(&w, 10);
	cr_assert_not_null(w.n[0]->on_event);
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, NULL, NULL);
	while (!direction || !up) {
		o = line(fd);
		cr_assert_not_null(o);
		cr_assert_eq(strlen(text(o, "time")), strlen("2026-01-01T00:00:00.000Z"));
		direction |= !strcmp(text(o, "event"), "direction");
		if (!strcmp(text(o, "event"), "path_up")) {
			up = true;
			cr_assert_str_eq(text(o, "peer"), "bob.ntm.example");
		}
		json_object_put(o);
	}
	ntm_path_end(world_tunnel(&w, 0), NTM_PATH_END_TELL_PEER, "test");
	o = line(fd);
	cr_assert_str_eq(text(o, "event"), "path_down");
	json_object_put(o);
	close(fd);
	world_run(&w, 10);
	cr_assert_null(w.n[0]->on_event, "nobody listens: nothing is made");
}

Test(control, a_client_that_goes_away_in_the_middle)
{
	w.drop = drop_all_control;
	close(request("{\"cmd\":\"ping\",\"name\":\"bob\",\"count\":100,\"interval_ms\":10}\n"));
	close(request("{\"cmd\":\"resolve\",\"name\":\"bob\"}\n"));
	world_run(&w, 3000);
	json_object_put(ask("{\"cmd\":\"status\"}\n"));
}
