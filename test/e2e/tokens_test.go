//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// testTokens: an app that checks a password logs its user in with one header, for both of its pods at once.
func testTokens(t *testing.T) {
	s := newShop(t, v1alpha1.InterceptRedirect, nil)
	t.Run("oneForBoth", func(t *testing.T) { testLogin(t, s) })
	t.Run("devices", func(t *testing.T) { testDevices(t, s) })
	t.Run("refresh", func(t *testing.T) { testRefresh(t, s) })
	t.Run("discovery", func(t *testing.T) { testDiscovery(t, s) })
	t.Run("revocationByManifest", func(t *testing.T) { testTokenRevocation(t, s) })
	t.Run("revocationByCommand", func(t *testing.T) { testRevokeCommand(t, s) })
	t.Run("sessionsByCommand", func(t *testing.T) { testSessionsCommand(t, s) })
	t.Run("loopback", func(t *testing.T) { testLoopback(t, s) })
	t.Run("keyRotation", func(t *testing.T) { testKeyRotation(t, s) })
	s.hasCondition("accounts", v1alpha1.ConditionVaultReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	s.hasCondition("accounts", v1alpha1.ConditionSigningKeyReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func testLogin(t *testing.T, s *shop) {
	tk := s.mustLogin(t, s.urls[0], "ada", firefox)
	saw := get(t, s.urls[1]+"/whoami", bearer(tk.Access), "X-Auth-Subject: root", "Postern-Subject: root").wantStatus(t, http.StatusOK).seen(t)
	if got := saw.Headers["X-Auth-Subject"]; !slices.Equal(got, []string{"ada"}) {
		t.Errorf("the app saw X-Auth-Subject %v", got)
	}
	for name := range saw.Headers {
		if strings.HasPrefix(name, "Postern-") || name == "Authorization" {
			t.Errorf("the app saw %s", name)
		}
	}
	got := do(t, http.MethodPost, s.urls[0]+"/login", `{"user":"ada","password":"wrong"}`)
	if got.status != http.StatusUnauthorized || strings.Contains(got.body, "access_token") {
		t.Errorf("a wrong password: %d %s", got.status, got.body)
	}
	get(t, s.urls[1]+"/whoami").wantStatus(t, http.StatusUnauthorized)

	do(t, http.MethodPost, s.urls[1]+"/auth/logout", "", bearer(tk.Access)).wantStatus(t, http.StatusNoContent)
	s.refusedBy(t, tk.Access, "token-revoked")
	if _, got := s.refresh(t, s.urls[0], tk.Refresh); got.status != http.StatusBadRequest || !strings.Contains(got.body, "invalid_grant") {
		t.Errorf("a refresh after the logout: %d %s", got.status, got.body)
	}
}

// sessionView is one session in a user's own list.
type sessionView struct {
	ID      string
	Current bool
	Browser string
	OS      string
	Address string
}

func (s *shop) sessions(t *testing.T, url, token string) []sessionView {
	t.Helper()
	var list struct{ Sessions []sessionView }
	got := get(t, url+"/auth/sessions", bearer(token)).wantStatus(t, http.StatusOK)
	if err := json.Unmarshal([]byte(got.body), &list); err != nil {
		t.Fatalf("reading sessions: %v: %s", err, got.body)
	}
	return list.Sessions
}

// testDevices: the fourth device evicts the first. The user sees the others and ends one.
func testDevices(t *testing.T, s *shop) {
	first := s.mustLogin(t, s.urls[0], "grace", firefox)
	second := s.mustLogin(t, s.urls[1], "grace", chrome)
	s.mustLogin(t, s.urls[0], "grace", safari)
	get(t, s.urls[1]+"/whoami", bearer(first.Access)).wantStatus(t, http.StatusOK)
	fourth := s.mustLogin(t, s.urls[1], "grace", "curl/8.0")
	s.refusedBy(t, first.Access, "token-revoked")

	list := s.sessions(t, s.urls[0], fourth.Access)
	var names []string
	for _, v := range list {
		names = append(names, fmt.Sprintf("%s on %s, current %t", v.Browser, v.OS, v.Current))
		if v.Address == "" {
			t.Errorf("session %+v has no address", v)
		}
	}
	slices.Sort(names)
	want := []string{"Chrome on Windows, current false", "Safari on iOS, current false", "curl on , current true"}
	if !slices.Equal(names, want) {
		t.Errorf("sessions %q; want %q", names, want)
	}
	for _, v := range list {
		if v.Browser == "Chrome" {
			do(t, http.MethodDelete, s.urls[0]+"/auth/sessions/"+v.ID, "", bearer(fourth.Access)).wantStatus(t, http.StatusNoContent)
		}
	}
	s.refusedBy(t, second.Access, "token-revoked")
	stranger := s.mustLogin(t, s.urls[0], "eve", firefox)
	do(t, http.MethodDelete, s.urls[0]+"/auth/sessions/"+list[0].ID, "", bearer(stranger.Access)).wantStatus(t, http.StatusNotFound)

	do(t, http.MethodPost, s.urls[1]+"/auth/logout-all", "", bearer(fourth.Access)).wantStatus(t, http.StatusNoContent)
	s.refusedBy(t, fourth.Access, "token-revoked")
	get(t, s.urls[0]+"/whoami", bearer(stranger.Access)).wantStatus(t, http.StatusOK)
}

// testRefresh: a lost response does not count as theft. Reuse ends the family.
func testRefresh(t *testing.T, s *shop) {
	tk := s.mustLogin(t, s.urls[0], "alan", firefox)
	next, got := s.refresh(t, s.urls[1], tk.Refresh)
	if got.status != http.StatusOK || next.Refresh == tk.Refresh {
		t.Fatalf("refresh: %d %s", got.status, got.body)
	}
	again, got := s.refresh(t, s.urls[0], tk.Refresh)
	if got.status != http.StatusOK || again.Refresh != next.Refresh {
		t.Errorf("a retry within the grace: %d, the same token: %t", got.status, again.Refresh == next.Refresh)
	}
	last, got := s.refresh(t, s.urls[0], next.Refresh)
	if got.status != http.StatusOK {
		t.Fatalf("second refresh: %d %s", got.status, got.body)
	}
	time.Sleep(11 * time.Second) // refreshGrace, by the clock of Redis
	if _, got := s.refresh(t, s.urls[1], tk.Refresh); got.status != http.StatusBadRequest {
		t.Errorf("reuse: %d %s", got.status, got.body)
	}
	s.refusedBy(t, last.Access, "token-revoked")
	if _, got := s.refresh(t, s.urls[0], last.Refresh); got.status != http.StatusBadRequest {
		t.Errorf("the family is still valid after reuse: %d %s", got.status, got.body)
	}
}

// oidcContext makes a library fetch the issuer's URLs from one pod.
func (s *shop) oidcContext(t *testing.T, url string) context.Context {
	host := strings.TrimPrefix(url, "http://")
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, host)
	}}
	return oidc.ClientContext(t.Context(), &http.Client{Transport: plain{transport}, Timeout: 10 * time.Second})
}

