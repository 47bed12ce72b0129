#!/bin/bash
# Which planted defects (common/base/plant.h) the simulated cluster finds, and at which seed. `make planted`.
#   PLANTED_SEEDS=n  seeds tried per defect (500)
# Exit status: 0 if the build without a defect passes; what is found and what is not is printed as a table.
set -u
cd "$(dirname "$0")/../.." || exit 1
seeds=${PLANTED_SEEDS:-500}
tools/build.sh planted cluster_sim_test || exit 1
run() { CAIRN_PLANT=$1 CLUSTER_SEEDS=$seeds timeout 300 build/planted/tests/cluster_sim_test 2>&1; }
if ! run 0 >/dev/null; then
    echo "without a defect the simulation fails: nothing can be said"
    exit 1
fi
echo "| planted defect | simulated cluster |"
echo "|---|---|"
number=0
found=0
for name in $(sed -n 's/^    PLANT_\([A-Z_]*\)[ ,].*/\1/p' common/base/plant.h | grep -v '^COUNT$' | tr 'A-Z' 'a-z'); do
    number=$((number + 1))
    if out=$(run $number); then
        echo "| $name | not found in $seeds seeds |"
    else
        found=$((found + 1))
        seed=$(grep -o 'CLUSTER_SEED=[0-9]*' <<<"$out" | head -1)
        echo "| $name | found: ${seed:-an assertion or a hang} |"
    fi
done
echo "$found of $number found"
