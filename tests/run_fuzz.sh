#!/bin/bash
# Fuzz with libFuzzer under ASan and UBSan: every target, or one, for so many minutes of CPU time each.
#
#   tests/run_fuzz.sh all|NAME MINUTES       NAME as in tests/fuzz/NAME_fuzz.c
#
# New inputs stay in build/fuzz/corpus; a finding is kept in build/fuzz and named. Move it to tests/fuzz/corpus/NAME
# together with the fix.
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
passed=0
failed=0
for name in "${names[@]}"; do
    found=build/fuzz/corpus/$name
    mkdir -p "$found" "tests/fuzz/corpus/$name"
    echo "fuzz $name: $minutes minutes"
    if build/fuzz/tests/"$name"_fuzz -max_total_time=$((minutes * 60)) -print_final_stats=1 -verbosity=0 -timeout=10 \
        -rss_limit_mb=2048 -artifact_prefix="build/fuzz/$name-" "$found" "tests/fuzz/corpus/$name"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED fuzz $name: see build/fuzz/$name-*"
    fi
done
echo "suite fuzz: $passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