// plain sends HTTPS requests as HTTP, because the tests have no ingress that terminates TLS.
type plain struct{ *http.Transport }

func (p plain) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme = "http"
	return p.Transport.RoundTrip(r)
}

// testDiscovery: a third-party library verifies our tokens with our discovery and keys.
func testDiscovery(t *testing.T, s *shop) {
	tk := s.mustLogin(t, s.urls[0], "edsger", firefox)
	ctx := s.oidcContext(t, s.urls[1])
	provider, err := oidc.NewProvider(ctx, shopIssuer)
	if err != nil {
		t.Fatalf("discovering: %v", err)
	}
	verified, err := provider.Verifier(&oidc.Config{ClientID: "shop"}).Verify(ctx, tk.Access)
	if err != nil {
		t.Fatalf("verifying: %v", err)
	}
	if verified.Subject != "edsger" || verified.Issuer != shopIssuer {
		t.Errorf("verified %+v", verified)
	}
	if _, err := provider.Verifier(&oidc.Config{ClientID: "billing"}).Verify(ctx, tk.Access); err == nil {
		t.Error("it is valid for another audience")
	}
}

const revokedSubject = `
apiVersion: postern.dev/v1alpha1
kind: TokenRevocation
metadata: {name: NAME}
spec: {subject: SUBJECT, policyName: accounts, reason: laptop stolen}
`

