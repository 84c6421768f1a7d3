package compile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// created is when the revocations of these tests were.
var created = time.Unix(1e9, 0)

func revocation(name string, change func(*v1alpha1.TokenRevocationSpec)) v1alpha1.TokenRevocation {
	r := v1alpha1.TokenRevocation{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(created)}}
	change(&r.Spec)
	return r
}

// trusting is the document of a policy with tokens of its own, and of one provider.
func trusting() *compiled.Policy {
	hour := compiled.Duration(time.Hour)
	return &compiled.Policy{
		SchemaVersion: 1, Namespace: "shop", Name: "accounts",
		Tokens:    &compiled.Tokens{Issuer: "https://own", AccessLifetime: hour},
		Sessions:  &compiled.Sessions{AbsoluteTimeout: 10 * hour},
		Providers: []compiled.Provider{{Name: "corp", Issuer: "https://corp", MaxLifetime: 2 * hour}},
	}
}

func at(offset time.Duration) int64 { return created.Add(offset).Unix() }

func TestRevoke(t *testing.T) {
	ago := func(d time.Duration) *metav1.Time { t := metav1.NewTime(created.Add(-d)); return &t }
	tests := map[string]struct {
		spec       func(*v1alpha1.TokenRevocationSpec)
		policy     func(*compiled.Policy)
		after      time.Duration // the present, since the creation
		want       []compiled.RevokedTokens
		wantReason string
	}{
		"a token of any issuer": { // ours may be of a time when accessLifetime was longer
			spec: func(s *v1alpha1.TokenRevocationSpec) { s.TokenID = "j" },
			want: []compiled.RevokedTokens{
				{Name: "r", Kind: "Token", Issuer: "https://own", Value: "j", Expires: at(25 * time.Hour)},
				{Name: "r", Kind: "Token", Issuer: "https://corp", Value: "j", Expires: at(3 * time.Hour)},
			},
		},
		"an API key by its id": {
			policy: withAPIKeys,
			spec:   func(s *v1alpha1.TokenRevocationSpec) { s.TokenID, s.Issuer = "ci", compiled.APIKeysIssuer },
			after:  24 * 365 * time.Hour,
			want:   []compiled.RevokedTokens{{Name: "r", Kind: "Token", Issuer: compiled.APIKeysIssuer, Value: "ci", Expires: at(10*365*24*time.Hour + time.Hour)}},
		},
		"a token of any issuer is no API key": {
			policy: withAPIKeys,
			spec:   func(s *v1alpha1.TokenRevocationSpec) { s.TokenID = "ci" },
			after:  3 * time.Hour,
			want:   []compiled.RevokedTokens{{Name: "r", Kind: "Token", Issuer: "https://own", Value: "ci", Expires: at(25 * time.Hour)}},
		},
		"the API keys of a subject": {
			policy: withAPIKeys,
			spec:   func(s *v1alpha1.TokenRevocationSpec) { s.Subject = "svc:ci" },
			after:  24 * 365 * time.Hour,
			want: []compiled.RevokedTokens{{
				Name: "r", Kind: "Subject", Issuer: compiled.APIKeysIssuer, Value: "svc:ci", Before: created.Unix() + 1, Expires: at(10*365*24*time.Hour + time.Hour),
			}},
		},
		"a token of any issuer, when that of one has expired": {
			spec:  func(s *v1alpha1.TokenRevocationSpec) { s.TokenID = "j" },
			after: 3 * time.Hour,
			want:  []compiled.RevokedTokens{{Name: "r", Kind: "Token", Issuer: "https://own", Value: "j", Expires: at(25 * time.Hour)}},
		},
		"a token, when it has expired": {
			spec:  func(s *v1alpha1.TokenRevocationSpec) { s.TokenID = "j" },
			after: 25 * time.Hour, wantReason: v1alpha1.ReasonExpired,
		},
		"a session of one issuer": {
			spec: func(s *v1alpha1.TokenRevocationSpec) { s.SessionID, s.Issuer = "s", "https://own" },
			want: []compiled.RevokedTokens{{Name: "r", Kind: "Session", Issuer: "https://own", Value: "s", Expires: at(12 * time.Hour)}},
		},
		"a subject, until the creation": {
			spec: func(s *v1alpha1.TokenRevocationSpec) { s.Subject, s.Issuer = "u", "https://own" },
			want: []compiled.RevokedTokens{{Name: "r", Kind: "Subject", Issuer: "https://own", Value: "u", Before: at(time.Second), Expires: at(12 * time.Hour)}},
		},
		"a subject, until a time": {
			spec: func(s *v1alpha1.TokenRevocationSpec) {
				s.Subject, s.Issuer, s.IssuedBefore = "u", "https://own", ago(time.Hour)
			},
			want: []compiled.RevokedTokens{{Name: "r", Kind: "Subject", Issuer: "https://own", Value: "u", Before: at(-time.Hour), Expires: at(11 * time.Hour)}},
		},
		"a subject, until a time between two seconds": {
			spec: func(s *v1alpha1.TokenRevocationSpec) {
				s.Subject, s.Issuer, s.IssuedBefore = "u", "https://own", ago(time.Hour-time.Millisecond)
			},
			want: []compiled.RevokedTokens{{Name: "r", Kind: "Subject", Issuer: "https://own", Value: "u", Before: at(-time.Hour + time.Second), Expires: at(11 * time.Hour)}},
		},
		"a key, which stays": {
			spec:  func(s *v1alpha1.TokenRevocationSpec) { s.KeyID, s.Issuer = "k", "https://corp" },
			after: 1000 * time.Hour,
			want:  []compiled.RevokedTokens{{Name: "r", Kind: "Key", Issuer: "https://corp", Value: "k"}},
		},
		"an expiry of its own": {
			spec: func(s *v1alpha1.TokenRevocationSpec) {
				s.TokenID, s.Issuer, s.Expires = "j", "https://own", ago(-100*time.Hour)
			},
			after: 99 * time.Hour,
			want:  []compiled.RevokedTokens{{Name: "r", Kind: "Token", Issuer: "https://own", Value: "j", Expires: at(100 * time.Hour)}},
		},
		"an expiry that would be no time in a document": {
			spec: func(s *v1alpha1.TokenRevocationSpec) {
				s.TokenID, s.Expires = "j", &metav1.Time{Time: time.Unix(0, 0)}
			},
			wantReason: v1alpha1.ReasonExpired,
		},
		"an issuedBefore that would be no time in a document": {
			spec: func(s *v1alpha1.TokenRevocationSpec) {
				s.Subject, s.Issuer, s.IssuedBefore, s.Expires = "u", "https://own", &metav1.Time{Time: time.Unix(0, 0)}, ago(-time.Hour)
			},
			want: []compiled.RevokedTokens{{Name: "r", Kind: "Subject", Issuer: "https://own", Value: "u", Before: 1, Expires: at(time.Hour)}},
		},
		"another policy": {
			spec:       func(s *v1alpha1.TokenRevocationSpec) { s.TokenID, s.PolicyName = "j", "orders" },
			wantReason: v1alpha1.ReasonNoPolicy,
		},
		"another issuer": {
			spec:       func(s *v1alpha1.TokenRevocationSpec) { s.TokenID, s.Issuer = "j", "https://other" },
			wantReason: v1alpha1.ReasonNoPolicy,
		},
		"providers that share an issuer": {
			spec: func(s *v1alpha1.TokenRevocationSpec) { s.TokenID, s.Issuer = "j", "https://corp" },
			policy: func(p *compiled.Policy) {
				p.Providers = append(p.Providers, compiled.Provider{Name: "corp2", Issuer: "https://corp"})
			},
			want: []compiled.RevokedTokens{{Name: "r", Kind: "Token", Issuer: "https://corp", Value: "j", Expires: at(25 * time.Hour)}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := trusting()
			if tt.policy != nil {
				tt.policy(p)
			}
			got := compile.Revoke(p, []v1alpha1.TokenRevocation{revocation("r", tt.spec)}, created.Add(tt.after))
			if diff := cmp.Diff(tt.want, p.RevokedTokens); diff != "" {
				t.Errorf("the document has (-want +got):\n%s", diff)
			}
			want := tt.wantReason
			if want == "" {
				want = v1alpha1.ReasonAccepted
			}
			if len(got) != 1 || got[0].Name != "r" || got[0].Reason != want {
				t.Errorf("outcomes are %+v, want %s", got, want)
			}
		})
	}
}

