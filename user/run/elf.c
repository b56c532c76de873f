/* SPDX-License-Identifier: BSD-2-Clause */
/* Which programs a library can't be preloaded into: found out before, and said. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "run.h"

enum { NOT_FOUND = 127, CANNOT = 126, SCRIPTS = 4 };

static bool executable(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK);
}

static bool find(const char *name, char out[PATH_MAX])
{
	const char *path = getenv("PATH"), *end;

	if (strchr(name, '/')) {
		snprintf(out, PATH_MAX, "%s", name);
		return executable(out);
	}
	for (path = path ? path : "/usr/local/bin:/usr/bin:/bin";; path = end + 1) {
		int len;

		end = strchrnul(path, ':');
		len = (int)(end - path);
		if (snprintf(out, PATH_MAX, "%.*s/%s", len ? len : 1, len ? path : ".", name) < PATH_MAX &&
		    executable(out))
			return true;
		if (!*end)
			return false;
	}
}

/* It would run with other rights than this user's: the loader ignores LD_PRELOAD then. */
static bool privileged(int fd, char *why, size_t cap)
{
	struct stat st;

	if (fstat(fd, &st))
		return false;
	if ((st.st_mode & S_ISUID && st.st_uid != geteuid()) ||
	    ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != getegid())) {
		snprintf(why, cap, "is set-user-ID or set-group-ID: nothing can be preloaded into it");
		return true;
	}
	if (geteuid() && fgetxattr(fd, "security.capability", NULL, 0) > 0) {
		snprintf(why, cap, "has file capabilities: nothing can be preloaded into it");
		return true;
	}
	return false;
}

static bool is_dynamic(int fd, const ElfW(Ehdr) * e, char *why, size_t cap)
{
	ElfW(Phdr) p;
	char interp[128] = "";

	if (e->e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32)) {
		snprintf(why, cap, "is of another word size than ntm-run");
		return false;
	}
	for (unsigned i = 0; i < e->e_phnum; i++) {
		if (e->e_phentsize != sizeof(p) ||
		    pread(fd, &p, sizeof(p), (off_t)(e->e_phoff + i * sizeof(p))) != (ssize_t)sizeof(p))
			break;
		if (p.p_type != PT_INTERP)
			continue;
		if (pread(fd, interp, sizeof(interp) - 1, (off_t)p.p_offset) <= 0)
			break;
		if (strstr(interp, "ld-linux") || strstr(interp, "ld64"))
			return true;
		snprintf(why, cap, "uses the loader %.100s: only glibc's can preload", interp);
		return false;
	}
	snprintf(why, cap, "is statically linked: nothing can be preloaded into it. Its sockets would be the kernel's");
	return false;
}

/* The interpreter in a script's first line; false: it has none that makes sense. */
static bool interpreter(const char *head, size_t len, char out[PATH_MAX])
{
	size_t at = 2, n = 0;

	while (at < len && (head[at] == ' ' || head[at] == '\t'))
		at++;
	while (at < len && n < PATH_MAX - 1 && !strchr(" \t\n", head[at]))
		out[n++] = head[at++];
	out[n] = 0;
	return n > 0;
}

static int look(const char *path, unsigned depth, char *why, size_t cap)
{
	char head[256], next[PATH_MAX];
	ElfW(Ehdr) e;
	int fd = open(path, O_RDONLY | O_CLOEXEC), status = 0;
	ssize_t n;

	if (fd < 0)
		return 0; /* executable and not readable: exec says what there is to say */
	n = pread(fd, head, sizeof(head), 0);
	if (privileged(fd, why, cap)) {
		status = CANNOT;
	} else if (n > 2 && head[0] == '#' && head[1] == '!' && depth < SCRIPTS) {
		if (interpreter(head, (size_t)n, next))
			status = look(next, depth + 1, why, cap);
	} else if (n >= (ssize_t)sizeof(e) && !memcmp(head, ELFMAG, SELFMAG)) {
		memcpy(&e, head, sizeof(e));
		status = is_dynamic(fd, &e, why, cap) ? 0 : CANNOT;
	}
	close(fd);
	return status;
}

int ntm_run_check(const char *name, char out[PATH_MAX], char *why, size_t cap)
{
	if (!find(name, out)) {
		snprintf(why, cap, "%s", errno == EACCES ? strerror(EACCES) : "command not found");
		return errno == EACCES ? CANNOT : NOT_FOUND;
	}
	return look(out, 0, why, cap);
}
