#!/usr/bin/env bash
# Feeds the fuzz targets, one after the other, SECONDS_EACH seconds each: `fuzz.sh [TARGET]`. See fuzz/README.md.
#
# What a target learned stays in CIFRA_CACHE, and its next run goes on from there. An input that breaks a promise
# is kept in fuzz/artifacts, and the run fails after all targets had their turn.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${SECONDS_EACH:-60}
kept=${CIFRA_CACHE:-$HOME/.cache/cifra}/fuzz
# Stable Rust is enough without a sanitizer; there would be little for one to find: unsafe code is denied here.
# Pictures are read by C: with nightly Rust and clang, AddressSanitizer looks at it, and its branches count too.
clang=$(compgen -c clang | grep -E '^clang(-[0-9]+)?$' | sort -V | tail -n 1 || true)
if [[ -n $clang ]] && cargo +nightly --version >/dev/null 2>&1; then checks_c=yes; else checks_c=; fi

fuzz() {
  local action=$1 target=$2
  shift 2
  if [[ $target == picture_* && $checks_c ]]; then
    CC=$PWD/fuzz/cc CIFRA_CLANG=$clang ASAN_OPTIONS=allocator_may_return_null=1 nice -n 10 \
      cargo +nightly fuzz "$action" --target-dir fuzz/target/checked --sanitizer address --codegen-units 16 "$target" "$@"
  else
    nice -n 10 cargo fuzz "$action" --sanitizer none --codegen-units 16 "$target" "$@"
  fi
}

mapfile -t targets < <(if [[ $# -gt 0 ]]; then printf '%s\n' "$@"; else cargo fuzz list; fi)
failed=()
for target in "${targets[@]}"; do
  [[ -d fuzz/seeds/$target ]] || { printf 'fuzz: there is no target %s\n' "$target" >&2; exit 1; }
  if [[ $target == picture_* && ! $checks_c ]]; then
    printf 'fuzz: %s: without nightly Rust and clang, nobody looks into the C\n' "$target"
  fi
  fuzz build "$target"
  corpus=$kept/corpus/$target
  log=$kept/$target.log
  mkdir -p "$corpus"
  if fuzz run "$target" "$corpus" "fuzz/seeds/$target" \
    -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 >"$log" 2>&1; then
    inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    printf 'fuzz: %s: %s inputs in %s s, every promise held\n' "$target" "$inputs" "$seconds"
  else
    failed+=("$target")
    tail -n 50 "$log" >&2
    printf 'fuzz: %s: BROKEN, see %s\n' "$target" "$log" >&2
  fi
done
[[ ${#failed[@]} -eq 0 ]] || { printf 'fuzz: failed: %s\n' "${failed[*]}" >&2; exit 1; }
