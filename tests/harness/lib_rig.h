/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libntm in a network namespace of the test's own, with a DC in a child process on loopback. All instances are in the
 * test's process and find each other by the addresses of one veth.
 */
#ifndef NTM_TEST_LIB_RIG_H
#define NTM_TEST_LIB_RIG_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netdb.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../user/common/crypto.h"
#include "../../user/common/keystore.h"
#include "../../user/lib/libntm.h"

static const char *const lib_names[] = {"alice", "bob", "carol", "dave"};
static pid_t lib_dc;
static char lib_dir[64], lib_dc_key[NTM_KEY_TEXT_LEN + 1], lib_tokens[4][NTM_TOKEN_MAX + 1];
static const char lib_dc_endpoint[] = "127.0.0.1:4680";

static inline void lib_run(const char *cmd)
{
	cr_assert_eq(system(cmd), 0, "%s", cmd);
}

/* A program of ours, as the tests are started: from the tree's top, or told where. */
static inline const char *lib_program(const char *name, char out[256])
{
	const char *build = getenv("NTM_BUILD");

	snprintf(out, 256, "%s/%s", build ? build : "build", name);
	return out;
}

static inline void lib_write(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", lib_dir, name);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	cr_assert(fputs(text, f) >= 0 && !fclose(f));
}

/* The last line of what a command prints; false: it failed. */
static inline bool lib_output(const char *cmd, char *line, size_t cap)
{
	FILE *f = popen(cmd, "r");
	char buf[256];

	cr_assert_not_null(f);
	line[0] = 0;
	while (fgets(buf, sizeof(buf), f)) {
		buf[strcspn(buf, "\n")] = 0;
		snprintf(line, cap, "%.*s", (int)cap - 1, buf);
	}
	return !pclose(f);
}

static inline void lib_start_dc(void)
{
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
	char text[NTM_KEY_TEXT_LEN + 2], conf[512], path[128], prog[256];

	cr_assert_eq(ntm_crypto_init() || ntm_x25519_generate(priv, pub), 0);
	ntm_key_to_text(pub, lib_dc_key);
	ntm_key_to_text(priv, text);
	umask(077);
	lib_write("dc.key", text);
	snprintf(conf, sizeof(conf),
		 "[dc]\nzone = ntm.example\nlisten = %s\nprivate_key_file = dc.key\nvip4_pool = 100.96.0.0/12\n"
		 "vip6_pool = fd4e:544d::/48\nstore = sqlite:%s/dc.db\nruntime_dir = %s/run\n",
		 lib_dc_endpoint, lib_dir, lib_dir);
	lib_write("dc.conf", conf);
	snprintf(path, sizeof(path), "%s/dc.conf", lib_dir);
	lib_program("ntm-dc", prog);
	lib_dc = fork();
	if (!lib_dc) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setenv("NTM_LOG", "error", 1);
		execl(prog, prog, "-c", path, NULL);
		_exit(127);
	}
}

static inline void lib_setup(void)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	char cmd[512], prog[256];

	if (unshare(CLONE_NEWNET))
		cr_skip_test("needs root for a network namespace");
	lib_run(
	    "ip link set lo up && ip link add u0 type veth peer name u1 && ip addr add 192.0.2.1/24 dev u0 &&"
	    "ip addr add 2001:db8::1/64 dev u0 nodad && ip link set u1 up && ip link set u0 up && ip route add default dev u0");
	snprintf(lib_dir, sizeof(lib_dir), "/tmp/ntm-lib-XXXXXX");
	cr_assert_not_null(mkdtemp(lib_dir));
	lib_start_dc();
	for (unsigned i = 0; i < sizeof(lib_names) / sizeof(*lib_names); i++) {
		snprintf(cmd, sizeof(cmd), "%s -r %s/run dc token create --name %s 2>/dev/null",
			 lib_program("ntm", prog), lib_dir, lib_names[i]);
		/* It may not be there yet. */
		for (unsigned tries = 0; !lib_output(cmd, lib_tokens[i], sizeof(lib_tokens[i])); tries++) {
			cr_assert(tries < 1000 && !waitpid(lib_dc, NULL, WNOHANG), "ntm-dc does not answer");
			nanosleep(&pause, NULL);
		}
	}
}

static inline void lib_teardown(void)
{
	char cmd[128];
	int status;

	if (lib_dc <= 0)
		return;
	kill(lib_dc, SIGTERM);
	cr_expect_eq(waitpid(lib_dc, &status, 0), lib_dc);
	cr_expect_eq(status, 0);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", lib_dir);
	lib_run(cmd);
}

static inline const char *lib_token(const char *name)
{
	for (unsigned i = 0; i < sizeof(lib_names) / sizeof(*lib_names); i++)
		if (!strcmp(name, lib_names[i]))
			return lib_tokens[i];
	return NULL;
}

static inline struct ntm_config lib_config(const char *name)
{
	static char key[8][NTM_KEY_TEXT_LEN + 1];
	static unsigned n;
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];

	cr_assert_eq(ntm_crypto_init() || ntm_x25519_generate(priv, pub), 0);
	ntm_key_to_text(priv, key[++n % 8]);
	return (struct ntm_config){.name = name,
				   .private_key = key[n % 8],
				   .dc_endpoints = lib_dc_endpoint,
				   .dc_public_key = lib_dc_key,
				   .token = lib_token(name)};
}

static inline struct ntm *lib_join(const char *name)
{
	struct ntm_config c = lib_config(name);
	struct ntm *n = NULL;

	cr_assert_eq(ntm_register(&c, &n), 0, "%s: %s (%s)", name, ntm_reason(), strerror(errno));
	return n;
}

/* bob.ntm.example as alice sees it. */
static inline struct sockaddr_storage lib_resolve(struct ntm *n, const char *name, int family, uint16_t port,
						  socklen_t *len)
{
	struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *res = NULL;
	struct sockaddr_storage ss = {0};
	char fqdn[80], service[8];
	int err;

	snprintf(fqdn, sizeof(fqdn), "%s.ntm.example", name);
	snprintf(service, sizeof(service), "%u", port);
	err = ntm_getaddrinfo(n, fqdn, service, &hints, &res);
	cr_assert_eq(err, 0, "%s: %s: %s", fqdn, gai_strerror(err), ntm_reason());
	memcpy(&ss, res->ai_addr, res->ai_addrlen);
	*len = res->ai_addrlen;
	ntm_freeaddrinfo(res);
	return ss;
}

#endif
