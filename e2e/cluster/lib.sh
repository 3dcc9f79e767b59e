# What the scripts of the test cluster share: names, addresses, folders, and the
# few functions that start and end processes so that each is known by its id.
# Sourced, never run.
# shellcheck shell=bash disable=SC2034

set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$repo/e2e/cluster
tools=$repo/target/tools
kube=$tools/bin/kube

cluster=chord-e2e                        # also the context's name
nodes=${CLUSTER_NODES:-2}
api_port=${CLUSTER_PORT:-26443}          # the same inside and outside, see forward.go
out=$repo/target/cluster                 # what people look at: kubeconfig, logs, state
state=/run/$cluster                      # a bind mount of $out/state, see up.sh
shared_folders=(/var/lib/kubelet /var/lib/cni /var/log/containers /run/containerd) # see node.sh
control_ip=10.88.0.1                     # all addresses exist in our namespaces only
service_cidr=10.96.0.0/16
dns_ip=10.96.0.10
pod_cidr=10.244.0.0/16

node_name() { echo "$cluster-$1"; }
node_ip() { echo "10.88.0.$((10 + $1))"; }
node_pods() { echo "10.244.$1"; }

say() { echo "cluster: $*" >&2; }
die() {
  echo "cluster: $*" >&2
  exit 1
}

need_root() {
  [ "$(uname -s)" = Linux ] || die "this needs Linux; elsewhere use kind (E2E_CONTEXT=kind-NAME)"
  [ "$(id -u)" = 0 ] || die "this needs root, for network namespaces and containers; or use kind (E2E_CONTEXT=kind-NAME)"
}

docker_answers() { docker info >/dev/null 2>&1; }

# One change of the cluster at a time, whichever checkout it comes from.
lock() {
  exec 9>"/run/$cluster.lock"
  flock -w 300 9 || die "another up.sh or down.sh has been at work for 5 minutes (lock /run/$cluster.lock)"
}

# try SECONDS COMMAND…: repeats it, quietly, until it succeeds or time is up.
try() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.2
  done
}

# --- Processes --------------------------------------------------------------
# A record is "PID STARTTIME": the start time tells a process from a later one
# that was given the same id.

start_time() { # of a process; empty where there is none
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  stat=${stat##*) } # the name may hold blanks
  set -- $stat
  [ "$1" = Z ] || echo "${20}"
}

running() { # NAME: is the recorded process alive?
  local pid started
  read -r pid started <"$state/pids/$1" 2>/dev/null || return 1
  [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ]
}

# within PLACE COMMAND…: runs it in the network (and mounts) of a place: "host",
# "control", or a node's number. By nsenter, not `ip netns exec`: that one mounts
# /sys anew and hides the cgroups, without which a kubelet does not start.
within() {
  local place=$1
  shift
  case $place in
    host) exec "$@" ;;
    control) exec nsenter "--net=/run/netns/$cluster" -- "$@" ;;
    *) exec nsenter "--net=/run/netns/$(node_name "$place")" "--mount=$state/ns/node-$place" -- "$@" ;;
  esac
}

# spawn NAME PLACE COMMAND…: starts a program of the cluster, away from this
# terminal, in the cluster's own cgroup, and records it.
spawn() {
  local name=$1 place=$2
  shift 2
  (
    # Nothing of the caller's is kept open: a pipe held by a daemon would make
    # whoever reads from it wait for ever.
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      [ "$fd" -le 2 ] || eval "exec $fd>&-"
    done
    echo "$BASHPID" >"$(daemons_cgroup)/cgroup.procs"
    cd /
    within "$place" setsid "$@"
  ) </dev/null >>"$out/logs/$name.log" 2>&1 &
  echo "$! $(start_time $!)" >"$state/pids/$name"
  disown $!
}

# end NAME SECONDS: asks the process to end and makes it after a while.
end() {
  local pid
  running "$1" || return 0
  read -r pid _ <"$state/pids/$1"
  kill "$pid" 2>/dev/null || true
  local deadline=$((SECONDS + $2))
  while running "$1"; do
    [ $SECONDS -lt $deadline ] || { kill -9 "$pid" 2>/dev/null || true; break; }
    sleep 0.05
  done
}

# --- Cgroups: version 1 (also beside 2, "hybrid") or version 2 alone ----------

cgroup_v2() { [ "$(stat -fc %T /sys/fs/cgroup 2>/dev/null)" = cgroup2fs ]; }

cgroup_hierarchies() {
  if cgroup_v2; then
    echo /sys/fs/cgroup
  else
    # Those of version 2 as well: runc makes groups there too, if without controllers.
    awk '$5 ~ "^/sys/fs/cgroup/" { for (i = 7; i < NF; i++) if ($i == "-") {
      if ($(i + 1) ~ "^cgroup2?$") print $5
      break
    } }' /proc/self/mountinfo
  fi
}

# Where the cluster's own programs are: one hierarchy is enough to find them by.
daemons_cgroup() {
  if cgroup_v2; then
    echo "/sys/fs/cgroup/$cluster/daemons"
  else
    echo "$(cgroup_hierarchies | grep -m 1 /pids)/$cluster/daemons"
  fi
}

make_cgroups() {
  local top part i
  while read -r top; do
    for part in "" /daemons $(for ((i = 1; i <= nodes; i++)); do echo "/node-$i"; done); do
      mkdir -p "$top/$cluster$part" ||
        die "cannot make the cgroup $top/$cluster$part: the cgroup file system is read-only here (a container without --privileged?)"
      # A cpuset of version 1 starts empty and takes no process until it is filled.
      if ! cgroup_v2 && [ -e "$top/$cluster$part/cpuset.mems" ]; then
        cat "$top/cpuset.cpus" >"$top/$cluster$part/cpuset.cpus"
        cat "$top/cpuset.mems" >"$top/$cluster$part/cpuset.mems"
      fi
      # Version 2 hands controllers down level by level.
      if cgroup_v2; then
        case $part in "") hand_down "$top" "$top/$cluster" ;; esac
      fi
    done
  done < <(cgroup_hierarchies)
}

hand_down() {
  local group controller
  for group; do
    for controller in cpu cpuset io memory pids hugetlb; do
      grep -qw "$controller" "$group/cgroup.controllers" || continue
      echo "+$controller" >"$group/cgroup.subtree_control" ||
        die "the cgroup controller $controller cannot be handed down from $group: inside a container, move its processes to a group of their own first"
    done
  done
}

# Every process in our cgroups, thus every one that we or our containers started.
cgroup_pids() {
  local top
  while read -r top; do
    [ -d "$top/$cluster" ] || continue
    find "$top/$cluster" -name cgroup.procs -exec cat {} + 2>/dev/null || true
  done < <(cgroup_hierarchies) | sort -un
}

remove_cgroups() {
  local top
  while read -r top; do
    [ -d "$top/$cluster" ] || continue
    find "$top/$cluster" -depth -type d -exec rmdir {} + 2>/dev/null || true
    [ ! -d "$top/$cluster" ] || say "the cgroup $top/$cluster could not be removed"
  done < <(cgroup_hierarchies)
}
