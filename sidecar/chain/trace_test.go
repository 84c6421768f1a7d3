package chain

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// TestTraceChangesNothing: a traced chain responds like one that is not traced, and its trace names every stage up to the one that
// decided, with the status of the response.
func TestTraceChangesNothing(t *testing.T) {
	issuer := newIssuer(t)
	p := policy(issuer)
	build := func(trace bool) *Snapshot {
		c := config(t, newShared(t))
		c.Trace = trace
		s, err := Build(p, c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
	plain, traced, quiet := build(false), build(true), build(true)
	for name, tt := range map[string]struct {
		method, path, token, stage string
		header                     http.Header
	}{
		"public":       {path: "/public/x", stage: "app"},
		"closed":       {path: "/admin/x", token: issuer.token(t, "ada"), stage: "authorization"},
		"no token":     {path: "/orders", stage: "authorization"},
		"token":        {path: "/orders", token: issuer.token(t, "ada"), stage: "app"},
		"wrong token":  {path: "/orders", token: "x.y.z", stage: "authorization"},
		"dots":         {path: "/public/%2e%2e/orders", stage: "guard"},
		"TRACE":        {method: "TRACE", path: "/public/x", stage: "guard"},
		"preflight":    {method: "OPTIONS", path: "/orders", header: http.Header{"Origin": {"https://app.example.com"}, "Access-Control-Request-Method": {"GET"}}, stage: "cors-preflight"},
		"first login":  {method: "POST", path: "/login", stage: "app"},
		"second login": {method: "POST", path: "/login", stage: "app"},
	} {
		t.Run(name, func(t *testing.T) {
			send := func(s *Snapshot, tr *request.Trace) *httptest.ResponseRecorder {
				r := httptest.NewRequest(cmp.Or(tt.method, "GET"), tt.path, nil)
				for k, v := range tt.header {
					r.Header[k] = v
				}
				if tt.token != "" {
					r.Header.Set("Authorization", "Bearer "+tt.token)
				}
				if tr != nil {
					r = request.WithTrace(r, tr)
				}
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				return w
			}
			tr := &request.Trace{}
			want, got, untraced := send(plain, nil), send(traced, tr), send(quiet, nil)
			if got.Code != want.Code || untraced.Code != want.Code || withoutID(got.Body.String()) != withoutID(want.Body.String()) {
				t.Fatalf("traced %d %s; want %d %s", got.Code, got.Body, want.Code, want.Body)
			}
			var names []string
			for _, s := range tr.Steps {
				names = append(names, s.Stage)
			}
			if !slices.Equal(names, StageNames()[:len(names)]) || names[len(names)-1] != tt.stage {
				t.Fatalf("the trace has %v; want the stages to %s", names, tt.stage)
			}
			last := tr.Steps[len(tr.Steps)-1]
			switch {
			case last.Err != nil && last.Err.Status != got.Code:
				t.Errorf("the trace has %d; the response has %d", last.Err.Status, got.Code)
			case last.Err == nil && got.Code >= 400:
				t.Errorf("the trace has no refusal of a response with %d", got.Code)
			}
		})
	}
}
