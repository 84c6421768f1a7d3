package authn

import (
	"maps"
	"net/http"
	"slices"
	"testing"
)

func TestStripCredentials(t *testing.T) {
	w := newWorld(t)
	providers := slices.Clone(w.config.Providers)
	providers[0].From = []Location{{Header: "Authorization", Prefix: "Bearer "}, {Cookie: "session"}}
	providers[0].ClaimsToHeaders = []ClaimHeader{{Claim: "sub", Header: "X-User"}}
	stripCredentials, err := StripCredentials(providers)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{
		"Authorization": {"Bearer abc"}, "Cookie": {"theme=dark; session=abc"}, "X-User": {"ada"}, "X-Other": {"1"},
	}
	stripCredentials(h)
	want := http.Header{"Cookie": {"theme=dark"}, "X-Other": {"1"}}
	if !maps.EqualFunc(h, want, slices.Equal[[]string]) {
		t.Errorf("left are %v; want %v", h, want)
	}
	if _, err := StripCredentials(nil); err == nil {
		t.Error("no provider was accepted")
	}
}

func TestIdentityNamesItsKey(t *testing.T) {
	w := newWorld(t)
	o := send(w.stage(t), bearer(w.token(t, good())), false)
	if o.info.Identity == nil || o.info.Identity.KeyID != "r" {
		t.Errorf("identity %+v; want the key r", o.info.Identity)
	}
}
