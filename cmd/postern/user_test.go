//go:build !nocluster

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestUser asks an API server who the user of the kubeconfig is.
func TestUser(t *testing.T) {
	const review = `{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1","status":{"userInfo":{"username":"ada@example.com"}}}`
	for name, tt := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"a user":          {201, review, "ada@example.com"},
		"an older server": {404, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":404}`, ""},
		"no permission":   {403, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":403}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPost || r.URL.Path != "/apis/authentication.k8s.io/v1/selfsubjectreviews" {
					t.Errorf("%s %s", r.Method, r.URL.Path)
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer server.Close()
			a := &access{kubeconfig: (&apiServer{url: server.URL}).kubeconfig(t)}
			if got := a.user(t.Context()); got != tt.want {
				t.Errorf("%q; want %q", got, tt.want)
			}
		})
	}
	if got := (&access{kubeconfig: "/none"}).user(t.Context()); got != "" {
		t.Errorf("without a kubeconfig: %q", got)
	}
}

// TestAs: the commands that call the loopback API tell it who acts.
func TestAs(t *testing.T) {
	for command, response := range map[string]string{
		"unlock --account ada":          `{"shared":true}`,
		"sessions end --subject ada":    `{"ended":1}`,
		"sessions end --session-id abc": ``,
		"revoke --subject ada":          `{"revoked":1}`,
	} {
		for _, as := range []string{"", "oncall@example.com"} {
			got := []string{"not called"}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r.Header["Postern-Performed-By"]
				if response == "" {
					w.WriteHeader(http.StatusNoContent)
				}
				_, _ = io.WriteString(w, response)
			}))
			args := append(strings.Fields(command), "--server", server.URL)
			if as != "" {
				args = append(args, "--as", as)
			}
			_, _, err := run(t, "", args...)
			server.Close()
			if err != nil || strings.Join(got, ",") != as || as == "" && got != nil {
				t.Errorf("%s --as %q: %q, %v", command, as, got, err)
			}
		}
	}
	if _, _, err := run(t, "", "revoke", "--subject", "ada", "--as", "ada", "-n", "shop"); err == nil || !strings.Contains(err.Error(), "--server only") {
		t.Errorf("--as in a cluster: %v", err)
	}
}
