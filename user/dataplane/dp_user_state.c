/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where paths live: memory of this process, or a file that the next agent maps, too. A process that is killed leaves
 * the file as its last store made it: counters are taken before they are used, so the next agent never repeats one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../common/crypto.h"
#include "../common/log.h"
#include "dp_user_int.h"

#define STATE_MAGIC 0x4e544d7573657231ULL /* "NTMuser1" */

static size_t align_up(size_t n)
{
	return (n + 63) & ~(size_t)63;
}

static size_t agents_offset(uint32_t n_slots)
{
	return align_up(sizeof(struct ntm_user_state)) + align_up(n_slots * sizeof(struct ntm_path));
}

static size_t active_offset(uint32_t n_slots)
{
	return agents_offset(n_slots) + align_up(n_slots * sizeof(struct ntm_path_agent));
}

static bool is_in_memory(int fd)
{
	struct statfs fs;
	return !fstatfs(fd, &fs) && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* Nobody else may read keys there, or have put them there. */
static int check_file(int fd, struct stat *st)
{
	if (fstat(fd, st))
		return -errno;
	if (!S_ISREG(st->st_mode) || st->st_uid != geteuid() || st->st_mode & 077)
		return -EACCES;
	return 0;
}

/* Opens and locks the state file. -EOPNOTSUPP: it would be on a disk. */
static int open_file(struct ntm_dp_user *d, off_t *size, char *why, size_t cap)
{
	struct stat st;
	d->state_fd = open(d->state_file, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (d->state_fd < 0) {
		int err = -errno;
		snprintf(why, cap, "%s: %s", d->state_file, strerror(-err));
		return err;
	}
	if (flock(d->state_fd, LOCK_EX | LOCK_NB)) {
		int err = errno == EWOULDBLOCK ? -EBUSY : -errno;
		snprintf(why, cap, err == -EBUSY ? "another ntm-node uses %s" : "can't lock %s", d->state_file);
		return err;
	}
	int err = check_file(d->state_fd, &st);
	if (err)
		snprintf(why, cap, "%s is not this user's alone", d->state_file);
	*size = st.st_size;
	return err ? err : is_in_memory(d->state_fd) ? 0 : -EOPNOTSUPP;
}

static int map(struct ntm_dp_user *d)
{
	int flags = d->state_fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
	void *mem = mmap(NULL, d->mem_len, PROT_READ | PROT_WRITE, flags, d->state_fd, 0);
	if (mem == MAP_FAILED)
		return -errno;
	d->mem = mem;
	d->state = mem;
	d->settings = &d->state->settings;
	d->paths = (struct ntm_path *)((char *)mem + align_up(sizeof(*d->state)));
	d->agents = (struct ntm_path_agent *)((char *)mem + agents_offset(d->n_slots));
	d->active = (uint8_t *)mem + active_offset(d->n_slots);
	return 0;
}

static bool is_valid(const struct ntm_dp_user *d)
{
	const struct ntm_user_state *s = d->state;
	return s->magic == STATE_MAGIC && s->layout == NTM_MAPS_LAYOUT && s->n_slots == d->n_slots &&
	       s->settings.n_peers <= NTM_PEER_POOLS && s->settings.gateway < d->n_slots &&
	       s->settings.pool4_len <= 32 && s->settings.pool6_len <= 128;
}

static int map_file(struct ntm_dp_user *d, off_t size)
{
	bool fits = size == (off_t)d->mem_len;
	/* By way of nothing: what another layout left is gone, the new bytes are zero. */
	if (!fits && (ftruncate(d->state_fd, 0) || ftruncate(d->state_fd, (off_t)d->mem_len)))
		return -errno;
	int err = map(d);
	if (err)
		return err;
	d->adopted = fits && is_valid(d);
	if (!d->adopted)
		memset(d->mem, 0, d->mem_len);
	return 0;
}

int ntm_user_state_open(struct ntm_dp_user *d, char *why, size_t cap)
{
	off_t size = 0;
	int err = -EOPNOTSUPP;
	d->mem_len = active_offset(d->n_slots) + d->n_slots;
	if (d->state_file) {
		err = open_file(d, &size, why, cap);
		if (err == -EOPNOTSUPP) {
			ntm_info("%s would not be in memory: paths end with the agent", d->state_file);
			if (!size)
				(void)unlink(d->state_file);
			close(d->state_fd);
			d->state_fd = -1;
		} else if (err) {
			return err;
		}
	}
	err = d->state_fd >= 0 ? map_file(d, size) : map(d);
	if (err)
		return err;
	d->state->layout = NTM_MAPS_LAYOUT;
	d->state->n_slots = d->settings->max_paths = d->n_slots;
	d->state->magic = STATE_MAGIC;
	return 0;
}

void ntm_user_state_close(struct ntm_dp_user *d, bool keep)
{
	bool file = d->state_fd >= 0;
	if (d->mem) {
		if (!file || !keep)
			for (uint32_t slot = 1; slot < d->n_slots; slot++) {
				if (!d->paths[slot].path_id)
					continue;
				ntm_wipe(&d->paths[slot], sizeof(d->paths[slot]));
				ntm_wipe(&d->agents[slot], sizeof(d->agents[slot]));
			}
		munmap(d->mem, d->mem_len);
	}
	if (file && !keep && d->mem)
		(void)unlink(d->state_file);
	if (file)
		close(d->state_fd);
	free(d->state_file);
	d->mem = NULL;
}

int ntm_user_state_remove(const char *file, char *why, size_t cap)
{
	struct ntm_dp_user d = {.state_file = (char *)file, .state_fd = -1};
	static const uint8_t zero[4096];
	off_t size = 0;
	if (access(file, F_OK))
		return errno == ENOENT ? 0 : -errno;
	int err = open_file(&d, &size, why, cap);
	if (err == -EOPNOTSUPP || (err == -EACCES && !geteuid()))
		err = 0; /* on a disk, or root removes what another user's agent left */
	for (off_t at = 0; !err && at < size; at += (off_t)sizeof(zero)) {
		size_t n = size - at < (off_t)sizeof(zero) ? (size_t)(size - at) : sizeof(zero);
		if (pwrite(d.state_fd, zero, n, at) != (ssize_t)n)
			err = -EIO;
	}
	if (!err && unlink(file))
		err = -errno;
	if (d.state_fd >= 0)
		close(d.state_fd);
	return err;
}
