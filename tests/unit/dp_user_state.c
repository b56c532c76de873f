/* SPDX-License-Identifier: BSD-2-Clause */
/* The data plane in the agent: its tables, and the file that the next agent goes on with. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../harness/dp_user_rig.h"

TestSuite(dp_user_state, .init = ntm_user_rig_up, .fini = ntm_user_rig_down, .timeout = 30);

static struct ntm_dp_path numbered(uint32_t i)
{
	struct ntm_dp_path p = ntm_rig_path(0, false);
	p.path_id = 0x1000 + i;
	p.peer_vip4[1] = 97;
	p.peer_vip4[2] = (uint8_t)(i >> 8);
	p.peer_vip4[3] = (uint8_t)i;
	p.peer_vip6[14] = (uint8_t)(i >> 8);
	p.peer_vip6[13] = 1;
	p.peer_vip6[15] = (uint8_t)i;
	return p;
}

/* Fills it, empties it in another order, and all the while each path is found by its ID and its addresses. */
Test(dp_user_state, many_paths_come_and_go)
{
	enum { N = 3000 };
	uint8_t in[256];
	struct ntm_dp_user_config c = ntm_user_rig_config(0);
	struct ntm_dp_addresses addrs = ntm_rig_addresses(0);
	c.max_paths = N;
	cr_assert(eq(int, ntm_user_rig_open(0, &c), 0));
	struct ntm_dp *a = ntm_user_side[0].dp;
	cr_assert(eq(int, a->ops->set_addresses(a, &addrs), 0));
	for (uint32_t i = 0; i < N; i++) {
		struct ntm_dp_path p = numbered(i);
		struct ntm_dp_keys k = ntm_rig_keys(0, 0);
		cr_assert(eq(int, a->ops->add_path(a, &p), 0));
		cr_assert(eq(int, a->ops->set_keys(a, p.path_id, &k, true), 0));
		cr_assert(eq(int, a->ops->activate(a, p.path_id), 0));
	}
	struct ntm_dp_path p = numbered(7);
	cr_expect(eq(int, a->ops->add_path(a, &p), -EEXIST));
	p.path_id = 1;
	cr_expect(eq(int, a->ops->add_path(a, &p), -ENOSPC));
	for (uint32_t i = 0; i < N; i++) {
		uint32_t victim = i * 1009 % N;
		struct ntm_dp_path gone = numbered(victim);
		size_t n = ntm_user_rig_inner(0, false, 10, in, sizeof(in));
		memcpy(in + 16, gone.peer_vip4, 4);
		ntm_user_side[0].n_sent = 0;
		ntm_dp_user_inner_input(a, in, n);
		cr_assert(eq(sz, ntm_user_side[0].n_sent, 1), "path %u of %u", victim, i);
		cr_expect(eq(int, ntm_user_side[0].sent[0].data[15], victim & 0xff));
		cr_assert(eq(int, a->ops->del_path(a, gone.path_id), 0));
		cr_assert(eq(int, a->ops->del_path(a, gone.path_id), -ENOENT));
	}
}

/* A directory whose files are in memory. */
static bool memory_dir(char *path, size_t cap)
{
	snprintf(path, cap, "/dev/shm/ntm-test-XXXXXX");
	return mkdtemp(path) != NULL;
}

