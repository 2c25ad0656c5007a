#!/usr/bin/env bash
# Install the real servers of the zoo into .deps/zoo at the root of the repository, every version pinned: those on npm
# into .deps/zoo/node, those on PyPI into one virtual environment for each set of packages that excludes the others.
# Does nothing if it has run before with the same lists. Needs Node 20+, npm and Python 3.11+.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
deps=$(cd "$here/../.." && pwd)/.deps/zoo
mkdir -p "$deps/node"

wanted=$(cat "$here/package-lock.json" "$here"/python*.txt "$0" | sha256sum)
[ "$(cat "$deps/.installed" 2>/dev/null)" = "$wanted" ] && exit 0

echo "installing the servers of the zoo into .deps/zoo (about 850 MB)"
cp "$here/package.json" "$here/package-lock.json" "$deps/node/"
# Scripts of packages are not run.
(cd "$deps/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)

for list in "$here"/python*.txt; do
  name=$(basename "$list" .txt)
  [ -x "$deps/$name/bin/pip" ] || "${PYTHON:-python3}" -m venv "$deps/$name"
  "$deps/$name/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$list"
done

echo "$wanted" >"$deps/.installed"