// testTokenRevocation: tokens that a TokenRevocation names are refused by both pods, and the status says when.
func testTokenRevocation(t *testing.T, s *shop) {
	s = &shop{space: s.in(t), vault: s.vault, urls: s.urls}
	tk, other := s.mustLogin(t, s.urls[0], "mallory", firefox), s.mustLogin(t, s.urls[0], "alice", firefox)
	stream := events(t, s.urls[1]+"/sse?events=2&ms=3600000", bearer(tk.Access))
	start := time.Now()
	s.apply(revokedSubject, "NAME", "mallory", "SUBJECT", "mallory")
	s.refusedBy(t, tk.Access, "token-revoked")
	took := since(start)
	s.revoked("mallory", "2/2")
	measured(t, "kubectl apply of a TokenRevocation to the refusal by the last of 2 pods: %s", took)
	if rest, err := io.ReadAll(stream.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the stream of the revoked user did not end: %q, %v", rest, err)
	}
	measured(t, "kubectl apply of a TokenRevocation to the end of an open stream: %s", since(start))
	if _, got := s.refresh(t, s.urls[1], tk.Refresh); got.status != http.StatusBadRequest {
		t.Errorf("a refresh of the revoked user: %d %s", got.status, got.body)
	}
	get(t, s.urls[1]+"/whoami", bearer(other.Access)).wantStatus(t, http.StatusOK)
	time.Sleep(time.Second) // iat has whole seconds
	again := s.mustLogin(t, s.urls[1], "mallory", firefox)
	get(t, s.urls[0]+"/whoami", bearer(again.Access)).wantStatus(t, http.StatusOK)
	if list := s.sessions(t, s.urls[0], again.Access); len(list) != 1 {
		t.Errorf("%d sessions are left; want only the new one", len(list))
	}
	s.enforced("accounts", 2)
}

// testRevokeCommand: `postern revoke` ends only after every sidecar refuses the token.
func testRevokeCommand(t *testing.T, s *shop) {
	tk := s.mustLogin(t, s.urls[1], "trudy", firefox)
	out, err := exec.Command(postern(t), "revoke", "--subject", "trudy", "--namespace", s.name, "--wait", "60s").CombinedOutput()
	if err != nil {
		t.Fatalf("postern revoke: %v: %s", err, out)
	}
	for _, url := range s.urls {
		get(t, url+"/whoami", bearer(tk.Access)).wantStatus(t, http.StatusUnauthorized)
	}
}

