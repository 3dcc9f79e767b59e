# One node of the test cluster: network, mounts, containerd, kubelet and kube-proxy
# of its own. Sourced by up.sh.
# shellcheck shell=bash disable=SC2154

# --- Networks -----------------------------------------------------------------
# The control plane's namespace has a bridge, each node's a veth to it. All
# interfaces are made inside our namespaces; the host's own network gets nothing.

in_netns() { # NETNS COMMAND…
  local netns=$1
  shift
  nsenter "--net=/run/netns/$netns" "$@"
}

make_networks() {
  local i j name
  ip netns add "$cluster"
  ip -n "$cluster" link set lo up
  ip -n "$cluster" link add br0 type bridge
  ip -n "$cluster" addr add "$control_ip/24" dev br0
  ip -n "$cluster" link set br0 up
  # Addresses of services are rewritten on their way out, but only after a route
  # for them was found.
  ip -n "$cluster" route add "$service_cidr" dev br0
  in_netns "$cluster" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
  for ((i = 1; i <= nodes; i++)); do
    name=$(node_name "$i")
    ip netns add "$name"
    ip -n "$name" link set lo up
    ip -n "$cluster" link add "node$i" type veth peer name eth0 netns "$name"
    ip -n "$cluster" link set "node$i" master br0 up
    ip -n "$name" addr add "$(node_ip "$i")/24" dev eth0
    ip -n "$name" link set eth0 up
    ip -n "$name" route add default via "$control_ip"
    in_netns "$name" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    ip -n "$cluster" route add "$(node_pods "$i").0/24" via "$(node_ip "$i")"
  done
  for ((i = 1; i <= nodes; i++)); do
    for ((j = 1; j <= nodes; j++)); do
      [ "$i" = "$j" ] || ip -n "$(node_name "$i")" route add "$(node_pods "$j").0/24" via "$(node_ip "$j")"
    done
  done
}

# --- Mounts ---------------------------------------------------------------------
# A node's mounts are its own, and go with it. Some folders have fixed names that
# kubelets and containerds cannot be talked out of: in a node they are folders of
# the node, so that nodes, and a kubelet of the machine itself, do not meet there.

make_mounts() { # I
  local dir=$state/node-$1 folder
  mkdir -p "$dir" "${shared_folders[@]}"
  for folder in "${shared_folders[@]}"; do mkdir -p "$dir/folders$folder"; done
  touch "$state/ns/node-$1"
  # What the machine unmounts goes here too (slave); what a node mounts stays in it,
  # and is shared there, so that a container may mount something for others.
  unshare "--mount=$state/ns/node-$1" --propagation slave sh -euc '
    dir=$1 state=$2
    shift 2
    mount --make-shared "$state"
    for folder; do mount --bind "$dir/folders$folder" "$folder"; done
  ' mounts "$dir" "$state" "${shared_folders[@]}" || die "cannot make the mounts of node $1"
}

# --- Containers -----------------------------------------------------------------

cni_plugins() { # the folder with the plugins: distributions differ
  local dir
  for dir in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
    [ -x "$dir/ptp" ] && [ -x "$dir/host-local" ] && [ -x "$dir/loopback" ] && echo "$dir" && return
  done
  die "the CNI plugins ptp, host-local and loopback are missing: install the package containernetworking-plugins"
}

# Lowering a process's oom_score_adj takes a capability that containers and small
# virtual machines often lack; without this setting no pod would start there.
may_lower_oom_score() {
  local caps
  caps=$(awk '/^CapEff/ { print $2 }' /proc/self/status)
  (((0x$caps >> 24) & 1)) # CAP_SYS_RESOURCE
}

# Overlay on overlay is not possible, as where the checkout is inside a container.
snapshotter() {
  case $(stat -f -c %T "$out") in
    overlayfs) echo native ;;
    *) echo overlayfs ;;
  esac
}

start_containerd() { # I
  local dir=$state/node-$1 restrict=true
  may_lower_oom_score && restrict=false
  mkdir -p "$dir/cni"
  cat >"$dir/containerd.toml" <<TOML
version = 2
root = "$dir/containerd"
state = "$dir/containerd-state"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "$dir/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/chord/e2e-pause:dev"
  restrict_oom_score_adj = $restrict
  netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "$(snapshotter)"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "$(cni_plugins)"
  conf_dir = "$dir/cni"
TOML
  # ptp and not bridge: every packet between pods is routed, so that a pod reaches
  # itself and its neighbours through a service without br_netfilter.
  cat >"$dir/cni/10-$cluster.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "$cluster", "plugins": [
  {"type": "ptp", "ipMasq": false, "mtu": 1500,
   "ipam": {"type": "host-local", "dataDir": "$dir/addresses",
            "ranges": [[{"subnet": "$(node_pods "$1").0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
JSON
  spawn "containerd-$1" "$1" containerd --config "$dir/containerd.toml"
}

import() { # I ARCHIVE…: into the node's containerd, where the kubelet looks
  local i=$1 archive
  shift
  for archive; do
    ctr -a "$state/node-$i/containerd.sock" -n k8s.io images import "$archive" >/dev/null ||
      die "node $i does not take $archive: see $out/logs/containerd-$i.log"
  done
}

# --- Kubernetes -----------------------------------------------------------------

start_kubelet() { # I
  local i=$1 dir=$state/node-$1 zone
  zone=zone-$(printf "\\$(printf %o $((96 + (i - 1) % 26 + 1)))")
  # What a pod without cluster DNS gets; the host's resolver is none of its business.
  echo "nameserver $dns_ip" >"$dir/resolv.conf"
  cat >"$dir/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $state/pki/ca.crt}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://$dir/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$cluster/node-$i
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
clusterDNS: [$dns_ip]
clusterDomain: cluster.local
resolvConf: $dir/resolv.conf
podLogsDir: $dir/pod-logs
volumePluginDir: $dir/kubelet/volume-plugins
readOnlyPort: 0
registryPullQPS: 0
serializeImagePulls: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 50Mi, nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%"}
YAML
  spawn "kubelet-$i" "$i" "$kube" kubelet --config="$dir/kubelet.yaml" \
    --root-dir="$dir/kubelet" --kubeconfig="$state/pki/$(node_name "$i").kubeconfig" \
    --hostname-override="$(node_name "$i")" --node-ip="$(node_ip "$i")" \
    --node-labels="topology.kubernetes.io/zone=$zone,topology.kubernetes.io/region=here"
}

# start_kube_proxy NAME PLACE NODE: the one of the control plane's namespace, where
# run.sh runs tests, has no node of its own and goes by the first one's name.
start_kube_proxy() {
  spawn "$1" "$2" "$kube" kube-proxy --proxy-mode=nftables --cluster-cidr="$pod_cidr" \
    --kubeconfig="$state/pki/kube-proxy.kubeconfig" --hostname-override="$3" \
    --conntrack-max-per-core=0 --oom-score-adj=0
}
