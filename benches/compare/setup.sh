#!/bin/sh
# Installs the peers that cifra is compared with into one cache folder:
#   rustus        0.5.10 from crates.io, default features (file storage needs no other)
#   tus-node      @tus/server with @tus/file-store and @tus/s3-store from npm, the newest at the first run
#   nginx         Debian's, with the DAV module (PUT); from apt
# What is there already is left alone, so a second run takes no time.
# Needs cargo, node >= 20.19 with npm, and root or sudo where nginx is missing.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
peers=${CIFRA_CACHE:-$HOME/.cache/cifra}/peers
rustus_version=0.5.10
mkdir -p "$peers/tus-node"

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

nginx_with_dav() {
    PATH="$PATH:/usr/sbin" nginx -V 2>&1 | grep -q http_dav_module
}
if ! nginx_with_dav; then
    as_root apt-get update
    # nginx-light is the smallest Debian build that has the DAV module.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends nginx-light
    nginx_with_dav || { echo "this nginx has no http_dav_module" >&2; exit 1; }
fi

if [ ! -d "$peers/tus-node/node_modules/@tus/s3-store" ]; then
    command -v npm >/dev/null || { echo "npm is missing: install Node.js 20.19 or newer" >&2; exit 1; }
    (cd "$peers/tus-node" && npm install --no-audit --no-fund --loglevel=error @tus/server @tus/file-store @tus/s3-store)
fi
# Beside its node_modules, because that is where Node.js looks for them.
cp "$here/peers/tus-node.mjs" "$peers/tus-node/server.mjs"
cp "$here/peers/tus-node-s3.mjs" "$peers/tus-node/server-s3.mjs"

if [ ! -x "$peers/rustus/bin/rustus" ]; then
    # Its own build folder, so that the release build of cifra is not thrown out of its cache.
    CARGO_TARGET_DIR="$peers/rustus-build" nice cargo install rustus \
        --version "$rustus_version" --locked --root "$peers/rustus"
    rm -rf "$peers/rustus-build"
fi
echo "peers are ready in $peers"
