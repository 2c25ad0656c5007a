#!/usr/bin/env bash
# Puts the agent clients that clients.py and files.py use, every version pinned, into .deps/clients at the root of the
# repository (about 2 GiB). No script of any of the packages is run: programs that a script puts in place are run from the
# package of this platform instead.
# Does nothing when it has done so before. Needs Node 20+ and npm.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
deps=$(cd "$here/../.." && pwd)/.deps/clients
mkdir -p "$deps"

wanted=$(cat "$here/package-lock.json" "$0" | sha256sum)
[ "$(cat "$deps/.installed" 2>/dev/null)" = "$wanted" ] && exit 0

echo "installing agent clients into .deps/clients"
cp "$here/package.json" "$here/package-lock.json" "$deps/"
# Not `npm ci`: the lock file has no entry for optional packages of other platforms that a registry may lack.
(cd "$deps" && npm install --ignore-scripts --no-audit --no-fund --loglevel=error)
echo "$wanted" >"$deps/.installed"
