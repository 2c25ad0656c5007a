#!/usr/bin/env bash
# Checks the page with eslint, stylelint and htmlhint, and shows first that each of them finds a planted fault.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
"$here/install.sh" lint
node=$root/.deps/page/node
planted=$root/.deps/page/planted
# The configurations import packages, which Node searches from the folder of the file upwards.
cp "$here/eslint.config.mjs" "$here/stylelint.config.mjs" "$here/htmlhint.json" "$node/"

# ESLint checks files below its working directory only, so the page is copied there.
check() { # check FOLDER TOOL
    rm -rf "$node/checked" && cp -r "$1" "$node/checked"
    (cd "$node" && case $2 in
        eslint) node_modules/.bin/eslint --max-warnings 0 checked ;;
        stylelint) node_modules/.bin/stylelint --max-warnings 0 'checked/*.css' ;;
        htmlhint) node_modules/.bin/htmlhint --config htmlhint.json checked ;;
    esac)
}

rm -rf "$planted" && mkdir -p "$planted"
echo 'document.body.innerHTML = location.hash;' >"$planted/planted.js"
echo 'a { color: #12345; }' >"$planted/planted.css"
echo '<!doctype html><html lang="en"><body><p onclick="x()">x</p></body></html>' >"$planted/planted.html"
for pair in eslint=no-restricted-properties stylelint=declaration-property-value-no-unknown htmlhint=inline-script-disabled; do
    tool=${pair%=*} rule=${pair#*=}
    if found=$(check "$planted" "$tool" 2>&1) || ! grep -q "$rule" <<<"$found"; then
        echo "$tool does not report the planted fault ($rule):"
        echo "$found"
        exit 1
    fi
    check "$root/bridge/admin/static-files" "$tool"
    echo "$tool: no fault in the page; the planted one was reported"
done
