# shellcheck shell=bash
# Writes the configuration files of a node's components, for the cluster of select_cluster. This file is sourced, not executed.

readonly PAUSE_IMAGE=docker.io/postern/pause:1
readonly CONTAINERD=/run/containerd.sock

write_config() {
	mkdir -p "$STATE/conf/cni"
	containerd_config >"$STATE/conf/containerd.toml"
	cni_config >"$STATE/conf/cni/postern.conflist"
	kubelet_config >"$STATE/conf/kubelet.yaml"
	kube_proxy_config >"$STATE/conf/kube-proxy.yaml"
}

# restrict_oom_score_adj: without it, no sandbox starts if CAP_SYS_RESOURCE is missing. Unprivileged ports: the default of
# containerd since 2.0.
containerd_config() {
	cat <<-END
		version = 2
		root = "$STATE/containerd"
		state = "/run/containerd"
		disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
		  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]
		[grpc]
		  address = "$CONTAINERD"
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "$PAUSE_IMAGE"
		  restrict_oom_score_adj = true
		  enable_unprivileged_ports = true
		  enable_unprivileged_icmp = true
		[plugins."io.containerd.grpc.v1.cri".containerd]
		  snapshotter = "$(snapshotter)"
		[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
		  runtime_type = "io.containerd.runc.v2"
		[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
		  SystemdCgroup = false
		[plugins."io.containerd.grpc.v1.cri".cni]
		  bin_dir = "/usr/lib/cni"
		  conf_dir = "$STATE/conf/cni"
	END
}

# Point to point: the node routes every packet between pods and does not bridge them, so that kube-proxy also sees the responses
# of a Service's pods, without br_netfilter.
cni_config() {
	cat <<-END
		{
		  "cniVersion": "0.4.0",
		  "name": "postern",
		  "plugins": [{
		    "type": "ptp",
		    "ipam": {"type": "host-local", "subnet": "$POD_CIDR", "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cni"}
		  }]
		}
	END
}

# Images cannot be pulled again, so they are never garbage-collected, and no pod is evicted because of a full disk.
kubelet_config() {
	cat <<-END
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		authentication:
		  anonymous: {enabled: false}
		  webhook: {enabled: true}
		  x509: {clientCAFile: $STATE/pki/ca.crt}
		authorization: {mode: Webhook}
		tlsCertFile: $STATE/pki/kubelet-serving.crt
		tlsPrivateKeyFile: $STATE/pki/kubelet-serving.key
		containerRuntimeEndpoint: unix://$CONTAINERD
		clusterDNS: [$DNS_IP]
		clusterDomain: cluster.local
		resolvConf: ""
		cgroupDriver: cgroupfs
		cgroupRoot: $CGROUP
		cgroupsPerQOS: true
		enforceNodeAllocatable: []
		failCgroupV1: false
		failSwapOn: false
		imageGCHighThresholdPercent: 100
		evictionHard: {nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
	END
}

kube_proxy_config() {
	cat <<-END
		apiVersion: kubeproxy.config.k8s.io/v1alpha1
		kind: KubeProxyConfiguration
		mode: nftables
		clusterCIDR: $POD_CIDR
		clientConnection: {kubeconfig: $STATE/pki/kube-proxy.kubeconfig}
		conntrack: {maxPerCore: 0}
		metricsBindAddress: ""
	END
}
