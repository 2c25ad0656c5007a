#!/usr/bin/env bash
# Puts what the tests of the page need into .deps/page at the root of the repository, every version pinned: the linters
# and axe-core (node), playwright (python), and a headless Chromium (chromium). `install.sh lint` installs the linters only.
# Chromium is the one that playwright downloads. Where that site cannot be reached, the packages of Debian are unpacked into
# the folder instead. Nothing is installed into the system.
# Does nothing when it has done so before. Needs Node 20.19+, npm and Python 3.11+.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
deps=$root/.deps/page
mkdir -p "$deps/node"

wanted=$(cat "$here/package-lock.json" | sha256sum)
if [ "$(cat "$deps/node/.installed" 2>/dev/null)" != "$wanted" ]; then
    echo "installing the linters of the page into .deps/page/node"
    cp "$here/package.json" "$here/package-lock.json" "$deps/node/"
    # No script of any of the packages is run.
    (cd "$deps/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    echo "$wanted" >"$deps/node/.installed"
fi
[ "${1:-all}" = lint ] && exit 0

wanted=$(cat "$here/python.txt" "$0" | sha256sum)
[ "$(cat "$deps/.installed" 2>/dev/null)" = "$wanted" ] && exit 0
echo "installing playwright and Chromium into .deps/page"
rm -rf "$deps/python" "$deps/chromium" "$deps/browsers"
"${PYTHON:-python3}" -m pip install --quiet --disable-pip-version-check --target "$deps/python" --requirement "$here/python.txt"

if PYTHONPATH=$deps/python PLAYWRIGHT_BROWSERS_PATH=$deps/browsers timeout 300 \
    "${PYTHON:-python3}" -m playwright install --only-shell chromium >"$deps/browser.log" 2>&1; then
    ln -s "$(find "$deps/browsers" -type f \( -name headless_shell -o -name chrome-headless-shell \) | head -n 1)" "$deps/chromium"
else
    echo "playwright cannot download Chromium (see .deps/page/browser.log); unpacking the packages of Debian"
    mkdir -p "$deps/debian"
    # Only what this system lacks.
    found=$(apt-get install --simulate --no-install-recommends chromium-headless-shell | sed -n 's/^Inst \([^ ]*\).*/\1/p')
    mapfile -t packages <<<"$found"
    (cd "$deps/debian" && apt-get download --quiet "${packages[@]}" && for file in *.deb; do dpkg-deb --extract "$file" . && rm "$file"; done)
    cat >"$deps/chromium" <<'SCRIPT'
#!/usr/bin/env bash
here=$(dirname "$(readlink -f "$0")")/debian
libraries=$(find "$here/usr/lib" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
LD_LIBRARY_PATH=$libraries exec "$(find "$here/usr/lib/chromium" -maxdepth 1 -type f \( -name headless_shell -o -name chromium-headless-shell -o -name chrome-headless-shell \) | head -n 1)" "$@"
SCRIPT
    chmod +x "$deps/chromium"
fi
"$deps/chromium" --version --no-sandbox
echo "$wanted" >"$deps/.installed"
