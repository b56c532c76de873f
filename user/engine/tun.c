/* SPDX-License-Identifier: BSD-2-Clause */
#include "tun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum { TSO = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN, USO = TUN_F_USO4 | TUN_F_USO6 };

/* An older kernel refuses what it doesn't know: it then segments UDP itself, and is given none merged. */
static int set_offloads(struct ntm_tun *t)
{
	int hdr_len = sizeof(struct virtio_net_hdr);
	if (ioctl(t->fd, TUNSETVNETHDRSZ, &hdr_len))
		return -errno;
	t->uso = !ioctl(t->fd, TUNSETOFFLOAD, (unsigned long)(TSO | USO));
	return t->uso || !ioctl(t->fd, TUNSETOFFLOAD, (unsigned long)TSO) ? 0 : -errno;
}

int ntm_tun_open(struct ntm_tun *t, const char *name, bool multi)
{
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | (multi ? IFF_MULTI_QUEUE : 0))};
	*t = (struct ntm_tun){.fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), .vnet = true};
	if (t->fd < 0)
		return -errno;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	int err = ioctl(t->fd, TUNSETIFF, &ifr) ? -errno : set_offloads(t);
	if (err) {
		ntm_tun_close(t);
		return err;
	}
	memcpy(t->name, ifr.ifr_name, sizeof(t->name));
	return 0;
}

int ntm_tun_from_fd(struct ntm_tun *t, int fd)
{
	struct ifreq ifr = {0};
	*t = (struct ntm_tun){.fd = -1};
	if (ioctl(fd, TUNGETIFF, &ifr) || !(ifr.ifr_flags & IFF_TUN) || !(ifr.ifr_flags & IFF_NO_PI))
		return -EINVAL;
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return -errno;
	struct ntm_tun got = {.fd = fd, .vnet = ifr.ifr_flags & IFF_VNET_HDR};
	memcpy(got.name, ifr.ifr_name, sizeof(got.name));
	int err = got.vnet ? set_offloads(&got) : 0;
	if (err)
		return err;
	*t = got;
	return 0;
}

int ntm_tun_dup(const struct ntm_tun *t, bool write_only, struct ntm_tun *out)
{
	int fd = fcntl(t->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	*out = *t;
	out->fd = fd;
	out->write_only = write_only;
	return 0;
}

void ntm_tun_close(struct ntm_tun *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

ssize_t ntm_tun_read(struct ntm_tun *t, struct virtio_net_hdr *vh, uint8_t *packet, size_t cap)
{
	struct iovec iov[2] = {{vh, sizeof(*vh)}, {packet, cap}};
	ssize_t n;
	if (!t->vnet) {
		memset(vh, 0, sizeof(*vh));
		n = read(t->fd, packet, cap);
		return n < 0 ? -errno : n;
	}
	n = readv(t->fd, iov, 2);
	if (n < 0)
		return -errno;
	if (!n)
		return -EBADFD; /* no TUN, but a socket in its place, whose other end is closed */
	return n < (ssize_t)sizeof(*vh) ? -EBADMSG : n - (ssize_t)sizeof(*vh);
}

int ntm_tun_write(struct ntm_tun *t, const struct virtio_net_hdr *vh, struct iovec *iov, unsigned n)
{
	iov[0] = (struct iovec){(void *)vh, sizeof(*vh)};
	ssize_t done = t->vnet ? writev(t->fd, iov, (int)n) : writev(t->fd, iov + 1, (int)n - 1);
	return done < 0 ? -errno : 0;
}