// TestRevokeTooMany: a user who may revoke cannot make a document that is too large or that a sidecar refuses.
func TestRevokeTooMany(t *testing.T) {
	tests := map[string]struct {
		value     string
		n         int
		wantLeast int
	}{
		"by number":                    {"j", compiled.MaxRevokedTokens + 7, compiled.MaxRevokedTokens},
		"by size":                      {strings.Repeat("x", 1500), compiled.MaxRevokedTokens, 500},
		"by size of what JSON escapes": {strings.Repeat("<", 500), compiled.MaxRevokedTokens, 250},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var all []v1alpha1.TokenRevocation
			for i := range tt.n {
				r := revocation(fmt.Sprintf("r%04d", i), func(s *v1alpha1.TokenRevocationSpec) { s.TokenID, s.Issuer = tt.value, "https://own" })
				r.CreationTimestamp = metav1.NewTime(created.Add(time.Duration(i) * time.Second))
				all = append([]v1alpha1.TokenRevocation{r}, all...)
			}
			p := trusting()
			outcomes := compile.Revoke(p, all, created)
			accepted := 0
			for i, o := range outcomes {
				if o.Reason == v1alpha1.ReasonAccepted {
					accepted++
				} else if o.Reason != v1alpha1.ReasonTooMany {
					t.Fatalf("%s is %s", o.Name, o.Reason)
				}
				if i < tt.wantLeast && o.Reason != v1alpha1.ReasonAccepted {
					t.Fatalf("%s, which is older than others that are carried, is %s", o.Name, o.Reason)
				}
			}
			if accepted < tt.wantLeast || accepted > compiled.MaxRevokedTokens || accepted == tt.n || accepted != len(p.RevokedTokens) {
				t.Errorf("%d are accepted, and the document has %d", accepted, len(p.RevokedTokens))
			}
			if b, err := compiled.Encode(p); err != nil || len(b) > compiled.MaxSize-512 {
				t.Errorf("the document has %d bytes: %v", len(b), err)
			}
		})
	}
}

