# SPDX-License-Identifier: BSD-2-Clause
# NTMobile on eBPF. `make help` lists the targets.
.DEFAULT_GOAL := all
SHELL := /bin/bash
.DELETE_ON_ERROR:

B := build
V ?= 0
Q := $(if $(filter 1,$V),,@)
comma := ,

CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
CLANG ?= clang
LLVM_STRIP ?= llvm-strip
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
ARCH := $(shell uname -m | sed 's/x86_64/x86/;s/aarch64/arm64/')

PREFIX ?= /usr/local
DESTDIR ?=

# Targets that install packages, or need none, and call this file again for the rest: what pkg-config says is only
# looked at once everything is there.
ENTRY_GOALS := help clean deps demo test test-vm fuzz fuzz-merge chaos valgrind bench natgrid check ci
BUILD_GOALS := $(filter-out $(ENTRY_GOALS),$(or $(MAKECMDGOALS),all))
ifneq ($(BUILD_GOALS),)
MISSING := $(shell tests/install-deps.sh --missing build)
ifneq ($(MISSING),)
$(error not installed: $(MISSING). Run: sudo apt-get install $(MISSING))
endif
endif

PKGS := openssl libuv libmnl json-c libbpf sqlite3 libsystemd libpq
CPPFLAGS += -Iheaders -I$B/gen -D_GNU_SOURCE
CFLAGS += -std=gnu17 -O2 -g -Wall -Wextra -Werror -fno-strict-aliasing
# Faster AES-GCM, where Debian has it: amd64
IPSEC_MB := $(if $(wildcard /usr/include/intel-ipsec-mb.h),-lIPSec_MB)
CPPFLAGS += $(if $(IPSEC_MB),-DNTM_IPSEC_MB)
LDLIBS := -linih -lldns -lcap $(IPSEC_MB)
ifneq ($(BUILD_GOALS),)
# As system headers: lwIP and <netinet/tcp.h> each have a macro TCP_MSS.
CFLAGS += $(shell pkg-config --cflags $(PKGS)) $(patsubst -I%,-isystem %,$(shell pkg-config --cflags-only-I lwip))
LDLIBS := -Wl,--as-needed $(shell pkg-config --libs $(PKGS) lwip) $(LDLIBS)
endif

# SANITIZE=address,undefined, or 1 for these two; builds into a directory of its own
ifneq ($(SANITIZE),)
override SANITIZE := $(if $(filter 1,$(SANITIZE)),address$(comma)undefined,$(SANITIZE))
B := build/sanitize-$(subst $(comma),-,$(SANITIZE))
# gcc loses track of lengths and initialisation in instrumented code; the ordinary build looks at them.
CFLAGS += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer -Wno-format-truncation \
	-Wno-maybe-uninitialized $(if $(filter thread,$(SANITIZE)),-Wno-tsan)
LDFLAGS += -fsanitize=$(SANITIZE)
endif

# FUZZ=1: tests/fuzz/* are libFuzzer programs, which clang alone makes; into a directory of its own
ifneq ($(FUZZ),)
B := build/fuzz
CC := $(CLANG)
# the ordinary compiler, and clang-tidy, look at the rest
CFLAGS += -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -Wno-missing-field-initializers \
	-Wno-gnu-variable-sized-type-not-at-end
LDFLAGS += -fsanitize=address,undefined
endif

BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -D__TARGET_ARCH_$(ARCH) \
	-Iheaders -Ibpf -Ivmlinux -Ivmlinux/$(ARCH)

