#!/usr/bin/env bash
# Runs the long tests, `soak.sh [NAME]`: those marked `#[ignore = "soak: …"]` and named `soak_…`.
#
# They run one at a time, because they measure memory and time, and optimized, as the service is run.
# A run in which nothing ran would look like a run in which all went well, so it fails; and so does a test
# that is ignored but not named `soak_…`, because no target would ever run it.
set -euo pipefail

cargo_test=(cargo test --locked --release --test it)

"${cargo_test[@]}" --no-run
listed=$("${cargo_test[@]}" --quiet -- --ignored --list --format terse)
ignored=$(sed -n 's/: test$//p' <<<"$listed")

never_run=$(grep -vE '(^|::)soak_[a-z0-9_]+$' <<<"$ignored" || true)
if [[ -n $never_run ]]; then
  printf 'soak: ignored, but not named soak_…, so that nothing runs it:\n%s\n' "$never_run" >&2
  exit 1
fi

chosen=$(grep -F -- "${1:-soak_}" <<<"$ignored" || true)
if [[ -z $chosen ]]; then
  printf 'soak: no long test has "%s" in its name\n' "${1:-soak_}" >&2
  exit 1
fi
printf 'soak: %s tests, one at a time\n%s\n' "$(wc -l <<<"$chosen")" "$chosen"
exec "${cargo_test[@]}" -- --ignored --test-threads=1 "${1:-soak_}"
