package compile

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// assumedLifetime is that of a provider's tokens where it has no maxLifetime, and clockSkew what verifiers may grant to exp.
const (
	assumedLifetime = 24 * time.Hour
	clockSkew       = time.Hour
)

// Revoked is what became of a TokenRevocation in one policy's document.
type Revoked struct {
	// Name of the object.
	Name string
	// Reason is ReasonAccepted where the document carries it, or ReasonNoPolicy, ReasonTooMany or ReasonExpired.
	Reason string
	// Expires is when the document need not carry it any more; zero for never.
	Expires time.Time
}

// Revoke adds to p what revocations name of its tokens and has not expired at now, the older first, and says what became of
// each. The documents of one policy and the same revocations are the same, but for those that expire.
func Revoke(p *compiled.Policy, revocations []v1alpha1.TokenRevocation, now time.Time) []Revoked {
	ordered := slices.Clone(revocations)
	slices.SortFunc(ordered, func(a, b v1alpha1.TokenRevocation) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	outcomes := make([]Revoked, 0, len(ordered))
	for i := range ordered {
		outcomes = append(outcomes, revoke(p, &ordered[i], now))
	}
	return outcomes
}

func revoke(p *compiled.Policy, r *v1alpha1.TokenRevocation, now time.Time) Revoked {
	out := Revoked{Name: r.Name, Reason: v1alpha1.ReasonNoPolicy}
	if r.Spec.PolicyName != "" && r.Spec.PolicyName != p.Name {
		return out
	}
	var entries []compiled.RevokedTokens
	for _, t := range trusted(p) {
		if r.Spec.Issuer != "" && r.Spec.Issuer != t.issuer {
			continue
		}
		entry := entryOf(r, t)
		out.Expires, out.Reason = later(out.Expires, entry.ExpiresAt()), v1alpha1.ReasonExpired
		if entry.Expires == 0 || entry.ExpiresAt().After(now) {
			entries = append(entries, entry)
		}
	}
	if len(entries) == 0 {
		return out
	}
	out.Reason = v1alpha1.ReasonAccepted
	if len(p.RevokedTokens)+len(entries) > compiled.MaxRevokedTokens {
		out.Reason = v1alpha1.ReasonTooMany
		return out
	}
	p.RevokedTokens = append(p.RevokedTokens, entries...)
	return out
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// trust is an issuer whose tokens a policy accepts: how long a token may live, and how long a session can bring forth new
// ones with the same sid.
type trust struct {
	issuer         string
	token, session time.Duration
}

func trusted(p *compiled.Policy) []trust {
	var out []trust
	if t := p.Tokens; t != nil {
		out = append(out, trust{t.Issuer, t.AccessLifetime.Std(), p.Sessions.AbsoluteTimeout.Std() + t.AccessLifetime.Std()})
	}
	for i := range p.Providers {
		lifetime := p.Providers[i].MaxLifetime.Std()
		if lifetime == 0 {
			lifetime = assumedLifetime
		}
		session := lifetime
		if p.Sessions != nil && p.Sessions.SubjectFrom != "" {
			session += p.Sessions.AbsoluteTimeout.Std()
		}
		out = append(out, trust{p.Providers[i].Issuer, lifetime, session})
	}
	return out
}

func entryOf(r *v1alpha1.TokenRevocation, t trust) compiled.RevokedTokens {
	entry := compiled.RevokedTokens{Name: r.Name, Issuer: t.issuer}
	from, lifetime := r.CreationTimestamp.Time, t.token
	switch {
	case r.Spec.TokenID != "":
		entry.Kind, entry.Value = compiled.RevokedToken, r.Spec.TokenID
	case r.Spec.SessionID != "":
		entry.Kind, entry.Value, lifetime = compiled.RevokedSession, r.Spec.SessionID, t.session
	case r.Spec.KeyID != "":
		entry.Kind, entry.Value = compiled.RevokedKey, r.Spec.KeyID
		return entry
	default:
		if r.Spec.IssuedBefore != nil {
			from = r.Spec.IssuedBefore.Time
		}
		// A token has whole seconds: what was issued in the very second of the creation counts as issued before.
		entry.Kind, entry.Value, entry.Before, lifetime = compiled.RevokedSubject, r.Spec.Subject, from.Unix()+1, t.session
		if r.Spec.IssuedBefore != nil {
			entry.Before = from.Unix()
		}
	}
	entry.Expires = from.Add(lifetime + clockSkew).Unix()
	if r.Spec.Expires != nil {
		entry.Expires = r.Spec.Expires.Unix()
	}
	return entry
}
