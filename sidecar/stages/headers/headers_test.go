package headers

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
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

func only(preset string) Config { return Config{Rules: Rules{Preset: preset}} }

// TestPublicDocumentsStayCached: otherwise verifiers would fetch our keys for every token.
func TestPublicDocumentsStayCached(t *testing.T) {
	app := http.Header{cacheControl: {"public, max-age=900"}}
	h := respond(t, only("Strict"), &request.Info{Public: true}, app)
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
			csp:         "default-src 'self'; form-action 'self'; object-src 'none'; frame-ancestors 'none'; upgrade-insecure-requests",
			permissions: strictPermissions,
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
			got := respond(t, only(tt.preset), &request.Info{Scheme: "https"}, http.Header{"Server": {"x"}, "X-Powered-By": {"x"}})
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
		"immutable":             {name: cacheControl, app: []string{"public, max-age=31536000, immutable"}, want: "public, max-age=31536000, immutable"},
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
			got := respond(t, only("API"), &request.Info{Scheme: "https"}, http.Header{tt.name: tt.app})
			if v := strings.Join(got[tt.name], "|"); v != tt.want {
				t.Errorf("%s: %q; want %q", tt.name, v, tt.want)
			}
		})
	}
	for app, want := range map[string]string{
		"noopener-allow-popups; report-to=\"x\"": "noopener-allow-popups; report-to=\"x\"",
		"unsafe-none":                            "same-origin",
	} {
		got := respond(t, only("Strict"), &request.Info{}, http.Header{"Cross-Origin-Opener-Policy": {app}})
		if v := got.Get("Cross-Origin-Opener-Policy"); v != want {
			t.Errorf("opener policy %q of the app became %q; want %q", app, v, want)
		}
	}
}

func TestSetAndRemove(t *testing.T) {
	c := Config{Rules: Rules{
		Preset: "Strict",
		Set:    []Field{{Name: "x-team", Value: "orders"}, {Name: "X-Frame-Options", Value: "SAMEORIGIN"}},
		Remove: []string{"cross-origin-embedder-policy", "X-Debug"},
	}}
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

// TestHeadersOfHTTPS: a page over plain HTTP whose CSP has upgrade-insecure-requests cannot load the scripts of its own site.
func TestHeadersOfHTTPS(t *testing.T) {
	tests := map[string]struct {
		config             Config
		scheme, app, want  string
		wantUpgradeRequest bool
	}{
		"https":                       {config: only("Strict"), scheme: "https", want: "max-age=31536000; includeSubDomains", wantUpgradeRequest: true},
		"http":                        {config: only("Strict"), scheme: "http"},
		"unknown":                     {config: only("Strict")},
		"http, the app's value":       {config: only("Strict"), scheme: "http", app: "max-age=1"},
		"unknown, the app's value":    {config: only("Strict"), app: "max-age=1", want: "max-age=1"},
		"https, the app's value":      {config: only("Strict"), scheme: "https", app: "max-age=1", want: "max-age=31536000; includeSubDomains", wantUpgradeRequest: true},
		"http, set by the policy":     {config: Config{Rules: Rules{Set: []Field{{Name: hsts, Value: "max-age=5"}}}}, scheme: "http"},
		"unknown, set by the policy":  {config: Config{Rules: Rules{Set: []Field{{Name: hsts, Value: "max-age=5"}}}}, want: "max-age=5"},
		"http, kept":                  {config: Config{Rules: Rules{Preset: "Strict", Keep: []string{hsts}}}, scheme: "http", app: "max-age=1"},
		"None, the app's value":       {config: only("None"), scheme: "http", app: "max-age=1", want: "max-age=1"},
		"omitted, the app's own":      {config: Config{Rules: Rules{Preset: "Strict", Omit: []string{hsts}}}, scheme: "https", app: "max-age=1", want: "max-age=1", wantUpgradeRequest: true},
		"omitted, nothing of the app": {config: Config{Rules: Rules{Preset: "Strict", Omit: []string{hsts}}}, scheme: "https", wantUpgradeRequest: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			app := http.Header{}
			if tt.app != "" {
				app.Set(hsts, tt.app)
			}
			got := respond(t, tt.config, &request.Info{Scheme: tt.scheme}, app)
			if got.Get(hsts) != tt.want || strings.Contains(got.Get(csp), "upgrade-insecure-requests") != tt.wantUpgradeRequest {
				t.Errorf("HSTS %q, CSP %q; want %q, upgrade-insecure-requests: %v", got.Get(hsts), got.Get(csp), tt.want, tt.wantUpgradeRequest)
			}
		})
	}
}

