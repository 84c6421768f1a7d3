package authn

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

func TestAccepts(t *testing.T) {
	w := newWorld(t)
	s := w.stage(t)
	claimsOK := good().json(t)
	tests := map[string]string{
		"RS256":                          w.token(t, good()),
		"PS256":                          raw(t, `{"alg":"PS256","kid":"p"}`, claimsOK, jwt.SigningMethodPS256, w.corp),
		"ES256":                          raw(t, `{"alg":"ES256","kid":"e"}`, claimsOK, jwt.SigningMethodES256, w.ec),
		"without kid":                    raw(t, `{"alg":"RS256"}`, claimsOK, jwt.SigningMethodRS256, w.corp),
		"access token":                   raw(t, `{"alg":"RS256","kid":"r","typ":"at+jwt"}`, claimsOK, jwt.SigningMethodRS256, w.corp),
		"access token, whole media type": raw(t, `{"alg":"RS256","kid":"r","typ":"application/AT+JWT"}`, claimsOK, jwt.SigningMethodRS256, w.corp),
		"with keys that are not used":    raw(t, `{"alg":"RS256","kid":"r","x5c":["MIIB"],"jku":"https://a.example"}`, claimsOK, jwt.SigningMethodRS256, w.corp),
		"several audiences":              w.token(t, good().with("aud", []string{"a", "api"})),
		"expired within the leeway":      w.token(t, good().with("exp", now.Unix()-29)),
		"issued within the leeway":       w.token(t, good().with("iat", now.Unix()+30).with("nbf", now.Unix()+30)),
		"fractions of seconds":           w.token(t, good().with("exp", float64(now.Unix())+0.5)),
		"no iat":                         w.token(t, good().without("iat")),
		"names differ in case":           w.token(t, good().with("Exp", 1).with("ISS", "x")),
	}
	for name, token := range tests {
		t.Run(name, func(t *testing.T) {
			for _, wantCached := range []bool{false, true} {
				w.observed = nil
				o := w.send(s, bearer(token), false)
				if o.err != nil || o.info.AuthnErr != nil || o.info.Identity == nil {
					t.Fatalf("err %v, AuthnErr %v", o.err, o.info.AuthnErr)
				}
				id := o.info.Identity
				if id.Provider != "corp" || id.Issuer != corp || id.Subject != "alice" || id.TokenID != "t1" || id.Expires.IsZero() {
					t.Errorf("identity %+v", id)
				}
				if want := []string{fmt.Sprint("corp ok ", wantCached)}; !slices.Equal(w.observed, want) {
					t.Errorf("observed %q, want %q", w.observed, want)
				}
				if got := o.header.Get("Authorization"); got != "Bearer "+token {
					t.Errorf("the token is not forwarded: %q", got)
				}
			}
		})
	}
}

