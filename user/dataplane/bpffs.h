/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bpffs at RUNTIME_DIR/bpf that holds the pins. It has to outlive the agent, and `ip netns exec` and systemd's
 * sandboxing give the agent a mount namespace that dies with it: so it is mounted in init's mount namespace and used
 * through a file descriptor of its directory (/proc/self/fd/N/NAME), whether or not the mount shows up here.
 */
#ifndef NTM_BPFFS_H
#define NTM_BPFFS_H

#include <stdbool.h>
#include <stddef.h>

#define NTM_PIN_PATH_LEN 128

/*
 * One agent a runtime directory: locks RUNTIME_DIR/name for as long as the descriptor that it returns is open. -EBUSY:
 * the other `program` runs; why says so, as it says whatever else is wrong.
 */
int ntm_runtime_lock(const char *runtime_dir, const char *name, const char *program, char *why, size_t cap);

/*
 * What fails is reported by whoever asked for it, and libbpf also complains about what is tried and may fail: from now
 * on its words, the verifier's log among them, are for debugging.
 */
void ntm_libbpf_log(void);

/*
 * Opens it, mounting it (mode 0700) if need be. Returns the directory's descriptor or -errno with a sentence in why.
 * *lasting is false if it had to be mounted in a private mount namespace: a restarted agent won't find the pins.
 */
int ntm_bpffs_open(const char *runtime_dir, bool *lasting, char *why, size_t cap);
/* Unmounts and removes RUNTIME_DIR/bpf, in init's mount namespace too. -EPERM without CAP_SYS_ADMIN. */
int ntm_bpffs_remove(const char *runtime_dir);

/* Path of a pin, good for bpf_obj_pin and bpf_obj_get while dirfd is open; returns out. */
const char *ntm_pin_path(int dirfd, const char *name, char out[NTM_PIN_PATH_LEN]);
/* 0, also if there is none, or -errno. */
int ntm_pin_remove(int dirfd, const char *name);
/* Calls fn for each pin; fn may remove it. Stops at the first error of fn and returns it. */
int ntm_pin_foreach(int dirfd, int (*fn)(void *arg, const char *name), void *arg);

#endif
