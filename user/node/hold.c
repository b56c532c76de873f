/* SPDX-License-Identifier: BSD-2-Clause */
#include "hold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ntm/limits.h>

static void forget(struct ntm_hold *h, unsigned i)
{
	free(h->q[i].packet);
	memmove(&h->q[i], &h->q[i + 1], (h->n - i - 1) * sizeof(h->q[0]));
	h->n--;
}

static void expire(struct ntm_hold *h, uint64_t now_ms)
{
	while (h->n && now_ms - h->q[0].at_ms > NTM_HOLD_MS) {
		forget(h, 0);
		h->dropped++;
	}
}

static unsigned destinations(const struct ntm_hold *h, const uint8_t dst[16])
{
	unsigned n = 0;

	for (unsigned i = 0; i < h->n; i++) {
		unsigned j = 0;

		if (!memcmp(h->q[i].dst, dst, 16))
			return 0;
		while (j < i && memcmp(h->q[j].dst, h->q[i].dst, 16))
			j++;
		n += j == i;
	}
	return n;
}

int ntm_hold_put(struct ntm_hold *h, const uint8_t dst[16], const void *packet, size_t len, uint64_t now_ms)
{
	struct ntm_held *slot;
	uint8_t *copy;

	if (len == 0 || len > NTM_INNER_MAX)
		return -EMSGSIZE;
	expire(h, now_ms);
	if (h->n == NTM_HOLD_PACKETS || destinations(h, dst) >= NTM_HOLD_DESTS) {
		h->dropped++;
		return -ENOSPC;
	}
	copy = malloc(len);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, packet, len);
	slot = &h->q[h->n++];
	memcpy(slot->dst, dst, 16);
	slot->packet = copy;
	slot->len = (uint16_t)len;
	slot->at_ms = now_ms;
	return 0;
}

void ntm_hold_take(struct ntm_hold *h, const uint8_t dst[16], void (*fn)(void *arg, const uint8_t *packet, size_t len),
		   void *arg)
{
	for (unsigned i = 0; i < h->n;) {
		if (memcmp(h->q[i].dst, dst, 16)) {
			i++;
			continue;
		}
		if (fn)
			fn(arg, h->q[i].packet, h->q[i].len);
		else
			h->dropped++;
		forget(h, i);
	}
}

void ntm_hold_drop(struct ntm_hold *h, const uint8_t dst[16])
{
	ntm_hold_take(h, dst, NULL, NULL);
}

void ntm_hold_clear(struct ntm_hold *h)
{
	while (h->n)
		forget(h, 0);
}
