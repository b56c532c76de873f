/* SPDX-License-Identifier: BSD-2-Clause */
#include "tcpopt.h"

#include <netinet/in.h>

#include "stack.h"

enum { TCP_HDR = 20, FLAG_SYN = 2, OPT_END = 0, OPT_NOP = 1, OPT_SCALE = 3 };

/* RFC 1624, equation 3: the checksum after one byte has changed. `odd`: the low byte of its word. */
static void fix_checksum(uint8_t *sum, uint8_t was, uint8_t is, int odd)
{
	uint32_t m = odd ? was : (uint32_t)was << 8, m2 = odd ? is : (uint32_t)is << 8;
	uint32_t s = (~((uint32_t)sum[0] << 8 | sum[1]) & 0xffff) + (~m & 0xffff) + m2;

	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	s = ~s;
	sum[0] = (uint8_t)(s >> 8);
	sum[1] = (uint8_t)s;
}

void ntm_tcpopt_scale(uint8_t *packet, size_t len)
{
	size_t ip, end, at = TCP_HDR;
	uint8_t *tcp;

	if (len < 20)
		return;
	if (packet[0] >> 4 == 4) {
		ip = (size_t)(packet[0] & 15) * 4;
		if (packet[9] != IPPROTO_TCP)
			return;
	} else {
		ip = 40;
		if (len < ip || packet[6] != IPPROTO_TCP)
			return;
	}
	if (len < ip + TCP_HDR)
		return;
	tcp = packet + ip;
	if (!(tcp[13] & FLAG_SYN))
		return;
	end = (size_t)(tcp[12] >> 4) * 4;
	if (ip + end > len)
		return;
	while (at < end && tcp[at] != OPT_END) {
		if (tcp[at] == OPT_NOP) {
			at++;
			continue;
		}
		if (at + 1 >= end || tcp[at + 1] < 2 || at + tcp[at + 1] > end)
			return;
		if (tcp[at] == OPT_SCALE && tcp[at + 1] == 3) {
			fix_checksum(tcp + 16, tcp[at + 2], NTM_WND_SCALE, (at + 2) & 1);
			tcp[at + 2] = NTM_WND_SCALE;
			return;
		}
		at += tcp[at + 1];
	}
}
