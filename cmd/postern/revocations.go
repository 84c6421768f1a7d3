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

// revoke adds the file's TokenRevocations to the document of one policy.
func (f *policyFile) revoke(document *compiled.Policy) {
	f.compiled[fullName(document.Namespace, document.Name)] = true
	var here []v1alpha1.TokenRevocation
	for i := range f.objects.Revocations {
		if r := f.objects.Revocations[i].TokenRevocation; namespaceOf(&r) == document.Namespace {
			r.CreationTimestamp = metav1.NewTime(f.createdAt(&r))
			here = append(here, r)
		}
	}
	for _, outcome := range compile.Revoke(document, here, f.now) {
		if name := fullName(document.Namespace, outcome.Name); f.revoked[name] != v1alpha1.ReasonAccepted && outcome.Reason != v1alpha1.ReasonNoPolicy {
			f.revoked[name] = outcome.Reason
		}
	}
}

// createdAt returns the time to use as the revocation's creation. A revocation without issuedBefore revokes the tokens that were
// issued before it.
func (f *policyFile) createdAt(r *v1alpha1.TokenRevocation) time.Time {
	if at, ok := f.created[revocationKey(r)]; ok {
		return at
	}
	return f.now
}

// creations returns the creation time of each of the file's revocations, for a later version of the file.
func (f *policyFile) creations() map[string]time.Time {
	created := map[string]time.Time{}
	for i := range f.objects.Revocations {
		r := &f.objects.Revocations[i].TokenRevocation
		created[revocationKey(r)] = f.createdAt(r)
	}
	return created
}

// revocationKey identifies a revocation of a file. A revocation with a changed spec has another key.
func revocationKey(r *v1alpha1.TokenRevocation) string {
	spec, _ := json.Marshal(r.Spec) // a spec that was decoded from JSON can be encoded
	return fullName(namespaceOf(r), r.Name) + " " + string(spec)
}

// judgeRevocations warns about revocations that apply to no compiled policy. It does not warn if no policy of their namespace, or not
// the policy that they name, was compiled.
func (f *policyFile) judgeRevocations() {
	namespaces, policies := map[string]bool{}, map[string]bool{}
	for i := range f.objects.Policies {
		p := &f.objects.Policies[i]
		name := fullName(namespaceOf(p), p.Name)
		policies[name] = true
		namespaces[namespaceOf(p)] = namespaces[namespaceOf(p)] || f.compiled[name]
	}
	for i := range f.objects.Revocations {
		r := &f.objects.Revocations[i]
		namespace, named := namespaceOf(r), r.Spec.PolicyName
		unknown := named != "" && policies[fullName(namespace, named)] && !f.compiled[fullName(namespace, named)]
		if outcome := f.revoked[fullName(namespace, r.Name)]; namespaces[namespace] && !unknown && outcome != v1alpha1.ReasonAccepted {
			f.findings = append(f.findings, notApplied(r, outcome, policies[fullName(namespace, named)]))
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
		return r.Warning("spec.policyName", fmt.Sprintf("there is no SecurityPolicy %q in the file and namespace", named))
	case issuer != "":
		return r.Warning("spec.issuer", fmt.Sprintf("no SecurityPolicy of the file and namespace accepts tokens of issuer %q", issuer))
	}
	return r.Warning("spec", "no SecurityPolicy of the file and namespace accepts tokens")
}
