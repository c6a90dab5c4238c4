#!/bin/sh
# The cache beside nginx and bentocache: installs what is missing, builds, measures, prints a report.
# Flags are passed on, e.g. --rounds 3, --out report.md.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.."
"$here/setup.sh"
exec cargo bench --locked --bench compare -- --cache --peers "${CIFRA_CACHE:-$HOME/.cache/cifra}/peers" "$@"
