/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Integer types for headers that both BPF programs and user space include.
 * BPF takes them from vmlinux.h, user space from the kernel's uapi headers.
 */
#ifndef NTM_TYPES_H
#define NTM_TYPES_H

#ifndef __bpf__
#include <assert.h>
#include <linux/types.h>
#include <stddef.h>
#else
/* libbpf's own offsetof is no constant expression for static_assert. */
#undef offsetof
#define offsetof(type, member) __builtin_offsetof(type, member)
#ifndef static_assert
#define static_assert _Static_assert
#endif
#endif

#define NTM_ASSERT_SIZE(type, size) static_assert(sizeof(type) == (size), "size of " #type)
#define NTM_ASSERT_OFFSET(type, member, off) \
	static_assert(offsetof(type, member) == (off), "offset of " #type "." #member)

#endif
