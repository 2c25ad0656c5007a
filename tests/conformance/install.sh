#!/usr/bin/env bash
# Puts what the conformance run needs into .deps/ at the root of the repository, every version pinned:
# the official suite and TypeScript SDKs (.deps/node) and the Python SDK 1.x client (.deps/py1).
# Does nothing when it has done so before. Needs Node 20+, npm and Python 3.11+.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
deps=$(cd "$here/../.." && pwd)/.deps
mkdir -p "$deps/node"

wanted=$(cat "$here/package-lock.json" "$here/py1.txt" "$0" | sha256sum)
[ "$(cat "$deps/.installed" 2>/dev/null)" = "$wanted" ] && exit 0

major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
[ "$major" -ge 20 ] || { echo "install.sh: Node 20 or newer is needed, this is $(node --version)" >&2; exit 69; }

echo "installing the conformance suite and the official SDKs into .deps"
cp "$here/package.json" "$here/package-lock.json" "$deps/node/"
# No script of any of the packages is run.
(cd "$deps/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)

[ -x "$deps/py1/bin/pip" ] || "${PYTHON:-python3}" -m venv "$deps/py1"
"$deps/py1/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$here/py1.txt"

echo "$wanted" >"$deps/.installed"
