/* SPDX-License-Identifier: BSD-2-Clause */
/* The replay window: as node_decap uses it, and the same code compiled for user space, against a plain model. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "../../bpf/lib/replay.h"
#include "fixture.h"

enum { DROP = 1, REDIRECT = 4 };

/* What RFC 6479 promises, without its bitmap: remembers every counter ever accepted. */
#define MODEL_MAX 200000

struct model {
	uint64_t head;
	bool seen[MODEL_MAX];
};

static enum ntm_replay model_accept(struct model *m, uint64_t ctr)
{
	if (ctr + NTM_REPLAY_WINDOW < m->head)
		return NTM_REPLAY_OLD;
	if (m->seen[ctr])
		return NTM_REPLAY_SEEN;
	m->seen[ctr] = true;
	if (ctr >= m->head)
		m->head = ctr + 1;
	return NTM_REPLAY_OK;
}

static enum ntm_replay accept(struct ntm_rx_epoch *rx, uint64_t ctr)
{
	enum ntm_replay said = ntm_replay_check(rx, ctr), did;
	int newest = -1;
	uint64_t head = rx->head;

	did = ntm_replay_accept(rx, ctr, &newest);
	cr_expect_eq(said, did, "check says %d, accept %d for %lu", said, did, (unsigned long)ctr);
	if (did == NTM_REPLAY_OK)
		cr_expect_eq(newest, ctr >= head);
	return did;
}

Test(bpf_replay, edges)
{
	static struct ntm_rx_epoch rx;

	for (uint64_t base = 0; base < 3; base++) {
		uint64_t top = 100000 + base * 31 + (base == 2 ? 1ull << 33 : 0);

		memset(&rx, 0, sizeof(rx));
		cr_expect_eq(accept(&rx, top), NTM_REPLAY_OK);
		cr_expect_eq(accept(&rx, top), NTM_REPLAY_SEEN);
		cr_expect_eq(accept(&rx, top - 2047), NTM_REPLAY_OK, "the 2,048th counter from the top");
		cr_expect_eq(accept(&rx, top - 2047), NTM_REPLAY_SEEN);
		cr_expect_eq(accept(&rx, top - 2048), NTM_REPLAY_OLD);
		cr_expect_eq(accept(&rx, 0), NTM_REPLAY_OLD);
		cr_expect_eq(accept(&rx, top + 1), NTM_REPLAY_OK);
		cr_expect_eq(accept(&rx, top - 2046), NTM_REPLAY_OK);
		cr_expect_eq(accept(&rx, top - 2047), NTM_REPLAY_OLD);
	}
	memset(&rx, 0, sizeof(rx));
	cr_expect_eq(accept(&rx, 0), NTM_REPLAY_OK);
	cr_expect_eq(accept(&rx, 0), NTM_REPLAY_SEEN);
	cr_expect_eq(accept(&rx, NTM_COUNTER_LIMIT), NTM_REPLAY_OLD);
	cr_expect_eq(accept(&rx, NTM_COUNTER_LIMIT - 1), NTM_REPLAY_OK);
	cr_expect_eq(accept(&rx, NTM_COUNTER_LIMIT - 1), NTM_REPLAY_SEEN);
	cr_expect_eq(accept(&rx, NTM_COUNTER_LIMIT), NTM_REPLAY_OLD);
	cr_expect_eq(rx.head, NTM_COUNTER_LIMIT);
}

Test(bpf_replay, whole_window_backwards)
{
	static struct ntm_rx_epoch rx;

	for (int i = NTM_REPLAY_WINDOW - 1; i >= 0; i--)
		cr_expect_eq(accept(&rx, 5000 + i), NTM_REPLAY_OK, "%d", i);
	for (int i = NTM_REPLAY_WINDOW - 1; i >= 0; i--)
		cr_expect_eq(accept(&rx, 5000 + i), NTM_REPLAY_SEEN, "%d", i);
}

Test(bpf_replay, random_against_model)
{
	static const uint64_t spread[] = {4, 40, 500, 2040, 2056, 2200, 9000};
	static struct ntm_rx_epoch rx;
	static struct model m;
	unsigned int seed = 1;

	for (int i = 0; i < 400000; i++) {
		uint64_t w = spread[rand_r(&seed) % 7], ctr;
		enum ntm_replay want;

		ctr = m.head + rand_r(&seed) % (w / 40 + 2);
		ctr -= ctr < w ? ctr : rand_r(&seed) % w;
		if (rand_r(&seed) % 5000 == 0)
			ctr = m.head + rand_r(&seed) % 7000; /* over several windows */
		if (ctr >= MODEL_MAX) {
			memset(&rx, 0, sizeof(rx));
			memset(&m, 0, sizeof(m));
			continue;
		}
		want = model_accept(&m, ctr);
		cr_assert_eq(accept(&rx, ctr), want, "step %d, counter %lu, head %lu", i, (unsigned long)ctr,
			     (unsigned long)m.head);
		cr_assert_eq(rx.head, m.head);
	}
}

