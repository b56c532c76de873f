/* SPDX-License-Identifier: BSD-2-Clause */
/* ntm-run PROGRAM ...: joins the broker of this identity, or starts one, and becomes the program. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../common/crypto.h"
#include "../common/keystore.h"
#include "../node/config.h"
#include "run.h"

static void die(int status, const char *what, const char *why)
{
	fprintf(stderr, "ntm-run: %s: %s\n", what, why);
	exit(status);
}

static void usage(FILE *out)
{
	fprintf(
	    out,
	    "usage: ntm-run [-c FILE] [--] PROGRAM [ARGUMENT...]\n"
	    "Runs a program whose sockets reach the nodes of the zone; no root. -c: node.conf, with [node] name and\n"
	    "private_key_file, [dc] endpoint, public_key and token; ~/.config/ntm/node.conf if left out.\n");
}

static const char *default_config(char out[PATH_MAX])
{
	const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	if (base && *base == '/')
		snprintf(out, PATH_MAX, "%s/ntm/node.conf", base);
	else
		snprintf(out, PATH_MAX, "%s/.config/ntm/node.conf", home ? home : "");
	return out;
}

/* A directory of this user's alone, for the broker's socket. */
static void directory(char out[PATH_MAX])
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	struct stat st;

	if (base && *base == '/' && !access(base, W_OK))
		snprintf(out, PATH_MAX, "%s/ntm-run", base);
	else
		snprintf(out, PATH_MAX, "/tmp/ntm-run-%u", (unsigned)geteuid());
	if (mkdir(out, 0700) && errno != EEXIST)
		die(1, out, strerror(errno));
	if (lstat(out, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077)
		die(1, out, "not a directory of this user's alone");
}

/* Connected and joined; -1: there is no broker. */
static int join(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct ntm_run_request q = {.op = NTM_RUN_JOIN, .pid = getpid()};
	struct ntm_run_answer a;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (fd < 0)
		die(1, "socket", strerror(errno));
	if (!connect(fd, (struct sockaddr *)&sa, sizeof(sa)) && send(fd, &q, sizeof(q), MSG_NOSIGNAL) == sizeof(q) &&
	    recv(fd, &a, sizeof(a), 0) == sizeof(a) && !a.err)
		return fd;
	close(fd);
	return -1;
}

/* The broker is a child, in a session of its own; this process stays what it is. */
static void start(const struct ntm_node_config *c, const char *path, int lock)
{
	char text[256] = "";
	int report[2];
	ssize_t n;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC))
		die(1, "pipe", strerror(errno));
	pid = fork();
	if (pid < 0)
		die(1, "fork", strerror(errno));
	if (!pid) {
		close(report[0]);
		setsid();
		_exit(ntm_run_broker(c, path, report[1], lock));
	}
	close(report[1]);
	do
		n = read(report[0], text, sizeof(text) - 1);
	while (n < 0 && errno == EINTR);
	close(report[0]);
	if (n != 1 || *text != '+')
		die(1, "no virtual network", n > 0 ? text : "the broker ended");
}

static int attach(const struct ntm_node_config *c, char path[PATH_MAX])
{
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
	char dir[PATH_MAX], lock_path[PATH_MAX], why[256] = "";
	int fd, lock;

	if (ntm_crypto_init())
		die(1, "OpenSSL", "cannot be initialised");
	if (ntm_key_load(c->private_key_file, priv, pub, why, sizeof(why)))
		die(2, "private key", why);
	ntm_wipe(priv, sizeof(priv));
	directory(dir);
	if (snprintf(path, PATH_MAX, "%.80s/%02x%02x%02x%02x%02x%02x", dir, pub[0], pub[1], pub[2], pub[3], pub[4],
		     pub[5]) < 0)
		die(1, "socket", "name");
	snprintf(lock_path, sizeof(lock_path), "%.100s.lock", path);
	lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_EX))
		die(1, lock_path, strerror(errno));
	fd = join(path);
	if (fd < 0) {
		start(c, path, lock);
		fd = join(path);
	}
	if (fd < 0)
		die(1, path, "the broker does not answer");
	close(lock);
	return fd;
}

/* Beside this program, or where it is installed. */
static void library(char out[PATH_MAX])
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n < 0)
		die(1, "/proc/self/exe", strerror(errno));
	self[n] = 0;
	slash = strrchr(self, '/');
	*slash = 0;
	if (snprintf(out, PATH_MAX, "%s/libntm-run.so", self) < PATH_MAX && !access(out, R_OK))
		return;
	if (snprintf(out, PATH_MAX, "%s/../lib/ntm/libntm-run.so", self) < PATH_MAX && !access(out, R_OK))
		return;
	die(1, "libntm-run.so", "not found beside ntm-run, nor in ../lib/ntm");
}

static void preload(const char *lib)
{
	const char *old = getenv("LD_PRELOAD");
	char *all;

	if (asprintf(&all, "%s%s%s", lib, old && *old ? ":" : "", old ? old : "") < 0 || setenv("LD_PRELOAD", all, 1))
		die(1, "LD_PRELOAD", "out of memory");
	free(all);
}

int main(int argc, char **argv)
{
	char config[PATH_MAX], path[PATH_MAX], lib[PATH_MAX], program[PATH_MAX], why[512] = "";
	const char *file = NULL;
	struct ntm_node_config c;
	int opt, status;

	ntm_log_init("ntm-run", NTM_LOG_ERROR);
	while ((opt = getopt(argc, argv, "+c:h")) != -1) {
		if (opt == 'c') {
			file = optarg;
		} else {
			usage(opt == 'h' ? stdout : stderr);
			return opt == 'h' ? 0 : 2;
		}
	}
	if (optind == argc) {
		usage(stderr);
		return 2;
	}
	status = ntm_run_check(argv[optind], program, why, sizeof(why));
	if (status)
		die(status, argv[optind], why);
	library(lib);
	if (ntm_node_config_load(&c, file ? file : default_config(config), why, sizeof(why)))
		die(2, "configuration", why);
	/* Left open, for the program and its children: the broker stays as long. */
	(void)attach(&c, path);
	ntm_node_config_free(&c);
	if (setenv(NTM_RUN_ENV, path, 1))
		die(1, NTM_RUN_ENV, "out of memory");
	preload(lib);
	execv(program, argv + optind);
	die(errno == ENOENT ? 127 : 126, program, strerror(errno));
}
