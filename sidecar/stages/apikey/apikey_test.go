package apikey

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	keys "github.com/posterndev/postern/sidecar/keys/apikey"
)

// source is a key file that tests replace.
type source struct {
	file *keys.File
	err  error
}

func (s *source) File() (*keys.File, error) { return s.file, s.err }

func (s *source) set(t *testing.T, key, more string) {
	t.Helper()
	var err error
	if s.file, err = keys.Parse(fmt.Appendf(nil, "- {id: ci, subject: svc, hash: '%s'%s}", keys.Hash(key), more)); err != nil {
		t.Fatal(err)
	}
}

// reasons records why keys were refused.
type reasons []string

func (r *reasons) Kinds() event.Kinds   { return event.Of(event.TokenVerified, event.TokenRefused) }
func (r *reasons) Record(e event.Event) { *r = append(*r, e.Result()) }

var end = time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)

// fixture is a stage with a clock and a file.
type fixture struct {
	t      *testing.T
	key    string
	now    time.Time
	source *source
	events reasons
	config Config
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	key, err := keys.New()
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, key: key, now: end.Add(-time.Hour), source: &source{}}
	f.source.set(t, key, ", expires: '2027-01-31T00:00:00Z'")
	f.config = Config{
		From: []Location{{Header: "X-API-Key"}}, Keys: &KeySource{Provider: "api-keys", Issuer: "urn:test", Keys: f.source}, Now: func() time.Time { return f.now },
	}
	return f
}

// send returns the record of a request, and whether the app saw a key in the header.
func (f *fixture) send(change func(*request.Info)) (info *request.Info, seen bool) {
	f.t.Helper()
	s, err := New(f.config)
	if err != nil {
		f.t.Fatal(err)
	}
	info = &request.Info{Events: event.NewStream("shop/orders", &f.events)}
	if change != nil {
		change(info)
	}
	r := request.With(httptest.NewRequest("GET", "/", nil), info)
	r.Header.Set("X-API-Key", f.key)
	h := s(stage.Func(func(_ http.ResponseWriter, r *http.Request) error {
		seen = r.Header.Get("X-API-Key") != ""
		return nil
	}))
	if err := h.ServeHTTP(httptest.NewRecorder(), r); err != nil {
		f.t.Fatal(err)
	}
	return info, seen
}

func TestExpiry(t *testing.T) {
	f := newFixture(t)
	if info, _ := f.send(nil); info.Identity == nil || info.Identity.TokenID != "ci" || info.Identity.Expires != end {
		t.Errorf("identity %+v, %v", info.Identity, info.AuthnErr)
	}
	f.now = end
	info, seen := f.send(nil)
	if info.Identity != nil || info.AuthnErr == nil || info.AuthnErr.Status != 401 || info.AuthnErr.Detail != "The API key has expired." || seen {
		t.Errorf("an expired key: %+v, %v, seen: %v", info.Identity, info.AuthnErr, seen)
	}
	if want := []string{"ok", "api_key_expired"}; !slices.Equal(f.events, want) {
		t.Errorf("events %q; want %q", f.events, want)
	}
}

// TestWatch: a response in progress ends with its key, and not because the file is unavailable.
func TestWatch(t *testing.T) {
	for name, tt := range map[string]struct {
		change  func(*fixture)
		wantEnd bool
	}{
		"nothing happens":     {change: func(*fixture) {}},
		"the key expires":     {change: func(f *fixture) { f.now = end }, wantEnd: true},
		"the key is removed":  {change: func(f *fixture) { f.source.file, _ = keys.Parse(nil) }, wantEnd: true},
		"its expiry is later": {change: func(f *fixture) { f.source.set(f.t, f.key, ""); f.now = end.Add(time.Hour) }},
		"its end is earlier":  {change: func(f *fixture) { f.source.set(f.t, f.key, ", expires: '2020-01-01T00:00:00Z'") }, wantEnd: true},
		"no file":             {change: func(f *fixture) { f.source.file, f.source.err = nil, errors.New("gone") }},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			info, _ := f.send(nil)
			if len(info.Watches) != 1 {
				t.Fatalf("%d watches", len(info.Watches))
			}
			tt.change(f)
			if got := info.Watches[0].Ask(t.Context()); (got != nil) != tt.wantEnd {
				t.Errorf("the response ends: %v", got)
			}
		})
	}
}

// TestUnavailable: without a file no key is valid, and a wrong checksum is refused without the file.
func TestUnavailable(t *testing.T) {
	f := newFixture(t)
	f.source.file, f.source.err = nil, keys.ErrUnavailable
	if info, _ := f.send(nil); info.Identity != nil || info.AuthnErr == nil || info.AuthnErr.Status != 503 || info.AuthnErr.Header.Get("Retry-After") == "" {
		t.Errorf("without a file: %+v, %v", info.Identity, info.AuthnErr)
	}
	f.key += "x"
	if info, _ := f.send(nil); info.AuthnErr == nil || info.AuthnErr.Status != 401 {
		t.Errorf("a malformed key: %v", info.AuthnErr)
	}
}

// TestPolicyInShadow: the app may still verify keys itself.
func TestPolicyInShadow(t *testing.T) {
	f := newFixture(t)
	if info, seen := f.send(func(i *request.Info) { i.Shadow = true }); info.Identity == nil || !seen {
		t.Errorf("identity %+v, the app saw the key: %v", info.Identity, seen)
	}
}

// TestHeadersThatDoNotFit: a key whose claims cannot be sent gives no identity.
func TestHeadersThatDoNotFit(t *testing.T) {
	f := newFixture(t)
	f.config.Headers = func(*identity.Identity) (http.Header, error) { return nil, errors.New("too large") }
	if info, seen := f.send(nil); info.Identity != nil || info.AuthnErr == nil || info.AuthnErr.Status != 401 || seen {
		t.Errorf("identity %+v, %v, the app saw the key: %v", info.Identity, info.AuthnErr, seen)
	}
}

func TestNew(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no provider": func(c *Config) { c.Keys.Provider = "" }, "no issuer": func(c *Config) { c.Keys.Issuer = "" }, "no file": func(c *Config) { c.Keys.Keys = nil }, "no places": func(c *Config) { c.From = nil },
		"no keys and users": func(c *Config) { c.Keys = nil }, "users without a file": func(c *Config) { c.Users = &UserSource{Provider: "p", Issuer: "i"} },
		"a header without keys": func(c *Config) { c.Keys, c.Users = nil, &UserSource{Provider: "p", Issuer: "i", Users: &userList{}} }, "a realm that is not ASCII": func(c *Config) { c.Realm = "\n" },
	} {
		c := newFixture(t).config
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestRefusalsAreAlike: a client cannot tell an unknown key from a malformed one.
func TestRefusalsAreAlike(t *testing.T) {
	f := newFixture(t)
	f.source.file, _ = keys.Parse(nil)
	unknown, _ := f.send(nil)
	f.key = "x"
	malformed, _ := f.send(nil)
	a, b := unknown.AuthnErr, malformed.AuthnErr
	if a.Status != b.Status || a.Code != b.Code || a.Detail != b.Detail || fmt.Sprint(a.Header) != fmt.Sprint(b.Header) {
		t.Errorf("%+v and %+v", a, b)
	}
}
