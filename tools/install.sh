#!/bin/sh
# Install what is missing of tools/packages.txt. Says first what it is about to install; safe to run again.
#
#   tools/install.sh [SECTION...]       default: build
#
# As root, or through sudo. A package of [clients] that cannot be had is named and left out: its tests are then
# skipped. Anything else that is missing is an error.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
list=$here/packages.txt
apt_dir=${CAIRN_APT_DIR:-/etc/apt}
[ $# -gt 0 ] || set -- build

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@"
}

# Lines of one section, without comments.
section() {
    awk -v want="[$1]" '{ sub(/#.*/, "") } /^\[/ { on = $1 == want; next } on && NF { print }' "$list"
}

option() { # option NAME WORD... : the value of NAME=... among the words
    wanted=$1; shift
    for word in "$@"; do
        case $word in "$wanted"=*) echo "${word#*=}"; return ;; esac
    done
}

installed_version() {
    dpkg-query -W -f '${db:Status-Status} ${Version}' "$1" 2>/dev/null | sed -n 's/^installed //p'
}

candidate_version() {
    apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p' | grep -v '(none)' || true
}

enough() { # enough VERSION LEAST
    [ -n "$1" ] && { [ -z "$2" ] || dpkg --compare-versions "$1" ge "$2"; }
}

is_there() { # a line of the list
    package=$1
    command=$(option command "$@")
    if [ -n "$command" ] && command -v "$command" >/dev/null 2>&1; then return 0; fi
    enough "$(installed_version "$package")" "$(option least "$@")"
}

missing() { # missing SECTION : its lines that are not satisfied
    section "$1" | while read -r line; do
        # shellcheck disable=SC2086  # words of the line
        is_there $line || echo "$line"
    done
}

# A second source entry, where the release's own version of a package is too old.
backports_add() { # package least suite-word
    . /etc/os-release
    full_suite=$VERSION_CODENAME-$3
    if ! grep -rqs "$full_suite" "$apt_dir/sources.list" "$apt_dir/sources.list.d"; then
        entry=$("$here/backports_source.sh" "$apt_dir" "$VERSION_CODENAME" "$full_suite")
        target=$apt_dir/sources.list.d/cairn-$3.sources
        echo "cairn: $1 >= $2 comes from $full_suite: adding $target, derived from this machine's Debian entry:"
        echo "$entry" | sed 's/^/    /'
        echo "$entry" | as_root tee "$target" >/dev/null
    fi
    apt_get update
}

update_once() {
    [ -n "${updated:-}" ] || apt_get update
    updated=yes
}

install_special() { # a line with least=
    least=$(option least "$@")
    suite=$(option suite "$@")
    update_once
    if enough "$(candidate_version "$1")" "$least"; then
        echo "cairn: installing $1"
        apt_get install --no-install-recommends "$1"
        return
    fi
    [ -n "$suite" ] || { echo "cairn: $1 >= $least cannot be had here" >&2; return 1; }
    backports_add "$1" "$least" "$suite"
    echo "cairn: installing $1 from $VERSION_CODENAME-$suite"
    apt_get install --no-install-recommends -t "$VERSION_CODENAME-$suite" "$1"
    enough "$(installed_version "$1")" "$least"
}

for name in "$@"; do
    lines=$(missing "$name")
    plain=$(echo "$lines" | grep -v 'least=' | awk 'NF { print $1 }' | tr '\n' ' ')
    special=$(echo "$lines" | grep 'least=' || true)
    [ -n "$plain$special" ] || continue
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "cairn: this machine has no apt-get; these Debian packages (or their like) are missing: $plain$special" >&2
        [ "$name" = clients ] && continue
        exit 1
    fi
    if [ -n "$plain" ]; then
        echo "cairn: installing for '$name': $plain"
        update_once
        # shellcheck disable=SC2086  # a list of names
        if ! apt_get install --no-install-recommends $plain; then
            [ "$name" = clients ] || exit 1
            for package in $plain; do
                apt_get install --no-install-recommends "$package" ||
                    echo "cairn: $package cannot be installed: its tests will be skipped" >&2
            done
        fi
    fi
    if [ -n "$special" ]; then
        # shellcheck disable=SC2086  # words of the line
        echo "$special" | while read -r line; do install_special $line </dev/null; done
    fi
done
