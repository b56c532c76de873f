/* SPDX-License-Identifier: BSD-2-Clause */
#include "nft.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where packages put it; a service's PATH need not have the system's directories. */
static const char *const places[] = {"/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"};

static const char *find_nft(void)
{
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (!access(places[i], X_OK))
			return places[i];
	return NULL;
}

/* The first line of what nft complains of. */
static void read_complaint(int fd, char *out, size_t cap)
{
	size_t n = 0;
	ssize_t got;
	char rest[256];

	while (n + 1 < cap && (got = read(fd, out + n, cap - 1 - n)) > 0)
		n += (size_t)got;
	out[n] = 0;
	while (read(fd, rest, sizeof(rest)) > 0)
		;
	out[strcspn(out, "\n")] = 0;
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return shutdown(fd, SHUT_WR) ? -errno : 0;
}

static int start(const char *nft, const char *option, int io, pid_t *pid)
{
	char *argv[] = {"nft", (char *)option, "-f", "-", NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, defaults;
	int err = posix_spawn_file_actions_init(&actions);

	if (err)
		return -err;
	err = posix_spawnattr_init(&attr);
	if (err) {
		posix_spawn_file_actions_destroy(&actions);
		return -err;
	}
	if (!option) {
		argv[1] = "-f";
		argv[2] = "-";
		argv[3] = NULL;
	}
	/* The daemon ignores SIGPIPE, and its children would inherit that. */
	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	for (int fd = 0; fd < 3 && !err; fd++)
		err = posix_spawn_file_actions_adddup2(&actions, io, fd);
	if (!err)
		err = posix_spawn(pid, nft, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -err;
}

int ntm_nft_run(const char *option, const char *script, size_t len, char *why, size_t cap)
{
	const char *nft = find_nft();
	char complaint[200] = "";
	int io[2], status, err; /* one socket is its input and its complaints' way */
	pid_t pid;

	if (!nft) {
		snprintf(why, cap, "this needs nft, which is not installed (package nftables)");
		return -ENOENT;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, io)) {
		snprintf(why, cap, "nft: %s", strerror(errno));
		return -errno;
	}
	err = start(nft, option, io[1], &pid);
	close(io[1]);
	if (err) {
		close(io[0]);
		snprintf(why, cap, "%s can't be run: %s", nft, strerror(-err));
		return err;
	}
	err = write_all(io[0], script, len);
	read_complaint(io[0], complaint, sizeof(complaint));
	close(io[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return err;
	snprintf(why, cap, "nft refuses the table: %s", complaint[0] ? complaint : "it ended without a word");
	return -EPROTO;
}
