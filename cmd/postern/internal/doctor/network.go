package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/status"
)

// Ports of the operator's pods.
const (
	webhookPort = 9443
	deliverPort = 9444
)

// peer is one end of a connection.
type peer struct {
	// name is for messages.
	name string
	// namespace has the labels of its namespace, and pod those of the pod. Both are nil outside of the cluster.
	namespace, pod map[string]string
	// address is valid if it is known.
	address netip.Addr
	port    int32
	// portName is the name of the container's port, by which rules may name it.
	portName string
	protocol corev1.Protocol
}

// networkPolicies finds NetworkPolicies that keep sidecars from what they need. Other kinds of network policies, such as those of Cilium or
// Calico, are not known.
func networkPolicies(f *Facts) []Finding {
	for _, fact := range []struct {
		err  error
		what string
	}{
		{f.NetworkPolicies.Err, "list networkpolicies.networking.k8s.io"}, {f.Namespaces.Err, "list namespaces"}, {f.Pods.Err, "list pods"},
		{f.Policies.Err, "list securitypolicies.postern.dev"},
	} {
		if fact.err != nil {
			return unread(fact.err, fact.what)
		}
	}
	operator := peer{
		name: "the operator (port 9444)", namespace: f.labelsOf(f.OperatorNamespace), port: deliverPort, portName: "deliver", protocol: corev1.ProtocolTCP,
		pod: map[string]string{"app.kubernetes.io/name": "postern", "app.kubernetes.io/component": "operator"},
	}
	if pods := f.OperatorPods.Value; len(pods) > 0 {
		operator.pod = pods[0].Labels
		operator.address, _ = netip.ParseAddr(pods[0].Status.PodIP)
	}
	dns := peer{name: "DNS (port 53)", namespace: f.labelsOf("kube-system"), pod: map[string]string{"k8s-app": "kube-dns"}, port: 53, portName: "dns", protocol: corev1.ProtocolUDP}
	var out []Finding
	if f.Classes.Err != nil || f.Services.Err != nil {
		out = append(out, Finding{Level: NotChecked, What: "whether sidecars reach Redis: you may not list sidecarclasses.postern.dev and services"})
	}
	seen := map[string]bool{}
	for i := range f.Pods.Value {
		pod := &f.Pods.Value[i]
		bound, ok := deliver.BoundPolicy(pod)
		workload := status.WorkloadOf(pod)
		key := pod.Namespace + "/" + workload.String()
		if !ok || status.Inactive(pod) || workload.Name != "" && seen[key] {
			continue
		}
		seen[key] = true
		source := peer{name: pod.Name, namespace: f.labelsOf(pod.Namespace), pod: pod.Labels}
		source.address, _ = netip.ParseAddr(pod.Status.PodIP)
		for _, target := range slices.Concat([]peer{operator, dns}, f.redisPeers(pod.Namespace, bound)) {
			if by := f.blocked(pod.Namespace, pod.Labels, networkingv1.PolicyTypeEgress, target); by != "" {
				out = append(out, problem("allow it by an egress rule", "NetworkPolicy %s in namespace %s does not let the sidecar of %s reach %s",
					by, pod.Namespace, ownerOf(pod), target.name).with(fmt.Sprintf("kubectl describe networkpolicy -n %s", pod.Namespace)))
			}
		}
		source.port, source.portName, source.protocol = deliverPort, "deliver", corev1.ProtocolTCP
		if by := f.blocked(f.OperatorNamespace, operator.pod, networkingv1.PolicyTypeIngress, source); by != "" {
			out = append(out, problem("allow port 9444 from all namespaces by an ingress rule", "NetworkPolicy %s in namespace %s does not let the sidecar of %s (namespace %s) reach the operator's port 9444",
				by, f.OperatorNamespace, ownerOf(pod), pod.Namespace).with("kubectl describe networkpolicy -n "+f.OperatorNamespace))
		}
	}
	if len(out) == 0 {
		return fine("no NetworkPolicy keeps the sidecars of %s from the operator, DNS and Redis (policies of Cilium, Calico and others are not looked at)", plural(len(seen), "workload", "workloads"))
	}
	return out
}

func ownerOf(pod *corev1.Pod) string {
	if w := status.WorkloadOf(pod); w.Name != "" {
		return w.String()
	}
	return "pod/" + pod.Name
}

func (f *Facts) labelsOf(namespace string) map[string]string {
	for i := range f.Namespaces.Value {
		if f.Namespaces.Value[i].Name == namespace {
			return f.Namespaces.Value[i].Labels
		}
	}
	return map[string]string{"kubernetes.io/metadata.name": namespace}
}

// redisPeers returns the Redis servers of the policy's class. One in the cluster is found by its Service.
func (f *Facts) redisPeers(namespace, policy string) []peer {
	var out []peer
	for i := range f.Policies.Value {
		p := &f.Policies.Value[i]
		if p.Namespace != namespace || p.Name != policy {
			continue
		}
		class, err := compile.ResolveClass(p, f.Classes.Value)
		if err != nil || class.Spec.Redis == nil {
			continue
		}
		for _, address := range class.Spec.Redis.Addresses {
			out = append(out, f.redisPeer(namespace, address))
		}
	}
	return out
}

func (f *Facts) redisPeer(from, address string) peer {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return peer{}
	}
	number, _ := strconv.Atoi(port)
	p := peer{name: "Redis (" + address + ")", port: int32(number), protocol: corev1.ProtocolTCP}
	if a, err := netip.ParseAddr(host); err == nil {
		p.address = a
		return p
	}
	parts := strings.Split(host, ".")
	name, namespace := parts[0], from
	if len(parts) > 1 {
		namespace = parts[1]
	}
	if len(parts) > 2 && parts[2] != "svc" {
		return p
	}
	for i := range f.Services.Value {
		if s := &f.Services.Value[i]; s.Name == name && s.Namespace == namespace && len(s.Spec.Selector) > 0 {
			p.namespace, p.pod = f.labelsOf(namespace), s.Spec.Selector
			for _, sp := range s.Spec.Ports {
				if sp.Port == p.port && sp.TargetPort.IntValue() != 0 {
					p.port = int32(sp.TargetPort.IntValue())
				} else if sp.Port == p.port && sp.TargetPort.StrVal != "" {
					p.portName = sp.TargetPort.StrVal
				}
			}
		}
	}
	return p
}
