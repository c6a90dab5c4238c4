#!/bin/sh
# Installs what `make bench-thumbnails` compares with, into the cache folder:
#   peers/sharp     sharp from npm, pinned
#   photos          the pictures of photos.txt, out of Debian's packages, each as baseline and as progressive
# and vipsthumbnail and jpegtran by apt where they are missing. What is there already is left alone, so a second run
# takes no time. Needs Debian's apt, node with npm, and root or sudo where a program is missing.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${CIFRA_CACHE:-$HOME/.cache/cifra}
photos=$cache/photos
sharp_version=0.35.5

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing=
command -v vipsthumbnail >/dev/null || missing="$missing libvips-tools"
command -v jpegtran >/dev/null || missing="$missing libjpeg-turbo-progs"
if [ -n "$missing" ]; then
    as_root apt-get update
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $missing
fi

if ! grep -qs "\"version\": \"$sharp_version\"" "$cache/peers/sharp/node_modules/sharp/package.json"; then
    command -v npm >/dev/null || { echo "npm is missing: install Node.js 20.9 or newer" >&2; exit 1; }
    mkdir -p "$cache/peers/sharp"
    (cd "$cache/peers/sharp" && npm install --no-audit --no-fund --loglevel=error "sharp@$sharp_version")
fi
# Beside its node_modules, because that is where Node.js looks for them.
cp "$here/sharp.mjs" "$cache/peers/sharp/sharp.mjs"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# baseline_and_progressive NAME FILE: nothing is encoded again, only the coefficients are written in another order.
baseline_and_progressive() {
    jpegtran -copy all -optimize -outfile "$work/baseline" "$2"
    jpegtran -copy all -progressive -outfile "$work/progressive" "$2"
    mv "$work/baseline" "$photos/$1-baseline.jpg"
    mv "$work/progressive" "$photos/$1-progressive.jpg" # last: where it is, both are
}

# tile33 FILE: 7680 x 4320 pixels of a photograph of 6028 x 3391, by laying its blocks out again.
tile33() {
    jpegtran -copy none -crop 7680x4320+0+0 -outfile "$work/canvas" "$1"
    jpegtran -copy none -crop 1664x3384+0+0 -outfile "$work/left" "$1"
    jpegtran -copy none -drop +6016+0 "$work/left" -outfile "$work/row" "$work/canvas"
    jpegtran -copy none -crop 7680x936+0+1024 -outfile "$work/strip" "$work/row"
    jpegtran -copy none -drop +0+3384 "$work/strip" -outfile "$work/tiled" "$work/row"
    baseline_and_progressive tiled33 "$work/tiled"
}

mkdir -p "$photos"
grep -v '^#' "$here/photos.txt" | while read -r name _ sha256 package version path; do
    [ -e "$photos/$name-progressive.jpg" ] && { [ "$name" != kleiber ] || [ -e "$photos/tiled33-progressive.jpg" ]; } && continue
    if [ ! -e "$work/$package.deb" ]; then
        echo "photos: fetching $package $version"
        (cd "$work" && apt-get download -qq "$package=$version" 2>/dev/null && mv "${package}_"*.deb "$package.deb") ||
            { echo "apt has no $package $version: apt-get update, then run this again" >&2; exit 1; }
    fi
    dpkg-deb --fsys-tarfile "$work/$package.deb" | tar -x -C "$work" "./$path"
    echo "$sha256  $work/$path" | sha256sum --check --quiet
    baseline_and_progressive "$name" "$work/$path"
    if [ "$name" = kleiber ]; then tile33 "$work/$path"; fi
    rm "$work/$path"
done
echo "sharp $sharp_version and $(find "$photos" -name '*.jpg' | wc -l) pictures are ready in $cache"