func TestIntend(t *testing.T) {
	classes := []v1alpha1.SidecarClass{{ObjectMeta: metav1.ObjectMeta{
		Name: "default", Annotations: map[string]string{v1alpha1.DefaultClassAnnotation: "true"},
	}}}
	good := read[v1alpha1.SecurityPolicy](t, "testdata/least.yaml")
	good.Namespace, good.Name = "shop", "accounts"
	good.Spec.JWT = &v1alpha1.JWT{Providers: []v1alpha1.JWTProvider{{
		Name: "corp", Issuer: "https://corp", Audiences: []string{"shop"}, Algorithms: []v1alpha1.Algorithm{"RS256"},
		JWKS: v1alpha1.JWKS{URI: "https://corp/keys"},
	}}}
	bad, huge := good.DeepCopy(), good.DeepCopy()
	bad.Spec.JWT.Providers[0].JWKS = v1alpha1.JWKS{Inline: "no JSON"}
	huge.Spec.JWT.Providers[0].RequiredClaims = []v1alpha1.RequiredClaim{{Claim: "tenant", Values: []string{strings.Repeat("x", compiled.MaxSize)}}}
	nameless := good.DeepCopy()
	nameless.Name = ""
	last := trusting()
	last.Revision, last.RevokedTokens = 7, []compiled.RevokedTokens{{Name: "old", Kind: "Token", Issuer: "https://own", Value: "x", Expires: 1}}
	gone := trusting()
	gone.Deleted = true
	tests := map[string]struct {
		policy      *v1alpha1.SecurityPolicy
		last        *compiled.Policy
		wantValid   bool
		wantIssuers []string // of what the document revokes; nil where there is no document
		wantFinding string
	}{
		"a good policy":                    {policy: good, last: last, wantValid: true, wantIssuers: []string{"https://corp"}},
		"a bad one":                        {policy: bad, wantFinding: "not JSON"},
		"a bad one that was good":          {policy: bad, last: last, wantIssuers: []string{"https://own", "https://corp"}, wantFinding: "not JSON"},
		"a bad one that had been deleted":  {policy: bad, last: gone, wantFinding: "not JSON"},
		"one that is too large":            {policy: huge, last: last, wantIssuers: []string{"https://own", "https://corp"}, wantFinding: "bytes, and at most 262144 are allowed"},
		"one that sidecars would not take": {policy: nameless, wantFinding: "name are required"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := compile.Intend(compile.Input{
				Policy: tt.policy, Classes: classes, Last: tt.last, Now: created,
				Revocations: []v1alpha1.TokenRevocation{revocation("r", func(s *v1alpha1.TokenRevocationSpec) { s.TokenID = "j" })},
			})
			if got.Valid != tt.wantValid || (got.Document == nil) != (tt.wantIssuers == nil) || compile.HasErrors(got.Findings) == tt.wantValid {
				t.Fatalf("got %+v", got)
			}
			if tt.wantFinding != "" && !strings.Contains(got.Findings[0].Message, tt.wantFinding) {
				t.Errorf("findings are %v", got.Findings)
			}
			var issuers []string
			if got.Document != nil {
				for _, r := range got.Document.RevokedTokens {
					issuers = append(issuers, r.Issuer)
				}
			}
			if diff := cmp.Diff(tt.wantIssuers, issuers); diff != "" {
				t.Errorf("revoked of issuers (-want +got):\n%s", diff)
			}
		})
	}
	if len(last.RevokedTokens) != 1 {
		t.Error("the last document was changed")
	}
}

func TestNextExpiry(t *testing.T) {
	p := &compiled.Policy{RevokedTokens: []compiled.RevokedTokens{{Kind: "Key"}, {Expires: at(3 * time.Hour)}, {Expires: at(time.Hour)}}}
	for after, want := range map[time.Duration]time.Duration{0: time.Hour, time.Hour: 2 * time.Hour, 3 * time.Hour: 0} {
		if got := compile.NextExpiry(p, created.Add(after)); got != want {
			t.Errorf("after %s the next expiry is in %s, want %s", after, got, want)
		}
	}
}

func withAPIKeys(p *compiled.Policy) { p.APIKeys = &compiled.APIKeys{Keys: &compiled.SecretRef{}} }
