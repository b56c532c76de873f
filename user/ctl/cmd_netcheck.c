/* SPDX-License-Identifier: BSD-2-Clause */
/* What is between this node and the world, as far as its agent has found out. */
#include <stdio.h>

#include "ctl.h"

enum { ANSWER_MS = 10000 };

static void print_family(const char *name, json_object *o, const char *works, const char *seen)
{
	json_object *list = ctl_member(o, seen);

	printf("  %s       %s", name, json_object_get_boolean(ctl_member(o, works)) ? "works" : "no answer");
	for (size_t i = 0; list && i < json_object_array_length(list); i++)
		printf("%s %s", i ? "," : ", seen as", json_object_get_string(json_object_array_get_idx(list, i)));
	putchar('\n');
}

static void print(json_object *o)
{
	json_object *relays = ctl_member(o, "relays");
	size_t n = relays ? json_object_array_length(relays) : 0;
	bool nat = json_object_get_boolean(ctl_member(o, "nat4"));
	char cell[CTL_CELL_LEN];

	puts("network");
	print_family("IPv4", o, "udp4", "reflexive4");
	print_family("IPv6", o, "udp6", "reflexive6");
	if (nat)
		printf("  NAT        yes, %s\n",
		       json_object_get_boolean(ctl_member(o, "mapping_varies"))
			   ? "another port or address for each destination: hard to get through"
			   : "the same for all destinations");
	else
		puts("  NAT        none seen");
	if (ctl_member(o, "mapping_survives_s"))
		printf("  mappings   live for at least %s s unused", ctl_cell(o, "mapping_survives_s", CTL_INT, cell));
	else
		printf("  mappings   not measured yet");
	printf(", kept alive each %s s\n", ctl_cell(o, "keepalive_s", CTL_INT, cell));
	for (size_t i = 0; i < n; i++) {
		json_object *r = json_object_array_get_idx(relays, i);
		char rtt[CTL_CELL_LEN], endpoint[CTL_CELL_LEN];

		printf("  relay      %s at %s: %s\n", ctl_cell(r, "name", CTL_TEXT, cell),
		       ctl_cell(r, "endpoint", CTL_TEXT, endpoint),
		       ctl_member(r, "rtt_ms") ? ctl_cell(r, "rtt_ms", CTL_MS, rtt) : "no answer");
	}
	if (!n)
		puts("  relay      none offered");
}

int netcheck_main(const struct ctl *ctl, int argc, char **argv)
{
	int ret = ctl_no_arguments(ctl, argc, argv);
	json_object *result;

	if (!ret)
		ret = ctl_call(ctl, CTL_NODE_DIR, ctl_request("netcheck"), ANSWER_MS, NULL, NULL, &result);
	if (ret)
		return ret;
	if (ctl->json)
		ctl_print_json(result);
	else
		print(result);
	json_object_put(result);
	return CTL_OK;
}
