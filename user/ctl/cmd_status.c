/* SPDX-License-Identifier: BSD-2-Clause */
/* What a daemon says of itself, its peers and paths. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"

enum { ANSWER_MS = 10000 };

static int ask(const struct ctl *ctl, const char *cmd, int argc, char **argv, json_object **result)
{
	int bad = ctl_no_arguments(ctl, argc, argv);

	return bad ? bad : ctl_call(ctl, CTL_NODE_DIR, ctl_request(cmd), ANSWER_MS, NULL, NULL, result);
}

/* A relay's paths are other things than a node's: two ends, neither of them this host. */
static bool of_relay(json_object *result)
{
	return json_object_is_type(result, json_type_array) && json_object_array_length(result) &&
	       ctl_member(json_object_array_get_idx(result, 0), "ends");
}

static void print_relay_paths(json_object *result)
{
	static const struct ctl_column columns[] = {
	    {"PATH", "path_id", CTL_TEXT},   {"INITIATOR", "initiator", CTL_TEXT}, {"RESPONDER", "responder", CTL_TEXT},
	    {"PACKETS", "packets", CTL_INT}, {"BYTES", "bytes", CTL_BYTES},        {"DROPS", "drops", CTL_INT},
	    {"IDLE", "idle_s", CTL_AGE},
	};

	ctl_print_table(result, columns, sizeof(columns) / sizeof(*columns), "no paths");
}

static int list(const struct ctl *ctl, const char *cmd, int argc, char **argv, const struct ctl_column *columns,
		size_t n, const char *nothing)
{
	json_object *result;
	int ret = ask(ctl, cmd, argc, argv, &result);

	if (ret)
		return ret;
	if (ctl->json)
		ctl_print_json(result);
	else if (of_relay(result))
		print_relay_paths(result);
	else
		ctl_print_table(result, columns, n, nothing);
	json_object_put(result);
	return CTL_OK;
}

int peers_main(const struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = {
	    {"NAME", "name", CTL_TEXT},   {"VIP4", "vip4", CTL_TEXT},         {"VIP6", "vip6", CTL_TEXT},
	    {"ROUTE", "route", CTL_TEXT}, {"ENDPOINT", "endpoint", CTL_TEXT}, {"LAST HEARD", "last_rx_s", CTL_AGE},
	};

	return list(ctl, "peers", argc, argv, columns, sizeof(columns) / sizeof(*columns), "no peers");
}

int paths_main(const struct ctl *ctl, int argc, char **argv)
{
	static const struct ctl_column columns[] = {
	    {"PEER", "peer", CTL_TEXT},      {"PATH", "path_id", CTL_TEXT},
	    {"STATE", "state", CTL_TEXT},    {"ROUTE", "route", CTL_TEXT},
	    {"KIND", "kind", CTL_TEXT},      {"ENDPOINT", "endpoint", CTL_TEXT},
	    {"RELAY", "relay", CTL_TEXT},    {"RTT", "rtt_ms", CTL_MS},
	    {"MTU", "mtu", CTL_INT},         {"LANE", "lane", CTL_TEXT},
	    {"SENT", "tx_bytes", CTL_BYTES}, {"RECEIVED", "rx_bytes", CTL_BYTES},
	    {"MOVES", "handovers", CTL_INT}, {"LAST HEARD", "last_rx_s", CTL_AGE},
	};

	return list(ctl, "paths", argc, argv, columns, sizeof(columns) / sizeof(*columns), "no paths");
}

static const char *or_dash(const char *text)
{
	return text ? text : "-";
}

static void print_list(const char *label, json_object *array)
{
	size_t n = json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;

	printf("%s", label);
	for (size_t i = 0; i < n; i++)
		printf("%s%s", i ? ", " : "", json_object_get_string(json_object_array_get_idx(array, i)));
	puts(n ? "" : "-");
}

