package authn

import (
	"net/http"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// FuzzStage checks that no request without a signed token gets an identity, and that no unverified token passes.
func FuzzStage(f *testing.F) {
	w := newWorld(f)
	s := w.stage(f)
	forged := raw(f, headerRS256, good().json(f), jwt.SigningMethodHS256, []byte("guess"))
	f.Add("Bearer "+forged, "a=1; access_token=; b")
	f.Add("Basic YTpi", "access_token="+forged)
	f.Fuzz(func(t *testing.T, authorization, cookies string) {
		o := send(s, http.Header{"Authorization": {authorization}, "Cookie": {cookies}}, false)
		if o.info.Identity != nil {
			t.Fatalf("%q, %q gave %+v", authorization, cookies, o.info.Identity)
		}
		if c, many := find(o.header, []place{{header: "Authorization", prefixes: []string{"bearer "}}, {cookie: "access_token"}}, &credential{}); c != nil || many {
			t.Fatalf("%q, %q left %+v", authorization, cookies, c)
		}
	})
}
