/* SPDX-License-Identifier: BSD-2-Clause */
/* Datagrams in batches, over the loopback interface. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "../../user/engine/udpio.h"

static struct ntm_udp_tx tx;
static struct ntm_udp_rx rx;
static int from_fd, to_fd;
static struct ntm_udp_to dst;

static struct ntm_addr bound(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct ntm_addr a;
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	cr_assert_eq(ntm_addr_from_sockaddr(&a, (struct sockaddr *)&ss), 0);
	return a;
}

static void begin(bool v6)
{
	static const uint8_t lo6[16] = {[15] = 1};
	from_fd = ntm_udp_data_socket(v6, 0, 0);
	to_fd = ntm_udp_data_socket(v6, 0, 0);
	cr_assert(from_fd >= 0 && to_fd >= 0, "%d %d", from_fd, to_fd);
	dst = (struct ntm_udp_to){.to = bound(to_fd), .tos = 0xb8 | 2};
	if (v6)
		memcpy(dst.to.ip, lo6, 16);
	else
		ntm_ip_from_v4(dst.to.ip, (uint8_t[]){127, 0, 0, 1});
	memcpy(dst.src, dst.to.ip, 16);
	ntm_udp_tx_init(&tx, v6 ? -1 : from_fd, v6 ? from_fd : -1);
}

static void end(void)
{
	close(from_fd);
	close(to_fd);
}

static void put(size_t len, uint8_t fill)
{
	uint8_t *p = ntm_udp_tx_room(&tx, &dst, len);
	memset(p, fill, len);
	ntm_udp_tx_add(&tx, len);
}

/* Reads n datagrams and checks that they are those of put(len(i), i). */
static unsigned expect(unsigned n, size_t (*len)(unsigned i))
{
	unsigned got = 0, buffers = 0;
	while (got < n) {
		struct pollfd p = {.fd = to_fd, .events = POLLIN};
		cr_assert_eq(poll(&p, 1, 5000), 1, "%u of %u", got, n);
		int k = ntm_udp_rx(&rx, to_fd);
		cr_assert_geq(k, 0);
		for (int i = 0; i < k; i++) {
			const struct ntm_udp_in *in = &rx.in[i];
			buffers++;
			cr_assert_eq(in->tos, dst.tos);
			cr_assert_eq(in->from.port, bound(from_fd).port);
			cr_assert(!memcmp(in->to, dst.to.ip, 16));
			for (size_t off = 0; off < in->len; off += in->seg, got++) {
				size_t l = in->len - off < in->seg ? in->len - off : in->seg;
				cr_assert_eq(l, len(got), "datagram %u: %zu bytes", got, l);
				cr_assert_eq(in->data[off], (uint8_t)got);
				cr_assert_eq(in->data[off + l - 1], (uint8_t)got);
			}
		}
	}
	return buffers;
}

static size_t same(unsigned i)
{
	(void)i;
	return 1400;
}
static size_t last_short(unsigned i)
{
	return i % 10 == 9 ? 77 : 1400;
}
static size_t mixed(unsigned i)
{
	return 1 + i * 37 % 1400;
}

Test(udpio, both_families)
{
	size_t (*kinds[])(unsigned) = {same, last_short, mixed};
	for (int v6 = 0; v6 < 2; v6++)
		for (int k = 0; k < 3; k++)
			for (int gso = 0; gso < 2; gso++) {
				begin(v6);
				tx.no_gso4 = tx.no_gso6 = !gso;
				for (unsigned i = 0; i < 100; i++)
					put(kinds[k](i), (uint8_t)i);
				ntm_udp_tx_flush(&tx);
				cr_assert_eq(tx.sent, 100);
				cr_assert_eq(tx.errors, 0);
				/* 46 of 1,400 bytes fill a send. */
				if (gso && k == 0)
					cr_assert_eq(tx.sends, 3);
				if (gso && k == 1)
					cr_assert_eq(tx.sends, 10);
				if (!gso)
					cr_assert_eq(tx.sends, 100);
				expect(100, kinds[k]);
				end();
			}
}

Test(udpio, at_most_64_of_them)
{
	begin(false);
	for (unsigned i = 0; i < 200; i++)
		put(64, (uint8_t)i);
	ntm_udp_tx_flush(&tx);
	cr_assert_eq(tx.sends, 4);
	cr_assert_eq(tx.sent, 200);
	end();
}

Test(udpio, another_destination_or_tos_is_another_send)
{
	begin(false);
	put(100, 0);
	dst.tos = 0;
	put(100, 1);
	struct ntm_addr to = dst.to;
	dst.to.port ^= htons(1);
	put(100, 2);
	dst.to = to;
	put(100, 3);
	ntm_udp_tx_flush(&tx);
	cr_assert_eq(tx.sends, 4);
	end();
}

/* Both go as they are, in batches: what can't leave a second time is no error. */
Test(udpio, copies_leave_from_the_other_address)
{
	static const uint8_t from[2] = {1, 2};
	begin(false);
	dst.copy.ifindex = 1;
	ntm_ip_from_v4(dst.copy.src, (uint8_t[]){127, 0, 0, 2});
	for (uint8_t i = 0; i < 10; i++)
		put(700, i);
	ntm_udp_tx_flush(&tx);
	cr_assert_eq(tx.sent, 10);
	cr_assert_eq(tx.copies, 10);
	cr_assert_eq(tx.sends, 2);
	unsigned seen[2] = {0};
	while (seen[0] < 10 || seen[1] < 10) {
		struct pollfd p = {.fd = to_fd, .events = POLLIN};
		cr_assert_eq(poll(&p, 1, 5000), 1, "%u and %u", seen[0], seen[1]);
		int n = ntm_udp_rx(&rx, to_fd);
		cr_assert_gt(n, 0);
		for (int i = 0; i < n; i++) {
			struct ntm_udp_in *in = &rx.in[i];
			unsigned which = in->from.ip[15] == from[1];
			cr_assert_eq(in->from.ip[15], from[which]);
			for (size_t off = 0; off < in->len; off += in->seg, seen[which]++)
				for (size_t k = off; k < off + 700; k++)
					cr_assert_eq(in->data[k], seen[which]);
		}
	}
	cr_assert(seen[0] == 10 && seen[1] == 10);
	/* From nowhere. */
	ntm_ip_from_v4(dst.copy.src, (uint8_t[]){192, 0, 2, 1});
	put(700, 0);
	ntm_udp_tx_flush(&tx);
	cr_assert_eq(tx.sent, 11);
	cr_assert_eq(tx.copies, 10);
	cr_assert_eq(tx.errors, 0);
	end();
}

Test(udpio, errors_are_counted)
{
	begin(false);
	int fd = tx.fd4;
	tx.fd4 = -1;
	put(100, 0);
	put(100, 1);
	ntm_udp_tx_flush(&tx);
	cr_assert_eq(tx.errors, 2);
	cr_assert_eq(tx.last_error, -EAFNOSUPPORT);
	tx.fd4 = fd;
	/* An address that this host does not have. */
	ntm_ip_from_v4(dst.src, (uint8_t[]){192, 0, 2, 77});
	put(100, 0);
	ntm_udp_tx_flush(&tx);
	cr_assert_eq(tx.errors, 3);
	cr_assert_eq(tx.n, 0, "nothing is kept for later");
	cr_assert_lt(ntm_udp_rx(&rx, -1), 0);
	cr_assert_eq(ntm_udp_rx(&rx, to_fd), 0);
	end();
}
