package plaintext

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/secured"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

func TestStage(t *testing.T) {
	session := &secured.Session{ConnectionState: tls.ConnectionState{Version: tls.VersionTLS13}}
	tests := map[string]struct {
		config Config
		info   request.Info
		target string
		host   string
		// want is the code of the refusal; empty if the request passes.
		want   httperr.Code
		wantTo string
		// wantRecorded is whether a refusal was recorded.
		wantRecorded bool
	}{
		"TLS":                             {config: Config{Require: true, RedirectPort: 443}, info: request.Info{TLS: session, Scheme: "https"}, target: "/a"},
		"TLS of a client without it":      {config: Config{Require: true, RedirectPort: 443}, info: request.Info{TLS: session, Scheme: "http"}, target: "/a"},
		"plain":                           {config: Config{Require: true}, info: request.Info{Scheme: "http"}, target: "/a", want: "tls-required", wantRecorded: true},
		"plain, unknown scheme":           {config: Config{Require: true}, target: "/a", want: "tls-required", wantRecorded: true},
		"plain from https":                {config: Config{Require: true, RedirectPort: 443}, info: request.Info{Scheme: "https"}, target: "/a", want: "tls-required", wantRecorded: true},
		"plain from https, permissive":    {config: Config{RedirectPort: 443}, info: request.Info{Scheme: "https"}, target: "/a"},
		"redirected":                      {config: Config{RedirectPort: 443}, info: request.Info{Scheme: "http"}, target: "/a%2Fb?c=%20&d", want: "tls-redirect", wantTo: "https://example.com/a%2Fb?c=%20&d", wantRecorded: true},
		"redirected to another port":      {config: Config{RedirectPort: 8443}, target: "/?", host: "example.com:80", want: "tls-redirect", wantTo: "https://example.com:8443/?", wantRecorded: true},
		"a path that looks like a host":   {config: Config{RedirectPort: 443}, target: "//evil.example/a", want: "tls-redirect", wantTo: "https://example.com//evil.example/a", wantRecorded: true},
		"an IPv6 host":                    {config: Config{RedirectPort: 443}, target: "/", host: "[2001:DB8::1]", want: "tls-redirect", wantTo: "https://[2001:db8::1]/", wantRecorded: true},
		"a host with a user":              {config: Config{Require: true, RedirectPort: 443}, target: "/", host: "a@evil.example", want: "tls-required", wantRecorded: true},
		"a host with a slash":             {config: Config{Require: true, RedirectPort: 443}, target: "/", host: "evil.example/x", want: "tls-required", wantRecorded: true},
		"no host":                         {config: Config{Require: true, RedirectPort: 443}, target: "/", host: "-", want: "tls-required", wantRecorded: true},
		"no host, permissive":             {config: Config{RedirectPort: 443}, target: "/", host: "-"},
		"a zone":                          {config: Config{Require: true, RedirectPort: 443}, target: "/", host: "[fe80::1%25eth0]", want: "tls-required", wantRecorded: true},
		"OPTIONS *":                       {config: Config{Require: true, RedirectPort: 443}, target: "*", want: "tls-required", wantRecorded: true},
		"in shadow mode":                  {config: Config{Require: true}, info: request.Info{Shadow: true}, target: "/a", wantRecorded: true},
		"a redirect in shadow mode":       {config: Config{RedirectPort: 443}, info: request.Info{Shadow: true}, target: "/a", wantRecorded: true},
		"both, in shadow mode":            {config: Config{Require: true, RedirectPort: 443}, info: request.Info{Shadow: true}, target: "/a", wantRecorded: true},
		"a query that is not ASCII":       {config: Config{Require: true, RedirectPort: 443}, target: "/?\u00e4", want: "tls-required", wantRecorded: true},
		"a path that is encoded":          {config: Config{RedirectPort: 443}, target: "/%C3%A4", want: "tls-redirect", wantTo: "https://example.com/%C3%A4", wantRecorded: true},
		"permissive without a redirect":   {config: Config{}, info: request.Info{Scheme: "http"}, target: "/a"},
		"a port that is no number, plain": {config: Config{Require: true, RedirectPort: 443}, target: "/", host: "example.com:x:y", want: "tls-required", wantRecorded: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, tt.target, nil)
			switch tt.host {
			case "":
			case "-":
				r.Host = ""
			default:
				r.Host = tt.host
			}
			info := tt.info
			r = request.With(r, &info)
			passed := false
			err := New(tt.config)(stage.Func(func(http.ResponseWriter, *http.Request) error { passed = true; return nil })).ServeHTTP(httptest.NewRecorder(), r)
			var refusal *httperr.Error
			if errors.As(err, &refusal) != (tt.want != "") || passed == (tt.want != "") || (len(info.Decisions) > 0) != tt.wantRecorded {
				t.Fatalf("%v, passed: %t, recorded: %v", err, passed, info.Decisions)
			}
			if refusal != nil && (refusal.Code != tt.want || refusal.Header.Get("Location") != tt.wantTo) {
				t.Errorf("%s to %q", refusal.Code, refusal.Header.Get("Location"))
			}
		})
	}
}

// FuzzTarget: a client is redirected only to the host that it named, and no character can end the field.
func FuzzTarget(f *testing.F) {
	f.Add("example.com:80", "/a?b")
	f.Add("[::1]", "//x")
	f.Fuzz(func(t *testing.T, host, path string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host, r.URL.Path = host, path
		to, ok := target(r, 443)
		if !ok {
			return
		}
		u, err := r.URL.Parse(to)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Host != hostOf(host) || !plain(to) {
			t.Errorf("%q with %q leads to %q: %v, %v", host, path, to, u, err)
		}
	})
}
