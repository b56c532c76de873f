#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# matrix.sh [KERNEL...] [-- PATTERN...]: what depends on the kernel, in a VM on each, and a table and the closing line of
# all together. KERNEL: see kernel.sh; unless told 6.1 (the oldest supported), 6.12 and the newest that Debian serves.
# PATTERN: tests, as tests/harness/run has them.
#
# A kernel that cannot be fetched is skipped, and said so; a VM that does not come up is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/vm/debian.sh
kernels=() LIMIT_S=${NTM_VM_LIMIT:-1500}
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	kernels+=("$1")
	shift
done
[ "${1:-}" != -- ] || shift
[ ${#kernels[@]} -gt 0 ] || kernels=(6.1 6.12 newest)
printf -v patterns ' %q' "$@"
[ $# -gt 0 ] || patterns=
mkdir -p "$V"

# Does a stock kernel say a word under KVM? A /dev/kvm that is there may not boot one.
kvm_works() { # IMAGE
	[ -w /dev/kvm ] && timeout --kill-after=2 10 qemu-system-x86_64 -enable-kvm -cpu host -m 512 -kernel "$1" -nodefaults \
		-display none -serial stdio -no-reboot -append "console=ttyS0 panic=-1" </dev/null 2>/dev/null |
		grep -q 'Linux version'
}

run_on() { # KERNEL: leaves V/result.KERNEL
	local want=$1 image name status=0 passed=0 failed=0 skipped=0 begin=$SECONDS line
	local result="$V/result.${1//\//_}" log="$V/log.${1//\//_}"
	if ! image=$(tests/vm/kernel.sh "$want" 2>"$log"); then
		echo "$want	-	0	0	1	$(tail -n 1 "$log")" >"$result"
		return
	fi
	name=$(basename "$image")
	name=${name#vmlinuz-}
	line="NTM_BUILD=${NTM_BUILD:-build} NTM_TIME_SCALE=${NTM_TIME_SCALE:-1} NTM_VM_KVM=${NTM_VM_KVM:-} NTM_VM_SHORT=${NTM_VM_SHORT:-}"
	tests/vm/vng.sh "$image" "$LIMIT_S" "$line tests/vm/guest.sh$patterns" >"$log" 2>&1 || status=$?
	line=$(grep -xE '[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped' "$log" | tail -n 1 || true)
	if [ -n "$line" ]; then
		read -r passed _ failed _ skipped _ <<<"$line"
	fi
	line="$((SECONDS - begin)) s"
	case $status in
	0) ;;
	124) line="not done after $LIMIT_S s" failed=$((failed + 1)) ;;
	125) line="the VM did not come up: $(grep -v '^$' "$log" | tail -n 1)" failed=$((failed + 1)) ;;
	*) [ "$failed" != 0 ] || { line="exit status $status" failed=1; } ;;
	esac
	echo "$want	$name	$passed	$failed	$skipped	$line" >"$result"
}

for want in "${kernels[@]}"; do # before any VM: two downloads at once do not help
	tests/vm/kernel.sh "$want" >/dev/null 2>&1 || true
done
if image=$(tests/vm/kernel.sh "${kernels[0]}" 2>/dev/null) && kvm_works "$image"; then
	export NTM_VM_KVM=1
	how=KVM
else
	export NTM_TIME_SCALE=${NTM_TIME_SCALE:-6}
	how="emulated: no stock kernel boots under KVM here"
fi

# One VM at a time has both processors for its two; the next one boots, which only one processor does, beside the end.
for want in "${kernels[@]}"; do
	run_on "$want"
	log="$V/log.${want//\//_}"
	echo "== Linux $(cut -f2,6 "$V/result.${want//\//_}" | tr '\t' ' ')"
	cat "$log"
done

total=(0 0 0)
echo
echo "virtual machines ($how)"
printf '%-10s %-24s %7s %7s %8s  %s\n' kernel release passed failed skipped ''
for want in "${kernels[@]}"; do
	IFS=$'\t' read -r kernel name passed failed skipped note <"$V/result.${want//\//_}"
	printf '%-10s %-24s %7d %7d %8d  %s\n' "$kernel" "$name" "$passed" "$failed" "$skipped" "$note"
	total=($((total[0] + passed)) $((total[1] + failed)) $((total[2] + skipped)))
done
echo
echo "${total[0]} passed, ${total[1]} failed, ${total[2]} skipped"
[ "${total[1]}" = 0 ] && [ "${total[0]}" != 0 ]
