#!/usr/bin/env bash
# Runs a command against the test cluster: with its KUBECONFIG, with the built
# tools first on the PATH, and inside the cluster's network, where pods and
# services can be reached by their addresses (names of services are not resolved).
#
# usage: run.sh COMMAND…        for example: run.sh kubectl get nodes
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -gt 0 ] || die "usage: run.sh COMMAND…"
need_root
[ -e "$out/kubeconfig" ] && running kube-apiserver || die "the cluster is not up: run make cluster"
export KUBECONFIG=$out/kubeconfig E2E_CONTEXT=$cluster PATH=$tools/bin:$PATH
exec nsenter "--net=/run/netns/$cluster" -- "$@"
