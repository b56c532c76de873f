# SPDX-License-Identifier: BSD-2-Clause
# The relay's fixtures and its benchmark use the agent's table.
$B/tests/bpf/relay $B/tests/bpf/relay_errors $B/tests/bpf/differential: $B/libntmrelay.a
$B/tests/bench/relay.o: $B/gen/relay_bench.skel.h
$B/tests/bench/relay: $B/libntmrelay.a
.SECONDARY: $B/tests/bpf/relay_bench.bpf.o $B/gen/relay_bench.skel.h
-include $B/tests/bpf/relay_bench.bpf.d
