#!/usr/bin/env bash
# Runs NVIDIA's compute-sanitizer over a short verification of the kernels: memcheck, racecheck, initcheck, synccheck.
#
#   sanitize.sh [--each] [PATTERN …]
#
# PATTERN picks variants as `ggemm verify --variant` does; all that ship where there is none. One process a tool covers
# them all; with --each every variant has its own, which is slower and tells whose kernel is at fault.
#
#   GGEMM               the command             [default: ggemm beside this script, else the one on PATH]
#   COMPUTE_SANITIZER   NVIDIA's tool           [default: the one on PATH, else in /usr/local/cuda/bin]
#   CASES               problems a variant      [default: 2]
#   SEED                seed of the first       [default: 1]
#   LOGS                folder of the outputs   [default: sanitize-logs]
#
# Exit codes: 0 all is clean, 1 a tool found something or a result was wrong, 2 nothing could be run.
set -u

each=no
if [ "${1:-}" = --each ]; then
    each=yes
    shift
fi
here=$(cd "$(dirname "$0")" && pwd)
cases=${CASES:-2} seed=${SEED:-1} logs=${LOGS:-sanitize-logs}

refuse() {
    echo "error: $1" >&2
    exit 2
}

ggemm=${GGEMM:-}
if [ -z "$ggemm" ]; then
    if [ -x "$here/ggemm" ]; then ggemm=$here/ggemm; else ggemm=$(command -v ggemm); fi
fi
[ -x "$ggemm" ] || refuse "there is no ggemm beside this script or on PATH: set GGEMM"

sanitizer=${COMPUTE_SANITIZER:-$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)}
[ -x "$sanitizer" ] || refuse "there is no compute-sanitizer on PATH or in /usr/local/cuda/bin: set COMPUTE_SANITIZER"

mkdir -p "$logs" || refuse "the folder $logs cannot be made: set LOGS"

# What each process verifies, one a line; an empty line stands for everything.
subjects() {
    if [ $each = no ]; then
        echo "$*"
    elif [ $# -eq 0 ]; then
        "$ggemm" list --names
    else
        for pattern in "$@"; do
            case $pattern in
                *'*'*) "$ggemm" list --names | while read -r name; do case $name in $pattern) echo "$name" ;; esac; done ;;
                *) echo "$pattern" ;;
            esac
        done | sort -u
    fi
}

bad=0 ran=0
printf '%-10s  %-7s  %-34s  %s\n' tool verdict summary variants
while read -r subject; do
    flags=()
    for pattern in $(set -f; echo $subject); do flags+=(--variant "$pattern"); done
    label=${subject:-all}
    for tool in memcheck racecheck initcheck synccheck; do
        log=$logs/$tool.$(echo "$label" | tr -c 'A-Za-z0-9_\n' - | cut -c 1-120).log
        "$sanitizer" --tool "$tool" --error-exitcode 99 --log-file "$log.tool" \
            "$ggemm" verify --cases "$cases" --seed "$seed" "${flags[@]+"${flags[@]}"}" > "$log" 2>&1 < /dev/null
        code=$?
        cat "$log.tool" >> "$log" 2> /dev/null && rm -f "$log.tool"
        ran=$((ran + 1))
        summary=$(sed -n 's/^=*  *\([A-Z]* SUMMARY: .*\)/\1/p' "$log" | tail -n 1)
        verdict=clean
        if [ $code -ne 0 ]; then
            verdict=FAIL
            [ -n "$summary" ] && [ $code -eq 99 ] || summary="exit code $code: ${summary:-see $log}"
        elif [ -z "$summary" ]; then
            # The tool always ends with a summary: without one it has watched nothing.
            verdict=FAIL summary="no summary: see $log"
        fi
        [ $verdict = clean ] || bad=$((bad + 1))
        printf '%-10s  %-7s  %-34s  %s\n' "$tool" "$verdict" "$summary" "$label"
    done
done < <(set -f; subjects "$@")

[ $ran -gt 0 ] || refuse "no variant is named so: $*"
if [ $bad -gt 0 ]; then
    echo "FAIL: $bad of $ran runs; their outputs are in $logs"
    exit 1
fi
echo "clean: $ran runs"