// TestLoosenedHeaders: every header of a preset can be left to the app, or left out, by itself.
func TestLoosenedHeaders(t *testing.T) {
	info := &request.Info{Scheme: "https"}
	for _, preset := range []string{"Strict", "API"} {
		all := respond(t, only(preset), info, nil)
		for _, name := range check.PresetHeaders(preset) {
			t.Run(preset+"/"+name, func(t *testing.T) {
				const lax = "the app's own"
				if all.Get(name) == "" || len(all) != len(check.PresetHeaders(preset)) {
					t.Errorf("the preset sends %v; want exactly %v", all, check.PresetHeaders(preset))
				}
				keep := Config{Rules: Rules{Preset: preset, Keep: []string{strings.ToLower(name)}}}
				if got := respond(t, keep, info, http.Header{name: {lax, lax}}); len(got) != len(all) || strings.Join(got[name], "|") != lax+"|"+lax {
					t.Errorf("keep: %v", got)
				}
				if got := respond(t, keep, info, nil); got.Get(name) != all.Get(name) {
					t.Errorf("keep, without a value of the app: %q; want %q", got.Get(name), all.Get(name))
				}
				omit := Config{Rules: Rules{Preset: preset, Omit: []string{strings.ToLower(name)}}}
				if got := respond(t, omit, info, nil); got[name] != nil || len(got) != len(all)-1 {
					t.Errorf("omit: %v", got)
				}
				if got := respond(t, omit, info, http.Header{name: {lax}}); got.Get(name) != lax {
					t.Errorf("omit, with a value of the app: %v", got)
				}
			})
		}
	}
	c := Config{Rules: Rules{Preset: "Strict", Keep: []string{"Server", "X-Envoy-Upstream"}}}
	got := respond(t, c, info, http.Header{"Server": {"a"}, "X-Envoy-Upstream": {"b"}, "X-Envoy-Other": {"c"}})
	if got.Get("Server") != "a" || got.Get("X-Envoy-Upstream") != "b" || got.Get("X-Envoy-Other") != "" {
		t.Errorf("headers that the preset removes: %v", got)
	}
}

// TestImmutable: an immutable response that sets a cookie belongs to one user.
func TestImmutable(t *testing.T) {
	app := http.Header{cacheControl: {"public, max-age=31536000, immutable"}, "Set-Cookie": {"session=1"}}
	if got := respond(t, only("Strict"), &request.Info{}, app).Get(cacheControl); got != "no-store, max-age=0" {
		t.Errorf("Cache-Control %q", got)
	}
}

func TestRoutes(t *testing.T) {
	c := Config{
		Rules: Rules{Preset: "Strict", Set: []Field{{"X-A", "policy"}, {"X-B", "policy"}}, Remove: []string{"X-C"}, Omit: []string{"Referrer-Policy"}},
		Routes: []Route{
			{Match: []route.Match{{Methods: []string{"GET"}, Paths: []string{"/embed/**"}}}, Rules: Rules{
				Keep: []string{"X-Frame-Options"}, Set: []Field{{"X-A", "route"}, {"X-C", "route"}}, Remove: []string{"X-B"}}},
			{Match: []route.Match{{Paths: []string{"/raw/**", "/embed/**"}}}, Rules: Rules{Preset: "None"}},
		},
	}
	app := http.Header{"X-Frame-Options": {"SAMEORIGIN"}, "X-B": {"app"}, "X-C": {"app"}}
	tests := map[string]struct {
		path string
		want map[string]string
	}{
		"no route":         {path: "/", want: map[string]string{"X-Frame-Options": "deny", "X-A": "policy", "X-B": "policy", "X-C": "", csp: strictCSP, "Referrer-Policy": ""}},
		"first route":      {path: "/embed/a", want: map[string]string{"X-Frame-Options": "SAMEORIGIN", "X-A": "route", "X-B": "", "X-C": "route", csp: strictCSP, "Referrer-Policy": ""}},
		"another preset":   {path: "/raw/a", want: map[string]string{"X-Frame-Options": "SAMEORIGIN", "X-A": "policy", "X-B": "policy", "X-C": "", csp: ""}},
		"a refused target": {path: "", want: map[string]string{"X-Frame-Options": "deny"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := respond(t, c, &request.Info{Path: tt.path}, app)
			for name, want := range tt.want {
				if got.Get(name) != want {
					t.Errorf("%s: %q; want %q", name, got.Get(name), want)
				}
			}
		})
	}
}

