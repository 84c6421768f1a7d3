// Package doctor judges an installation of Postern and its surroundings. Each check is a pure function of facts that were read before. A fact
// that could not be read gives a finding that says so: nothing is assumed to be right.
package doctor

import (
	"fmt"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/posterndev/postern/api/v1alpha1"
)

// Level is how bad a finding is.
type Level string

// Levels. A Problem keeps Postern from protecting pods, or will soon. NotChecked is neither good nor bad.
const (
	OK         Level = "OK"
	Warning    Level = "Warning"
	Problem    Level = "Problem"
	NotChecked Level = "NotChecked"
)

// Finding is the result of a check.
type Finding struct {
	// Check is the name of the check.
	Check string `json:"check"`
	Level Level  `json:"level"`
	What  string `json:"what"`
	// Do says what to do, and Commands does it or shows more.
	Do       string   `json:"do,omitempty"`
	Commands []string `json:"commands,omitempty"`
}

// Read is a fact, or the reason why it is not known.
type Read[T any] struct {
	Value T
	Err   error
	// Narrow says that only the person's namespace could be read.
	Narrow bool
}

// Facts is what the checks judge.
type Facts struct {
	Now time.Time
	// Client is the version of this program.
	Client string
	// OperatorNamespace is where the operator runs.
	OperatorNamespace string
	// Namespace is the person's.
	Namespace string
	// Kubernetes is the version of the API server, as v1.34.0.
	Kubernetes Read[string]
	Clock      Read[Clock]
	// CRDs are those in the cluster, and WantCRDs those of this version.
	CRDs     Read[[]apiextensionsv1.CustomResourceDefinition]
	WantCRDs []apiextensionsv1.CustomResourceDefinition
	// Operator is nil if it does not exist. The same holds for the webhook configurations.
	Operator   Read[*appsv1.Deployment]
	Mutating   Read[*admissionv1.MutatingWebhookConfiguration]
	Validating Read[*admissionv1.ValidatingWebhookConfiguration]
	// Serving is when the operator's certificate expires.
	Serving Read[time.Time]
	DryRun  Read[DryRun]
	// Rights are those of the person, and OperatorRights those of the operator.
	Rights          Read[[]Right]
	OperatorRights  Read[[]Right]
	FlowSchemas     Read[[]string]
	Namespaces      Read[[]corev1.Namespace]
	Policies        Read[[]v1alpha1.SecurityPolicy]
	Classes         Read[[]v1alpha1.SidecarClass]
	Pods            Read[[]corev1.Pod]
	NetworkPolicies Read[[]networkingv1.NetworkPolicy]
	// OperatorPods are the operator's pods.
	OperatorPods Read[[]corev1.Pod]
	Services     Read[[]corev1.Service]
	// Sidecars are what some sidecars' metrics say.
	Sidecars []Sidecar
	Redis    Read[Redis]
}

// Right is a permission.
type Right struct {
	// Name is in the words of kubectl auth can-i. For says what needs it.
	Name, For string
	Allowed   bool
}

// check is one check.
type check struct {
	name  string
	judge func(*Facts) []Finding
}

// checks are all checks, in the order of their output.
var checks = []check{
	{"kubernetes", kubernetesVersion}, {"clock", clock}, {"crds", crds}, {"operator", operator}, {"operator-rights", operatorRights},
	{"webhook", webhook}, {"certificates", certificates}, {"dry-run", dryRun}, {"priority", priority}, {"rights", rights},
	{"classes", classes}, {"labels", labels}, {"pod-security", podSecurity}, {"mesh", mesh}, {"network-policies", networkPolicies},
	{"sidecars", sidecars}, {"pod-clocks", podClocks}, {"redis", redis}, {"vault", vault},
}

// Names returns the names of all checks.
func Names() []string {
	var names []string
	for _, c := range checks {
		names = append(names, c.name)
	}
	return names
}

// Examine returns the findings of all checks, or of those that are named.
func Examine(f *Facts, only []string) []Finding {
	var out []Finding
	for _, c := range checks {
		if len(only) > 0 && !slices.Contains(only, c.name) {
			continue
		}
		for _, finding := range c.judge(f) {
			finding.Check = c.name
			out = append(out, finding)
		}
	}
	return out
}

// Worst returns the worst level of the findings. NotChecked is not worse than OK.
func Worst(findings []Finding) Level {
	worst := OK
	for _, f := range findings {
		if f.Level == Problem || f.Level == Warning && worst == OK {
			worst = f.Level
		}
	}
	return worst
}

func fine(format string, args ...any) []Finding {
	return []Finding{{Level: OK, What: fmt.Sprintf(format, args...)}}
}

func problem(do, format string, args ...any) Finding {
	return Finding{Level: Problem, What: fmt.Sprintf(format, args...), Do: do}
}

func warning(do, format string, args ...any) Finding {
	return Finding{Level: Warning, What: fmt.Sprintf(format, args...), Do: do}
}

// plural returns n with its noun.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// with adds commands to a finding.
func (f Finding) with(commands ...string) Finding {
	f.Commands = append(f.Commands, commands...)
	return f
}

// unread says that something was not checked. need names the right that is missing, if one is.
func unread(err error, need string) []Finding {
	what := err.Error()
	if apierrors.IsForbidden(err) {
		what = "you may not " + need
	}
	return []Finding{{Level: NotChecked, What: what}}
}
