#!/usr/bin/env bash
# Checks every shell script in the repository with shellcheck. Called by `make lint`, after its set-up.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v shellcheck >/dev/null; then
  echo "shellcheck: NOT RUN, it is not installed (Debian: apt-get install shellcheck)"
  exit 0
fi

# Found by their first line, not by name: a new script is checked without being listed here.
mapfile -t scripts < <(
  find . -type d \( -name .git -o -name target -o -name data -o -name node_modules \) -prune -o -type f \
    -exec awk 'FNR == 1 && /^#!(\/usr\/bin\/env |\/bin\/)(ba)?sh$/ { print FILENAME } { nextfile }' {} + | sort
)
[[ ${#scripts[@]} -gt 0 ]] || { echo "shellcheck: found no script, which cannot be" >&2; exit 1; }
echo "shellcheck ${scripts[*]}"
shellcheck "${scripts[@]}"
