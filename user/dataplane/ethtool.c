/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ethtool.h"

static int ethtool(int fd, const char *ifname, void *data)
{
	struct ifreq ifr = {.ifr_data = data};
	strncpy(ifr.ifr_name, ifname, sizeof(ifr.ifr_name) - 1);
	return ioctl(fd, SIOCETHTOOL, &ifr) < 0 ? -errno : 0;
}

/* Names of the feature bits, ETH_GSTRING_LEN bytes each; the caller frees. */
static int feature_names(int fd, const char *ifname, struct ethtool_gstrings **out)
{
	struct {
		struct ethtool_sset_info info;
		uint32_t count;
	} sset = {.info = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES}};
	int err = ethtool(fd, ifname, &sset);
	if (err)
		return err;
	uint32_t n = sset.info.sset_mask ? sset.count : 0;
	struct ethtool_gstrings *s = calloc(1, sizeof(*s) + (size_t)n * ETH_GSTRING_LEN);
	if (!s)
		return -ENOMEM;
	s->cmd = ETHTOOL_GSTRINGS;
	s->string_set = ETH_SS_FEATURES;
	s->len = n;
	err = n ? ethtool(fd, ifname, s) : -EOPNOTSUPP;
	if (err) {
		free(s);
		return err;
	}
	*out = s;
	return 0;
}

static const char *feature_name(const struct ethtool_gstrings *s, uint32_t i)
{
	return (const char *)s->data + (size_t)i * ETH_GSTRING_LEN;
}

static bool matches(const char *pattern, const char *name)
{
	size_t n = strlen(pattern);
	if (n && pattern[n - 1] == '*')
		return !strncmp(pattern, name, n - 1);
	return !strncmp(pattern, name, ETH_GSTRING_LEN);
}

/* ETHTOOL_GFEATURES; the caller frees. */
static int features_get(int fd, const char *ifname, uint32_t n, struct ethtool_gfeatures **out)
{
	uint32_t blocks = (n + 31) / 32;
	struct ethtool_gfeatures *g = calloc(1, sizeof(*g) + blocks * sizeof(g->features[0]));
	if (!g)
		return -ENOMEM;
	g->cmd = ETHTOOL_GFEATURES;
	g->size = blocks;
	int err = ethtool(fd, ifname, g);
	if (err) {
		free(g);
		return err;
	}
	*out = g;
	return 0;
}

static int features_set(int fd, const char *ifname, const struct ethtool_gstrings *names,
			const struct ethtool_gfeatures *have, const struct ntm_feature *f, size_t n)
{
	uint32_t blocks = (names->len + 31) / 32;
	struct ethtool_sfeatures *s = calloc(1, sizeof(*s) + blocks * sizeof(s->features[0]));
	if (!s)
		return -ENOMEM;
	s->cmd = ETHTOOL_SFEATURES;
	s->size = blocks;
	for (uint32_t i = 0; i < names->len; i++) {
		uint32_t bit = 1u << i % 32;
		const struct ethtool_get_features_block *b = &have->features[i / 32];
		if (!(b->available & bit) || (b->never_changed & bit))
			continue;
		for (size_t k = 0; k < n; k++) {
			if (!matches(f[k].name, feature_name(names, i)))
				continue;
			s->features[i / 32].valid |= bit;
			if (f[k].on)
				s->features[i / 32].requested |= bit;
			break;
		}
	}
	int err = ethtool(fd, ifname, s);
	free(s);
	return err;
}

int ntm_ethtool_features(const char *ifname, const struct ntm_feature *f, size_t n)
{
	struct ethtool_gstrings *names = NULL;
	struct ethtool_gfeatures *have = NULL;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int err = feature_names(fd, ifname, &names);
	if (!err)
		err = features_get(fd, ifname, names->len, &have);
	if (!err)
		err = features_set(fd, ifname, names, have, f, n);
	free(names);
	free(have);
	close(fd);
	return err;
}

int ntm_ethtool_feature_get(const char *ifname, const char *name)
{
	struct ethtool_gstrings *names = NULL;
	struct ethtool_gfeatures *have = NULL;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int err = feature_names(fd, ifname, &names);
	if (!err)
		err = features_get(fd, ifname, names->len, &have);
	if (!err) {
		err = -ENOENT;
		for (uint32_t i = 0; i < names->len; i++)
			if (matches(name, feature_name(names, i)))
				err = have->features[i / 32].active >> i % 32 & 1;
	}
	free(names);
	free(have);
	close(fd);
	return err;
}

bool ntm_ethtool_driver_is(const char *ifname, const char *driver)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	int err = ethtool(fd, ifname, &info);
	close(fd);
	return !err && !strncmp(info.driver, driver, sizeof(info.driver));
}
