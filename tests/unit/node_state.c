/* SPDX-License-Identifier: BSD-2-Clause */
/* What the agent remembers on disk, and what it makes of damage. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../user/node/node.h"
#include "../../user/node/state.h"

static char dir[64], json[96], peers[96];

static void setup(void)
{
	ntm_log_init("test", NTM_LOG_ERROR);
	strcpy(dir, "/tmp/ntm-state-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(json, sizeof(json), "%s/state.json", dir);
	snprintf(peers, sizeof(peers), "%s/peers", dir);
}

static void teardown(void)
{
	unlink(json);
	unlink(peers);
	cr_assert_eq(rmdir(dir), 0, "no temporary file stays behind");
}

TestSuite(state, .init = setup, .fini = teardown);

static struct ntm_identity identity(void)
{
	struct ntm_identity id = {.known = true, .fqdn = "alice.ntm.example", .zone = "ntm.example"};
	uint8_t ip[16];

	ntm_ip_parse("100.96.0.1", ip);
	memcpy(id.addrs.vip4, ip + 12, 4);
	ntm_ip_parse("fd4e:544d::1", id.addrs.vip6);
	ntm_prefix_parse("100.96.0.0/12", &id.addrs.pool4);
	ntm_prefix_parse("fd4e:544d::/48", &id.addrs.pool6);
	return id;
}

static struct ntm_state *open_state(void)
{
	struct ntm_state *s = NULL;

	cr_assert_eq(ntm_state_open(&s, dir), 0);
	return s;
}

Test(state, identity_comes_back)
{
	struct ntm_identity id = identity(), got = {0};
	struct ntm_state *s = open_state();

	cr_assert_eq(ntm_state_get_identity(s, &got), -ENOENT);
	cr_assert_eq(ntm_state_set_identity(s, &id), 0);
	ntm_state_close(s);
	s = open_state();
	cr_assert_eq(ntm_state_get_identity(s, &got), 0);
	cr_assert_str_eq(got.fqdn, id.fqdn);
	cr_assert_str_eq(got.zone, id.zone);
	cr_assert_arr_eq((uint8_t *)&got.addrs, (uint8_t *)&id.addrs, sizeof(id.addrs));
	ntm_state_close(s);
}

Test(state, the_same_identity_is_not_written_again)
{
	struct ntm_identity id = identity();
	struct ntm_state *s = open_state();
	struct stat a, b;

	ntm_state_set_identity(s, &id);
	stat(json, &a);
	ntm_state_set_identity(s, &id);
	stat(json, &b);
	cr_assert_eq(a.st_ino, b.st_ino);
	strcpy(id.fqdn, "bob.ntm.example");
	ntm_state_set_identity(s, &id);
	stat(json, &b);
	cr_assert_neq(a.st_ino, b.st_ino, "replaced whole, never rewritten in place");
	ntm_state_close(s);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
}

Test(state, damage_is_ignored)
{
	static const char *const texts[] = {
	    "",
	    "{",
	    "[]",
	    "null",
	    "{\"name\": 1}",
	    "{\"name\":\"a.b\",\"zone\":\"b\"}",
	    "{\"name\":\"a.b\",\"zone\":\"b\",\"vip4\":\"fd00::1\",\"vip6\":\"fd00::1\",\"pool4\":\"x\",\"pool6\":\"y\"}"};
	struct ntm_identity got;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct ntm_state *s;

		write_file(json, texts[i]);
		s = open_state();
		cr_assert_eq(ntm_state_get_identity(s, &got), -ENOENT, "%s", texts[i]);
		ntm_state_close(s);
	}
}

static bool keep_odd(void *arg, uint64_t id)
{
	(void)arg;
	return id & 1;
}

Test(state, peers_are_appended_found_and_compacted)
{
	struct ntm_state *s = open_state();

	cr_assert_eq(ntm_state_add_peer(s, 1, "bob.ntm.example"), 0);
	cr_assert_eq(ntm_state_add_peer(s, 2, "carol.ntm.example"), 0);
	cr_assert_eq(ntm_state_add_peer(s, 2, "carol.ntm.example"), 0);
	cr_assert_eq(ntm_state_add_peer(s, 3, ""), 0);
	/* No close: as if killed. */
	struct ntm_state *next = open_state();
	cr_assert_str_eq(ntm_state_peer_name(next, 1), "bob.ntm.example");
	cr_assert_str_eq(ntm_state_peer_name(next, 2), "carol.ntm.example");
	cr_assert_str_eq(ntm_state_peer_name(next, 3), "");
	cr_assert_eq(ntm_state_compact(next, keep_odd, NULL), 0);
	cr_assert_str_eq(ntm_state_peer_name(next, 1), "bob.ntm.example");
	cr_assert_str_eq(ntm_state_peer_name(next, 2), "");
	cr_assert_eq(ntm_state_add_peer(next, 5, "dave.ntm.example"), 0);
	ntm_state_close(next);
	next = open_state();
	cr_assert_str_eq(ntm_state_peer_name(next, 1), "bob.ntm.example");
	cr_assert_str_eq(ntm_state_peer_name(next, 2), "");
	cr_assert_str_eq(ntm_state_peer_name(next, 5), "dave.ntm.example");
	ntm_state_close(next);
	ntm_state_close(s);
}

Test(state, damaged_peer_lines_cost_themselves_only)
{
	struct ntm_state *s;

	write_file(peers, "junk\n0000000000000007 ok.ntm.example\n0 zero.x\n0000000000000008 torn.ntm.exa");
	s = open_state();
	cr_assert_str_eq(ntm_state_peer_name(s, 7), "ok.ntm.example");
	cr_assert_str_eq(ntm_state_peer_name(s, 8), "", "cut off in the middle");
	ntm_state_close(s);
}
