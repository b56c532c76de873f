# NTMobile on eBPF. `make help` lists the targets.
.DEFAULT_GOAL := all
SHELL := /bin/bash
B := build

CC ?= gcc
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
ARCH := $(shell uname -m | sed 's/x86_64/x86/;s/aarch64/arm64/')
V ?= 0
Q := $(if $(filter 1,$V),,@)

PKGS := openssl libuv libmnl json-c libbpf sqlite3
CPPFLAGS += -Iheaders -I$B/gen -D_GNU_SOURCE
CFLAGS += -std=gnu17 -O2 -g -Wall -Wextra -Werror -fno-strict-aliasing $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDLIBS += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -linih -lldns -lcap

ifneq ($(SANITIZE),)
B := build/$(subst $(comma),-,$(SANITIZE))
CFLAGS += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer
LDFLAGS += -fsanitize=$(SANITIZE)
endif

BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -D__TARGET_ARCH_$(ARCH) \
	-Iheaders -Ibpf -Ivmlinux -Ivmlinux/$(ARCH)

include tests/tests.mk

COMMON_OBJ := $(patsubst %.c,$B/%.o,$(wildcard user/common/*.c))
DP_OBJ := $(patsubst %.c,$B/%.o,$(wildcard user/dataplane/*.c))
NODE_OBJ := $(patsubst %.c,$B/%.o,$(wildcard user/node/*.c))
CTL_OBJ := $(patsubst %.c,$B/%.o,$(wildcard user/ctl/*.c))
DC_OBJ := $(patsubst %.c,$B/%.o,$(wildcard dc/*.c))
BPF_OBJ := $(patsubst bpf/%.bpf.c,$B/bpf/%.bpf.o,$(wildcard bpf/*.bpf.c))
SKEL := $(patsubst bpf/%.bpf.c,$B/gen/%.skel.h,$(wildcard bpf/*.bpf.c))

all: bpf user dc ## build everything
bpf: $(BPF_OBJ) $(SKEL) ## build the BPF objects and their skeletons
user: $B/ntm-node $B/ntm ## build the node's agent and the command line tool
dc: $B/ntm-dc ## build the Direction Coordinator

$B/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$Q$(CLANG) $(BPF_CFLAGS) -MMD -MP -MT $@ -MF $(@:.o=.d) -c $< -o $@

$B/gen/%.skel.h: $B/bpf/%.bpf.o
	@mkdir -p $(@D)
	$Q$(BPFTOOL) gen skeleton $< name $* > $@.tmp && mv $@.tmp $@

$B/%.o: %.c
	@mkdir -p $(@D)
	$Q$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(DP_OBJ): | $(SKEL)

$B/libntmcommon.a: $(COMMON_OBJ)
	$Qrm -f $@; ar rcs $@ $^

$B/ntm-node: $(NODE_OBJ) $(DP_OBJ) $B/libntmcommon.a
	$Q$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@
$B/ntm: $(CTL_OBJ) $B/libntmcommon.a
	$Q$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@
$B/ntm-dc: $(DC_OBJ) $B/libntmcommon.a
	$Q$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

clean: ## remove everything that was built
	rm -rf build compile_commands.json

help: ## this list
	@grep -hE '^[a-z_.-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 24

.PHONY: all bpf user dc clean help
-include $(shell find $B -name '*.d' 2>/dev/null)
