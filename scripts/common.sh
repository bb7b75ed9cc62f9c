# shellcheck shell=bash
# Shared functions of the scripts beside this file: timed steps, and errors with a fix. Source it; never run it.

# Exit codes of sysexits(3), as natpair itself uses them.
# shellcheck disable=SC2034  # used by the scripts that source this file
readonly EX_UNAVAILABLE=69 EX_CANTCREAT=73 EX_NOPERM=77

say() { printf 'setup: %s\n' "$*" >&2; }

# die CODE MESSAGE FIX
die() {
    printf 'setup: %s\n' "$2" >&2
    printf '  -> %s\n' "$3" >&2
    exit "$1"
}

# step LOG TEXT COMMAND...: run a slow command and keep its output in LOG, for the case that it fails.
step() {
    local log=$1 text=$2 began=$SECONDS status=0
    shift 2
    say "$text ..."
    "$@" >"$log" 2>&1 </dev/null || status=$?
    [ "$status" -ne 0 ] || say "$text: done in $((SECONDS - began)) s"
    return "$status"
}

# explain LOG: show the last output of a failed step, then stop with the fix.
explain() {
    local log=$1
    printf '  | %s\n' "${@:2}" >&2
    tail -n 12 "$log" | sed 's/^/  | /' >&2
    if grep -qiE 'no space left|disk quota' "$log"; then
        die "$EX_CANTCREAT" "the disk is full" "make room in $(df --output=target . | tail -n 1) and /var, then run it again"
    fi
    if grep -qiE 'resolv|could not connect|connection (refused|timed out|reset)|network is unreachable|max retries|timed out|failed to fetch' "$log"; then
        die "$EX_UNAVAILABLE" "the package servers cannot be reached" \
            "check network, DNS and proxy settings (and the package sources of apt and pip), then run it again"
    fi
    if grep -qi 'no matching distribution' "$log"; then
        die "$EX_UNAVAILABLE" "a package was not found: pip reaches no server, or none has it for this Python" \
            "check network and proxy settings, or name a Python of 3.11 to 3.13: PYTHON=/path/to/python3 make ..."
    fi
    die "$EX_UNAVAILABLE" "a step failed; its last lines stand above" "repair what they name, then run it again: it takes up where it stopped"
}

# need_room FOLDER MEGABYTES
need_room() {
    local free
    free=$(df --output=avail --block-size=1M "$1" 2>/dev/null | tail -n 1 | tr -d ' ') || return 0
    [ "${free:-$2}" -ge "$2" ] || die "$EX_CANTCREAT" "only $free MB are free for $1, $2 MB are needed" "make room, then run it again"
}
