#!/usr/bin/env bash
# Removes the test cluster, whatever state it is in: its processes and containers
# (known by their ids and by the cluster's own cgroups), its mounts, namespaces,
# cgroups and files. The logs stay. Removing what is not there is no error.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_root
# up.sh calls this while it holds the lock.
[ -n "${CLUSTER_LOCKED:-}" ] || lock

mounts() { # ours, the last first, each a line
  awk -v p="$state" '$5 == p || index($5, p "/") == 1 { print $5 }' /proc/self/mountinfo | tac
}

owner=$out
if mountpoint -q "$state"; then
  owner=$(cat "$state/owner" 2>/dev/null || echo "$repo")/target/cluster
fi
if [ -e "$state" ] || [ -n "$(cgroup_pids)" ]; then say "taking down what is there"; fi

# Nobody new: first those who start others. Of the rest nobody is asked nicely: the
# API server would wait for etcd, and nothing of it is kept.
if [ -d "$state/pids" ]; then
  for record in "$state"/pids/*; do
    name=${record##*/}
    [ -e "$record" ] && end "$name" 0
  done
fi
# What containers run, and their shims, are in our cgroups. A killed process takes
# a moment to leave, and may have started another just before.
for ((round = 0; round < 100; round++)); do
  pids=$(cgroup_pids)
  [ -n "$pids" ] || break
  # shellcheck disable=SC2086 # one argument for each
  kill -9 $pids 2>/dev/null || true
  sleep 0.05
done
[ -z "${pids:-}" ] || say "these processes do not end: ${pids//$'\n'/ }"

# Mounts, also those that hide others; a busy one is taken out of sight at least.
for ((round = 0; round < 5; round++)); do
  list=$(mounts)
  [ -n "$list" ] || break
  while read -r target; do
    umount "$target" 2>/dev/null || umount -l "$target" 2>/dev/null || true
  done <<<"$list"
done
[ -z "$(mounts)" ] || die "these mounts cannot be removed: $(mounts | paste -sd ' ')"

for netns in $(ip netns list 2>/dev/null | awk -v c="$cluster" '$1 == c || index($1, c "-") == 1 { print $1 }'); do
  ip netns delete "$netns" || say "the network namespace $netns could not be removed"
done
remove_cgroups

# Folders that were made to mount over them.
for dir in "${shared_folders[@]}"; do
  rmdir "$dir" 2>/dev/null || true # only where it is empty
done
rm -rf --one-file-system "$state" "$owner/state" "$owner/kubeconfig"
