#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Inside the VM: the tests that depend on the kernel, or those that the arguments name, through the ordinary runner.
# NTM_VM_SHORT=1: a choice of a few minutes, of everything something. Everything is given more time where the processor is emulated (NTM_TIME_SCALE).
set -euo pipefail
cd "$(dirname "$0")/../.."
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
modprobe -a veth tun sch_ingress cls_bpf vxlan nf_tables 2>/dev/null || true # built in elsewhere
if [ $# = 0 ] && [ "${NTM_VM_SHORT:-}" = 1 ]; then
	# Each test of tests/bpf loads its programs anew, which is what takes the time where the verifier itself is emulated.
	set -- '^check/verifier-budget$' '^bpf/(aead_kernel|layout|roundtrip|replay)$' '^e2e/(agent-restart|relay-bpftool)$'
elif [ $# = 0 ]; then
	set -- '^bpf/' '^check/verifier-budget$' '^e2e/(agent-restart|bpftool|relay-bpftool|basic|families|relay|gateway)$'
	# They load every program for every test.
	[ -z "${NTM_VM_KVM:-}" ] || set -- "$@" '^unit/dp_' '^unit/relay_dp_bpf'
fi
exec tests/harness/run "$@"
