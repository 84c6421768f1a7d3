package doctor

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
)

// blocked returns the name of a NetworkPolicy that keeps the pods with these labels from the other end; empty if none does. Rules are
// added up: one that allows the connection is enough. An end of which too little is known counts as allowed by any rule for its port.
func (f *Facts) blocked(namespace string, pod map[string]string, direction networkingv1.PolicyType, other peer) string {
	first := ""
	for i := range f.NetworkPolicies.Value {
		np := &f.NetworkPolicies.Value[i]
		if np.Namespace != namespace || !selects(&np.Spec.PodSelector, pod) || !applies(np, direction) {
			continue
		}
		if first == "" {
			first = np.Name
		}
		if allowed(np, direction, namespace, f.labelsOf(namespace), other) {
			return ""
		}
	}
	return first
}

// applies reports whether the policy restricts the direction. By default it restricts ingress, and egress if it has such rules.
func applies(np *networkingv1.NetworkPolicy, direction networkingv1.PolicyType) bool {
	if len(np.Spec.PolicyTypes) > 0 {
		return slices.Contains(np.Spec.PolicyTypes, direction)
	}
	return direction == networkingv1.PolicyTypeIngress || len(np.Spec.Egress) > 0
}

func allowed(np *networkingv1.NetworkPolicy, direction networkingv1.PolicyType, namespace string, own map[string]string, other peer) bool {
	if direction == networkingv1.PolicyTypeEgress {
		return slices.ContainsFunc(np.Spec.Egress, func(r networkingv1.NetworkPolicyEgressRule) bool {
			return hasPort(r.Ports, other) && hasPeer(r.To, own, other)
		})
	}
	return slices.ContainsFunc(np.Spec.Ingress, func(r networkingv1.NetworkPolicyIngressRule) bool {
		return hasPort(r.Ports, other) && hasPeer(r.From, own, other)
	})
}

func hasPort(ports []networkingv1.NetworkPolicyPort, other peer) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		protocol := corev1.ProtocolTCP
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		switch {
		case protocol != other.protocol:
			return false
		case p.Port == nil:
			return true
		case p.Port.StrVal != "":
			return other.portName == "" || p.Port.StrVal == other.portName // the name of an unknown port may be right
		case p.EndPort != nil:
			return other.port >= p.Port.IntVal && other.port <= *p.EndPort
		}
		return p.Port.IntVal == other.port
	})
}

// hasPeer reports whether one of the peers is the other end. own are the labels of the policy's namespace.
func hasPeer(peers []networkingv1.NetworkPolicyPeer, own map[string]string, other peer) bool {
	return len(peers) == 0 || slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool {
		switch {
		case p.IPBlock != nil:
			return inBlock(p.IPBlock, other)
		case other.pod == nil:
			return other.name != "" && !other.address.IsValid() // it may be a pod
		case p.NamespaceSelector != nil && !selects(p.NamespaceSelector, other.namespace):
			return false
		case p.NamespaceSelector == nil && own["kubernetes.io/metadata.name"] != other.namespace["kubernetes.io/metadata.name"]:
			return false
		}
		return p.PodSelector == nil || selects(p.PodSelector, other.pod)
	})
}

func inBlock(block *networkingv1.IPBlock, other peer) bool {
	if !other.address.IsValid() {
		return true
	}
	within := func(cidr string) bool {
		prefix, err := netip.ParsePrefix(cidr)
		return err == nil && prefix.Contains(other.address)
	}
	return within(block.CIDR) && !slices.ContainsFunc(block.Except, within)
}

func selects(selector *metav1.LabelSelector, set map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(apilabels.Set(set))
}
