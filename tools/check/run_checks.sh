#!/bin/bash
# Run every check; each counts as one. A check that cannot look (status 77) is skipped, and says why.
set -u
cd "$(dirname "$0")" || exit 1
passed=0
failed=0
skipped=0
for check in check_*.py; do
    output=$(PYTHONDONTWRITEBYTECODE=1 python3 "$check" 2>&1)
    status=$?
    if [ $status -eq 0 ]; then
        passed=$((passed + 1))
    elif [ $status -eq 77 ]; then
        skipped=$((skipped + 1))
        echo "SKIPPED $check: $output"
    else
        failed=$((failed + 1))
        printf 'FAILED %s\n%s\n' "$check" "$output"
    fi
done
echo "suite check: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
