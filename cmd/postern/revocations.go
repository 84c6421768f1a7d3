package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/manifest"
)

func namespaceOf(o metav1.Object) string { return cmp.Or(o.GetNamespace(), "default") }

func fullName(namespace, name string) string { return namespace + "/" + name }

// revoke adds the files' TokenRevocations to the document of one policy.
func (s *policySet) revoke(document *compiled.Policy) {
	s.compiled[fullName(document.Namespace, document.Name)] = true
	var here []v1alpha1.TokenRevocation
	for i := range s.objects.Revocations {
		if r := s.objects.Revocations[i].TokenRevocation; namespaceOf(&r) == document.Namespace {
			r.CreationTimestamp = metav1.NewTime(s.createdAt(&r))
			here = append(here, r)
		}
	}
	for _, outcome := range compile.Revoke(document, here, s.now) {
		if name := fullName(document.Namespace, outcome.Name); s.revoked[name] != v1alpha1.ReasonAccepted && outcome.Reason != v1alpha1.ReasonNoPolicy {
			s.revoked[name] = outcome.Reason
		}
	}
}

// createdAt returns the time to use as the revocation's creation. A revocation without issuedBefore revokes the tokens that were
// issued before it.
func (s *policySet) createdAt(r *v1alpha1.TokenRevocation) time.Time {
	if at, ok := s.created[revocationKey(r)]; ok {
		return at
	}
	return s.now
}

// creations returns the creation time of each of the files' revocations, for a later version of the files.
func (s *policySet) creations() map[string]time.Time {
	created := map[string]time.Time{}
	for i := range s.objects.Revocations {
		r := &s.objects.Revocations[i].TokenRevocation
		created[revocationKey(r)] = s.createdAt(r)
	}
	return created
}

// revocationKey identifies a revocation of the files. A revocation with a changed spec has another key.
func revocationKey(r *v1alpha1.TokenRevocation) string {
	spec, _ := json.Marshal(r.Spec) // a spec that was decoded from JSON can be encoded
	return fullName(namespaceOf(r), r.Name) + " " + string(spec)
}

// judgeRevocations warns about revocations that apply to no compiled policy. It does not warn if no policy of their namespace, or not
// the policy that they name, was compiled.
func (s *policySet) judgeRevocations() {
	namespaces, policies := map[string]bool{}, map[string]bool{}
	for i := range s.objects.Policies {
		p := &s.objects.Policies[i]
		name := fullName(namespaceOf(p), p.Name)
		policies[name] = true
		namespaces[namespaceOf(p)] = namespaces[namespaceOf(p)] || s.compiled[name]
	}
	for i := range s.objects.Revocations {
		r := &s.objects.Revocations[i]
		namespace, named := namespaceOf(r), r.Spec.PolicyName
		unknown := named != "" && policies[fullName(namespace, named)] && !s.compiled[fullName(namespace, named)]
		if outcome := s.revoked[fullName(namespace, r.Name)]; namespaces[namespace] && !unknown && outcome != v1alpha1.ReasonAccepted {
			s.findings = append(s.findings, notApplied(r, outcome, policies[fullName(namespace, named)]))
		}
	}
}

// notApplied returns the warning that says why the revocation applies to no policy.
func notApplied(r *manifest.Revocation, outcome string, policyExists bool) manifest.Finding {
	named, issuer := r.Spec.PolicyName, r.Spec.Issuer
	switch {
	case outcome == v1alpha1.ReasonExpired:
		return r.Warning("spec", "the last of the tokens has expired: the object has no effect, and can be deleted")
	case outcome == v1alpha1.ReasonTooMany:
		return r.Warning("spec", "the policies' documents have no room for it: remove revocations that are not needed")
	case named != "" && !policyExists:
		return r.Warning("spec.policyName", fmt.Sprintf("there is no SecurityPolicy %q in the files and the namespace", named))
	case issuer != "":
		return r.Warning("spec.issuer", fmt.Sprintf("no SecurityPolicy of the files and the namespace accepts tokens of issuer %q", issuer))
	}
	return r.Warning("spec", "no SecurityPolicy of the files and the namespace accepts tokens")
}
