/* SPDX-License-Identifier: BSD-2-Clause */
/* One text as the configuration of each daemon: refused with FILE and a reason, or loaded; never anything else. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../dc/config.h"
#include "../../user/node/config.h"
#include "../../user/relay/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_conf: %s\n", what);
	abort();
}

static bool loaded(int ret, const char *path, const char *err)
{
	if (ret) {
		require(ret < 0 && ret > -4096, "not an errno");
		require(!strncmp(err, path, strlen(path)) && err[strlen(path)] == ':', "the error names no file");
		require(strlen(err) > strlen(path) + 3, "the error has no reason");
	} else {
		require(!err[0], "an error text without an error");
	}
	return !ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz_conf", MFD_CLOEXEC);
	struct ntm_relay_config relay;
	struct ntm_node_config node;
	struct ntm_dc_config dc;
	char path[64], err[3][512] = {""};

	require(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no memory file");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (loaded(ntm_node_config_load(&node, path, err[0], sizeof(err[0])), path, err[0])) {
		require(node.name[0] && strlen(node.name) <= NTM_LABEL_MAX, "no name");
		require(node.private_key_file && node.interface && node.runtime_dir, "a required string is missing");
		require(node.port && node.dc_endpoints.n, "a required value is missing");
		ntm_node_config_free(&node);
	}
	if (loaded(ntm_relay_config_load(&relay, path, err[1], sizeof(err[1])), path, err[1])) {
		require(relay.node.name[0] && strlen(relay.node.name) <= NTM_LABEL_MAX, "a relay without a name");
		require(relay.node.private_key_file && relay.node.runtime_dir,
			"a required string of a relay is missing");
		require(relay.node.port && relay.node.dc_endpoints.n, "a required value of a relay is missing");
		ntm_relay_config_free(&relay);
	}
	if (loaded(ntm_dc_config_load(path, &dc, err[2], sizeof(err[2])), path, err[2])) {
		require(dc.zone[0] && strlen(dc.zone) <= NTM_NAME_MAX, "no zone");
		require(dc.private_key_file && dc.store_file && dc.runtime_dir && dc.listen.n,
			"a required value of a DC is missing");
		for (size_t i = 0; i < dc.relays.n; i++)
			require(dc.relays.items[i]->name[0] && dc.relays.items[i]->endpoints.n, "half a relay");
		for (size_t i = 0; i < dc.peers.n; i++)
			require(dc.peers.items[i]->name[0] && dc.peers.items[i]->endpoints.n, "half a peer");
		ntm_dc_config_free(&dc);
	}
	close(fd);
	return 0;
}
