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

// apiServer is as much of one as the command needs: it takes a TokenRevocation, and gives it one status after the other.
type apiServer struct {
	url      string
	mu       sync.Mutex
	object   *v1alpha1.TokenRevocation
	statuses []v1alpha1.TokenRevocationStatus
	refuse   int // the status that a creation is answered with; 0 for 201
	hide     int // the status that a look is answered with; 0 for 200
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

// kubeconfig is one for the server, in namespace shop.
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

// says is a status of the object's first generation with that condition Enforced.
func says(status metav1.ConditionStatus, reason, message string) v1alpha1.TokenRevocationStatus {
	return v1alpha1.TokenRevocationStatus{
		ObservedGeneration: 1, Policies: []string{"accounts", "shop"}, Sidecars: &v1alpha1.SidecarCounts{Matched: 5, Current: 5, Summary: "5/5"},
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionEnforced, Status: status, Reason: reason, Message: message}},
	}
}

func TestRevoke(t *testing.T) {
	outdated, enforced := says("False", "PodsOutdated", "1 pod does not have it yet: a"), says("True", "Enforced", "")
	tests := map[string]struct {
		statuses []v1alpha1.TokenRevocationStatus
		refuse   int
		hide     int
		hang     time.Duration
		args     []string
		want     string // a pattern of what is printed
		wantErr  string // a pattern of the error
	}{
		"proved": {
			statuses: []v1alpha1.TokenRevocationStatus{{}, outdated, enforced},
			want:     `^tokenrevocation/subject-user-42-[a-z0-9]{5} created in namespace shop\nenforced after \S+s: 5/5 sidecars of accounts, shop\n$`,
		},
		"not proved in time": {
			statuses: []v1alpha1.TokenRevocationStatus{outdated}, args: []string{"--wait", "300ms"},
			want: `created in namespace shop\n$`, wantErr: `^not known to be enforced after \S+s: PodsOutdated: 1 pod does not have it yet: a$`,
		},
		"nobody looks at it": {args: []string{"--wait", "300ms"}, want: `created`, wantErr: `no operator has looked at it yet$`},
		"of no policy": {
			statuses: []v1alpha1.TokenRevocationStatus{says("False", "NoPolicy", "there is no policy")}, want: `created`, wantErr: `NoPolicy: there is no policy$`,
		},
		"not waited for":      {args: []string{"--wait", "0"}, want: `created in namespace shop\n$`},
		"forbidden":           {refuse: http.StatusForbidden, want: `^$`, wantErr: `^creating token revocation: not you$`},
		"out of sight":        {hide: http.StatusForbidden, want: `created`, wantErr: `^not known to be enforced after \S+s: whether it is cannot be seen, though it was created: not you$`},
		"no answer":           {hang: time.Second, args: []string{"--request-timeout", "100ms"}, want: `^$`, wantErr: `^creating token revocation: .*(Client.Timeout|deadline exceeded)`},
		"with a name":         {statuses: []v1alpha1.TokenRevocationStatus{enforced}, args: []string{"--name", "x"}, want: `^tokenrevocation/x created`},
		"as YAML":             {statuses: []v1alpha1.TokenRevocationStatus{enforced}, args: []string{"-o", "yaml", "--name", "x"}, want: `(?s)^apiVersion: postern.dev/v1alpha1\nkind: TokenRevocation\n.*summary: 5/5\n$`},
		"as something else":   {args: []string{"-o", "json"}, want: `^$`, wantErr: `not yaml`},
		"a context in vain":   {args: []string{"--context", "x"}, want: `^$`, wantErr: `reading kubeconfig`},
		"in another of which": {args: []string{"-n", "elsewhere"}, want: `^$`, wantErr: `creating token revocation`},
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

// TestRevokeCreates: the object says what the flags say, and with --dry-run is printed alone.
func TestRevokeCreates(t *testing.T) {
	s := newAPIServer(t, says("True", "Enforced", ""))
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

// tokenWith is a JWT with those claims, signed with nothing that matters.
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
		"from standard input":                  {token: good + "\n", args: []string{"--token", "-"}},
		"as a header has it":                   {token: "Bearer " + good, args: []string{"--token", "-"}},
		"from a file":                          {args: []string{"--token-file", file}},
		"of that issuer":                       {token: good, args: []string{"--token", "-", "--issuer", "https://i"}},
		"that lives long":                      {token: tokenWith(t, jwt.MapClaims{"jti": "A/b-c", "iss": "https://i", "exp": late.Unix()}), args: []string{"--token", "-"}, wantExpires: late.Add(time.Hour)},
		"of another issuer":                    {token: good, args: []string{"--token", "-", "--issuer", "https://j"}, wantErr: "not of the --issuer"},
		"without a jti":                        {token: tokenWith(t, jwt.MapClaims{"iss": "i"}), args: []string{"--token", "-"}, wantErr: "no jti"},
		"that is none":                         {token: "abc.def", args: []string{"--token", "-"}, wantErr: "not a JWT"},
		"on the command line, where it leaks":  {args: []string{"--token", good}, wantErr: "--token is - alone"},
		"from a file that is not there":        {args: []string{"--token-file", "absent"}, wantErr: "absent"},
		"beside its jti":                       {token: good, args: []string{"--token", "-", "--token-id", "A"}, wantErr: "exactly one of"},
		"issued before a time, which it is no": {token: good, args: []string{"--token", "-", "--issued-before", "2026-01-31T12:00:00Z"}, wantErr: "goes with --subject"},
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
		"nothing":               {nil, "exactly one of"},
		"two things":            {[]string{"--subject", "a", "--key-id", "k"}, "exactly one of"},
		"no time":               {[]string{"--subject", "a", "--issued-before", "yesterday"}, `--issued-before "yesterday" is not a time`},
		"no expiry":             {[]string{"--subject", "a", "--expires", "soon"}, `--expires "soon" is not a time`},
		"a cluster's flag":      {[]string{"--subject", "a", "--server", "http://127.0.0.1:1", "-n", "shop"}, "--namespace means nothing with --server"},
		"a key for a time":      {[]string{"--key-id", "k", "--expires", "2026-01-31T12:00:00Z"}, "--expires does not go with --key-id"},
		"a server that is none": {[]string{"--subject", "a", "--server", "127.0.0.1:1"}, "is not a URL"},
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
		args    []string
		status  int
		answer  string
		want    map[string]string // of the request
		wantOut string
		wantErr string
	}{
		"a subject": {
			args: []string{"--subject", "ada"}, status: 200, answer: `{"revoked":3}`, wantOut: "revoked: 3\n",
			want: map[string]string{"subject": "ada"},
		},
		"a token": {
			args: []string{"--token-id", "j", "--issuer", "https://i"}, status: 200, answer: `{"revoked":1}`, wantOut: "revoked: 1\n",
			want: map[string]string{"token_id": "j", "issuer": "https://i"},
		},
		"a subject, up to a time": {
			args: []string{"--subject", "ada", "--issued-before", "2026-01-31T12:00:00.5Z", "--expires", "2026-02-01T00:00:00Z"}, status: 200,
			answer: `{"revoked":3}`, wantOut: "revoked: 3\n",
			want: map[string]string{"subject": "ada", "issued_before": "2026-01-31T12:00:00.5Z", "expires": "2026-02-01T00:00:00Z"},
		},
		"a session": {
			args: []string{"--session-id", "s"}, status: 200, answer: `{"revoked":0}`, wantOut: "revoked: 0\n",
			want: map[string]string{"session_id": "s"},
		},
		"a key": {
			args: []string{"--key-id", "k"}, status: 200, answer: `{"revoked":1}`, wantOut: "revoked: 1\n",
			want: map[string]string{"key_id": "k"},
		},
		"refused": {
			args: []string{"--key-id", "k"}, status: 400, answer: `{"detail":"The issuer is not one of the policy's."}`,
			want: map[string]string{"key_id": "k"}, wantErr: "the sidecar answers 400 Bad Request: The issuer is not one of the policy's",
		},
		"something else": {
			args: []string{"--key-id", "k"}, status: 200, answer: `<html>`,
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
				fmt.Fprint(w, tt.answer)
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
	if _, _, err := run(t, "", "revoke", "--key-id", "k", "--server", "http://127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "asking the sidecar") {
		t.Errorf("a server that is away: %v", err)
	}
}
