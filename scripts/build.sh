#!/usr/bin/env bash
# Builds the release binaries that the suites run, and prints the folder they are
# in. On Linux they are static, the very ones that go into the images.
#
# With `--env` it prints, as shell, what a cargo that shares this build runs with:
# CARGO_TARGET_DIR, RUSTFLAGS, CARGO_BUILD_TARGET.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "$(uname -s)" = Linux ]; then
  export CARGO_TARGET_DIR=$PWD/target/dist-build
  export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
  # Named, so that build scripts and macros are not linked statically, too.
  CARGO_BUILD_TARGET=$(uname -m)-unknown-linux-gnu
  export CARGO_BUILD_TARGET
  out=$CARGO_TARGET_DIR/$CARGO_BUILD_TARGET/release
else
  out=$PWD/target/release
fi
if [ "${1:-}" = --env ]; then
  export -p | grep -E '^declare -x (CARGO_TARGET_DIR|RUSTFLAGS|CARGO_BUILD_TARGET)=' || true
  exit 0
fi
cargo build --release --locked -p chord -p chord-node -p chord-operator -p chord-e2e >&2
echo "$out"
