/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A resolvconf program (openresolv or Debian's) gets the stub as server of the virtual interface; where there is none,
 * resolv.conf, if it is a plain file, is written. The file as it was stays in the runtime directory: upstreams come
 * from it, and it is put back unless someone else has written the file since.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dnsmode.h"

enum { FILE_MAX = 65536 };

static const char program_mark[] = "dns.resolvconf", written[] = "resolv.conf.written";
static const char *const programs[] = {"/usr/sbin/resolvconf", "/sbin/resolvconf", "/usr/bin/resolvconf",
				       "/usr/local/sbin/resolvconf"};

const char *ntm_dnsmode_path(const char *dir, const char *name, char *out, size_t cap)
{
	snprintf(out, cap, "%s/%s", dir, name);
	return out;
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return fsync(fd) ? -errno : 0;
}

int ntm_dnsmode_write(const char *path, const char *text, size_t len)
{
	char tmp[600];
	int fd, err;

	snprintf(tmp, sizeof(tmp), "%s.new", path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -errno;
	err = write_all(fd, text, len);
	if (close(fd) && !err)
		err = -errno;
	if (!err && rename(tmp, path))
		err = -errno;
	if (err)
		unlink(tmp);
	return err;
}

/* The whole file, ended by 0, to be freed; NULL with errno. */
static char *slurp(const char *path, size_t *len)
{
	char *text = malloc(FILE_MAX + 1);
	FILE *f = text ? fopen(path, "re") : NULL;

	if (!f) {
		free(text);
		return NULL;
	}
	*len = fread(text, 1, FILE_MAX + 1, f);
	if (ferror(f) || *len > FILE_MAX) {
		free(text);
		text = NULL;
		errno = EFBIG;
	} else {
		text[*len] = 0;
	}
	fclose(f);
	return text;
}

static const char *program(void)
{
	for (size_t i = 0; i < sizeof(programs) / sizeof(*programs); i++)
		if (!access(programs[i], X_OK))
			return programs[i];
	return NULL;
}

bool ntm_resolvconf_program(void)
{
	return program() != NULL;
}

/* `resolvconf ACTION IFACE`, with input if not NULL. */
static int run(const char *action, const char *ifname, const char *input, char *why, size_t cap)
{
	static char *env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	const char *path = program();
	char *argv[] = {(char *)path, (char *)action, (char *)ifname, NULL};
	posix_spawn_file_actions_t fa;
	int p[2], status = 0, err;
	pid_t pid;

	if (!path) {
		snprintf(why, cap, "there is no resolvconf program");
		return -ENOENT;
	}
	if (pipe2(p, O_CLOEXEC))
		return -errno;
	/* A few lines fit the pipe before anybody reads. */
	err = input ? write_all(p[1], input, strlen(input)) : 0;
	close(p[1]);
	if (err == -EINVAL) /* a pipe has nothing to sync */
		err = 0;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, p[0], STDIN_FILENO);
	if (!err)
		err = -posix_spawn(&pid, path, &fa, NULL, argv, env);
	posix_spawn_file_actions_destroy(&fa);
	close(p[0]);
	if (err) {
		snprintf(why, cap, "%s: %s", path, strerror(-err));
		return err;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		snprintf(why, cap, "%s %s %s failed", path, action, ifname);
		return -EIO;
	}
	return 0;
}

/* The lines of the old file that are no servers, after the stub's. */
static int edit_file(const char *dir, const char *file, const char *server, const char *old, char *why, size_t cap)
{
	char path[512], *text = malloc(strlen(old) + 256);
	struct stat st;
	size_t len;
	int err = 0;

	if (!text)
		return -ENOMEM;
	if (lstat(file, &st) || !S_ISREG(st.st_mode)) {
		snprintf(why, cap, "%s is not a plain file, and there is no resolvconf program", file);
		free(text);
		return -EINVAL;
	}
	len = (size_t)sprintf(text, "# by ntm-node; the file as it was: %s/" NTM_RESOLV_BACKUP "\n%s", dir, server);
	for (const char *line = old; *line;) {
		size_t n = strcspn(line, "\n");

		n += line[n] == '\n';
		if (strncmp(line + strspn(line, " \t"), "nameserver", 10) != 0) {
			memcpy(text + len, line, n);
			len += n;
		}
		line += n;
	}
	err = ntm_dnsmode_write(ntm_dnsmode_path(dir, written, path, sizeof(path)), text, len);
	if (!err)
		err = ntm_dnsmode_write(file, text, len);
	if (err)
		snprintf(why, cap, "%s: %s", file, strerror(-err));
	free(text);
	return err;
}

int ntm_resolvconf_set(const char *dir, const char *ifname, const struct ntm_addr *stub, const char *file, char *why,
		       size_t cap)
{
	char path[512], server[128], text[NTM_ADDR_STRLEN], *old;
	size_t len;
	int err;

	if (stub->port != htons(53)) {
		snprintf(why, cap, "resolv.conf has no ports: dns.listen must be at 53");
		return -EINVAL;
	}
	if (strlen(dir) > 120) {
		snprintf(why, cap, "runtime_dir is too long");
		return -ENAMETOOLONG;
	}
	snprintf(server, sizeof(server), "nameserver %s\n", ntm_ip_format(stub->ip, text));
	old = slurp(file, &len);
	if (!old) {
		err = -errno;
		snprintf(why, cap, "%s: %s", file, strerror(-err));
		return err;
	}
	err = ntm_dnsmode_write(ntm_dnsmode_path(dir, NTM_RESOLV_BACKUP, path, sizeof(path)), old, len);
	if (err) {
		snprintf(why, cap, "%s: %s", path, strerror(-err));
	} else if (program()) {
		err =
		    ntm_dnsmode_write(ntm_dnsmode_path(dir, program_mark, path, sizeof(path)), ifname, strlen(ifname));
		if (!err)
			err = run("-a", ifname, server, why, cap);
	} else {
		err = edit_file(dir, file, server, old, why, cap);
	}
	free(old);
	return err;
}

static int restore_program(const char *dir, char *why, size_t cap)
{
	char path[512], *ifname;
	size_t len;
	int err;

	ifname = slurp(ntm_dnsmode_path(dir, program_mark, path, sizeof(path)), &len);
	if (!ifname)
		return errno == ENOENT ? 0 : -errno;
	err = run("-d", ifname, NULL, why, cap);
	free(ifname);
	if (!err && unlink(path))
		err = -errno;
	return err;
}

static int restore_file(const char *dir, const char *file, char *why, size_t cap)
{
	char path[512], backup[512], *ours, *now, *old;
	size_t n_ours = 0, n_now = 0, n_old = 0;
	int err = 0;

	ours = slurp(ntm_dnsmode_path(dir, written, path, sizeof(path)), &n_ours);
	if (!ours)
		return errno == ENOENT ? 0 : -errno;
	now = slurp(file, &n_now);
	old = slurp(ntm_dnsmode_path(dir, NTM_RESOLV_BACKUP, backup, sizeof(backup)), &n_old);
	/* Somebody else's newer settings are not undone. */
	if (old && now && n_now == n_ours && !memcmp(now, ours, n_now))
		err = ntm_dnsmode_write(file, old, n_old);
	if (err)
		snprintf(why, cap, "%s: %s", file, strerror(-err));
	else if (unlink(path))
		err = -errno;
	free(ours);
	free(now);
	free(old);
	return err;
}

int ntm_resolvconf_restore(const char *dir, const char *file, char *why, size_t cap)
{
	char path[512];
	int err = restore_program(dir, why, cap);

	if (!err)
		err = restore_file(dir, file, why, cap);
	if (!err && unlink(ntm_dnsmode_path(dir, NTM_RESOLV_BACKUP, path, sizeof(path))) && errno != ENOENT)
		err = -errno;
	return err;
}
