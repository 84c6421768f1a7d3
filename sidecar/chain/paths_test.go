package chain

import (
	"net/http"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

// TestPathOptions: the options of a document reach the guard, routes included, and the app receives the path as it was sent.
func TestPathOptions(t *testing.T) {
	w := newWorld(t)
	received := make(chan string, 1)
	w.app.Config.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { received <- r.RequestURI })
	reject := compiled.PathOptions{EncodedSlash: "Reject", Semicolon: "Reject", Backslash: "Reject", DoubleEncoding: "Reject", EmptySegments: "Keep"}
	one := func(change func(*compiled.PathOptions)) *compiled.Paths {
		p := &compiled.Paths{Options: reject}
		change(&p.Options)
		return p
	}
	route := &compiled.Paths{Options: reject, Routes: []compiled.PathRoute{{Prefix: "/public/api", Options: reject}}}
	route.Routes[0].Options.EncodedSlash = "Keep"
	insensitive := one(func(*compiled.PathOptions) {})
	insensitive.CaseInsensitive = true
	tests := map[string]struct {
		paths      *compiled.Paths
		path       string
		wantStatus int
		wantPath   string
	}{
		"no section":                  {nil, "/public/g%2Fp", 400, ""},
		"encodedSlash":                {one(func(o *compiled.PathOptions) { o.EncodedSlash = "Keep" }), "/public/g%2Fp", 200, "/public/g%2Fp"},
		"semicolon":                   {one(func(o *compiled.PathOptions) { o.Semicolon = "Keep" }), "/public/a;b=1", 200, "/public/a;b=1"},
		"backslash":                   {one(func(o *compiled.PathOptions) { o.Backslash = "Keep" }), "/public/a%5Cb", 200, "/public/a%5Cb"},
		"doubleEncoding":              {one(func(o *compiled.PathOptions) { o.DoubleEncoding = "Keep" }), "/public/a%252Fb", 200, "/public/a%252Fb"},
		"emptySegments, Keep":         {nil, "/public//https://h/x", 200, "/public//https://h/x"},
		"emptySegments, Merge":        {one(func(o *compiled.PathOptions) { o.EmptySegments = "Merge" }), "/public//x", 200, "/public/x"},
		"emptySegments, Reject":       {one(func(o *compiled.PathOptions) { o.EmptySegments = "Reject" }), "/public//x", 400, ""},
		"caseInsensitive":             {insensitive, "/PUBLIC/x", 200, "/PUBLIC/x"},
		"a route":                     {route, "/public/api/g%2Fp", 200, "/public/api/g%2Fp"},
		"outside of the route":        {route, "/public/g%2Fp", 400, ""},
		"a reading that needs a user": {one(func(o *compiled.PathOptions) { o.DoubleEncoding = "Keep" }), "/%2570ublic/x", 401, ""},
		"two slashes first":           {nil, "//public/x", 401, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := w.in(t).sidecar(loginPolicy(func(p *compiled.Policy) { p.Paths = tt.paths })).ready()
			if got := s.raw("GET " + tt.path + " HTTP/1.1").status; got != tt.wantStatus {
				t.Fatalf("status %d; want %d", got, tt.wantStatus)
			}
			if tt.wantStatus != 200 {
				return
			}
			if got := <-received; got != tt.wantPath {
				t.Errorf("the app received %q; want %q", got, tt.wantPath)
			}
		})
	}
}

// TestPathsOfADeletedPolicy: the app keeps the paths that its policy passed.
func TestPathsOfADeletedPolicy(t *testing.T) {
	w := newWorld(t)
	s := w.sidecar(loginPolicy(func(p *compiled.Policy) {
		p.Deleted = true
		p.Paths = &compiled.Paths{Options: compiled.PathOptions{EncodedSlash: "Keep", Semicolon: "Reject", Backslash: "Reject", DoubleEncoding: "Reject", EmptySegments: "Keep"}}
	}))
	if got := s.raw("GET /a%2Fb HTTP/1.1").status; got != 200 {
		t.Errorf("status %d", got)
	}
}

// TestLimitsHoldInEveryReading: another spelling of a limited path counts as well.
func TestLimitsHoldInEveryReading(t *testing.T) {
	w := newWorld(t)
	s := w.sidecar(loginPolicy(func(p *compiled.Policy) {
		p.Paths = &compiled.Paths{Options: compiled.PathOptions{EncodedSlash: "Keep", Semicolon: "Keep", Backslash: "Keep", DoubleEncoding: "Keep", EmptySegments: "Keep"}}
		p.RateLimits = []compiled.RateLimit{{
			Name: "one", Match: []compiled.Match{{Paths: []string{"/public/login"}}}, Limit: 1, Period: compiled.Duration(1e12), Burst: 1,
			KeyBy: []compiled.RateLimitKey{{Type: compiled.KeyRoute}}, Mode: compiled.Enforce, OnFailure: compiled.Deny,
		}}
	})).ready()
	for i, path := range []string{"/public/login", "//public/login", "/public%2Flogin", "/public/login;x", "/public%5Clogin", "/public/%256Cogin"} {
		if got := s.raw("GET " + path + " HTTP/1.1").status; (got == 429) != (i > 0) {
			t.Errorf("%s: status %d", path, got)
		}
	}
}
