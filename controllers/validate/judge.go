package validate

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/index"
)

// sameToJudge reports whether an update changes nothing that is checked. Labels, finalizers and the status are not checked.
func sameToJudge(before, after client.Object) bool {
	switch after := after.(type) {
	case *v1alpha1.SecurityPolicy:
		return equality.Semantic.DeepEqual(before.(*v1alpha1.SecurityPolicy).Spec, after.Spec)
	case *v1alpha1.SidecarClass:
		old := before.(*v1alpha1.SidecarClass)
		return equality.Semantic.DeepEqual(old.Spec, after.Spec) &&
			old.Annotations[v1alpha1.DefaultClassAnnotation] == after.Annotations[v1alpha1.DefaultClassAnnotation]
	case *v1alpha1.TokenRevocation:
		return equality.Semantic.DeepEqual(before.(*v1alpha1.TokenRevocation).Spec, after.Spec)
	}
	return false
}

func warning(field, format string, args ...any) compile.Finding {
	return compile.Finding{Severity: compile.Warning, Field: field, Message: fmt.Sprintf(format, args...)}
}

// policy compiles the policy with its class. A missing class is only a warning, because it may be created later.
func (h *Handler) policy(ctx context.Context, policy *v1alpha1.SecurityPolicy) ([]compile.Finding, error) {
	classes, err := h.classes(ctx)
	if err != nil {
		return nil, err
	}
	if policy.CreationTimestamp.IsZero() && h.config.Count(policy.Namespace) >= compile.MaxPolicies {
		return []compile.Finding{compile.TooMany(policy.Namespace)}, nil
	}
	label, err := h.injectionLabel(ctx, policy.Namespace)
	if err != nil {
		return nil, err
	}
	intent := compile.Intend(compile.Input{Policy: policy, Classes: classes, Now: h.config.Now()})
	if intent.ClassErr == nil {
		return append(intent.Findings, label...), nil
	}
	_, findings := compile.Compile(policy, compile.UnknownClass())
	findings = append(findings, label...)
	return append(findings, warning("spec.sidecarClassName", "%v; until then new pods are refused", intent.ClassErr)), nil
}

// class warns if another class is marked default, in addition to what is wrong with the class itself.
func (h *Handler) class(ctx context.Context, class *v1alpha1.SidecarClass) ([]compile.Finding, error) {
	findings := compile.Class(class)
	if class.Annotations[v1alpha1.DefaultClassAnnotation] != "true" {
		return findings, nil
	}
	classes, err := h.classes(ctx)
	if err != nil {
		return nil, err
	}
	for i := range classes {
		if c := &classes[i]; c.Name != class.Name && c.Annotations[v1alpha1.DefaultClassAnnotation] == "true" {
			findings = append(findings, warning("metadata.annotations", "SidecarClass %q is also marked default, and the newer one applies: remove the "+
				"annotation %s from one of them", c.Name, v1alpha1.DefaultClassAnnotation))
		}
	}
	return findings, nil
}

// revocation warns if no policy of the namespace accepts the revoked tokens. It never refuses the object, because the policy may
// be created later.
func (h *Handler) revocation(ctx context.Context, revocation *v1alpha1.TokenRevocation) ([]compile.Finding, error) {
	classes, err := h.classes(ctx)
	if err != nil {
		return nil, err
	}
	policies := &v1alpha1.SecurityPolicyList{}
	if err := h.config.Policies.List(ctx, policies, client.InNamespace(revocation.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing policies: %w", err)
	}
	now := h.config.Now()
	if revocation.CreationTimestamp.IsZero() {
		revocation.CreationTimestamp = metav1.NewTime(now)
	}
	reasons, exists, unknown := map[string]bool{}, false, false
	for i := range policies.Items {
		p := &policies.Items[i]
		exists = exists || p.Name == revocation.Spec.PolicyName
		if index.Trimmed(p) {
			unknown = true // too large for the cache, and a warning is not worth reading it
			continue
		}
		intent := compile.Intend(compile.Input{Policy: p, Classes: classes, Revocations: []v1alpha1.TokenRevocation{*revocation}, Now: now})
		unknown = unknown || intent.Document == nil
		for _, outcome := range intent.Revoked {
			reasons[outcome.Reason] = true
		}
	}
	if reasons[v1alpha1.ReasonAccepted] {
		return nil, nil
	}
	return ineffective(revocation, reasons[v1alpha1.ReasonExpired], exists, unknown), nil
}

// ineffective says why the revocation applies to no policy. If a policy cannot be compiled, it reports only what is certain.
func ineffective(r *v1alpha1.TokenRevocation, expired, policyExists, unknown bool) []compile.Finding {
	switch named, issuer := r.Spec.PolicyName, r.Spec.Issuer; {
	case expired:
		return []compile.Finding{warning("spec.expires", "the last of the tokens has expired: the object has no effect")}
	case named != "" && !policyExists:
		return []compile.Finding{warning("spec.policyName", "there is no SecurityPolicy %q in namespace %s", named, r.Namespace)}
	case unknown:
		return nil
	case issuer != "":
		return []compile.Finding{warning("spec.issuer", "no SecurityPolicy in namespace %s accepts tokens of issuer %q", r.Namespace, issuer)}
	}
	return []compile.Finding{warning("spec", "no SecurityPolicy in namespace %s accepts tokens", r.Namespace)}
}

func (h *Handler) classes(ctx context.Context) ([]v1alpha1.SidecarClass, error) {
	classes := &v1alpha1.SidecarClassList{}
	if err := h.config.Reader.List(ctx, classes); err != nil {
		return nil, fmt.Errorf("listing classes: %w", err)
	}
	return classes.Items, nil
}
