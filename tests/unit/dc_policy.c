/* SPDX-License-Identifier: BSD-2-Clause */
/* The policy: its file, and what nodes notice of it. */
#include "../harness/dc_rig.h"

static char file[128];

static void policy_setup(void)
{
	setup();
	snprintf(file, sizeof(file), "%s/policy", dir);
}

static void policy_teardown(void)
{
	char audit[128];

	snprintf(audit, sizeof(audit), "%s/audit", dir);
	unlink(audit);
	unlink(file);
	teardown();
}

TestSuite(policy, .init = policy_setup, .fini = policy_teardown, .timeout = 30);

static void write_policy(const char *text)
{
	FILE *f = fopen(file, "w");

	cr_assert_not_null(f);
	fputs(text, f);
	cr_assert_eq(fclose(f), 0);
}

static void apply(const char *text)
{
	char err[256] = "";

	write_policy(text);
	cr_assert_eq(ntm_dc_policy_set(&dc, file, err, sizeof(err)), 0, "%s", err);
}

static struct ntm_sig ask(struct testnode *t, const char *name)
{
	struct ntm_sig m, answer;

	testnode_request(t, &m, NTM_M_DIRECTION_REQUEST);
	strcpy(m.name, name);
	m.have = 1u << NTM_F_NAME;
	cr_assert_eq(testnode_ask(t, &m, &answer), 0);
	return answer;
}

Test(policy, first_rule_that_fits_decides)
{
	struct ntm_dc_policy *p = NULL;
	char err[256];
	unsigned line;

	write_policy("# who\ndefault deny\ngroup office = Alice, lab-*\ngroup office += carol\n"
		     "group all = @office, dave\ndeny lab-9 -> *\nallow @all -> nas, srv-* # both\nallow x <-> y\n");
	cr_assert_eq(ntm_dc_policy_load(file, &p, err, sizeof(err)), 0, "%s", err);
	cr_assert_eq(ntm_dc_policy_rules(p), 3);
	cr_assert(ntm_dc_policy_allows(p, "alice", "nas", &line));
	cr_assert_eq(line, 7);
	cr_assert(ntm_dc_policy_allows(p, "carol", "srv-1", NULL));
	cr_assert(ntm_dc_policy_allows(p, "lab-1", "nas", NULL));
	cr_assert(ntm_dc_policy_allows(p, "dave", "nas", NULL));
	cr_assert(!ntm_dc_policy_allows(p, "lab-9", "nas", &line));
	cr_assert_eq(line, 6);
	cr_assert(!ntm_dc_policy_allows(p, "nas", "alice", &line), "one way");
	cr_assert_eq(line, 0);
	cr_assert(ntm_dc_policy_allows(p, "x", "y", NULL) && ntm_dc_policy_allows(p, "y", "x", NULL));
	cr_assert(!ntm_dc_policy_allows(p, "", "", NULL));
	cr_assert(ntm_dc_policy_allows(NULL, "a", "b", NULL), "no policy: as before");
	ntm_dc_policy_free(p);
}

Test(policy, mistakes_are_named_with_file_and_line)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
	    {"default maybe\n", ":1: "},
	    {"\n\npermit a -> b\n", ":3: permit"},
	    {"allow a b\n", ":1: "},
	    {"allow @nobody -> b\n", ":1: @nobody"},
	    {"allow a -> \n", "(nothing)"},
	    {"group g = a\ngroup g = b\n", ":2: group g"},
	    {"group g = @g\n", "no such group"},
	    {"group g += a\n", "no group g"},
	    {"allow a* b -> c\n", ":1: "},
	    {"allow a.example -> c\n", ":1: a.example"},
	    {"default deny\ndefault deny\n", ":2: "},
	    {"allow a -> b -> c\n", ":1: "},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct ntm_dc_policy *p = NULL;
		char err[256] = "";

		write_policy(bad[i].text);
		cr_assert_eq(ntm_dc_policy_load(file, &p, err, sizeof(err)), -EINVAL, "%s", bad[i].text);
		cr_assert_null(p);
		cr_assert_not_null(strstr(err, file), "%s", err);
		cr_assert_not_null(strstr(err, bad[i].says), "%s: %s", bad[i].text, err);
	}
}

