/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef NTM_VERSION_H
#define NTM_VERSION_H

/* The Makefile says it; this is for a file that is compiled by hand. */
#ifndef NTM_VERSION
#define NTM_VERSION "0.1.0"
#endif

#endif
