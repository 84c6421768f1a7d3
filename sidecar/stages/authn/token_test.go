package authn

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// FuzzParse checks that a token which is read has one spelling only: written again it is the same.
func FuzzParse(f *testing.F) {
	w := newWorld(f)
	for _, tt := range attacks(f, w) {
		f.Add(tt.token)
	}
	f.Add(w.token(f, good()))
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := parse(s)
		if err != nil {
			if describe := reasonOf(err).describe(); describe == "" || strings.ContainsAny(describe, `"\`) {
				t.Fatalf("description %q", describe)
			}
			return
		}
		if again := tok.signed + "." + base64.RawURLEncoding.EncodeToString(tok.signature); again != s {
			t.Fatalf("%q reads as %q", s, again)
		}
		if tok.alg == "" || len(tok.kid) > maxKeyID || len(s) > maxToken {
			t.Fatalf("beyond the bounds: %+v", tok)
		}
	})
}

// FuzzStage checks that no request without a signed token gets an identity, and that no unverified token passes.
func FuzzStage(f *testing.F) {
	w := newWorld(f)
	w.config.Observer = nil
	s := w.stage(f)
	forged := raw(f, headerRS256, good().json(f), jwt.SigningMethodHS256, []byte("guess"))
	f.Add("Bearer "+forged, "a=1; access_token=; b")
	f.Add("Basic YTpi", "access_token="+forged)
	f.Fuzz(func(t *testing.T, authorization, cookies string) {
		o := send(s, http.Header{"Authorization": {authorization}, "Cookie": {cookies}}, false)
		if o.info.Identity != nil {
			t.Fatalf("%q, %q gave %+v", authorization, cookies, o.info.Identity)
		}
		if c, many := find(o.header, []place{{header: "Authorization", prefixes: []string{"bearer "}}, {cookie: "access_token"}}); c != nil || many {
			t.Fatalf("%q, %q left %+v", authorization, cookies, c)
		}
	})
}
