# shellcheck shell=bash disable=SC2153 # lib.sh sets NAME
# Starts the processes of a node that do not run yet. This file is sourced, not executed.

# shellcheck disable=SC2034 # up.sh reads it
readonly COMPONENTS=(etcd kube-apiserver containerd kube-controller-manager kube-scheduler kubelet kube-proxy)

# start NAME COMMAND...: starts a component in the node. It ends with its nsenter, whose process id is recorded.
start() {
	local name=$1
	shift
	if alive "$name"; then return; fi
	alive node || die "the node's first process does not run"
	setsid nsenter --target "$PID" --mount --uts --ipc --net --pid -- \
		setpriv --pdeathsig KILL env -i HOME=/root PATH="$BIN:/usr/sbin:/usr/bin:/sbin:/bin" "$@" \
		>>"$STATE/logs/$name.log" 2>&1 </dev/null 9>&- &
	remember "$name" $!
}

# await SECONDS COMPONENT WHAT COMMAND...: waits until the command succeeds. On a timeout, or if the component ends, it shows an error
# with the end of the component's log.
await() {
	local until=$((SECONDS + $1)) component=$2 what=$3
	shift 3
	until "$@" >/dev/null 2>&1; do
		if ! alive "$component"; then
			say "error: $component ended; the end of $STATE/logs/$component.log:"
		elif ((SECONDS >= until)); then
			say "error: $component: timed out waiting for $what; the end of $STATE/logs/$component.log:"
		else
			sleep 0.1
			continue
		fi
		tail -n 20 "$STATE/logs/$component.log" >&2
		return 1
	done
}

start_etcd() {
	start etcd "$BIN/etcd" --name=node --data-dir="$STATE/etcd" --log-level=warn --unsafe-no-fsync \
		--listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
		--listen-peer-urls=http://127.0.0.1:2380
}

start_kube-apiserver() {
	local pki=$STATE/pki
	start kube-apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
		--advertise-address="$NODE_IP" --secure-port=6443 --service-cluster-ip-range="$SERVICE_CIDR" \
		--authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
		--client-ca-file="$pki/ca.crt" --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
		--kubelet-client-certificate="$pki/apiserver-kubelet.crt" --kubelet-client-key="$pki/apiserver-kubelet.key" \
		--kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
		--service-account-issuer=https://kubernetes.default.svc.cluster.local \
		--service-account-signing-key-file="$pki/service-accounts.key" \
		--service-account-key-file="$pki/service-accounts.key" --profiling=false
}

start_kube-controller-manager() {
	local pki=$STATE/pki
	start kube-controller-manager "$BIN/kube-controller-manager" --kubeconfig="$pki/kube-controller-manager.kubeconfig" \
		--bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials=true --kube-api-qps=500 --kube-api-burst=500 \
		--root-ca-file="$pki/ca.crt" --service-account-private-key-file="$pki/service-accounts.key" \
		--cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" --profiling=false
}

start_kube-scheduler() {
	start kube-scheduler "$BIN/kube-scheduler" --kubeconfig="$STATE/pki/kube-scheduler.kubeconfig" \
		--bind-address=127.0.0.1 --leader-elect=false --profiling=false
}

start_containerd() { start containerd /usr/bin/containerd --config "$STATE/conf/containerd.toml" --log-level warn; }

start_kubelet() {
	start kubelet "$BIN/kubelet" --config="$STATE/conf/kubelet.yaml" --kubeconfig="$STATE/pki/kubelet.kubeconfig" \
		--hostname-override="$NAME" --node-ip="$NODE_IP"
}

start_kube-proxy() { start kube-proxy "$BIN/kube-proxy" --config="$STATE/conf/kube-proxy.yaml" --hostname-override="$NAME"; }
