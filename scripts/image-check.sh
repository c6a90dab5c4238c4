#!/usr/bin/env bash
# Builds the container image, types README's container block at it, and checks what that block promises: the
# health check, the user, libraries, an orderly stop, data that outlive the container. Called by `make image-check`.
#
# With Docker or Podman where one answers. Elsewhere scripts/chroot-engine.sh plays their part, in namespaces of
# its own: whatever is mounted or running in there is gone when this script ends, however it ends. Needs root then.
set -euo pipefail
cd "$(dirname "$0")/.."

name=cifra-image-check
chroot=$PWD/scripts/chroot-engine.sh # stands in for the engine that does not answer
say() { printf '== %s\n' "$*"; }
fail() { printf 'image-check: %s\n' "$*" >&2; exit 1; }

engine=${1:-}
if [[ -z $engine ]]; then
  for engine in docker podman "$chroot"; do
    timeout 10 "$engine" info >/dev/null 2>&1 && break
  done
fi
docker() { "$engine" "$@"; }

if [[ $engine == "$chroot" && ${2:-} != inside ]]; then
  say "no container engine answers: the Dockerfile's steps run in a chroot"
  [[ $EUID -eq 0 ]] || fail "a chroot needs root: run this as root, or install Docker or Podman"
  status=0
  unshare --mount --pid --fork --kill-child --mount-proc timeout --foreground 3600 "$0" "$engine" inside || status=$?
  exit "$status"
fi

cleanup() {
  docker rm --force "$name" >/dev/null 2>&1 || true
  docker volume rm "$name" >/dev/null 2>&1 || true
}
cleanup # of a run that was interrupted
if [[ ${3:-} != offline ]]; then
  say "building the image"
  docker build -t "$name" .
  # From here on nothing needs the network: port 8080 of a network of its own cannot be somebody else's.
  [[ $engine != "$chroot" ]] || exec unshare --net "$0" "$engine" inside offline
fi
finish() {
  local status=$?
  [[ $status == 0 ]] || docker logs "$name" || true
  cleanup
  rm -f "${output:-}"
  exit "$status"
}
trap finish EXIT

address=http://127.0.0.1:18080
if [[ $engine == "$chroot" ]]; then
  address=http://127.0.0.1:8080
  ip link set lo up
fi

# README's block, but for the build, and under names and a port that are nobody else's.
block=$(awk '/^## In a container$/ { here = 1 } here && /^```$/ { exit } typed { print } here && /^```sh$/ { typed = 1 }' README.md)
[[ $block == *"docker run "* ]] || fail "README has no block that starts a container"
block=$(sed -e '/^docker build /d' -e "/docker /s/\bcifra\b/$name/g" -e "s|-p \(127.0.0.1:\)\?8080:8080|-p 127.0.0.1:${address##*:}:8080|" \
  -e "s|http://127.0.0.1:8080|$address|g" \
  -e 's/docker run /&-e CIFRA__FILE_UPLOAD__MIN_FREE=0 /' <<<"$block") # the disk here may be as full as it likes

# await STATUS: the state of health that the engine finds by the image's own check.
await() {
  local waited=0
  until [[ $(docker inspect --format '{{.State.Health.Status}}' "$name") == "$1" ]]; do
    [[ $((waited += 1)) -le 60 ]] || fail "it was not $1 within a minute"
    sleep 1
  done
}

say "typing README's block"
cat <<<"$block"
output=$(mktemp)
eval "$block" >"$output"
cat "$output"

say "health check"
await healthy
say "user, libraries"
[[ $(docker exec "$name" id -u) == 10001 ]] || fail "the user is $(docker exec "$name" id)"
libraries=$(docker exec "$name" ldd /usr/local/bin/cifra)
[[ $libraries != *"not found"* ]] || fail "libraries are missing: $libraries"
say "an orderly stop, and a new start on the same data"
docker stop "$name" >/dev/null
[[ $(docker inspect --format '{{.State.ExitCode}}' "$name") == 0 ]] || fail "SIGTERM does not end it with 0"
[[ $(docker logs "$name" 2>&1) == *stopped* ]] || fail "it did not say that it stopped"
docker start "$name" >/dev/null
await healthy
status_of() { curl --silent --output /dev/null --write-out '%{http_code}' "$@"; }
file=$address$(tail -n 1 "$output" | jq --exit-status --raw-output .content_url)
[[ $(status_of "$file") == 401 ]] || fail "it asks for no key"
[[ $(status_of --header "Authorization: Bearer $CIFRA_API_KEY" "$file") == 200 ]] || fail "$file is not there any more"
say "image-check: passed"
