#!/usr/bin/env bash
# Install the real servers of the zoo into .deps/zoo at the root of the repository, every version pinned: those on npm
# into .deps/zoo/node, those on PyPI into one virtual environment for each set of packages that excludes the others.
# With the word "small" it installs those of `make zoo-small` only: the dependencies of package.json that are not
# devDependencies, and two of the environments.
# Does nothing if it has run before with the same lists. Needs Node 20+, npm and Python 3.11+.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
deps=$(cd "$here/../.." && pwd)/.deps/zoo
mkdir -p "$deps/node"

part=${1:-all}
wanted=$(cat "$here/package-lock.json" "$here"/python*.txt "$0" | sha256sum)
installed=$(cat "$deps/.installed" 2>/dev/null || true)
[ "$installed" = "all $wanted" ] || [ "$installed" = "$part $wanted" ] && exit 0

if [ "$part" = small ]; then
  echo "installing the servers of the small zoo into .deps/zoo"
  lists=("$here/python1.txt" "$here/python2.txt")
  omit=(--omit=dev --omit=optional)
else
  echo "installing the servers of the zoo into .deps/zoo (about 850 MB)"
  lists=("$here"/python*.txt)
  omit=()
fi

install_node() {
  cp "$here/package.json" "$here/package-lock.json" "$deps/node/"
  # Scripts of packages are not run.
  (cd "$deps/node" && npm ci "${omit[@]}" --ignore-scripts --no-audit --no-fund --loglevel=error)
}

install_python() {
  local name
  name=$(basename "$1" .txt)
  [ -x "$deps/$name/bin/pip" ] || "${PYTHON:-python3}" -m venv "$deps/$name"
  "$deps/$name/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$1"
}

rm -f "$deps/.installed"
# All at once: most of the time goes by in waiting for the registries.
install_node & jobs=($!)
for list in "${lists[@]}"; do install_python "$list" & jobs+=($!); done
for job in "${jobs[@]}"; do wait "$job"; done
echo "$part $wanted" >"$deps/.installed"
