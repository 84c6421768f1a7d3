package jwt_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/login/backchannel"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/stages/authn"
)

const (
	issuer     = "https://id.example.com"
	goodHeader = `{"alg":"EdDSA","kid":"k","typ":"logout+jwt"}`
	goodClaims = `{"iss":"https://id.example.com","sub":"alice","aud":"orders","jti":"j","sid":"s","iat":1799999990,"exp":1800000060,` +
		`"events":{"http://schemas.openid.net/event/backchannel-logout":{}}}`
)

var now = time.Unix(1_800_000_000, 0)

func clock() time.Time { return now }

// users are the two users of this package, with the same rules: authentication is configured to accept logout tokens.
type users struct {
	key      ed25519.PrivateKey
	requests *authn.Verifier
	logout   stage.Stage
}

// nothing is a store without revocations and sessions.
type nothing struct{}

func (nothing) Add(context.Context, ...revocation.Entry) (revocation.Position, error) {
	return revocation.Position{}, nil
}
func (nothing) Revoked(context.Context, *revocation.Query) (bool, error)           { return false, nil }
func (nothing) End(context.Context, string) (bool, error)                          { return false, nil }
func (nothing) EndAll(context.Context, session.Owner, string) (int, error)         { return 0, nil }
func (nothing) First(context.Context, string, string, time.Duration) (bool, error) { return true, nil }
func (nothing) Forget(context.Context, string, string) error                       { return nil }

