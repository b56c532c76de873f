#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# postgres.sh COMMAND DIR: a PostgreSQL server of a test's own below DIR, reached by the socket in DIR/socket alone.
#
#   start DIR [ADDRESS]  makes it the first time; starts it; prints a conninfo. ADDRESS: of a namespace of the test's, in
#               which this command runs: reached by that, too, from everywhere there, without a password
#   stop DIR    at once, as a crash: what was committed is there at the next start
#   crash DIR   all its processes are killed
#   standby DIR OF  makes and starts a standby of the server below OF, which commits nothing without it from then on; prints
#               a conninfo
#   promote DIR it becomes the primary
#   remove DIR  stops it and deletes its files
#
# The server refuses to run as root; then it is the user postgres, or nobody. Exit status 77: not installed.
set -euo pipefail
command=$1 dir=$2
bin=$(dirname "$(command -v initdb || find /usr/lib/postgresql -name initdb 2>/dev/null | sort -V | tail -n 1)")
[ -x "$bin/initdb" ] && [ -x "$bin/pg_ctl" ] || { echo "PostgreSQL is not installed" >&2; exit 77; }

user=$(id -un)
if [ "$(id -u)" = 0 ]; then
	user=nobody
	! getent passwd postgres >/dev/null || user=postgres
fi
as() {
	if [ "$(id -un)" = "$user" ]; then "$@"; else (cd / && setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups "$@"); fi
}
stop() {
	[ ! -e "$dir/data/postmaster.pid" ] || as "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null
}

case $command in
start)
	if [ ! -e "$dir/data/PG_VERSION" ]; then
		mkdir -p "$dir/data" "$dir/socket"
		chmod 700 "$dir/data"
		chown "$user" "$dir/data" "$dir/socket"
		as "$bin/initdb" -D "$dir/data" -U ntm -A trust -E UTF8 --no-locale --no-sync >"$dir/initdb.log" 2>&1 ||
			{ cat "$dir/initdb.log" >&2; exit 1; }
		[ -z "${3:-}" ] || printf "host all all %s trust\n" 0.0.0.0/0 ::/0 >>"$dir/data/pg_hba.conf"
		printf "%s\n" "listen_addresses = '${3:-}'" "unix_socket_directories = '$dir/socket'" "max_connections = 60" \
			"shared_buffers = 16MB" "log_min_messages = warning" >>"$dir/data/postgresql.conf"
	fi
	as "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/log" -w -t 30 start >/dev/null ||
		{ tail -n 20 "$dir/data/log" >&2; exit 1; }
	echo "host=${3:-$dir/socket} user=ntm dbname=postgres"
	;;
stop) stop ;;
crash)
	pid=$(head -n 1 "$dir/data/postmaster.pid")
	# its children first are listed: without it they are nobody's
	children=$(ps -o pid= --ppid "$pid")
	# shellcheck disable=SC2086 # a list
	kill -KILL "$pid" $children 2>/dev/null || true
	for p in $pid $children; do
		while kill -0 "$p" 2>/dev/null && [ "$(ps -o stat= -p "$p" | cut -c1)" != Z ]; do sleep 0.02; done
	done
	# who nobody has reaped yet would look alive to the next start; it looks at its shared memory besides
	rm -f "$dir/data/postmaster.pid" "$dir"/socket/.s.PGSQL.*.lock
	;;
standby)
	of=$3
	mkdir -p "$dir/socket"
	chown "$user" "$dir" "$dir/socket"
	as "$(dirname "$(readlink -f "$bin/initdb")")/pg_basebackup" -D "$dir/data" -h "$of/socket" -U ntm -R -X stream
	sed -i '/primary_conninfo/d' "$dir/data/postgresql.auto.conf"
	printf "%s\n" "unix_socket_directories = '$dir/socket'" \
		"primary_conninfo = 'host=$of/socket user=ntm application_name=standby'" >>"$dir/data/postgresql.conf"
	as "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/log" -w -t 30 start >/dev/null
	as "$(dirname "$(readlink -f "$bin/initdb")")/psql" -h "$of/socket" -U ntm -d postgres -q -c "ALTER SYSTEM SET synchronous_standby_names = 'standby'" \
		-c "SELECT pg_reload_conf()" >/dev/null
	echo "host=$dir/socket user=ntm dbname=postgres"
	;;
promote) as "$bin/pg_ctl" -D "$dir/data" -w -t 30 promote >/dev/null ;;
remove)
	stop
	rm -rf "$dir"
	;;
*)
	echo "postgres.sh: no command $command" >&2
	exit 2
	;;
esac
