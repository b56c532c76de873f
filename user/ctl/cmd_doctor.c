/* SPDX-License-Identifier: BSD-2-Clause */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../common/ctlsock.h"
#include "ctl.h"
#include "doctor.h"

static const char *const state_names[] = {"ok", "warn", "fail"};

static void add_text(json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, text ? json_object_new_string(text) : NULL);
}

void doctor_add(struct doctor *d, enum doctor_state state, const char *check, const char *advice, const char *fmt, ...)
{
	json_object *o = json_object_new_object();
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	d->count[state]++;
	if (!o)
		return;
	add_text(o, "check", check);
	add_text(o, "state", state_names[state]);
	add_text(o, "text", text);
	add_text(o, "advice", advice);
	json_object_array_add(d->checks, o);
}

static void print_check(json_object *o, bool colours)
{
	static const char *const colour[] = {"32", "33", "31"};
	const char *state = ctl_text(o, "state"), *advice = ctl_text(o, "advice");
	unsigned s = 0;

	while (s < 2 && strcmp(state, state_names[s]) != 0)
		s++;
	if (colours)
		printf("\033[%sm%-4s\033[0m", colour[s], state);
	else
		printf("%-4s", state);
	printf("  %-14s %s\n", ctl_text(o, "check"), ctl_text(o, "text"));
	if (advice)
		printf("      %-14s → %s\n", "", advice);
}

static void print_checks(const struct doctor *d)
{
	bool colours = isatty(STDOUT_FILENO);

	for (size_t i = 0; i < json_object_array_length(d->checks); i++)
		print_check(json_object_array_get_idx(d->checks, i), colours);
	printf("%u ok, %u to look at, %u failed\n", d->count[DOCTOR_OK], d->count[DOCTOR_WARN], d->count[DOCTOR_FAIL]);
}

static void print_json(const struct doctor *d)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "ok", json_object_new_boolean(!d->count[DOCTOR_FAIL]));
	json_object_object_add(o, "checks", json_object_get(d->checks));
	ctl_print_json(o);
	json_object_put(o);
}

static void ask_agent(struct doctor *d, const char *dir)
{
	json_object *request = ctl_request("status");
	char why[600];
	int err = ntm_ctl_call(dir, request, 3000, NULL, NULL, &d->status, why, sizeof(why));

	json_object_put(request);
	if (err) {
		d->status = NULL;
		doctor_add(d, DOCTOR_WARN, "agent", "start ntm-node, or name its runtime directory with -r", "%s", why);
	} else if (!ctl_text(d->status, "name")) {
		doctor_add(d, DOCTOR_WARN, "agent", "name the node's runtime directory with -r",
			   "the daemon at %s is not a node", dir);
		json_object_put(d->status);
		d->status = NULL;
	}
}

int doctor_main(const struct ctl *ctl, int argc, char **argv)
{
	struct doctor d = {.port = NTM_PORT, .ifname = "ntm0"};
	const char *file = NULL, *dir = ctl->runtime_dir;
	struct ntm_node_config conf;
	char err[512];
	static const struct option options[] = {{"repair", no_argument, NULL, 'r'}, {0}};
	bool repair = false;
	int opt, ret;

	optind = 0;
	opterr = 0;
	while ((opt = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
		if (opt == 'r') {
			repair = true;
			continue;
		}
		if (opt != 'c')
			return ctl_usage(ctl, "doctor: unknown option, or one without its value");
		file = optarg;
	}
	if (optind < argc)
		return ctl_usage(ctl, "doctor: unexpected argument %s", argv[optind]);

	d.checks = json_object_new_array();
	if (!d.checks)
		return ctl_fail("out of memory");
	if (file && ntm_node_config_load(&conf, file, err, sizeof(err))) {
		doctor_add(&d, DOCTOR_FAIL, "configuration", "correct that line; the agent refuses it too", "%s", err);
		file = NULL;
	} else if (file) {
		doctor_add(&d, DOCTOR_OK, "configuration", NULL, "%s is well-formed", file);
		d.conf = &conf;
		d.port = conf.port;
		snprintf(d.ifname, sizeof(d.ifname), "%s", conf.interface);
		dir = dir ? dir : conf.runtime_dir;
	}
	doctor_kernel(&d);
	doctor_capabilities(&d);
	ask_agent(&d, dir ? dir : CTL_NODE_DIR);
	if (ctl_text(d.status, "interface"))
		snprintf(d.ifname, sizeof(d.ifname), "%s", ctl_text(d.status, "interface"));
	if (repair)
		doctor_repair(&d, dir ? dir : CTL_NODE_DIR);
	doctor_agent(&d);
	doctor_uplinks(&d);
	doctor_net(&d);
	doctor_gateway(&d);

	if (ctl->json)
		print_json(&d);
	else
		print_checks(&d);
	ret = d.count[DOCTOR_FAIL] ? CTL_FAILED : CTL_OK;
	json_object_put(d.status);
	json_object_put(d.checks);
	if (d.conf)
		ntm_node_config_free(&conf);
	return ret;
}