func newUsers(t testing.TB) users {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	algorithms := []string{"EdDSA"}
	set, err := keyset.Parse([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"`+base64.RawURLEncoding.EncodeToString(public)+`"}]}`), keyset.Options{Algorithms: algorithms})
	if err != nil {
		t.Fatal(err)
	}
	keys := jwks.Fixed(set)
	u := users{key: private}
	u.requests, err = authn.NewVerifier([]authn.Provider{{
		Name: "corp", Issuer: issuer, Audiences: []string{"orders"}, Algorithms: algorithms, Keys: keys, TokenTypes: []string{"logout+jwt"}, MaxLifetime: time.Hour,
	}}, clock)
	if err != nil {
		t.Fatal(err)
	}
	u.logout, err = backchannel.New(backchannel.Config{
		Path: "/logout", Sessions: nothing{}, Revocations: nothing{}, Revoked: nothing{}, Replay: nothing{}, Logger: slog.New(slog.DiscardHandler), Now: clock,
		Providers: []backchannel.Provider{{Issuer: issuer, ClientIDs: []string{"orders"}, Algorithms: algorithms, Keys: keys, TokenLifetime: time.Hour}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (u users) sign(header, claims string) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(u.key, []byte(signed)))
}

// accept returns whether authentication and back-channel logout accept a token.
func (u users) accept(t testing.TB, raw string) (byAuthn, byLogout bool) {
	t.Helper()
	id, err := u.requests.Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/logout", strings.NewReader(url.Values{"logout_token": {raw}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	recorder := httptest.NewRecorder()
	h := u.logout(stage.Func(func(http.ResponseWriter, *http.Request) error { t.Error("the request continued"); return nil }))
	if err := h.ServeHTTP(recorder, request.With(r, &request.Info{Path: "/logout"})); err != nil {
		t.Fatal(err)
	}
	if recorder.Code != http.StatusOK && recorder.Code != http.StatusBadRequest {
		t.Fatalf("status %d", recorder.Code)
	}
	return id != nil, recorder.Code == http.StatusOK
}

// TestUsersAgree: authentication and back-channel logout give the same verdict on unusual tokens.
func TestUsersAgree(t *testing.T) {
	u := newUsers(t)
	header := func(old, new string) string { return u.sign(strings.Replace(goodHeader, old, new, 1), goodClaims) }
	claims := func(old, new string) string { return u.sign(goodHeader, strings.Replace(goodClaims, old, new, 1)) }
	good := u.sign(goodHeader, goodClaims)
	tests := map[string]struct {
		raw  string
		want bool
	}{
		"good":                               {good, true},
		"several audiences":                  {claims(`"aud":"orders"`, `"aud":["x","orders"]`), true},
		"audience array with a number":       {claims(`"aud":"orders"`, `"aud":["orders",1]`), false},
		"audience array with a number first": {claims(`"aud":"orders"`, `"aud":[1,"orders"]`), false},
		"audience is an object":              {claims(`"aud":"orders"`, `"aud":{"orders":1}`), false},
		"audience is null":                   {claims(`"aud":"orders"`, `"aud":null`), false},
		"audience in another case":           {claims(`"aud":"orders"`, `"aud":"Orders"`), false},
		"exp is a string":                    {claims(`1800000060`, `"1800000060"`), false},
		"exp is a fraction":                  {claims(`1800000060`, `1800000060.75`), true},
		"exp with an exponent":               {claims(`1800000060`, `1.80000006e9`), true},
		"exp is null":                        {claims(`1800000060`, `null`), false},
		"exp missing":                        {claims(`,"exp":1800000060`, ``), false},
		"exp now":                            {claims(`1800000060`, `1800000000`), false},
		"exp in a fraction of a second":      {claims(`1800000060`, `1800000000.5`), true},
		"exp huge":                           {claims(`1800000060`, `1e300`), false},
		"exp beyond a float":                 {claims(`1800000060`, `1e999999999`), false},
		"exp beyond 64 bits":                 {claims(`1800000060`, `9223372036854775808`), false},
		"exp after the year 9999":            {claims(`1800000060`, `253402300800`), false},
		"exp negative":                       {claims(`1800000060`, `-1`), false},
		"iat is a string":                    {claims(`1799999990`, `"1799999990"`), false},
		"iat in the future":                  {claims(`1799999990`, `1800000001`), false},
		"iat missing":                        {claims(`"iat":1799999990,`, ``), false},
		"iat long ago":                       {claims(`1799999990`, `1`), false},
		"nbf in the past":                    {claims(`{`, `{"nbf":1799999990,`), true},
		"nbf in the future":                  {claims(`{`, `{"nbf":1800000001,`), false},
		"nbf a boolean":                      {claims(`{`, `{"nbf":true,`), false},
		"claim twice":                        {claims(`"sub":"alice"`, `"sub":"alice","sub":"alice"`), false},
		"claim twice by an escape":           {claims(`"sub":"alice"`, `"sub":"alice","\u0073ub":"bob"`), false},
		"nested member twice":                {claims(`{`, `{"a":{"b":[{"c":1,"c":2}]},`), false},
		"claim name in capitals":             {claims(`"exp"`, `"EXP"`), false},
		"subject is a number":                {claims(`"sub":"alice"`, `"sub":1`), false},
		"subject is null":                    {claims(`"sub":"alice"`, `"sub":null`), false},
		"subject with a lone surrogate":      {claims(`"sub":"alice"`, `"sub":"\ud800"`), false},
		"subject with a surrogate pair":      {claims(`"sub":"alice"`, `"sub":"\ud83d\ude00"`), true},
		"token id is a number":               {claims(`"jti":"j"`, `"jti":7`), false},
		"huge number in another claim":       {claims(`{`, `{"n":1e999999999,`), true},
		"issuer is a list":                   {claims(`"iss":"https://id.example.com"`, `"iss":["https://id.example.com"]`), false},
		"issuer with a slash":                {claims(`"iss":"https://id.example.com"`, `"iss":"https://id.example.com/"`), false},
		"issuer missing":                     {claims(`"iss":"https://id.example.com",`, ``), false},
		"claims not UTF-8":                   {claims(`alice`, "\xff"), false},
		"claims with a trailing byte":        {u.sign(goodHeader, goodClaims+"x"), false},
		"claims an array":                    {u.sign(goodHeader, "["+goodClaims+"]"), false},
		"claims nested to the bound":         {claims(`{`, `{"d":`+strings.Repeat("[", 15)+strings.Repeat("]", 15)+`,`), true},
		"claims nested beyond":               {claims(`{`, `{"d":`+strings.Repeat("[", 16)+strings.Repeat("]", 16)+`,`), false},
		"header nested to the bound":         {header(`{`, `{"d":`+strings.Repeat("[", 7)+strings.Repeat("]", 7)+`,`), true},
		"header nested beyond":               {header(`{`, `{"d":`+strings.Repeat("[", 8)+strings.Repeat("]", 8)+`,`), false},
		"crit":                               {header(`{`, `{"crit":["exp"],`), false},
		"crit empty":                         {header(`{`, `{"crit":[],`), false},
		"b64":                                {header(`{`, `{"b64":true,`), false},
		"jku and x5u":                        {header(`{`, `{"jku":"https://evil.example/","x5u":"https://evil.example/",`), true},
		"jwk":                                {header(`{`, `{"jwk":{"kty":"OKP"},`), true},
		"alg twice":                          {header(`{`, `{"alg":"none",`), false},
		"alg none":                           {header(`EdDSA`, `none`), false},
		"alg in another case":                {header(`EdDSA`, `EDDSA`), false},
		"alg is a number":                    {header(`"EdDSA"`, `1`), false},
		"alg missing":                        {header(`"alg":"EdDSA",`, ``), false},
		"kid missing":                        {header(`"kid":"k",`, ``), true},
		"kid is null":                        {header(`"kid":"k"`, `"kid":null`), false},
		"kid long":                           {header(`"kid":"k"`, `"kid":"`+strings.Repeat("k", 257)+`"`), false},
		"typ unknown":                        {header(`logout+jwt`, `dpop+jwt`), false},
		"typ missing":                        {header(`,"typ":"logout+jwt"`, ``), false},
		"typ is a number":                    {header(`"logout+jwt"`, `1`), false},
		"typ with a prefix, capitals":        {header(`logout+jwt`, `Application/LOGOUT+JWT`), true},
		"encrypted":                          {"a.b.c.d.e", false},
		"unsigned":                           {good[:strings.LastIndexByte(good, '.')+1], false},
		"padded":                             {good + "=", false},
		"line break":                         {strings.Replace(good, ".", ".\n", 1), false},
		"large":                              {claims(`"sub":"alice"`, `"sub":"`+strings.Repeat("a", 300)+`"`), true},
		"too large":                          {claims(`{`, `{"x":"`+strings.Repeat("a", 12<<10)+`",`), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if byAuthn, byLogout := u.accept(t, tt.raw); byAuthn != tt.want || byLogout != tt.want {
				t.Errorf("authentication accepts it: %v, back-channel logout: %v; want %v", byAuthn, byLogout, tt.want)
			}
		})
	}
}

// FuzzUsersAgree: the same for every other signed token whose claims make it a logout token.
func FuzzUsersAgree(f *testing.F) {
	u := newUsers(f)
	f.Add(goodHeader, `"aud":[1,"orders"]`)
	f.Add(`{"alg":"EdDSA"}`, `"exp":1e99`)
	f.Fuzz(func(t *testing.T, header, members string) {
		claims := strings.TrimSuffix(goodClaims, "}")
		if members != "" {
			claims += "," + members
		}
		raw := u.sign(header, claims+"}")
		if byAuthn, byLogout := u.accept(t, raw); byLogout && !byAuthn {
			t.Errorf("header %s, claims %s}: back-channel logout accepts what authentication refuses", header, claims)
		}
	})
}
