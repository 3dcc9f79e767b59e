#!/usr/bin/env bash
# Builds the release binaries that the suites run, and prints the folder they are
# in. On Linux they are static, the very ones that go into the images, and are put into
# target/release, too, where people look for them. Where there is no static C library
# they are built as on other systems; the images then refuse them.
#
# With `--env` it prints, as shell, what a cargo that shares this build runs with:
# CARGO_TARGET_DIR, RUSTFLAGS, CARGO_BUILD_TARGET.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

links_statically() {
  local probe
  probe=$(mktemp) || return 1
  echo 'int main(void) { return 0; }' | cc -static -x c -o "$probe" - 2>/dev/null
  local status=$?
  rm -f "$probe"
  return "$status"
}

if [ "$(uname -s)" = Linux ] && links_statically; then
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
"${CARGO:-cargo}" build --release --locked -p chord -p chord-node -p chord-operator -p chord-e2e >&2
if [ "$out" != "$PWD/target/release" ]; then
  mkdir -p target/release
  for program in chord kubectl-chord chord-node chord-operator; do
    ln -f "$out/$program" "target/release/$program"
  done
fi
echo "$out"
