#!/usr/bin/env bash
# Installs what the Makefile's targets need and the machine lacks: `setup.sh build|test|lint|image|fuzz…`.
#
# Each need is checked by trying it (a compiler by compiling), not by asking which system this is, so a
# second call is quick, and asks neither apt nor the network. What is missing comes from Debian's packages
# (as root or through sudo) or from crates.io; where neither can be done it says what to type, and fails.
# It installs nothing else, starts no service and leaves database clusters that exist alone.
set -euo pipefail
cd "$(dirname "$0")/.."

tools="${CIFRA_CACHE:-$HOME/.cache/cifra}/tools"
packages=()      # Debian packages to install
reasons=()       # what each of them is for, said before anything is installed

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
want() { reasons+=("$1"); packages+=("${@:2}"); }

# ---------------------------------------------------------------------------------------------- needs

need_rust() {
  has cargo || fail "cargo is not there: install Rust from https://rustup.rs, then run this again"
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
  found=$(rustc --version | cut -d ' ' -f 2)
  printf '%s\n' "$wanted" "$found" | sort --version-sort --check=silent \
    || fail "Rust $found is too old, cifra needs $wanted: rustup update stable, then run this again"
}

# SQLite, ring, libjpeg-turbo and libwebp are C inside: they need a compiler that finds its headers and can link.
need_compiler() {
  printf '#include <stdlib.h>\nint main(void) { return EXIT_SUCCESS; }\n' \
    | cc -x c - -o /dev/null >/dev/null 2>&1 || want "a C compiler" gcc libc6-dev
}

# libjpeg-turbo is built by cmake; on x86 its fast paths are assembler.
need_jpeg_tools() {
  has cmake || want "cmake for libjpeg-turbo" cmake
  has make || want "make for libjpeg-turbo" make
  [[ $(uname -m) != x86_64 ]] || has nasm || has yasm || want "an assembler for libjpeg-turbo" nasm
}

# libFuzzer is C++, and is compiled with the targets.
need_cpp_compiler() {
  printf '#include <cstdlib>\nint main() { return EXIT_SUCCESS; }\n' \
    | c++ -x c++ -o /dev/null - >/dev/null 2>&1 || want "a C++ compiler" g++
}

# For crates.io, and for the `cifra` client when a server's address says https.
need_certificates() {
  [[ -n ${SSL_CERT_FILE:-} || -e /etc/ssl/certs/ca-certificates.crt || -e /etc/pki/tls/certs/ca-bundle.crt ]] \
    || want "CA certificates" ca-certificates
}

# Only its programs: the tests start private instances in folders of their own.
need_postgresql() {
  compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || want "PostgreSQL's server programs" postgresql
}

# What other programs change in the database has to be noticed.
need_sqlite() {
  has sqlite3 || want "SQLite's command line" sqlite3
}

# Its server and its command line; Valkey's would do as well, under Redis' names.
need_redis() {
  if ! { has redis-server && has redis-cli; }; then want "Redis' server programs" redis-server; fi
}

# `cifra doctor` is tested against a real proxy; the tests start private ones.
need_nginx() {
  [[ -x /usr/sbin/nginx ]] || has nginx || want "nginx" nginx-light
}

# README's tour is typed by a test, with the programs that it names.
need_tour_programs() {
  local program
  for program in curl jq openssl; do
    has "$program" || want "$program for README's tour" "$program"
  done
}

# The programs in docs/examples are run by tests.
need_example_programs() {
  node -e fetch >/dev/null 2>&1 || want "Node for docs/examples" nodejs
  python3 -c 'import requests' >/dev/null 2>&1 || want "Python for docs/examples" python3 python3-requests
}

# An engine that answers, or what scripts/chroot-engine.sh makes the image with, and a Rust toolchain to mount.
need_container_engine() {
  docker info >/dev/null 2>&1 || podman info >/dev/null 2>&1 && return
  need_rust
  local program
  for program in buildah debootstrap jq curl openssl; do
    has "$program" || want "$program for images without a container engine" "$program"
  done
  has ip || want "ip for a network of its own" iproute2
}

# schemathesis has a Python environment of its own.
need_python() {
  python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || want "Python for schemathesis" python3 python3-venv
}

need_schemathesis() {
  local home="$tools/schemathesis" pinned=tests/schemathesis/requirements.txt
  cmp -s "$pinned" "$home/installed" && [[ -x $home/bin/schemathesis ]] && return
  say "installing schemathesis into $home (half a minute, once)"
  rm -rf "$home"
  python3 -m venv "$home"
  "$home/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: -r "$pinned"
  # Last, so that an installation that broke off is done again.
  cp "$pinned" "$home/installed"
}

need_rust_components() {
  cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1 && return
  has rustup || fail "clippy and rustfmt are not there: install the packages of your Rust that have them"
  say "installing clippy and rustfmt: rustup component add clippy rustfmt"
  rustup component add clippy rustfmt
}

# The one need that can stay unmet: `make lint` then says that it left the scripts out.
wish_shellcheck() {
  has shellcheck && return
  has apt-get && can_be_root || return 0
  say "installing: apt-get update && apt-get install --no-install-recommends shellcheck"
  { as_root timeout 120 apt-get update -qq && apt_install shellcheck; } || say "shellcheck could not be installed"
}

