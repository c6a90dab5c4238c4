#!/bin/sh
# cifra and its peers side by side: installs what is missing, builds, measures, prints a report.
# Flags are passed on, e.g. --full, --rounds 3, --servers cifra-crc,nginx, --scenarios upload8m4, --help.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
"$here/setup.sh"
exec cargo bench --locked --bench compare -- --run --peers "${CIFRA_CACHE:-$HOME/.cache/cifra}/peers" "$@"
