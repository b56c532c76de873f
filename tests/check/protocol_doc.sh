#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# PROTOCOL.md says what the headers say: every message, field, error, type, suite and reason stands in it with its
# number, and fixed-length messages with their length.
set -euo pipefail
cd "$(dirname "$0")/../.."
doc=headers/PROTOCOL.md
one_line=$(tr '\n' ' ' <"$doc" | tr -s ' ')
failed=0

lacks() {
	echo "$doc lacks $1"
	failed=1
}
# "NUMBER NAME" of each constant of an enum; the prefix taken off, lower case, _ as blank
constants() { # FILE ENUM PREFIX LEAST
	local found
	found=$(sed -n "/^enum $2 {/,/^};/p" "$1" | sed -nE "s/^[[:space:]]*$3([A-Z0-9_]+) = ([0-9]+),.*/\2 \1/p" |
		tr '[:upper:]_' '[:lower:] ')
	[ "$(wc -l <<<"$found")" -ge "$4" ] || lacks "a check: under $4 constants of enum $2 found in $1"
	printf '%s\n' "$found"
}
# Cell N of a table's row whose first cell has this number; several numbers share a row as "6, 7"
cells() { # NUMBER N
	awk -F ' *[|] *' -v number="$1" -v n="$2" '
		/^\|/ { split($2, numbers, /, */); for (i in numbers) if (numbers[i] == number) print tolower($(n + 1)) }' "$doc"
}

while read -r number name; do
	# "Keep Alive, its Response": a row of two names the second by its last word
	cells "$number" 2 | tr -- - ' ' | grep -qE "\b($name|(ntm )?${name% response}( request)?, .*response)\b" ||
		lacks "message $number, $name"
done < <(constants headers/ntm/signal.h ntm_msg NTM_M_ 17)

while read -r number name; do
	name=$(tr '[:lower:] ' '[:upper:]_' <<<"$name")
	grep -qE "^\|([^|]*, )? ?${number} ${name}[ ,|]" "$doc" || lacks "field $number $name"
done < <(constants headers/ntm/signal.h ntm_field NTM_F_ 29)

while read -r number name; do
	cells "$number" 2 | grep -qxF "\`${name// /_}\`" || lacks "error $number, $name"
done < <(constants headers/ntm/signal.h ntm_error NTM_E_ 12)

while read -r number name; do
	case $name in # where the prose has the term of the field for the constant's short one
	'signal') name=signalling ;;
	'data') name='capsulated packet' ;;
	*' resp') name+=onse ;;
	*' req') name+=uest ;;
	esac
	cells "$number" 2 | grep -qE "^$name\b" || lacks "type $number, $name"
done < <(constants headers/ntm/wire.h ntm_wire_type NTM_T_ 7)

while read -r number name; do
	name=${name%% *}
	grep -qE " $number (in-path )?$name\b" <<<"$one_line" || lacks "suite $number, $name"
done < <(constants headers/ntm/wire.h ntm_suite NTM_SUITE_ 5)

# The table of reasons, row for row
# shellcheck disable=SC2016
diff <(sed -nE 's/^[[:space:]]*X\([A-Z_]+, "([a-z_]+)", "(.*)"\).*/| `\1` | \2 |/p' headers/ntm/reasons.h) \
	<(grep -E '^\| `(tx|rx)_[a-z_]+` \|' "$doc") || lacks "the reasons as they are in reasons.h (> is what it has)"

while read -r type struct; do
	size=$(sed -nE "s/^NTM_ASSERT_SIZE\(struct $struct, ([0-9]+)\);/\1/p" headers/ntm/wire.h)
	grep -qiE "type $type, $size bytes" "$doc" || lacks "\"type $type, $size bytes\" ($struct)"
done <<'END'
1 ntm_session_init
2 ntm_session_resp
3 ntm_cookie_reply
9 ntm_tunnel_req
9 ntm_relay_bind
9 ntm_relay_bind_request
10 ntm_tunnel_resp
10 ntm_relay_bound
END
exit $failed
