#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# matrix.sh [KERNEL...]: what depends on the kernel, in a VM on each (6.1, or an image's path); see kernel.sh. Emulated, so slow.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- 6.1
status=0
for want in "$@"; do
	image=$(tests/vm/kernel.sh "$want")
	echo "== $(basename "$image")"
	tests/vm/vng.sh "$image" 1800 tests/vm/guest.sh || { echo "== $want: failed ($?)" && status=1; }
done
exit "$status"
