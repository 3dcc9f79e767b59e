#!/usr/bin/env bash
# Measures a cluster on this machine beside three nodes of Garage; figures go to
# target/bench/figures.jsonl. Garage is built from its crate, once. Words go to the
# program: --rounds N, --short; from make: BENCH="--rounds 5".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=2.5.0
root=$PWD/target/tools/garage-$version
log=$root.log

scripts/toolchain.sh
if [ ! -x "$root/bin/garage" ]; then
  mkdir -p target/tools
  echo "building Garage $version, some ten minutes; the compiler's words go to $log" >&2
  # Its own target folder, kept until it is done: a build that breaks off goes on.
  if ! cargo install garage --version "$version" --locked --root "$root" \
    --target-dir "$root-build" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "Garage $version could not be built, so there is nothing to compare with: see $log" >&2
    exit 1
  fi
  rm -rf "$root-build"
fi
bins=$(scripts/build.sh)
export CHORD_BIN_DIR=$bins CHORD_PEER_GARAGE=$root/bin/garage
# shellcheck disable=SC2086 # several words on purpose
exec "$bins/chord-bench-peers" ${BENCH:-} "$@"
