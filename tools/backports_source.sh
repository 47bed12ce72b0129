#!/bin/sh
# Derive an apt source of another suite from the machine's own Debian entry, and print it (deb822).
#
#   tools/backports_source.sh APT-DIR CODENAME SUITE        e.g.  /etc/apt bookworm bookworm-backports
#
# The first enabled binary entry whose suites name CODENAME (or "stable") gives mirror, keys and options; deb822
# (.sources) and one-line (.list) files are understood; security archives and other releases are passed over. What the
# entry says about Signed-By, Check-Valid-Until, Trusted, Architectures and the like is kept: a mirror of old
# snapshots works if the machine's own entry does. Exit status 1: there is no such entry.
set -eu
apt_dir=${1:?APT-DIR}
codename=${2:?CODENAME}
suite=${3:?SUITE}

# deb822: stanzas end with an empty line; a field may go on in lines that begin with a blank.
from_deb822() {
    awk -v codename="$codename" -v suite="$suite" '
        function has(list, word,   parts, n, i) {
            n = split(list, parts, /[ \t\n]+/)
            for (i = 1; i <= n; i++) if (parts[i] == word) return 1
            return 0
        }
        function finish(   i, name) {
            if (count > 0 && has(value["types"], "deb") && tolower(value["enabled"]) !~ /^ *no/ &&
                (has(value["suites"], codename) || has(value["suites"], "stable")) &&
                value["uris"] !~ /security/ && !found) {
                found = 1
                print "Types: deb"
                for (i = 1; i <= count; i++) {
                    name = order[i]
                    if (name == "types" || name == "enabled") continue
                    else if (name == "suites") print "Suites: " suite
                    else if (name == "components") print "Components: main"
                    else print text[name]
                }
            }
            count = 0; last = ""; split("", value); split("", text)
        }
        /^[ \t]*#/ { next }
        /^[ \t]*$/ { finish(); next }
        /^[ \t]/   { if (last != "") { value[last] = value[last] "\n" $0; text[last] = text[last] "\n" $0 } next }
        {
            colon = index($0, ":")
            if (colon == 0) next
            last = tolower(substr($0, 1, colon - 1))
            order[++count] = last
            value[last] = substr($0, colon + 1)
            sub(/^[ \t]+/, "", value[last])
            text[last] = $0
        }
        END { finish(); exit found ? 0 : 1 }' "$1"
}

# deb [option=value ...] URI suite component ...
from_list() {
    awk -v codename="$codename" -v suite="$suite" '
        BEGIN {
            name["arch"] = "Architectures"; name["lang"] = "Languages"; name["target"] = "Targets"
            name["signed-by"] = "Signed-By"; name["trusted"] = "Trusted"; name["pdiffs"] = "PDiffs"
            name["by-hash"] = "By-Hash"; name["allow-insecure"] = "Allow-Insecure"; name["allow-weak"] = "Allow-Weak"
            name["check-valid-until"] = "Check-Valid-Until"; name["valid-until-max"] = "Valid-Until-Max"
            name["valid-until-min"] = "Valid-Until-Min"; name["check-date"] = "Check-Date"
            name["date-max-future"] = "Date-Max-Future"
        }
        found || $1 != "deb" { next }
        {
            sub(/#.*/, "")
            line = $0
            sub(/^[ \t]*deb[ \t]+/, "", line)
            options = ""
            if (line ~ /^\[/) {
                close_at = index(line, "]")
                options = substr(line, 2, close_at - 2)
                line = substr(line, close_at + 1)
            }
            split(line, word, " ")
            if ((word[2] != codename && word[2] != "stable") || word[1] ~ /security/) next
            found = 1
            print "Types: deb"
            print "URIs: " word[1]
            print "Suites: " suite
            print "Components: main"
            n = split(options, option, " ")
            for (i = 1; i <= n; i++) {
                equals = index(option[i], "=")
                key = substr(option[i], 1, equals - 1)
                val = substr(option[i], equals + 1)
                gsub(/,/, " ", val)
                if (key in name) print name[key] ": " val
            }
        }
        END { exit found ? 0 : 1 }' "$1"
}

for file in "$apt_dir"/sources.list.d/*.sources; do
    if [ -f "$file" ] && from_deb822 "$file"; then exit 0; fi
done
for file in "$apt_dir"/sources.list "$apt_dir"/sources.list.d/*.list; do
    if [ -f "$file" ] && from_list "$file"; then exit 0; fi
done
echo "no Debian entry for $codename in $apt_dir" >&2
exit 1
