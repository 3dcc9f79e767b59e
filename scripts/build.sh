#!/usr/bin/env bash
# Builds the release binaries that the suites run, and prints the folder they are
# in. On Linux they are static, the very ones that go into the images.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

crates=(-p chord -p chord-node -p chord-operator -p chord-e2e)
if [ "$(uname -s)" = Linux ]; then
  triple=$(uname -m)-unknown-linux-gnu
  CARGO_TARGET_DIR=$PWD/target/dist-build RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
    cargo build --release --locked --target "$triple" "${crates[@]}" >&2
  echo "$PWD/target/dist-build/$triple/release"
else
  cargo build --release --locked "${crates[@]}" >&2
  echo "$PWD/target/release"
fi
