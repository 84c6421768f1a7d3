package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// RevocationInput is everything that a TokenRevocation's status is computed from.
type RevocationInput struct {
	// Revocation with its status so far.
	Revocation *v1alpha1.TokenRevocation
	// Carriers are the policies of its namespace that it applies to, by name.
	Carriers []Carrier
	// PolicyExists says that the policy that it names exists.
	PolicyExists bool
	Now          time.Time
}

// Carrier is the state of one policy with regard to one revocation.
type Carrier struct {
	Policy string
	// Outcome is the result for this revocation in the document that the policy should have.
	Outcome compile.Revoked
	// Since is the first revision from which all stored documents contain the revocation as it is now; 0 if the current one does
	// not.
	Since int64
	// Shadow says that the policy evaluates revocations and refuses nothing.
	Shadow bool
	// Pods are those that run the policy's documents, or should run them, by name.
	Pods []Runner
}

// Runner is a pod and the revision of the document that its sidecar reports; 0 if that document is unknown.
type Runner struct {
	Name    string
	Running int64
}

// maxPolicies is the CRD's limit of status.policies.
const maxPolicies = 64

// OfRevocation returns the revocation's new status. Enforced is proved: True means that every policy that accepts the tokens
// has a stored document with exactly this revocation, and that each pod's sidecar reports that document, or another one that
// contains it unchanged.
func OfRevocation(in RevocationInput) v1alpha1.TokenRevocationStatus {
	r := in.Revocation
	next := v1alpha1.TokenRevocationStatus{
		ObservedGeneration: r.Generation, Conditions: slices.Clone(r.Status.Conditions), Expires: in.expires(),
	}
	t := in.tally()
	if len(t.concerned) > 0 {
		next.Policies = t.carried[:min(len(t.carried), maxPolicies)]
		next.Sidecars = &v1alpha1.SidecarCounts{
			Matched: t.matched, Current: t.matched - t.outdated, Summary: fmt.Sprintf("%d/%d", t.matched-t.outdated, t.matched),
		}
	}
	accepted := in.accepted()
	enforced := in.enforced(accepted, t)
	for _, c := range append([]metav1.Condition{accepted, enforced}, revocationSummary(accepted, t)...) {
		set(&next.Conditions, c, r.Generation, in.Now)
	}
	switch {
	case r.Status.ObservedGeneration == r.Generation && r.Status.EnforcedTime != nil:
		next.EnforcedTime = r.Status.EnforcedTime
	case enforced.Status == metav1.ConditionTrue:
		next.EnforcedTime = &metav1.Time{Time: in.Now.Truncate(time.Second)} // the precision of the API server
	}
	return next
}

// policies returns the names of the carriers with that outcome.
func (in *RevocationInput) policies(reason string) []string {
	var out []string
	for i := range in.Carriers {
		if c := &in.Carriers[i]; c.Outcome.Reason == reason {
			out = append(out, c.Policy)
		}
	}
	return out
}

func (in *RevocationInput) accepted() metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionFalse}
	full := in.policies(v1alpha1.ReasonTooMany)
	switch {
	case len(full) > 0:
		c.Reason = v1alpha1.ReasonTooMany
		c.Message = fmt.Sprintf("the document of %s has no room for it: delete TokenRevocations that have expired or are not needed, or "+
			"revoke a subject or a key instead of many tokens", policyNames(full))
	case len(in.policies(v1alpha1.ReasonAccepted)) > 0:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonAccepted, "the revocation is valid"
	case len(in.policies(v1alpha1.ReasonExpired)) > 0:
		c.Reason, c.Message = v1alpha1.ReasonExpired, "all of the tokens have expired: this object can be deleted"
	default:
		c.Reason, c.Message = v1alpha1.ReasonNoPolicy, in.noPolicy()
	}
	return c
}

