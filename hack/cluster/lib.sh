# shellcheck shell=bash
# Functions that the cluster scripts share: paths, messages, and the node's name and addresses.
# This file is sourced, not executed.
# shellcheck disable=SC2034 # the variables are used by the scripts that source this file

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
CACHE=${POSTERN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/postern}
BIN=$CACHE/cluster/bin # one link per built binary
RUNS=$CACHE/run        # one folder per cluster

say() { printf '%s\n' "$*" >&2; }
die() {
	say "error: $*"
	exit 1
}
need_root() { [[ $(id -u) == 0 ]] || die "a node needs root, because it creates network namespaces, mounts and cgroups"; }

# module_version MODULE PATH: prints the version that hack/cluster/modules/MODULE pins for PATH.
module_version() { awk -v p="$2" '$1 == p { print $2; exit } $1 == "require" && $2 == p { print $3; exit }' "$HERE/modules/$1/go.mod"; }

# select_cluster NAME: sets the variables that describe one cluster.
select_cluster() {
	NAME=$1
	[[ $NAME =~ ^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$ ]] || die "cluster name ${NAME@Q}: must be at most 32 lower-case letters, digits and dashes, and begin with a letter"
	STATE=$RUNS/$NAME
	case $STATE/ in
	/run/* | /var/run/* | /var/lib/* | /var/log/*) die "$STATE is in a folder that the node mounts over: set POSTERN_CACHE to another folder" ;;
	esac
	KUBECONFIG=$STATE/kubeconfig
	CGROUP=/postern-$NAME
	[[ ! -f $STATE/slot ]] || select_slot "$(<"$STATE/slot")"
}

# select_slot N: sets the addresses of the Nth cluster of this machine. Clusters with different slots can run at the same time.
select_slot() {
	SLOT=$1
	LINK=postern$SLOT            # the host's end of the link to the node
	HOST_IP=10.245.$SLOT.1       # the host, as seen by the node and its pods
	NODE_IP=10.245.$SLOT.2       # the node, and the API server on it
	POD_CIDR=10.244.$SLOT.0/24   # routed from the host
	SERVICE_CIDR=10.96.$SLOT.0/24 # routed from the host
	API_SERVICE_IP=10.96.$SLOT.1
	DNS_IP=10.96.$SLOT.10
}

# remember NAME PID: records a process with its start time, so that a later process with the same id is not confused with it.
remember() { printf '%s %s\n' "$2" "$(start_time "$2")" >"$STATE/pids/$1"; }

# start_time PID: prints the start time in clock ticks since boot (proc_pid_stat(5), field 22), or nothing if there is no such process.
start_time() {
	local stat
	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
	stat=${stat##*) } # the command's name may contain blanks
	awk '{ print $20 }' <<<"$stat"
}

# alive NAME: whether the process recorded as NAME still runs. PID is then its id.
alive() {
	local started boot_id
	[[ -f $STATE/pids/$1 && -f $STATE/boot-id ]] || return 1
	boot_id=$(</proc/sys/kernel/random/boot_id)
	read -r PID started <"$STATE/pids/$1" || return 1
	[[ -n $started && $(<"$STATE/boot-id") == "$boot_id" && $(start_time "$PID") == "$started" ]] || return 1
	[[ $(awk '$1 == "State:" { print $2 }' "/proc/$PID/status" 2>/dev/null) != Z ]]
}

# in_node COMMAND...: runs a command in the node's namespaces, with a clean environment.
in_node() {
	alive node || die "cluster $NAME does not run"
	nsenter --target "$PID" --mount --uts --ipc --net --pid -- \
		env -i HOME=/root PATH="$BIN:/usr/sbin:/usr/bin:/sbin:/bin" "$@"
}

kubectl() { NO_PROXY="${NO_PROXY:+$NO_PROXY,}10.0.0.0/8" "$BIN/kubectl" --kubeconfig "$KUBECONFIG" "$@"; }

# wait_for SECONDS WHAT COMMAND...: waits until the command succeeds. On a timeout the error names WHAT.
wait_for() {
	local until=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		((SECONDS < until)) || {
			say "error: timed out waiting for $what"
			return 1
		}
		sleep 0.1
	done
}

# lock: allows one script at a time to change clusters. The lock is held until the script ends.
lock() {
	mkdir -p "$CACHE/cluster"
	exec 9>"$CACHE/cluster/lock"
	flock --nonblock 9 || { say "waiting for another hack/cluster script" && flock 9; }
}

# load_image FILE: loads the image into the node, unless the same bytes were already loaded.
load_image() {
	local mark sum
	sum=$(sha256sum <"$1")
	mark=$STATE/loaded/${sum%% *}
	[[ ! -e $mark ]] || return 0
	in_node ctr --address /run/containerd.sock --namespace k8s.io images import --snapshotter "$(snapshotter)" - <"$1" >/dev/null &&
		touch "$mark"
}

# snapshotter: prints native if the machine itself is a container, because overlayfs cannot be on top of overlayfs.
snapshotter() { if [[ $(stat -f -c %T "$STATE") == overlayfs ]]; then echo native; else echo overlayfs; fi; }

# end_cluster: kills the node's first process. The kernel then kills all others in the node and removes its network and its mounts.
# Then end_cluster removes the link, if the node never got its end, the cgroups and the files.
end_cluster() {
	local name
	if alive node || alive unshare; then kill -KILL "$PID"; fi
	for name in node unshare; do
		wait_for 30 "the end of the node's processes" dead "$name" || return 1
	done
	[[ -z ${LINK:-} ]] || ip link delete "$LINK" 2>/dev/null || true
	wait_for 10 "the end of the node's cgroups" remove_cgroups
	rm -rf "${STATE:?}"
}

dead() { ! alive "$1"; }

# remove_cgroups: removes the node's cgroups from every hierarchy, innermost first.
remove_cgroups() {
	local top failed=0
	for top in /sys/fs/cgroup"$CGROUP" /sys/fs/cgroup/*"$CGROUP"; do
		[[ ! -d $top ]] || find "$top" -depth -type d -exec rmdir {} + || failed=1
	done
	return "$failed"
}
