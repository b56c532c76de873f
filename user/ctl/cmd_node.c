/* SPDX-License-Identifier: BSD-2-Clause */
/* What a node is asked to do: resolve, ping, moved, monitor. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

enum { SETUP_MS = 10000 }; /* the agent gives up on a path after 2 s and says so */

int resolve_main(const struct ctl *ctl, int argc, char **argv)
{
	json_object *request, *result;
	int ret;

	if (argc != 2)
		return ctl_usage(ctl, argc < 2 ? "resolve: which name?" : "resolve: one name at a time");
	request = ctl_request("resolve");
	ctl_add(request, "name", json_object_new_string(argv[1]));
	ret = ctl_call(ctl, CTL_NODE_DIR, request, SETUP_MS, NULL, NULL, &result);
	if (ret)
		return ret;
	if (ctl->json) {
		ctl_print_json(result);
	} else {
		char cell[CTL_CELL_LEN];

		puts(ctl_cell(result, "vip4", CTL_TEXT, cell));
		puts(ctl_cell(result, "vip6", CTL_TEXT, cell));
	}
	json_object_put(result);
	return CTL_OK;
}

static bool print_pong(json_object *ev, void *name)
{
	const char *kind = ctl_text(ev, "event");
	char seq[CTL_CELL_LEN], rtt[CTL_CELL_LEN], from[CTL_CELL_LEN], route[CTL_CELL_LEN];

	ctl_cell(ev, "seq", CTL_INT, seq);
	if (kind && !strcmp(kind, "pong"))
		printf("%s: seq %s from %s (%s) in %s\n", (const char *)name, seq,
		       ctl_cell(ev, "endpoint", CTL_TEXT, from), ctl_cell(ev, "route", CTL_TEXT, route),
		       ctl_cell(ev, "rtt_ms", CTL_MS, rtt));
	else if (kind && !strcmp(kind, "timeout"))
		printf("%s: seq %s lost\n", (const char *)name, seq);
	fflush(stdout);
	return true;
}

/* Milliseconds out of seconds with a fraction; 0: not such a number, or under 1 ms, or over a minute. */
static int parse_interval(const char *text)
{
	char *end;
	double s = strtod(text, &end);

	return end == text || *end || !(s >= 0.001 && s <= 60) ? 0 : (int)(s * 1000 + 0.5);
}

int ping_main(const struct ctl *ctl, int argc, char **argv)
{
	int opt, ret, interval_ms = 1000;
	json_object *request, *result;
	long long received;
	long count = 4;
	char *end;

	optind = 0;
	opterr = 0;
	while ((opt = getopt(argc, argv, "c:i:")) != -1) {
		if (opt == 'c') {
			errno = 0;
			count = strtol(optarg, &end, 10);
			if (errno || end == optarg || *end || count < 1 || count > 100000)
				return ctl_usage(ctl, "ping: -c %s: not a number from 1 to 100000", optarg);
		} else if (opt == 'i') {
			interval_ms = parse_interval(optarg);
			if (!interval_ms)
				return ctl_usage(ctl, "ping: -i %s: not seconds from 0.001 to 60", optarg);
		} else {
			return ctl_usage(ctl, "ping: unknown option, or one without its value");
		}
	}
	if (argc - optind != 1)
		return ctl_usage(ctl, argc == optind ? "ping: which name?" : "ping: one name at a time");
	request = ctl_request("ping");
	ctl_add(request, "name", json_object_new_string(argv[optind]));
	ctl_add(request, "count", json_object_new_int64(count));
	ctl_add(request, "interval_ms", json_object_new_int(interval_ms));
	ret = ctl_call(ctl, CTL_NODE_DIR, request, SETUP_MS + interval_ms, ctl->json ? NULL : print_pong, argv[optind],
		       &result);
	if (ret)
		return ret;
	received = json_object_get_int64(ctl_member(result, "received"));
	if (ctl->json) {
		ctl_print_json(result);
	} else {
		char sent[CTL_CELL_LEN], min[CTL_CELL_LEN], avg[CTL_CELL_LEN], max[CTL_CELL_LEN];

		printf("%s sent, %lld received", ctl_cell(result, "sent", CTL_INT, sent), received);
		if (received)
			printf(", min %s, average %s, max %s", ctl_cell(result, "min_ms", CTL_MS, min),
			       ctl_cell(result, "avg_ms", CTL_MS, avg), ctl_cell(result, "max_ms", CTL_MS, max));
		putchar('\n');
	}
	json_object_put(result);
	return received ? CTL_OK : CTL_FAILED;
}

int moved_main(const struct ctl *ctl, int argc, char **argv)
{
	int ret = ctl_no_arguments(ctl, argc, argv);
	json_object *result;

	if (!ret)
		ret = ctl_call(ctl, CTL_NODE_DIR, ctl_request("moved"), SETUP_MS, NULL, NULL, &result);
	if (ret)
		return ret;
	if (ctl->json)
		ctl_print_json(result);
	json_object_put(result);
	return CTL_OK;
}

/* `TIME EVENT key=value ...`, or the event as it came, one a line. */
static bool print_event(json_object *ev, void *arg)
{
	const struct ctl *ctl = arg;
	char time[CTL_CELL_LEN], event[CTL_CELL_LEN];

	if (ctl->json) {
		puts(json_object_to_json_string_ext(ev, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	} else {
		printf("%s  %-12s", ctl_cell(ev, "time", CTL_TEXT, time), ctl_cell(ev, "event", CTL_TEXT, event));
		json_object_object_foreach (ev, key, v) {
			if (v && strcmp(key, "time") != 0 && strcmp(key, "event") != 0)
				printf(" %s=%s", key, json_object_get_string(v));
		}
		putchar('\n');
	}
	/* For a reader at the end of a pipe; once that is gone there is no more to do. */
	return fflush(stdout) == 0;
}

int monitor_main(const struct ctl *ctl, int argc, char **argv)
{
	int ret = ctl_no_arguments(ctl, argc, argv);
	json_object *result = NULL;

	if (!ret)
		ret = ctl_call(ctl, CTL_NODE_DIR, ctl_request("monitor"), -1, print_event, (void *)ctl, &result);
	json_object_put(ret ? NULL : result);
	return ret;
}
