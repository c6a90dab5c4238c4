#!/usr/bin/env bash
# upload.sh FILE: uploads FILE by chunks and prints the file's record. Run it again after an interruption and it
# goes on where it was. CIFRA_SERVER is the service, CIFRA_API_KEY the key. Needs curl 7.84 or newer, jq, openssl.
set -euo pipefail
file=$1
size=$(stat --format %s -- "$file")

# call PATH [OPTIONS OF CURL]: prints the answer. Without an answer, or when the service is busy, it tries again;
# Retry-After says when. The key comes from a file descriptor: arguments are seen by every user of the machine.
call() {
  local path=$1 answer status again attempt
  shift
  for attempt in {1..9}; do
    if answer=$(curl --silent --show-error --write-out '\n%{http_code} %header{retry-after}' "$@" \
      --header @<(echo "${CIFRA_API_KEY:+Authorization: Bearer $CIFRA_API_KEY}") \
      "${CIFRA_SERVER:-http://127.0.0.1:8080}$path"); then
      read -r status again <<<"${answer##*$'\n'}"
      answer=${answer%$'\n'*}
      if [[ $status -lt 400 && -z $again ]]; then echo "$answer"; return; fi
      if [[ $status -lt 500 && -z $again ]]; then echo "$answer" >&2; return 1; fi
    fi
    sleep "${again:-$attempt}"
  done
  echo "gave up: $path" >&2
  return 1
}

# The session of an earlier run is found by its metadata; else a new one begins.
fingerprint=$(stat --format '%n %s %Y' -- "$file" | sha256sum | cut -d ' ' -f 1)
upload=$(call "/api/uploads?metadata.fingerprint=$fingerprint" \
  | jq '[.items[] | select(.state | IN("receiving", "finalizing", "completed"))] | first // empty')
if [[ -z $upload ]]; then
  upload=$(call /api/uploads --json "$(jq --null-input --arg filename "$(basename "$file")" --argjson size "$size" \
    --arg fingerprint "$fingerprint" '{$filename, total_size: $size, metadata: {$fingerprint}}')")
fi
id=$(jq -r .upload_id <<<"$upload")
chunk_size=$(jq -r .chunk_size <<<"$upload")

# What is missing, until nothing is: an answer lists no more than 1,000 gaps.
chunk=$(mktemp)
trap 'rm -f "$chunk"' EXIT
while upload=$(call "/api/uploads/$id"); [[ $(jq .missing_count <<<"$upload") -gt 0 ]]; do
  for index in $(jq '.missing[] | range(.[0]; .[1] + 1)' <<<"$upload"); do
    dd if="$file" of="$chunk" bs="$chunk_size" skip="$index" count=1 status=none
    digest=$(openssl dgst -sha256 -binary "$chunk" | base64)
    call "/api/uploads/$id/chunks/$index" -T "$chunk" --header "Content-Digest: sha-256=:$digest:" >/dev/null
  done
done

# Whole: the service compares the digest of the whole file before the file becomes visible.
call "/api/uploads/$id/finalize" --json "{\"checksum\": \"sha256:$(sha256sum <"$file" | cut -d ' ' -f 1)\"}"
