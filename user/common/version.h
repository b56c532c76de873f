/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef NTM_VERSION_H
#define NTM_VERSION_H

/* A package may set its own: make CPPFLAGS='-DNTM_VERSION=...'. */
#ifndef NTM_VERSION
#define NTM_VERSION "0.1.0"
#endif

#endif
