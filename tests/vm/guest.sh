#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Inside the VM: the tests that depend on the kernel. Prints a line for each and, last, the closing line.
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${NTM_BUILD:-build}
mount -t bpf bpf /sys/fs/bpf 2>/dev/null
modprobe -a veth sch_ingress cls_bpf 2>/dev/null # built in elsewhere
passed=0 failed=0
out=$(mktemp)

check() { # NAME COMMAND...
	local name=$1 limit=300
	shift
	if timeout "$limit" "$@" >"$out" 2>&1; then
		echo "ok    $name"
		passed=$((passed + 1))
	else
		echo "FAIL  $name"
		tail -n 30 "$out"
		failed=$((failed + 1))
	fi
}

for t in encap decap ecn replay roam roundtrip layout aead_kernel relay relay_errors; do
	check "bpf/$t" "$B/tests/bpf/$t"
done
for t in dp_open dp_adopt dp_attach dp_lane relay_dp_bpf; do
	check "unit/$t" "$B/tests/unit/$t"
done
for t in basic families agent-restart spoof bpftool relay-bpftool; do
	check "e2e/$t" "tests/e2e/$t/run"
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
