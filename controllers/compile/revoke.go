package compile

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// clockSkew is what verifiers may grant to exp.
const clockSkew = time.Hour

// epoch is the earliest time in a document, in seconds since 1970: 0 means that there is none, and sidecars refuse the whole
// document where a time is needed.
const epoch = 1

// Revoked is what became of a TokenRevocation in one policy's document.
type Revoked struct {
	// Name of the object.
	Name string
	// Reason is ReasonAccepted where the document carries it, or ReasonNoPolicy, ReasonTooMany or ReasonExpired.
	Reason string
	// Expires is when the document need not carry it any more; zero for never.
	Expires time.Time
}

// Revoke adds to p the revocations that apply to its tokens and have not expired at now, the oldest first, and returns the result
// for each. The same policy and revocations give the same document, until one of them expires. A user who may only revoke must
// not be able to break a policy: revocations that the document has no room for are omitted, so it never becomes too large.
func Revoke(p *compiled.Policy, revocations []v1alpha1.TokenRevocation, now time.Time) []Revoked {
	if len(revocations) == 0 {
		return nil
	}
	ordered := make([]*v1alpha1.TokenRevocation, len(revocations))
	for i := range revocations {
		ordered[i] = &revocations[i]
	}
	slices.SortFunc(ordered, func(a, b *v1alpha1.TokenRevocation) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	r := revoker{policy: p, trusted: trusted(p), room: room(p), now: now}
	outcomes := make([]Revoked, 0, len(ordered))
	for _, revocation := range ordered {
		outcomes = append(outcomes, r.revoke(revocation))
	}
	return outcomes
}

// revoker adds revocations to one document.
type revoker struct {
	policy  *compiled.Policy
	trusted []trust
	// room is how many bytes the document can still take.
	room int
	now  time.Time
}

func (v *revoker) revoke(r *v1alpha1.TokenRevocation) Revoked {
	out := Revoked{Name: r.Name, Reason: v1alpha1.ReasonNoPolicy}
	if r.Spec.PolicyName != "" && r.Spec.PolicyName != v.policy.Name {
		return out
	}
	var entries []compiled.RevokedTokens
	size := 0
	for _, t := range v.trusted {
		if r.Spec.Issuer != "" && r.Spec.Issuer != t.issuer || !applies(r, t.issuer) {
			continue
		}
		entry := entryOf(r, t)
		out.Expires, out.Reason = later(out.Expires, entry.ExpiresAt()), v1alpha1.ReasonExpired
		if entry.Kind == compiled.RevokedKey || entry.ExpiresAt().After(v.now) {
			entries = append(entries, entry)
			size += encodedSize(entry)
		}
	}
	if len(entries) == 0 {
		return out
	}
	out.Reason = v1alpha1.ReasonAccepted
	if len(v.policy.RevokedTokens)+len(entries) > compiled.MaxRevokedTokens || size > v.room {
		out.Reason = v1alpha1.ReasonTooMany
		return out
	}
	v.policy.RevokedTokens = append(v.policy.RevokedTokens, entries...)
	v.room -= size
	return out
}

// reserve is what the document's revision, and its signature beside it in the ConfigMap, take of compiled.MaxSize at most.
const reserve = 1 << 10

// room returns how many bytes of revocations p can take: what compiled.Encode and a ConfigMap leave it.
func room(p *compiled.Policy) int {
	b, err := compiled.Encode(p)
	if err != nil {
		return 0 // it is too large as it is
	}
	return compiled.MaxSize - reserve - len(b)
}

// encodedSize is what an entry adds to the document, as compiled.Encode indents it.
func encodedSize(entry compiled.RevokedTokens) int {
	b, err := json.MarshalIndent(entry, "  ", " ")
	if err != nil {
		return compiled.MaxSize // texts and numbers can always be encoded
	}
	return len(b) + len(",\n  ")
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

// maxOwnLifetime is the longest accessLifetime: a token may be of a time when it was longer than it is now.
const maxOwnLifetime = 24 * time.Hour

// trusted returns the issuers of p, each once: of providers that share one, the longest lifetimes count.
func trusted(p *compiled.Policy) []trust {
	var out []trust
	add := func(t trust) {
		i := slices.IndexFunc(out, func(o trust) bool { return o.issuer == t.issuer })
		if i < 0 {
			out = append(out, t)
			return
		}
		out[i].token, out[i].session = max(out[i].token, t.token), max(out[i].session, t.session)
	}
	if t := p.Tokens; t != nil {
		add(trust{t.Issuer, maxOwnLifetime, p.Sessions.AbsoluteTimeout.Std() + t.AccessLifetime.Std()})
	}
	for i := range p.Providers {
		lifetime := p.Providers[i].TokenLifetime()
		session := lifetime
		if p.Sessions != nil && p.Sessions.SubjectFrom != "" {
			session += p.Sessions.AbsoluteTimeout.Std()
		}
		add(trust{p.Providers[i].Issuer, lifetime, session})
	}
	if p.APIKeys != nil && p.APIKeys.Keys != nil {
		add(trust{compiled.APIKeysIssuer, keyLifetime, keyLifetime})
	}
	if p.APIKeys != nil && p.APIKeys.Users != nil {
		add(trust{compiled.BasicUsersIssuer, keyLifetime, keyLifetime})
	}
	if p.TLS.Identifies() {
		add(trust{compiled.ClientCertificatesIssuer, keyLifetime, keyLifetime})
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
		// A token has whole seconds: what was issued in the very second of the creation counts as issued before.
		entry.Kind, entry.Value, entry.Before, lifetime = compiled.RevokedSubject, r.Spec.Subject, from.Unix()+1, t.session
		if r.Spec.IssuedBefore != nil {
			from = r.Spec.IssuedBefore.Time
			entry.Before = from.Add(time.Second - time.Nanosecond).Unix() // nor has a document fractions: they count in full
		}
		entry.Before = max(entry.Before, epoch)
	}
	entry.Expires = from.Add(lifetime + clockSkew).Unix()
	if r.Spec.Expires != nil {
		entry.Expires = r.Spec.Expires.Unix()
	}
	entry.Expires = max(entry.Expires, epoch)
	return entry
}
