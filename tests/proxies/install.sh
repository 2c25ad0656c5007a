#!/usr/bin/env bash
# Puts the MCP Inspector, pinned, into .deps/inspector at the root of the repository. The other clients are those of the
# conformance run, so its install.sh is run first. The proxies are the system's own (apt-get install nginx haproxy caddy).
# Does nothing when it has done so before. Needs Node 20+ and npm.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
deps=$(cd "$here/../.." && pwd)/.deps/inspector
"$here/../conformance/install.sh"
mkdir -p "$deps"

wanted=$(cat "$here/package-lock.json" "$0" | sha256sum)
[ "$(cat "$deps/.installed" 2>/dev/null)" = "$wanted" ] && exit 0

echo "installing the MCP Inspector into .deps/inspector"
cp "$here/package.json" "$here/package-lock.json" "$deps/"
# No script of any of the packages is run.
# Not `npm ci`: the lock file has no entry for optional packages of other platforms that a registry may lack.
(cd "$deps" && npm install --ignore-scripts --no-audit --no-fund --loglevel=error)
echo "$wanted" >"$deps/.installed"
