/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../common/crypto.h"
#include "../common/log.h"
#include "../common/version.h"
#include "ctl.h"

static const struct ctl_command commands[] = {
    {"genkey", genkey_main, "", "a new private key to stdout"},
    {"pubkey", pubkey_main, "", "the public key of a private key from stdin"},
    {"status", status_main, "", "the daemon: addresses, DC, uplinks, DNS, counters"},
    {"peers", peers_main, "", "the nodes that there are paths to"},
    {"paths", paths_main, "", "the paths: route, endpoint, round trip, traffic"},
    {"relays", relays_main, "", "the relays that the daemon knows"},
    {"netcheck", netcheck_main, "", "NAT, reflexive addresses, and how far the relays are"},
    {"resolve", resolve_main, "NAME", "set up the path to NAME and print its virtual addresses"},
    {"ping", ping_main, "NAME [-c COUNT] [-i SECONDS]", "round trips through the tunnel, agent to agent"},
    {"doctor", doctor_main, "[-c NODE.CONF] [--repair]", "what is missing on this host, and what to do about it"},
    {"moved", moved_main, "", "tell the agent that this host's addresses changed"},
    {"rotate-key", rotate_key_main, "", "a new key for the node, or with -r a relay, that runs"},
    {"monitor", monitor_main, "", "print events as they happen"},
    {"dc", dc_main, "COMMAND", "administer a DC: token create, nodes, revoke, paths"},
    {0},
};

static void help(void)
{
	ctl_help(commands, "ntm [-r RUNTIME_DIR]");
	printf("\n  -r DIR     the daemon's runtime directory (default " CTL_NODE_DIR ", for dc " CTL_DC_DIR ")\n"
	       "  --json     for programs\n"
	       "  --version  --help\n");
}

/* Takes --json out of the arguments, wherever it is. Returns how many are left. */
static int take_json(int argc, char **argv, bool *json)
{
	int left = 0;

	for (int i = 0; i < argc; i++) {
		if (i > 0 && !strcmp(argv[i], "--json"))
			*json = true;
		else
			argv[left++] = argv[i];
	}
	argv[left] = NULL;
	return left;
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			help();
			return CTL_OK;
		}
		if (!strcmp(argv[i], "--version")) {
			printf("ntm %s\n", NTM_VERSION);
			return CTL_OK;
		}
		if (!strcmp(argv[i], "-r") && i + 1 < argc)
			ctl->runtime_dir = argv[++i];
		else if (!strcmp(argv[i], "-r"))
			return ctl_usage(ctl, "-r needs a directory");
		else
			return ctl_usage(ctl, "%s: unknown option", argv[i]);
	}
	if (i == argc)
		return ctl_usage(ctl, "which command? `ntm help` lists them");
	if (!strcmp(argv[i], "help")) {
		help();
		return CTL_OK;
	}
	return ctl_dispatch(commands, "ntm [-r RUNTIME_DIR]", ctl, argc - i, argv + i);
}

int main(int argc, char **argv)
{
	struct ctl ctl = {.usage = "ntm [-r RUNTIME_DIR] COMMAND [--json]"};
	int ret;

	ntm_log_init("ntm", NTM_LOG_WARN);
	argc = take_json(argc, argv, &ctl.json);
	ret = run(&ctl, argc, argv);
	/* A full disk under `ntm genkey > node.key` must not pass for success. */
	if ((fflush(stdout) || ferror(stdout)) && ret == CTL_OK)
		ret = ctl_fail("writing to stdout: %s", strerror(errno));
	return ret;
}
