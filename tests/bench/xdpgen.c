/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * xdpgen DEVICE RUNS COUNT < FRAME
 *
 * Sends the Ethernet frame from standard input COUNT times out of DEVICE, RUNS times, as XDP frames: what a NIC's
 * driver would hand over, without a sender's socket in the figures. Prints the median run's nanoseconds a frame.
 *
 * Frames go out 64 at a time; the softirqs that this causes (reception, relaying, delivery) run before the next 64, on
 * this CPU, so the time is the CPU time of all that happens in the kernel. What a process further on does has to be
 * added by the caller. The kernel takes some 30 ms to prepare a run, which is not in the figure.
 */
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#define BATCH 64
#define HEADERS 64 /* Ethernet, IPv4, UDP and more */

#define INSN(c, dst, src, o, i) \
	((struct bpf_insn){.code = (c), .dst_reg = (dst), .src_reg = (src), .off = (o), .imm = (int)(i)})

/*
 * Writes the frame's first HEADERS bytes and redirects to the interface: a relay changes them in place, and the kernel
 * sends the same pages again and again.
 */
static int load_generator(unsigned ifindex, const unsigned char *frame)
{
	struct bpf_insn insns[8 + 3 * (HEADERS / 8) + 6];
	unsigned n = 0;
	unsigned halves[2];

	insns[n++] = INSN(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, offsetof(struct xdp_md, data), 0);
	insns[n++] = INSN(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_3, BPF_REG_1, offsetof(struct xdp_md, data_end), 0);
	insns[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_4, BPF_REG_2, 0, 0);
	insns[n++] = INSN(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_4, 0, 0, HEADERS);
	insns[n++] = INSN(BPF_JMP | BPF_JLE | BPF_X, BPF_REG_4, BPF_REG_3, 2, 0);
	insns[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, XDP_DROP);
	insns[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (unsigned i = 0; i < HEADERS; i += 8) {
		memcpy(halves, frame + i, 8);
		insns[n++] = INSN(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_4, 0, 0, halves[0]);
		insns[n++] = INSN(0, 0, 0, 0, halves[1]);
		insns[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, BPF_REG_2, BPF_REG_4, (short)i, 0);
	}
	insns[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_1, 0, 0, ifindex);
	insns[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, 0);
	insns[n++] = INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect);
	insns[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return bpf_prog_load(BPF_PROG_TYPE_XDP, "xdpgen", "GPL", insns, n, NULL);
}

static int by_value(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

	return (x > y) - (x < y);
}

static int send_frames(int prog, void *frame, size_t len, unsigned runs, unsigned count, unsigned *ns)
{
	for (unsigned i = 0; i < runs; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (unsigned)len,
			    .repeat = (int)count, .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = BATCH);

		if (bpf_prog_test_run_opts(prog, &opts)) {
			fprintf(stderr, "xdpgen: %s\n", strerror(errno));
			return 1;
		}
		ns[i] = opts.duration;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static unsigned char frame[2048];
	unsigned runs = argc == 4 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
	unsigned count = argc == 4 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
	unsigned ifindex = argc == 4 ? if_nametoindex(argv[1]) : 0;
	size_t len = fread(frame, 1, sizeof(frame), stdin);
	unsigned *ns;
	int prog, status;

	if (!ifindex || !runs || !count || count > INT_MAX || len < HEADERS) {
		fprintf(stderr, "usage: xdpgen DEVICE RUNS COUNT < FRAME\n");
		return 2;
	}
	prog = load_generator(ifindex, frame);
	if (prog < 0) {
		fprintf(stderr, "xdpgen: no BPF program: %s\n", strerror(errno));
		return 1;
	}
	ns = calloc(runs, sizeof(*ns));
	status = ns ? send_frames(prog, frame, len, runs, count, ns) : 1;
	if (!status) {
		qsort(ns, runs, sizeof(*ns), by_value);
		printf("%u\n", ns[runs / 2]);
	}
	free(ns);
	close(prog);
	return status;
}