Test(dp_user_state, next_agent_goes_on_with_the_state_file)
{
	char dir[64], file[80];
	uint8_t in[256], old[512];
	struct ntm_addr from = ntm_rig_endpoint(0, false);
	struct ntm_dp_user_config c = ntm_user_rig_config(0);
	struct ntm_dp_addresses addrs = ntm_rig_addresses(0), got;
	if (!memory_dir(dir, sizeof(dir)))
		cr_skip_test("no /dev/shm");
	snprintf(file, sizeof(file), "%s/paths", dir);
	ntm_user_rig_tunnel();
	ntm_user_side[0].dp->ops->close(ntm_user_side[0].dp, false);
	c.state_file = file;
	cr_assert(eq(int, ntm_user_rig_open(0, &c), 0), "%s", ntm_user_why);
	struct ntm_dp *a = ntm_user_side[0].dp, *other;
	cr_expect(not(a->ops->adopted(a)));
	cr_expect(eq(int, ntm_dp_user_open(&other, &c, &ntm_user_rig_events, NULL, ntm_user_why, sizeof(ntm_user_why)),
		     -EBUSY));
	struct ntm_dp_path p = ntm_rig_path(0, false);
	struct ntm_dp_keys k = ntm_rig_keys(0, 0);
	cr_assert(eq(int, a->ops->set_addresses(a, &addrs), 0));
	cr_assert(eq(int, a->ops->add_path(a, &p), 0));
	cr_assert(eq(int, a->ops->set_keys(a, p.path_id, &k, true), 0));
	cr_assert(eq(int, a->ops->activate(a, p.path_id), 0));
	a->ops->agent_record(a, p.path_id)->hs_seq = 42;
	size_t n = ntm_user_rig_inner(0, false, 10, in, sizeof(in));
	ntm_dp_user_inner_input(a, in, n);
	size_t len = ntm_user_side[0].sent[0].len;
	memcpy(old, ntm_user_side[0].sent[0].data, len);
	cr_assert(eq(int, ntm_user_rig_carry(0), 0));
	ntm_dp_user_inner_input(ntm_user_side[1].dp, in, ntm_user_rig_inner(1, false, 10, in, sizeof(in)));
	uint8_t back[512];
	size_t back_len = ntm_user_side[1].sent[0].len;
	memcpy(back, ntm_user_side[1].sent[0].data, back_len);
	cr_assert(eq(int, ntm_user_rig_carry(1), 0));

	a->ops->close(a, true);
	ntm_user_side[0].dp = NULL;
	cr_assert(eq(int, ntm_user_rig_open(0, &c), 0), "%s", ntm_user_why);
	a = ntm_user_side[0].dp;
	cr_expect(a->ops->adopted(a));
	cr_assert(eq(int, a->ops->get_addresses(a, &got), 0));
	cr_expect(eq(int, memcmp(&got, &addrs, sizeof(got)), 0));
	cr_expect(eq(u64, a->ops->agent_record(a, p.path_id)->hs_seq, 42));
	ntm_user_side[0].n_sent = 0;
	ntm_dp_user_inner_input(a, in, ntm_user_rig_inner(0, false, 10, in, sizeof(in)));
	cr_assert(eq(sz, ntm_user_side[0].n_sent, 1), "the virtual address still points to the path");
	cr_expect(ne(int, memcmp(ntm_user_side[0].sent[0].data + 2, old + 2, 6), 0), "no counter twice");
	cr_expect(eq(int, ntm_user_rig_carry(0), 0));
	from = ntm_rig_endpoint(1, false);
	cr_expect(eq(int, a->ops->open(a, back, back_len, &from), -EALREADY), "the window went along");
	a->ops->close(a, false);
	ntm_user_side[0].dp = NULL;
	cr_expect(ne(int, access(file, F_OK), 0), "keys don't stay behind");
	rmdir(dir);
}

Test(dp_user_state, state_file_of_another_kind)
{
	char dir[64], file[80];
	struct ntm_dp_user_config c = ntm_user_rig_config(0);
	if (!memory_dir(dir, sizeof(dir)))
		cr_skip_test("no /dev/shm");
	snprintf(file, sizeof(file), "%s/paths", dir);
	c.state_file = file;
	FILE *f = fopen(file, "w");
	cr_assert(f && fputs("not paths", f) >= 0 && !fclose(f));
	cr_assert(eq(int, chmod(file, 0644), 0));
	cr_expect(eq(int, ntm_user_rig_open(0, &c), -EACCES), "others could read it");
	cr_expect(strstr(ntm_user_why, file) != NULL, "%s", ntm_user_why);
	cr_assert(eq(int, chmod(file, 0600), 0));
	cr_assert(eq(int, ntm_user_rig_open(0, &c), 0), "%s", ntm_user_why);
	cr_expect(not(ntm_user_side[0].dp->ops->adopted(ntm_user_side[0].dp)));
	ntm_user_side[0].dp->ops->close(ntm_user_side[0].dp, true);
	/* Another number of paths is another layout. */
	c.max_paths = 17;
	cr_assert(eq(int, ntm_user_rig_open(0, &c), 0), "%s", ntm_user_why);
	cr_expect(not(ntm_user_side[0].dp->ops->adopted(ntm_user_side[0].dp)));
	ntm_user_side[0].dp->ops->close(ntm_user_side[0].dp, false);
	ntm_user_side[0].dp = NULL;
	cr_assert(eq(int, symlink("/dev/null", file), 0));
	cr_expect(eq(int, ntm_user_rig_open(0, &c), -ELOOP));
	unlink(file);
	rmdir(dir);
}
