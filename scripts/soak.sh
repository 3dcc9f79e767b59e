#!/usr/bin/env bash
# Everything that has a long form, in it, from fresh seeds: the simulations, the models
# and the properties of the pure crates, those of the node, rings of real nodes, and the
# suites that `make test` leaves out.
#
# SEEDS     how many seeds each simulation runs (default 1000)
# SEED      the first of them (default: drawn, and printed)
# PREVIOUS  the commit whose nodes run beside those of this one: see scripts/previous.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo=${CARGO:-cargo}
seeds=${SEEDS:-1000}
seed=${SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}

scripts/toolchain.sh
# What `make test` has built is run again, not built again.
# shellcheck source=scripts/lints.sh
. scripts/lints.sh
echo "seeds from $seed on; to repeat: make soak SEED=$seed SEEDS=$seeds"
export CHORD_SEED=$seed CHORD_CASES_TIMES=20 SEEDS=$seeds
CHORD_SEEDS=$seeds CHORD_PLAN_SEEDS=$seeds MODELS=all CHORD_PLACEMENT=long \
  scripts/shared.sh "$cargo" test --release --lib --locked \
  -p chord-ring -p chord-register -p chord-placement -p chord-planner -- --nocapture
scripts/shared.sh "$cargo" test --release --lib --locked -p chord-node -- --nocapture http:: peer::ring::
RINGS=all scripts/shared.sh "$cargo" test --release -p chord-node --test rings --locked -- --nocapture --test-threads 1
scripts/e2e.sh local --only mixed-versions
