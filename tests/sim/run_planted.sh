#!/bin/bash
# Which planted defects (common/base/plant.h) the simulated cluster, the crash tests and a chaos run find. `make planted`.
#   PLANTED_SEEDS=n     seeds of the simulated cluster tried per defect (500)
#   PLANTED_BY=LIST     which of "sim crash chaos" (all three; about 25 minutes)
#   PLANTED_ONLY=LIST   numbers of defects (all)
# Exit status: 0 if the build without a defect passes everywhere; what is found and what is not is printed as a table.
set -u
cd "$(dirname "$0")/../.." || exit 1
seeds=${PLANTED_SEEDS:-500}
by=${PLANTED_BY:-sim crash chaos}
root=$PWD
export CAIRN_BINARY="$root/build/planted/cairn"
tools/build.sh planted || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# Each prints what it saw and fails if the defect shows.
run_sim() { CLUSTER_SEEDS=$seeds timeout 300 build/planted/tests/cluster_sim_test; }
run_crash() { timeout 600 tests/durability/run_durability.py --kill-rounds 5 kill9 corruption inject; }
run_chaos() { TMPDIR=$work timeout 300 tests/chaos/run_chaos.py --seconds 20 --graves 0 --seed 4; }

try() { # try HOW NUMBER: one cell of the table
    if CAIRN_PLANT=$2 "run_$1" >"$work/out" 2>&1; then
        echo "not found"
    else
        first=$(grep -o 'CLUSTER_SEED=[0-9]*' "$work/out" | head -1)
        [ -n "$first" ] || first=$(grep -m1 -o '^FAILED [^:]*: [^:]*' "$work/out" | sed 's/^FAILED [^:]*: //')
        echo "found: ${first:-an assertion or a hang}"
    fi
    rm -rf "$work"/cairn-chaos-* # what a failed run keeps
}

for how in $by; do
    if [ "$(try "$how" 0)" != "not found" ]; then
        echo "without a defect '$how' fails: nothing can be said"
        exit 1
    fi
done
echo "| planted defect |$(for how in $by; do printf ' %s |' "$how"; done)"
echo "|---|$(for how in $by; do printf -- '---|'; done)"
number=0
found=0
tried=0
for name in $(sed -n 's/^    PLANT_\([A-Z_]*\)[ ,].*/\1/p' common/base/plant.h | grep -v '^COUNT$' | tr 'A-Z' 'a-z'); do
    number=$((number + 1))
    case " ${PLANTED_ONLY:-$number} " in *" $number "*) ;; *) continue ;; esac
    tried=$((tried + 1))
    row="| $name |"
    seen=no
    for how in $by; do
        cell=$(try "$how" $number)
        case $cell in found*) seen=yes ;; esac
        row="$row $cell |"
    done
    echo "$row"
    [ $seen = yes ] && found=$((found + 1))
done
echo "$found of $tried found"
