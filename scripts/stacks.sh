#!/usr/bin/env bash
# Runs the HTTP suites on the other stacks, `stacks.sh [STACK…|all]`: the same tests, unchanged, with another database
# or store below (`tests/it/harness/stack.rs` reads CIFRA_TEST_STACK).
#
# The suites are those below: what a client sees must be the same everywhere. The rest of tests/it runs on the
# default only, because it is about
#   SQLite or its file            corruption, statements, db (which has both engines itself)
#   the local folder              full_disk, power_cut, resources_away, blob_local, crash_*, history
#   the program, not a backend    cli*, child, client, config, doctor, documentation, examples, readme, operating, logs,
#                                 sentry, health, tidy, routes of connections (http2, http_heads, http_wire, connections,
#                                 slow_clients, schemathesis)
#   its own servers               shared_database, database_away, nodes, redis
set -euo pipefail
cd "$(dirname "$0")/.."

suites=(
  audit cors files files_content files_create files_form files_list files_patch files_ranges http_edges idempotency keys
  links open_mode openapi quota races rates round_trip routes thumbnails thumbnails_making upload_tokens uploads_chunks
  uploads_create uploads_ends uploads_events uploads_finalize uploads_finalize_slow uploads_hostile uploads_status
)
stacks=("$@")
((${#stacks[@]})) || stacks=(pg-redis-s3 pg-azure sqlite-redis-s3)
[[ ${stacks[*]} != all ]] || stacks=({pg,sqlite}{-redis,}-{local,memory,s3,azure})

binary=$(cargo test --locked --features sentry --test it --no-run --message-format=json 2>/dev/null \
  | sed -n 's/.*"executable":"\([^"]*\/it-[0-9a-f]*\)".*/\1/p' | tail -n 1)
[[ -x $binary ]] || { echo "stacks: the tests could not be built: cargo test --no-run says why" >&2; exit 1; }

# A name stands for itself and all below it, and for nothing that only contains it.
tests=$("$binary" --list --format terse | sed -n 's/: test$//p')
for suite in "${suites[@]}"; do
  grep -q "^$suite::" <<<"$tests" || { echo "stacks: there is no suite $suite" >&2; exit 1; }
done
pattern="^($(IFS='|'; echo "${suites[*]}"))::"
mapfile -t chosen < <(grep -E "$pattern" <<<"$tests")

for stack in "${stacks[@]}"; do
  begun=$SECONDS
  CIFRA_TEST_STACK=$stack "$binary" --exact "${chosen[@]}"
  echo "stacks: $stack: ${#chosen[@]} tests in $((SECONDS - begun)) s"
done
