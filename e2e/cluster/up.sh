#!/usr/bin/env bash
# Makes a Kubernetes of several nodes on this one machine, for the suites: no
# Docker, no registry, nothing of the host's network touched. A healthy one is left
# as it is; one that is only half there is removed and made anew.
#
# CLUSTER_NODES  how many nodes (default 2)
# CLUSTER_PORT   where on loopback the API server is reached (default 26443)
#
# Everything is below target/cluster: kubeconfig, logs/, state/. The state is also
# mounted at /run/chord-e2e, because the paths of unix sockets must be short.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$here/node.sh"

need_root
case $nodes in [1-9] | [1-9][0-9]) ;; *) die "CLUSTER_NODES must be 1 to 99, not $nodes" ;; esac
begin=$(date +%s%N)
elapsed() { echo "$((($(date +%s%N) - begin) / 100000000))" | sed 's/\(.\)$/.\1/; s/^\./0./'; }

"$here/tools.sh" packages kube coredns local-path
lock
"$here/base-images.sh"

export KUBECONFIG=$out/kubeconfig
kubectl() { "$kube" kubectl "$@"; }

# What this cluster is made from: another recipe, another cluster.
recipe=$(cat "$here"/{lib,node,up,base-images}.sh "$here"/manifests/* \
  "$tools"/stamps/{kube,coredns,local-path-provisioner} | cksum)
recipe="$nodes $api_port ${recipe// /-}"

all_ready() { # are N nodes there and ready?
  [ "$(kubectl get nodes --request-timeout=5s -o \
    'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' 2>/dev/null |
    grep -c True)" = "$nodes" ]
}

healthy() {
  local record
  for record in "$state"/pids/*; do
    running "${record##*/}" || return 1
  done
  try 5 kubectl get --raw /readyz --request-timeout=2s && try 20 all_ready
}

if [ -e "$state/recipe" ] && [ "$(cat "$state/owner")" != "$repo" ] && running kube-apiserver; then
  die "the cluster of another checkout is up, $(cat "$state/owner"): take it down first, with down.sh here or there"
fi
if [ "$(cat "$state/recipe" 2>/dev/null)" = "$recipe" ] && [ -e "$KUBECONFIG" ] && healthy; then
  say "already up, with $nodes nodes: KUBECONFIG=$KUBECONFIG"
  exit 0
fi
CLUSTER_LOCKED=yes "$here/down.sh"

# --- Ground ---------------------------------------------------------------------

