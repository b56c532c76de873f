# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2154,SC2034,SC2016
# A part of tests/demo.sh, which sources it: a user without rights, on a host where nothing of NTMobile runs.
step "On heidi's host there is no agent, no BPF, no interface. A user without any rights runs curl, which knows nothing of
   NTMobile, on virtual sockets: to bob"
mk_ns heidi
plug heidi
ntm_run_user heidi
mkdir -p "$T/rootless"
echo "hello from bob" >"$T/rootless/index.html"
head -c 20000000 /dev/urandom >"$T/rootless/big"
ip netns exec "$(nsn bob)" python3 -u -m http.server --bind "$(vip6 bob)" --directory "$T/rootless" 8080 >/dev/null 2>&1 &
JOBS+=($!)
wait_for 15 "bob's web server listens" listening bob 8080
show "heidi\$ id -un; ntm-run curl http://bob.$ZONE:8080/" ntm_run heidi sh -c "id -un; curl -sS --max-time 20 http://bob.$ZONE:8080/"
[ "$(ntm_run heidi curl -sS --max-time 30 "http://bob.$ZONE:8080/big" | sha256sum)" = "$(sha256sum <"$T/rootless/big")" ] ||
	fail "heidi's curl did not get what bob has"
say "  20000000 bytes by curl, SHA-256 as it was"

step "The other way: her web server, at a port of every address, is reached by name"
ntm_run heidi sh -c 'cd /; exec python3 -u -m http.server 8000 --directory "$0"' "$T/rootless" >/dev/null 2>&1 &
JOBS+=($!)
serves() { in_ns bob curl -sSf --max-time 5 "http://heidi.$ZONE:8000/"; }
wait_for 15 "heidi's web server is reached" serves
show "bob\$ curl http://heidi.$ZONE:8000/" serves
shown "curl and a web server of a user without rights on virtual sockets, against a node with BPF"
