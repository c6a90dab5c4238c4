#!/usr/bin/env bash
# download.sh ID FILE: downloads a file. Run it again after an interruption and it goes on where it was.
# CIFRA_SERVER is the service, CIFRA_API_KEY the key. Needs curl and jq.
set -euo pipefail
url=${CIFRA_SERVER:-http://127.0.0.1:8080}/api/files/$1
get() { curl --silent --show-error --fail --header @<(echo "${CIFRA_API_KEY:+Authorization: Bearer $CIFRA_API_KEY}") "$@"; }

record=$(get --retry 9 --retry-all-errors "$url")
touch "$2.part"
# The bytes of an id never change, so what is here is the beginning of what is there.
for pause in {1..9}; do
  [[ $(stat --format %s "$2.part") -lt $(jq .size <<<"$record") ]] || break
  get --continue-at - --output "$2.part" "$url/content" || sleep "$pause"
done
if [[ $(jq -r .checksum <<<"$record") == sha256:* ]]; then
  echo "$(jq -r '.checksum[7:]' <<<"$record")  $2.part" | sha256sum --check --quiet
fi
mv "$2.part" "$2"
