package endpoints

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/login/logintest"
	"github.com/posterndev/postern/sidecar/login/transport"
)

// FuzzPathsAreAnswered: the endpoints handle every path that authorization opens for them.
func FuzzPathsAreAnswered(f *testing.F) {
	for _, path := range []string{"/auth/refresh", "/auth/refresh/", "/auth/sessions/", "/auth/sessions/x/", "/auth/sessions//x", "/auth/sessions/%2A", "/.well-known/jwks.json/", "/auth/sessions/x/y", "/shop/.well-known/openid-configuration"} {
		for _, method := range []string{"GET", "OPTIONS", "DELETE"} {
			f.Add(method, path)
		}
	}
	w := logintest.New(f, logintest.Options{})
	metadata, err := NewMetadata(MetadataConfig{Issuer: logintest.Issuer + "/shop", Delivery: transport.Body, Keys: w.Ring, MaxAge: time.Minute})
	if err != nil {
		f.Fatal(err)
	}
	endpoints, err := New(Config{Prefix: "/auth", LoginService: w.LoginService, TokenTransport: w.TokenTransport, Metadata: metadata})
	if err != nil {
		f.Fatal(err)
	}
	open, err := route.NewMatcher([]route.Match{{Paths: Paths("/auth", metadata)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, sent string) {
		path, err := (&route.Reader{}).Read(sent)
		if err != nil || !check.IsMethod(method) {
			return
		}
		passed := false
		h := endpoints(stage.Func(func(http.ResponseWriter, *http.Request) error { passed = true; return nil }))
		r := httptest.NewRequest("GET", logintest.Issuer, nil)
		r.Method = method
		r = request.With(r, &request.Info{Path: path.Path, Readings: path.Target})
		_ = h.ServeHTTP(httptest.NewRecorder(), r)
		if passed && path.Readings() == 1 && open.Match(method, path.Path) { // as the exact rule of authz
			t.Errorf("%s %s continues to the app without authorization", method, path.Path)
		}
	})
}
