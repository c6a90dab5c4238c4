#!/usr/bin/env bash
# A stand-in for `docker` where no container engine runs: the few subcommands that image-check.sh and README's
# container block use, in a chroot. Not for production: nothing is isolated but files, processes and the network.
#
# buildah (Debian's package) reads the Dockerfile and runs its steps, so that nothing here can drift from it. The
# images that it starts from cannot be pulled without a registry: they are made by debootstrap, under the same
# names. The Rust toolchain of the builder's is the host's, mounted. Needs root. Called by image-check.sh, which
# puts everything into namespaces of its own: what is left running or mounted ends with them.
set -euo pipefail

cache="${CIFRA_CACHE:-$HOME/.cache/cifra}/image"
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
mkdir -p "$cache/tmp" "$cache/containers"
# Where buildah keeps what `RUN --mount=type=cache` keeps: the built dependencies, for the next time.
export TMPDIR="$cache/tmp"

fail() { printf 'chroot-engine: %s\n' "$*" >&2; exit 1; }
[[ $EUID -eq 0 ]] || fail "a chroot needs root"

# No overlay: it may not be stacked on the filesystem that a container is in.
builder() { buildah --root "$cache/store" --runroot "$cache/run" --storage-driver vfs "$@"; }
in_container() { builder run --isolation chroot "$@"; }
has_image() { builder images --quiet "$1" >/dev/null 2>&1; }
# setting IMAGE JQ: of the image's configuration.
setting() { builder inspect --type image "$1" | jq --raw-output ".Docker.config | $2"; }

# make_base IMAGE SUITE
make_base() {
  local root="$TMPDIR/root" container
  rm -rf "$root"
  debootstrap --variant=minbase "$2" "$root" "$mirror" >"$cache/debootstrap.log" 2>&1 \
    || fail "debootstrap failed: $(tail -n 3 "$cache/debootstrap.log")"
  container=$(builder from scratch)
  builder add --quiet "$container" "$root" / >/dev/null
  builder commit --quiet --rm --format docker "$container" "$1" >/dev/null
  rm -rf "$root"
}

# make_rust_base IMAGE SUITE: what Docker's Rust image has besides the toolchain.
make_rust_base() {
  local container
  make_base "$1-base" "$2"
  container=$(builder from --pull-never "$1-base")
  in_container "$container" -- sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes -qq --no-install-recommends ca-certificates gcc libc6-dev' >/dev/null
  # The host's: it may know a proxy that the world does not.
  builder copy --quiet "$container" "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" \
    /etc/ssl/certs/ca-certificates.crt >/dev/null
  builder config --env CARGO_HOME=/usr/local/cargo \
    --env PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  builder commit --quiet --rm --format docker "$container" "$1" >/dev/null
}

make_bases() {
  local image images
  mapfile -t images < <(sed -n 's/^FROM \([^ ]*\).*/\1/p' Dockerfile)
  for image in "${images[@]}"; do
    has_image "$image" && continue
    echo "chroot-engine: making a stand-in for $image with debootstrap"
    case $image in
      rust:*-bookworm) make_rust_base "$image" bookworm ;;
      debian:12-slim) make_base "$image" bookworm ;;
      *) fail "no stand-in for $image is known here: tell this script how to make one" ;;
    esac
  done
}

# build -t IMAGE .
build() {
  make_bases
  builder build --isolation chroot --format docker --pull-never --build-arg TARGETARCH="$(dpkg --print-architecture)" \
    --volume "$(rustc --print sysroot):/usr/local/rust:ro" --tag "$2" "${3:-.}"
}

# run -d --name NAME [-p …] [-v …] [-e NAME=VALUE]… IMAGE. The volume is the image's own folder: its owner and
# mode are the image's, as those of a new named volume are. Ports are those of this network namespace.
run() {
  local name='' environment=()
  while [[ $# -gt 1 ]]; do
    case $1 in
      -d) shift ;;
      --name) name=$2; shift 2 ;;
      -p | -v) shift 2 ;;
      -e) environment+=("$2"); shift 2 ;;
      *) fail "unknown option of run: $1" ;;
    esac
  done
  builder from --pull-never --name "$name" "$1" >/dev/null
  local value
  for value in "${environment[@]}"; do builder config --env "$value" "$name"; done
  echo "$1" >"$cache/containers/$name.image"
  start "$name"
}

start() {
  local image command
  image=$(<"$cache/containers/$1.image")
  mapfile -t command < <(setting "$image" '(.Entrypoint + .Cmd)[]')
  rm -f "$cache/containers/$1.status"
  {
    local status=0
    in_container "$1" -- "${command[@]}" || status=$?
    echo "$status" >"$cache/containers/$1.status"
  } >>"$cache/containers/$1.log" 2>&1 </dev/null &
  echo "$1"
}

# The service is the only process of its user and name in this namespace. Its parent, buildah's, would kill it.
stop() {
  local image user waited=0
  image=$(<"$cache/containers/$1.image")
  user=$(setting "$image" .User)
  pkill -TERM --euid "${user%%:*}" --exact "$(setting "$image" '.Entrypoint[0]')"
  until [[ -e $cache/containers/$1.status ]]; do
    [[ $((waited += 1)) -lt 150 ]] || fail "$1 did not stop within 15 s"
    sleep 0.1
  done
  echo "$1"
}

# inspect --format '{{.State.Health.Status}}' NAME, as an engine would find it now; likewise the exit code.
inspect() {
  local test
  case $2 in
    '{{.State.Health.Status}}')
      mapfile -t test < <(setting "$(<"$cache/containers/$3.image")" '.Healthcheck.Test[1:][]')
      if in_container "$3" -- "${test[@]}" >/dev/null 2>&1; then echo healthy; else echo starting; fi ;;
    '{{.State.ExitCode}}') cat "$cache/containers/$3.status" ;;
    *) fail "unknown format of inspect: $2" ;;
  esac
}

remove() {
  builder rm "$1" >/dev/null 2>&1 || true
  rm -f "$cache/containers/$1".*
}

[[ $# -gt 0 ]] || fail "usage: chroot-engine.sh build|run|start|exec|inspect|logs|stop|rm …"
subcommand=$1
shift
case $subcommand in
  build | run | start | stop | inspect) "$subcommand" "$@" ;;
  exec) in_container "$1" -- "${@:2}" ;;
  logs) cat "$cache/containers/$1.log" ;;
  rm) remove "${!#}" ;;
  volume) ;; # it went with its container
  *) fail "unknown command: $subcommand" ;;
esac