func TestTokenLocations(t *testing.T) {
	w := newWorld(t)
	s := w.stage(t)
	own := w.token(t, good())
	other := raw(t, headerRS256, good().with("iss", partner).json(t), jwt.SigningMethodRS256, w.partner)
	tests := map[string]struct {
		header     http.Header
		shadow     bool
		wantIssuer string // of the identity, if any
		wantReason string
		wantStatus int // if the stage refuses the request
		wantHeader http.Header
	}{
		"no token":                {header: http.Header{}, wantHeader: http.Header{}},
		"scheme in another case":  {header: http.Header{"Authorization": {"bEARER   " + own}}, wantIssuer: corp, wantHeader: http.Header{"Authorization": {"bEARER   " + own}, "X-Auth-Subject": {"alice"}}},
		"another scheme":          {header: http.Header{"Authorization": {"Basic YTpi"}}, wantHeader: http.Header{"Authorization": {"Basic YTpi"}}},
		"scheme without token":    {header: http.Header{"Authorization": {"Bearer"}}, wantHeader: http.Header{"Authorization": {"Bearer"}}},
		"scheme without space":    {header: http.Header{"Authorization": {"Bearer" + own}}, wantHeader: http.Header{"Authorization": {"Bearer" + own}}},
		"verified, not forwarded": {header: bearer(other), wantIssuer: partner, wantHeader: http.Header{}},
		"cookie": {
			header: http.Header{"Cookie": {"a=1; access_token=" + other + "; b=2", "c=3"}}, wantIssuer: partner,
			wantHeader: http.Header{"Cookie": {"a=1; b=2; c=3"}},
		},
		"cookie alone":        {header: http.Header{"Cookie": {"access_token=" + other}}, wantIssuer: partner, wantHeader: http.Header{}},
		"cookie, empty":       {header: http.Header{"Cookie": {"access_token="}}, wantHeader: http.Header{"Cookie": {"access_token="}}},
		"similar cookie name": {header: http.Header{"Cookie": {"Access_Token=x; access_token2=y"}}, wantHeader: http.Header{"Cookie": {"Access_Token=x; access_token2=y"}}},
		"issuer's token in another's cookie": {
			header: http.Header{"Cookie": {"x=1; access_token=" + own}}, wantReason: "wrong_place", wantHeader: http.Header{"Cookie": {"x=1"}},
		},
		"bad token is removed":              {header: bearer("x"), wantReason: "malformed", wantHeader: http.Header{}},
		"bad token after a tab is removed":  {header: http.Header{"Authorization": {"Bearer\tx"}}, wantReason: "malformed", wantHeader: http.Header{}},
		"bad token stays in shadow":         {header: bearer("x"), shadow: true, wantReason: "malformed", wantHeader: bearer("x")},
		"unforwarded token stays in shadow": {header: bearer(other), shadow: true, wantIssuer: partner, wantHeader: bearer(other)},
		"header and cookie":                 {header: http.Header{"Authorization": {"Bearer " + own}, "Cookie": {"access_token=" + other}}, wantStatus: 400},
		"the same in header and cookie":     {header: http.Header{"Authorization": {"Bearer " + other}, "Cookie": {"access_token=" + other}}, wantStatus: 400},
		"two header fields":                 {header: http.Header{"Authorization": {"Bearer " + own, "Bearer " + own}}, wantStatus: 400},
		"two fields, one of another scheme": {header: http.Header{"Authorization": {"Basic YTpi", "Bearer " + own}}, wantStatus: 400},
		"two cookies":                       {header: http.Header{"Cookie": {"access_token=" + other + "; access_token=" + other}}, wantStatus: 400},
		"two cookie fields":                 {header: http.Header{"Cookie": {"access_token=" + other, "access_token=x"}}, wantStatus: 400},
		"second cookie that Go would drop":  {header: http.Header{"Cookie": {"access_token=" + other + "; access_token=\"\\"}}, wantStatus: 400},
		"second cookie, empty":              {header: http.Header{"Cookie": {"access_token=" + other + "; access_token"}}, wantStatus: 400},
		"two tokens in shadow": {
			header: http.Header{"Authorization": {"Bearer a", "Bearer b"}}, shadow: true, wantReason: "malformed",
			wantHeader: http.Header{"Authorization": {"Bearer a", "Bearer b"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.header["X-Auth-Subject"] = []string{"admin"}
			tt.header["X-Auth-Roles"] = []string{"root"}
			tt.header["X-Auth-Email"] = []string{"a@b", "c@d"}
			o := send(s, tt.header, tt.shadow)
			if tt.wantStatus != 0 {
				var e *httperr.Error
				if o.passed || !errors.As(o.err, &e) || e.Status != tt.wantStatus || !strings.Contains(e.Header.Get("WWW-Authenticate"), `error="invalid_request"`) {
					t.Fatalf("passed %v, err %v", o.passed, o.err)
				}
				if d := o.info.Decisions; len(d) != 1 || d[0].Stage != "authn" || d[0].Shadow {
					t.Fatalf("decisions %+v", d)
				}
				return
			}
			if o.err != nil || !o.passed || o.reason() != tt.wantReason {
				t.Fatalf("err %v, AuthnErr %v; want %q", o.err, o.info.AuthnErr, tt.wantReason)
			}
			if tt.wantIssuer == corp {
				tt.wantHeader["X-Auth-Subject"] = []string{"alice"}
			}
			if id := o.info.Identity; (id == nil) != (tt.wantIssuer == "") || id != nil && id.Issuer != tt.wantIssuer {
				t.Fatalf("identity %+v, want issuer %q", id, tt.wantIssuer)
			}
			if delete(tt.wantHeader, "X-Auth-Email"); !reflect.DeepEqual(o.header, tt.wantHeader) && !tt.shadow {
				t.Errorf("the app sees %v, want %v", o.header, tt.wantHeader)
			}
			for _, name := range []string{"Authorization", "Cookie", "X-Auth-Email", "X-Auth-Roles"} {
				if !slices.Equal(o.header[name], tt.wantHeader[name]) {
					t.Errorf("the app sees %s %q, want %q", name, o.header[name], tt.wantHeader[name])
				}
			}
		})
	}
}

func TestPrefixesOfOneHeader(t *testing.T) {
	w := newWorld(t)
	w.config.Providers[0].From = []Location{{Header: "x-token"}}
	w.config.Providers[1].From = []Location{{Header: "X-Token", Prefix: "Partner "}}
	s := w.stage(t)
	own := w.token(t, good())
	other := raw(t, headerRS256, good().with("iss", partner).json(t), jwt.SigningMethodRS256, w.partner)
	tests := map[string]struct{ value, wantReason string }{
		"without prefix":        {own, ""},
		"with prefix":           {"Partner " + other, ""},
		"prefix of another":     {"Partner " + own, "wrong_place"},
		"prefix missing":        {other, "wrong_place"},
		"prefix without token":  {"Partner ", "malformed"},
		"some other first word": {"Bearer " + own, "malformed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := send(s, http.Header{"X-Token": {tt.value}}, false)
			if (o.info.Identity == nil) != (tt.wantReason != "") || o.reason() != tt.wantReason {
				t.Fatalf("identity %v, AuthnErr %v", o.info.Identity, o.info.AuthnErr)
			}
		})
	}
}

