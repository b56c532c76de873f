/* SPDX-License-Identifier: BSD-2-Clause */
/* `ntm tun`: gives an agent with `interface = fd` its TUN device. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../common/ctlsock.h"
#include "ctl.h"

enum { ANSWER_MS = 5000 };

/* The device as whoever made it left it: with super-packets, and without if it does not have them. */
static int open_device(const char *name)
{
	static const short flags[] = {IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, IFF_TUN | IFF_NO_PI};
	int err = 0;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		struct ifreq ifr = {.ifr_flags = flags[i]};
		int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

		if (fd < 0)
			return -errno;
		snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
		if (!ioctl(fd, TUNSETIFF, &ifr))
			return fd;
		err = -errno;
		close(fd);
	}
	return err;
}

static int number(const char *text)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	return *text < '0' || *text > '9' || *end || errno || n > 1 << 20 ? -1 : (int)n;
}

static int give(const struct ctl *ctl, int fd)
{
	const char *dir = ctl->runtime_dir ? ctl->runtime_dir : CTL_NODE_DIR;
	json_object *request = ctl_request("tun"), *result = NULL;
	char why[600], cell[CTL_CELL_LEN];
	int err;

	if (!request)
		return ctl_fail("out of memory");
	err = ntm_ctl_call_fd(dir, request, fd, ANSWER_MS, &result, why, sizeof(why));
	json_object_put(request);
	if (err)
		return ctl_fail("%s", why);
	if (ctl->json) {
		ctl_print_json(result);
	} else {
		printf("taken: %s\n", ctl_cell(result, "interface", CTL_TEXT, cell));
		printf("  it is to have  %s/32, ", ctl_cell(result, "vip4", CTL_TEXT, cell));
		printf("%s/128\n", ctl_cell(result, "vip6", CTL_TEXT, cell));
		printf("  and routes     %s, ", ctl_cell(result, "pool4", CTL_TEXT, cell));
		printf("%s\n", ctl_cell(result, "pool6", CTL_TEXT, cell));
		printf("  MTU            %s\n", ctl_cell(result, "mtu", CTL_INT, cell));
		printf("  DNS server     %s\n", ctl_cell(result, "dns4", CTL_TEXT, cell));
	}
	json_object_put(result);
	return CTL_OK;
}

int tun_main(const struct ctl *ctl, int argc, char **argv)
{
	static const struct option options[] = {{"fd", required_argument, NULL, 'f'}, {0}};
	int opt, fd = -1, ret;
	bool given = false;

	optind = 0;
	opterr = 0;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt != 'f' || (fd = number(optarg)) < 0)
			return ctl_usage(ctl, "tun: NAME of a TUN device, or --fd NUMBER");
		given = true;
	}
	if (given ? optind < argc : optind + 1 != argc)
		return ctl_usage(ctl, "tun: NAME of a TUN device, or --fd NUMBER");
	if (!given) {
		if (strlen(argv[optind]) >= IFNAMSIZ)
			return ctl_usage(ctl, "tun: %s is no interface's name", argv[optind]);
		fd = open_device(argv[optind]);
		if (fd < 0)
			return ctl_fail("TUN device %s: %s", argv[optind], strerror(-fd));
	}
	ret = give(ctl, fd);
	close(fd);
	return ret;
}
