#!/usr/bin/env bash
# Puts the peers that run.py compares us with into .deps/peers at the root of the repository, every version pinned.
# Does nothing when it has done so before. Needs Node 20+, npm and Python 3.11+.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
deps=$(cd "$here/.." && pwd)/.deps/peers
mkdir -p "$deps/node"

wanted=$(sha256sum <"$0")
[ "$(cat "$deps/.installed" 2>/dev/null)" = "$wanted" ] && exit 0

major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
[ "$major" -ge 20 ] || { echo "peers.sh: Node 20 or newer is needed, this is $(node --version)" >&2; exit 69; }

echo "installing the peers into .deps/peers"
echo '{"private": true}' >"$deps/node/package.json"
# No script of any of the packages is run.
(cd "$deps/node" && npm install --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error \
    supergateway@4.0.0 mcp-proxy@6.7.19 mcp-remote@0.15.1)

python_peer() {  # NAME PACKAGE... : a virtual environment of its own
    [ -x "$deps/$1/bin/pip" ] || "${PYTHON:-python3}" -m venv "$deps/$1"
    "$deps/$1/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
}
python_peer mcp-proxy mcp-proxy==0.13.0
# 4.1.6 asks for a certifi that is newer than some indexes have; it works with the one that 4.1.2 brings.
python_peer fastmcp fastmcp==4.1.2
python_peer fastmcp --no-deps fastmcp==4.1.6 fastmcp-slim==4.1.6

echo "$wanted" >"$deps/.installed"