Test(policy, a_denied_node_does_not_learn_whether_a_name_exists)
{
	struct ntm_sig there, not_there;
	struct testnode a, b;

	apply("default deny\nallow bob -> alice\n");
	join(&a, "alice");
	join(&b, "bob");
	there = ask(&a, "bob");
	not_there = ask(&a, "nobody");
	expect_error(&there, NTM_E_DENIED);
	expect_error(&not_there, NTM_E_DENIED);
	cr_assert_str_eq(there.error_text, not_there.error_text);
	cr_assert_eq(dc.counters.denials, 2);
	cr_assert_eq(ask(&b, "alice").msg, NTM_M_ROUTE_DIRECTION);
	testnode_close(&a);
	testnode_close(&b);
}

Test(policy, paths_that_are_no_longer_allowed_end_at_both_ends_and_the_relay)
{
	struct testnode a, b, rs;
	struct ntm_sig d;

	join_relay(&rs, "rs1", 0);
	join(&a, "alice");
	join(&b, "bob");
	d = ask(&a, "bob");
	cr_assert_eq(d.msg, NTM_M_ROUTE_DIRECTION);
	await_direction(&b);
	await_relay_direction(&rs, 0);
	apply("allow bob -> alice\ndefault deny\n");
	expect_silence(&a);
	expect_silence(&b);
	apply("default deny\n");
	await_release(&a, d.path_id);
	await_release(&b, d.path_id);
	await_release(&rs, d.path_id);
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&rs);
}

Test(policy, a_bad_file_leaves_the_policy_as_it_was)
{
	struct ntm_sig answer;
	struct testnode a;
	char err[256];

	apply("default deny\n");
	write_policy("default alow\n");
	cr_assert_eq(ntm_dc_policy_set(&dc, file, err, sizeof(err)), -EINVAL);
	join(&a, "alice");
	answer = ask(&a, "bob");
	expect_error(&answer, NTM_E_DENIED);
	testnode_close(&a);
}

Test(policy, revocation_after_a_restart_reaches_the_relays)
{
	struct testnode a, b, rs;
	struct ntm_sig d, m;

	join_relay(&rs, "rs1", 0);
	join(&a, "alice");
	join(&b, "bob");
	d = ask(&a, "bob");
	await_direction(&b);
	await_relay_direction(&rs, 0);
	stop_dc();
	start_dc();
	cr_assert_eq(testnode_connect(&rs), 0);
	cr_assert_eq(register_relay(&rs, "rs1", 0).msg, NTM_M_REGISTRATION_RESPONSE);
	cr_assert_eq(testnode_connect(&b), 0);
	cr_assert_eq(testnode_register(&b, "bob", NULL, &m), 0);
	cr_assert_eq(ntm_dc_revoke(&dc, "alice"), 0);
	await_release(&rs, d.path_id);
	await_release(&b, d.path_id);
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&rs);
}

Test(policy, audit_log_has_a_line_for_each_change)
{
	char path[128], why[256], line[1024];
	struct testnode a;
	unsigned lines = 0;
	json_object *o, *v;
	FILE *f;

	snprintf(path, sizeof(path), "%s/audit", dir);
	cr_assert_eq(ntm_dc_audit_open(&dc.audit, path, why, sizeof(why)), 0, "%s", why);
	join(&a, "alice");
	cr_assert_eq(ntm_dc_revoke(&dc, "alice"), 0);
	f = fopen(path, "r");
	cr_assert_not_null(f);
	while (fgets(line, sizeof(line), f)) {
		o = json_tokener_parse(line);
		cr_assert_not_null(o, "%s", line);
		cr_assert(json_object_object_get_ex(o, "action", &v));
		cr_assert_str_eq(json_object_get_string(v), lines++ ? "revoked" : "enrolled");
		cr_assert(json_object_object_get_ex(o, "object", &v));
		cr_assert_str_eq(json_object_get_string(v), "alice");
		json_object_put(o);
	}
	fclose(f);
	cr_assert_eq(lines, 2);
	cr_assert_eq(dc.audit.lines, 2);
	testnode_close(&a);
}
