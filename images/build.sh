#!/usr/bin/env bash
# Builds the container images of the storage node and of the operator, as OCI
# archives below target/images: static release binaries, packed from nothing.
#
# TAG                  of the images (default: the version, which the charts ask for)
# CHORD_NODE_BIN, CHORD_OPERATOR_BIN
#                      a static binary to pack instead of building that one
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tag=${TAG:-$(sed -n 's/^version = "\(.*\)"$/\1/p' "$repo/Cargo.toml" | head -n 1)}
out=$repo/target/images
limit_mb=40

die() {
  echo "images: $*" >&2
  exit 1
}

[ "$(uname -s)" = Linux ] || die "the images hold Linux binaries, which are built on Linux only"
triple=$(uname -m)-unknown-linux-gnu

# Flags and profile of their own, thus a target folder of their own: a static
# build must not make the everyday one start over.
build() {
  echo "images: building $*" >&2
  (
    cd "$repo"
    export CARGO_TARGET_DIR=$repo/target/dist-build
    export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
    cargo build --release --locked --target "$triple" "$@"
  ) || die "cargo could not build $*: see above"
}

crates=()
[ -n "${CHORD_NODE_BIN:-}" ] || crates+=(-p chord-node)
[ -n "${CHORD_OPERATOR_BIN:-}" ] || crates+=(-p chord-operator)
[ ${#crates[@]} = 0 ] || build "${crates[@]}"
built=$repo/target/dist-build/$triple/release

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

image() { # NAME BINARY TITLE
  local name=$1 binary=$2 title=$3 root=$work/$1 archive=$out/$1.tar size
  [ -f "$binary" ] || die "there is no $binary to put into the image $name"
  # A program that wants a loader would die in an empty image with "not found".
  if LC_ALL=C grep -aqE '/lib(64)?/ld-(linux|musl)[^ ]*\.so' <(head -c 4096 "$binary"); then
    die "$binary is not static, and the image has no libraries: build it with -C target-feature=+crt-static"
  fi
  mkdir -p "$root/etc" "$root/tmp"
  install -m 0755 "$binary" "$root/$name"
  # A user by number and by name: some libraries look themselves up.
  printf '%s\n' 'root:x:0:0:root:/:/sbin/nologin' 'chord:x:65532:65532:chord:/:/sbin/nologin' >"$root/etc/passwd"
  printf '%s\n' 'root:x:0:' 'chord:x:65532:' >"$root/etc/group"
  chmod 0755 "$root/etc"
  chmod 0644 "$root/etc/passwd" "$root/etc/group"
  chmod 1777 "$root/tmp"
  "$repo/images/pack.sh" --name "docker.io/chord/$name:$tag" --root "$root" --out "$archive" \
    --user 65532:65532 \
    --label "org.opencontainers.image.title=$name" \
    --label "org.opencontainers.image.description=$title" \
    --label "org.opencontainers.image.version=$tag" \
    --label "org.opencontainers.image.licenses=Apache-2.0" \
    --label "org.opencontainers.image.revision=$(git -C "$repo" rev-parse --verify --quiet HEAD || echo unknown)" \
    -- "/$name"
  size=$(stat -c %s "$archive")
  if [ "$size" -gt $((limit_mb * 1000 * 1000)) ]; then
    rm -f "$archive"
    die "the image $name would be $((size / 1000 / 1000)) MB, and the limit is $limit_mb MB: look at what its binary links, and whether it is stripped"
  fi
  echo "images: docker.io/chord/$name:$tag in ${archive#"$repo"/}, $((size / 1000)) kB" >&2
}

image chord-node "${CHORD_NODE_BIN:-$built/chord-node}" "Storage node of a chord cluster"
image chord-operator "${CHORD_OPERATOR_BIN:-$built/chord-operator}" "Operator that runs and resizes chord clusters"
