/* SPDX-License-Identifier: BSD-2-Clause */
/* A TUN device, one queue of it: whole IP packets, with a struct virtio_net_hdr where the device has that. */
#ifndef NTM_ENGINE_TUN_H
#define NTM_ENGINE_TUN_H

#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct ntm_tun {
	int fd;
	bool vnet;       /* IFF_VNET_HDR: super-packets come and go */
	bool uso;        /* UDP super-packets, too (Linux 6.2) */
	bool write_only; /* somebody else reads this queue */
	char name[IFNAMSIZ];
};

/*
 * Creates (or opens another queue of) name, with IFF_MULTI_QUEUE if multi. Non-blocking, close on exec; gone with its
 * last descriptor. 0 or -errno (-EPERM: CAP_NET_ADMIN, -ENOENT: no /dev/net/tun).
 */
int ntm_tun_open(struct ntm_tun *t, const char *name, bool multi);
/* Takes a descriptor that somebody else opened: learns what it can. 0, -EINVAL: no TUN (or a TAP); fd stays open. */
int ntm_tun_from_fd(struct ntm_tun *t, int fd);
/* The same queue once more. write_only: who has that one doesn't read. 0 or -errno. */
int ntm_tun_dup(const struct ntm_tun *t, bool write_only, struct ntm_tun *out);
void ntm_tun_close(struct ntm_tun *t);

/* One packet. Its length, -EAGAIN: none; -EBADFD: the device is gone; -EBADMSG: shorter than its header. */
ssize_t ntm_tun_read(struct ntm_tun *t, struct virtio_net_hdr *vh, uint8_t *packet, size_t cap);
/* iov[0] is free for the header, the packet is in iov[1] to iov[n - 1]. 0 or -errno. */
int ntm_tun_write(struct ntm_tun *t, const struct virtio_net_hdr *vh, struct iovec *iov, unsigned n);

#endif