func (in *RevocationInput) noPolicy() string {
	spec := &in.Revocation.Spec
	tokens := "tokens"
	if spec.Issuer != "" {
		tokens = fmt.Sprintf("tokens of issuer %q", spec.Issuer)
	}
	switch {
	case spec.PolicyName != "" && !in.PolicyExists:
		return fmt.Sprintf("there is no policy %q in the namespace: correct spec.policyName, or leave it out", spec.PolicyName)
	case spec.PolicyName != "":
		return fmt.Sprintf("policy %q accepts no %s, or is not valid: correct spec.policyName or spec.issuer", spec.PolicyName, tokens)
	}
	return fmt.Sprintf("no valid policy in the namespace accepts %s: correct spec.issuer, or create this object in the policy's namespace", tokens)
}

func (in *RevocationInput) enforced(accepted metav1.Condition, t tally) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionEnforced, Status: metav1.ConditionFalse}
	switch {
	case accepted.Status != metav1.ConditionTrue:
		c.Reason, c.Message = accepted.Reason, accepted.Message
	case len(t.missing) > 0:
		c.Reason = v1alpha1.ReasonNotProgrammed
		c.Message = fmt.Sprintf("the document of %s does not have it yet; if this persists, see the policy's condition Programmed", policyNames(t.missing))
	case t.matched == 0:
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonNoPods
		c.Message = fmt.Sprintf("no pod of %s is running; new pods will have it", policyNames(t.carried))
	case t.outdated > 0:
		c.Reason = v1alpha1.ReasonPodsOutdated
		c.Message = fmt.Sprintf("%s not have it yet: %s; if this persists, see condition Enforced of %s",
			plural(int(t.outdated), "pod does", "pods do"), t.names(), policyNames(t.behind))
	case len(t.shadow) > 0:
		c.Reason = v1alpha1.ReasonShadow
		c.Message = fmt.Sprintf("%s: the mode is Shadow, so revoked tokens are counted and logged, but not refused", policyNames(t.shadow))
	default:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonEnforced
		c.Message = plural(int(t.matched), "sidecar refuses", "sidecars refuse") + " the tokens that it names"
	}
	return c
}

// expires returns when no sidecar keeps the revocation any longer; nil if it never expires, or no policy accepts it.
func (in *RevocationInput) expires() *metav1.Time {
	var last time.Time
	for i := range in.Carriers {
		o := &in.Carriers[i].Outcome
		if o.Reason == v1alpha1.ReasonNoPolicy {
			continue
		}
		if o.Expires.IsZero() {
			return nil
		}
		if o.Expires.After(last) {
			last = o.Expires
		}
	}
	if last.IsZero() {
		return nil
	}
	return &metav1.Time{Time: last}
}

// tally counts the policies and pods that should have the revocation. Names are of policies, except pods.
type tally struct {
	concerned, carried, missing, behind, shadow []string
	matched, outdated                           int32
	// pods are the names of the first outdated pods.
	pods []string
}

func (in *RevocationInput) tally() tally {
	var t tally
	for i := range in.Carriers {
		c := &in.Carriers[i]
		if c.Outcome.Reason != v1alpha1.ReasonAccepted {
			continue
		}
		t.concerned = append(t.concerned, c.Policy)
		if c.Since > 0 {
			t.carried = append(t.carried, c.Policy)
		} else {
			t.missing = append(t.missing, c.Policy)
		}
		if c.Shadow {
			t.shadow = append(t.shadow, c.Policy)
		}
		t.count(c)
	}
	return t
}

func (t *tally) count(c *Carrier) {
	outdated := int32(0)
	for _, p := range c.Pods {
		if c.Since > 0 && p.Running >= c.Since {
			continue
		}
		if outdated++; outdated <= maxListed {
			t.pods = append(t.pods, p.Name)
		}
	}
	if outdated > 0 {
		t.behind = append(t.behind, c.Policy)
	}
	t.matched += int32(len(c.Pods))
	t.outdated += outdated
}

// names lists the first of the outdated pods.
func (t *tally) names() string {
	slices.Sort(t.pods)
	listed := t.pods[:min(len(t.pods), maxListed)]
	text := strings.Join(listed, ", ")
	if more := int(t.outdated) - len(listed); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func policyNames(names []string) string {
	if len(names) == 1 {
		return "policy " + names[0]
	}
	return "policies " + list(names)
}