func TestErrorsHaveHeaders(t *testing.T) {
	headers, err := New(only("Strict"))
	if err != nil {
		t.Fatal(err)
	}
	h := headers(stage.Func(func(http.ResponseWriter, *http.Request) error { return &httperr.Error{Status: 401, Code: "no"} }))
	w, r := httptest.NewRecorder(), request.With(httptest.NewRequest("GET", "/", nil), &request.Info{Scheme: "https"})
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
		"unknown preset":   {config: Config{Rules: Rules{Preset: "strict"}}, wantErr: "Strict, API, None"},
		"no name":          {config: Config{Rules: Rules{Set: []Field{{Value: "a"}}}}, wantErr: "not a header name"},
		"bad name":         {config: Config{Rules: Rules{Set: []Field{{Name: "a b", Value: "a"}}}}, wantErr: "not a header name"},
		"star":             {config: Config{Rules: Rules{Remove: []string{"X-*"}}}, wantErr: "not a header name"},
		"line break":       {config: Config{Rules: Rules{Set: []Field{{Name: "A", Value: "a\r\nB: c"}}}}, wantErr: "control character"},
		"DEL":              {config: Config{Rules: Rules{Set: []Field{{Name: "A", Value: "a\x7f"}}}}, wantErr: "control character"},
		"outer space":      {config: Config{Rules: Rules{Set: []Field{{Name: "A", Value: " a"}}}}, wantErr: "ends with a space"},
		"empty value":      {config: Config{Rules: Rules{Set: []Field{{Name: "A"}}}}, wantErr: "the value is empty"},
		"twice":            {config: Config{Rules: Rules{Set: []Field{{Name: "A", Value: "1"}, {Name: "a", Value: "2"}}}}, wantErr: "in set already"},
		"set and removed":  {config: Config{Rules: Rules{Set: []Field{{Name: "A", Value: "1"}}, Remove: []string{"a"}}}, wantErr: "leave one out"},
		"framing":          {config: Config{Rules: Rules{Set: []Field{{Name: "content-length", Value: "1"}}}}, wantErr: "HTTP itself sets it"},
		"removing framing": {config: Config{Rules: Rules{Remove: []string{"Transfer-Encoding"}}}, wantErr: "HTTP itself sets it"},
		"CORS":             {config: Config{Rules: Rules{Set: []Field{{Name: "Access-Control-Allow-Origin", Value: "*"}}}}, wantErr: "cors section"},
		"unknown keep":     {config: Config{Rules: Rules{Preset: "Strict", Keep: []string{"X-Frame-Option"}}}, wantErr: "does not have the header"},
		"unknown omit":     {config: Config{Rules: Rules{Preset: "API", Omit: []string{"Permissions-Policy"}}}, wantErr: "does not have the header"},
		"omitted leak":     {config: Config{Rules: Rules{Preset: "API", Omit: []string{"Server"}}}, wantErr: "does not have the header"},
		"keep of None":     {config: Config{Rules: Rules{Keep: []string{"Server"}}}, wantErr: "nothing to loosen"},
		"kept and set":     {config: Config{Rules: Rules{Preset: "API", Keep: []string{hsts}, Set: []Field{{hsts, "a"}}}}, wantErr: "in keep already"},
		"route of nothing": {config: Config{Routes: []Route{{}}}, wantErr: "spec.headers.routes[0].match"},
		"route's preset":   {config: Config{Routes: []Route{{Match: []route.Match{{Paths: []string{"/a"}}}, Rules: Rules{Preset: "x"}}}}, wantErr: "spec.headers.routes[0].preset"},
		"route's pattern":  {config: Config{Routes: []Route{{Match: []route.Match{{Paths: []string{"a"}}}}}}, wantErr: "spec.headers.routes[0].match[0].paths[0]"},
		"Vary":             {config: Config{Rules: Rules{Remove: []string{"vary"}}}, wantErr: "caches"},
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
	p := &policy{fields: fields{set: []setField{{name: "A", lines: []string{"1"}}}}}
	h := http.Header{}
	p.apply(httptest.NewRequest("GET", "/", nil), http.StatusSwitchingProtocols, h)
	if len(h) != 0 {
		t.Errorf("a response that switches protocols has %v", h)
	}
}