static void print_dc_connection(json_object *dc)
{
	const char *reflexive = ctl_text(dc, "reflexive");
	char rtt[CTL_CELL_LEN];

	printf("  DC         %s, %s", or_dash(ctl_text(dc, "endpoint")),
	       json_object_get_boolean(ctl_member(dc, "connected")) ? "connected" : "not connected");
	if (ctl_member(dc, "rtt_ms"))
		printf(", %s", ctl_cell(dc, "rtt_ms", CTL_MS, rtt));
	if (reflexive)
		printf(", sees this node as %s", reflexive);
	if (ctl_text(dc, "error"))
		printf(", last error: %s", ctl_text(dc, "error"));
	putchar('\n');
}

static void print_uplinks(json_object *uplinks)
{
	size_t n = json_object_is_type(uplinks, json_type_array) ? json_object_array_length(uplinks) : 0;

	for (size_t i = 0; i < n; i++) {
		json_object *u = json_object_array_get_idx(uplinks, i);
		char mtu[CTL_CELL_LEN];

		printf("  %-9s  %s: MTU %s, XDP %s",
		       i       ? ""
		       : n > 1 ? "uplinks"
			       : "uplink",
		       or_dash(ctl_text(u, "name")), ctl_cell(u, "mtu", CTL_INT, mtu), or_dash(ctl_text(u, "xdp")));
		if (ctl_text(u, "addr4"))
			printf(", %s", ctl_text(u, "addr4"));
		if (ctl_text(u, "addr6"))
			printf(", %s", ctl_text(u, "addr6"));
		if (json_object_get_boolean(ctl_member(u, "leads_nowhere")))
			printf(", leads nowhere");
		putchar('\n');
	}
	if (!n)
		puts("  uplink     none: no interface with a usable address");
}

/* Those that are not zero. A node's counters are {packets, bytes}, a DC's are numbers. */
static void print_counters(const char *title, json_object *counters)
{
	bool titled = false;

	if (!json_object_is_type(counters, json_type_object))
		return;
	json_object_object_foreach (counters, name, v) {
		json_object *packets = ctl_member(v, "packets");
		char bytes[CTL_CELL_LEN];

		if (!titled && json_object_get_int64(packets ? packets : v)) {
			printf("  %s\n", title);
			titled = true;
		}
		if (packets && json_object_get_int64(packets))
			printf("    %-16s %12lld packets %12s\n", name, (long long)json_object_get_int64(packets),
			       ctl_cell(v, "bytes", CTL_BYTES, bytes));
		else if (!packets && json_object_get_int64(v))
			printf("    %-24s %12lld\n", name, (long long)json_object_get_int64(v));
	}
}

static void print_relay(json_object *relay)
{
	char cell[CTL_CELL_LEN], left[CTL_CELL_LEN], packets[CTL_CELL_LEN], bytes[CTL_CELL_LEN];

	printf("  relay      %s of %s paths%s", ctl_cell(relay, "paths", CTL_INT, cell),
	       ctl_cell(relay, "paths_max", CTL_INT, left),
	       json_object_get_boolean(ctl_member(relay, "gateway")) ? ", gateway to general nodes" : "");
	if (json_object_get_boolean(ctl_member(relay, "draining")))
		printf(", draining for %s more", ctl_cell(relay, "drain_left_s", CTL_AGE, cell));
	printf("\n  load       %s packets/s, %s/s, %s drops/s, CPU %.1f %%\n",
	       ctl_cell(relay, "packets_per_s", CTL_INT, packets), ctl_cell(relay, "bytes_per_s", CTL_BYTES, bytes),
	       ctl_cell(relay, "drops_per_s", CTL_INT, cell),
	       json_object_get_int(ctl_member(relay, "cpu_permille")) / 10.0);
}

