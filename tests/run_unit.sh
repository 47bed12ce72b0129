#!/bin/bash
# Build and run the unit tests of one preset with ctest; the last line counts programs.
#
#   tests/run_unit.sh asan          every tests/unit, tests/sim program and every fuzz corpus
#   tests/run_unit.sh tsan          those of tests/threaded.txt
#   tests/run_unit.sh asan REGEX    those whose name matches
#   tests/run_unit.sh release       all but the longest: what only an optimizing compiler shows (an endless loop was)
set -u
cd "$(dirname "$0")/.." || exit 1
preset=$1
filter=${2:-}
suite=unit-$preset
targets=()
exclude=
if [ "$preset" = tsan ]; then
    mapfile -t targets < <(sed 's/#.*//' tests/threaded.txt | awk 'NF { print $1 }')
    if [ ${#targets[@]} -eq 0 ]; then
        echo "suite $suite: 0 passed, 0 failed, 0 skipped"
        exit 0
    fi
    filter="^($(IFS='|'; echo "${targets[*]}"))\$"
fi
if [ "$preset" = release ] && [ -z "$filter" ]; then # these took 5 s and more, two thirds of the time of all
    exclude='^(node_store|node_hang|node_fault|object_stream|server_sim|log_voter|repair_walk|http_front|kv_rocksdb|background)_test$'
fi
if ! tools/build.sh "$preset" "${targets[@]}"; then
    echo "suite $suite: 0 passed, 1 failed, 0 skipped (it does not build)"
    exit 1
fi
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1:suppressions=$PWD/tests/tsan.supp}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -j "$(nproc)" ${filter:+-R "$filter"} ${exclude:+-E "$exclude"} 2>&1 |
    tee "$log" | grep -v ' Passed ' | grep -v '^ *Start '
passed=$(grep -c ' Passed ' "$log")
skipped=$(grep -c '\*\*\*Skipped\|\*\*\*Not Run (Disabled)' "$log")
total=$(sed -n 's/.*tests\{0,1\} failed out of \([0-9]*\).*/\1/p' "$log")
total=${total:-1}
if [ "$preset" = tsan ] && [ "$total" -lt ${#targets[@]} ]; then
    echo "tests/threaded.txt names ${#targets[@]} tests, $total exist"
    total=${#targets[@]}
fi
failed=$((total - passed - skipped))
echo "suite $suite: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
