/* SPDX-License-Identifier: BSD-2-Clause */
/* Offload features of an interface by the kernel's names, as `ethtool -k` prints them (SIOCETHTOOL). */
#ifndef NTM_ETHTOOL_H
#define NTM_ETHTOOL_H

#include <stdbool.h>
#include <stddef.h>

struct ntm_feature {
	const char *name; /* exact, or a prefix that ends in '*' */
	bool on;
};

/* Features that the kernel doesn't know or that are fixed are left alone. 0 or -errno. */
int ntm_ethtool_features(const char *ifname, const struct ntm_feature *f, size_t n);
/* 1 on, 0 off, -ENOENT: no such feature, or -errno. */
int ntm_ethtool_feature_get(const char *ifname, const char *name);
/* False also if the driver does not say its name. */
bool ntm_ethtool_driver_is(const char *ifname, const char *driver);

#endif
