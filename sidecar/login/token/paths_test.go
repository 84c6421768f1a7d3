package token

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// FuzzPathsAreAnswered: whatever authorization opens for the endpoints, they answer themselves.
func FuzzPathsAreAnswered(f *testing.F) {
	for _, path := range []string{"/auth/refresh", "/auth/refresh/", "/auth/sessions/", "/auth/sessions/x/", "/auth/sessions//x", "/auth/sessions/%2A", "/.well-known/jwks.json/", "/auth/sessions/x/y", "/shop/.well-known/openid-configuration"} {
		for _, method := range []string{"GET", "OPTIONS", "DELETE"} {
			f.Add(method, path)
		}
	}
	w := newWorld(f, options{})
	metadata, err := NewMetadata(MetadataConfig{Issuer: issuer + "/shop", Delivery: Body, Keys: w.ring, MaxAge: time.Minute})
	if err != nil {
		f.Fatal(err)
	}
	endpoints, err := Endpoints(EndpointsConfig{Prefix: "/auth", LoginService: w.loginService, TokenTransport: w.tokenTransport, Metadata: metadata})
	if err != nil {
		f.Fatal(err)
	}
	open, err := route.NewMatcher([]route.Match{{Paths: Paths("/auth", metadata)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, sent string) {
		path, _, err := route.Normalize(sent)
		if err != nil || !check.IsMethod(method) {
			return
		}
		passed := false
		h := endpoints(stage.Func(func(http.ResponseWriter, *http.Request) error { passed = true; return nil }))
		r := httptest.NewRequest("GET", issuer, nil)
		r.Method = method
		r = request.With(r, &request.Info{Path: path})
		_ = h.ServeHTTP(httptest.NewRecorder(), r)
		if passed && open.Match(method, path) {
			t.Errorf("%s %s goes on to the app without authorization", method, path)
		}
	})
}
