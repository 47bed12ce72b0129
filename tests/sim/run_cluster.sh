#!/bin/bash
# The simulated cluster over many seeds (tests/sim/cluster_sim_test.c), each a test of its own in the count.
#   CLUSTER_SEEDS=n  so many seeds (500)      CLUSTER_SEED=s  that one alone      CLUSTER_FAULTS=bits  these faults in all seeds
set -u
cd "$(dirname "$0")/../.." || exit 1
seeds=${CLUSTER_SEEDS:-500}
[ -n "${CLUSTER_SEED:-}" ] && seeds=1
if tools/build.sh release cluster_sim_test && CLUSTER_SEEDS=$seeds timeout 900 build/release/tests/cluster_sim_test; then
    echo "suite simulation: $seeds passed, 0 failed, 0 skipped"
else
    echo "suite simulation: 0 passed, 1 failed, 0 skipped" # the first seed that fails ends the run
    exit 1
fi
