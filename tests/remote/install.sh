#!/usr/bin/env bash
# Puts what tests/remote needs into .deps/remote at the root of the repository, every version pinned: an authorization server
# and mcp-remote (.deps/remote/node), and fastmcp (.deps/remote/python). The official SDKs and the Inspector are those of
# other targets, whose install.sh are run first.
# Does nothing when it has done so before. Needs Node 20+, npm and Python 3.11+.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
deps=$(cd "$here/../.." && pwd)/.deps/remote
"$here/../proxies/install.sh"
mkdir -p "$deps/node"

wanted=$(cat "$here/package-lock.json" "$here/python.txt" "$0" | sha256sum)
[ "$(cat "$deps/.installed" 2>/dev/null)" = "$wanted" ] && exit 0

echo "installing the servers and peers of tests/remote into .deps/remote"
cp "$here/package.json" "$here/package-lock.json" "$deps/node/"
# No script of any of the packages is run.
(cd "$deps/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)

[ -x "$deps/python/bin/pip" ] || "${PYTHON:-python3}" -m venv "$deps/python"
"$deps/python/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$here/python.txt"

echo "$wanted" >"$deps/.installed"
