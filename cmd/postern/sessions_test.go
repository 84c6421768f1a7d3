package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/render"
)

const oneSession = `{"sessions":[{"id":"7CBn8fh45_zgZ4y6ErSZ0w","browser":"Fire\u001b[31mfox","os":"Linux","address":"192.0.2.7",` +
	`"first_seen":"2026-11-25T20:03:22Z","last_seen":"2026-11-25T21:03:22Z","expires":"2026-11-26T20:03:22Z"}]}`

func TestSessions(t *testing.T) {
	tests := map[string]struct {
		args     []string
		status   int
		response string
		// want is the request. wantOut are parts of the output.
		want    string
		wantOut []string
		wantErr string
	}{
		"list": {
			args: []string{"list", "--subject", "a/b ü"}, status: 200, response: oneSession, want: "GET /v1/subjects/a%2Fb%20%C3%BC/sessions",
			wantOut: []string{"SESSION", "7CBn8fh45_zgZ4y6ErSZ0w   Fire\\x1b[31mfox, Linux   192.0.2.7   2026-11-2"},
		},
		"list, as JSON": {
			args: []string{"list", "--subject", "ada", "-o", "json"}, status: 200, response: oneSession, want: "GET /v1/subjects/ada/sessions", wantOut: []string{oneSession},
		},
		"list, of an external issuer": {
			args: []string{"list", "--subject", "ada", "--issuer", "https://id?a"}, status: 200, response: `{"sessions":[]}`,
			want: "GET /v1/subjects/ada/sessions?issuer=https%3A%2F%2Fid%3Fa", wantOut: []string{"no sessions\n"},
		},
		"list, of an issuer that is not accepted": {
			args: []string{"list", "--subject", "ada", "--issuer", "x"}, status: 422, response: `{"detail":"The policy accepts no tokens of this issuer."}`,
			want: "GET /v1/subjects/ada/sessions?issuer=x", wantErr: "422 Unprocessable Entity: The policy accepts no tokens of this issuer",
		},
		"end all": {
			args: []string{"end", "--subject", "ada"}, status: 200, response: `{"ended":2}`, want: "DELETE /v1/subjects/ada/sessions", wantOut: []string{"ended: 2\n"},
		},
		"end one": {args: []string{"end", "--session-id", "s"}, status: 204, want: "DELETE /v1/sessions/s", wantOut: []string{"ended: 1\n"}},
		"end a missing session": {
			args: []string{"end", "--session-id", "s"}, status: 404, response: `{"detail":"There is no such session."}`,
			want: "DELETE /v1/sessions/s", wantErr: "404 Not Found: There is no such session",
		},
		"not a loopback API": {
			args: []string{"end", "--subject", "ada"}, status: 200, response: "<html>", want: "DELETE /v1/subjects/ada/sessions", wantErr: "not a sidecar's loopback API",
		},
		"not a loopback API, one session": {
			args: []string{"end", "--session-id", "s"}, status: 200, response: "<html>", want: "DELETE /v1/sessions/s", wantErr: "not a sidecar's loopback API",
		},
		"another API":              {args: []string{"end", "--subject", "ada"}, status: 200, response: "{}", want: "DELETE /v1/subjects/ada/sessions", wantErr: "not a sidecar's loopback API"},
		"no subject":               {args: []string{"list"}, wantErr: "--subject is required"},
		"both":                     {args: []string{"end", "--subject", "a", "--session-id", "s"}, wantErr: "exactly one"},
		"an issuer with a session": {args: []string{"end", "--session-id", "s", "--issuer", "i"}, wantErr: "--issuer needs --subject"},
		"neither":                  {args: []string{"end"}, wantErr: "exactly one"},
		"another output format":    {args: []string{"list", "--subject", "a", "-o", "xml"}, wantErr: "is not json"},
		"a policy":                 {args: []string{"list", "--subject", "a", "--policy", "p"}, wantErr: "--policy cannot be used with --server"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r.Method + " " + r.RequestURI
				if r.Header.Get("Postern-Request") != "true" {
					t.Error("the header of the loopback API is missing")
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.response)
			}))
			defer server.Close()
			out, _, err := run(t, "", append(append([]string{"sessions"}, tt.args...), "--server", server.URL)...)
			if (err != nil) != (tt.wantErr != "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error %v; want %q", err, tt.wantErr)
			}
			if got != tt.want {
				t.Errorf("the request is %q; want %q", got, tt.want)
			}
			for _, part := range tt.wantOut {
				if !strings.Contains(out, part) {
					t.Errorf("it prints %q; want %q", out, part)
				}
			}
		})
	}
}

func TestChoose(t *testing.T) {
	pod := func(name, policy string, ready corev1.ConditionStatus) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
		if policy != "" {
			p.Spec.InitContainers = []corev1.Container{{Name: render.SidecarName, Env: []corev1.EnvVar{{Name: compiled.EnvPolicy, Value: policy}}}}
		}
		return p
	}
	terminating := pod("terminating", "accounts", corev1.ConditionTrue)
	terminating.DeletionTimestamp = &metav1.Time{}
	pods := []corev1.Pod{
		pod("bare", "", corev1.ConditionTrue), pod("unready", "accounts", corev1.ConditionFalse), terminating,
		pod("accounts", "accounts", corev1.ConditionTrue), pod("orders", "orders", corev1.ConditionTrue),
	}
	tests := map[string]struct {
		pods          []corev1.Pod
		policy        string
		want, wantErr string
	}{
		"named":           {pods, "accounts", "accounts", ""},
		"unknown policy":  {pods, "billing", "", `no ready pod runs the policy "billing"`},
		"only one policy": {pods[:4], "", "accounts", ""},
		"several":         {pods, "", "", "set --policy, because pods run several policies: accounts, orders"},
		"none is ready":   {pods[:3], "", "", "no ready pod has a sidecar"},
		"no pods":         {nil, "", "", "no ready pod has a sidecar"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := choose(tt.pods, tt.policy)
			if err != nil && err.Error() != tt.wantErr || err == nil && (tt.wantErr != "" || got.Name != tt.want) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}
