package status

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// expiry is when the revocations of these tests expire.
var expiry = time.Unix(1e9+3600, 0)

// carrier returns a policy whose documents contain the revocation from revision 5 on, and whose pods run those revisions.
func carrier(policy string, revisions ...int64) Carrier {
	c := Carrier{Policy: policy, Since: 5, Outcome: compile.Revoked{Reason: v1alpha1.ReasonAccepted, Expires: expiry}}
	for i, revision := range revisions {
		c.Pods = append(c.Pods, Runner{Name: fmt.Sprintf("%s-%d", policy, i+1), Running: revision})
	}
	return c
}

func with(c Carrier, change func(*Carrier)) Carrier {
	change(&c)
	return c
}

func became(reason string) func(*Carrier) { return func(c *Carrier) { c.Outcome.Reason = reason } }

func TestOfRevocation(t *testing.T) {
	pending := func(c *Carrier) { c.Since = 0 }
	shadow := func(c *Carrier) { c.Shadow = true }
	tests := map[string]struct {
		spec         v1alpha1.TokenRevocationSpec
		policyExists bool
		carriers     []Carrier
		wantAccepted string
		wantEnforced string
		wantMessage  string // of Enforced
		wantPolicies []string
		wantSidecars string
	}{
		"proved": {
			carriers: []Carrier{carrier("accounts", 5, 9), carrier("shop", 5)}, wantAccepted: "True/Accepted",
			wantEnforced: "True/Enforced", wantMessage: "3 sidecars refuse the tokens that it names", wantPolicies: []string{"accounts", "shop"}, wantSidecars: "3/3",
		},
		"no pods": {
			carriers: []Carrier{carrier("accounts")}, wantAccepted: "True/Accepted", wantEnforced: "Unknown/NoPods",
			wantMessage: "no pod of policy accounts is running", wantPolicies: []string{"accounts"}, wantSidecars: "0/0",
		},
		"a sidecar with the previous document": {
			carriers: []Carrier{carrier("accounts", 5, 4), carrier("shop", 5)}, wantAccepted: "True/Accepted", wantEnforced: "False/PodsOutdated",
			wantMessage:  "1 pod does not have it yet: accounts-2; if this persists, see condition Enforced of policy accounts",
			wantPolicies: []string{"accounts", "shop"}, wantSidecars: "2/3",
		},
		"many pods of several policies": {
			carriers: []Carrier{carrier("b", 0, 0, 0), carrier("a", 0, 5, 0)}, wantAccepted: "True/Accepted", wantEnforced: "False/PodsOutdated",
			wantMessage: "5 pods do not have it yet: a-1, a-3, b-1 and 2 more; ", wantPolicies: []string{"b", "a"}, wantSidecars: "1/6",
		},
		"a document that is not written yet": {
			carriers: []Carrier{with(carrier("accounts", 9), pending), carrier("shop", 5)}, wantAccepted: "True/Accepted",
			wantEnforced: "False/NotProgrammed", wantMessage: "the document of policy accounts does not have it yet", wantPolicies: []string{"shop"}, wantSidecars: "1/2",
		},
		"one policy in shadow": {
			carriers: []Carrier{carrier("accounts", 5), with(carrier("shop", 5), shadow)}, wantAccepted: "True/Accepted",
			wantEnforced: "False/Shadow", wantMessage: "policy shop: the mode is Shadow", wantPolicies: []string{"accounts", "shop"}, wantSidecars: "2/2",
		},
		"no room in one document": {
			carriers: []Carrier{carrier("accounts", 5), with(carrier("shop", 5), became(v1alpha1.ReasonTooMany))}, wantAccepted: "False/TooMany",
			wantEnforced: "False/TooMany", wantMessage: "the document of policy shop has no room for it", wantPolicies: []string{"accounts"}, wantSidecars: "1/1",
		},
		"no room at all": {
			carriers:     []Carrier{with(carrier("a"), became(v1alpha1.ReasonTooMany)), with(carrier("b"), became(v1alpha1.ReasonTooMany))},
			wantAccepted: "False/TooMany", wantEnforced: "False/TooMany", wantMessage: "of policies a, b",
		},
		"expired everywhere": {
			carriers: []Carrier{with(carrier("accounts", 5), became(v1alpha1.ReasonExpired))}, wantAccepted: "False/Expired",
			wantEnforced: "False/Expired", wantMessage: "can be deleted",
		},
		"expired for one policy": {
			carriers:     []Carrier{with(carrier("accounts", 1), became(v1alpha1.ReasonExpired)), carrier("shop", 5)},
			wantAccepted: "True/Accepted", wantEnforced: "True/Enforced", wantPolicies: []string{"shop"}, wantSidecars: "1/1",
		},
		"no policy accepts tokens": {
			wantAccepted: "False/NoPolicy", wantEnforced: "False/NoPolicy", wantMessage: "no valid policy in the namespace accepts tokens:",
		},
		"no policy accepts the issuer": {
			spec: v1alpha1.TokenRevocationSpec{Issuer: "https://x"}, wantAccepted: "False/NoPolicy", wantEnforced: "False/NoPolicy",
			wantMessage: `accepts tokens of issuer "https://x"`,
		},
		"of a missing policy": {
			spec: v1alpha1.TokenRevocationSpec{PolicyName: "acounts"}, wantAccepted: "False/NoPolicy", wantEnforced: "False/NoPolicy",
			wantMessage: `there is no policy "acounts"`,
		},
		"of a policy without tokens": {
			spec: v1alpha1.TokenRevocationSpec{PolicyName: "orders"}, policyExists: true, wantAccepted: "False/NoPolicy", wantEnforced: "False/NoPolicy",
			wantMessage: `policy "orders" accepts no tokens, or is not valid`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := &v1alpha1.TokenRevocation{ObjectMeta: metav1.ObjectMeta{Generation: 3}, Spec: tt.spec}
			got := OfRevocation(RevocationInput{Revocation: r, Carriers: tt.carriers, PolicyExists: tt.policyExists, Now: time.Unix(1e9, 0)})
			for i, want := range []string{tt.wantAccepted, tt.wantEnforced} {
				c := got.Conditions[i]
				if have := string(c.Status) + "/" + c.Reason; have != want || c.ObservedGeneration != 3 {
					t.Errorf("%s is %s (%s) of generation %d, want %s", c.Type, have, c.Message, c.ObservedGeneration, want)
				}
			}
			if m := got.Conditions[1].Message; !strings.Contains(m, tt.wantMessage) {
				t.Errorf("Enforced says %q, want %q in it", m, tt.wantMessage)
			}
			if diff := cmp.Diff(tt.wantPolicies, got.Policies); diff != "" {
				t.Errorf("policies (-want +got):\n%s", diff)
			}
			have := ""
			if got.Sidecars != nil {
				have = got.Sidecars.Summary
			}
			if have != tt.wantSidecars {
				t.Errorf("sidecars %q, want %q", have, tt.wantSidecars)
			}
			if enforced := got.EnforcedTime != nil; enforced != (tt.wantEnforced == "True/Enforced") {
				t.Errorf("enforcedTime is %v", got.EnforcedTime)
			}
		})
	}
}

