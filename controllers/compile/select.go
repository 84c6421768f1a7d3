package compile

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/posterndev/postern/api/v1alpha1"
)

// ErrClassNotFound is returned if a policy's SidecarClass does not exist, or none is marked as default.
var ErrClassNotFound = errors.New("sidecar class not found")

// Matches reports whether policy's selector picks a pod with these labels. A selector that cannot be parsed is an error.
func Matches(policy *v1alpha1.SecurityPolicy, podLabels map[string]string) (bool, error) {
	selector, err := ParseSelector(policy)
	if err != nil {
		return false, fmt.Errorf("parsing selector of policy %q: %w", policy.Name, err)
	}
	return selector.Matches(labels.Set(podLabels)), nil
}

// Older reports whether a applies before b: the older object first, then by name.
func Older(a, b *v1alpha1.SecurityPolicy) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Name < b.Name
}

// Selection picks the policies of one namespace for its pods. Each selector is parsed once.
type Selection struct{ byAge []candidate }

type candidate struct {
	policy *v1alpha1.SecurityPolicy
	// selector is nil where it cannot be parsed.
	selector labels.Selector
}

// NewSelection returns the selection from policies, which are not copied.
func NewSelection(policies []v1alpha1.SecurityPolicy) *Selection {
	s := &Selection{}
	for i := range policies {
		// The error is Compile's to report.
		selector, err := ParseSelector(&policies[i])
		if err != nil {
			selector = nil
		}
		s.byAge = append(s.byAge, candidate{&policies[i], selector})
	}
	slices.SortStableFunc(s.byAge, func(a, b candidate) int {
		switch {
		case Older(a.policy, b.policy):
			return -1
		case Older(b.policy, a.policy):
			return 1
		}
		return 0
	})
	return s
}

// Select returns the policy that applies to a pod with these labels: the oldest that picks it; nil if none does. A policy
// whose selector cannot be parsed picks every pod, so that none slips by it.
func (s *Selection) Select(podLabels map[string]string) *v1alpha1.SecurityPolicy {
	for _, c := range s.byAge {
		if c.selector == nil || c.selector.Matches(labels.Set(podLabels)) {
			return c.policy
		}
	}
	return nil
}

// Nth returns the policy that n others apply before; nil if there are not as many.
func (s *Selection) Nth(n int) *v1alpha1.SecurityPolicy {
	if n >= len(s.byAge) {
		return nil
	}
	return s.byAge[n].policy
}

// All returns every policy that picks a pod with these labels, the oldest first.
func (s *Selection) All(podLabels map[string]string) []*v1alpha1.SecurityPolicy {
	var out []*v1alpha1.SecurityPolicy
	for _, c := range s.byAge {
		if c.selector == nil || c.selector.Matches(labels.Set(podLabels)) {
			out = append(out, c.policy)
		}
	}
	return out
}

// ResolveClass returns the class that policy names, or the one marked default. ErrClassNotFound says which is missing.
func ResolveClass(policy *v1alpha1.SecurityPolicy, classes []v1alpha1.SidecarClass) (*v1alpha1.SidecarClass, error) {
	if name := policy.Spec.SidecarClassName; name != nil {
		for i := range classes {
			if classes[i].Name == *name {
				return &classes[i], nil
			}
		}
		return nil, fmt.Errorf("%w: there is no SidecarClass %q: create it, or write another in spec.sidecarClassName", ErrClassNotFound, *name)
	}
	var found *v1alpha1.SidecarClass
	for i := range classes {
		c := &classes[i]
		if c.Annotations[v1alpha1.DefaultClassAnnotation] != "true" {
			continue
		}
		if found == nil || newer(c, found) {
			found = c // as with StorageClass: the newest default applies
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: spec.sidecarClassName is unset, and no SidecarClass has the annotation %s=true: add the annotation to one, or set spec.sidecarClassName", ErrClassNotFound, v1alpha1.DefaultClassAnnotation)
	}
	return found, nil
}

// UnknownClass stands for a class that is not available. It has all sections that policies need, because the real one may have them.
func UnknownClass() *v1alpha1.SidecarClass {
	return &v1alpha1.SidecarClass{Spec: v1alpha1.SidecarClassSpec{
		Redis: &v1alpha1.Redis{Addresses: []string{"redis.example.com:6379"}},
		Vault: &v1alpha1.Vault{
			Address: "https://vault.example.com", Auth: v1alpha1.VaultAuth{Kubernetes: &v1alpha1.VaultKubernetes{Role: "postern"}},
		},
		Database: &v1alpha1.Database{
			Address: "postgres.example.com:5432", Name: "postern",
			Credentials: &v1alpha1.DatabaseCredentials{Vault: &v1alpha1.DatabaseVault{Path: "database/creds/postern-audit"}},
		},
		Telemetry: &v1alpha1.Telemetry{OTLP: &v1alpha1.OTLP{Endpoint: "otel.example.com:4317"}},
		Audit:     &v1alpha1.AuditOptions{KeyRef: &v1alpha1.SecretRef{SecretKeyRef: &v1alpha1.SecretKeyRef{Name: "postern-audit", Key: "key"}}},
	}}
}

// newer compares by name if the ages are equal: a cache lists in no order, and every caller must find the same class.
func newer(a, b *v1alpha1.SidecarClass) bool {
	if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
		return c > 0
	}
	return a.Name < b.Name
}

// Interception returns the interception of the policy, or else that of the class, or else the default.
func Interception(policy *v1alpha1.SecurityPolicy, class *v1alpha1.SidecarClass) v1alpha1.Interception {
	switch {
	case policy.Spec.Interception != "":
		return policy.Spec.Interception
	case class.Spec.Interception != "":
		return class.Spec.Interception
	}
	return v1alpha1.DefaultInterception
}
