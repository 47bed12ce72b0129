#!/bin/bash
# Every suite, one after the other; the last line counts them all. A suite ends with a line
# "suite NAME: P passed, F failed, S skipped"; one that does not has failed.
#
# Exit status: 0 only when nothing failed.
set -u
cd "$(dirname "$0")/.." || exit 1
passed=0
failed=0
skipped=0
summary=()

suite() { # name command...
    local name=$1 start=$SECONDS log line
    shift
    log=$(mktemp)
    echo "== $name: $*"
    "$@" 2>&1 | tee "$log"
    local status=${PIPESTATUS[0]}
    local p=0 f=0 s=0 seen=no
    while read -r line; do
        if [[ $line =~ ^suite\ [^:]*:\ ([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped ]]; then
            p=$((p + BASH_REMATCH[1])); f=$((f + BASH_REMATCH[2])); s=$((s + BASH_REMATCH[3])); seen=yes
        fi
    done < "$log"
    if [ $seen = no ] || { [ "$status" -ne 0 ] && [ $f -eq 0 ]; }; then f=$((f + 1)); fi
    rm -f "$log"
    passed=$((passed + p)); failed=$((failed + f)); skipped=$((skipped + s))
    summary+=("$(printf '%-16s %4d passed %4d failed %4d skipped %5d s' "$name" $p $f $s $((SECONDS - start)))")
}

build_release() {
    if tools/build.sh release cairn; then
        echo "suite build: 1 passed, 0 failed, 0 skipped"
    else
        echo "suite build: 0 passed, 1 failed, 0 skipped"
        return 1
    fi
}

suite build build_release
suite check tools/check/run_checks.sh
suite packages tests/tools/backports_source_test.sh
suite package tests/tools/package_test.py
suite unit tests/run_unit.sh asan
suite threads tests/run_unit.sh tsan
suite optimized tests/run_unit.sh release
suite simulation tests/sim/run_cluster.sh
suite linear tests/chaos/linear_test.py
suite clients tests/clients/run_clients.py
suite gateways tests/clients/run_clients.py --cluster gateways smoke boto3 awscli rclone
suite start_rules tests/server/start_rules.py
suite operate tests/server/operate.py
suite cluster tests/server/cluster.py
suite voters tests/server/voters.py
suite upkeep tests/server/upkeep.py
suite disks tests/server/disks.py
suite scrub tests/server/scrub.py
suite classes tests/server/classes.py
suite runbooks tests/server/runbooks.py
suite backup tests/server/backup.py
suite convert tests/server/convert.py
suite verbs tests/server/verbs.py
suite golden tests/golden/golden_test.py
suite chaos tests/chaos/run_chaos.py --seconds 60
suite durability tests/durability/run_durability.py

echo
printf '%s\n' "${summary[@]}"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