// TestEnforcedTime checks that enforcedTime is the time of the first proof of each generation.
func TestEnforcedTime(t *testing.T) {
	first, later := metav1.NewTime(time.Unix(1e9, 0)), time.Unix(1e9+60, 0)
	proved, lost := []Carrier{carrier("a", 5)}, []Carrier{carrier("a", 4)}
	tests := map[string]struct {
		carriers []Carrier
		observed int64
		want     time.Time // zero for none
	}{
		"proved again":           {proved, 3, first.Time},
		"lost":                   {lost, 3, first.Time},
		"proved, and changed":    {proved, 2, later},
		"not proved and changed": {lost, 2, time.Time{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := &v1alpha1.TokenRevocation{ObjectMeta: metav1.ObjectMeta{Generation: 3}}
			r.Status = v1alpha1.TokenRevocationStatus{ObservedGeneration: tt.observed, EnforcedTime: &first}
			got := OfRevocation(RevocationInput{Revocation: r, Carriers: tt.carriers, Now: later}).EnforcedTime
			if (got == nil) != tt.want.IsZero() || got != nil && !got.Time.Equal(tt.want) {
				t.Errorf("enforcedTime is %v, want %s", got, tt.want)
			}
		})
	}
}

func TestRevocationExpires(t *testing.T) {
	expiring := func(in time.Duration) Carrier {
		return with(carrier("a"), func(c *Carrier) { c.Outcome.Expires = expiry.Add(in) })
	}
	tests := map[string]struct {
		carriers []Carrier
		want     time.Time // zero for none
	}{
		"the last of several":  {[]Carrier{expiring(time.Minute), expiring(time.Hour), expiring(0)}, expiry.Add(time.Hour)},
		"a key":                {[]Carrier{with(carrier("a"), func(c *Carrier) { c.Outcome.Expires = time.Time{} })}, time.Time{}},
		"no policy accepts it": {nil, time.Time{}},
		"no room":              {[]Carrier{with(expiring(0), became(v1alpha1.ReasonTooMany))}, expiry},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := OfRevocation(RevocationInput{Revocation: &v1alpha1.TokenRevocation{}, Carriers: tt.carriers}).Expires
			if (got == nil) != tt.want.IsZero() || got != nil && !got.Time.Equal(tt.want) {
				t.Errorf("it expires %v, want %s", got, tt.want)
			}
		})
	}
}
