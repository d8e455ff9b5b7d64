#!/usr/bin/env bash
# Build Debian's packages, one for each part, of the source tree $1 (an unpacked sdist) into the folder $2.
set -euo pipefail
source=$(realpath "$1") out=$(realpath -m "$2")

if ! command -v dpkg-buildpackage >/dev/null; then
  echo "debian.sh: error: Debian's tools are missing; install them: apt-get install dpkg-dev debhelper" >&2
  exit 1
fi
# dpkg-buildpackage writes beside the tree, so the tree lies in a folder of its own.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$source" "$work/tree"
cp -r "$source/contrib/debian" "$work/tree/debian"
cd "$work/tree"
# The distribution's own Python and tools, whatever else the caller has.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
umask 022
if ! unmet=$(dpkg-checkbuilddeps debian/control 2>&1); then
  # "dpkg-checkbuilddeps: error: Unmet build dependencies: a b (>= 1)"
  names=$(sed 's/.*dependencies: //; s/([^)]*)//g' <<<"$unmet")
  echo "debian.sh: error: packages are missing that the build needs; install them: apt-get install $names" >&2
  exit 1
fi
if ! dpkg-buildpackage --build=binary --no-sign >"$work/log" 2>&1; then
  cat "$work/log" >&2
  exit 1
fi
mkdir -p "$out"
cp "$work"/*.deb "$out"
