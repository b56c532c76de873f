/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The disk is full: the DC goes on, says so, and writes again when there is room. A file system of each test's own, in
 * memory, in a mount namespace of its own.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "../../user/common/log.h"
#include "../harness/dc_rig.h"

enum { PAGE = 4096, LINE_MAX_LEN = 1024 };

static char disk[64], filler[96], audit[160];
static unsigned said; /* lines of the log that speak of the full disk */

static void on_line(enum ntm_log_level level, const char *line)
{
	if (level == NTM_LOG_ERROR && (strstr(line, "full") || strstr(line, "No space")))
		said++;
}

static void full_setup(void)
{
	if (geteuid())
		cr_skip("needs root to mount a file system");
	snprintf(disk, sizeof(disk), "/tmp/ntm-full-XXXXXX");
	cr_assert_not_null(mkdtemp(disk));
	cr_assert_eq(unshare(CLONE_NEWNS), 0);
	cr_assert_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_eq(mount("tmpfs", disk, "tmpfs", 0, "size=2m"), 0);
	base = disk;
	snprintf(filler, sizeof(filler), "%s/filler", disk);
	setup();
	snprintf(audit, sizeof(audit), "%s/audit", dir);
	said = 0;
	ntm_log_to(on_line, NTM_LOG_ERROR);
}

static void full_teardown(void)
{
	unlink(filler);
	unlink(audit);
	teardown();
	cr_assert_eq(umount(disk), 0);
	cr_assert_eq(rmdir(disk), 0);
}

TestSuite(full_disk, .init = full_setup, .fini = full_teardown, .timeout = 60);