/* Two threads offer the same counters: each is accepted once, and in both orders nothing in the window is lost. */
#define RACE (1 << 20)

struct racer {
	struct ntm_rx_epoch *rx;
	uint8_t *taken;
	unsigned int seed;
};

static void *race(void *arg)
{
	struct racer *r = arg;
	int newest;

	for (uint64_t c = 0; c < RACE; c++) {
		uint64_t ctr = c ^ (rand_r(&r->seed) & 255);

		if (ntm_replay_accept(r->rx, ctr, &newest) == NTM_REPLAY_OK)
			__sync_fetch_and_add(&r->taken[ctr], 1);
		if (ntm_replay_accept(r->rx, c, &newest) == NTM_REPLAY_OK)
			__sync_fetch_and_add(&r->taken[c], 1);
	}
	return NULL;
}

Test(bpf_replay, two_threads)
{
	static struct ntm_rx_epoch rx;
	uint8_t *taken = calloc(RACE + 256, 1);
	struct racer r[2] = {{&rx, taken, 1}, {&rx, taken, 2}};
	pthread_t t[2];
	size_t twice = 0;
	uint64_t top = 0;

	for (int i = 0; i < 2; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, race, &r[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	for (uint64_t c = 0; c < RACE; c++) {
		twice += taken[c] > 1;
		if (taken[c])
			top = c;
	}
	cr_expect_eq(twice, 0, "%zu counters accepted twice", twice);
	cr_expect_eq(rx.head, top + 1);
	for (uint64_t c = RACE - 1024; c < RACE; c++)
		cr_expect_eq(taken[c], 1, "counter %lu in the window, accepted %u times", (unsigned long)c, taken[c]);
	free(taken);
}

/* The same through the program, and agreement with the agent on one window. */
Test(bpf_replay, through_the_program)
{
	static struct model m;
	static struct fx f;
	struct ntm_rx_epoch *rx;
	unsigned int seed = 7;

	fx_open(&f, FX_ALICE, 0);
	rx = &fx_path(&f)->rx[FX_EPOCH & 1];
	for (int i = 0; i < 3000; i++) {
		uint64_t ctr = m.head + rand_r(&seed) % 60, back = rand_r(&seed) % 2 ? rand_r(&seed) % 2300 : 0;
		struct fx_frame p;
		enum ntm_replay want;
		size_t wire;
		const char *why;
		int action;

		ctr -= back < ctr ? back : ctr;
		want = model_accept(&m, ctr);
		if (rand_r(&seed) % 4 == 0) { /* this one comes to the agent's socket */
			cr_assert_eq(accept(rx, ctr), want);
			continue;
		}
		fx_sealed_inner(&f, &p, &(struct fx_outer){.counter = ctr}, &(struct fx_inner){.payload = 8});
		wire = p.len;
		action = fx_decap(&f, &p);
		cr_assert_eq(action, want == NTM_REPLAY_OK ? REDIRECT : DROP, "step %d: %d", i, action);
		why = fx_only(&f,
			      want == NTM_REPLAY_OK    ? NTM_R_RX_OK
			      : want == NTM_REPLAY_OLD ? NTM_R_RX_TOO_OLD
						       : NTM_R_RX_REPLAY,
			      wire, false);
		cr_assert_null(why, "step %d, counter %lu: %s", i, (unsigned long)ctr, why);
		cr_assert_eq(rx->head, m.head);
	}
	fx_close(&f);
}

Test(bpf_replay, epochs_have_windows_of_their_own)
{
	static struct fx f;
	struct fx_frame p;

	fx_open(&f, FX_ALICE, 0);
	fx_set_epoch(&f, FX_EPOCH + 1);
	for (int epoch = FX_EPOCH; epoch <= FX_EPOCH + 1; epoch++) {
		fx_sealed_inner(&f, &p, &(struct fx_outer){.counter = 77, .epoch = epoch},
				&(struct fx_inner){.payload = 8});
		cr_expect_eq(fx_decap(&f, &p), REDIRECT);
	}
	fx_close(&f);
}
