#!/usr/bin/env bash
# Packs a folder into a container image of one layer, from nothing: an OCI archive
# that containerd, kind, podman, skopeo and `docker load` all take.
#
# An image is a few JSON files around a tar, and so this needs GNU tar, gzip and
# sha256sum: no daemon, no root, nothing to install. Of the tools there are,
# buildah needs a Debian package and user namespaces or root, and crane's `mutate`
# only works on a registry and its `append` writes Docker's older format.
# The same input gives the same bytes: order, owners and times are fixed
# (SOURCE_DATE_EPOCH, else 1970).
#
# usage: pack.sh --name REGISTRY/REPO/NAME:TAG --root FOLDER --out FILE
#                [--user UID:GID] [--env K=V]… [--label K=V]… -- ENTRYPOINT…
set -euo pipefail

die() {
  echo "images: $*" >&2
  exit 1
}

name="" root="" out="" user="0:0" env=() labels=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  [ $# -ge 2 ] || die "$1 needs a value: see the head of pack.sh"
  case $1 in
    --name) name=$2 ;;
    --root) root=$2 ;;
    --out) out=$2 ;;
    --user) user=$2 ;;
    --env) env+=("$2") ;;
    --label) labels+=("$2") ;;
    *) die "pack.sh knows no $1: see its head" ;;
  esac
  shift 2
done
[ $# -gt 1 ] || die "the entrypoint is missing: it stands behind --"
shift
[ -d "$root" ] && [ -n "$name" ] && [ -n "$out" ] || die "--name, --root (a folder) and --out are needed"
tar --version 2>/dev/null | grep -q 'GNU tar' || die "images are packed with GNU tar, which \`tar\` is not here"

# What is written into JSON below has no need for escapes, so they are refused.
for s in "$name" "$user" "${env[@]}" "${labels[@]}" "$@"; do
  case $s in *[\"\\[:cntrl:]]*) die "a quote, a backslash or a control character in: $s" ;; esac
done

case $(uname -m) in
  x86_64) arch=amd64 ;;
  aarch64 | arm64) arch=arm64 ;;
  *) die "no images for the architecture $(uname -m)" ;;
esac
epoch=${SOURCE_DATE_EPOCH:-0}
created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
blobs=$work/image/blobs/sha256
mkdir -p "$blobs"

pack() { # FOLDER: its content as a tar on standard output
  (cd "$1" && find . -mindepth 1 -maxdepth 1 -printf '%P\0') | LC_ALL=C sort -z |
    tar -C "$1" --null --files-from=- --create --format=gnu --sort=name \
      --owner=0 --group=0 --numeric-owner --mtime="@$epoch"
}

string() { printf '"%s"' "$1"; }
list() {
  local sep="" s
  printf '['
  for s; do printf '%s' "$sep" && string "$s" && sep=,; done
  printf ']'
}
map() { # K=V…
  local sep="" s
  printf '{'
  for s; do printf '%s' "$sep" && string "${s%%=*}" && printf ':' && string "${s#*=}" && sep=,; done
  printf '}'
}

digest_of() { sha256sum "$1" | cut -d ' ' -f 1; }
store() { # FILE: moves it among the blobs and prints its digest
  local digest
  digest=$(digest_of "$1")
  mv "$1" "$blobs/$digest"
  echo "$digest"
}
describe() { # MEDIATYPE DIGEST
  printf '"mediaType":"%s","digest":"sha256:%s","size":%s' "$1" "$2" "$(stat -c %s "$blobs/$2")"
}

pack "$root" >"$work/layer.tar"
content=$(digest_of "$work/layer.tar")
gzip -n -6 "$work/layer.tar"
layer=$(store "$work/layer.tar.gz")

cat >"$work/config.json" <<JSON
{"created":"$created","architecture":"$arch","os":"linux","config":{"User":$(string "$user"),"Env":$(list "PATH=/usr/local/bin:/usr/bin:/bin" "${env[@]}"),"Entrypoint":$(list "$@"),"WorkingDir":"/","Labels":$(map "${labels[@]}")},"rootfs":{"type":"layers","diff_ids":["sha256:$content"]},"history":[{"created":"$created","created_by":"images/pack.sh"}]}
JSON
config=$(store "$work/config.json")

cat >"$work/manifest.json" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{$(describe application/vnd.oci.image.config.v1+json "$config")},"layers":[{$(describe application/vnd.oci.image.layer.v1.tar+gzip "$layer")}]}
JSON
manifest=$(store "$work/manifest.json")

cat >"$work/image/index.json" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{$(describe application/vnd.oci.image.manifest.v1+json "$manifest"),"platform":{"architecture":"$arch","os":"linux"},"annotations":{"io.containerd.image.name":$(string "$name"),"org.opencontainers.image.ref.name":$(string "${name##*:}")}}]}
JSON
printf '{"imageLayoutVersion":"1.0.0"}' >"$work/image/oci-layout"
# For Docker before 25, which reads this file and no index.
cat >"$work/image/manifest.json" <<JSON
[{"Config":"blobs/sha256/$config","RepoTags":[$(string "${name#docker.io/}")],"Layers":["blobs/sha256/$layer"]}]
JSON

mkdir -p "$(dirname "$out")"
pack "$work/image" >"$out.part"
mv "$out.part" "$out"
