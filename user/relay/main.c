/* SPDX-License-Identifier: BSD-2-Clause */
/* ntm-relay: options only. */
#include <getopt.h>
#include <stdio.h>

#include "relay.h"

static int usage(FILE *to)
{
	fprintf(to, "usage: ntm-relay -c FILE [--down]\n"
		    "  -c, --config FILE  the relay's configuration\n"
		    "      --down         remove the programs and pins that a relay left, and exit\n"
		    "  -h, --help         this text\n"
		    "      --version      the version\n");
	return to == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"down", no_argument, NULL, 'd'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'v'},
	    {0},
	};
	const char *conf = NULL;
	bool down = false;
	int c;

	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			conf = optarg;
			break;
		case 'd':
			down = true;
			break;
		case 'h':
			return usage(stdout);
		case 'v':
			printf("ntm-relay %s\n", NTM_VERSION);
			return 0;
		default:
			return usage(stderr);
		}
	}
	if (!conf || optind != argc)
		return usage(stderr);
	return down ? ntm_relay_down(conf) : ntm_relay_run(conf);
}
