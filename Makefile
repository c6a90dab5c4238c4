# Everything one does with cifra starts here. `make help` lists it; each target sets up what it needs,
# and costs nothing extra when that is there already.
#
# More arguments for the program underneath: make test ARGS=name_of_a_test

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run install test soak fuzz lint audit bench bench-thumbnails bench-cache image-check setup
# Two cargo runs at once would only wait for each other's lock.
.NOTPARALLEL:

# What can be built again lives outside the clone, so that a new clone starts warm.
export CIFRA_CACHE ?= $(HOME)/.cache/cifra
export CARGO_TARGET_DIR ?= $(CIFRA_CACHE)/target
# Our own tools first; ~/.cargo/bin last, for a shell that has not been restarted since Rust was installed.
export PATH := $(CIFRA_CACHE)/tools/bin:$(PATH):$(HOME)/.cargo/bin

# Where `make run` keeps its data; empty: where the configuration says, by default ./data.
DATA ?=
ARGS ?=
# How long `make fuzz` feeds each target.
export SECONDS_EACH ?= 60
PREFIX ?= /usr/local

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build and start the service; data in ./data (DATA=folder), Ctrl-C stops it
	@scripts/setup.sh build
	cargo build --locked --release --bin cifra
	@$(if $(DATA),CIFRA__SERVER__DATA_DIR="$$(realpath -m -- "$(DATA)")") exec "$(CARGO_TARGET_DIR)/release/cifra" serve $(ARGS)

install: ## Build and put the binary into PREFIX/bin (PREFIX=/usr/local)
	@scripts/setup.sh build
	cargo build --locked --release --bin cifra
	install -D -m 755 "$(CARGO_TARGET_DIR)/release/cifra" "$(PREFIX)/bin/cifra"

test: ## Run all tests but the long ones, those of HTTP on every stack (ARGS=name runs some, on the default)
	@scripts/setup.sh build test
	cargo test --locked --features sentry $(ARGS)
	@$(if $(ARGS),,scripts/stacks.sh)

soak: ## Run the long tests, one at a time, optimized; then HTTP on all stacks (ARGS=name runs some)
	@scripts/setup.sh build test
	@scripts/soak.sh $(ARGS)
	@$(if $(ARGS),,scripts/stacks.sh all)

fuzz: ## Feed the readers of requests with what nobody expects (ARGS=target for one; SECONDS_EACH=60)
	@scripts/setup.sh build fuzz
	@scripts/fuzz.sh $(ARGS)

lint: ## Check format, lints, docs, licenses, sources, unused dependencies, scripts
	@scripts/setup.sh build lint
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps --document-private-items
	cargo deny --locked check bans licenses sources
	cargo machete
	@scripts/shellcheck.sh

audit: ## Check the dependencies against the advisory database (needs github.com)
	@scripts/setup.sh build lint
	cargo deny --locked check advisories

image-check: ## Build the container image and try it (without Docker or Podman: in a chroot, as root)
	@scripts/setup.sh image
	@scripts/image-check.sh

bench: ## Measure cifra beside nginx and two tus servers, whole processes
	@scripts/setup.sh build
	benches/compare/run.sh $(ARGS)

bench-thumbnails: ## Measure our thumbnails beside sharp's and vipsthumbnail's: CPU and likeness
	@scripts/setup.sh build
	benches/compare/thumbnails/run.sh $(ARGS)

bench-cache: ## Measure the cache: a file's record beside nginx, memory beside bentocache
	benches/compare/cache/run.sh $(ARGS)

setup: ## Install all that the other targets need, and nothing else
	@scripts/setup.sh build test lint
	@echo "setup: everything is there"
