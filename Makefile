# What one runs in this repository. `make help` lists it.

SHELL := /bin/bash
CARGO ?= cargo
SEEDS ?= 1000
.PHONY: help up test check e2e soak bench bench-peers bench-ring figures fmt images

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | sort

up: ## builds, and runs a cluster on this machine in the foreground
	@scripts/toolchain.sh
	scripts/build.sh >/dev/null
	exec target/release/chord up -f examples/laptop.yaml

test: ## every suite in its short form, the ones on a real Kubernetes too
	@scripts/test.sh

check: ## format, lints, unit tests
	@scripts/toolchain.sh
	$(CARGO) fmt --all --check
	. scripts/lints.sh && scripts/shared.sh $(CARGO) test --release --workspace --all-targets --locked --no-run
	. scripts/lints.sh && scripts/shared.sh $(CARGO) test --release --workspace --locked

fmt: ## formats the code
	$(CARGO) fmt --all

e2e: ## the suites on a real Kubernetes
	@scripts/e2e.sh kube

soak: ## simulations, properties, rings of real nodes and long suites, from fresh seeds: SEEDS=1000 SEED=… PREVIOUS=…
	@SEEDS=$(SEEDS) SEED="$(SEED)" scripts/soak.sh

bench: ## figures of the data path, to target/bench
	@scripts/bench.sh

bench-peers: ## the same loads on chord and on Garage in turns, to target/bench
	@scripts/bench-peers.sh

figures: ## the tables and plots of docs/ring.md, renewed by simulation
	@scripts/toolchain.sh
	$(CARGO) run --release --locked -p chord --bin chord -- sim ring report docs

bench-ring: ## what a ring of 64 nodes costs at rest
	$(CARGO) bench -p chord-node --bench idle_ring --locked

include e2e/cluster/cluster.mk
