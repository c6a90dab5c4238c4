#!/bin/sh
# Our thumbnails beside sharp's and vipsthumbnail's: installs what is missing, builds, measures, prints a report.
# Flags are passed on, e.g. --rounds 3, --out report.md.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.."
"$here/setup.sh"
cache=${CIFRA_CACHE:-$HOME/.cache/cifra}
exec cargo bench --locked --bench compare -- --thumbnails "$cache/photos" --peers "$cache/peers" "$@"
