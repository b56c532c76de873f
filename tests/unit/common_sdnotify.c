/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../user/common/sdnotify.h"

static int listen_at(const char *name, bool abstract)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	memcpy(sa.sun_path + abstract, name, strlen(name));
	cr_assert_eq(bind(fd, (struct sockaddr *)&sa,
			  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + abstract + strlen(name))),
		     0);
	return fd;
}

static void expect(int fd, const char *text)
{
	char buf[128] = "";
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	cr_assert_geq(n, 0);
	cr_assert_eq(strncmp(buf, text, strlen(text)), 0, "%s", buf);
}

Test(sdnotify, path)
{
	char dir[] = "/tmp/ntm-sd-XXXXXX", path[64];
	int fd;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/notify", dir);
	fd = listen_at(path, false);
	setenv("NOTIFY_SOCKET", path, 1);
	cr_assert_eq(ntm_sdnotify("READY=1"), 1);
	expect(fd, "READY=1");
	cr_assert_eq(ntm_sdnotify_reloading(), 1);
	expect(fd, "RELOADING=1\nMONOTONIC_USEC=");
	close(fd);
	unlink(path);
	rmdir(dir);
	cr_assert_eq(ntm_sdnotify("READY=1"), -ENOENT);
}

Test(sdnotify, abstract_name)
{
	char name[64], env[72];
	int fd;

	snprintf(name, sizeof(name), "ntm-sdnotify-test-%d", getpid());
	snprintf(env, sizeof(env), "@%s", name);
	fd = listen_at(name, true);
	setenv("NOTIFY_SOCKET", env, 1);
	cr_assert_eq(ntm_sdnotify("STOPPING=1"), 1);
	expect(fd, "STOPPING=1");
	close(fd);
}

Test(sdnotify, nobody_asked_or_nonsense)
{
	char longer[200];

	unsetenv("NOTIFY_SOCKET");
	cr_assert_eq(ntm_sdnotify("READY=1"), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	cr_assert_eq(ntm_sdnotify("READY=1"), 0);
	setenv("NOTIFY_SOCKET", "relative", 1);
	cr_assert_eq(ntm_sdnotify("READY=1"), -EAFNOSUPPORT);
	memset(longer, '/', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	setenv("NOTIFY_SOCKET", longer, 1);
	cr_assert_eq(ntm_sdnotify("READY=1"), -ENAMETOOLONG);
}
