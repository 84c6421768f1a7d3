package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

// Refusal says that the API server refuses pods of a workload, which this policy selects.
type Refusal struct {
	Workload Workload
	// Count is the number of pods that the workload wants and cannot create.
	Count int32
	// Text is the API server's reason.
	Text string
}

// maxRefusals bounds the workloads that the message quotes. maxCause bounds each reason, in bytes: quotas and levels of Pod Security name
// each container.
const (
	maxRefusals = 3
	maxCause    = 400
)

// refused returns the condition about refused pods, which is there only while there are any.
func (in *Input) refused() []metav1.Condition {
	if len(in.Refused) == 0 {
		return nil
	}
	var parts []string
	for _, r := range in.sortedRefusals() {
		part := fmt.Sprintf("%s of %s: %s", plural(int(r.Count), "pod", "pods"), r.Workload, printableUpTo(r.Text, maxCause))
		if advice := in.refusalAdvice(r.Text); advice != "" {
			part += " (" + advice + ")"
		}
		parts = append(parts, part)
	}
	message := fmt.Sprintf("%s refused. ", plural(int(in.countRefused()), "pod was", "pods were"))
	if more := len(parts) - maxRefusals; more > 0 {
		parts = append(parts[:maxRefusals], fmt.Sprintf("%s more", plural(more, "workload", "workloads")))
	}
	return []metav1.Condition{{
		Type: v1alpha1.ConditionPodsAdmitted, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonPodsRefused,
		Message: message + strings.Join(parts, ". "),
	}}
}

// sortedRefusals returns the refusals, those of most pods first.
func (in *Input) sortedRefusals() []Refusal {
	return slices.SortedFunc(slices.Values(in.Refused), func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Workload.String(), b.Workload.String()))
	})
}

func (in *Input) countRefused() int32 {
	var n int64
	for _, r := range in.Refused {
		n += int64(r.Count)
	}
	return int32(min(n, 1<<31-1))
}

// refusalAdvice says what to change, by the words of the API server's admission plugins; empty if the text says it itself.
func (in *Input) refusalAdvice(text string) string {
	class := "the SidecarClass"
	if in.Class != nil {
		class = fmt.Sprintf("SidecarClass %q", in.Class.Name)
	}
	ours := namesSidecar(text)
	switch {
	case strings.Contains(text, "denied the request: postern: "):
		return "" // it is our own
	case strings.Contains(text, "failed calling webhook") && strings.Contains(text, "postern"):
		return "the operator does not respond: look at its pods in its namespace"
	case strings.Contains(text, "failed calling webhook"), strings.Contains(text, "denied the request"):
		return "this is another installation's webhook: see its documentation"
	case strings.Contains(text, "must specify "):
		if ours {
			return fmt.Sprintf("the quota wants it of each container: set spec.resources of %s", class)
		}
		return "the quota wants it of each container: set resources in the workload's pod template"
	case strings.Contains(text, "exceeded quota: "):
		return fmt.Sprintf("raise the quota, or lower spec.resources of %s or the resources of the workload", class)
	case strings.Contains(text, "usage per Container is"), strings.Contains(text, "usage per Pod is"), strings.Contains(text, "limit to request ratio per"):
		return fmt.Sprintf("the namespace's LimitRange says this: if the workload's own containers are within it, change spec.resources of %s", class)
	case strings.Contains(text, "violates PodSecurity"):
		if ours {
			return fmt.Sprintf("set spec.interception: Takeover in the policy or in %s, or lower the namespace's level", class)
		}
		return "change the securityContext in the workload's pod template, or lower the namespace's level"
	}
	return ""
}

// namesSidecar reports whether the API server complains about one of the sidecar's containers.
func namesSidecar(text string) bool {
	words := strings.FieldsFunc(text, func(r rune) bool { return r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return slices.Contains(words, render.SidecarName) || slices.Contains(words, render.RedirectName)
}
