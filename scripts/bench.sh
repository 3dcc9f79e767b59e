#!/usr/bin/env bash
# Measures a cluster on this machine beside what the machine allows; figures go to
# target/bench/figures.jsonl. Words go to the program: --rounds N, --short,
# --only data; from make: BENCH="--rounds 5".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/toolchain.sh
bins=$(scripts/build.sh)
export CHORD_BIN_DIR=$bins
# shellcheck disable=SC2086 # several words on purpose
exec "$bins/chord-bench" ${BENCH:-} "$@"
