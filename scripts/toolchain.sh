#!/usr/bin/env bash
# Makes sure that there is a Rust toolchain as rust-toolchain.toml names it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v cargo >/dev/null || {
  echo "chord is written in Rust: install rustup (rustup.rs), then try again" >&2
  exit 1
}
if command -v rustup >/dev/null; then
  channel=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)
  rustup toolchain list | grep -q "^$channel" || rustup toolchain install "$channel" --profile minimal -c rustfmt -c clippy
fi
command -v cc >/dev/null || {
  echo "there is no C compiler, which some dependencies want: install gcc or clang, then try again" >&2
  exit 1
}
