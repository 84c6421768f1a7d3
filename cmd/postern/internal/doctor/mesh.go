package doctor

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/inject"
)

func mesh(f *Facts) []Finding {
	if f.Namespaces.Err != nil || f.Policies.Err != nil {
		return unread(cmp.Or(f.Namespaces.Err, f.Policies.Err), "list namespaces and securitypolicies.postern.dev")
	}
	out := f.interceptionUnknown()
	if f.Pods.Err != nil {
		out = append(out, Finding{Level: NotChecked, What: "whether pods are in a mesh that their namespace does not name: you may not list pods"})
	}
	meshed := 0
	for i := range f.Namespaces.Value {
		n := &f.Namespaces.Value[i]
		names := meshesOfNamespace(n)
		for _, pod := range f.podsIn(n.Name) {
			for _, name := range inject.Meshes(pod, n.Labels) {
				if !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
		if len(names) == 0 || !f.hasPolicy(n.Name) {
			continue
		}
		meshed++
		for _, p := range f.redirecting(n.Name) {
			out = append(out, problem("use interception Takeover, with the app listening on 127.0.0.1, or leave the pods out of the mesh; see docs/meshes.md",
				"namespace %s is in the mesh of %s, and policy %s has interception Redirect: its pods are refused", n.Name, strings.Join(names, " and "), p).with(takeover(n.Name, p)))
		}
		if slices.Contains(names, "Istio") {
			out = append(out, f.envoyTrusted(n.Name)...)
		}
	}
	if len(out) > 0 {
		return out
	}
	if meshed == 0 {
		return fine("no namespace with a policy is in a mesh")
	}
	return fine("%s in a mesh, with interception Takeover", plural(meshed, "namespace with policies is", "namespaces with policies are"))
}

// envoyAddress is from where Istio's proxy in the pod connects to the app.
const envoyAddress = "127.0.0.6/32"

// envoyTrusted warns about classes that do not trust Istio's proxy, so that all clients have its address.
func (f *Facts) envoyTrusted(namespace string) []Finding {
	var out []Finding
	seen := map[string]bool{}
	for i := range f.Policies.Value {
		p := &f.Policies.Value[i]
		class, err := compile.ResolveClass(p, f.Classes.Value)
		if p.Namespace != namespace || err != nil || seen[class.Name] || slices.Contains(class.Spec.TrustedProxies, envoyAddress) {
			continue
		}
		seen[class.Name] = true
		out = append(out, warning("add "+envoyAddress+" to spec.trustedProxies; docs/meshes.md says what that allows",
			"SidecarClass %s, used in namespace %s, does not trust Istio's proxy: all clients count as 127.0.0.6", class.Name, namespace).with("kubectl edit sidecarclass "+class.Name))
	}
	return out
}

// meshesOfNamespace returns the meshes whose webhook injects into the namespace's pods, or that redirect them.
func meshesOfNamespace(n *corev1.Namespace) []string {
	var out []string
	if n.Labels["istio-injection"] == "enabled" || n.Labels["istio.io/rev"] != "" {
		out = append(out, "Istio")
	}
	if n.Labels["istio.io/dataplane-mode"] == "ambient" {
		out = append(out, "Istio ambient")
	}
	if v := n.Annotations["linkerd.io/inject"]; v == "enabled" || v == "ingress" {
		out = append(out, "Linkerd")
	}
	return out
}