// testSessionsCommand: `postern sessions` lists and ends a user's sessions, by a port-forward.
func testSessionsCommand(t *testing.T, s *shop) {
	postern := func(args ...string) string {
		out, err := exec.Command("go", append([]string{"run", "../../cmd/postern", "sessions"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("postern sessions %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	tk := s.mustLogin(t, s.urls[0], "hopper", firefox)
	where := []string{"--subject", "hopper", "--namespace", s.name, "--policy", "accounts"}
	if out := postern(append([]string{"list"}, where...)...); !strings.Contains(out, "Firefox") || strings.Count(out, "\n") != 2 {
		t.Errorf("it lists\n%s", out)
	}
	if out := postern(append([]string{"end"}, where...)...); out != "ended: 1\n" {
		t.Errorf("it ends %s", out)
	}
	s.refusedBy(t, tk.Access, "token-revoked")
	if out := postern(append([]string{"list"}, where...)...); out != "no sessions\n" {
		t.Errorf("then it lists\n%s", out)
	}
}

// revoked waits until a TokenRevocation is reported as active in every sidecar.
func (s *space) revoked(name, summary string) *v1alpha1.TokenRevocation {
	s.t.Helper()
	r := &v1alpha1.TokenRevocation{}
	eventually(s.t, "waiting for TokenRevocation "+name, func() error {
		if err := s.c.Get(s.t.Context(), s.key(name), r); err != nil {
			return err
		}
		c := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionEnforced)
		if c == nil || c.Status != metav1.ConditionTrue || r.Status.Sidecars == nil || r.Status.Sidecars.Summary != summary || r.Status.EnforcedTime == nil {
			return fmt.Errorf("its status is %+v", r.Status)
		}
		return nil
	})
	return r
}

// testLoopback: only the app can reach its own API.
func testLoopback(t *testing.T, s *shop) {
	pods := s.pods("accounts")
	// kubectl exec runs in the app's container, and so in the pod's network.
	out, err := s.ask(&pods[0], "-X", "POST", "-H", "Content-Type: application/json", "-H", "Postern-Request: true", "-d", `{"subject":"donald","claims":{"roles":["author"]}}`, "http://127.0.0.1:15992/v1/tokens")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(strings.ReplaceAll(out, "\r\n", "\n"), "\n\n")
	var issued struct {
		Access  string `json:"access_token"`
		Session string `json:"session_id"`
	}
	if err := json.Unmarshal([]byte(body), &issued); err != nil || issued.Access == "" {
		t.Fatalf("issuing by the loopback API: %v: %s", err, out)
	}
	get(t, s.urls[1]+"/whoami", bearer(issued.Access)).wantStatus(t, http.StatusOK)
	if out, err = s.ask(&pods[1], "-X", "DELETE", "-H", "Postern-Request: true", "http://127.0.0.1:15992/v1/sessions/"+issued.Session); err != nil || !strings.Contains(out, "204") {
		t.Errorf("ending a session by the other pod's loopback API: %v: %s", err, out)
	}
	s.refusedBy(t, issued.Access, "token-revoked")
	for i := range pods {
		if got, err := send(t, http.MethodGet, podURL(&pods[i], 15992)+"/openapi.json", ""); err == nil {
			t.Errorf("the loopback API responds at the pod's address: %d %.200q", got.status, got.body)
		}
	}
}

// keys returns the kids that a pod publishes.
func (s *shop) keys(t *testing.T, url string) []string {
	t.Helper()
	var set struct{ Keys []struct{ Kid string } }
	got := get(t, url+"/.well-known/jwks.json").wantStatus(t, http.StatusOK)
	if err := json.Unmarshal([]byte(got.body), &set); err != nil {
		t.Fatal(err)
	}
	var kids []string
	for _, k := range set.Keys {
		kids = append(kids, k.Kid)
	}
	return kids
}

// testKeyRotation: a key that is rotated in Vault is published before it signs, and no request fails.
func testKeyRotation(t *testing.T, s *shop) {
	early := s.mustLogin(t, s.urls[0], "radia", firefox)
	before := s.keys(t, s.urls[0])
	s.vault.rotate(t, s.name)
	start := time.Now()
	for _, url := range s.urls {
		eventually(t, "waiting for the next key at "+url, func() error {
			if kids := s.keys(t, url); len(kids) != len(before)+1 {
				return fmt.Errorf("it publishes %v", kids)
			}
			return nil
		})
	}
	published := since(start)
	if got := kidOf(t, s.mustLogin(t, s.urls[1], "barbara", firefox).Access); got != before[0] {
		t.Errorf("the new key signs at once: %s", got)
	}
	eventually(t, "waiting for the next key to sign", func() error {
		for _, url := range s.urls {
			if kidOf(t, s.mustLogin(t, url, "barbara", firefox).Access) == before[0] {
				return fmt.Errorf("%s signs with the old one", url)
			}
		}
		return nil
	})
	measured(t, "a key rotated in Vault: published by both pods after %s, signing in both after %s", published, since(start))
	for _, url := range s.urls {
		get(t, url+"/whoami", bearer(early.Access)).wantStatus(t, http.StatusOK) // the old key verifies what it has signed
	}
	if next, got := s.refresh(t, s.urls[0], early.Refresh); got.status != http.StatusOK || kidOf(t, next.Access) == before[0] {
		t.Errorf("a refresh after the rotation: %d", got.status)
	}
	for _, url := range s.urls {
		fresh := s.mustLogin(t, url, "barbara", firefox)
		for _, other := range s.urls {
			get(t, other+"/whoami", bearer(fresh.Access)).wantStatus(t, http.StatusOK)
		}
	}
}

// kidOf reads the kid from the header of a token.
func kidOf(t *testing.T, token string) string {
	t.Helper()
	var header struct{ Kid string }
	if err := decodePart(token, 0, &header); err != nil {
		t.Fatal(err)
	}
	return header.Kid
}
