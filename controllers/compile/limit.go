package compile

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/posterndev/postern/api/v1alpha1"
)

const (
	// MaxSpec bounds a policy's spec, in bytes of JSON. The operator holds specs of every namespace, and anyone who may create
	// policies decides how large they are.
	MaxSpec = 256 << 10
	// MaxSelector bounds a policy's selector, in bytes of JSON: every new pod of the namespace is compared with it.
	MaxSelector = 4 << 10
	// MaxPolicies bounds the policies of one namespace.
	MaxPolicies = 500
)

// SpecSize returns the size of a spec in bytes of JSON.
func SpecSize(spec *v1alpha1.SecurityPolicySpec) int {
	b, err := json.Marshal(spec)
	if err != nil {
		return MaxSpec + 1 // a spec from the API server or a file can be encoded
	}
	return len(b)
}

// ParseSelector returns the policy's selector, or says why it cannot be used.
func ParseSelector(policy *v1alpha1.SecurityPolicy) (labels.Selector, error) {
	if size := SpecSize(&v1alpha1.SecurityPolicySpec{Selector: policy.Spec.Selector}); size > MaxSelector {
		return nil, fmt.Errorf("the selector has %d bytes, and at most %d are allowed: select by fewer labels or values", size, MaxSelector)
	}
	return metav1.LabelSelectorAsSelector(&policy.Spec.Selector)
}

// TooLargeSelector returns a selector that ParseSelector refuses, to stand for one that is too large to keep.
func TooLargeSelector() metav1.LabelSelector {
	return metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "selector", Operator: "TooLarge"}}}
}

// tooLarge returns the finding about a spec of that size; nil if the size is allowed.
func tooLarge(size int) *Finding {
	if size <= MaxSpec {
		return nil
	}
	return &Finding{Error, "spec", fmt.Sprintf("the spec has %d bytes, and at most %d are allowed: shorten it, or split the policy by selector", size, MaxSpec)}
}

// TooMany returns the finding about a policy beyond the first MaxPolicies of its namespace.
func TooMany(namespace string) Finding {
	return Finding{Error, "metadata.namespace", fmt.Sprintf("namespace %s has %d other SecurityPolicies, and more are not allowed: delete some, "+
		"or select more pods with one policy", namespace, MaxPolicies)}
}

// OlderOf returns how many of the policies apply before policy: see Older.
func OlderOf(policies []v1alpha1.SecurityPolicy, policy *v1alpha1.SecurityPolicy) int {
	n := 0
	for i := range policies {
		if policies[i].Name != policy.Name && Older(&policies[i], policy) {
			n++
		}
	}
	return n
}