static void print_node(json_object *s)
{
	json_object *dns = ctl_member(s, "dns"), *relay = ctl_member(s, "relay"), *gateway = ctl_member(s, "gateway");
	char uptime[CTL_CELL_LEN], pid[CTL_CELL_LEN];

	puts(or_dash(ctl_text(s, "name")));
	printf("  addresses  %s, %s\n", or_dash(ctl_text(s, "vip4")), or_dash(ctl_text(s, "vip6")));
	print_dc_connection(ctl_member(s, "dc"));
	print_uplinks(ctl_member(s, "uplinks"));
	if (gateway) {
		printf("  gateway    %s\n", or_dash(ctl_text(gateway, "peer")));
		print_list("  routes     ", ctl_member(gateway, "routes"));
	}
	if (relay)
		print_relay(relay);
	if (dns) {
		printf("  DNS        mode %s, listens on %s\n", or_dash(ctl_text(dns, "mode")),
		       or_dash(ctl_text(dns, "listen")));
		print_list("  upstreams  ", ctl_member(dns, "upstreams"));
	}
	printf("  agent      version %s, process %s, up %s, datapath %s%s\n", or_dash(ctl_text(s, "version")),
	       ctl_cell(s, "pid", CTL_INT, pid), ctl_cell(s, "uptime_s", CTL_AGE, uptime),
	       or_dash(ctl_text(s, "datapath")),
	       json_object_get_boolean(ctl_member(s, "adopted")) ? ", took over a running data path" : "");
	print_counters("counters", ctl_member(s, "counters"));
	if (relay)
		print_counters("admission", ctl_member(relay, "admission"));
}

/* Its other keys, while it changes them, and the other processes where it has any. */
static void print_dc_parts(json_object *s)
{
	json_object *keys = ctl_member(s, "keys"), *processes = ctl_member(s, "processes");
	size_t n_keys = keys ? json_object_array_length(keys) : 0;
	size_t n = processes ? json_object_array_length(processes) : 0;
	char told[CTL_CELL_LEN], online[CTL_CELL_LEN];

	for (size_t i = 0; n_keys > 1 && i < n_keys; i++) {
		json_object *k = json_object_array_get_idx(keys, i);

		printf("  %-10s %s\n", i ? "" : "keys", or_dash(ctl_text(k, "public_key")));
		printf("             %s\n", or_dash(ctl_text(k, "state")));
	}
	if (n_keys > 1)
		printf("             told to %s of %s that are online\n", ctl_cell(s, "keys_told", CTL_INT, told),
		       ctl_cell(s, "online", CTL_INT, online));
	for (size_t i = 0; i < n; i++) {
		json_object *p = json_object_array_get_idx(processes, i);

		printf("  %-10s %s, %s\n", i ? "" : "processes", or_dash(ctl_text(p, "address")),
		       json_object_get_boolean(ctl_member(p, "up")) ? "up" : "not heard of");
	}
	if (ctl_member(s, "store_up"))
		printf("  store      %s\n", json_object_get_boolean(ctl_member(s, "store_up")) ? "up" : "out of reach");
}

static void print_dc(json_object *s)
{
	static const char *const numbers[] = {"nodes", "online", "sessions", "paths"};
	char cell[CTL_CELL_LEN];

	printf("DC of %s\n", or_dash(ctl_text(s, "zone")));
	printf("  public key %s\n", or_dash(ctl_text(s, "public_key")));
	print_list("  listens on ", ctl_member(s, "listen"));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		printf("  %-10s %s\n", numbers[i], ctl_cell(s, numbers[i], CTL_INT, cell));
	print_dc_parts(s);
	printf("  version    %s, up %s\n", or_dash(ctl_text(s, "version")), ctl_cell(s, "uptime_s", CTL_AGE, cell));
	print_counters("counters", ctl_member(s, "counters"));
}

int status_main(const struct ctl *ctl, int argc, char **argv)
{
	json_object *result;
	int ret = ask(ctl, "status", argc, argv, &result);

	if (ret)
		return ret;
	if (ctl->json)
		ctl_print_json(result);
	else if (ctl_member(result, "name"))
		print_node(result);
	else
		print_dc(result);
	json_object_put(result);
	return CTL_OK;
}
