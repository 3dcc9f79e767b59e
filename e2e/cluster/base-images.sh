#!/usr/bin/env bash
# Packs the images that the cluster itself needs, as OCI archives below
# target/images, when their programs have changed:
#   e2e-busybox      a shell and its tools: volumes are made by it, tests use it
#   e2e-pause        holds a pod's namespaces: busybox, asleep
#   e2e-coredns, e2e-provisioner
# All from nothing but static programs.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

images=$repo/target/images
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# stale ARCHIVE PROGRAM: is the archive missing, or older than what it is made of?
stale() {
  [ ! -e "$1" ] || [ "$2" -nt "$1" ] || [ "${BASH_SOURCE[0]}" -nt "$1" ] || [ "$repo/images/pack.sh" -nt "$1" ]
}

new_root() { # NAME
  mkdir -p "$work/$1/etc" "$work/$1/tmp" "$work/$1/bin"
  echo 'root:x:0:0:root:/:/bin/sh' >"$work/$1/etc/passwd"
  echo 'nonroot:x:65532:65532:nonroot:/:/bin/sh' >>"$work/$1/etc/passwd"
  printf 'root:x:0:\nnonroot:x:65532:\n' >"$work/$1/etc/group"
  chmod 1777 "$work/$1/tmp"
}

pack() { # NAME USER ENTRYPOINT…
  local name=$1 user=$2
  shift 2
  "$repo/images/pack.sh" --name "docker.io/chord/$name:dev" --root "$work/$name" \
    --out "$images/$name.tar" --user "$user" -- "$@"
}

busybox=$(command -v busybox) || die "busybox is missing: install the package busybox-static (tools.sh does it as root)"
if LC_ALL=C grep -aqE '/lib(64)?/ld-(linux|musl)[^ ]*\.so' <(head -c 4096 "$busybox"); then
  die "$busybox is not static: install the package busybox-static instead of busybox"
fi
if stale "$images/e2e-busybox.tar" "$busybox" || stale "$images/e2e-pause.tar" "$busybox"; then
  new_root e2e-busybox
  install -m 0755 "$busybox" "$work/e2e-busybox/bin/busybox"
  for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$work/e2e-busybox/bin/$applet"
  done
  # /bin/sh without arguments ends at once where nothing is attached.
  pack e2e-busybox 65532:65532 /bin/sh
  cp -a "$work/e2e-busybox" "$work/e2e-pause"
  pack e2e-pause 65535:65535 /bin/busybox sleep 2147483647
fi

program() { # NAME BINARY
  [ -x "$2" ] || die "$2 is missing: run e2e/cluster/tools.sh"
  stale "$images/$1.tar" "$2" || return 0
  new_root "$1"
  install -m 0755 "$2" "$work/$1/bin/${2##*/}"
  pack "$1" 65532:65532 "/bin/${2##*/}"
}
program e2e-coredns "$tools/bin/coredns"
program e2e-provisioner "$tools/bin/local-path-provisioner"