imports=()
failed() {
  local status=$?
  [ $status = 0 ] && return
  [ ${#imports[@]} = 0 ] || kill "${imports[@]}" 2>/dev/null || true
  say "it did not come up; what its parts said last ($out/logs):"
  tail -q -n 3 "$out"/logs/*.log >&2 || true
  CLUSTER_LOCKED=yes "$here/down.sh" || true
  exit $status
}
trap failed EXIT

rm -rf "$out/logs"
mkdir -p "$out/logs" "$out/state" "$state"
mount --bind "$out/state" "$state"
mount --make-private "$state"
mkdir -p "$state/pids" "$state/volumes" "$state/ns"
# The files that keep the nodes' mount namespaces want a private mount.
mount --bind "$state/ns" "$state/ns"
mount --make-private "$state/ns"
echo "$repo" >"$state/owner"
make_cgroups
make_networks
for ((i = 1; i <= nodes; i++)); do make_mounts "$i"; done

node_list=$(for ((i = 1; i <= nodes; i++)); do node_name "$i"; done | paste -sd ,)
"$kube" pki --dir="$state/pki" --name="$cluster" --nodes="$node_list" \
  --sans="$control_ip,${service_cidr%.*}.1" \
  --inside="https://$control_ip:$api_port" --outside="https://127.0.0.1:$api_port"
install -m 0600 "$state/pki/admin.kubeconfig" "$KUBECONFIG"

# --- Control plane, and containers beside it ------------------------------------

# A crash of this machine may lose a test cluster, so nothing is synced.
spawn etcd control "$kube" etcd --data-dir="$state/etcd" --unsafe-no-fsync \
  --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
  --listen-peer-urls=http://127.0.0.1:2380 --log-level=warn
for ((i = 1; i <= nodes; i++)); do start_containerd "$i"; done

pki=$state/pki
spawn kube-apiserver control "$kube" kube-apiserver \
  --etcd-servers=http://127.0.0.1:2379 --advertise-address="$control_ip" --secure-port="$api_port" \
  --service-cluster-ip-range="$service_cidr" --allow-privileged=true \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
  --cert-dir="$pki" --client-ca-file="$pki/ca.crt" \
  --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
  --kubelet-preferred-address-types=InternalIP \
  --kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" \
  --kubelet-client-key="$pki/apiserver-kubelet-client.key" \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
  --requestheader-client-ca-file="$pki/front-proxy-ca.crt" \
  --requestheader-allowed-names=front-proxy-client \
  --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
  --requestheader-extra-headers-prefix=X-Remote-Extra- \
  --proxy-client-cert-file="$pki/front-proxy-client.crt" \
  --proxy-client-key-file="$pki/front-proxy-client.key"
spawn forward host "$kube" forward --netns="/run/netns/$cluster" \
  --listen="127.0.0.1:$api_port" --target="127.0.0.1:$api_port"

base=()
for name in pause busybox coredns provisioner; do base+=("$repo/target/images/e2e-$name.tar"); done
for ((i = 1; i <= nodes; i++)); do
  try 20 ctr -a "$state/node-$i/containerd.sock" version || die "containerd of node $i does not answer"
  import "$i" "${base[@]}" &
  imports+=($!)
done

settled() { ! running forward || kubectl get --raw /readyz --request-timeout=2s; }
try 60 settled || die "the API server is not ready after 60 s"
running forward ||
  die "the API server cannot be brought to 127.0.0.1:$api_port; is the port taken? Set CLUSTER_PORT. $(tail -n 1 "$out/logs/forward.log")"
spawn kube-controller-manager control "$kube" kube-controller-manager --leader-elect=false \
  --kubeconfig="$pki/controller-manager.kubeconfig" --use-service-account-credentials=true \
  --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt" \
  --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
  --authentication-kubeconfig="$pki/controller-manager.kubeconfig" \
  --authorization-kubeconfig="$pki/controller-manager.kubeconfig" \
  --service-cluster-ip-range="$service_cidr" --cluster-cidr="$pod_cidr" --allocate-node-cidrs=false \
  --flex-volume-plugin-dir="$state/volume-plugins"
spawn kube-scheduler control "$kube" kube-scheduler --leader-elect=false \
  --kubeconfig="$pki/scheduler.kubeconfig" \
  --authentication-kubeconfig="$pki/scheduler.kubeconfig" \
  --authorization-kubeconfig="$pki/scheduler.kubeconfig"

# --- Nodes ----------------------------------------------------------------------

wait "${imports[@]}" || die "a node did not take the images"
for ((i = 1; i <= nodes; i++)); do start_kubelet "$i"; done
for file in "$here"/manifests/*.yaml; do echo --- && cat "$file"; done |
  sed "s|DNS_IP|$dns_ip|; s|FIRST_NODE|$(node_name 1)|; s|STATE|$state|" |
  kubectl apply --server-side -f - >/dev/null
for ((i = 1; i <= nodes; i++)); do
  try 60 kubectl get node "$(node_name "$i")" || die "node $i has not registered after 60 s"
  # It asks for its node's address once, so the node has to be there.
  start_kube_proxy "kube-proxy-$i" "$i" "$(node_name "$i")"
done
start_kube_proxy kube-proxy control "$(node_name 1)"
try 60 all_ready || die "not all nodes are ready after 60 s"
for deployment in kube-system/coredns local-path-storage/provisioner; do
  kubectl -n "${deployment%/*}" rollout status "deployment/${deployment#*/}" --timeout=90s >/dev/null ||
    die "$deployment does not run: KUBECONFIG=$KUBECONFIG kubectl -n ${deployment%/*} describe pods"
done
echo "$recipe" >"$state/recipe"
trap - EXIT
say "up with $nodes nodes after $(elapsed) s: KUBECONFIG=$KUBECONFIG"
