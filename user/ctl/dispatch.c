/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl.h"

#include <stdio.h>
#include <string.h>

void ctl_help(const struct ctl_command *table, const char *prefix)
{
	printf("usage: %s COMMAND [--json]\n\n", prefix);
	for (const struct ctl_command *c = table; c->name; c++) {
		int len = printf("  %s%s%s", c->name, *c->usage ? " " : "", c->usage);

		printf("%*s%s\n", len < 44 ? 44 - len : 2, "", c->text);
	}
}

static void list_names(const struct ctl_command *table)
{
	fputs("commands:", stderr);
	for (const struct ctl_command *c = table; c->name; c++)
		fprintf(stderr, " %s", c->name);
	fputc('\n', stderr);
}

int ctl_dispatch(const struct ctl_command *table, const char *prefix, const struct ctl *ctl, int argc, char **argv)
{
	for (const struct ctl_command *c = table; c->name; c++) {
		struct ctl with_usage = *ctl;
		char usage[256];

		if (strcmp(c->name, argv[0]) != 0)
			continue;
		snprintf(usage, sizeof(usage), "%s %s%s%s", prefix, c->name, *c->usage ? " " : "", c->usage);
		with_usage.usage = usage;
		if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
			printf("usage: %s\n%s\n", usage, c->text);
			return CTL_OK;
		}
		return c->main(&with_usage, argc, argv);
	}
	fprintf(stderr, "ntm: %s: unknown command\n", argv[0]);
	list_names(table);
	return CTL_USAGE;
}
