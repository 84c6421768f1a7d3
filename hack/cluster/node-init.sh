#!/usr/bin/env bash
# The first process of a node: sets up the new namespaces that up.sh created, and then holds them open. Only up.sh runs it.
#
#   node-init.sh STATE NAME PAUSE
set -euo pipefail
state=$1 name=$2 pause=$3

# Redirect fixed paths of the node to its own folder or to memory. None of these mounts are visible to the host.
mount --bind "$state/var-lib" /var/lib
mount --bind "$state/var-log" /var/log
mount -t tmpfs -o mode=755 tmpfs /run
mount --make-rshared /

# The kubelet requires these values (kernel tunables in its container manager) and would set them for the whole
# machine. Instead, mount files with these values over them.
i=0
for tunable in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
	kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
	[[ -e /proc/sys/${tunable%=*} ]] || continue
	i=$((i + 1))
	echo "${tunable#*=}" >"/run/tunable-$i"
	mount --bind "/run/tunable-$i" "/proc/sys/${tunable%=*}"
done

hostname "$name"
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
touch "$state/furnished"
exec "$pause"
