/* SPDX-License-Identifier: BSD-2-Clause */
/* `ntm dc backup FILE`: a copy of the SQLite store as it is at one moment, made by another thread meanwhile. */
#ifndef NTM_DC_BACKUP_H
#define NTM_DC_BACKUP_H

struct ntm_ctl_client;
struct ntm_dc;

/* Answers the client when it is done, or at once if it cannot begin. file: absolute; must not exist. */
void ntm_dc_backup(struct ntm_dc *dc, struct ntm_ctl_client *c, const char *file);
void ntm_dc_backup_closed(struct ntm_dc *dc, const struct ntm_ctl_client *c); /* the client went away */

#endif
