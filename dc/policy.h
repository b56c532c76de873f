/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may ask for a path to whom. A text file, one statement a line, '#' begins a comment:
 *
 *   default deny                    # or allow, which is also what holds without this line
 *   group office = alice, bob, lab-*
 *   group office += carol           # names, patterns with '*' at their end, @groups from above
 *   allow @office -> servers, nas   # the first rule that fits decides
 *   allow alice <-> bob             # both ways
 *   deny * -> nas
 *
 * Names are labels of the zone. The rules are about who asks; a path that there is carries packets both ways.
 */
#ifndef NTM_DC_POLICY_H
#define NTM_DC_POLICY_H

#include <stdbool.h>
#include <stddef.h>

struct ntm_dc;
struct ntm_dc_node;
struct ntm_dc_policy;

/* 0, or -errno and err = "FILE:LINE: what is wrong". */
int ntm_dc_policy_load(const char *file, struct ntm_dc_policy **out, char *err, size_t cap);
/* The same of a text that is not empty; name is for messages. */
int ntm_dc_policy_parse(const char *text, const char *name, struct ntm_dc_policy **out, char *err, size_t cap);
void ntm_dc_policy_free(struct ntm_dc_policy *p);
/* May `from` ask for a path to `to`? Both labels, lower case; "" fits '*' only. NULL policy: yes. line: unless NULL,
 * that of the deciding rule, 0 if it was the default. */
bool ntm_dc_policy_allows(const struct ntm_dc_policy *p, const char *from, const char *to, unsigned *line);
/* Number of rules; NULL policy: 0. */
size_t ntm_dc_policy_rules(const struct ntm_dc_policy *p);

/* policy_apply.c: the DC's own */

/*
 * Takes the policy of this file, NULL: none. On failure the one before stays. Paths that are no longer allowed are
 * released. Where there are several processes, it is the policy of all of them, and they keep it in their store: one
 * that starts beside others takes theirs, whatever its file says.
 */
int ntm_dc_policy_set(struct ntm_dc *dc, const char *file, char *err, size_t cap);
/* Another process has taken one over. 0, also if it cannot be used here, or -EIO: to be called again. */
int ntm_dc_policy_from_store(struct ntm_dc *dc);
/* May either of the two, by their labels, ask for a path to the other? */
bool ntm_dc_pair_allowed(const struct ntm_dc *dc, const char *a, const char *b);
/* The node is back: what it has of paths that are no longer allowed is released. Else what the store answers. */
int ntm_dc_policy_recheck(struct ntm_dc *dc, struct ntm_dc_node *node);

#endif
