#!/usr/bin/env bash
# Puts promtool of the Debian package `prometheus` into .deps/prometheus at the root of the repository. No service is
# installed. Does nothing when promtool is installed already, here or in PATH.
set -euo pipefail
deps=$(cd "$(dirname "$0")/../.." && pwd)/.deps/prometheus
[ -x "$deps/promtool" ] && exit 0
mkdir -p "$deps"
if found=$(command -v promtool); then
  ln -sf "$found" "$deps/promtool"
  exit 0
fi
echo "downloading promtool into .deps/prometheus"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get download -q prometheus >/dev/null) || {
  echo "promtool is missing: install the package prometheus" >&2
  exit 1
}
dpkg-deb --fsys-tarfile "$work"/prometheus_*.deb | tar -x -C "$work" ./usr/bin/promtool
mv "$work/usr/bin/promtool" "$deps/promtool"
