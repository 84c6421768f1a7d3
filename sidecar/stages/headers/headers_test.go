package headers

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// respond returns the header of a response to which the app added the headers in app.
func respond(t *testing.T, c Config, info *request.Info, app http.Header) http.Header {
	t.Helper()
	headers, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h := headers(stage.Func(func(w http.ResponseWriter, _ *http.Request) error {
		for name, values := range app {
			w.Header()[name] = values
		}
		w.WriteHeader(http.StatusOK)
		return nil
	}))
	if err := h.ServeHTTP(w, request.With(httptest.NewRequest("GET", "/", nil), info)); err != nil {
		t.Fatal(err)
	}
	return w.Header()
}

// TestPublicDocumentsStayCached: otherwise verifiers would fetch our keys for every token.
func TestPublicDocumentsStayCached(t *testing.T) {
	app := http.Header{cacheControl: {"public, max-age=900"}}
	h := respond(t, Config{Preset: "Strict"}, &request.Info{Public: true}, app)
	if got := h.Get(cacheControl); got != "public, max-age=900" {
		t.Errorf("Cache-Control is %q", got)
	}
	if got := h.Get("X-Content-Type-Options"); got != "nosniff" {
		t.Errorf("the rest of the preset is missing: %v", h)
	}
}

func TestPresets(t *testing.T) {
	const hstsValue = "max-age=31536000; includeSubDomains"
	tests := map[string]struct {
		preset string
		want   map[string]string
	}{
		"Strict": {preset: "Strict", want: map[string]string{
			hsts: hstsValue, cacheControl: "no-store, max-age=0", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "deny",
			"Referrer-Policy": "no-referrer", "X-XSS-Protection": "0", "X-Permitted-Cross-Domain-Policies": "none",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp",
			csp: "default-src 'self'; form-action 'self'; object-src 'none'; frame-ancestors 'none'; upgrade-insecure-requests",
		}},
		"API": {preset: "API", want: map[string]string{
			hsts: hstsValue, cacheControl: "no-store, max-age=0", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "deny",
			"Referrer-Policy": "no-referrer", "X-XSS-Protection": "0", "X-Permitted-Cross-Domain-Policies": "none",
			"Cross-Origin-Resource-Policy": "same-origin", csp: "default-src 'none'; frame-ancestors 'none'",
		}},
		"None":  {preset: "None", want: map[string]string{"Server": "x", "X-Powered-By": "x"}},
		"empty": {want: map[string]string{"Server": "x", "X-Powered-By": "x"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := respond(t, Config{Preset: tt.preset}, &request.Info{}, http.Header{"Server": {"x"}, "X-Powered-By": {"x"}})
			if len(got) != len(tt.want) {
				t.Errorf("headers %v; want %v", got, tt.want)
			}
			for name, want := range tt.want {
				if got.Get(name) != want {
					t.Errorf("%s: %q; want %q", name, got.Get(name), want)
				}
			}
		})
	}
}

func TestAppsValues(t *testing.T) {
	tests := map[string]struct {
		name string
		app  []string
		want string
	}{
		"longer HSTS":           {name: hsts, app: []string{"max-age=63072000; preload"}, want: "max-age=63072000; includeSubDomains; preload"},
		"own CSP":               {name: csp, app: []string{"default-src 'self' cdn.example"}, want: "default-src 'self' cdn.example"},
		"two CSPs":              {name: csp, app: []string{"a", "b"}, want: "a, b"},
		"empty CSP":             {name: csp, app: []string{" "}, want: "default-src 'none'; frame-ancestors 'none'"},
		"no-store":              {name: cacheControl, app: []string{"No-Store"}, want: "No-Store"},
		"private":               {name: cacheControl, app: []string{"private, max-age=60"}, want: "private, max-age=60"},
		"private for one field": {name: cacheControl, app: []string{`private="set-cookie"`}, want: "no-store, max-age=0"},
		"public":                {name: cacheControl, app: []string{"public, max-age=60"}, want: "no-store, max-age=0"},
		"laxer framing":         {name: "X-Frame-Options", app: []string{"SAMEORIGIN"}, want: "deny"},
		"laxer referrer":        {name: "Referrer-Policy", app: []string{"unsafe-url"}, want: "no-referrer"},
		"laxer embedding":       {name: "Cross-Origin-Resource-Policy", app: []string{"cross-origin"}, want: "same-origin"},
		"obsolete XSS filter":   {name: "X-Xss-Protection", app: []string{"1; mode=block"}, want: "0"},
		"other headers":         {name: "X-App", app: []string{"1"}, want: "1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := respond(t, Config{Preset: "API"}, &request.Info{}, http.Header{tt.name: tt.app})
			if v := strings.Join(got[tt.name], "|"); v != tt.want {
				t.Errorf("%s: %q; want %q", tt.name, v, tt.want)
			}
		})
	}
	for app, want := range map[string]string{
		"noopener-allow-popups; report-to=\"x\"": "noopener-allow-popups; report-to=\"x\"",
		"unsafe-none":                            "same-origin",
	} {
		got := respond(t, Config{Preset: "Strict"}, &request.Info{}, http.Header{"Cross-Origin-Opener-Policy": {app}})
		if v := got.Get("Cross-Origin-Opener-Policy"); v != want {
			t.Errorf("opener policy %q of the app became %q; want %q", app, v, want)
		}
	}
}

