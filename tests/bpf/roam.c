/* SPDX-License-Identifier: BSD-2-Clause */
/* What authenticated packets change: the peer's endpoint, and the epoch in use. */
#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#include <criterion/criterion.h>

#include "fixture.h"

enum { DROP = 1, REDIRECT = 4, TC_REDIRECTED = 7 };

static struct fx f;
static struct ntm_path *path;

static void setup(void)
{
	fx_open(&f, FX_ALICE, 0);
	path = fx_path(&f);
}

static void teardown(void)
{
	fx_close(&f);
}

TestSuite(bpf_roam, .init = setup, .fini = teardown);

static const struct ntm_endpoint *current(void)
{
	return &path->ep[path->ep_cur & 1];
}

static int receive(struct fx_outer o, bool bad_tag)
{
	struct fx_frame p;

	fx_sealed_inner(&f, &p, &o, &(struct fx_inner){.payload = 20});
	if (bad_tag)
		p.data[p.len - 1] ^= 1;
	return fx_decap(&f, &p);
}

Test(bpf_roam, address_port_and_family)
{
	static const struct fx_outer moves[] = {
	    {.counter = 1, .last_octet = 77},
	    {.counter = 2, .last_octet = 77, .sport = 1024},
	    {.counter = 3, .v6 = true, .sport = 1024},
	    {.counter = 4, .v6 = true, .last_octet = 9},
	    {.counter = 5},
	};

	path->ep[0].uplink = 3;
	for (size_t i = 0; i < sizeof(moves) / sizeof(*moves); i++) {
		uint8_t want[16];
		const struct ntm_event *ev = &f.events[0];
		uint16_t port = htons(moves[i].sport ?: NTM_PORT);

		memcpy(want, fx_real(FX_BOB, moves[i].v6), 16);
		if (moves[i].last_octet)
			want[15] = moves[i].last_octet;
		cr_assert_eq(receive(moves[i], false), REDIRECT);
		cr_expect_eq(fx_counted(&f, NTM_R_RX_ROAMED, NULL), 1);
		cr_expect_eq(fx_counted(&f, NTM_R_RX_OK, NULL), 1);
		cr_expect_eq(path->roams, i + 1);
		cr_expect_arr_eq(current()->addr, want, 16);
		cr_expect_eq(current()->port, port);
		cr_expect_eq(current()->is_ipv6, moves[i].v6);
		cr_expect_eq(current()->uplink, 3);
		cr_expect_eq(path->ep_lock, 0);
		cr_assert_eq(f.n_events, 1);
		cr_expect_eq(ev->type, NTM_EV_ROAMED);
		cr_expect_eq(be64toh(ev->path_id), FX_PATH_ID);
		cr_expect_arr_eq(ev->addr, want, 16);
		cr_expect_eq(ev->port, port);
		cr_expect_eq(ev->len, 0);
	}
}

Test(bpf_roam, sending_follows)
{
	struct fx_frame p;

	cr_assert_eq(receive((struct fx_outer){.counter = 1, .v6 = true, .last_octet = 9, .sport = 5000}, false),
		     REDIRECT);
	fx_clear_frame(&f, &p, &(struct fx_inner){.payload = 20});
	cr_assert_eq(fx_encap(&f, &p), TC_REDIRECTED);
	cr_expect_eq(p.data[14] >> 4, 6);
	cr_expect_eq(p.data[14 + 39], 9);
	cr_expect_eq(p.data[14 + 42] << 8 | p.data[14 + 43], 5000);
}

Test(bpf_roam, only_on_the_newest_authenticated_packet)
{
	struct ntm_endpoint was = *current();

	cr_assert_eq(receive((struct fx_outer){.counter = 100}, false), REDIRECT);
	cr_expect_eq(path->roams, 0);
	/* late, from another address */
	cr_assert_eq(receive((struct fx_outer){.counter = 99, .last_octet = 77}, false), REDIRECT);
	cr_expect_null(fx_only(&f, NTM_R_RX_OK, 114, false));
	/* newest, but forged */
	cr_assert_eq(receive((struct fx_outer){.counter = 101, .last_octet = 77}, true), DROP);
	/* recorded, sent again from elsewhere */
	cr_assert_eq(receive((struct fx_outer){.counter = 100, .last_octet = 77}, false), DROP);
	cr_expect_eq(path->roams, 0);
	cr_expect_eq(memcmp(&was, current(), sizeof(was)), 0);
	/* somebody else holds the lock: the packet is delivered, the next one moves it */
	path->ep_lock = 1;
	cr_assert_eq(receive((struct fx_outer){.counter = 102, .last_octet = 77}, false), REDIRECT);
	cr_expect_eq(path->roams, 0);
	cr_expect_eq(path->ep_lock, 1);
	path->ep_lock = 0;
	cr_assert_eq(receive((struct fx_outer){.counter = 103, .last_octet = 77}, false), REDIRECT);
	cr_expect_eq(path->roams, 1);
}

