# SPDX-License-Identifier: BSD-2-Clause
# The programs of bpf/ compiled for this machine. They read words where the packet has them: alignment is no fault here.
NATIVE_OBJ := $(call obj,$(wildcard tests/native/*.c))
NATIVE_PROGRAMS := $B/tests/native/node.o $B/tests/native/relay.o
$(NATIVE_PROGRAMS): CPPFLAGS += -Ibpf -isystem vmlinux -isystem vmlinux/$(ARCH)
$(NATIVE_PROGRAMS): CFLAGS += -Wno-unused-parameter -Wno-unknown-pragmas -Wno-sign-compare -fno-sanitize=alignment
$B/libntmnative.a: $(NATIVE_OBJ)
TEST_OBJ += $(NATIVE_OBJ)
$B/tests/fuzz/fuzz_programs $B/tests/bpf/differential: $B/libntmnative.a $B/libntmengine.a