func TestSetAndRemove(t *testing.T) {
	c := Config{
		Preset: "Strict",
		Set:    []Field{{Name: "x-team", Value: "orders"}, {Name: "X-Frame-Options", Value: "SAMEORIGIN"}},
		Remove: []string{"cross-origin-embedder-policy", "X-Debug"},
	}
	got := respond(t, c, &request.Info{}, http.Header{"X-Team": {"a", "b"}, "X-Debug": {"1"}, "X_debug": {"1"}})
	if got.Get("X-Team") != "orders" || len(got["X-Team"]) != 1 || got.Get("X-Frame-Options") != "SAMEORIGIN" {
		t.Errorf("explicit fields did not win: %v", got)
	}
	for _, name := range []string{"Cross-Origin-Embedder-Policy", "X-Debug", "X_debug"} {
		if got[name] != nil {
			t.Errorf("%s was not removed", name)
		}
	}
}

func TestHSTSOverPlainHTTP(t *testing.T) {
	c := Config{Preset: "Strict"}
	for scheme, want := range map[string]bool{"http": false, "https": true, "": true} {
		got := respond(t, c, &request.Info{Scheme: scheme}, http.Header{hsts: {"max-age=1"}})
		if (got.Get(hsts) != "") != want {
			t.Errorf("scheme %q: HSTS %q; want a value: %v", scheme, got.Get(hsts), want)
		}
	}
	c = Config{Set: []Field{{Name: hsts, Value: "max-age=5"}}}
	if got := respond(t, c, &request.Info{Scheme: "http"}, nil); got.Get(hsts) != "" {
		t.Error("an explicit HSTS was sent over plain HTTP")
	}
}

func TestErrorsHaveHeaders(t *testing.T) {
	headers, err := New(Config{Preset: "Strict"})
	if err != nil {
		t.Fatal(err)
	}
	h := headers(stage.Func(func(http.ResponseWriter, *http.Request) error { return &httperr.Error{Status: 401, Code: "no"} }))
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	httperr.Write(w, r, h.ServeHTTP(w, r))
	if w.Code != 401 || w.Header().Get("X-Frame-Options") != "deny" || w.Header().Get(hsts) == "" {
		t.Errorf("the refusal has %v", w.Header())
	}
}

func TestNewRefuses(t *testing.T) {
	tests := map[string]struct {
		config  Config
		wantErr string
	}{
		"unknown preset":   {config: Config{Preset: "strict"}, wantErr: "Strict, API, None"},
		"no name":          {config: Config{Set: []Field{{Value: "a"}}}, wantErr: "not a header name"},
		"bad name":         {config: Config{Set: []Field{{Name: "a b", Value: "a"}}}, wantErr: "not a header name"},
		"star":             {config: Config{Remove: []string{"X-*"}}, wantErr: "not a header name"},
		"line break":       {config: Config{Set: []Field{{Name: "A", Value: "a\r\nB: c"}}}, wantErr: "control character"},
		"DEL":              {config: Config{Set: []Field{{Name: "A", Value: "a\x7f"}}}, wantErr: "control character"},
		"outer space":      {config: Config{Set: []Field{{Name: "A", Value: " a"}}}, wantErr: "ends with a space"},
		"empty value":      {config: Config{Set: []Field{{Name: "A"}}}, wantErr: "the value is empty"},
		"twice":            {config: Config{Set: []Field{{Name: "A", Value: "1"}, {Name: "a", Value: "2"}}}, wantErr: "twice"},
		"set and removed":  {config: Config{Set: []Field{{Name: "A", Value: "1"}}, Remove: []string{"a"}}, wantErr: "both set and removed"},
		"framing":          {config: Config{Set: []Field{{Name: "content-length", Value: "1"}}}, wantErr: "HTTP itself sets it"},
		"removing framing": {config: Config{Remove: []string{"Transfer-Encoding"}}, wantErr: "HTTP itself sets it"},
		"CORS":             {config: Config{Set: []Field{{Name: "Access-Control-Allow-Origin", Value: "*"}}}, wantErr: "cors section"},
		"Vary":             {config: Config{Remove: []string{"vary"}}, wantErr: "caches"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := New(tt.config); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("New: %v; want %q", err, tt.wantErr)
			}
		})
	}
}

func TestSwitchingProtocolsIsUnchanged(t *testing.T) {
	p := &policy{set: []Field{{Name: "A", Value: "1"}}}
	h := http.Header{}
	p.apply(httptest.NewRequest("GET", "/", nil), http.StatusSwitchingProtocols, h)
	if len(h) != 0 {
		t.Errorf("a response that switches protocols has %v", h)
	}
}