Test(bpf_roam, keepalive_moves_too)
{
	struct fx_frame p;

	fx_sealed_frame(&f, &p, &(struct fx_outer){.counter = 1, .last_octet = 77}, "", 0);
	cr_expect_eq(fx_decap(&f, &p), DROP);
	cr_expect_eq(fx_counted(&f, NTM_R_RX_KEEPALIVE, NULL), 1);
	cr_expect_eq(current()->addr[15], 77);
}

Test(bpf_roam, epoch_confirmed_by_the_peers_first_packet)
{
	struct ntm_rx_epoch *old = &path->rx[FX_EPOCH & 1];
	uint64_t now;

	fx_set_epoch(&f, 2);
	path->next_epoch = 2;

	/* the old epoch goes on until then, a forged packet changes nothing */
	cr_assert_eq(receive((struct fx_outer){.counter = 0}, false), REDIRECT);
	cr_assert_eq(receive((struct fx_outer){.epoch = 2}, true), DROP);
	cr_expect_eq(path->tx_epoch, 1);
	cr_expect_eq(path->next_epoch, 2);

	now = fx_now();
	cr_assert_eq(receive((struct fx_outer){.epoch = 2, .counter = 5}, false), REDIRECT);
	cr_expect_eq(path->tx_epoch, 2);
	cr_expect_eq(path->next_epoch, 16);
	cr_assert_eq(f.n_events, 1);
	cr_expect_eq(f.events[0].type, NTM_EV_EPOCH);
	cr_expect_eq(f.events[0].epoch, 2);
	cr_expect_eq(be64toh(f.events[0].path_id), FX_PATH_ID);
	cr_expect_geq(old->expires_ns, now + 3000000000ull);
	cr_expect_leq(old->expires_ns, fx_now() + 3000000000ull);

	/* in the grace time both are accepted; once */
	cr_expect_eq(receive((struct fx_outer){.counter = 1}, false), REDIRECT);
	cr_expect_eq(f.n_events, 0);
	cr_expect_eq(receive((struct fx_outer){.epoch = 2, .counter = 6}, false), REDIRECT);
	cr_expect_eq(f.n_events, 0);
	old->expires_ns = fx_now();
	cr_expect_eq(receive((struct fx_outer){.counter = 2}, false), DROP);
	cr_expect_eq(fx_counted(&f, NTM_R_RX_NO_KEY, NULL), 1);
}

Test(bpf_roam, grace_never_prolongs)
{
	struct ntm_rx_epoch *old = &path->rx[FX_EPOCH & 1];
	uint64_t soon = fx_now() + 1000000000ull;

	fx_set_epoch(&f, 2);
	path->next_epoch = 2;
	old->expires_ns = soon;
	cr_assert_eq(receive((struct fx_outer){.epoch = 2}, false), REDIRECT);
	cr_expect_eq(old->expires_ns, soon);
}

Test(bpf_roam, epoch_wraps)
{
	struct fx_frame p;

	fx_set_epoch(&f, 15);
	path->tx_epoch = 15;
	fx_set_epoch(&f, 0);
	path->next_epoch = 0;
	{
		/* epoch 0 is real: fx_outer's 0 stands for the default, so seal by hand */
		uint8_t key[NTM_KEY_LEN], d[32];
		struct ntm_hdr h = {.ver_type = 0x1b, .suite_epoch = 0, .id = htobe64(FX_PATH_ID)};

		memcpy(d, &h, sizeof(h));
		fx_key(FX_BOB, 0, key);
		cr_assert_eq(fx_aead(true, key, &h, d + 16, 0, d + 16), 0);
		fx_udp_frame(&f, &p, &(struct fx_outer){}, d, sizeof(d));
	}
	cr_assert_eq(fx_decap(&f, &p), DROP);
	cr_expect_eq(fx_counted(&f, NTM_R_RX_KEEPALIVE, NULL), 1);
	cr_expect_eq(path->tx_epoch, 0);
}