/* To the last byte. */
static void fill_disk(void)
{
	static const char page[PAGE];
	int fd = open(filler, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	while (write(fd, page, sizeof(page)) > 0)
		;
	cr_assert_eq(errno, ENOSPC);
	close(fd);
}

static void open_audit(void)
{
	char why[256];

	cr_assert_eq(ntm_dc_audit_open(&dc.audit, audit, why, sizeof(why)), 0, "%s", why);
}

static off_t audit_size(void)
{
	struct stat st;

	cr_assert_eq(stat(audit, &st), 0);
	return st.st_size;
}

/* Until the next line has room for its beginning only. */
static void fill_audit(void)
{
	off_t before = 0, line = 0;

	do {
		before = audit_size();
		ntm_dc_audit(&dc, "dc", "filled", "a page", NULL);
		line = audit_size() - before;
		cr_assert_gt(line, 0);
	} while (audit_size() % PAGE + line <= PAGE);
	cr_assert_neq(audit_size() % PAGE, 0);
	fill_disk();
}

/* How many lines are JSON; *others: how many are not. */
static unsigned audit_lines(unsigned *others)
{
	char line[LINE_MAX_LEN];
	FILE *f = fopen(audit, "r");
	unsigned n = 0;

	*others = 0;
	cr_assert_not_null(f);
	while (fgets(line, sizeof(line), f)) {
		json_object *o = line[strlen(line) - 1] == '\n' ? json_tokener_parse(line) : NULL;

		o ? n++ : ++*others;
		json_object_put(o);
	}
	fclose(f);
	return n;
}

Test(full_disk, an_audit_line_is_whole_or_not_there)
{
	uint64_t written;
	unsigned others;

	open_audit();
	fill_audit();
	written = dc.audit.lines;
	ntm_dc_audit(&dc, "dc", "lost", "a line", NULL);
	ntm_dc_audit(&dc, "dc", "lost", "another", NULL);
	cr_assert_eq(dc.audit.lines, written);
	cr_assert_eq(dc.audit.failures, 2);
	cr_assert_eq(said, 2);
	cr_assert_eq(audit_lines(&others), written);
	cr_assert_eq(others, 0, "a half line is there");
	unlink(filler);
	ntm_dc_audit(&dc, "dc", "written", "a line", NULL);
	cr_assert_eq(audit_lines(&others), written + 1);
	cr_assert_eq(others, 0);
	cr_assert_eq(dc.audit.failures, 2);
}

static void set_append_only(bool on)
{
	int fd = open(audit, O_RDONLY | O_CLOEXEC), flags = 0, err;

	cr_assert_geq(fd, 0);
	err = ioctl(fd, FS_IOC_GETFLAGS, &flags);
	flags = on ? flags | FS_APPEND_FL : flags & ~FS_APPEND_FL;
	err = err ? err : ioctl(fd, FS_IOC_SETFLAGS, &flags);
	close(fd);
	if (err)
		cr_skip("this kernel has no append-only files in memory");
}

Test(full_disk, a_half_line_that_cannot_be_taken_back_spoils_no_other)
{
	uint64_t written;
	unsigned others;

	open_audit();
	set_append_only(true);
	fill_audit();
	written = dc.audit.lines;
	ntm_dc_audit(&dc, "dc", "lost", "a line", NULL);
	cr_assert_eq(dc.audit.failures, 1);
	unlink(filler);
	ntm_dc_audit(&dc, "dc", "written", "a line", NULL);
	ntm_dc_audit(&dc, "dc", "written", "another", NULL);
	set_append_only(false);
	cr_assert_eq(audit_lines(&others), written + 2);
	cr_assert_eq(others, 1);
}

Test(full_disk, half_a_line_of_a_crash_spoils_no_other)
{
	static const char half[] = "{\"time\":\"2026-01-01T00:00";
	unsigned others;
	int fd = open(audit, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_eq(write(fd, half, strlen(half)), (ssize_t)strlen(half));
	close(fd);
	for (int i = 1; i <= 2; i++) { /* a reload opens it, too */
		open_audit();
		ntm_dc_audit(&dc, "dc", "written", "a line", NULL);
		cr_assert_eq(audit_lines(&others), i);
		cr_assert_eq(others, 1);
	}
}

static int count(void *arg, uint64_t path_id, const uint8_t peer_key[NTM_DH_LEN])
{
	(void)path_id;
	(void)peer_key;
	++*(unsigned *)arg;
	return 0;
}

static unsigned stored_paths(const char *name)
{
	unsigned n = 0;

	cr_assert_eq(
	    dc.store->ops->each_path(dc.store, ntm_dc_node_by_label(&dc.nodes, name)->rec.id, false, count, &n), 0);
	return n;
}

Test(full_disk, paths_are_directed_and_the_store_has_them_when_there_is_room)
{
	struct ntm_sig ab, ac, bc, ack;
	struct testnode a, b, c;

	join(&a, "alice");
	join(&b, "bob");
	join(&c, "carol");
	cr_assert_eq(testnode_direct(&a, "bob", &ab), 0);
	await_direction(&b);
	while (stored_paths("alice") != 1)
		uv_run(&loop, UV_RUN_ONCE);
	fill_disk();
	cr_assert_eq(testnode_direct(&a, "carol", &ac), 0);
	cr_assert_eq(ac.msg, NTM_M_ROUTE_DIRECTION, "%s", ac.error_text);
	await_direction(&c);
	while (!said)
		uv_run(&loop, UV_RUN_ONCE);
	/* and all goes on */
	cr_assert_eq(testnode_direct(&b, "carol", &bc), 0);
	cr_assert_eq(bc.msg, NTM_M_ROUTE_DIRECTION, "%s", bc.error_text);
	await_direction(&c);
	cr_assert_eq(keep_alive(&a, &ack), 0);
	cr_assert_eq(ack.msg, NTM_M_KEEP_ALIVE_RESPONSE);
	cr_assert_eq(stored_paths("carol"), 0);
	unlink(filler);
	while (stored_paths("carol") != 2)
		uv_run(&loop, UV_RUN_ONCE);
	cr_assert_eq(stored_paths("alice"), 2);
	stop_dc();
	start_dc();
	cr_assert_eq(ntm_dc_revoke(&dc, "carol"), 0, "the store is whole");
	testnode_close(&a);
	testnode_close(&b);
	testnode_close(&c);
}
