#!/usr/bin/env bash
# Every suite in its short form: format and lints, unit tests, the suites on local
# processes, the suites on a real Kubernetes. Ends with one line
# `N passed, N failed, N skipped`. A suite that cannot run says why and counts as
# skipped; with CI=true that is a failure.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mkdir -p target
tally=$PWD/target/tally
: >"$tally"
short=$PWD/target/not-passed # what did not pass, in a line each
: >"$short"
failed_to_run=0

note() { # PASSED FAILED SKIPPED
  echo "$1 $2 $3" >>"$tally"
}

step() { # NAME COMMAND…
  local name=$1
  shift
  echo "== $name"
  "$@"
}

# What is built once needs nothing kept for the next time: 2 GB less.
[ "${CI:-}" != true ] || export CARGO_INCREMENTAL=0

scripts/toolchain.sh || exit 1

if step "format" cargo fmt --all --check; then note 1 0 0; else echo "FAILED format" >>"$short"; note 0 1 0; fi

# One folder, one profile: the compiler that lints as it compiles makes the tests, and
# the programs that the suites and the images take share most libraries with them.
# shellcheck source=scripts/lints.sh
. scripts/lints.sh

build() {
  scripts/shared.sh cargo test --release --workspace --all-targets --locked --no-run && scripts/build.sh >/dev/null
}
if step "build and lints" build; then
  note 1 0 0
else
  echo "FAILED build and lints" >>"$short"
  note 0 1 0
  # What a lint refuses may work all the same: the tests tell.
  unset RUSTC_WORKSPACE_WRAPPER CLIPPY_ARGS
fi

echo "== unit tests"
log=target/unit-tests.log
scripts/shared.sh cargo test --release --workspace --locked --no-fail-fast 2>&1 | tee "$log" | grep -vE '^test .* ok$|^$|^running 0 tests'
[ "${PIPESTATUS[0]}" = 0 ] || failed_to_run=1
grep -E '^test .* (FAILED|ignored)' "$log" >>"$short"
awk '/^test result:/ { passed += $4; failed += $6; skipped += $8 }
     END { print passed + 0, failed + 0, skipped + 0 }' "$log" >>"$tally"
if [ "$failed_to_run" = 1 ] && ! grep -q '^test result: FAILED' "$log"; then
  echo "FAILED unit tests: they did not run" >>"$short"
  note 0 1 0 # it did not even build
fi

for stage in local kube; do
  echo "== end to end: $stage"
  log=target/e2e-$stage.log
  scripts/e2e.sh "$stage" --tally "$tally" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  grep -E '^(FAILED|skipped) ' "$log" >>"$short"
  case $status in
    0 | 1) ;;
    3)
      echo "skipped $stage: it cannot be had here" >>"$short"
      if [ "${CI:-}" = true ]; then note 0 1 0; else note 0 0 1; fi
      ;;
    *)
      echo "FAILED $stage: exit $status" >>"$short"
      note 0 1 0
      ;;
  esac
done

read -r passed failed skipped < <(awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }' "$tally")
cat "$short"
if [ "${CI:-}" = true ] && [ "$skipped" -gt 0 ]; then
  echo "with CI=true a skipped case is a failure"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ] && { [ "${CI:-}" != true ] || [ "$skipped" = 0 ]; }
