/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * relayhold RUNTIME-DIR PATH-ID DEVICE OWN-ADDRESS END DEVICE OWN-ADDRESS END
 *
 * The relay's data plane on two interfaces with one path, PATH-ID (hex), whose two ends are bound to ADDRESS:PORT each,
 * without a DC. Prints "ready" and stays until standard input ends.
 */
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../user/relay/relay_dp.h"

static int parse_uplink(const char *device, const char *own, struct ntm_dp_uplink *u, uint8_t ip[16])
{
	if (ntm_ip_parse(own, ip) || !(u->ifindex = if_nametoindex(device)))
		return -1;
	snprintf(u->name, sizeof(u->name), "%s", device);
	u->mtu = 1500;
	if (ntm_ip_is_v4(ip))
		memcpy(u->addr4, ip + 12, 4);
	else
		memcpy(u->addr6, ip, 16);
	return 0;
}

static int carry(struct ntm_relay_dp *dp, uint64_t path_id, struct ntm_dp_uplink *uplinks, const uint8_t (*ips)[16],
		 const struct ntm_addr *ends, char *why, size_t cap)
{
	const uint8_t secret[NTM_KEY_LEN] = {1}; /* nobody binds */
	int err = dp->ops->set_uplinks(dp, uplinks, 2, why, cap);

	if (!err)
		err = dp->ops->set_locals(dp, ips, 2);
	if (!err)
		err = dp->ops->add(dp, path_id, secret, 0);
	for (unsigned end = 0; !err && end < 2; end++)
		err = dp->ops->bind(dp, path_id, end, &ends[end], 1);
	return err;
}

int main(int argc, char **argv)
{
	struct ntm_relay_dp_config conf = {.port = NTM_PORT, .xdp_mode = NTM_XDP_NATIVE, .max_paths = 1024};
	struct ntm_dp_uplink uplinks[2] = {0};
	struct ntm_addr ends[2];
	struct ntm_relay_dp *dp;
	uint8_t ips[2][16];
	char why[256] = "", rest[64];
	int err;

	if (argc != 9 || parse_uplink(argv[3], argv[4], &uplinks[0], ips[0]) || ntm_addr_parse(argv[5], 0, &ends[0]) ||
	    parse_uplink(argv[6], argv[7], &uplinks[1], ips[1]) || ntm_addr_parse(argv[8], 0, &ends[1])) {
		fprintf(stderr, "usage: relayhold RUNTIME-DIR PATH-ID DEVICE OWN-ADDRESS END DEVICE OWN-ADDRESS END\n");
		return 2;
	}
	conf.runtime_dir = argv[1];
	err = ntm_relay_dp_bpf_open(&dp, &conf, why, sizeof(why));
	if (err) {
		fprintf(stderr, "relayhold: %s: %s\n", why, strerror(-err));
		return 1;
	}
	err = carry(dp, strtoull(argv[2], NULL, 16), uplinks, (const uint8_t(*)[16])ips, ends, why, sizeof(why));
	if (err) {
		fprintf(stderr, "relayhold: %s: %s\n", why, strerror(-err));
	} else {
		puts("ready");
		fflush(stdout);
		while (read(STDIN_FILENO, rest, sizeof(rest)) > 0)
			;
	}
	dp->ops->close(dp, false);
	return err ? 1 : 0;
}
