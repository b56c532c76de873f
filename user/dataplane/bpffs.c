/* SPDX-License-Identifier: BSD-2-Clause */
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../common/log.h"
#include "bpffs.h"

static int libbpf_line(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char *text, *rest, *line;
	if (level == LIBBPF_DEBUG || vasprintf(&text, fmt, ap) < 0)
		return 0;
	for (rest = text; (line = strsep(&rest, "\n"));)
		if (*line)
			ntm_debug("%s", line);
	free(text);
	return 0;
}

void ntm_libbpf_log(void)
{
	libbpf_set_print(libbpf_line);
}

int ntm_runtime_lock(const char *runtime_dir, const char *name, const char *program, char *why, size_t cap)
{
	char path[PATH_MAX];
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", runtime_dir, name) >= sizeof(path))
		return -ENAMETOOLONG;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB))
		return fd;
	int err = -errno;
	if (fd >= 0)
		close(fd);
	if (err == -EWOULDBLOCK)
		snprintf(why, cap, "another %s runs with the runtime directory %s", program, runtime_dir);
	else
		snprintf(why, cap, "can't lock %s: %s", path, strerror(-err));
	return err == -EWOULDBLOCK ? -EBUSY : err;
}

/* What a child in init's mount namespace is asked to do, and finds. */
enum job { JOB_MOUNT, JOB_UNMOUNT };

static int is_bpffs(int fd)
{
	struct statfs sfs;
	if (fstatfs(fd, &sfs))
		return -errno;
	return (unsigned long)sfs.f_type == BPF_FS_MAGIC;
}

/* Opens RUNTIME_DIR/bpf if a bpffs is there: descriptor, -ENOENT, or -errno. */
static int open_mounted(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int is = is_bpffs(fd);
	if (is > 0)
		return fd;
	close(fd);
	return is < 0 ? is : -ENOENT;
}

static int mount_and_open(const char *dir)
{
	if (mkdir(dir, 0700) && errno != EEXIST)
		return -errno;
	int fd = open_mounted(dir);
	if (fd != -ENOENT)
		return fd;
	if (mount("bpf", dir, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
		return -errno;
	return open_mounted(dir);
}

static int unmount(const char *dir)
{
	int fd = open_mounted(dir);
	if (fd >= 0) {
		close(fd);
		if (umount2(dir, MNT_DETACH))
			return -errno;
	} else if (fd != -ENOENT) {
		return fd;
	}
	return rmdir(dir) && errno != ENOENT ? -errno : 0;
}

/* Is the runtime directory that this process sees the one that the caller saw? */
static int same_place(const char *runtime_dir, const struct stat *expected)
{
	struct stat st;
	if (stat(runtime_dir, &st))
		return -errno;
	return st.st_dev == expected->st_dev && st.st_ino == expected->st_ino ? 0 : -EXDEV;
}

static int enter_mounts_of(pid_t pid)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	int ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0)
		return -errno;
	int err = setns(ns, CLONE_NEWNS) ? -errno : 0;
	close(ns);
	return err;
}

/* Parent of a process by /proc/PID/stat, 0 if unknown; the command's name ends at the last ')'. */
static pid_t parent_of(pid_t pid)
{
	char path[32], line[512];
	int ppid;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, line, sizeof(line) - 1);
	close(fd);
	line[n > 0 ? n : 0] = 0;
	const char *p = strrchr(line, ')');
	return p && sscanf(p + 1, " %*c %d", &ppid) == 1 ? ppid : 0;
}

static bool is_kthreadd(pid_t pid)
{
	char path[32], comm[16] = "";
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, comm, sizeof(comm) - 1);
	close(fd);
	return n > 0 && !strncmp(comm, "kthreadd", 8);
}

/*
 * Init's mount namespace: of process 1, of the kernel's threads, which stay where the system began, or, where both are
 * closed to us (containers), that of the outermost ancestor which is not.
 */
static int enter_init_mounts(void)
{
	pid_t ancestors[32];
	int n = 0, err = enter_mounts_of(1);
	if (err && is_kthreadd(2))
		err = enter_mounts_of(2);
	for (pid_t pid = getppid(); err && pid > 1 && n < 32; pid = parent_of(pid))
		ancestors[n++] = pid;
	/* ancestors[0] is the agent itself: its namespace is the one to get out of. */
	while (err && --n > 0)
		err = enter_mounts_of(ancestors[n]);
	return err;
}

struct answer {
	struct msghdr msg;
	struct iovec iov;
	int result;
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(sizeof(size_t))));
};

