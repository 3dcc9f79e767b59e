#!/usr/bin/env bash
# Installs what the suites on a real Kubernetes need and is missing: Go-built
# programs below target/tools/bin, and, only as root on a Linux with apt and
# without Docker, the Debian packages of a container runtime. Each program is
# built once for its version; a run with nothing to do takes a moment.
#
# usage: tools.sh [kube|coredns|local-path|helm|kind|kubectl|packages]…
# Without arguments: what a test cluster on this machine needs.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

kubernetes=1.35.4 # the last minor version that takes containerd 1.x (Debian 12)
coredns=v1.14.7
local_path=v0.0.30
helm=v4.3.1
kind=v0.31.0
# What the cluster runs (and builds images from: busybox).
packages=(containerd runc containernetworking-plugins nftables iptables conntrack
  iproute2 util-linux busybox-static)

# Static programs, some of which run in images made from nothing; two at a time
# and gently, since other builds share the machine.
export CGO_ENABLED=0 GOWORK=off GOFLAGS="-buildvcs=false -mod=readonly"
build="nice go"

stamps=$tools/stamps
log=$tools/build.log
mkdir -p "$tools/bin" "$stamps"

# made NAME KEY COMMAND…: runs the command unless target/tools/bin/NAME was made
# with the same key before.
made() {
  local name=$1 key=$2 begin=$SECONDS
  shift 2
  if [ -x "$tools/bin/$name" ] && [ "$(cat "$stamps/$name" 2>/dev/null)" = "$key" ]; then
    return 0
  fi
  command -v go >/dev/null || die "$name is built with Go, which is not installed here"
  say "building $name ($key), which takes minutes the first time"
  # Twice: it downloads, and servers have bad moments.
  "$@" >"$log" 2>&1 || { sleep 15 && "$@" >>"$log" 2>&1; } || {
    tail -n 20 "$log" >&2
    die "building $name failed; the whole log is $log"
  }
  echo "$key" >"$stamps/$name"
  say "built $name in $((SECONDS - begin)) s"
}

install_go() { # PACKAGE@VERSION
  # Outside any module, so that the program's own go.mod decides everything.
  (cd / && GOFLAGS=-buildvcs=false GOBIN=$tools/bin $build install -p 2 -trimpath -ldflags "-s -w" "$1")
}

build_kube() { # PACKAGE NAME
  local v=k8s.io/component-base/version minor=${kubernetes#*.}
  # Without the version linked in, clients see v0.0.0-master and act on it.
  (cd "$here/kube" && $build build -p 2 -trimpath -o "$tools/bin/$2" -ldflags "-s -w
    -X $v.gitVersion=v$kubernetes -X $v.gitMajor=1 -X $v.gitMinor=${minor%.*} -X $v.gitTreeState=clean" "$1")
}

kube_key() { echo "v$kubernetes $(cat "$here"/kube/*.go "$here"/kube/go.* | cksum | tr ' ' -)"; }

install_kube() {
  made kube "$(kube_key)" build_kube . kube
  # The same program by another name, unless it was built alone (see below).
  ln -sf kube "$tools/bin/kubectl"
  rm -f "$stamps/kubectl"
}

# kubectl alone, where there is no need for the rest (with kind).
install_kubectl() {
  [ -L "$tools/bin/kubectl" ] && return 0
  made kubectl "v$kubernetes" build_kube k8s.io/kubernetes/cmd/kubectl kubectl
}

install_packages() {
  local missing=() p
  for p in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null)" = "install ok installed" ] || missing+=("$p")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  may_install_packages ||
    die "these packages are missing: ${missing[*]}. They are installed by this script only as root, with apt, and where Docker does not answer; with Docker, use kind"
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # The services that some packages bring are not wanted: the cluster runs its own
  # containerd. A policy file of the machine's owner is left alone.
  local policy=/usr/sbin/policy-rc.d ours=""
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
    ours=yes
  fi
  local status=0
  local apt=(apt-get -o Acquire::Retries=3)
  { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 || status=$?
  [ -z "$ours" ] || rm -f $policy
  [ $status = 0 ] || {
    tail -n 20 "$log" >&2
    die "apt-get could not install ${missing[*]}; the whole log is $log"
  }
}

# Packages are installed only where nobody else looks after containers.
may_install_packages() {
  [ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! docker_answers
}

wanted=("$@")
if [ ${#wanted[@]} = 0 ]; then
  if docker_answers; then
    wanted=(helm kind kubectl)
  elif may_install_packages; then
    wanted=(packages kube coredns local-path helm)
  else
    say "no Docker, and not root on a Debian: no cluster can be made here; installing clients only"
    wanted=(helm kubectl)
  fi
fi

for tool in "${wanted[@]}"; do
  case $tool in
    packages) install_packages ;;
    kube) install_kube ;;
    kubectl) install_kubectl ;;
    coredns) made coredns $coredns install_go github.com/coredns/coredns@$coredns ;;
    local-path)
      made local-path-provisioner $local_path install_go github.com/rancher/local-path-provisioner@$local_path
      ;;
    helm) made helm $helm install_go helm.sh/helm/v4/cmd/helm@$helm ;;
    kind) made kind $kind install_go sigs.k8s.io/kind@$kind ;;
    *) die "no tool is called $tool: see the head of tools.sh" ;;
  esac
done
