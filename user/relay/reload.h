/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef NTM_RELAY_RELOAD_H
#define NTM_RELAY_RELOAD_H

struct ntm_relay;

/* SIGHUP: takes what of relay.conf can change while running, and says what cannot. A wrong file changes nothing. */
void ntm_relay_reload(struct ntm_relay *r);

#endif
