/* SPDX-License-Identifier: BSD-2-Clause */
/* Administration of a DC. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

enum { ANSWER_MS = 10000 };

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
	    {"AGE", "age_s", CTL_AGE},
	};

	return print_list(ctl, argc, argv, columns, sizeof(columns) / sizeof(*columns), "no paths");
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

static const struct ctl_command commands[] = {
    {"token", token_main, "create [--name NAME] [--ttl 1h]", "a single-use token that lets a node enrol"},
    {"nodes", nodes_main, "", "the nodes that are enrolled"},
    {"revoke", revoke_main, "NAME", "shut a node out, at once"},
    {"paths", dc_paths_main, "", "the paths that were directed"},
    {0},
};

int dc_main(const struct ctl *ctl, int argc, char **argv)
{
	if (argc < 2)
		return ctl_usage(ctl, "dc: which command? token create, nodes, revoke, paths");
	if (!strcmp(argv[1], "help")) {
		ctl_help(commands, "ntm [-r DC_RUNTIME_DIR] dc");
		return CTL_OK;
	}
	return ctl_dispatch(commands, "ntm [-r DC_RUNTIME_DIR] dc", ctl, argc - 1, argv + 1);
}
