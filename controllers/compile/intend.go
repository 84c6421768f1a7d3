package compile

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// Input is all that a policy's document is made of.
type Input struct {
	Policy *v1alpha1.SecurityPolicy
	// Size is that of the policy's spec, where Policy has only a part of a spec that is too large; 0 if Policy has all of it.
	Size int
	// Excess says that the namespace has MaxPolicies older policies.
	Excess bool
	// SpecUnknown says that Policy has no spec, and that the last document stands for it.
	SpecUnknown bool
	Classes     []v1alpha1.SidecarClass
	// Last is the document that was written last; nil where there is none.
	Last *compiled.Policy
	// Revocations are those of the policy's namespace that are not going.
	Revocations []v1alpha1.TokenRevocation
	Now         time.Time
	// Schema decides which schema version the document needs; left out, that of this build.
	Schema compiled.Schema
}

// Intent is the document that sidecars should run, and what is wrong with the policy.
type Intent struct {
	// Class is nil where ClassErr says why.
	Class    *v1alpha1.SidecarClass
	ClassErr error
	Findings []Finding
	// Document has no revision, unless it is the last one. It is nil where there is none.
	Document *compiled.Policy
	// Valid says that Document is the policy's as it stands. Where that cannot be compiled, it is the last good one, with what
	// is revoked now: a mistake in a policy must not keep a stolen token good.
	Valid bool
	// Revoked says what became of each revocation in Document.
	Revoked []Revoked
}

// Intend returns what should be. The same input gives the same intent.
func Intend(in Input) Intent {
	var out Intent
	out.Class, out.ClassErr = ResolveClass(in.Policy, in.Classes)
	switch large := tooLarge(in.Size); {
	case out.ClassErr != nil, in.SpecUnknown:
	case in.Excess:
		out.Findings = []Finding{TooMany(in.Policy.Namespace)}
	case large != nil:
		out.Findings = []Finding{*large}
	default:
		out.Document, out.Findings = Compile(in.Policy, out.Class)
	}
	if out.Document != nil {
		out.Document.SchemaVersion = in.Schema.VersionOf(out.Document)
		out.Valid, out.Revoked = true, Revoke(out.Document, in.Revocations, in.Now)
		if err := valid(out.Document); err != nil {
			out.Findings = append(out.Findings, Finding{Severity: Error, Field: "spec", Message: err.Error()})
			out.Valid, out.Document, out.Revoked = false, nil, nil
		}
	}
	if out.Document == nil && in.Last != nil && !in.Last.Deleted {
		out.Document, out.Revoked = Renew(in.Last, in.Revocations, in.Now)
	}
	return out
}

// Renew returns the document with what is revoked now in place of what was.
func Renew(last *compiled.Policy, revocations []v1alpha1.TokenRevocation, now time.Time) (*compiled.Policy, []Revoked) {
	renewed := *last
	renewed.RevokedTokens = nil
	return &renewed, Revoke(&renewed, revocations, now)
}

// fits returns why a new document cannot be stored, or would be refused by every sidecar.
func fits(p *compiled.Policy) error {
	b, err := compiled.Encode(p)
	if err != nil {
		return err
	}
	if most := compiled.MaxSize - reserve; len(b) > most {
		return fmt.Errorf("the document has %d bytes, and a ConfigMap has room for %d: shorten the policy, or split it by selector", len(b), most)
	}
	named := *p
	named.Namespace, named.Name = cmp.Or(p.Namespace, "any"), cmp.Or(p.Name, "any") // a file may leave them out
	return valid(&named)
}

// valid returns why every sidecar would refuse the document, whatever its revision.
func valid(p *compiled.Policy) error {
	numbered := *p
	numbered.Revision = 1
	if err := numbered.Validate(); err != nil {
		return fmt.Errorf("compiling document: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

// NextExpiry returns how long the document stays as it is: until the first of what it revokes expires; 0 where nothing does.
func NextExpiry(p *compiled.Policy, now time.Time) time.Duration {
	next := time.Duration(0)
	for i := range p.RevokedTokens {
		at := p.RevokedTokens[i].ExpiresAt()
		if left := at.Sub(now); !at.IsZero() && left > 0 && (next == 0 || left < next) {
			next = left
		}
	}
	return next
}
