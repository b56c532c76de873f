# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# Two processes of one DC, dc and dc2, over a PostgreSQL server of the scenario's own. Source it after lib.sh and e2e_begin:
# it starts the server; mk_net makes the hosts (dc and dc2 among them), then start_cluster both processes. With POSTGRES_AT,
# which mk_net made before, the server is on that host and reached by its IPv4 address.
postgres() {
	if [ -n "${POSTGRES_AT:-}" ]; then
		in_ns "$POSTGRES_AT" "$HARNESS/postgres.sh" "$1" "$T/pg" "${ADDR4[$POSTGRES_AT]}"
	else
		"$HARNESS/postgres.sh" "$1" "$T/pg"
	fi
}
CONNINFO=$(postgres start) || { [ $? != 77 ] || skip "PostgreSQL is not installed"; fail "no PostgreSQL server"; }
stop_server() {
	postgres remove
}
AT_EXIT+=(stop_server)

cluster_ready() { alive "$1" || fail "ntm-dc of $1 ended"; ntm "$1" dc nodes; }
run_process() { # dc or dc2
	start_daemon "$1" "$B/ntm-dc" -c "$T/$1/dc.conf"
	wait_for 10 "$1 answers" cluster_ready "$1"
}
start_cluster() { # as start_dc
	local d run_dc_of_lib
	run_dc_of_lib=$(declare -f run_dc)
	# shellcheck disable=SC2317 # start_dc calls it
	run_dc() { :; }
	start_dc "$@"
	eval "$run_dc_of_lib"
	sed -i "s|^store = .*|store = postgres:$CONNINFO|" "$T/dc/dc.conf"
	mkdir -p "$T/dc2"
	# shellcheck disable=SC2034,SC2154 # lib.sh's
	DIR[dc2]=$T/dc2
	sed "s|^listen = .*|listen = $(endpoints dc2)|; s|^runtime_dir = .*|runtime_dir = $T/dc2/run|
		s|^private_key_file = .*|private_key_file = $T/dc/dc.key|" "$T/dc/dc.conf" >"$T/dc2/dc.conf"
	for d in dc dc2; do run_process $d; done
	for d in dc dc2; do wait_for 5 "$d knows of the other" logged $d "the process of this DC at .* is there"; done
}
online() { [ "$(json "$1" ".[] | select(.name == \"$2.$ZONE\") | .online" dc nodes)" = true ]; } # PROCESS NODE
at() { json "$1" .dc.endpoint status; }                                                          # NODE
at_process() { # NODE PROCESS
	[[ $(at "$1") = *"${ADDR4[$2]}"* || $(at "$1") = *"${ADDR6[$2]}"* ]] && registered "$1"
}