# need_cargo_tool NAME VERSION: pinned, so that a new release of a linter does not fail an old commit.
need_cargo_tool() {
  local name=$1 version=$2
  grep -qsF "\"$name $version " "$tools/.crates.toml" && [[ -x $tools/bin/$name ]] && return
  say "installing $name $version into $tools (about a minute, once)"
  # Not optimized: a check of this crate takes a second or two either way, the build a quarter of the time.
  CARGO_TARGET_DIR="$tools/target" \
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install --quiet --locked --force --root "$tools" --version "=$version" "$name"
}

# The S3 server of the tests is a crate. Its 500 dependencies are compiled in a folder that goes again.
need_garage() {
  local version=2.5.0 target="$tools/garage-target"
  grep -qsF "\"garage $version " "$tools/.crates.toml" && [[ -x $tools/bin/garage ]] && return
  say "installing Garage $version into $tools (5 to 10 minutes, once)"
  # Half optimized: the tests wait for it, and so does who installs it.
  CARGO_TARGET_DIR="$target" \
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install --quiet --locked --force --root "$tools" --version "=$version" garage
  rm -rf "$target"
}

# Azurite, the Azure of the tests, runs on Node.
need_npm() {
  has node || want "Node for Azurite" nodejs
  has npm || want "npm for Azurite" npm
}

need_azurite() {
  local version=3.37.0 home="$tools/azurite"
  [[ -e $home/installed && $(<"$home/installed") == "$version" ]] && return
  say "installing Azurite $version into $home (a minute, once)"
  rm -rf "$home"
  mkdir -p "$home"
  npm install --silent --no-audit --no-fund --prefix "$home" "azurite@$version" >/dev/null
  # Last, so that an installation that broke off is done again.
  printf '%s' "$version" >"$home/installed"
}

# ------------------------------------------------------------------------------------------- packages

as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  else
    sudo "$@"
  fi
}

# Without a terminal nobody can type a password: sudo must then work without one.
can_be_root() {
  [[ $EUID -eq 0 ]] || { has sudo && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; }
}

# Errors are on stderr; the hundreds of lines about unpacking are not worth reading.
apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends -qq \
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >/dev/null
}

# Debian starts what it installs, and makes and starts a cluster of PostgreSQL. We want the programs only: these
# files say so while we install, and are gone afterwards, also when we are interrupted.
start_switch=/usr/sbin/policy-rc.d
cluster_switch=/etc/postgresql-common/createcluster.d/cifra-setup.conf
switches=()

remove_switches() {
  [[ ${#switches[@]} -eq 0 ]] || as_root rm -f "${switches[@]}"
  [[ ! -d ${cluster_switch%/*} ]] || as_root rmdir --ignore-fail-on-non-empty "${cluster_switch%/*}"
}

install_programs_only() {
  trap remove_switches EXIT
  if [[ ! -e $start_switch ]]; then # who has one of their own has decided already
    switches+=("$start_switch")
    as_root install -m 755 /dev/stdin "$start_switch" <<<$'#!/bin/sh\nexit 101'
  fi
  switches+=("$cluster_switch")
  as_root mkdir -p "${cluster_switch%/*}"
  as_root tee "$cluster_switch" >/dev/null <<<'create_main_cluster = false'
  apt_install "$@"
}

install_packages() {
  [[ ${#packages[@]} -gt 0 ]] || return 0
  say "missing: $(printf '%s, ' "${reasons[@]}" | sed 's/, $//')"
  local command="apt-get update && apt-get install --no-install-recommends ${packages[*]}"
  has apt-get || fail "this is not Debian: install what provides the same as its packages ${packages[*]}"
  can_be_root || fail "installing needs root; type this as root, then run this again: $command"
  say "installing: $command"
  as_root apt-get update -qq -o Acquire::Retries=3
  install_programs_only "${packages[@]}"
}

# ----------------------------------------------------------------------------------------------- main

[[ $# -gt 0 ]] || fail "usage: scripts/setup.sh build|test|lint|image|fuzz…"
for part in "$@"; do
  case $part in
    build) need_rust; need_compiler; need_jpeg_tools; need_certificates ;;
    test) need_postgresql; need_sqlite; need_redis; need_nginx; need_tour_programs; need_example_programs; need_python; need_npm ;;
    image) need_container_engine ;;
    fuzz) need_cpp_compiler ;; # and after the packages, below
    lint) ;; # after the packages, below
    *) fail "unknown part: $part (build, test, lint, image, fuzz)" ;;
  esac
done
install_packages
# What is compiled or installed with the packages comes after them.
for part in "$@"; do
  if [[ $part == test ]]; then
    need_schemathesis
    need_garage
    need_azurite
  fi
  if [[ $part == lint ]]; then
    need_rust_components
    wish_shellcheck
    need_cargo_tool cargo-deny 0.20.2
    need_cargo_tool cargo-machete 0.9.2
  elif [[ $part == fuzz ]]; then
    need_cargo_tool cargo-fuzz 0.13.2
  fi
done
