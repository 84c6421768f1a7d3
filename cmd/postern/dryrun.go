//go:build !nocluster

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/cmd/postern/internal/doctor"
	"github.com/posterndev/postern/controllers/deliver"
)

func (e *examination) networkPolicies(ctx context.Context, in, next string) ([]networkingv1.NetworkPolicy, string, error) {
	l, err := e.clients.NetworkingV1().NetworkPolicies(in).List(ctx, metav1.ListOptions{Limit: pageSize, Continue: next})
	return l.Items, l.Continue, err
}

// dryRun creates a pod in a labelled namespace as a dry run, which calls the webhook and keeps nothing.
func (e *examination) dryRun(ctx context.Context, f *doctor.Facts) doctor.Read[doctor.DryRun] {
	r := doctor.DryRun{Namespace: e.dryRunNamespace(f)}
	if r.Namespace == "" {
		return doctor.Read[doctor.DryRun]{Err: fmt.Errorf("no namespace has the label %s=%s", v1alpha1.InjectionLabel, v1alpha1.InjectionLabelEnabled)}
	}
	pod := dryRunPod(r.Namespace)
	for i := range f.Policies.Value {
		p := &f.Policies.Value[i]
		if set, ok := labelsFor(&p.Spec.Selector); ok && p.Namespace == r.Namespace {
			r.Policy, pod.Labels, pod.Spec.Containers[0].Ports = p.Name, set, portsFor(p.Spec.Ports)
			break
		}
	}
	got, err := e.clients.CoreV1().Pods(r.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	switch {
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), `cannot create resource "pods"`):
		return doctor.Read[doctor.DryRun]{Err: err}
	case err != nil:
		r.Refused = err.Error()
	default:
		bound, ok := deliver.BoundPolicy(got)
		r.Injected = ok
		if ok {
			r.Policy = bound
		}
	}
	return doctor.Read[doctor.DryRun]{Value: r}
}

// dryRunNamespace returns the namespace that was named, or the first labelled one, of those with a policy if there are any.
func (e *examination) dryRunNamespace(f *doctor.Facts) string {
	var labelled []string
	for i := range f.Namespaces.Value {
		if n := &f.Namespaces.Value[i]; n.Labels[v1alpha1.InjectionLabel] == v1alpha1.InjectionLabelEnabled && n.Name != f.OperatorNamespace && n.DeletionTimestamp == nil {
			labelled = append(labelled, n.Name)
		}
	}
	if slices.Contains(labelled, e.namespace) {
		return e.namespace
	}
	for _, n := range labelled {
		if slices.ContainsFunc(f.Policies.Value, func(p v1alpha1.SecurityPolicy) bool { return p.Namespace == n }) {
			return n
		}
	}
	if len(labelled) == 0 {
		return ""
	}
	return labelled[0]
}

// dryRunPod returns a pod that Pod Security restricted and usual quotas admit. It is never started.
func dryRunPod(namespace string) *corev1.Pod {
	size := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1m"), corev1.ResourceMemory: resource.MustParse("1Mi")}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "postern-doctor-"},
		Spec: corev1.PodSpec{
			ServiceAccountName: "default", AutomountServiceAccountToken: ptr.To(false),
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](65532), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{
				Name: "app", Image: "registry.k8s.io/pause:3.10", Resources: corev1.ResourceRequirements{Requests: size, Limits: size},
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
			}},
		},
	}
}

// labelsFor returns labels that the selector matches; false if none are found, or if it is the empty selector's business.
func labelsFor(selector *metav1.LabelSelector) (map[string]string, bool) {
	out := map[string]string{}
	for k, v := range selector.MatchLabels {
		out[k] = v
	}
	for _, e := range selector.MatchExpressions {
		switch {
		case e.Operator == metav1.LabelSelectorOpIn && len(e.Values) > 0:
			out[e.Key] = e.Values[0]
		case e.Operator == metav1.LabelSelectorOpExists:
			out[e.Key] = "doctor"
		}
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	return out, err == nil && s.Matches(labels.Set(out))
}

// portsFor returns container ports with the names and numbers of the policy's.
func portsFor(ports []v1alpha1.Port) []corev1.ContainerPort {
	var out []corev1.ContainerPort
	for i, p := range ports {
		port := corev1.ContainerPort{Name: p.Port.StrVal, ContainerPort: p.Port.IntVal}
		if port.Name != "" {
			port.ContainerPort = int32(20000 + i)
		}
		out = append(out, port)
	}
	return out
}
