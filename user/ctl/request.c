/* SPDX-License-Identifier: BSD-2-Clause */
/* Talking to a daemon, and to the caller when that fails. */
#include "ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/ctlsock.h"

static void say(const char *fmt, va_list ap)
{
	fputs("ntm: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

int ctl_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	return CTL_FAILED;
}

int ctl_usage(const struct ctl *ctl, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	if (ctl->usage)
		fprintf(stderr, "usage: %s\n", ctl->usage);
	return CTL_USAGE;
}

int ctl_no_arguments(const struct ctl *ctl, int argc, char **argv)
{
	return argc > 1 ? ctl_usage(ctl, "%s: unexpected argument %s", argv[0], argv[1]) : 0;
}

json_object *ctl_request(const char *cmd)
{
	json_object *o = json_object_new_object();

	if (o)
		json_object_object_add(o, "cmd", json_object_new_string(cmd));
	return o;
}

void ctl_add(json_object *request, const char *key, json_object *value)
{
	if (request)
		json_object_object_add(request, key, value);
	else
		json_object_put(value);
}

int ctl_call(const struct ctl *ctl, const char *default_dir, json_object *request, int timeout_ms,
	     bool (*on_event)(json_object *ev, void *arg), void *arg, json_object **result)
{
	const char *dir = ctl->runtime_dir ? ctl->runtime_dir : default_dir;
	char why[600];
	int err;

	if (!request)
		return ctl_fail("out of memory");
	err = ntm_ctl_call(dir, request, timeout_ms, on_event, arg, result, why, sizeof(why));
	json_object_put(request);
	return err ? ctl_fail("%s", why) : CTL_OK;
}

int ctl_parse_duration(const char *text, uint32_t *seconds)
{
	static const struct {
		const char *unit;
		uint32_t seconds;
	} units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
	unsigned long v;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno || v == 0 || v > UINT32_MAX)
		return -EINVAL;
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		if (!strcmp(end, units[i].unit) && v <= UINT32_MAX / units[i].seconds) {
			*seconds = (uint32_t)v * units[i].seconds;
			return 0;
		}
	}
	return -EINVAL;
}
