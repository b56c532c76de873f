/* SPDX-License-Identifier: BSD-2-Clause */
/* Relays: as a node is offered them, or as a DC knows them. */
#include "ctl.h"

enum { ANSWER_MS = 10000 };

static bool of_dc(json_object *result)
{
	return json_object_array_length(result) && ctl_member(json_object_array_get_idx(result, 0), "online");
}

int relays_main(const struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column node[] = {
	    {"NAME", "name", CTL_TEXT},      {"RTT", "rtt_ms", CTL_MS},   {"IPV4", "endpoint4", CTL_TEXT},
	    {"IPV6", "endpoint6", CTL_TEXT}, {"BOUND", "bound", CTL_INT}, {"IN USE BY", "paths", CTL_INT},
	};
	static const struct ctl_column dc[] = {
	    {"NAME", "name", CTL_TEXT},
	    {"ONLINE", "online", CTL_BOOL},
	    {"DRAINING", "draining", CTL_BOOL},
	    {"GATEWAY", "gateway", CTL_BOOL},
	    {"PATHS", "paths", CTL_INT},
	    {"OF", "paths_max", CTL_INT},
	    {"PACKETS/S", "packets_per_s", CTL_INT},
	    {"BYTES/S", "bytes_per_s", CTL_BYTES},
	    {"DROPS/S", "drops_per_s", CTL_INT},
	    {"CPU 1/1000", "cpu_permille", CTL_INT},
	    {"IPV4", "endpoint4", CTL_TEXT},
	    {"IPV6", "endpoint6", CTL_TEXT},
	};
	json_object *result;
	int ret = ctl_no_arguments(ctl, argc, argv);

	if (!ret)
		ret = ctl_call(ctl, CTL_NODE_DIR, ctl_request("relays"), ANSWER_MS, NULL, NULL, &result);
	if (ret)
		return ret;
	if (!json_object_is_type(result, json_type_array))
		ret = ctl_fail("relays: the daemon's answer is no list");
	else if (ctl->json)
		ctl_print_json(result);
	else if (of_dc(result))
		ctl_print_table(result, dc, sizeof(dc) / sizeof(*dc), "no relays");
	else
		ctl_print_table(result, node, sizeof(node) / sizeof(*node), "no relays");
	json_object_put(result);
	return ret ? ret : CTL_OK;
}
