#!/bin/bash
# Fuzz with libFuzzer under ASan and UBSan: every target, or one, for so many minutes of CPU time each.
#
#   tests/run_fuzz.sh all|NAME MINUTES       NAME as in tests/fuzz/NAME_fuzz.c
#
# libFuzzer's own limit is wall time, so on a busy machine a target is started again for what its user and system time
# are short of MINUTES. Prints executions, covered edges and CPU seconds. New inputs stay in build/fuzz/corpus; a finding is
# kept in build/fuzz and named. Move it to tests/fuzz/corpus/NAME together with the fix.
set -u
cd "$(dirname "$0")/.." || exit 1
target=$1
minutes=$2
cmake -G Ninja -S . -B build/fuzz -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCAIRN_SANITIZE=address \
    -DCAIRN_FUZZ=ON -DCMAKE_C_FLAGS=-fsanitize=fuzzer-no-link >/dev/null || exit 1
names=()
for source in tests/fuzz/*_fuzz.c; do
    name=$(basename "$source" _fuzz.c)
    if [ "$target" = all ] || [ "$target" = "$name" ]; then names+=("$name"); fi
done
if [ ${#names[@]} -eq 0 ]; then
    echo "no fuzz target '$target'" >&2
    exit 2
fi
ninja -C build/fuzz --quiet "${names[@]/%/_fuzz}" || exit 1

# One start of target $1 for $2 seconds; adds to cpu_ms, executions and edges. Fails on a finding.
fuzz_once() {
    local log=build/fuzz/$1.log used
    TIMEFORMAT='cpu %U %S'
    { time build/fuzz/tests/"$1"_fuzz -max_total_time="$2" -print_final_stats=1 -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="build/fuzz/$1-" "build/fuzz/corpus/$1" "tests/fuzz/corpus/$1" >"$log" 2>&1; } 2>"$log.time"
    local rc=$?
    used=$(awk '$1 == "cpu" { printf "%d", ($2 + $3) * 1000 }' "$log.time")
    cpu_ms=$((cpu_ms + ${used:-0}))
    executions=$((executions + $(awk '$1 == "stat::number_of_executed_units:" { n = $2 } END { print n + 0 }' "$log")))
    edges=$(awk '{ for (i = 1; i < NF; i++) if ($i == "cov:") n = $(i + 1) } END { print n + 0 }' "$log")
    [ "$rc" -eq 0 ] || tail -40 "$log"
    return "$rc"
}

passed=0
failed=0
for name in "${names[@]}"; do
    mkdir -p "build/fuzz/corpus/$name" "tests/fuzz/corpus/$name"
    echo "fuzz $name: $minutes CPU minutes"
    cpu_ms=0
    executions=0
    edges=0
    verdict=passed
    while [ "$cpu_ms" -lt $((minutes * 60000)) ]; do
        before=$cpu_ms
        if ! fuzz_once "$name" $(((minutes * 60000 - cpu_ms + 999) / 1000)); then
            verdict=FAILED
            break
        fi
        if [ "$cpu_ms" -eq "$before" ]; then
            echo "fuzz $name: used no CPU time" >&2
            verdict=FAILED
            break
        fi
    done
    echo "$verdict fuzz $name: $executions executions, $edges edges, $((cpu_ms / 1000)) CPU s"
    if [ "$verdict" = passed ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED fuzz $name: see build/fuzz/$name.log and build/fuzz/$name-*"
    fi
done
echo "suite fuzz: $passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