obj = $(patsubst %.c,$B/%.o,$(1))
COMMON_OBJ := $(call obj,$(wildcard user/common/*.c))
DP_OBJ := $(call obj,$(wildcard user/dataplane/*.c))
ENGINE_OBJ := $(call obj,$(wildcard user/engine/*.c))
NODE_OBJ := $(call obj,$(wildcard user/node/*.c))
CTL_OBJ := $(call obj,$(wildcard user/ctl/*.c))
DC_OBJ := $(call obj,$(wildcard dc/*.c))
BPF_OBJ := $(patsubst bpf/%.bpf.c,$B/bpf/%.bpf.o,$(wildcard bpf/*.bpf.c))
SKEL := $(patsubst bpf/%.bpf.c,$B/gen/%.skel.h,$(wildcard bpf/*.bpf.c))
RELAY_OBJ := $(call obj,$(wildcard user/relay/*.c))
LIB_OBJ := $(call obj,$(filter-out user/lib/example.c,$(wildcard user/lib/*.c)))
PROGRAMS := $B/ntm-node $B/ntm-relay $B/ntm $B/ntm-dc

all: bpf user dc lib run ## build everything (default)
bpf: $(BPF_OBJ) $(SKEL) ## build the BPF objects and their skeletons
user: $B/ntm-node $B/ntm-relay $B/ntm ## build the node's agent, the Relay Server and the command line tool
dc: $B/ntm-dc ## build the Direction Coordinator
lib: $B/libntm.so $B/libntm.a $B/ntm-echo ## build libntm and its example

# Debugging information goes, BTF stays.
$B/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$Q$(CLANG) $(BPF_CFLAGS) -MMD -MP -MT $@ -MF $(@:.o=.d) -c $< -o $@
	$Q$(LLVM_STRIP) -g $@

$B/gen/%.skel.h: $B/bpf/%.bpf.o
	@mkdir -p $(@D)
	$Q$(BPFTOOL) gen skeleton $< name $* > $@

$B/%.o: %.c
	@mkdir -p $(@D)
	$Q$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(DP_OBJ) $(RELAY_OBJ): | $(SKEL)
# The schema is included by the assembler, where -MMD does not look.
$B/dc/migrations.o: $(wildcard dc/schema/*.sql)

%.a:
	@mkdir -p $(@D)
	$Qrm -f $@ && ar rcs $@ $^
$B/libntmcommon.a: $(COMMON_OBJ)

LINK = $Q$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@
$B/ntm-node: $(NODE_OBJ) $(DP_OBJ) $(ENGINE_OBJ) $B/libntmcommon.a
	$(LINK)
$B/ntm-relay: $(RELAY_OBJ) $B/libntmnode.a $B/libntmdp.a $B/libntmengine.a $B/libntmcommon.a
	$(LINK)
# Its doctor reads node.conf as the agent does.
DNSMODE_OBJ := $B/user/node/dnsmode_resolved.o $B/user/node/dnsmode_resolvconf.o
$B/ntm: $(CTL_OBJ) $B/user/node/config.o $(DNSMODE_OBJ) $B/libntmcommon.a
	$(LINK)
$B/ntm-dc: $(DC_OBJ) $B/libntmcommon.a
	$(LINK)

include user/lib/lib.mk
include user/run/run.mk
include tests/tests.mk

demo: ## install what is missing, build, and show a tunnel between two nodes (root)
	@tests/install-deps.sh build demo
	@$(MAKE) --no-print-directory all $B/tests/bpf/pass.bpf.o $B/tests/harness/netdelay
	@NTM_BUILD=$B tests/demo.sh

deps: ## install the packages that build, tests, checks and benchmark need (root)
	@tests/install-deps.sh build test check bench

install: all ## install to PREFIX (/usr/local), below DESTDIR
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/lib/ntm/bpf \
		$(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/doc/ntm
	install -m 755 $B/ntm $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $B/ntm-node $B/ntm-relay $B/ntm-dc $(DESTDIR)$(PREFIX)/sbin/
	install -m 644 $(BPF_OBJ) $(DESTDIR)$(PREFIX)/lib/ntm/bpf/
	for unit in ntm-node ntm-relay ntm-dc; do \
		sed 's|@PREFIX@|$(PREFIX)|g' dist/$$unit.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit.service && \
		chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit.service || exit 1; done
	install -m 644 $(wildcard README.md LICENSE headers/PROTOCOL.md dist/*.conf) $(DESTDIR)$(PREFIX)/share/doc/ntm/
	install -m 644 dc/README.md $(DESTDIR)$(PREFIX)/share/doc/ntm/operators-guide.md
	for section in 1 3 5 8; do \
		install -d $(DESTDIR)$(PREFIX)/share/man/man$$section && \
		install -m 644 dist/man/*.$$section $(DESTDIR)$(PREFIX)/share/man/man$$section/ || exit 1; done

	$(MAKE) --no-print-directory install-lib install-run

compile_commands.json: ## for editors and clang-tidy
	$Qtests/harness/compile_commands.py '$(CC) $(CPPFLAGS) -Iuser/lib $(CFLAGS)' '$(CLANG) $(BPF_CFLAGS)' > $@

clean: ## remove everything that was built
	rm -rf build compile_commands.json

help: ## this list
	@grep -hE '^[a-z_.-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 24

.PHONY: all bpf user dc demo deps install compile_commands.json clean help

ALL_OBJ := $(LIB_OBJ) $(COMMON_OBJ) $(DP_OBJ) $(ENGINE_OBJ) $(NODE_OBJ) $(RELAY_OBJ) $(CTL_OBJ) $(DC_OBJ) $(TEST_OBJ)
-include $(ALL_OBJ:.o=.d) $(BPF_OBJ:.o=.d)
