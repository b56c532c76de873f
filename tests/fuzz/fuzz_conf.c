/* SPDX-License-Identifier: BSD-2-Clause */
/* Configuration files: refused with FILE and a reason, or loaded; never anything else. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../user/node/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_conf: %s\n", what);
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz_conf", MFD_CLOEXEC), ret;
	struct ntm_node_config c;
	char path[64], err[512] = "";

	require(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no memory file");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ret = ntm_node_config_load(&c, path, err, sizeof(err));
	if (ret) {
		require(ret < 0 && ret > -4096, "not an errno");
		require(!strncmp(err, path, strlen(path)) && err[strlen(path)] == ':', "the error names no file");
		require(strlen(err) > strlen(path) + 3, "the error has no reason");
	} else {
		require(!err[0], "an error text without an error");
		require(c.name[0] && strlen(c.name) <= NTM_LABEL_MAX, "no name");
		require(c.private_key_file && c.interface && c.runtime_dir, "a required string is missing");
		require(c.port && c.dc_endpoints.n, "a required value is missing");
		ntm_node_config_free(&c);
	}
	close(fd);
	return 0;
}
