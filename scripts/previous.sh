#!/usr/bin/env bash
# Builds the node of an earlier commit, for the suite that runs it beside this one,
# and prints where it is. Once for each commit.
#
# PREVIOUS  the commit (default: release 0.1.0 where the history has it, else the
#           commit before this one)
#
# Exit 3: there is no such commit; the reason is printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

commit() { git rev-parse --verify --quiet "$1^{commit}"; }

if [ -n "${PREVIOUS:-}" ]; then
  rev=$PREVIOUS
elif commit 7aefa1e >/dev/null; then
  rev=7aefa1e
else
  rev=HEAD~1
fi
if ! id=$(commit "$rev"); then
  echo "there is no commit $rev here to build the previous node from: fetch more of the history, or name one in PREVIOUS" >&2
  exit 3
fi
home=$PWD/target/previous
out=$home/$id
if [ ! -x "$out/chord-node" ]; then
  echo "building the node of $id; once for this commit" >&2
  mkdir -p "$home"
  git worktree prune
  if [ -e "$home/tree/.git" ]; then
    git -C "$home/tree" checkout --quiet --force --detach "$id"
  else
    git worktree add --quiet --force --detach "$home/tree" "$id" >&2
  fi
  (
    cd "$home/tree"
    # What the build of this commit was told is not for that one.
    unset RUSTC_WORKSPACE_WRAPPER CLIPPY_ARGS RUSTFLAGS CARGO_BUILD_TARGET
    CARGO_TARGET_DIR=$home/build "${CARGO:-cargo}" build --release --locked -p chord-node >&2
  )
  mkdir -p "$out"
  cp "$home/build/release/chord-node" "$out/.new"
  mv "$out/.new" "$out/chord-node"
fi
echo "$out/chord-node"
