/* SPDX-License-Identifier: BSD-2-Clause */
/* The metrics' text, and the server as a scraper sees it. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../user/common/metrics.h"

Test(metrics, labels_are_escaped_and_numbers_are_exact)
{
	struct ntm_metrics m = {0};

	ntm_metrics_family(&m, "x_total", "counter", "Help.");
	ntm_metrics_sample(&m, "x_total", 9007199254740991.0, "reason", "a\"b\\c\nd\x80", "k", "v", NULL);
	ntm_metrics_sample(&m, "x_total", 0.25, NULL);
	cr_assert_eq(m.err, 0);
	cr_assert_eq(m.len, strlen("# HELP x_total Help.\n# TYPE x_total counter\n"
				   "x_total{reason=\"a\\\"b\\\\c\\nd?\",k=\"v\"} 9007199254740991\nx_total 0.25\n"));
	cr_assert_arr_eq(m.text,
			 "# HELP x_total Help.\n# TYPE x_total counter\n"
			 "x_total{reason=\"a\\\"b\\\\c\\nd?\",k=\"v\"} 9007199254740991\nx_total 0.25\n",
			 m.len);
	ntm_metrics_free(&m);
}

Test(metrics, histogram_is_cumulative)
{
	static const double bounds[] = {1, 2};
	struct ntm_histogram h = {.bounds = bounds, .n = 2};
	struct ntm_metrics m = {0};
	char text[1024];

	ntm_histogram_observe(&h, 1);
	ntm_histogram_observe(&h, 1.5);
	ntm_histogram_observe(&h, 9);
	ntm_metrics_histogram(&m, "h", "H.", &h);
	snprintf(text, sizeof(text), "%.*s", (int)m.len, m.text);
	cr_assert_str_eq(text, "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 2\n"
			       "h_bucket{le=\"+Inf\"} 3\nh_sum 11.5\nh_count 3\n");
	ntm_metrics_free(&m);
}

static uv_loop_t loop;
static uv_async_t end;
static struct ntm_metrics_server *server;

static void collect(struct ntm_metrics *m, void *arg)
{
	(void)arg;
	ntm_metrics_process(m);
}

static void on_end(uv_async_t *a)
{
	ntm_metrics_stop(server);
	uv_close((uv_handle_t *)a, NULL);
}

static void *run(void *arg)
{
	uv_run(arg, UV_RUN_DEFAULT);
	return NULL;
}

/* The whole answer to these bytes. */
static void ask(const char *request, char *answer, size_t cap)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(ntm_metrics_port(server))};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	size_t len = 0;
	ssize_t n;

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
	while ((n = recv(fd, answer + len, cap - 1 - len, 0)) > 0)
		len += (size_t)n;
	answer[len] = 0;
	close(fd);
}

Test(metrics, server_answers_get_metrics_and_nothing_else, .timeout = 20)
{
	static char answer[65536], longer[4200];
	struct ntm_listen a = {0};
	pthread_t thread;
	char why[256];

	ntm_addr_parse("127.0.0.1:1", 0, &a.addr);
	a.addr.port = 0;
	uv_loop_init(&loop);
	uv_async_init(&loop, &end, on_end);
	cr_assert_eq(ntm_metrics_start(&server, &loop, &a, collect, NULL, why, sizeof(why)), 0, "%s", why);
	pthread_create(&thread, NULL, run, &loop);
	ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", answer, sizeof(answer));
	cr_assert_not_null(strstr(answer, "HTTP/1.1 200 OK\r\n"));
	cr_assert_not_null(strstr(answer, "text/plain; version=0.0.4"));
	cr_assert_not_null(strstr(answer, "\nprocess_open_fds "));
	cr_assert_not_null(strstr(answer, "\nprocess_cpu_seconds_total "));
	cr_assert_not_null(strstr(answer, "\nprocess_start_time_seconds "));
	ask("GET / HTTP/1.1\r\n\r\n", answer, sizeof(answer));
	cr_assert_not_null(strstr(answer, " 404 "));
	ask("POST /metrics HTTP/1.1\r\n\r\n", answer, sizeof(answer));
	cr_assert_not_null(strstr(answer, " 405 "));
	ask("nonsense\r\n\r\n", answer, sizeof(answer));
	cr_assert_not_null(strstr(answer, " 400 "));
	memset(longer, 'a', 4096);
	ask(longer, answer, sizeof(answer));
	cr_assert_not_null(strstr(answer, " 431 "));
	uv_async_send(&end);
	pthread_join(thread, NULL);
	cr_assert_eq(uv_loop_close(&loop), 0);
}

Test(metrics, unix_socket_takes_the_place_of_a_dead_one, .timeout = 20)
{
	struct ntm_listen at = {0};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct ntm_metrics_server *second;
	char answer[256], path[64], why[256];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "/tmp/ntm-metrics-%d.sock", (int)getpid());
	at.path = path;
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	close(fd); /* nobody listens there any more */
	uv_loop_init(&loop);
	cr_assert_eq(ntm_metrics_start(&server, &loop, &at, collect, NULL, why, sizeof(why)), 0, "%s", why);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0660);
	cr_assert_lt(ntm_metrics_start(&second, &loop, &at, collect, NULL, why, sizeof(why)), 0);
	cr_assert(strstr(why, path), "%s", why);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	cr_assert_eq(send(fd, "GET /metrics HTTP/1.0\r\n\r\n", 25, 0), 25);
	for (int i = 0; i < 100 && recv(fd, answer, sizeof(answer), MSG_DONTWAIT | MSG_PEEK) < 12; i++)
		uv_run(&loop, UV_RUN_ONCE);
	cr_assert_geq(recv(fd, answer, sizeof(answer), 0), 12);
	cr_assert_eq(memcmp(answer, "HTTP/1.1 200", 12), 0);
	close(fd);
	ntm_metrics_stop(server);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(stat(path, &st), -1, "it goes with the server");
	cr_assert_eq(uv_loop_close(&loop), 0);
}
