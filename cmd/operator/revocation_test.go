package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// accepting returns a policy that accepts tokens of https://id.example.com with a lifetime of one hour.
func accepting(namespace, name string) *v1alpha1.SecurityPolicy {
	p := newPolicy(namespace, name, name)
	p.Spec.JWT = &v1alpha1.JWT{Providers: []v1alpha1.JWTProvider{{
		Name: "corp", Issuer: "https://id.example.com", Audiences: []string{"shop"}, Algorithms: []v1alpha1.Algorithm{"RS256"},
		MaxLifetime: "1h", JWKS: v1alpha1.JWKS{URI: "https://corp/keys"},
	}}}
	return p
}

func newRevocation(namespace, name string, spec v1alpha1.TokenRevocationSpec) *v1alpha1.TokenRevocation {
	return &v1alpha1.TokenRevocation{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: spec}
}

// running simulates a sidecar that accepts every document, and acknowledges it with the next poll, until the test ends. It returns
// a function for the names of the revocations in the active document, sorted.
func running(t *testing.T, s sidecar, token string) (revoked func() []string) {
	t.Helper()
	names := make(chan []string, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		report := compiled.Report{SchemaVersion: 1}
		for ctx.Err() == nil {
			signed, err := s.next(ctx, token, report)
			if err != nil || signed == nil {
				time.Sleep(50 * time.Millisecond)
				continue
			}
			policy, err := signed.Open(s.key)
			if err != nil {
				t.Errorf("the document is not the operator's: %v", err)
				return
			}
			report.Hash = signed.Hash()
			now := []string{}
			for _, r := range policy.RevokedTokens {
				now = append(now, r.Name)
			}
			slices.Sort(now)
			select {
			case <-names:
			default:
			}
			names <- now
		}
	}()
	return func() []string {
		now := <-names
		select {
		case names <- now:
		default: // there is already a newer one
		}
		return now
	}
}

func wantRevoked(t *testing.T, revoked func() []string, want ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the sidecar refuses %v", want), func() error {
		if got := revoked(); !slices.Equal(got, want) {
			return fmt.Errorf("it refuses %v", got)
		}
		return nil
	})
}

// wantRevocation waits for a condition of the revocation, and returns it.
func wantRevocation(t *testing.T, r *v1alpha1.TokenRevocation, kind string, status metav1.ConditionStatus, reason string) *v1alpha1.TokenRevocation {
	t.Helper()
	now := &v1alpha1.TokenRevocation{}
	eventually(t, fmt.Sprintf("revocation %s says %s=%s, %s", r.Name, kind, status, reason), func() error {
		if err := shared.Get(t.Context(), client.ObjectKeyFromObject(r), now); err != nil {
			return err
		}
		c := meta.FindStatusCondition(now.Status.Conditions, kind)
		if c == nil || c.Status != status || c.Reason != reason || c.ObservedGeneration != now.Generation {
			return fmt.Errorf("the conditions are %+v", now.Status.Conditions)
		}
		return nil
	})
	return now
}

// TestTokenRevocation follows revocations: into a sidecar, to the condition Enforced, through a change, to expiry and deletion.
func TestTokenRevocation(t *testing.T) {
	startOperator(t)
	ns := newNamespace(t, "revoked", enabled())
	policy := accepting(ns, "accounts")
	create(t, policy)
	user := newRevocation(ns, "user-42", v1alpha1.TokenRevocationSpec{Subject: "user-42"})
	create(t, user)
	wantRevocation(t, user, v1alpha1.ConditionEnforced, unknown, v1alpha1.ReasonNoPods)
	pod := newPod(ns, "accounts-1", "accounts")
	create(t, pod)
	wantRevocation(t, user, v1alpha1.ConditionEnforced, no, v1alpha1.ReasonPodsOutdated)
	revoked := running(t, sidecarOf(t, pod), tokenOf(t, ns, pod, compiled.OperatorAudience))
	wantRevocation(t, user, v1alpha1.ConditionEnforced, yes, v1alpha1.ReasonEnforced)

	token := newRevocation(ns, "token", v1alpha1.TokenRevocationSpec{TokenID: "j"})
	create(t, token)
	created := time.Now()
	got := wantRevocation(t, token, v1alpha1.ConditionEnforced, yes, v1alpha1.ReasonEnforced)
	t.Logf("a revocation had the condition Enforced after %s", time.Since(created))
	wantRevoked(t, revoked, "token", "user-42")
	if s := got.Status; s.EnforcedTime == nil || s.Sidecars.Summary != "1/1" || !slices.Equal(s.Policies, []string{"accounts"}) ||
		!s.Expires.Equal(&metav1.Time{Time: got.CreationTimestamp.Add(2 * time.Hour)}) {
		t.Errorf("the status is %+v", s)
	}

	change(t, token, func(r *v1alpha1.TokenRevocation) {
		r.Spec.Expires = &metav1.Time{Time: time.Now().Add(2 * time.Second)}
	})
	wantRevocation(t, token, v1alpha1.ConditionEnforced, no, v1alpha1.ReasonExpired)
	wantRevoked(t, revoked, "user-42")
	if err := shared.Delete(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	wantRevoked(t, revoked)

	stray := newRevocation(ns, "stray", v1alpha1.TokenRevocationSpec{TokenID: "j", PolicyName: "acounts"})
	create(t, stray)
	stray = wantRevocation(t, stray, v1alpha1.ConditionAccepted, no, v1alpha1.ReasonNoPolicy)
	if m := stray.Status.Conditions[0].Message; !strings.Contains(m, `there is no policy "acounts"`) {
		t.Errorf("Accepted says %q", m)
	}
	wantEvents(t, ns, v1alpha1.ReasonEnforced, v1alpha1.ReasonExpired, v1alpha1.ReasonNoPolicy)
}

// TestManyTokenRevocations checks that many revocations at once reach a sidecar, and that each gets the condition Enforced.
func TestManyTokenRevocations(t *testing.T) {
	startOperator(t)
	ns := newNamespace(t, "many", enabled())
	create(t, accepting(ns, "accounts"))
	pod := newPod(ns, "accounts-1", "accounts")
	create(t, pod)
	revoked := running(t, sidecarOf(t, pod), tokenOf(t, ns, pod, compiled.OperatorAudience))
	const n = 150
	for i := range n {
		create(t, newRevocation(ns, fmt.Sprintf("r%03d", i), v1alpha1.TokenRevocationSpec{TokenID: fmt.Sprint(i)}))
	}
	eventually(t, "all are enforced", func() error {
		list := &v1alpha1.TokenRevocationList{}
		if err := shared.List(t.Context(), list, client.InNamespace(ns)); err != nil {
			return err
		}
		enforced := 0
		for _, r := range list.Items {
			if meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionEnforced) {
				enforced++
			}
		}
		if enforced < n {
			return fmt.Errorf("%d of %d are", enforced, n)
		}
		return nil
	})
	if got := len(revoked()); got != n {
		t.Errorf("the sidecar refuses %d tokens, want %d", got, n)
	}
}
