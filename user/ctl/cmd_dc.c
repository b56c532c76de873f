/* SPDX-License-Identifier: BSD-2-Clause */
/* Administration of a DC. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

enum { ANSWER_MS = 10000, BACKUP_MS = 600000 };

static int call(const struct ctl *ctl, json_object *request, json_object **result)
{
	return ctl_call(ctl, CTL_DC_DIR, request, ANSWER_MS, NULL, NULL, result);
}

static int token_create(const struct ctl *ctl, int argc, char **argv)
{
	static const struct option options[] = {
	    {"name", required_argument, NULL, 'n'},
	    {"ttl", required_argument, NULL, 't'},
	    {0},
	};
	json_object *request, *result;
	const char *name = NULL;
	uint32_t ttl = 0;
	int opt, ret;

	optind = 0;
	opterr = 0;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'n')
			name = optarg;
		else if (opt == 't' && !ctl_parse_duration(optarg, &ttl))
			continue;
		else if (opt == 't')
			return ctl_usage(ctl, "--ttl %s: not a time such as 90s, 30m, 1h, 7d", optarg);
		else
			return ctl_usage(ctl, "token create: unknown option, or one without its value");
	}
	if (optind < argc)
		return ctl_usage(ctl, "token create: unexpected argument %s", argv[optind]);
	request = ctl_request("token_create");
	if (name)
		ctl_add(request, "name", json_object_new_string(name));
	if (ttl)
		ctl_add(request, "ttl_s", json_object_new_int64(ttl));
	ret = call(ctl, request, &result);
	if (ret)
		return ret;
	if (ctl->json)
		ctl_print_json(result);
	else if (ctl_text(result, "token"))
		puts(ctl_text(result, "token"));
	else
		ret = ctl_fail("the DC's answer has no token: is it of another version?");
	json_object_put(result);
	return ret;
}

static int token_main(const struct ctl *ctl, int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], "create") != 0)
		return ctl_usage(ctl, "token: the only thing to do with tokens is `token create`");
	return token_create(ctl, argc - 1, argv + 1);
}

static int print_list(const struct ctl *ctl, int argc, char **argv, const struct ctl_column *columns, size_t n,
		      const char *nothing)
{
	int ret = ctl_no_arguments(ctl, argc, argv);
	json_object *result;

	if (!ret)
		ret = call(ctl, ctl_request(argv[0]), &result);
	if (ret)
		return ret;
	if (ctl->json)
		ctl_print_json(result);
	else
		ctl_print_table(result, columns, n, nothing);
	json_object_put(result);
	return CTL_OK;
}

static int nodes_main(const struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = {
	    {"NAME", "name", CTL_TEXT},       {"VIP4", "vip4", CTL_TEXT},         {"VIP6", "vip6", CTL_TEXT},
	    {"ONLINE", "online", CTL_BOOL},   {"ENDPOINT", "endpoint", CTL_TEXT}, {"LAST SEEN", "last_seen_s", CTL_AGE},
	    {"REVOKED", "revoked", CTL_BOOL},
	};

	return print_list(ctl, argc, argv, columns, sizeof(columns) / sizeof(*columns), "no nodes");
}

static int dc_paths_main(const struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = {
	    {"PATH", "path_id", CTL_TEXT},
	    {"A", "a", CTL_TEXT},
	    {"B", "b", CTL_TEXT},
	    {"RELAY", "relay", CTL_TEXT},
	    {"GATEWAY", "gateway", CTL_BOOL},
	    {"AGE", "age_s", CTL_AGE},
	};

	return print_list(ctl, argc, argv, columns, sizeof(columns) / sizeof(*columns), "no paths");
}

static int dc_relays_main(const struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = {
	    {"NAME", "name", CTL_TEXT},       {"ONLINE", "online", CTL_BOOL},  {"DRAINING", "draining", CTL_BOOL},
	    {"GATEWAY", "gateway", CTL_BOOL}, {"PATHS", "paths", CTL_INT},     {"OF", "paths_max", CTL_INT},
	    {"IPV4", "endpoint4", CTL_TEXT},  {"IPV6", "endpoint6", CTL_TEXT},
	};

	return print_list(ctl, argc, argv, columns, sizeof(columns) / sizeof(*columns), "no relays");
}

static int revoke_main(const struct ctl *ctl, int argc, char **argv)
{
	json_object *request, *result;
	char name[CTL_CELL_LEN];
	int ret;

	if (argc != 2)
		return ctl_usage(ctl, argc < 2 ? "revoke: which node?" : "revoke: one node at a time");
	request = ctl_request("revoke");
	ctl_add(request, "name", json_object_new_string(argv[1]));
	ret = call(ctl, request, &result);
	if (ret)
		return ret;
	if (ctl->json)
		ctl_print_json(result);
	else
		printf("%s is revoked\n", ctl_cell(result, "name", CTL_TEXT, name));
	json_object_put(result);
	return CTL_OK;
}

static int node_main(const struct ctl *ctl, int argc, char **argv)
{
	json_object *request, *result;
	char name[CTL_CELL_LEN];
	int ret;

	if (argc != 5 || strcmp(argv[1], "add") != 0 || strcmp(argv[3], "--key") != 0)
		return ctl_usage(ctl, "node: it is `node add NAME --key PUBLIC_KEY`");
	request = ctl_request("node_add");
	ctl_add(request, "name", json_object_new_string(argv[2]));
	ctl_add(request, "public_key", json_object_new_string(argv[4]));
	ret = call(ctl, request, &result);
	if (ret)
		return ret;
	if (ctl->json)
		ctl_print_json(result);
	else
		printf("%s may register\n", ctl_cell(result, "name", CTL_TEXT, name));
	json_object_put(result);
	return CTL_OK;
}

static int backup_main(const struct ctl *ctl, int argc, char **argv)
{
	char here[4096] = "", file[8192];
	json_object *request, *result;
	int ret;

	if (argc != 2)
		return ctl_usage(ctl, "backup: to which file?");
	if (*argv[1] != '/' && !getcwd(here, sizeof(here)))
		return ctl_fail("backup: the current directory has no name: give the whole path");
	snprintf(file, sizeof(file), "%s%s%s", here, *here ? "/" : "", argv[1]);
	request = ctl_request("backup");
	ctl_add(request, "file", json_object_new_string(file));
	ret = ctl_call(ctl, CTL_DC_DIR, request, BACKUP_MS, NULL, NULL, &result);
	if (ret)
		return ret;
	if (ctl->json)
		ctl_print_json(result);
	json_object_put(result);
	return CTL_OK;
}

static bool print_event(json_object *ev, void *json)
{
	char time[CTL_CELL_LEN], event[CTL_CELL_LEN];

	if (*(bool *)json) {
		puts(json_object_to_json_string_ext(ev, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	} else {
		const char *actor = ctl_text(ev, "actor"), *object = ctl_text(ev, "object"),
			   *detail = ctl_text(ev, "detail");

		printf("%s  %-12s", ctl_cell(ev, "time", CTL_TEXT, time), ctl_cell(ev, "event", CTL_TEXT, event));
		if (actor && (!object || strcmp(actor, object) != 0))
			printf("  %s%s", actor, object ? " ->" : " ");
		else
			putchar(' ');
		if (object)
			printf(" %s", object);
		if (detail)
			printf("  (%s)", detail);
		putchar('\n');
	}
	fflush(stdout);
	return !ferror(stdout);
}

static int events_main(const struct ctl *ctl, int argc, char **argv)
{
	json_object *request = ctl_request("events"), *result;
	bool json = ctl->json, follow = false;
	int opt, ret;

	optind = 0;
	opterr = 0;
	while ((opt = getopt(argc, argv, "n:f")) != -1) {
		char *end = NULL;
		long n = opt == 'n' ? strtol(optarg, &end, 10) : 0;

		if (opt == 'f') {
			follow = true;
		} else if (opt != 'n' || end == optarg || *end || n < 0) {
			json_object_put(request);
			return ctl_usage(ctl, "events: -n takes a number, -f follows");
		} else {
			ctl_add(request, "last", json_object_new_int64(n));
		}
	}
	if (optind < argc) {
		json_object_put(request);
		return ctl_usage(ctl, "events: unexpected argument %s", argv[optind]);
	}
	ctl_add(request, "follow", json_object_new_boolean(follow));
	ret = ctl_call(ctl, CTL_DC_DIR, request, follow ? -1 : ANSWER_MS, print_event, &json, &result);
	if (!ret)
		json_object_put(result);
	return ret;
}

static const struct ctl_command commands[] = {
    {"backup", backup_main, "FILE", "copy the store while the DC runs"},
    {"node", node_main, "add NAME --key PUBLIC_KEY", "let a node in by its key, without a token"},
    {"token", token_main, "create [--name NAME] [--ttl 1h]", "a single-use token that lets a node enrol"},
    {"nodes", nodes_main, "", "the nodes that are enrolled"},
    {"revoke", revoke_main, "NAME", "shut a node out, at once"},
    {"paths", dc_paths_main, "", "the paths that were directed"},
    {"relays", dc_relays_main, "", "the relays of the configuration"},
    {"events", events_main, "[-n COUNT] [-f]", "what happened last; -f: and what happens from now on"},
    {0},
};

int dc_main(const struct ctl *ctl, int argc, char **argv)
{
	if (argc < 2)
		return ctl_usage(ctl, "dc: which command? `ntm dc help` lists them");
	if (!strcmp(argv[1], "help")) {
		ctl_help(commands, "ntm [-r DC_RUNTIME_DIR] dc");
		return CTL_OK;
	}
	return ctl_dispatch(commands, "ntm [-r DC_RUNTIME_DIR] dc", ctl, argc - 1, argv + 1);
}
