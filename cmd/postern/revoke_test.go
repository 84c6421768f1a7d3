package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
)

// apiServer is a minimal API server for the command: it accepts a TokenRevocation, and returns it with one status after the other.
type apiServer struct {
	url      string
	mu       sync.Mutex
	object   *v1alpha1.TokenRevocation
	statuses []v1alpha1.TokenRevocationStatus
	refuse   int // status of the response to a creation; 0 for 201
	hide     int // status of the response to a read; 0 for 200
	hang     time.Duration
}

func newAPIServer(t *testing.T, statuses ...v1alpha1.TokenRevocationStatus) *apiServer {
	t.Helper()
	s := &apiServer{statuses: statuses}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.serve(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *apiServer) serve(w http.ResponseWriter, r *http.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	const path = "/apis/postern.dev/v1alpha1/namespaces/shop/tokenrevocations"
	w.Header().Set("Content-Type", "application/json")
	time.Sleep(s.hang)
	switch {
	case r.Method == http.MethodPost && r.URL.Path == path && s.refuse > 0:
		return failure(w, s.refuse)
	case r.Method == http.MethodGet && s.hide > 0:
		return failure(w, s.hide)
	case r.Method == http.MethodPost && r.URL.Path == path:
		s.object = &v1alpha1.TokenRevocation{}
		if err := json.NewDecoder(r.Body).Decode(s.object); err != nil {
			return err
		}
		s.object.UID, s.object.Generation = "u", 1
		w.WriteHeader(http.StatusCreated)
		return json.NewEncoder(w).Encode(s.object)
	case r.Method == http.MethodGet && s.object != nil && r.URL.Path == path+"/"+s.object.Name:
		if len(s.statuses) > 0 {
			s.object.Status, s.statuses = s.statuses[0], s.statuses[1:]
		}
		return json.NewEncoder(w).Encode(s.object)
	}
	return fmt.Errorf("%s %s is not expected", r.Method, r.URL.Path)
}

func failure(w http.ResponseWriter, code int) error {
	reason := metav1.StatusReason("")
	if code == http.StatusForbidden {
		reason = metav1.StatusReasonForbidden
	}
	w.WriteHeader(code)
	return json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Message: "not you", Reason: reason, Code: int32(code),
	})
}

