# SPDX-License-Identifier: BSD-2-Clause
# The AEAD's tests and its benchmark.
AEAD_BINS := $B/tests/bpf/aead_kernel $B/tests/bpf/aead_native
TEST_BINS += $(AEAD_BINS)
TEST_PROGS += $B/tests/bench/aead

$B/tests/bpf/aead_kernel.o: $B/gen/aead_test.skel.h
$(AEAD_BINS): %: %.o
	$(LINK_TEST) -lcriterion -lcrypto

# The native side of the comparison: the compiler of the BPF side, no vectors, and none of what sanitizers (gcc's) ask for.
$B/tests/bench/aead.o: tests/bench/aead.c $B/gen/aead_test.skel.h
	@mkdir -p $(@D)
	$Q$(CLANG) $(CPPFLAGS) $(filter-out -fsanitize=% -fno-sanitize% -Wno-%,$(CFLAGS)) -fno-vectorize -fno-slp-vectorize -MMD -MP -c $< -o $@
$B/tests/bench/aead: $B/tests/bench/aead.o
	$(LINK_TEST) -lcrypto
# Kept, with what it depends on: a changed header builds it again.
.SECONDARY: $B/tests/bpf/aead_test.bpf.o $B/gen/aead_test.skel.h
-include $(AEAD_BINS:=.d) $B/tests/bpf/aead_test.bpf.d $B/tests/bench/aead.d