func TestHMAC(t *testing.T) {
	w := newWorld(t)
	value := bytes.Repeat([]byte{9}, 32)
	w.config.Providers = []Provider{{Name: "own", Issuer: corp, Algorithms: []string{"HS256"}, Keys: w.hmac(t, "HS256", value)}}
	s := w.stage(t)
	ok := raw(t, `{"alg":"HS256","kid":"any"}`, good().json(t), jwt.SigningMethodHS256, value)
	if o := send(s, bearer(ok), false); o.info.Identity == nil {
		t.Fatal(o.info.AuthnErr)
	}
	bad := raw(t, `{"alg":"HS256"}`, good().json(t), jwt.SigningMethodHS256, []byte{})
	if o := send(s, bearer(bad), false); o.reason() != "bad_signature" {
		t.Fatal(o.info.AuthnErr)
	}
}

func TestConcurrentRequests(t *testing.T) {
	w := newWorld(t)
	s := w.stage(t)
	tokens := []string{w.token(t, good()), w.token(t, good().with("sub", "bob")), "x.y.z"}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			o := send(s, bearer(tokens[i%3]), false)
			if got, want := o.header.Get("X-Auth-Subject"), []string{"alice", "bob", ""}[i%3]; got != want {
				t.Errorf("subject %q, want %q", got, want)
			}
		})
	}
	wg.Wait()
}

func TestVariantsOfTokenHeadersAreRemoved(t *testing.T) {
	w := newWorld(t)
	w.config.Providers[0].From = []Location{{Header: "x-token"}}
	o := send(w.stage(t), http.Header{"X-Token": {w.token(t, good())}, "X_token": {"forged"}, "X.token": {"forged"}, "X-Tokens": {"other"}}, false)
	if o.info.Identity == nil {
		t.Fatalf("AuthnErr %v", o.info.AuthnErr)
	}
	if o.header["X_token"] != nil || o.header["X.token"] != nil || o.header["X-Tokens"] == nil || o.header["X-Token"] == nil {
		t.Errorf("the app sees %v", o.header)
	}
}
