/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../user/ctl/ctl.h"

Test(output, bytes)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {{0, "0 B"},         {999, "999 B"},         {1000, "1.0 kB"},       {999949, "999.9 kB"},
		     {999950, "1.0 MB"}, {1234567890, "1.2 GB"}, {UINT64_MAX, "18.4 EB"}};
	char out[CTL_CELL_LEN];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		cr_assert_str_eq(ctl_format_bytes(cases[i].bytes, out), cases[i].text);
}

Test(output, age)
{
	static const struct {
		double s;
		const char *text;
	} cases[] = {{0, "0.0 s"},    {-1, "0.0 s"},       {1.26, "1.3 s"},   {45, "45 s"},
		     {600, "10 min"}, {7260, "2 h 1 min"}, {200000, "2 days"}};
	char out[CTL_CELL_LEN];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		cr_assert_str_eq(ctl_format_age(cases[i].s, out), cases[i].text);
}

Test(output, duration)
{
	static const char *const bad[] = {"", "0", "-1", "+1", "h", "1x", "1h30m", "1 h", "4294967296", "99999999w"};
	uint32_t s = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert_eq(ctl_parse_duration(bad[i], &s), -EINVAL, "%s", bad[i]);
	cr_assert_eq(s, 7);
	cr_assert(ctl_parse_duration("90", &s) == 0 && s == 90);
	cr_assert(ctl_parse_duration("90s", &s) == 0 && s == 90);
	cr_assert(ctl_parse_duration("30m", &s) == 0 && s == 1800);
	cr_assert(ctl_parse_duration("1h", &s) == 0 && s == 3600);
	cr_assert(ctl_parse_duration("7d", &s) == 0 && s == 604800);
}

Test(output, table, .init = cr_redirect_stdout)
{
	static const struct ctl_column columns[] = {
	    {"NAME", "name", CTL_TEXT}, {"RTT", "rtt_ms", CTL_MS}, {"RELAY", "relay", CTL_TEXT}};
	json_object *list = json_tokener_parse("[{\"name\":\"alice.example\",\"rtt_ms\":0.25,\"relay\":null},"
					       "{\"name\":\"bob\",\"rtt_ms\":null,\"relay\":\"rs1\"}]");

	ctl_print_table(list, columns, 3, "none");
	json_object_put(list);
	list = json_object_new_array();
	ctl_print_table(list, columns, 3, "none");
	json_object_put(list);
	fflush(stdout);
	cr_assert_stdout_eq_str("NAME                RTT  RELAY\n"
				"alice.example  0.250 ms  -\n"
				"bob                   -  rs1\n"
				"none\n");
}

Test(output, cell_is_bounded)
{
	char out[CTL_CELL_LEN], text[1000];
	json_object *o = json_object_new_object();

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	json_object_object_add(o, "t", json_object_new_string(text));
	cr_assert_eq(strlen(ctl_cell(o, "t", CTL_TEXT, out)), CTL_CELL_LEN - 1);
	cr_assert_str_eq(ctl_cell(o, "missing", CTL_INT, out), "-");
	cr_assert_str_eq(ctl_cell(NULL, "missing", CTL_INT, out), "-");
	json_object_put(o);
}

static int seen_argc;
static int fake_main(const struct ctl *ctl, int argc, char **argv)
{
	(void)argv;
	cr_assert_str_eq(ctl->usage, "ntm thing ARG");
	seen_argc = argc;
	return 7;
}

Test(output, dispatch, .init = cr_redirect_stderr)
{
	static const struct ctl_command table[] = {{"thing", fake_main, "ARG", ""}, {"other", fake_main, "", ""}, {0}};
	char *thing[] = {"thing", "x", NULL}, *none[] = {"think", NULL};
	struct ctl ctl = {0};

	cr_assert_eq(ctl_dispatch(table, "ntm", &ctl, 2, thing), 7);
	cr_assert_eq(seen_argc, 2);
	cr_assert_eq(ctl_dispatch(table, "ntm", &ctl, 1, none), CTL_USAGE);
	fflush(stderr);
	cr_assert_stderr_eq_str("ntm: think: unknown command\ncommands: thing other\n");
}
