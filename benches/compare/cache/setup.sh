#!/bin/sh
# Installs what `make bench-cache` compares with, into the cache folder: bentocache from npm, pinned; nginx and wrk by apt
# where they are missing. What is there already is left alone. Needs Debian's apt, node with npm, and root or sudo where
# a program is missing.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${CIFRA_CACHE:-$HOME/.cache/cifra}
bentocache_version=1.6.1

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing=
[ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || missing="$missing nginx-light"
command -v wrk >/dev/null || missing="$missing wrk"
if [ -n "$missing" ]; then
    as_root apt-get update
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $missing
fi

peer=$cache/peers/bentocache
if ! grep -qs "\"version\": \"$bentocache_version\"" "$peer/node_modules/bentocache/package.json"; then
    command -v npm >/dev/null || { echo "npm is missing: install Node.js 20.9 or newer" >&2; exit 1; }
    mkdir -p "$peer"
    (cd "$peer" && npm install --no-audit --no-fund --loglevel=error "bentocache@$bentocache_version")
fi
# Beside its node_modules, because that is where Node.js looks for them.
cp "$here/bentocache.mjs" "$peer/bentocache.mjs"
echo "bentocache $bentocache_version, nginx and wrk are ready"
