/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One end of a tunnel with hand-made keys, without DC and agent: for debugging the data plane and for measuring the
 * lane alone. Stays in the foreground; `dp_pair -h` tells its arguments. SIGTERM removes everything, SIGKILL leaves
 * it, and a second start adopts it.
 */
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../../user/common/addr.h"
#include "../../user/common/crypto.h"
#include "../../user/common/log.h"
#include "../../user/dataplane/dp.h"

static volatile sig_atomic_t stop, show;

static void on_signal(int sig)
{
	if (sig == SIGUSR1)
		show = 1;
	else
		stop = 1;
}

static void on_no_path(void *arg, const uint8_t dst[16], const uint8_t *packet, size_t len)
{
	(void)arg;
	(void)packet;
	char text[NTM_ADDR_STRLEN];
	ntm_info("no path to %s (%zu bytes)", ntm_ip_format(dst, text), len);
}

static void on_too_big(void *arg, uint64_t path_id, const uint8_t *packet, size_t len)
{
	(void)arg;
	(void)packet;
	ntm_info("path %llx: %zu bytes are too big", (unsigned long long)path_id, len);
}

static void on_roamed(void *arg, uint64_t path_id, const struct ntm_addr *ep)
{
	(void)arg;
	char text[NTM_ADDR_STRLEN];
	ntm_info("path %llx: peer is at %s", (unsigned long long)path_id, ntm_ip_format(ep->ip, text));
}

static void on_epoch(void *arg, uint64_t path_id, uint8_t epoch)
{
	(void)arg;
	ntm_info("path %llx: epoch %u confirmed", (unsigned long long)path_id, epoch);
}

static void on_expired(void *arg, uint64_t path_id)
{
	(void)arg;
	ntm_info("path %llx: expired", (unsigned long long)path_id);
}

static const struct ntm_dp_events events = {.no_path = on_no_path,
					    .too_big = on_too_big,
					    .roamed = on_roamed,
					    .epoch_confirmed = on_epoch,
					    .expired = on_expired};

static void print_counters(struct ntm_dp *dp)
{
	static const char *const names[] = {
#define X(symbol, name, meaning) name,
	    NTM_REASONS(X)
#undef X
	};
	struct ntm_counter c[NTM_R_COUNT];
	if (dp->ops->counters(dp, c))
		return;
	for (int i = 0; i < NTM_R_COUNT; i++)
		if (c[i].packets)
			printf("%-18s %12llu packets %14llu bytes\n", names[i], (unsigned long long)c[i].packets,
			       (unsigned long long)c[i].bytes);
	fflush(stdout);
}

struct args {
	struct ntm_dp_config conf;
	const char *uplink;
	uint8_t number, peer; /* last byte of both ends' addresses */
	uint8_t local[16], remote[16];
};

static int add_path(struct ntm_dp *dp, const struct args *a, const struct ntm_dp_addresses *own)
{
	struct ntm_dp_path p = {.path_id = 0x4e544d, .inner_mtu = 1420};
	struct ntm_dp_keys k = {.epoch = 0};
	memcpy(p.peer_vip4, own->vip4, 4);
	memcpy(p.peer_vip6, own->vip6, 16);
	p.peer_vip4[3] = p.peer_vip6[15] = a->peer;
	memcpy(p.endpoint.ip, a->remote, 16);
	p.endpoint.port = (uint16_t)(a->conf.port << 8 | a->conf.port >> 8);
	if (ntm_ip_is_v4(a->remote))
		p.inner_mtu = 1440;
	memset(k.tx, a->number, sizeof(k.tx));
	memset(k.rx, a->peer, sizeof(k.rx));
	int err = dp->ops->add_path(dp, &p);
	if (!err)
		err = dp->ops->set_keys(dp, p.path_id, &k, true);
	return err ? err : dp->ops->activate(dp, p.path_id);
}

static int start(struct ntm_dp *dp, const struct args *a, char *why, size_t cap)
{
	struct ntm_dp_addresses own = {.vip4 = {100, 96, 0, a->number}, .vip6 = {0xfd, 0x4e, 0x54, 0x4d}};
	struct ntm_dp_uplink up = {.mtu = 1500, .ifindex = if_nametoindex(a->uplink)};
	own.vip6[15] = a->number;
	snprintf(up.name, sizeof(up.name), "%s", a->uplink);
	if (ntm_ip_is_v4(a->local))
		memcpy(up.addr4, a->local + 12, 4);
	else
		memcpy(up.addr6, a->local, 16);
	int err = ntm_prefix_parse("100.96.0.0/12", &own.pool4);
	if (!err)
		err = ntm_prefix_parse("fd4e:544d::/48", &own.pool6);
	if (!err)
		err = dp->ops->set_addresses(dp, &own);
	if (!err)
		err = dp->ops->set_uplinks(dp, &up, 1, why, cap);
	if (!err && !dp->ops->adopted(dp))
		err = add_path(dp, a, &own);
	if (!err)
		printf("%s, XDP %s\n", dp->ops->adopted(dp) ? "adopted" : "new", ntm_rx_hook_name(up.hook));
	fflush(stdout);
	return err;
}

int main(int argc, char **argv)
{
	struct args a = {.conf = {.ifname = "ntm0", .port = NTM_PORT}};
	struct ntm_dp *dp;
	char why[256] = "";
	int opt;
	while ((opt = getopt(argc, argv, "d:u:n:p:l:r:gh")) != -1) {
		if (opt == 'd')
			a.conf.runtime_dir = optarg;
		else if (opt == 'u')
			a.uplink = optarg;
		else if (opt == 'n')
			a.number = (uint8_t)atoi(optarg);
		else if (opt == 'p')
			a.peer = (uint8_t)atoi(optarg);
		else if ((opt == 'l' && !ntm_ip_parse(optarg, a.local)) ||
			 (opt == 'r' && !ntm_ip_parse(optarg, a.remote)))
			continue;
		else if (opt == 'g')
			a.conf.xdp_mode = NTM_XDP_GENERIC;
		else
			break;
	}
	if (opt != -1 || !a.conf.runtime_dir || !a.uplink) {
		fprintf(stderr,
			"usage: dp_pair -d RUNTIME_DIR -u UPLINK -n NUMBER -p PEER_NUMBER -l LOCAL -r REMOTE [-g]\n"
			"virtual addresses: 100.96.0.NUMBER, fd4e:544d::NUMBER\n");
		return 2;
	}
	ntm_log_init("dp_pair", NTM_LOG_INFO);
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
	sigaction(SIGINT, &(struct sigaction){.sa_handler = on_signal}, NULL);
	sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_signal}, NULL);
	if (ntm_crypto_init() || ntm_dp_bpf_open(&dp, &a.conf, &events, NULL, why, sizeof(why))) {
		ntm_err("%s", why);
		return 1;
	}
	int err = start(dp, &a, why, sizeof(why));
	if (err) {
		ntm_err("%s%s%s", strerror(-err), why[0] ? ": " : "", why);
		dp->ops->close(dp, false);
		return 1;
	}
	while (!stop) {
		struct pollfd pfd = {.fd = dp->ops->fd(dp), .events = POLLIN};
		if (poll(&pfd, 1, -1) > 0)
			dp->ops->dispatch(dp);
		if (show)
			print_counters(dp);
		show = 0;
	}
	print_counters(dp);
	dp->ops->close(dp, false);
	return 0;
}
