#!/usr/bin/env bash
# Puts pipx, pinned, and tmux into .deps/session at the root of the repository. tmux is that of the system; where it has none,
# the packages of Debian are unpacked into the folder. Nothing is installed into the system.
# Does nothing when it has done so before. Needs Python 3.11+ and pip.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
deps=$(cd "$here/../.." && pwd)/.deps/session
mkdir -p "$deps"

wanted=$(cat "$here/python.txt" "$0" | sha256sum)
[ "$(cat "$deps/.installed" 2>/dev/null)" = "$wanted" ] && exit 0

rm -rf "$deps/python" "$deps/debian" "$deps/tmux"
echo "installing pipx into .deps/session/python"
"${PYTHON:-python3}" -m pip install --quiet --disable-pip-version-check --target "$deps/python" --requirement "$here/python.txt"

if found=$(command -v tmux); then
    ln -s "$found" "$deps/tmux"
else
    echo "unpacking tmux into .deps/session/debian"
    mkdir -p "$deps/debian"
    # Only what this system lacks.
    found=$(apt-get install --simulate --no-install-recommends tmux | sed -n 's/^Inst \([^ ]*\).*/\1/p')
    mapfile -t packages <<<"$found"
    (cd "$deps/debian" && apt-get download --quiet "${packages[@]}" && for file in *.deb; do dpkg -x "$file" . && rm "$file"; done)
    cat >"$deps/tmux" <<'SCRIPT'
#!/usr/bin/env bash
here=$(dirname "$(readlink -f "$0")")/debian
libraries=$(find "$here" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
LD_LIBRARY_PATH=$libraries exec "$here/usr/bin/tmux" "$@"
SCRIPT
    chmod +x "$deps/tmux"
fi
"$deps/tmux" -V
echo "$wanted" >"$deps/.installed"
