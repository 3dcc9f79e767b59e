#!/usr/bin/env bash
# Puts images into every node of the cluster that the suites use: kind's where
# E2E_CONTEXT names one (kind-NAME), else the one made by up.sh.
#
# usage: load-images.sh ARCHIVE…
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$here/node.sh"

[ $# -gt 0 ] || die "usage: load-images.sh ARCHIVE…"
for archive; do
  [ -r "$archive" ] || die "there is no $archive: run make images"
done

case ${E2E_CONTEXT:-$cluster} in
  "$cluster")
    need_root
    [ -e "$state/recipe" ] || die "the cluster is not up: run make cluster"
    for dir in "$state"/node-*; do
      import "${dir##*-}" "$@"
    done
    ;;
  kind-*)
    PATH=$tools/bin:$PATH
    command -v kind >/dev/null || die "kind is missing: run e2e/cluster/tools.sh kind"
    for archive; do
      kind load image-archive --name "${E2E_CONTEXT#kind-}" "$archive"
    done
    ;;
  *) die "images cannot be put into the cluster of the context $E2E_CONTEXT from here: push them to a registry that it reaches" ;;
esac
