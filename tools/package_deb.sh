#!/bin/sh
# Put build/release/cairn, its manual, units and example configuration into build/deb/cairn_VERSION_ARCHITECTURE.deb.
#
#   tools/package_deb.sh
#
# Needs dpkg-deb and dpkg-shlibdeps, which build-essential brings (package dpkg-dev). Not root: files in it belong to root.
# The same tree makes the same package: times in it are those of SOURCE_DATE_EPOCH, by default the last commit's.
set -eu
umask 022
cd "$(dirname "$0")/.."
binary=build/release/cairn
out=build/deb
version=$("$binary" version | awk '{ print $2 }')
architecture=$(dpkg --print-architecture)
name=cairn_${version}_$architecture
root=$out/$name
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || date +%s)}"
export SOURCE_DATE_EPOCH

rm -rf "$out"
mkdir -p "$root/DEBIAN" "$root/usr/bin" "$root/usr/lib/systemd/system" "$root/usr/share/doc/cairn/formats" \
    "$root/usr/share/doc/cairn/examples" "$root/etc/cairn" "$out/debian"
strip --strip-unneeded -o "$root/usr/bin/cairn" "$binary"
chmod 755 "$root/usr/bin/cairn"
install -m 644 deploy/systemd/*.service "$root/usr/lib/systemd/system"
install -m 640 deploy/debian/cairn.ini "$root/etc/cairn"
install -m 644 deploy/debian/copyright README.md docs/*.md "$root/usr/share/doc/cairn"
install -m 644 docs/formats/*.md "$root/usr/share/doc/cairn/formats"
install -m 644 deploy/haproxy/haproxy.cfg "$root/usr/share/doc/cairn/examples"
for page in docs/man/*.[1-8]; do
    folder=$root/usr/share/man/man${page##*.}
    mkdir -p "$folder"
    gzip -9 -n <"$page" >"$folder/$(basename "$page").gz"
    chmod 644 "$folder/$(basename "$page").gz"
done

# "man cairn-status" as "man cairn": each command has its own page, or is a paragraph of one of these.
"$root/usr/bin/cairn" --help | sed -n '/^Commands:$/,/^$/s/^  \([a-z-]*\) .*/\1/p' | while read -r command; do
    case $command in
        metadata|storage-node|gateway) page=cairn-cluster ;;
        *) page=cairn ;;
    esac
    [ -e "$root/usr/share/man/man1/cairn-$command.1.gz" ] || ln -s "$page.1.gz" "$root/usr/share/man/man1/cairn-$command.1.gz"
done

# dpkg-shlibdeps wants a source package's control file beside it.
printf 'Source: cairn\n\nPackage: cairn\nArchitecture: any\n' >"$out/debian/control"
depends=$(cd "$out" && dpkg-shlibdeps -O "$name/usr/bin/cairn" 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
[ -n "$depends" ] || { echo "cairn: dpkg-shlibdeps names no libraries" >&2; exit 1; }
size=$(du -sk --apparent-size --exclude=DEBIAN "$root" | awk '{ print $1 }')
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@SIZE@/$size/" -e "s/@DEPENDS@/$depends/" \
    deploy/debian/control.in >"$root/DEBIAN/control"
echo /etc/cairn/cairn.ini >"$root/DEBIAN/conffiles"
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
install -m 755 deploy/debian/postinst deploy/debian/prerm deploy/debian/postrm "$root/DEBIAN"
dpkg-deb --root-owner-group --build "$root" "$out" >/dev/null
rm -rf "$root" "$out/debian"
echo "$out/$name.deb"
