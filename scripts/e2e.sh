#!/usr/bin/env bash
# Runs the end-to-end suites on one stage: `local` (processes on this machine) or
# `kube` (a real Kubernetes: the context in E2E_CONTEXT; else kind, where Docker
# answers; else one made here, as root on Linux). Further words go to the runner.
#
# Exit 3: the stage cannot be had here; the reason is printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

stage=${1:?say local or kube}
shift
scripts/toolchain.sh
bins=$(scripts/build.sh)
export CHORD_BIN_DIR=$bins

if [ "$stage" = kube ]; then
  # Somebody's exported KUBECONFIG may be their production.
  unset KUBECONFIG
  if [ -z "${E2E_CONTEXT:-}" ] && ! docker info >/dev/null 2>&1; then
    if [ "$(uname -s)" != Linux ] || [ "$(id -u)" != 0 ]; then
      echo "e2e: no E2E_CONTEXT, no Docker for kind, and making a cluster here wants root on Linux" >&2
      exit 3
    fi
  fi
  e2e/cluster/tools.sh
  CHORD_NODE_BIN=$bins/chord-node CHORD_OPERATOR_BIN=$bins/chord-operator images/build.sh
  export PATH=$PWD/target/tools/bin:$PATH
  made=
  if [ -z "${E2E_CONTEXT:-}" ] && docker info >/dev/null 2>&1; then
    kind create cluster --name chord-e2e --config e2e/cluster/kind.yaml --wait 180s
    made=chord-e2e
    export E2E_CONTEXT=kind-chord-e2e
  fi
  if [ -n "${E2E_CONTEXT:-}" ]; then
    case $E2E_CONTEXT in
      kind-*) e2e/cluster/load-images.sh target/images/chord-node.tar target/images/chord-operator.tar ;;
    esac
    status=0
    "$bins/chord-e2e" run --on kube "$@" || status=$?
    [ -z "$made" ] || [ -n "${KEEP_CLUSTER:-}" ] || kind delete cluster --name "$made"
    exit "$status"
  fi
  # It is not what is tested: one that did not come up is made anew, once.
  e2e/cluster/up.sh || e2e/cluster/up.sh
  e2e/cluster/load-images.sh target/images/chord-node.tar target/images/chord-operator.tar
  status=0
  e2e/cluster/run.sh "$bins/chord-e2e" run --on kube "$@" || status=$?
  [ -n "${KEEP_CLUSTER:-}" ] || e2e/cluster/down.sh
  exit "$status"
fi
exec "$bins/chord-e2e" run --on "$stage" "$@"
