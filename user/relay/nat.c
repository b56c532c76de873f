/* SPDX-License-Identifier: BSD-2-Clause */
#include "nat.h"

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

/*
 * raw: a virtual address in the clear is nobody's. input: by the tunnel this host is reached at its virtual addresses
 * only. forward: clients to general nodes and the answers, never to each other. An accept here is no more than no
 * objection: the host's own chains have their say, too.
 */
int ntm_nat_script(const struct ntm_nat *c, char *out, size_t cap)
{
	static const char text[] =
	    "table inet ntm_gateway\n"
	    "delete table inet ntm_gateway\n"
	    "table inet ntm_gateway {\n"
	    "	chain clear {\n"
	    "		type filter hook prerouting priority raw; policy accept;\n"
	    "		iifname { \"%1$s\", \"lo\" } accept\n"
	    "		ip saddr %2$s counter drop\n"
	    "		ip daddr %2$s counter drop\n"
	    "		ip6 saddr %3$s counter drop\n"
	    "		ip6 daddr %3$s counter drop\n"
	    "	}\n"
	    "	chain input {\n"
	    "		type filter hook input priority filter; policy accept;\n"
	    "		iifname \"%1$s\" ip daddr != %2$s counter drop\n"
	    "		iifname \"%1$s\" ip6 daddr != %3$s counter drop\n"
	    "	}\n"
	    "	chain forward {\n"
	    "		type filter hook forward priority filter; policy accept;\n"
	    "		iifname \"%1$s\" oifname \"%1$s\" counter drop\n"
	    "		iifname \"%1$s\" ip saddr %2$s ip daddr != %2$s counter accept\n"
	    "		iifname \"%1$s\" ip6 saddr %3$s ip6 daddr != %3$s counter accept\n"
	    "		iifname \"%1$s\" counter drop\n"
	    "		oifname \"%1$s\" ct state established,related counter accept\n"
	    "		oifname \"%1$s\" counter drop\n"
	    "%4$s%5$s"
	    "	}\n"
	    "	chain postrouting {\n"
	    "		type nat hook postrouting priority srcnat; policy accept;\n"
	    "		oifname != \"%1$s\" ip saddr %2$s ip daddr != %2$s counter masquerade\n"
	    "		oifname != \"%1$s\" ip6 saddr %3$s ip6 daddr != %3$s counter masquerade\n"
	    "	}\n"
	    "}\n";
	char pool4[NTM_ADDR_STRLEN], pool6[NTM_ADDR_STRLEN];
	int n = snprintf(out, cap, text, c->ifname, ntm_prefix_format(&c->pool4, pool4),
			 ntm_prefix_format(&c->pool6, pool6),
			 c->only_ours4 ? "		meta nfproto ipv4 counter drop\n" : "",
			 c->only_ours6 ? "		meta nfproto ipv6 counter drop\n" : "");

	return n < 0 || (size_t)n >= cap ? -ENOSPC : n;
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

/* Gives the script to nft, with this option before it, and waits. One socket is its input and its complaints' way. */
static int run_nft(const char *option, const char *script, size_t len, char *why, size_t cap)
{
	const char *nft = find_nft();
	char complaint[200] = "";
	int io[2], status, err;
	pid_t pid;

	if (!nft) {
		snprintf(why, cap, "gateway = yes needs nft, which is not installed (package nftables)");
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
	snprintf(why, cap, "nft refuses the gateway's table: %s", complaint[0] ? complaint : "it ended without a word");
	return -EPROTO;
}

int ntm_nat_check(char *why, size_t cap)
{
	struct ntm_nat example = {.ifname = "ntm0", .only_ours4 = true, .only_ours6 = true};
	char script[NTM_NAT_SCRIPT_MAX];
	int len, err = ntm_prefix_parse("100.96.0.0/12", &example.pool4);

	if (!err)
		err = ntm_prefix_parse("fd4e:544d::/48", &example.pool6);
	if (err)
		return err;
	len = ntm_nat_script(&example, script, sizeof(script));
	return len < 0 ? len : run_nft("-c", script, (size_t)len, why, cap);
}

int ntm_nat_set(const struct ntm_nat *c, char *why, size_t cap)
{
	char script[NTM_NAT_SCRIPT_MAX];
	int len = ntm_nat_script(c, script, sizeof(script));

	if (len < 0) {
		snprintf(why, cap, "the gateway's table does not fit");
		return len;
	}
	return run_nft(NULL, script, (size_t)len, why, cap);
}

int ntm_nat_remove(char *why, size_t cap)
{
	/* Made first, as deleting what is not there is an error. */
	static const char script[] = "table inet ntm_gateway\ndelete table inet ntm_gateway\n";

	return run_nft(NULL, script, sizeof(script) - 1, why, cap);
}
