#!/bin/sh
# Goal: the second apt source is derived from whatever form the machine's own entry has, and from no other entry.
# Method: sample folders; the whole output is compared. Prints one line a case, as the other suites do.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
derive=$here/tools/backports_source.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

begin() { rm -rf "$work/apt"; mkdir -p "$work/apt/sources.list.d"; }

expect() { # name; the expected text on standard input
    wanted=$(cat)
    got=$("$derive" "$work/apt" bookworm bookworm-backports 2>/dev/null) || got=none
    if [ "$got" = "$wanted" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s\n  wanted: %s\n  got: %s\n' "$1" "$wanted" "$got"
    fi
}

begin
cat > "$work/apt/sources.list.d/a.sources" <<'X'
# written by an installer
Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /keys/security.gpg

Types: deb deb-src
# a comment inside
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Check-Valid-Until: no
Signed-By: /keys/debian.gpg
X
expect "deb822, security first" <<'X'
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
Check-Valid-Until: no
Signed-By: /keys/debian.gpg
X

begin
cat > "$work/apt/sources.list.d/a.sources" <<'X'
Types: deb
URIs: http://mirror.example/debian
Suites: stable
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
X
expect "deb822, a key inside, suite stable" <<'X'
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
X

begin
cat > "$work/apt/sources.list" <<'X'
# deb http://old.example/debian bookworm main
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian-security bookworm-security main
deb [arch=amd64,arm64 signed-by=/keys/debian.gpg check-valid-until=no] http://mirror.example/debian bookworm main non-free # ours
X
expect "one line with options" <<'X'
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
Architectures: amd64 arm64
Signed-By: /keys/debian.gpg
Check-Valid-Until: no
X

begin
cat > "$work/apt/sources.list.d/x.list" <<'X'
deb http://tools.example/apt bookworm-tools main
deb http://mirror.example/debian bookworm main
X
expect "one line without options, in a folder" <<'X'
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
X

begin
cat > "$work/apt/sources.list.d/a.sources" <<'X'
Enabled: no
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm
Components: main
X
echo "deb http://mirror.example/debian trixie main" > "$work/apt/sources.list"
expect "nothing that fits" <<'X'
none
X

echo "suite backports-source: $passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
