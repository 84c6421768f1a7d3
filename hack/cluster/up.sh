#!/usr/bin/env bash
# Starts a real Kubernetes cluster of one node on this machine, or checks that it runs. Prints the path of its kubeconfig.
#
#   up.sh [NAME]        the default of NAME is "dev"
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$HERE/config.sh"
source "$HERE/components.sh"

readonly TOOLS=$CACHE/cluster/tools
readonly IMAGES=$CACHE/cluster/images

# prepare: prepares everything that is common to all clusters.
prepare() {
	"$HERE/packages.sh"
	"$HERE/build.sh"
	mkdir -p "$TOOLS"
	(cd "$ROOT" && CGO_ENABLED=0 go build -o "$TOOLS/" ./hack/cluster/pki ./hack/cluster/pause ./hack/images
		"$TOOLS/images" -out "$IMAGES" -tag 1 pause
		"$TOOLS/images" -out "$IMAGES" -tag "$(coredns_tag)" -prebuilt "$BIN" coredns) >/dev/null
}

# claim_slot: selects the first set of addresses that no cluster of this machine uses.
claim_slot() {
	local slot
	for slot in {0..15}; do
		if ! grep -qsx "$slot" "$RUNS"/*/slot && ! ip link show "postern$slot" >/dev/null 2>&1; then
			select_slot "$slot"
			echo "$slot" >"$STATE/slot"
			return
		fi
	done
	die "there are already 16 clusters on this machine: remove one with hack/cluster/down.sh"
}

# make_node: creates the node: its namespaces, its link to the host, and its files.
make_node() {
	mkdir -p "$STATE"/{pids,logs,loaded,var-lib,var-log}
	cp /proc/sys/kernel/random/boot_id "$STATE/boot-id"
	claim_slot
	"$TOOLS/pki" -out "$STATE/pki" -cluster "$NAME" -node-ip "$NODE_IP" -service-ip "$API_SERVICE_IP"
	cp "$STATE/pki/admin.kubeconfig" "$KUBECONFIG"
	write_config
	make_cgroups
	setsid unshare --fork --kill-child --pid --mount-proc --mount --uts --ipc --net --propagation private \
		"$HERE/node-init.sh" "$STATE" "$NAME" "$TOOLS/pause" >>"$STATE/logs/node.log" 2>&1 </dev/null 9>&- &
	remember unshare $!
	wait_for 10 "the node's namespaces" test -e "$STATE/furnished"
	remember node "$(first_child $!)"
	connect_node
}

# make_cgroups: creates the parent group of all pods, in the one hierarchy of version 2 or in each hierarchy of version 1.
make_cgroups() {
	local top=/sys/fs/cgroup controller file
	if [[ -e $top/cgroup.controllers ]]; then
		# One by one, because a controller that cannot be delegated must not prevent the others.
		for controller in $(<"$top/cgroup.controllers"); do
			{ echo "+$controller" >"$top/cgroup.subtree_control"; } 2>/dev/null || true
		done
		mkdir -p "$top$CGROUP"
		return
	fi
	for top in /sys/fs/cgroup/*; do
		[[ -e $top/cgroup.procs && ! -L $top ]] || continue
		mkdir -p "$top$CGROUP"
		for file in cpuset.cpus cpuset.mems; do # they are empty in a new group
			[[ ! -e $top/$file ]] || cat "$top/$file" >"$top$CGROUP/$file"
		done
	done
}

# first_child PID: prints the process that unshare forked, which is the first in the node's process namespace.
first_child() { tr -d ' ' <"/proc/$1/task/$1/children"; }

connect_node() {
	alive node
	ip link add "$LINK" type veth peer name eth0 netns "$PID"
	ip address add "$HOST_IP/30" dev "$LINK"
	ip link set "$LINK" up
	in_node ip address add "$NODE_IP/30" dev eth0
	in_node ip link set eth0 up
	in_node ip route add default via "$HOST_IP"
	ip route add "$POD_CIDR" via "$NODE_IP"
	ip route add "$SERVICE_CIDR" via "$NODE_IP"
	touch "$STATE/connected"
}

start_cluster() {
	start_etcd
	start_kube-apiserver
	start_containerd
	await 30 containerd "its socket" in_node ctr --address "$CONTAINERD" version
	load_image "$IMAGES/pause.tar"
	load_image "$IMAGES/coredns.tar"
	await 60 kube-apiserver "readiness" kubectl get --raw /readyz
	start_kube-controller-manager
	start_kube-scheduler
	start_kubelet
	start_kube-proxy
	kubectl apply -f <(coredns_manifest) >/dev/null
	await 60 kube-controller-manager "the default service account" kubectl get serviceaccount default
	await 60 kubelet "a ready node" kubectl wait --for=condition=Ready "node/$NAME" --timeout=1s
	await 60 kube-proxy "cluster DNS" dns_answers
}

coredns_tag() { module_version coredns github.com/coredns/coredns; }

coredns_manifest() {
	sed -e "s|@IMAGE@|docker.io/postern/coredns:$(coredns_tag)|" -e "s|@ADDRESS@|$DNS_IP|" "$HERE/coredns.yaml"
}

# dns_answers: whether CoreDNS is ready, and reachable at its Service's address, which needs kube-proxy.
dns_answers() {
	kubectl -n kube-system rollout status deployment/coredns --timeout=1s &&
		timeout 1 bash -c "exec 3<>/dev/tcp/$DNS_IP/53"
}

# healthy: whether all processes run and are healthy. It needs only two requests.
healthy() {
	local component
	for component in node "${COMPONENTS[@]}"; do alive "$component" || return 1; done
	kubectl get --raw /readyz >/dev/null 2>&1 &&
		[[ $(kubectl get node "$NAME" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null) == True ]] &&
		dns_answers >/dev/null 2>&1
}

# attempt COMMAND...: runs the command and sets OUTCOME to its exit status. A plain "if" would disable "set -e" in the command.
attempt() {
	set +e
	(
		set -e
		"$@"
	)
	OUTCOME=$?
	set -e
}

start_afresh() {
	make_node
	start_cluster
}

main() {
	local since
	need_root
	select_cluster "${1:-dev}"
	lock
	if [[ -e $STATE ]] && healthy; then
		echo "$KUBECONFIG"
		return
	fi
	prepare
	since=$SECONDS OUTCOME=1
	if [[ -e $STATE/connected ]] && alive node; then
		say "cluster $NAME: repairing"
		attempt start_cluster
	fi
	if ((OUTCOME != 0)); then
		[[ ! -e $STATE ]] || { say "cluster $NAME: removing the remains of an earlier cluster" && end_cluster; }
		say "cluster $NAME: starting"
		attempt start_afresh
	fi
	((OUTCOME == 0)) || die "cluster $NAME did not start; logs are in $STATE/logs, and hack/cluster/down.sh $NAME removes it"
	say "cluster $NAME: ready after $((SECONDS - since)) s"
	echo "$KUBECONFIG"
}

main "$@"
