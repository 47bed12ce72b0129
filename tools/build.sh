#!/bin/sh
# Configure one preset where that has not been done, and build targets of it.
#
#   tools/build.sh PRESET [TARGET...]       default: everything
set -eu
cd "$(dirname "$0")/.."
preset=$1
shift
if [ ! -f "build/$preset/build.ninja" ]; then
    cmake --preset "$preset" -Wno-dev >"/tmp/cairn-configure.$$" 2>&1 || {
        cat "/tmp/cairn-configure.$$" >&2
        rm -f "/tmp/cairn-configure.$$"
        echo "cairn: not configured; 'make install' fetches what is missing" >&2
        exit 1
    }
    rm -f "/tmp/cairn-configure.$$"
fi
[ $# -gt 0 ] || set -- all
exec ninja -C "build/$preset" --quiet "$@"
