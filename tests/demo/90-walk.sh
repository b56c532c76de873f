# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A transfer during which its receiver walks. The network is one of its own, with a round trip of 20 ms: tests/mobility.
step "A node fetches 1 GB from another one and walks meanwhile: from its Wi-Fi at home to an LTE-like network on another
   interface, to a Wi-Fi behind another NAT, to one that has IPv6 only, and home. One TCP connection all the way"
"$TOP/tests/mobility/walk" -o "$B/walk.png" || fail "the transfer did not survive the walk"
shown "1 GB by one TCP connection, whole, while its receiver was in five networks (throughput: $B/walk.png)"
