#!/usr/bin/env bash
# Runs NVIDIA's compute-sanitizer over a short verification of each kernel: memcheck, racecheck, initcheck, synccheck.
#
#   sanitize.sh [PATTERN …]
#
# PATTERN picks variants, `*` standing for any letters; all that ship where there is none. Every variant has a process of
# its own for each tool, so that a finding names it.
#
#   GGEMM               the command             [default: ggemm beside this script, else the one on PATH]
#   COMPUTE_SANITIZER   NVIDIA's tool           [default: the one on PATH, else in /usr/local/cuda/bin]
#   CASES               problems a variant      [default: 2]
#   SEED                seed of the first       [default: 1]
#   JOBS                processes at a time     [default: the number of processors]
#   LOGS                folder of the outputs   [default: sanitize-logs]
#
# Exit codes: 0 all is clean, 1 a tool found something or a result was wrong, 2 nothing could be run.
set -u

here=$(cd "$(dirname "$0")" && pwd)
export CASES=${CASES:-2} SEED=${SEED:-1} LOGS=${LOGS:-sanitize-logs}
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN)}
tools=(memcheck racecheck initcheck synccheck)

refuse() {
    echo "error: $1" >&2
    exit 2
}

export GGEMM=${GGEMM:-}
if [ -z "$GGEMM" ]; then
    if [ -x "$here/ggemm" ]; then GGEMM=$here/ggemm; else GGEMM=$(command -v ggemm); fi
fi
[ -x "$GGEMM" ] || refuse "there is no ggemm beside this script or on PATH: set GGEMM"

export COMPUTE_SANITIZER=${COMPUTE_SANITIZER:-$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)}
[ -x "$COMPUTE_SANITIZER" ] ||
    refuse "there is no compute-sanitizer on PATH or in /usr/local/cuda/bin: set COMPUTE_SANITIZER"

mkdir -p "$LOGS" || refuse "the folder $LOGS cannot be made: set LOGS"

# One tool on one variant: a line that begins with `clean` or `FAIL`, and behind that what was found first.
watch() {
    local tool=$1 variant=$2 log code summary found
    log=$LOGS/$tool.$variant.log
    "$COMPUTE_SANITIZER" --tool "$tool" --error-exitcode 99 --log-file "$log.tool" \
        "$GGEMM" verify --extent tiles --cases "$CASES" --seed "$SEED" --variant "$variant" > "$log" 2>&1 < /dev/null
    code=$?
    cat "$log.tool" >> "$log" 2> /dev/null && rm -f "$log.tool"
    summary=$(sed -n 's/^=*  *\([A-Z]* SUMMARY: .*\)/\1/p' "$log" | tail -n 1)
    if [ $code -eq 99 ] && [ -n "$summary" ]; then
        # Races name the two accesses in a line each or in one; others the access and its thread.
        found=$(sed -n 's/^=*  *//p' "$log" | grep -v -E 'SUMMARY|COMPUTE-SANITIZER|Host Frame|Saved host' | head -n 6 |
            tr '\n' ';')
        echo "FAIL  $tool  $variant: $summary${found:+: ${found%;}}"
    elif [ $code -ne 0 ]; then
        echo "FAIL  $tool  $variant: exit code $code: ${summary:-see $log}"
    elif [ -z "$summary" ]; then
        # The tool always ends with a summary: without one it has watched nothing.
        echo "FAIL  $tool  $variant: no summary: see $log"
    else
        echo "clean $tool"
    fi
}
export -f watch

# Those that ship for this GPU: verify says which.
shipped=$("$GGEMM" verify --cases 1 --extent tiles --json | grep -o '"variant": *"[^"]*"' | cut -d '"' -f 4)
[ -n "$shipped" ] || refuse "$GGEMM verify names no variant: run it to see why"

variants=()
while read -r name; do
    [ $# -gt 0 ] || variants+=("$name")
    for pattern in "$@"; do
        # shellcheck disable=SC2053 # a pattern it is
        if [[ $name == $pattern ]]; then
            variants+=("$name")
            break
        fi
    done
done <<< "$shipped"
[ ${#variants[@]} -gt 0 ] || refuse "no variant is named so: $*"

# The tools take turns, so that the slowest is not left for the end.
lines=$(for variant in "${variants[@]}"; do printf '%s\0%s\0' "${tools[0]}" "$variant" "${tools[1]}" "$variant" \
    "${tools[2]}" "$variant" "${tools[3]}" "$variant"; done | xargs -0 -n 2 -P "$jobs" bash -c 'watch "$0" "$1"')

printf '%-10s  %8s  %6s\n' tool variants failed
for tool in "${tools[@]}"; do
    printf '%-10s  %8d  %6d\n' "$tool" "$(grep -c "^[a-zA-Z]* *$tool" <<< "$lines")" "$(grep -c "^FAIL  $tool" <<< "$lines")"
done
ran=$(grep -c . <<< "$lines") bad=$(grep -c '^FAIL' <<< "$lines")
grep '^FAIL' <<< "$lines"
if [ "$bad" -gt 0 ]; then
    echo "FAIL: $bad of $ran runs; their outputs are in $LOGS"
    exit 1
fi
[ "$ran" -eq $((4 * ${#variants[@]})) ] || refuse "only $ran of $((4 * ${#variants[@]})) runs came to an end"
echo "clean: $ran runs of ${#variants[@]} variants"