static void answer_init(struct answer *a)
{
	memset(a, 0, sizeof(*a));
	a->iov = (struct iovec){&a->result, sizeof(a->result)};
	a->msg.msg_iov = &a->iov;
	a->msg.msg_iovlen = 1;
	a->msg.msg_control = a->control;
	a->msg.msg_controllen = sizeof(a->control);
}

/* The child: only system calls from here on. fd passes through SCM_RIGHTS, which crosses mount namespaces. */
static void child(int sock, enum job job, const char *runtime_dir, const char *dir, const struct stat *expected)
{
	struct answer a;
	answer_init(&a);
	int res = enter_init_mounts();
	if (!res)
		res = same_place(runtime_dir, expected);
	if (!res)
		res = job == JOB_MOUNT ? mount_and_open(dir) : unmount(dir);
	a.result = res;
	if (res > 0) {
		struct cmsghdr *c = CMSG_FIRSTHDR(&a.msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &res, sizeof(int));
	} else {
		a.msg.msg_controllen = 0;
	}
	_exit(sendmsg(sock, &a.msg, 0) < 0);
}

/* Runs a job in init's mount namespace: descriptor (JOB_MOUNT), 0, or -errno. */
static int in_init_mounts(enum job job, const char *runtime_dir, const char *dir)
{
	struct stat st;
	int sv[2];
	if (stat(runtime_dir, &st) || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		return -errno;
	pid_t pid = fork();
	if (pid < 0) {
		int err = -errno;
		close(sv[0]);
		close(sv[1]);
		return err;
	}
	if (!pid)
		child(sv[1], job, runtime_dir, dir, &st);
	close(sv[1]);
	struct answer a;
	answer_init(&a);
	ssize_t n;
	do
		n = recvmsg(sv[0], &a.msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	int res = n == sizeof(a.result) ? a.result : -EIO;
	if (res > 0) {
		struct cmsghdr *c = CMSG_FIRSTHDR(&a.msg);
		if (c && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
			memcpy(&res, CMSG_DATA(c), sizeof(int));
		else
			res = -EIO;
	}
	close(sv[0]);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return res;
}

/* Absolute, as the child's working directory is another; "/bpf" is appended. */
static int bpf_dir(const char *runtime_dir, char real[PATH_MAX], char dir[PATH_MAX])
{
	if (!realpath(runtime_dir, real))
		return -errno;
	return snprintf(dir, PATH_MAX, "%s/bpf", real) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int ntm_bpffs_open(const char *runtime_dir, bool *lasting, char *why, size_t cap)
{
	char real[PATH_MAX], dir[PATH_MAX];
	int err = bpf_dir(runtime_dir, real, dir);
	if (err) {
		snprintf(why, cap, "runtime directory %s: %s", runtime_dir, strerror(-err));
		return err;
	}
	int fd = open_mounted(dir);
	if (fd >= 0) {
		*lasting = true;
		return fd;
	}
	fd = in_init_mounts(JOB_MOUNT, real, dir);
	if (fd >= 0) {
		*lasting = true;
		return fd;
	}
	fd = mount_and_open(dir);
	if (fd < 0) {
		snprintf(why, cap, "can't mount a bpffs at %s: %s%s", dir, strerror(-fd),
			 fd == -EPERM || fd == -EACCES ? " (CAP_SYS_ADMIN is needed at the start)" : "");
		return fd;
	}
	*lasting = false;
	return fd;
}

int ntm_bpffs_remove(const char *runtime_dir)
{
	char real[PATH_MAX], dir[PATH_MAX];
	int err = bpf_dir(runtime_dir, real, dir);
	if (err)
		return err;
	/* The mount here may be init's, seen through propagation: it goes with it, or has to go by itself. */
	int outer = in_init_mounts(JOB_UNMOUNT, real, dir);
	int inner = unmount(dir);
	return outer && inner ? outer : inner;
}

const char *ntm_pin_path(int dirfd, const char *name, char out[NTM_PIN_PATH_LEN])
{
	snprintf(out, NTM_PIN_PATH_LEN, "/proc/self/fd/%d/%s", dirfd, name);
	return out;
}

int ntm_pin_remove(int dirfd, const char *name)
{
	return unlinkat(dirfd, name, 0) && errno != ENOENT ? -errno : 0;
}

int ntm_pin_foreach(int dirfd, int (*fn)(void *arg, const char *name), void *arg)
{
	/* An own open file description: the directory's read position is not shared with dirfd. */
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	int err = 0;
	const struct dirent *e;
	while (!err && (e = readdir(d))) {
		struct stat st;
		/* Not "." nor the kernel's own maps.debug and progs.debug; iproute2 puts its directories into any
		 * bpffs. */
		if (!strchr(e->d_name, '.') && !fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
			err = fn(arg, e->d_name);
	}
	closedir(d);
	return err;
}
