# What one runs in this repository. `make help` lists it.

SHELL := /bin/bash
CARGO ?= cargo
SEEDS ?= 1000
# What `make test` draws is the same each time; `make soak` draws something new.
ifndef SEED
SEED := $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
endif

.PHONY: help up test check e2e soak bench bench-peers bench-ring figures fmt images

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | sort

up: ## builds, and runs a cluster on this machine in the foreground
	@scripts/toolchain.sh
	$(CARGO) build --release --locked -p chord -p chord-node -p chord-operator
	exec target/release/chord up -f examples/laptop.yaml

test: ## every suite in its short form, the ones on a real Kubernetes too
	@scripts/test.sh

check: ## format, lints, unit tests
	@scripts/toolchain.sh
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) test --workspace --locked

fmt: ## formats the code
	$(CARGO) fmt --all

e2e: ## the suites on a real Kubernetes
	@scripts/e2e.sh kube

soak: ## simulations, properties and rings of real nodes in their long form, from fresh seeds: SEEDS=1000 SEED=…
	@echo "seeds from $(SEED) on; to repeat: make soak SEED=$(SEED) SEEDS=$(SEEDS)"
	CHORD_SEED=$(SEED) CHORD_CASES_TIMES=20 CHORD_SEEDS=$(SEEDS) CHORD_PLAN_SEEDS=$(SEEDS) SEEDS=$(SEEDS) MODELS=all CHORD_PLACEMENT=long \
		$(CARGO) test --release --lib --locked -p chord-ring -p chord-register -p chord-placement -p chord-planner -- --nocapture
	CHORD_SEED=$(SEED) CHORD_CASES_TIMES=20 SEEDS=$(SEEDS) \
		$(CARGO) test --release --lib --locked -p chord-node -- --nocapture http:: peer::ring::
	RINGS=all $(CARGO) test --release -p chord-node --test rings --locked -- --nocapture --test-threads 1

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
