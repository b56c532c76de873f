/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The relays of the configuration. A relay is a node of this zone that the configuration let in; what it has besides,
 * load and state, is known only while it is there. The table is small: it is walked, not searched.
 */
#ifndef NTM_DC_RELAYS_H
#define NTM_DC_RELAYS_H

#include <stdbool.h>
#include <stdint.h>

#include "../user/common/conf.h"
#include "../user/common/signal_codec.h"

enum {
	NTM_DC_RELAYS_MAX = 64,
	NTM_DC_RELAY_KEEPALIVE_S = 3,
	NTM_DC_RELAY_LIFETIME_S = 10,
	NTM_DC_RTTS_MAX = NTM_RELAY_OFFERS_MAX,
};

struct ntm_dc;
struct ntm_dc_node;
struct ntm_dc_remotes;

enum ntm_dc_relay_state { NTM_DC_RELAY_OFFLINE, NTM_DC_RELAY_DRAINING, NTM_DC_RELAY_READY };

struct ntm_dc_relay {
	uint32_t id;  /* never given again by this process, never 0 */
	uint64_t bit; /* one that no other relay of the table has */
	struct ntm_relay_info info;
	uint8_t public_key[NTM_DH_LEN]; /* the one it uses, of those that it may */
	struct ntm_key_list keys;
	uint8_t probe_secret[NTM_KEY_LEN];
	struct ntm_dc_node *node; /* NULL: not registered since this process began */
	enum ntm_dc_relay_state state;
	struct ntm_load load; /* as last reported */
	uint32_t directed;    /* paths given to it since */
	uint64_t lost_ms;     /* when it refused a direction or left it unanswered last; 0: never */
};

struct ntm_dc_relays {
	struct ntm_dc_relay *items[NTM_DC_RELAYS_MAX]; /* in the order of dc.conf; those of a later reading behind */
	unsigned n;
	uint32_t last_id;
	uint32_t generation; /* of what nodes are offered */
};

/* A node's round trip to a relay. */
struct ntm_dc_rtt {
	uint32_t relay_id;
	uint32_t rtt_us; /* NTM_RELAY_RTT_NONE: no answer */
};

/*
 * The table as the configuration has it: lets in what is new, revokes what it names no longer. One that cannot be let
 * in (its name is another node's) is left out, and the log says why. 0, or -errno if the store or memory failed.
 */
int ntm_dc_relays_apply(struct ntm_dc *dc, const struct ntm_dc_remotes *conf);
void ntm_dc_relays_free(struct ntm_dc_relays *rs);
struct ntm_dc_relay *ntm_dc_relay_by_id(const struct ntm_dc_relays *rs, uint32_t id);
struct ntm_dc_relay *ntm_dc_relay_by_key(const struct ntm_dc_relays *rs, const uint8_t key[NTM_DH_LEN]);
/* The one that may have this key, whether it uses it or not. */
struct ntm_dc_relay *ntm_dc_relay_may_use(const struct ntm_dc_relays *rs, const uint8_t key[NTM_DH_LEN]);
struct ntm_dc_relay *ntm_dc_relay_by_name(const struct ntm_dc_relays *rs, const char *label);

/*
 * It uses another one of its keys from now on, which is no node's. 0, or -errno, and then nothing has changed.
 */
int ntm_dc_relay_rekey(struct ntm_dc *dc, struct ntm_dc_relay *r, const uint8_t key[NTM_DH_LEN]);

/* Its node came, went, reported: finds the state anew. */
void ntm_dc_relay_update(struct ntm_dc *dc, struct ntm_dc_relay *r);
void ntm_dc_relay_report(struct ntm_dc *dc, struct ntm_dc_relay *r, const struct ntm_load *load);
/* Silent ones go offline; to be called every second. */
void ntm_dc_relays_expire(struct ntm_dc *dc);

/* RELAY_OFFER for a node: those that are there, draining ones last. */
void ntm_dc_relay_offers(const struct ntm_dc_relays *rs, const struct ntm_dc_node *node, struct ntm_sig *m);
/* Remembers what a node measured; names that are no relay's are skipped. */
void ntm_dc_relay_rtts(const struct ntm_dc_relays *rs, struct ntm_dc_node *node, const struct ntm_relay_rtt *rtts,
		       unsigned n);
static inline bool ntm_dc_relay_is_gateway(const struct ntm_dc_relay *r)
{
	return r->load.flags & NTM_LOAD_GATEWAY;
}

/* relay_choice.c */
struct ntm_dc_relay_wish {
	const struct ntm_dc_node *ends[2];  /* the second is NULL for a gateway, and for an end that is not known yet */
	uint64_t refused;                   /* bits of relays that are out of the question */
	const struct ntm_dc_relay *suspect; /* taken only if there is no other; may be NULL */
	bool gateway;                       /* it must be one */
};
/*
 * The relay with the least sum of both round trips and of what its load is worth; of equals the first by name. NULL:
 * there is none. Depends on nothing but the arguments.
 */
struct ntm_dc_relay *ntm_dc_relay_choose(const struct ntm_dc_relays *rs, const struct ntm_dc_relay_wish *wish);
/* Has this node, by the addresses that it is known by, a family in common with the relay? */
bool ntm_dc_relay_shares_family(const struct ntm_dc_node *n, const struct ntm_relay_info *info);
uint64_t ntm_dc_relay_load_us(const struct ntm_dc_relay *r); /* the load's worth in microseconds */

#endif
