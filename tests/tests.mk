# SPDX-License-Identifier: BSD-2-Clause
# Rules for tests, checks and benchmarks.
#
#   tests/unit/NAME.c    one Criterion binary each; the part of NAME before "_" says what is linked (LIBS_*)
#   tests/bpf/NAME.c     a Criterion binary if it has a Test(), else a part of all of them; aead*.c: tests/bpf/aead.mk
#   tests/native/*.c     bpf/ compiled for this machine, with helpers and maps: libntmnative.a
#   tests/fuzz/NAME.c    LLVMFuzzerTestOneInput; `make test` replays tests/fuzz/corpus/NAME/* through it
#   tests/harness/NAME.c a program if it has a main(), else linked to whatever wants it
#   tests/bench/NAME.c   a program each; dcload_*.c are parts of dcload
#   tests/{check,vm}/*   executable scripts tests/check/NAME; exit 0 passed, 77 skipped (last line: reason), else failed
#   tests/e2e/NAME/run   a scenario
#
# aead.mk, relay.mk and native.mk may add binaries to TEST_BINS (Criterion) and programs to TEST_PROGS.

# Archives, so that a test takes only the objects it needs and may bring its own of any function.
$B/libntmdp.a: $(DP_OBJ)
$B/libntmengine.a: $(ENGINE_OBJ)
$B/libntmdc.a: $(filter-out %/main.o,$(DC_OBJ))
$B/libntmrelay.a: $(filter-out %/main.o,$(RELAY_OBJ))
$B/libntmnode.a: $(filter-out %/main.o,$(NODE_OBJ))
$B/libntmctl.a: $(filter-out %/ntm.o,$(CTL_OBJ))
HARNESS_MAIN := $(shell grep -lE '^int main' tests/harness/*.c 2>/dev/null)
$B/libntmharness.a: $(call obj,$(filter-out $(HARNESS_MAIN),$(wildcard tests/harness/*.c)))

LIBS_common := $B/libntmharness.a $B/libntmcommon.a
$B/libntmlib.a: $(LIB_OBJ)
LIBS_lib := $B/libntmharness.a $B/libntmlib.a $B/libntmnode.a $B/libntmdp.a $B/libntmengine.a $B/libntmcommon.a
LIBS_dc := $B/libntmharness.a $B/libntmdc.a $B/libntmcommon.a
LIBS_node := $B/libntmharness.a $B/libntmnode.a $B/libntmdp.a $B/libntmengine.a $B/libntmcommon.a
LIBS_dp := $B/libntmharness.a $B/libntmdp.a $B/libntmengine.a $B/libntmcommon.a
LIBS_engine := $B/libntmharness.a $B/libntmengine.a $B/libntmcommon.a
LIBS_relay := $B/libntmharness.a $B/libntmrelay.a $B/libntmnode.a $B/libntmdp.a $B/libntmengine.a $B/libntmcommon.a
LIBS_ctl := $B/libntmharness.a $B/user/node/config.o $(DNSMODE_OBJ) $B/libntmctl.a $B/libntmcommon.a
LIBS_all := $B/libntmharness.a $B/libntmrelay.a $B/libntmdc.a $B/libntmnode.a $B/libntmdp.a $B/libntmengine.a $B/libntmctl.a $B/libntmcommon.a

UNIT_SRC := $(wildcard tests/unit/*.c)
UNIT_BINS := $(UNIT_SRC:%.c=$B/%)

BPF_C := $(filter-out tests/bpf/aead%.c %.bpf.c,$(wildcard tests/bpf/*.c))
BPF_TEST_SRC := $(if $(BPF_C),$(shell grep -lE '^(Test|ParameterizedTest|Theory)\>' $(BPF_C)))
BPF_PART_OBJ := $(call obj,$(filter-out $(BPF_TEST_SRC),$(BPF_C)))
BPF_TEST_BINS := $(BPF_TEST_SRC:%.c=$B/%)

FUZZ_SRC := $(filter-out tests/fuzz/replay_main.c,$(wildcard tests/fuzz/*.c))
FUZZ_BINS := $(FUZZ_SRC:%.c=$B/%)

BENCH_SRC := $(filter-out tests/bench/libtcp.c tests/bench/aead.c tests/bench/dcload_%.c,$(wildcard tests/bench/*.c))
HARNESS_BINS := $(HARNESS_MAIN:%.c=$B/%)
BENCH_BINS := $(BENCH_SRC:%.c=$B/%)

TEST_BINS := $(UNIT_BINS) $(BPF_TEST_BINS)
TEST_PROGS := $B/tests/bench/libtcp $B/tests/mobility/peers $(FUZZ_BINS) $(HARNESS_BINS) $(BENCH_BINS) $B/tests/mobility/stream $B/tests/bpf/pass.bpf.o

# A group: the archives of a program call each other.
LINK_TEST = $Q$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS) -o $@
kind = $(firstword $(subst _, ,$(basename $(notdir $(1)))))

define unit_rule
$B/tests/unit/$(notdir $(1:%.c=%)): $(call obj,$(1)) $(or $(LIBS_$(call kind,$(1))),$(error $(1): no LIBS_$(call kind,$(1)) in tests/tests.mk))
	$$(LINK_TEST) -lcriterion
endef
$(foreach s,$(UNIT_SRC),$(eval $(call unit_rule,$(s))))

# Its chance comes from a seed.
$B/tests/unit/node_model: LDFLAGS += -Wl,--wrap=ntm_random,--wrap=ntm_x25519_generate

$(BPF_TEST_BINS): $B/tests/bpf/%: $B/tests/bpf/%.o $(BPF_PART_OBJ) $B/libntmcommon.a
	$(LINK_TEST) -lcriterion
$(call obj,$(BPF_C) $(UNIT_SRC)): | $(SKEL)

FUZZ_MAIN := $(if $(FUZZ),-fsanitize=fuzzer,$B/tests/fuzz/replay_main.o)
# Unless told, all archives; agent and DC have functions of one name, so who needs much of the agent says so.
LIBS_fuzz_dc := $(LIBS_dc)
LIBS_fuzz_dnsstub := $(LIBS_node) -lcriterion
LIBS_fuzz_engine := $(LIBS_engine)
LIBS_fuzz_programs := $B/libntmnative.a $B/libntmengine.a $B/libntmcommon.a
define fuzz_rule
$B/tests/fuzz/$(1): $B/tests/fuzz/$(1).o $(filter %.o,$(FUZZ_MAIN)) $(filter %.a,$(or $(LIBS_$(1)),$(LIBS_all)))
	$$(LINK_TEST) $(filter -%,$(FUZZ_MAIN) $(LIBS_$(1)))
endef
$(foreach s,$(FUZZ_SRC),$(eval $(call fuzz_rule,$(basename $(notdir $(s))))))
fuzzers: $(FUZZ_BINS)
# `make demo` builds it, too, where there is no Criterion.
$B/tests/harness/netdelay: $B/tests/harness/netdelay.o
	$(LINK_TEST)
$(filter-out %/netdelay,$(HARNESS_BINS)) $(BENCH_BINS) $B/tests/mobility/stream: $B/%: $B/%.o $(LIBS_dp)
	$(LINK_TEST)
$B/tests/bench/relayhold: $(LIBS_relay)
# As any program with libntm is built.
$B/tests/bench/libtcp $B/tests/mobility/peers: $B/%: %.c user/lib/libntm.h $B/libntm.so
	@mkdir -p $(@D)
	$Q$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -Iuser/lib $< -L$B -lntm -Wl,-rpath,'$$ORIGIN/../..' -o $@
DCLOAD_OBJ := $(call obj,$(wildcard tests/bench/dcload_*.c))
$B/tests/bench/dcload: $(DCLOAD_OBJ)

# BPF programs that only tests load
$B/tests/bpf/%.bpf.o: tests/bpf/%.bpf.c
	@mkdir -p $(@D)
	$Q$(CLANG) $(BPF_CFLAGS) -MMD -MP -MT $@ -MF $(@:.o=.d) -c $< -o $@
	$Q$(LLVM_STRIP) -g $@
$B/gen/%.skel.h: $B/tests/bpf/%.bpf.o
	@mkdir -p $(@D)
	$Q$(BPFTOOL) gen skeleton $< name $* > $@

TEST_OBJ := $(call obj,$(UNIT_SRC) $(BPF_C) $(FUZZ_SRC) $(BENCH_SRC) $(wildcard tests/bench/dcload_*.c tests/harness/*.c) tests/mobility/stream.c)
-include tests/bpf/aead.mk
-include tests/bpf/relay.mk
-include tests/native/native.mk

tests: all $(TEST_BINS) $(TEST_PROGS) ## build everything that tests need
	@:

test: ## install what is missing, build, run every test (root; without it many are skipped)
	@tests/install-deps.sh build test
	@$(MAKE) --no-print-directory tests
	@NTM_BUILD=$B tests/harness/run

KERNELS ?= 6.1 6.12 newest
test-vm: ## the tests that depend on the kernel, in a VM on each of KERNELS (6.1 6.12 newest; or images)
	@tests/install-deps.sh build vm
	@$(MAKE) --no-print-directory tests
	@NTM_BUILD=$B tests/vm/matrix.sh $(KERNELS)

MODEL_SCHEDULES ?= 5000
model: $B/tests/unit/node_model ## MODEL_SCHEDULES (5000) random schedules of moves and faults against the model of paths; NTM_SEED=N: one
	@NTM_SCHEDULES=$(MODEL_SCHEDULES) $<

CHAOS_MIN ?= 5
chaos: ## install what is missing, build, and let links, NATs, DC, relays and agents fail at random for CHAOS_MIN (5) minutes (root)
	@tests/install-deps.sh build test
	@$(MAKE) --no-print-directory tests
	@NTM_BUILD=$B tests/chaos/run $(CHAOS_MIN)

VALGRIND := valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect
valgrind: ## the command line tool under valgrind: its unit tests, and what needs no daemon
	@tests/install-deps.sh build test valgrind
	@$(MAKE) --no-print-directory tests
	@tests/harness/valgrind '$(VALGRIND)' $B

FUZZ_S ?= 60
fuzz: ## install what is missing, build with libFuzzer, and let each of tests/fuzz run for FUZZ_S (60) seconds; FUZZ_ONLY="fuzz_dns ..."
	@tests/install-deps.sh build fuzz
	@$(MAKE) --no-print-directory FUZZ=1 fuzzers
	@tests/fuzz/run $(FUZZ_S) $(FUZZ_ONLY)

fuzz-merge: ## what fuzzing found to reach more code goes into tests/fuzz/corpus, and what reaches nothing of its own leaves it
	@$(MAKE) --no-print-directory FUZZ=1 fuzzers
	@tests/fuzz/run --merge $(FUZZ_ONLY)

bench: ## install what is missing, build, measure against other tunnels (root)
	@tests/install-deps.sh build bench
	@$(MAKE) --no-print-directory tests
	@NTM_BUILD=$B tests/bench/run $(BENCH_ARGS)

bench-readme: ## copy build/bench/report.md into README.md
	@tests/bench/readme $B/bench/report.md README.md

natgrid: ## install what is missing, build, and print which route each pair of NATs reaches (root); writes build/natgrid.md
	@tests/install-deps.sh build test
	@$(MAKE) --no-print-directory tests
	@NTM_BUILD=$B NTM_NATGRID=$B/natgrid.md tests/e2e/natgrid/run

natgrid-readme: ## copy build/natgrid.md into README.md
	@tests/bench/readme $B/natgrid.md README.md natgrid

MOVES ?= 10
mobility: ## install what is missing, build, and measure MOVES (10) moves of each movement pattern (root); writes build/mobility.md
	@tests/install-deps.sh build bench
	@$(MAKE) --no-print-directory tests
	@NTM_BUILD=$B tests/mobility/run -n $(MOVES) -o $B/mobility.md -j $B/mobility.jsonl $(MOBILITY_ARGS)

mobility-paths: ## install what is missing, build, and measure a move of a node with 1,000 paths (root); writes build/mobility-paths.md
	@tests/install-deps.sh build bench
	@$(MAKE) --no-print-directory tests
	@NTM_BUILD=$B tests/mobility/paths -o $B/mobility-paths.md $(PATHS_ARGS)

mobility-readme: ## copy build/mobility.md into README.md
	@tests/bench/readme $B/mobility.md README.md mobility

check: ## format, static analysis, file lengths, licences
	@tests/install-deps.sh build check
	@$(MAKE) --no-print-directory bpf compile_commands.json
	@NTM_BUILD=$B tests/check/run

OUR_C = $(shell git ls-files -co --exclude-standard '*.c' '*.h' 2>/dev/null | grep -v '^vmlinux/')
format: ## rewrite our C files as .clang-format says
	clang-format -i $(OUR_C)

ci: ## what .ci/run does
	@.ci/run

.PHONY: tests test test-vm model chaos valgrind fuzz fuzz-merge fuzzers bench bench-readme natgrid natgrid-readme mobility mobility-paths mobility-readme check format ci