// kubeconfig writes a kubeconfig for the server, with namespace shop.
func (s *apiServer) kubeconfig(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u, namespace: shop}}],
  clusters: [{name: c, cluster: {server: %q}}], users: [{name: u, user: {}}]}`, s.url)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// statusOf returns a status of the object's first generation with this condition Enforced.
func statusOf(status metav1.ConditionStatus, reason, message string) v1alpha1.TokenRevocationStatus {
	return v1alpha1.TokenRevocationStatus{
		ObservedGeneration: 1, Policies: []string{"accounts", "shop"}, Sidecars: &v1alpha1.SidecarCounts{Matched: 5, Current: 5, Summary: "5/5"},
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionEnforced, Status: status, Reason: reason, Message: message}},
	}
}

func TestRevoke(t *testing.T) {
	outdated, enforced := statusOf("False", "PodsOutdated", "1 pod does not have it yet: a"), statusOf("True", "Enforced", "")
	tests := map[string]struct {
		statuses []v1alpha1.TokenRevocationStatus
		refuse   int
		hide     int
		hang     time.Duration
		args     []string
		want     string // a pattern of the output
		wantErr  string // a pattern of the error
	}{
		"enforced": {
			statuses: []v1alpha1.TokenRevocationStatus{{}, outdated, enforced},
			want:     `^tokenrevocation/subject-user-42-[a-z0-9]{5} created in namespace shop\nenforced after \S+s: 5/5 sidecars of accounts, shop\n$`,
		},
		"not enforced in time": {
			statuses: []v1alpha1.TokenRevocationStatus{outdated}, args: []string{"--wait", "300ms"},
			want: `created in namespace shop\n$`, wantErr: `^not enforced after \S+s: PodsOutdated: 1 pod does not have it yet: a$`,
		},
		"no operator": {args: []string{"--wait", "300ms"}, want: `created`, wantErr: `no operator has reconciled it yet$`},
		"of no policy": {
			statuses: []v1alpha1.TokenRevocationStatus{statusOf("False", "NoPolicy", "there is no policy")}, want: `created`, wantErr: `NoPolicy: there is no policy$`,
		},
		"no wait":               {args: []string{"--wait", "0"}, want: `created in namespace shop\n$`},
		"forbidden":             {refuse: http.StatusForbidden, want: `^$`, wantErr: `^creating token revocation: not you$`},
		"status not readable":   {hide: http.StatusForbidden, want: `created`, wantErr: `^not enforced after \S+s: the object was created, but its status cannot be read: not you$`},
		"no response":           {hang: time.Second, args: []string{"--request-timeout", "100ms"}, want: `^$`, wantErr: `^creating token revocation: .*(Client.Timeout|deadline exceeded)`},
		"with a name":           {statuses: []v1alpha1.TokenRevocationStatus{enforced}, args: []string{"--name", "x"}, want: `^tokenrevocation/x created`},
		"as YAML":               {statuses: []v1alpha1.TokenRevocationStatus{enforced}, args: []string{"-o", "yaml", "--name", "x"}, want: `(?s)^apiVersion: postern.dev/v1alpha1\nkind: TokenRevocation\n.*summary: 5/5\n$`},
		"another output format": {args: []string{"-o", "json"}, want: `^$`, wantErr: `not yaml`},
		"unknown context":       {args: []string{"--context", "x"}, want: `^$`, wantErr: `reading kubeconfig`},
		"in another namespace":  {args: []string{"-n", "elsewhere"}, want: `^$`, wantErr: `creating token revocation`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t, tt.statuses...)
			s.refuse, s.hide, s.hang = tt.refuse, tt.hide, tt.hang
			args := append([]string{"revoke", "--subject", "user-42", "--wait", "20s", "--kubeconfig", s.kubeconfig(t)}, tt.args...)
			out, _, err := run(t, "", args...)
			if !regexp.MustCompile(tt.want).MatchString(out) {
				t.Errorf("it prints %q, want %s", out, tt.want)
			}
			if (err != nil) != (tt.wantErr != "") || err != nil && !regexp.MustCompile(tt.wantErr).MatchString(err.Error()) {
				t.Errorf("the error is %v, want %s", err, tt.wantErr)
			}
		})
	}
}

// TestRevokeCreates checks that the object's spec comes from the flags, and that --dry-run only prints it.
func TestRevokeCreates(t *testing.T) {
	s := newAPIServer(t, statusOf("True", "Enforced", ""))
	if _, _, err := run(t, "", "revoke", "--subject", "ada", "--issuer", "https://i", "--policy", "accounts", "--reason", "stolen",
		"--issued-before", "2026-01-31T12:00:00+01:00", "--kubeconfig", s.kubeconfig(t)); err != nil {
		t.Fatal(err)
	}
	before := metav1.NewTime(time.Date(2026, 1, 31, 11, 0, 0, 0, time.UTC).Local())
	want := v1alpha1.TokenRevocationSpec{Subject: "ada", Issuer: "https://i", PolicyName: "accounts", Reason: "stolen", IssuedBefore: &before}
	if diff := cmp.Diff(want, s.object.Spec); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	out, _, err := run(t, "", "revoke", "--subject", "ada", "--dry-run", "-n", "shop")
	if err != nil {
		t.Fatal(err)
	}
	var printed v1alpha1.TokenRevocation
	if err := yaml.UnmarshalStrict([]byte(out), &printed); err != nil || strings.Contains(out, "status") || printed.Kind != "TokenRevocation" {
		t.Errorf("%v:\n%s", err, out)
	}
	if at := printed.Spec.IssuedBefore; at == nil || !at.After(time.Now()) || at.After(time.Now().Add(2*time.Second)) {
		t.Errorf("issuedBefore is %v: it would move when the file is applied again", at)
	}
}

// tokenWith returns a JWT with these claims, signed with a key that does not matter.
func tokenWith(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestRevokeToken(t *testing.T) {
	late := time.Now().Add(100 * time.Hour).Truncate(time.Second)
	good := tokenWith(t, jwt.MapClaims{"jti": "A/b-c", "iss": "https://i", "sub": "ada", "exp": time.Now().Add(time.Hour).Unix()})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		token       string
		args        []string
		wantErr     string
		wantExpires time.Time
	}{
		"from standard input":    {token: good + "\n", args: []string{"--token", "-"}},
		"with the prefix Bearer": {token: "Bearer " + good, args: []string{"--token", "-"}},
		"from a file":            {args: []string{"--token-file", file}},
		"of the given issuer":    {token: good, args: []string{"--token", "-", "--issuer", "https://i"}},
		"with a long lifetime":   {token: tokenWith(t, jwt.MapClaims{"jti": "A/b-c", "iss": "https://i", "exp": late.Unix()}), args: []string{"--token", "-"}, wantExpires: late.Add(time.Hour)},
		"of another issuer":      {token: good, args: []string{"--token", "-", "--issuer", "https://j"}, wantErr: "differs from --issuer"},
		"without a jti":          {token: tokenWith(t, jwt.MapClaims{"iss": "i"}), args: []string{"--token", "-"}, wantErr: "no jti"},
		"not a JWT":              {token: "abc.def", args: []string{"--token", "-"}, wantErr: "not a JWT"},
		"on the command line":    {args: []string{"--token", good}, wantErr: "--token must be -"},
		"from a missing file":    {args: []string{"--token-file", "absent"}, wantErr: "absent"},
		"together with a jti":    {token: good, args: []string{"--token", "-", "--token-id", "A"}, wantErr: "exactly one of"},
		"with --issued-before":   {token: good, args: []string{"--token", "-", "--issued-before", "2026-01-31T12:00:00Z"}, wantErr: "needs --subject"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, stderr, err := run(t, tt.token, append([]string{"revoke", "--dry-run", "-n", "shop"}, tt.args...)...)
			if (err != nil) != (tt.wantErr != "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("error %v, want %q", err, tt.wantErr)
			}
			for _, part := range strings.Split(good, ".") {
				if strings.Contains(fmt.Sprint(out, stderr, err), part) {
					t.Errorf("a part of the token is printed: %s %s %v", out, stderr, err)
				}
			}
			var printed v1alpha1.TokenRevocation
			if err := yaml.UnmarshalStrict([]byte(out), &printed); err != nil {
				t.Fatal(err)
			}
			want := v1alpha1.TokenRevocationSpec{TokenID: "A/b-c", Issuer: "https://i"}
			if !tt.wantExpires.IsZero() {
				want.Expires = &metav1.Time{Time: tt.wantExpires}
			}
			if tt.wantErr == "" && (!cmp.Equal(want, printed.Spec) || !strings.HasPrefix(printed.Name, "token-a-b-c-")) {
				t.Errorf("%s: %s", printed.Name, cmp.Diff(want, printed.Spec))
			}
		})
	}
}

func TestRevokeFlags(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"nothing":              {nil, "exactly one of"},
		"two things":           {[]string{"--subject", "a", "--key-id", "k"}, "exactly one of"},
		"invalid time":         {[]string{"--subject", "a", "--issued-before", "yesterday"}, `--issued-before "yesterday" is not a time`},
		"invalid expiry":       {[]string{"--subject", "a", "--expires", "soon"}, `--expires "soon" is not a time`},
		"a flag for clusters":  {[]string{"--subject", "a", "--server", "http://127.0.0.1:1", "-n", "shop"}, "--namespace cannot be used with --server"},
		"a key with an expiry": {[]string{"--key-id", "k", "--expires", "2026-01-31T12:00:00Z"}, "--expires cannot be used with --key-id"},
		"invalid server":       {[]string{"--subject", "a", "--server", "127.0.0.1:1"}, "is not a URL"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := run(t, "", append([]string{"revoke"}, tt.args...)...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestObjectName(t *testing.T) {
	long := strings.Repeat("x", 39) + "/" + strings.Repeat("y", 500)
	for want, tt := range map[string]target{
		`^subject-ada-example-com-.{5}$`: {subject: "Ada@example.com"},
		`^session-9f-.{5}$`:              {sessionID: "--9F--"},
		`^token-x{39}-.{5}$`:             {tokenID: long},
		`^key-.{5}$`:                     {keyID: "ключ"},
	} {
		if got := tt.objectName(); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("the name is %q, want %s", got, want)
		}
	}
}

func TestRevokeAtServer(t *testing.T) {
	tests := map[string]struct {
		args     []string
		status   int
		response string
		want     map[string]string // of the request
		wantOut  string
		wantErr  string
	}{
		"a subject": {
			args: []string{"--subject", "ada"}, status: 200, response: `{"revoked":3}`, wantOut: "revoked: 3\n",
			want: map[string]string{"subject": "ada"},
		},
		"a token": {
			args: []string{"--token-id", "j", "--issuer", "https://i"}, status: 200, response: `{"revoked":1}`, wantOut: "revoked: 1\n",
			want: map[string]string{"token_id": "j", "issuer": "https://i"},
		},
		"a subject, up to a time": {
			args: []string{"--subject", "ada", "--issued-before", "2026-01-31T12:00:00.5Z", "--expires", "2026-02-01T00:00:00Z"}, status: 200,
			response: `{"revoked":3}`, wantOut: "revoked: 3\n",
			want: map[string]string{"subject": "ada", "issued_before": "2026-01-31T12:00:00.5Z", "expires": "2026-02-01T00:00:00Z"},
		},
		"a session": {
			args: []string{"--session-id", "s"}, status: 200, response: `{"revoked":0}`, wantOut: "revoked: 0\n",
			want: map[string]string{"session_id": "s"},
		},
		"a key": {
			args: []string{"--key-id", "k"}, status: 200, response: `{"revoked":1}`, wantOut: "revoked: 1\n",
			want: map[string]string{"key_id": "k"},
		},
		"refused": {
			args: []string{"--key-id", "k"}, status: 400, response: `{"detail":"The issuer is not one of the policy's."}`,
			want: map[string]string{"key_id": "k"}, wantErr: "the sidecar responded with 400 Bad Request: The issuer is not one of the policy's",
		},
		"not a loopback API": {
			args: []string{"--key-id", "k"}, status: 200, response: `<html>`,
			want: map[string]string{"key_id": "k"}, wantErr: "is not a sidecar's loopback API",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := map[string]string{}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				err := json.NewDecoder(r.Body).Decode(&got)
				if r.Method != http.MethodPost || r.URL.Path != "/v1/revocations" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Postern-Request") != "true" {
					err = errors.Join(err, fmt.Errorf("%s %s is not expected", r.Method, r.URL))
				}
				if err != nil {
					t.Error(err)
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.response)
			}))
			defer server.Close()
			out, _, err := run(t, "", append([]string{"revoke", "--server", server.URL + "/"}, tt.args...)...)
			if out != tt.wantOut || (err != nil) != (tt.wantErr != "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("it prints %q, error %v, want %q and %q", out, err, tt.wantOut, tt.wantErr)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("the request (-want +got):\n%s", diff)
			}
		})
	}
	if _, _, err := run(t, "", "revoke", "--key-id", "k", "--server", "http://127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "calling the sidecar") {
		t.Errorf("an unavailable server: %v", err)
	}
}
